//! A server: its health, and what is known of it.
//!
//! ```text
//!          link lost, refused, silent past the timeout
//!   Up --------------------------------------------------> Down
//!    ^                                                      |  probe due: connect, say "stats"
//!    |  deletions of the missed keys, or its flush_all,     v
//!    |  are on their way                                Rejoining --> Down again, with a longer pause
//!    +--------------------------- Probing -> Draining -> Reading -> Comparing
//! ```
//! At start a server is taken to be up, so that a request that comes first waits for the connection rather than being
//! refused; a server that is not there says so at once.
//!
//! What is believed of it and of its keys, and so whether clients' requests may be sent to it, the ledger says.

use crate::protocol::server::Dialect;
use crate::protocol::server::list::ListBy;
use crate::proxy::fleet::contact::Contact;
use crate::proxy::fleet::holdings::Holdings;
use crate::proxy::fleet::introduction::{Acquaintance, Introduction, Life};
use crate::proxy::fleet::version::Version;
use crate::proxy::settings::ServerName;
use std::net::SocketAddr;

/// The first pause between a server going down and the probe that looks for it.
pub const PROBE_PAUSE_MIN_MS: u64 = 100;
/// Pauses between probes double up to this.
pub const PROBE_PAUSE_MAX_MS: u64 = 2000;

#[derive(Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    Down {
        cause: Cause,
        probe_at_ms: u64,
        away: Away,
    },
    /// It is being probed, or is told to forget what it missed; nobody reads from it.
    Rejoining {
        step: Rejoining,
        away: Away,
    },
    /// The configuration does not name it any more: what is in flight is answered, then its links are closed.
    Retired,
}

/// Of a server that is not up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    pub since_ms: u64,
    /// Between probes.
    pub pause_ms: u64,
    /// Of the life that it was in; 0 if that is not known.
    pub tag: u32,
}

/// Why a server is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It refused, broke off, or let somebody wait.
    Server,
    /// magent itself had no descriptor, port or memory for a link to it, the last time that it wanted one.
    Magent,
}

/// What a server that may be back is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejoining {
    /// An answer on a new connection.
    Probing,
    /// It answered; now for the end of what it was sent before it fell silent, until the time given at the latest.
    Draining { until_ms: u64 },
    /// It has nothing left to say; now for its board, which tells whether others were without its partners meanwhile.
    Reading(Board),
    /// Now for its partners to answer what they had been asked by the time given, lest they
    /// are believed about writes that it missed when they are gone too, and not yet found out.
    Comparing { asked_ms: u64 },
}

/// How far the board of a server that returns is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// It was asked for.
    Asked,
    /// There are others: they are given until then to write there what they have found out just now.
    Noticed { until_ms: u64, looks: u8 },
    /// It was asked for so often once more.
    AskedAgain { looks: u8 },
    /// It was read, or cannot be.
    Read,
}

/// What is known of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has not said anything yet.
    Nothing,
    /// The same, and the configuration names it since a reload: it lacks what its partners have, however old it is.
    Newcomer,
    /// It was in this one when it last said so.
    Life(Life),
}

/// What a server has, and its partners have not, when magent is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It has not been compared with a partner.
    Unseen,
    /// That is its own: nobody is known to have deleted it.
    Kept,
    /// It may be what was deleted without it.
    Doubtful,
}

/// Something for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    Made,
    /// It has returned, or was filled, and it is still to be said.
    Due,
}

