//! The keys that clients ask most: space-saving counters (Metwally, Agrawal, El Abbadi 2005) over a sample of one key in 64.
//!
//! A key that has no counter takes over the one that stands lowest, with its count: so a count may be too high by what it was then, which is
//! kept as its error, and is never too low. Whatever is asked more often than one key in 64 of the sample has a counter.

use crate::protocol::KEY_BYTES_MAX;
use crate::protocol::request::Request;

/// One key in so many is counted, on average.
pub const SAMPLED: u64 = 64;
/// Keys that have a counter.
const COUNTERS: usize = 64;

/// A sample of the keys asked, and a counter for each of the most frequent ones.
#[derive(Default)]
pub struct HotKeys {
    /// Keys to pass over before the next that is counted.
    passed: u32,
    /// What the next distance is made of. It begins with the same number always: what is counted depends on what is asked alone.
    state: u32,
    /// Not there before the first key is counted.
    counters: Option<Box<Counters>>,
}

/// A key that is asked often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotKey<'a> {
    pub key: &'a [u8],
    /// How often it was asked, an estimate: it is not more, but for what the sample misses.
    pub requests: u64,
    /// And so much less at most.
    pub error: u64,
}

struct Counters {
    used: usize,
    /// Told apart by a hash first.
    hashes: [u32; COUNTERS],
    counts: [u64; COUNTERS],
    errors: [u64; COUNTERS],
    lengths: [u8; COUNTERS],
    keys: [[u8; KEY_BYTES_MAX]; COUNTERS],
}

impl HotKeys {
    /// A client asks for something.
    #[inline]
    pub fn asked(&mut self, request: &Request<'_>) {
        let keys = (request.key_count as u32).max(1);
        match self.passed.checked_sub(keys) {
            Some(passed) => self.passed = passed,
            None => self.sample(request, keys),
        }
    }

    /// Those of its keys that are due are counted.
    #[cold]
    fn sample(&mut self, request: &Request<'_>, mut keys: u32) {
        let mut rest = request.keys_concerned();
        while self.passed < keys {
            if let Some(key) = rest.nth(self.passed as usize) {
                self.counters.get_or_insert_with(Counters::boxed).count(key);
            }
            keys -= self.passed + 1;
            self.passed = self.next_distance() - 1;
        }
        self.passed -= keys;
    }

    /// From 1 to 127, so 64 on average: a fixed distance would always meet the same key of clients that ask in turns.
    fn next_distance(&mut self) -> u32 {
        // A linear congruential generator; its upper bits are the good ones.
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.state >> 8) % (2 * SAMPLED as u32 - 1) + 1
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.counters = None;
    }

    /// The keys asked most, the most first: those of which at least half of the count is certain.
    pub fn list(&self) -> Vec<HotKey<'_>> {
        let Some(counters) = &self.counters else {
            return Vec::new();
        };
        let hot = |place: usize| HotKey {
            key: counters.key(place),
            requests: counters.counts[place] * SAMPLED,
            error: counters.errors[place] * SAMPLED,
        };
        let mut listed: Vec<_> = (0..counters.used).map(hot).collect();
        listed.retain(|hot| hot.error <= hot.requests / 2);
        listed.sort_unstable_by(|one, other| (other.requests, one.key).cmp(&(one.requests, other.key)));
        listed
    }
}

impl Counters {
    fn boxed() -> Box<Self> {
        Box::new(Self {
            used: 0,
            hashes: [0; COUNTERS],
            counts: [0; COUNTERS],
            errors: [0; COUNTERS],
            lengths: [0; COUNTERS],
            keys: [[0; KEY_BYTES_MAX]; COUNTERS],
        })
    }

    fn key(&self, place: usize) -> &[u8] {
        &self.keys[place][..usize::from(self.lengths[place])]
    }

    fn count(&mut self, key: &[u8]) {
        let hash = hash_of(key);
        let is_it = |&place: &usize| self.hashes[place] == hash && self.key(place) == key;
        if let Some(place) = (0..self.used).find(is_it) {
            self.counts[place] += 1;
            return;
        }
        if key.len() > KEY_BYTES_MAX {
            return; // no client can ask for it
        }
        let place = match self.used < COUNTERS {
            true => self.used,
            false => self.lowest(),
        };
        self.used = self.used.max(place + 1);
        self.errors[place] = self.counts[place];
        self.counts[place] += 1;
        self.hashes[place] = hash;
        self.lengths[place] = key.len() as u8;
        self.keys[place][..key.len()].copy_from_slice(key);
    }

    fn lowest(&self) -> usize {
        (0..COUNTERS).min_by_key(|&place| self.counts[place]).unwrap_or(0)
    }
}

/// FNV-1a.
fn hash_of(key: &[u8]) -> u32 {
    let add = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    key.iter().fold(0x811c_9dc5, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::keys::Keys;
    use crate::protocol::verb::Verb;

    #[test]
    fn hot_keys_are_found_among_ten_thousand_cold_ones() {
        let mut hot = HotKeys::default();
        for round in 0..100_000 {
            let cold = format!("cold{}", round * 7919 % 10_000);
            let key = match round % 20 {
                0 | 7 => "first",
                3 => "second",
                _ => cold.as_str(),
            };
            hot.asked(&Request::new(Verb::Get, key.as_bytes()));
        }
        let listed = hot.list();
        assert_eq!((listed[0].key, listed[1].key), (&b"first"[..], &b"second"[..]));
        for (found, asked) in listed.iter().zip([10_000, 5_000]) {
            let (most, least) = (found.requests * 5 / 4, (found.requests - found.error) * 3 / 4);
            assert!((least..=most).contains(&asked), "{found:?} was asked {asked} times");
        }
        hot.clear();
        assert_eq!(hot.list(), []);
    }

    #[test]
    fn each_key_of_a_wide_get_is_as_likely_to_be_counted() {
        let mut hot = HotKeys::default();
        let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
        let text = keys.join(" ");
        for _ in 0..64_000 {
            let wide = Request {
                keys: Keys::of(text.as_bytes()),
                key_count: 20,
                ..Request::new(Verb::Get, b"k0")
            };
            hot.asked(&wide);
        }
        let listed = hot.list();
        assert_eq!(listed.len(), 20);
        for hot in listed {
            assert!((54_000..74_000).contains(&hot.requests), "{hot:?}");
        }
    }

    #[test]
    fn a_key_that_comes_back_every_64_requests_is_not_missed() {
        for step in 0..64 {
            let mut hot = HotKeys::default();
            for round in 0..64 * 1000 {
                let key = if round % 64 == step { "due" } else { "other" };
                hot.asked(&Request::new(Verb::Set, key.as_bytes()));
            }
            assert!(hot.list().iter().any(|hot| hot.key == b"due"), "{step}");
        }
    }

    #[test]
    fn longest_keys_are_told_apart_by_their_ends() {
        let mut hot = HotKeys::default();
        let [one, other] = [b'a', b'b'].map(|end| [vec![b'x'; KEY_BYTES_MAX - 1], vec![end]].concat());
        for _ in 0..10_000 {
            hot.asked(&Request::new(Verb::Get, &one));
            hot.asked(&Request::new(Verb::Get, &other));
        }
        let mut keys: Vec<_> = hot.list().iter().map(|hot| hot.key.to_vec()).collect();
        keys.sort_unstable();
        assert_eq!(keys, [one, other]);
    }
}
