//! Copying one key from a server to its partner, with its flags and remaining time.
//!
//! The item is fetched with a meta command that tells both. The key is held meanwhile: a write that came between fetching
//! and storing would otherwise be overtaken. A server without meta commands (before 1.6) is served from, not repaired
//! from, unless its list of keys told when the item expires.
//!
//! Another magent before the same servers knows nothing of the hold. So when the copy is stored, the item is looked at
//! once more where it came from: if it is gone or another meanwhile, the copy is taken away again, and nothing else: the
//! other magent may have put something in its place.

use crate::protocol::LINE_END;
use crate::protocol::reply::{Fault, Reply};
use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::{Response, Status};
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::fleet::clock::RELATIVE_EXPTIME_MAX_S;
use crate::proxy::fleet::ledger::{Ack, Event, Lacks, Receipt};
use crate::proxy::front::transaction::{Transaction, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::{Access, Entry, Pass};
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;
use std::collections::{BTreeSet, VecDeque};

/// A key that was read on one server only is copied after this. If another magent is about to delete it on both, that
/// has come to its end by then.
const READ_REPAIR_DELAY_MS: u64 = 1000;

pub struct Repair {
    key: Box<[u8]>,
    from: usize,
    to: usize,
    why: Why,
    /// The proxy's count of flushes when the item was fetched: one that came since must not be undone.
    flushes: u64,
    /// Of `from`, when it was found to be right (R17).
    found: Receipt,
    /// Another write to the key was on its way when this was wanted, or had the key, so that it may have come after what
    /// is repaired.
    accompanied: bool,
    /// None while it waits for the key.
    pub pass: Option<Pass>,
    stage: Stage,
}

pub enum Why {
    /// A read found it on `from` and not on `to`. What is newer there stays.
    Read,
    /// The two answered a write differently: `to` is to have what `from` has. The transaction may wait for that.
    Heal(Option<Waiting>),
    /// `to` is being filled, by the resync of that number.
    Fill {
        resync: u64,
        manner: Manner,
        /// The unix second in the list of keys; 0 for never.
        listed_exptime: Option<i64>,
        /// What it was taken to weigh.
        size: usize,
        /// The unique that it had in the list.
        unique: Option<u64>,
    },
}

/// A write that its two servers answered differently.
pub struct Waiting {
    pub write: usize,
    /// The answer of `from`, if the client has not been given it yet.
    pub reply: Option<Reply>,
    /// The answer of `to`, if that has an effect that can be seen and the client has not been given any.
    pub instead: Option<Reply>,
}

/// How a key is dealt with while a server is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Copied, unless it is there.
    Add,
    /// The same, but it probably is there, so that is asked first.
    AddIfLacking,
    /// Made what it is on `from`.
    Overwrite,
    /// Looked for on `from`; if it is not there, that is noted.
    Verify,
    /// Removed if it is not on `from` either, unless it has changed since it was listed.
    Remove,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The key is held by somebody else.
    Waiting,
    Checking,
    Fetching,
    /// `unique` is the item's own where it came from, if it was told and the copy's will be.
    Storing {
        bytes: usize,
        unique: Option<u64>,
    },
    /// The copy is there; now for its unique.
    Stored {
        bytes: usize,
        unique: u64,
    },
    Verifying {
        bytes: usize,
        unique: u64,
        copy: u64,
    },
    Removing,
}

/// Keys to be copied, each once, in the order in which they are due.
#[derive(Default)]
pub struct ReadRepairs {
    due: VecDeque<(u64, usize, usize, Box<[u8]>)>,
    keys: BTreeSet<Box<[u8]>>,
}

