//! What a server missed while it was away.
//!
//! What lay in its socket when it fell silent ([`Unacknowledged::brought`]) it does when it wakes; what was written later it
//! never hears of. Of each it is noted whether its partner has acknowledged it, because only what that has is the truth.

use std::collections::BTreeMap;

/// What a remembered key costs beside its own bytes, roughly.
pub const MISSED_KEY_OVERHEAD: usize = 32;

/// What became of a write that a server did not acknowledge, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Its partner did not acknowledge it either: what this server holds is as good.
    Open,
    /// Its partner has still to answer.
    Pending,
    /// Its partner has acknowledged it, or what was there before: what this server holds is of no worth.
    Settled,
}

/// What became of a key's writes that a server did not acknowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Of those that lay in its socket when it fell silent, the worst. When it has answered all of these, it has done them.
    pub brought: Option<Outcome>,
    /// How many of those its partner has not acknowledged.
    pub unconfirmed: u32,
    /// Of those that never came to it, or may not have.
    pub kept_from: Option<Outcome>,
    /// Where one of those that were brought was an add, replace or cas that failed over: whether its partner stored.
    pub stored_there: Option<bool>,
    /// Whether it has stored that itself, as it has answered since.
    pub stored_here: Option<bool>,
}

impl Unacknowledged {
    fn of(&mut self, brought: bool) -> &mut Option<Outcome> {
        match brought {
            true => &mut self.brought,
            false => &mut self.kept_from,
        }
    }

    /// The outcome of them all.
    pub fn outcome(&self) -> Option<Outcome> {
        self.brought.max(self.kept_from)
    }

    /// What is left of that for a server that has done all that was brought. None if nothing is: it has done all that its
    /// partner has acknowledged.
    pub fn outcome_when_done(&self) -> Option<Outcome> {
        let parted = matches!((self.stored_there, self.stored_here), (Some(there), Some(here)) if there != here);
        match (parted, self.brought) {
            (true, _) => Some(Outcome::Settled),
            (false, Some(Outcome::Settled)) if self.unconfirmed == 0 => self.kept_from,
            (false, Some(Outcome::Settled)) => self.kept_from.max(Some(Outcome::Open)),
            (false, _) => self.outcome(),
        }
    }
}

/// Writes that a server did not acknowledge. Their order is the keys', so that a run can be repeated.
#[derive(Debug, Default)]
pub enum Missed {
    #[default]
    Nothing,
    Keys {
        keys: BTreeMap<Box<[u8]>, Unacknowledged>,
        bytes: usize,
    },
    /// Too many to remember, or a flush_all.
    Everything,
}

impl Missed {
    /// Notes a write, or what has become of it. What is settled stays so. Where the keys come to more than `bytes_max`, it is
    /// everything that was missed.
    pub fn add(&mut self, key: &[u8], outcome: Outcome, brought: bool, bytes_max: usize) {
        if let Missed::Nothing = self {
            *self = Missed::Keys {
                keys: BTreeMap::new(),
                bytes: 0,
            };
        }
        let Missed::Keys { keys, bytes } = self else {
            return;
        };
        if !keys.contains_key(key) {
            *bytes += key.len() + MISSED_KEY_OVERHEAD;
            keys.insert(key.into(), Unacknowledged::default());
        }
        if let Some(writes) = keys.get_mut(key) {
            writes.unconfirmed += u32::from(brought && outcome != Outcome::Settled);
            let known = writes.of(brought);
            if *known != Some(Outcome::Settled) {
                *known = Some(outcome);
            }
        }
        if *bytes > bytes_max {
            *self = Missed::Everything;
        }
    }

    /// Notes what became of a write, if it was missed. Returns whether it was.
    pub fn settle(&mut self, key: &[u8], outcome: Outcome, brought: bool) -> bool {
        let Missed::Keys { keys, .. } = self else {
            return false;
        };
        let Some(writes) = keys.get_mut(key) else {
            return false;
        };
        let Some(known) = writes.of(brought) else {
            return false;
        };
        if *known != Outcome::Settled {
            *known = outcome;
        }
        if brought && outcome == Outcome::Settled {
            writes.unconfirmed = writes.unconfirmed.saturating_sub(1);
        }
        true
    }

    /// Whether there is a write that was brought: if its partner is gone, its copy is the last one.
    pub fn is_brought(&self) -> bool {
        matches!(self, Missed::Keys { keys, .. } if keys.values().any(|writes| writes.brought.is_some()))
    }

    /// Whether there is a write that its partner has still to answer.
    pub fn is_undecided(&self) -> bool {
        let pending = |writes: &Unacknowledged| [writes.brought, writes.kept_from].contains(&Some(Outcome::Pending));
        matches!(self, Missed::Keys { keys, .. } if keys.values().any(pending))
    }

    /// What is known of a key of which a write was missed.
    pub fn of(&mut self, key: &[u8]) -> Option<&mut Unacknowledged> {
        match self {
            Missed::Keys { keys, .. } => keys.get_mut(key),
            Missed::Nothing | Missed::Everything => None,
        }
    }

    /// Of those that are not settled and whose key is one of these, what the partner holds is the truth, whether it has
    /// done them or not.
    pub fn settle_where(&mut self, mut is_one: impl FnMut(&[u8]) -> bool) {
        if let Missed::Keys { keys, .. } = self {
            for (key, writes) in keys {
                let unsettled = |known: Option<Outcome>| known.is_some_and(|known| known != Outcome::Settled);
                let open = writes.unconfirmed > 0 || unsettled(writes.brought) || unsettled(writes.kept_from);
                if open && is_one(key) {
                    writes.kept_from = Some(Outcome::Settled);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_keys_are_remembered_in_bounded_memory() {
        let mut missed = Missed::default();
        missed.add(b"a", Outcome::Open, false, 4 << 10);
        missed.add(b"a", Outcome::Open, true, 4 << 10);
        assert!(matches!(&missed, Missed::Keys { keys, .. } if keys.len() == 1));
        for i in 0..(4 << 10) / MISSED_KEY_OVERHEAD {
            missed.add(i.to_string().as_bytes(), Outcome::Open, false, 4 << 10);
        }
        assert!(matches!(missed, Missed::Everything));
    }

    #[test]
    fn what_was_decided_elsewhere_in_another_way_is_of_no_worth() {
        for (there, here, expected) in [
            (Some(true), Some(true), None),
            (Some(false), Some(false), None),
            (Some(true), Some(false), Some(Outcome::Settled)),
            (Some(false), Some(true), Some(Outcome::Settled)),
            (None, Some(true), None),
        ] {
            let writes = Unacknowledged {
                brought: Some(Outcome::Settled),
                stored_there: there,
                stored_here: here,
                ..Unacknowledged::default()
            };
            assert_eq!(writes.outcome_when_done(), expected, "{there:?} {here:?}");
        }
    }

    #[test]
    fn what_is_settled_stays_so() {
        let outcome = |missed: &Missed| match missed {
            Missed::Keys { keys, .. } => keys.get(&b"a"[..]).and_then(Unacknowledged::outcome),
            _ => None,
        };
        let mut missed = Missed::default();
        assert!(!missed.settle(b"a", Outcome::Settled, false));
        for (added, expected) in [
            (Outcome::Open, Outcome::Open),
            (Outcome::Settled, Outcome::Settled),
            (Outcome::Open, Outcome::Settled),
        ] {
            missed.add(b"a", added, false, 4 << 10);
            assert_eq!(outcome(&missed), Some(expected));
        }
    }
}
