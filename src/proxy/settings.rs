//! What the proxy needs to know before it starts; the configuration makes one of these, validated.

pub use super::limits::Limits;
use super::net::Address;
use crate::ring::{Member, Spread};
use std::fmt;
use std::net::IpAddr;

/// One memcached, as the administrator named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// The host as written, without brackets, or a unix socket's path: the name that ketama hashes, so that a host name
    /// keeps its keys when its address changes.
    pub host: String,
    /// 0 for a unix socket.
    pub port: u16,
    /// Where it is reached; two names with one address are one server.
    pub address: Address,
    /// Its share of the keys of its farm, 1 to 1,000,000.
    pub weight: u32,
    /// The name that twemproxy's distributions hash in the address's place, if it has one.
    pub ring_name: Option<String>,
}

impl ServerName {
    /// What the ring of its farm knows of it.
    pub fn member(&self) -> Member<'_> {
        Member {
            host: &self.host,
            port: self.port,
            weight: self.weight,
            name: self.ring_name.as_deref(),
        }
    }

    /// Whether it was given by a host name, whose address may change.
    pub fn is_by_name(&self) -> bool {
        !matches!(self.address, Address::Unix(_)) && self.host.parse::<IpAddr>().is_err()
    }

    /// Whether both are one server: by address, or, where that is not known of both, as written.
    pub fn is_same(&self, other: &ServerName) -> bool {
        let unresolved = self.address == Address::Unresolved || other.address == Address::Unresolved;
        match unresolved {
            true => (&self.host, self.port) == (&other.host, other.port),
            false => self.address == other.address,
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            _ if self.host.contains(':') => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// When every copy that is up has answered: an acknowledged write survives the death of either server.
    All,
    /// When the primary has answered.
    Primary,
}

/// When a miss on the primary makes magent ask the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Always.
    Partner,
    /// Only when the primary has come back from being down, and may have lost what it held.
    Cold,
}

/// After how long a read that its server has not answered is asked of the server's partner as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// After some times as long as that server mostly takes.
    Adaptive,
    /// After so many milliseconds, at least 1.
    After(u64),
    Never,
}

/// No request takes so long.
pub const NEVER_SLOW: u32 = u32::MAX;

/// The proxy's settings. All limits are upper bounds, inclusive.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one.
    pub primaries: Vec<ServerName>,
    pub backups: Vec<ServerName>,
    pub spread: Spread,
    /// What `-i` says, 1 to 1000, for `stats settings`. There is one link to a server.
    pub links_max: usize,
    /// Connections of clients.
    pub clients_max: usize,
    /// A server that lets somebody wait and says nothing for this long counts as down.
    pub timeout_ms: u64,
    /// One whose partner answers does so earlier, by how long it mostly takes; see `fleet::silence`.
    pub adaptive_timeout: bool,
    pub ack: Ack,
    pub miss: Miss,
    pub hedge: Hedge,
    /// A client's request that takes so long, in microseconds, is told of in the log; [`NEVER_SLOW`] for none.
    pub slow_us: u32,
    /// Bytes of a value.
    pub item_bytes_max: usize,
    /// Bytes that clients have not sent in full or not taken, together; above it the client that holds the most is closed.
    pub memory_bytes_max: usize,
    /// Magents find each other by an item on each server; see `fleet::board`.
    pub board: bool,
    /// What no option sets.
    pub limits: Limits,
    /// Lines and values of the right form go on as they came; if not, they are written anew, which is the same to everybody.
    pub verbatim: bool,
}

impl Settings {
    /// The servers of both farms, as often as they are named.
    pub fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.primaries.iter().chain(&self.backups)
    }

    /// The same, to fill in their addresses.
    pub fn servers_mut(&mut self) -> impl Iterator<Item = &mut ServerName> {
        self.primaries.iter_mut().chain(&mut self.backups)
    }
}
