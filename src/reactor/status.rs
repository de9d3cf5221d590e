//! Connections to the port of `--status`: few, short, and after everybody else's turn.

use super::World;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::service::Service;
use crate::status::history::History;
use crate::status::{self, View, http};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 16;
/// How long one may take for its request and to take its reply, in milliseconds.
const PATIENCE_MS: u64 = 5000;
/// How long one that says nothing keeps its place where others want it: a request is sent at once, and may come a little later.
const SILENCE_MS: u64 = 200;
/// Bytes that are read of one: its request, and what it sends behind that.
const BYTES_MAX: usize = 2 * http::HEAD_BYTES_MAX;
/// Replies that are made in a turn.
const REPLIES_IN_A_TURN: usize = 4;

/// One of them.
struct Connection {
    socket: TcpStream,
    until_ms: u64,
    /// Its socket may have something to be read, or room.
    readable: bool,
    writable: bool,
    /// Bytes that were read in all.
    read: usize,
    /// Nothing that it waits for is magent's: it has said less than a request, or has its reply.
    is_idle: bool,
    state: State,
}

enum State {
    /// So much of the request is there.
    Reading(Vec<u8>),
    /// The reply, and how much of it is written.
    Writing(Vec<u8>, usize),
    /// All is said: what still comes is read, lest closing takes the reply away (RFC 9112, 9.6).
    Closing,
}

/// What becomes of a connection.
#[derive(PartialEq, Eq)]
enum Then {
    Waits,
    /// It wants a reply, and others have had theirs in this turn.
    NextTurn,
    Ends,
}

/// All of them, and what they are shown of the past.
#[derive(Default)]
pub struct Status {
    connections: [Option<Connection>; CONNECTIONS_MAX],
    history: History,
    /// Some are to be gone on with at once.
    is_busy: bool,
    /// There is a port for them.
    is_on: bool,
    /// All places are taken, and somebody may wait for one.
    is_full: bool,
}

impl Status {
    /// An event of a connection, by its place.
    pub fn ready(&mut self, place: usize, readiness: Readiness) {
        if let Some(Some(connection)) = self.connections.get_mut(place) {
            connection.readable |= readiness.readable || readiness.closed;
            connection.writable |= readiness.writable || readiness.closed;
        }
    }

    /// When the next turn is due, if there is no event before.
    pub fn deadline_ms(&self, now_ms: u64) -> Option<u64> {
        let sample_ms = self.is_on.then(|| self.history.due_ms());
        let busy_ms = self.is_busy.then_some(now_ms);
        let may_go = |connection: &Connection| match self.is_full && connection.is_idle {
            true => connection.silent_ms().max(now_ms),
            false => connection.until_ms,
        };
        let ends = self.connections.iter().flatten().map(may_go);
        ends.chain(sample_ms).chain(busy_ms).min()
    }

    /// Lets them in, goes on with them, and takes a sample if it is time; the turn of clients and servers is over.
    pub fn turn(&mut self, service: &mut Service<World>) {
        let was_on = std::mem::replace(&mut self.is_on, service.world().process.has_status());
        if !self.is_on {
            if was_on {
                self.history.clear();
            }
            if self.connections.iter().all(Option::is_none) {
                return;
            }
        }
        let now_ms = service.world().now_ms();
        if self.is_on && now_ms >= self.history.due_ms() {
            self.history.sample(now_ms, &service.report());
            service.world().process.accept_status_again();
        }
        let mut replies = 0;
        self.is_busy = false;
        for slot in &mut self.connections {
            let Some(connection) = slot else {
                continue;
            };
            let then = connection.go_on(service, &self.history, &mut replies, now_ms);
            connection.is_idle = then == Then::Waits && !matches!(connection.state, State::Writing(..));
            self.is_busy |= then == Then::NextTurn;
            if then == Then::Ends {
                *slot = None;
                service.world().freed = true;
            }
        }
        self.accept(service.world(), now_ms);
    }

