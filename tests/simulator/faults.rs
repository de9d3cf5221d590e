//! What can go wrong, and how it ends.

use super::memcached::Memcached;
use super::model::{Item, State};
use super::net::{Event, NoWay, Peer};
use super::pipe::Us;
use super::plan::Class;
use super::simulation::Simulation;
use magent::proxy::settings::Ack;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// kill -9, and started again at the end.
    Kill,
    /// The machine is off, and nobody is told.
    PowerLoss,
    /// SIGSTOP.
    Stop,
    /// No packet passes between a server and any magent.
    Cut,
    /// Connections between a server and magents break.
    Break,
    /// A server ends connections in order.
    EndConnections,
    /// A server's answers take their time.
    Slow {
        extra_us: Us,
    },
    KillMagent,
    /// A magent's process does not run.
    StallMagent,
    /// A server ends and keeps its items, and is started again at the end.
    Keep,
    /// No connection to a server can be had, and no packet passes on those that there are; or those break, if so.
    NoWay {
        way: NoWay,
        breaks: bool,
    },
    /// A magent has no descriptors for anything more.
    Exhaust,
    /// A magent's clock is set.
    SetClock {
        by_s: i64,
    },
    /// A magent is given another configuration.
    Reload,
    /// A magent is told to end, and another one is started at the end.
    EndMagent,
    /// The same, and it is told so again soon.
    EndAtOnce,
    /// A server does what it is asked, and now and then says what is no answer.
    Babble,
    /// A server's machine dies, and another one with another address takes its place at the end.
    Move,
}

#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    /// The server, or the magent.
    pub victim: usize,
    pub duration: Us,
}

/// How long it takes at most until a link that leads nowhere is found out though nobody uses it.
pub const KEEPALIVE_US: Us = 2_000_000;
/// After the end of a cut, how long packets may take until they are sent again.
pub const RETRANSMISSION_MAX_US: Us = 1_500_000;
/// What a server that has been back for so long tells is what it should.
const RETURNED_US: Us = 6_000_000;

/// How long what a server was asked may have been under way when something went wrong with it.
const UNANSWERED_MS: u64 = 50;
/// How early a server may be given up whose partner answers.
const GIVEN_UP_EARLY_MS: u64 = 50;
/// Two copies whose exptimes differ by more are not the same.
pub const EXPTIME_DRIFT_MAX_MS: u64 = 2000;

/// How late a server may do what it was sent: as long as faults last.
pub const LATE_MAX_MS: u64 = 6000;

/// Answers that take longer may come when magent does not wait for them any more.
const MUFFLED_US: Us = 1_500_000;

/// Something is wrong with a server, since this time; before that nothing was, if `is_whole`, and it still holds what it held.
#[derive(Clone, Copy)]
pub struct Faulty {
    since_ms: u64,
    is_whole: bool,
}

impl Fault {
    /// Whether it is a magent's.
    fn is_magents(&self) -> bool {
        matches!(
            self.kind,
            Kind::KillMagent
                | Kind::StallMagent
                | Kind::Exhaust
                | Kind::SetClock { .. }
                | Kind::Reload
                | Kind::EndMagent
                | Kind::EndAtOnce
        )
    }

    pub fn server(&self) -> Option<usize> {
        match self.kind {
            _ if self.is_magents() => None,
            _ => Some(self.victim),
        }
    }
}

