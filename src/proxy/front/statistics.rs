//! magent's own replies to `stats`. What the servers have, and magent has not, is asked of them: see `survey`.

use crate::protocol::form::Form;
use crate::protocol::keys::Keys;
use crate::protocol::number::unsigned;
use crate::protocol::refusal;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::request::Request;
use crate::proxy::context::Context;
use crate::proxy::fleet::server::{Health, Server};
use crate::proxy::front::Front;
use crate::proxy::front::client::Client;
use crate::proxy::front::replies::{Addressee, Weight};
use crate::proxy::front::slow::shown;
use crate::proxy::latency::{Histogram, Kind, Latencies};
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::topic::{Survey, Topic};
use crate::proxy::replicate::transaction::{Allowance, END};
use crate::proxy::servers::Servers;
use crate::proxy::settings::{Ack, Hedge, Miss, NEVER_SLOW};
use crate::proxy::statistics::Statistics;
use std::cmp::Reverse;
use std::fmt::Display;
use std::net::SocketAddr;

/// Slab classes of a memcached (`MAX_NUMBER_OF_SLAB_CLASSES`).
const SLAB_CLASSES: u64 = 64;
const BAD_CACHEDUMP: &Reply = &Reply::error(Fault::Client, b" bad command line");
const NO_SUCH_CLASS: &Reply = &Reply::error(Fault::Client, b" Illegal slab id");

/// Clients of which `stats conns` finds those with most memory and traffic: a turn is not to be spent on it.
const CLIENTS_COMPARED: usize = 10_000;

/// What a client is told while there are as many surveys as there may be.
const TOO_MANY: &Reply = &Reply::error(Fault::Server, b" too many stats requests at a time");

impl<N: Net> Front<N> {
    /// `stats` with what follows it.
    pub fn begin_stats(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        to: Addressee,
        request: &Request<'_>,
    ) {
        let Some(topic) = Topic::of(request.key) else {
            let reply = self.own_reply(servers, request, &to.form);
            return self.answer_written_at_once(&mut servers.cx, replicate, to, &reply);
        };
        if replicate.has_surveys_enough(&servers.cx.settings.limits) {
            return self.answer_at_once(&mut servers.cx, replicate, to, TOO_MANY);
        }
        let id = self.open(&servers.cx, replicate, to, Weight::default(), Allowance::default());
        replicate.start_survey(servers, id, topic);
    }

    /// The servers have said all that they say: first magent's own lines, then those of theirs that it does not have itself.
    pub fn surveyed(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, id: usize, survey: &Survey) {
        let mut reply = Lines::default();
        match survey.topic {
            Topic::General => general(servers, (self.count(), replicate.count()), &mut reply),
            Topic::Settings => settings(&servers.cx, &mut reply),
            Topic::Items | Topic::Slabs | Topic::Sizes => {}
        }
        let own = reply.0.len();
        let boards = in_use(servers).filter(|(_, server)| server.id.is_some()).count() as u64;
        for (name, value) in &survey.lines {
            let items = value
                .parse::<u64>()
                .ok()
                .filter(|_| survey.topic == Topic::General && **name == *"curr_items");
            if let Some(items) = items {
                reply.add(name, items.saturating_sub(boards)); // but for those by which magents find each other
                continue;
            }
            if !reply.0[..own].iter().any(|(known, _)| **known == **name) {
                reply.add(name, value);
            }
        }
        replicate.survey_told(id);
        let written = reply.written(&self.pending[id].form);
        self.answer_written(&mut servers.cx, replicate, id, &written);
    }

