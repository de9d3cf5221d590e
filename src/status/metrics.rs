//! What Prometheus reads: its text format 0.0.4. Names begin with `magent_`, units are seconds and bytes.
//!
//! Counters begin anew with `stats reset`, which Prometheus takes for a restart.

use super::http::Content;
use super::text::Text;
use crate::proxy::report::{Histogram, Kind, Lack, Report, ServerReport};

/// Servers that are told of at most: more would make a reply of megabytes.
const SERVERS_MAX: usize = 256;
/// The upper ends of buckets, as powers of two microseconds: 64 us to 4.2 s. What takes exactly so long counts to the next.
const BUCKET_BITS: [u32; 12] = [6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 19, 22];
const STATES: [&str; 4] = ["up", "up, cold", "down", "rejoining"];

/// Decimal digits of a second that a number of milliseconds or microseconds has behind the point.
const WHOLE: u32 = 0;
const MICRO: u32 = 6;

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// A line of a metric: its labels, and its value.
type Line = (&'static str, fn(&Report<'_>) -> u64);
/// Name, help, type, decimal digits, lines.
type Metric = (&'static str, &'static str, &'static str, u32, &'static [Line]);

#[rustfmt::skip]
const METRICS: [Metric; 21] = [
    ("magent_build_info", "The version that runs.", GAUGE, WHOLE,
        &[(concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), |_| 1)]),
    ("process_start_time_seconds", "When the process was started, in seconds since 1970.", GAUGE, WHOLE,
        &[("", |r| r.unix_time_s.saturating_sub(r.uptime_s))]),
    ("process_cpu_seconds_total", "Processor time that the process has used, in its own code and the system's.", COUNTER, MICRO,
        &[("", |r| r.cpu_us)]),
    ("process_resident_memory_bytes", "Memory that the process has, its program included; 0 where the system does not say.", GAUGE, WHOLE,
        &[("", |r| r.resident_bytes)]),
    ("magent_ready", "Whether a client that connects would be served, as /ready says.", GAUGE, WHOLE,
        &[("", |r| u64::from(super::health::ready(r).status.starts_with('2')))]),
    ("magent_pairs_without_copy", "Servers, or pairs of them, whose keys have no live copy; 0 where /health says ok.", GAUGE, WHOLE,
        &[("", |r| r.lost.len() as u64)]),
    ("magent_clients", "Connections of clients that are open.", GAUGE, WHOLE, &[("", |r| r.clients as u64)]),
    ("magent_clients_max", "How many may be open (-n).", GAUGE, WHOLE, &[("", |r| r.clients_max as u64)]),
    ("magent_connections_total", "Connections of clients that were accepted.", COUNTER, WHOLE,
        &[("", |r| r.statistics.total_connections)]),
    ("magent_connections_rejected_total", "Connections that were closed because there were too many.", COUNTER, WHOLE,
        &[("", |r| r.statistics.rejected_connections)]),
    ("magent_connections_shed_total", "Clients that were closed because --max-memory was reached.", COUNTER, WHOLE,
        &[("", |r| r.statistics.shed_connections)]),
    ("magent_requests_in_flight", "Requests that are not answered yet.", GAUGE, WHOLE, &[("", |r| r.requests as u64)]),
    ("magent_buffer_bytes", "Memory of buffers that is in use.", GAUGE, WHOLE, &[("", |r| r.memory as u64)]),
    ("magent_buffer_max_bytes", "How much of it may be (--max-memory).", GAUGE, WHOLE, &[("", |r| r.memory_max as u64)]),
    ("magent_client_received_bytes_total", "What clients have sent.", COUNTER, WHOLE, &[("", |r| r.statistics.bytes_read)]),
    ("magent_client_sent_bytes_total", "What clients were sent.", COUNTER, WHOLE, &[("", |r| r.statistics.bytes_written)]),
    ("magent_commands_total", "Commands of clients; get counts every key. Meta commands count as what they do as well.", COUNTER, WHOLE, &[
        ("{command=\"get\"}", |r| r.statistics.cmd_get),
        ("{command=\"set\"}", |r| r.statistics.cmd_set),
        ("{command=\"touch\"}", |r| r.statistics.cmd_touch),
        ("{command=\"flush\"}", |r| r.statistics.cmd_flush),
        ("{command=\"meta\"}", |r| r.statistics.cmd_meta),
    ]),
    ("magent_lookups_total", "Keys that commands asked for, by what became of it.", COUNTER, WHOLE, &[
        ("{command=\"get\",result=\"hit\"}", |r| r.statistics.get_hits),
        ("{command=\"get\",result=\"miss\"}", |r| r.statistics.get_misses),
        ("{command=\"delete\",result=\"hit\"}", |r| r.statistics.delete_hits),
        ("{command=\"delete\",result=\"miss\"}", |r| r.statistics.delete_misses),
        ("{command=\"incr\",result=\"hit\"}", |r| r.statistics.incr_hits),
        ("{command=\"incr\",result=\"miss\"}", |r| r.statistics.incr_misses),
        ("{command=\"decr\",result=\"hit\"}", |r| r.statistics.decr_hits),
        ("{command=\"decr\",result=\"miss\"}", |r| r.statistics.decr_misses),
        ("{command=\"cas\",result=\"hit\"}", |r| r.statistics.cas_hits),
        ("{command=\"cas\",result=\"miss\"}", |r| r.statistics.cas_misses),
        ("{command=\"cas\",result=\"badval\"}", |r| r.statistics.cas_badval),
        ("{command=\"touch\",result=\"hit\"}", |r| r.statistics.touch_hits),
        ("{command=\"touch\",result=\"miss\"}", |r| r.statistics.touch_misses),
    ]),
    ("magent_store_too_large_total", "Values that were refused as too large.", COUNTER, WHOLE,
        &[("", |r| r.statistics.store_too_large)]),
    ("magent_other_magents", "Other magents before the same servers.", GAUGE, WHOLE, &[("", |r| r.other_magents as u64)]),
    ("magent_servers", "Servers that the configuration names.", GAUGE, WHOLE, &[("", |r| r.servers.len() as u64)]),
];