impl Simulation {
    pub fn think_of_fault(&mut self, kinds: &[Kind]) -> Fault {
        let timeout_us = self.plan.settings[0].timeout_ms * 1000;
        let (servers, magents) = (self.servers.len() as u64, self.magents.len() as u64);
        let acks_early = self.plan.settings[0].ack == Ack::Primary;
        self.chance(|random| {
            let mut kind = *random.pick(kinds);
            if kind == Kind::KillMagent && acks_early {
                kind = Kind::StallMagent; // what it acknowledged might be on one server only
            }
            if kind == Kind::EndAtOnce && acks_early {
                kind = Kind::EndMagent; // the same
            }
            let short = random.between(1_000, timeout_us - 50_000);
            let long = random.between(timeout_us + 50_000, 4_000_000);
            let either = *random.pick(&[short, long]);
            let duration = match kind {
                Kind::Kill => {
                    let (at_once, soon) = (random.between(0, 10_000), random.between(10_000, 400_000));
                    *random.pick(&[at_once, soon, long])
                }
                Kind::PowerLoss | Kind::Stop | Kind::Cut => either,
                Kind::Break | Kind::EndConnections => 0,
                Kind::Slow { .. } => random.between(200_000, 3_000_000),
                Kind::KillMagent => random.between(60_000, 600_000),
                Kind::StallMagent => random.between(5_000, 2_000_000),
                Kind::Keep | Kind::NoWay { .. } | Kind::Exhaust => either,
                Kind::SetClock { .. } | Kind::Reload => 0,
                Kind::EndMagent | Kind::EndAtOnce => random.between(10_000, 1_000_000),
                Kind::Babble => random.between(50_000, 3_000_000),
                Kind::Move => long,
            };
            kind.draw(random);
            if let Kind::Slow { extra_us } = &mut kind {
                *extra_us = *random.pick(&[5_000, 60_000, timeout_us * 9 / 10, timeout_us * 12 / 10, timeout_us * 3]);
            }
            let victims = match kind {
                Kind::KillMagent | Kind::StallMagent => magents,
                _ => servers,
            };
            let mut fault = Fault {
                kind,
                victim: random.below(victims) as usize,
                duration,
            };
            match fault.is_magents() {
                true => fault.victim %= magents as usize,
                // Of two that both took items back nobody can tell which has missed something since.
                false if kind == Kind::Keep => fault.victim = 0,
                false => {}
            }
            fault
        })
    }

    pub fn begin_fault(&mut self, fault: &Fault) {
        let Fault { kind, victim, duration } = *fault;
        let whom = if fault.server().is_some() { "s" } else { "magent " };
        self.duel.fault_us = Some(self.network.borrow().now);
        self.note(format_args!(
            "FAULT {kind:?} of {whom}{victim} for {} ms",
            duration / 1000
        ));
        if let Some(server) = fault.server() {
            let since_ms = self.now_ms();
            let keeps_memory = matches!(kind, Kind::Stop | Kind::Cut | Kind::Slow { .. });
            let is_whole = self.impaired_ms[server] < since_ms && keeps_memory;
            if self.impaired_ms[server] != u64::MAX {
                self.struck_ms[server] = since_ms;
            }
            self.impaired_ms[server] = u64::MAX;
            self.is_unknown[server] &= self.faulty[server].is_some() || !self.has_returned(server);
            self.faulty[server] = Some(Faulty { since_ms, is_whole });
            if matches!(kind, Kind::Slow { extra_us } if extra_us > MUFFLED_US) {
                self.muffled_until_us[server] = Us::MAX;
            }
        }
        self.checker.disturbed_ms = u64::MAX;
        match kind {
            Kind::Kill | Kind::PowerLoss => self.memory_lost(victim),
            Kind::Break | Kind::EndConnections => self.answers_lost(victim),
            _ => {}
        }
        self.strike(fault);
        self.strike_newer(fault);
        if kind == Kind::KillMagent {
            self.kill_magent(victim);
            // The next one has to find out first which of them may lack something.
            self.impaired_ms.fill(u64::MAX);
            self.forget_who_is_faulty();
        }
        if kind.delays() {
            self.excused_until_us = Us::MAX;
        }
    }

    /// What happens to the victim's process, machine and connections.
    fn strike(&mut self, fault: &Fault) {
        let Fault { kind, victim, duration } = *fault;
        let network = &mut *self.network.borrow_mut();
        match kind {
            Kind::Kill => self.servers[victim].kill(network),
            Kind::PowerLoss | Kind::Cut => {
                for magent in 0..self.magents.len() {
                    network.cut(magent, victim);
                }
                if kind == Kind::PowerLoss {
                    self.servers[victim].lose_power(network);
                }
            }
            Kind::Stop => self.servers[victim].stop(),
            Kind::Break | Kind::EndConnections => {
                for name in network.names(|connection| connection.peer == Peer::Server(victim)) {
                    match kind {
                        Kind::Break => self.servers[victim].lose_connection(network, name),
                        _ => self.servers[victim].end_connection(network, name),
                    }
                }
            }
            Kind::Slow { extra_us } => network.slowness[victim] = (extra_us, extra_us + extra_us / 5),
            Kind::StallMagent => network.ports[victim].stalled_until = network.now + duration,
            _ => {}
        }
    }

