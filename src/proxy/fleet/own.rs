//! Keys that are remembered by little more than a bit each: those that magent itself has written to a server, and not seen under which unique.

use std::hash::{DefaultHasher, Hasher};

/// Of a key.
pub fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

/// Keys, by their hashes and a bit for each: another that shares it is taken for one of them.
#[derive(Clone, Debug, Default)]
pub struct Own(Vec<u64>);

impl Own {
    /// Words of 64 bits: of 1,000 keys and 100, 3 in 100 and in 1,000 others are taken for one of them.
    const WORDS: usize = 512;

    /// The word that has the bit of a hash, and the bit in it.
    fn place(hash: u64) -> (usize, u64) {
        ((hash >> 6) as usize % Self::WORDS, 1 << (hash % 64))
    }

    pub fn add(&mut self, hash: u64) {
        let (word, bit) = Self::place(hash);
        self.0.resize(Self::WORDS, 0);
        self.0[word] |= bit;
    }

    pub fn append(&mut self, more: &Own) {
        self.0.resize(self.0.len().max(more.0.len()), 0);
        self.0.iter_mut().zip(&more.0).for_each(|(bits, more)| *bits |= more);
    }

    pub fn has(&self, hash: u64) -> bool {
        let (word, bit) = Self::place(hash);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_others_are_taken_for_its_own() {
        let (mut own, mut more) = (Own::default(), Own::default());
        let key = |n: usize| hash(n.to_string().as_bytes());
        (0..500).for_each(|n| own.add(key(n)));
        (500..1000).for_each(|n| more.add(key(n)));
        assert!(!Own::default().has(key(0)) && !own.has(key(999)));
        own.append(&more);
        assert!((0..1000).all(|n| own.has(key(n))));
        let taken = (1000..11_000).filter(|&n| own.has(key(n))).count();
        assert!((200..400).contains(&taken), "{taken}");
    }
}
