//! What goes wrong in the newer classes alone, and what a magent is told to do.

use super::faults::{Fault, Kind};
use super::net::{NoWay, Peer, Written};
use super::pipe::Us;
use super::plan::{Farms, Places};
use super::random::Random;
use super::simulation::{Broken, Simulation};
use magent::proxy::control::Order;
use magent::proxy::net::Address;
use magent::proxy::settings::{Miss, Settings};
use magent::ring::{Distribution, Spread};
use std::io::ErrorKind;

/// What connecting says, and after how long it may.
const WAYS: [NoWay; 7] = [
    NoWay {
        kind: ErrorKind::QuotaExceeded,
        after_us: 0,
    },
    NoWay {
        kind: ErrorKind::NetworkUnreachable,
        after_us: 0,
    },
    NoWay {
        kind: ErrorKind::HostUnreachable,
        after_us: 300_000,
    },
    NoWay {
        kind: ErrorKind::TimedOut,
        after_us: 1_000_000,
    },
    NoWay {
        kind: ErrorKind::PermissionDenied,
        after_us: 0,
    },
    NoWay {
        kind: ErrorKind::WouldBlock,
        after_us: 0,
    },
    NoWay {
        kind: ErrorKind::ConnectionReset,
        after_us: 500,
    },
];
/// By how much clocks are set.
const CLOCK_STEPS_S: [i64; 7] = [-7200, -3600, -3, 2, 10, 3600, 86_400];
/// What a client had sent so long before a magent was told to end has arrived there.
const ARRIVED_US: Us = 100_000;

impl Kind {
    /// Fills in what is drawn of it.
    pub fn draw(&mut self, random: &mut Random) {
        match self {
            Kind::NoWay { way, breaks } => {
                *way = *random.pick(&WAYS);
                // What this machine lacks does not stop packets.
                *breaks = way.kind == ErrorKind::QuotaExceeded || random.one_in(3);
            }
            Kind::SetClock { by_s } => *by_s = *random.pick(&CLOCK_STEPS_S),
            _ => {}
        }
    }

    /// Whether clients may have to wait for longer than promised.
    pub fn delays(self) -> bool {
        matches!(
            self,
            Kind::Slow { .. }
                | Kind::KillMagent
                | Kind::StallMagent
                | Kind::Exhaust
                | Kind::EndMagent
                | Kind::EndAtOnce
        )
    }
}

impl Simulation {
    pub fn strike_newer(&mut self, fault: &Fault) {
        let Fault { kind, victim, .. } = *fault;
        match kind {
            Kind::Keep => self.servers[victim].end_and_keep(&mut self.network.borrow_mut()),
            Kind::NoWay { way, breaks } => {
                let network = &mut *self.network.borrow_mut();
                network.no_way[victim] = Some(way);
                if breaks {
                    for name in network.names(|connection| connection.peer == Peer::Server(victim)) {
                        self.servers[victim].lose_connection(network, name);
                    }
                } else {
                    for magent in 0..self.magents.len() {
                        network.cut(magent, victim);
                    }
                }
            }
            Kind::Exhaust => self.network.borrow_mut().ports[victim].process.is_exhausted = true,
            Kind::SetClock { by_s } => self.set_clock(victim, by_s),
            Kind::Reload if self.plan.more.has_names => self.reload(victim),
            Kind::Reload => self.write_configuration(victim, true),
            Kind::Babble => self.babble(victim),
            Kind::Move => self.move_away(victim),
            Kind::EndMagent | Kind::EndAtOnce => {
                if self.plan.more.has_names {
                    self.crowd_in(victim);
                }
                let shares_port = self.chance(|random| random.one_in(2));
                self.told_to_end_us[victim] = self.now();
                self.listening[victim] = false;
                self.network.borrow_mut().ports[victim].process.shares_port = shares_port;
                self.give_order(victim, Order::End);
                self.told_twice = kind == Kind::EndAtOnce;
                if self.told_twice {
                    self.give_order(victim, Order::End);
                }
                if self.plan.more.has_names {
                    self.give_order(victim, Order::Reload);
                }
            }
            _ => {}
        }
    }

    pub fn end_newer(&mut self, fault: &Fault) {
        let Fault { kind, victim, duration } = *fault;
        match kind {
            Kind::Keep => self.start_server(victim, 0),
            Kind::NoWay { breaks, .. } => {
                let network = &mut *self.network.borrow_mut();
                network.no_way[victim] = None;
                if !breaks {
                    let patience = duration.min(super::faults::RETRANSMISSION_MAX_US);
                    self.resent_us = network.now + patience;
                    for magent in 0..self.magents.len() {
                        network.heal(magent, victim, patience);
                    }
                }
            }
            Kind::Exhaust => self.network.borrow_mut().ports[victim].process.is_exhausted = false,
            Kind::Babble => self.come_to_its_mind(victim),
            Kind::Move => self.move_in(victim),
            Kind::EndMagent | Kind::EndAtOnce => {
                if self.magents[victim].is_some() {
                    self.has_ended(victim); // it was given up
                }
                self.start_magent(victim);
            }
            _ => {}
        }
    }