    /// The reply to a `stats` that no server is asked about.
    fn own_reply(&mut self, own: &mut Servers<N>, request: &Request<'_>, form: &Form) -> Vec<u8> {
        match request.key {
            b"servers" => servers(own).written(form),
            b"latency" => latencies(own).written(form),
            b"hot" => self.hot_lines().written(form),
            // Memcached knows it in the text protocol alone.
            b"conns" if *form == Form::Text => self.connections(&own.cx).written(form),
            b"cachedump" => form.written(cachedump(request.keys)),
            b"reset" => {
                own.cx.statistics = Statistics::new(own.cx.statistics.started_ms);
                own.fleet.count_anew();
                own.upstream.count_anew();
                own.cx.latencies = Latencies::default();
                self.hot.clear();
                form.written(&Reply::plain(Status::Reset))
            }
            _ => form.written(refusal::ERROR),
        }
    }

    /// Clients, in the form of memcached's `stats conns`, and what they have sent, taken and asked, and hold in memory: first those that
    /// hold much, the most first, then those with most traffic.
    fn connections(&self, cx: &Context<N>) -> Lines {
        let limits = &cx.settings.limits;
        let weight = |client: &Client<N>| {
            let held = client.footprint();
            let heavy = if held >= limits.light_bytes { held } else { 0 };
            (heavy, client.bytes_read + client.bytes_written)
        };
        let mut sorted: Vec<_> = self.clients().take(CLIENTS_COMPARED).collect();
        sorted.sort_by_cached_key(|(_, client)| Reverse(weight(client)));
        let mut lines = Lines::default();
        let now_s = cx.now.ms() / 1000;
        for (index, client) in sorted.into_iter().take(limits.connections_listed) {
            let mut add = |what: &str, value: &dyn Display| lines.add(&format!("{index}:{what}"), value);
            match cx.net.peer(&client.socket) {
                Some(address @ SocketAddr::V4(_)) => add("addr", &format_args!("tcp:{address}")),
                Some(address @ SocketAddr::V6(_)) => add("addr", &format_args!("tcp6:{address}")),
                None => add("addr", &"unix"),
            }
            add("state", &client.state());
            add("secs_since_last_cmd", &now_s.saturating_sub(client.asked_s.into()));
            add("bytes_read", &client.bytes_read);
            add("bytes_written", &client.bytes_written);
            add("requests", &client.requests);
            add("memory", &client.footprint());
        }
        lines
    }

    /// The keys asked most, each with an estimate of how often, and by how much that may be too much.
    fn hot_lines(&self) -> Lines {
        let mut lines = Lines::default();
        for hot in self.hot_keys() {
            let key = shown(hot.key);
            lines.add(&format!("{key}:requests"), hot.requests);
            lines.add(&format!("{key}:error"), hot.error);
        }
        lines
    }
}

/// Names and values.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    fn add_histogram(&mut self, of: &dyn Display, histogram: &Histogram) {
        for (what, value) in [
            ("count", histogram.count()),
            ("mean_us", histogram.mean_us()),
            ("p50_us", histogram.per_mille_us(500)),
            ("p90_us", histogram.per_mille_us(900)),
            ("p99_us", histogram.per_mille_us(990)),
            ("p999_us", histogram.per_mille_us(999)),
            ("max_us", histogram.max_us()),
        ] {
            self.add(&format!("{of}:{what}"), value);
        }
    }

    /// The lines, and their end.
    fn written(&self, form: &Form) -> Vec<u8> {
        let mut written = Vec::new();
        for (name, value) in &self.0 {
            form.statistic(&mut written, name, value);
        }
        form.reply(END, |part| written.extend_from_slice(part));
        written
    }
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

