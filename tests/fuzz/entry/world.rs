//! The proxy, its clients and its servers, and what has to hold after every turn and at the end.

use super::account::{self, counted};
use super::client::{CLIENTS, Client, SOCKET_BYTES};
use super::net::{EPOCH_S, End, FIRST_PORT, FuzzNet, Peer, Socket, Wires};
use super::server::Server;
use magent::proxy::Proxy;
use magent::proxy::net::Address;
use magent::proxy::settings::{Ack, Hedge, Limits, Miss, ServerName, Settings};
use magent::ring::{Distribution, Spread};
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

/// Beyond this the client that holds the most is closed.
const MEMORY_BYTES_MAX: usize = 256 << 10;
/// What the proxy may hold: that, a turn's worth of what it has read, the blocks that it keeps for the next batch, and its
/// tables.
const HELD_BYTES_MAX: isize = 4 << 20;
/// Virtual time after which everybody has an answer: every timeout and pause has passed several times.
const DRAIN_MS: u64 = 60_000;
const SCRATCH_BYTES: usize = 64 << 10;

/// Limits that are reached soon.
const LITTLE: Limits = Limits {
    requests_in_flight: 8,
    client_bytes: 32 << 10,
    portion_bytes: 16 << 10,
    portion_keys: 3,
    bulk_bytes_min: 8 << 10,
    bulk_bytes: 16 << 10,
    ..Limits::DEFAULT
};

/// Primaries and backups, by the numbers of the servers.
const LAYOUTS: [(&[usize], &[usize]); 4] = [(&[0], &[1]), (&[0, 1], &[]), (&[0, 1], &[1, 0]), (&[0, 1], &[2])];

/// Whether somebody reads what happens: a replay of one input.
pub fn is_told() -> bool {
    static IS_TOLD: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::env::var_os("TOLD").is_some());
    *IS_TOLD
}

pub struct World {
    pub wires: Rc<RefCell<Wires>>,
    proxy: Option<Proxy<FuzzNet>>,
    pub servers: Vec<Server>,
    pub clients: Vec<Client>,
    connections: u8,
    /// Wires that the servers have heard of.
    known: usize,
    scratch: Vec<u8>,
    /// The most that the proxy held.
    pub held_bytes_max: isize,
}

impl World {
    /// `how` decides the layout and the settings.
    pub fn new(how: u8) -> Self {
        account::reset();
        let (primaries, backups) = LAYOUTS[usize::from(how % 4)];
        let wires = Rc::new(RefCell::new(Wires::default()));
        let unix_ms = EPOCH_S * 1000;
        let servers = (0..3).map(|index| Server::new(index, unix_ms)).collect();
        let net = FuzzNet(Rc::clone(&wires));
        let proxy = counted(|| {
            let settings = Settings {
                primaries: primaries.iter().copied().map(name).collect(),
                backups: backups.iter().copied().map(name).collect(),
                spread: Spread::plain(if how & 4 == 0 {
                    Distribution::Modulo
                } else {
                    Distribution::Ketama
                }),
                links_max: 1,
                clients_max: CLIENTS,
                timeout_ms: 500,
                adaptive_timeout: how & 16 == 0,
                ack: if how & 8 == 0 { Ack::All } else { Ack::Primary },
                miss: if how & 16 == 0 { Miss::Partner } else { Miss::Cold },
                hedge: if how & 16 == 0 {
                    Hedge::Adaptive
                } else {
                    Hedge::After(1)
                },
                slow_us: 100_000,
                item_bytes_max: 64 << 10,
                memory_bytes_max: MEMORY_BYTES_MAX,
                limits: if how & 32 == 0 { Limits::default() } else { LITTLE },
                verbatim: how & 64 == 0,
                board: false,
            };
            Proxy::new(net, settings)
        });
        let mut world = Self {
            wires,
            proxy: Some(proxy),
            servers,
            clients: Vec::new(),
            connections: 0,
            known: 0,
            scratch: vec![0; SCRATCH_BYTES],
            held_bytes_max: 0,
        };
        let (proxy, scratch) = (world.proxy.as_mut().expect("it lives"), &mut world.scratch);
        counted(|| {
            proxy.start();
            proxy.flush(scratch);
        });
        world.settle();
        for _ in 0..CLIENTS {
            world.connect();
        }
        world
    }

