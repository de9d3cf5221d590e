//! What is known of a write to both servers.

use crate::buffer::Slice;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Ack, Fate, Number, Receipt};
use crate::proxy::replicate::gate::Pass;
use crate::proxy::statistics::Statistics;

/// One of the two legs.
pub enum Copy {
    /// No such server, or it is down.
    Absent,
    Pending,
    Answered(Reply),
    Lost {
        /// It lay in the server's socket when that fell silent.
        delivered: bool,
    },
}

impl Copy {
    pub fn is_pending(&self) -> bool {
        matches!(self, Copy::Pending)
    }

    pub fn answer(&self) -> Option<&Reply> {
        match self {
            Copy::Answered(reply) => Some(reply),
            _ => None,
        }
    }

    /// Whether a partner that does the same, from the same state, or from having nothing, is left with nothing else.
    pub fn is_done_alike(&self, verb: Verb) -> bool {
        self.answer()
            .is_some_and(|reply| reply.status != Status::Error && (verb == Verb::Delete || !is_negative(reply)))
    }

    /// What this answer means to a partner that missed the write. What the client did wrong changed nothing (R6).
    pub fn ack(&self, verb: Verb) -> Ack {
        let fate = match self.answer() {
            Some(reply) if reply.fault == Fault::Client => Fate::Unacked,
            _ => Fate::Acked,
        };
        Ack {
            fate,
            alike: self.is_done_alike(verb),
            whole: matches!(verb, Verb::Set | Verb::Delete),
        }
    }
}

pub struct Write {
    pub verb: Verb,
    /// The server whose answer counts, and its partner.
    pub servers: (usize, Option<usize>),
    /// None once it is over.
    pub pass: Option<Pass>,
    pub first: Copy,
    pub second: Copy,
    /// Of the server that answered last.
    pub receipt: Option<Receipt>,
    /// In the ledger.
    pub number: Number,
    /// That it is not on the first may only mean that the second, which cannot be reached, has it.
    pub elsewhere: bool,
    /// Its key; kept where a second copy makes it worth knowing.
    pub key: Option<Slice>,
    /// What the client is told, whatever the servers say.
    pub reply: Option<&'static Reply>,
    /// Of what an append or prepend has left.
    pub sizes: Option<Box<Sizes>>,
}

impl Write {
    /// What the client is told where a server answered this.
    pub fn told<'a>(&self, reply: &'a Reply) -> &'a Reply {
        self.reply.unwrap_or(reply)
    }

    /// Whether sizes have still to be told.
    pub fn waits_for_sizes(&self) -> bool {
        self.sizes.as_ref().is_some_and(|sizes| sizes.are_pending())
    }

    /// Whether both copies have been found to be of different sizes.
    pub fn sizes_differ(&self) -> bool {
        self.sizes.as_ref().is_some_and(|sizes| sizes.differ())
    }

    /// Lets the other server decide.
    pub fn turn(&mut self) {
        if let Some(second) = &mut self.servers.1 {
            std::mem::swap(&mut self.servers.0, second);
            std::mem::swap(&mut self.first, &mut self.second);
            if let Some(sizes) = &mut self.sizes {
                sizes.turn();
            }
        }
    }

    /// Counts what the client asked for; it did not ask for a removal that has a reply of its own.
    pub fn count(&self, statistics: &mut Statistics, status: Status) {
        if self.reply.is_none() {
            statistics.count_outcome(self.verb, status);
        }
    }
}

/// The sizes of both copies of a value, as far as they are asked for and known.
#[derive(Default)]
pub struct Sizes {
    pub pending: u8,
    pub first: Option<u64>,
    pub second: Option<u64>,
}

impl Sizes {
    pub fn are_pending(&self) -> bool {
        self.pending > 0
    }

    pub fn differ(&self) -> bool {
        matches!((self.first, self.second), (Some(first), Some(second)) if first != second)
    }

    /// Lets the other server decide.
    pub fn turn(&mut self) {
        std::mem::swap(&mut self.first, &mut self.second);
    }
}

/// Whether an answer says that the key is not there.
pub fn is_negative(reply: &Reply) -> bool {
    matches!(reply.status, Status::NotFound | Status::NotStored)
}
