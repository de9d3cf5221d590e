//! What is known of a write in progress.

use crate::buffer::Slice;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Ack, Fate, Number, Receipt};
use crate::proxy::replicate::gate::{Access, Pass};
use crate::proxy::statistics::Statistics;
use crate::proxy::upstream::link::Side;
use crate::proxy::upstream::message::Held;

/// In which order the two servers of a key are sent what changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Both at once.
    Both,
    /// Both at once, but that the second gets a touch and not the question for the value; see `touch`.
    Mirrored,
    /// The server that decides, then its partner, by what that said: a copy of the item, or a removal; see `decide`.
    FirstThenCopy,
}

impl Plan {
    /// Which verb has which: it is said here alone.
    #[inline]
    pub fn of(verb: Verb, has_backups: bool) -> Self {
        match verb {
            Verb::Gat | Verb::Gats | Verb::MetaGetAndTouch => Plan::Mirrored,
            // What they do depends on one server's state.
            Verb::Add | Verb::Replace | Verb::Cas | Verb::MetaDelete if has_backups => Plan::FirstThenCopy,
            // What set, delete and touch do cannot differ, and incr, decr, append and prepend both copies compute alike.
            _ => Plan::Both,
        }
    }

    /// How it goes through the gate of its key.
    #[inline]
    pub fn access(self) -> Access {
        match self {
            Plan::Both => Access::Both,
            Plan::Mirrored => Access::Touch,
            Plan::FirstThenCopy => Access::Alone,
        }
    }
}

/// How far a write has come, by its plan.
pub enum Stage {
    /// Both were sent it.
    Both,
    /// They have counted differently, and the second's board is asked, or has been, whether the first one decides.
    Weighing { is_asked: bool },
    /// And then asked for the size of what an append or prepend has left.
    Measuring(Box<Sizes>),
    /// The first is to decide.
    Deciding(Box<Undecided>),
    /// It stored an add, and the second adds it too: another magent may have been given the key there, if the first is lost.
    Adding(Box<Undecided>),
    /// The second has something, and the first is asked whether it still has what it stored: if not, it was lost, and somebody else
    /// may have been given the key.
    Confirming(Box<Undecided>),
    /// It stored, and the second replaces what it had before with that.
    Replacing(Box<Undecided>),
    /// The second has something else, and its board is asked whether the first one decides, for all who use them; see `agree`.
    Asking(Box<Undecided>),
    /// It does not, so that what it has stored is to be made like what the second has.
    Overruled,
    /// It stored, and the second gets its copy.
    Copying,
    /// The second refused the copy, or the first had nothing to replace: what the second had before must go.
    Removing,
}

/// A write that is to be decided.
pub struct Undecided {
    /// The whole request, by the client's clock and with its own unique.
    pub held: Held,
    /// The count of flushes when it was sent: one that came since has flushed what was stored.
    pub flushes: u64,
    /// It was sent in the form that tells the unique of what it stores.
    pub tells_unique: bool,
    /// Others may write there.
    pub is_compared: bool,
    pub guard: Guard,
}

/// What the second server, where others may write there, is asked of the item that is to be replaced by what the first stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    pub is_asked: bool,
    /// The server that is asked.
    pub of: usize,
    /// Answers that are to come.
    pub pending: u8,
    pub found: Found,
}

/// What is on the second server before the first has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// Nobody knows: whatever is there is replaced.
    #[default]
    Unknown,
    Nothing,
    /// An item with this unique.
    Item(u64),
}

/// One of the two legs.
pub enum Copy {
    /// No such server, or it is down, or it was not sent the write yet.
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

    /// Of one that was lost, whether it was delivered.
    pub fn lost(&self) -> Option<bool> {
        match self {
            Copy::Lost { delivered } => Some(*delivered),
            _ => None,
        }
    }

    /// Whether its server has said that the key is not there.
    pub fn is_negative(&self) -> bool {
        self.answer().is_some_and(is_negative)
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
    /// Of a write that failed over to the first server: what became of it on this one, which was to decide before.
    pub second: Copy,
    /// Of the server that answered last; where one decides, of that.
    pub receipt: Option<Receipt>,
    /// In the ledger: a new one each time that it is sent to a server that decides.
    pub number: Number,
    /// That it is not on the first may only mean that the second, which cannot be reached, has it.
    pub elsewhere: bool,
    /// Its key; kept where a second copy makes it worth knowing.
    pub key: Option<Slice>,
    /// What the client is told, whatever the servers say.
    pub reply: Option<&'static Reply>,
    pub stage: Stage,
}

impl Write {
    /// Whether its plan is to send it to both servers at once; else one decides first.
    #[inline]
    pub fn is_to_both(&self) -> bool {
        matches!(self.stage, Stage::Both | Stage::Measuring(_) | Stage::Weighing { .. })
    }

    /// Whether the second server has stored it, and the first, whose word counts, has not.
    pub fn is_left_behind(&self) -> bool {
        let has_stored = |copy: &Copy| copy.answer().is_some_and(|reply| reply.status == Status::Stored);
        matches!(self.stage, Stage::Overruled) || has_stored(&self.second) && !has_stored(&self.first)
    }

    /// What became of it on a server.
    pub fn copy_mut(&mut self, side: Side) -> &mut Copy {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }

    pub fn server(&self, side: Side) -> Option<usize> {
        match side {
            Side::First => Some(self.servers.0),
            Side::Second => self.servers.1,
        }
    }

    /// The key, where that is kept.
    pub fn key(&self) -> &[u8] {
        self.key.as_ref().map_or(b"", |key| key.bytes())
    }

    pub fn pass(&self) -> &Pass {
        self.pass.as_ref().expect("it is not over")
    }

    /// What the client is told where a server answered this.
    pub fn told<'a>(&self, reply: &'a Reply) -> &'a Reply {
        self.reply.unwrap_or(reply)
    }

    fn sizes(&self) -> Option<&Sizes> {
        match &self.stage {
            Stage::Measuring(sizes) => Some(sizes),
            _ => None,
        }
    }

    /// Whether an answer is still to come, or a size to be told.
    pub fn is_pending(&self) -> bool {
        let is_asked = match &self.stage {
            Stage::Confirming(_) | Stage::Asking(_) => true,
            Stage::Weighing { is_asked } => *is_asked,
            Stage::Deciding(undecided) => undecided.guard.pending > 0,
            _ => false,
        };
        let is_sent = self.first.is_pending() || self.second.is_pending();
        is_asked || is_sent || self.sizes().is_some_and(|sizes| sizes.pending > 0)
    }

    /// Whether both copies have been found to be of different sizes.
    pub fn sizes_differ(&self) -> bool {
        let sizes = self.sizes().map(|sizes| (sizes.first, sizes.second));
        matches!(sizes, Some((Some(first), Some(second))) if first != second)
    }

    /// Lets the other server decide.
    pub fn turn(&mut self) {
        if let Some(second) = &mut self.servers.1 {
            std::mem::swap(&mut self.servers.0, second);
            std::mem::swap(&mut self.first, &mut self.second);
            if let Stage::Measuring(sizes) = &mut self.stage {
                std::mem::swap(&mut sizes.first, &mut sizes.second);
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

/// Whether an answer says that the key is not there.
pub fn is_negative(reply: &Reply) -> bool {
    matches!(reply.status, Status::NotFound | Status::NotStored)
}
