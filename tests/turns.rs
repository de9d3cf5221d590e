//! No event costs a turn more than its share: what one client, one server or one list brings is done a piece at a time,
//! and costs the same however much there is of it. Costs are processor time, and compared within one run.

mod common;

use common::{Client, Fake, Magent, Memcached, NO_SERVER, PATIENCE, Two, eventually, hit};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    let cost = cost_us(&two.magent, 100, |i| {
        client.check(format!("incr k{i:07} 1\r\n"), NO_SERVER)
    });
    two.backup.cont();
    cost
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
    assert!(magent.log().contains("no answer within 300 ms"), "{}", magent.log());
}
