//! The proxy's only window on the world.
//!
//! The reactor implements [`Net`] with mio and the system's clock; a simulator implements it with pipes in memory and a
//! clock of its own. Dispatch is static, so the trait costs nothing at run time.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    /// Of a host name that has not been found yet: every connection to it fails at once.
    Unresolved,
    Unix(PathBuf),
}

/// Names a connection in an event: an index into the proxy's slab of clients or of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Token {
    Client(usize),
    Link(usize),
}

/// What an event says about a connection. An event may be late or spurious: it is a hint to try, never a promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer will send no more, or the connection failed: reading on ends in end-of-file or an error.
    pub closed: bool,
}

/// How far what was written to a connection has come, as its machine's kernel knows from the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is on the other end's machine, or it is not known where it is.
    Arrived,
    /// It is on its way: not all of it is acknowledged, and something was a moment ago.
    UnderWay,
    /// It has not come there, and nothing is acknowledged any more: if the connection is closed it never will.
    Stuck,
}

/// What is to be written to the journal of what servers miss.
#[derive(Debug, PartialEq, Eq)]
pub enum Writing {
    /// This, in place of what stands there.
    Anew(Vec<u8>),
    /// This, behind it.
    More(Vec<u8>),
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
    Notice,
    /// Shown with `-v`: connections of clients.
    Info,
    /// Shown with `-vv`: requests.
    Debug,
}

/// A time, counted from one that no clock tells. Taken once a turn, it is that of all that happens in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Microseconds.
    pub us: u64,
    /// The same, divided once and not by each who asks.
    ms: u64,
}

impl Time {
    /// So many microseconds.
    pub fn of_us(us: u64) -> Self {
        Self { us, ms: us / 1000 }
    }

    /// In whole milliseconds.
    #[inline]
    pub fn ms(self) -> u64 {
        self.ms
    }

    /// The lower 32 bits, for what takes no longer than an hour: a wrapping difference of two is how long it took.
    #[inline]
    pub fn low_us(self) -> u32 {
        self.us as u32
    }
}

/// Sockets, clocks and the log. Sockets are non-blocking, watched for both directions, and edge-triggered: after a read
/// or write that was short, or said `WouldBlock`, an event follows when there is more to do.
pub trait Net {
    type Socket;

    /// Begins to connect to a server. Success may still be followed by failure on the first read or write; until it is
    /// connected, a write says `WouldBlock` or `NotConnected`. An error of kind `QuotaExceeded` says nothing of the server:
    /// this process or machine has no descriptor, port or memory left for a connection.
    fn connect(&mut self, address: &Address, token: Token) -> io::Result<Self::Socket>;

    /// Watches a socket that was accepted; its events carry `token` from now on.
    fn adopt(&mut self, socket: &mut Self::Socket, token: Token) -> io::Result<()>;

    /// Reads what is there; 0 is the end of the stream.
    fn read(&mut self, socket: &mut Self::Socket, into: &mut [u8]) -> io::Result<usize>;

    /// Writes the pieces in order, as far as the socket takes them, and says how many bytes that were.
    fn write(&mut self, socket: &mut Self::Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Where a connection comes from; None for a unix socket, and where the system does not say.
    fn peer(&self, socket: &Self::Socket) -> Option<SocketAddr>;

    /// How far what was written last has come.
    fn delivery(&self, _socket: &Self::Socket) -> Delivery {
        Delivery::Arrived
    }

    /// How many packets of what was written to a connection were lost, as far as is known.
    fn lost_packets(&self, _socket: &Self::Socket) -> u32 {
        0
    }

    /// Ends the connection. Events that are already on their way may still name its token.
    fn close(&mut self, socket: Self::Socket);

    /// The time on a clock that never goes back.
    fn now(&self) -> Time;

    /// The same in milliseconds.
    fn now_ms(&self) -> u64 {
        self.now().ms()
    }

    /// Seconds since 1970, for what memcached expresses in them.
    fn unix_time_s(&self) -> u64;

    /// The number of this process.
    fn process_id(&self) -> u32 {
        std::process::id()
    }

    /// A number that no other magent has.
    fn identity(&self) -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// Processor time that this process has used, in its own code and in the system's.
    fn cpu_time(&self) -> (Duration, Duration);

    /// Memory that this process has, in bytes; 0 if it is not known.
    fn resident_bytes(&self) -> u64;

    /// Writes to the journal, soon. That it failed is told by [`Control`](super::control::Control).
    fn write_journal(&mut self, _what: Writing) {}

    /// Writes one line to the log.
    fn log(&mut self, level: Level, line: fmt::Arguments<'_>);
}