    pub fn give_order(&mut self, magent: usize, order: Order) {
        let network = &mut *self.network.borrow_mut();
        network.ports[magent].process.orders.push(order);
        let now = network.now;
        network.turn_by(magent, now);
    }

    /// A magent's process has ended of its own accord. Its clients still have to hear what it told them.
    pub fn has_ended(&mut self, magent: usize) {
        self.note(format_args!("magent {magent} has ended"));
        if std::mem::take(&mut self.told_twice) {
            // Nobody was waited for.
            self.kill_magent(magent);
            return self.impaired_ms.fill(u64::MAX);
        }
        self.magents[magent] = None;
        self.network_of_dead(magent);
        for poller in self.pollers.iter_mut().filter(|poller| poller.magent == magent) {
            poller.forget();
        }
        self.impaired_ms.fill(u64::MAX);
        for key in 0..self.plan.keys.len() {
            if self.checker.lost(key) > 0 {
                self.checker.taint(key);
            }
        }
    }

    /// A magent's clock is set. What is asked just then with a date may be taken for another.
    fn set_clock(&mut self, magent: usize, by_s: i64) {
        self.network.borrow_mut().magents_ahead_s[magent] += by_s;
        for key in 0..self.plan.keys.len() {
            if self.checker.dates_in_progress(key) {
                self.checker.taint(key);
            }
        }
    }

    /// A machine that is started may have another clock than before.
    pub fn set_clock_of(&mut self, server: usize) {
        if self.plan.more.clocks_jump {
            self.servers[server].ahead_s = self.chance(|random| *random.pick(&[0, 0, 1, 3600, -7200]));
        }
    }

    /// Has a magent read its configuration again, which somebody has changed: its farms too, or all but these.
    pub fn write_configuration(&mut self, magent: usize, farms_too: bool) {
        let more = &self.plan.more;
        let mut settings = self.plan.settings[magent].clone();
        let mut farms = more.farms.clone();
        let is_wrong = self.chance(|random| {
            settings.miss = *random.pick(&[Miss::Partner, Miss::Cold]);
            settings.timeout_ms = *random.pick(&[settings.timeout_ms, 300, 700]);
            if farms_too {
                farms = random.pick(&super::ingredients::FARMS).to_farms();
            }
            random.one_in(6)
        });
        if self.plan.more.remaps && farms_too {
            let distribution = self.chance(|random| *random.pick(&[Distribution::Modulo, Distribution::Ketama]));
            settings.spread = Spread::plain(distribution);
        }
        let names = |servers: &[usize]| {
            servers
                .iter()
                .map(|&server| self.plan.servers[server].clone())
                .collect()
        };
        settings.primaries = names(&farms.0);
        settings.backups = names(&farms.1);
        self.note(format_args!(
            "magent {magent} is to have farms {farms:?}, wrong {is_wrong}"
        ));
        self.hand_out(magent, settings, farms, is_wrong);
    }

    /// Has a magent read its configuration again. Farms are those that it has, if that says nothing of them.
    pub fn hand_out(&mut self, magent: usize, settings: Settings, farms: Farms, is_wrong: bool) {
        let (failure, verbosity) = self.draw_failure();
        let mut written = Written {
            settings: settings.clone(),
            is_wrong,
            failure,
            verbosity,
        };
        if self.plan.more.has_names {
            written
                .settings
                .servers_mut()
                .for_each(|server| server.address = Address::Unresolved);
        }
        self.network.borrow_mut().ports[magent].process.written = Some(written);
        self.written = Some((settings, farms));
        self.give_order(magent, Order::Reload);
    }

    /// A magent works by what was written. Keys that none of their servers has any more are not copied, and what the new ones
    /// have of them may be old.
    pub fn has_reloaded(&mut self, magent: usize) -> Result<(), Broken> {
        let Some((settings, farms)) = self.written.clone() else {
            return Err(format!("magent {magent} has read what nobody wrote"));
        };
        self.note(format_args!("magent {magent} has other settings"));
        // What was asked before waits by the timeout that was then.
        let timeouts_ms = [self.plan.settings[magent].timeout_ms, settings.timeout_ms];
        let most_ms = &mut self.plan.more.timeout_most_ms;
        *most_ms = timeouts_ms.into_iter().fold(*most_ms, u64::max);
        if self.plan.more.has_names {
            self.plan.more.renamed_us = self.now();
        }
        if !farms.0.is_empty() {
            self.move_keys(&settings, farms);
            self.plan.settings[magent] = settings;
        }
        self.checker.disturbed_ms = u64::MAX;
        Ok(())
    }

    fn move_keys(&mut self, settings: &Settings, farms: Farms) {
        let places = Places::new(settings, &farms);
        for key in 0..self.plan.keys.len() {
            let servers = places.of(&self.plan.keys[key].name);
            let before = &self.plan.keys[key].servers;
            let kept = before.iter().any(|server| servers.contains(server));
            if !kept {
                self.checker.taint(key);
            }
            self.plan.keys[key].servers = servers;
        }
        self.plan.more.farms = farms;
    }
}

/// Whether what was asked then had reached a magent when it was told to end.
pub fn had_arrived(asked_us: Us, told_to_end_us: Us) -> bool {
    asked_us + ARRIVED_US < told_to_end_us
}
