//! The buffer chain: bytes on their way out of a connection, and bytes that wait for the rest of a request.
//!
//! A [`Chain`] is a queue of [`Slice`]s, each a view of a reference-counted [`Block`]. Small pieces are copied into the
//! chain's last block; a piece above [`REFERENCE_MIN`] keeps the block it stands in, so a large value is never copied on
//! its way from one chain to the next. A transaction that may have to send its request again holds a `Slice` of the very
//! bytes that went out: no second copy is made for the rare case.
//!
//! Blocks come from a [`Pool`] and return to it when their last slice goes, so the steady state allocates nothing, and
//! an idle connection owns no block. Bytes in a block never change while a slice shows them, so that whoever looks at a
//! request may have others put on the same chain meanwhile. The pool counts every byte that is out: that number is held
//! against `--max-memory`.

use crate::sys::AppendOnly;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

/// Bytes of a pooled block. A batch's replies to one client usually fit; larger pieces get a block of their own size.
pub const BLOCK_BYTES: usize = 4096;
/// A slice of at least this many bytes is referenced, not copied, when it moves to another chain.
pub const REFERENCE_MIN: usize = 1024;
/// Idle blocks that the pool keeps for the next batch; those above are given back to the allocator.
const IDLE_BLOCKS_MAX: usize = 256;
/// Most pieces that one writev takes; Linux allows 1024, more than these are left for the next call.
const IO_SLICES_MAX: usize = 64;

struct Shared {
    idle: RefCell<Vec<Rc<Block>>>,
    in_use: Cell<usize>,
}

impl Shared {
    fn charge(&self, bytes: usize) {
        self.in_use.set(self.in_use.get() + bytes);
    }

    fn discharge(&self, bytes: usize) {
        self.in_use.set(self.in_use.get() - bytes);
    }
}

struct Block {
    bytes: AppendOnly,
    shared: Rc<Shared>,
    charged: usize,
}

/// Where blocks come from and return to; counts the bytes that are out.
pub struct Pool(Rc<Shared>);

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    pub fn new() -> Self {
        Self(Rc::new(Shared {
            idle: RefCell::new(Vec::new()),
            in_use: Cell::new(0),
        }))
    }

    /// Bytes that chains, slices and gathers hold at this moment, whole blocks counted.
    pub fn in_use(&self) -> usize {
        self.0.in_use.get()
    }

    /// An empty block with room for at least `bytes`.
    fn block(&self, bytes: usize) -> Rc<Block> {
        let charged = bytes.max(BLOCK_BYTES);
        self.0.charge(charged);
        if charged == BLOCK_BYTES {
            if let Some(block) = self.0.idle.borrow_mut().pop() {
                return block;
            }
        }
        Rc::new(Block {
            bytes: AppendOnly::with_capacity(charged),
            shared: Rc::clone(&self.0),
            charged,
        })
    }

    /// A slice of its own with a copy of `parts`, one after the other.
    pub fn copy(&self, parts: &[&[u8]]) -> Slice {
        let len = parts.iter().map(|part| part.len()).sum();
        let block = self.block(len);
        for part in parts {
            block.bytes.append(part);
        }
        Slice { block, start: 0, len }
    }

    /// An empty buffer for `expected` bytes, or more. It grows with what arrives: a value costs nothing by being announced.
    pub fn gather(&self, expected: usize) -> Gather {
        Gather {
            bytes: Vec::new(),
            expected,
            charged: 0,
            shared: Rc::clone(&self.0),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Idle blocks point back at the pool: break the circle.
        self.0.idle.borrow_mut().clear();
    }
}

/// A view of bytes in a block, which live as long as any slice of them.
pub struct Slice {
    block: Rc<Block>,
    start: usize,
    len: usize,
}

impl Slice {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.block.bytes.bytes()[self.start..self.start + self.len]
    }

    /// The slice that these bytes are, which are some of its own; None if they are not.
    pub fn part_of(&self, bytes: &[u8]) -> Option<Slice> {
        let start = bytes.as_ptr().addr().checked_sub(self.bytes().as_ptr().addr())?;
        let is_inside = start <= self.len && bytes.len() <= self.len - start;
        is_inside.then(|| self.part(start, bytes.len()))
    }

    /// The same block, fewer bytes: `len` of them from `start` on. Panics if they are not inside this slice.
    pub fn part(&self, start: usize, len: usize) -> Slice {
        assert!(start + len <= self.len, "a part lies inside its slice");
        Slice {
            block: Rc::clone(&self.block),
            start: self.start + start,
            len,
        }
    }
}

