//! One connection that is sent a stream piece by piece, and what comes back.

use super::asked::Asked;
use super::common::Client;
use super::replies::Normal;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Bytes that may not fit into the sockets at once.
pub const LARGE: usize = 64 << 10;

/// Nothing more comes if nothing has come for so long.
const QUIET: Duration = Duration::from_millis(200);

pub struct Conversation {
    stream: TcpStream,
    pub asked: Asked,
    pub raw: Vec<u8>,
    /// The replies were not those that were expected.
    is_unlike: bool,
    /// The other side has ended it.
    pub ended: bool,
}

impl Conversation {
    pub fn open(name: &str, asked: Asked) -> Self {
        let stream = Client::connect(name).stream().try_clone().expect("a file descriptor");
        stream.set_nonblocking(true).expect("a socket");
        Self {
            stream,
            asked,
            raw: Vec::new(),
            is_unlike: false,
            ended: false,
        }
    }

    /// Sends bytes, and takes what comes meanwhile: who does not take its replies is not heard for ever.
    pub fn send(&mut self, mut bytes: &[u8], patience: Duration) {
        let deadline = Instant::now() + patience;
        let len = bytes.len();
        while !bytes.is_empty() && !self.ended && Instant::now() < deadline {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(libc::POLLIN | libc::POLLOUT, deadline);
                    self.drain();
                }
                // Closed; what was said before may still be there.
                Err(_) => return,
            }
        }
        // What does not fit into the sockets at once; small things do, and asking would wait for a delayed acknowledgement.
        while len >= LARGE && self.is_on_its_way() && !self.ended && Instant::now() < deadline {
            self.wait(libc::POLLIN, Instant::now() + Duration::from_millis(1));
            self.drain();
        }
    }

    /// Whether the other side's socket has not got all that was sent.
    fn is_on_its_way(&self) -> bool {
        let mut unsent: libc::c_int = 0;
        // SAFETY: the number is valid for the call.
        let result = unsafe { libc::ioctl(self.stream.as_raw_fd(), libc::TIOCOUTQ, &mut unsent) };
        result == 0 && unsent > 0
    }

    /// Takes what is there.
    pub fn drain(&mut self) {
        let mut bytes = [0; 64 << 10];
        while !self.ended {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => self.raw.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    /// What came so far.
    pub fn normal(&self) -> Normal {
        Normal::of(&self.raw, &self.asked)
    }

    /// Whether all that was sent has been read as commands, by what came.
    pub fn is_answered(&self) -> bool {
        self.asked.is_answered(&self.raw)
    }

    /// Reads until the replies are as long, in their normal form, or end like this, or there will be no more.
    pub fn read_bytes(&mut self, len: usize, end: &[u8], patience: Duration) -> Normal {
        self.read_until(
            |normal, _| normal.bytes.len() >= len || normal.bytes.ends_with(end),
            patience,
        )
    }

    /// Reads until the replies are these, in their normal form, or others, and there will be no more. Where they have been others before,
    /// that is not waited for long.
    pub fn read_like(&mut self, expected: &[u8], patience: Duration) -> Normal {
        let quiet = if self.is_unlike { QUIET / 10 } else { QUIET };
        let normal = self.read_until(|normal, silence| normal.bytes == expected || silence >= quiet, patience);
        self.is_unlike = normal.bytes != expected;
        normal
    }

    /// Reads until there are so many bytes, if many are missing, or nothing more comes. What lies unread is lost when the
    /// other side closes the connection and is sent more.
    pub fn read_large(&mut self, len: usize, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut heard = Instant::now();
        let is_large = self.raw.len() + LARGE <= len;
        while is_large && self.raw.len() < len && heard.elapsed() < QUIET && !self.ended && Instant::now() < deadline {
            let before = self.raw.len();
            self.wait(libc::POLLIN, Instant::now() + QUIET / 10);
            self.drain();
            if self.raw.len() > before {
                heard = Instant::now();
            }
        }
    }

    /// Reads until it is enough, by what came and for how long nothing has.
    fn read_until(&mut self, is_enough: impl Fn(&Normal, Duration) -> bool, patience: Duration) -> Normal {
        let deadline = Instant::now() + patience;
        let (mut len, mut heard) = (self.raw.len(), Instant::now());
        loop {
            self.drain();
            if self.raw.len() > len {
                (len, heard) = (self.raw.len(), Instant::now());
            }
            let normal = self.normal();
            if is_enough(&normal, heard.elapsed()) || self.ended || Instant::now() >= deadline {
                return normal;
            }
            self.wait(libc::POLLIN, deadline.min(Instant::now() + QUIET / 20));
        }
    }

    /// Reads to the end of the stream.
    pub fn read_to_the_end(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.drain();
        while !self.ended && Instant::now() < deadline {
            self.wait(libc::POLLIN, deadline);
            self.drain();
        }
    }

    pub fn shutdown(&mut self) {
        // Fails if the connection is closed already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn wait(&self, events: i16, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut poll = libc::pollfd {
            fd: self.stream.as_raw_fd(),
            events,
            revents: 0,
        };
        // SAFETY: one valid struct for the call.
        unsafe { libc::poll(&mut poll, 1, left.min(1000) as i32 + 1) };
    }
}
