//! cas uniques where there are backups: clients see them with a tag that says which life of which server they are of.
//!
//! memcached counts its uniques from 1 in each life, so a bare one from one server would often be another item's on its
//! partner. A cas whose tag is not that of the server that decides about it is sent on with a unique that no item has:
//! the server says EXISTS, or NOT_FOUND where there is no item, in its own manner.

use crate::proxy::fleet::introduction::Life;
use crate::proxy::settings::ServerName;
use std::collections::VecDeque;

/// The bits that are the server's own: at 10,000 writes a second they last for seven years, at 100,000 for eight months.
const UNIQUE_BITS: u32 = 41;
/// What is left of 53, the bits of whole numbers that JavaScript and Lua know, where a client turns the unique into one.
const TAG_BITS: u32 = 12;
/// No item's unique: memcached counts from 1.
const IMPOSSIBLE: u64 = u64::MAX;

/// The tags that were given.
#[derive(Default)]
pub struct Tags(VecDeque<u32>);

impl Tags {
    /// A tag from a life's description: the same on every magent, and above 0; another where it is among the `remembered` that
    /// were given last.
    pub fn add(&mut self, description: &str, remembered: usize) -> u32 {
        let digest = md5::compute(description).0;
        let mut tag = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]) % (1 << TAG_BITS);
        while tag == 0 || self.0.contains(&tag) {
            tag = (tag + 1) % (1 << TAG_BITS);
        }
        if self.0.len() >= remembered {
            self.0.pop_front();
        }
        self.0.push_back(tag);
        tag
    }
}

impl Tags {
    /// A tag for a life of a server: the same wherever it is asked for, and none of those `remembered` that were given last.
    pub fn give(&mut self, name: &ServerName, life: Life, remembered: usize) -> u32 {
        self.add(
            &format!("{:?} {} {}", name.address, life.pid, life.started_s),
            remembered,
        )
    }

    /// The same of one whose number is known, by its board: the same for every magent, whatever address leads it there.
    pub fn give_by_number(&mut self, id: u64, life: Life, remembered: usize) -> u32 {
        self.add(&format!("{id:016x} {} {}", life.pid, life.started_s), remembered)
    }
}

/// What clients see of a server's unique. One that is too great for its bits must not change the tag: then it is none that an
/// item has, and a cas with it changes nothing.
pub fn tagged(tag: u32, unique: u64) -> u64 {
    u64::from(tag) << UNIQUE_BITS | unique.min((1 << UNIQUE_BITS) - 1)
}

/// The server's unique in what a client says; one that no item has if it is not of this tag's life.
pub fn untagged(tag: u32, unique: u64) -> u64 {
    let bare = unique & ((1 << UNIQUE_BITS) - 1);
    if tag != 0 && unique >> UNIQUE_BITS == u64::from(tag) {
        bare
    } else {
        IMPOSSIBLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_is_good_for_the_life_that_it_came_from_only() {
        let mut tags = Tags::default();
        let (one, other) = (tags.add("a server", 1024), tags.add("a server", 1024));
        assert_ne!(one, other);
        let unique = tagged(one, 7);
        assert_eq!(untagged(one, unique), 7);
        for tag in [other, 0] {
            assert_eq!(untagged(tag, unique), IMPOSSIBLE);
        }
        assert_eq!(untagged(one, 7), IMPOSSIBLE);
        assert_eq!(tagged(one, u64::MAX) >> UNIQUE_BITS, u64::from(one));
        let greatest = tagged((1 << TAG_BITS) - 1, (1 << UNIQUE_BITS) - 1);
        assert_eq!(greatest as f64 as u64, greatest, "as a double it is the same number");
    }
}
