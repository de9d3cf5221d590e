//! What is known of a request in progress, by what it does: see the rooms of the same names.

mod read;
mod write;

pub use read::{Hindrance, Race, Read, Share, Wanted, add_to_share, unanswered};
pub use write::{Copy, Found, Guard, Plan, Sizes, Stage, Undecided, Write, is_negative};

use crate::protocol::reply::Reply;
use crate::protocol::verb::Verb;

/// A command that all servers get; see `broadcast`.
pub struct Broadcast {
    pub verb: Verb,
    /// A flush_all without a delay.
    pub flushes_now: bool,
    /// Until when a flush waits for the end of a server's list, to be sent once more.
    pub again_by_ms: Option<u64>,
    /// The answer so far: the first error, else the lowest version, else OK.
    pub best: Option<Reply>,
    pub error: bool,
}

/// A set that was refused and that waits for its key; see `refusal`.
pub struct Refused {
    pub key: Box<[u8]>,
    pub reply: &'static Reply,
}