impl<N: Net> Proxy<N> {
    /// Notes a key that was found on one of its servers and not on the other.
    pub(in crate::proxy) fn repair_later(&mut self, from: usize, to: usize, key: &[u8]) {
        let repairs = &mut self.read_repairs;
        if repairs.due.len() < self.settings.limits.read_repairs && !repairs.keys.contains(key) {
            let due_ms = self.now_ms + READ_REPAIR_DELAY_MS;
            repairs.keys.insert(key.into());
            repairs.due.push_back((due_ms, from, to, key.into()));
            self.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    /// Begins the copies that are due.
    pub(in crate::proxy) fn repairs_tick(&mut self) {
        while let Some(&(due_ms, from, to, _)) = self.read_repairs.due.front() {
            if due_ms > self.now_ms {
                self.timers.set(Timer::ReadRepair, due_ms);
                return;
            }
            if let Some((.., key)) = self.read_repairs.due.pop_front() {
                self.read_repairs.keys.remove(&key);
                self.repair_read(from, to, &key);
            }
        }
    }

    /// Begins to copy a key that was read, if nothing else is going on with it.
    fn repair_read(&mut self, from: usize, to: usize, key: &[u8]) {
        let has_meta = self.farm.servers[from].has_meta;
        let are_up = self.farm.is_up(from) && self.farm.is_up(to);
        let possible = are_up && has_meta && self.farm.partner(key, from) == Some(to);
        let full = self.repairs >= self.settings.limits.repairs;
        if !possible || full || self.gate.is_held(key) || self.flush_forbids_copying() {
            return;
        }
        // While a write is on its way to both, what is on `from` may be what `to` is refusing.
        match self.gate.has_writes(self.farm.place(key).slot) {
            false => self.start_repair(from, to, key, Why::Read),
            true => self.repair_later(from, to, key),
        }
    }

    /// Makes the copy on `to` like the one on `from`; then the transaction, if any, is over, and its reply is given.
    pub(in crate::proxy) fn heal(&mut self, from: usize, to: usize, key: &[u8], waiting: Option<Waiting>) {
        if let Some(waiting) = &waiting {
            self.transactions[waiting.write].work = Work::Healing;
        }
        self.start_repair(from, to, key, Why::Heal(waiting));
    }

    /// The same, where nobody waits for it and it may be left undone.
    pub(in crate::proxy) fn heal_if_room(&mut self, from: usize, to: usize, key: &[u8]) {
        let are_up = self.farm.is_up(from) && self.farm.is_up(to);
        let possible = are_up && self.farm.ledger.lacks(key, to, from) == Lacks::Nothing;
        if possible && self.repairs < self.settings.limits.repairs {
            self.heal(from, to, key, None);
        }
    }

    pub(in crate::proxy) fn start_repair(&mut self, from: usize, to: usize, key: &[u8], why: Why) {
        self.repairs += usize::from(!matches!(why, Why::Fill { .. }));
        let repair = Repair {
            key: key.into(),
            from,
            to,
            why,
            flushes: self.flushes,
            found: self.farm.ledger.receipt(from),
            accompanied: self.gate.is_held(key),
            pass: None,
            stage: Stage::Waiting,
        };
        let id = self.transactions.insert(Transaction::new(None, true, 0));
        self.start_waiting_repair(id, repair);
    }

    /// Starts a repair as soon as nobody else has its key alone.
    pub(in crate::proxy) fn start_waiting_repair(&mut self, id: usize, mut repair: Repair) {
        let (from, to) = (repair.from, repair.to);
        let slot = self.farm.place(&repair.key).slot;
        match self.gate.enter(&repair.key, slot, Access::Alone, id) {
            Entry::Wait => {
                self.transactions[id].work = Work::Repair(repair);
                return;
            }
            Entry::Go(pass) => {
                repair.accompanied |= pass.is_accompanied();
                repair.pass = Some(pass);
            }
        }
        repair.flushes = self.flushes;
        let servers = &self.farm.servers;
        if !matches!(repair.why, Why::Heal(_)) {
            repair.found = self.farm.ledger.receipt(from);
        }
        // Only where `from` is believed may something be taken away on its word: it may have missed the key itself.
        let takes_away = matches!(
            repair.why,
            Why::Fill {
                manner: Manner::Overwrite | Manner::Verify | Manner::Remove,
                ..
            }
        );
        let believed = !takes_away || self.farm.place(&repair.key).first == from;
        let abandoned = matches!(repair.why, Why::Heal(_)) && !self.farm.ledger.holds(repair.found);
        let are_up = self.farm.is_up(from) && self.farm.is_up(to);
        let possible = are_up && believed && !abandoned;
        let check_first = match repair.manner() {
            Manner::AddIfLacking => servers[to].has_meta,
            manner => matches!(manner, Manner::Verify | Manner::Remove),
        };
        self.transactions[id].work = Work::Repair(repair);
        match (possible, check_first) {
            (false, _) if takes_away => self.repair_over(id),
            (false, _) if abandoned => self.heal_abandoned(id),
            (false, _) => self.repair_failed(id),
            (true, true) => self.look_first(id),
            (true, false) => self.fetch(id),
        }
    }

    fn repair_mut(&mut self, id: usize) -> Option<&mut Repair> {
        match &mut self.transactions[id].work {
            Work::Repair(repair) => Some(repair),
            _ => None,
        }
    }

    fn look_first(&mut self, id: usize) {
        let Some(repair) = self.repair_mut(id) else {
            return;
        };
        repair.stage = Stage::Checking;
        let server = match repair.manner() {
            Manner::Verify | Manner::Remove => repair.from,
            _ => repair.to,
        };
        let key = repair.key.clone();
        let whether = Options {
            ttl: true,
            ..Options::default()
        };
        self.ask(server, Purpose::RepairCheck, id, Request::look(&key, whether));
    }

    fn fetch(&mut self, id: usize) {
        let Some(repair) = self.repair_mut(id) else {
            return;
        };
        repair.stage = Stage::Fetching;
        let listed = matches!(
            repair.why,
            Why::Fill {
                listed_exptime: Some(_),
                ..
            }
        );
        let (from, key) = (repair.from, repair.key.clone());
        let item = Options {
            ttl: true,
            flags: true,
            unique: true,
            value: true,
            ..Options::default()
        };
        let request = match (self.farm.servers[from].has_meta, listed) {
            (true, _) => Request::look(&key, item),
            (false, true) => Request::new(Verb::Get, &key),
            (false, false) => return self.repair_failed(id),
        };
        self.ask(from, Purpose::RepairFetch, id, request);
    }

    /// The item came: `data` is its value with the line end.
    pub(in crate::proxy) fn repair_value(&mut self, id: usize, response: &Response<'_>, data: &[u8]) {
        let now_s = self.net.unix_time_s() as i64;
        let flushes = self.flushes;
        let Some(&mut Repair { from, .. }) = self.repair_mut(id) else {
            return self.end_if_over(id);
        };
        let ahead_s = self.farm.servers[from].clock_ahead_s;
        let Some(repair) = self.repair_mut(id) else {
            return;
        };
        let exptime = match (response.ttl_s, &repair.why) {
            (Some(ttl_s), _) => exptime_of(ttl_s, now_s),
            // Listed by the clock of where it comes from.
            (None, Why::Fill { listed_exptime, .. }) => listed_exptime.map(|listed_s| match listed_s {
                0 => 0,
                listed_s => listed_s.saturating_sub(ahead_s),
            }),
            (None, _) => None,
        };
        // In its last second an item cannot be stored anew: 0 would make it stay for ever.
        let (Some(flags), Some(exptime)) = (response.flags, exptime) else {
            return self.repair_failed(id);
        };
        if repair.flushes != flushes {
            return self.repair_over(id);
        }
        let bytes = data.len() - LINE_END.len();
        let overwrites = repair.overwrites();
        let (to, key) = (repair.to, repair.key.clone());
        let verifies = !overwrites && self.farm.servers[to].has_meta;
        let unique = response.unique.filter(|_| verifies);
        if !self.farm.is_up(to) {
            return self.repair_failed(id);
        }
        let copy = Request {
            flags,
            exptime: self.exptime_on(to, exptime),
            value: &data[..bytes],
            ..Request::new(if overwrites { Verb::Set } else { Verb::Add }, &key)
        };
        self.change_copy(id, Stage::Storing { bytes, unique }, &copy);
        if unique.is_some() {
            self.ask_for_unique(id, to, &key);
        }
    }

    fn ask_for_unique(&mut self, id: usize, server: usize, key: &[u8]) {
        let unique = Options {
            unique: true,
            ..Options::default()
        };
        self.ask(server, Purpose::RepairCheck, id, Request::look(key, unique));
    }

    /// An answer that is no value.
    pub(in crate::proxy) fn repair_answer(
        &mut self,
        id: usize,
        server: usize,
        purpose: Purpose,
        response: &Response<'_>,
    ) {
        let status = response.status;
        let Some(&mut Repair { found, .. }) = self.repair_mut(id) else {
            return self.end_if_over(id);
        };
        // If not, it has nothing to say of the item any more.
        let source_is_still = self.farm.ledger.holds(found);
        let Some(repair) = self.repair_mut(id) else {
            return;
        };
        let overwrites = repair.overwrites();
        match (purpose, repair.stage) {
            (_, Stage::Checking) => match (repair.manner(), status) {
                // What is HD now was OK before 1.6.10.
                (_, Status::MetaHit | Status::Ok) => self.repair_over(id),
                (Manner::Verify, Status::MetaMiss) => self.suspect(id),
                (Manner::Remove, Status::MetaMiss) => {
                    let unique = repair.listed_unique();
                    self.remove(id, unique);
                }
                (Manner::Verify | Manner::Remove, _) => self.repair_over(id),
                _ => self.fetch(id),
            },
            (Purpose::RepairFetch, Stage::Fetching) if status == Status::Error && response.fault != Fault::Server => {
                self.farm.servers[server].has_meta = false;
                self.fetch(id);
            }
            (Purpose::RepairFetch, Stage::Fetching) => match matches!(repair.why, Why::Heal(_)) && !source_is_still {
                true => self.heal_abandoned(id),
                false => self.repair_failed(id),
            },
            // The end behind a value that is on its way already.
            (Purpose::RepairFetch, _) => {}
            (_, Stage::Storing { bytes, unique }) if status == Status::Stored => match unique {
                Some(unique) => repair.stage = Stage::Stored { bytes, unique },
                None => self.repair_done(id, Some(bytes)),
            },
            (_, Stage::Storing { .. }) => {
                if status == Status::Error {
                    self.note_refusal(server, &response.reply());
                }
                match overwrites {
                    true => self.remove(id, None), // what was there before must not stay
                    false => self.repair_over(id),
                }
            }
            (_, Stage::Stored { bytes, .. } | Stage::Verifying { bytes, .. }) if !source_is_still => {
                self.repair_done(id, Some(bytes));
            }
            (_, Stage::Stored { bytes, unique }) => {
                let (from, key) = (repair.from, repair.key.clone());
                match response.unique {
                    Some(copy) => {
                        repair.stage = Stage::Verifying { bytes, unique, copy };
                        self.ask_for_unique(id, from, &key);
                    }
                    None => self.repair_done(id, Some(bytes)),
                }
            }
            (_, Stage::Verifying { bytes, unique, copy }) => match response.unique == Some(unique) {
                true => self.repair_done(id, Some(bytes)),
                false => self.remove(id, Some(copy)),
            },
            _ => self.repair_over(id),
        }
    }

    /// A key of the server that is filled is not on the partner.
    fn suspect(&mut self, id: usize) {
        if let Some(Repair {
            why: Why::Fill { resync, unique, .. },
            key,
            ..
        }) = self.repair_mut(id)
        {
            let (number, key, unique) = (*resync, key.clone(), *unique);
            self.note_suspect(number, &key, unique);
        }
        self.repair_over(id);
    }

    /// A leg was cut off; `delivered`: it lay in its server's socket when that fell silent.
    pub(in crate::proxy) fn repair_lost(&mut self, id: usize, delivered: bool) {
        match self.repair_mut(id) {
            // The source ended after the copy was made.
            Some(Repair {
                stage: Stage::Stored { bytes, .. } | Stage::Verifying { bytes, .. },
                ..
            }) => {
                let bytes = *bytes;
                self.repair_done(id, Some(bytes));
            }
            Some(repair) if repair.changes_what_is_there() => {
                let delivered = delivered && matches!(repair.stage, Stage::Storing { .. });
                let (to, key) = (repair.to, repair.key.clone());
                self.farm.ledger.record(Event::Missed {
                    server: to,
                    key: &key,
                    delivered,
                    ack: Ack::WHOLE,
                });
                self.repair_over(id);
            }
            // With the source gone, what the other has is the best there is.
            Some(Repair { why: Why::Heal(_), .. }) => self.heal_abandoned(id),
            _ => self.repair_over(id),
        }
    }

    /// The server that a copy was to be made like is gone, or has lost what it had. The client is told that server's answer,
    /// which others may have seen the effect of, so a copy of which it is not true goes (R11). But where another write was on its
    /// way as well, what `to` has may be its work, and its client may have been told that it is stored: so it stays, and
    /// the answer that `to` gave is the reply if it is true of anything there (R28). Where nobody waits, nothing was wrong when it
    /// was last looked at.
    fn heal_abandoned(&mut self, id: usize) {
        let accompanied = self.repair_mut(id).is_some_and(|repair| repair.accompanied);
        if let Some(Why::Heal(Some(waiting))) = self.repair_mut(id).map(|repair| &mut repair.why) {
            if !accompanied {
                return self.remove(id, None);
            }
            if let Some(instead) = waiting.instead.take() {
                waiting.reply = Some(instead);
            }
        }
        self.repair_over(id);
    }

    /// There is nothing to copy, or it cannot be copied. Where that is needed, a wrong copy is removed instead.
    pub(in crate::proxy) fn repair_failed(&mut self, id: usize) {
        match self.repair_mut(id) {
            Some(repair) if repair.overwrites() && repair.stage != Stage::Removing => self.remove(id, None),
            Some(_) => self.repair_over(id),
            None => self.end_if_over(id),
        }
    }

    /// Removes what `to` has; with a unique, only if it is still the copy that has it.
    fn remove(&mut self, id: usize, copy: Option<u64>) {
        let Some(Repair { to, key, .. }) = self.repair_mut(id) else {
            return;
        };
        let (to, key) = (*to, key.clone());
        if !self.farm.is_up(to) {
            self.farm.ledger.record(Event::Missed {
                server: to,
                key: &key,
                delivered: false,
                ack: Ack::ACKED,
            });
            return self.repair_over(id);
        }
        let removal = match copy {
            Some(unique) => Request {
                number: unique,
                ..Request::new(Verb::MetaDelete, &key)
            },
            None => Request::new(Verb::Delete, &key),
        };
        self.change_copy(id, Stage::Removing, &removal);
    }

    /// Sends what changes the copy.
    fn change_copy(&mut self, id: usize, stage: Stage, request: &Request<'_>) {
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        if let Work::Repair(mut repair) = work {
            repair.stage = stage;
            if let Some(pass) = &repair.pass {
                self.change(pass, repair.to, Purpose::RepairStore, id, Message::from(request));
            }
            self.transactions[id].work = Work::Repair(repair);
        }
    }

    pub(in crate::proxy) fn repair_over(&mut self, id: usize) {
        self.repair_done(id, None);
    }

    /// The end of a repair; `copied` are the bytes that were stored.
    fn repair_done(&mut self, id: usize, copied: Option<usize>) {
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        self.end_if_over(id);
        let Work::Repair(repair) = work else {
            return;
        };
        if let Some(bytes) = copied {
            let counters = &mut self.farm.servers[repair.to].counters;
            if let Why::Fill { .. } = repair.why {
                counters.resync_items += 1;
                counters.resync_bytes += bytes as u64;
            } else {
                counters.repairs += 1;
            }
        }
        match repair.why {
            Why::Read => self.repairs -= 1,
            Why::Heal(waiting) => {
                self.repairs -= 1;
                if let Some(Waiting { write, reply, .. }) = waiting {
                    self.transactions[write].work = Work::Answered;
                    match reply {
                        Some(reply) => self.answer(write, &reply),
                        None => self.end_if_over(write),
                    }
                }
            }
            Why::Fill { resync, size, .. } => self.fill_done(resync, &repair.key, size, copied),
        }
        if let Some(pass) = repair.pass {
            self.leave_gate(pass);
        }
    }
}

impl ReadRepairs {
    pub fn len(&self) -> usize {
        self.due.len()
    }
}

impl Repair {
    /// Whether somebody else holds its key.
    pub fn waits(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// The write that is answered when this is over.
    pub fn waiting_write(&self) -> Option<usize> {
        match &self.why {
            Why::Heal(Some(waiting)) => Some(waiting.write),
            _ => None,
        }
    }

    /// The number of the resync that it belongs to, and what its item was taken to weigh.
    pub fn filling(&self) -> Option<(u64, usize)> {
        match self.why {
            Why::Fill { resync, size, .. } => Some((resync, size)),
            _ => None,
        }
    }

    fn manner(&self) -> Manner {
        match self.why {
            Why::Read => Manner::Add,
            Why::Heal(_) => Manner::Overwrite,
            Why::Fill { manner, .. } => manner,
        }
    }

    fn listed_unique(&self) -> Option<u64> {
        match self.why {
            Why::Fill { unique, .. } => unique,
            _ => None,
        }
    }

    /// Whether the copy replaces what is there, and nothing there is to be left where there is nothing to copy.
    fn overwrites(&self) -> bool {
        self.manner() == Manner::Overwrite
    }

    /// Whether something wrong may be left if this comes to nothing now.
    fn changes_what_is_there(&self) -> bool {
        match self.stage {
            Stage::Storing { .. } => self.overwrites(),
            stage => stage == Stage::Removing,
        }
    }
}

/// The exptime that makes an item expire in `ttl_s` seconds, -1 for never; None where it would not, or where a memcached
/// would read another one: it keeps 32 bits.
fn exptime_of(ttl_s: i64, now_s: i64) -> Option<i64> {
    match ttl_s {
        -1 => Some(0),
        1..=RELATIVE_EXPTIME_MAX_S => Some(ttl_s),
        ttl_s if ttl_s > 0 => now_s.checked_add(ttl_s).and_then(absolute_exptime),
        _ => None,
    }
}

/// A unix second as an exptime; None where a memcached would take it for something else.
pub fn absolute_exptime(unix_s: i64) -> Option<i64> {
    (RELATIVE_EXPTIME_MAX_S + 1..=i64::from(i32::MAX))
        .contains(&unix_s)
        .then_some(unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exptime_is_one_that_a_memcached_reads_as_it_is_meant() {
        let now_s = 1_800_000_000;
        for (ttl_s, exptime) in [
            (-1, Some(0)),
            (0, None),
            (1, Some(1)),
            (RELATIVE_EXPTIME_MAX_S, Some(RELATIVE_EXPTIME_MAX_S)),
            (RELATIVE_EXPTIME_MAX_S + 1, Some(now_s + RELATIVE_EXPTIME_MAX_S + 1)),
            (i64::from(i32::MAX) - now_s, Some(i64::from(i32::MAX))),
            (i64::from(i32::MAX) - now_s + 1, None),
            (i64::MAX, None),
            (-2, None),
            (i64::MIN, None),
        ] {
            assert_eq!(exptime_of(ttl_s, now_s), exptime, "{ttl_s}");
        }
        for relative in [i64::MIN, -1, 0, 5, RELATIVE_EXPTIME_MAX_S] {
            assert_eq!(absolute_exptime(relative), None);
        }
    }
}
