//! Why a key is copied, how, and what that takes.

use crate::protocol::reply::Reply;
use crate::proxy::copier::command::Command;
use crate::proxy::fleet::marks::Marks;
use crate::proxy::handoff::Waiting;
use crate::proxy::upstream::link::Purpose;

#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// A read found it on `from` and not on `to`. What is newer there stays.
    Read,
    /// The same, while other magents use the two: only the item with this unique, which has been there for a while.
    Left(u64),
    /// The two answered a write differently: `to` is to have what `from` has. The transaction may wait for that.
    Heal(Option<Waiting>),
    /// Both have an item, which is not the same, though nothing has changed for a while: these are their uniques. What has come to one of
    /// them since may be on its way to the other, and be computed there.
    Differ([u64; 2]),
    /// It was deleted from both, and then this unique was found on `to` and nothing on `from`, which decides: what was written meanwhile
    /// by another magent and came to `from` before that, or a copy from before.
    Deleted(u64),
    /// `to` is being filled.
    Fill(Fill),
}

impl Why {
    pub fn manner(&self) -> Manner {
        match self {
            Why::Read | Why::Left(_) => Manner::Add,
            Why::Heal(_) | Why::Differ(_) => Manner::Overwrite,
            Why::Deleted(_) => Manner::Remove,
            Why::Fill(fill) => fill.manner,
        }
    }

    /// Whether what is on `from` was found to be right before.
    pub fn heals(&self) -> bool {
        matches!(self, Why::Heal(_) | Why::Differ(_))
    }

    /// Whether it is copied for no other reason than that it was found on one of the two alone.
    pub fn is_found_alone(&self) -> bool {
        matches!(self, Why::Read | Why::Left(_))
    }

    /// Whether what is on `from` is right only where that is the senior.
    pub fn is_by_seniority(&self) -> bool {
        matches!(self, Why::Heal(None) | Why::Differ(_))
    }

    /// Whether what is there now is not what was found before.
    pub fn has_changed(&self, from: Option<u64>, to: Option<u64>) -> bool {
        let Why::Differ([one, other]) = *self else {
            return false;
        };
        from.is_some_and(|unique| unique != one) || to.is_some_and(|unique| unique != other)
    }

    /// Whether what was filled is looked through.
    pub fn looks_through(&self) -> bool {
        matches!(self, Why::Fill(fill) if fill.manner == Manner::Remove)
    }

    /// The unique of the only item that is to be removed.
    pub fn unique(&self) -> Option<u64> {
        match self {
            Why::Fill(fill) => fill.unique,
            Why::Deleted(unique) => Some(*unique),
            Why::Read | Why::Left(_) | Why::Heal(_) | Why::Differ(_) => None,
        }
    }
}

/// A key of a server that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The number of the resync.
    pub resync: u64,
    pub manner: Manner,
    /// The unix second in the list of keys; 0 for never.
    pub listed_exptime: Option<i64>,
    /// What it was taken to weigh.
    pub size: usize,
    /// The unique that it had in the list.
    pub unique: Option<u64>,
}

/// How a key is dealt with while a server is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Copied, unless it is there.
    Add,
    /// The same, but it probably is there, so that is asked first.
    AddIfLacking,
    /// Made what it is on `from`.
    Overwrite,
    /// Looked for on `from`; if it is not there, that is noted.
    Verify,
    /// The two were parted: one is made like the other, whichever was written meanwhile.
    EvenOut,
    /// Removed if it is not on `from` either, unless it has changed since it was listed.
    Remove,
}

/// What is known of one of the two servers when something happens.
#[derive(Clone, Copy, Debug)]
pub struct Party {
    pub is_up: bool,
    /// It answers meta commands, as far as we know.
    pub has_meta: bool,
    /// Seconds by which its clock is ahead of magent's.
    pub ahead_s: i64,
}

/// The two servers of a key.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub from: Party,
    pub to: Party,
    /// `from` has been up, in one life, since it was found to be right (R17).
    pub source_is_still: bool,
    /// Other magents are without `from`, and not without `to`: their clients may have deleted what is still there. Or it has returned, was
    /// parted from `to`, and has not been made alike of this key yet.
    pub source_is_doubtful: bool,
    /// The proxy's count of flushes.
    pub flushes: u64,
    /// One with a delay may have come to one of the two, and not to the other: a copy would undo it.
    pub flush_is_near: bool,
    /// Of two that differ it is `from` that every magent takes to be right.
    pub from_is_senior: bool,
    /// How the key is to be judged, if they were parted.
    pub marks: Option<Marks>,
}

/// What a repair wants to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// To be asked of a server; the answer comes back to this repair.
    Send {
        server: usize,
        purpose: Purpose,
        command: Command<'a>,
    },
    /// `from` does not know meta commands.
    HasNoMeta,
    /// `to` refused the copy, with this answer.
    Refused(Reply),
    /// `to` has missed a change; whether it was delivered, so that it may still do it.
    Missed { delivered: bool },
    /// `from` does not have what `to` has.
    Suspect,
    /// What the two have may not be the same.
    Differs,
    /// It is the same, and these are the uniques: of the senior's item, and of the copy.
    Alike { uniques: [u64; 2] },
    /// It is over; these bytes were copied, None if none were.
    Done { copied: Option<usize> },
}

pub fn send(server: usize, purpose: Purpose, command: Command<'_>) -> Action<'_> {
    Action::Send {
        server,
        purpose,
        command,
    }
}

pub fn look_for_unique(server: usize) -> Action<'static> {
    send(server, Purpose::RepairCheck, Command::LookForUnique)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_differ_are_made_alike_if_neither_has_changed() {
        let differ = Why::Differ([5, 6]);
        for (from, to, has_changed) in [
            (None, None, false),
            (Some(5), None, false),
            (None, Some(6), false),
            (Some(6), None, true),
            (None, Some(5), true),
            (None, Some(0), true), // it is gone
        ] {
            assert_eq!(differ.has_changed(from, to), has_changed, "{from:?} {to:?}");
            assert!(!Why::Heal(None).has_changed(from, to));
        }
    }
}
