//! The users' own layout on two machines with a cable between them: a memcached and a magent on each, clients of both. Servers and
//! machines die and hang, packets are lost, the cable is cut in both directions or in one.
//!
//! Where the cable is whole, the history of all clients is one that a single memcached could have made. While it is cut, each side goes on
//! with what it reaches; soon after, both servers have the same, of each key what one of the sides has written last, and nothing is gone
//! that a side had.

mod common;
#[allow(dead_code)] // each test file uses its part
mod histories {
    pub mod checker;
    pub mod connection;
    pub mod load;
    pub mod stage;
}

use common::{Magent, Memcached, Network, eventually, eventually_within};
use histories::connection::Connection;
use histories::stage::{Stage, Step};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Within this after a cut both servers have the same.
const ALIKE_WITHIN: Duration = Duration::from_secs(5);
const KEYS: usize = 200;

#[derive(Clone, Copy, Debug)]
enum Lists {
    /// Each has its own server first.
    Crossed,
    Same,
}

struct Hosts {
    servers: [Memcached; 2],
    magents: [Magent; 2],
    network: Network,
    lists: Lists,
}

impl Hosts {
    /// Two machines that have just booted; this thread is on the first one. None where there can be none.
    fn start(lists: Lists) -> Option<Self> {
        let network = Network::new()?;
        network.hosts[0].enter();
        let servers = [0, 1].map(|at| Memcached::on(&network.hosts[at]));
        let magents = [0, 1].map(|at| Self::magent(&network, &servers, lists, at));
        for (magent, host) in magents.iter().zip(&network.hosts) {
            host.inside(|| magent.settle());
            let finds = || magent.client().stat("stats servers", "other_magents") == "1";
            eventually_within(Duration::from_secs(10), "they find each other", finds);
        }
        Some(Self {
            servers,
            magents,
            network,
            lists,
        })
    }

    fn magent(network: &Network, servers: &[Memcached; 2], lists: Lists, at: usize) -> Magent {
        let [one, other] = [&servers[at].name, &servers[1 - at].name].map(String::as_str);
        let [first, second] = [&servers[0].name, &servers[1].name].map(String::as_str);
        let arguments = match lists {
            Lists::Crossed => vec!["-s", one, "-b", other],
            Lists::Same => vec!["-s", first, "-s", second, "-b", first, "-b", second],
        };
        Magent::on(&network.hosts[at], &arguments)
    }

    fn stage(&self) -> Stage {
        let [one, other] = &self.magents;
        let [first, second] = &self.servers;
        Stage::new(&[one, other], &[first, second]).on(&self.network.hosts)
    }

    /// What both servers have of each key.
    fn held(&self, keys: &[String]) -> [Held; 2] {
        [0, 1].map(|at| {
            let mut connection = Connection::to(&self.servers[at].name, 0).expect("a server");
            read(&mut connection, keys)
        })
    }
}

type Held = BTreeMap<String, Vec<u8>>;

fn read(connection: &mut Connection, keys: &[String]) -> Held {
    let reply = connection
        .ask(&format!("get {}\r\n", keys.join(" ")))
        .expect("an answer");
    reply.found.into_iter().map(|item| (item.key, item.value)).collect()
}

/// What the client of one side did to a key.
#[derive(Clone, Debug, PartialEq)]
enum Did {
    Set(String),
    Deleted,
    Touched,
}

/// A client of one side, which does something to any of the keys until it is told to stop. Returns what it did, and since when.
fn work(name: &str, side: usize, keys: &[String], is_over: &AtomicBool, start: Instant) -> Vec<(Duration, usize, Did)> {
    let mut connection = Connection::to(name, 0).expect("a magent");
    let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(side as u64 + 1);
    let mut did = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (key, choice) = ((random >> 33) as usize % keys.len(), (random >> 20) % 8);
        let name = &keys[key];
        let (request, done, what) = match choice {
            0 => (format!("delete {name}\r\n"), "DELETED", Did::Deleted),
            1 => (format!("touch {name} 0\r\n"), "TOUCHED", Did::Touched),
            _ => {
                let value = format!("{side}:{number}");
                let request = format!("set {name} 0 0 {}\r\n{value}\r\n", value.len());
                (request, "STORED", Did::Set(value))
            }
        };
        let begin = start.elapsed();
        let reply = connection.ask(&request).expect("an answer");
        assert!(!reply.is_error(), "{request:?}: {}", reply.line);
        // What is deleted is not to be there, whether it was or not.
        if reply.line == done || what == Did::Deleted {
            did.push((begin, key, what));
        }
        sleep(Duration::from_millis(1));
    }
    did
}

