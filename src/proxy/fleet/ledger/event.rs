//! What the ledger is told, and what it says.

use super::ack::{Ack, Number, Receipt};
use super::lacking::{Lacking, Range};

/// What the partner of a server that a write was cut off from has made of the same write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partner {
    /// It was sent it too, or is about to be, and has not answered.
    Asked,
    /// It has answered. Without a receipt the client has been told, so that there is no way back.
    Acked(Option<Receipt>, Ack),
    /// It was away, or the write was cut off from it before. `needs`: it changes nothing where the key is not.
    Missed { delivered: bool, needs: bool },
}

/// What a server made of an add, replace or cas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Stored,
    /// It stored, and a flush_all since has taken that.
    Flushed,
    /// There was nothing to replace.
    NothingThere,
    /// An error of the server's own: too large, out of memory.
    Refused,
    /// It says no, and leaves everything as it was.
    Unchanged,
}

impl Decision {
    pub fn has_stored(self) -> bool {
        matches!(self, Decision::Stored | Decision::Flushed)
    }
}

/// What happens to servers, and to writes where a server misses them.
#[derive(Debug)]
pub enum Event<'a> {
    /// It cannot be reached, or was given up. `drains`: for its silence; its links are kept, to hear what it does with what was
    /// delivered.
    Down {
        server: usize,
        drains: bool,
    },
    /// It will not tell all that it does with what was delivered.
    NotDrained(usize),
    /// It is asked which life it is in, on a new link.
    Asked(usize),
    /// It has said which.
    Introduced {
        server: usize,
        anew: bool,
    },
    /// Its process has ended, or has not answered for so long that nobody waits for what it held.
    Gone(usize),
    /// It holds nothing any more: it was restarted, or flushed.
    Emptied {
        server: usize,
        partners: &'a [usize],
    },
    /// Others are given time to notice that it is there again; and that time is over.
    Settling(usize),
    Settled(usize),
    /// A flush_all did not come to it.
    FlushMissed(usize),
    /// It may not have what a partner has of these keys.
    Lacks {
        server: usize,
        from: usize,
        what: Lacking,
        of: Range,
    },
    /// The same, of one key.
    LacksKey {
        server: usize,
        from: usize,
        key: &'a [u8],
    },
    /// A key that it lacked has been dealt with.
    Copied {
        server: usize,
        from: usize,
        key: &'a [u8],
    },
    /// It has been given what the partner listed, or could not be.
    Filled {
        server: usize,
        from: usize,
        left: Lacking,
    },
    /// Those that could not list their keys may try again.
    MayList,
    /// The configuration does not name it any more.
    Unnamed(usize),
    /// It may still have what it was told to remove.
    NotRid {
        server: usize,
        key: &'a [u8],
        delivered: bool,
    },

    /// A write begins while a server is away; its partner is asked alone.
    Unsent {
        write: Number,
        key: &'a [u8],
        server: usize,
        partner: usize,
    },
    /// A write was cut off on its way to a server, or before the answer.
    CutOff {
        write: Number,
        key: &'a [u8],
        server: usize,
        delivered: bool,
        partner: usize,
        is: Partner,
    },
    /// A server has answered a write that its partner has missed. None: it has changed nothing, for it does not have the key, which
    /// the partner may have; so that has missed nothing (R39).
    Answered {
        write: Number,
        key: &'a [u8],
        missed_by: usize,
        delivered: bool,
        ack: Option<Ack>,
    },
    /// The partner of a server that is away has changed the key in place (a gat). `alike`: it found it.
    Changed {
        key: &'a [u8],
        missed_by: usize,
        alike: bool,
    },
    /// A server has answered an add, replace or cas while its partner is away. `failed_over`: the partner was asked before,
    /// and whether that was delivered.
    Decided {
        write: Number,
        key: &'a [u8],
        missed_by: usize,
        failed_over: Option<bool>,
        decision: Decision,
    },
    /// A server that fell silent has answered an add, replace or cas that failed over.
    Ran {
        server: usize,
        key: &'a [u8],
        stored: bool,
    },
    /// A server has missed a change that is magent's own, or whose write is over.
    Missed {
        server: usize,
        key: &'a [u8],
        delivered: bool,
        ack: Ack,
    },
}

impl<'a> Event<'a> {
    /// A key of which somebody may have missed a write, and who.
    pub fn missed(&self) -> Option<(&'a [u8], [Option<usize>; 2])> {
        match *self {
            Event::Unsent {
                key, server, partner, ..
            }
            | Event::CutOff {
                key, server, partner, ..
            } => Some((key, [Some(server), Some(partner)])),
            Event::Answered { key, missed_by, .. }
            | Event::Changed { key, missed_by, .. }
            | Event::Decided { key, missed_by, .. } => Some((key, [Some(missed_by), None])),
            Event::Missed { key, server, .. } | Event::NotRid { key, server, .. } => Some((key, [Some(server), None])),
            _ => None,
        }
    }
}

/// Whose word counts of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// This one's, also that the key is not there: the other is away, or may lack what this one has.
    One(usize),
    /// Both are as good.
    Either,
    /// This one's, but it cannot be asked. What its partner has is true, what that does not have proves nothing.
    Unknown(usize),
}

/// What it proves that a server does not have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The key is not there.
    Proof,
    /// Nothing: the partner knows.
    AskPartner,
    /// Nothing: the partner may have it, and cannot be asked.
    PartnerAway,
}

/// What a server that returns must be rid of.
#[derive(Debug, PartialEq, Eq)]
pub enum Rid {
    /// In the order of the keys.
    Keys(Vec<Box<[u8]>>),
    /// Keys that are not known any more.
    TooMany,
    Everything,
}
