//! The proxy's window on the network.

use super::{Event, Name, Network, Peer, State};
use crate::pipe::End;
use crate::trace::Readable;
use magent::proxy::control::{Accepted, Control, Found, Reloaded, State as ToldState};
use magent::proxy::net::{Address, Level, Net, Token};
use magent::proxy::settings::Settings;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A magent's window on the network.
pub struct SimulatedNet {
    pub network: Rc<RefCell<Network>>,
    pub magent: usize,
}

/// A magent's end of a connection.
pub struct Socket(Name);

impl Net for SimulatedNet {
    type Socket = Socket;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Socket> {
        let network = &mut *self.network.borrow_mut();
        let server = network.addresses.iter().position(|known| known == address);
        let server = server.expect("an address of this world");
        let peer = Peer::Server(server);
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
        if let Some(connection) = network.connection(socket.0) {
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
            State::Refused => return Err(ErrorKind::ConnectionRefused.into()),
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
            State::Refused => return Err(ErrorKind::ConnectionRefused.into()),
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
        let whole: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .take(count)
            .collect();
        let mut times = Vec::new();
        connection
            .outward
            .send(&whole, now, &weather, &mut network.random, |time| times.push(time));
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

    fn close(&mut self, socket: Socket) {
        self.network.borrow_mut().close_socket(socket.0);
    }

    fn peer(&self, _socket: &Socket) -> Option<SocketAddr> {
        None
    }

    fn now_ms(&self) -> u64 {
        self.network.borrow().now_ms()
    }

    fn unix_time_s(&self) -> u64 {
        self.network.borrow().unix_ms() / 1000
    }

    fn cpu_time(&self) -> (Duration, Duration) {
        Default::default()
    }

    fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        let network = &mut *self.network.borrow_mut();
        if network.trace.is_on() && level <= Level::Notice {
            network.note(format_args!("magent {}", self.magent), format_args!("log: {line}"));
        }
    }

    fn set_verbosity(&mut self, _verbosity: u32) {}
}

impl Control for SimulatedNet {
    type Listen = ();

    fn accept(&mut self) -> Accepted<Socket> {
        let name = self.network.borrow_mut().ports[self.magent].accepts.pop_front();
        name.map_or(Accepted::Nobody, |name| Accepted::Client(Socket(name)))
    }

    fn may_accept(&self) -> bool {
        !self.network.borrow().ports[self.magent].accepts.is_empty()
    }

    fn take_freed(&mut self) -> bool {
        false
    }

    fn listen_on(&mut self, _wanted: &[()]) -> Result<(), String> {
        Ok(())
    }

    fn stop_listening(&mut self) -> bool {
        self.close_listeners();
        false
    }

    fn close_listeners(&mut self) {
        self.network.borrow_mut().ports[self.magent].closed = true;
    }

    fn read_configuration(&mut self) -> io::Result<()> {
        self.network.borrow_mut().ports[self.magent].is_read = true;
        Ok(())
    }

    /// It takes some turns to be read.
    fn take_configuration(&mut self) -> Option<Result<Reloaded<()>, String>> {
        let network = &mut *self.network.borrow_mut();
        let port = &mut network.ports[self.magent];
        if !port.is_read || network.random.one_in(2) {
            return None;
        }
        port.is_read = false;
        Some(match &port.configuration {
            Some(settings) => Ok(Reloaded {
                settings: settings.clone(),
                listen: Vec::new(),
                verbosity: 0,
                warnings: Vec::new(),
            }),
            None => Err("the file is not there".to_owned()),
        })
    }

    fn check(&mut self, _settings: &Settings, _listen: &[()]) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn look_up(&mut self, _host: &str) {}

    fn names_are_answered(&self, _settings: &Settings) -> bool {
        true
    }

    fn fill_names_in(&mut self, _settings: &mut Settings) -> Vec<String> {
        Vec::new()
    }

    fn take_name(&mut self) -> Option<Found> {
        None
    }

    fn reopen_log(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn tell(&mut self, _state: ToldState) {}
}
