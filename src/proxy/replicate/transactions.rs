//! All transactions, each in a slot of its own that the next one takes over as it is.
//!
//! A slab would move each of them in and out. They are what every request makes one of, and a move costs as much as
//! everything else that is done to open one.

use crate::proxy::replicate::transaction::{Allowance, Transaction};
use std::ops::{Index, IndexMut};

#[derive(Default)]
pub struct Transactions {
    slots: Vec<Transaction>,
    /// Those that are free.
    free: Vec<usize>,
}

impl Transactions {
    /// Opens one for a client. Returns its number.
    #[inline]
    pub fn open(&mut self, client: usize, allowance: Allowance) -> usize {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Transaction::default());
            self.slots.len() - 1
        });
        self.slots[id].open(client, allowance);
        id
    }

    /// Frees the slot of one that is over.
    #[inline]
    pub fn close(&mut self, id: usize) {
        assert!(self.slots[id].close(), "only what is over, and once");
        self.free.push(id);
    }

    pub fn get(&self, id: usize) -> Option<&Transaction> {
        self.slots.get(id).filter(|one| one.is_open)
    }

    pub fn get_mut(&mut self, id: usize) -> Option<&mut Transaction> {
        self.slots.get_mut(id).filter(|one| one.is_open)
    }

    pub fn contains(&self, id: usize) -> bool {
        self.get(id).is_some()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Those that are open, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Transaction)> {
        self.slots.iter().enumerate().filter(|(_, one)| one.is_open)
    }

    /// The same, to be taken apart.
    #[cfg(debug_assertions)]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Transaction> {
        self.slots.iter_mut().filter(|one| one.is_open)
    }

    /// Gives all slots back, where none is taken and there are more than so many.
    #[inline]
    pub fn shrink(&mut self, kept: usize) {
        if self.slots.len() > kept && self.len() == 0 {
            *self = Self::default();
        }
    }
}

impl Index<usize> for Transactions {
    type Output = Transaction;

    #[inline]
    fn index(&self, id: usize) -> &Transaction {
        let one = &self.slots[id];
        debug_assert!(one.is_open);
        one
    }
}

impl IndexMut<usize> for Transactions {
    #[inline]
    fn index_mut(&mut self, id: usize) -> &mut Transaction {
        let one = &mut self.slots[id];
        debug_assert!(one.is_open);
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_taken_over_when_it_is_free() {
        let mut all = Transactions::default();
        let [one, other] = [7, 8].map(|client| all.open(client, Allowance::default()));
        assert_eq!((all.len(), all[other].client), (2, Some(8)));
        all[one].client = None;
        all.close(one);
        assert!(!all.contains(one) && all.get_mut(one).is_none());
        assert_eq!(all.iter().map(|(id, _)| id).collect::<Vec<_>>(), [other]);
        assert_eq!(all.open(9, Allowance::default()), one);
        assert_eq!((all[one].client, all[one].legs, all.len()), (Some(9), 0, 2));
        all.shrink(0);
        assert_eq!(all.len(), 2);
        for id in [one, other] {
            all.close(id);
        }
        all.shrink(2);
        assert_eq!(all.open(1, Allowance::default()), other, "the last that was freed");
    }

    #[test]
    #[should_panic(expected = "only what is over, and once")]
    fn a_slot_is_freed_once() {
        let mut all = Transactions::default();
        let id = all.open(1, Allowance::default());
        all.close(id);
        all.close(id);
    }
}
