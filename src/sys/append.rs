//! Bytes that are appended to while others read those in front: a buffer of fixed capacity, for one thread.
//!
//! A plain `Vec` cannot be that: to append takes it away from all who read. `RefCell<Vec<u8>>` finds that out while
//! magent runs, and ends it. Here nobody has to be kept away, because of what holds at all times, with `written` the count
//! of bytes appended so far:
//!
//! ```text
//! written <= capacity                    nothing is written behind the allocation
//! bytes 0 .. written                     have a value, and never change while anybody can see them
//! bytes written .. capacity              nobody has a reference to any of them
//! written never sinks under `&self`      only `clear` lowers it, and that takes `&mut self`: nobody sees any byte then
//! start, capacity                        are those of one `Vec<u8>`, and stay so until this is dropped
//! ```
//!
//! `Cell` and `NonNull` keep it in its thread: it is neither `Send` nor `Sync`, so no two appends meet.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A buffer of fixed capacity in which bytes that are written never change, so that appending disturbs no reader.
pub struct AppendOnly {
    start: NonNull<u8>,
    capacity: usize,
    written: Cell<usize>,
}

impl AppendOnly {
    /// An empty buffer with room for `bytes`, or a little more.
    pub fn with_capacity(bytes: usize) -> Self {
        Vec::with_capacity(bytes).into()
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn len(&self) -> usize {
        self.written.get()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has been written so far.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `written` bytes of the allocation have a value. Appending writes behind them only, and
        // whatever could change, move or free them needs `self` alone, which this borrow prevents.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.written.get()) }
    }

    /// Writes as much of `part` as there is room for behind what has been written, and says how much that was. `part` may
    /// stand in this very buffer.
    pub fn append(&self, part: &[u8]) -> usize {
        let written = self.written.get();
        let count = part.len().min(self.capacity - written);
        // SAFETY: `written + count <= capacity`, so the target lies inside the allocation. Nobody has a reference to any
        // byte of it: `bytes` gives out those in front only, so `part` does not overlap it either. No other thread has
        // this buffer, and nothing of the caller's runs in between.
        unsafe {
            let target = self.start.as_ptr().add(written);
            std::ptr::copy_nonoverlapping(part.as_ptr(), target, count);
        }
        self.written.set(written + count);
        count
    }

    /// Forgets all bytes. `&mut` says that nobody sees them any more.
    pub fn clear(&mut self) {
        self.written.set(0);
    }
}

impl From<Vec<u8>> for AppendOnly {
    /// The bytes of `vec` where they stand, and the room behind them.
    fn from(vec: Vec<u8>) -> Self {
        // From here on only this buffer frees the allocation.
        let mut vec = ManuallyDrop::new(vec);
        Self {
            // A pointer to all of the allocation, not to its first `len` bytes alone; it is not null, if empty either.
            start: NonNull::new(vec.as_mut_ptr()).unwrap_or(NonNull::dangling()),
            capacity: vec.capacity(),
            written: Cell::new(vec.len()),
        }
    }
}

impl Drop for AppendOnly {
    fn drop(&mut self) {
        // SAFETY: start and capacity are those of the `Vec<u8>` that this buffer was made of and that nobody else has; the
        // first `written` bytes have a value. Borrows of them have ended, or this could not be dropped.
        drop(unsafe { Vec::from_raw_parts(self.start.as_ptr(), self.written.get(), self.capacity) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(buffer: &AppendOnly) {
        assert!(buffer.len() <= buffer.capacity());
        assert_eq!(buffer.bytes().len(), buffer.len());
    }

    #[test]
    fn what_was_read_before_an_append_is_the_same_after_it() {
        let buffer = AppendOnly::with_capacity(10);
        assert_eq!(buffer.append(b"abc"), 3);
        let before = buffer.bytes();
        assert_eq!(buffer.append(b"def"), 3);
        assert_eq!((before, buffer.bytes()), (&b"abc"[..], &b"abcdef"[..]));
        assert_eq!(before.as_ptr(), buffer.bytes().as_ptr(), "nothing is moved");
        check(&buffer);
    }

    #[test]
    fn a_buffer_can_be_appended_to_itself() {
        let buffer = AppendOnly::with_capacity(12);
        buffer.append(b"abc");
        buffer.append(buffer.bytes());
        buffer.append(&buffer.bytes()[1..4]);
        assert_eq!(buffer.bytes(), b"abcabcbca");
        buffer.append(buffer.bytes());
        assert_eq!(buffer.bytes(), b"abcabcbcaabc", "as much as there is room for");
        check(&buffer);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let buffer = AppendOnly::from(Vec::with_capacity(4));
        let room = buffer.capacity();
        assert_eq!(buffer.append(&vec![1; room + 5]), room);
        assert_eq!(buffer.append(b"x"), 0);
        assert_eq!(buffer.append(b""), 0);
        assert_eq!(buffer.bytes(), vec![1; room]);
        check(&buffer);
        let nothing = AppendOnly::from(Vec::new());
        assert_eq!((nothing.append(b"x"), nothing.bytes()), (0, &b""[..]));
        check(&nothing);
    }

    #[test]
    fn a_vec_is_taken_over_where_it_stands() {
        let mut vec = Vec::with_capacity(8);
        vec.extend_from_slice(b"abc");
        let (at, capacity) = (vec.as_ptr(), vec.capacity());
        let mut buffer = AppendOnly::from(vec);
        assert_eq!((buffer.bytes().as_ptr(), buffer.capacity()), (at, capacity));
        buffer.append(b"def");
        assert_eq!(buffer.bytes(), b"abcdef");
        buffer.clear();
        assert!(buffer.is_empty());
        buffer.append(b"new");
        assert_eq!(buffer.bytes(), b"new");
        check(&buffer);
    }
}
