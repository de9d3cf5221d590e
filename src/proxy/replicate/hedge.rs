//! Reads that are asked of a second server because the first lets them wait.
//!
//! Whichever has a key first, its value is the reply. That the second does not have it says nothing, for it may have evicted it: then
//! the first's word is waited for. Only where both have the same of a key can the second be asked: it lacks nothing, and no
//! write or repair of the key is on its way (R19). What is sent later is behind the read on its link.
//!
//! ```text
//! asked --late--> asked of both --a value of each key came--> the other legs are given up, and the read goes on
//!                    | first says that there is none, or is lost: as if the second had not been asked
//!                    | second says so, or is lost: nothing
//! ```

use crate::protocol::verb::Verb;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::plan::{Race, Wanted, add_to_share, unanswered};
use crate::proxy::replicate::transaction::Work;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Ask;

impl Replicate {
    /// Asks partners for what servers let wait for too long, and sees to it that the next such read is looked at in time.
    pub fn hedge_late_reads<N: Net>(&mut self, servers: &mut Servers<N>) {
        let hedge = servers.cx.settings.hedge;
        let (timeout_ms, now_ms) = (servers.cx.settings.timeout_ms, servers.cx.now.ms());
        for server in 0..servers.fleet.servers.len() {
            let after_ms = servers.upstream.find_patience(server, hedge, timeout_ms);
            let Some(after_ms) = after_ms.filter(|_| servers.fleet.has_backups() && servers.fleet.is_up(server)) else {
                continue;
            };
            for end in servers.upstream.late_reads(server, now_ms, after_ms) {
                self.hedge(servers, server, end, after_ms);
            }
            if let Some(next_ms) = servers.upstream.next_late_ms(server, after_ms) {
                servers.cx.timers.set(Timer::Hedge, next_ms);
            }
        }
    }

    fn hedge<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, end: u64, after_ms: u64) {
        let Some(leg) = servers.upstream.leg_at(server, end) else {
            return;
        };
        let id = leg.transaction;
        let Work::Read(read) = &self.transactions[id].work else {
            return;
        };
        // A unique is of one server; a gat changes what it finds; and what a server has passed over is asked for elsewhere anyway.
        let is_plain = read.manner.verb == Verb::Get && read.race.is_none() && read.missed.is_none();
        if self.transactions[id].client.is_none() || !is_plain {
            return;
        }
        let wanted = unanswered(leg, &read.slots);
        let requests = servers.fleet.servers[server].counters.requests;
        let may = !wanted.keys.is_empty()
            && wanted
                .keys
                .keys()
                .all(|key| self.is_same_on_partner(servers, key, server))
            && servers
                .upstream
                .may_hedge(server, requests, servers.cx.now.ms(), after_ms);
        if may {
            servers.fleet.servers[server].counters.hedges += 1;
            self.ask_both(servers, id, (server, end), &wanted);
        }
    }

    /// Whether the partner of a server has the same of a key, or has evicted it.
    fn is_same_on_partner<N: Net>(&self, servers: &Servers<N>, key: &[u8], server: usize) -> bool {
        let fleet = &servers.fleet;
        let at_rest = !self.gate.is_held(key) && !self.gate.has_writes(fleet.place(key).slot);
        let sound = |partner: &usize| {
            fleet.is_up(*partner)
                && fleet.ledger.certainty(key, *partner, server).is_full()
                && fleet.ledger.certainty(key, server, *partner).is_full()
        };
        at_rest && fleet.partner(key, server).is_some_and(|partner| sound(&partner))
    }

    fn ask_both<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, first: (usize, u64), wanted: &Wanted) {
        let mut shares = std::mem::take(&mut self.shares);
        let mut used = 0;
        let read = self.read_mut(id);
        let verb = read.manner.verb;
        read.race = Some(Box::new(Race::new(first, &wanted.slots)));
        if read.keys > 1 {
            read.merge.get_or_insert_default();
        }
        for (key, &slot) in wanted.keys.keys().zip(&wanted.slots) {
            if let Some(partner) = servers.fleet.partner(key, first.0) {
                add_to_share(&mut shares, &mut used, (partner, Ask::Hedge), verb, key, slot);
            }
        }
        self.send_shares(servers, id, shares, used, 0);
    }

    /// A value has come of each key that two servers were asked for: nobody waits for the other any more.
    pub fn race_over<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let Work::Read(read) = &mut self.transactions[id].work else {
            return;
        };
        let Some(race) = &mut read.race else {
            return;
        };
        for (server, end) in std::mem::take(&mut race.legs) {
            self.transactions[id].legs -= u32::from(servers.upstream.give_up(server, end, id));
        }
        self.read_step(servers, id);
    }
}
