//! The world as the proxy sees it: mio's sockets, the system's clocks, the log.

use super::CONNECTIONS;
use super::process::Process;
use crate::proxy::net::{Address, Delivery, Level, Net, Time, Token, Writing};
use crate::status::events::Events;
use crate::sys::{self, Log};
use crate::words::Reason;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds in which what comes to a machine is acknowledged by its kernel, whether the process reads it or not: Linux puts that off for
/// 40 (tcp(7) calls it delayed), and a network takes less than the rest.
const ACKNOWLEDGED_MS: u32 = 150;

/// A connection of either kind.
pub enum Socket {
    Tcp(TcpStream),
    /// To a server. There are few of those, and many of the others.
    Link(TcpStream, Box<Ends>),
    Unix(UnixStream),
}

/// The addresses of a connection's two ends: its client's and its server's. One alone is that of other connections, too.
type Ends = (SocketAddr, SocketAddr);

/// What there is one of: the registry of the poll, the clock, the log, and which connections are links.
pub struct World {
    pub(super) registry: Registry,
    pub(super) process: Process,
    started: Instant,
    pub(super) log: Log,
    /// A descriptor has been closed since this was last asked.
    pub(super) freed: bool,
    links: HashSet<Ends>,
    /// It has been told that one of these servers is magent itself.
    told_of_itself: bool,
    /// What the log was told last.
    pub(super) events: Events,
}

impl World {
    pub fn new(registry: Registry, log: Log, process: Process) -> Self {
        Self {
            registry,
            process,
            started: Instant::now(),
            log,
            freed: false,
            links: HashSet::new(),
            told_of_itself: false,
            events: Events::default(),
        }
    }

    /// Keeps a line for who looks at the status page.
    pub fn note_event(&mut self, level: Level, line: &str) {
        self.events.note(sys::local_time(), level, line.to_owned());
    }

    /// Whether a client that has connected from there is magent itself, which takes itself for a server. The log is told
    /// once: it connects again and again.
    pub(super) fn is_own_link(&mut self, socket: &Socket, from: SocketAddr) -> bool {
        let Socket::Tcp(stream) = socket else {
            return false;
        };
        let Ok(here) = stream.local_addr() else {
            return false;
        };
        let is_own = self.links.contains(&(from, here));
        if is_own && !std::mem::replace(&mut self.told_of_itself, true) {
            self.log(
                Level::Error,
                format_args!("{here} leads back to this magent: it is no server"),
            );
        }
        is_own
    }
}

fn to_mio(token: Token) -> mio::Token {
    match token {
        Token::Client(index) => mio::Token(CONNECTIONS + 2 * index),
        Token::Link(index) => mio::Token(CONNECTIONS + 2 * index + 1),
    }
}

pub(super) fn from_mio(token: mio::Token) -> Token {
    let index = (token.0 - CONNECTIONS) / 2;
    match (token.0 - CONNECTIONS) % 2 {
        0 => Token::Client(index),
        _ => Token::Link(index),
    }
}

impl Net for World {
    type Socket = Socket;

    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Socket> {
        let mut socket = match address {
            Address::Tcp(address) => Socket::Tcp(TcpStream::connect(*address).map_err(told_apart)?),
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).map_err(told_apart)?),
            Address::Unresolved => return Err(io::Error::other("its host name has not been found yet")),
        };
        self.adopt(&mut socket, token)?;
        let (stream, server) = match (socket, address) {
            (Socket::Tcp(stream), Address::Tcp(server)) => (stream, *server),
            (socket, _) => return Ok(socket),
        };
        let _ = sys::set_keepalive_soon(&stream);
        let _ = sys::set_reset_on_close(&stream);
        // Connecting to no address in particular is connecting to this machine.
        let server = match server.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())),
            IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, server.port())),
            _ => server,
        };
        let ends = (stream.local_addr()?, server);
        self.links.insert(ends);
        Ok(Socket::Link(stream, Box::new(ends)))
    }

    fn adopt(&mut self, socket: &mut Socket, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match socket {
            Socket::Tcp(stream) | Socket::Link(stream, _) => {
                // Neither can fail on a healthy socket, and a failing one says so soon enough.
                let _ = stream.set_nodelay(true);
                let _ = sys::set_keepalive(stream);
                self.registry.register(stream, to_mio(token), both)
            }
            Socket::Unix(stream) => self.registry.register(stream, to_mio(token), both),
        }
    }

    fn read(&mut self, socket: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
        match socket {
            Socket::Tcp(stream) | Socket::Link(stream, _) => stream.read(into),
            Socket::Unix(stream) => stream.read(into),
        }
    }

    fn write(&mut self, socket: &mut Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match (socket, pieces) {
            (Socket::Tcp(stream) | Socket::Link(stream, _), [piece]) => stream.write(piece),
            (Socket::Tcp(stream) | Socket::Link(stream, _), pieces) => stream.write_vectored(pieces),
            (Socket::Unix(stream), pieces) => stream.write_vectored(pieces),
        }
    }

    fn peer(&self, socket: &Socket) -> Option<SocketAddr> {
        match socket {
            Socket::Tcp(stream) | Socket::Link(stream, _) => stream.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    fn delivery(&self, socket: &Socket) -> Delivery {
        match socket {
            Socket::Tcp(stream) | Socket::Link(stream, _) => match sys::unacknowledged_for_ms(stream) {
                None => Delivery::Arrived,
                Some(..ACKNOWLEDGED_MS) => Delivery::UnderWay,
                Some(_) => Delivery::Stuck,
            },
            Socket::Unix(_) => Delivery::Arrived,
        }
    }

    fn lost_packets(&self, socket: &Socket) -> u32 {
        match socket {
            Socket::Tcp(stream) | Socket::Link(stream, _) => sys::lost_packets(stream),
            Socket::Unix(_) => 0,
        }
    }

    fn write_journal(&mut self, what: Writing) {
        if let Some(journal) = &self.process.journal {
            journal.write(what);
        }
    }

    fn close(&mut self, socket: Socket) {
        self.freed = true;
        if let Socket::Link(_, ends) = &socket {
            self.links.remove(ends);
        }
        // Closing takes it out of the epoll set as well.
        drop(socket);
    }

    fn now(&self) -> Time {
        Time::of_us(self.started.elapsed().as_micros() as u64)
    }

    fn unix_time_s(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }

    fn cpu_time(&self) -> (Duration, Duration) {
        sys::cpu_time()
    }

    fn resident_bytes(&self) -> u64 {
        sys::resident_bytes()
    }

    fn log(&mut self, level: Level, line: fmt::Arguments<'_>) {
        let priority = match level {
            Level::Error => libc::LOG_ERR,
            Level::Warning => libc::LOG_WARNING,
            Level::Notice => libc::LOG_NOTICE,
            Level::Info => libc::LOG_INFO,
            Level::Debug => libc::LOG_DEBUG,
        };
        if Events::keep(level) {
            self.note_event(level, &line.to_string());
        }
        self.log.write(priority, line);
    }
}

/// Tells what this machine lacks from what a server does. (EAGAIN is not among it: it is a unix socket's whose queue is
/// full, and then nobody accepts there.)
fn told_apart(error: io::Error) -> io::Error {
    let lacking = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EADDRNOTAVAIL,
    ];
    match error.raw_os_error() {
        Some(code) if lacking.contains(&code) => io::Error::new(ErrorKind::QuotaExceeded, Reason(&error).to_string()),
        _ => error,
    }
}