/// The cable is cut like this for so long, while both sides write.
fn a_cut(lists: Lists, cut: impl Fn(&Network), time: Duration) {
    let Some(hosts) = Hosts::start(lists) else {
        return;
    };
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key{n}")).collect();
    for key in &keys {
        assert_eq!(
            hosts.magents[0].ask(format!("set {key} 0 0 4\r\nbase\r\n")),
            "STORED\r\n"
        );
    }
    let (start, is_over) = (Instant::now(), AtomicBool::new(false));
    let (did, cut_at, mended) = thread::scope(|scope| {
        let clients = [0, 1].map(|side| {
            let (name, keys, is_over) = (&hosts.magents[side].name, &keys, &is_over);
            let host = &hosts.network.hosts[side];
            scope.spawn(move || host.inside(|| work(name, side, keys, is_over, start)))
        });
        sleep(Duration::from_millis(300));
        let begins = start.elapsed();
        cut(&hosts.network);
        let cut_at = begins..start.elapsed();
        sleep(time);
        is_over.store(true, Ordering::Relaxed);
        let did = clients.map(|client| client.join().expect("a client that got to its end"));
        hosts.network.mend();
        (did, cut_at, Instant::now())
    });
    let mut held = [Held::new(), Held::new()];
    eventually_within(ALIKE_WITHIN, "both servers have the same", || {
        held = hosts.held(&keys);
        // In the beginning neither has been found again.
        mended.elapsed() > Duration::from_secs(3) && held[0] == held[1]
    });
    let logs = [0, 1].map(|at| hosts.magents[at].log());
    for (n, key) in keys.iter().enumerate() {
        let of_key = |side: usize| did[side].iter().filter(move |(_, key, _)| *key == n);
        let context = format!(
            "{key} holds {:?}: {did:?}\n{logs:?}",
            held[0].get(key),
            did = [0, 1].map(|side| of_key(side).collect::<Vec<_>>())
        );
        assert!(
            is_right(held[0].get(key), [0, 1].map(|side| of_key(side).collect()), &cut_at),
            "{context}"
        );
    }
    for magent in &hosts.magents {
        let mut connection = Connection::to(&magent.name, 0).expect("a magent");
        assert_eq!(read(&mut connection, &keys), held[0], "what {} says", magent.name);
    }
}

/// What begins no further apart may be done in either order.
const AT_ONCE: Duration = Duration::from_millis(20);

type Act<'a> = &'a (Duration, usize, Did);

