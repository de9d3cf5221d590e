//! The course of a schedule: load, live, fail, heal, compare.

use super::faults::{Fault, KEEPALIVE_US, Kind, LATE_MAX_MS};
use super::model::Verb;
use super::pipe::Us;
use super::plan::{Class, Plan};
use super::poller::Question;
use super::random::Random;
use super::simulation::{Broken, Simulation};
use super::trace::Verbosity;
use magent::proxy::settings::Hedge;

/// How long redundancy may take to come back once nothing fails any more.
const HEALING_MAX_US: Us = 30_000_000;
/// Where two magents find out of a fault one after the other, or one of them alone, clients of the other may see for so long what was there
/// before: boards are read every 100 ms.
const SEEN_LATE_MS: u64 = 250;
const FAULTS_SEEN_BY_ONE: [Kind; 9] = [
    Kind::Kill,
    Kind::KillMagent,
    Kind::Stop,
    Kind::Cut,
    Kind::Break,
    Kind::EndConnections,
    Kind::Slow { extra_us: 0 },
    Kind::PowerLoss,
    Kind::StallMagent,
];
/// What two magents find out alike. Of a server that hangs one of them may know before the other, which goes on reading
/// what the first one's clients have changed elsewhere: that is not promised.
const FAULTS_SEEN_ALIKE: [Kind; 2] = [Kind::Kill, Kind::KillMagent];
const ALL_FAULTS: [Kind; 10] = [
    Kind::Kill,
    Kind::Kill,
    Kind::PowerLoss,
    Kind::Stop,
    Kind::Cut,
    Kind::Break,
    Kind::EndConnections,
    Kind::Slow { extra_us: 0 },
    Kind::KillMagent,
    Kind::StallMagent,
];

/// What came of a schedule.
pub struct Outcome {
    pub broken: Option<Broken>,
    pub hash: u64,
    pub events: u64,
    pub tail: Vec<String>,
    pub given_up: usize,
    pub slowest_us: Us,
}

/// One seed in so many has a magent with small limits: what takes many requests or bytes elsewhere happens there too. It shares
/// no factor with the number of classes.
const SMALL_LIMITS_ONE_IN: u64 = 5;

/// And in so many one that writes all commands and values anew.
const ANEW_ONE_IN: u64 = 7;

/// One seed in so many has magent's books checked at the end of every turn, the others one turn in so many. It shares no
/// factor with the number of classes.
const CHECKED_ALWAYS_ONE_IN: u64 = 11;
const CHECKED_ONE_IN: u64 = 37;

/// When a disk is full, at the earliest, and for how long.
const FULL_DISK_FROM_US: Us = 1_000_000;
const FULL_DISK_US: Us = 3_000_000;

/// What a seed's draws do not decide.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Magents hedge reads, and a single one keeps boards. Several always do.
    pub boards: bool,
    /// Magents give servers up early whose partners answer.
    pub adapts: bool,
    /// They write down what servers miss.
    pub journals: bool,
    /// Some clients speak the binary protocol.
    pub tongues: bool,
    /// The disks that they write it on are full for a while.
    pub full_disks: bool,
}

pub fn run(seed: u64, class: Class, options: Options, verbosity: Verbosity) -> Outcome {
    let mut random = Random::new(seed);
    let mut plan = Plan::new(class, matches!(seed % SMALL_LIMITS_ONE_IN, 0), &mut random);
    for settings in &mut plan.settings {
        settings.verbatim = !matches!(seed % ANEW_ONE_IN, 0);
        settings.board |= options.boards;
        settings.adaptive_timeout = options.adapts;
        if !options.boards {
            settings.hedge = Hedge::Never; // as it was when those seeds were found that are run without boards
        }
    }
    (plan.journals, plan.tongues) = (options.journals, options.tongues);
    let mut simulation = Simulation::new(plan, random, verbosity);
    if options.full_disks {
        let from = FULL_DISK_FROM_US + seed * 7919 % FULL_DISK_FROM_US * 8;
        let disks = &mut simulation.network.borrow_mut().disks;
        for disk in disks.iter_mut() {
            (disk.full, disk.is_contended) = (from..from + FULL_DISK_US, seed % 4 == 1);
        }
    }
    if seed % CHECKED_ALWAYS_ONE_IN != 0 {
        simulation.checked_one_in = CHECKED_ONE_IN;
    }
    let broken = simulation.course().err();
    if let Some(broken) = &broken {
        simulation.note(format_args!("BROKEN: {broken}"));
    }
    let network = simulation.network.borrow();
    Outcome {
        broken,
        hash: network.trace.hash(),
        events: simulation.events,
        tail: network.trace.tail().cloned().collect(),
        given_up: simulation.checker.given_up,
        slowest_us: simulation.slowest_us,
    }
}