    pub fn unix_ms(&self) -> u64 {
        EPOCH_S * 1000 + self.wires.borrow().now_ms
    }

    fn open_client(&mut self) -> Client {
        let mut wires = self.wires.borrow_mut();
        let wire = wires.open(Peer::Client, SOCKET_BYTES);
        wires.accepts.push_back(wire);
        self.connections = self.connections.wrapping_add(1);
        Client::new(wire, 0xF0 | (self.connections % 16))
    }

    fn connect(&mut self) {
        let client = self.open_client();
        self.clients.push(client);
    }

    /// A client whose connection the proxy has closed opens another.
    pub fn reconnect(&mut self, client: usize) {
        self.hear(client);
        let closed = self.wires.borrow().wires[self.clients[client].wire].left;
        if closed {
            self.check_client(client);
            self.clients[client] = self.open_client();
        }
    }

    /// Sends so many bytes of what a client has said.
    pub fn send(&mut self, client: usize, most: usize) {
        let client = &mut self.clients[client];
        let count = most.min(client.outbox.len());
        let bytes: Vec<u8> = client.outbox.drain(..count).collect();
        if is_told() && !bytes.is_empty() {
            println!("    {:x} says {}", client.tag, bytes.escape_ascii());
        }
        self.wires.borrow_mut().send(client.wire, &bytes);
    }

    pub fn leave(&mut self, client: usize, end: End) {
        let client = &mut self.clients[client];
        client.has_left = true;
        // Who resets a connection hears nothing more; who leaves in the middle of a request is not answered.
        client.is_raw |= end == End::Reset || !client.outbox.is_empty();
        self.wires.borrow_mut().end(client.wire, end);
    }

    /// As the reactor does it: events, accepts, what is due, writes.
    pub fn turn(&mut self) {
        let events = self.wires.borrow_mut().take_events();
        let accepts: Vec<usize> = self.wires.borrow_mut().accepts.drain(..).collect();
        let (proxy, scratch) = (self.proxy.as_mut().expect("it lives"), &mut self.scratch);
        counted(|| {
            proxy.begin_batch();
            for &(token, readiness) in &events {
                proxy.ready(token, readiness, scratch);
            }
            for &wire in &accepts {
                proxy.accept(Socket(wire));
            }
            proxy.tick();
            proxy.flush(scratch);
        });
        if let Err(wrong) = self.proxy.as_ref().expect("it lives").check() {
            panic!("at the end of a turn: {wrong}");
        }
        self.held_bytes_max = self.held_bytes_max.max(account::held());
        assert!(
            account::held() <= HELD_BYTES_MAX,
            "the proxy holds {} bytes, --max-memory is {MEMORY_BYTES_MAX}",
            account::held()
        );
        self.knock();
        for client in 0..self.clients.len() {
            if !self.clients[client].is_deaf {
                self.hear(client);
            }
        }
    }

    fn hear(&mut self, client: usize) {
        let client = &mut self.clients[client];
        let bytes = self.wires.borrow_mut().take(client.wire);
        if is_told() && !bytes.is_empty() {
            println!("    {:x} hears {}", client.tag, bytes.escape_ascii());
        }
        client.hear(&bytes);
    }

    fn knock(&mut self) {
        let mut wires = self.wires.borrow_mut();
        while self.known < wires.wires.len() {
            if let Peer::Server(server) = wires.wires[self.known].peer {
                self.servers[server].knock(&mut wires, self.known);
            }
            self.known += 1;
        }
    }

