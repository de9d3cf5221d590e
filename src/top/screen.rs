//! All that is known in lines, as many and as wide as there is room for.

use super::facts::{cell, facts, kinds};
use super::sample::{Topic, Two};
use super::table::{Cell, Table};
use super::text::{Line, Style, count, duration, milliseconds};
use super::watch::Watch;

/// Servers that are shown at least, before anything else is left out.
const SERVERS_MIN: usize = 4;

/// Heading and place among those that are left out; see [`Table::columns`].
const SERVER_COLUMNS: &[(&str, u8)] = &[
    ("server", 0),
    ("state", 0),
    ("for", 5),
    ("requests/s", 1),
    ("errors", 4),
    ("timeouts", 6),
    ("hedged", 8),
    ("missed", 2),
    ("filled", 9),
    ("p50 ms", 7),
    ("p99 ms", 3),
];
/// What there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub columns: usize,
    pub rows: usize,
}

impl Room {
    /// For what is not drawn on a terminal.
    pub const ENDLESS: Self = Self {
        columns: usize::MAX / 2,
        rows: usize::MAX / 2,
    };
}

impl Watch {
    /// What there is to see as plain text, each line ended.
    pub fn plain(&self, now_ms: u64) -> String {
        let mut text = String::new();
        for line in self.lines(Room::ENDLESS, now_ms) {
            line.write_plain(&mut text);
            text.push('\n');
        }
        text
    }

    /// What a terminal is to be sent so that it shows that, whatever it shows now.
    pub fn painted(&self, room: Room, colours: bool, now_ms: u64) -> String {
        let mut text = String::from("\x1b[H");
        let lines = self.lines(room, now_ms);
        for (at, line) in lines.iter().enumerate() {
            // Cleared before it is written: behind a full line the cursor stands on its last character.
            text.push_str(if at == 0 { "\x1b[K" } else { "\r\n\x1b[K" });
            line.write_painted(room.columns, colours, &mut text);
        }
        if lines.len() < room.rows {
            text.push_str("\r\n\x1b[J");
        }
        text
    }

    /// What matters most stands first, and what matters least is left out first where there is no room.
    fn lines(&self, room: Room, now_ms: u64) -> Vec<Line> {
        let mut lines = vec![self.heading(), self.verdict(now_ms)];
        let Some(two) = self.two() else {
            return lines;
        };
        let mut facts = facts(two, room.columns);
        let kinds = kinds(two).lines(room.columns);
        let servers = two.now.servers().count().min(SERVERS_MIN);
        // Behind the first two lines, and behind the table of servers with its heading, which has a blank line before it.
        let free = room.rows.saturating_sub(lines.len() + servers + 2);
        let with_kinds = free > facts.len() + 1 + kinds.len();
        facts.truncate(free.saturating_sub(1));
        if !facts.is_empty() {
            lines.push(Line::default());
            lines.extend(facts);
        }
        lines.push(Line::default());
        let behind = if with_kinds { kinds.len() + 1 } else { 0 };
        let rows = room.rows.saturating_sub(lines.len() + 1 + behind);
        lines.extend(cut(&self.servers(two, now_ms), rows, room.columns));
        if with_kinds {
            lines.push(Line::default());
            lines.extend(kinds);
        }
        lines.truncate(room.rows);
        lines
    }

    fn heading(&self) -> Line {
        let mut line = Line::new(Style::Bold, "magent".to_owned());
        let Some(two) = self.two() else {
            line.push(Style::Plain, &format!(" on {}", self.name));
            return line;
        };
        let general = |name| two.now.text(Topic::General, name).unwrap_or_default();
        line.push(Style::Bold, &format!(" {}", general("version")));
        line.push(Style::Plain, &format!(" on {}", self.name));
        let up_s = two.now.number(Topic::General, "uptime").unwrap_or_default();
        line.push(
            Style::Faint,
            &format!(", up {}, process {}", duration(up_s), general("pid")),
        );
        let others = two.now.number(Topic::Servers, "other_magents").unwrap_or_default();
        if others > 0 {
            line.push(Style::Faint, &format!(", other magents: {others}"));
        }
        line
    }

