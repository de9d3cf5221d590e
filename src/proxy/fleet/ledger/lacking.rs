//! What a server lacks that a partner has: keys, up to a bound, or everything.

use super::ack::KEY_OVERHEAD;
use std::collections::BTreeSet;

/// What a server may lack that one of its partners has.
#[derive(Debug)]
pub struct Lack {
    /// The partner.
    pub from: usize,
    pub what: Lacking,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Lacking {
    /// These keys; without any it is only waited until the server has settled.
    Keys(KeySet),
    /// Whatever the partner has.
    Everything,
    /// The same, and what it has itself may be old: keys came to it by new settings, perhaps not for the first time, or it
    /// was away and kept its items.
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

    /// Whether the server was filled, by a list that leaves nothing out: it has what there was.
    pub fn is_filled(&self) -> bool {
        matches!(self, Lacking::Unverified { complete: true })
    }

    /// Whether it was filled by any list.
    pub fn is_filled_somehow(&self) -> bool {
        matches!(self, Lacking::Unverified { .. })
    }

    /// Whether it does not keep the server from speaking for a key.
    pub fn is_whole_for(&self, key: &[u8]) -> bool {
        self.is_filled() || self.lacks(key) == Lacks::Nothing
    }
}

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