/// `clients` and `requests` are how many there are.
fn general<N: Net>(own: &Servers<N>, (clients, requests): (usize, usize), lines: &mut Lines) {
    let s = &own.cx.statistics;
    let (user, system) = own.cx.net.cpu_time();
    lines.add("pid", own.cx.net.process_id());
    lines.add("uptime", (own.cx.net.now_ms() - s.started_ms) / 1000);
    lines.add("time", own.cx.net.unix_time_s());
    lines.add("version", env!("CARGO_PKG_VERSION"));
    lines.add("pointer_size", usize::BITS);
    for (name, time) in [("rusage_user", user), ("rusage_system", system)] {
        lines.add(name, format_args!("{}.{:06}", time.as_secs(), time.subsec_micros()));
    }
    lines.add("max_connections", own.cx.settings.clients_max);
    lines.add("curr_connections", clients);
    lines.add("total_connections", s.total_connections);
    lines.add("rejected_connections", s.rejected_connections);
    lines.add("shed_connections", s.shed_connections);
    lines.add("cmd_get", s.cmd_get);
    lines.add("cmd_set", s.cmd_set);
    lines.add("cmd_flush", s.cmd_flush);
    lines.add("cmd_meta", s.cmd_meta);
    lines.add("total_items", s.total_items);
    lines.add("listen_disabled_num", s.rejected_connections);
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
    lines.add("accepting_conns", u8::from(clients < own.cx.settings.clients_max));
    lines.add("buffer_bytes", own.cx.pool.in_use());
    lines.add("requests_in_flight", requests);
    lines.add("threads", 1);
    lines.add("servers", in_use(own).count());
    lines.add(
        "servers_up",
        in_use(own).filter(|&(index, _)| own.fleet.is_up(index)).count(),
    );
}

/// The servers that the configuration names.
fn in_use<N: Net>(own: &Servers<N>) -> impl Iterator<Item = (usize, &Server)> {
    let servers = own.fleet.servers.iter().enumerate();
    servers.filter(|(_, server)| server.health != Health::Retired)
}

fn servers<N: Net>(own: &Servers<N>) -> Lines {
    let mut lines = Lines::default();
    for (index, server) in in_use(own) {
        let name = &server.name;
        let mut add = |what: &str, value: &dyn Display| lines.add(&format!("{name}:{what}"), value);
        let pending = own.upstream.pending(index);
        let counters = &server.counters;
        add("state", &own.fleet.state(index));
        add("links", &u8::from(own.upstream.is_linked(index)));
        add("pending", &pending);
        add("requests", &counters.requests);
        add("errors", &counters.errors);
        add("timeouts", &counters.timeouts);
        add("failures", &counters.failures);
        add("hedges", &counters.hedges);
        add("missed_writes", &own.fleet.ledger.account(index).misses());
        add("repairs", &counters.repairs);
        add("resync_items", &counters.resync_items);
        add("resync_bytes", &counters.resync_bytes);
        add("refused", &counters.refused);
    }
    lines.add("other_magents", own.fleet.others.count(own.cx.now.ms()));
    lines
}

/// How long clients waited, by kind of request, and servers took.
fn latencies<N: Net>(own: &Servers<N>) -> Lines {
    let mut lines = Lines::default();
    for kind in Kind::ALL {
        lines.add_histogram(&kind.name(), own.cx.latencies.of(kind));
    }
    for (index, server) in in_use(own) {
        lines.add_histogram(&server.name, own.upstream.answered(index));
    }
    lines
}

fn settings<N: Net>(cx: &Context<N>, lines: &mut Lines) {
    let s = &cx.settings;
    lines.add("maxconns", s.clients_max);
    lines.add("max_idle_links", s.links_max);
    lines.add("item_size_max", s.item_bytes_max);
    lines.add("max_memory", s.memory_bytes_max);
    lines.add("timeout_ms", s.timeout_ms);
    lines.add("adaptive_timeout", if s.adaptive_timeout { "yes" } else { "no" });
    lines.add(
        "hedge",
        match s.hedge {
            Hedge::Adaptive => "auto".to_owned(),
            Hedge::After(ms) => ms.to_string(),
            Hedge::Never => "0".to_owned(),
        },
    );
    let slow_us = if s.slow_us == NEVER_SLOW { 0 } else { s.slow_us };
    lines.add("slow_ms", slow_us / 1000);
    lines.add("distribution", s.spread.distribution.word());
    lines.add("hash", s.spread.hash.word());
    let tag = s.spread.tag.map(|(open, close)| [open, close].map(char::from));
    lines.add("hash_tag", tag.map_or("none".to_owned(), String::from_iter));
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
    lines.add("board", if s.board { "on" } else { "off" });
}
