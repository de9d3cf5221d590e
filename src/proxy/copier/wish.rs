//! What the copier wants of others, and how that is carried out: the seam between it and the rest of the proxy.

use crate::protocol::reply::Reply;
use crate::protocol::server::answer::Response;
use crate::proxy::copier::Copier;
use crate::proxy::copier::command::Command;
use crate::proxy::copier::compare::{How, Left, Of};
use crate::proxy::copier::repair::{Pair, Party, Repair, Why};
use crate::proxy::fleet::ledger::{Ack, Event, Lacks};
use crate::proxy::handoff::{Heal, Urgency, Waiting};
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::{Access, Entry, Pass, Who};
use crate::proxy::servers::Servers;
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
    /// The two servers are to be looked at until they have the same of the key. `alike`: they have, if their items still have these uniques
    /// a moment later.
    Watch {
        pair: (usize, usize),
        key: Box<[u8]>,
        alike: Option<[u64; 2]>,
    },
    /// The servers of the write are alike as far as they can be made so.
    Healed(Waiting),
    /// Others may have the key.
    Leave(Pass),
}

impl Copier {
    fn carry_out<N: Net>(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, wishes: Vec<Wish<'_>>) {
        for wish in wishes {
            match wish {
                Wish::Send {
                    repair,
                    key,
                    server,
                    purpose,
                    command,
                } => {
                    if purpose == Purpose::RepairStore {
                        servers.fleet.is_made_alike(&key, server);
                    }
                    let request = command.request(&key);
                    self.ask(servers, repair, server, purpose, Message::from(&request));
                }
                Wish::HasNoMeta(server) => servers.fleet.has_no_meta(server),
                Wish::Refused(server, reply) => servers.note_refusal(server, &reply),
                Wish::Missed { server, key, delivered } => servers.fleet.ledger.record(Event::Missed {
                    server,
                    key: &key,
                    delivered,
                    ack: Ack::WHOLE,
                }),
                Wish::Copied { server, bytes, fills } => {
                    let counters = servers.fleet.counters(server);
                    if fills {
                        counters.resync_items += 1;
                        counters.resync_bytes += bytes as u64;
                    } else {
                        counters.repairs += 1;
                    }
                }
                Wish::Filled { server, from, key } => {
                    let key = &*key;
                    servers.fleet.ledger.record(Event::Copied { server, from, key });
                }
                Wish::Watch { pair, key, alike: None } => self.watch(servers, pair, &key),
                Wish::Watch {
                    pair,
                    key,
                    alike: Some(uniques),
                } if servers.fleet.compares(pair.0, Some(pair.1)) => {
                    self.watch_alike(servers, pair, &key, uniques);
                }
                Wish::Watch { .. } => {}
                Wish::Healed(Waiting { write, reply, .. }) => replicate.healed(servers, write, reply.as_ref()),
                Wish::Leave(pass) => replicate.leave_gate(servers, pass),
            }
        }
    }