    /// Lets in who waits.
    fn accept(&mut self, world: &mut World, now_ms: u64) {
        self.is_full = false;
        for _ in 0..CONNECTIONS_MAX {
            if !world.process.may_accept_status() {
                return;
            }
            let Some(place) = self.place(now_ms) else {
                self.is_full = true;
                return;
            };
            let Some(socket) = world.process.accept_status() else {
                return;
            };
            self.connections[place] = Connection::new(socket, place, &world.registry, now_ms + PATIENCE_MS).ok();
        }
        self.is_busy = true;
    }

    /// A place for one more: where all are taken, that of the oldest that makes magent wait, which has to go. Where none does, who
    /// comes waits.
    fn place(&self, now_ms: u64) -> Option<usize> {
        let free = self.connections.iter().position(Option::is_none);
        let idle_until_ms = |place: &usize| {
            let connection = self.connections[*place].as_ref();
            let idle = connection.filter(|connection| connection.is_idle && connection.silent_ms() <= now_ms);
            idle.map(|connection| connection.until_ms)
        };
        let idle = (0..CONNECTIONS_MAX).filter(|place| idle_until_ms(place).is_some());
        free.or_else(|| idle.min_by_key(idle_until_ms))
    }
}

impl Connection {
    fn new(mut socket: TcpStream, place: usize, registry: &Registry, until_ms: u64) -> io::Result<Self> {
        let token = Token(super::STATUS + place);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            socket,
            until_ms,
            readable: true,
            writable: true,
            read: 0,
            is_idle: false,
            state: State::Reading(Vec::new()),
        })
    }

    /// When it has been silent for so long that it may have to go.
    fn silent_ms(&self) -> u64 {
        self.until_ms - PATIENCE_MS + SILENCE_MS
    }

    fn go_on(&mut self, service: &Service<World>, history: &History, replies: &mut usize, now_ms: u64) -> Then {
        let is_late = now_ms >= self.until_ms;
        if let State::Reading(mut request) = std::mem::replace(&mut self.state, State::Closing) {
            let is_over = self.read(Some(&mut request));
            let reply = match status::is_complete(&request) {
                true if *replies == REPLIES_IN_A_TURN => {
                    self.state = State::Reading(request);
                    return Then::NextTurn;
                }
                true => {
                    *replies += 1;
                    let report = service.report();
                    let events = &service.proxy().world().events;
                    let view = View {
                        report: &report,
                        history,
                        events,
                    };
                    status::answer(&request, &view)
                }
                false if is_over => return Then::Ends,
                false if is_late => status::refuse_slow(service.proxy().world().unix_time_s()),
                false => {
                    self.state = State::Reading(request);
                    return Then::Waits;
                }
            };
            self.state = State::Writing(reply, 0);
        }
        match self.write() {
            Ok(true) => {}
            Ok(false) if !is_late => return Then::Waits,
            Ok(false) | Err(_) => return Then::Ends,
        }
        match self.read(None) || is_late {
            true => Then::Ends,
            false => Then::Waits,
        }
    }

    /// Reads what is there, as far as anybody may say so much. Returns whether no more is to be read.
    fn read(&mut self, mut into: Option<&mut Vec<u8>>) -> bool {
        let mut bytes = [0; 2048];
        while self.readable {
            match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Ok(count) => {
                    self.read += count;
                    if self.read > BYTES_MAX {
                        return true;
                    }
                    if let Some(request) = &mut into {
                        request.extend_from_slice(&bytes[..count]);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return true,
            }
        }
        false
    }

    /// Writes as much of the reply as the socket takes. Returns whether that was all.
    fn write(&mut self) -> io::Result<bool> {
        let State::Writing(reply, written) = &mut self.state else {
            return Ok(true);
        };
        while *written < reply.len() {
            if !self.writable {
                return Ok(false);
            }
            match self.socket.write(&reply[*written..]) {
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        self.state = State::Closing;
        self.socket.shutdown(Shutdown::Write)?;
        Ok(true)
    }
}
