//! What the copier wants of others, and how that is carried out: the seam between it and the rest of the proxy.

use crate::protocol::reply::Reply;
use crate::protocol::server::answer::Response;
use crate::proxy::Proxy;
use crate::proxy::copier::command::Command;
use crate::proxy::copier::repair::{Pair, Party, Repair, Waiting, Why};
use crate::proxy::fleet::ledger::{Ack, Event, Lacks};
use crate::proxy::front::transaction::{Transaction, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::{Access, Entry, Pass};
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;

/// What the copier wants. The order matters.
#[derive(Debug)]
pub enum Wish<'a> {
    /// To be asked of a server; the answer is this repair's.
    Send {
        repair: usize,
        key: Box<[u8]>,
        server: usize,
        purpose: Purpose,
        command: Command<'a>,
    },
    /// The server does not know meta commands.
    HasNoMeta(usize),
    /// The server refused a copy of what its partner has, with this answer.
    Refused(usize, Reply),
    /// The server has missed a change of the key.
    Missed {
        server: usize,
        key: Box<[u8]>,
        delivered: bool,
    },
    /// The server has a copy of so many bytes.
    Copied { server: usize, bytes: usize, fills: bool },
    /// The server, which is filled, does not lack the key of `from` any more.
    Filled { server: usize, from: usize, key: Box<[u8]> },
    /// The servers of the write are alike as far as they can be made so.
    Healed(Waiting),
    /// Others may have the key.
    Leave(Pass),
}

impl<N: Net> Proxy<N> {
    fn carry_out(&mut self, wishes: Vec<Wish<'_>>) {
        for wish in wishes {
            match wish {
                Wish::Send {
                    repair,
                    key,
                    server,
                    purpose,
                    command,
                } => {
                    let request = command.request(&key);
                    self.ask_for_repair(repair, server, purpose, Message::from(&request));
                }
                Wish::HasNoMeta(server) => self.farm.servers[server].has_meta = false,
                Wish::Refused(server, reply) => self.note_refusal(server, &reply),
                Wish::Missed { server, key, delivered } => self.farm.ledger.record(Event::Missed {
                    server,
                    key: &key,
                    delivered,
                    ack: Ack::WHOLE,
                }),
                Wish::Copied { server, bytes, fills } => {
                    let counters = &mut self.farm.servers[server].counters;
                    if fills {
                        counters.resync_items += 1;
                        counters.resync_bytes += bytes as u64;
                    } else {
                        counters.repairs += 1;
                    }
                }
                Wish::Filled { server, from, key } => {
                    let key = &*key;
                    self.farm.ledger.record(Event::Copied { server, from, key });
                }
                Wish::Healed(waiting) => self.healed(waiting),
                Wish::Leave(pass) => self.leave_gate(pass),
            }
        }
    }

    /// Asks a server for a repair. What changes the copy goes with the repair's pass.
    fn ask_for_repair(&mut self, repair: usize, server: usize, purpose: Purpose, message: Message<'_>) {
        if !purpose.changes() {
            self.send(server, purpose, repair, message);
            return;
        }
        let pass = self.copier.lend_pass(repair);
        self.change(&pass, server, purpose, repair, message);
        self.copier.return_pass(repair, pass);
    }

    /// A write that waited for its two copies to be made alike is over.
    fn healed(&mut self, Waiting { write, reply, .. }: Waiting) {
        self.transactions[write].work = Work::Answered;
        match reply {
            Some(reply) => self.answer(write, &reply),
            None => self.end_if_over(write),
        }
    }

    /// What is known of the two servers of a repair.
    fn pair_of(&self, repair: usize) -> Pair {
        let (from, to) = self.copier.servers(repair);
        let party = |index: usize| {
            let server = &self.farm.servers[index];
            Party {
                is_up: self.farm.is_up(index),
                has_meta: server.has_meta,
                ahead_s: server.clock_ahead_s,
            }
        };
        Pair {
            from: party(from),
            to: party(to),
            source_is_still: self.farm.ledger.holds(self.copier.found(repair)),
            flushes: self.flushes,
        }
    }

