//! The whole of it: servers, magents and clients on one network, one event at a time.

use super::checker::Checker;
use super::client::{Client, Owed, Scene};
use super::duel::{Duel, Duelist};
use super::faults::Faulty;
use super::net::{Event, Hosts, Name, Network, Peer, SimulatedNet};
use super::pipe::Us;
use super::plan::{Class, Farms, Plan};
use super::poller::Poller;
use super::random::Random;
use super::server::Server;
use super::trace::{Trace, Verbosity};
use magent::proxy::Proxy;
use magent::proxy::control::Remembered;
use magent::proxy::service::Service;
use magent::proxy::settings::{Hedge, Settings};
use std::cell::RefCell;
use std::rc::Rc;

const SCRATCH_BYTES: usize = 64 << 10;

pub struct Simulation {
    pub network: Rc<RefCell<Network>>,
    pub plan: Plan,
    pub servers: Vec<Server>,
    pub magents: Vec<Option<Service<SimulatedNet>>>,
    pub listening: Vec<bool>,
    pub clients: Vec<Client>,
    pub pollers: Vec<Poller>,
    /// Those who change the same keys through all magents, and what they were told.
    pub duelists: Vec<Duelist>,
    pub duel: Duel,
    pub checker: Checker,
    pub impaired_ms: Vec<u64>,
    /// By server: when last something went wrong with it.
    pub struck_ms: Vec<u64>,
    /// By server: until when answers of its may come too late to be heard.
    pub muffled_until_us: Vec<Us>,
    /// By server: what is wrong with it.
    pub faulty: Vec<Option<Faulty>>,
    /// By server: a magent was started while something was wrong with it, and may not know yet what it has.
    pub is_unknown: Vec<bool>,
    /// By server: when last it came back.
    pub returned_us: Vec<Us>,
    /// By when all that was held up by cuts is under way again.
    pub resent_us: Us,
    pub excused_until_us: Us,
    pub at_leisure: bool,
    /// By magent: when last it was told to end.
    pub told_to_end_us: Vec<Us>,
    /// By client: what it may have in a magent's memory.
    pub owed: Owed,
    /// By server: until when it had no memory, `Us::MAX` while it has none.
    pub full_until_us: Vec<Us>,
    /// By server: until when it talked nonsense, `Us::MAX` while it does.
    pub babbled_until_us: Vec<Us>,
    /// The magent that was told to end was told so twice.
    pub told_twice: bool,
    /// A server's name leads to where another one is.
    pub is_astray: bool,
    /// When a magent was last told to read its configuration again.
    pub ordered_us: Us,
    /// What a magent's configuration says now.
    pub written: Option<(Settings, Farms)>,
    pub slowest_us: Us,
    pub events: u64,
    turns: u64,
    /// So often magent's books are checked at the end of a turn: that costs ten times what the turn does.
    pub checked_one_in: u64,
    scratch: Vec<u8>,
}

/// At the end of so many turns at which its books are checked magent's page and journal are looked at once.
const LOOKED_ONE_IN: u64 = 4;

/// Which start of their machines it is.
pub const BOOT: &str = "1";

/// A promise that was broken, in a sentence.
pub type Broken = String;

/// The scene for a client or poller, borrowed from the parts that they may touch.
macro_rules! scene {
    ($simulation:ident, $network:ident) => {
        Scene {
            network: $network,
            checker: &mut $simulation.checker,
            plan: &$simulation.plan,
            impaired_ms: &$simulation.impaired_ms,
            listening: &$simulation.listening,
            excused_until_us: $simulation.excused_until_us,
            at_leisure: $simulation.at_leisure,
            told_to_end_us: &$simulation.told_to_end_us,
            owed: &mut $simulation.owed,
            full_until_us: &$simulation.full_until_us,
            babbled_until_us: &$simulation.babbled_until_us,
            slowest_us: &mut $simulation.slowest_us,
        }
    };
}

