//! What monitoring sees: the form and the names are memcached's, and the counters move as memcached's do.

mod common;

use common::{Client, Fake, MISS, Magent, Memcached, NO_SERVER, Two, eventually, hit};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// What only magent counts; every other name is one of memcached's.
const OWN_NAMES: [&str; 5] = [
    "shed_connections",
    "buffer_bytes",
    "requests_in_flight",
    "servers",
    "servers_up",
];

/// The statistics of a reply, each name once, in memcached's form.
fn statistics(client: &mut Client, request: &str) -> BTreeMap<String, String> {
    let reply = client.ask(format!("{request}\r\n"));
    parse(&String::from_utf8(reply.0).expect("text"))
}

fn parse(reply: &str) -> BTreeMap<String, String> {
    let lines = reply.strip_suffix("END\r\n").expect("an end");
    let mut found = BTreeMap::new();
    for line in lines.split_terminator("\r\n") {
        let rest = line.strip_prefix("STAT ").unwrap_or_else(|| panic!("{line:?}"));
        let (name, value) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        assert!(!value.is_empty(), "{line:?}");
        let before = found.insert(name.to_owned(), value.to_owned());
        assert_eq!(before, None, "{name} is there twice");
    }
    found
}

/// The counters that a request moves, and by how much.
struct Watch {
    client: Client,
    before: BTreeMap<String, String>,
}

impl Watch {
    fn new(client: Client) -> Self {
        let mut watch = Self {
            client,
            before: BTreeMap::new(),
        };
        watch.moved_by("");
        watch
    }

    /// By how much a request moves the counters that have to do with commands.
    fn moved_by(&mut self, request: &str) -> BTreeMap<String, u64> {
        self.client.send(format!("{request}stats\r\n"));
        // Whatever the request is answered comes first.
        let mut line = self.client.line();
        while !line.starts_with("STAT ") {
            line = self.client.line();
        }
        let mut reply = line.0;
        reply.extend(self.client.reply().0);
        let now = parse(&String::from_utf8(reply).expect("text"));
        let number = |all: &BTreeMap<String, String>, name: &str| -> u64 {
            all.get(name).map_or(0, |value| value.parse().expect("a number"))
        };
        let counted = |name: &&String| {
            let prefixes = ["cmd_", "get_", "delete_", "incr_", "decr_", "cas_", "touch_", "store_"];
            // A thread of memcached's removes what was flushed, and may be faster than the get that would count it.
            name.as_str() != "get_flushed" && prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let moved = now.keys().filter(counted).map(|name| {
            let (before, after) = (number(&self.before, name), number(&now, name));
            let by = after.checked_sub(before);
            (
                name.clone(),
                by.unwrap_or_else(|| panic!("{name} went from {before} to {after}")),
            )
        });
        let moved = moved.collect();
        self.before = now;
        moved
    }
}

#[test]
fn the_names_are_memcacheds() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let own = statistics(&mut magent.client(), "stats");
    let memcacheds = statistics(&mut server.client(), "stats");
    for name in own.keys() {
        let known = OWN_NAMES.contains(&name.as_str()) != memcacheds.contains_key(name);
        assert!(
            known,
            "{name} is not one of memcached's names, or one of its own that memcached has too"
        );
    }
    for name in [
        "pid",
        "uptime",
        "time",
        "version",
        "curr_connections",
        "total_connections",
        "rejected_connections",
        "cmd_get",
        "cmd_set",
        "cmd_flush",
        "cmd_touch",
        "get_hits",
        "get_misses",
        "delete_hits",
        "delete_misses",
        "incr_hits",
        "incr_misses",
        "decr_hits",
        "decr_misses",
        "cas_hits",
        "cas_misses",
        "cas_badval",
        "touch_hits",
        "touch_misses",
        "bytes_read",
        "bytes_written",
        "limit_maxbytes",
        "threads",
        "max_connections",
        "pointer_size",
    ]
    .iter()
    .chain(&OWN_NAMES)
    {
        let value = own.get(*name).unwrap_or_else(|| panic!("{name} is missing"));
        let is_number = value.parse::<u64>().is_ok();
        assert!(is_number || *name == "version", "{name} {value}");
    }
}

