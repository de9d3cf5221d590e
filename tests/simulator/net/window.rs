//! The proxy's window on the network.

use super::{Event, Name, Network, Peer, State};
use crate::pipe::{ACKNOWLEDGED_US, End};
use crate::trace::Readable;
use magent::proxy::net::{Address, Delivery, Level, Net, Time, Token, Writing};
use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// One in so many connections of clients cannot be watched, where that happens.
const UNWATCHED_ONE_IN: u64 = 30;

/// A magent's window on the network.
pub struct SimulatedNet {
    pub network: Rc<RefCell<Network>>,
    pub magent: usize,
}

/// A magent's end of a connection.
pub struct Socket(pub(super) Name);

impl Net for SimulatedNet {
    type Socket = Socket;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Socket> {
        let network = &mut *self.network.borrow_mut();
        let server = network.addresses.iter().position(|known| known == address);
        network.meters[self.magent].worked = true;
        let Some(server) = server else {
            return Err(ErrorKind::HostUnreachable.into()); // its name is not known, or it is not there any more
        };
        let peer = Peer::Server(server);
        if network.ports[self.magent].process.is_exhausted {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        if let Some(no_way) = network.no_way[server] {
            if no_way.after_us == 0 {
                return Err(no_way.kind.into());
            }
            let name = network.open(self.magent, peer, Some(token), State::Connecting);
            let time = network.now + no_way.after_us;
            network.at(time, Event::Knocked { name, accepted: false });
            return Ok(Socket(name));
        }
        let dead = !network.listening[server] && !network.is_cut(self.magent, peer);
        if dead && network.random.one_in(8) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let name = network.open(self.magent, peer, Some(token), State::Connecting);
        let weather = network.weather;
        let delay = network.random.skewed(weather.latency_min_us, weather.latency_max_us);
        network.at(network.now + delay, Event::Knock(name));
        Ok(Socket(name))
    }

    fn adopt(&mut self, socket: &mut Socket, token: Token) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        network.meters[self.magent].worked = true;
        let eyes_from = network.eyes_from;
        let may_fail = network.ports[self.magent].process.is_odd;
        let fails = may_fail && network.random.one_in(UNWATCHED_ONE_IN);
        if let Some(connection) = network.connection(socket.0) {
            if fails && matches!(connection.peer, Peer::Client(client) if client < eyes_from) {
                connection.is_unwatched = true;
                return Err(ErrorKind::StorageFull.into()); // what epoll says at its limit
            }
            connection.token = Some(token);
            network.raise(socket.0);
        }
        Ok(())
    }

    fn read(&mut self, socket: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
        let network = &mut *self.network.borrow_mut();
        if network.random.one_in(1024) {
            return Err(ErrorKind::Interrupted.into());
        }
        let connection = network.connection(socket.0).expect("an open socket has a connection");
        match connection.state {
            State::Failed(kind) => return Err(kind.into()),
            State::Connecting | State::Left => return Err(ErrorKind::WouldBlock.into()),
            State::Open => {}
        }
        let count = connection.inward.read(into);
        let resumes = connection.inward.wants_room && connection.inward.is_roomy();
        if resumes {
            connection.inward.wants_room = false;
        }
        let result = match (count, connection.inward.end()) {
            (0, None) => Err(ErrorKind::WouldBlock.into()),
            (0, Some(End::Closed)) => Ok(0),
            (0, Some(End::Reset)) => Err(ErrorKind::ConnectionReset.into()),
            _ => Ok(count),
        };
        network.meters[self.magent].worked |= result.is_ok();
        if resumes {
            network.at(network.now, Event::Resume(socket.0));
        }
        result
    }

