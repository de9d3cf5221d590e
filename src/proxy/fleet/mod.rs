//! The servers: their lives and health, which of them hold a key, what each of them missed or lacks.

mod arcs;
pub mod board;
mod check;
mod clock;
pub mod contact;
mod copies;
mod delayed_flush;
pub mod farms;
mod flush;
mod health;
pub mod heirs;
pub mod holdings;
pub mod introduction;
pub mod journal;
mod layout;
mod leaving;
pub mod ledger;
mod life;
pub mod marks;
mod names;
mod others;
mod own;
mod parted;
mod past;
pub mod place;
mod posting;
mod remembering;
mod report;
pub mod server;
pub mod silence;
pub mod unique;
pub mod version;

use crate::protocol::codec::Behind;
use crate::protocol::exptime::exptime_by_clock;
use crate::protocol::meta::Generation;
use crate::protocol::request::Request;
use crate::protocol::server::Dialect;
use crate::protocol::server::list::ListBy;
use crate::proxy::settings::{ServerName, Settings};
use delayed_flush::DelayedFlush;
use heirs::Heirs;
use journal::Journal;
use layout::Layout;
use ledger::{Absence, Event, Keys, Ledger, Rid};
use others::Others;
use server::{Counters, Health, Known, Server};
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use unique::Tags;
use version::Version;

/// What new settings have changed.
pub struct Changes {
    /// Servers that are named for the first time, or again.
    pub added: Vec<usize>,
    /// Servers that hold keys now that they did not hold before, each with the partner that holds them too.
    pub gained: BTreeSet<(usize, usize)>,
    /// How keys were spread before.
    pub before: Rc<Layout>,
}

/// Keys that a server did not hold by an earlier layout.
struct Gained {
    server: usize,
    before: Rc<Layout>,
}

impl Keys for Gained {
    fn contain(&self, key: &[u8]) -> bool {
        !self.before.has(key, self.server)
    }
}

impl fmt::Debug for Gained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gained by {}", self.server)
    }
}

/// All servers, each once, and how keys are spread over them.
pub struct Fleet {
    pub servers: Vec<Server>,
    /// What is believed of them, by the same indices.
    pub ledger: Ledger,
    layout: Layout,
    /// For each server the others that hold second copies of its keys, or may.
    partners: Vec<Vec<usize>>,
    /// The unix second, by magent's own clock, at which [`Net::now_ms`](crate::proxy::net::Net::now_ms) was 0.
    clock_started_s: Option<i64>,
    /// The tags of cas uniques that were given.
    tags: Tags,
    pub others: Others,
    pub heirs: Heirs,
    /// It is not known yet what the servers hold, so no request begins.
    is_starting: bool,
    /// Pairs of servers of which it is not said yet which lacks what the other has.
    uncompared: BTreeSet<(usize, usize)>,
    /// How clients' lines are read: as the servers read them.
    behind: Behind,
    /// Times that all servers were flushed.
    flushes: u64,
    /// Those that are not answered yet: no list is asked for meanwhile.
    flushes_under_way: usize,
    delayed_flush: DelayedFlush,
    /// Host names that are to be looked up.
    wanted_names: Vec<String>,
    /// What was due when magent woke up late has been put off.
    was_put_off: bool,
    journal: Option<Journal>,
}

impl Fleet {
    /// `identity`: a number that no other magent has.
    pub fn new(settings: &Settings, identity: u64) -> Self {
        let mut servers = Vec::new();
        let layout = farms::layout(&mut servers, settings);
        let mut fleet = Self {
            ledger: Ledger::new(&settings.limits),
            servers,
            layout,
            partners: Vec::new(),
            clock_started_s: None,
            tags: Tags::default(),
            others: Others::new(identity, settings),
            heirs: Heirs::default(),
            is_starting: !settings.backups.is_empty(),
            uncompared: BTreeSet::new(),
            behind: Behind::default(),
            flushes: 0,
            flushes_under_way: 0,
            delayed_flush: DelayedFlush::default(),
            wanted_names: Vec::new(),
            was_put_off: false,
            journal: None,
        };
        fleet.find_partners();
        fleet.open_accounts();
        fleet
    }

