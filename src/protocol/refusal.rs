//! What is said to what is no request, and what becomes of the bytes behind it; in any protocol.

use super::reply::{Fault, Reply};

pub const ERROR: &Reply = &Reply::error(Fault::Unknown, b"");
pub const BAD_FORMAT: &Reply = &Reply::error(Fault::Client, b" bad command line format");
pub const BAD_DELETE: &Reply = &Reply::error(
    Fault::Client,
    b" bad command line format.  Usage: delete <key> [noreply]",
);
pub const BAD_DELTA: &Reply = &Reply::error(Fault::Client, b" invalid numeric delta argument");
pub const BAD_EXPTIME: &Reply = &Reply::error(Fault::Client, b" invalid exptime argument");
pub const BAD_CHUNK: &Reply = &Reply::error(Fault::Client, b" bad data chunk");
pub const BAD_CLASS: &Reply = &Reply::error(Fault::Other, b"BADCLASS invalid class id");
pub const MEMLIMIT_TOO_SMALL: &Reply =
    &Reply::error(Fault::Other, b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m");
pub const MEMLIMIT_TOO_LARGE: &Reply = &Reply::error(
    Fault::Other,
    b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
);
pub const TOO_LARGE: &Reply = &Reply::error(Fault::Server, b" object too large for cache");

/// Where a client's next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Behind the line.
    NextLine,
    /// Behind so many bytes that follow the line.
    Swallow(usize),
    /// Nobody can tell: the connection is closed.
    Close,
}

/// What memcached says to a line that is no command.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reply: &'static Reply,
    /// noreply keeps the error text from the client.
    pub noreply: bool,
    pub after: After,
}

impl Refusal {
    pub(in crate::protocol) const fn loud(reply: &'static Reply) -> Self {
        Self {
            reply,
            noreply: false,
            after: After::NextLine,
        }
    }

    pub(in crate::protocol) const fn closing(reply: &'static Reply) -> Self {
        Self {
            reply,
            noreply: false,
            after: After::Close,
        }
    }

    /// The connection is closed without a word.
    pub(in crate::protocol) const fn hang_up() -> Self {
        Self {
            reply: ERROR,
            noreply: true,
            after: After::Close,
        }
    }
}