    fn write(&mut self, socket: &mut Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let network = &mut *self.network.borrow_mut();
        if network.random.one_in(1024) {
            return Err(ErrorKind::Interrupted.into());
        }
        let early = network.random.one_in(2);
        let now = network.now;
        let connection = network.connection(socket.0).expect("an open socket has a connection");
        match connection.state {
            State::Failed(kind) => return Err(kind.into()),
            State::Connecting if early => return Err(ErrorKind::NotConnected.into()),
            State::Connecting | State::Left => return Err(ErrorKind::WouldBlock.into()),
            State::Open if connection.inward.end() == Some(End::Reset) => return Err(ErrorKind::BrokenPipe.into()),
            State::Open => {}
        }
        let peer = connection.peer;
        let weather = network.weather_of(true, peer);
        let connection = network.connections[socket.0.index].as_mut().expect("just seen");
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let count = offered.min(connection.outward.room());
        connection.outward.wants_room |= count < offered;
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut whole = Vec::with_capacity(offered);
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.truncate(count);
        let mut times = Vec::new();
        connection
            .outward
            .send(&whole, now, &weather, &mut network.random, |time| times.push(time));
        network.meters[self.magent].worked = true;
        if let Peer::Server(_) = peer {
            network.meters[self.magent].said(now, &whole);
        }
        if network.trace.is_on() {
            if let Peer::Server(server) = peer {
                let line = Readable(&whole);
                network.note(
                    format_args!("magent {}", self.magent),
                    format_args!("-> s{server} #{}  {line}", socket.0.index),
                );
            }
        }
        for time in times {
            network.at(
                time,
                Event::Arrive {
                    name: socket.0,
                    inward: false,
                },
            );
        }
        Ok(count)
    }

    fn delivery(&self, socket: &Socket) -> Delivery {
        let network = &mut *self.network.borrow_mut();
        let now = network.now;
        let Some(connection) = network.connection(socket.0) else {
            return Delivery::Arrived;
        };
        let (peer, sent_us, waits, is_under_way) = (
            connection.peer,
            connection.outward.last_sent_us(),
            connection.outward.is_unheard(now),
            connection.outward.is_under_way(),
        );
        let unheard_us = network.hears_no_replies(self.magent, peer, sent_us);
        match waits || unheard_us.is_some_and(|us| us >= ACKNOWLEDGED_US) {
            true => Delivery::Stuck,
            false if is_under_way || unheard_us.is_some() => Delivery::UnderWay,
            false => Delivery::Arrived,
        }
    }

    fn lost_packets(&self, socket: &Socket) -> u32 {
        let network = &mut *self.network.borrow_mut();
        let connection = network.connection(socket.0);
        connection.map_or(0, |connection| connection.outward.held_up())
    }

    fn write_journal(&mut self, what: Writing) {
        let network = &mut *self.network.borrow_mut();
        let now = network.now;
        if let Some(time) = network.disks[self.magent].write(what, now) {
            network.turn_by(self.magent, time);
        }
    }

    fn close(&mut self, socket: Socket) {
        let network = &mut *self.network.borrow_mut();
        network.ports[self.magent].process.freed = true;
        network.meters[self.magent].worked = true;
        network.close_socket(socket.0);
    }

    fn peer(&self, socket: &Socket) -> Option<SocketAddr> {
        let port = socket.0.index as u16;
        let address: IpAddr = match (self.network.borrow().shows_peers, port % 3) {
            (false, _) | (_, 0) => return None,
            (_, 1) => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        Some(SocketAddr::new(address, port))
    }

    fn now(&self) -> Time {
        Time::of_us(self.network.borrow().now)
    }

    fn unix_time_s(&self) -> u64 {
        self.network.borrow().unix_s_of(self.magent).max(0) as u64
    }

    /// A schedule is the same in every process.
    fn process_id(&self) -> u32 {
        1 + self.magent as u32
    }

    fn identity(&self) -> u64 {
        (1 + self.magent as u64) << 48 | self.now().us
    }

    fn cpu_time(&self) -> (Duration, Duration) {
        Default::default()
    }

    fn resident_bytes(&self) -> u64 {
        0
    }

    fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        let network = &mut *self.network.borrow_mut();
        if level == Level::Warning && line.to_string().contains(" is down: ") {
            network.lost_us[self.magent] = Some(network.now);
        }
        if network.trace.is_on() && level <= Level::Notice {
            network.note(format_args!("magent {}", self.magent), format_args!("log: {line}"));
        }
    }
}
