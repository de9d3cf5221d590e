//! Retrievals: get, gets, gat, gats.
//!
//! A key is asked of the server that decides about it ([`Place::first`](crate::proxy::fleet::place::Place)). What that does not have, or
//! cannot answer because it went down, is asked of its partner. See `portion` for those of many keys.

use crate::buffer::Slice;
use crate::protocol::refusal::TOO_LARGE;
use crate::protocol::request::Request;
use crate::protocol::server::answer::Status;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::ledger::Absence;
use crate::proxy::fleet::place::Place;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::replicate::merge::Merge;
use crate::proxy::replicate::plan::{Read, Wanted, add_to_share, unanswered};
use crate::proxy::replicate::reading::Reads;
use crate::proxy::replicate::transaction::{END, NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::settings::Miss;
use crate::proxy::upstream::link::{Ask, Leg, Part, Purpose};
use crate::proxy::upstream::message::Message;
use crate::ring::KeyHash;

/// Lists and merges that are kept, so that not every retrieval takes memory anew; and how many slots a list may have room for.
const SPARE_MAX: usize = 64;
const SLOTS_KEPT: usize = 256;

/// What becomes of a value.
pub enum Goes {
    /// It goes into the reply now.
    Out,
    /// The same, and others have waited for it.
    OutBeforeOthers,
    /// It waits for others.
    ToOthers,
    /// Its key's came before, from another server.
    Nowhere,
}

/// Whether the partner of a server that does not have a key is to be asked for it.
enum Worth {
    Now,
    /// Not while it may have what the server that decides is refusing just then.
    Later,
    Never,
}

impl Replicate {
    pub fn read_mut(&mut self, id: usize) -> &mut Read {
        match &mut self.transactions[id].work {
            Work::Read(read) => read,
            _ => unreachable!("a retrieval's leg belongs to a retrieval"),
        }
    }

    /// Whether there are keys that a retrieval has not asked for.
    #[inline]
    pub fn has_unasked(&self, id: usize) -> bool {
        matches!(&self.transactions[id].work, Work::Read(read) if read.rest.is_some())
    }

    /// A gat of one key has a pass.
    pub fn start_read<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        message: Message<'_>,
        pass: Option<Pass>,
    ) {
        let request = message.request;
        match request.verb.is_get_and_touch() {
            true => servers.cx.statistics.cmd_touch += request.key_count as u64,
            false => servers.cx.statistics.cmd_get += request.key_count as u64,
        }
        if request.key_count == 0 {
            return self.answer(servers, id, END); // a gat without keys
        }
        let mut read = Read::new(request);
        if request.key_count > 1 {
            read.slots = self.spare_slots.pop().unwrap_or_default();
        }
        self.transactions[id].work = Work::Read(read);
        if request.key_count == 1 {
            self.start_read_of_one(servers, id, message, pass.as_ref());
        } else {
            self.start_portions(servers, id, request);
        }
        if let Some(pass) = pass {
            self.leave_gate(servers, pass);
        }
    }

    fn start_read_of_one<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        message: Message<'_>,
        pass: Option<&Pass>,
    ) {
        let request = message.request;
        let hash = servers.fleet.hash(request.key);
        let place = self.place_of(&servers.fleet, id, request.verb, (request.key, hash));
        let foreseen_bytes = self.transactions[id].allowance.key_bytes;
        let limits = &servers.cx.settings.limits;
        if foreseen_bytes > 0 && servers.upstream.is_full(place.first, limits, foreseen_bytes) {
            return self.start_portions(servers, id, request);
        }
        if !servers.fleet.is_up(place.first) {
            self.read_mut(id).failure = Some(NO_SERVER);
            return self.read_step(servers, id);
        }
        let timed = servers.fleet.by_clock_of(place.first, request);
        let message = timed.as_ref().map_or(message, |timed| message.with(timed));
        let leg = self.send(servers, (place.first, Purpose::Read(Ask::First)), id, message);
        if foreseen_bytes > 0 {
            leg.foreseen_bytes = foreseen_bytes;
            servers.upstream.foresee(place.first, foreseen_bytes);
        }
        if place.second.is_some() {
            self.count_read(servers, id, Some(request.key));
        }
        if let Some(pass) = pass {
            self.mirror_touch(servers, pass, id, request.key, request.exptime, place);
        }
    }

    /// Where a retrieval asks for a key first. What changes it, and its unique, belong to the server that decides; and so does a get
    /// while something that changes it is under way, which it may be behind.
    #[inline]
    pub fn place_of(&mut self, fleet: &Fleet, id: usize, verb: Verb, (key, hash): (&[u8], KeyHash)) -> Place {
        let place = fleet.place_by(hash, key);
        if place.second.is_none() || verb == Verb::Get && self.is_at_rest(key, place.slot) {
            return place;
        }
        let decides = fleet.place_to_decide_by(hash, key);
        if decides.first != place.first {
            self.count_elsewhere(id);
        }
        decides
    }

    /// Counts a retrieval that asks elsewhere than others of its client.
    fn count_elsewhere(&mut self, id: usize) {
        let client = self.transactions[id].client;
        if let (Some(client), None) = (client, &self.read_mut(id).elsewhere) {
            self.read_mut(id).elsewhere = Some(self.gate.reads(client, Reads::Elsewhere));
        }
    }

    /// Whether nothing is under way that changes a key, and nothing is left of what was refused. `slot` is the key's.
    #[inline]
    pub fn is_at_rest(&self, key: &[u8], slot: u16) -> bool {
        !self.gate.is_held(key) && !self.gate.has_writes(slot) && !self.refused.has(key)
    }

    /// Counts a retrieval that begins, so that nothing of its client overtakes it; `only` is its key if it has but one.
    pub fn count_read<N: Net>(&mut self, servers: &Servers<N>, id: usize, only: Option<&[u8]>) {
        let Some(client) = self.transactions[id].client.filter(|_| servers.fleet.has_backups()) else {
            return;
        };
        let reading = self.gate.reads(client, only.map_or(Reads::Many, Reads::Key));
        self.read_mut(id).reading = Some(reading);
    }

    /// Asks the partners of `server` for keys that it did not have or could not tell.
    fn ask_partners<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize, wanted: &Wanted, ask: Ask) {
        let verb = self.read_mut(id).manner.verb;
        let mut shares = std::mem::take(&mut self.shares);
        let mut used = 0;
        for (key, &slot) in wanted.keys.keys().zip(&wanted.slots) {
            let partner = match ask {
                Ask::AfterLoss => servers.fleet.stand_in(key, server),
                _ => servers.fleet.partner(key, server),
            };
            match partner.filter(|&partner| servers.fleet.is_up(partner)) {
                Some(partner) if ask == Ask::AfterLoss => {
                    add_to_share(&mut shares, &mut used, (partner, ask), verb, key, slot);
                }
                Some(partner) => {
                    let again_max = servers.cx.settings.limits.reads_again;
                    let again = self.read_mut(id).again;
                    let target = match self.is_worth_asking(servers, key, server, partner) {
                        Worth::Now => (partner, ask),
                        Worth::Later if again == again_max => (partner, ask),
                        Worth::Later => (server, Ask::First),
                        Worth::Never => continue,
                    };
                    add_to_share(&mut shares, &mut used, target, verb, key, slot);
                }
                // A server that is alive and does not have the key: that is an answer, unless it was never filled.
                None if ask == Ask::SecondAfterMiss && servers.fleet.absence(key, server) != Absence::PartnerAway => {}
                None => self.read_mut(id).failure = Some(NO_SERVER),
            }
        }
        let again_max = servers.cx.settings.limits.reads_again;
        let read = self.read_mut(id);
        read.again = (read.again + 1).min(again_max);
        if read.keys > 1 {
            read.merge.get_or_insert_default();
        }
        self.send_shares(servers, id, shares, used, 0);
    }

    /// Whether a partner may have what a server does not. One that is only being filled, or may still have what another
    /// magent is about to remove from it, or that others are without, has nothing to add.
    fn is_worth_asking<N: Net>(&self, servers: &Servers<N>, key: &[u8], server: usize, partner: usize) -> Worth {
        let fleet = &servers.fleet;
        let unsure = !fleet.ledger.certainty(key, server, partner).is_full();
        let is_missed = fleet.others.say_they_miss(partner, server);
        let sound = fleet.ledger.certainty(key, partner, server).is_full() && !is_missed;
        // What the partner has while a write is on its way may be what the server asked first refused (R19).
        let at_rest = self.is_at_rest(key, fleet.place(key).slot);
        match (unsure, at_rest) {
            _ if fleet.ledger.is_outdated(key, partner, server) => Worth::Never,
            // Nobody was told that the partner has it.
            _ if fleet.is_up(server) && self.refused.has(key) => Worth::Never,
            (true, false) if fleet.is_up(server) => Worth::Later,
            (true, _) => Worth::Now,
            (false, true) if sound && servers.cx.settings.miss == Miss::Partner => Worth::Now,
            (false, _) => Worth::Never,
        }
    }

    /// A value came, of a key that was asked for: what is there of it in `bytes`, which stand alone in a `slice` or not. Returns
    /// where it goes.
    #[inline]
    pub fn read_value<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        server: usize,
        (part, key): (&Part, &[u8]),
        bytes: &[u8],
        slice: Option<&Slice>,
    ) -> Goes {
        let id = part.transaction;
        let fallible = servers.fleet.has_backups();
        let has_client = self.transactions[id].client.is_some();
        let read = self.read_mut(id);
        let slot = read.slots.get(part.slot).copied();
        let (counts, is_last) = read.take_value(slot.unwrap_or(0));
        if is_last {
            servers.cx.hand_on(Handoff::RaceOver(id));
        }
        if !counts {
            return Goes::Nowhere;
        }
        let read = self.read_mut(id);
        read.hits += 1;
        let is_first = part.purpose == Purpose::Read(Ask::First);
        if fallible && part.keys > 1 && is_first && read.missed.is_some() {
            // What the partner has of those comes first.
            read.merge.get_or_insert_default();
        }
        let goes = match (&mut read.merge, slot) {
            (Some(merge), Some(slot)) => match merge.has_turn(slot) {
                true if merge.is_due() => Goes::OutBeforeOthers,
                true => Goes::Out,
                false => {
                    if has_client {
                        merge.add(&servers.cx.pool, slot, bytes, slice);
                    }
                    Goes::ToOthers
                }
            },
            _ => Goes::Out,
        };
        if part.purpose == Purpose::Read(Ask::SecondAfterMiss) {
            if let Some(to) = servers.fleet.partner(key, server) {
                let (from, key) = (server, key.into());
                servers.cx.hand_on(Handoff::FoundOnOne { from, to, key });
            }
        }
        goes
    }

    /// A value above the item limit came and was thrown away.
    pub fn read_oversized(&mut self, id: usize) {
        self.read_mut(id).failure = Some(TOO_LARGE);
    }

    /// What a retrieval asked for before a value did not come: its partner may have it.
    pub fn note_skipped(&mut self, leg: &Leg, part: &Part) {
        if let Work::Read(read) = &mut self.transactions[part.transaction].work {
            read.miss_before(leg, part);
        }
    }

    /// The last line of a server's answer to a retrieval.
    pub fn read_end<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, ask: Ask, leg: &Leg, status: Status) {
        let id = leg.transaction;
        if status == Status::Error {
            self.read_lost(servers, server, ask, leg);
            return;
        }
        servers.upstream.bulk_came(server, leg);
        if servers.fleet.has_backups() {
            let missed = self.missed_of(leg);
            if self.read_mut(id).touches() {
                self.touch_done(servers, id, server, leg, &missed);
            }
            if leg.hits < leg.keys {
                self.some_missed(servers, server, ask, leg, missed);
            }
        }
        self.read_step(servers, id);
    }

    /// What a server that has answered did not have.
    fn missed_of(&mut self, leg: &Leg) -> Wanted {
        if leg.hits == leg.keys {
            return Wanted::default();
        }
        let read = self.read_mut(leg.transaction);
        let mut missed = read.missed.take().map_or_else(Wanted::default, |missed| *missed);
        missed.add(unanswered(leg, &read.slots));
        missed
    }

    /// A server has answered, and not had all that it was asked for.
    fn some_missed<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, ask: Ask, leg: &Leg, missed: Wanted) {
        let id = leg.transaction;
        let mut keys = missed.keys.keys();
        match ask {
            Ask::First if self.read_mut(id).touches() => {
                match keys.any(|key| servers.fleet.absence(key, server) == Absence::AskPartner) {
                    // It was started anew, which was not known when it was asked.
                    true => self.ask_partners(servers, id, server, &missed, Ask::AfterLoss),
                    false => self.touch_missed(servers, id, server, missed.keys.keys()),
                }
            }
            Ask::First => self.ask_partners(servers, id, server, &missed, Ask::SecondAfterMiss),
            Ask::AfterLoss => {
                if keys.any(|key| servers.fleet.absence(key, server) != Absence::Proof) {
                    self.read_mut(id).failure = Some(NO_SERVER);
                }
            }
            Ask::SecondAfterMiss | Ask::Hedge => {}
        }
    }

    /// A server died, or failed, before it had answered for all keys.
    pub fn read_lost<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, ask: Ask, leg: &Leg) {
        let id = leg.transaction;
        servers.upstream.bulk_came(server, leg);
        match ask {
            Ask::First => {
                let read = self.read_mut(id);
                let missed = read.missed.take().map_or_else(Wanted::default, |missed| *missed);
                let open = unanswered(leg, &read.slots);
                if !missed.keys.is_empty() && self.read_mut(id).touches() {
                    self.touch_missed(servers, id, server, missed.keys.keys());
                } else if !missed.keys.is_empty() {
                    self.ask_partners(servers, id, server, &missed, Ask::SecondAfterMiss);
                }
                if leg.keys > leg.hits {
                    self.ask_partners(servers, id, server, &open, Ask::AfterLoss);
                    self.miss_touch(servers, id, server, open.keys.keys());
                }
            }
            Ask::AfterLoss => self.read_mut(id).failure = Some(NO_SERVER),
            Ask::Hedge => {}
            Ask::SecondAfterMiss => {
                let open = unanswered(leg, &self.read_mut(id).slots);
                let elsewhere = open.keys.keys().any(|key| {
                    let first = servers.fleet.partner(key, server);
                    first.is_some_and(|first| servers.fleet.absence(key, first) == Absence::PartnerAway)
                });
                if elsewhere {
                    self.read_mut(id).failure = Some(NO_SERVER);
                }
            }
        }
        self.read_step(servers, id);
    }

    /// Goes on when no leg is out: with the next portion, or with the last line of the reply.
    pub fn read_step<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        if self.transactions[id].legs > 0 {
            return;
        }
        let client = self.transactions[id].client;
        let read = self.read_mut(id);
        read.slots.clear();
        read.race = None;
        if let Some(merge) = read.merge.take() {
            match client.is_some() && !merge.is_empty() {
                true => servers.cx.hand_on(Handoff::Values(id, merge)),
                false => self.keep_merge(merge),
            }
        }
        let read = self.read_mut(id);
        if read.rest.is_some() {
            let keys = std::mem::take(&mut read.portion);
            return servers.cx.hand_on(Handoff::Portion(id, keys));
        }
        let last = read.failure.unwrap_or(END);
        self.end_read(servers, id);
        self.answer(servers, id, last);
    }

    /// A retrieval has all that there is for it, but for the last line of its reply.
    fn end_read<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let work = &mut self.transactions[id].work;
        let Work::Read(read) = work else {
            return;
        };
        let hits = read.hits.min(read.keys) as u64;
        let misses = read.keys as u64 - hits;
        let statistics = &mut servers.cx.statistics;
        if read.touches() {
            statistics.touch_hits += hits;
            statistics.touch_misses += misses;
        } else {
            statistics.get_hits += hits;
            statistics.get_misses += misses;
        }
        read.discount(&mut self.gate);
        let mut slots = std::mem::take(&mut read.slots);
        *work = Work::Answered;
        if (1..=SLOTS_KEPT).contains(&slots.capacity()) && self.spare_slots.len() < SPARE_MAX {
            slots.clear();
            self.spare_slots.push(slots);
        }
    }

    /// What puts the values of a portion in order, which come from several servers.
    pub fn begin_merge(&mut self) -> Box<Merge> {
        let mut merge = self.spare_merges.pop().unwrap_or_default();
        merge.begin();
        merge
    }

    /// Takes that back when it is empty.
    pub fn keep_merge(&mut self, mut merge: Box<Merge>) {
        if merge.may_be_kept() && self.spare_merges.len() < SPARE_MAX {
            self.spare_merges.push(merge);
        }
    }

    /// The values of a retrieval that wait for others.
    pub fn merge_mut(&mut self, id: usize) -> Option<&mut Merge> {
        self.read_mut(id).merge.as_deref_mut()
    }

    /// Whether a value with the end of the answer behind it is all that a retrieval waits for: it has asked one server, once, which has all.
    #[inline]
    pub fn is_whole_with(&self, part: &Part) -> bool {
        if part.purpose != Purpose::Read(Ask::First) {
            return false;
        }
        let transaction = &self.transactions[part.transaction];
        let Work::Read(read) = &transaction.work else {
            return false;
        };
        let has_all = part.keys as usize == read.keys && read.hits + 1 == read.keys;
        let is_alone = read.merge.is_none() && read.race.is_none() && read.missed.is_none() && read.failure.is_none();
        has_all && is_alone && transaction.legs == 1 && !read.touches() && transaction.client.is_some()
    }

    /// That has come, and goes into the reply with the end of it. `leg` is the one that was answered.
    #[inline]
    pub fn read_whole<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, leg: &Leg) {
        let id = leg.transaction;
        servers.upstream.bulk_came(server, leg);
        self.read_mut(id).hits += 1;
        self.end_read(servers, id);
        let transaction = &mut self.transactions[id];
        (transaction.legs, transaction.is_answered) = (0, true);
    }
}

impl Read {
    fn new(request: &Request<'_>) -> Self {
        Self {
            manner: request.manner(),
            keys: request.key_count,
            hits: 0,
            again: 0,
            touched: false,
            touched_all: false,
            slots: Vec::new(),
            merge: None,
            missed: None,
            race: None,
            failure: None,
            rest: None,
            portion: 0,
            queued: false,
            has_turn: false,
            at_gate: false,
            reading: None,
            unasked: None,
            elsewhere: None,
        }
    }
}
