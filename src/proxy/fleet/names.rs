//! Servers that were given by a host name: where they are reached may change, but only while they are away.

use crate::proxy::fleet::server::{Health, PROBE_PAUSE_MIN_MS, Rejoining};
use crate::proxy::net::{Address, Level, Net};
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use std::net::{IpAddr, SocketAddr};

/// A server that has been away for so long may have been replaced by a machine with another address.
const STAYS_AWAY_MS: u64 = 1000;

impl<N: Net> Servers<N> {
    /// Wants the name of a server that is away to be looked up, if it was given by one and stays away.
    pub fn want_name(&mut self, index: usize, since_ms: u64) {
        let name = &self.fleet.servers[index].name;
        let is_due = name.address == Address::Unresolved || since_ms + STAYS_AWAY_MS <= self.cx.now.ms();
        if is_due && name.is_by_name() && !self.fleet.wanted_names.contains(&name.host) {
            self.fleet.wanted_names.push(name.host.clone());
        }
    }

    /// The host names that are to be looked up, each answer to be given to [`Servers::name_found`]; empty afterwards.
    #[must_use]
    pub fn take_wanted_names(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fleet.wanted_names)
    }

    /// A host has these addresses. A server that is up keeps the one it is reached at; so does one whose name still has it.
    pub fn name_found(&mut self, host: &str, found: &[IpAddr]) {
        for index in 0..self.fleet.servers.len() {
            let server = &self.fleet.servers[index];
            let name = &server.name;
            // One that has answered a probe is there.
            let is_away = match server.health {
                Health::Down { .. } => true,
                Health::Rejoining { step, .. } => step == Rejoining::Probing,
                Health::Up | Health::Retired => false,
            };
            if name.host != host || !name.is_by_name() || !is_away {
                continue;
            }
            let has_it = matches!(name.address, Address::Tcp(address) if found.contains(&address.ip()));
            let preferred = found.iter().find(|ip| ip.is_ipv4()).or(found.first());
            if let Some(&ip) = preferred.filter(|_| !has_it) {
                self.server_moves(index, SocketAddr::new(ip, name.port));
            }
        }
    }

    /// A server that is away is to be looked for at another address from now on.
    fn server_moves(&mut self, index: usize, address: SocketAddr) {
        let to = Address::Tcp(address);
        if let Some(other) = self.fleet.servers.iter().position(|other| other.name.address == to) {
            // Two servers in one place would each run what one of them is to run once.
            let told_before = self.fleet.servers[index].misled_to.replace(address);
            if told_before != Some(address) {
                let (name, other) = (&self.fleet.servers[index].name, &self.fleet.servers[other].name);
                self.cx.log.say(
                    Level::Error,
                    format_args!("server {name} is not used: its host name leads to {address}, where {other} is"),
                );
            }
            return;
        }
        // What was asked at the old address will not be answered.
        self.is_lost(index, format_args!("its host name has another address"));
        if self.upstream.is_in_quarantine(index) {
            self.give_up_quarantine(index);
            self.upstream.note_may_still_run(index);
        }
        let server = &mut self.fleet.servers[index];
        let name = &server.name;
        match name.address {
            Address::Tcp(before) => self.cx.log.say(
                Level::Notice,
                format_args!("server {name} is looked for at {address} now, no longer at {before}"),
            ),
            _ => self.cx.log.say(
                Level::Notice,
                format_args!("server {name} has been found: it is looked for at {address}"),
            ),
        }
        server.name.address = to;
        server.misled_to = None;
        if let Health::Down { probe_at_ms, away, .. } = &mut server.health {
            (*probe_at_ms, away.pause_ms) = (self.cx.now.ms(), PROBE_PAUSE_MIN_MS);
            self.cx.timers.set(Timer::Probe, self.cx.now.ms());
        }
    }
}