    /// Asks a server for a repair. What changes the copy goes with the repair's pass.
    fn ask<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        repair: usize,
        server: usize,
        purpose: Purpose,
        message: Message<'_>,
    ) {
        if purpose.changes() {
            servers.change(self.pass(repair), server, purpose, repair, message);
        } else {
            servers.send(server, purpose, repair, message);
        }
    }

    /// What is known of the two servers of a repair.
    fn pair_of<N: Net>(&self, servers: &Servers<N>, repair: usize) -> Pair {
        let (from, to) = self.servers(repair);
        let fleet = &servers.fleet;
        let party = |index: usize| Party {
            is_up: fleet.is_up(index),
            has_meta: fleet.has_meta(index),
            ahead_s: fleet.clock_ahead_s(index),
        };
        let now_ms = servers.cx.now.ms();
        let is_missed = |index: usize| fleet.others.are_missing(index, now_ms);
        Pair {
            from: party(from),
            to: party(to),
            source_is_still: fleet.ledger.holds(self.found(repair)),
            source_is_doubtful: is_missed(from) && !is_missed(to)
                || fleet.is_to_be_evened_out(self.key(repair), from, to),
            flushes: fleet.flushes(),
            flush_is_near: servers.flush_is_near(),
            from_is_senior: fleet.is_senior(from, to),
            marks: fleet.marks(self.key(repair), from, to),
        }
    }

    /// Notes a key that was found on `from` and not on `to`, to be copied a while later.
    pub fn found_on_one<N: Net>(&mut self, servers: &mut Servers<N>, from: usize, to: usize, key: &[u8]) {
        let cx = &mut servers.cx;
        if let Some(due_ms) = self.due.note(key, (from, to), cx.now.ms(), &cx.settings.limits) {
            cx.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    /// Begins the copies that are due.
    pub fn repairs_tick<N: Net>(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>) {
        let now_ms = servers.cx.now.ms();
        while let Some((key, pair)) = self.due.next(now_ms) {
            self.repair_read(replicate, servers, pair, &key);
        }
        while let Some((key, left)) = self.left.next(now_ms) {
            self.repair_left(replicate, servers, &key, left);
        }
        while let Some((key, moving)) = self.moving.next(now_ms) {
            let key = servers.cx.pool.copy(&[&key]);
            self.look(servers, key, moving.pair, Of::Moving(moving));
        }
        let deadlines = [
            self.due.deadline_ms(),
            self.left.deadline_ms(),
            self.moving.deadline_ms(),
        ];
        for due_ms in deadlines.into_iter().flatten() {
            servers.cx.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    /// Begins to copy or remove what was found on one server only a while ago.
    fn repair_left<N: Net>(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, key: &[u8], left: Left) {
        let Left { from, to, unique, how } = left;
        if !servers.fleet.are_owners(key, from, to) || servers.flush_forbids_copying() {
            return;
        }
        if servers.fleet.looks_when_back(key, [from, to]) {
            return;
        }
        let waits = how == How::CopiedLater || !self.has_room(&servers.cx.settings.limits);
        match how {
            How::Removed if !waits => self.start_repair(replicate, servers, (from, to), key, Why::Deleted(unique)),
            How::Copied if !waits => self.start_repair(replicate, servers, (from, to), key, Why::Left(unique)),
            How::Removed => self.leave(servers, key, left),
            How::Copied | How::CopiedLater => {
                let how = How::Copied;
                self.leave(servers, key, Left { how, ..left });
            }
        }
    }

    /// Begins to copy a key that was read, if nothing else is going on with it.
    fn repair_read<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        (from, to): (usize, usize),
        key: &[u8],
    ) {
        let fleet = &servers.fleet;
        let are_up = fleet.is_up(from) && fleet.is_up(to);
        let possible = are_up && fleet.has_meta(from) && fleet.partner(key, from) == Some(to);
        if !possible
            || !self.has_room(&servers.cx.settings.limits)
            || replicate.gate().is_held(key)
            || servers.flush_forbids_copying()
        {
            return;
        }
        // While a write is on its way to both, what is on `from` may be what `to` is refusing.
        match replicate.gate().has_writes(servers.fleet.place(key).slot) {
            false if servers.fleet.compares(from, Some(to)) => {
                let key = servers.cx.pool.copy(&[key]);
                self.look(servers, key, [from, to], Of::Read);
            }
            false => self.start_repair(replicate, servers, (from, to), key, Why::Read),
            true => self.found_on_one(servers, from, to, key),
        }
    }

    /// Makes the copy on one server like the one on the other.
    pub fn heal<N: Net>(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, heal: Heal) {
        let Heal { from, to, key, urgency } = heal;
        let waiting = match urgency {
            Urgency::Waited(waiting) => Some(waiting),
            Urgency::IfRoom => {
                let are_up = servers.fleet.is_up(from) && servers.fleet.is_up(to);
                let lacks = |server, of| servers.fleet.ledger.lacks(&key, server, of) != Lacks::Nothing;
                let possible = are_up && !lacks(to, from) && !lacks(from, to);
                if !possible || !self.has_room(&servers.cx.settings.limits) {
                    return;
                }
                None
            }
        };
        self.start_repair(replicate, servers, (from, to), &key, Why::Heal(waiting));
    }

    /// Starts a repair as soon as nobody else has its key alone.
    pub fn start_repair<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        (from, to): (usize, usize),
        key: &[u8],
        why: Why,
    ) {
        let accompanied = replicate.gate().is_held(key) || servers.fleet.others.are_there();
        let found = servers.fleet.ledger.receipt(from);
        let repair = self.enter(Repair::new(from, to, key, why, accompanied), found);
        let slot = servers.fleet.place(key).slot;
        match replicate.gate().enter(key, slot, Access::Alone, Who::Repair(repair)) {
            Entry::Go(pass) => self.has_turn(replicate, servers, repair, pass),
            Entry::Wait => {}
        }
    }

    /// A repair has its key alone.
    pub fn has_turn<N: Net>(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, repair: usize, pass: Pass) {
        let (from, to) = self.servers(repair);
        let decides = servers.fleet.place(self.key(repair)).first == from;
        self.let_in(repair, pass, servers.fleet.ledger.receipt(from));
        let pair = self.pair_of(servers, repair);
        let wishes = self.begin(repair, &pair, decides);
        let is_by_seniority = self.is_by_seniority(repair);
        self.carry_out(replicate, servers, wishes);
        if is_by_seniority && servers.fleet.others.are_there() {
            servers.read_board(to); // it may have come to be the senior
        }
    }

    /// The item that a repair fetches came: `data` is its value with the line end.
    pub fn repair_value<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        repair: usize,
        response: &Response<'_>,
        data: &[u8],
    ) {
        let pair = self.pair_of(servers, repair);
        let unix_s = servers.cx.net.unix_time_s() as i64;
        let wishes = self.value(repair, response, data, &pair, unix_s);
        self.carry_out(replicate, servers, wishes);
    }

    /// It came, and is larger than magent takes.
    pub fn repair_too_large<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        repair: usize,
        response: &Response<'_>,
    ) {
        let pair = self.pair_of(servers, repair);
        let wishes = self.too_large(repair, response, &pair);
        self.carry_out(replicate, servers, wishes);
    }

    /// An answer to a repair that is no value.
    pub fn repair_answer<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        repair: usize,
        purpose: Purpose,
        response: &Response<'_>,
    ) {
        let pair = self.pair_of(servers, repair);
        let wishes = self.answer(repair, purpose, response, &pair);
        self.carry_out(replicate, servers, wishes);
    }

    /// A question of a repair's was cut off; `delivered`: it lay in its server's socket when that fell silent.
    pub fn repair_lost<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        repair: usize,
        delivered: bool,
    ) {
        let (from, to) = self.servers(repair);
        if servers.fleet.others.are_there() {
            servers.fleet.looks_when_back(self.key(repair), [from, to]);
        }
        let pair = self.pair_of(servers, repair);
        let wishes = self.lost(repair, delivered, &pair);
        self.carry_out(replicate, servers, wishes);
    }
}
