//! Retrievals of many keys, split into one request per server, and wide ones into portions: the next is asked for when the
//! client has taken what came before, so that a client that reads slowly costs little memory.

use crate::protocol::keys::Keys;
use crate::protocol::request::{Manner, Request};
use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::place::Place;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::{Access, Entry, Pass, Who};
use crate::proxy::replicate::plan::{Hindrance, Share, add_to_share};
use crate::proxy::replicate::reading::Reads;
use crate::proxy::replicate::transaction::{Allowance, NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::{Ask, Purpose};
use crate::ring::KeyHash;

/// A portion while it is put together.
#[derive(Default)]
struct Portion {
    shares: Vec<Share>,
    /// How many of those have keys.
    used: usize,
    asked: usize,
    waits_for: Option<Hindrance>,
}

/// Keys in their order with their hashes, which are computed ahead where four take little longer than one.
struct Ahead<'a> {
    /// Those behind the four.
    keys: Keys<'a>,
    four: [Next<'a>; 4],
    /// How many of the four there are, and how many of those have been taken.
    count: usize,
    taken: usize,
}

/// A key, and those behind it.
#[derive(Clone, Copy)]
struct Next<'a> {
    key: &'a [u8],
    hash: KeyHash,
    behind: Keys<'a>,
}

impl<'a> Ahead<'a> {
    fn of(keys: Keys<'a>) -> Self {
        let none = Next {
            key: b"",
            hash: KeyHash::default(),
            behind: keys,
        };
        Self {
            keys,
            four: [none; 4],
            count: 0,
            taken: 0,
        }
    }

    /// The next key. No more than `max` are looked at, this one counted.
    fn next(&mut self, fleet: &Fleet, max: usize) -> Option<Next<'a>> {
        if !fleet.hashes_side_by_side() {
            let key = self.keys.next()?;
            let (hash, behind) = (fleet.hash(key), self.keys);
            return Some(Next { key, hash, behind });
        }
        if self.taken == self.count {
            self.look_ahead(fleet, max);
        }
        let next = self.four[..self.count].get(self.taken).copied();
        self.taken += 1;
        next
    }

    fn look_ahead(&mut self, fleet: &Fleet, max: usize) {
        (self.count, self.taken) = (0, 0);
        while let Some(next) = self.four[..max.min(4)].get_mut(self.count) {
            let Some(key) = self.keys.next() else {
                break;
            };
            (next.key, next.behind) = (key, self.keys);
            self.count += 1;
        }
        if self.count == 1 {
            self.four[0].hash = fleet.hash(self.four[0].key);
        } else if self.count > 1 {
            // Where there are fewer than four, those that stand there from before are hashed once more.
            let hashes = fleet.hashes(self.four.each_ref().map(|next| next.key));
            for (next, hash) in self.four.iter_mut().zip(hashes) {
                next.hash = hash;
            }
        }
    }
}

