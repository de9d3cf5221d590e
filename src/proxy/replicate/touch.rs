//! What gat and gats need beside a retrieval: the second copy's exptime changes too, by a touch, and what did not come
//! through to a server is a missed write.

use crate::protocol::keys::Keys;
use crate::protocol::request::Request;
use crate::protocol::server::answer::Status;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::fleet::farm::Place;
use crate::proxy::fleet::missed::Outcome;
use crate::proxy::front::transaction::{NO_SERVER, Transaction, Work};
use crate::proxy::net::Net;
use crate::proxy::settings::Ack;
use crate::proxy::upstream::link::{Leg, Purpose};

impl<N: Net> Proxy<N> {
    /// A gat changes the second copy too: a touch does that without sending the value a second time.
    pub(in crate::proxy) fn mirror_touch(&mut self, id: usize, key: &[u8], exptime: i64, verb: Verb, place: Place) {
        let Some(second) = place.second.filter(|_| verb.is_get_and_touch()) else {
            return;
        };
        if !self.farm.servers[second].is_up() {
            // Where only that one may have it, it missed nothing: the client gets an error.
            if !self.farm.may_be_elsewhere(key, place.first) {
                self.farm.miss_for_now(second, key, false);
            }
            return;
        }
        let touch = Request::new(Verb::Touch, key).expiring(self.exptime_on(second, exptime));
        let id = match self.settings.ack {
            Ack::All => id,
            // Nobody waits for it.
            Ack::Primary => self.transactions.insert(Transaction::new(None, true, 0)),
        };
        self.ask(second, Purpose::MirrorTouch, id, touch);
    }

    /// The second server's touch is done, or was cut off and counts as a missed write. Where that server had nothing to
    /// touch, its partner may have.
    pub(in crate::proxy) fn mirror_touch_done(&mut self, server: usize, leg: &Leg, status: Option<Status>) {
        let (touched, found) = match &self.transactions[leg.transaction].work {
            Work::Read(read) => (read.touched, read.touched_all),
            _ => (true, false),
        };
        // One that finds something to touch where its partner did not has another item.
        let brought = leg.delivered && (found || !touched);
        let key = leg.sent.key();
        match (status, self.farm.partner(key, server)) {
            (None, _) if touched => self.farm.servers[server].miss_with(key, Outcome::Settled, brought),
            (None, _) => self.farm.miss_for_now(server, key, brought),
            (Some(Status::NotFound), Some(first)) => self.heal_if_room(first, server, key),
            _ => {}
        }
        match self.transactions[leg.transaction].work {
            Work::Read(_) => self.read_step(leg.transaction),
            _ => self.end_if_over(leg.transaction),
        }
    }

    /// A gat did not find these keys on the server that decides: then they are gone, and the second copies go too. They
    /// may be newer by now, so they are made what the first server has.
    pub(in crate::proxy) fn touch_missed(&mut self, id: usize, server: usize, keys: Keys<'_>) {
        for key in keys {
            if self.farm.knows_less(key, server) {
                self.read_mut(id).failure = Some(NO_SERVER);
            } else if let Some(second) = self.farm.partner(key, server) {
                self.heal_if_room(server, second, key);
            }
        }
    }

    /// A gat has come through to a server: if the partner of one of its keys did not get it, that has missed it for good.
    pub(in crate::proxy) fn touch_done(&mut self, id: usize, server: usize, leg: &Leg) {
        let found = leg.hits == leg.keys;
        let read = self.read_mut(id);
        (read.touched, read.touched_all) = (true, found);
        for key in leg.all_keys() {
            let partner = self.farm.partner(key, server);
            let absent = |&partner: &usize| !self.farm.servers[partner].is_up();
            if let Some(partner) = partner.filter(absent) {
                if !self.farm.may_be_elsewhere(key, server) {
                    let partner = &mut self.farm.servers[partner];
                    partner.missed_for_good(key);
                    if !found && partner.missed.of(key).is_some_and(|writes| writes.brought.is_some()) {
                        partner.miss(key);
                    }
                }
            }
        }
    }

    /// Where a gat did not come through to a server, it has missed the change of the exptime.
    pub(in crate::proxy) fn miss_touch(&mut self, id: usize, server: usize, keys: Keys<'_>) {
        if self.read_mut(id).verb.is_get_and_touch() {
            for key in keys {
                // Where only this one may have it, the client gets an error, and it is the truth when it returns.
                match self.farm.partner(key, server) {
                    Some(partner) if self.farm.may_be_elsewhere(key, partner) => {
                        self.farm.servers[partner].may_lack(key, server);
                    }
                    // Of the two, the one that was not there to be asked has missed more.
                    Some(partner) if !self.farm.servers[partner].is_up() => self.farm.miss_for_now(partner, key, false),
                    Some(_) => self.farm.miss_for_now(server, key, false),
                    None => {}
                }
            }
        }
    }
}
