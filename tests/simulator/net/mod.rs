//! The network: connections between clients, magents and servers, the clock, and the queue of what happens next.
//!
//! [`SimulatedNet`], in `window`, is the proxy's window on it: edge-triggered like mio over epoll. An event tells the state of a socket
//! when the batch begins, it comes when bytes arrive or room appears, and not once more for what was not read.

mod window;

pub use window::SimulatedNet;

use super::pipe::{End, Pipe, Us, Weather};
use super::random::Random;
use super::trace::Trace;
use magent::proxy::control::Order;
use magent::proxy::net::{Address, Readiness, Token};
use magent::proxy::settings::Settings;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;

/// The virtual clock starts at this unix time.
pub const EPOCH_S: u64 = 1_700_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Bytes, or the end, arrive at the magent (`inward`) or at its peer.
    Arrive { name: Name, inward: bool },
    /// A request to connect reaches a server.
    Knock(Name),
    /// The answer to it reaches the magent: accepted or refused.
    Knocked { name: Name, accepted: bool },
    /// A peer may go on: there is room again for what it has to say.
    Resume(Name),
    /// A magent's kernel asks whether the other end of a link is still there.
    KeepAlive(Name),
    /// A magent's event loop turns.
    Turn(usize),
    /// A client's next thought.
    Client(usize),
}

/// A connection: its place in the table, and which of those that had the place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub index: usize,
    generation: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Server(usize),
    Client(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    Refused,
    /// The magent has closed its end.
    Left,
}

pub struct Connection {
    name: Name,
    pub magent: usize,
    pub peer: Peer,
    token: Option<Token>,
    state: State,
    pub inward: Pipe,
    pub outward: Pipe,
    /// What the peer has to say and found no room for.
    backlog: Vec<u8>,
    /// The memcached's number for it, once it has accepted.
    pub accepted: Option<usize>,
    /// The peer's machine has forgotten it: what arrives there is answered by a reset.
    pub forgotten: bool,
    peer_left: bool,
    /// On the magent's list of events.
    queued: bool,
}

/// What a magent's event loop waits for.
#[derive(Default)]
pub struct Port {
    events: Vec<Name>,
    pub accepts: VecDeque<Name>,
    /// What an administrator wants of the process.
    pub orders: VecDeque<Order>,
    /// What its configuration says now, and whether it is to be read.
    pub configuration: Option<Settings>,
    pub is_read: bool,
    /// It listens no more.
    pub closed: bool,
    turn_at: Option<Us>,
    /// The process does not run before this.
    pub stalled_until: Us,
}

pub struct Network {
    pub now: Us,
    pub random: Random,
    pub trace: Trace,
    pub weather: Weather,
    pub capacity: usize,
    queue: BinaryHeap<Reverse<(Us, u64, Event)>>,
    sequence: u64,
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    generation: u32,
    pub ports: Vec<Port>,
    /// By magent, then server: whether packets between the two stay away.
    cut: Vec<Vec<bool>>,
    /// By server: what its answers take longer.
    pub slowness: Vec<(Us, Us)>,
    addresses: Vec<Address>,
    /// By server: a process listens.
    pub listening: Vec<bool>,
}

impl Network {
    pub fn new(random: Random, trace: Trace, weather: Weather, capacity: usize, magents: usize) -> Self {
        Self {
            now: 0,
            random,
            trace,
            weather,
            capacity,
            queue: BinaryHeap::new(),
            sequence: 0,
            connections: Vec::new(),
            vacant: Vec::new(),
            generation: 0,
            ports: (0..magents).map(|_| Port::default()).collect(),
            cut: Vec::new(),
            slowness: Vec::new(),
            addresses: Vec::new(),
            listening: Vec::new(),
        }
    }

    pub fn add_servers(&mut self, addresses: Vec<Address>) {
        self.cut = vec![vec![false; addresses.len()]; self.ports.len()];
        self.slowness = vec![(0, 0); addresses.len()];
        self.listening = vec![true; addresses.len()];
        self.addresses = addresses;
    }

    pub fn now_ms(&self) -> u64 {
        self.now / 1000
    }

    pub fn unix_ms(&self) -> u64 {
        EPOCH_S * 1000 + self.now / 1000
    }

