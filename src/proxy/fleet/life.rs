//! Which life of a server this is, and what a new one has lost.
//!
//! Every link begins with `stats`: the process number and the start tell a server that kept its memory from one that was
//! started anew, and the uptimes of two servers which of them is the older. A server that was restarted lacks whatever
//! its partners have, and what others lacked of it is gone for good. When magent itself starts, a server that is younger
//! than its partner lacks what that has: a machine that rebooted starts both.

use crate::protocol::server::answer::unsigned;
use crate::protocol::text::dialect::Dialect;
use crate::proxy::Proxy;
use crate::proxy::fleet::ledger::{Event, Lacking};
use crate::proxy::fleet::past::Holdings;
use crate::proxy::fleet::server::Health;
use crate::proxy::fleet::unique::Tags;
use crate::proxy::net::{Level, Net};
use crate::proxy::timers::Timer;

/// How long after a server has come back others are given to notice and to remove from it what it missed of theirs: the
/// longest pause between their probes and some more, and the timeout, as far as it is no longer than a second.
const SETTLE_MS: u64 = 2500;
const SETTLE_TIMEOUT_MAX_MS: u64 = 1000;
/// Two uptimes, in whole seconds, that differ by less do not tell which server is the older.
const AGE_DIFFERENCE_MIN_MS: i64 = 2000;

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

/// A memcached's version, and what it tells of what that can do. The steps are those of its release notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Before this a memcached crashes when who reads its list leaves.
    pub const LISTS_SAFELY: Version = Version(1, 4, 34);
    /// Since this the end of its list is marked.
    pub const ENDS_LISTS: Version = Version(1, 5, 4);
    /// Since this it knows the meta commands; 1.5.19 to 1.5.22 have others of the same names.
    pub const HAS_META: Version = Version(1, 6, 0);
    /// Since this it lists its keys as commands, too: `lru_crawler mgdump`.
    pub const HAS_MGDUMP: Version = Version(1, 6, 19);
    /// Since this it can list its keys by its hash table.
    pub const LISTS_HASH: Version = Version(1, 6, 9);
    /// Since this its `flush_all` passes over what another of its threads, its crawler perhaps, has locked at that moment.
    pub const FLUSHES_IN_PASSING: Version = Version(1, 6, 25);
    /// Since this it reads command lines by its new parser.
    pub const PARSES_ANEW: Version = Version(1, 6, 40);

    /// Reads the numbers in front, as many as there are: `1.6.18`, `1.6`, `1.4.15_4_gabcdef`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut numbers = text.splitn(3, |&byte| byte == b'.').map(|part| {
            let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
            std::str::from_utf8(&part[..digits]).ok()?.parse().ok()
        });
        let major = numbers.next()??;
        let mut further = || numbers.next().flatten().unwrap_or(0);
        Some(Version(major, further(), further()))
    }
}

/// What a server has said in answer to `stats` so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Introduction {
    pid: u64,
    uptime_s: Option<i64>,
    time_s: i64,
    /// How many connections there have been.
    connections: Option<u64>,
    version: Option<Version>,
    holdings: Holdings,
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
    connections: u64,
    /// If nothing was heard of it after this, it may have been started anew in the second of its start.
    young_until_ms: u64,
    pub heard_ms: u64,
}

impl Acquaintance {
    fn of(said: &Introduction, now_ms: u64) -> Self {
        let young = said.uptime_s.is_some_and(|uptime_s| uptime_s <= UPTIME_YOUNG_MAX_S);
        Self {
            connections: said.connections.unwrap_or(0),
            young_until_ms: if young { now_ms + YOUNG_MS } else { 0 },
            heard_ms: now_ms,
        }
    }

    /// Whether who says this, on a new connection, with the same process number and second, is somebody else.
    fn is_left_behind(&self, said: &Introduction) -> bool {
        let young = self.heard_ms < self.young_until_ms;
        young
            && said
                .connections
                .is_some_and(|connections| connections <= self.connections)
    }
}

impl<N: Net> Proxy<N> {
    /// A server has said which life it is in, when it was asked at that time. Returns whether that is another one than before.
    pub(in crate::proxy) fn introduced(&mut self, index: usize, asked_ms: u64) -> bool {
        let server = &mut self.farm.servers[index];
        let said = std::mem::take(&mut server.introduction);
        self.note_clock(index, said.time_s, asked_ms);
        let server = &mut self.farm.servers[index];
        let life = Life {
            pid: said.pid,
            started_s: said.time_s - said.uptime_s.unwrap_or(0),
        };
        let again = !self.farm.ledger.account(index).is_confirmed() && server.acquaintance.is_left_behind(&said);
        server.acquaintance = Acquaintance::of(&said, self.now_ms);
        let before = server.life.replace(life);
        let anew = before != Some(life) || again;
        self.farm.ledger.record(Event::Introduced { server: index, anew });
        if !anew {
            return false;
        }
        server.holdings = said.holdings;
        server.is_version(said.version);
        self.learn_dialect();
        let server = &mut self.farm.servers[index];
        server.born_ms = said.uptime_s.map(|uptime_s| self.now_ms as i64 - uptime_s * 1000);
        server.tag = self.tags.give(&server.name, life, self.settings.limits.tags_remembered);
        server.lost_memory = before.is_some() && !self.farm.ledger.account(index).is_up();
        self.delayed_flush_forgotten(index);
        match before {
            Some(_) => self.emptied(index, "server was restarted"),
            None => self.seen_first(index),
        }
        before.is_some()
    }

