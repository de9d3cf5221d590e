//! What clients wait and servers take, the requests that take long, the keys asked most, and the clients with most traffic.

mod common;

use common::packets::{Binary, Packet};
use common::{Client, Configured, MISS, Magent, Memcached, PATIENT, Two, eventually, hit};
use std::collections::BTreeMap;
use std::time::Instant;

/// What is slow, where a busy machine makes nothing else slow.
const WATCHED: &str = "--slow=500";
/// So long servers hang.
const LONG_MS: u64 = 600;
const KINDS: [&str; 6] = ["get", "multi_get", "set", "conditional", "counter", "delete"];
const MEASURES: [&str; 7] = ["count", "mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"];

/// The names of a reply, in their order.
fn names(client: &mut Client, request: &str) -> Vec<String> {
    let reply = String::from_utf8(client.ask(format!("{request}\r\n")).0).expect("text");
    let lines = reply.strip_suffix("END\r\n").expect("an end").lines();
    let name = |line: &str| line.split(' ').nth(1).expect("a name").to_owned();
    lines.map(name).collect()
}

fn latencies(client: &mut Client) -> BTreeMap<String, u64> {
    let reply = String::from_utf8(client.ask("stats latency\r\n").0).expect("text");
    let lines = reply.strip_suffix("END\r\n").expect("an end").lines();
    let pair = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let name = words.next().expect("a name").to_owned();
        (name, words.next().and_then(|word| word.parse().ok()).expect("a number"))
    };
    lines.map(pair).collect()
}

/// The lines of the log about slow requests.
fn slow_lines(magent: &Magent) -> Vec<String> {
    let log = magent.log();
    let lines = log.lines().filter(|line| line.contains(" ms at "));
    lines.map(str::to_owned).collect()
}

fn wait_until(begun: Instant, ms: u64) {
    eventually("it has waited for long", || begun.elapsed().as_millis() as u64 > ms);
}

/// Lets a client's request wait for a server that hangs for [`LONG_MS`].
fn wait_long(magent: &Magent, server: &Memcached, client: &mut Client, request: &str) {
    server.stop();
    client.send(request);
    magent.settle();
    wait_until(Instant::now(), LONG_MS);
    server.cont();
}

#[test]
fn every_kind_and_every_server_has_its_measures_in_their_order() {
    let two = Two::start(&[]);
    let mut client = two.client();
    let of = KINDS.map(str::to_owned).into_iter();
    let of = of.chain([two.primary.name.clone(), two.backup.name.clone()]);
    let expected: Vec<String> = of
        .flat_map(|name| MEASURES.map(|measure| format!("{name}:{measure}")))
        .collect();
    assert_eq!(names(&mut client, "stats latency"), expected);
    let mut binary = Binary::connect(&two.magent.name);
    binary.send(Packet::new(0x10, "latency").bytes());
    let mut said = Vec::new();
    while let Some(line) = binary.said().filter(|line| !line.key.is_empty()) {
        said.push(String::from_utf8(line.key).expect("text"));
    }
    assert_eq!(said, expected);
}

#[test]
fn each_request_counts_as_its_kind_and_reset_forgets_it() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check(
        "set n 0 0 1\r\n1\r\nset m 0 0 1 noreply\r\n1\r\ntouch n 0\r\nget n\r\ngat 0 n\r\nget n m\r\nadd n 0 0 1\r\n2\r\n\
         append n 0 0 1\r\n2\r\nincr n 1\r\ndelete m\r\nversion\r\nmn\r\n",
        "STORED\r\nTOUCHED\r\nVALUE n 0 1\r\n1\r\nEND\r\nVALUE n 0 1\r\n1\r\nEND\r\nVALUE n 0 1\r\n1\r\nVALUE m 0 1\r\n1\r\nEND\r\n\
         NOT_STORED\r\nSTORED\r\n13\r\nDELETED\r\nVERSION ",
    );
    client.line();
    client.expect("MN\r\n");
    let counted = latencies(&mut client);
    let counts = KINDS.map(|kind| counted[&format!("{kind}:count")]);
    assert_eq!(counts, [2, 1, 3, 2, 1, 1]);
    for server in [&two.primary, &two.backup] {
        assert!(counted[&format!("{}:count", server.name)] >= 7, "{counted:?}");
    }
    client.check("stats reset\r\n", "RESET\r\n");
    let counted = latencies(&mut client);
    assert!(counted.values().all(|&number| number == 0), "{counted:?}");
}

#[test]
fn what_a_client_has_waited_is_in_the_percentiles_of_its_kind_and_of_the_server() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[PATIENT, WATCHED]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    wait_long(&magent, &server, &mut client, "get k\r\n");
    client.expect(hit("k", 0, "x"));
    let counted = latencies(&mut client);
    for of in ["get", &server.name] {
        for measure in ["p99_us", "p999_us", "max_us"] {
            let us = counted[&format!("{of}:{measure}")];
            assert!(us >= LONG_MS * 1000, "{of} {measure} {us}");
        }
    }
    assert!(counted["set:max_us"] < counted["get:max_us"], "{counted:?}");
}

