//! Which answers fit which question. A server that gives another one is out of step: what it says next may be meant for
//! somebody else.
//!
//! | question | values | last line | errors |
//! | --- | --- | --- | --- |
//! | `get`, `gat` | `VALUE` without unique | `END` | any |
//! | `gets`, `gats` | `VALUE` with unique | `END` | any |
//! | `set` | | `STORED` | `SERVER_ERROR` |
//! | `add`, `replace`, `append`, `prepend` | | `STORED`, `NOT_STORED` | `SERVER_ERROR` |
//! | `cas` | | `STORED`, `EXISTS`, `NOT_FOUND` | `SERVER_ERROR` |
//! | `incr`, `decr` | | a number, `NOT_FOUND` | any |
//! | `touch` | | `TOUCHED`, `NOT_FOUND` | any |
//! | `delete` | | `DELETED`, `NOT_FOUND` | any |
//! | `flush_all`, `cache_memlimit` | | `OK` | any |
//! | `version` | | `VERSION` | any |
//! | `stats` | `STAT` | `END` | any |
//! | `mg` with `v` | | `VA`, `EN` | any |
//! | `mg` without | | `HD` (`OK` before memcached 1.6.10), `EN` | any |
//! | `md` | | `HD` (`OK`), `NF`, `EX` | any |
//!
//! That is what the sources of memcached 1.4.0 to 1.6.45 say. Whether a value is of a key that was asked for, in the order
//! asked, is the leg's to tell.
//!
//! An error of a retrieval may come behind some values (out of memory), in place of `END`. `ERROR` and `CLIENT_ERROR` mean
//! that the server has not understood the line. With most commands that is all, and the next answer is the next one's. Of a
//! storage command a memcached before 1.6.40 or so then runs the data block as commands, and answers those as well: no
//! such answer fits. What magent forwards is understood by every memcached, so none comes from a server that is in its mind.

use super::request::Keys;
use super::response::{Response, Status};

/// What a line that was sent to a server asks for, as far as the answer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Get,
    Gets,
    Set,
    /// add, replace, append, prepend.
    Store,
    Cas,
    /// incr, decr.
    Count,
    Touch,
    Delete,
    /// What changes a server as a whole.
    Steer,
    Version,
    Stats,
    /// `mg` with the value.
    MetaGet,
    /// `mg` without it.
    MetaLook,
    /// `md`.
    MetaDelete,
}

impl Question {
    /// The question of a request; None if it is none that magent asks.
    pub fn of(request: &[u8]) -> Option<Self> {
        let word_len = request.iter().position(|&byte| matches!(byte, b' ' | b'\r'))?;
        Some(match &request[..word_len] {
            b"get" | b"gat" | b"bget" => Self::Get,
            b"gets" | b"gats" => Self::Gets,
            b"set" => Self::Set,
            b"add" | b"replace" | b"append" | b"prepend" => Self::Store,
            b"cas" => Self::Cas,
            b"incr" | b"decr" => Self::Count,
            b"touch" => Self::Touch,
            b"delete" => Self::Delete,
            b"flush_all" | b"cache_memlimit" => Self::Steer,
            b"version" => Self::Version,
            b"stats" => Self::Stats,
            b"mg" => {
                let line = request.strip_suffix(b"\r\n").unwrap_or(request);
                match Keys::of(line).skip(2).any(|flag| flag == b"v") {
                    true => Self::MetaGet,
                    false => Self::MetaLook,
                }
            }
            b"md" => Self::MetaDelete,
            b"" => return Self::of(&request[1..]),
            _ => return None,
        })
    }

    /// Whether values may come, each of a key that was asked for, before the last line.
    pub fn is_retrieval(self) -> bool {
        matches!(self, Self::Get | Self::Gets)
    }

    /// Whether this may be a part of the answer.
    pub fn is_answered_by(self, response: &Response<'_>) -> bool {
        use Status as S;
        match (self, response.status) {
            (Self::Set | Self::Store | Self::Cas, S::Error) => response.line.starts_with(b"SERVER_ERROR"),
            (_, S::Error) => true,
            (Self::Get, S::Value) => response.unique.is_none(),
            (Self::Gets, S::Value) => response.unique.is_some(),
            (Self::Get | Self::Gets, status) => status == S::End,
            (Self::Set, status) => status == S::Stored,
            (Self::Store, status) => matches!(status, S::Stored | S::NotStored),
            (Self::Cas, status) => matches!(status, S::Stored | S::Exists | S::NotFound),
            (Self::Count, status) => matches!(status, S::Number | S::NotFound),
            (Self::Touch, status) => matches!(status, S::Touched | S::NotFound),
            (Self::Delete, status) => matches!(status, S::Deleted | S::NotFound),
            (Self::Steer, status) => status == S::Ok,
            (Self::Version, status) => status == S::Version,
            (Self::Stats, status) => matches!(status, S::Stat | S::End),
            (Self::MetaGet, status) => matches!(status, S::MetaValue | S::MetaMiss),
            (Self::MetaLook, status) => matches!(status, S::MetaHit | S::Ok | S::MetaMiss),
            (Self::MetaDelete, status) => matches!(status, S::MetaHit | S::Ok | S::NotFound | S::Exists),
        }
    }
}
