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
use crate::proxy::settings::Hedge;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::{Ask, Leg};

/// What could not be hedged for the sake of what its client asked before is looked at again after so long at least.
const LOOK_AGAIN_MS: u64 = 5;

impl Replicate {
    /// Asks partners for what servers let wait for too long, and sees to it that the next such read is looked at in time. What
    /// is not the first thing that its client waits for is looked at again: if it were answered by another server, it might be
    /// older than what was asked before it.
    pub fn hedge_late_reads<N: Net>(&mut self, servers: &mut Servers<N>, is_first: impl Fn(usize, usize) -> bool) {
        // Without a second copy there is nothing to look for before the timeout.
        let hedge = match servers.fleet.has_backups() {
            true => servers.cx.settings.hedge,
            false => Hedge::Never,
        };
        let now_ms = servers.cx.now.ms();
        for server in 0..servers.fleet.servers.len() {
            servers.upstream.watch_losses(&servers.cx.net, server, now_ms);
            let limit_ms = servers.silent_after_ms(server);
            let after_ms = servers.upstream.find_patience(server, hedge, limit_ms);
            let Some(after_ms) = after_ms.filter(|_| servers.fleet.is_up(server)) else {
                continue;
            };
            let mut until_ms = now_ms.saturating_sub(after_ms);
            for end in servers.upstream.late_reads(server, until_ms) {
                if let Some(sent_ms) = self.hedge(servers, (server, end), after_ms, &is_first) {
                    until_ms = until_ms.min(sent_ms.saturating_sub(1));
                }
            }
            servers.upstream.looked_at(server, until_ms);
            if let Some(next_ms) = servers.upstream.next_late_ms(server, after_ms) {
                let again_ms = if next_ms > now_ms {
                    next_ms
                } else {
                    now_ms + after_ms.max(LOOK_AGAIN_MS)
                };
                servers.cx.timers.set(Timer::Hedge, again_ms);
            }
        }
    }

    /// Hedges a leg, if that may be. Returns when it was sent if it may be later.
    fn hedge<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        (server, end): (usize, u64),
        after_ms: u64,
        is_first: impl Fn(usize, usize) -> bool,
    ) -> Option<u64> {
        let leg = servers.upstream.leg_at(server, end)?;
        let (id, sent_ms) = (leg.transaction, leg.sent_ms);
        let Work::Read(read) = &self.transactions[id].work else {
            return None;
        };
        // Who is to store anew what has marks, one server says; a gat changes what it finds; and what a server has passed over is asked for
        // elsewhere anyway.
        let is_meta = read.manner.verb == Verb::MetaGet;
        let is_plain = read.manner.is_of_either_copy()
            && !(is_meta && self.has_marked)
            && read.race.is_none()
            && read.missed.is_none();
        let client = self.transactions[id].client.filter(|_| is_plain)?;
        if !is_first(client, id) {
            return Some(sent_ms);
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
        None
    }

    /// Whether the partner of a server has the same of a key, or has evicted it.
    fn is_same_on_partner<N: Net>(&self, servers: &Servers<N>, key: &[u8], server: usize) -> bool {
        let fleet = &servers.fleet;
        let at_rest = self.is_at_rest(key, fleet.place(key).slot);
        let sound = |partner: &usize| {
            fleet.is_up(*partner)
                && fleet.ledger.certainty(key, *partner, server).is_full()
                && fleet.ledger.certainty(key, server, *partner).is_full()
                && !fleet.others.say_they_miss(*partner, server)
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

    /// The parts of a retrieval that two servers were asked for, with their servers, as far as they are not answered.
    pub fn raced<'a, N: Net>(&'a self, servers: &'a Servers<N>, id: usize) -> impl Iterator<Item = (usize, &'a Leg)> {
        let race = match &self.transactions[id].work {
            Work::Read(read) => read.race.as_deref(),
            _ => None,
        };
        let legs = race.into_iter().flat_map(|race| &race.legs);
        legs.filter_map(|&(server, end)| Some((server, servers.upstream.leg_at(server, end)?)))
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
