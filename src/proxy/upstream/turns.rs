//! Whose turn it is to be asked for large values; see `bulk`.

use crate::proxy::limits::Limits;
use crate::proxy::net::Net;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::Leg;

impl<N: Net> Upstream<N> {
    /// Whether so many bytes more of a server have to wait.
    pub fn is_full(&self, server: usize, limits: &Limits, bytes: usize) -> bool {
        self.peers[server].bulk.is_full(limits, bytes)
    }

    /// The same for those whose turn it is not.
    pub fn is_taken(&self, server: usize, limits: &Limits, bytes: usize) -> bool {
        self.peers[server].bulk.is_taken(limits, bytes)
    }

    /// A leg was sent whose values are foreseen to come to so many bytes.
    pub fn foresee(&mut self, server: usize, bytes: usize) {
        self.peers[server].bulk.asked(bytes);
    }

    /// A large portion, or a single large value, has come or will not come.
    pub fn bulk_came(&mut self, server: usize, leg: &Leg) {
        if leg.foreseen_bytes > 0 && self.peers[server].bulk.came(leg.foreseen_bytes) {
            self.bulk_done.push(server);
        }
    }

    /// Lets a retrieval wait for a server's turn.
    pub fn wait_for_turn(&mut self, server: usize, retrieval: usize) {
        self.peers[server].bulk.wait(retrieval);
    }

    /// The servers whose turn it may be.
    pub fn take_bulk_done(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.bulk_done)
    }

    /// How many retrievals wait for a server.
    pub fn waiting(&self, server: usize) -> usize {
        self.peers[server].bulk.waiting_count()
    }

    /// The retrieval whose turn it is.
    pub fn next_waiting(&mut self, server: usize, limits: &Limits) -> Option<usize> {
        self.peers[server].bulk.next(limits)
    }

    /// Those who had their turn have had it: where nothing came of it, others have theirs next.
    pub fn end_turn(&mut self, server: usize) {
        if self.peers[server].bulk.is_stuck() {
            self.bulk_done.push(server);
        }
    }
}
