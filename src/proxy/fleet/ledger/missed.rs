//! What a server missed while it was away, by key.
//!
//! What was delivered it runs when it wakes; what was not it never hears of. Of each it is noted whether its partner has
//! acknowledged it, because only what that has is the truth.

use super::ack::{Ack, Fate, KEY_OVERHEAD, Number};
use std::collections::BTreeMap;

/// A key's writes that a server did not acknowledge. What matters of any number of them has room here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// The last of the undelivered ones that the partner acknowledged, or that would not leave the same.
    undelivered_acked: Number,
    undelivered_in_doubt: u16,
    delivered_in_doubt: u16,
    undelivered_unacked: bool,
    delivered_unacked: bool,
    delivered_acked: bool,
    /// Where one that was delivered was an add, replace or cas that failed over: whether the partner stored, and whether
    /// this server did, as it has answered since (R16).
    pub stored_there: Option<bool>,
    pub stored_here: Option<bool>,
    /// That one is acknowledged was written down; see `news`.
    pub is_told: bool,
}

impl Writes {
    fn of_undelivered(&self) -> Option<Fate> {
        match (self.undelivered_acked, self.undelivered_in_doubt) {
            (acked, _) if !acked.is_none() => Some(Fate::Acked),
            (_, 1..) => Some(Fate::InDoubt),
            _ => self.undelivered_unacked.then_some(Fate::Unacked),
        }
    }

    fn of_delivered(&self) -> Option<Fate> {
        match (self.delivered_acked, self.delivered_in_doubt) {
            (true, _) => Some(Fate::Acked),
            (_, 1..) => Some(Fate::InDoubt),
            _ => self.delivered_unacked.then_some(Fate::Unacked),
        }
    }

    pub fn has_delivered(&self) -> bool {
        self.of_delivered().is_some()
    }

    pub fn is_in_doubt(&self) -> bool {
        self.undelivered_in_doubt > 0 || self.delivered_in_doubt > 0
    }

    /// The worst fate of them all.
    pub fn fate(&self) -> Option<Fate> {
        self.of_delivered().max(self.of_undelivered())
    }

    /// What is left of that for a server that has run all that was delivered. None if nothing is: it has run all that its
    /// partner has acknowledged, and nothing that its partner has not.
    pub fn fate_when_drained(&self) -> Option<Fate> {
        let parted = matches!((self.stored_there, self.stored_here), (Some(there), Some(here)) if there != here);
        let more_than_partner = self.delivered_unacked || self.delivered_in_doubt > 0;
        match (parted, self.delivered_acked) {
            (true, _) => Some(Fate::Acked),
            (false, true) if more_than_partner => self.of_undelivered().max(Some(Fate::Unacked)),
            (false, true) => self.of_undelivered(),
            (false, false) => self.fate(),
        }
    }

    /// Notes one more.
    pub fn add(&mut self, write: Number, delivered: bool, ack: Ack) {
        match (delivered, ack.fate) {
            (true, Fate::Acked) => self.delivered_and_acked(write, ack),
            (true, Fate::InDoubt) => self.delivered_in_doubt = self.delivered_in_doubt.saturating_add(1),
            (true, Fate::Unacked) => self.delivered_unacked = true,
            (false, Fate::Acked) => self.undelivered_acked = self.undelivered_acked.max(write),
            (false, Fate::InDoubt) => self.undelivered_in_doubt = self.undelivered_in_doubt.saturating_add(1),
            (false, Fate::Unacked) => self.undelivered_unacked = true,
        }
    }

    /// What was delivered before one that leaves nothing of what was there is made up for by that. Links are in order, so
    /// nothing that was noted before is from behind it, but for what has a greater number.
    fn delivered_and_acked(&mut self, write: Number, ack: Ack) {
        if !ack.alike {
            self.undelivered_acked = self.undelivered_acked.max(write);
            return;
        }
        self.delivered_acked = true;
        if ack.whole && self.undelivered_acked <= write {
            self.undelivered_acked = Number::default();
            self.undelivered_unacked = false;
        }
    }

    /// One that was in doubt has come to this. Returns whether any was noted that this may be.
    fn settle(&mut self, write: Number, delivered: bool, ack: Ack) -> bool {
        let (known, in_doubt) = match delivered {
            true => (self.of_delivered(), &mut self.delivered_in_doubt),
            false => (self.of_undelivered(), &mut self.undelivered_in_doubt),
        };
        if known.is_some() {
            *in_doubt = in_doubt.saturating_sub(1);
            self.add(write, delivered, ack);
        }
        known.is_some()
    }

    /// One that was in doubt was none. Returns whether there was any.
    fn take_back(&mut self, delivered: bool) -> bool {
        let in_doubt = match delivered {
            true => &mut self.delivered_in_doubt,
            false => &mut self.undelivered_in_doubt,
        };
        let there_was = *in_doubt > 0;
        *in_doubt = in_doubt.saturating_sub(1);
        there_was
    }