    pub fn at(&mut self, time: Us, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((time.max(self.now), self.sequence, event)));
    }

    /// Moves the clock to the next event, or to `until` if there is none before.
    pub fn next(&mut self, until: Us) -> Option<Event> {
        match self.queue.peek() {
            Some(&Reverse((time, _, event))) if time <= until => {
                self.queue.pop();
                self.now = time;
                Some(event)
            }
            _ => {
                self.now = self.now.max(until);
                None
            }
        }
    }

    pub fn note(&mut self, who: fmt::Arguments<'_>, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, who, what);
    }

    pub fn connection(&mut self, name: Name) -> Option<&mut Connection> {
        let connection = self.connections[name.index].as_mut();
        connection.filter(|connection| connection.name == name)
    }

    /// All open connections, in the order of the table.
    pub fn names(&self, mut wanted: impl FnMut(&Connection) -> bool) -> Vec<Name> {
        let connections = self.connections.iter().flatten();
        connections
            .filter(|connection| wanted(connection))
            .map(|connection| connection.name)
            .collect()
    }

    fn open(&mut self, magent: usize, peer: Peer, token: Option<Token>, state: State) -> Name {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.generation += 1;
        let name = Name {
            index,
            generation: self.generation,
        };
        self.connections[index] = Some(Connection {
            name,
            magent,
            peer,
            token,
            state,
            inward: Pipe::new(self.capacity),
            outward: Pipe::new(self.capacity),
            backlog: Vec::new(),
            accepted: None,
            forgotten: false,
            peer_left: false,
            queued: false,
        });
        name
    }

    fn remove_if_over(&mut self, name: Name) {
        if let Some(connection) = self.connection(name) {
            if connection.peer_left && connection.state == State::Left {
                self.connections[name.index] = None;
                self.vacant.push(name.index);
            }
        }
    }

    /// A client connects to a magent that listens.
    pub fn open_client(&mut self, magent: usize, client: usize) -> Name {
        let name = self.open(magent, Peer::Client(client), None, State::Open);
        self.ports[magent].accepts.push_back(name);
        self.wake(magent);
        name
    }

    fn weather_of(&self, magent_to_peer: bool, peer: Peer) -> Weather {
        let mut weather = self.weather;
        if let (Peer::Server(server), false) = (peer, magent_to_peer) {
            weather.latency_min_us += self.slowness[server].0;
            weather.latency_max_us += self.slowness[server].1;
        }
        weather
    }

    pub fn is_cut(&self, magent: usize, peer: Peer) -> bool {
        match peer {
            Peer::Server(server) => self.cut[magent][server],
            Peer::Client(_) => false,
        }
    }

    pub fn cut(&mut self, magent: usize, server: usize) {
        self.cut[magent][server] = true;
    }

    /// Packets between the two go through again. What was under way meanwhile is sent again, each connection in its own
    /// time, `patience_us` at the latest.
    pub fn heal(&mut self, magent: usize, server: usize, patience_us: Us) {
        if !std::mem::take(&mut self.cut[magent][server]) {
            return;
        }
        for name in self.names(|connection| connection.magent == magent && connection.peer == Peer::Server(server)) {
            let time = self.now + self.random.between(0, patience_us);
            let Some(connection) = self.connections[name.index].as_mut() else {
                continue;
            };
            connection.inward.delay_until(time);
            connection.outward.delay_until(time);
            let (inward, outward) = (connection.inward.in_flight(), connection.outward.in_flight());
            let knocks = connection.state == State::Connecting && connection.accepted.is_none();
            for (wanted, event) in [
                (inward, Event::Arrive { name, inward: true }),
                (outward, Event::Arrive { name, inward: false }),
                (knocks, Event::Knock(name)),
            ] {
                if wanted {
                    self.at(time, event);
                }
            }
        }
    }

    /// What is due on a connection arrives. True if there is something new; a magent is told by its events.
    pub fn arrive(&mut self, name: Name, inward: bool) -> bool {
        let now = self.now;
        let Some(connection) = self.connection(name) else {
            return false;
        };
        let (magent, peer) = (connection.magent, connection.peer);
        if self.is_cut(magent, peer) {
            return false;
        }
        let Some(connection) = self.connection(name) else {
            return false;
        };
        let pipe = match inward {
            true => &mut connection.inward,
            false => &mut connection.outward,
        };
        let any = pipe.arrive(now);
        let for_nobody = any && !inward && connection.peer_left && matches!(peer, Peer::Client(_));
        if for_nobody {
            connection.outward.lose_all();
            connection.inward.reset();
        }
        if for_nobody || any && inward {
            self.raise(name);
        }
        any
    }

    // The magent's side.

    /// Something happened to a magent's socket: an event, unless one is waiting already.
    fn raise(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        if connection.token.is_none() || connection.queued || connection.state == State::Left {
            return;
        }
        connection.queued = true;
        let magent = connection.magent;
        self.ports[magent].events.push(name);
        self.wake(magent);
    }

    /// Gives a magent an order.
    pub fn order(&mut self, magent: usize, order: Order) {
        self.ports[magent].orders.push_back(order);
        self.wake(magent);
    }

    fn wake(&mut self, magent: usize) {
        let delay = self.random.skewed(1, 60);
        self.turn_by(magent, self.now + delay);
    }

    /// A magent's loop turns at `time` at the latest.
    pub fn turn_by(&mut self, magent: usize, time: Us) {
        let port = &mut self.ports[magent];
        let time = time.max(port.stalled_until);
        if port.turn_at.is_none_or(|turn_at| time < turn_at) {
            port.turn_at = Some(time);
            self.at(time, Event::Turn(magent));
        }
    }

    /// Whether a turn that comes up now is the one that counts.
    pub fn take_turn(&mut self, magent: usize) -> bool {
        let now = self.now;
        let port = &mut self.ports[magent];
        if port.turn_at != Some(now) {
            return false;
        }
        port.turn_at = None;
        if port.stalled_until > now {
            let until = port.stalled_until;
            self.turn_by(magent, until);
            return false;
        }
        true
    }

    /// The events of a batch, each with the state of its socket now.
    pub fn take_events(&mut self, magent: usize) -> Vec<(Token, Readiness)> {
        let mut names = std::mem::take(&mut self.ports[magent].events);
        if self.random.one_in(16) && names.len() > 1 {
            let (a, b) = (
                self.random.below(names.len() as u64),
                self.random.below(names.len() as u64),
            );
            names.swap(a as usize, b as usize);
        }
        if self.random.one_in(128) {
            let all = self.names(|connection| connection.magent == magent && connection.token.is_some());
            if !all.is_empty() {
                names.push(*self.random.pick(&all)); // a spurious one
            }
        }
        let mut events = Vec::with_capacity(names.len());
        for name in names {
            if let Some(connection) = self.connection(name) {
                if let Some(token) = connection.token {
                    connection.queued = false;
                    let readiness = connection.readiness();
                    if readiness != Readiness::default() {
                        events.push((token, readiness));
                    }
                }
            }
        }
        events
    }

    /// The magent's process has died: its kernel ends its connections. What servers that do not read have of it is lost:
    /// no other magent could know of it.
    pub fn magent_died(&mut self, magent: usize, silent: &[bool]) {
        self.ports[magent] = Port::default();
        for name in self.names(|connection| connection.magent == magent) {
            if let Some(connection) = self.connection(name) {
                if let Peer::Server(server) = connection.peer {
                    if silent[server] {
                        connection.outward.lose_all();
                    }
                }
            }
        }
        for name in self.names(|connection| connection.magent == magent && connection.state != State::Left) {
            self.close_socket(name);
        }
    }

    fn close_socket(&mut self, name: Name) {
        let now = self.now;
        let Some(connection) = self.connection(name) else {
            return;
        };
        let was = std::mem::replace(&mut connection.state, State::Left);
        let unread = connection.inward.arrived() > 0;
        let held_up = connection.outward.is_held_up(now);
        connection.inward.lose_flights();
        connection.backlog.clear();
        let (magent, peer) = (connection.magent, connection.peer);
        if was == State::Refused || (was == State::Connecting && connection.accepted.is_none()) {
            connection.peer_left = true;
        } else if !connection.peer_left {
            // A kernel that throws away unread bytes says so with a reset, which may overtake what was sent.
            let (mut end, mut loses) = match unread {
                true => (End::Reset, self.random.one_in(2)),
                false => (End::Closed, false),
            };
            if let Peer::Server(_) = peer {
                // Links are reset: what the kernel would have to send again is thrown away.
                end = End::Reset;
                loses |= self.is_cut(magent, peer) || held_up;
            }
            let weather = self.weather_of(true, peer);
            if let Some(connection) = self.connections[name.index].as_mut() {
                if loses {
                    connection.outward.lose_flights();
                }
                if let Some(time) = connection.outward.send_end(end, now, &weather, &mut self.random) {
                    self.at(time, Event::Arrive { name, inward: false });
                }
            }
        }
        self.remove_if_over(name);
    }

    // The peer's side.

    /// A server's answer to a request to connect is on its way. Refused where no process listens.
    pub fn knock(&mut self, name: Name) -> bool {
        let Some(connection) = self.connection(name) else {
            return false;
        };
        let (magent, peer, state) = (connection.magent, connection.peer, connection.state);
        let Peer::Server(server) = peer else {
            return false;
        };
        if state != State::Connecting || self.is_cut(magent, peer) {
            return false;
        }
        let accepted = self.listening[server];
        let weather = self.weather;
        let delay = self.random.skewed(weather.latency_min_us, weather.latency_max_us);
        self.at(self.now + delay, Event::Knocked { name, accepted });
        accepted
    }

    pub fn knocked(&mut self, name: Name, accepted: bool) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        if connection.state == State::Connecting {
            connection.state = if accepted { State::Open } else { State::Refused };
            self.raise(name);
        }
    }

    /// The peer says something.
    pub fn peer_send(&mut self, name: Name, bytes: &[u8]) {
        if let Some(connection) = self.connection(name) {
            if connection.state != State::Left && !connection.peer_left {
                connection.backlog.extend_from_slice(bytes);
                self.push_backlog(name);
            }
        }
    }

    /// A machine that knows nothing of a connection says so when it is asked.
    pub fn keep_alive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        let (magent, peer) = (connection.magent, connection.peer);
        if connection.forgotten && connection.state == State::Open && !self.is_cut(magent, peer) {
            self.peer_resets(name);
        }
    }

    /// Whether all that the peer said is on its way: a memcached reads no more before that.
    pub fn peer_is_through(&mut self, name: Name) -> bool {
        self.connection(name)
            .is_none_or(|connection| connection.backlog.is_empty())
    }

    pub fn push_backlog(&mut self, name: Name) {
        let Some(peer) = self.connection(name).map(|connection| connection.peer) else {
            return;
        };
        let weather = self.weather_of(false, peer);
        let now = self.now;
        let mut times = Vec::new();
        if let Some(connection) = self.connections[name.index].as_mut() {
            let count = connection.backlog.len().min(connection.inward.room());
            let random = &mut self.random;
            connection
                .inward
                .send(&connection.backlog[..count], now, &weather, random, |time| {
                    times.push(time)
                });
            connection.backlog.drain(..count);
            connection.inward.wants_room = !connection.backlog.is_empty();
        }
        for time in times {
            self.at(time, Event::Arrive { name, inward: true });
        }
    }

    /// Gives the peer what has arrived, and how the stream ended if it has.
    pub fn peer_take(&mut self, name: Name, into: &mut Vec<u8>) -> Option<End> {
        let connection = self.connection(name)?;
        connection.outward.read_all(into);
        let end = connection.outward.end();
        if connection.outward.wants_room && connection.outward.is_roomy() {
            connection.outward.wants_room = false;
            self.raise(name);
        }
        end
    }

    /// The peer ends the connection.
    pub fn peer_close(&mut self, name: Name, end: End) {
        let now = self.now;
        let Some(connection) = self.connection(name) else {
            return;
        };
        if std::mem::replace(&mut connection.peer_left, true) {
            return;
        }
        connection.backlog.clear();
        // Who closes a socket with bytes unread resets the connection: a magent that waits for room is told.
        let end = if connection.outward.wants_room { End::Reset } else { end };
        connection.outward.lose_flights();
        let (state, peer) = (connection.state, connection.peer);
        if state != State::Left {
            let weather = self.weather_of(false, peer);
            if let Some(connection) = self.connections[name.index].as_mut() {
                if let Some(time) = connection.inward.send_end(end, now, &weather, &mut self.random) {
                    self.at(time, Event::Arrive { name, inward: true });
                }
            }
        }
        self.remove_if_over(name);
    }

    /// Bytes reached a machine that knows nothing of their connection: a reset comes back.
    pub fn peer_resets(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else {
            return;
        };
        connection.inward.lose_flights();
        // Though it ended the connection before: that may have been on its way just now.
        connection.peer_left = false;
        self.peer_close(name, End::Reset);
    }
}

impl Connection {
    fn readiness(&self) -> Readiness {
        match self.state {
            State::Connecting | State::Left => Readiness::default(),
            State::Refused => Readiness {
                readable: true,
                writable: true,
                closed: true,
            },
            State::Open => Readiness {
                readable: self.inward.arrived() > 0 || self.inward.end().is_some(),
                writable: self.outward.is_roomy(),
                closed: self.inward.end().is_some(),
            },
        }
    }
}