impl Simulation {
    fn course(&mut self) -> Result<(), Broken> {
        self.checker.evicts = self.plan.class.loses_items();
        self.checker.refuses = self.plan.more.fills_up;
        self.checker.late_ms = if self.plan.class == Class::Chaos {
            LATE_MAX_MS
        } else {
            0
        };
        self.checker.watches = self.plan.class.is_shared();
        self.checker.seen_late_ms = if self.plan.class == Class::Duel {
            SEEN_LATE_MS
        } else {
            0
        };
        for server in 0..self.servers.len() {
            // The younger of two is taken to lack what the older has, for good if that cannot tell it.
            let oldest_ms = if self.plan.heals() { 1_000_000 } else { 0 };
            let age_ms = self.chance(|random| random.between(0, oldest_ms));
            self.start_server(server, age_ms);
        }
        for magent in 0..self.magents.len() {
            self.start_magent(magent);
        }
        self.note(format_args!("{}", self.plan.describe()));
        // The younger of two servers is taken to lack what the older has.
        self.heal(None)?;
        self.load()?;
        // What one side has written the clients of the other may not see yet: there nobody reads.
        let others_work = self.plan.class != Class::Parted;
        for client in (0..self.clients.len()).filter(|_| others_work) {
            self.with_client(client, |client, scene| {
                client.rests = false;
                client.wake(scene, 0);
            });
        }
        if self.plan.class == Class::Duel {
            self.lay_out_duel();
            self.with_duelists(|duelist, scene| duelist.begin(scene));
        }
        match self.plan.class {
            Class::Calm => self.live(2_000_000)?,
            Class::Chaos => self.chaos()?,
            Class::Keeping => self.keep()?,
            Class::Orders => self.obey()?,
            Class::Delayed => self.flush_later()?,
            Class::Parted => self.part()?,
            _ => self.one_at_a_time()?,
        }
        self.end()
    }

    /// The items that nobody touches.
    fn load(&mut self) -> Result<(), Broken> {
        let ballast: Vec<usize> = (0..self.plan.keys.len())
            .filter(|&key| self.plan.keys[key].ballast)
            .collect();
        for some in ballast.chunks(25) {
            for writer in 0..self.magents.len() {
                self.with_client(writer, |client, scene| {
                    let mut bytes = Vec::new();
                    for &key in some {
                        if scene.plan.keys[key].writer == writer {
                            client.write(scene, key, Verb::Set, &mut bytes);
                        }
                    }
                    client.send(scene, &bytes);
                });
            }
            self.wait_until_answered()?;
        }
        Ok(())
    }

    /// Until every client has what it waits for.
    pub fn wait_until_answered(&mut self) -> Result<(), Broken> {
        for client in 0..self.clients.len() {
            self.with_client(client, |client, scene| client.ask_version(scene));
        }
        let answered = |simulation: &mut Self| !simulation.clients.iter().any(|client| client.is_waiting());
        match self.wait_for(HEALING_MAX_US, 10_000, answered)? {
            true => Ok(()),
            false => Err("a client never got the reply that it waited for".to_owned()),
        }
    }

    /// Lets clients work, and servers forget where they do.
    pub fn live(&mut self, time: Us) -> Result<(), Broken> {
        let end = self.now() + time;
        while self.now() < end {
            let pause = self.chance(|random| random.between(20_000, 300_000));
            self.run_until((self.now() + pause).min(end))?;
            if self.plan.class == Class::Evicting {
                self.evict();
            }
            if self.plan.class == Class::Calm {
                self.settle(300);
            }
            self.change_moods();
        }
        Ok(())
    }

    /// Servers have no memory, or their crawlers no time, for a while; settings change.
    fn change_moods(&mut self) {
        let server = match self.plan.more.fills_up || self.plan.more.are_busy {
            true => self.chance(|random| random.below(self.servers.len() as u64) as usize),
            false => 0,
        };
        if self.plan.more.fills_up && self.chance(|random| random.one_in(2)) {
            self.set_full(server, self.full_until_us[server] != Us::MAX);
        }
        if self.plan.more.are_busy {
            let is_busy = self.chance(|random| random.one_in(3));
            self.servers[server].set_busy(is_busy);
        }
        if self.plan.more.has_names && self.magents[0].is_some() && self.listening[0] && !self.at_leisure {
            self.order_something();
        }
        if self.plan.more.reloads && self.magents[0].is_some() && self.chance(|random| random.one_in(8)) {
            self.write_configuration(0, false);
        }
    }

    fn set_full(&mut self, server: usize, is_full: bool) {
        self.note(format_args!("s{server} has no memory: {is_full}"));
        self.full_until_us[server] = if is_full { Us::MAX } else { self.now() };
        self.servers[server].set_full(is_full);
    }