#[test]
fn a_slow_request_is_logged_with_client_command_key_and_server() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[PATIENT, WATCHED]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(slow_lines(&magent), [""; 0]);
    let from = client.stream().local_addr().expect("an address");
    for (request, reply, shown) in [
        ("get k\r\n", hit("k", 0, "x"), "get k took "),
        ("get nothing k l\r\n", hit("k", 0, "x"), "get nothing and 2 more took "),
        ("mg YSBi b v\r\n", "EN\r\n".to_owned(), "mg a\\x20b took "),
        ("set k 0 0 1\r\ny\r\n", "STORED\r\n".to_owned(), "set k took "),
        (
            "delete a\\b\u{e9}\r\n",
            "NOT_FOUND\r\n".to_owned(),
            "delete a\\x5cb\\xc3\\xa9 took ",
        ),
    ] {
        let before = slow_lines(&magent).len();
        wait_long(&magent, &server, &mut client, request);
        client.expect(reply);
        eventually("it is logged", || slow_lines(&magent).len() == before + 1);
        let line = slow_lines(&magent).pop().expect("a line");
        assert!(line.contains(&format!(" from {from}: {shown}")), "{line}");
        let (_, behind) = line.rsplit_once(" took ").expect("a time");
        let (ms, at) = behind.split_once(" ms at ").expect("a server");
        assert!(ms.parse::<u64>().expect("a number") >= LONG_MS, "{line}");
        assert_eq!(at, server.name);
    }
    client.check("get k\r\n", hit("k", 0, "y"));
    magent.settle();
    assert_eq!(slow_lines(&magent).len(), 5);
}

#[test]
fn a_request_that_was_lost_names_both_servers() {
    let two = Two::start(&["--timeout=1000", "--hedge=0", WATCHED]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    two.primary.stop();
    client.check("get k\r\n", hit("k", 0, "x"));
    eventually("it is logged", || !slow_lines(&two.magent).is_empty());
    let line = slow_lines(&two.magent).remove(0);
    let both = format!(" ms at {}, {}", two.primary.name, two.backup.name);
    assert!(line.contains(": get k took ") && line.ends_with(&both), "{line}");
    two.primary.cont();
}

/// What waits for its key waits for somebody else's write: its client waits all the same.
#[test]
fn the_wait_for_another_clients_write_counts() {
    let two = Two::start(&[PATIENT, "--hedge=0", WATCHED]);
    let (mut one, mut other) = (two.client(), two.client());
    one.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    two.primary.stop();
    two.backup.stop();
    one.send("add k 0 0 1\r\ny\r\n");
    two.magent.settle();
    other.send("add k 0 0 1\r\nz\r\n");
    two.magent.settle();
    wait_until(Instant::now(), LONG_MS);
    two.primary.cont();
    two.backup.cont();
    one.expect("NOT_STORED\r\n");
    other.expect("NOT_STORED\r\n");
    eventually("both are logged", || slow_lines(&two.magent).len() == 2);
    assert_eq!(latencies(&mut one)["conditional:count"], 2);
}

#[test]
fn ten_lines_a_second_are_logged_and_the_rest_is_counted() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[PATIENT, WATCHED]);
    let mut clients: Vec<Client> = (0..100).map(|_| magent.client()).collect();
    clients[0].check("get k\r\n", MISS);
    server.stop();
    clients.iter_mut().for_each(|client| client.send("get k\r\n"));
    magent.settle();
    wait_until(Instant::now(), LONG_MS);
    server.cont();
    clients.iter_mut().for_each(|client| client.expect(MISS));
    let untold = || -> usize {
        let log = magent.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("more slow requests were not logged"));
        let number = |line: &str| line.split(' ').find_map(|word| word.parse::<usize>().ok());
        lines.filter_map(number).sum()
    };
    eventually("all are told of", || slow_lines(&magent).len() + untold() >= 100);
    // They may have been answered in two seconds.
    assert!((10..=20).contains(&slow_lines(&magent).len()));
}

#[test]
fn who_does_not_take_its_replies_is_not_slow() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[PATIENT, WATCHED]);
    let value = "x".repeat(500_000);
    let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let mut other = magent.client();
    for key in &keys {
        other.check(format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()), "STORED\r\n");
    }
    other.check("stats reset\r\n", "RESET\r\n");
    let mut client = magent.client();
    client.send(format!("get {0}\r\nget {0}\r\nget k1\r\n", keys.join(" ")));
    eventually("its socket is full", || {
        String::from_utf8_lossy(&other.ask("stats conns\r\n").0).contains("conn_mwrite")
    });
    let long_ms = 4 * LONG_MS;
    wait_until(Instant::now(), long_ms);
    for count in [40, 40, 1] {
        let reply = client.reply().0;
        assert!(reply.len() > count * value.len());
    }
    let counted = latencies(&mut other);
    assert_eq!((counted["multi_get:count"], counted["get:count"]), (2, 1));
    for kind in ["get", "multi_get"] {
        let us = counted[&format!("{kind}:max_us")];
        assert!(
            us < long_ms * 1000,
            "{kind} has waited {us} us, its client was not there for {long_ms} ms"
        );
    }
}

