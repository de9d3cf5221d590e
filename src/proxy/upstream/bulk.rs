//! Large portions of retrievals, and single large values.
//!
//! They come on the link that all clients share, so a server is asked for a few at a time, of one client after the other: who
//! asks for something small behind them waits for these few.

use crate::proxy::limits::Limits;
use std::collections::VecDeque;

/// What one server is asked for of these.
#[derive(Debug, Default)]
pub struct Bulk {
    /// Bytes that those asked for were foreseen to come to.
    foreseen_bytes: usize,
    /// Retrievals that wait for their turn. Some may be over.
    waiting: VecDeque<usize>,
}

impl Bulk {
    /// Whether so many bytes more have to wait.
    pub fn is_full(&self, limits: &Limits, bytes: usize) -> bool {
        self.foreseen_bytes > 0 && self.foreseen_bytes + bytes > limits.bulk_bytes
    }

    /// The same for those whose turn it is not: they wait behind those who wait.
    pub fn is_taken(&self, limits: &Limits, bytes: usize) -> bool {
        !self.waiting.is_empty() || self.is_full(limits, bytes)
    }

    /// The server is asked for so much more.
    pub fn asked(&mut self, foreseen_bytes: usize) {
        self.foreseen_bytes += foreseen_bytes;
    }

    /// So much of that has come or will not come. Returns whether somebody waits for that.
    pub fn came(&mut self, foreseen_bytes: usize) -> bool {
        self.foreseen_bytes -= foreseen_bytes;
        !self.waiting.is_empty()
    }

    /// Lets a retrieval wait for its turn.
    pub fn wait(&mut self, id: usize) {
        self.waiting.push_back(id);
    }

    pub fn foreseen_bytes(&self) -> usize {
        self.foreseen_bytes
    }

    pub fn is_waiting(&self, id: usize) -> bool {
        self.waiting.contains(&id)
    }

    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Who has its turn now.
    pub fn next(&mut self, limits: &Limits) -> Option<usize> {
        match self.is_full(limits, 1) {
            true => None,
            false => self.waiting.pop_front(),
        }
    }

    /// Whether somebody waits, and nothing is on its way whose coming would end that. So it is where those who had their turn
    /// asked for nothing, but let others of their clients come to wait: it is the turn of these then.
    pub fn is_stuck(&self) -> bool {
        self.foreseen_bytes == 0 && !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_has_a_turn_when_something_came_or_nothing_is_to_come() {
        let limits = Limits::default();
        let mut bulk = Bulk::default();
        bulk.asked(limits.bulk_bytes);
        assert!(bulk.is_full(&limits, 1) && bulk.next(&limits).is_none());
        bulk.wait(1);
        bulk.wait(2);
        assert!(!bulk.is_stuck(), "what is on its way will be the turn of those");
        assert!(bulk.came(limits.bulk_bytes));
        assert_eq!(bulk.next(&limits), Some(1));
        bulk.wait(3); // as the first one's client went on to its next retrieval, and asked for nothing
        assert_eq!(bulk.next(&limits), Some(2));
        assert!(bulk.is_stuck() && bulk.is_taken(&limits, 1));
        assert_eq!(bulk.next(&limits), Some(3));
        assert!(!bulk.is_stuck() && !bulk.is_taken(&limits, 1));
    }

    #[test]
    fn one_portion_may_be_larger_than_all_that_is_asked_for_at_a_time() {
        let limits = Limits::default();
        assert!(!Bulk::default().is_full(&limits, 2 * limits.bulk_bytes));
    }
}
