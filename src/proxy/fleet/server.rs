//! A server: its health, what it may lack, and what is known of it.
//!
//! ```text
//!          link lost, refused, silent past the timeout
//!   Up --------------------------------------------------> Down
//!    ^                                                      |  probe due: connect, say "stats"
//!    |  deletions of the missed keys, or its flush_all,     v
//!    |  are on their way                                Rejoining --> Down again, with a longer pause
//!    +------------------------------------- Probing -> Draining -> Comparing
//! ```
//! At start a server is taken to be up, so that a request that comes first waits for the connection rather than being
//! refused; a server that is not there says so at once.
//!
//! A server that is up may still lack items that its partners have ([`Lack`]); see `resync`.

use crate::proxy::fleet::life::{Acquaintance, Introduction, Life, Version};
use crate::proxy::fleet::missed::{MISSED_KEY_OVERHEAD, Missed, Outcome};
use crate::proxy::fleet::past::Holdings;
use crate::proxy::limits::Limits;
use crate::proxy::settings::ServerName;
use std::collections::{BTreeSet, VecDeque};

/// The first pause between a server going down and the probe that looks for it.
pub const PROBE_PAUSE_MIN_MS: u64 = 100;
/// Pauses between probes double up to this.
pub const PROBE_PAUSE_MAX_MS: u64 = 2000;

#[derive(Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    Down {
        cause: Cause,
        since_ms: u64,
        probe_at_ms: u64,
        pause_ms: u64,
    },
    /// It is being probed, or is told to forget what it missed; nobody reads from it.
    Rejoining {
        since_ms: u64,
        pause_ms: u64,
        step: Rejoining,
    },
    /// The configuration does not name it any more: what is in flight is answered, then its links are closed.
    Retired,
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
    /// It has nothing left to say; now for its partners to answer what they had been asked by the time given, lest they
    /// are believed about writes that it missed when they are gone too, and not yet found out.
    Comparing { asked_ms: u64 },
}

/// What a server may lack that one of its partners has.
#[derive(Debug)]
pub struct Lack {
    /// The partner.
    pub from: usize,
    pub what: Lacking,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Lacking {
    /// These keys; without any it is only waited until the server has settled.
    Keys(KeySet),
    /// Whatever the partner has.
    Everything,
    /// The same, and what it has itself may be old: keys came to it by new settings, perhaps not for the first time.
    Suspect,
    /// The same, and the partner cannot say what that is.
    Unlistable,
    /// Hardly anything, but it may have been given what another magent was deleting just then, and the partner's list may
    /// have left something out. Looked into once it has settled.
    Unverified,
}

/// Keys, each once, and what they take.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: BTreeSet<Box<[u8]>>,
    /// Kept beside the keys: adding them up anew for each key that comes would cost as much as there are.
    bytes: usize,
}

impl KeySet {
    pub fn insert(&mut self, key: Box<[u8]>) {
        let weight = key.len() + MISSED_KEY_OVERHEAD;
        if self.keys.insert(key) {
            self.bytes += weight;
        }
    }

    pub fn remove(&mut self, key: &[u8]) {
        if self.keys.remove(key) {
            self.bytes -= key.len() + MISSED_KEY_OVERHEAD;
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(AsRef::as_ref)
    }

    /// Takes the keys of another in. Each costs a search, so the smaller set goes into the larger one.
    fn absorb(&mut self, mut other: KeySet) {
        if other.keys.len() > self.keys.len() {
            std::mem::swap(self, &mut other);
        }
        other.keys.into_iter().for_each(|key| self.insert(key));
    }
}

impl Lacking {
    /// Whether there is nothing to be copied any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Lacking::Keys(keys) if keys.is_empty())
    }
}

