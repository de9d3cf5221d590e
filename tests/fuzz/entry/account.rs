//! How much memory the proxy holds: every allocation that it makes and frees is counted, nobody else's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static COUNTS: Cell<bool> = const { Cell::new(false) };
}

struct Account;

#[global_allocator]
static ACCOUNT: Account = Account;

fn count(bytes: isize) {
    if COUNTS.get() {
        HELD.set(HELD.get() + bytes);
    }
}

// SAFETY: all is passed on to the system's allocator; the cells need no allocation and have no destructor.
unsafe impl GlobalAlloc for Account {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Runs a part of the proxy and counts what it allocates.
pub fn counted<T>(run: impl FnOnce() -> T) -> T {
    with(true, run)
}

/// Runs a part of the world around it, which the proxy has called.
pub fn uncounted<T>(run: impl FnOnce() -> T) -> T {
    with(false, run)
}

fn with<T>(counts: bool, run: impl FnOnce() -> T) -> T {
    let before = COUNTS.replace(counts);
    let result = run();
    COUNTS.set(before);
    result
}

/// Forgets what an earlier run in this thread left, if it broke off.
pub fn reset() {
    COUNTS.set(false);
    HELD.set(0);
}

/// Bytes that the proxy holds now.
pub fn held() -> isize {
    HELD.get()
}
