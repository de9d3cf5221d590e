//! Reads that a server lets wait for longer than it mostly takes: which they are, and that one of them is waited for no longer.

use crate::proxy::net::Net;
use crate::proxy::settings::Hedge;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::{Ask, Leg, Link, Purpose};
use std::collections::VecDeque;

/// How many times as long as nearly all answers take a read waits for its own.
const PERCENTILES: u64 = 3;
/// And so many milliseconds at least.
const AFTER_MIN_MS: u64 = 2;

impl<N: Net> Upstream<N> {
    /// After how many milliseconds somebody looks whether a server has answered.
    #[inline]
    pub fn patience_ms(&self, server: usize) -> u64 {
        self.peers[server].patience_ms
    }

    /// After how many milliseconds a read is asked of a server's partner as well; that is its patience from now on. None: never, for
    /// it is given up before that, after `limit_ms`.
    pub fn find_patience(&mut self, server: usize, hedge: Hedge, limit_ms: u64) -> Option<u64> {
        let peer = &mut self.peers[server];
        let after_ms = match hedge {
            Hedge::Never => None,
            Hedge::After(ms) => Some(ms),
            Hedge::Adaptive => Some((PERCENTILES * peer.answer_times.percentile_99_ms()).max(AFTER_MIN_MS)),
        };
        let after_ms = after_ms.filter(|&after_ms| after_ms < limit_ms);
        peer.patience_ms = after_ms.unwrap_or(limit_ms);
        after_ms
    }

    /// The reads of a server that were sent by then and that nobody has looked at yet, by where their requests end on its link.
    pub fn late_reads(&self, server: usize, until_ms: u64) -> Vec<u64> {
        let Some(index) = self.peers[server].link else {
            return Vec::new();
        };
        let link = &self.links[index];
        // What has come is not all read yet.
        if self.reading.contains(&index) {
            return Vec::new();
        }
        let from = first_sent_after(&link.pending, link.looked_at_ms);
        let to = first_sent_after(&link.pending, until_ms).max(from);
        let late = link.pending.range(from..to).filter(|leg| leg.may_be_hedged());
        late.map(|leg| leg.end).collect()
    }

    /// All that was sent to a server by then has been looked at.
    pub fn looked_at(&mut self, server: usize, until_ms: u64) {
        if let Some(link) = self.peers[server].link.map(|link| &mut self.links[link]) {
            link.looked_at_ms = until_ms.max(link.looked_at_ms);
        }
    }

    /// When the next read of a server will have waited for so long.
    pub fn next_late_ms(&self, server: usize, after_ms: u64) -> Option<u64> {
        let link = &self.links[self.peers[server].link?];
        let next = link.pending.get(first_sent_after(&link.pending, link.looked_at_ms))?;
        Some(next.sent_ms + after_ms)
    }

    /// Whether one more read of a server may be asked of its partner: one that answers nothing is not waited for by anybody,
    /// of one that does only some, of so many `requests` that it has been sent.
    pub fn may_hedge(&mut self, server: usize, requests: u64, now_ms: u64, after_ms: u64) -> bool {
        let peer = &mut self.peers[server];
        peer.budget.follow(requests);
        let is_silent = peer
            .link
            .is_some_and(|link| self.links[link].is_silent(now_ms, after_ms));
        is_silent || peer.budget.take()
    }

    /// The leg on a server's link whose request ends there.
    pub fn leg_at(&self, server: usize, end: u64) -> Option<&Leg> {
        let link = &self.links[self.peers[server].link?];
        link.pending.get(place(link, end)?)
    }

    /// Waits no longer for the answer to a leg of this transaction. Returns whether it was waited for.
    pub fn give_up(&mut self, server: usize, end: u64, transaction: usize) -> bool {
        let Some(link) = self.peers[server].link.map(|link| &mut self.links[link]) else {
            return false;
        };
        let Some(leg) = place(link, end).and_then(|place| link.pending.get_mut(place)) else {
            return false;
        };
        let is_it = leg.transaction == transaction && matches!(leg.purpose, Purpose::Read(_));
        if is_it {
            *leg = leg.as_given_up();
        }
        is_it
    }
}

/// The legs on a link were sent one after the other.
fn first_sent_after(pending: &VecDeque<Leg>, ms: u64) -> usize {
    pending.partition_point(|leg| leg.sent_ms <= ms)
}

fn place<N: Net>(link: &Link<N>, end: u64) -> Option<usize> {
    link.pending.binary_search_by_key(&end, |leg| leg.end).ok()
}

impl Leg {
    /// Whether it is a retrieval that its server's partner can be asked for as well. Who sends much has a reason to take long.
    fn may_be_hedged(&self) -> bool {
        self.purpose == Purpose::Read(Ask::First) && self.foreseen_bytes == 0
    }
}