    /// Nothing is wrong with servers that are there.
    fn end_moods(&mut self) {
        for server in 0..self.servers.len() {
            if self.full_until_us[server] == Us::MAX {
                self.set_full(server, false);
            }
            if self.plan.more.are_busy {
                self.servers[server].set_busy(false);
            }
        }
    }

    fn evict(&mut self) {
        let (servers, keys) = (self.servers.len() as u64, self.plan.keys.len() as u64);
        let (server, key) = self.chance(|random| (random.below(servers) as usize, random.below(keys) as usize));
        if let Some(memcached) = &mut self.servers[server].memcached {
            memcached.evict(self.plan.keys[key].name.as_bytes());
            let name = &self.plan.keys[key].name;
            self.note(format_args!("s{server} evicts {name}"));
        }
    }

    /// What went unanswered more than so long ago has had its effect or never will.
    pub fn settle(&mut self, age_ms: u64) {
        let now_ms = self.now_ms();
        self.checker.now_ms = now_ms;
        let before_us = now_ms.saturating_sub(age_ms) * 1000;
        for client in 0..self.clients.len() {
            self.with_client(client, |client, scene| client.settle(scene, before_us));
        }
        for key in 0..self.plan.keys.len() {
            self.checker.settle(key, now_ms.saturating_sub(age_ms));
        }
    }

    fn one_at_a_time(&mut self) -> Result<(), Broken> {
        for _ in 0..self.plan.faults {
            let pause = self.chance(|random| random.between(50_000, 800_000));
            self.live(pause)?;
            let kinds: &[Kind] = match self.plan.more.kinds {
                Some(kinds) => kinds,
                None if self.plan.class == Class::Duel => &FAULTS_SEEN_BY_ONE,
                None if self.plan.class.is_shared() => &FAULTS_SEEN_ALIKE,
                None => &ALL_FAULTS,
            };
            let fault = self.think_of_fault(kinds);
            // What a server cannot tell is not brought over, and may count as not there.
            self.checker.evicts |= !self.plan.heals();
            self.begin_fault(&fault);
            // By then everybody knows of it, and it goes on as it is.
            let known_us = (self.plan.settings[0].timeout_ms + 500) * 1000;
            self.live(fault.duration.min(known_us))?;
            self.at_leisure = true;
            self.live(fault.duration.saturating_sub(known_us))?;
            self.at_leisure = false;
            self.end_fault(&fault);
            if !self.heal(fault.server())? {
                break; // some server cannot be filled, and one fault at a time is all that is promised
            }
        }
        let pause = self.chance(|random| random.between(50_000, 500_000));
        self.live(pause)
    }

    /// Waits until every magent says that every server is up and whole. False where that cannot be.
    pub fn heal(&mut self, server: Option<usize>) -> Result<bool, Broken> {
        // A connection that broke is only found out by using it, so some time must pass.
        let settling_us = (self.plan.settings[0].timeout_ms + 100) * 1000;
        self.live(settling_us + self.resent_us.saturating_sub(self.now()))?;
        // Whatever nobody used meanwhile. What was lacking is copied now, nearly always, and then servers are given seconds
        // to settle: a load that costs less there pays for more seeds.
        self.at_leisure = true;
        self.with_pollers(|poller, scene| poller.ask(scene, Question::Version));
        self.live(settling_us)?;
        self.end_moods();
        if self.plan.more.turns_away {
            self.let_all_leave();
        }
        let since = self.now();
        let interval_us = 40_000;
        self.with_pollers(|poller, scene| poller.begin(scene, interval_us));
        let healed = self.wait_for(HEALING_MAX_US, interval_us, |simulation| simulation.all_up(since))?;
        self.at_leisure = false;
        for poller in &mut self.pollers {
            poller.end();
        }
        if !healed && self.plan.heals() && self.plan.class != Class::Alone {
            let states: Vec<_> = self.pollers.iter().filter_map(|poller| poller.told.as_ref()).collect();
            return Err(format!(
                "redundancy was not restored within {} s: {states:?}",
                HEALING_MAX_US / 1_000_000
            ));
        }
        let now_ms = self.now_ms();
        match server {
            Some(server) => self.impaired_ms[server] = now_ms,
            None => self.impaired_ms.fill(now_ms),
        }
        // What was asked from here on cannot be disturbed any more.
        if self.checker.disturbed_ms != 0 {
            self.checker.disturbed_ms = self.now_ms();
        }
        self.settle(settling_us / 1000);
        Ok(healed)
    }

