//! How a client is spoken with: bytes to requests, and replies and values to bytes.
//!
//! The one that a connection has is told by its first byte, as memcached does. Servers are spoken to in a dialect of their own
//! ([`server`](super::server)), whatever their clients speak.

use super::LINE_END;
use super::reply::Reply;
use super::request::Request;
use super::server::answer::Response;
use super::text::dialect::Dialect;
use super::text::refusal::Refusal;
use super::text::{parse, reply};

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// memcached's text protocol.
    #[default]
    Text,
}

/// What stands at the front of a client's bytes, and how many of them it is.
pub type Parsed<'a> = (usize, Result<Request<'a>, Refusal>);

impl Codec {
    /// Understands the request at the front of `bytes`, as far as the value behind it, or what is to be said of what is none.
    /// None if more has to come.
    #[inline]
    pub fn parse(self, dialect: Dialect, bytes: &[u8]) -> Option<Parsed<'_>> {
        match self {
            Codec::Text => parse::parse(dialect, bytes),
        }
    }

    /// Whether what has come so far, and is no request yet, can become one.
    pub fn may_continue(self, bytes: &[u8]) -> bool {
        match self {
            Codec::Text => parse::may_continue(bytes),
        }
    }

    /// Writes a reply, piece by piece.
    #[inline]
    pub fn reply(self, reply: &Reply, add: impl FnMut(&[u8])) {
        match self {
            Codec::Text => reply::encode(reply, add),
        }
    }

    /// A reply as it is written.
    pub fn written(self, reply: &Reply) -> Vec<u8> {
        match self {
            Codec::Text => reply::line(reply),
        }
    }

    /// What is written in front of a value, which has its line end with it in `data`. None where that is what the server has
    /// written.
    #[inline]
    pub fn value(self, response: &Response<'_>, unique: Option<u64>, data: &[u8], verbatim: bool) -> Option<Vec<u8>> {
        match self {
            Codec::Text if unique == response.unique && verbatim => None,
            Codec::Text => Some(reply::value_line(response, unique, data.len() - LINE_END.len())),
        }
    }
}