#[test]
fn the_process_is_told_of_as_it_is() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["-n", "77", "--max-memory=3m"]);
    let mut client = magent.client();
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.expect("after 1970").as_secs()
    };
    let before = now();
    let all = statistics(&mut client, "stats");
    let time: u64 = all["time"].parse().expect("a number");
    assert!((before..=now()).contains(&time), "{time}");
    for (name, value) in [
        ("pid", magent.id().to_string()),
        ("version", "0.8.0".to_owned()),
        ("max_connections", "77".to_owned()),
        ("limit_maxbytes", (64 << 20).to_string()),
        ("threads", "1".to_owned()),
    ] {
        assert_eq!(all[name], value, "{name}");
    }
    eventually("the uptime grows", || client.stat("stats", "uptime") != all["uptime"]);
}

/// What is answered to these is not looked at here, only what is counted.
const SCRIPT: &[&str] = &[
    "set a 0 0 1\r\n1\r\n",
    "set b 0 0 1\r\nx\r\n",
    "set q 0 0 1 noreply\r\nx\r\nget q\r\n",
    "add a 0 0 1\r\n1\r\n",
    "add c 0 0 1\r\n1\r\n",
    "replace c 0 0 1\r\n2\r\n",
    "replace none 0 0 1\r\n2\r\n",
    "append a 0 0 1\r\n2\r\n",
    "prepend none 0 0 1\r\n2\r\n",
    "cas a 0 0 1 1\r\n1\r\n",
    "cas none 0 0 1 1\r\n1\r\n",
    "get a\r\n",
    "get none\r\n",
    "get a b none c none\r\n",
    "gets a none\r\n",
    "incr a 1\r\n",
    "incr none 1\r\n",
    "incr b 1\r\n",
    "decr a 1\r\n",
    "decr none 1\r\n",
    "touch a 0\r\n",
    "touch none 0\r\n",
    "gat 0 a\r\n",
    "gat 0 none\r\n",
    "gats 0 a b none\r\n",
    "delete c\r\n",
    "delete c\r\n",
    "delete b noreply\r\nget b\r\n",
    "flush_all\r\n",
    "flush_all noreply\r\nget a\r\n",
    "version\r\n",
    "verbosity 0\r\n",
    "bogus\r\n",
    "get\r\n",
    "set a 0 0 1\r\nbad chunk\r\n",
];

/// Runs the script and asserts, request by request, that magent's counters move as a memcached's of its own do.
fn counts_like_memcached(magent: &Magent) {
    let server = Memcached::start();
    let mut like = Watch::new(server.client());
    let mut watch = Watch::new(magent.client());
    let mut different = Vec::new();
    for request in SCRIPT {
        let expected = like.moved_by(request);
        for (name, by) in watch.moved_by(request) {
            if by != expected[&name] {
                different.push(format!("{name} moves by {by}, not {}, on {request:?}", expected[&name]));
            }
        }
    }
    assert_eq!(different, Vec::<String>::new());
}

#[test]
fn counters_move_as_memcacheds_do() {
    let server = Memcached::start();
    counts_like_memcached(&Magent::before(&[&server], &[], &[]));
}

#[test]
fn two_copies_are_counted_once() {
    for options in [&[][..], &["--ack=primary"]] {
        let two = Two::start(options);
        counts_like_memcached(&two.magent);
    }
}

#[test]
fn a_hit_of_the_backup_is_a_hit() {
    let two = Two::start(&[]);
    assert_eq!(two.backup.ask("set k 0 0 1\r\nx\r\n"), "STORED\r\n");
    let mut watch = Watch::new(two.client());
    let moved = watch.moved_by("get k none\r\n");
    let counted = ["cmd_get", "get_hits", "get_misses"].map(|name| moved[name]);
    assert_eq!(counted, [2, 1, 1]);
}

