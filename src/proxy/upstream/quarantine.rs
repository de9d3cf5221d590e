//! Links to a server that fell silent.
//!
//! A server that hangs may have commands in its socket that nobody waits for any more. When it wakes up it runs them,
//! and a connection that was merely closed gives no sign of when that is over: a set that a client was told had failed
//! over could land after the key's deletion, and the old value would be back (R8). So the link of a silent server is not
//! closed but put in quarantine, and the server is not used again before it has answered all that it was sent there, or has
//! ended the connection. A server that answers on a new connection, and for a while nothing on the old one, has been
//! started anew, and the old connection leads nowhere.
//!
//! What it has answered there it has done. If its partner, which had acknowledged it all, is lost meanwhile, that makes its
//! copy the last one, and it stays; so what a server missed is told by whether it was delivered before, or never sent (R12).

use crate::proxy::Proxy;
use crate::proxy::fleet::ledger::Event;
use crate::proxy::fleet::server::{Health, Rejoining};
use crate::proxy::net::Net;
use crate::proxy::upstream::link::{Leg, Outgoing, Purpose};

impl<N: Net> Proxy<N> {
    /// Puts the link of a server that fell silent in quarantine; all that waited on it fails over. Returns how many requests
    /// those were.
    pub(in crate::proxy) fn quarantine(&mut self, server: usize) -> usize {
        let Some(index) = self.farm.servers[server].link.take() else {
            return 0;
        };
        let link = &mut self.links[index];
        let cut_off = link.clients_waiting();
        let written = link.written();
        link.output.clear();
        link.outgoing = Outgoing::Idle;
        link.quarantined = true;
        // What was not sent, or not in full, is never run; a probe changes nothing, but is answered before what
        // stands behind it.
        let last = link
            .pending
            .iter()
            .rposition(|leg| leg.end <= written && leg.purpose != Purpose::Probe);
        let awaited = last.map_or(0, |last| last + 1);
        let kept = link.pending.iter().take(awaited).map(Leg::as_given_up).collect();
        let mut lost = std::mem::replace(&mut link.pending, kept);
        lost.iter_mut().take(awaited).for_each(|leg| leg.delivered = true);
        self.lost.extend(lost.into_iter().map(|leg| (server, leg)));
        if link.pending.is_empty() {
            let link = self.links.remove(index);
            self.net.close(link.socket);
        } else {
            self.farm.servers[server].quarantined.push(index);
        }
        cut_off
    }

    /// A link in quarantine has nothing more to tell: its last answer came, or the server ended it.
    pub(in crate::proxy) fn quarantine_over(&mut self, index: usize) {
        let link = self.links.remove(index);
        self.net.close(link.socket);
        if !link.pending.is_empty() {
            self.farm.ledger.record(Event::NotDrained(link.server));
        }
        let server = &mut self.farm.servers[link.server];
        server.quarantined.retain(|&stale| stale != index);
        let waited_for = matches!(
            server.health,
            Health::Rejoining {
                step: Rejoining::Draining { .. },
                ..
            }
        );
        if waited_for && server.quarantined.is_empty() {
            self.rejoin(link.server);
        }
    }

    /// Gives up on the links in quarantine.
    pub(in crate::proxy) fn give_up_quarantine(&mut self, server: usize) {
        for index in std::mem::take(&mut self.farm.servers[server].quarantined) {
            let link = self.links.remove(index);
            self.net.close(link.socket);
            self.farm.ledger.record(Event::NotDrained(server));
        }
    }
}
