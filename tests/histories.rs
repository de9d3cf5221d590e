//! The promise as a whole: real memcacheds die, hang and return under load, and the history of what all clients did and
//! got is one that a single memcached which never fails could have made: 0 errors, 0 stale reads, 0 lost writes, and
//! nobody waits longer than the timeout plus 0.1 s.

mod common;
#[allow(dead_code)] // each test file uses its part
mod histories {
    pub mod checker;
    pub mod connection;
    pub mod load;
    pub mod stage;
}

use common::{MISS, Magent, Memcached, Two, hit};
use histories::load::{HOT_KEYS, Held, WRITERS, key};
use histories::stage::{Stage, Step, TIMEOUT};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A server is killed, missed for a while, and returns empty.
fn dies_and_returns(stage: &Stage, server: &mut Memcached, magents: &[&Magent]) -> Step {
    stage.failure("kill -9, and a start later", server, magents, |server| {
        server.kill();
        stage.work_on(400)?;
        server.restart();
        Ok(())
    })
}

/// A server hangs for this time, which is the fault, and goes on.
fn hangs(server: &Memcached, time: Duration) {
    server.stop();
    sleep(time);
    server.cont();
}

#[test]
fn nothing_is_lost_when_both_servers_die_one_after_the_other_again_and_again() {
    let mut two = Two::start(&[TIMEOUT]);
    let stage = Stage::new(&[&two.magent], &[&two.primary, &two.backup]);
    let played = stage.play(|| {
        dies_and_returns(&stage, &mut two.primary, &[&two.magent])?;
        dies_and_returns(&stage, &mut two.backup, &[&two.magent])?;
        dies_and_returns(&stage, &mut two.primary, &[&two.magent])
    });
    played.assert_flawless(&[&two.magent]);
}

#[test]
fn a_server_that_hangs_costs_one_timeout_and_nothing_else() {
    let mut two = Two::start(&[TIMEOUT]);
    let stage = Stage::new(&[&two.magent], &[&two.primary, &two.backup]);
    let played = stage.play(|| {
        for server in [&mut two.primary, &mut two.backup] {
            stage.failure("2 s of SIGSTOP", server, &[&two.magent], |server| {
                hangs(server, Duration::from_secs(2));
                Ok(())
            })?;
        }
        Ok(())
    });
    played.assert_flawless(&[&two.magent]);
}

#[test]
fn a_server_that_is_gone_for_an_instant_only_comes_back_empty_and_nobody_knows() {
    let mut two = Two::start(&[TIMEOUT]);
    let stage = Stage::new(&[&two.magent], &[&two.primary, &two.backup]);
    let played = stage.play(|| {
        for _ in 0..3 {
            stage.failure(
                "kill -9, and a start at once",
                &mut two.primary,
                &[&two.magent],
                |server| {
                    server.restart();
                    Ok(())
                },
            )?;
        }
        Ok(())
    });
    played.assert_flawless(&[&two.magent]);
}

#[test]
fn a_server_that_dies_for_good_costs_nothing() {
    for primary_dies in [false, true] {
        let mut two = Two::start(&[TIMEOUT]);
        let (server, survivor) = match primary_dies {
            true => (&mut two.primary, &two.backup),
            false => (&mut two.backup, &two.primary),
        };
        let stage = Stage::new(&[&two.magent], &[survivor]);
        let played = stage.play(|| {
            stage.fault(&format!("kill -9 of {}", server.name), || {
                server.kill();
                stage.until("it is down", || two.magent.server_stat(server, "state") == "down")
            })?;
            stage.work_on(3000)
        });
        played.assert_flawless(&[&two.magent]);
    }
}