/// Whether a key may hold this after all that both sides did: what one of them wrote last, and the only one's where one did nothing since
/// shortly before the cut. A touch on one side may keep what was deleted on the other, or what had come to both before that wrote again.
fn is_right(holds: Option<&Vec<u8>>, did: [Vec<Act<'_>>; 2], cut_at: &Range<Duration>) -> bool {
    let before = cut_at.start.saturating_sub(Duration::from_millis(150));
    let acts = did.each_ref().map(|did| did.iter().any(|(at, ..)| *at >= before));
    let sides: Vec<usize> = match acts {
        [true, false] => vec![0],
        [false, true] => vec![1],
        _ => vec![0, 1],
    };
    let last = |side: usize| did[side].iter().rev().find(|(.., what)| *what != Did::Touched);
    // What is being written when the cable is cut may have come to both.
    let being_cut = cut_at.start.saturating_sub(AT_ONCE)..cut_at.end;
    let common = did
        .iter()
        .flatten()
        .filter(|(at, .., what)| *at < cut_at.end && *what != Did::Touched);
    let (meanwhile, earlier): (Vec<Act<'_>>, Vec<Act<'_>>) = common.partition(|(at, ..)| being_cut.contains(at));
    // Which of two that both sides did at the same moment was the last is the servers' to tell.
    let last_at = earlier.iter().map(|(at, ..)| *at).max().unwrap_or_default();
    let at_once = earlier.iter().filter(|(at, ..)| *at + AT_ONCE >= last_at);
    let mut bases: Vec<Did> = at_once.chain(&meanwhile).map(|(.., what)| what.clone()).collect();
    if earlier.is_empty() {
        bases.push(Did::Set("base".to_owned()));
    }
    let mut possible: Vec<Did> = Vec::new();
    for &side in &sides {
        let wrote = last(side).filter(|(at, ..)| *at >= before);
        possible.extend(wrote.map(|(.., what)| what.clone()));
        let touched = did[side]
            .last()
            .is_some_and(|(at, _, what)| *what == Did::Touched && *at >= being_cut.start);
        // What it has touched was there before, and may be the other side's.
        let is_own = wrote.is_some_and(|(at, ..)| *at >= cut_at.end);
        if wrote.is_none() || touched && !is_own {
            possible.extend_from_slice(&bases);
        }
    }
    possible.iter().any(|what| match what {
        Did::Set(value) => holds.is_some_and(|holds| holds == value.as_bytes()),
        Did::Deleted => holds.is_none(),
        Did::Touched => false,
    })
}

#[test]
fn what_both_sides_of_a_cut_wrote_is_made_alike() {
    for lists in [Lists::Crossed, Lists::Same] {
        a_cut(lists, Network::cut, Duration::from_millis(2000));
    }
}

#[test]
fn so_is_what_they_wrote_while_only_one_was_heard() {
    a_cut(
        Lists::Crossed,
        |network| network.cut_from(0),
        Duration::from_millis(1500),
    );
    a_cut(Lists::Same, |network| network.cut_from(1), Duration::from_millis(1500));
}

#[test]
fn a_cut_as_long_as_the_timeout_loses_nothing() {
    for ms in [450, 550, 650, 800] {
        a_cut(Lists::Crossed, Network::cut, Duration::from_millis(ms));
    }
}

/// Both magents lose a server to a cut, each the other's, but one has no clients: what the other's clients write is never anything but the
/// last that they wrote, nor where the server is lost once more as soon as it is back.
#[test]
fn a_cut_is_not_told_by_who_writes_on_one_side_alone() {
    let Some(hosts) = Hosts::start(Lists::Crossed) else {
        return;
    };
    let magents = [&hosts.magents[0], &hosts.magents[1]];
    let [first, second] = &hosts.servers;
    let stage = Stage::new(&magents[..1], &[first, second]).on(&hosts.network.hosts[..1]);
    let said = |magent: &Magent, what: &str| magent.log().matches(what).count();
    let played = stage.play(|| {
        for round in ["a cut", "another", "and another"] {
            stage.fault(round, || {
                for _ in 0..2 {
                    let [lost, back] = [" is down: ", " is up again "].map(|what| said(magents[0], what));
                    hosts.network.cut();
                    stage.until("the server is lost", || said(magents[0], " is down: ") > lost)?;
                    stage.work_on(400)?;
                    hosts.network.mend();
                    stage.until("the server is back", || said(magents[0], " is up again ") > back)?;
                }
                stage.until_up(&magents)
            })?;
            stage.work_on(1000)?;
        }
        stage.until_up(&magents)
    });
    // One that was lost a moment ago is waited for four times as long.
    played.assert_flawless_within(Duration::from_millis(4 * 500 + 200), &magents[..1]);
}

/// A server is killed or hangs, a machine loses its power, and each returns: no client can tell.
fn failures(lists: Lists) {
    let Some(mut hosts) = Hosts::start(lists) else {
        return;
    };
    let stage = hosts.stage();
    let played = stage.play(|| {
        for at in [1, 0] {
            let magents = [&hosts.magents[0], &hosts.magents[1]];
            let (server, host) = (&mut hosts.servers[at], &hosts.network.hosts[at]);
            stage.failure("kill -9, and a start later", server, &magents, |server| {
                server.kill();
                stage.work_on(400)?;
                host.inside(|| server.restart());
                Ok(())
            })?;
            stage.failure("2 s of SIGSTOP", server, &magents, |server| {
                server.stop();
                sleep(Duration::from_secs(2));
                server.cont();
                Ok(())
            })?;
        }
        power_loss(&stage, &mut hosts)
    });
    played.assert_flawless(&[&hosts.magents[0], &hosts.magents[1]]);
}

/// The second machine is gone, without a word, and boots again.
fn power_loss(stage: &Stage, hosts: &mut Hosts) -> Step {
    stage.fault("power loss", || {
        hosts.network.cut();
        stage.entrances[1].close();
        hosts.servers[1].kill();
        hosts.magents[1].signal(libc::SIGKILL);
        hosts.magents[1].wait();
        let is_down = || hosts.magents[0].server_stat(&hosts.servers[1], "state") == "down";
        stage.until("it was noticed", is_down)?;
        stage.work_on(400)?;
        hosts.network.mend();
        hosts.network.hosts[1].inside(|| hosts.servers[1].restart());
        hosts.magents[1] = Hosts::magent(&hosts.network, &hosts.servers, hosts.lists, 1);
        stage.entrances[1].open(&hosts.magents[1].name);
        stage.until_up(&[&hosts.magents[0], &hosts.magents[1]])
    })?;
    stage.work_on(400)
}

#[test]
fn servers_and_a_machine_fail_and_no_client_can_tell() {
    failures(Lists::Crossed);
}

#[test]
fn nor_can_one_where_both_magents_have_the_same_lists() {
    failures(Lists::Same);
}

/// One magent alone cannot reach a server, and its clients delete what another magent, which has just been started, would copy from there.
#[test]
fn what_is_deleted_without_a_server_is_not_copied_from_there_by_another_magent() {
    const DELETED: usize = KEYS / 2;
    let Some(mut hosts) = Hosts::start(Lists::Crossed) else {
        return;
    };
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key{n}")).collect();
    for key in &keys {
        assert_eq!(hosts.magents[0].ask(format!("set {key} 0 0 1\r\nx\r\n")), "STORED\r\n");
    }
    sleep(Duration::from_millis(3100)); // so that it is clearly the younger one
    let host = &hosts.network.hosts[0];
    host.inside(|| hosts.servers[0].restart());
    let magents = [&hosts.magents[0], &hosts.magents[1]];
    let (here, there) = (&hosts.servers[0], &hosts.servers[1]);
    for magent in magents {
        let is_whole = || magent.server_stat(here, "state") == "up";
        eventually_within(Duration::from_secs(10), "it is filled", is_whole);
    }
    hosts.network.cut_to_servers(0);
    eventually("it is missed", || magents[0].server_stat(there, "state") == "down");
    for key in &keys[..DELETED] {
        assert_eq!(magents[0].ask(format!("delete {key}\r\n")), "DELETED\r\n");
    }
    hosts.magents[1].signal(libc::SIGKILL);
    hosts.magents[1].wait();
    hosts.magents[1] = Hosts::magent(&hosts.network, &hosts.servers, hosts.lists, 1);
    sleep(Duration::from_secs(4));
    hosts.network.mend();
    let (here, there) = (&hosts.servers[0], &hosts.servers[1]);
    for magent in &hosts.magents {
        for server in [here, there] {
            let is_whole = || magent.server_stat(server, "state") == "up";
            eventually_within(Duration::from_secs(30), "all are up and whole", is_whole);
        }
    }
    let left = |held: &Held| keys[..DELETED].iter().filter(|key| held.contains_key(*key)).count();
    let held = hosts.held(&keys);
    assert_eq!(held.each_ref().map(left), [0, 0], "what was deleted is there again");
    assert_eq!(held.each_ref().map(|held| held.len()), [KEYS - DELETED; 2]);
}

/// One magent alone has lost the server that decides, and the other one goes on with both. From the first moment nobody is given what
/// somebody has been given through the other one.
#[test]
fn two_magents_of_which_one_has_lost_the_server_that_decides_agree() {
    let Some(mut hosts) = Hosts::start(Lists::Crossed) else {
        return;
    };
    sleep(Duration::from_millis(3100)); // so that the other one is clearly the older one, and decides
    let host = &hosts.network.hosts[0];
    host.inside(|| hosts.servers[0].restart());
    let (here, there) = (&hosts.servers[0], &hosts.servers[1]);
    for magent in &hosts.magents {
        let is_whole = || magent.server_stat(here, "state") == "up";
        eventually_within(Duration::from_secs(10), "it is filled", is_whole);
    }
    let [one, other] = [&hosts.magents[0], &hosts.magents[1]];
    for n in 0..KEYS {
        assert_eq!(one.ask(format!("set count{n} 0 0 1\r\n0\r\n")), "STORED\r\n");
        assert_eq!(one.ask(format!("set swap{n} 0 0 1\r\n0\r\n")), "STORED\r\n");
    }
    let unique = |magent: &Magent, n: usize| -> String {
        let said = magent.ask(format!("gets swap{n}\r\n"));
        let said = String::from_utf8_lossy(&said.0).into_owned();
        let unique = said.lines().next().and_then(|line| line.split(' ').nth(4));
        unique.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let uniques: Vec<String> = (0..KEYS).map(|n| unique(other, n)).collect();
    hosts.network.cut_to_servers(0);
    eventually("it is missed", || one.server_stat(there, "state") == "down");
    for (n, known) in uniques.iter().enumerate() {
        let add = format!("add lock{n} 0 0 1\r\nx\r\n");
        let incr = format!("incr count{n} 1\r\n");
        let swap = |unique: &str| format!("cas swap{n} 0 0 1 {unique}\r\n1\r\n");
        assert_eq!(one.ask(&add), "STORED\r\n");
        assert_eq!(other.ask(&add), "NOT_STORED\r\n", "lock {n} is given twice");
        assert_eq!([one.ask(&incr), other.ask(&incr)], ["1\r\n", "2\r\n"], "count {n}");
        assert_eq!(one.ask(swap(&unique(one, n))), "STORED\r\n");
        assert_eq!(other.ask(swap(known)), "EXISTS\r\n", "an update of {n} is lost");
    }
    hosts.network.mend();
    for magent in &hosts.magents {
        for server in [here, there] {
            let is_whole = || magent.server_stat(server, "state") == "up";
            eventually_within(Duration::from_secs(30), "all are up and whole", is_whole);
        }
    }
    let keys: Vec<String> = ["lock", "count", "swap"]
        .iter()
        .flat_map(|kind| (0..KEYS).map(move |n| format!("{kind}{n}")))
        .collect();
    let held = hosts.held(&keys);
    assert_eq!(held[0].len(), 3 * KEYS);
    assert_eq!(held[0], held[1], "both servers have the same");
}

/// What one magent's clients have written while it alone has lost a server, another's may not see yet. So all are before one.
#[test]
fn packets_are_lost_and_no_client_of_one_magent_can_tell() {
    let Some(hosts) = Hosts::start(Lists::Crossed) else {
        return;
    };
    let magents = [&hosts.magents[0], &hosts.magents[1]];
    let [first, second] = &hosts.servers;
    let stage = Stage::new(&magents[..1], &[first, second]).on(&hosts.network.hosts[..1]);
    let returned = |magent: &Magent, server: &Memcached| {
        let returned = format!("server {} is up again", server.name);
        magent.log().matches(&returned).count()
    };
    let played = stage.play(|| {
        stage.fault("5 of 100 packets are lost", || {
            hosts.network.lose(5);
            let begun = Instant::now();
            stage.until("10 s are over", || begun.elapsed() > Duration::from_secs(10))?;
            for magent in magents {
                for server in [first, second] {
                    assert!(returned(magent, server) <= 1, "it flaps: {}", magent.log());
                }
            }
            hosts.network.mend();
            stage.until_up(&magents)
        })?;
        stage.work_on(1000)?;
        stage.until_up(&magents)
    });
    // A request may wait for a server, and then for a copy on its way there; each has four times the timeout.
    played.assert_flawless_within(Duration::from_millis(2 * 4 * 500 + 200), &magents);
}
