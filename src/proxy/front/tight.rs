//! What is remembered while memory is short; see `memory`.

use std::collections::VecDeque;

/// Where memory is short.
#[derive(Default)]
pub struct Tight {
    /// Clients that hold much, or have held much.
    pub heavy: Vec<usize>,
    /// Clients that are read when there is memory again. Some may be gone.
    pub squeezed: VecDeque<usize>,
    pub look_again_ms: u64,
    /// Unless so much is held by then.
    pub look_again_bytes: usize,
    /// Since when there has been none left.
    pub short_since_ms: Option<u64>,
    /// When the next client may be read from in spite of that.
    pub beyond_at_ms: u64,
}