    /// One line that says whether all is well.
    fn verdict(&self, now_ms: u64) -> Line {
        if let Some((why, for_ms)) = self.trouble(now_ms) {
            let text = format!(
                "magent does not answer: {why}; tried again each second, for {}",
                duration(for_ms / 1000)
            );
            return Line::new(Style::Bad, text);
        }
        let Some(two) = self.two() else {
            return Line::default();
        };
        let (mut text, mut style) = (String::new(), Style::Good);
        for (state, words, bad) in [
            ("down", "down", Style::Bad),
            ("rejoining", "back, not read yet", Style::Warning),
            ("up, cold", "may lack items", Style::Warning),
        ] {
            let servers: Vec<&str> = two
                .now
                .servers()
                .filter(|&(_, now)| now == state)
                .map(|(name, _)| name)
                .collect();
            if servers.is_empty() {
                continue;
            }
            text.push_str("; ");
            text.push_str(words);
            text.push_str(": ");
            text.push_str(&servers.join(", "));
            style = if style == Style::Good { bad } else { style };
        }
        let (all, up) = (
            two.now.servers().count(),
            two.now.servers().filter(|(_, state)| state.starts_with("up")).count(),
        );
        let up = match (all, up == all) {
            (1, true) => "1 server, up".to_owned(),
            (_, true) => format!("{all} servers, all up"),
            (_, false) => format!("{up} of {all} servers up"),
        };
        Line::new(style, up + &text)
    }

    /// The table of servers, those first that are not simply up.
    fn servers(&self, two: Two<'_>, now_ms: u64) -> Table {
        let rank = |state: &str| match state {
            "up" => 2,
            "up, cold" => 1,
            _ => 0,
        };
        let ranked = |wanted| two.now.servers().filter(move |&(_, state)| rank(state) == wanted);
        let row = |(server, state): (&str, &str)| {
            let style = match state {
                "up" => Style::Good,
                "down" => Style::Bad,
                _ => Style::Warning,
            };
            let since = self.state_for_ms(server, now_ms).map(|ms| duration(ms / 1000));
            let of = |name: &str| format!("{server}:{name}");
            let time = |name| cell(two.now.number(Topic::Latency, &of(name)).map(milliseconds));
            // What has grown since the last look is what one looks for.
            let counter = |name| {
                let grown = two
                    .growth(Topic::Servers, &[&of(name)])
                    .is_some_and(|growth| growth > 0);
                let style = if grown { Style::Warning } else { Style::Plain };
                Cell(style, cell(two.now.number(Topic::Servers, &of(name)).map(count)).1)
            };
            vec![
                Cell::plain(server.to_owned()),
                Cell(style, state.to_owned()),
                cell(since),
                cell(two.rate(Topic::Servers, &[&of("requests")]).map(count)),
                counter("errors"),
                counter("timeouts"),
                counter("hedges"),
                counter("missed_writes"),
                counter("resync_items"),
                time("p50_us"),
                time("p99_us"),
            ]
        };
        Table {
            words: 2,
            columns: SERVER_COLUMNS,
            rows: (0..3).flat_map(ranked).map(row).collect(),
        }
    }
}

