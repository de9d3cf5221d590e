//! A net in memory: wires between the proxy and its clients and servers, and a clock that the script moves.
//!
//! Edge-triggered like epoll: a wire is in the next batch of events when bytes, room or an end have come to it.

use super::account::uncounted;
use magent::proxy::net::{Address, Level, Net, Readiness, Time, Token};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// The clock starts at this unix time.
pub const EPOCH_S: u64 = 1_700_000_000;
/// The port of the first server.
pub const FIRST_PORT: u16 = 11211;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Client,
    Server(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    Reset,
}

pub struct Wire {
    pub peer: Peer,
    token: Option<Token>,
    /// The peer has accepted, or refused.
    pub answered: Option<bool>,
    /// To the proxy.
    inward: VecDeque<u8>,
    inward_end: Option<End>,
    /// From the proxy, not taken by the peer yet.
    pub outward: Vec<u8>,
    /// Bytes that `outward` takes.
    capacity: usize,
    wants_room: bool,
    /// The proxy has closed its end.
    pub left: bool,
    /// It did before the peer had ended the stream.
    pub left_first: bool,
    queued: bool,
}

#[derive(Default)]
pub struct Wires {
    pub wires: Vec<Wire>,
    pub now_ms: u64,
    events: Vec<usize>,
    /// A client was closed because all of them held too much.
    pub has_shed: bool,
    pub accepts: VecDeque<usize>,
}

/// The proxy's window on it.
pub struct FuzzNet(pub Rc<RefCell<Wires>>);

/// The proxy's end of a wire.
pub struct Socket(pub usize);

impl Wires {
    pub fn open(&mut self, peer: Peer, capacity: usize) -> usize {
        self.wires.push(Wire {
            peer,
            token: None,
            answered: (peer == Peer::Client).then_some(true),
            inward: VecDeque::new(),
            inward_end: None,
            outward: Vec::new(),
            capacity,
            wants_room: false,
            left: false,
            left_first: false,
            queued: false,
        });
        self.wires.len() - 1
    }

    fn raise(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        if wire.token.is_some() && !wire.queued && !wire.left {
            wire.queued = true;
            self.events.push(index);
        }
    }

    /// A server takes a connection, or does not.
    pub fn answer(&mut self, index: usize, accepts: bool) {
        if self.wires[index].answered.is_none() {
            self.wires[index].answered = Some(accepts);
            self.raise(index);
        }
    }

    /// Bytes reach the proxy.
    pub fn send(&mut self, index: usize, bytes: &[u8]) {
        let wire = &mut self.wires[index];
        if !bytes.is_empty() && !wire.left && wire.inward_end.is_none() {
            wire.inward.extend(bytes);
            self.raise(index);
        }
    }

    pub fn end(&mut self, index: usize, end: End) {
        let wire = &mut self.wires[index];
        if wire.inward_end.is_none() {
            wire.inward_end = Some(end);
            if end == End::Reset {
                wire.inward.clear();
                wire.outward.clear();
            }
            self.raise(index);
        }
    }

    /// What the proxy has said.
    pub fn take(&mut self, index: usize) -> Vec<u8> {
        let wire = &mut self.wires[index];
        let bytes = std::mem::take(&mut wire.outward);
        if wire.wants_room {
            wire.wants_room = false;
            self.raise(index);
        }
        bytes
    }

    /// Whether a wire still leads somewhere.
    pub fn is_open(&self, index: usize) -> bool {
        let wire = &self.wires[index];
        !wire.left && wire.inward_end.is_none()
    }

    /// The batch of events.
    pub fn take_events(&mut self) -> Vec<(Token, Readiness)> {
        let mut events = Vec::new();
        for index in std::mem::take(&mut self.events) {
            let wire = &mut self.wires[index];
            wire.queued = false;
            if let Some(token) = wire.token.filter(|_| !wire.left) {
                events.push((token, wire.readiness()));
            }
        }
        events
    }

    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.accepts.is_empty()
    }
}

