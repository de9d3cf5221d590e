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
//! | `ms` with `c` | | `HD` with a unique, `NS`, `EX`, `NF` | `SERVER_ERROR` |
//! | `incr`, `decr` | | a number, `NOT_FOUND` | any |
//! | `ma` with `v c` | | `VA` with a unique, `NF` | any |
//! | `touch` | | `TOUCHED`, `NOT_FOUND` | any |
//! | `delete` | | `DELETED`, `NOT_FOUND` | any |
//! | `flush_all`, `cache_memlimit` | | `OK` | any, `MEMLIMIT_ADJUST_FAILED` |
//! | `version` | | `VERSION` | any |
//! | `stats` | `STAT` | `END` | any |
//! | `mg` with `t f v` | | `VA` with both, `EN` | any |
//! | `mg` with `v` | | `VA`, `EN` | any |
//! | `mg` without | | `HD` (`OK` before memcached 1.6.10), `EN` | any |
//! | `me` | | `ME`, `EN` | any |
//! | `md` | | `HD` (`OK`), `NF`, `EX` | any |
//!
//! That is what the sources of memcached 1.4.0 to 1.6.45 say. Whether a value is of a key that was asked for, in the order
//! asked, is the leg's to tell.
//!
//! An error of a retrieval may come behind some values (out of memory), in place of `END`. `ERROR` and `CLIENT_ERROR` mean
//! that the server has not understood the line. With most commands that is all, and the next answer is the next one's. Of a
//! storage command a memcached before 1.6.40 or so then runs the data block as commands, and answers those as well: no
//! such answer fits. What magent forwards is understood by every memcached, so none comes from a server that is in its mind.

use super::answer::{Response, Status};
use crate::protocol::reply::Fault;
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;

/// The longest number of 64 bits.
const NUMBER_BYTES_MAX: usize = "18446744073709551615".len();

/// What a request that was sent to a server asks for, as far as the answer shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Get,
    Gets,
    Set,
    /// add, replace, append, prepend.
    Store,
    Cas,
    /// `ms` that tells the unique.
    MetaStore,
    /// incr, decr.
    Count,
    /// `ma` that tells the unique.
    MetaCount,
    Touch,
    Delete,
    /// What changes a server as a whole.
    Steer,
    Version,
    Stats,
    /// `mg` with all that a copy of an item needs.
    MetaGet,
    /// `mg` with a value, and what else a client wants to know.
    MetaValue,
    /// `mg` without it.
    MetaLook,
    /// `me`.
    MetaDebug,
    /// `mg` that makes an item.
    MetaMake,
    /// `md`.
    MetaDelete,
    /// `md` that makes stale.
    MetaInvalidate,
    /// What no link for requests is asked.
    Unasked,
}

impl Question {
    /// Whether it sets marks of an item, and gives it no value.
    pub fn marks(self) -> bool {
        matches!(self, Self::MetaMake | Self::MetaInvalidate)
    }

    /// The question that a request is.
    pub fn of(request: &Request<'_>) -> Self {
        match request.verb {
            verb if verb.is_storage() && request.options.unique => Self::MetaStore,
            Verb::Get | Verb::Gat => Self::Get,
            Verb::Gets | Verb::Gats => Self::Gets,
            Verb::Set => Self::Set,
            Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend => Self::Store,
            Verb::Cas => Self::Cas,
            verb if verb.is_count() && request.options.unique => Self::MetaCount,
            Verb::Incr | Verb::Decr => Self::Count,
            Verb::Touch => Self::Touch,
            Verb::Delete => Self::Delete,
            Verb::FlushAll | Verb::CacheMemlimit => Self::Steer,
            Verb::Version => Self::Version,
            Verb::Stats => Self::Stats,
            Verb::MetaGet | Verb::MetaGetAndTouch if !request.options.value => Self::MetaLook,
            Verb::MetaGet if request.options.ttl && request.options.flags => Self::MetaGet,
            Verb::MetaGet | Verb::MetaGetAndTouch => Self::MetaValue,
            Verb::MetaDebug => Self::MetaDebug,
            Verb::MetaMake => Self::MetaMake,
            Verb::MetaDelete => Self::MetaDelete,
            Verb::MetaInvalidate => Self::MetaInvalidate,
            Verb::ListKeys | Verb::ListAsCommands | Verb::Verbosity | Verb::Noop | Verb::Quit => Self::Unasked,
        }
    }

    /// Whether values may come, each of a key that was asked for, before the last line.
    pub fn is_retrieval(self) -> bool {
        matches!(self, Self::Get | Self::Gets)
    }