impl Clone for Slice {
    fn clone(&self) -> Self {
        self.part(0, self.len)
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        // Only the last slice of a block gets it whole: nobody else can see any of it then.
        let Some(block) = Rc::get_mut(&mut self.block) else {
            return;
        };
        block.bytes.clear();
        block.shared.discharge(block.charged);
        let mut idle = self.block.shared.idle.borrow_mut();
        if self.block.charged == BLOCK_BYTES && idle.len() < IDLE_BLOCKS_MAX {
            idle.push(Rc::clone(&self.block));
        }
    }
}

/// Bytes waiting to be written, in order.
#[derive(Default)]
pub struct Chain {
    slices: VecDeque<Slice>,
    len: usize,
    /// The last block was started by this chain, so this chain, and no other, may write behind its end.
    tail_is_own: bool,
}

impl Chain {
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Room left in the last block, if it is this chain's to fill.
    fn tail_room(&self) -> usize {
        match self.slices.back() {
            Some(tail) if self.tail_is_own => tail.block.bytes.capacity() - tail.block.bytes.len(),
            _ => 0,
        }
    }

    fn extend_tail(&mut self, part: &[u8]) {
        let tail = self.slices.back_mut().expect("a tail with room");
        let taken = tail.block.bytes.append(part);
        debug_assert_eq!(taken, part.len(), "there is room for it");
        tail.len += taken;
        self.len += taken;
    }

    fn start_block(&mut self, pool: &Pool, room: usize) {
        self.slices.push_back(Slice {
            block: pool.block(room),
            start: 0,
            len: 0,
        });
        self.tail_is_own = true;
    }

    /// Appends a copy of `bytes`, split over blocks where need be.
    pub fn push(&mut self, pool: &Pool, bytes: &[u8]) {
        let (fits, rest) = bytes.split_at(bytes.len().min(self.tail_room()));
        if !fits.is_empty() {
            self.extend_tail(fits);
        }
        if !rest.is_empty() {
            self.start_block(pool, rest.len());
            self.extend_tail(rest);
        }
    }

    /// Appends a copy of `parts` in one piece and returns that piece, to be sent again if this link fails.
    pub fn push_whole(&mut self, pool: &Pool, parts: &[&[u8]]) -> Slice {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.tail_room() < len || self.slices.is_empty() {
            self.start_block(pool, len);
        }
        for part in parts {
            self.extend_tail(part);
        }
        let tail = self.slices.back().expect("just written");
        tail.part(tail.len - len, len)
    }

    /// Appends `slice`: by reference if it is large, else as a copy.
    pub fn push_slice(&mut self, pool: &Pool, slice: &Slice) {
        if slice.len >= REFERENCE_MIN {
            self.len += slice.len;
            self.slices.push_back(slice.clone());
            self.tail_is_own = false;
        } else if !slice.is_empty() {
            let room = self.tail_room();
            if room < slice.len {
                self.start_block(pool, slice.len);
            }
            self.extend_tail(slice.bytes());
        }
    }

    /// Moves all of `other` to the end of this chain.
    pub fn append(&mut self, pool: &Pool, other: &mut Chain) {
        for slice in other.slices.drain(..) {
            self.push_slice(pool, &slice);
        }
        other.len = 0;
    }

    /// Hands the front of the chain to `write` as the pieces of one writev.
    pub fn with_io_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        if let [only] = self.slices.as_slices().0 {
            if self.slices.len() == 1 {
                return write(&[IoSlice::new(only.bytes())]);
            }
        }
        let mut pieces = [IoSlice::new(&[]); IO_SLICES_MAX];
        let mut count = 0;
        for (piece, slice) in pieces.iter_mut().zip(&self.slices) {
            *piece = IoSlice::new(slice.bytes());
            count += 1;
        }
        write(&pieces[..count])
    }

    /// Drops the first `count` bytes: they have been written. Panics if there are fewer.
    pub fn consume(&mut self, mut count: usize) {
        assert!(count <= self.len, "no more is consumed than is there");
        self.len -= count;
        while let Some(front) = self.slices.front_mut() {
            if count < front.len {
                front.start += count;
                front.len -= count;
                return;
            }
            count -= front.len;
            self.slices.pop_front();
        }
    }

    pub fn clear(&mut self) {
        self.slices.clear();
        self.len = 0;
    }
}

/// Bytes that arrive in pieces, until they are whole; counted by the pool.
pub struct Gather {
    bytes: Vec<u8>,
    expected: usize,
    charged: usize,
    shared: Rc<Shared>,
}

