//! The servers that the settings name, and how keys are spread over them.

use crate::proxy::fleet::board::BOARD_KEY;
use crate::proxy::fleet::layout::Layout;
use crate::proxy::fleet::server::Server;
use crate::proxy::net::Address;
use crate::proxy::settings::{ServerName, Settings};
use crate::ring::{Ring, places};

/// Both farms and their rings. A server that is in both, or known already, is one server: one set of links, one health.
pub fn layout(servers: &mut Vec<Server>, settings: &Settings) -> Layout {
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
        let members: Vec<_> = names.iter().map(ServerName::member).collect();
        let places = places(&settings.spread, &members).into_iter();
        (
            Ring::new(&settings.spread, &members),
            places.map(|at| indices[at]).collect(),
        )
    };
    let primaries = ring(&settings.primaries);
    let backups = (!settings.backups.is_empty()).then(|| ring(&settings.backups));
    Layout::new(settings.spread, primaries, backups)
}

/// Which servers hold a key, for who asks from outside of the proxy.
pub struct Holders {
    servers: Vec<Server>,
    layout: Layout,
}

impl Holders {
    pub fn new(settings: &Settings) -> Self {
        let mut servers = Vec::new();
        let layout = layout(&mut servers, settings);
        Self { servers, layout }
    }

    /// All servers, each once: the numbers that [`owners`](Self::owners) gives are places here.
    pub fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.iter().map(|server| &server.name)
    }

    /// The primary of a key, and its backup if it has one.
    pub fn owners(&self, key: &[u8]) -> (usize, Option<usize>) {
        self.layout.owners(self.layout.spread.hash(key))
    }

    /// Whether an item is magents' own, and each server's for itself.
    pub fn is_board(key: &[u8]) -> bool {
        key == BOARD_KEY
    }
}
