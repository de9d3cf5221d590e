//! How clients are understood: their bytes become requests.
//!
//! The codec that a connection has is told by its first byte, as memcached does. What is said to a request is written by the
//! [`Form`](super::form::Form) that came with it. Servers are spoken to in a dialect of their own ([`server`](super::server)), whatever their clients
//! speak.

use super::form::Parsed;
use super::meta::{self, Generation};
use super::text::dialect::Dialect;
use super::text::parse;
use super::{LINE_END, binary, find_newline};

pub use super::name::Room;

/// What the servers behind magent make of what clients say: the same is to be made of it here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    pub dialect: Dialect,
    pub meta: Generation,
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// memcached's text protocol, with the meta commands.
    #[default]
    Text,
    /// Its binary protocol.
    Binary,
}

impl Codec {
    /// That of a connection by its first byte.
    pub fn of(first: u8) -> Self {
        match first {
            binary::REQUEST_MAGIC => Codec::Binary,
            _ => Codec::Text,
        }
    }

    /// Understands the request at the front of `bytes`, as far as the value behind it. None if more has to come. What has to be decoded
    /// is decoded into `room`.
    #[inline]
    pub fn parse<'a>(self, behind: Behind, bytes: &'a [u8], room: &'a mut Room) -> Option<Parsed<'a>> {
        match self {
            Codec::Text if meta::may_begin(bytes) => match meta::parse::parse(behind, bytes, room) {
                None => parse::parse(behind.dialect, bytes),
                parsed => parsed,
            },
            Codec::Text => parse::parse(behind.dialect, bytes),
            Codec::Binary => binary::parse::parse(bytes, room),
        }
    }

    /// Whether what has come so far, and is no request yet, can become one.
    pub fn may_continue(self, bytes: &[u8]) -> bool {
        match self {
            Codec::Text => parse::may_continue(bytes),
            Codec::Binary => true, // a header says at once what is too long
        }
    }

    /// Whether a request, as far as the value behind it, is whole in `bytes`, where none was in the first `known` of them.
    pub fn is_whole(self, bytes: &[u8], known: usize) -> bool {
        match self {
            Codec::Text => find_newline(&bytes[known..]).is_some(),
            Codec::Binary => binary::parse::is_whole(bytes),
        }
    }

    /// What stands behind a value.
    #[inline]
    pub fn value_end(self) -> &'static [u8] {
        match self {
            Codec::Text => LINE_END,
            Codec::Binary => b"",
        }
    }
}
