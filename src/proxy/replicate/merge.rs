//! The values of a retrieval in the order in which their keys were asked for, whichever server sends which first.
//!
//! memcached answers in that order, and some clients rely on it. Each key of a portion has a slot, its number in the
//! portion; a leg's keys have their slots in a row. A value whose turn it is goes out at once, and with it those behind it that
//! have come before. The others are kept, and what has not had its turn when the portion is done goes out then, by slot:
//! for a key without a value nobody tells that its turn is over.

use crate::buffer::{Chain, Piece, Pool, Slice};

/// Slots whose room is kept for the next retrieval.
const SLOTS_KEPT: usize = 128;

#[derive(Default)]
pub struct Merge {
    /// Where values are copied to, many in a block.
    blocks: Chain,
    /// What is kept, by slot.
    kept: Vec<Kept>,
    /// The slot whose turn it is. None where values have gone out by no slot, so that nobody knows.
    next: Option<u16>,
    /// Of all that is kept.
    bytes: usize,
}

/// The value of a slot.
#[derive(Default)]
enum Kept {
    /// It has not come, or has gone.
    #[default]
    Nothing,
    Copied(Piece),
    /// It stands alone in its block.
    Alone(Slice),
}

impl Merge {
    /// Makes it one that has nothing, and whose first slot is the first to go out.
    pub fn begin(&mut self) {
        self.clear();
        self.next = Some(0);
    }

    fn clear(&mut self) {
        self.blocks.clear();
        self.kept.clear();
        (self.next, self.bytes) = (None, 0);
    }

    /// Whether its room is worth being kept for another. It has nothing after that.
    pub fn may_be_kept(&mut self) -> bool {
        self.clear();
        self.kept.capacity() <= SLOTS_KEPT
    }

    /// Whether it is the turn of this slot, whose value goes out now.
    #[inline]
    pub fn has_turn(&mut self, slot: u16) -> bool {
        let has_turn = self.next == Some(slot);
        if has_turn {
            self.next = Some(slot + 1);
        }
        has_turn
    }

    /// Whether it is the turn of what is kept.
    #[inline]
    pub fn is_due(&self) -> bool {
        let next = self.next.and_then(|next| self.kept.get(usize::from(next)));
        next.is_some_and(|kept| !matches!(kept, Kept::Nothing))
    }

    /// Keeps a value; `slice` is the block that it alone stands in, where there is one.
    pub fn add(&mut self, pool: &Pool, slot: u16, bytes: &[u8], slice: Option<&Slice>) {
        let slot = usize::from(slot);
        if slot >= self.kept.len() {
            self.kept.resize_with(slot + 1, Kept::default);
        }
        debug_assert!(matches!(self.kept[slot], Kept::Nothing), "one value of a key counts");
        self.bytes += bytes.len();
        self.kept[slot] = match slice {
            Some(slice) => Kept::Alone(slice.clone()),
            None => Kept::Copied(self.blocks.push_piece(pool, bytes)),
        };
    }

    /// Bytes of all that is kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Lets out those whose turn it is.
    pub fn let_out_due(&mut self, pool: &Pool, to: &mut Chain) {
        while self.is_due() {
            let slot = self.next.unwrap_or(0);
            self.let_out(usize::from(slot), pool, to);
            self.next = Some(slot + 1);
        }
    }

    /// Lets all out, by slot.
    pub fn let_out_all(&mut self, pool: &Pool, to: &mut Chain) {
        for slot in 0..self.kept.len() {
            self.let_out(slot, pool, to);
        }
    }

    fn let_out(&mut self, slot: usize, pool: &Pool, to: &mut Chain) {
        let before = to.len();
        match std::mem::take(&mut self.kept[slot]) {
            Kept::Nothing => {}
            Kept::Copied(piece) => to.push_piece_of(pool, &self.blocks, piece),
            Kept::Alone(slice) => to.push_slice(pool, &slice),
        }
        self.bytes -= to.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of it after these values have come, and then at the end.
    fn out(merge: &mut Merge, pool: &Pool, values: &[(u16, &[u8])]) -> [Vec<u8>; 2] {
        let mut chain = Chain::new();
        for &(slot, value) in values {
            match merge.has_turn(slot) {
                true => chain.push(pool, value),
                false => merge.add(pool, slot, value, None),
            }
            merge.let_out_due(pool, &mut chain);
        }
        let text = |chain: &Chain| {
            chain.with_io_slices(|pieces| pieces.iter().flat_map(|piece| piece.to_vec()).collect::<Vec<u8>>())
        };
        let early = text(&chain);
        merge.let_out_all(pool, &mut chain);
        assert!(merge.is_empty());
        [early, text(&chain)]
    }

    #[test]
    fn values_come_out_by_slot() {
        let pool = Pool::new();
        let mut merge = Merge::default();
        let values: [(u16, &[u8]); 4] = [(2, b"c"), (0, b"a"), (3, b"d"), (1, b"b")];
        assert_eq!(out(&mut merge, &pool, &values), [&b""[..], b"abcd"]);
        merge.begin();
        assert_eq!(out(&mut merge, &pool, &values), [&b"abcd"[..], b"abcd"]);
        merge.begin();
        assert_eq!(
            out(&mut merge, &pool, &[(4, b"e"), (0, b"a"), (2, b"c")]),
            [&b"a"[..], b"ace"],
            "no value comes of two of the keys"
        );
        assert!(merge.may_be_kept());
        assert_eq!(pool.in_use(), 0);
    }
}
