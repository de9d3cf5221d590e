//! How a client is spoken with: bytes to requests, and replies and items to bytes.
//!
//! The codec that a connection has is told by its first byte, as memcached does. What a reply takes over from its request, so
//! that nobody else needs to know of it, is the reply's form: both are made here, and no other room looks into either. Servers
//! are spoken to in a dialect of their own ([`server`](super::server)), whatever their clients speak.

use super::reply::Reply;
use super::request::Request;
use super::server::answer::Response;
use super::text::dialect::Dialect;
use super::text::refusal::Refusal;
use super::text::{parse, reply};
use super::{LINE_END, find_newline};

/// The first byte of a connection whose client speaks the binary protocol (`protocol_binary.h`).
const BINARY_MAGIC: u8 = 0x80;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// memcached's text protocol.
    #[default]
    Text,
}

/// How the reply to a request is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As to a command of the text protocol.
    #[default]
    Text,
    /// Not at all: noreply.
    Silent,
}

/// What stands at the front of a client's bytes: how many of them it is, in which form it is replied to, and the request, as
/// far as the value behind it, or what is said of what is none.
pub type Parsed<'a> = (usize, Form, Result<Request<'a>, Refusal>);

impl Codec {
    /// That of a connection by its first byte. None: magent does not speak it.
    pub fn of(first: u8) -> Option<Self> {
        (first != BINARY_MAGIC).then_some(Codec::Text)
    }

    /// Understands the request at the front of `bytes`. None if more has to come.
    #[inline]
    pub fn parse(self, dialect: Dialect, bytes: &[u8]) -> Option<Parsed<'_>> {
        match self {
            Codec::Text => parse::parse(dialect, bytes).map(|(len, request)| {
                let noreply = match &request {
                    Ok(request) => request.noreply,
                    Err(refusal) => refusal.noreply,
                };
                (len, if noreply { Form::Silent } else { Form::Text }, request)
            }),
        }
    }

    /// Whether what has come so far, and is no request yet, can become one.
    pub fn may_continue(self, bytes: &[u8]) -> bool {
        match self {
            Codec::Text => parse::may_continue(bytes),
        }
    }

    /// Whether a request, as far as the value behind it, is whole in `bytes`, where none was in the first `known` of them.
    pub fn is_whole(self, bytes: &[u8], known: usize) -> bool {
        match self {
            Codec::Text => find_newline(&bytes[known..]).is_some(),
        }
    }

    /// What stands behind a value.
    #[inline]
    pub fn value_end(self) -> &'static [u8] {
        match self {
            Codec::Text => LINE_END,
        }
    }
}

impl Form {
    /// Writes a reply, or what ends one that consists of items, piece by piece.
    #[inline]
    pub fn reply(&self, reply: &Reply, add: impl FnMut(&[u8])) {
        match self {
            Form::Text => reply::encode(reply, add),
            Form::Silent => {}
        }
    }

    /// Adds one of the lines that `stats` is answered by. After the last comes a reply of [`Status::End`](super::reply::Status).
    pub fn statistic(&self, lines: &mut Vec<u8>, name: &str, value: &str) {
        match self {
            Form::Text => reply::add_statistic(lines, name, value),
            Form::Silent => {}
        }
    }

    /// Whether nothing is ever written, whatever is said.
    #[inline]
    pub fn is_silent(&self) -> bool {
        *self == Form::Silent
    }

    /// A reply as it is written.
    pub fn written(&self, reply: &Reply) -> Vec<u8> {
        let mut written = Vec::new();
        self.reply(reply, |part| written.extend_from_slice(part));
        written
    }

    /// An item as it is written: what comes in front of its value, and the part of `data` that follows. None where that is
    /// what the server has written. `data` is the value with its line end; empty if none was asked for.
    #[inline]
    pub fn item<'a>(
        &mut self,
        item: &Response<'_>,
        unique: Option<u64>,
        data: &'a [u8],
        verbatim: bool,
    ) -> Option<(Vec<u8>, &'a [u8])> {
        match self {
            Form::Text if unique == item.unique && verbatim => None,
            Form::Text => Some((reply::value_line(item, unique, data.len() - LINE_END.len()), data)),
            Form::Silent => None,
        }
    }
}
