//! What magent knows of itself and of its servers, as one value: for who looks at it from outside.

use crate::proxy::Proxy;
pub use crate::proxy::copier::Progress;
use crate::proxy::fleet::ledger::Lacking;
pub use crate::proxy::fleet::server::Counters;
pub use crate::proxy::latency::{Histogram, Kind, Latencies};
use crate::proxy::net::Net;
pub use crate::proxy::statistics::Statistics;

/// All of it, at one time.
pub struct Report<'a> {
    pub uptime_s: u64,
    pub unix_time_s: u64,
    /// Processor time that the process has used, in microseconds.
    pub cpu_us: u64,
    /// Memory that the process has; 0 where the system does not say.
    pub resident_bytes: u64,
    /// It is not known yet what the servers hold, so no request begins.
    pub is_starting: bool,
    /// It was told to end.
    pub is_leaving: bool,
    pub clients: usize,
    pub clients_max: usize,
    /// Requests in progress.
    pub requests: usize,
    /// Of buffers, in bytes, and how many there may be.
    pub memory: usize,
    pub memory_max: usize,
    /// Other magents before the same servers, as far as they are known.
    pub other_magents: usize,
    /// Writes have a second copy to go to.
    pub has_backups: bool,
    pub statistics: &'a Statistics,
    pub latencies: &'a Latencies,
    /// Those that the configuration names.
    pub servers: Vec<ServerReport<'a>>,
    /// Whose keys have no live copy: a server, and the one that holds them too, by their places in `servers`.
    pub lost: Vec<(usize, Option<usize>)>,
}

/// One server.
pub struct ServerReport<'a> {
    pub name: String,
    pub is_primary: bool,
    pub is_backup: bool,
    /// `up`, `up, cold`, `down` or `rejoining`, as in `stats servers`.
    pub state: &'static str,
    /// Clients' requests may be sent to it.
    pub is_up: bool,
    /// How long it has been up, or away.
    pub for_s: u64,
    /// Requests that it has not answered.
    pub pending: usize,
    pub counters: &'a Counters,
    /// Writes that it missed.
    pub missed: u64,
    pub lacks: Lack,
    /// How far it has been filled, while it is.
    pub filling: Option<Filling>,
    /// How long it took to answer.
    pub answered: &'a Histogram,
}

/// What a server lacks that its partners may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    Nothing,
    /// So many keys.
    Keys(usize),
    /// It is not known how much.
    Items,
}

/// A server that is being filled, and the name of the server that it is filled from.
pub struct Filling {
    pub from: String,
    pub progress: Progress,
}

impl<N: Net> Proxy<N> {
    /// What it knows now. It costs a little for each server.
    pub fn report(&self) -> Report<'_> {
        let own = &self.servers;
        let cx = &own.cx;
        let in_use = own.fleet.in_use();
        let place = |server: usize| in_use.iter().position(|&other| other == server);
        let (user, system) = cx.net.cpu_time();
        Report {
            uptime_s: (cx.now.ms() - cx.started_ms) / 1000,
            unix_time_s: cx.net.unix_time_s(),
            cpu_us: (user + system).as_micros() as u64,
            resident_bytes: cx.net.resident_bytes(),
            is_starting: own.fleet.is_starting(),
            is_leaving: false,
            clients: self.front.count(),
            clients_max: cx.settings.clients_max,
            requests: self.replicate.count(),
            memory: cx.pool.in_use(),
            memory_max: cx.settings.memory_bytes_max,
            other_magents: own.fleet.others.count(cx.now.ms()),
            has_backups: own.fleet.has_two_copies(),
            statistics: &cx.statistics,
            latencies: &cx.latencies,
            servers: in_use.iter().map(|&server| self.server_report(server)).collect(),
            lost: (own.fleet.without_a_copy().into_iter())
                .filter_map(|(one, other)| Some((place(one)?, other.and_then(place))))
                .collect(),
        }
    }

    fn server_report(&self, index: usize) -> ServerReport<'_> {
        let own = &self.servers;
        let (now_ms, server) = (own.cx.now.ms(), &own.fleet.servers[index]);
        let account = own.fleet.ledger.account(index);
        let (is_primary, is_backup) = own.fleet.roles(index);
        let since_ms = own.fleet.since_ms(index).unwrap_or(own.cx.started_ms);
        let progress = self.copier.progress(index, now_ms);
        ServerReport {
            name: server.name.to_string(),
            is_primary,
            is_backup,
            state: own.fleet.state(index),
            is_up: account.is_up(),
            for_s: now_ms.saturating_sub(since_ms) / 1000,
            pending: own.upstream.pending(index),
            counters: &server.counters,
            missed: account.misses(),
            lacks: account.lacks().fold(Lack::Nothing, Lack::and),
            filling: progress.map(|progress| Filling {
                from: own.fleet.name(progress.from).to_string(),
                progress,
            }),
            answered: own.upstream.answered(index),
        }
    }
}

impl Lack {
    /// This, and what is lacking of one partner more.
    fn and(self, more: &Lacking) -> Self {
        match (self, more) {
            (Lack::Items, _) => Lack::Items,
            (lack, Lacking::Unverified { .. }) => lack,
            (lack, Lacking::Keys(keys)) if keys.is_empty() => lack,
            (Lack::Nothing, Lacking::Keys(keys)) => Lack::Keys(keys.len()),
            (Lack::Keys(count), Lacking::Keys(keys)) => Lack::Keys(count + keys.len()),
            _ => Lack::Items,
        }
    }
}
