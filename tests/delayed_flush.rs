//! A flush_all with a delay: when its time has come, what was stored before is gone, whatever became of the servers since.

mod common;

use common::{Client, MISS, Magent, Memcached, Two, eventually, eventually_within, hit};
use std::time::{Duration, Instant};

/// Seconds until the flush: enough for a server to be filled before, on a machine that has other things to do as well.
const DELAY_S: u64 = 12;
/// How long the flush is waited for.
const PATIENCE: Duration = Duration::from_secs(DELAY_S + 10);

struct Flush {
    told: Instant,
}

impl Flush {
    fn ask_for(client: &mut Client) -> Self {
        client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        client.check(format!("flush_all {DELAY_S}\r\n"), "OK\r\n");
        Self { told: Instant::now() }
    }

    fn is_long_over(&self) -> bool {
        self.told.elapsed() > Duration::from_secs(DELAY_S + 4)
    }

    fn is_still_to_come(&self) -> bool {
        self.told.elapsed() < Duration::from_secs(DELAY_S - 3)
    }

    /// Waits for it, and sees to it that what it took does not come back, on any server.
    fn is_kept(&self, magent: &Magent, servers: &[&Memcached]) {
        let mut client = magent.client();
        eventually_within(PATIENCE, "what is old is gone", || client.ask("get k\r\n") == MISS);
        while !self.is_long_over() {
            client.check("get k\r\n", MISS);
        }
        eventually("all servers are up", || {
            servers.iter().all(|server| magent.server_stat(server, "state") == "up")
        });
        client.check("get k\r\n", MISS);
        for server in servers {
            assert_eq!(server.ask("get k\r\n"), MISS, "{}", server.name);
        }
        client.check("set k 0 0 3\r\nnew\r\n", "STORED\r\n");
        for server in servers {
            assert_eq!(server.ask("get k\r\n"), hit("k", 0, "new"));
        }
    }
}

/// Most of a case is waiting for its flush.
fn at_the_same_time<T: Send, const COUNT: usize>(cases: [T; COUNT], case: impl Fn(T) + Sync) {
    let case = &case;
    std::thread::scope(|scope| {
        let threads = cases.map(|each| scope.spawn(move || case(each)));
        for thread in threads {
            thread.join().expect("a case that passes");
        }
    });
}

#[test]
fn a_server_that_is_filled_before_a_delayed_flush_is_flushed_too() {
    at_the_same_time(["primary", "backup", "both"], |restarted| {
        let mut two = Two::start(&[]);
        let mut client = two.client();
        let flush = Flush::ask_for(&mut client);
        if restarted != "backup" {
            two.primary.restart();
            eventually("it is filled", || two.primary.ask("get k\r\n") == hit("k", 0, "x"));
        }
        if restarted != "primary" {
            two.backup.restart();
            eventually("it is filled", || two.backup.ask("get k\r\n") == hit("k", 0, "x"));
        }
        assert!(flush.is_still_to_come(), "filling took too long");
        client.check("get k\r\n", hit("k", 0, "x"));
        flush.is_kept(&two.magent, &[&two.primary, &two.backup]);
    });
}

#[test]
fn a_server_that_was_away_when_a_delayed_flush_was_asked_for_is_flushed_too() {
    at_the_same_time([true, false], |returns_before| {
        let two = Two::start(&["--timeout=1000"]);
        let mut client = two.client();
        client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        two.backup.stop();
        client.send("delete other\r\n");
        two.magent.wait_for(&two.backup, "down");
        client.expect("NOT_FOUND\r\n");
        let flush = Flush::ask_for(&mut client);
        if returns_before {
            two.backup.cont();
            two.magent.wait_for(&two.backup, "up");
        } else {
            eventually_within(PATIENCE, "what is old is gone", || client.ask("get k\r\n") == MISS);
            two.backup.cont();
        }
        flush.is_kept(&two.magent, &[&two.primary, &two.backup]);
    });
}

/// As in memcached, the last one counts.
#[test]
fn a_flush_takes_the_place_of_one_that_is_still_to_come() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    let flush = Flush::ask_for(&mut client);
    client.check("flush_all 10000\r\n", "OK\r\n");
    two.primary.restart();
    eventually("it is filled", || two.primary.ask("get k\r\n") == hit("k", 0, "x"));
    while !flush.is_long_over() {
        client.check("get k\r\n", hit("k", 0, "x"));
    }
}
