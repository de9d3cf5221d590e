//! Retrievals: get, gets, gat, gats.
//!
//! A key is asked of the server that decides about it ([`Place::first`](crate::proxy::fleet::farm::Place)). What that does not have, or
//! cannot answer because it went down, is asked of its partner. A retrieval of many keys is split into one per server, and
//! a wide one is sent in portions, the next when the client has taken what came before, so that a client that reads slowly
//! costs little memory.

use crate::buffer::Slice;
use crate::protocol::LINE_END;
use crate::protocol::keys::{KeyList, Keys};
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::server::answer::Status;
use crate::protocol::server::key_list_bytes_max;
use crate::protocol::text::refusal::TOO_LARGE;
use crate::protocol::text::reply::value_line;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::fleet::farm::Place;
use crate::proxy::fleet::ledger::Absence;
use crate::proxy::fleet::unique;
use crate::proxy::front::transaction::{END, NO_SERVER, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::{Access, Entry, Gate, Pass};
use crate::proxy::replicate::merge::Merge;
use crate::proxy::replicate::reading::{Reading, Reads};
use crate::proxy::settings::Miss;
use crate::proxy::upstream::answers::Value;
use crate::proxy::upstream::link::{Ask, Leg, Part, Purpose};
use crate::proxy::upstream::message::Message;

/// Whether the partner of a server that does not have a key is to be asked for it.
enum Worth {
    Now,
    /// Not while it may have what the server that decides is refusing just then.
    Later,
    Never,
}

pub struct Read {
    pub verb: Verb,
    exptime: i64,
    keys: usize,
    hits: usize,
    /// Times that servers were asked for what was not there.
    again: u8,
    /// Of a gat: some server has done its part of it.
    pub touched: bool,
    /// It found all that it asked for there.
    pub touched_all: bool,
    /// The slots of the keys of all legs of this portion, leg by leg; see `merge`.
    slots: Vec<u16>,
    /// The values that have to wait for others.
    merge: Option<Merge>,
    /// Keys that the server asked first turned out not to have while its answer came, until that answer is complete.
    missed: Wanted,
    /// What the client is told in place of END.
    pub failure: Option<&'static Reply>,
    /// Keys that have not been asked for.
    rest: Option<Slice>,
    /// Keys of the portion that was asked for last.
    portion: usize,
    /// It is among those that wait for a server.
    queued: bool,
    /// It has waited, and may be asked for before those that still wait.
    has_turn: bool,
    /// It waits for the gate of the next key.
    at_gate: bool,
    /// What of its client's must not overtake it: what changes its keys, and while some are not asked for, anything.
    pub reading: Option<Reading>,
    unasked: Option<Reading>,
}

/// Why no more keys can be asked for now.
enum Hindrance {
    /// It is this server's turn to send other large values.
    Server(usize),
    /// Somebody has the next key alone.
    Gate,
}

/// Keys to ask for elsewhere, and their slots.
#[derive(Default)]
struct Wanted {
    keys: KeyList,
    slots: Vec<u16>,
}

/// The request to one server, while a retrieval is being split.
#[derive(Default)]
pub struct Share {
    server: usize,
    ask: Option<Ask>,
    keys: KeyList,
    slots: Vec<u16>,
}

impl Read {
    /// Lets what its client asked later go on.
    pub fn discount(&mut self, gate: &mut Gate) {
        for reading in [self.reading.take(), self.unasked.take()].into_iter().flatten() {
            gate.has_read(reading);
        }
    }

    /// Keys that a leg asked for before the value that came now have not come.
    pub fn miss_before(&mut self, leg: &Leg, part: &Part) {
        for (key, slot) in leg.skipped_before(part) {
            self.missed.keys.push(key);
            self.missed.slots.extend(self.slots.get(slot));
        }
    }

    /// Whether there are keys that have not been asked for.
    pub fn has_more(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether it waits for a server's turn.
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    /// Whether it waits for the gate of its next key.
    pub fn is_at_gate(&self) -> bool {
        self.at_gate
    }

    /// How often it is counted as what must not be overtaken.
    pub fn readings(&self) -> usize {
        usize::from(self.reading.is_some()) + usize::from(self.unasked.is_some())
    }

    /// Bytes of values that wait for others.
    pub fn kept_bytes(&self) -> usize {
        self.merge.as_ref().map_or(0, Merge::bytes)
    }
}

impl<N: Net> Proxy<N> {
    pub(in crate::proxy) fn read_mut(&mut self, id: usize) -> &mut Read {
        match &mut self.transactions[id].work {
            Work::Read(read) => read,
            _ => unreachable!("a retrieval's leg belongs to a retrieval"),
        }
    }

    /// A gat of one key has a pass.
    pub(in crate::proxy) fn start_read(&mut self, id: usize, message: Message<'_>, pass: Option<Pass>) {
        let request = message.request;
        match request.verb.is_get_and_touch() {
            true => self.statistics.cmd_touch += request.key_count as u64,
            false => self.statistics.cmd_get += request.key_count as u64,
        }
        if request.key_count == 0 {
            return self.answer(id, END); // a gat without keys
        }
        self.transactions[id].work = Work::Read(Read {
            verb: request.verb,
            exptime: request.exptime,
            keys: request.key_count,
            hits: 0,
            again: 0,
            touched: false,
            touched_all: false,
            slots: Vec::new(),
            merge: None,
            missed: Wanted::default(),
            failure: None,
            rest: None,
            portion: 0,
            queued: false,
            has_turn: false,
            at_gate: false,
            reading: None,
            unasked: None,
        });
        if request.key_count == 1 {
            self.start_read_of_one(id, message, pass.as_ref());
        } else {
            self.start_portions(id, request);
        }
        if let Some(pass) = pass {
            self.leave_gate(pass);
        }
    }

    fn start_read_of_one(&mut self, id: usize, message: Message<'_>, pass: Option<&Pass>) {
        let request = message.request;
        let place = self.farm.place(request.key);
        let foreseen_bytes = self.bulk_bytes_of(id, 1);
        let limits = &self.settings.limits;
        if foreseen_bytes > 0 && self.upstream.is_full(place.first, limits, foreseen_bytes) {
            return self.start_portions(id, request);
        }
        if !self.farm.is_up(place.first) {
            self.read_mut(id).failure = Some(NO_SERVER);
            return self.read_step(id);
        }
        let timed = self.by_clock_of(place.first, request);
        let message = timed.as_ref().map_or(message, |timed| message.with(timed));
        let leg = self.send(place.first, Purpose::Read(Ask::First), id, message);
        leg.foreseen_bytes = foreseen_bytes;
        self.upstream.foresee(place.first, foreseen_bytes);
        self.count_read(id, place.second.map(|_| request.key));
        if let Some(pass) = pass {
            self.mirror_touch(pass, id, request.key, request.exptime, place);
        }
    }

    /// Begins a retrieval that is asked for in portions.
    fn start_portions(&mut self, id: usize, request: &Request<'_>) {
        self.count_read(id, None);
        self.read_mut(id).rest = Some(self.pool.copy(&[request.keys.rest()]));
        if let Some(client) = self.transactions[id].client {
            self.read_mut(id).unasked = Some(self.gate.reads(client, Reads::Unasked));
        }
        self.ask_portion(id);
    }

    /// What the values of so many keys are foreseen to come to if that is much, else 0.
    fn bulk_bytes_of(&self, id: usize, keys: usize) -> usize {
        let foreseen = |client: usize| self.clients[client].pace.foreseen_bytes(keys);
        let bytes = self.transactions[id].client.map_or(0, foreseen);
        if bytes < self.settings.limits.bulk_bytes_min {
            0
        } else {
            bytes
        }
    }

    /// Asks the servers for the first of the keys that have not been asked for. A large portion ends where a server has to
    /// be waited for, and waits for that if it would be empty. Where no server is up for any of its keys, the next portion's
    /// turn is another one.
    fn ask_portion(&mut self, id: usize) {
        let Some(text) = self.read_mut(id).rest.take() else {
            return;
        };
        let has_turn = std::mem::take(&mut self.read_mut(id).has_turn);
        let Read { verb, exptime, .. } = *self.read_mut(id);
        let client = self.transactions[id].client;
        let portion_keys = client.map_or(1, |client| {
            self.clients[client].pace.portion_keys(&self.settings.limits)
        });
        let key_bytes = self.bulk_bytes_of(id, portion_keys) / portion_keys;
        let mut shares = std::mem::take(&mut self.shares);
        let mut used = 0;
        let mut waits_for = None;
        let mut keys = Keys::of(text.bytes());
        let mut asked = 0;
        for slot in 0..portion_keys as u16 {
            let before = keys;
            let Some(key) = keys.next() else {
                break;
            };
            let place = self.farm.place(key);
            if !self.farm.is_up(place.first) {
                self.read_mut(id).failure = Some(NO_SERVER);
                continue;
            }
            let bytes = key_bytes * (1 + usize::from(slot));
            let waits = match has_turn {
                true => self.upstream.is_full(place.first, &self.settings.limits, bytes),
                false => self.upstream.is_taken(place.first, &self.settings.limits, bytes),
            };
            if key_bytes > 0 && waits {
                (keys, waits_for) = (before, Some(Hindrance::Server(place.first)));
                break;
            }
            if verb.is_get_and_touch() {
                let Some(pass) = self.pass_to_touch(id, key, place, asked > 0) else {
                    (keys, waits_for) = (before, Some(Hindrance::Gate));
                    break;
                };
                self.mirror_touch(&pass, id, key, exptime, place);
                self.leave_gate(pass);
            }
            let target = (place.first, Ask::First);
            add_to_share(&mut shares, &mut used, target, verb, key, slot);
            asked += 1;
        }
        self.read_mut(id).portion = asked;
        if used > 1 {
            self.read_mut(id).merge = Some(Merge::default());
        }
        let rest = keys.rest();
        let has_rest = Keys::of(rest).next().is_some();
        if has_rest {
            self.read_mut(id).rest = Some(text.part(text.len() - rest.len(), rest.len()));
        } else if let Some(unasked) = self.read_mut(id).unasked.take() {
            self.gate.has_read(unasked);
        }
        self.send_shares(id, shares, used, key_bytes);
        match waits_for {
            _ if used > 0 || !has_rest => self.read_step(id),
            Some(Hindrance::Server(server)) => self.wait_for_turn(id, server),
            Some(Hindrance::Gate) => self.read_mut(id).at_gate = true,
            None => self.reads_to_go_on.push(id),
        }
    }

    /// Lets a gat of many keys in to the next of them. Where it cannot go in, it waits for that if it `asks` for nothing yet.
    fn pass_to_touch(&mut self, id: usize, key: &[u8], place: Place, asks: bool) -> Option<Pass> {
        if asks && self.gate.is_held(key) {
            return None;
        }
        match self.gate.enter(key, place.slot, Access::Touch, id) {
            Entry::Go(pass) => Some(pass),
            Entry::Wait => None,
        }
    }

    /// A gat of many keys may go on with the one that it has waited for.
    pub(in crate::proxy) fn has_turn_at_gate(&mut self, id: usize) {
        self.read_mut(id).at_gate = false;
        self.continue_read(id);
    }

    /// Lets a retrieval wait for a server's turn. What is behind others of its client has its turn when these are answered.
    fn wait_for_turn(&mut self, id: usize, server: usize) {
        let Some(client) = self.transactions[id].client else {
            return self.reads_to_go_on.push(id); // which gives it up
        };
        if self.clients[client].queue.front() == Some(&id) {
            self.read_mut(id).queued = true;
            self.upstream.wait_for_turn(server, id);
        }
    }

    /// Goes on with retrievals that have waited for their turn.
    pub(in crate::proxy) fn go_on_reading(&mut self) {
        for id in std::mem::take(&mut self.reads_to_go_on) {
            self.continue_read(id);
        }
        for server in self.upstream.take_bulk_done() {
            // Each of them may come to wait again.
            for _ in 0..self.upstream.waiting(server) {
                let Some(id) = self.upstream.next_waiting(server, &self.settings.limits) else {
                    break;
                };
                if let Some(Work::Read(read)) = self.transactions.get_mut(id).map(|transaction| &mut transaction.work) {
                    (read.queued, read.has_turn) = (false, true);
                }
                self.continue_read(id);
            }
            self.upstream.end_turn(server);
        }
    }

    /// Asks the partners of `server` for keys that it did not have or could not tell.
    fn ask_partners(&mut self, id: usize, server: usize, wanted: &Wanted, ask: Ask) {
        let verb = self.read_mut(id).verb;
        let mut shares = std::mem::take(&mut self.shares);
        let mut used = 0;
        for (key, &slot) in wanted.keys.keys().zip(&wanted.slots) {
            let partner = self.farm.partner(key, server);
            match partner.filter(|&partner| self.farm.is_up(partner)) {
                Some(partner) if ask == Ask::AfterLoss => {
                    add_to_share(&mut shares, &mut used, (partner, ask), verb, key, slot);
                }
                Some(partner) => {
                    let again_max = self.settings.limits.reads_again;
                    let again = self.read_mut(id).again;
                    let target = match self.is_worth_asking(key, server, partner) {
                        Worth::Now => (partner, ask),
                        Worth::Later if again == again_max => (partner, ask),
                        Worth::Later => (server, Ask::First),
                        Worth::Never => continue,
                    };
                    add_to_share(&mut shares, &mut used, target, verb, key, slot);
                }
                // A server that is alive and does not have the key: that is an answer, unless it was never filled.
                None if ask == Ask::SecondAfterMiss && self.farm.absence(key, server) != Absence::PartnerAway => {}
                None => self.read_mut(id).failure = Some(NO_SERVER),
            }
        }
        let again_max = self.settings.limits.reads_again;
        let read = self.read_mut(id);
        read.again = (read.again + 1).min(again_max);
        if read.keys > 1 {
            read.merge.get_or_insert_default();
        }
        self.send_shares(id, shares, used, 0);
    }

    /// Whether a partner may have what a server does not. One that is only being filled, or may still have what another
    /// magent is about to remove from it, has nothing to add.
    fn is_worth_asking(&self, key: &[u8], server: usize, partner: usize) -> Worth {
        let unsure = !self.farm.ledger.certainty(key, server, partner).is_full();
        let sound = self.farm.ledger.certainty(key, partner, server).is_full();
        // What the partner has while a write is on its way may be what the server asked first refused (R19).
        let at_rest = !self.gate.is_held(key) && !self.gate.has_writes(self.farm.place(key).slot);
        match (unsure, at_rest) {
            (true, false) if self.farm.is_up(server) => Worth::Later,
            (true, _) => Worth::Now,
            (false, true) if sound && self.settings.miss == Miss::Partner => Worth::Now,
            (false, _) => Worth::Never,
        }
    }

    /// Sends what was split; `key_bytes` is what a key's value is foreseen to weigh where that matters, else 0.
    fn send_shares(&mut self, id: usize, mut shares: Vec<Share>, used: usize, key_bytes: usize) {
        for share in &mut shares[..used] {
            let read = self.read_mut(id);
            let slots_start = read.slots.len();
            read.slots.extend_from_slice(&share.slots);
            let (verb, exptime) = (read.verb, read.exptime);
            let purpose = Purpose::Read(share.ask.take().unwrap_or(Ask::First));
            let request = Request::retrieval(verb, &share.keys, share.slots.len());
            let request = request.expiring(self.exptime_on(share.server, exptime));
            let leg = self.ask(share.server, purpose, id, request);
            leg.slots_start = slots_start;
            leg.foreseen_bytes = key_bytes * share.slots.len();
            self.upstream.foresee(share.server, key_bytes * share.slots.len());
        }
        self.shares = shares;
    }

    /// A value came, of a key that was asked for.
    pub(in crate::proxy) fn read_value(&mut self, server: usize, value: &Value<'_>) {
        let Value {
            part, response, bytes, ..
        } = value;
        let fallible = self.farm.has_backups();
        let unique = match response.unique {
            Some(unique) if fallible => Some(unique::tagged(self.farm.tag(server), unique)),
            unique => unique,
        };
        if unique != response.unique || !self.settings.verbatim {
            let data = &bytes[value.line_len..];
            let line = value_line(response, unique, data.len() - LINE_END.len());
            let written = self.pool.copy(&[&line, data]);
            return self.pass_value(server, part, response.key, written.bytes(), None);
        }
        self.pass_value(server, part, response.key, bytes, value.slice);
    }

    fn pass_value(&mut self, server: usize, part: &Part, key: &[u8], bytes: &[u8], slice: Option<&Slice>) {
        let id = part.transaction;
        let Purpose::Read(ask) = part.purpose else {
            return;
        };
        if let Some(client) = self.transactions[id].client {
            self.clients[client].pace.value_came(&self.settings.limits, bytes.len());
            self.value_bytes = (self.value_bytes * 63 + bytes.len()) / 64;
        }
        let fallible = self.farm.has_backups();
        let client = self.transactions[id].client;
        let pool = std::rc::Rc::clone(&self.pool);
        let read = self.read_mut(id);
        read.hits += 1;
        if fallible && part.keys > 1 && ask == Ask::First && !read.missed.slots.is_empty() {
            // What the partner has of those comes first.
            read.merge.get_or_insert_default();
        }
        let slot = read.slots.get(part.slot);
        match (&mut read.merge, slot) {
            (Some(merge), Some(&slot)) => {
                if let Some(client) = client {
                    merge.add(&pool, slot, bytes, slice);
                    self.clients[client].replies += bytes.len();
                    self.note_weight(client);
                }
            }
            _ => match slice {
                Some(slice) => self.reply_slice(id, slice),
                None => self.reply(id, bytes),
            },
        }
        if ask == Ask::SecondAfterMiss {
            if let Some(first) = self.farm.partner(key, server) {
                self.repair_later(server, first, key);
            }
        }
    }

    /// A value above the item limit came and was thrown away.
    pub(in crate::proxy) fn read_oversized(&mut self, id: usize) {
        self.read_mut(id).failure = Some(TOO_LARGE);
    }

    /// The last line of a server's answer to a retrieval.
    pub(in crate::proxy) fn read_end(&mut self, server: usize, ask: Ask, leg: &Leg, status: Status) {
        let id = leg.transaction;
        if status != Status::End {
            self.read_lost(server, id, ask, leg);
            return;
        }
        self.upstream.bulk_came(server, leg);
        if self.read_mut(id).verb.is_get_and_touch() && self.farm.has_backups() {
            self.touch_done(id, server, leg);
        }
        if leg.hits < leg.keys && self.farm.has_backups() {
            let read = self.read_mut(id);
            let mut missed = std::mem::take(&mut read.missed);
            missed.add(unanswered(leg, &read.slots));
            match ask {
                Ask::First if self.read_mut(id).verb.is_get_and_touch() => {
                    match missed
                        .keys
                        .keys()
                        .any(|key| self.farm.absence(key, server) == Absence::AskPartner)
                    {
                        // It was started anew, which was not known when it was asked.
                        true => self.ask_partners(id, server, &missed, Ask::AfterLoss),
                        false => self.touch_missed(id, server, missed.keys.keys()),
                    }
                }
                Ask::First => self.ask_partners(id, server, &missed, Ask::SecondAfterMiss),
                Ask::AfterLoss => {
                    if missed
                        .keys
                        .keys()
                        .any(|key| self.farm.absence(key, server) != Absence::Proof)
                    {
                        self.read_mut(id).failure = Some(NO_SERVER);
                    }
                }
                Ask::SecondAfterMiss => {}
            }
        }
        self.read_step(id);
    }

    /// A server died, or failed, before it had answered for all keys.
    pub(in crate::proxy) fn read_lost(&mut self, server: usize, id: usize, ask: Ask, leg: &Leg) {
        self.upstream.bulk_came(server, leg);
        match ask {
            Ask::First => {
                let read = self.read_mut(id);
                let missed = std::mem::take(&mut read.missed);
                let open = unanswered(leg, &read.slots);
                if !missed.keys.is_empty() && self.read_mut(id).verb.is_get_and_touch() {
                    self.touch_missed(id, server, missed.keys.keys());
                } else if !missed.keys.is_empty() {
                    self.ask_partners(id, server, &missed, Ask::SecondAfterMiss);
                }
                if leg.keys > leg.hits {
                    self.ask_partners(id, server, &open, Ask::AfterLoss);
                    self.miss_touch(id, server, open.keys.keys());
                }
            }
            Ask::AfterLoss => self.read_mut(id).failure = Some(NO_SERVER),
            Ask::SecondAfterMiss => {
                let open = unanswered(leg, &self.read_mut(id).slots);
                let elsewhere = open.keys.keys().any(|key| {
                    let first = self.farm.partner(key, server);
                    first.is_some_and(|first| self.farm.absence(key, first) == Absence::PartnerAway)
                });
                if elsewhere {
                    self.read_mut(id).failure = Some(NO_SERVER);
                }
            }
        }
        self.read_step(id);
    }

    /// Goes on when no leg is out: with the next portion, or with the last line of the reply.
    pub(in crate::proxy) fn read_step(&mut self, id: usize) {
        if self.transactions[id].legs > 0 {
            return;
        }
        let read = self.read_mut(id);
        read.slots.clear();
        if let Some(merge) = read.merge.take() {
            if let Some(client) = self.transactions[id].client {
                self.clients[client].replies -= merge.bytes();
            }
            for value in merge.into_values() {
                self.reply_slice(id, &value);
            }
        }
        let read = self.read_mut(id);
        if read.rest.is_some() {
            let keys = std::mem::take(&mut read.portion);
            if let Some(client) = self.transactions[id].client {
                self.clients[client].pace.portion_answered(keys);
            }
            return self.continue_read(id);
        }
        let hits = read.hits.min(read.keys) as u64;
        let misses = read.keys as u64 - hits;
        let last = read.failure.unwrap_or(END);
        if read.verb.is_get_and_touch() {
            self.statistics.touch_hits += hits;
            self.statistics.touch_misses += misses;
        } else {
            self.statistics.get_hits += hits;
            self.statistics.get_misses += misses;
        }
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        work.leave_behind(&mut self.gate);
        self.answer(id, last);
    }

    /// Sends the next portion of a retrieval if its client has taken the replies so far, and it does not wait for a server's
    /// turn.
    pub(in crate::proxy) fn continue_read(&mut self, id: usize) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        let Work::Read(read) = &mut transaction.work else {
            return;
        };
        if transaction.client.is_none() && transaction.legs == 0 {
            // It was begun after its client had left, for it had waited for its key.
            self.abandon_read(id);
            return self.end_if_over(id);
        }
        let waits = read.queued || read.at_gate || transaction.legs > 0;
        let Some(client) = transaction.client.filter(|_| !waits) else {
            return;
        };
        let held_max = self.client_share().min(self.settings.limits.portion_bytes);
        let client = &self.clients[client];
        if client.queue.front() == Some(&id) && client.output.len() <= held_max {
            self.ask_portion(id);
        }
    }

    /// The client is gone: what has not been asked for is not asked for any more.
    pub(in crate::proxy) fn abandon_read(&mut self, id: usize) {
        let transaction = &mut self.transactions[id];
        if let Work::Read(read) = &mut transaction.work {
            read.discount(&mut self.gate);
            (read.rest, read.merge) = (None, None);
            if transaction.legs == 0 && !read.at_gate {
                transaction.work = Work::Answered;
            }
        }
    }
}

impl Wanted {
    fn add(&mut self, other: Wanted) {
        self.keys.extend(other.keys.keys());
        self.slots.extend_from_slice(&other.slots);
    }
}

/// The keys of a leg for which no value has come and none can come before another's.
fn unanswered(leg: &Leg, slots: &[u16]) -> Wanted {
    let mut keys = KeyList::default();
    if leg.keys > 1 {
        let (start, end) = (
            leg.slots_start + leg.passed as usize,
            leg.slots_start + leg.keys as usize,
        );
        keys.extend(leg.keys_left());
        return Wanted {
            keys,
            slots: slots.get(start..end).unwrap_or(&[]).to_vec(),
        };
    }
    if leg.hits > 0 {
        return Wanted::default();
    }
    keys.push(leg.sent.key());
    Wanted {
        keys,
        slots: vec![slots.get(leg.slots_start).copied().unwrap_or(0)],
    }
}

/// Adds a key to the share of its server and reason, which is begun if it is the first.
fn add_to_share(
    shares: &mut Vec<Share>,
    used: &mut usize,
    (server, ask): (usize, Ask),
    verb: Verb,
    key: &[u8],
    slot: u16,
) {
    // A server closes the connection on which a long gat is not there in one piece.
    let len_max = key_list_bytes_max(verb);
    let same = |share: &Share| {
        let has_room = share.keys.len() + 1 + key.len() <= len_max;
        has_room && share.server == server && share.ask == Some(ask)
    };
    let at = shares[..*used].iter().position(same).unwrap_or_else(|| {
        if *used == shares.len() {
            shares.push(Share::default());
        }
        let share = &mut shares[*used];
        (share.server, share.ask) = (server, Some(ask));
        share.slots.clear();
        share.keys.clear();
        *used += 1;
        *used - 1
    });
    let share = &mut shares[at];
    share.keys.push(key);
    share.slots.push(slot);
}