#[test]
fn none_is_logged_with_0_and_a_reload_changes_it() {
    let server = Memcached::start();
    let configured = Configured::start(&format!("server = {}\nslow = 0\nboard = off", server.name));
    let magent = &configured.magent;
    let mut client = magent.client();
    assert_eq!(client.stat("stats settings", "slow_ms"), "0");
    client.check("get k\r\n", MISS);
    wait_long(magent, &server, &mut client, "get k\r\n");
    client.expect(MISS);
    configured.reload(&format!("server = {}\nslow = 500\nboard = off", server.name));
    assert_eq!(client.stat("stats settings", "slow_ms"), "500");
    assert_eq!(slow_lines(magent), [""; 0]);
    wait_long(magent, &server, &mut client, "get k\r\n");
    client.expect(MISS);
    eventually("it is logged", || slow_lines(magent).len() == 1);
}

#[test]
fn a_write_that_one_server_answers_late_names_that() {
    let two = Two::start(&[PATIENT, "--hedge=0", WATCHED]);
    let mut client = two.client();
    wait_long(&two.magent, &two.backup, &mut client, "set k 0 0 1\r\nx\r\n");
    client.expect("STORED\r\n");
    eventually("it is logged", || !slow_lines(&two.magent).is_empty());
    let line = slow_lines(&two.magent).remove(0);
    assert!(line.ends_with(&format!(" ms at {}", two.backup.name)), "{line}");
}

#[test]
fn the_keys_asked_most_are_found_among_ten_thousand_others() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    // A key of any bytes, by its base64: `a b`.
    let odd = "mg YSBi b v\r\n";
    for round in 0..200 {
        let cold: String = (0..50)
            .map(|place| format!(" cold{}", (round * 50 + place) % 10_000))
            .collect();
        let hot = " hot".repeat(10);
        client.check(
            format!("get{cold}{hot}\r\n{}", odd.repeat(5)),
            format!("{MISS}{}", "EN\r\n".repeat(5)),
        );
    }
    let listed = names(&mut client, "stats hot");
    assert_eq!(
        listed[..4],
        ["hot:requests", "hot:error", "a\\x20b:requests", "a\\x20b:error"]
    );
    let requests: u64 = client.stat("stats hot", "hot:requests").parse().expect("a number");
    let error: u64 = client.stat("stats hot", "hot:error").parse().expect("a number");
    assert!(
        (1000..=4000).contains(&requests) && error <= requests / 2,
        "{requests} {error}"
    );
    client.check("stats reset\r\nstats hot\r\n", "RESET\r\nEND\r\n");
}

#[test]
fn the_clients_with_most_traffic_are_listed_first() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut quiet = magent.client();
    let mut busy = magent.client();
    quiet.check("mn\r\n", "MN\r\n");
    for _ in 0..100 {
        busy.check("get some-key\r\n", MISS);
    }
    let listed = names(&mut quiet, "stats conns");
    let (index, _) = listed[0].split_once(':').expect("a number");
    let of_first = [
        "addr",
        "state",
        "secs_since_last_cmd",
        "bytes_read",
        "bytes_written",
        "requests",
        "memory",
    ];
    assert_eq!(listed[..7], of_first.map(|what| format!("{index}:{what}")));
    let number = |client: &mut Client, what: &str| client.stat("stats conns", &format!("{index}:{what}"));
    let address = busy.stream().local_addr().expect("an address");
    assert_eq!(number(&mut quiet, "addr"), format!("tcp:{address}"));
    assert_eq!(
        number(&mut quiet, "bytes_read"),
        (100 * "get some-key\r\n".len()).to_string()
    );
    assert_eq!(number(&mut quiet, "bytes_written"), (100 * MISS.len()).to_string());
    assert_eq!(number(&mut quiet, "requests"), "100");
    assert_eq!(number(&mut quiet, "memory"), "0");
}

/// One that has sent half of a large value holds more than one that has asked much.
#[test]
fn who_holds_memory_comes_before_who_has_asked_much() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let (mut busy, mut holding) = (magent.client(), magent.client());
    holding.send(format!("set k 0 0 100000\r\n{}", "x".repeat(50_000)));
    for _ in 0..5000 {
        busy.check("get some-key-of-many-bytes\r\n", MISS);
    }
    let listed = names(&mut busy, "stats conns");
    let (index, _) = listed[0].split_once(':').expect("a number");
    assert_eq!(busy.stat("stats conns", &format!("{index}:state")), "conn_nread");
    let memory: u64 = busy
        .stat("stats conns", &format!("{index}:memory"))
        .parse()
        .expect("a number");
    assert!(memory >= 50_000, "{memory}");
}