    /// Whether this may be a part of the answer.
    pub fn is_answered_by(self, response: &Response<'_>) -> bool {
        use Status as S;
        match (self, response.status) {
            (Self::Set | Self::Store | Self::Cas | Self::MetaStore, S::Error) => response.fault == Fault::Server,
            (Self::Steer, S::Error) => true,
            (Self::Unasked, _) => false,
            (_, S::Error) => response.fault != Fault::Other,
            (Self::Get, S::Value) => response.unique.is_none(),
            (Self::Gets, S::Value) => response.unique.is_some(),
            (Self::Get | Self::Gets, status) => status == S::End,
            (Self::Set, status) => status == S::Stored,
            (Self::Store, status) => matches!(status, S::Stored | S::NotStored),
            (Self::MetaStore, S::MetaHit) => response.unique.is_some(),
            (Self::MetaStore, status) => matches!(status, S::NotStored | S::Exists | S::NotFound),
            (Self::Cas, status) => matches!(status, S::Stored | S::Exists | S::NotFound),
            (Self::Count, status) => matches!(status, S::Number | S::NotFound),
            (Self::MetaCount, S::MetaValue) => {
                let is_number = response.value_len.is_some_and(|len| len <= NUMBER_BYTES_MAX);
                is_number && response.unique.is_some()
            }
            (Self::MetaCount, status) => status == S::NotFound,
            (Self::Touch, status) => matches!(status, S::Touched | S::NotFound),
            (Self::Delete, status) => matches!(status, S::Deleted | S::NotFound),
            (Self::Steer, status) => status == S::Ok,
            (Self::Version, status) => status == S::Version,
            (Self::Stats, status) => matches!(status, S::Stat | S::End),
            (Self::MetaGet, S::MetaValue) => response.flags.is_some() && response.ttl_s.is_some(),
            (Self::MetaValue, S::MetaValue) => true,
            (Self::MetaGet | Self::MetaValue, status) => status == S::MetaMiss,
            (Self::MetaLook | Self::MetaMake, status) => matches!(status, S::MetaHit | S::Ok | S::MetaMiss),
            (Self::MetaDebug, status) => matches!(status, S::MetaDebug | S::MetaMiss),
            (Self::MetaDelete | Self::MetaInvalidate, status) => {
                matches!(status, S::MetaHit | S::Ok | S::NotFound | S::Exists)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::parse;
    use super::*;
    use crate::protocol::request::Options;

    /// A line of each kind, an error of each kind, values with and without unique.
    const ANSWERS: [&str; 23] = [
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
        "ME k exp=-1 la=0",
    ];

    #[test]
    fn every_question_has_its_answers_and_no_others() {
        let refusals = ["ERROR", "CLIENT_ERROR bad command line format"];
        let plain = |verb| Question::of(&Request::new(verb, b"k"));
        let looks = |options| Question::of(&Request::look(b"k", options));
        let item = Options {
            ttl: true,
            flags: true,
            value: true,
            ..Options::default()
        };
        for (questions, fits, refusable) in [
            (
                &[plain(Verb::Get), plain(Verb::Gat)][..],
                &["VALUE k 0 1", "END"][..],
                true,
            ),
            (&[plain(Verb::Gets), plain(Verb::Gats)], &["VALUE k 0 1 7", "END"], true),
            (&[plain(Verb::Set)], &["STORED"], false),
            (
                &[Verb::Add, Verb::Replace, Verb::Append, Verb::Prepend].map(plain),
                &["STORED", "NOT_STORED"],
                false,
            ),
            (
                &[plain(Verb::Cas)],
                &["STORED", "EXISTS", "EX", "NOT_FOUND", "NF"],
                false,
            ),
            (
                &[plain(Verb::Incr), plain(Verb::Decr)],
                &["42", "NOT_FOUND", "NF"],
                true,
            ),
            (&[plain(Verb::Touch)], &["TOUCHED", "NOT_FOUND", "NF"], true),
            (&[plain(Verb::Delete)], &["DELETED", "NOT_FOUND", "NF"], true),
            (
                &[plain(Verb::FlushAll), plain(Verb::CacheMemlimit)],
                &["OK", ANSWERS[21]],
                true,
            ),
            (&[plain(Verb::Version)], &["VERSION 1.6.18"], true),
            (&[plain(Verb::Stats)], &["STAT pid 7", "END"], true),
            (&[looks(item)], &["VA 1 t-1 f0 kk", "EN"], true),
            (&[looks(Options::default())], &["HD t-1 kk", "OK", "EN"], true),
            (&[plain(Verb::MetaDebug)], &["ME k exp=-1 la=0", "EN"], true),
            (
                &[plain(Verb::MetaDelete)],
                &["HD t-1 kk", "OK", "NOT_FOUND", "NF", "EXISTS", "EX"],
                true,
            ),
        ] {
            for question in questions {
                for answer in ANSWERS {
                    let line = format!("{answer}\r\n");
                    let (_, response) = parse(line.as_bytes()).unwrap().unwrap();
                    let expected = fits.contains(&answer)
                        || answer.starts_with("SERVER_ERROR")
                        || refusable && refusals.contains(&answer);
                    assert_eq!(
                        question.is_answered_by(&response),
                        expected,
                        "{answer:?} to {question:?}"
                    );
                }
            }
        }
        for answer in ANSWERS {
            let line = format!("{answer}\r\n");
            let (_, response) = parse(line.as_bytes()).unwrap().unwrap();
            assert!(!plain(Verb::Quit).is_answered_by(&response), "{answer:?}");
        }
    }
}
