//! One connection of memcached: bytes to commands, and when the replies leave.
//!
//! Replies are stacked and written together: when there is nothing more to read, after `get` and its kin and after `mn`,
//! and when the connection has had its turn. What a client sees of it: nothing is written while a value is awaited;
//! a reply that holds an item keeps incr from changing it in place; metadump refuses to run behind a stacked reply.

use super::commands::{self, Next, Session};
use super::items::{Mode, New};
use super::{Process, meta};
use std::mem;

/// A line longer than this without an end closes the connection, unless it is a get.
const LINE_BYTES_MAX: usize = 2048;
/// Leading blanks that a long get may have.
const BLANKS_MAX: usize = 100;
/// Commands after which a connection lets others have their turn; the first turn has one more.
const COMMANDS_A_TURN: usize = 20;

#[derive(Clone)]
pub struct Connection {
    number: usize,
    /// Read from the socket and not used yet.
    unread: Vec<u8>,
    awaits: Awaits,
    replies: Replies,
}

#[derive(Clone)]
enum Awaits {
    Line,
    /// The value that a command announced, and the end of its line.
    Value(Upcoming),
    /// So many bytes of a value that is refused.
    Refused(usize),
}

/// A store command whose value is on its way.
#[derive(Clone)]
pub struct Upcoming {
    pub mode: Mode,
    /// With a value that is still empty.
    pub new: New,
    pub value_len: usize,
    /// 0 for any.
    pub unique: u64,
    pub reply: UpcomingReply,
}

#[derive(Clone)]
pub enum UpcomingReply {
    Text { noreply: bool },
    Meta(meta::StoreReply),
}

/// Replies that have not been written yet.
#[derive(Clone, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    /// Whether there are any, with those that noreply keeps from being written.
    are_stacked: bool,
}

/// Why the connection does not go on reading.
enum Pause {
    NoMoreInput,
    /// A metadump took the connection over. What was read behind it waits until more arrives.
    Listed,
    Closed,
}

impl Connection {
    pub fn new(number: usize) -> Self {
        Self {
            number,
            unread: Vec::new(),
            awaits: Awaits::Line,
            replies: Replies::default(),
        }
    }

    /// False if memcached closes it.
    pub fn input(&mut self, process: &mut Process, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let mut commands = 0;
        // First what was read with a metadump; one in it does not stop it, because the socket has more.
        loop {
            match self.run(process, &mut commands, out) {
                Pause::NoMoreInput => break,
                Pause::Listed => {}
                Pause::Closed => return false,
            }
        }
        // A value is read by itself, up to its end.
        let (value_part, rest) = bytes.split_at(self.missing_of_value().min(bytes.len()));
        for (part, is_value) in [(value_part, true), (rest, false)] {
            if part.is_empty() {
                continue;
            }
            self.unread.extend_from_slice(part);
            if matches!(self.run(process, &mut commands, out), Pause::Closed) {
                return false;
            }
            commands += usize::from(is_value);
        }
        true
    }

    fn missing_of_value(&self) -> usize {
        match &self.awaits {
            Awaits::Line => 0,
            Awaits::Value(upcoming) => upcoming.value_len + 2 - self.unread.len(),
            Awaits::Refused(missing) => *missing,
        }
    }

    /// Runs every command that is complete.
    fn run(&mut self, process: &mut Process, commands: &mut usize, out: &mut Vec<u8>) -> Pause {
        let mut unread = mem::take(&mut self.unread);
        let mut used = 0;
        let pause = loop {
            let rest = &unread[used..];
            let Some(len) = self.complete(rest) else {
                let is_too_long = matches!(self.awaits, Awaits::Line) && is_too_long(rest);
                break if is_too_long { Pause::Closed } else { Pause::NoMoreInput };
            };
            used += len;
            match self.run_one(process, &rest[..len], out) {
                Next::Command => {}
                Next::Value(upcoming) => {
                    self.awaits = Awaits::Value(upcoming);
                    continue;
                }
                Next::Refuse(value_bytes) => {
                    self.awaits = Awaits::Refused(value_bytes);
                    continue;
                }
                Next::Write => self.write(process, out),
                Next::Listed => break Pause::Listed,
                Next::Close => {
                    self.write(process, out);
                    break Pause::Closed;
                }
                Next::Abort => break Pause::Closed,
            }
            *commands += 1;
            if *commands > COMMANDS_A_TURN && (*commands - 1) % COMMANDS_A_TURN == 0 {
                self.write(process, out);
            }
        };
        unread.drain(..used);
        self.unread = unread;
        if matches!(self.awaits, Awaits::Line) && matches!(pause, Pause::NoMoreInput) {
            self.write(process, out);
        }
        pause
    }

    /// The length of what is awaited, if it is all there. Of a refused value any part will do.
    fn complete(&self, bytes: &[u8]) -> Option<usize> {
        match &self.awaits {
            Awaits::Line => bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1),
            Awaits::Value(upcoming) => Some(upcoming.value_len + 2).filter(|&len| len <= bytes.len()),
            Awaits::Refused(missing) => Some((*missing).min(bytes.len())).filter(|&len| len > 0),
        }
    }

    fn run_one(&mut self, process: &mut Process, bytes: &[u8], out: &mut Vec<u8>) -> Next {
        let mut session = Session::new(process, &mut self.replies, self.number);
        match mem::replace(&mut self.awaits, Awaits::Line) {
            Awaits::Line => {
                let line = bytes.strip_suffix(b"\n").expect("a line");
                commands::run(&mut session, line.strip_suffix(b"\r").unwrap_or(line), out)
            }
            Awaits::Value(upcoming) => commands::store(&mut session, upcoming, bytes),
            Awaits::Refused(missing) if missing > bytes.len() => Next::Refuse(missing - bytes.len()),
            Awaits::Refused(_) => Next::Command,
        }
    }

    fn write(&mut self, process: &mut Process, out: &mut Vec<u8>) {
        out.append(&mut self.replies.bytes);
        self.replies.are_stacked = false;
        process.items.release(self.number);
    }
}

fn is_too_long(line: &[u8]) -> bool {
    let blanks = line.iter().take_while(|&&byte| byte == b' ').count();
    let command = &line[blanks..];
    let is_get = command.starts_with(b"get ") || command.starts_with(b"gets ");
    line.len() > LINE_BYTES_MAX && (blanks > BLANKS_MAX || !is_get)
}

impl Replies {
    pub fn are_stacked(&self) -> bool {
        self.are_stacked
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.are_stacked = true;
    }

    /// Forgets them: they will never be written.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}