/// Of each server: name, help, type, decimal digits, value.
type ServerMetric = (
    &'static str,
    &'static str,
    &'static str,
    u32,
    fn(&ServerReport<'_>) -> u64,
);

#[rustfmt::skip]
const SERVER_METRICS: [ServerMetric; 17] = [
    ("magent_server_up", "Whether clients' requests may be sent to the server.", GAUGE, WHOLE, |s| u64::from(s.is_up)),
    ("magent_server_state_seconds", "How long it has been up, or away.", GAUGE, WHOLE, |s| s.for_s),
    ("magent_server_pending", "Requests that it has not answered.", GAUGE, WHOLE, |s| s.pending as u64),
    ("magent_server_requests_total", "Requests that it was sent.", COUNTER, WHOLE, |s| s.counters.requests),
    ("magent_server_errors_total", "Answers that were an error of its own.", COUNTER, WHOLE, |s| s.counters.errors),
    ("magent_server_timeouts_total", "Times it was silent for longer than the timeout.", COUNTER, WHOLE, |s| s.counters.timeouts),
    ("magent_server_failures_total", "Times it went down.", COUNTER, WHOLE, |s| s.counters.failures),
    ("magent_server_hedges_total", "Reads that its partner was asked for too, because it let them wait.", COUNTER, WHOLE, |s| s.counters.hedges),
    ("magent_server_missed_writes_total", "Writes that it missed.", COUNTER, WHOLE, |s| s.missed),
    ("magent_server_repairs_total", "Keys that were copied to it one by one.", COUNTER, WHOLE, |s| s.counters.repairs),
    ("magent_server_refused_total", "Copies that it refused, so that these items have one copy.", COUNTER, WHOLE, |s| s.counters.refused),
    ("magent_server_filled_items_total", "Items that it was filled with after it had lost them.", COUNTER, WHOLE, |s| s.counters.resync_items),
    ("magent_server_filled_bytes_total", "Bytes of their values.", COUNTER, WHOLE, |s| s.counters.resync_bytes),
    ("magent_server_lacking", "Whether it may lack what its partners have.", GAUGE, WHOLE, |s| u64::from(s.lacks != Lack::Nothing)),
    ("magent_server_filling", "Whether it is being filled with what a partner has.", GAUGE, WHOLE, |s| u64::from(s.filling.is_some())),
    ("magent_server_filling_done_keys", "Keys of the partner's list that are done with, while it is being filled.", GAUGE, WHOLE,
        |s| s.filling.as_ref().map_or(0, |filling| filling.progress.done)),
    ("magent_server_filling_listed_keys", "Keys that this list has, once that is known.", GAUGE, WHOLE,
        |s| s.filling.as_ref().and_then(|filling| filling.progress.total).unwrap_or(0)),
];

/// All of it.
pub fn metrics(report: &Report<'_>) -> Content {
    let mut out = Text::default();
    for (name, help, kind, digits, lines) in &METRICS {
        head(&mut out, name, help, kind);
        for (labels, value) in *lines {
            out.add(name)
                .add(labels)
                .add(" ")
                .fraction(value(report), *digits)
                .add("\n");
        }
    }
    let name = "magent_request_duration_seconds";
    head(&mut out, name, "How long clients waited for replies.", "histogram");
    for kind in Kind::ALL {
        let label = ["command=\"", kind.name(), "\""].concat();
        histogram(&mut out, name, &label, report.latencies.of(kind));
    }
    of_servers(&mut out, &report.servers[..report.servers.len().min(SERVERS_MAX)]);
    Content {
        status: "200 OK",
        headers: "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
        body: out.0,
    }
}

/// What is told of each server.
fn of_servers(out: &mut Text, servers: &[ServerReport<'_>]) {
    // The label of each, written once.
    let labels: Vec<String> = servers.iter().map(label).collect();
    for (name, help, kind, digits, value) in &SERVER_METRICS {
        head(out, name, help, kind);
        for (server, label) in servers.iter().zip(&labels) {
            out.add(name)
                .add("{")
                .add(label)
                .add("} ")
                .fraction(value(server), *digits)
                .add("\n");
        }
    }
    head(out, "magent_server_info", "In which farms it is.", GAUGE);
    for (server, label) in servers.iter().zip(&labels) {
        for (role, has_it) in [("primary", server.is_primary), ("backup", server.is_backup)] {
            if has_it {
                out.add("magent_server_info{")
                    .add(label)
                    .add(",role=\"")
                    .add(role)
                    .add("\"} 1\n");
            }
        }
    }
    head(
        out,
        "magent_server_state",
        "1 for the state that it is in, as in stats servers.",
        GAUGE,
    );
    for (server, label) in servers.iter().zip(&labels) {
        for state in STATES {
            out.add("magent_server_state{")
                .add(label)
                .add(",state=\"")
                .add(state)
                .add("\"} ");
            out.number(u64::from(server.state == state)).add("\n");
        }
    }
    let name = "magent_server_answer_duration_seconds";
    head(out, name, "How long the server took to answer.", "histogram");
    for (server, label) in servers.iter().zip(&labels) {
        histogram(out, name, label, server.answered);
    }
}

fn head(out: &mut Text, name: &str, help: &str, kind: &str) {
    out.add("# HELP ").add(name).add(" ").add(help);
    out.add("\n# TYPE ").add(name).add(" ").add(kind).add("\n");
}

/// `server="..."`; the path of a unix socket may hold anything.
fn label(server: &ServerReport<'_>) -> String {
    let name = server
        .name
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    ["server=\"", &name, "\""].concat()
}

fn histogram(out: &mut Text, name: &str, label: &str, histogram: &Histogram) {
    for bits in BUCKET_BITS {
        out.add(name)
            .add("_bucket{")
            .add(label)
            .add(",le=\"")
            .fraction(1 << bits, MICRO);
        out.add("\"} ").number(histogram.count_below(1 << bits)).add("\n");
    }
    let count = histogram.count();
    out.add(name)
        .add("_bucket{")
        .add(label)
        .add(",le=\"+Inf\"} ")
        .number(count)
        .add("\n");
    out.add(name)
        .add("_sum{")
        .add(label)
        .add("} ")
        .fraction(histogram.sum_us(), MICRO)
        .add("\n");
    out.add(name)
        .add("_count{")
        .add(label)
        .add("} ")
        .number(count)
        .add("\n");
}
