//! Counters, and the replies to `stats`, with memcached's names for what magent also has. What the servers have, and magent
//! has not, is asked of them: see `survey`.

use super::Proxy;
use super::net::Net;
use super::settings::{Ack, Miss};
use crate::protocol::keys::Keys;
use crate::protocol::number::unsigned;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::request::Request;
use crate::protocol::text::refusal;
use crate::protocol::text::reply::{add_statistic, line};
use crate::protocol::verb::Verb;
use crate::proxy::fleet::server::{Health, Server};
use crate::proxy::front::transaction::END;
use crate::proxy::replicate::survey::Topic;
use crate::ring::Distribution;
use std::fmt::Display;
use std::net::SocketAddr;

/// Slab classes of a memcached (`MAX_NUMBER_OF_SLAB_CLASSES`).
const SLAB_CLASSES: u64 = 64;
const BAD_CACHEDUMP: &Reply = &Reply::error(Fault::Client, b" bad command line");
const NO_SUCH_CLASS: &Reply = &Reply::error(Fault::Client, b" Illegal slab id");

/// Counted since the start, or since `stats reset`, over all clients.
#[derive(Default)]
pub struct Statistics {
    started_ms: u64,
    pub total_connections: u64,
    pub rejected_connections: u64,
    /// Clients closed because `--max-memory` was reached.
    pub shed_connections: u64,
    /// Keys asked for by get and gets; those of gat and gats count as touches, as in memcached.
    pub cmd_get: u64,
    /// set, add, replace, append, prepend and cas.
    pub cmd_set: u64,
    pub cmd_touch: u64,
    pub cmd_flush: u64,
    pub get_hits: u64,
    pub get_misses: u64,
    delete_hits: u64,
    delete_misses: u64,
    incr_hits: u64,
    incr_misses: u64,
    decr_hits: u64,
    decr_misses: u64,
    cas_hits: u64,
    cas_misses: u64,
    cas_badval: u64,
    pub touch_hits: u64,
    pub touch_misses: u64,
    pub store_too_large: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

impl Statistics {
    pub fn new(now_ms: u64) -> Self {
        Self {
            started_ms: now_ms,
            ..Self::default()
        }
    }

    pub fn count_write(&mut self, verb: Verb) {
        match verb {
            _ if verb.is_storage() => self.cmd_set += 1,
            Verb::Touch => self.cmd_touch += 1,
            _ => {}
        }
    }

    pub fn count_outcome(&mut self, verb: Verb, status: Status) {
        let counter = match (verb, status) {
            (Verb::Delete, Status::Deleted) => &mut self.delete_hits,
            (Verb::Delete, Status::NotFound) => &mut self.delete_misses,
            (Verb::Incr, Status::Number) => &mut self.incr_hits,
            (Verb::Incr, Status::NotFound) => &mut self.incr_misses,
            (Verb::Decr, Status::Number) => &mut self.decr_hits,
            (Verb::Decr, Status::NotFound) => &mut self.decr_misses,
            (Verb::Cas, Status::Stored) => &mut self.cas_hits,
            (Verb::Cas, Status::NotFound) => &mut self.cas_misses,
            (Verb::Cas, Status::Exists) => &mut self.cas_badval,
            (Verb::Touch, Status::Touched) => &mut self.touch_hits,
            (Verb::Touch, Status::NotFound) => &mut self.touch_misses,
            _ => return,
        };
        *counter += 1;
    }
}

/// Names and values.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    fn end(self) -> Vec<u8> {
        let mut written = Vec::new();
        for (name, value) in &self.0 {
            add_statistic(&mut written, name, value);
        }
        written.extend_from_slice(&line(END));
        written
    }
}

/// The reply to a `stats` that no server is asked about.
pub fn reply<N: Net>(proxy: &mut Proxy<N>, request: &Request<'_>) -> Vec<u8> {
    match request.key {
        b"servers" => servers(proxy),
        b"conns" => connections(proxy),
        b"cachedump" => line(cachedump(request.keys)),
        b"reset" => {
            let started_ms = proxy.statistics.started_ms;
            proxy.statistics = Statistics::new(started_ms);
            for server in &mut proxy.farm.servers {
                server.counters = Default::default();
            }
            proxy.farm.ledger.count_anew();
            line(&Reply::plain(Status::Reset))
        }
        _ => line(refusal::ERROR),
    }
}

/// The reply to a `stats` for which the servers said `lines` together: first magent's own, then those of theirs that it does
/// not have itself.
pub fn survey_reply<N: Net>(proxy: &Proxy<N>, topic: Topic, lines: &[(Box<str>, Box<str>)]) -> Vec<u8> {
    let mut reply = Lines::default();
    match topic {
        Topic::General => general(proxy, &mut reply),
        Topic::Settings => settings(proxy, &mut reply),
        Topic::Items | Topic::Slabs | Topic::Sizes => {}
    }
    let own = reply.0.len();
    for (name, value) in lines {
        if !reply.0[..own].iter().any(|(known, _)| **known == **name) {
            reply.add(name, value);
        }
    }
    reply.end()
}

/// Clients, in the form of memcached's `stats conns`. The one that asks is among them.
fn connections<N: Net>(proxy: &Proxy<N>) -> Vec<u8> {
    let mut lines = Lines::default();
    let now_s = proxy.now_ms / 1000;
    for (index, client) in proxy.clients.iter().take(proxy.settings.limits.connections_listed) {
        let mut add = |what: &str, value: &dyn Display| lines.add(&format!("{index}:{what}"), value);
        match proxy.net.peer(&client.socket) {
            Some(address @ SocketAddr::V4(_)) => add("addr", &format_args!("tcp:{address}")),
            Some(address @ SocketAddr::V6(_)) => add("addr", &format_args!("tcp6:{address}")),
            None => add("addr", &"unix"),
        }
        add("state", &client.state());
        add("secs_since_last_cmd", &now_s.saturating_sub(client.asked_s.into()));
    }
    lines.end()
}