#[test]
fn a_server_that_flaps_costs_waiting_and_nothing_else() {
    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_millis(800);
    let mut two = Two::start(&[TIMEOUT]);
    let stage = Stage::new(&[&two.magent], &[&two.primary, &two.backup]);
    let played = stage.play(|| {
        for server in [&mut two.primary, &mut two.backup] {
            // No fault yet, but for those who wait.
            for _ in 0..3 {
                hangs(server, SHORT);
                stage.work_on(100)?;
            }
            stage.failure("SIGSTOP, long and short,", server, &[&two.magent], |server| {
                for time in [LONG, SHORT, LONG, SHORT] {
                    hangs(server, time);
                    stage.work_on(100)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    });
    played.assert_flawless(&[&two.magent]);
}

/// Three primaries and two backups, some of which die and return.
fn any_of_five_servers_may_die(arguments: &[&str]) {
    let mut servers: Vec<Memcached> = (0..5).map(|_| Memcached::start()).collect();
    let farm: Vec<&Memcached> = servers.iter().collect();
    let magent = Magent::before(&farm[..3], &farm[3..], arguments);
    let stage = Stage::new(&[&magent], &[]);
    let played = stage.play(|| {
        for at in [0, 3, 2] {
            dies_and_returns(&stage, &mut servers[at], &[&magent])?;
        }
        Ok(())
    });
    played.assert_flawless(&[&magent]);
}

#[test]
fn any_server_of_a_farm_may_die() {
    any_of_five_servers_may_die(&[TIMEOUT]);
}

#[test]
fn any_server_of_a_farm_may_die_with_ketama() {
    any_of_five_servers_may_die(&[TIMEOUT, "-k"]);
}

#[test]
fn crossed_magents_and_their_servers_may_die_one_after_the_other() {
    let (mut one, mut other) = (Memcached::start(), Memcached::start());
    let names = [one.name.clone(), other.name.clone()];
    let mut first = Magent::before(&[&one], &[&other], &[TIMEOUT]);
    let second = Magent::before(&[&other], &[&one], &[TIMEOUT]);
    let stage = Stage::new(&[&first, &second], &[&one, &other]);
    let played = stage.play(|| {
        dies_and_returns(&stage, &mut one, &[&first, &second])?;
        dies_and_returns(&stage, &mut other, &[&first, &second])?;
        stage.fault("kill -9 of a magent", || {
            stage.entrances[0].close();
            first.signal(libc::SIGKILL);
            first.wait();
            first = Magent::start(&["-s", &names[0], "-b", &names[1], TIMEOUT]);
            stage.entrances[0].open(&first.name);
            stage.until_up(&[&first, &second])
        })?;
        stage.work_on(400)?;
        dies_and_returns(&stage, &mut one, &[&first, &second])
    });
    played.assert_flawless(&[&first, &second]);
}

/// Seconds left, none for ever, by what a server asked directly says.
fn ttl(server: &mut common::Client, key: &str) -> Option<i64> {
    let reply = server.ask(format!("mg {key} t\r\n"));
    let text = String::from_utf8(reply.0).unwrap();
    let seconds = text
        .trim_end()
        .strip_prefix("HD t")
        .unwrap_or_else(|| panic!("{key}: {text:?}"));
    seconds.parse().ok().filter(|&seconds| seconds != -1)
}

/// Asserts that an item has the time left that its writer gave it, but for what the servers' clocks differ by.
#[track_caller]
fn assert_expires(server: &mut common::Client, key: &str, held: &Held) {
    let wanted = held
        .expires
        .map(|at| at.saturating_duration_since(Instant::now()).as_secs() as i64);
    let left = ttl(server, key);
    let is_about_right = match (left, wanted) {
        (Some(left), Some(wanted)) => (wanted - 15..=wanted + 4).contains(&left),
        (left, wanted) => left == wanted,
    };
    assert!(is_about_right, "{key} expires in {left:?} s, not in {wanted:?}");
}

/// The checker sees to the flags; times are asked for at the end.
#[test]
fn times_and_flags_are_intact_on_servers_that_returned() {
    const BRIEF: u32 = 8;
    let mut two = Two::start(&[TIMEOUT]);
    let stage = Stage::new(&[&two.magent], &[&two.primary, &two.backup]);
    let mut client = two.magent.client();
    let brief: Vec<String> = (0..50).map(|i| format!("brief{i}")).collect();
    for key in &brief {
        client.check(format!("set {key} 9 {BRIEF} 5\r\nbrief\r\n"), "STORED\r\n");
    }
    let played = stage.play(|| {
        for key in &brief {
            client.check(format!("get {key}\r\n"), hit(key, 9, "brief"));
        }
        dies_and_returns(&stage, &mut two.primary, &[&two.magent])?;
        dies_and_returns(&stage, &mut two.backup, &[&two.magent])?;
        let all = format!("get {}\r\n", brief.join(" "));
        stage.until("what was to live for seconds is gone", || client.ask(&all) == MISS)?;
        for server in [&two.primary, &two.backup] {
            stage.until("it is gone from the server, too", || server.ask(&all) == MISS)?;
        }
        stage.work_on(100)
    });
    played.assert_flawless(&[&two.magent]);
    for server in [&two.primary, &two.backup] {
        let mut client = server.client();
        for (key, held) in &played.held {
            if held.item.is_some() && held.is_known {
                assert_expires(&mut client, key, held);
            }
        }
    }
}

/// The request that writes what a get has found.
fn as_set(reply: &str) -> Option<String> {
    let (line, rest) = reply.strip_prefix("VALUE ")?.split_once("\r\n")?;
    let words: Vec<&str> = line.split(' ').collect();
    let [key, flags, len] = words[..] else {
        return None;
    };
    let block = rest.strip_suffix("END\r\n")?;
    Some(format!("set {key} {flags} 0 {len}\r\n{block}"))
}

/// The checker is worth nothing if it finds nothing where there is something to be found.
#[test]
fn where_there_is_one_copy_only_the_checker_finds_every_kind_of_fault() {
    let mut server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[TIMEOUT]);
    let hot = (0..WRITERS).flat_map(|me| (0..HOT_KEYS).map(move |n| key(me, n)));
    let stage = Stage::new(&[&magent], &[]);
    let played = stage.play(|| {
        let old = hot.map(|key| server.ask(format!("get {key}\r\n")));
        let old: Vec<_> = old.map(|reply| String::from_utf8(reply.0).unwrap()).collect();
        stage.work_on(1000)?;
        for set in old.iter().filter_map(|reply| as_set(reply)) {
            assert_eq!(server.ask(set), "STORED\r\n");
        }
        stage.work_on(400)?;
        server.restart();
        stage.until_up(&[&magent])?; // what is answered by errors until then finds nothing lost
        stage.work_on(400)?;
        hangs(&server, Duration::from_secs(1));
        magent.signal(libc::SIGSTOP);
        sleep(Duration::from_secs(1));
        magent.signal(libc::SIGCONT);
        stage.work_on(400)
    });
    let verdict = &played.verdict;
    for (what, found) in [
        ("errors", &verdict.errors),
        ("stale reads", &verdict.stale),
        ("lost writes", &verdict.lost),
        ("wrong answers", &verdict.wrong),
    ] {
        assert!(!found.is_empty(), "no {what}: {verdict}");
    }
    assert!(verdict.longest.0 >= Duration::from_millis(900), "no stall: {verdict}");
}