    /// Spreads keys by new settings. Servers keep their index and all that is known of them; those that the settings do
    /// not name are retired.
    pub fn reconfigure(&mut self, settings: &Settings) -> Changes {
        let known = self.servers.len();
        let layout = farms::layout(&mut self.servers, settings);
        let before = std::mem::replace(&mut self.layout, layout);
        self.find_partners();
        self.open_accounts();
        self.others.reconfigure(settings);
        let used: BTreeSet<usize> = self.layout.servers().collect();
        let mut added = Vec::new();
        for (index, server) in self.servers.iter_mut().enumerate() {
            let retired = server.health == Health::Retired;
            if !used.contains(&index) {
                server.health = Health::Retired;
                self.ledger.record(Event::Unnamed(index));
            } else if retired || index >= known {
                added.push(index);
            }
        }
        let gained = self.layout.gained(&before);
        let before = Rc::new(before);
        Changes { added, gained, before }
    }

    /// The keys that a server did not hold before.
    pub fn keys_gained(&self, server: usize, before: &Rc<Layout>) -> Rc<dyn Keys> {
        let before = Rc::clone(before);
        Rc::new(Gained { server, before })
    }

    fn open_accounts(&mut self) {
        while self.ledger.len() < self.servers.len() {
            self.ledger.add_server();
        }
    }

    /// Whether it is not known yet what the servers hold, so that no request begins.
    pub fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// The servers that the settings name.
    pub fn in_use(&self) -> Vec<usize> {
        let named = |&index: &usize| self.servers[index].health != Health::Retired;
        (0..self.servers.len()).filter(named).collect()
    }

    /// How clients' lines are read.
    #[inline]
    pub fn behind(&self) -> Behind {
        self.behind
    }

    /// How often all servers were flushed.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// All servers are flushed once more.
    pub fn count_flush(&mut self) {
        self.flushes += 1;
    }

    /// A flush of all servers begins, and is answered.
    pub fn flush_begins(&mut self) {
        self.flushes_under_way += 1;
    }

    pub fn flush_ends(&mut self) {
        self.flushes_under_way -= 1;
    }

    /// Whether all servers are being flushed.
    pub fn is_being_flushed(&self) -> bool {
        self.flushes_under_way > 0
    }

    /// Whether a server has a board that can be read now.
    fn has_board(&self, server: usize) -> bool {
        let is_in_use = self.servers[server].health != Health::Retired;
        is_in_use && self.has_meta(server) && self.is_confirmed(server) && self.is_up(server)
    }

    /// Whether the numbers of all servers are known that are there and have one.
    fn are_numbered(&self) -> bool {
        let lacks_it = |&index: &usize| {
            let server = &self.servers[index];
            let has_one = self.has_meta(index) && matches!(server.life, Known::Life(_));
            self.is_up(index) && (!self.is_confirmed(index) || has_one && server.id.is_none())
        };
        !self.in_use().iter().any(lacks_it)
    }

    /// Whether a server answers meta commands, as far as we know.
    pub fn has_meta(&self, server: usize) -> bool {
        self.servers[server].knows_meta()
    }

    /// A server has refused a meta command.
    pub fn has_no_meta(&mut self, server: usize) {
        self.servers[server].dialect = Dialect::Text;
        self.behind.meta = Generation::Nothing;
    }

    /// How a server can list its keys, as far as we know; and that it cannot do it by its hash table.
    pub fn lists(&self, server: usize) -> ListBy {
        self.servers[server].lists
    }

    pub fn lists_no_hash(&mut self, server: usize) {
        self.servers[server].lists = ListBy::Lru;
    }

    /// Whether a server has what this version brought, as far as we know.
    pub fn is_since(&self, server: usize, version: Version) -> bool {
        self.servers[server].is_since(version)
    }

    /// Seconds by which a server's clock is ahead of magent's.
    pub fn clock_ahead_s(&self, server: usize) -> i64 {
        self.servers[server].clock_ahead_s
    }

    pub fn name(&self, server: usize) -> &ServerName {
        &self.servers[server].name
    }

