//! The client of the tests.

use super::PATIENCE;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Bytes that print themselves so that a reader sees what they are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn starts_with(&self, beginning: &str) -> bool {
        self.0.starts_with(beginning.as_bytes())
    }

    pub fn contains(&self, part: &str) -> bool {
        self.0.windows(part.len()).any(|window| window == part.as_bytes())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        let (shown, rest) = self.0.split_at(self.0.len().min(SHOWN));
        write!(f, "\"{}\"", shown.escape_ascii())?;
        match rest.len() {
            0 => Ok(()),
            more => write!(f, " and {more} bytes more"),
        }
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Bytes {
    fn eq(&self, other: &T) -> bool {
        self.0 == other.as_ref()
    }
}

/// Fails, and shows where the two part, unless they are the same.
#[track_caller]
pub fn assert_same(what: impl fmt::Debug, actual: &[u8], expected: &[u8]) {
    if actual == expected {
        return;
    }
    let same = actual.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let around = |bytes: &[u8]| {
        let part = &bytes[same.saturating_sub(40)..bytes.len().min(same + 80)];
        part.escape_ascii().to_string()
    };
    panic!(
        "{what:?}\n differs from byte {same} on:\n  got {:>8} bytes ...{}\n want {:>8} bytes ...{}",
        actual.len(),
        around(actual),
        expected.len(),
        around(expected),
    );
}

/// One connection, to a memcached or a magent.
pub struct Client {
    stream: TcpStream,
    /// Read and not yet asked for.
    unread: Vec<u8>,
}

impl Client {
    /// Connects to a name as on magent's command line, `unix:` included.
    pub fn connect(name: &str) -> Self {
        Self::try_connect(name).unwrap_or_else(|error| panic!("cannot connect to {name}: {error}"))
    }

    pub fn try_connect(name: &str) -> std::io::Result<Self> {
        let stream = match name.strip_prefix("unix:") {
            // Reading, writing, time limits and shutdown are the same calls for either kind of socket.
            Some(path) => TcpStream::from(OwnedFd::from(UnixStream::connect(path)?)),
            None => {
                let stream = TcpStream::connect(name)?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let unread = Vec::new();
        Ok(Self { stream, unread })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the bytes can be sent");
    }

    /// Reads once more; false at the end of the stream. A reset counts as an end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 64 << 10];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(count) => {
                    self.unread.extend_from_slice(&bytes[..count]);
                    return count > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("no answer ({error}); so far: {:?}", Bytes(self.unread.clone())),
            }
        }
    }

    fn take(&mut self, count: usize) -> Bytes {
        Bytes(self.unread.drain(..count).collect())
    }

    /// Reads exactly as many bytes as `bytes` are, and fails if they are others.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let expected = bytes.as_ref();
        while self.unread.len() < expected.len() && expected.starts_with(&self.unread) {
            if !self.read() {
                break;
            }
        }
        let actual = self.take(self.unread.len().min(expected.len()));
        assert_same("the reply", &actual.0, expected);
    }

    /// Sends a request and fails unless the answer is this.
    #[track_caller]
    pub fn check(&mut self, request: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) {
        self.send(request);
        self.expect(reply);
    }

    /// Reads one line, with its end.
    pub fn line(&mut self) -> Bytes {
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread[searched..].iter().position(|&byte| byte == b'\n') {
                return self.take(searched + at + 1);
            }
            searched = self.unread.len();
            assert!(
                self.read(),
                "closed in the middle of a line: {:?}",
                Bytes(self.unread.clone())
            );
        }
    }

    /// Reads one whole reply: one line, or all values or statistics with the line behind them.
    pub fn reply(&mut self) -> Bytes {
        let mut reply = Vec::new();
        loop {
            let line = self.line();
            let more = line.starts_with("VALUE ") || line.starts_with("VA ") || line.starts_with("STAT ");
            reply.extend_from_slice(&line.0);
            if let Some(value_len) = value_len(&line.0) {
                while self.unread.len() < value_len + 2 {
                    assert!(self.read(), "closed in the middle of a value: {:?}", Bytes(reply));
                }
                reply.extend_from_slice(&self.take(value_len + 2).0);
            }
            if !more || line.starts_with("VA ") {
                return Bytes(reply);
            }
        }
    }

    /// Sends a request and reads one whole reply.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Bytes {
        self.send(request);
        self.reply()
    }

    /// The value of `STAT name` in the reply to `request`.
    pub fn stat(&mut self, request: &str, name: &str) -> String {
        let reply = self.ask(format!("{request}\r\n"));
        let text = String::from_utf8(reply.0).expect("statistics are text");
        let wanted = format!("STAT {name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&wanted));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }

    /// Reads to the end of the stream.
    pub fn rest(&mut self) -> Bytes {
        while self.read() {}
        self.take(self.unread.len())
    }

    /// Reads `len` bytes, or to the end of the stream if that comes first.
    pub fn rest_or(&mut self, len: usize) -> Bytes {
        while self.unread.len() < len && self.read() {}
        self.take(self.unread.len().min(len))
    }

    /// Fails unless the connection is closed without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        assert_eq!(self.rest(), "", "the connection is closed");
    }

    /// Whether nothing has come that was not asked for yet.
    pub fn is_quiet(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        let nothing = matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock);
        nothing && self.unread.is_empty()
    }

    /// Says that nothing more will be sent.
    pub fn shutdown(&mut self) {
        // Fails if the connection is closed already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends `bytes` and nothing more, and returns all that is answered until the connection is closed: every answer to
    /// these bytes, however many there are.
    pub fn all_replies(mut self, bytes: &[u8]) -> Bytes {
        // The peer may close before it has read everything.
        let _ = self.stream.write_all(bytes);
        self.shutdown();
        self.rest()
    }
}

/// The length of the data block that this line of a reply announces.
fn value_len(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok();
    let word = |n| -> Option<usize> {
        line_words(line)
            .nth(n)
            .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok())
    };
    match line_words(line).next() {
        Some(b"VALUE") => word(3),
        Some(b"VA") => text.and(word(1)),
        _ => None,
    }
}

fn line_words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.trim_ascii_end().split(|&byte| byte == b' ')
}
