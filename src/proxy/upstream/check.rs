//! Whether the books of the links agree; see [`Proxy::check`](crate::proxy::Proxy::check).

use crate::proxy::net::Net;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::{Purpose, Use};
use crate::proxy::wrong::{Wrong, equal, holds, is_flushed};
use std::collections::BTreeMap;

impl<N: Net> Upstream<N> {
    /// How many legs of each transaction are to be answered.
    pub fn legs(&self) -> BTreeMap<usize, u32> {
        self.legs_that(Purpose::has_transaction)
    }

    /// The same of each of the copier's repairs.
    pub fn repair_legs(&self) -> BTreeMap<usize, u32> {
        self.legs_that(Purpose::is_repair)
    }

    fn legs_that(&self, count: fn(Purpose) -> bool) -> BTreeMap<usize, u32> {
        let mut legs = BTreeMap::new();
        let pending = self.links.iter().flat_map(|(_, link)| &link.pending);
        for leg in pending.filter(|leg| count(leg.purpose)) {
            *legs.entry(leg.transaction).or_default() += 1;
        }
        legs
    }

    /// Whether a retrieval waits for a server's turn that will come.
    pub fn will_have_turn(&self, retrieval: usize) -> bool {
        let mut peers = self.peers.iter().enumerate();
        peers.any(|(index, peer)| {
            peer.bulk.is_waiting(retrieval) && (!peer.bulk.is_stuck() || self.bulk_done.contains(&index))
        })
    }

    /// Whether all is as it must be at the end of a turn.
    pub fn check(&self) -> Wrong {
        let nothing_left = self.lost.is_empty() && self.unreachable.is_empty() && self.dirty.is_empty();
        holds("links have left something for another turn", nothing_left)?;
        for (index, link) in &self.links {
            let peer = &self.peers[link.server];
            let is_known = peer.link == Some(index) || peer.quarantined.contains(&index);
            let lists = link.used_for == Use::Lists;
            holds(&format!("link {index} is nobody's"), is_known || lists)?;
            let is_flushed = is_flushed(&link.output, link.outgoing);
            holds(&format!("link {index} is not flushed"), is_flushed || lists)?;
        }
        for (server, peer) in self.peers.iter().enumerate() {
            let mut foreseen = 0;
            for &index in peer.link.iter().chain(&peer.quarantined) {
                let link = self.links.get(index).filter(|link| link.server == server);
                let link = link.ok_or(format!("server {server} has a link that is not its own"))?;
                // What was given up has been subtracted.
                let awaited = link.pending.iter().filter(|leg| leg.purpose.has_transaction());
                foreseen += awaited.map(|leg| leg.foreseen_bytes).sum::<usize>();
            }
            equal("bytes foreseen of a server", peer.bulk.foreseen_bytes(), foreseen)?;
        }
        Ok(())
    }
}
