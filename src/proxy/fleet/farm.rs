//! The two farms and their rings: which servers hold a key.

use crate::proxy::fleet::layout::Layout;
use crate::proxy::fleet::ledger::{Absence, Event, Ledger, Rid};
use crate::proxy::fleet::server::{Health, Server};
use crate::proxy::net::Address;
use crate::proxy::settings::{ServerName, Settings};
use crate::ring::{KeyHash, Ring};
use std::collections::BTreeSet;

/// The servers that hold a key, in the order in which they are asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its word is the truth. The primary, unless that is down or lacks what the backup has. It is up if either is.
    pub first: usize,
    /// Its partner, up or not. None without a backup farm, or where it has no other server than the primary.
    pub second: Option<usize>,
    /// Keys in one slot are counted together.
    pub slot: u16,
}

/// What new settings have changed.
pub struct Changes {
    /// Servers that are named for the first time, or again.
    pub added: Vec<usize>,
    /// Servers that hold keys now that they did not hold before, each with the partner that holds them too.
    pub gained: BTreeSet<(usize, usize)>,
}

/// All servers, each once, and how keys are spread over them.
pub struct Farm {
    pub servers: Vec<Server>,
    /// What is believed of them, by the same indices.
    pub ledger: Ledger,
    layout: Layout,
    /// For each server the others that hold second copies of its keys, or may.
    partners: Vec<Vec<usize>>,
    /// The unix second, by magent's own clock, at which [`Net::now_ms`](crate::proxy::net::Net::now_ms) was 0.
    pub clock_started_s: Option<i64>,
}

impl Farm {
    pub fn new(settings: &Settings) -> Self {
        let mut servers = Vec::new();
        let layout = layout(&mut servers, settings);
        let mut farm = Self {
            ledger: Ledger::new(&settings.limits),
            servers,
            layout,
            partners: Vec::new(),
            clock_started_s: None,
        };
        farm.find_partners();
        farm.open_accounts();
        farm
    }

    /// Spreads keys by new settings. Servers keep their index and all that is known of them; those that the settings do
    /// not name are retired.
    pub fn reconfigure(&mut self, settings: &Settings) -> Changes {
        let known = self.servers.len();
        let layout = layout(&mut self.servers, settings);
        let before = std::mem::replace(&mut self.layout, layout);
        self.find_partners();
        self.open_accounts();
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
        Changes { added, gained }
    }

    fn open_accounts(&mut self) {
        while self.ledger.len() < self.servers.len() {
            self.ledger.add_server();
        }
    }

    /// Whether writes have a second copy to go to.
    pub fn has_backups(&self) -> bool {
        self.layout.backups.is_some()
    }

    fn owners(&self, key: &[u8]) -> (usize, Option<usize>, KeyHash) {
        let hash = KeyHash::of(self.layout.distribution, key);
        let (primary, backup) = self.layout.owners(hash);
        (primary, backup, hash)
    }

    /// Where a key is to be read and written now.
    pub fn place(&self, key: &[u8]) -> Place {
        let (primary, backup, hash) = self.owners(key);
        let (first, second) = match backup {
            Some(backup) if self.ledger.asked_first(key, primary, backup) == backup => (backup, Some(primary)),
            second => (primary, second),
        };
        Place {
            first,
            second,
            slot: hash.slot(),
        }
    }

    /// Whether a server and its partner are the two that hold a key.
    pub fn are_owners(&self, key: &[u8], one: usize, other: usize) -> bool {
        let (primary, backup, _) = self.owners(key);
        (primary, backup) == (one, Some(other)) || (primary, backup) == (other, Some(one))
    }

    /// The other server that holds a key.
    pub fn partner(&self, key: &[u8], server: usize) -> Option<usize> {
        self.layout.partner(key, server)
    }

    pub fn partners(&self, server: usize) -> Vec<usize> {
        self.partners.get(server).cloned().unwrap_or_default()
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
    pub fn returned(&mut self, server: usize) {
        let layout = &self.layout;
        let partners = self.partners.get(server).map_or(&[][..], Vec::as_slice);
        self.ledger
            .returned(server, partners, |key, partner| layout.partner(key, partner));
        self.servers[server].health = Health::Up;
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

/// Both farms and their rings. A server that is in both, or known already, is one server: one set of links, one health.
fn layout(servers: &mut Vec<Server>, settings: &Settings) -> Layout {
    let mut ring = |names: &[ServerName]| {
        let mut index = |name: &ServerName| {
            let Some(known) = servers.iter().position(|server| server.name.is_same(name)) else {
                servers.push(Server::new(name.clone()));
                return servers.len() - 1;
            };
            if servers[known].name.address == Address::Unresolved {
                servers[known].name.address = name.address.clone(); // it has been found meanwhile
            }
            known
        };
        let indices: Vec<usize> = names.iter().map(&mut index).collect();
        let hashed: Vec<_> = names.iter().map(|name| (name.host.clone(), name.port)).collect();
        (Ring::new(settings.distribution, &hashed), indices)
    };
    Layout {
        distribution: settings.distribution,
        primaries: ring(&settings.primaries),
        backups: (!settings.backups.is_empty()).then(|| ring(&settings.backups)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::{Ack, Miss};
    use crate::ring::Distribution;

    fn farm(primaries: &[&str], backups: &[&str], distribution: Distribution) -> Farm {
        let names = |list: &[&str]| {
            let name = |text: &&str| ServerName {
                host: text.to_string(),
                port: 11211,
                address: Address::Tcp(format!("{text}:11211").parse().unwrap()),
            };
            list.iter().map(name).collect()
        };
        let settings = Settings {
            primaries: names(primaries),
            backups: names(backups),
            distribution,
            links_max: 1,
            clients_max: 1,
            timeout_ms: 1,
            ack: Ack::All,
            miss: Miss::Partner,
            item_bytes_max: 1,
            memory_bytes_max: 1,
            limits: Default::default(),
            verbatim: true,
        };
        Farm::new(&settings)
    }

    #[test]
    fn two_copies_are_never_on_one_server_when_there_are_two() {
        let three = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        for distribution in [Distribution::Modulo, Distribution::Ketama] {
            let farm = farm(&three, &three, distribution);
            assert_eq!(farm.servers.len(), 3);
            for key in 0..1000 {
                let place = farm.place(format!("key{key}").as_bytes());
                assert!(place.second.is_some_and(|second| second != place.first));
            }
        }
    }

    #[test]
    fn a_server_alone_in_both_farms_has_no_partner() {
        let farm = farm(&["10.0.0.1"], &["10.0.0.1"], Distribution::Modulo);
        assert_eq!(farm.servers.len(), 1);
        assert_eq!(farm.place(b"key").second, None);
    }
}
