//! Which life of a server this is, and what a new one has lost.
//!
//! Every link begins with `stats`: the process number and the start tell a server that kept its memory from one that was
//! started anew, and the uptimes of two servers which of them is the older. A server that was restarted lacks whatever
//! its partners have, and what others lacked of it is gone for good. When magent itself starts, a server that is younger
//! than its partner lacks what that has: a machine that rebooted starts both.

use crate::protocol::codec::Behind;
use crate::protocol::meta::Generation;
use crate::protocol::text::dialect::Dialect;
use crate::proxy::fleet::introduction::{Acquaintance, Life};
use crate::proxy::fleet::ledger::{Event, Lacking, Range};
use crate::proxy::fleet::server::{Announcement, Health, Known, Own};
use crate::proxy::fleet::version::Version;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::{Level, Net};
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use std::cmp::Ordering;

/// How long after a server has come back others are given to notice and to remove from it what it missed of theirs: the
/// longest pause between their probes and some more, and the timeout, as far as it is no longer than a second.
const SETTLE_MS: u64 = 2500;
const SETTLE_TIMEOUT_MAX_MS: u64 = 1000;
/// Two uptimes, in whole seconds, that differ by less do not tell which server is the older.
const AGE_DIFFERENCE_MIN_MS: i64 = 2000;

impl<N: Net> Servers<N> {
    /// A server has said which life it is in, when it was asked at that time. Returns whether that is another one than before.
    pub fn introduced(&mut self, index: usize, asked_ms: u64) -> bool {
        let server = &mut self.fleet.servers[index];
        let said = std::mem::take(&mut server.introduction);
        self.note_clock(index, said.time_s, asked_ms);
        let server = &mut self.fleet.servers[index];
        let life = Life {
            pid: said.pid,
            started_s: said.time_s - said.uptime_s.unwrap_or(0),
        };
        let again = !self.fleet.ledger.account(index).is_confirmed() && server.acquaintance.is_left_behind(&said);
        server.acquaintance = Acquaintance::of(&said, self.cx.now.ms());
        let before = std::mem::replace(&mut server.life, Known::Life(life));
        let anew = before != Known::Life(life) || again;
        self.fleet.ledger.record(Event::Introduced { server: index, anew });
        let first = !std::mem::replace(&mut server.was_introduced, true);
        if !anew && !first {
            return false;
        }
        server.holdings = said.holdings;
        server.is_version(said.version);
        self.learn_dialect();
        let server = &mut self.fleet.servers[index];
        server.born_ms = said.uptime_s.map(|uptime_s| self.cx.now.ms() as i64 - uptime_s * 1000);
        server.id = None;
        server.is_newborn = anew && matches!(before, Known::Life(_));
        if anew {
            server.contact.is_reborn();
        }
        server.has_refused = false;
        let is_newborn = server.is_newborn;
        server.seniority = match said.uptime_s {
            Some(_) => (0, life.seniority(), 0),
            None => (0, u64::MAX, 0),
        };
        if is_newborn {
            self.fleet.servers[index].seniority.0 = self.fleet.rank_of_newborn(index);
        }
        let server = &mut self.fleet.servers[index];
        server.tag = self
            .fleet
            .tags
            .give(&server.name, life, self.cx.settings.limits.tags_remembered);
        self.delayed_flush_forgotten(index);
        match before {
            Known::Life(_) if !anew => self.is_remembered(index),
            Known::Life(_) => self.emptied(index, "server was restarted"),
            Known::Nothing => self.seen_first(index),
            Known::Newcomer => {} // it lacks all that its partners have, and nobody lacks anything of it
        }
        anew && matches!(before, Known::Life(_))
    }

    /// Clients' lines are read as the oldest of the servers would read them, or as the newest memcached where none has said
    /// its version.
    pub fn learn_dialect(&mut self) {
        let servers = self.fleet.servers.iter();
        let in_use = servers.filter(|server| server.health != Health::Retired);
        let know_meta = in_use.clone().all(|server| server.knows_meta());
        let oldest = in_use.filter_map(|server| server.version).min();
        let is_before = |version| oldest.is_some_and(|oldest| oldest < version);
        self.fleet.behind = Behind {
            dialect: if is_before(Version::PARSES_ANEW) {
                Dialect::Old
            } else {
                Dialect::New
            },
            meta: match () {
                _ if !know_meta => Generation::Nothing,
                _ if is_before(Version::MAKES_WHAT_IS_PADDED) => Generation::Basic,
                _ if is_before(Version::REMOVES_VALUES) => Generation::MakesWhatIsPadded,
                _ => Generation::RemovesValues,
            },
        };
    }

    /// A server holds nothing any more, for the reason given: it lacks everything, and others lack nothing of it. It is to
    /// be filled by all its partners.
    pub fn emptied(&mut self, index: usize, reason: &'static str) {
        self.fleet.servers[index].own = Own::Doubtful;
        self.flush_what_it_could_tell(index);
        self.fleet.ledger.record(Event::Emptied {
            server: index,
            partners: &self.fleet.partners(index),
        });
        self.cx.hand_on(Handoff::BreakOff(index, reason));
        self.settle_later(index);
    }

    /// A server holds nothing any more: where a partner that is away may have old items, nobody can tell which of them are. They are flushed
    /// before anybody reads there (R59). One that is up has what was written since as well, perhaps it alone.
    fn flush_what_it_could_tell(&mut self, index: usize) {
        for partner in self.fleet.partners(index) {
            if !self.fleet.is_up(partner) && self.fleet.ledger.account(partner).is_suspect_of(index) {
                self.fleet.ledger.record(Event::FlushMissed(partner));
            }
        }
    }

