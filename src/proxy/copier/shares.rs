//! The keys of a list that is longer than there is room for: it is gone through several times, and a share of the keys taken
//! each time. memcached cannot be made to wait with it.

use std::hash::{DefaultHasher, Hasher};

/// Which share of the keys is taken now.
#[derive(Debug)]
pub struct Shares {
    count: u64,
    current: u64,
    /// Keys of the list that belong to both servers, in all shares.
    listed: usize,
    /// Some of this share had no room.
    overflowed: bool,
}

impl Default for Shares {
    /// All keys at once.
    fn default() -> Self {
        Self {
            count: 1,
            current: 0,
            listed: 0,
            overflowed: false,
        }
    }
}

impl Shares {
    /// The list begins, perhaps once more.
    pub fn list_begins(&mut self) {
        (self.listed, self.overflowed) = (0, false);
    }

    /// Whether a key of the list is to be kept: if it is in this share, and there is room beside those that are.
    pub fn takes(&mut self, key: &[u8], kept: usize, kept_max: usize) -> bool {
        self.listed += 1;
        if self.count > 1 {
            // Not the hash that spreads keys over servers: of that one every share might be empty, or full.
            let mut hasher = DefaultHasher::new();
            hasher.write(key);
            if hasher.finish() % self.count != self.current {
                return false;
            }
        }
        self.overflowed |= kept >= kept_max;
        kept < kept_max
    }

    /// Keys of the list so far that belong to both servers; and of those, about how many were in shares that are done with.
    pub fn listed(&self) -> (u64, u64) {
        let listed = self.listed as u64;
        (listed, listed * self.current / self.count)
    }

    /// Goes on to the next share of the keys, or to smaller ones. False if that was the last.
    #[must_use]
    pub fn take_next(&mut self, kept_max: usize) -> bool {
        if self.overflowed {
            // Half full on average: they are not all of one size. Where one of such shares had no room, there are too few.
            let at_least = if self.count > 1 { 2 * self.count } else { 1 };
            self.count = (2 * self.listed as u64 / kept_max as u64 + 1).max(at_least);
            self.current = 0;
        } else if self.current + 1 < self.count {
            self.current += 1;
        } else {
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Lists so many keys until there is no further share. Returns how often each was taken, and how often it was listed.
    fn list(keys: usize, kept_max: usize) -> (Vec<usize>, usize) {
        let mut shares = Shares::default();
        let mut taken = vec![0; keys];
        for times in 1..1000 {
            shares.list_begins();
            let mut kept = BTreeSet::new();
            for (key, count) in taken.iter_mut().enumerate() {
                if shares.takes(key.to_string().as_bytes(), kept.len(), kept_max) {
                    kept.insert(key);
                    *count += 1;
                }
            }
            assert!(kept.len() <= kept_max);
            if !shares.take_next(kept_max) {
                return (taken, times);
            }
        }
        panic!("it never ends");
    }

    #[test]
    fn a_list_that_fits_is_gone_through_once() {
        assert_eq!(list(100, 100), (vec![1; 100], 1));
        assert_eq!(list(0, 100), (vec![], 1));
    }

    #[test]
    fn a_list_that_does_not_fit_is_taken_whole_in_shares() {
        for (keys, kept_max) in [(101, 100), (1000, 100), (10, 1)] {
            let (taken, times) = list(keys, kept_max);
            assert!(
                taken.iter().all(|&count| count >= 1),
                "{keys} keys, {kept_max} at a time"
            );
            assert!(times > keys / kept_max, "{times}");
        }
    }

    /// A list that has grown meanwhile is divided anew.
    #[test]
    fn a_share_that_does_not_fit_makes_smaller_ones() {
        let mut shares = Shares::default();
        assert!(!shares.takes(b"k", 100, 100));
        assert!(shares.take_next(100));
        assert_eq!((shares.count, shares.current), (1, 0));
        shares.list_begins();
        (0..1000).for_each(|key: i32| _ = shares.takes(key.to_string().as_bytes(), 100, 100));
        assert!(shares.take_next(100));
        assert_eq!((shares.count, shares.current), (21, 0));
        shares.list_begins();
        (0..1000).for_each(|key: i32| _ = shares.takes(key.to_string().as_bytes(), 100, 100));
        assert!(shares.take_next(100));
        assert_eq!((shares.count, shares.current), (42, 0));
    }
}
