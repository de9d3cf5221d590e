//! What is known of a request in progress, by what it does: see the rooms of the same names.

mod read;
mod write;

pub use read::{Hindrance, Read, Share, Wanted, add_to_share, unanswered};
pub use write::{Copy, Write, is_negative};

use crate::protocol::reply::Reply;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Number, Receipt};
use crate::proxy::replicate::gate::Pass;
use crate::proxy::upstream::message::Held;
use std::rc::Rc;

/// An add, replace or cas; see `conditional`.
pub struct Conditional {
    /// The server that decides, and its partner.
    pub servers: (usize, Option<usize>),
    /// The whole request, by the client's clock and with its own unique.
    pub held: Held,
    /// The count of flushes when it was sent: one that came since has flushed what was stored.
    pub flushes: u64,
    /// Its partner was to decide, and was lost; whether it fell silent and had been sent this, so that it may do the same.
    pub failed_over: Option<bool>,
    /// In the ledger: a new one each time that it is sent to the server that decides.
    pub number: Number,
    pub pass: Pass,
    pub stage: Stage,
}

/// How far it has come.
#[derive(Clone)]
pub enum Stage {
    Deciding,
    /// The server that was asked is none that can decide any more: the other is to be asked.
    Elsewhere(Option<bool>),
    /// The server that decides stored, and said this; its partner gets its copy.
    Copying(Reply, Receipt),
    /// The partner refused the copy, or there was nothing to replace: what the partner had before must go.
    Removing(Reply, Receipt),
}

impl Conditional {
    pub fn verb(&self) -> Verb {
        self.held.verb()
    }

    pub fn key(&self) -> Rc<[u8]> {
        self.pass.key().map_or_else(|| Rc::from(&b""[..]), Rc::clone)
    }
}

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