    /// Gives others time to notice that a server is there again.
    pub fn settle_later(&mut self, index: usize) {
        if !self.fleet.partners(index).is_empty() {
            let settles_ms = self.cx.now.ms() + SETTLE_MS + self.cx.settings.timeout_ms.min(SETTLE_TIMEOUT_MAX_MS);
            self.fleet.ledger.record(Event::Settling(index));
            self.fleet.servers[index].settles_ms = settles_ms;
            self.fleet.servers[index].announcement = Announcement::Due;
            self.cx.timers.set(Timer::Settle, settles_ms);
            self.cx.hand_on(Handoff::Lacking);
        }
    }

    /// A server is seen for the first time: of it and each of its partners the younger lacks what the older has.
    fn seen_first(&mut self, index: usize) {
        let suspected_by = match self.fleet.is_starting {
            true => Vec::new(),
            false => self.suspect_who_was_away(index),
        };
        // One that was away at the start, too, may lack what this one has (R38).
        let mut partners = self.fleet.partners(index);
        partners.retain(|partner| !suspected_by.contains(partner));
        self.compare_ages(index, &partners);
    }

    /// A server is seen for the first time, in the life that the journal has of it. What it missed is known; but what the magent before was
    /// killed in the middle of may be on one server only. Of one that was away the journal says more than its age (R44).
    fn is_remembered(&mut self, index: usize) {
        let mut partners = self.fleet.partners(index);
        partners.retain(|&partner| self.fleet.is_up(partner) && self.fleet.is_up(index));
        self.compare_ages(index, &partners);
    }

    /// Of a server and each of these partners the younger lacks what the older has; at the start that is said when all boards have been
    /// understood.
    fn compare_ages(&mut self, index: usize, partners: &[usize]) {
        for &partner in partners {
            match self.fleet.is_starting {
                true => _ = self.fleet.uncompared.insert((index.min(partner), index.max(partner))),
                false => self.compare_age(index, partner),
            }
        }
    }

    /// The same of two servers. Where others have lost the older one since the younger was started, that lacks nothing, but the older may (R47).
    fn compare_age(&mut self, index: usize, partner: usize) {
        let born = [index, partner].map(|index| self.fleet.servers[index].born_ms);
        let [Some(born_ms), Some(others_ms)] = born else {
            return;
        };
        if self.fleet.is_starting && self.suspect_who_was_restored(index, partner) {
            return; // its uptime is that of its former life
        }
        let difference_ms = born_ms - others_ms;
        // Where others have seen both since.
        let is_told = self.fleet.others.count(self.cx.now.ms()) > 0;
        let rank_of = |index: usize| self.fleet.servers[index].seniority.0;
        let [rank, others_rank] = [index, partner].map(|index| if is_told { rank_of(index) } else { 0 });
        if difference_ms.abs() < AGE_DIFFERENCE_MIN_MS && rank == others_rank {
            return;
        }
        let (younger, older) = match rank.cmp(&others_rank).then(difference_ms.cmp(&0)) {
            Ordering::Greater => (index, partner),
            _ => (partner, index),
        };
        let account = self.fleet.ledger.account(older);
        let is_suspect = account.lack(younger).is_some_and(|lack| lack.what == Lacking::Suspect);
        if is_suspect || account.is_to_be_flushed() {
            return; // what the older one has is made what it is on the younger, or goes (R57)
        }
        self.fleet.ledger.record(Event::Lacks {
            server: younger,
            from: older,
            what: Lacking::Everything,
            of: Range::All,
        });
        // One that is or was away may have what was deleted meanwhile.
        let may_keep = self.fleet.is_starting && rank == others_rank && self.fleet.is_up(younger);
        let server = &mut self.fleet.servers[younger];
        server.own = match server.own {
            Own::Unseen | Own::Kept if may_keep => Own::Kept,
            _ => Own::Doubtful,
        };
        self.settle_later(younger);
        let (young, old) = (&self.fleet.servers[younger].name, &self.fleet.servers[older].name);
        let line = match rank == others_rank {
            true => format!("server {young} was started later than {old}, and may lack what that has"),
            false => format!("server {young} was away while {old} was not, and may lack what that has"),
        };
        self.cx.log.say(Level::Notice, format_args!("{line}"));
    }

    /// A server has been up for long enough that nobody has anything to remove from it any more.
    pub fn settled(&mut self, index: usize) {
        let partners_are_up = self
            .fleet
            .partners(index)
            .iter()
            .all(|&partner| self.fleet.is_up(partner));
        self.fleet.ledger.record(Event::Settled(index));
        if self.fleet.ledger.account(index).is_whole() {
            self.fleet.servers[index].contact.is_settled();
        }
        let is_sound = self.fleet.ledger.account(index).is_sound();
        let server = &mut self.fleet.servers[index];
        if is_sound && partners_are_up && server.announcement == Announcement::Due {
            server.announcement = Announcement::Made;
            let name = &server.name;
            self.cx.log.say(
                Level::Notice,
                format_args!("server {name} has all that its partners have, which may fail now"),
            );
        }
        self.cx.hand_on(Handoff::Lacking);
    }

    /// Once all servers are known, or known not to be there, clients' requests may begin: before that nobody can say
    /// which of two servers to believe.
    pub fn end_start(&mut self) {
        let unknown = |server: usize| self.fleet.is_up(server) && !self.fleet.is_confirmed(server);
        if !self.fleet.is_starting || (0..self.fleet.servers.len()).any(unknown) {
            return;
        }
        if !self.is_noticed() {
            return;
        }
        for (one, other) in std::mem::take(&mut self.fleet.uncompared) {
            self.compare_age(one, other);
        }
        self.fleet.is_starting = false;
        self.note_who_is_there();
        self.cx.hand_on(Handoff::Started);
        self.cx.hand_on(Handoff::Lacking); // nothing was copied before
    }
}