    pub fn serve(&mut self) {
        let unix_ms = self.unix_ms();
        for server in &mut self.servers {
            server.serve(&mut self.wires.borrow_mut(), unix_ms);
        }
    }

    /// Lets happen what happens without the clock, as far as it comes in a bounded number of turns.
    pub fn settle(&mut self) {
        const TURNS: usize = 8;
        for _ in 0..TURNS {
            self.turn();
            self.serve();
            if !self.wires.borrow().has_events() {
                return;
            }
        }
    }

    /// Moves the clock, stopping where the proxy wants to be woken.
    pub fn advance(&mut self, ms: u64) {
        const STOPS: usize = 50;
        let end = self.wires.borrow().now_ms + ms;
        for _ in 0..STOPS {
            let deadline_ms = self.proxy.as_ref().expect("it lives").deadline_ms();
            let now = self.wires.borrow().now_ms;
            let next = deadline_ms.map_or(end, |deadline| deadline.max(now + 1).min(end));
            self.wires.borrow_mut().now_ms = next;
            self.turn();
            self.serve();
            if next == end {
                return;
            }
        }
        self.wires.borrow_mut().now_ms = end;
        self.turn();
    }

    /// Everybody is well again, nothing more is asked: everybody has to be answered, and nothing may be left.
    pub fn drain(mut self) -> isize {
        for server in &mut self.servers {
            server.is_held = false;
            server.refuses = false;
        }
        for client in 0..self.clients.len() {
            self.clients[client].is_deaf = false;
            self.send(client, usize::MAX);
        }
        self.settle();
        for client in 0..self.clients.len() {
            if !self.clients[client].has_left {
                self.wires.borrow_mut().end(self.clients[client].wire, End::Closed);
            }
        }
        let end = self.wires.borrow().now_ms + DRAIN_MS;
        while !self.proxy.as_ref().expect("it lives").is_idle() {
            assert!(self.wires.borrow().now_ms < end, "something never ends");
            self.settle();
            self.advance(20);
        }
        for client in 0..self.clients.len() {
            self.hear(client);
            assert!(
                self.wires.borrow().wires[self.clients[client].wire].left,
                "a client that has said goodbye is not let go"
            );
            self.check_client(client);
        }
        counted(|| drop(self.proxy.take()));
        assert_eq!(account::held(), 0, "bytes that the proxy has left behind");
        self.held_bytes_max
    }

    /// What one client is answered that says this, each piece when what came before it has had its effect.
    pub fn answers(pieces: &[&[u8]]) -> Vec<u8> {
        let mut world = Self::new(0);
        world.clients[0].heard = Some(Vec::new());
        for piece in pieces {
            world.clients[0].say_raw(piece);
            world.send(0, usize::MAX);
            world.settle();
        }
        // What was sent at once may wait for more turns than what came in pieces.
        let heard_len = |world: &Self| world.clients[0].heard.as_ref().map(Vec::len);
        loop {
            let before = heard_len(&world);
            world.settle();
            if heard_len(&world) == before {
                break;
            }
        }
        let mut heard = world.clients[0].heard.clone().unwrap_or_default();
        if world.wires.borrow().wires[world.clients[0].wire].left {
            heard.extend_from_slice(b"(closed)");
        }
        world.drain();
        heard
    }

    fn check_client(&self, client: usize) {
        let client = &self.clients[client];
        // Where the proxy closed first, it was for a reason: its limits, a line too long. It may also be held against a client
        // that has said goodbye how much there is to say to it.
        let wires = self.wires.borrow();
        let closed_on = wires.wires[client.wire].left_first || wires.has_shed;
        client.check_replies(closed_on);
    }
}

fn name(index: usize) -> ServerName {
    let port = FIRST_PORT + index as u16;
    ServerName {
        host: "127.0.0.1".to_owned(),
        port,
        address: Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        weight: 1,
        ring_name: None,
    }
}