    /// A server ends and keeps its items. It returns to the magent that was there, or to another one that was started
    /// before it, or after. It is always the same server: of two that both took items back once nobody can tell which has
    /// missed something since.
    fn keep(&mut self) -> Result<(), Broken> {
        let servers = self.servers.len() as u64;
        let victim = self.chance(|random| random.below(servers) as usize);
        for _ in 0..self.plan.faults {
            let pause = self.chance(|random| random.between(50_000, 800_000));
            self.live(pause)?;
            let course = self.chance(|random| random.below(3));
            self.note(format_args!(
                "FAULT s{victim} ends and keeps its items, course {course}"
            ));
            self.impaired_ms[victim] = u64::MAX;
            self.struck_ms[victim] = self.now_ms();
            self.checker.disturbed_ms = u64::MAX;
            self.servers[victim].end_and_keep(&mut self.network.borrow_mut());
            let away_us = self.chance(|random| random.between(10_000, 1_500_000));
            self.live(away_us)?;
            let magent = Fault {
                kind: Kind::KillMagent,
                victim: 0,
                duration: self.chance(|random| random.between(60_000, 600_000)),
            };
            match course {
                0 => self.start_server(victim, 0),
                1 => {
                    self.begin_fault(&magent);
                    self.live(magent.duration)?;
                    self.end_fault(&magent);
                    // By then it has found that the server is not there.
                    let start_us = self.chance(|random| random.between(100_000, 1_000_000));
                    self.live(start_us)?;
                    self.start_server(victim, 0);
                }
                _ => {
                    self.begin_fault(&magent);
                    self.start_server(victim, 0);
                    self.live(magent.duration)?;
                    self.end_fault(&magent);
                }
            }
            self.heal(None)?;
        }
        let pause = self.chance(|random| random.between(50_000, 500_000));
        self.live(pause)
    }

    fn chaos(&mut self) -> Result<(), Broken> {
        self.with_pollers(|poller, scene| poller.begin(scene, 100_000));
        self.checker.evicts |= !self.plan.heals();
        let mut active: Vec<(Us, Fault)> = Vec::new();
        for _ in 0..2 * self.plan.faults {
            let fault = self.think_of_fault(&ALL_FAULTS);
            let busy = |other: &&(Us, Fault)| {
                other.1.victim == fault.victim && other.1.server().is_some() == fault.server().is_some()
            };
            if !active.iter().any(|other| busy(&other)) {
                self.begin_fault(&fault);
                active.push((self.now() + fault.duration, fault));
            }
            let pause = self.chance(|random| match random.one_in(2) {
                true => random.between(0, 50_000),
                false => random.between(0, 3_000_000),
            });
            self.let_end(&mut active, pause)?;
        }
        self.let_end(&mut active, Us::MAX)?;
        for poller in &mut self.pollers {
            poller.end();
        }
        self.run_for(200_000)?;
        self.heal(None)?;
        self.live(300_000)
    }

    /// Lets faults end in their time, for so long; `Us::MAX` for all of them.
    fn let_end(&mut self, active: &mut Vec<(Us, Fault)>, time: Us) -> Result<(), Broken> {
        let end = self.now().saturating_add(time);
        loop {
            let due = active.iter().map(|&(due, _)| due).min().filter(|&due| due <= end);
            let until = match (due, time) {
                (Some(due), _) => due,
                (None, Us::MAX) => return Ok(()),
                (None, _) => end,
            };
            while self.now() < until {
                self.run_until((self.now() + 100_000).min(until))?;
                self.take_note_of_health(active);
            }
            if due.is_none() {
                return Ok(());
            }
            let over: Vec<Fault> = active
                .iter()
                .filter(|&&(due, _)| due <= until)
                .map(|&(_, fault)| fault)
                .collect();
            active.retain(|&(due, _)| due > until);
            for fault in over {
                self.end_fault(&fault);
                let now = self.now();
                match fault.server() {
                    Some(server) => self.returned_us[server] = now,
                    None => self.returned_us.fill(now),
                }
            }
        }
    }

    /// Servers that nothing is wrong with, and that every magent says are whole, are.
    fn take_note_of_health(&mut self, active: &[(Us, Fault)]) {
        for server in 0..self.servers.len() {
            let faulty = active.iter().any(|(_, fault)| fault.server() == Some(server));
            let settled_us = self.returned_us[server].max(self.resent_us)
                + (self.plan.settings[0].timeout_ms + 100) * 1000
                + KEEPALIVE_US;
            if faulty || self.impaired_ms[server] != u64::MAX || self.now() < settled_us {
                continue;
            }
            if self.is_up(server, settled_us) {
                self.impaired_ms[server] = self.now_ms();
            }
        }
        if active.is_empty() && self.impaired_ms.iter().all(|&until| until < u64::MAX) {
            self.settle(self.plan.settings[0].timeout_ms + 2000);
        }
    }
}
