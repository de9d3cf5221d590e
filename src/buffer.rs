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
/// Mostly there are no more than so many: room for all of them costs more than a small reply does to be put together.
const IO_SLICES_MOSTLY: usize = 4;

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
        Slice::new(block, 0, len)
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
    /// Nothing that a slice shows comes near to 4 GiB, and there are many of them.
    start: u32,
    len: u32,
}

impl Slice {
    fn new(block: Rc<Block>, start: usize, len: usize) -> Self {
        let narrow = |number: usize| u32::try_from(number).expect("less than 4 GiB");
        Self {
            block,
            start: narrow(start),
            len: narrow(len),
        }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    fn start(&self) -> usize {
        self.start as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.block.bytes.bytes()[self.start()..self.start() + self.len()]
    }

    /// The slice that these bytes are, which are some of its own; None if they are not.
    pub fn part_of(&self, bytes: &[u8]) -> Option<Slice> {
        let start = bytes.as_ptr().addr().checked_sub(self.bytes().as_ptr().addr())?;
        let is_inside = start <= self.len() && bytes.len() <= self.len() - start;
        is_inside.then(|| self.part(start, bytes.len()))
    }

    /// The same block, fewer bytes: `len` of them from `start` on. Panics if they are not inside this slice.
    pub fn part(&self, start: usize, len: usize) -> Slice {
        assert!(start + len <= self.len(), "a part lies inside its slice");
        Slice {
            block: Rc::clone(&self.block),
            start: self.start + start as u32,
            len: len as u32,
        }
    }
}

impl Slice {
    /// Appends as much of `part` as its block has room for, which only who has started the block may do. Says how much that was.
    #[inline]
    fn extend(&mut self, part: &[u8]) -> usize {
        let taken = self.block.bytes.append(part);
        self.len += taken as u32;
        taken
    }
}

impl Clone for Slice {
    fn clone(&self) -> Self {
        self.part(0, self.len())
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

/// Where in a chain bytes stand in one piece.
#[derive(Clone, Copy)]
pub struct Piece {
    block: usize,
    start: usize,
    len: usize,
}

/// Bytes waiting to be written, in order.
#[derive(Default)]
pub struct Chain {
    /// All slices but the last: mostly there are none, and a chain has no memory of its own.
    front: VecDeque<Slice>,
    tail: Option<Slice>,
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

    /// The last slice, if it is this chain's to fill and has room for so many bytes.
    #[inline]
    fn tail_for(&mut self, bytes: usize) -> Option<&mut Slice> {
        let is_own = self.tail_is_own;
        let has_room = |tail: &&mut Slice| is_own && tail.block.bytes.capacity() - tail.block.bytes.len() >= bytes;
        self.tail.as_mut().filter(has_room)
    }

    fn push_back(&mut self, slice: Slice) -> &mut Slice {
        if let Some(before) = self.tail.take() {
            self.front.push_back(before);
        }
        self.tail.insert(slice)
    }

    fn start_block(&mut self, pool: &Pool, room: usize) -> &mut Slice {
        self.tail_is_own = true;
        self.push_back(Slice::new(pool.block(room), 0, 0))
    }

    /// Appends a copy of `bytes`, split over blocks where need be: those of the pool cost no allocation, however many they are.
    pub fn push(&mut self, pool: &Pool, bytes: &[u8]) {
        self.len += bytes.len();
        let taken = self.tail_for(1).map_or(0, |tail| tail.extend(bytes));
        let mut rest = &bytes[taken..];
        while !rest.is_empty() {
            let taken = self.start_block(pool, BLOCK_BYTES).extend(rest);
            rest = &rest[taken..];
        }
    }

    /// Appends a copy of `parts` in one piece and returns the slice that has it, with room for them, as its end.
    #[inline]
    fn push_parts(&mut self, pool: &Pool, parts: &[&[u8]], len: usize) -> &Slice {
        self.len += len;
        if self.tail_for(len).is_none() {
            self.start_block(pool, len);
        }
        let tail = self.tail.as_mut().expect("a tail with room");
        for part in parts {
            let taken = tail.extend(part);
            debug_assert_eq!(taken, part.len(), "there is room for it");
        }
        tail
    }

    /// Appends a copy of `parts` in one piece and returns that piece, to be sent again if this link fails.
    pub fn push_whole(&mut self, pool: &Pool, parts: &[&[u8]]) -> Slice {
        let len = parts.iter().map(|part| part.len()).sum();
        let tail = self.push_parts(pool, parts, len);
        tail.part(tail.len() - len, len)
    }

    /// Appends a copy of `bytes` in one piece and returns where that is, for [`push_piece_of`](Self::push_piece_of), until something is
    /// consumed.
    pub fn push_piece(&mut self, pool: &Pool, bytes: &[u8]) -> Piece {
        let len = bytes.len();
        let start = self.push_parts(pool, &[bytes], len).len() - len;
        Piece {
            block: self.front.len(),
            start,
            len,
        }
    }

    /// Appends a piece of `other`, as [`push_slice`](Self::push_slice) does it.
    pub fn push_piece_of(&mut self, pool: &Pool, other: &Chain, piece: Piece) {
        let Some(slice) = other.front.get(piece.block).or(other.tail.as_ref()) else {
            return;
        };
        match piece.len >= REFERENCE_MIN {
            true => self.push_slice(pool, &slice.part(piece.start, piece.len)),
            false => self.push(pool, &slice.bytes()[piece.start..piece.start + piece.len]),
        }
    }

    /// Appends `slice`: by reference if it is large, else as a copy.
    pub fn push_slice(&mut self, pool: &Pool, slice: &Slice) {
        if slice.len() >= REFERENCE_MIN {
            self.len += slice.len();
            self.push_back(slice.clone());
            self.tail_is_own = false;
        } else if !slice.is_empty() {
            self.push_parts(pool, &[slice.bytes()], slice.len());
        }
    }

    /// Moves all of `other` to the end of this chain.
    pub fn append(&mut self, pool: &Pool, other: &mut Chain) {
        for slice in other.front.drain(..).chain(other.tail.take()) {
            self.push_slice(pool, &slice);
        }
        other.len = 0;
    }

    /// Hands the front of the chain to `write` as the pieces of one writev.
    pub fn with_io_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        match (self.front.len(), &self.tail) {
            (0, Some(only)) => write(&[IoSlice::new(only.bytes())]),
            (..IO_SLICES_MOSTLY, _) => self.with_room::<IO_SLICES_MOSTLY, T>(write),
            _ => self.with_room::<IO_SLICES_MAX, T>(write),
        }
    }

    fn with_room<const ROOM: usize, T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut pieces = [IoSlice::new(&[]); ROOM];
        let mut count = 0;
        for (piece, slice) in pieces.iter_mut().zip(self.front.iter().chain(&self.tail)) {
            *piece = IoSlice::new(slice.bytes());
            count += 1;
        }
        write(&pieces[..count])
    }

    /// Drops the first `count` bytes: they have been written. Panics if there are fewer.
    pub fn consume(&mut self, mut count: usize) {
        assert!(count <= self.len, "no more is consumed than is there");
        self.len -= count;
        while let Some(first) = self.front.front_mut().or(self.tail.as_mut()) {
            if count < first.len() {
                first.start += count as u32;
                first.len -= count as u32;
                return;
            }
            count -= first.len();
            if self.front.pop_front().is_none() {
                self.tail = None;
            }
        }
    }

    pub fn clear(&mut self) {
        self.front.clear();
        self.tail = None;
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
        Slice::new(block, 0, len)
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.shared.discharge(self.charged);
    }
}

#[cfg(test)]
mod tests;