impl Simulation {
    pub fn new(plan: Plan, random: Random, verbosity: Verbosity) -> Self {
        let magents = plan.settings.len();
        let mut network = Network::new(random, Trace::new(verbosity), plan.weather, plan.capacity, magents);
        network.add_servers(plan.servers.iter().map(|server| server.address.clone()).collect());
        network.shows_peers = plan.more.odd_one_in > 0;
        for port in &mut network.ports {
            port.process.is_odd = plan.more.has_names;
        }
        if plan.more.has_names {
            network.hosts = Hosts::of(&plan.servers);
        }
        let servers = plan.servers.iter().enumerate();
        let servers = servers
            .map(|(index, name)| {
                let mut server = Server::new(index, name.to_string(), plan.has_meta[index], plan.can_list[index]);
                (server.ahead_s, server.item_max) = (plan.clocks_ahead_s[index], plan.item_max);
                server.version = plan.more.versions.get(index).copied().or(server.version);
                server.lists = plan.more.lists;
                server.does_a_part = plan.more.do_a_part;
                server
            })
            .collect();
        let names: Vec<String> = plan.keys.iter().map(|key| key.name.clone()).collect();
        let count = plan.clients.max(magents);
        let clients = (0..count).map(|index| Client::new(index, index % magents, names.len()));
        network.eyes_from = count;
        for (meter, settings) in network.meters.iter_mut().zip(&plan.settings) {
            meter.hedges = settings.hedge != Hedge::Never;
        }
        let pollers = (0..magents).map(|magent| Poller::new(count + magent, magent));
        let first = count + magents;
        let duelists = (0..plan.more.duelists).map(|number| Duelist::new(first + number, number, number % magents));
        Self {
            network: Rc::new(RefCell::new(network)),
            servers,
            magents: (0..magents).map(|_| None).collect(),
            listening: vec![false; magents],
            clients: clients.collect(),
            pollers: pollers.collect(),
            duelists: duelists.collect(),
            duel: Duel::default(),
            checker: Checker::new(&names),
            impaired_ms: vec![0; plan.servers.len()],
            struck_ms: vec![0; plan.servers.len()],
            muffled_until_us: vec![0; plan.servers.len()],
            faulty: vec![None; plan.servers.len()],
            is_unknown: vec![false; plan.servers.len()],
            returned_us: vec![0; plan.servers.len()],
            resent_us: 0,
            excused_until_us: 0,
            at_leisure: false,
            told_to_end_us: vec![0; magents],
            owed: Owed::new(count),
            full_until_us: vec![0; plan.servers.len()],
            babbled_until_us: vec![0; plan.servers.len()],
            told_twice: false,
            is_astray: false,
            ordered_us: 0,
            written: None,
            slowest_us: 0,
            events: 0,
            turns: 0,
            checked_one_in: 1,
            scratch: vec![0; SCRATCH_BYTES],
            plan,
        }
    }

    pub fn now(&self) -> Us {
        self.network.borrow().now
    }