/// One memcached.
pub struct Server {
    pub name: ServerName,
    pub health: Health,
    /// Counts the times that it went down or turned out to have been started anew.
    pub epoch: u32,
    /// The open link: an index into the proxy's slab of links.
    pub link: Option<usize>,
    /// Links in quarantine, with answers still to come; see `quarantine`.
    pub quarantined: Vec<usize>,
    /// Such links were given up, though what they brought may still be run. It must answer twice more, with a pause
    /// between: then it has got to all that had come before.
    pub quarantine_given_up: bool,
    /// Whether it has done all that it had been sent on such links, as far as it has answered.
    pub drained: bool,
    pub missed: Missed,
    /// Bounds of what is remembered of such keys, and of those that it lacks of one partner's.
    missed_bytes_max: usize,
    lacking_bytes_max: usize,
    /// It does not know of the flush_all that is still to come.
    pub owes_flush: bool,
    /// What it may lack, a partner at most once.
    pub lacks: Vec<Lack>,
    /// Until then others may have to remove what it missed of theirs, so its partner is asked first.
    pub settles_ms: Option<u64>,
    /// Which life it was in when it last said so; None before it first did.
    pub life: Option<Life>,
    /// Whether that was on the link that is open now.
    pub confirmed: bool,
    /// What it has said of itself so far, on a link that was just opened.
    pub introduction: Introduction,
    /// What tells that life from one that began in the same second.
    pub acquaintance: Acquaintance,
    /// When that life began, in milliseconds on magent's clock and to the second, if it says; negative before magent's
    /// own start.
    pub born_ms: Option<i64>,
    /// Seconds by which its clock is ahead of magent's, as far as it is by more than a rounding; see `clock`.
    pub clock_ahead_s: i64,
    /// What it said of its items when this life of it was first seen.
    pub holdings: Holdings,
    /// How many items it held when this magent had seen all servers; None if it was away then.
    pub items_at_start: Option<u64>,
    /// What marks its cas uniques; see `unique`. Of no meaning until it is confirmed.
    pub tag: u32,
    /// Its process is known to have ended, and what it held with it.
    pub gone: bool,
    /// It was started anew since it was last up.
    pub lost_memory: bool,
    /// It has returned, or was filled, and it is still to be said that it has all that its partners have.
    pub is_whole_to_be_told: bool,
    /// Its host name leads to where another server is.
    pub is_elsewhere: bool,
    /// The configuration names it since a reload: it lacks what its partners have, however old it is.
    pub newcomer: bool,
    /// Its memcached's version, if it says.
    pub version: Option<Version>,
    /// It answers meta commands, as far as we know.
    pub has_meta: bool,
    /// It can list its keys by its hash table, as far as we know.
    pub lists_hash: bool,
    pub bulk: Bulk,
    pub counters: Counters,
    /// When the log last told that it refuses copies.
    pub refusal_told_ms: Option<u64>,
}

/// Large portions of retrievals. Their values come on the link that all clients share, so it is asked for a few at a time, of
/// one client after the other: who asks for something small behind them waits for these few.
#[derive(Debug, Default)]
pub struct Bulk {
    /// Bytes that those asked for were foreseen to come to.
    pub foreseen_bytes: usize,
    /// Retrievals that wait for their turn. Some may be over.
    pub waiting: VecDeque<usize>,
}

impl Bulk {
    /// Whether so many bytes more have to wait.
    pub fn is_full(&self, limits: &Limits, bytes: usize) -> bool {
        self.foreseen_bytes > 0 && self.foreseen_bytes + bytes > limits.bulk_bytes
    }

    /// The same for those whose turn it is not: they wait behind those who wait.
    pub fn is_taken(&self, limits: &Limits, bytes: usize) -> bool {
        !self.waiting.is_empty() || self.is_full(limits, bytes)
    }
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
    /// Keys whose write it missed.
    pub missed: u64,
    /// Keys that were copied to it one by one: read from its partner, or answered differently.
    pub repairs: u64,
    /// Items, and bytes of their values, that it was filled with after it had lost them.
    pub resync_items: u64,
    pub resync_bytes: u64,
    /// Copies of what its partner has stored that it refused, as too large or for want of memory.
    pub refused: u64,
}

