//! Keys that were read on one of their servers only, and are to be copied to the other a while later.

use crate::proxy::limits::Limits;
use std::collections::{BTreeSet, VecDeque};

/// A key that was read on one server only is copied after this. If another magent is about to delete it on both, that
/// has come to its end by then.
const DELAY_MS: u64 = 1000;

/// A key that was found on `from` and not on `to`.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadRepair {
    pub from: usize,
    pub to: usize,
    pub key: Box<[u8]>,
}

/// Keys to be copied, each once, in the order in which they are due.
#[derive(Default)]
pub struct ReadRepairs {
    due: VecDeque<(u64, ReadRepair)>,
    keys: BTreeSet<Box<[u8]>>,
}

impl ReadRepairs {
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Notes a key. Returns when it is due; None if it is noted already, or there are too many.
    pub fn note(&mut self, from: usize, to: usize, key: &[u8], now_ms: u64, limits: &Limits) -> Option<u64> {
        if self.due.len() >= limits.read_repairs || !self.keys.insert(key.into()) {
            return None;
        }
        let due_ms = now_ms + DELAY_MS;
        let key = key.into();
        self.due.push_back((due_ms, ReadRepair { from, to, key }));
        Some(due_ms)
    }

    /// The next key that is due.
    pub fn next(&mut self, now_ms: u64) -> Option<ReadRepair> {
        if self.deadline_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        let (_, repair) = self.due.pop_front()?;
        self.keys.remove(&repair.key);
        Some(repair)
    }

    /// When the next key is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.due.front().map(|&(due_ms, _)| due_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_read_is_copied_once_and_later() {
        let limits = Limits::default();
        let mut repairs = ReadRepairs::default();
        assert_eq!(repairs.note(0, 1, b"a", 100, &limits), Some(100 + DELAY_MS));
        assert_eq!(repairs.note(0, 1, b"a", 200, &limits), None);
        assert_eq!(repairs.note(1, 0, b"b", 300, &limits), Some(300 + DELAY_MS));
        assert_eq!(repairs.next(99 + DELAY_MS), None);
        let first = repairs.next(100 + DELAY_MS).expect("it is due");
        assert_eq!((first.from, first.to, &*first.key), (0, 1, &b"a"[..]));
        assert_eq!(
            (repairs.next(299 + DELAY_MS), repairs.deadline_ms()),
            (None, Some(300 + DELAY_MS))
        );
        // It may be read on one server only once more.
        assert!(repairs.note(0, 1, b"a", 400, &limits).is_some());
    }

    #[test]
    fn keys_that_wait_to_be_copied_have_a_bound() {
        let limits = Limits {
            read_repairs: 3,
            ..Limits::default()
        };
        let mut repairs = ReadRepairs::default();
        for key in 0..limits.read_repairs {
            assert!(repairs.note(0, 1, key.to_string().as_bytes(), 0, &limits).is_some());
        }
        assert_eq!(repairs.note(0, 1, b"one more", 0, &limits), None);
        assert!(repairs.next(DELAY_MS).is_some());
        assert!(repairs.note(0, 1, b"one more", 0, &limits).is_some());
    }
}
