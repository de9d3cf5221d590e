//! What gat and gats need beside a retrieval: the second copy's exptime changes too, by a touch, and what did not come
//! through to a server is a missed write.

use crate::protocol::keys::Keys;
use crate::protocol::request::Request;
use crate::protocol::server::answer::Status;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::fleet::farm::Place;
use crate::proxy::fleet::ledger::{Absence, Ack, Event, Partner};
use crate::proxy::front::transaction::{NO_SERVER, Transaction, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::settings;
use crate::proxy::upstream::link::{Leg, Purpose};
use crate::proxy::upstream::message::Message;

impl<N: Net> Proxy<N> {
    /// A gat changes the second copy too: a touch does that without sending the value a second time.
    pub(in crate::proxy) fn mirror_touch(&mut self, pass: &Pass, id: usize, key: &[u8], exptime: i64, place: Place) {
        let Some(second) = place.second else {
            return;
        };
        if !self.farm.is_up(second) {
            // Where only that one may have it, it missed nothing: the client gets an error.
            if self.farm.absence(key, place.first) != Absence::PartnerAway {
                let write = self.farm.ledger.begin();
                self.farm.ledger.record(Event::Unsent {
                    write,
                    key,
                    server: second,
                    partner: place.first,
                });
            }
            return;
        }
        let touch = Request::new(Verb::Touch, key).expiring(self.exptime_on(second, exptime));
        let id = match self.settings.ack {
            settings::Ack::All => id,
            // Nobody waits for it.
            settings::Ack::Primary => self.transactions.insert(Transaction::new(None, true, 0)),
        };
        self.change(pass, second, Purpose::MirrorTouch, id, Message::from(&touch));
    }

    /// The second server's touch is done, or was cut off and counts as a missed write. Where that server had nothing to
    /// touch, its partner may have.
    pub(in crate::proxy) fn mirror_touch_done(&mut self, server: usize, leg: &Leg, status: Option<Status>) {
        let (touched, found) = match &self.transactions[leg.transaction].work {
            Work::Read(read) => (read.touched, read.touched_all),
            _ => (true, false),
        };
        // One that finds something to touch where its partner did not has another item.
        let delivered = leg.delivered && (found || !touched);
        let key = leg.sent.key();
        match (status, self.farm.partner(key, server)) {
            (None, Some(_)) if touched => self.farm.ledger.record(Event::Missed {
                server,
                key,
                delivered,
                ack: Ack::ACKED,
            }),
            (None, Some(partner)) => self.touch_cut_off(key, (server, delivered), partner, Partner::Asked),
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
            if self.farm.absence(key, server) != Absence::Proof {
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
            let absent = |&partner: &usize| !self.farm.is_up(partner);
            if let Some(missed_by) = partner.filter(absent) {
                if self.farm.absence(key, server) != Absence::PartnerAway {
                    self.farm.ledger.record(Event::Changed {
                        key,
                        missed_by,
                        alike: found,
                    });
                }
            }
        }
    }

    /// Where a gat did not come through to a server, it has missed the change of the exptime.
    pub(in crate::proxy) fn miss_touch(&mut self, id: usize, server: usize, keys: Keys<'_>) {
        if self.read_mut(id).verb.is_get_and_touch() {
            for key in keys {
                let Some(partner) = self.farm.partner(key, server) else {
                    continue;
                };
                // Where only this one may have it, the client gets an error, and it is the truth when it returns.
                if self.farm.absence(key, partner) == Absence::PartnerAway {
                    let (server, from) = (partner, server);
                    self.farm.ledger.record(Event::LacksKey { server, from, key });
                    continue;
                }
                // Of the two, the one that was not there to be asked has missed more.
                let is = match self.farm.is_up(partner) {
                    true => Partner::Asked,
                    false => Partner::Missed { delivered: false },
                };
                self.touch_cut_off(key, (server, false), partner, is);
            }
        }
    }

    fn touch_cut_off(&mut self, key: &[u8], (server, delivered): (usize, bool), partner: usize, is: Partner) {
        let write = self.farm.ledger.begin();
        self.farm.ledger.record(Event::CutOff {
            write,
            key,
            server,
            delivered,
            partner,
            is,
        });
    }
}