impl Wire {
    fn readiness(&self) -> Readiness {
        let refused = self.answered == Some(false);
        let open = self.answered == Some(true);
        Readiness {
            readable: refused || (open && (!self.inward.is_empty() || self.inward_end.is_some())),
            writable: refused || (open && self.outward.len() < self.capacity),
            closed: refused || (open && self.inward_end.is_some()),
        }
    }
}

impl Net for FuzzNet {
    type Socket = Socket;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Socket> {
        let Address::Tcp(SocketAddr::V4(address)) = address else {
            panic!("not an address of this world");
        };
        assert_eq!(*address.ip(), Ipv4Addr::LOCALHOST);
        let server = usize::from(address.port() - FIRST_PORT);
        uncounted(|| {
            let wires = &mut *self.0.borrow_mut();
            let index = wires.open(Peer::Server(server), 1 << 20);
            wires.wires[index].token = Some(token);
            Ok(Socket(index))
        })
    }

    fn adopt(&mut self, socket: &mut Socket, token: Token) -> io::Result<()> {
        uncounted(|| {
            let wires = &mut *self.0.borrow_mut();
            wires.wires[socket.0].token = Some(token);
            wires.raise(socket.0);
        });
        Ok(())
    }

    fn read(&mut self, socket: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
        uncounted(|| {
            let wires = &mut *self.0.borrow_mut();
            let wire = &mut wires.wires[socket.0];
            assert!(!wire.left, "a closed socket is read");
            match wire.answered {
                None => return Err(ErrorKind::WouldBlock.into()),
                Some(false) => return Err(ErrorKind::ConnectionRefused.into()),
                Some(true) => {}
            }
            let count = wire.inward.len().min(into.len());
            let (front, back) = wire.inward.as_slices();
            let of_front = count.min(front.len());
            into[..of_front].copy_from_slice(&front[..of_front]);
            into[of_front..count].copy_from_slice(&back[..count - of_front]);
            wire.inward.drain(..count);
            match (count, wire.inward_end) {
                (0, None) => Err(ErrorKind::WouldBlock.into()),
                (0, Some(End::Closed)) => Ok(0),
                (0, Some(End::Reset)) => Err(ErrorKind::ConnectionReset.into()),
                _ => Ok(count),
            }
        })
    }

    fn write(&mut self, socket: &mut Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        uncounted(|| {
            let wires = &mut *self.0.borrow_mut();
            let wire = &mut wires.wires[socket.0];
            assert!(!wire.left, "a closed socket is written to");
            match wire.answered {
                None => return Err(ErrorKind::NotConnected.into()),
                Some(false) => return Err(ErrorKind::ConnectionRefused.into()),
                Some(true) if wire.inward_end == Some(End::Reset) => return Err(ErrorKind::BrokenPipe.into()),
                Some(true) => {}
            }
            let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
            let count = offered.min(wire.capacity.saturating_sub(wire.outward.len()));
            wire.wants_room |= count < offered;
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let mut left = count;
            for piece in pieces {
                let part = &piece[..left.min(piece.len())];
                wire.outward.extend_from_slice(part);
                left -= part.len();
            }
            Ok(count)
        })
    }

    fn close(&mut self, socket: Socket) {
        uncounted(|| {
            let wire = &mut self.0.borrow_mut().wires[socket.0];
            assert!(!wire.left, "a socket is closed twice");
            wire.left = true;
            wire.left_first = wire.inward_end.is_none();
            wire.inward.clear();
        });
    }

    fn peer(&self, _socket: &Socket) -> Option<SocketAddr> {
        None
    }

    fn cpu_time(&self) -> (Duration, Duration) {
        (Duration::ZERO, Duration::ZERO)
    }

    fn resident_bytes(&self) -> u64 {
        0
    }

    fn now(&self) -> Time {
        Time::of_us(self.0.borrow().now_ms * 1000)
    }

    fn unix_time_s(&self) -> u64 {
        EPOCH_S + self.0.borrow().now_ms / 1000
    }

    fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        uncounted(|| {
            self.0.borrow_mut().has_shed |= line.to_string().contains("--max-memory");
            if super::world::is_told() {
                println!("        log: {level:?} {line}");
            }
        });
    }
}
