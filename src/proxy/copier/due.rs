//! Keys that something is to be done about a while later: what was read on one of their servers only is copied to the other, what
//! was written is compared.

use crate::proxy::limits::Limits;
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
    /// When each key is due, perhaps later than the queue says.
    keys: BTreeMap<Box<[u8]>, (u64, T)>,
}

impl<T> Later<T> {
    /// Keys are due so long after they were noted.
    pub fn after(delay_ms: u64) -> Self {
        Self {
            delay_ms,
            queue: VecDeque::new(),
            keys: BTreeMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Notes a key. Returns when it is due; None if it is noted already, or there are too many.
    pub fn note(&mut self, key: &[u8], what: T, now_ms: u64, limits: &Limits) -> Option<u64> {
        if self.keys.len() >= limits.read_repairs || self.keys.contains_key(key) {
            return None;
        }
        let due_ms = now_ms + self.delay_ms;
        self.keys.insert(key.into(), (due_ms, what));
        self.queue.push_back((due_ms, key.into()));
        Some(due_ms)
    }

    /// What is noted of a key.
    pub fn noted(&self, key: &[u8]) -> Option<&T> {
        self.keys.get(key).map(|(_, what)| what)
    }

    /// Notes a key, and forgets what was noted of it before.
    pub fn note_instead(&mut self, key: &[u8], what: T, now_ms: u64, limits: &Limits) -> Option<u64> {
        match self.keys.get_mut(key) {
            Some(noted) => {
                *noted = (now_ms + self.delay_ms, what);
                Some(noted.0)
            }
            None => self.note(key, what, now_ms, limits),
        }
    }

    /// The next key that is due.
    pub fn next(&mut self, now_ms: u64) -> Option<(Box<[u8]>, T)> {
        while self.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            let (_, key) = self.queue.pop_front()?;
            match self.keys.get(&key) {
                Some(&(due_ms, _)) if due_ms > now_ms => self.queue.push_back((due_ms, key)),
                _ => {
                    let (key, (_, what)) = self.keys.remove_entry(&key)?;
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
