//! Keys that something is to be done about a while later: what was read on one of their servers only is copied to the other, what
//! was written is compared.

use crate::proxy::limits::Limits;
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};

/// A key that was read on one server only is copied after this. If another magent is about to delete it on both, that
/// has come to its end by then.
pub const READ_DELAY_MS: u64 = 1000;
/// One that was written or deleted, and then found on one server only, or different on both, after this: what another magent has
/// under way has come to both by then.
pub const WRITTEN_DELAY_MS: u64 = 200;

/// What two servers have computed differently is made alike once nothing has changed for this long: a request of another magent that has
/// come to one of them has come to the other by then.
pub const MOVING_DELAY_MS: u64 = 20;

/// Keys, each once, about in the order in which they are due, and what is to be known of them then.
pub struct Later<T> {
    delay_ms: u64,
    queue: VecDeque<(u64, Box<[u8]>)>,
    /// Where what is noted of each key is. Apart from that, so that there is one kind of such a map in the program.
    places: BTreeMap<Box<[u8]>, usize>,
    /// When a key is due, perhaps later than the queue says, and what is to be known of it.
    notes: Slab<(u64, T)>,
}

impl<T> Later<T> {
    /// Keys are due so long after they were noted.
    pub fn after(delay_ms: u64) -> Self {
        Self {
            delay_ms,
            queue: VecDeque::new(),
            places: BTreeMap::new(),
            notes: Slab::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Notes a key. Returns when it is due; None if it is noted already, or there are too many.
    pub fn note(&mut self, key: &[u8], what: T, now_ms: u64, limits: &Limits) -> Option<u64> {
        if self.places.len() >= limits.read_repairs || place(&self.places, key).is_some() {
            return None;
        }
        let due_ms = now_ms + self.delay_ms;
        insert(&mut self.places, key, self.notes.insert((due_ms, what)));
        self.queue.push_back((due_ms, key.into()));
        Some(due_ms)
    }

    /// What is noted of a key.
    pub fn noted(&self, key: &[u8]) -> Option<&T> {
        place(&self.places, key).map(|at| &self.notes[at].1)
    }

    /// Notes a key, and forgets what was noted of it before.
    pub fn note_instead(&mut self, key: &[u8], what: T, now_ms: u64, limits: &Limits) -> Option<u64> {
        match place(&self.places, key) {
            Some(at) => {
                self.notes[at] = (now_ms + self.delay_ms, what);
                Some(self.notes[at].0)
            }
            None => self.note(key, what, now_ms, limits),
        }
    }

    /// The next key that is due.
    pub fn next(&mut self, now_ms: u64) -> Option<(Box<[u8]>, T)> {
        while self.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            let (_, key) = self.queue.pop_front()?;
            let at = place(&self.places, &key)?;
            match self.notes[at].0 {
                due_ms if due_ms > now_ms => self.queue.push_back((due_ms, key)),
                _ => {
                    remove(&mut self.places, &key);
                    let (_, what) = self.notes.remove(at);
                    return Some((key, what));
                }
            }
        }
        None
    }

    /// When the next key is due, or is to be looked at.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.queue.front().map(|&(due_ms, _)| due_ms)
    }
}

#[inline(never)]
fn place(places: &BTreeMap<Box<[u8]>, usize>, key: &[u8]) -> Option<usize> {
    places.get(key).copied()
}

#[inline(never)]
fn insert(places: &mut BTreeMap<Box<[u8]>, usize>, key: &[u8], at: usize) {
    places.insert(key.into(), at);
}

#[inline(never)]
fn remove(places: &mut BTreeMap<Box<[u8]>, usize>, key: &[u8]) {
    places.remove(key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_read_is_copied_once_and_later() {
        let limits = Limits::default();
        let mut repairs = Later::after(READ_DELAY_MS);
        assert_eq!(repairs.note(b"a", (0, 1), 100, &limits), Some(100 + READ_DELAY_MS));
        assert_eq!(repairs.note(b"a", (0, 1), 200, &limits), None);
        assert_eq!(repairs.note(b"b", (1, 0), 300, &limits), Some(300 + READ_DELAY_MS));
        assert_eq!(repairs.next(99 + READ_DELAY_MS), None);
        let first = repairs.next(100 + READ_DELAY_MS).expect("it is due");
        assert_eq!((&*first.0, first.1), (&b"a"[..], (0, 1)));
        assert_eq!(
            (repairs.next(299 + READ_DELAY_MS), repairs.deadline_ms()),
            (None, Some(300 + READ_DELAY_MS))
        );
        // It may be read on one server only once more.
        assert!(repairs.note(b"a", (0, 1), 400, &limits).is_some());
    }

    #[test]
    fn what_is_noted_instead_is_due_later() {
        let limits = Limits::default();
        let mut keys = Later::after(200);
        assert_eq!(keys.note_instead(b"a", 1, 0, &limits), Some(200));
        assert_eq!(keys.note_instead(b"b", 2, 10, &limits), Some(210));
        assert_eq!((keys.noted(b"b"), keys.noted(b"c")), (Some(&2), None));
        assert_eq!(keys.note_instead(b"a", 3, 150, &limits), Some(350));
        assert_eq!(keys.next(200), None);
        assert_eq!(keys.next(300), Some((b"b"[..].into(), 2)));
        assert_eq!(keys.next(349), None);
        assert_eq!(keys.next(350), Some((b"a"[..].into(), 3)));
        assert_eq!((keys.len(), keys.deadline_ms()), (0, None));
    }

    #[test]
    fn keys_that_wait_to_be_copied_have_a_bound() {
        let limits = Limits {
            read_repairs: 3,
            ..Limits::default()
        };
        let mut repairs = Later::after(READ_DELAY_MS);
        for key in 0..limits.read_repairs {
            assert!(repairs.note(key.to_string().as_bytes(), (0, 1), 0, &limits).is_some());
        }
        assert_eq!(repairs.note(b"one more", (0, 1), 0, &limits), None);
        assert!(repairs.next(READ_DELAY_MS).is_some());
        assert!(repairs.note(b"one more", (0, 1), 0, &limits).is_some());
    }
}
