//! What a server that decides has refused for want of memory, while its partner may have done it.
//!
//! Until the two are alike again, what the partner has of such a key is no item that the other has lost: nobody was told that it is
//! there, and it is about to be removed. The same holds of what writes answer that were on their way by then. Almost always there
//! are none of these (R42).

use crate::proxy::fleet::ledger::Number;

/// Keys that are remembered for the sake of writes on their way; of the oldest nothing is known any more.
const KEYS_MAX: usize = 1000;

#[derive(Default)]
pub struct Refused {
    writes: Vec<Write>,
}

/// A write that was refused.
struct Write {
    id: usize,
    key: Box<[u8]>,
    slot: u16,
    /// The first write of those that find the two servers alike, once they are.
    alike: Option<Number>,
}

impl Refused {
    /// The server that decides has refused this write of a key, whose slot at the gate that is.
    pub fn note(&mut self, id: usize, key: &[u8], slot: u16) {
        self.writes.retain(|write| write.alike.is_none() || *write.key != *key);
        self.writes.push(Write {
            id,
            key: key.into(),
            slot,
            alike: None,
        });
    }

    /// The servers of this write are alike, as far as they can be made so. What begins now has this number.
    #[inline]
    pub fn over(&mut self, id: usize, number: Number) {
        if self.writes.is_empty() {
            return;
        }
        for write in self.writes.iter_mut().filter(|write| write.alike.is_none()) {
            write.alike = (write.id == id).then_some(number);
        }
        if self.writes.len() > KEYS_MAX {
            self.writes.retain(|write| write.alike.is_none());
        }
    }

    /// Forgets the keys that no write is on its way to any more.
    #[inline]
    pub fn forget(&mut self, has_writes: impl Fn(u16) -> bool) {
        if !self.writes.is_empty() {
            self.writes
                .retain(|write| write.alike.is_none() || has_writes(write.slot));
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Whether the partner may have what was refused of this key.
    #[inline]
    pub fn has(&self, key: &[u8]) -> bool {
        self.writes
            .iter()
            .any(|write| *write.key == *key && write.alike.is_none())
    }

    /// Whether another write than this one, of this number, has been refused of the key, so that the partner's copy may be that one's.
    #[inline]
    pub fn has_another(&self, id: usize, key: &[u8], number: Number) -> bool {
        let counts = |write: &Write| match write.alike {
            None => write.id != id,
            Some(alike) => number < alike,
        };
        self.writes.iter().any(|write| *write.key == *key && counts(write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> [Number; 4] {
        let first = Number::default();
        let second = first.next();
        [first, second, second.next(), second.next().next()]
    }

    #[test]
    fn r42_what_was_on_its_way_when_a_refused_write_was_undone_is_in_vain() {
        let [_, refused, behind, later] = numbers();
        let mut all = Refused::default();
        all.note(1, b"k", 7);
        assert!(all.has(b"k") && !all.has(b"other"));
        assert!(!all.has_another(1, b"k", refused), "its own answers are what they are");
        assert!(all.has_another(2, b"k", behind));
        all.over(1, later);
        assert!(!all.has(b"k"), "both servers are alike");
        assert!(all.has_another(2, b"k", behind) && !all.has_another(2, b"k", later));
        all.forget(|slot| slot == 7);
        assert!(all.has_another(2, b"k", behind), "something is still on its way");
        all.forget(|_| false);
        assert!(all.is_empty());
    }

    #[test]
    fn keys_that_are_remembered_are_bounded() {
        let [.., number] = numbers();
        let mut all = Refused::default();
        for id in 0..3 * KEYS_MAX {
            all.note(id, id.to_string().as_bytes(), 0);
            all.over(id, number);
            all.note(id, b"the same", 0);
            all.over(id, number);
        }
        assert!(all.writes.len() <= KEYS_MAX + 1);
    }
}
