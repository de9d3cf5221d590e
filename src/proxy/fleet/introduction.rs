//! What a server says of itself at the beginning of a link; see `life`.

use crate::protocol::server::answer::unsigned;
use crate::proxy::fleet::holdings::Holdings;
use crate::proxy::fleet::version::Version;

/// A memcached says that it has been up for 2 seconds when it starts, and counts on after a second at the earliest. Up to
/// this it may be in the second of its start.
const UPTIME_YOUNG_MAX_S: i64 = 3;
/// So long after such an answer it may still have been in it.
const YOUNG_MS: u64 = 2000;
/// More seconds than any server has run, or any clock shows: what is above is no answer.
const SECONDS_MAX: u64 = 1 << 40;

/// What differs between two lives of a server. Where both begin in one second, with one process number, as in a container,
/// its count of connections tells: in one life the next connection makes it greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub pid: u64,
    /// The unix second of its start by its own clock: `time` less `uptime`, which does not change while it lives.
    pub started_s: i64,
}

impl Life {
    /// Less for the one that began earlier. Of two that began in one second the process numbers decide, which no magent sees
    /// otherwise.
    pub fn seniority(&self) -> u64 {
        const PID_BITS: u32 = 22; // as many as Linux has
        (self.started_s.max(0) as u64) << PID_BITS | (self.pid & ((1 << PID_BITS) - 1))
    }
}

/// What a server has said in answer to `stats` so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Introduction {
    pub pid: u64,
    pub uptime_s: Option<i64>,
    pub time_s: i64,
    /// How many connections there have been.
    pub connections: Option<u64>,
    pub version: Option<Version>,
    pub holdings: Holdings,
}

impl Introduction {
    /// Takes one of the things that it says.
    pub fn take(&mut self, name: &[u8], value: &[u8]) {
        // What is no number that a memcached writes was not said.
        match name {
            b"pid" => self.pid = unsigned(value).unwrap_or(0),
            b"uptime" => self.uptime_s = seconds(value),
            b"time" => self.time_s = seconds(value).unwrap_or(0),
            b"total_connections" => self.connections = unsigned(value),
            b"version" => self.version = Version::parse(value),
            b"curr_items" => self.holdings.items = unsigned(value).unwrap_or(0),
            b"total_items" => self.holdings.stored = unsigned(value).unwrap_or(0),
            b"cmd_set" | b"incr_hits" | b"incr_misses" | b"decr_hits" | b"decr_misses" => {
                self.holdings.commands = self.holdings.commands.saturating_add(unsigned(value).unwrap_or(0));
            }
            _ => {}
        }
    }
}

/// Seconds, of which sums and differences, and the milliseconds, have room in an `i64`.
fn seconds(value: &[u8]) -> Option<i64> {
    unsigned(value)
        .filter(|&seconds| seconds <= SECONDS_MAX)
        .map(|seconds| seconds as i64)
}

/// What of a server's last introduction tells whether the next is of the same life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acquaintance {
    pub connections: u64,
    /// If nothing was heard of it after this, it may have been started anew in the second of its start.
    young_until_ms: u64,
    pub heard_ms: u64,
}

impl Acquaintance {
    pub fn of(said: &Introduction, now_ms: u64) -> Self {
        let young = said.uptime_s.is_some_and(|uptime_s| uptime_s <= UPTIME_YOUNG_MAX_S);
        Self {
            connections: said.connections.unwrap_or(0),
            young_until_ms: if young { now_ms + YOUNG_MS } else { 0 },
            heard_ms: now_ms,
        }
    }

    /// Whether who says this, on a new connection, with the same process number and second, is somebody else.
    pub fn is_left_behind(&self, said: &Introduction) -> bool {
        let young = self.heard_ms < self.young_until_ms;
        young
            && said
                .connections
                .is_some_and(|connections| connections <= self.connections)
    }
}