    pub fn now_ms(&self) -> u64 {
        self.network.borrow().now_ms()
    }

    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.network.borrow_mut().note(format_args!("* "), what);
    }

    pub fn chance<T>(&self, choose: impl FnOnce(&mut Random) -> T) -> T {
        choose(&mut self.network.borrow_mut().random)
    }

    pub fn start_server(&mut self, server: usize, age_ms: u64) {
        self.servers[server].start(&mut self.network.borrow_mut(), age_ms);
    }

    pub fn start_magent(&mut self, magent: usize) {
        let net = SimulatedNet {
            network: Rc::clone(&self.network),
            magent,
        };
        let settings = self.settings_at_start(magent);
        let mut proxy = Proxy::new(net, settings);
        if self.plan.journals {
            let (remembered, is_damaged) = Remembered::read(&self.network.borrow().disks[magent].text, BOOT);
            assert!(!is_damaged);
            proxy.keep_journal(&remembered, BOOT.to_owned());
        }
        let mut service = Service::new(proxy);
        service.start(&mut self.scratch);
        self.magents[magent] = Some(service);
        self.listening[magent] = true;
        self.next_turn(magent);
    }

    /// kill -9.
    pub fn kill_magent(&mut self, magent: usize) {
        self.magents[magent] = None;
        self.listening[magent] = false;
        self.network_of_dead(magent);
        let remembers = self.remembers(magent);
        let network = &mut *self.network.borrow_mut();
        network.disks[magent].forget();
        let mut scene = scene!(self, network);
        let mut touched = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.magent == magent) {
            client.cut_off(&mut scene, &mut touched);
        }
        for poller in self.pollers.iter_mut().filter(|poller| poller.magent == magent) {
            poller.forget();
        }
        for duelist in self.duelists.iter_mut().filter(|duelist| duelist.magent == magent) {
            duelist.lose(&mut scene, &mut self.duel);
        }
        for key in 0..self.plan.keys.len() {
            // It alone knew what a server that is away has missed.
            let mut servers = self.plan.keys[key].servers.iter();
            let forgotten = servers.any(|&server| self.impaired_ms[server] == u64::MAX);
            // A server that keeps its items is suspect to the next magent: that need not know.
            let forgotten = forgotten && self.plan.class != Class::Keeping && !remembers;
            if forgotten || touched.contains(&key) || self.checker.lost(key) > 0 {
                self.checker.taint(key);
            }
        }
    }

    /// Whether a magent that is started now knows what the one before it knew.
    pub fn remembers(&self, magent: usize) -> bool {
        self.plan.journals && !self.network.borrow().disks[magent].text.is_empty()
    }

    /// A magent's kernel ends its connections.
    pub fn network_of_dead(&mut self, magent: usize) {
        let silent: Vec<bool> = self.impaired_ms.iter().map(|&until_ms| until_ms == u64::MAX).collect();
        self.network.borrow_mut().magent_died(magent, &silent);
    }

    /// As the reactor does it: events, orders, and what follows from them.
    fn turn(&mut self, magent: usize) -> Result<(), Broken> {
        if !self.network.borrow_mut().take_turn(magent) {
            return Ok(());
        }
        let Some(service) = &mut self.magents[magent] else {
            return Ok(());
        };
        service.begin_turn();
        let events = self.network.borrow_mut().take_events(magent);
        for (token, readiness) in events {
            service.ready(token, readiness, &mut self.scratch);
        }
        let orders = std::mem::take(&mut self.network.borrow_mut().ports[magent].process.orders);
        for order in orders {
            service.order(order, &mut self.scratch);
        }
        let has_ended = service.end_turn(&mut self.scratch);
        self.turns += 1;
        if self.turns % self.checked_one_in == 0 {
            let checked = service.proxy().check();
            checked.map_err(|wrong| format!("at the end of a turn of magent {magent}: {wrong}"))?;
        }
        if self.turns % (LOOKED_ONE_IN * self.checked_one_in) == 0 {
            self.look_at(magent)?;
        }
        let mut network = self.network.borrow_mut();
        let now = network.now;
        if !network.meters[magent].worked {
            network.note(format_args!("magent {magent}"), format_args!("woke up for nothing"));
        }
        network.meters[magent].turned(now);
        if let Some(excess) = network.meters[magent].excess.take() {
            return Err(format!("magent {magent}: {excess}"));
        }
        let has_changed = std::mem::take(&mut network.ports[magent].process.has_changed);
        drop(network);
        if has_changed {
            self.has_reloaded(magent)?;
        }
        match has_ended {
            true => self.has_ended(magent),
            false => self.next_turn(magent),
        }
        Ok(())
    }

    fn next_turn(&mut self, magent: usize) {
        if let Some(deadline_ms) = self.magents[magent].as_mut().and_then(Service::deadline_ms) {
            let network = &mut *self.network.borrow_mut();
            let time = (deadline_ms * 1000).max(network.now + 5);
            network.turn_by(magent, time);
        }
        let network = &mut *self.network.borrow_mut();
        let waits_for = [network.ports[magent].process.read_us(), network.hosts.next_us(magent)];
        if let Some(time) = waits_for.into_iter().flatten().min() {
            network.turn_by(magent, time.max(network.now + 5));
        }
    }

    /// Lets happen what happens up to a time.
    pub fn run_until(&mut self, until: Us) -> Result<(), Broken> {
        while self.step(until)? {}
        Ok(())
    }

    pub fn run_for(&mut self, time: Us) -> Result<(), Broken> {
        self.run_until(self.now() + time)
    }

    /// Goes on until something is the case, looked at every so often; false if it is not by then.
    pub fn wait_for(&mut self, limit: Us, every: Us, mut holds: impl FnMut(&mut Self) -> bool) -> Result<bool, Broken> {
        let end = self.now() + limit;
        loop {
            if holds(self) {
                return Ok(true);
            }
            if self.now() >= end {
                return Ok(false);
            }
            self.run_for(every)?;
        }
    }

    fn step(&mut self, until: Us) -> Result<bool, Broken> {
        let event = self.network.borrow_mut().next(until);
        let Some(event) = event else {
            return Ok(false);
        };
        self.events += 1;
        self.checker.now_ms = self.now_ms();
        match event {
            Event::Arrive { name, inward } => {
                let any = self.network.borrow_mut().arrive(name, inward);
                if any && !inward {
                    self.peer_ready(name)?;
                }
            }
            Event::Knock(name) => {
                let network = &mut *self.network.borrow_mut();
                let peer = network.connection(name).map(|connection| connection.peer);
                if let Some(Peer::Server(server)) = peer {
                    self.servers[server].knock(network, name);
                }
            }
            Event::Knocked { name, accepted } => self.network.borrow_mut().knocked(name, accepted),
            Event::Resume(name) => {
                self.network.borrow_mut().push_backlog(name);
                self.peer_ready(name)?;
            }
            Event::KeepAlive(name) => self.network.borrow_mut().keep_alive(name),
            Event::Turn(magent) => self.turn(magent)?,
            Event::Client(index) => {
                let network = &mut *self.network.borrow_mut();
                let mut scene = scene!(self, network);
                match self.clients.get_mut(index) {
                    Some(client) => client.act(&mut scene),
                    None => match self.pollers.get_mut(index - self.clients.len()) {
                        Some(poller) => poller.act(&mut scene),
                        None => {
                            let duelist = index - self.clients.len() - self.pollers.len();
                            self.duelists[duelist].act(&mut scene, &mut self.duel);
                        }
                    },
                }
            }
        }
        Ok(true)
    }

    fn peer_ready(&mut self, name: Name) -> Result<(), Broken> {
        let network = &mut *self.network.borrow_mut();
        let Some(connection) = network.connection(name) else {
            return Ok(());
        };
        match connection.peer {
            Peer::Server(server) => {
                self.servers[server].serve(network, name);
                for (magent, key) in std::mem::take(&mut self.servers[server].copied) {
                    let known = self.plan.keys.iter().position(|known| known.name == key);
                    if let Some(key) = known.filter(|&key| self.plan.keys[key].writer != magent) {
                        self.checker.copying(key);
                    }
                }
            }
            Peer::Client(index) => {
                let mut scene = scene!(self, network);
                match self.clients.get_mut(index) {
                    Some(client) => client.hear(&mut scene, name)?,
                    None => match self.pollers.get_mut(index - self.clients.len()) {
                        Some(poller) => poller.hear(&mut scene, name),
                        None => {
                            let duelist = index - self.clients.len() - self.pollers.len();
                            self.duelists[duelist].hear(&mut scene, name, &mut self.duel);
                            self.duel.verdict()?;
                        }
                    },
                }
            }
        }
        Ok(())
    }

    /// Does something with a client and the scene around it.
    pub fn with_client<T>(&mut self, index: usize, act: impl FnOnce(&mut Client, &mut Scene<'_>) -> T) -> T {
        let network = &mut *self.network.borrow_mut();
        let mut scene = scene!(self, network);
        act(&mut self.clients[index], &mut scene)
    }

    pub fn with_duelists(&mut self, mut act: impl FnMut(&mut Duelist, &mut Scene<'_>)) {
        let network = &mut *self.network.borrow_mut();
        let mut scene = scene!(self, network);
        for duelist in &mut self.duelists {
            act(duelist, &mut scene);
        }
    }

    pub fn with_pollers(&mut self, mut act: impl FnMut(&mut Poller, &mut Scene<'_>)) {
        let network = &mut *self.network.borrow_mut();
        let mut scene = scene!(self, network);
        for poller in &mut self.pollers {
            act(poller, &mut scene);
        }
    }

    /// Whether every magent says, in answer to a question asked after `since`, that this server is up and whole.
    pub fn is_up(&self, server: usize, since: Us) -> bool {
        let name = &self.servers[server].name;
        self.pollers.iter().all(|poller| poller.says_up(name, since))
    }

    pub fn all_up(&self, since: Us) -> bool {
        let mut serving = (0..self.servers.len()).filter(|&server| self.plan.more.serves(server));
        serving.all(|server| self.is_up(server, since))
    }
}
