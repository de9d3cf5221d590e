//! Host names: what is to be found of them, late, or not at all.

use crate::pipe::Us;
use crate::random::Random;
use magent::proxy::control::Found;
use magent::proxy::net::Address;
use magent::proxy::settings::{ServerName, Settings};
use std::net::{IpAddr, SocketAddr};

/// How long a name server takes.
const ANSWER_MAX_US: Us = 1_500_000;

#[derive(Default)]
pub struct Hosts {
    hosts: Vec<Host>,
    /// Questions on their way: of which magent, about which host, and when the answer is there.
    asked: Vec<(usize, String, Us)>,
}

struct Host {
    name: String,
    /// What name servers say; none where they say nothing.
    says: Option<IpAddr>,
}

impl Hosts {
    /// All names are known.
    pub fn of(servers: &[ServerName]) -> Self {
        let host = |server: &ServerName| Host {
            name: server.host.clone(),
            says: match server.address {
                Address::Tcp(address) => Some(address.ip()),
                _ => None,
            },
        };
        Self {
            hosts: servers.iter().map(host).collect(),
            asked: Vec::new(),
        }
    }

    /// From now on a server's name leads there, or nowhere.
    pub fn say(&mut self, server: usize, ip: Option<IpAddr>) {
        self.hosts[server].says = ip;
    }

    /// Begins to look a host up. Says when the answer is there, unless it is on its way already.
    pub fn look_up(&mut self, magent: usize, host: &str, now: Us, random: &mut Random) -> Option<Us> {
        if self.is_awaited(magent, host) {
            return None;
        }
        let time = now + random.skewed(100, ANSWER_MAX_US);
        self.asked.push((magent, host.to_owned(), time));
        Some(time)
    }

    pub fn is_awaited(&self, magent: usize, host: &str) -> bool {
        self.asked
            .iter()
            .any(|(asker, asked, _)| (*asker, asked.as_str()) == (magent, host))
    }

    /// When the next answer is there.
    pub fn next_us(&self, magent: usize) -> Option<Us> {
        let mine = self.asked.iter().filter(|(asker, ..)| *asker == magent);
        mine.map(|&(.., time)| time).min()
    }

    /// An answer that is there.
    pub fn take(&mut self, magent: usize, now: Us) -> Option<Found> {
        let is_due = |(asker, _, time): &(usize, String, Us)| *asker == magent && *time <= now;
        let at = self.asked.iter().position(is_due)?;
        let (_, host, _) = self.asked.remove(at);
        let says = self.says(&host);
        Some(Found {
            addresses: says.into_iter().collect(),
            warning: says.is_none().then(|| format!("host {host} cannot be found")),
            host,
        })
    }

    /// A magent's process is gone, and what it asked.
    pub fn forget(&mut self, magent: usize) {
        self.asked.retain(|(asker, ..)| *asker != magent);
    }

    fn says(&self, host: &str) -> Option<IpAddr> {
        let known = self.hosts.iter().find(|known| known.name == host);
        known.and_then(|host| host.says)
    }

    /// Writes into settings what is known. Says of which servers nothing is.
    pub fn fill_in(&self, settings: &mut Settings) -> Vec<String> {
        let mut unknown = Vec::new();
        for server in settings.servers_mut().filter(|server| server.is_by_name()) {
            match self.says(&server.host) {
                Some(ip) => server.address = Address::Tcp(SocketAddr::new(ip, server.port)),
                None => unknown.push(format!("{server}: host not found")),
            }
        }
        unknown
    }
}
