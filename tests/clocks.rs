//! Exptimes that are dates: each server is told them by its own clock, so that both copies live equally long.

mod common;

use common::{Client, Fake, MISS, Magent, Memcached, hit};
use std::sync::{Arc, Mutex};

/// A day in two months: more than the 30 days up to which an exptime is relative.
const MONTHS_S: i64 = 60 * 60 * 24 * 60;
const HOUR_S: i64 = 60 * 60;

fn now_s() -> i64 {
    std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs() as i64
}

/// A server whose clock is so far ahead, and the lines that it was sent.
struct Ahead {
    server: Fake,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Ahead {
    fn start(seconds: i64) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stats = format!(
            "STAT pid 1\r\nSTAT uptime 2\r\nSTAT time {}\r\nEND\r\n",
            now_s() + seconds
        );
        let seen = Arc::clone(&lines);
        let server = Fake::start_saying(Box::leak(stats.into_bytes().into_boxed_slice()), move |line| {
            seen.lock()
                .unwrap_or_else(|broken| broken.into_inner())
                .push(line.to_owned());
            Some(match line.split(' ').next()? {
                "set" | "add" | "replace" | "cas" => Vec::new(), // when its value has come
                "touch" => b"TOUCHED\r\n".to_vec(),
                "gat" => b"VALUE k 0 1\r\nx\r\nEND\r\n".to_vec(),
                "get" => b"END\r\n".to_vec(),
                "flush_all" => b"OK\r\n".to_vec(),
                "mg" => b"EN\r\n".to_vec(),
                "delete" => b"DELETED\r\n".to_vec(),
                "lru_crawler" => b"ERROR\r\n".to_vec(),
                _ => b"STORED\r\n".to_vec(),
            })
        });
        Self { server, lines }
    }

    /// The number at this place of the last line that begins so.
    #[track_caller]
    fn told(&self, beginning: &str, place: usize) -> i64 {
        let lines = self.lines.lock().unwrap();
        let line = lines.iter().rfind(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("no {beginning:?} in {lines:?}"));
        line.split(' ')
            .nth(place)
            .and_then(|word| word.parse().ok())
            .expect("a number")
    }
}

/// Asserts that a time is this, but for the rounding of clocks.
#[track_caller]
fn assert_about(time_s: i64, expected_s: i64) {
    assert!((time_s - expected_s).abs() <= 2, "{time_s} is not about {expected_s}");
}

/// Seconds that an item has left on a server.
fn ttl(server: &Memcached, key: &str) -> i64 {
    let reply = server.ask(format!("mg {key} t\r\n"));
    let text = String::from_utf8_lossy(&reply.0).into_owned();
    text.trim_end()
        .split(" t")
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect(&text)
}

fn unique(client: &mut Client) -> String {
    let reply = String::from_utf8(client.ask("gets k\r\n").0).unwrap();
    reply
        .lines()
        .next()
        .and_then(|line| line.split(' ').nth(4))
        .expect("a unique")
        .to_owned()
}

#[test]
fn a_backup_with_another_clock_is_told_dates_by_that() {
    let (primary, backup) = (Memcached::start(), Ahead::start(HOUR_S));
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.server.name]);
    let mut client = magent.client();
    for days in 0..2 {
        let date = now_s() + MONTHS_S + days * 86_400;
        let there = date + HOUR_S;
        client.check(format!("set k 5 {date} 1\r\nx\r\n"), "STORED\r\n");
        assert_about(backup.told("set k 5", 3), there);
        client.check(format!("replace k 6 {date} 1\r\nx\r\n"), "STORED\r\n");
        assert_about(backup.told("set k 6", 3), there);
        let unique = unique(&mut client);
        client.check(format!("cas k 7 {date} 1 {unique}\r\nx\r\n"), "STORED\r\n");
        assert_about(backup.told("set k 7", 3), there);
        client.check(format!("touch k {date}\r\n"), "TOUCHED\r\n");
        assert_about(backup.told("touch k", 2), there);
        backup.lines.lock().unwrap().clear();
        client.check(format!("gat {date} k\r\n"), hit("k", 7, "x"));
        assert_about(backup.told("touch k", 2), there);
        assert!(
            (ttl(&primary, "k") - MONTHS_S - days * 86_400).abs() < 15,
            "the primary has it by its own clock"
        );
        client.check("delete k\r\n", "DELETED\r\n");
        client.check(format!("add k 8 {date} 1\r\nx\r\n"), "STORED\r\n");
        assert_about(backup.told("set k 8", 3), there);
        client.check(format!("flush_all {date}\r\n"), "OK\r\n");
        assert_about(backup.told("flush_all", 1), there);
    }
}

#[test]
fn a_primary_with_another_clock_is_told_dates_by_that() {
    let (primary, backup) = (Ahead::start(-HOUR_S), Memcached::start());
    let magent = Magent::start(&["-s", &primary.server.name, "-b", &backup.name]);
    let mut client = magent.client();
    let date = now_s() + MONTHS_S;
    let there = date - HOUR_S;
    let left = |key: &str| ttl(&backup, key);
    client.check(format!("set k 5 {date} 1\r\nx\r\n"), "STORED\r\n");
    assert_about(primary.told("set k 5", 3), there);
    assert!((left("k") - MONTHS_S).abs() < 15);
    for verb in ["add", "replace"] {
        client.check(format!("{verb} {verb} 5 {date} 1\r\nx\r\n"), "STORED\r\n");
        assert_about(primary.told(&format!("{verb} {verb}"), 3), there);
        assert!((left(verb) - MONTHS_S).abs() < 15);
    }
    client.check("touch k 100\r\n", "TOUCHED\r\n");
    client.check(format!("gat {date} k\r\n"), hit("k", 0, "x"));
    assert_about(primary.told("gat", 1), there);
    assert!((left("k") - MONTHS_S).abs() < 15);
}

#[test]
fn what_is_no_date_goes_to_every_server_as_it_is() {
    let (primary, backup) = (Memcached::start(), Ahead::start(HOUR_S));
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.server.name]);
    let mut client = magent.client();
    for exptime in [0, 100, 60 * 60 * 24 * 30] {
        client.check(format!("set k 5 {exptime} 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(backup.told("set k 5", 3), exptime);
        client.check(format!("touch k {exptime}\r\n"), "TOUCHED\r\n");
        assert_eq!(backup.told("touch k", 2), exptime);
    }
    client.check("delete k\r\nget k\r\n", format!("DELETED\r\n{MISS}"));
}

/// Clocks agree to the second nearly everywhere.
#[test]
fn clocks_that_agree_change_nothing() {
    let (primary, backup) = (Memcached::start(), Ahead::start(1));
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.server.name]);
    let date = now_s() + MONTHS_S;
    magent
        .client()
        .check(format!("set k 5 {date} 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(backup.told("set k 5", 3), date);
}