    pub fn end_fault(&mut self, fault: &Fault) {
        let Fault { kind, victim, duration } = *fault;
        self.note(format_args!("the fault is over: {kind:?}"));
        if let Some(server) = fault.server() {
            self.faulty[server] = None;
        }
        let patience = duration.min(RETRANSMISSION_MAX_US);
        if matches!(kind, Kind::PowerLoss | Kind::Cut) {
            self.resent_us = self.now() + patience;
        }
        match kind {
            Kind::Kill => {
                self.set_clock_of(victim);
                self.start_server(victim, 0);
            }
            Kind::PowerLoss | Kind::Cut => {
                if kind == Kind::PowerLoss {
                    self.start_server(victim, 0);
                }
                for magent in 0..self.magents.len() {
                    self.network.borrow_mut().heal(magent, victim, patience);
                }
                if kind == Kind::PowerLoss {
                    self.keep_links_alive(victim);
                }
            }
            Kind::Stop => self.servers[victim].go_on(&mut self.network.borrow_mut()),
            Kind::Slow { extra_us } => {
                self.network.borrow_mut().slowness[victim] = (0, 0);
                if extra_us > MUFFLED_US {
                    self.muffled_until_us[victim] = self.now() + extra_us + extra_us / 5;
                }
            }
            Kind::KillMagent => {
                let remembers = self.remembers(victim);
                self.start_magent(victim);
                if !remembers {
                    self.forget_who_is_faulty();
                    self.unknown_to_magent();
                }
            }
            _ => {}
        }
        self.end_newer(fault);
        if kind.delays() {
            self.excused_until_us = self.now() + 3 * self.plan.settings[0].timeout_ms * 1000;
        }
    }

    /// Links that nobody uses are found to lead nowhere by the kernel's asking.
    pub fn keep_links_alive(&mut self, server: usize) {
        let network = &mut *self.network.borrow_mut();
        for name in network.names(|connection| connection.peer == Peer::Server(server)) {
            let time = network.now + network.random.between(0, KEEPALIVE_US);
            network.at(time, Event::KeepAlive(name));
        }
    }

    /// A magent is started, or will be, that does not know what those have missed with which something is wrong now.
    fn forget_who_is_faulty(&mut self) {
        for (is_unknown, faulty) in self.is_unknown.iter_mut().zip(&self.faulty) {
            *is_unknown |= faulty.is_some();
        }
    }

    /// Whether a server has been back for so long that it tells what it should, if nothing is wrong with it.
    fn has_returned(&self, server: usize) -> bool {
        self.returned_us[server] + RETURNED_US < self.now()
    }

    /// A server's memory is about to be lost. A key may be lost only if its other server does not hold it.
    fn memory_lost(&mut self, server: usize) {
        if !matches!(self.plan.class, Class::Chaos | Class::Alone) {
            return;
        }
        let now_ms = self.now_ms();
        self.checker.now_ms = now_ms;
        for key in 0..self.plan.keys.len() {
            let servers = &self.plan.keys[key].servers;
            if !servers.contains(&server) {
                continue;
            }
            let partner = servers.iter().copied().find(|&other| other != server);
            let kept = partner.is_some_and(|partner| {
                let is_well = self.has_returned(partner) || self.impaired_ms[partner] < now_ms;
                match self.faulty[partner] {
                    None if is_well => self.holds_current(partner, key),
                    _ if self.is_unknown[partner] => false,
                    None => self.is_last_copy(partner, server, key),
                    Some(Faulty { since_ms, is_whole }) => {
                        self.is_last_copy(partner, server, key)
                            || is_whole && self.is_acknowledged_by_both(key, since_ms)
                    }
                }
            });
            let is_away = |&partner: &usize| self.faulty[partner].is_some() || !self.has_returned(partner);
            match partner.filter(is_away) {
                _ if kept => {}
                Some(_) if self.checker.is_seen_unanswered(key) => self.checker.taint(key),
                Some(_) => {
                    self.checker.may_be_undone(key);
                    self.checker.may_vanish(key);
                }
                None => self.checker.may_vanish(key),
            }
        }
    }

    /// A magent that begins does not know what servers had that do not answer it; others are believed that they have not.
    fn unknown_to_magent(&mut self) {
        if !matches!(self.plan.class, Class::Chaos | Class::Alone) {
            return;
        }
        self.checker.now_ms = self.now_ms();
        for key in 0..self.plan.keys.len() {
            let servers = self.plan.keys[key].servers.clone();
            let is_unknown = |&server: &usize| self.faulty[server].is_some();
            if servers.iter().any(is_unknown)
                && !servers
                    .iter()
                    .any(|&server| self.faulty[server].is_none() && self.holds_current(server, key))
            {
                self.checker.may_vanish(key);
            }
        }
    }