impl Server {
    pub fn new(name: ServerName, limits: &Limits) -> Self {
        Self {
            name,
            health: Health::Up,
            epoch: 0,
            link: None,
            quarantined: Vec::new(),
            quarantine_given_up: false,
            drained: false,
            missed: Missed::Nothing,
            missed_bytes_max: limits.missed_bytes,
            lacking_bytes_max: limits.lacking_bytes,
            owes_flush: false,
            lacks: Vec::new(),
            settles_ms: None,
            life: None,
            confirmed: false,
            introduction: Introduction::default(),
            acquaintance: Acquaintance::default(),
            born_ms: None,
            clock_ahead_s: 0,
            holdings: Holdings::default(),
            items_at_start: None,
            tag: 0,
            gone: false,
            lost_memory: false,
            is_whole_to_be_told: false,
            is_elsewhere: false,
            newcomer: false,
            version: None,
            has_meta: true,
            lists_hash: true,
            bulk: Bulk::default(),
            counters: Counters::default(),
            refusal_told_ms: None,
        }
    }

    /// Whether clients' requests may be sent to it.
    pub fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Whether it has been up, in one life, since this was its epoch: what it acknowledged then it still has.
    pub fn is_still(&self, epoch: u32) -> bool {
        self.is_up() && self.epoch == epoch
    }

    /// Whether its word is the truth: it lacks nothing, and nobody else has anything to remove from it.
    pub fn is_warm(&self) -> bool {
        self.confirmed && self.lacks.is_empty() && self.settles_ms.is_none()
    }

    /// How surely it lacks a key that `partner` may have; 0 if it does not.
    pub fn lacks(&self, key: &[u8], partner: usize) -> u8 {
        match self.lack(partner) {
            None => 0,
            Some(Lacking::Keys(keys)) => 2 * u8::from(keys.contains(key)),
            Some(Lacking::Everything | Lacking::Suspect | Lacking::Unlistable | Lacking::Unverified) => 1,
        }
    }

    /// What it lacks of a partner's.
    fn lack(&self, partner: usize) -> Option<&Lacking> {
        let lack = self.lacks.iter().find(|lack| lack.from == partner);
        lack.map(|lack| &lack.what)
    }

    /// Whether what it has of a partner's keys may be old.
    pub fn is_suspect(&self, partner: usize) -> bool {
        self.lack(partner) == Some(&Lacking::Suspect)
    }

    /// Whether it was filled from a partner, and is only to be looked through once more.
    pub fn is_filled_from(&self, partner: usize) -> bool {
        self.lack(partner) == Some(&Lacking::Unverified)
    }

    /// The tag of the cas uniques that it hands out, 0 while it is not known which life it is in.
    pub fn tag(&self) -> u32 {
        if self.confirmed { self.tag } else { 0 }
    }

    /// How little is known of what it holds.
    pub fn doubt(&self) -> u8 {
        match (self.confirmed, self.settles_ms) {
            (false, _) => 2,
            (true, Some(_)) => 1,
            (true, None) => 0,
        }
    }

    /// Notes that it lacks something of a partner's, beside what it lacked before.
    pub fn add_lack(&mut self, from: usize, what: Lacking) {
        let Some(lack) = self.lacks.iter_mut().find(|lack| lack.from == from) else {
            return self.lacks.push(Lack { from, what });
        };
        match (&mut lack.what, what) {
            (Lacking::Keys(old), Lacking::Keys(new)) => {
                old.absorb(new);
                if old.bytes > self.lacking_bytes_max {
                    lack.what = Lacking::Everything;
                }
            }
            // One key more, in a server that may have too many as well: all of it anew.
            (old @ Lacking::Unverified, Lacking::Keys(_)) => *old = Lacking::Everything,
            (_, Lacking::Keys(_)) | (Lacking::Suspect, Lacking::Everything) => {}
            (old, new) => *old = new,
        }
    }

    /// Notes that a partner may have a key that it does not have, after a write that may have come through there only.
    pub fn may_lack(&mut self, key: &[u8], from: usize) {
        let mut keys = KeySet::default();
        keys.insert(key.into());
        self.add_lack(from, Lacking::Keys(keys));
    }

    /// Notes that a partner has not got a key any more either.
    pub fn lacks_no_more(&mut self, key: &[u8], from: usize) {
        let lack = self.lacks.iter_mut().find(|lack| lack.from == from);
        if let Some(Lacking::Keys(keys)) = lack.map(|lack| &mut lack.what) {
            keys.remove(key);
        }
        if self.settles_ms.is_none() {
            self.lacks.retain(|lack| !lack.what.is_over());
        }
    }