#[test]
fn a_value_that_is_too_large_is_counted() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    let value = "v".repeat((1 << 20) + 1);
    let refusal = "SERVER_ERROR object too large for cache\r\n";
    client.check(format!("set k 0 0 {}\r\n{value}\r\n", value.len()), refusal);
    assert_eq!(client.stat("stats", "store_too_large"), "1");
    // What was there before is removed, but nobody has asked for that.
    assert_eq!(client.stat("stats", "delete_misses"), "0");
}

#[test]
fn every_byte_of_clients_is_counted() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    let mut ask = |request: &str, reply_len: usize| -> (u64, u64, usize) {
        client.send(request);
        let mut received = 0;
        while received < reply_len {
            received += client.line().0.len();
        }
        let reply = client.ask("stats\r\n");
        let text = String::from_utf8(reply.0.clone()).expect("text");
        let value = |name: &str| -> u64 {
            let prefix = format!("STAT {name} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
            line.expect("a statistic").parse().expect("a number")
        };
        (value("bytes_read"), value("bytes_written"), reply.0.len())
    };
    let (read, written, reply) = ask("", 0);
    let request = format!("set key 0 0 5000\r\n{}\r\nget key\r\n", "v".repeat(5000));
    let answer = format!("STORED\r\n{}", hit("key", 0, &"v".repeat(5000)));
    let (read_after, written_after, _) = ask(&request, answer.len());
    assert_eq!(read_after - read, (request.len() + "stats\r\n".len()) as u64);
    assert_eq!(written_after - written, (answer.len() + reply) as u64);
}

#[test]
fn connections_are_counted() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["-n", "3"]);
    let mut client = magent.client();
    let mut connections = |which: &str| client.stat("stats", &format!("{which}_connections"));
    assert_eq!([connections("curr"), connections("total")], ["1", "1"]);
    let others = [magent.client(), magent.client()];
    eventually("they are accepted", || connections("curr") == "3");
    magent.client().expect("SERVER_ERROR OUT OF CONNECTION\r\n");
    assert_eq!([connections("total"), connections("rejected")], ["3", "1"]);
    drop(others);
    eventually("they are gone", || connections("curr") == "1");
    assert_eq!([connections("total"), connections("rejected")], ["3", "1"]);
}

#[test]
fn what_is_in_flight_is_shown_and_is_no_more_when_answered() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    client.check("get k\r\n", MISS);
    server.stop();
    client.send("get k\r\nset k 0 0 1\r\nx\r\nget k l\r\n");
    // Asking is in flight while it is answered, or not: it is the same before and after.
    let idle = |in_flight: u64| in_flight <= 1;
    eventually("three are in flight", || magent.server_stat(&server, "pending") == "3");
    assert!(magent.stat("requests_in_flight") >= 3);
    assert!(magent.stat("buffer_bytes") > 0);
    server.cont();
    client.expect(MISS);
    client.expect("STORED\r\n");
    client.expect(hit("k", 0, "x"));
    // What was asked for statistics meanwhile is behind it.
    eventually("none is in flight", || magent.server_stat(&server, "pending") == "0");
    assert!(idle(magent.stat("requests_in_flight")));
}

/// The numbers of a server's lines in `stats servers`.
fn server_numbers(magent: &Magent, server: &str) -> BTreeMap<String, u64> {
    let prefix = format!("{server}:");
    let all = statistics(&mut magent.client(), "stats servers");
    let own = all
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?, value)));
    own.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[test]
fn every_server_has_its_lines() {
    let two = Two::start(&[]);
    two.client().check("get k\r\n", MISS);
    let all = statistics(&mut two.client(), "stats servers");
    let names = [
        "state",
        "links",
        "pending",
        "requests",
        "errors",
        "timeouts",
        "failures",
        "hedges",
        "missed_writes",
        "repairs",
        "resync_items",
        "resync_bytes",
        "refused",
    ];
    for server in [&two.primary, &two.backup] {
        for name in names {
            let full = format!("{}:{name}", server.name);
            assert!(all.contains_key(&full), "{full} in {all:?}");
        }
    }
    assert_eq!(all["other_magents"], "0");
    assert_eq!(all.len(), 2 * names.len() + 1, "{all:?}");
    two.magent.wait_for(&two.primary, "up");
    assert_eq!(server_numbers(&two.magent, &two.primary.name)["links"], 1);
    assert_eq!(two.magent.stat("servers"), 2);
    assert_eq!(two.magent.stat("servers_up"), 2);
}