    /// Clients' lines are read as the oldest of the servers would read them, or as the newest memcached where none has said
    /// its version.
    pub(in crate::proxy) fn learn_dialect(&mut self) {
        let servers = self.farm.servers.iter();
        let in_use = servers.filter(|server| server.health != Health::Retired);
        self.dialect = match in_use.filter_map(|server| server.version).min() {
            Some(version) if version < Version::PARSES_ANEW => Dialect::Old,
            _ => Dialect::New,
        };
    }

    /// A server holds nothing any more, for the reason given: it lacks everything, and others lack nothing of it. It is to
    /// be filled by all its partners.
    pub(in crate::proxy) fn emptied(&mut self, index: usize, reason: &str) {
        self.farm.ledger.record(Event::Emptied {
            server: index,
            partners: &self.farm.partners(index),
        });
        self.break_off_resync(index, format_args!("{reason}"));
        self.settle_later(index);
    }

    /// Gives others time to notice that a server is there again.
    pub(in crate::proxy) fn settle_later(&mut self, index: usize) {
        if !self.farm.partners(index).is_empty() {
            let settles_ms = self.now_ms + SETTLE_MS + self.settings.timeout_ms.min(SETTLE_TIMEOUT_MAX_MS);
            self.farm.ledger.record(Event::Settling(index));
            self.farm.servers[index].settles_ms = settles_ms;
            self.farm.servers[index].is_whole_to_be_told = true;
            self.timers.set(Timer::Settle, settles_ms);
            self.copier.want_resync();
        }
    }

    /// A server is seen for the first time: of it and each of its partners the younger lacks what the older has.
    fn seen_first(&mut self, index: usize) {
        if std::mem::take(&mut self.farm.servers[index].newcomer) {
            return; // it lacks it all, and nobody lacks anything of it
        }
        if !self.starting && self.suspect_who_was_away(index) {
            return;
        }
        for partner in self.farm.partners(index) {
            let born = [index, partner].map(|index| self.farm.servers[index].born_ms);
            let [Some(born_ms), Some(others_ms)] = born else {
                continue;
            };
            if self.starting && self.suspect_who_was_restored(index, partner) {
                continue; // its uptime is that of its former life
            }
            let difference_ms = born_ms - others_ms;
            if difference_ms.abs() < AGE_DIFFERENCE_MIN_MS {
                continue;
            }
            let (younger, older) = if difference_ms > 0 {
                (index, partner)
            } else {
                (partner, index)
            };
            self.farm.ledger.record(Event::Lacks {
                server: younger,
                from: older,
                what: Lacking::Everything,
            });
            self.settle_later(younger);
            let (young, old) = (&self.farm.servers[younger].name, &self.farm.servers[older].name);
            self.log.say(
                Level::Notice,
                format_args!("server {young} was started later than {old}, and may lack what that has"),
            );
        }
    }

    /// A server has been up for long enough that nobody has anything to remove from it any more.
    pub(in crate::proxy) fn settled(&mut self, index: usize) {
        let partners_are_up = self
            .farm
            .partners(index)
            .iter()
            .all(|&partner| self.farm.is_up(partner));
        self.farm.ledger.record(Event::Settled(index));
        let is_sound = self.farm.ledger.account(index).is_sound();
        let server = &mut self.farm.servers[index];
        if is_sound && partners_are_up && std::mem::take(&mut server.is_whole_to_be_told) {
            let name = &server.name;
            self.log.say(
                Level::Notice,
                format_args!("server {name} has all that its partners have, which may fail now"),
            );
        }
        self.copier.want_resync();
    }

    /// Once all servers are known, or known not to be there, clients' requests may begin: before that nobody can say
    /// which of two servers to believe.
    pub(in crate::proxy) fn end_start(&mut self) {
        let unknown = |server: usize| self.farm.is_up(server) && !self.farm.is_confirmed(server);
        if !self.starting || (0..self.farm.servers.len()).any(unknown) {
            return;
        }
        self.starting = false;
        self.note_who_is_there();
        let waiting: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        for client in waiting {
            self.resume_if_possible(client);
        }
    }
}

impl Tags {
    /// A tag for a life of a server: the same wherever it is asked for, and none of those `remembered` that were given last.
    fn give(&mut self, name: &crate::proxy::settings::ServerName, life: Life, remembered: usize) -> u32 {
        self.add(
            &format!("{:?} {} {}", name.address, life.pid, life.started_s),
            remembered,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_understood_and_compared() {
        for (text, version) in [
            (&b"1.6.18"[..], Some(Version(1, 6, 18))),
            (b"1.4.15_4_gabcdef", Some(Version(1, 4, 15))),
            (b"1.6", Some(Version(1, 6, 0))),
            (b"2", Some(Version(2, 0, 0))),
            (b"1.6.18-rc1", Some(Version(1, 6, 18))),
            (b"unknown", None),
            (b"", None),
            (b"99999999999.1", None),
        ] {
            assert_eq!(Version::parse(text), version, "{}", text.escape_ascii());
        }
        assert!(Version(1, 6, 18) >= Version::LISTS_HASH && Version(1, 6, 8) < Version::LISTS_HASH);
        assert!(Version(1, 5, 22) < Version::HAS_META && Version(1, 10, 0) > Version::HAS_META);
    }
}
