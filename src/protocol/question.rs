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
//! | `flush_all`, `cache_memlimit` | | `OK` | any, `MEMLIMIT_ADJUST_FAILED` |
//! | `version` | | `VERSION` | any |
//! | `stats` | `STAT` | `END` | any |
//! | `mg` with `t f v` | | `VA` with both, `EN` | any |
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
    /// `mg` with all that a copy of an item needs.
    MetaGet,
    /// `mg` without it.
    MetaLook,
    /// `md`.
    MetaDelete,
}

impl Question {
    /// The question of a request; None if it is none that magent asks.
    pub fn of(request: &[u8]) -> Option<Self> {
        // The ones that there are most of, as magent writes them.
        if request.starts_with(b"get ") {
            return Some(Self::Get);
        }
        if request.starts_with(b"set ") {
            return Some(Self::Set);
        }
        let start = request.iter().position(|&byte| byte != b' ')?;
        let request = &request[start..];
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
            (Self::Steer, S::Error) => true,
            (_, S::Error) => !response.line.starts_with(b"MEMLIMIT"),
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
            (Self::MetaGet, S::MetaValue) => response.flags.is_some() && response.ttl_s.is_some(),
            (Self::MetaGet, status) => status == S::MetaMiss,
            (Self::MetaLook, status) => matches!(status, S::MetaHit | S::Ok | S::MetaMiss),
            (Self::MetaDelete, status) => matches!(status, S::MetaHit | S::Ok | S::NotFound | S::Exists),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::parse;
    use super::*;

    /// A line of each kind, an error of each kind, values with and without unique.
    const ANSWERS: [&str; 22] = [
        "VALUE k 0 1",
        "VALUE k 0 1 7",
        "END",
        "STORED",
        "NOT_STORED",
        "EXISTS",
        "EX",
        "NOT_FOUND",
        "NF",
        "DELETED",
        "TOUCHED",
        "OK",
        "42",
        "VERSION 1.6.18",
        "VA 1 t-1 f0 kk",
        "EN",
        "HD t-1 kk",
        "STAT pid 7",
        "ERROR",
        "CLIENT_ERROR bad command line format",
        "SERVER_ERROR out of memory storing object",
        "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
    ];

    #[test]
    fn every_question_has_its_answers_and_no_others() {
        let refusals = ["ERROR", "CLIENT_ERROR bad command line format"];
        for (requests, fits, refusable) in [
            (
                &["get k", "get a k", "gat 0 k", "bget k", "  get k"][..],
                &["VALUE k 0 1", "END"][..],
                true,
            ),
            (&["gets k", "gats 0 k a"], &["VALUE k 0 1 7", "END"], true),
            (&["set k 0 0 1"], &["STORED"], false),
            (
                &["add k 0 0 1", "replace k 0 0 1", "append k 0 0 1", "prepend k 0 0 1"],
                &["STORED", "NOT_STORED"],
                false,
            ),
            (
                &["cas k 0 0 1 7"],
                &["STORED", "EXISTS", "EX", "NOT_FOUND", "NF"],
                false,
            ),
            (&["incr k 1", "decr k 1"], &["42", "NOT_FOUND", "NF"], true),
            (&["touch k 0"], &["TOUCHED", "NOT_FOUND", "NF"], true),
            (&["delete k"], &["DELETED", "NOT_FOUND", "NF"], true),
            (
                &["flush_all", "flush_all 10", "cache_memlimit 64"],
                &["OK", ANSWERS[21]],
                true,
            ),
            (&["version"], &["VERSION 1.6.18"], true),
            (&["stats", "stats items"], &["STAT pid 7", "END"], true),
            (&["mg k t f c k v", "mg v v"], &["VA 1 t-1 f0 kk", "EN"], true),
            (&["mg k t k", "mg v c k"], &["HD t-1 kk", "OK", "EN"], true),
            (
                &["md k C7"],
                &["HD t-1 kk", "OK", "NOT_FOUND", "NF", "EXISTS", "EX"],
                true,
            ),
        ] {
            for request in requests {
                let question = Question::of(format!("{request}\r\n").as_bytes()).expect("a question");
                for answer in ANSWERS {
                    let line = format!("{answer}\r\n");
                    let (_, response) = parse(line.as_bytes()).unwrap().unwrap();
                    let expected = fits.contains(&answer)
                        || answer.starts_with("SERVER_ERROR")
                        || refusable && refusals.contains(&answer);
                    assert_eq!(
                        question.is_answered_by(&response),
                        expected,
                        "{answer:?} to {request:?}"
                    );
                }
            }
        }
        for other in ["", "\r\n", "quit\r\n", "getx k\r\n", "get"] {
            assert_eq!(Question::of(other.as_bytes()), None, "{other:?}");
        }
    }
}