#[test]
fn requests_repairs_and_missed_writes_are_counted() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    let numbers = |two: &Two| [&two.primary, &two.backup].map(|server| server_numbers(&two.magent, &server.name));
    client.check("get warm\r\n", MISS);
    let before = numbers(&two);
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("get k\r\n", hit("k", 0, "x"));
    let after = numbers(&two);
    let grown = |name: &str| [0, 1].map(|i: usize| after[i][name] - before[i][name]);
    assert_eq!(grown("requests"), [2, 1], "the write on both, the read on the primary");
    assert_eq!(grown("errors"), [0, 0]);
    // A copy that only the backup has is brought back to the primary by the read.
    assert_eq!(two.primary.ask("delete k\r\n"), "DELETED\r\n");
    client.check("get k\r\n", hit("k", 0, "x"));
    eventually("a repair of the primary is counted", || {
        numbers(&two)[0]["repairs"] == before[0]["repairs"] + 1
    });
    assert_eq!(numbers(&two)[1]["repairs"], before[1]["repairs"]);
    two.backup.kill();
    two.magent.wait_for(&two.backup, "down");
    assert_eq!(two.magent.stat("servers_up"), 1);
    for i in 0..3 {
        client.check(format!("set k{i} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let [primary, backup] = numbers(&two);
    assert_eq!([primary["failures"], primary["missed_writes"]], [0, 0]);
    assert_eq!([backup["failures"], backup["missed_writes"]], [1, 3]);
    assert_eq!([backup["timeouts"], backup["links"]], [0, 0]);
}

#[test]
fn timeouts_are_counted() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--timeout=300"]);
    let mut client = magent.client();
    client.check("get k\r\n", MISS);
    server.stop();
    client.check("get k\r\n", NO_SERVER);
    let numbers = server_numbers(&magent, &server.name);
    assert_eq!([numbers["timeouts"], numbers["failures"]], [1, 1]);
    assert_eq!(magent.stat("servers_up"), 0);
    server.cont();
    magent.wait_for(&server, "up");
    assert_eq!(magent.stat("servers_up"), 1);
}

#[test]
fn errors_of_a_server_are_counted() {
    let fake = Fake::start(|line| match line.split(' ').next() {
        Some("version") => Some(b"VERSION 1.6.18\r\n".to_vec()),
        Some("delete") => Some(b"SERVER_ERROR out of order\r\n".to_vec()),
        _ => None,
    });
    let magent = Magent::start(&["-s", &fake.name]);
    let mut client = magent.client();
    for errors in 1..=3 {
        client.check("delete k\r\n", "SERVER_ERROR out of order\r\n");
        assert_eq!(server_numbers(&magent, &fake.name)["errors"], errors);
    }
}

#[test]
fn a_reset_begins_the_counting_anew() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("get k none\r\n", hit("k", 0, "x"));
    eventually("it is up for a while", || client.stat("stats", "uptime") != "0");
    client.check("stats reset\r\n", "RESET\r\n");
    let numbers = server_numbers(&two.magent, &two.primary.name);
    assert_eq!([numbers["requests"], numbers["links"]], [0, 1]);
    client.check("get k\r\n", hit("k", 0, "x"));
    assert_eq!(server_numbers(&two.magent, &two.primary.name)["requests"], 1);
    client.check("stats reset\r\n", "RESET\r\n");
    let all = statistics(&mut client, "stats");
    for name in ["cmd_get", "cmd_set", "get_hits", "get_misses", "total_connections"] {
        assert_eq!(all[name], "0", "{name}");
    }
    assert_ne!(all["uptime"], "0", "the process is as old as before");
    assert_eq!(all["curr_connections"], "1");
    client.check("get k\r\n", hit("k", 0, "x"));
    assert_eq!(client.stat("stats", "get_hits"), "1");
}