/// One memcached.
pub struct Server {
    pub name: ServerName,
    pub health: Health,
    /// When it last returned.
    pub returned_ms: Option<u64>,
    /// When it has settled, while the ledger says that it has not.
    pub settles_ms: u64,
    pub life: Known,
    /// It was seen to begin, and it is not known yet by which number.
    pub is_newborn: bool,
    /// It has said in which, to this magent.
    pub was_introduced: bool,
    /// What it missed before this magent was started is known.
    pub is_remembered: bool,
    /// What it has said of itself so far, on a link that was just opened.
    pub introduction: Introduction,
    /// What tells that life from one that began in the same second.
    pub acquaintance: Acquaintance,
    /// What it had when magent was started, and its partners had not.
    pub own: Own,
    /// When that life began, in milliseconds on magent's clock and to the second, if it says; negative before magent's
    /// own start.
    pub born_ms: Option<i64>,
    /// Less for the server that was not lost since it began to decide (`heirs`), else for the one whose life began earlier, by what it says
    /// itself, and where two say the same, by the numbers on their boards: the same for every magent. `u64::MAX` if it says nothing.
    pub seniority: (u32, u64, u64),
    /// Its number, by its board, in this life.
    pub id: Option<u64>,
    /// What tells what was written to it while others were without its partners, or this magent without it.
    pub contact: Contact,
    /// Seconds by which its clock is ahead of magent's, as far as it is by more than a rounding; see `clock`.
    pub clock_ahead_s: i64,
    /// What it said of its items when this life of it was first seen.
    pub holdings: Holdings,
    /// How many items it held when this magent had seen all servers; None if it was away then.
    pub items_at_start: Option<u64>,
    /// What marks its cas uniques; see `unique`. Of no meaning until it is confirmed.
    pub tag: u32,
    /// That it has all that its partners have.
    pub announcement: Announcement,
    /// Where its host name leads, if another server is there, as the log has said.
    pub misled_to: Option<SocketAddr>,
    /// Its memcached's version, if it says.
    pub version: Option<Version>,
    /// What it understands, as far as we know.
    pub dialect: Dialect,
    /// How it can list its keys, as far as we know.
    pub lists: ListBy,
    /// It has refused an item, as too large or for want of memory, in this life.
    pub has_refused: bool,
    pub counters: Counters,
    /// When the log last told that it refuses copies.
    pub refusal_told_ms: Option<u64>,
}

/// Counted since the start, or since `stats reset`.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    pub requests: u64,
    /// Answers that were an error of the server's own.
    pub errors: u64,
    pub timeouts: u64,
    /// Times it went down.
    pub failures: u64,
    /// Reads that its partner was asked for too, because it let them wait.
    pub hedges: u64,
    /// Keys that were copied to it one by one: read from its partner, or answered differently.
    pub repairs: u64,
    /// Items, and bytes of their values, that it was filled with after it had lost them.
    pub resync_items: u64,
    pub resync_bytes: u64,
    /// Copies of what its partner has stored that it refused, as too large or for want of memory.
    pub refused: u64,
}

impl Server {
    pub fn new(name: ServerName) -> Self {
        Self {
            name,
            health: Health::Up,
            returned_ms: None,
            settles_ms: 0,
            life: Known::Nothing,
            is_newborn: false,
            was_introduced: false,
            is_remembered: false,
            introduction: Introduction::default(),
            acquaintance: Acquaintance::default(),
            own: Own::Unseen,
            born_ms: None,
            seniority: (0, u64::MAX, 0),
            id: None,
            contact: Contact::default(),
            clock_ahead_s: 0,
            holdings: Holdings::default(),
            items_at_start: None,
            tag: 0,
            announcement: Announcement::Made,
            misled_to: None,
            version: None,
            dialect: Dialect::Meta,
            lists: ListBy::Hash,
            has_refused: false,
            counters: Counters::default(),
            refusal_told_ms: None,
        }
    }

    /// Notes which version it is, and what follows from that until it says otherwise.
    pub fn is_version(&mut self, version: Option<Version>) {
        self.version = version;
        self.dialect = match self.is_since(Version::HAS_META) {
            true => Dialect::Meta,
            false => Dialect::Text,
        };
        self.list_again();
    }

    /// Whether it answers meta commands, as far as we know.
    pub fn knows_meta(&self) -> bool {
        self.dialect == Dialect::Meta
    }

    /// Whether it has what this version brought, as far as we know.
    pub fn is_since(&self, version: Version) -> bool {
        self.version.is_none_or(|own| own >= version)
    }

    /// Lets it list its keys as it should be able to, though it could not.
    pub fn list_again(&mut self) {
        self.lists = match self.is_since(Version::LISTS_HASH) {
            true => ListBy::Hash,
            false => ListBy::Lru,
        };
    }
}
