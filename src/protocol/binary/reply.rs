//! Replies as clients of the binary protocol get them.
//!
//! | said | status | body |
//! | --- | --- | --- |
//! | done | 0 | nothing, the number, the version |
//! | no such item, nothing to replace | 1 | `Not found`, or the key where that is told |
//! | another unique, or there is an item | 2 | `Data exists for key.` |
//! | larger than an item may be | 3 | `Too large.` |
//! | what the client did wrong | 4 | `Invalid arguments` |
//! | nothing to append to | 5 | `Not stored.` |
//! | no number to count | 6 | `Non-numeric server-side value for incr or decr` |
//! | no such command | 0x81 | `Unknown command` |
//! | out of memory | 0x82 | what the server says |
//! | no server | 0x86, a temporary failure | what magent says |
//!
//! Quiet operations say nothing of what they have done, or have not found; errors they tell.

use super::operation::Operation;
use super::{HEADER_BYTES, RESPONSE_MAGIC};
use crate::protocol::LINE_END;
use crate::protocol::made::Made;
use crate::protocol::refusal::TOO_LARGE;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::request::Request;
use crate::protocol::server::answer::Response;

const SUCCESS: u16 = 0;
const NOT_FOUND: u16 = 1;
const EXISTS: u16 = 2;
const TOO_BIG: u16 = 3;
const INVALID: u16 = 4;
const NOT_STORED: u16 = 5;
const NOT_A_NUMBER: u16 = 6;
const UNKNOWN_COMMAND: u16 = 0x81;
const OUT_OF_MEMORY: u16 = 0x82;
const TEMPORARY_FAILURE: u16 = 0x86;

/// What the reply to a packet needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    opcode: u8,
    opaque: [u8; 4],
    /// An item has been told.
    has_told: bool,
    more: More,
}

/// What some operations need beside that.
#[derive(Clone, Debug, PartialEq, Eq)]
enum More {
    Nothing,
    /// The key, where that is told.
    Key(Box<[u8]>),
    /// What a count makes where there is no item.
    Initial(Box<Made>),
}

/// What is said, but for the header.
struct Said<'a> {
    status: u16,
    unique: u64,
    body: Body<'a>,
}