    /// The partner has acknowledged a later one, and so all that it was asked before. What it was never asked, and this server
    /// has run, it does not have.
    pub fn settle_all(&mut self, number: Number) {
        if self.of_undelivered().is_some() {
            self.undelivered_acked = self.undelivered_acked.max(number);
            (self.undelivered_in_doubt, self.undelivered_unacked) = (0, false);
        }
        if self.has_delivered() {
            self.delivered_acked = true;
            self.delivered_in_doubt = 0;
        }
    }
}

/// The writes that a server did not acknowledge. Their order is the keys', so that a run can be repeated.
#[derive(Debug, Default)]
pub enum Missed {
    #[default]
    Nothing,
    Keys {
        keys: BTreeMap<Box<[u8]>, Writes>,
        bytes: usize,
    },
    /// Too many to remember.
    TooMany,
    /// A flush_all, or all that was written.
    Everything,
}

impl Missed {
    /// Notes a write.
    pub fn add(&mut self, key: &[u8], write: Number, delivered: bool, ack: Ack, bytes_max: usize) {
        if let Missed::Nothing = self {
            *self = Missed::Keys {
                keys: BTreeMap::new(),
                bytes: 0,
            };
        }
        let Missed::Keys { keys, bytes } = self else {
            return;
        };
        match keys.get_mut(key) {
            Some(writes) => writes.add(write, delivered, ack),
            None => {
                let mut writes = Writes::default();
                writes.add(write, delivered, ack);
                *bytes += key.len() + KEY_OVERHEAD;
                keys.insert(key.into(), writes);
            }
        }
        if *bytes > bytes_max {
            *self = Missed::TooMany;
        }
    }

    /// Notes what became of a write that was in doubt. Returns whether it was noted.
    pub fn settle(&mut self, key: &[u8], write: Number, delivered: bool, ack: Ack) -> bool {
        self.of(key).is_some_and(|writes| writes.settle(write, delivered, ack))
    }

    /// Forgets a write that was in doubt. Returns whether it was noted.
    pub fn take_back(&mut self, key: &[u8], delivered: bool) -> bool {
        let Missed::Keys { keys, bytes } = self else {
            return false;
        };
        let Some(writes) = keys.get_mut(key) else {
            return false;
        };
        let was_noted = writes.take_back(delivered);
        if writes.fate().is_none() {
            keys.remove(key);
            *bytes -= key.len() + KEY_OVERHEAD;
        }
        was_noted
    }

    /// Notes what a server has made of an add, replace or cas that was delivered to it and failed over.
    pub fn ran(&mut self, key: &[u8], stored: bool) {
        if let Some(writes) = self.of(key) {
            writes.stored_here = Some(stored);
        }
    }

    /// What is known of a key of which a write was missed.
    pub fn of(&mut self, key: &[u8]) -> Option<&mut Writes> {
        match self {
            Missed::Keys { keys, .. } => keys.get_mut(key),
            Missed::Nothing | Missed::TooMany | Missed::Everything => None,
        }
    }

    /// Whether a write of this key was missed.
    pub fn has(&self, key: &[u8]) -> bool {
        match self {
            Missed::Keys { keys, .. } => keys.contains_key(key),
            Missed::Nothing => false,
            Missed::TooMany | Missed::Everything => true,
        }
    }

    /// Whether this server was never sent a write of this key that its partner has acknowledged: what it holds is gone when it returns.
    pub fn makes_void(&self, key: &[u8]) -> bool {
        let Missed::Keys { keys, .. } = self else {
            return false; // with too many it is not known of which
        };
        keys.get(key).is_some_and(|writes| !writes.undelivered_acked.is_none())
    }

    /// Whether there is a write that was delivered: if the partner is gone, this server's copy is the last one.
    pub fn has_delivered(&self) -> bool {
        matches!(self, Missed::Keys { keys, .. } if keys.values().any(Writes::has_delivered))
    }

    /// The keys of those.
    pub fn delivered(&self) -> Vec<Box<[u8]>> {
        let Missed::Keys { keys, .. } = self else {
            return Vec::new();
        };
        let delivered = keys.iter().filter(|(_, writes)| writes.has_delivered());
        delivered.map(|(key, _)| key.clone()).collect()
    }

    /// Whether there is a write that the partner has still to answer.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Missed::Keys { keys, .. } if keys.values().any(Writes::is_in_doubt))
    }

    /// Of those whose key is one of these, and that the partner has not acknowledged, what the partner holds is the truth,
    /// whether this server has run them or not.
    /// Returns the keys.
    pub fn settle_where(&mut self, number: Number, mut is_one: impl FnMut(&[u8]) -> bool) -> Vec<Box<[u8]>> {
        let mut settled = Vec::new();
        if let Missed::Keys { keys, .. } = self {
            for (key, writes) in keys {
                let open = writes.is_in_doubt() || writes.undelivered_unacked || writes.delivered_unacked;
                if open && is_one(key) {
                    writes.undelivered_acked = number;
                    settled.push(key.clone());
                }
            }
        }
        settled
    }
}