/// magent looks into no slab: there is nothing in those that exist, and the errors are memcached's (`process_stat`).
fn cachedump(arguments: Keys<'_>) -> &'static Reply {
    let mut numbers = arguments.skip(1);
    let (Some(class), Some(limit)) = (numbers.next(), numbers.next()) else {
        return BAD_CACHEDUMP;
    };
    match (unsigned(class), unsigned(limit)) {
        (Some(class), Some(_)) if class >= SLAB_CLASSES => NO_SUCH_CLASS,
        (Some(_), Some(_)) => END,
        _ => refusal::BAD_FORMAT,
    }
}

fn general<N: Net>(proxy: &Proxy<N>, lines: &mut Lines) {
    let s = &proxy.statistics;
    let (user, system) = proxy.net.cpu_time();
    lines.add("pid", std::process::id());
    lines.add("uptime", (proxy.net.now_ms() - s.started_ms) / 1000);
    lines.add("time", proxy.net.unix_time_s());
    lines.add("version", env!("CARGO_PKG_VERSION"));
    lines.add("pointer_size", usize::BITS);
    lines.add("rusage_user", format_args!("{:.6}", user.as_secs_f64()));
    lines.add("rusage_system", format_args!("{:.6}", system.as_secs_f64()));
    lines.add("max_connections", proxy.settings.clients_max);
    lines.add("curr_connections", proxy.clients.len());
    lines.add("total_connections", s.total_connections);
    lines.add("rejected_connections", s.rejected_connections);
    lines.add("shed_connections", s.shed_connections);
    lines.add("cmd_get", s.cmd_get);
    lines.add("cmd_set", s.cmd_set);
    lines.add("cmd_flush", s.cmd_flush);
    lines.add("cmd_touch", s.cmd_touch);
    lines.add("get_hits", s.get_hits);
    lines.add("get_misses", s.get_misses);
    lines.add("delete_misses", s.delete_misses);
    lines.add("delete_hits", s.delete_hits);
    lines.add("incr_misses", s.incr_misses);
    lines.add("incr_hits", s.incr_hits);
    lines.add("decr_misses", s.decr_misses);
    lines.add("decr_hits", s.decr_hits);
    lines.add("cas_misses", s.cas_misses);
    lines.add("cas_hits", s.cas_hits);
    lines.add("cas_badval", s.cas_badval);
    lines.add("touch_hits", s.touch_hits);
    lines.add("touch_misses", s.touch_misses);
    lines.add("store_too_large", s.store_too_large);
    lines.add("bytes_read", s.bytes_read);
    lines.add("bytes_written", s.bytes_written);
    lines.add(
        "accepting_conns",
        u8::from(proxy.clients.len() < proxy.settings.clients_max),
    );
    lines.add("buffer_bytes", proxy.pool.in_use());
    // Asking does not change the answer.
    lines.add(
        "requests_in_flight",
        proxy.transactions.len().saturating_sub(proxy.surveys.len()),
    );
    lines.add("threads", 1);
    lines.add("servers", in_use(proxy).count());
    lines.add(
        "servers_up",
        in_use(proxy).filter(|&(index, _)| proxy.farm.is_up(index)).count(),
    );
}

/// The servers that the configuration names.
fn in_use<N: Net>(proxy: &Proxy<N>) -> impl Iterator<Item = (usize, &Server)> {
    let servers = proxy.farm.servers.iter().enumerate();
    servers.filter(|(_, server)| server.health != Health::Retired)
}

fn servers<N: Net>(proxy: &Proxy<N>) -> Vec<u8> {
    let mut lines = Lines::default();
    for (index, server) in in_use(proxy) {
        let name = &server.name;
        let mut add = |what: &str, value: &dyn Display| lines.add(&format!("{name}:{what}"), value);
        let pending = proxy.upstream.pending(index);
        let counters = &server.counters;
        add("state", &proxy.farm.state(index));
        add("links", &u8::from(proxy.upstream.is_linked(index)));
        add("pending", &pending);
        add("requests", &counters.requests);
        add("errors", &counters.errors);
        add("timeouts", &counters.timeouts);
        add("failures", &counters.failures);
        add("missed_writes", &proxy.farm.ledger.account(index).misses());
        add("repairs", &counters.repairs);
        add("resync_items", &counters.resync_items);
        add("resync_bytes", &counters.resync_bytes);
        add("refused", &counters.refused);
    }
    lines.end()
}

fn settings<N: Net>(proxy: &Proxy<N>, lines: &mut Lines) {
    let s = &proxy.settings;
    lines.add("maxconns", s.clients_max);
    lines.add("max_idle_links", s.links_max);
    lines.add("item_size_max", s.item_bytes_max);
    lines.add("max_memory", s.memory_bytes_max);
    lines.add("timeout_ms", s.timeout_ms);
    lines.add(
        "distribution",
        match s.distribution {
            Distribution::Modulo => "modulo",
            Distribution::Ketama => "ketama",
        },
    );
    lines.add(
        "ack",
        match s.ack {
            Ack::All => "all",
            Ack::Primary => "primary",
        },
    );
    lines.add(
        "miss",
        match s.miss {
            Miss::Partner => "partner",
            Miss::Cold => "cold",
        },
    );
}