    /// Notes a key that was found on one of its servers and not on the other.
    pub(in crate::proxy) fn repair_later(&mut self, from: usize, to: usize, key: &[u8]) {
        if let Some(due_ms) = self
            .copier
            .repair_later(from, to, key, self.now_ms, &self.settings.limits)
        {
            self.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    /// Begins the copies that are due.
    pub(in crate::proxy) fn repairs_tick(&mut self) {
        while let Some(due) = self.copier.next_due(self.now_ms) {
            self.repair_read(due.from, due.to, &due.key);
        }
        if let Some(due_ms) = self.copier.deadline_ms() {
            self.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    /// Begins to copy a key that was read, if nothing else is going on with it.
    fn repair_read(&mut self, from: usize, to: usize, key: &[u8]) {
        let has_meta = self.farm.servers[from].has_meta;
        let are_up = self.farm.is_up(from) && self.farm.is_up(to);
        let possible = are_up && has_meta && self.farm.partner(key, from) == Some(to);
        if !possible
            || !self.copier.has_room(&self.settings.limits)
            || self.gate.is_held(key)
            || self.flush_forbids_copying()
        {
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
        if possible && self.copier.has_room(&self.settings.limits) {
            self.heal(from, to, key, None);
        }
    }

    pub(in crate::proxy) fn start_repair(&mut self, from: usize, to: usize, key: &[u8], why: Why) {
        let accompanied = self.gate.is_held(key);
        let found = self.farm.ledger.receipt(from);
        let repair = self.copier.enter(Repair::new(from, to, key, why, accompanied), found);
        // What waits for a key is a transaction.
        let id = self.transactions.insert(Transaction::new(None, true, 0));
        self.start_waiting_repair(id, repair);
    }

    /// Starts a repair as soon as nobody else has its key alone. Until then the transaction waits for that.
    pub(in crate::proxy) fn start_waiting_repair(&mut self, id: usize, repair: usize) {
        let key = self.copier.key(repair);
        let place = self.farm.place(key);
        let pass = match self.gate.enter(key, place.slot, Access::Alone, id) {
            Entry::Go(pass) => pass,
            Entry::Wait => {
                self.transactions[id].work = Work::Repair(repair);
                return;
            }
        };
        self.end_if_over(id);
        let (from, _) = self.copier.servers(repair);
        let decides = place.first == from;
        self.copier.let_in(repair, pass, self.farm.ledger.receipt(from));
        let pair = self.pair_of(repair);
        let wishes = self.copier.begin(repair, &pair, decides);
        self.carry_out(wishes);
    }

    /// The item that a repair fetches came: `data` is its value with the line end.
    pub(in crate::proxy) fn repair_value(&mut self, repair: usize, response: &Response<'_>, data: &[u8]) {
        let pair = self.pair_of(repair);
        let unix_s = self.net.unix_time_s() as i64;
        let wishes = self.copier.value(repair, response, data, &pair, unix_s);
        self.carry_out(wishes);
    }

    /// It came, and is larger than magent takes.
    pub(in crate::proxy) fn repair_too_large(&mut self, repair: usize, response: &Response<'_>) {
        let pair = self.pair_of(repair);
        let wishes = self.copier.too_large(repair, response, &pair);
        self.carry_out(wishes);
    }

    /// An answer to a repair that is no value.
    pub(in crate::proxy) fn repair_answer(&mut self, repair: usize, purpose: Purpose, response: &Response<'_>) {
        let pair = self.pair_of(repair);
        let wishes = self.copier.answer(repair, purpose, response, &pair);
        self.carry_out(wishes);
    }

    /// A question of a repair's was cut off; `delivered`: it lay in its server's socket when that fell silent.
    pub(in crate::proxy) fn repair_lost(&mut self, repair: usize, delivered: bool) {
        let pair = self.pair_of(repair);
        let wishes = self.copier.lost(repair, delivered, &pair);
        self.carry_out(wishes);
    }
}
