//! The network: connections between clients, magents and servers, the clock, and the queue of what happens next.
//!
//! [`SimulatedNet`], in `window`, is the proxy's window on it: edge-triggered like mio over epoll. An event tells the state of a socket
//! when the batch begins, it comes when bytes arrive or room appears, and not once more for what was not read.

mod control;
mod disk;
mod hosts;
mod meter;
mod peer;
mod port;
mod window;

pub use control::{Failure, Process, Written};
pub use hosts::Hosts;
pub use window::SimulatedNet;

use super::pipe::{End, Pipe, Us, Weather};
use super::random::Random;
use super::trace::Trace;
use disk::Disk;
use magent::proxy::net::{Address, Readiness, Token};
use meter::Meter;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::io::ErrorKind;

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
    /// It did not come about, for this reason.
    Failed(ErrorKind),
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
    /// The magent could not watch it.
    pub is_unwatched: bool,
    /// Connections of clients that the magent had when this one was opened.
    pub others: usize,
}

/// What a magent's event loop waits for.
#[derive(Default)]
pub struct Port {
    events: Vec<Name>,
    pub accepts: VecDeque<Name>,
    turn_at: Option<Us>,
    /// The process does not run before this.
    pub stalled_until: Us,
    pub process: Process,
}

/// Which packets between a magent and a server stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    All,
    /// Those of the server.
    Replies,
}

/// Why no connection to a server can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoWay {
    pub kind: ErrorKind,
    /// How long it takes to find that out; 0 for at once.
    pub after_us: Us,
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
    /// By magent: when it has last found out that it has lost a server.
    pub lost_us: Vec<Option<Us>>,
    /// By magent, then server: which packets between the two stay away, and since when.
    cut: Vec<Vec<Option<(Cut, Us)>>>,
    /// By server: what its answers take longer.
    pub slowness: Vec<(Us, Us)>,
    pub addresses: Vec<Address>,
    /// What is known of host names.
    pub hosts: Hosts,
    /// Who is behind the clients, from this number on, looks at magents.
    pub eyes_from: usize,
    /// Magents are told where clients come from.
    pub shows_peers: bool,
    /// By server: a process listens.
    pub listening: Vec<bool>,
    /// By server.
    pub no_way: Vec<Option<NoWay>>,
    /// By magent.
    pub meters: Vec<Meter>,
    /// By magent: seconds by which its clock is ahead of everybody's.
    pub magents_ahead_s: Vec<i64>,
    /// By magent: where it writes down what servers miss.
    pub disks: Vec<Disk>,
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
            lost_us: vec![None; magents],
            generation: 0,
            ports: (0..magents).map(|_| Port::default()).collect(),
            cut: Vec::new(),
            slowness: Vec::new(),
            addresses: Vec::new(),
            hosts: Hosts::default(),
            eyes_from: 0,
            shows_peers: false,
            listening: Vec::new(),
            no_way: Vec::new(),
            meters: (0..magents).map(|_| Meter::default()).collect(),
            magents_ahead_s: vec![0; magents],
            disks: (0..magents).map(|_| Disk::default()).collect(),
        }
    }

    pub fn add_servers(&mut self, addresses: Vec<Address>) {
        self.cut = vec![vec![None; addresses.len()]; self.ports.len()];
        self.slowness = vec![(0, 0); addresses.len()];
        self.listening = vec![true; addresses.len()];
        self.no_way = vec![None; addresses.len()];
        self.addresses = addresses;
    }

    pub fn now_ms(&self) -> u64 {
        self.now / 1000
    }

    pub fn unix_ms(&self) -> u64 {
        EPOCH_S * 1000 + self.now / 1000
    }

    /// The time by a magent's own clock.
    pub fn unix_s_of(&self, magent: usize) -> i64 {
        (self.unix_ms() / 1000) as i64 + self.magents_ahead_s[magent]
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

    /// How many connections a magent has with such peers that neither end has closed.
    pub fn open_with(&self, magent: usize, wanted: impl Fn(Peer) -> bool) -> usize {
        let connections = self.connections.iter().flatten();
        let is_open = |connection: &&Connection| connection.state == State::Open && !connection.peer_left;
        let of_magent = connections.filter(|connection| connection.magent == magent && wanted(connection.peer));
        of_magent.filter(is_open).count()
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
            is_unwatched: false,
            others: 0,
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
        let others = self.clients_of(magent).count();
        let name = self.open(magent, Peer::Client(client), None, State::Open);
        if let Some(connection) = self.connection(name) {
            connection.others = others;
        }
        self.ports[magent].accepts.push_back(name);
        self.wake(magent);
        name
    }

    /// The connections of clients that a magent has not closed.
    fn clients_of(&self, magent: usize) -> impl Iterator<Item = &Connection> {
        let of_it = move |connection: &&Connection| {
            connection.magent == magent && matches!(connection.peer, Peer::Client(_)) && connection.state != State::Left
        };
        self.connections.iter().flatten().filter(of_it)
    }

    fn weather_of(&self, magent_to_peer: bool, peer: Peer) -> Weather {
        let mut weather = self.weather;
        if let (Peer::Server(server), false) = (peer, magent_to_peer) {
            weather.latency_min_us += self.slowness[server].0;
            weather.latency_max_us += self.slowness[server].1;
        }
        weather
    }

    /// Whether some packets between the two stay away, so that no connection comes about.
    pub fn is_cut(&self, magent: usize, peer: Peer) -> bool {
        match peer {
            Peer::Server(server) => self.cut[magent][server].is_some(),
            Peer::Client(_) => false,
        }
    }

    /// For how long nothing was acknowledged to a magent's kernel, where what it has sent last, at this time, has come to the server
    /// and the kernel does not know.
    fn hears_no_replies(&self, magent: usize, peer: Peer, sent_us: Us) -> Option<Us> {
        let Peer::Server(server) = peer else {
            return None;
        };
        let cut = self.cut[magent][server].filter(|&(cut, _)| cut == Cut::Replies);
        cut.filter(|&(_, since_us)| sent_us >= since_us)
            .map(|(_, since_us)| self.now - since_us)
    }

    pub fn cut(&mut self, magent: usize, server: usize) {
        self.cut_so(magent, server, Cut::All);
    }

    pub fn cut_so(&mut self, magent: usize, server: usize, cut: Cut) {
        self.cut[magent][server] = Some((cut, self.now));
    }

    /// Packets between the two go through again. What was under way meanwhile is sent again, each connection in its own
    /// time, `patience_us` at the latest.
    pub fn heal(&mut self, magent: usize, server: usize, patience_us: Us) {
        if self.cut[magent][server].take().is_none() {
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
        let cut = match peer {
            Peer::Server(server) => self.cut[magent][server].map(|(cut, _)| cut),
            Peer::Client(_) => None,
        };
        if cut == Some(Cut::All) || inward && cut == Some(Cut::Replies) {
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
}

impl Connection {
    fn readiness(&self) -> Readiness {
        match self.state {
            State::Connecting | State::Left => Readiness::default(),
            State::Failed(_) => Readiness {
                readable: true,
                writable: true,
                closed: true,
            },
            State::Open => Readiness {
                readable: self.inward.arrived() > 0 || self.inward.end().is_some(),
                // A reset wakes who waits for room, too (`tcp_poll` of Linux): the write fails.
                writable: self.outward.is_roomy() || self.inward.end() == Some(End::Reset),
                closed: self.inward.end().is_some(),
            },
        }
    }
}