#[test]
fn the_settings_are_shown() {
    let server = Memcached::start();
    let arguments = [
        "-n",
        "9",
        "-i",
        "2",
        "-k",
        "--ack=primary",
        "--miss=cold",
        "--timeout=444",
        "--max-item-size=2k",
    ];
    let magent = Magent::before(&[&server], &[], &arguments);
    let settings = statistics(&mut magent.client(), "stats settings");
    for (name, value) in [
        ("ack", "primary"),
        ("distribution", "ketama"),
        ("item_size_max", "2048"),
        ("max_idle_links", "2"),
        ("max_memory", "67108864"),
        ("maxconns", "9"),
        ("miss", "cold"),
        ("timeout_ms", "444"),
    ] {
        assert_eq!(settings[name], value, "{name}");
    }
}

/// What tools that were made for memcached ask.
#[test]
fn tools_see_the_farm_added_up() {
    let servers = [Memcached::start(), Memcached::start()];
    let magent = Magent::before(&[&servers[0], &servers[1]], &[], &[]);
    let mut client = magent.client();
    for number in 0..50 {
        client.check(format!("set key{number} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    for (request, names) in [
        ("stats", &["curr_items", "bytes", "limit_maxbytes", "evictions"][..]),
        ("stats items", &["items:1:number", "items:1:evicted"]),
        (
            "stats slabs",
            &["1:used_chunks", "1:total_pages", "1:cmd_set", "total_malloced"],
        ),
    ] {
        let number = |of: &BTreeMap<String, String>, name: &str| -> u64 {
            of.get(name).map_or(0, |value| value.parse().expect("a number"))
        };
        // A server that is late is left out; on a machine that stands still now and then it is asked again.
        eventually(&format!("{request} shows both servers"), || {
            let farm = statistics(&mut client, request);
            let each = servers
                .each_ref()
                .map(|server| statistics(&mut server.client(), request));
            let is_sum = |name: &&str| number(&farm, name) == number(&each[0], name) + number(&each[1], name);
            let mut lines = each.iter().flat_map(BTreeMap::keys);
            names.iter().all(|name| farm.contains_key(*name) && is_sum(name))
                && (request == "stats" || lines.all(|name| farm.contains_key(name)))
        });
    }
    assert_eq!(client.stat("stats", "curr_items"), "50");
    client.check("add key0 0 0 1\r\ny\r\nmg key0\r\nmn\r\n", "NOT_STORED\r\nHD\r\nMN\r\n");
    assert_eq!(client.stat("stats", "total_items"), "50");
    assert_eq!(client.stat("stats", "cmd_meta"), "2");
    let slabs = statistics(&mut client, "stats slabs");
    assert_eq!(
        slabs["1:chunk_size"],
        servers[0].client().stat("stats slabs", "1:chunk_size")
    );
    assert_eq!(client.stat("stats settings", "maxbytes"), (128 << 20).to_string());
    assert_eq!(client.stat("stats settings", "growth_factor"), "1.25");
    assert_eq!(client.stat("stats sizes", "sizes_status"), "disabled");
}

/// What magents write to find each other is nobody's.
#[test]
fn boards_are_not_counted_among_the_items() {
    let two = Two::start(&["--board=on"]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    eventually("both have a board", || {
        two.primary.stat("curr_items") + two.backup.stat("curr_items") == 4
    });
    eventually("it is not counted", || client.stat("stats", "curr_items") == "2");
    assert_eq!(client.stat("stats", "total_items"), "1");
}

#[test]
fn a_silent_server_keeps_nobody_from_the_statistics() {
    let two = Two::start(&["--timeout=60000"]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(client.stat("stats", "curr_items"), "2");
    two.backup.stop();
    assert_eq!(client.stat("stats", "curr_items"), "1");
    assert!(statistics(&mut client, "stats items").contains_key("items:1:number"));
    two.backup.cont();
    eventually("the backup is asked again", || {
        two.client().stat("stats", "curr_items") == "2"
    });
}

#[test]
fn the_connections_are_listed_in_memcacheds_form() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    let waiting = magent.client();
    eventually("both are accepted", || client.stat("stats", "curr_connections") == "2");
    let listed = statistics(&mut client, "stats conns");
    for connection in [&client, &waiting] {
        let address = format!("tcp:{}", connection.stream().local_addr().expect("an address"));
        let (name, _) = listed
            .iter()
            .find(|(_, value)| **value == address)
            .expect("the client's address");
        let index = name.strip_suffix(":addr").expect("an address");
        assert_eq!(listed[&format!("{index}:state")], "conn_read");
        assert!(listed[&format!("{index}:secs_since_last_cmd")].parse::<u64>().is_ok());
    }
    // Memcached's three lines of each, and magent's own four.
    assert_eq!(listed.len(), 2 * (3 + 4));
}

/// It comes with Debian's memcached, and shows what nobody of this project has written.
#[test]
fn memcached_tool_shows_the_farm() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for number in 0..20 {
        client.check(format!("set key{number} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let tool = |what: &str| -> Vec<Vec<String>> {
        let mut command = Command::new("perl");
        command.args(["/usr/share/memcached/scripts/memcached-tool", &two.magent.name, what]);
        let output = command.output().expect("perl, which every Debian has");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(
            output.status.success(),
            "{what}: {text}{output:?}",
            output = output.stderr
        );
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().map(words).collect()
    };
    // Slab class, size of an item, age, pages, items on both servers. Who is late is left out, and is asked again.
    eventually("the items of both servers are shown", || {
        let display = tool("display");
        display.len() == 2 && display[1][..2] == ["1", "96B"] && display[1][4] == "40"
    });
    for (what, name, value) in [
        ("stats", "curr_items", "40"),
        ("stats", "limit_maxbytes", "134217728"),
        ("settings", "maxbytes", "134217728"),
        ("sizes", "sizes_status", "disabled"),
    ] {
        eventually(&format!("{what} shows {name} {value}"), || {
            tool(what).contains(&vec![name.to_owned(), value.to_owned()])
        });
    }
    tool("dump"); // it ends
}

/// memcached-tool and others wait for an end, and PHP's memcache gives a server up for good that says ERROR to cachedump.
#[test]
fn what_cannot_be_listed_has_an_end() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    for (request, reply) in [
        ("stats cachedump 2 0", "END\r\n"),
        ("lru_crawler metadump all", "END\r\n"),
        ("lru_crawler metadump 1,2", "END\r\n"),
    ] {
        client.check(format!("{request}\r\n"), reply);
    }
    let mut direct = server.client();
    for request in [
        "stats cachedump",
        "stats cachedump x 0",
        "stats cachedump 64 0",
        "lru_crawler metadump x",
        "lru_crawler metadump",
        "lru_crawler mgdump",
        "lru_crawler",
        "stats no-such",
    ] {
        let line = format!("{request}\r\n");
        client.check(&*line, direct.ask(&*line).0);
    }
    client.check("get k\r\n", hit("k", 0, "x"));
}

#[test]
fn the_memory_limit_is_set_on_all_servers_with_memcacheds_own_answers() {
    let two = Two::start(&[]);
    let alone = Memcached::start();
    let (mut client, mut direct) = (two.client(), alone.client());
    for arguments in ["", " x", " 1", " 7 noreply", " 1000000001", " 100", " 90 noreply"] {
        let request = format!("cache_memlimit{arguments}\r\nget k\r\n");
        client.check(&*request, direct.ask(&*request).0);
    }
    for server in [&two.primary, &two.backup, &alone] {
        eventually("the limit is there", || {
            server.client().stat("stats", "limit_maxbytes") == (90 << 20).to_string()
        });
    }
}
