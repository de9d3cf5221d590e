//! The values of a retrieval in the order in which their keys were asked for, whichever server sends which first.
//!
//! memcached answers in that order, and some clients rely on it. Each key of a portion has a slot, its number in the
//! portion; a leg's keys have their slots in a row. Values that may have to wait for others are kept until the portion is
//! done, then let out by slot.

use crate::buffer::{Chain, Pool, Slice};

#[derive(Default)]
pub struct Merge {
    /// Where small values are copied to, many in a block.
    blocks: Chain,
    values: Vec<(u16, Slice)>,
    /// Of all values.
    bytes: usize,
}

impl Merge {
    /// Keeps a value; `slice` is the block that it alone stands in, where there is one.
    pub fn add(&mut self, pool: &Pool, slot: u16, bytes: &[u8], slice: Option<&Slice>) {
        let value = match slice {
            Some(slice) => slice.clone(),
            None => self.blocks.push_whole(pool, &[bytes]),
        };
        self.bytes += value.len();
        self.values.push((slot, value));
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All values, by slot.
    pub fn into_values(mut self) -> impl Iterator<Item = Slice> {
        self.values.sort_by_key(|&(slot, _)| slot);
        self.values.into_iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_by_slot() {
        let pool = Pool::new();
        let mut merge = Merge::default();
        for (slot, value) in [(2, b"c"), (0, b"a"), (3, b"d"), (1, b"b")] {
            merge.add(&pool, slot, value, None);
        }
        let values: Vec<u8> = merge.into_values().map(|value| value.bytes()[0]).collect();
        assert_eq!(values, b"abcd");
        assert_eq!(pool.in_use(), 0);
    }
}