    /// Whether what is left on a server when `victim` is lost is what the key should be, or will be when the server has done
    /// what it was sent: that magent has to keep. It need not where the victim has another that the key should be just as
    /// well, nor where the two are only the same again because an exptime was changed to and fro. And if a write was not
    /// answered and the victim had been away itself, what that told when it returned is what counts. Nor is it kept where
    /// the server's answers come later than magent waits for them.
    fn is_last_copy(&mut self, server: usize, victim: usize, key: usize) -> bool {
        let foreseen = self.servers[server].foreseen(&mut self.network.borrow_mut());
        let Some(copy) = foreseen.and_then(|memcached| self.peek_in(server, &memcached, key)) else {
            return false;
        };
        if self.now() < self.muffled_until_us[server] {
            return false;
        }
        if self.checker.lost(key) > 0 && self.returned_us[victim] + RETURNED_US > self.now() {
            return false;
        }
        let lost = self.peek(victim, key);
        let same = lost.is_some_and(|lost| {
            (lost.value, lost.flags) == (copy.value, copy.flags)
                && lost.expires_from_ms.abs_diff(copy.expires_from_ms) <= EXPTIME_DRIFT_MAX_MS
                && !self.checker.touched_since(key, self.struck_ms[server])
        });
        self.is_current(key, Some(copy)) && (same || !self.is_current(key, lost))
    }

    /// Whether a key's last write was acknowledged since something went wrong with one of its servers, and before that could
    /// be given up: then that has answered it, and has it.
    fn is_acknowledged_by_both(&self, key: usize, since_ms: u64) -> bool {
        let settings = &self.plan.settings[0];
        let least_ms = match settings.adaptive_timeout {
            true => GIVEN_UP_EARLY_MS,
            false => settings.timeout_ms,
        };
        let given_up_ms = since_ms + least_ms - UNANSWERED_MS;
        settings.ack == Ack::All
            && self.checker.changed_since(key, since_ms)
            && !self.checker.changed_since(key, given_up_ms)
    }

    /// Answers of a server may be lost with its connections. If its partner is not there to tell, magent does not know what
    /// the server has done.
    fn answers_lost(&mut self, server: usize) {
        if self.plan.class != Class::Chaos {
            return;
        }
        self.checker.now_ms = self.now_ms();
        for key in 0..self.plan.keys.len() {
            let servers = &self.plan.keys[key].servers;
            let partner = servers.iter().copied().find(|&other| other != server);
            if let Some(partner) = partner.filter(|_| servers.contains(&server)) {
                if !self.holds_current(partner, key) {
                    self.checker.may_vanish(key);
                }
            }
        }
    }

    /// Whether a server holds what a key should be.
    fn holds_current(&mut self, server: usize, key: usize) -> bool {
        let held = self.peek(server, key);
        self.is_current(key, held)
    }

    fn is_current(&mut self, key: usize, held: Option<Item>) -> bool {
        self.checker.possible(key).iter().any(|state| match (state, held) {
            (State::Unknown, _) | (State::Absent, None) => true,
            (State::Present(item), Some(held)) => (item.value, item.flags) == (held.value, held.flags),
            _ => false,
        })
    }

    /// What a server's memory holds of a key, in the checker's words. The version means nothing.
    pub fn peek(&mut self, server: usize, key: usize) -> Option<Item> {
        let memcached = self.servers[server].memcached.take()?;
        let item = self.peek_in(server, &memcached, key);
        self.servers[server].memcached = Some(memcached);
        item
    }

    fn peek_in(&mut self, server: usize, memcached: &Memcached, key: usize) -> Option<Item> {
        let server = &self.servers[server];
        let unix_ms = server.clock_ms(&self.network.borrow());
        let server_ahead_s = server.ahead_s;
        let plan = &self.plan.keys[key];
        let item = memcached.peek(plan.name.as_bytes(), unix_ms)?;
        let expires_ms = match item.exptime {
            0 => u64::MAX,
            second => {
                let since_epoch_s = second - super::net::EPOCH_S as i64 - server_ahead_s;
                since_epoch_s.max(0) as u64 * 1000
            }
        };
        Some(Item {
            value: self.checker.values.id(super::client::normal(plan, &item.value)),
            flags: item.flags,
            version: 0,
            expires_from_ms: expires_ms,
            expires_until_ms: expires_ms,
        })
    }
}