    /// Counts from the beginning again.
    pub fn count_anew(&mut self) {
        for server in &mut self.servers {
            server.counters = Counters::default();
        }
        self.ledger.count_anew();
    }

    /// A server says something of itself, in answer to `stats`.
    pub fn introduces(&mut self, server: usize, name: &[u8], value: &[u8]) {
        self.servers[server].introduction.take(name, value);
    }

    pub fn counters(&mut self, server: usize) -> &mut Counters {
        &mut self.servers[server].counters
    }

    /// Whether all servers have what this version brought, as far as we know.
    pub fn are_since(&self, version: Version) -> bool {
        self.servers.iter().all(|server| server.is_since(version))
    }

    /// What to tell a server for an exptime that a client has given.
    #[inline]
    pub fn exptime_on(&self, server: usize, exptime: i64) -> i64 {
        exptime_by_clock(exptime, self.servers[server].clock_ahead_s)
    }

    /// A request as it goes to a server whose clock is another; None if it goes there as it is.
    #[inline]
    pub fn by_clock_of<'a>(&self, server: usize, request: &Request<'a>) -> Option<Request<'a>> {
        if self.servers[server].clock_ahead_s == 0 || !request.verb.has_exptime() {
            return None;
        }
        let exptime = self.exptime_on(server, request.exptime);
        (exptime != request.exptime).then(|| request.expiring(exptime))
    }

    /// Whether writes have a second copy to go to.
    pub fn has_backups(&self) -> bool {
        self.layout.backups.is_some()
    }

    /// Whether what is written to these two is to be looked at once more: other magents write to them too, and both tell the
    /// unique of what they store.
    #[inline]
    pub fn compares(&self, one: usize, other: Option<usize>) -> bool {
        self.others.are_there() && other.is_some() && self.tell_unique(one, other)
    }

    /// Whether these tell the unique of what they store, if they are asked.
    pub fn tell_unique(&self, one: usize, other: Option<usize>) -> bool {
        let tells = |server: usize| self.has_meta(server) && self.is_since(server, Version::TELLS_UNIQUE);
        tells(one) && other.is_none_or(tells)
    }

    /// Whether a server and its partner are the two that hold a key.
    pub fn are_owners(&self, key: &[u8], one: usize, other: usize) -> bool {
        self.partner(key, one) == Some(other)
    }

    /// The other server that holds a key.
    pub fn partner(&self, key: &[u8], server: usize) -> Option<usize> {
        self.layout.partner(key, server)
    }

    /// The server to ask in place of one that was lost: the other that holds the key, or, where new settings have given it to others
    /// meanwhile, the one that is asked first now (R36). Where there is one copy only, nobody else has what the lost one had.
    pub fn stand_in(&self, key: &[u8], server: usize) -> Option<usize> {
        match self.layout.has(key, server) || !self.has_backups() {
            true => self.partner(key, server),
            false => Some(self.place(key).first),
        }
    }

    pub fn partners(&self, server: usize) -> Vec<usize> {
        self.partners_of(server).to_vec()
    }

    pub fn partners_of(&self, server: usize) -> &[usize] {
        self.partners.get(server).map_or(&[], Vec::as_slice)
    }

    /// Whether clients' requests may be sent to a server.
    pub fn is_up(&self, server: usize) -> bool {
        self.ledger.account(server).is_up()
    }

    /// Whether it is known which life a server is in.
    pub fn is_confirmed(&self, server: usize) -> bool {
        self.ledger.account(server).is_confirmed()
    }

    /// The tag of the cas uniques that a server hands out, 0 while it is not known which life it is in.
    pub fn tag(&self, server: usize) -> u32 {
        match self.is_confirmed(server) {
            true => self.servers[server].tag,
            false => 0,
        }
    }

    /// A unique that a server has told, as clients see it: where there are backups it says which life of which server it is of.
    #[inline]
    pub fn unique_for_clients(&self, server: usize, unique: Option<u64>) -> Option<u64> {
        match self.has_backups() {
            true => unique.map(|unique| unique::tagged(self.tag(server), unique)),
            false => unique,
        }
    }

    /// What it proves that a server does not have a key.
    pub fn absence(&self, key: &[u8], server: usize) -> Absence {
        match self.partner(key, server) {
            Some(partner) => self.ledger.absence(key, server, partner),
            None => Absence::Proof,
        }
    }

    /// The word for `stats servers`.
    pub fn state(&self, server: usize) -> &'static str {
        match self.servers[server].health {
            Health::Up if self.ledger.account(server).is_whole() => "up",
            Health::Up => "up, cold",
            Health::Down { .. } => "down",
            Health::Rejoining { .. } => "rejoining",
            Health::Retired => "retired",
        }
    }

    /// What must hold at the end of a turn: health and belief agree, and nobody lacks anything of itself or of strangers.
    pub fn check(&self) {
        for (index, server) in self.servers.iter().enumerate() {
            let account = self.ledger.account(index);
            assert_eq!(server.health == Health::Up, account.is_up(), "{}", server.name);
            let known = |from: usize| from != index && from < self.servers.len();
            assert!(account.lacks_of().all(known), "{}", server.name);
        }
    }

    /// What a server that is about to return must be rid of.
    pub fn rid(&mut self, server: usize) -> Rid {
        let layout = &self.layout;
        self.ledger.rid(server, |key| layout.partner(key, server))
    }

    /// A server is up again.
    pub fn returned(&mut self, server: usize, now_ms: u64) {
        let layout = &self.layout;
        let partners = self.partners.get(server).map_or(&[][..], Vec::as_slice);
        self.servers[server].returned_ms = Some(now_ms);
        self.ledger
            .returned(server, partners, |key, partner| layout.partner(key, partner));
        self.servers[server].health = Health::Up;
        self.servers[server].contact.is_back(now_ms);
    }

    /// Which servers hold keys together.
    fn find_partners(&mut self) {
        let mut partners = vec![BTreeSet::new(); self.servers.len()];
        for (primary, backup) in self.layout.pairs() {
            if let Some(backup) = backup {
                partners[primary].insert(backup);
                partners[backup].insert(primary);
            }
        }
        self.partners = partners.into_iter().map(|set| set.into_iter().collect()).collect();
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::proxy::net::Address;
    use crate::proxy::settings::{Ack, Hedge, Miss};
    use crate::ring::{Distribution, Spread};

    pub fn fleet(primaries: &[&str], backups: &[&str], distribution: Distribution) -> Fleet {
        let names = |list: &[&str]| {
            let name = |text: &&str| ServerName {
                host: text.to_string(),
                port: 11211,
                address: Address::Tcp(format!("{text}:11211").parse().unwrap()),
                weight: 1,
                ring_name: None,
            };
            list.iter().map(name).collect()
        };
        let settings = Settings {
            primaries: names(primaries),
            backups: names(backups),
            spread: Spread::plain(distribution),
            links_max: 1,
            clients_max: 1,
            timeout_ms: 1,
            adaptive_timeout: false,
            ack: Ack::All,
            miss: Miss::Partner,
            hedge: Hedge::Never,
            slow_us: 1,
            item_bytes_max: 1,
            memory_bytes_max: 1,
            limits: Default::default(),
            verbatim: true,
            board: false,
        };
        Fleet::new(&settings, 1)
    }

    #[test]
    fn two_copies_are_never_on_one_server_when_there_are_two() {
        let three = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        for distribution in [Distribution::Modulo, Distribution::Ketama] {
            let fleet = fleet(&three, &three, distribution);
            assert_eq!(fleet.servers.len(), 3);
            for key in 0..1000 {
                let place = fleet.place(format!("key{key}").as_bytes());
                assert!(place.second.is_some_and(|second| second != place.first));
            }
        }
    }

    #[test]
    fn a_server_alone_in_both_farms_has_no_partner() {
        let fleet = fleet(&["10.0.0.1"], &["10.0.0.1"], Distribution::Modulo);
        assert_eq!(fleet.servers.len(), 1);
        assert_eq!(fleet.place(b"key").second, None);
    }
}
