//! What gat and gats need beside a retrieval: the second copy's exptime changes too, by a touch, and what did not come
//! through to a server is a missed write.

use crate::protocol::keys::Keys;
use crate::protocol::request::Request;
use crate::protocol::server::answer::Status;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Absence, Ack, Event, Partner};
use crate::proxy::fleet::place::Place;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::replicate::missed;
use crate::proxy::replicate::plan::Wanted;
use crate::proxy::replicate::transaction::NO_SERVER;
use crate::proxy::servers::Servers;
use crate::proxy::settings;
use crate::proxy::upstream::link::{Leg, Purpose};
use crate::proxy::upstream::message::Message;
use std::collections::HashSet;

impl Replicate {
    /// A gat changes the second copy too: a touch does that without sending the value a second time.
    pub fn mirror_touch<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        pass: &Pass,
        id: usize,
        key: &[u8],
        exptime: i64,
        place: Place,
    ) {
        let Some(second) = place.second else {
            return;
        };
        if !servers.fleet.is_up(second) {
            let number = servers.fleet.ledger.begin();
            missed::unsent(servers, number, key, place, true);
            return;
        }
        let touch = Request::new(Verb::Touch, key).expiring(servers.fleet.exptime_on(second, exptime));
        match servers.cx.settings.ack {
            settings::Ack::All => {
                self.change(servers, pass, (second, Purpose::MirrorTouch), id, Message::from(&touch));
            }
            settings::Ack::Primary => {
                servers.change(pass, second, Purpose::MirrorTouchAlone, 0, Message::from(&touch));
            }
        }
    }

    /// The second server's touch is done, or was cut off and counts as a missed write. Where that server had nothing to
    /// touch, its partner may have.
    pub fn mirror_touch_done<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        server: usize,
        leg: &Leg,
        status: Option<Status>,
    ) {
        let waits = leg.purpose == Purpose::MirrorTouch;
        let key = leg.sent.key();
        let (touched, found) = match waits {
            true => {
                let read = self.read_mut(leg.transaction);
                (read.touched, read.touched_all)
            }
            // Nobody remembers the gat; if it did not come through, its server has missed it (R41).
            false => {
                let partner = servers.fleet.partner(key, server);
                let in_vain = partner.is_some_and(|partner| servers.fleet.ledger.has_missed(partner, key));
                (!in_vain, false)
            }
        };
        // One that finds something to touch where its partner did not has another item.
        let delivered = leg.delivered && (found || !touched);
        match (status, servers.fleet.partner(key, server)) {
            (None, Some(partner)) => {
                let is = match touched {
                    true => Partner::Acked(None, Ack::ACKED),
                    false => Partner::Asked,
                };
                let number = servers.fleet.ledger.begin();
                missed::cut_off(servers, number, key, (server, delivered), (partner, is));
            }
            // A reload may have given the key another partner meanwhile, which lacks it (R35).
            (Some(Status::NotFound), Some(first)) if servers.fleet.place_to_decide(key).first == first => {
                self.heal_if_room(servers, (first, server), key);
            }
            _ => {}
        }
        if waits {
            self.read_step(servers, leg.transaction);
        }
    }

    /// A gat did not find these keys on the server that decides. What its partner still has of them is copied to it.
    pub fn touch_missed<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize, keys: Keys<'_>) {
        for key in keys {
            if servers.fleet.absence(key, server) != Absence::Proof {
                self.read_mut(id).failure = Some(NO_SERVER);
            } else if let Some(from) = servers.fleet.partner(key, server) {
                let (to, key) = (server, key.into());
                servers.cx.hand_on(Handoff::FoundOnOne { from, to, key });
            }
        }
    }

    /// A gat has come through to a server, which did not have the keys that it `missed`: if the partner of one did not get it,
    /// that has missed it for good. Where the item may be there, only what was found changed anything (R39).
    pub fn touch_done<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        server: usize,
        leg: &Leg,
        missed: &Wanted,
    ) {
        let found = leg.hits == leg.keys;
        let read = self.read_mut(id);
        (read.touched, read.touched_all) = (true, found);
        let mut not_found: Option<HashSet<&[u8]>> = None;
        for key in leg.all_keys() {
            let partner = servers.fleet.partner(key, server);
            let absent = |&partner: &usize| !servers.fleet.is_up(partner);
            let Some(missed_by) = partner.filter(absent) else {
                continue;
            };
            let not_found = not_found.get_or_insert_with(|| missed.keys.keys().collect());
            let elsewhere = not_found.contains(key) && servers.fleet.absence(key, server) == Absence::PartnerAway;
            let write = servers.fleet.ledger.begin();
            servers.fleet.ledger.record(match elsewhere {
                true => Event::Answered {
                    write,
                    key,
                    missed_by,
                    delivered: false,
                    ack: None,
                },
                false => Event::Changed {
                    key,
                    missed_by,
                    alike: found,
                },
            });
        }
    }

    /// Where a gat did not come through to a server, it has missed the change of the exptime.
    pub fn miss_touch<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize, keys: Keys<'_>) {
        if self.read_mut(id).touches() {
            for key in keys {
                let Some(partner) = servers.fleet.partner(key, server) else {
                    continue;
                };
                // Of the two, the one that was not there to be asked has missed more.
                let is = match servers.fleet.is_up(partner) {
                    true => Partner::Asked,
                    false => Partner::Missed {
                        delivered: false,
                        needs: true,
                    },
                };
                let number = servers.fleet.ledger.begin();
                missed::fails_over(servers, number, key, (server, false), (partner, is));
            }
        }
    }
}
