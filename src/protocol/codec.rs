//! How clients are understood: their bytes become requests.
//!
//! The codec that a connection has is told by its first byte, as memcached does. What is said to a request is written by the
//! [`Form`](super::form::Form) that came with it. Servers are spoken to in a dialect of their own ([`server`](super::server)), whatever their clients
//! speak.

use super::binary;
use super::text::dialect::Dialect;
use super::text::parse::{self, Parsed};
use super::{LINE_END, find_newline};

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// memcached's text protocol.
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

    /// Understands the request at the front of `bytes`, as far as the value behind it. None if more has to come.
    #[inline]
    pub fn parse(self, dialect: Dialect, bytes: &[u8]) -> Option<Parsed<'_>> {
        match self {
            Codec::Text => parse::parse(dialect, bytes),
            Codec::Binary => binary::parse::parse(bytes),
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