enum Body<'a> {
    Text(&'a [u8]),
    /// The key alone.
    Key(&'a [u8]),
    Number([u8; 8]),
}

impl Packet {
    pub fn new(opcode: u8, opaque: [u8; 4]) -> Self {
        Self {
            opcode,
            opaque,
            has_told: false,
            more: More::Nothing,
        }
    }

    /// The same of one whose reply has its key.
    pub fn telling(self, key: &[u8]) -> Self {
        let more = More::Key(key.into());
        Self { more, ..self }
    }

    /// The same of a count that may make its item.
    pub fn making(self, initial: Option<Made>) -> Self {
        let more = initial.map_or(More::Nothing, |initial| More::Initial(Box::new(initial)));
        Self { more, ..self }
    }

    /// Whether something may have to be asked when the answer has come.
    pub fn may_go_on(&self) -> bool {
        matches!(self.more, More::Initial(_))
    }

    /// What is to be asked next, where this is what was said so far; None if that is the reply.
    #[inline(never)]
    pub fn follow(&mut self, said: Status) -> Option<Request<'_>> {
        match &mut self.more {
            More::Initial(initial) => initial.follow(said),
            More::Nothing | More::Key(_) => None,
        }
    }

    /// Writes a reply, or what ends one that has told an item, piece by piece.
    #[inline(never)]
    pub fn reply(&self, reply: &Reply, add: &mut dyn FnMut(&[u8])) {
        let Some(said) = self.said(reply) else {
            return;
        };
        let (key_len, body): (_, &[u8]) = match &said.body {
            Body::Text(text) => (0, text),
            Body::Key(key) => (key.len(), key),
            Body::Number(number) => (0, number),
        };
        add(&self.header(said.status, (0, key_len, body.len()), said.unique));
        if !body.is_empty() {
            add(body);
        }
    }

    /// None: nothing.
    fn said<'a>(&'a self, reply: &'a Reply) -> Option<Said<'a>> {
        let (operation, quiet) = Operation::of(self.opcode).unzip();
        let quiet = quiet == Some(true);
        let is_retrieval = operation.is_some_and(Operation::is_retrieval);
        let is_end = is_retrieval && reply.status == Status::End;
        if is_end && (self.has_told || quiet) {
            return None;
        }
        let status = match is_end {
            true => NOT_FOUND,
            false => status_of(reply, operation),
        };
        if status == SUCCESS && quiet {
            return None;
        }
        let initial = match &self.more {
            More::Initial(initial) if initial.is_made(reply.status) => Some(initial.number),
            _ => None,
        };
        let body = match (reply.status, &self.more) {
            (Status::Number, _) => Body::Number(reply.number.to_be_bytes()),
            (Status::Version, _) => Body::Text(reply.message().trim_ascii_start()),
            (_, More::Key(key)) if is_end => Body::Key(key),
            _ => match initial {
                Some(value) => Body::Number(value.to_be_bytes()),
                None => Body::Text(text_of(status, reply)),
            },
        };
        let unique = if status == SUCCESS { reply.unique } else { 0 };
        Some(Said { status, unique, body })
    }

    /// An item: what comes in front of its value, and the part of `data` that follows. `data` is the value with its line end; empty if none
    /// came.
    #[inline(never)]
    pub fn item<'a>(&mut self, item: &Response<'_>, unique: Option<u64>, data: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
        self.has_told = true;
        let operation = Operation::of(self.opcode).map(|(operation, _)| operation);
        let value: &[u8] = match operation {
            Some(Operation::Touch) => b"",
            _ => data.strip_suffix(LINE_END).unwrap_or(data),
        };
        let key: &[u8] = match &self.more {
            More::Key(key) => key,
            _ => b"",
        };
        let flags = item.flags.unwrap_or(0).to_be_bytes();
        let lens = (flags.len(), key.len(), flags.len() + key.len() + value.len());
        let header = self.header(SUCCESS, lens, unique.unwrap_or(0));
        ([&header[..], &flags, key].concat(), value)
    }

    /// Adds one of the packets that a stat is answered by. After the last comes an empty one.
    pub fn statistic(&self, packets: &mut Vec<u8>, name: &str, value: &str) {
        packets.extend_from_slice(&self.header(SUCCESS, (0, name.len(), name.len() + value.len()), 0));
        packets.extend_from_slice(name.as_bytes());
        packets.extend_from_slice(value.as_bytes());
    }

    /// `lens`: bytes of extras, of the key, and in all.
    fn header(
        &self,
        status: u16,
        (extras_len, key_len, body_len): (usize, usize, usize),
        unique: u64,
    ) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0] = RESPONSE_MAGIC;
        header[1] = self.opcode;
        header[2..4].copy_from_slice(&(key_len as u16).to_be_bytes());
        header[4] = extras_len as u8;
        header[6..8].copy_from_slice(&status.to_be_bytes());
        header[8..12].copy_from_slice(&(body_len as u32).to_be_bytes());
        header[12..16].copy_from_slice(&self.opaque);
        header[16..].copy_from_slice(&unique.to_be_bytes());
        header
    }
}

fn status_of(reply: &Reply, operation: Option<Operation>) -> u16 {
    match (reply.status, reply.fault) {
        (Status::NotStored, _) => match operation {
            Some(Operation::Add) => EXISTS,
            Some(Operation::Replace) => NOT_FOUND,
            _ => NOT_STORED,
        },
        (Status::Exists, _) => EXISTS,
        (Status::NotFound, _) => NOT_FOUND,
        // What no statistics are called.
        (Status::Error, Fault::Unknown) if operation == Some(Operation::Stat) => NOT_FOUND,
        (Status::Error, Fault::Unknown) => UNKNOWN_COMMAND,
        (Status::Error, Fault::Client) if reply.message().ends_with(b"non-numeric value") => NOT_A_NUMBER,
        (Status::Error, Fault::Client) => INVALID,
        (Status::Error, _) if reply == TOO_LARGE => TOO_BIG,
        (Status::Error, _) if says_out_of_memory(reply) => OUT_OF_MEMORY,
        (Status::Error, _) => TEMPORARY_FAILURE,
        _ => SUCCESS,
    }
}

fn says_out_of_memory(reply: &Reply) -> bool {
    const WORDS: &[u8] = b"out of memory";
    let message = reply.message();
    message
        .windows(WORDS.len())
        .any(|words| words.eq_ignore_ascii_case(WORDS))
}

fn text_of(status: u16, reply: &Reply) -> &[u8] {
    match status {
        SUCCESS => b"",
        NOT_FOUND => b"Not found",
        EXISTS => b"Data exists for key.",
        TOO_BIG => b"Too large.",
        INVALID => b"Invalid arguments",
        NOT_STORED => b"Not stored.",
        NOT_A_NUMBER => b"Non-numeric server-side value for incr or decr",
        UNKNOWN_COMMAND => b"Unknown command",
        _ => reply.message().trim_ascii_start(),
    }
}
