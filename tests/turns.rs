//! No event costs a turn more than its share: what one client, one server or one list brings is done a piece at a time,
//! and costs the same however much there is of it. Costs are processor time, and compared within one run.

mod common;

use common::{Client, Fake, Magent, Memcached, NO_SERVER, PATIENCE, Two, eventually, hit};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A server that has run for an hour says this of itself.
const AN_HOUR_OLD: &[u8] = b"STAT pid 1\r\nSTAT uptime 3600\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\nEND\r\n";

/// What `times` of something cost magent, in microseconds each; the least of some tries.
fn cost_us(magent: &Magent, times: u64, mut something: impl FnMut(u64)) -> f64 {
    let tries = (0..5).map(|round| {
        let before = magent.processor_us();
        (0..times).for_each(|i| something(round * times + i));
        (magent.processor_us() - before) as f64 / times as f64
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Sends `count` commands made from their numbers, some at a time, and takes their answers of one line each.
fn pipeline(client: &mut Client, count: usize, command: impl Fn(usize) -> String) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(500) {
        client.send(some.iter().map(|&i| command(i)).collect::<String>());
        for _ in some {
            client.line();
        }
    }
}

/// What a refused incr of a key costs that its server lacks, where it lacks so many.
fn cost_of_refused_incr(lacking: usize) -> f64 {
    let two = Two::start(&["--timeout=500"]);
    let mut client = two.client();
    two.primary.stop();
    client.check("set first 0 0 1\r\n1\r\n", "STORED\r\n");
    pipeline(&mut client, lacking, |i| format!("set k{i:07} 0 0 1\r\n1\r\n"));
    two.backup.stop();
    two.primary.cont();
    two.magent.wait_for(&two.backup, "down");
    two.magent.wait_for(&two.primary, "up");
    // All that is removed from it is removed.
    eventually("the removals are answered", || {
        two.magent.server_stat(&two.primary, "pending") == "0"
    });
    // At once, so that what magent does in the background meanwhile, on a busy machine for long, is not counted.
    const AT_ONCE: usize = 100;
    let cost = cost_us(&two.magent, 1, |round| {
        let incr = |i| format!("incr k{:07} 1\r\n", round as usize * AT_ONCE + i);
        client.send((0..AT_ONCE).map(incr).collect::<String>());
        (0..AT_ONCE).for_each(|_| assert_eq!(client.line(), NO_SERVER));
    });
    two.backup.cont();
    cost / AT_ONCE as f64
}

#[test]
fn a_refusal_costs_the_same_however_many_keys_are_lacking() {
    let (few, many) = (cost_of_refused_incr(1000), cost_of_refused_incr(40_000));
    assert!(many < 4.0 * few, "{few} us with few keys lacking, {many} us with many");
}

#[test]
fn a_partner_whose_list_stands_still_is_asked_a_few_times_whether_it_is_there() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let partner = Fake::start_by(move |stream, line| match line {
        "stats" => {
            counter.fetch_add(1, Ordering::Relaxed);
            stream.write_all(AN_HOUR_OLD)
        }
        line if line.starts_with("lru_crawler") => Ok(()),
        _ => stream.write_all(b"END\r\n"),
    });
    let server = Memcached::start();
    let magent = Magent::start(&["-s", &server.name, "-b", &partner.name, "--timeout=200"]);
    let mut client = magent.client();
    let (begun, mut gets) = (Instant::now(), 0);
    // Twice at the start, then each time that the list has been silent for as long as a server may be.
    while asked.load(Ordering::Relaxed) < 8 {
        client.ask("get k\r\n");
        gets += 1;
        assert!(begun.elapsed() < PATIENCE, "the partner is asked");
    }
    let least = Duration::from_millis(5 * 200);
    assert!(
        begun.elapsed() > least,
        "asked 8 times within {:?}, beside {gets} gets",
        begun.elapsed()
    );
}

#[test]
fn an_introduction_that_never_ends_holds_clients_no_longer_than_the_timeout() {
    let dripping = Fake::start_by(|stream, line| {
        assert_eq!(line, "stats", "it is asked for nothing else");
        loop {
            stream.write_all(b"STAT a 1\r\n")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let server = Memcached::start();
    let magent = Magent::start(&["-s", &server.name, "-b", &dripping.name, "--timeout=300"]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("get k\r\n", hit("k", 0, "x"));
    eventually("the log says so", || magent.log().contains("no answer within 300 ms"));
}

/// Nor does a client's question for what the servers say of themselves.
#[test]
fn statistics_that_never_end_hold_clients_no_longer_than_the_timeout() {
    let dripping = Fake::start_by(|stream, line| match line {
        "stats settings" => loop {
            stream.write_all(b"STAT a 1\r\n")?;
            std::thread::sleep(Duration::from_millis(50));
        },
        "stats" => stream.write_all(AN_HOUR_OLD),
        _ => stream.write_all(b"END\r\n"),
    });
    let magent = Magent::start(&["-s", &dripping.name, "--timeout=300"]);
    let mut client = magent.client();
    client.check("get k\r\n", "END\r\n");
    assert!(client.ask("stats settings\r\n").contains("STAT "));
    client.check("get k\r\n", NO_SERVER);
    eventually("the log says so", || magent.log().contains("no answer within 300 ms"));
}

#[test]
fn writes_behind_pipelined_reads_cost_what_either_does_alone() {
    let two = Two::start(&[]);
    let mut client = two.client();
    // The more a client was answered the more it may have in flight.
    pipeline(&mut client, 10_000, |i| format!("get w{i}\r\n"));
    let get = |i: usize| format!("get a{i}\r\n");
    let set = |i: usize| format!("set b{i} 0 0 1\r\nx\r\n");
    let mut cost = |first: &dyn Fn(usize) -> String, second: &dyn Fn(usize) -> String| {
        let script: String = (0..480).map(first).chain((0..480).map(second)).collect();
        let answers = script.matches("\r\nx").count() + script.matches("get ").count();
        cost_us(&two.magent, 5, |_| {
            client.send(&script);
            (0..answers).for_each(|_| drop(client.line()));
        })
    };
    let (gets, sets, mixed) = (cost(&get, &get), cost(&set, &set), cost(&get, &set));
    let mean = (gets + sets) / 2.0;
    assert!(mixed < 2.0 * mean, "{gets} us, {sets} us, and {mixed} us for both");
}

#[test]
fn a_get_of_very_many_keys_without_a_server_holds_up_nobody() {
    let dead = Memcached::absent();
    let magent = Magent::before(&[&dead], &[], &[]);
    let mut client = magent.client();
    client.check("get k\r\n", NO_SERVER);
    let mut wide = magent.client();
    wide.send(format!("get {}\r\n", "k ".repeat(520_000)));
    let mut answered = 0;
    while wide.is_quiet() {
        client.check("verbosity 0\r\n", "OK\r\n");
        answered += 1;
    }
    wide.expect(NO_SERVER);
    // Some are answered while the line arrives.
    assert!(answered > 50, "{answered} were answered meanwhile");
}

/// Large values that a fake server has of every key, and what it was asked for, key by key.
struct LargeValues {
    fake: Fake,
    asked: Arc<Mutex<Vec<String>>>,
}

impl LargeValues {
    const BYTES: usize = 300_000;

    fn start() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let value = "v".repeat(Self::BYTES);
        let fake = Fake::start(move |line| {
            let keys = line.strip_prefix("get ")?;
            log.lock().unwrap().push(keys.to_owned());
            let hit = |key| format!("VALUE {key} 0 {}\r\n{value}\r\n", value.len());
            Some((keys.split(' ').map(hit).collect::<String>() + "END\r\n").into_bytes())
        });
        Self { fake, asked }
    }
}

#[test]
fn large_values_are_asked_for_one_by_one_and_of_one_client_after_the_other() {
    let server = LargeValues::start();
    let magent = Magent::start(&["-s", &server.fake.name]);
    let keys = |client: &str| (0..20).map(|i| format!(" {client}{i}")).collect::<String>();
    let mut clients = ["a", "b", "c"].map(|name| (name, magent.client()));
    for (name, client) in &mut clients {
        // It is not known yet how large they are.
        client.ask(format!("get {name}\r\n"));
    }
    server.asked.lock().unwrap().clear();
    for (name, client) in &mut clients {
        client.send(format!("get{}\r\n", keys(name)));
    }
    for (name, client) in &mut clients {
        let reply = client.reply();
        let values = reply.0.len() / LargeValues::BYTES;
        assert_eq!(values, 20, "{name} got its values");
    }
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked.len(), 60, "each alone: {asked:?}");
}

#[test]
fn a_new_client_is_not_given_many_values_before_their_size_is_known() {
    let server = LargeValues::start();
    let magent = Magent::start(&["-s", &server.fake.name]);
    let mut client = magent.client();
    let keys: String = (0..100).map(|i| format!(" k{i}")).collect();
    client.ask(format!("get{keys}\r\n"));
    let asked = server.asked.lock().unwrap();
    let most = asked.iter().map(|keys| keys.split(' ').count()).max();
    assert!(most <= Some(2), "{asked:?}");
}

/// Each asks the system about every connection, and goes on with the next when the others have had their turn.
#[test]
fn lists_of_connections_hold_up_nobody() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let _others: Vec<Client> = (0..300).map(|_| magent.client()).collect();
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    let one = cost_us(&magent, 5, |_| {
        client.ask("stats conns\r\n");
    });
    let mut tries: Vec<f64> = (0..9)
        .map(|_| {
            let mut asking: Vec<Client> = (0..5).map(|_| magent.client()).collect();
            for client in &mut asking {
                client.send("stats conns\r\n".repeat(20));
            }
            let before = magent.processor_us();
            client.check("get k\r\n", hit("k", 0, "x"));
            (magent.processor_us() - before) as f64
        })
        .collect();
    tries.sort_by(f64::total_cmp);
    assert!(
        tries[4] < 40.0 * one,
        "a list costs {one} us, a get beside 100 {} us",
        tries[4]
    );
}
