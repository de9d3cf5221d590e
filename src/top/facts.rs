//! What there is to know of the whole, and of each kind of request.

use super::sample::{Topic, Two};
use super::table::{Cell, Table};
use super::text::{Line, Style, count, milliseconds, percent};
use crate::words::Size;

/// How much of a limit is in use before it is worth a warning, and before it is bad, in percent.
const MUCH: u64 = 80;
const TOO_MUCH: u64 = 95;
/// Where the second of two facts on a line begins, and the value of each.
const SECOND_FACT: usize = 42;
const VALUE: usize = 10;

/// Heading and place among those that are left out; see [`Table::columns`].
const KIND_COLUMNS: &[(&str, u8)] = &[
    ("clients' requests", 0),
    ("a second", 0),
    ("in all", 4),
    ("p50 ms", 2),
    ("p90 ms", 3),
    ("p99 ms", 1),
    ("max ms", 5),
];

/// Kinds of requests as `stats latency` has them, and as they are called here.
const KINDS: [(&str, &str); 6] = [
    ("get", "get"),
    ("multi_get", "get of several"),
    ("set", "set"),
    ("conditional", "add, cas, ..."),
    ("counter", "incr, decr"),
    ("delete", "delete"),
];
/// What an older magent counts instead.
const OLD_KINDS: [(&str, &[&str]); 6] = [
    ("get (keys)", &["cmd_get"]),
    ("set, add, ...", &["cmd_set"]),
    ("touch", &["cmd_touch"]),
    ("incr, decr", &["incr_hits", "incr_misses", "decr_hits", "decr_misses"]),
    ("delete", &["delete_hits", "delete_misses"]),
    ("meta", &["cmd_meta"]),
];

pub fn cell(text: Option<String>) -> Cell {
    Cell::plain(text.unwrap_or_default())
}

/// How fast what clients ask is asked, and how long they wait.
pub fn kinds(two: Two<'_>) -> Table {
    let has_latency = two.now.number(Topic::Latency, "get:count").is_some();
    let new = |(kind, words): (&str, &str)| {
        let of = |name: &str| format!("{kind}:{name}");
        let time = |name| cell(two.now.number(Topic::Latency, &of(name)).map(milliseconds));
        let counts = [of("count")];
        let counts = [counts[0].as_str()];
        vec![
            Cell::plain(words.to_owned()),
            cell(two.rate(Topic::Latency, &counts).map(count)),
            cell(two.now.sum(Topic::Latency, &counts).map(count)),
            time("p50_us"),
            time("p90_us"),
            time("p99_us"),
            time("max_us"),
        ]
    };
    let old = |(words, names): (&str, &[&str])| {
        let mut row = vec![Cell::default(); KIND_COLUMNS.len()];
        row[0] = Cell::plain(words.to_owned());
        row[1] = cell(two.rate(Topic::General, names).map(count));
        row[2] = cell(two.now.sum(Topic::General, names).map(count));
        row
    };
    Table {
        words: 1,
        columns: KIND_COLUMNS,
        rows: match has_latency {
            true => KINDS.into_iter().map(new).collect(),
            false => OLD_KINDS.into_iter().map(old).collect(),
        },
    }
}

/// What there is to know of the whole, two facts on a line where they fit.
pub fn facts(two: Two<'_>, columns: usize) -> Vec<Line> {
    let facts = whole(two);
    let on_a_line = if columns >= 2 * SECOND_FACT - VALUE { 2 } else { 1 };
    let lines = facts.chunks(on_a_line).map(|facts| {
        let mut line = Line::default();
        for (at, (style, name, value)) in facts.iter().enumerate() {
            if at > 0 {
                line.pad(SECOND_FACT);
            }
            line.push(Style::Faint, name);
            line.pad(at * SECOND_FACT + VALUE);
            line.push(*style, value);
        }
        line
    });
    lines.collect()
}

/// Each with what it is called.
fn whole(two: Two<'_>) -> [(Style, &'static str, String); 8] {
    let number = |name| two.now.number(Topic::General, name).unwrap_or_default();
    let setting = |name| two.now.number(Topic::Settings, name).unwrap_or_default();
    let (clients, clients_max) = (number("curr_connections"), setting("maxconns"));
    let (buffers, buffers_max) = (number("buffer_bytes"), setting("max_memory"));
    let (items, bytes, room) = (number("curr_items"), number("bytes"), number("limit_maxbytes"));
    let (refused, shed) = (number("rejected_connections"), number("shed_connections"));
    let evicted = two.rate(Topic::General, &["evictions"]);
    let evicted = evicted.map_or(String::new(), |rate| format!(" ({} a second)", count(rate)));
    let turned_away = two.growth(Topic::General, &["rejected_connections", "shed_connections"]);
    let turned_away = match turned_away {
        Some(1..) => Style::Warning,
        _ => Style::Plain,
    };
    let of = |used: String, limit: String| used + " of " + &limit;
    let plain = Style::Plain;
    [
        (
            how_much(clients, clients_max),
            "clients",
            of(count(clients), count(clients_max)),
        ),
        (
            how_much(buffers, buffers_max),
            "memory",
            of(Size(buffers).to_string(), Size(buffers_max).to_string()),
        ),
        (plain, "hit rate", hit_rate(two)),
        (plain, "traffic", traffic(two)),
        (
            plain,
            "items",
            format!("{}, {} of {}", count(items), Size(bytes), Size(room)),
        ),
        (plain, "evicted", count(number("evictions")) + &evicted),
        (plain, "in flight", count(number("requests_in_flight"))),
        (
            turned_away,
            "refused",
            format!("{} (closed for memory: {})", count(refused), count(shed)),
        ),
    ]
}

fn hit_rate(two: Two<'_>) -> String {
    let hits = |of: &dyn Fn(&[&str]) -> Option<u64>| percent(of(&["get_hits"])?, of(&["get_hits", "get_misses"])?);
    let now = hits(&|names| two.growth(Topic::General, names));
    let in_all = hits(&|names| two.now.sum(Topic::General, names));
    match (now, in_all) {
        (Some(now), Some(in_all)) => format!("{now} ({in_all} in all)"),
        (None, Some(in_all)) => format!("{in_all} in all"),
        _ => "nothing read yet".to_owned(),
    }
}

/// A second; in all where that is not known yet.
fn traffic(two: Two<'_>) -> String {
    let number = |name| two.now.number(Topic::General, name).unwrap_or_default();
    let rate = |name| two.rate(Topic::General, &[name]);
    match (rate("bytes_read"), rate("bytes_written")) {
        (Some(read), Some(written)) => format!("{}/s in, {}/s out", Size(read), Size(written)),
        _ => format!(
            "{} in, {} out",
            Size(number("bytes_read")),
            Size(number("bytes_written"))
        ),
    }
}

fn how_much(used: u64, limit: u64) -> Style {
    match (used * 100).checked_div(limit) {
        Some(percent) if percent >= TOO_MUCH => Style::Bad,
        Some(percent) if percent >= MUCH => Style::Warning,
        _ => Style::Plain,
    }
}
