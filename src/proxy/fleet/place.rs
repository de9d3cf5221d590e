//! Where a key is.

use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::ledger::Lacks;
use crate::ring::KeyHash;
use std::cmp::Ordering;

/// The servers that hold a key, in the order in which they are asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its word is the truth: of a retrieval the primary's, of what changes the key the senior's, unless that is down or lacks
    /// what the other has. It is up if either is.
    pub first: usize,
    /// Its partner, up or not. None without a backup farm, or where it has no other server than the primary.
    pub second: Option<usize>,
    /// Keys in one slot are counted together.
    pub slot: u16,
}

impl Fleet {
    /// The hash of a key, for who asks for its place more than once.
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.layout.spread.hash(key)
    }

    /// Whether four keys are hashed in little more time than one.
    pub fn hashes_side_by_side(&self) -> bool {
        self.layout.spread.hashes_side_by_side()
    }

    /// The hashes of four keys.
    pub fn hashes(&self, keys: [&[u8]; 4]) -> [KeyHash; 4] {
        self.layout.spread.hashes(keys)
    }

    /// Where a key is to be read now: of the primary, unless that is down or lacks what the backup has, be it that others have written
    /// there without the primary.
    pub fn place(&self, key: &[u8]) -> Place {
        self.place_by(self.hash(key), key)
    }

    /// The same of a key with this hash.
    pub fn place_by(&self, hash: KeyHash, key: &[u8]) -> Place {
        let (primary, backup) = self.layout.owners(hash);
        match backup.filter(|&backup| self.others.say_they_miss(primary, backup)) {
            Some(backup) => self.in_order(key, (backup, Some(primary)), hash),
            None => self.in_order(key, (primary, backup), hash),
        }
    }

    /// Where a key is written, and its unique told, now: the senior of its two servers decides, unless that is down or lacks what
    /// the other has. Every magent finds the same one, whatever the roles are that its settings give them. R46.
    pub fn place_to_decide(&self, key: &[u8]) -> Place {
        self.place_to_decide_by(self.hash(key), key)
    }

    /// The same of a key with this hash.
    pub fn place_to_decide_by(&self, hash: KeyHash, key: &[u8]) -> Place {
        let (primary, backup) = self.layout.owners(hash);
        // From a server without meta commands nothing can be copied to the primary, which is read.
        let seniority = |server: usize| self.servers[server].seniority;
        match backup {
            Some(backup) if seniority(backup) < seniority(primary) && self.has_meta(backup) => {
                self.in_order(key, (backup, Some(primary)), hash)
            }
            backup => self.in_order(key, (primary, backup), hash),
        }
    }

    /// Whether of two servers this one is taken to be right where they differ, by every magent.
    pub fn is_senior(&self, one: usize, other: usize) -> bool {
        self.servers[one].seniority < self.servers[other].seniority
    }

    /// The same whoever has lost one of them: in a cut each side loses the other's.
    pub fn is_older(&self, one: usize, other: usize) -> bool {
        let [(_, started, id), (_, others, other_id)] = [one, other].map(|server| self.servers[server].seniority);
        (started, id) < (others, other_id)
    }

    /// Which of the two servers of a key is right where they differ, though neither lacks it: the senior, whatever this magent believes of
    /// one that has returned a moment ago, for the others may believe something else.
    pub fn senior(&self, key: &[u8], one: usize, other: usize) -> usize {
        let lacks = |server: usize, of| {
            let lack = self.ledger.account(server).lack(of);
            lack.is_some_and(|lack| lack.lacks(key) != Lacks::Nothing && !lack.what.is_filled_somehow())
        };
        match self.servers[one].seniority.cmp(&self.servers[other].seniority) {
            Ordering::Less if !lacks(one, other) && !lacks(other, one) => one,
            Ordering::Greater if !lacks(one, other) && !lacks(other, one) => other,
            _ => self.place_to_decide(key).first,
        }
    }

    /// Whether a key is read now where it is not written.
    pub fn is_decided_elsewhere(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        self.place_by(hash, key).first != self.place_to_decide_by(hash, key).first
    }

    #[inline]
    fn in_order(&self, key: &[u8], (one, other): (usize, Option<usize>), hash: KeyHash) -> Place {
        let (first, second) = match other {
            Some(other) if self.ledger.asked_first(key, one, other) == other => (other, Some(one)),
            other => (one, other),
        };
        Place {
            first,
            second,
            slot: hash.slot(),
        }
    }
}