impl Gather {
    pub fn extend(&mut self, part: &[u8]) {
        let needed = self.bytes.len() + part.len();
        if needed > self.bytes.capacity() {
            // Twice as much each time, but no more than what is to come.
            let room = (2 * self.bytes.capacity()).clamp(needed, self.expected.max(needed));
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        self.recount();
    }

    /// Bytes that it takes in memory.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Drops the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    fn recount(&mut self) {
        let capacity = self.bytes.capacity();
        if capacity != self.charged {
            self.shared.discharge(self.charged);
            self.shared.charge(capacity);
            self.charged = capacity;
        }
    }

    /// The gathered bytes as a slice; they are not copied.
    pub fn freeze(mut self) -> Slice {
        let bytes = std::mem::take(&mut self.bytes);
        // The charge passes from the gather to the block. A block of exactly the pooled size would be reused as one.
        let charged = bytes.capacity();
        let block = Rc::new(Block {
            shared: Rc::clone(&self.shared),
            charged,
            bytes: bytes.into(),
        });
        self.shared.discharge(self.charged);
        self.shared.charge(charged);
        self.charged = 0;
        let len = block.bytes.len();
        Slice { block, start: 0, len }
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.shared.discharge(self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chain: &Chain) -> Vec<u8> {
        let mut all = Vec::new();
        chain.with_io_slices(|pieces| pieces.iter().for_each(|piece| all.extend_from_slice(piece)));
        all
    }

    #[test]
    fn bytes_leave_in_the_order_they_were_pushed() {
        let pool = Pool::new();
        let mut chain = Chain::new();
        let mut expected = Vec::new();
        for size in [1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, 3, 3 * BLOCK_BYTES, 7] {
            let piece = vec![size as u8; size];
            chain.push(&pool, &piece);
            expected.extend_from_slice(&piece);
        }
        let whole = chain.push_whole(&pool, &[b"get ", b"key", b"\r\n"]);
        assert_eq!(whole.bytes(), b"get key\r\n");
        let key = whole.part_of(&whole.bytes()[4..7]).expect("a part of it");
        assert_eq!(key.bytes(), b"key");
        assert!(key.part_of(whole.bytes()).is_none() && whole.part_of(b"key").is_none());
        expected.extend_from_slice(b"get key\r\n");
        assert_eq!(chain.len(), expected.len());
        while !chain.is_empty() {
            assert_eq!(text(&chain), expected);
            let step = 997.min(chain.len());
            chain.consume(step);
            expected.drain(..step);
        }
        assert_eq!(whole.bytes(), b"get key\r\n");
    }

    #[test]
    fn a_piece_can_be_pushed_again_on_its_own_chain_and_on_another() {
        let pool = Pool::new();
        let (mut one, mut two) = (Chain::new(), Chain::new());
        let small = one.push_whole(&pool, &[b"small"]);
        let large = one.push_whole(&pool, &[&[b'x'; 2 * REFERENCE_MIN]]);
        one.push_slice(&pool, &small);
        two.push_slice(&pool, &small);
        two.push_slice(&pool, &large);
        one.push(&pool, b"after");
        two.push(&pool, b"behind");
        let body = "x".repeat(2 * REFERENCE_MIN);
        assert_eq!(text(&one), format!("small{body}smallafter").into_bytes());
        assert_eq!(text(&two), format!("small{body}behind").into_bytes());
        two.append(&pool, &mut one);
        assert_eq!(
            text(&two),
            format!("small{body}behindsmall{body}smallafter").into_bytes()
        );
    }

    #[test]
    fn a_piece_is_looked_at_while_its_chain_is_written_to() {
        let pool = Pool::new();
        let mut chain = Chain::new();
        let piece = chain.push_whole(&pool, &[b"append k 0 0 1\r\nx\r\n"]);
        let seen = piece.bytes();
        chain.push(&pool, b"mg k v\r\n");
        chain.push_whole(&pool, &[&seen[7..8], seen]);
        chain.push_slice(&pool, &piece);
        assert_eq!(seen, b"append k 0 0 1\r\nx\r\n");
        chain.clear();
        chain.push(&pool, &[b'y'; 3 * BLOCK_BYTES]);
        assert_eq!(
            seen, b"append k 0 0 1\r\nx\r\n",
            "its block is not used anew while it is there"
        );
        drop(piece);
        chain.clear();
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn what_is_idle_owns_nothing() {
        let pool = Pool::new();
        let mut chain = Chain::new();
        chain.push(&pool, &[1; 10_000]);
        let kept = chain.push_whole(&pool, &[b"kept"]);
        let mut gather = pool.gather(10);
        gather.extend(&[0; 100]);
        assert!(pool.in_use() >= 10_000 + 100);
        chain.consume(chain.len());
        drop(gather.freeze());
        drop(kept);
        assert_eq!(pool.in_use(), 0);
    }
}