impl Replicate {
    /// Begins a retrieval that is asked for in portions.
    pub fn start_portions<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, request: &Request<'_>) {
        self.count_read(servers, id, None);
        self.read_mut(id).rest = Some(servers.cx.pool.copy(&[request.keys.rest()]));
        if let Some(client) = self.transactions[id].client {
            self.read_mut(id).unasked = Some(self.gate.reads(client, Reads::Unasked));
        }
        self.ask_portion(servers, id, self.transactions[id].allowance);
    }

    /// Asks the servers for the first of the keys that have not been asked for. A large portion ends where a server has to
    /// be waited for, and waits for that if it would be empty. Where no server is up for any of its keys, the next portion's
    /// turn is another one.
    pub fn ask_portion<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, allowance: Allowance) {
        let Some(text) = self.read_mut(id).rest.take() else {
            return;
        };
        let mut keys = Keys::of(text.bytes());
        let mut portion = Portion {
            shares: std::mem::take(&mut self.shares),
            ..Portion::default()
        };
        self.fill_portion(servers, id, allowance, &mut keys, &mut portion);
        let merge = (portion.used > 1).then(|| self.begin_merge());
        let read = self.read_mut(id);
        read.portion = portion.asked;
        read.merge = merge.or(read.merge.take());
        let rest = keys.rest();
        let has_rest = Keys::of(rest).next().is_some();
        if has_rest {
            read.rest = Some(text.part(text.len() - rest.len(), rest.len()));
        } else if let Some(unasked) = read.unasked.take() {
            self.gate.has_read(unasked);
        }
        self.send_shares(servers, id, portion.shares, portion.used, allowance.key_bytes);
        match portion.waits_for {
            _ if portion.used > 0 || !has_rest => self.read_step(servers, id),
            Some(Hindrance::Server(server)) => self.wait_for_turn(servers, id, server, allowance.is_front),
            Some(Hindrance::Gate) => self.read_mut(id).at_gate = true,
            None => self.reads_to_go_on.push(id),
        }
    }

    /// Takes keys into a portion, up to the first that has to wait for something.
    fn fill_portion<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        allowance: Allowance,
        keys: &mut Keys<'_>,
        portion: &mut Portion,
    ) {
        let read = self.read_mut(id);
        let Manner { verb, exptime, .. } = read.manner;
        let has_turn = std::mem::take(&mut read.has_turn);
        let mut ahead = Ahead::of(*keys);
        for slot in 0..allowance.keys as u16 {
            let left = allowance.keys - usize::from(slot);
            let Some(Next { key, hash, behind }) = ahead.next(&servers.fleet, left) else {
                break;
            };
            let place = self.place_of(&servers.fleet, id, verb, (key, hash));
            if !servers.fleet.is_up(place.first) {
                self.read_mut(id).failure = Some(NO_SERVER);
                *keys = behind;
                continue;
            }
            let bytes = allowance.key_bytes * (1 + usize::from(slot));
            let limits = &servers.cx.settings.limits;
            let waits = match has_turn {
                true => servers.upstream.is_full(place.first, limits, bytes),
                false => servers.upstream.is_taken(place.first, limits, bytes),
            };
            if bytes > 0 && waits {
                portion.waits_for = Some(Hindrance::Server(place.first));
                break;
            }
            if verb.is_get_and_touch() {
                let Some(pass) = self.pass_to_touch(id, key, place, portion.asked > 0) else {
                    portion.waits_for = Some(Hindrance::Gate);
                    break;
                };
                self.mirror_touch(servers, &pass, id, key, exptime, place);
                self.leave_gate(servers, pass);
            }
            let target = (place.first, Ask::First);
            add_to_share(&mut portion.shares, &mut portion.used, target, verb, key, slot);
            portion.asked += 1;
            *keys = behind;
        }
    }

    /// Lets a gat of many keys in to the next of them. Where it cannot go in, it waits for that if it `asks` for nothing yet.
    fn pass_to_touch(&mut self, id: usize, key: &[u8], place: Place, asks: bool) -> Option<Pass> {
        if asks && self.gate.is_held(key) {
            return None;
        }
        match self.gate.enter(key, place.slot, Access::Touch, Who::Request(id)) {
            Entry::Go(pass) => Some(pass),
            Entry::Wait => None,
        }
    }

    /// Sends what was split; `key_bytes` is what a key's value is foreseen to weigh where that matters, else 0.
    pub fn send_shares<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        mut shares: Vec<Share>,
        used: usize,
        key_bytes: usize,
    ) {
        for share in &mut shares[..used] {
            let read = self.read_mut(id);
            let slots_start = read.slots.len();
            read.slots.extend_from_slice(&share.slots);
            let manner = read.manner;
            let purpose = Purpose::Read(share.ask.take().unwrap_or(Ask::First));
            let request = Request::retrieval(manner, &share.keys, share.slots.len());
            let request = request.expiring(servers.fleet.exptime_on(share.server, manner.exptime));
            let leg = self.ask(servers, (share.server, purpose), id, request);
            leg.slots_start = slots_start;
            leg.foreseen_bytes = key_bytes * share.slots.len();
            let end = leg.end;
            if let Some(race) = &mut self.read_mut(id).race {
                race.joins((share.server, end), &share.slots);
            }
            servers.upstream.foresee(share.server, key_bytes * share.slots.len());
        }
        self.shares = shares;
    }

    /// Lets a retrieval wait for a server's turn. What is behind others of its client has its turn when these are answered.
    fn wait_for_turn<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize, is_front: bool) {
        if self.transactions[id].client.is_none() {
            self.reads_to_go_on.push(id); // which gives it up
        } else if is_front {
            self.read_mut(id).queued = true;
            servers.upstream.wait_for_turn(server, id);
        } else {
            // It may have waited for a key since, and be in front by now.
            servers.cx.hand_on(Handoff::GoOn(id));
        }
    }

    /// The retrievals that were put off to another turn, each to be gone on with.
    pub fn take_put_off(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.reads_to_go_on)
    }

    /// The next of those that wait for a server, if it has its turn, to be gone on with.
    pub fn next_in_turn<N: Net>(&mut self, servers: &mut Servers<N>, server: usize) -> Option<usize> {
        let id = servers.upstream.next_waiting(server, &servers.cx.settings.limits)?;
        if let Some(Work::Read(read)) = self.transactions.get_mut(id).map(|transaction| &mut transaction.work) {
            (read.queued, read.has_turn) = (false, true);
        }
        Some(id)
    }

    /// The client of a retrieval that waits for nothing but this client to ask for its next portion. One that has no
    /// client any more is given up.
    pub fn waits_for_client(&mut self, id: usize) -> Option<usize> {
        let transaction = self.transactions.get_mut(id)?;
        let Work::Read(read) = &mut transaction.work else {
            return None;
        };
        let waits = read.queued || read.at_gate || transaction.legs > 0 || read.rest.is_none();
        if transaction.client.is_none() && transaction.legs == 0 {
            // It was begun after its client had left, for it had waited for its key.
            self.abandon(id);
            return None;
        }
        transaction.client.filter(|_| !waits)
    }

    /// The client is gone: what has not been asked for is not asked for any more.
    pub fn abandon_read(&mut self, id: usize) {
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