/// A table with as many rows as there is room for; how many more there are stands in place of the last.
fn cut(table: &Table, rows: usize, columns: usize) -> Vec<Line> {
    let mut lines = table.lines(columns);
    if lines.len() > rows + 1 {
        let shown = rows.saturating_sub(1).max(1);
        let more = lines.len() - 1 - shown;
        lines.truncate(shown + 1);
        lines.push(Line::new(Style::Faint, format!("and {more} more")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, tests::sample};
    use super::*;

    /// A magent before servers in these states, of which each has been asked 100 times a second.
    fn at(second: u64, states: &[&str], has_latency: bool) -> Sample {
        let general = format!(
            "pid 7\nuptime {}\nversion 0.9.0\ncurr_connections 4000\nrejected_connections 0\nshed_connections {second}\n\
             cmd_get {}\ncmd_set {second}\ncmd_touch 0\ncmd_meta 0\nget_hits {}\nget_misses {second}\nbytes_read {}\n\
             bytes_written {}\nbuffer_bytes 100\nrequests_in_flight 3\ncurr_items 5\nbytes 600\nlimit_maxbytes 1048576\nevictions 0\n\
             delete_hits 0\ndelete_misses 0\nincr_hits 0\nincr_misses 0\ndecr_hits 0\ndecr_misses 0\nservers_up 1",
            86_400 + second,
            second * 10,
            second * 9,
            second * 2048,
            second * 4096,
        );
        let (mut servers, mut latency) = (String::new(), String::new());
        for (index, state) in states.iter().enumerate() {
            let name = format!("10.0.0.{}:11211", index + 1);
            servers += &format!(
                "{name}:state {state}\n{name}:requests {}\n{name}:errors 0\n",
                second * 100
            );
            servers += &format!(
                "{name}:timeouts 0\n{name}:hedges 0\n{name}:missed_writes {}\n{name}:resync_items 0\n",
                second * 2
            );
            latency += &format!("{name}:count 5\n{name}:p50_us 85\n{name}:p99_us 1234\n");
        }
        for kind in ["get", "multi_get", "set", "conditional", "counter", "delete"] {
            latency += &format!(
                "{kind}:count {second}\n{kind}:p50_us 100\n{kind}:p90_us 200\n{kind}:p99_us 3000\n{kind}:max_us 40000\n"
            );
        }
        let settings = "maxconns 4096\nmax_memory 67108864";
        sample(
            second * 1000,
            [
                &general,
                &(servers + "other_magents 1"),
                settings,
                if has_latency { &latency } else { "" },
            ],
        )
    }

    fn watched(states: &[&str], has_latency: bool) -> Watch {
        let mut watch = Watch::new("127.0.0.1:12000".to_owned());
        for second in [10, 12] {
            watch.take(at(second, states, has_latency));
        }
        watch
    }

    fn shown(watch: &Watch, columns: usize, rows: usize) -> Vec<String> {
        let lines = watch.lines(Room { columns, rows }, 12_000);
        assert!(
            lines.len() <= rows,
            "{} lines where there is room for {rows}",
            lines.len()
        );
        let plain = |line: &Line| {
            let mut text = String::new();
            line.write_plain(&mut text);
            text
        };
        lines.iter().map(plain).collect()
    }

    #[test]
    fn one_look_shows_all() {
        let watch = watched(&["up", "down"], true);
        assert_eq!(
            watch.plain(12_000),
            "\
magent 0.9.0 on 127.0.0.1:12000, up 1d 00:00:12, process 7, other magents: 1
1 of 2 servers up; down: 10.0.0.2:11211

clients   4,000 of 4,096                  memory    100 bytes of 64m
hit rate  90.0 % (90.0 % in all)          traffic   2k/s in, 4k/s out
items     5, 600 bytes of 1m              evicted   0 (0 a second)
in flight 3                               refused   0 (closed for memory: 12)

server          state  requests/s  errors  timeouts  hedged  missed  filled  p50 ms  p99 ms
10.0.0.2:11211  down          100       0         0       0      24       0   0.085   1.234
10.0.0.1:11211  up            100       0         0       0      24       0   0.085   1.234

clients' requests  a second  in all  p50 ms  p90 ms  p99 ms  max ms
get                       1      12   0.100   0.200   3.000   40.00
get of several            1      12   0.100   0.200   3.000   40.00
set                       1      12   0.100   0.200   3.000   40.00
add, cas, ...             1      12   0.100   0.200   3.000   40.00
incr, decr                1      12   0.100   0.200   3.000   40.00
delete                    1      12   0.100   0.200   3.000   40.00
"
        );
    }

    #[test]
    fn an_older_magent_shows_what_it_has() {
        let lines = shown(&watched(&["up"], false), 200, 60);
        assert_eq!(lines[1], "1 server, up");
        assert_eq!(
            lines[8],
            "server          state  requests/s  errors  timeouts  hedged  missed  filled"
        );
        assert_eq!(lines[11], "clients' requests  a second  in all");
        assert_eq!(lines[12], "get (keys)               10     120");
    }

    #[test]
    fn a_verdict_names_those_that_are_not_well() {
        for (states, verdict, style) in [
            (&["up", "up"][..], "2 servers, all up", Style::Good),
            (
                &["up, cold", "up"],
                "2 servers, all up; may lack items: 10.0.0.1:11211",
                Style::Warning,
            ),
            (
                &["rejoining", "down", "down"],
                "0 of 3 servers up; down: 10.0.0.2:11211, 10.0.0.3:11211; back, not read yet: 10.0.0.1:11211",
                Style::Bad,
            ),
        ] {
            assert_eq!(watched(states, true).verdict(0), Line::new(style, verdict.to_owned()));
        }
    }

    #[test]
    fn a_magent_that_is_gone_is_told_above_what_was_last_seen() {
        let mut watch = watched(&["up"], true);
        watch.lost("Connection refused".to_owned(), 12_000);
        let lines: Vec<String> = watch.plain(75_000).lines().map(str::to_owned).collect();
        assert_eq!(
            lines[1],
            "magent does not answer: Connection refused; tried again each second, for 1:03"
        );
        assert!(lines.contains(&"clients   4,000 of 4,096                  memory    100 bytes of 64m".to_owned()));
    }

    #[test]
    fn whatever_the_room_the_first_lines_and_the_servers_that_are_not_well_are_there() {
        let mut states = vec!["up"; 30];
        states[20] = "down";
        let watch = watched(&states, true);
        for columns in [1, 12, 20, 40, 60, 80, 120, 300] {
            for rows in [1, 2, 3, 5, 8, 12, 24, 50, 100] {
                let lines = shown(&watch, columns, rows);
                assert!(lines[0].starts_with("magent 0.9.0"));
                assert!(
                    rows < 5 || lines.iter().any(|line| line.contains("0.21:11211")),
                    "{lines:#?}"
                );
                let painted = watch.painted(Room { columns, rows }, false, 12_000);
                assert_eq!(painted.matches("\x1b[K").count(), lines.len());
                assert!(painted.matches("\r\n").count() < rows.max(2));
            }
        }
        let short = shown(&watch, 80, 12);
        assert!(short.last().is_some_and(|line| line == "and 27 more"), "{short:#?}");
        let long = shown(&watch, 80, 50);
        assert!(
            long[7].starts_with("items") || long[5].starts_with("items"),
            "{long:#?}"
        );
        assert!(long.last().is_some_and(|line| line.starts_with("delete")), "{long:#?}");
    }

    #[test]
    fn what_is_near_its_limit_or_has_grown_stands_out() {
        let watch = watched(&["up"], true);
        let painted = watch.painted(Room::ENDLESS, true, 12_000);
        for part in [
            "\x1b[1;31m4,000 of 4,096\x1b[0m",
            "\x1b[33m24\x1b[0m",
            "\x1b[33m0 (closed for memory: 12)\x1b[0m",
        ] {
            assert!(painted.contains(part), "{part:?} in {painted:?}");
        }
        let plain = watch.painted(Room::ENDLESS, false, 12_000);
        assert!(
            !["\x1b[3", "\x1b[1;3"].iter().any(|colour| plain.contains(colour)),
            "{plain:?}"
        );
    }
}