    /// Notes which version it is, and what follows from that until it says otherwise.
    pub fn is_version(&mut self, version: Option<Version>) {
        self.version = version;
        self.has_meta = self.is_since(Version::HAS_META);
        self.lists_hash = self.is_since(Version::LISTS_HASH);
    }

    /// Whether it has what this version brought, as far as we know.
    pub fn is_since(&self, version: Version) -> bool {
        self.version.is_none_or(|own| own >= version)
    }

    /// Lets those that could not list their keys try again.
    pub fn list_again(&mut self) {
        self.lists_hash = self.is_since(Version::LISTS_HASH);
        for lack in &mut self.lacks {
            if lack.what == Lacking::Unlistable {
                lack.what = Lacking::Everything;
            }
        }
    }

    /// The word for `stats servers`.
    pub fn state(&self) -> &'static str {
        match self.health {
            Health::Up if self.lacks.is_empty() && self.settles_ms.is_none() => "up",
            Health::Up => "up, cold",
            Health::Down { .. } => "down",
            Health::Rejoining { .. } => "rejoining",
            Health::Retired => "retired",
        }
    }

    /// Notes that it has missed a write that its partner acknowledged.
    pub fn miss(&mut self, key: &[u8]) {
        self.miss_with(key, Outcome::Settled, false);
    }

    /// `brought`: it lay in its socket when it fell silent.
    pub fn miss_with(&mut self, key: &[u8], outcome: Outcome, brought: bool) {
        self.counters.missed += 1;
        self.missed.add(key, outcome, brought, self.missed_bytes_max);
    }

    /// Notes that it has missed a write that its partner acknowledged, and that leaves nothing of what was there. Writes
    /// that were brought come to be noted in their order, and before any that were not, which wait for the last of them:
    /// with this one it has done it all.
    pub fn miss_anew(&mut self, key: &[u8], brought: bool) {
        if let Some(writes) = self.missed.of(key).filter(|_| brought) {
            writes.kept_from = None;
        }
        self.miss_with(key, Outcome::Settled, brought);
    }

    /// Its partner acknowledged a write; if this server has missed that, then for good.
    pub fn missed_for_good(&mut self, key: &[u8]) {
        for brought in [true, false] {
            self.missed.settle(key, Outcome::Settled, brought);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_brought_is_told_from_what_was_kept_back() {
        let left = |server: &mut Server| {
            let writes = server.missed.of(b"a").expect("it was missed");
            (writes.outcome(), writes.outcome_when_done())
        };
        let mut server = Server::new(
            ServerName {
                host: "10.0.0.1".to_owned(),
                port: 11211,
                address: crate::proxy::net::Address::Tcp("10.0.0.1:11211".parse().unwrap()),
            },
            &Limits::default(),
        );
        server.miss_with(b"a", Outcome::Pending, true);
        assert!(server.missed.is_undecided() && server.missed.is_brought());
        server.missed.settle(b"a", Outcome::Settled, true);
        assert!(!server.missed.is_undecided());
        // What its partner tells when that comes back makes no difference: both have it.
        server.missed.settle_where(|_| true);
        assert_eq!(left(&mut server), (Some(Outcome::Settled), None));
        server.miss_with(b"a", Outcome::Open, false);
        server.missed.settle_where(|_| true);
        assert_eq!(left(&mut server), (Some(Outcome::Settled), Some(Outcome::Settled)));
        server.miss_anew(b"a", false);
        assert_eq!(left(&mut server), (Some(Outcome::Settled), Some(Outcome::Settled)));
        server.miss_anew(b"a", true);
        assert_eq!(left(&mut server), (Some(Outcome::Settled), None));
        // Its partner may not have this one.
        server.miss_with(b"a", Outcome::Open, true);
        assert_eq!(left(&mut server), (Some(Outcome::Settled), Some(Outcome::Open)));
        server.missed.settle_where(|_| true);
        assert_eq!(left(&mut server), (Some(Outcome::Settled), Some(Outcome::Settled)));
    }
}
