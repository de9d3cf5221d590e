//! What is said of writes, and what that is worth.

/// What a remembered key costs beside its own bytes, roughly.
pub const KEY_OVERHEAD: usize = 32;

/// What became of a write that a server did not acknowledge, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Its partner did not acknowledge it either: what this server holds is as good.
    Unacked,
    /// Its partner has still to answer.
    InDoubt,
    /// Its partner has acknowledged it, or what was there before: what this server holds is of no worth, unless it has run
    /// the same.
    Acked,
}

/// A place in the order in which writes began and servers returned: the ledger counts both. No event has the number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(u64);

impl Number {
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// What an acknowledgement is worth later: it is good for one epoch of the server that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) server: u32,
    pub(super) epoch: u32,
}

/// What a server's answer to a write means to its partner, which has missed that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub fate: Fate,
    /// Who runs the same, from the same state or from having nothing, is left with nothing else. If not, that it was
    /// delivered does not help.
    pub alike: bool,
    /// It leaves nothing of what was there before.
    pub whole: bool,
}

impl Ack {
    pub const ACKED: Ack = Ack {
        fate: Fate::Acked,
        alike: true,
        whole: false,
    };
    pub const WHOLE: Ack = Ack {
        whole: true,
        ..Ack::ACKED
    };

    pub fn of(fate: Fate) -> Self {
        Ack { fate, ..Ack::ACKED }
    }
}
