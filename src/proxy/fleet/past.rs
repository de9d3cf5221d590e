//! What a server may hold from before this magent knew it.
//!
//! What a server missed while it was away is known to the magent that was there. Another one, started meanwhile, does not
//! know, and a server that kept its items, or took them back from a memory file (`memcached -e`), would serve what is old
//! and bring back what was deleted. So a server is suspect
//!
//! - that was away when this magent started, a partner was not, and that comes back with items from before. It is flushed
//!   before anybody reads from it, and filled (R24). Where a partner is not there to fill it, it is believed of the keys that
//!   it holds with that one until it is, and is not flushed: each of the other keys is made what it is on its partner (R31).
//! - that has items of another life when this magent starts, while a partner has none such: each of its keys is made what it
//!   is on the partner, which is asked first meanwhile. It may have been cleaned by a magent of before, so it is not emptied (R25).
//!
//! Neither where a journal tells what it has missed (`journal`). Nor where the partners held so few items at that time that they cannot have had what the server has: a machine that
//! has rebooted starts an empty memcached and a magent that may not reach the other machine yet. Nor, at the start, where both
//! took items back: which of them has missed something since, nobody can tell.
//!
//! A memcached that took its items back counts them as stored in this life (`total_items`), though no command stored them,
//! and goes on with its old uptime. An item that is moved in memory, or to a disk, is counted once more, so that this alone tells
//! nothing; but more items than there were commands that can have stored one are of another life (R26).

use crate::proxy::fleet::ledger::{Event, Lacking, Range};
use crate::proxy::net::{Level, Net};
use crate::proxy::servers::Servers;

impl<N: Net> Servers<N> {
    /// This magent has seen all servers that are there: notes which, and what they hold.
    pub fn note_who_is_there(&mut self) {
        for index in 0..self.fleet.servers.len() {
            let is_there = self.fleet.is_up(index) && self.fleet.is_confirmed(index);
            let server = &mut self.fleet.servers[index];
            server.items_at_start = is_there.then_some(server.holdings.items);
        }
    }

    /// A server is seen for the first time that was away when this magent started. If it may have missed what its partners
    /// were told it is to be flushed. Returns the partners of whose keys it may hold what is old.
    pub fn suspect_who_was_away(&mut self, index: usize) -> Vec<usize> {
        let partners = self.fleet.partners(index);
        let servers = &self.fleet.servers;
        let witnesses = || {
            partners
                .iter()
                .filter(|&&partner| servers[partner].items_at_start.is_some())
        };
        let held = witnesses().filter_map(|&partner| servers[partner].items_at_start).sum();
        let server = &servers[index];
        let is_older = server
            .born_ms
            .is_some_and(|born_ms| born_ms < self.cx.started_ms as i64);
        let suspect = !server.is_remembered
            && is_older
            && server.holdings.items > 0
            && held > 0
            && server.holdings.may_all_be_on(held);
        if !suspect {
            return Vec::new();
        }
        let name = &server.name;
        self.cx.log.say(
            Level::Warning,
            format_args!("server {name} was away when magent started, and may hold what is old"),
        );
        let witnesses: Vec<usize> = witnesses().copied().collect();
        let all_are_there = || witnesses.iter().all(|&partner| self.fleet.is_up(partner));
        if witnesses.len() == partners.len() && all_are_there() {
            self.fleet.ledger.record(Event::FlushMissed(index));
        } else {
            for &from in &witnesses {
                self.fleet.ledger.record(Event::Lacks {
                    server: index,
                    from,
                    what: Lacking::Suspect,
                    of: Range::All,
                });
            }
        }
        witnesses
    }

    /// Whether one of two servers, both seen for the first time, took items back and the other did not. If so it is made
    /// like that.
    pub fn suspect_who_was_restored(&mut self, one: usize, other: usize) -> bool {
        let [first, second] = [one, other].map(|index| self.fleet.servers[index].holdings);
        let (restored, partner) = match (first.has_restored(), second.has_restored()) {
            (true, false) if first.may_all_be_on(second.items) => (one, other),
            (false, true) if second.may_all_be_on(first.items) => (other, one),
            _ => return false,
        };
        self.fleet.ledger.record(Event::Lacks {
            server: restored,
            from: partner,
            what: Lacking::Suspect,
            of: Range::All,
        });
        self.settle_later(restored);
        let (name, partner) = (&self.fleet.servers[restored].name, &self.fleet.servers[partner].name);
        self.cx.log.say(
            Level::Notice,
            format_args!(
                "server {name} has items from before it was restarted; they are made what they are on {partner}"
            ),
        );
        true
    }
}
