//! What a server lacks that a partner has: keys, up to a bound, or everything.

use super::ack::KEY_OVERHEAD;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// What a server may lack that one of its partners has.
#[derive(Debug)]
pub struct Lack {
    /// The partner.
    pub from: usize,
    pub what: Lacking,
    /// Of which keys that is said; of all others it lacks nothing.
    pub of: Range,
}

impl Lack {
    pub fn lacks(&self, key: &[u8]) -> Lacks {
        match self.of.covers(key) {
            true => self.what.lacks(key),
            false => Lacks::Nothing,
        }
    }

    /// Whether what it has itself of a key may be old.
    pub fn is_suspect_of(&self, key: &[u8]) -> bool {
        self.what == Lacking::Suspect && self.of.covers(key)
    }

    /// Whether it does not keep the server from speaking for a key.
    pub fn is_whole_for(&self, key: &[u8]) -> bool {
        self.what.is_filled() || self.lacks(key) == Lacks::Nothing
    }

    /// Adds what else it may lack of the same partner.
    pub fn add(&mut self, what: Lacking, of: Range) {
        let known = std::mem::replace(&mut self.of, Range::All);
        let had = std::mem::replace(&mut self.what, Lacking::Suspect);
        (self.what, self.of) = match (had, what) {
            (Lacking::Suspect | Lacking::Unverified { .. }, Lacking::Suspect) => (Lacking::Suspect, known.and(of)),
            (Lacking::Keys(keys), Lacking::Suspect) if keys.is_empty() => (Lacking::Suspect, of),
            // It is still old, too.
            (Lacking::Suspect, Lacking::Everything) => (Lacking::Suspect, Range::All),
            // It lacked more than that.
            (_, Lacking::Suspect) => (Lacking::Suspect, Range::All),
            (_, what) => (what, Range::All),
        };
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Lacking {
    /// These keys; without any it is only waited until the server has settled.
    Keys(KeySet),
    /// Whatever the partner has.
    Everything,
    /// The same, and what it has itself may be old: it was away and kept its items, or the keys came to it by new settings,
    /// perhaps not for the first time (R29).
    Suspect,
    /// The same, and the partner cannot say what that is.
    Unlistable,
    /// Hardly anything, but it may have been given what another magent was deleting just then. Looked into once it has
    /// settled (R10). Where the partner's list was not `complete` it may also have left something out.
    Unverified { complete: bool },
}

/// How surely a server lacks a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lacks {
    Surely,
    Perhaps,
    Nothing,
}

/// How little is known of what a server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It is not known which life it is in.
    Unconfirmed,
    /// It has returned so lately that others may still have to remove from it what it missed of theirs.
    Settling,
    None,
}

/// How sure it is that a server has of a key what there is; the greater is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certainty {
    pub lacks: Lacks,
    pub doubt: Doubt,
}

impl Certainty {
    /// Its word is the truth.
    pub fn is_full(self) -> bool {
        self.lacks == Lacks::Nothing && self.doubt == Doubt::None
    }
}

impl Lacking {
    /// Whether there is nothing to be copied any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Lacking::Keys(keys) if keys.is_empty())
    }

    pub fn lacks(&self, key: &[u8]) -> Lacks {
        match self {
            Lacking::Keys(keys) if keys.contains(key) => Lacks::Surely,
            Lacking::Keys(_) => Lacks::Nothing,
            Lacking::Everything | Lacking::Suspect | Lacking::Unlistable | Lacking::Unverified { .. } => Lacks::Perhaps,
        }
    }

    /// Whether it is not filled yet, by a list that leaves nothing out.
    pub fn is_to_be_filled(&self) -> bool {
        !matches!(self, Lacking::Keys(_)) && !self.is_filled()
    }

    /// Whether the server was filled, by a list that leaves nothing out: it has what there was.
    pub fn is_filled(&self) -> bool {
        matches!(self, Lacking::Unverified { complete: true })
    }

    /// Whether it was filled by any list.
    pub fn is_filled_somehow(&self) -> bool {
        matches!(self, Lacking::Unverified { .. })
    }
}

/// Some of all keys.
pub trait Keys: fmt::Debug {
    fn contain(&self, key: &[u8]) -> bool;
}

/// Which keys something is said of.
#[derive(Clone, Debug)]
pub enum Range {
    All,
    /// Those that one of these contains.
    Some(Vec<Rc<dyn Keys>>),
}

/// So many times that keys are gained are told apart; with more it is said of all.
const PARTS_MAX: usize = 8;

impl Range {
    pub fn covers(&self, key: &[u8]) -> bool {
        match self {
            Range::All => true,
            Range::Some(parts) => parts.iter().any(|keys| keys.contain(key)),
        }
    }

    /// Both together.
    fn and(self, more: Range) -> Range {
        match (self, more) {
            (Range::Some(mut parts), Range::Some(more)) if parts.len() + more.len() <= PARTS_MAX => {
                parts.extend(more);
                Range::Some(parts)
            }
            _ => Range::All,
        }
    }
}

impl PartialEq for Range {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Range::All, Range::All) => true,
            (Range::Some(one), Range::Some(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Rc::ptr_eq(one, other))
            }
            _ => false,
        }
    }
}

impl Eq for Range {}

/// Keys, each once, and what they take.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeSet<Box<[u8]>>,
    /// Kept beside the keys: adding them up anew for each key that comes would cost as much as there are.
    bytes: usize,
}

impl KeySet {
    pub fn insert(&mut self, key: Box<[u8]>) {
        let weight = key.len() + KEY_OVERHEAD;
        if self.keys.insert(key) {
            self.bytes += weight;
        }
    }

    pub fn remove(&mut self, key: &[u8]) {
        if self.keys.remove(key) {
            self.bytes -= key.len() + KEY_OVERHEAD;
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(AsRef::as_ref)
    }
}
