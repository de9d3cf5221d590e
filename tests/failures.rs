//! A memcached that dies, hangs, talks nonsense or is not there yet costs its clients nothing while there is another
//! copy, and an honest error while there is none.

mod common;

use common::{Client, Fake, MISS, Magent, Memcached, NO_SERVER, PATIENT, Two, eventually, hit};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// One request for each command that has a key; `#` stands for the key.
const KEYED: [&str; 16] = [
    "get #",
    "gets #",
    "gat 0 #",
    "gats 0 #",
    "get # #",
    "gat 0 # #",
    "set # 0 0 1\r\nx",
    "add # 0 0 1\r\nx",
    "replace # 0 0 1\r\nx",
    "append # 0 0 1\r\nx",
    "prepend # 0 0 1\r\nx",
    "cas # 0 0 1 1\r\nx",
    "incr # 1",
    "decr # 1",
    "touch # 0",
    "delete #",
];

fn requests(key: &str) -> impl Iterator<Item = String> {
    KEYED.iter().map(move |line| format!("{}\r\n", line.replace('#', key)))
}

/// Writes keys until each server has this many of them; returns them by server.
fn spread(client: &mut Client, servers: &[&Memcached], count: usize) -> Vec<Vec<String>> {
    let mut keys = vec![Vec::new(); servers.len()];
    let mut direct: Vec<Client> = servers.iter().map(|server| server.client()).collect();
    for i in 0.. {
        let key = format!("key{i}");
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        for (server, keys) in direct.iter_mut().zip(&mut keys) {
            if server.ask(format!("get {key}\r\n")) != MISS {
                keys.push(key.clone());
            }
        }
        if keys.iter().all(|keys| keys.len() >= count) {
            return keys;
        }
    }
    unreachable!("there are many keys");
}

#[test]
fn a_server_that_is_not_there_yet_is_used_when_it_comes() {
    let (mut primary, backup) = (Memcached::absent(), Memcached::start());
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    client.check("set k 1 0 1\r\nx\r\n", "STORED\r\n");
    client.check("get k\r\n", hit("k", 1, "x"));
    client.check("get nope\r\n", MISS);
    primary.restart();
    magent.wait_for(&primary, "up");
    client.check("get k\r\n", hit("k", 1, "x"));
    client.check("set k 2 0 1\r\ny\r\n", "STORED\r\n");
    assert_eq!(primary.ask("get k\r\n"), hit("k", 2, "y"));
    assert_eq!(backup.ask("get k\r\n"), hit("k", 2, "y"));
}

#[test]
fn magent_may_be_started_before_its_memcacheds() {
    let mut servers = [Memcached::absent(), Memcached::absent(), Memcached::absent()];
    let magent = Magent::before(&[&servers[0], &servers[1]], &[&servers[2]], &[]);
    let mut client = magent.client();
    for key in ["a", "b", "c", "d"] {
        client.check(format!("get {key}\r\n"), NO_SERVER);
    }
    for server in &mut servers {
        server.restart();
    }
    for server in &servers {
        magent.wait_for(server, "up");
    }
    for key in ["a", "b", "c", "d"] {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
        client.check(format!("get {key}\r\n"), hit(key, 0, "x"));
    }
}

#[test]
fn a_server_that_hangs_when_magent_starts_is_done_without() {
    let two = (Memcached::start(), Memcached::start());
    two.0.stop();
    let magent = Magent::before(&[&two.0], &[&two.1], &["--timeout=500"]);
    let mut client = magent.client();
    client.check("set k 1 0 1\r\nx\r\n", "STORED\r\n");
    client.check("get k\r\n", hit("k", 1, "x"));
    two.0.cont();
    magent.wait_for(&two.0, "up");
    client.check("get k\r\n", hit("k", 1, "x"));
}

#[test]
fn without_a_reachable_copy_every_command_is_an_error_and_never_a_miss() {
    for backups in [0, 1] {
        for hang in [false, true] {
            let mut servers = [Memcached::start(), Memcached::start()];
            let magent = Magent::before(
                &[&servers[0]],
                &[&servers[1]][..backups],
                &[if hang { "--timeout=500" } else { PATIENT }],
            );
            let mut client = magent.client();
            client.check("set k 0 0 1\r\n5\r\n", "STORED\r\n");
            for server in &mut servers {
                match hang {
                    true => server.stop(),
                    false => server.kill(),
                }
            }
            for request in requests("k") {
                client.check(&request, NO_SERVER);
                let line = request.split("\r\n").next().unwrap();
                if !line.starts_with("get") && !line.starts_with("gat") {
                    client.send(request.replacen(line, &format!("{line} noreply"), 1));
                }
            }
            client.check("version\r\n", NO_SERVER);
            client.check("flush_all\r\n", NO_SERVER);
            client.check("bogus\r\n", "ERROR\r\n");
        }
    }
}

#[test]
fn without_backups_the_keys_of_other_servers_are_not_disturbed() {
    let mut servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let magent = Magent::before(&[&servers[0], &servers[1], &servers[2]], &[], &[]);
    let mut client = magent.client();
    let keys = spread(&mut client, &[&servers[0], &servers[1], &servers[2]], 5);
    servers[1].kill();
    for key in keys[0].iter().chain(&keys[2]) {
        client.check(format!("get {key}\r\n"), hit(key, 0, "x"));
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    for key in &keys[1] {
        for request in requests(key) {
            client.check(request, NO_SERVER);
        }
    }
    client.check("version\r\n", Memcached::version().reply());
    client.check("flush_all\r\n", "OK\r\n");
    servers[1].restart();
    magent.wait_for(&servers[1], "up");
    for key in &keys[1] {
        client.check(format!("get {key}\r\n"), MISS);
        client.check(format!("set {key} 0 0 1\r\ny\r\n"), "STORED\r\n");
        client.check(format!("get {key}\r\n"), hit(key, 0, "y"));
    }
}

#[test]
fn a_server_that_hangs_holds_up_nobody_who_asks_others() {
    let servers = [Memcached::start(), Memcached::start()];
    let magent = Magent::before(&[&servers[0], &servers[1]], &[], &[PATIENT]);
    let (mut client, mut waiting) = (magent.client(), magent.client());
    let keys = spread(&mut client, &[&servers[0], &servers[1]], 5);
    servers[0].stop();
    for key in &keys[0] {
        waiting.send(format!("get {key}\r\nset {key} 0 0 1\r\ny\r\n"));
    }
    magent.settle();
    for key in &keys[1] {
        client.check(format!("get {key}\r\n"), hit(key, 0, "x"));
        client.check(format!("set {key} 0 0 1\r\ny\r\n"), "STORED\r\n");
    }
    servers[0].cont();
    for key in &keys[0] {
        waiting.expect(format!("{}STORED\r\n", hit(key, 0, "x")));
    }
}

#[test]
fn a_wide_get_returns_what_there_is_and_then_the_error() {
    let mut servers = [Memcached::start(), Memcached::start()];
    let magent = Magent::before(&[&servers[0], &servers[1]], &[], &[]);
    let mut client = magent.client();
    let keys = spread(&mut client, &[&servers[0], &servers[1]], 3);
    servers[1].kill();
    let (here, gone, missing) = (&keys[0][0], &keys[1][0], &keys[0][1]);
    client.check(format!("delete {missing}\r\n"), "DELETED\r\n");
    let found = format!("VALUE {here} 0 1\r\nx\r\n");
    for verb in ["get", "gat 0"] {
        client.check(format!("{verb} {here} {gone}\r\n"), format!("{found}{NO_SERVER}"));
        client.check(format!("{verb} {gone} {here}\r\n"), format!("{found}{NO_SERVER}"));
        client.check(
            format!("{verb} {missing} {here} {here}\r\n"),
            format!("{found}{found}END\r\n"),
        );
        client.check(format!("{verb} {gone} {gone}\r\n"), NO_SERVER);
    }
    client.check("bogus\r\n", "ERROR\r\n");
}

#[test]
fn a_wide_get_takes_each_key_from_where_it_is() {
    let mut servers = [
        Memcached::start(),
        Memcached::start(),
        Memcached::start(),
        Memcached::start(),
    ];
    let [a, b, c, d] = &servers;
    let magent = Magent::before(&[a, b], &[c, d], &[]);
    let mut client = magent.client();
    let keys = spread(&mut client, &[a, b], 20);
    // Those of one primary come from its backups, as do those that the other has lost.
    for key in keys[1].iter().step_by(3) {
        assert_eq!(b.ask(format!("delete {key}\r\n")), "DELETED\r\n");
    }
    servers[0].kill();
    let all: Vec<&str> = keys.iter().flatten().map(String::as_str).chain(["nope"]).collect();
    for _ in 0..3 {
        let reply = client.ask(format!("get {}\r\n", all.join(" ")));
        let text = String::from_utf8(reply.0).unwrap();
        for key in &all[..all.len() - 1] {
            assert_eq!(
                text.matches(&format!("VALUE {key} 0 1\r\nx\r\n")).count(),
                1,
                "{key} in {text}"
            );
        }
        assert!(text.ends_with("\r\nEND\r\n"));
    }
}

/// Requests of every kind, each with keys of its own, and the answers that they get from the backup if the primary is
/// gone before it answers.
const PENDING: [(&str, &str); 14] = [
    ("get a\r\n", "VALUE a 7 1\r\n1\r\nEND\r\n"),
    ("get a b nope\r\n", "VALUE a 7 1\r\n1\r\nVALUE b 7 1\r\n2\r\nEND\r\n"),
    ("get nope\r\n", "END\r\n"),
    ("set c 8 0 1\r\nC\r\n", "STORED\r\n"),
    ("add d 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
    ("add l 9 0 1\r\nL\r\n", "STORED\r\n"),
    ("replace e 9 0 1\r\nE\r\n", "STORED\r\n"),
    ("append f 0 0 1\r\n+\r\n", "STORED\r\n"),
    ("cas g 0 0 1 987654321\r\nx\r\n", "EXISTS\r\n"),
    ("incr h 10\r\n", "18\r\n"),
    ("gat 0 i\r\n", "VALUE i 7 1\r\n9\r\nEND\r\n"),
    ("touch j 0\r\n", "TOUCHED\r\n"),
    ("delete k\r\n", "DELETED\r\n"),
    ("add k 8 0 1\r\nK\r\n", "STORED\r\n"),
];

const ALL_PENDING: &str = "get a b c d e f g h i j k l\r\n";

/// What is stored when all that was pending is done.
const DONE: &str = "VALUE a 7 1\r\n1\r\nVALUE b 7 1\r\n2\r\nVALUE c 8 1\r\nC\r\nVALUE d 7 1\r\n4\r\nVALUE e 9 1\r\nE\r\n\
    VALUE f 7 2\r\n6+\r\nVALUE g 7 1\r\n7\r\nVALUE h 7 2\r\n18\r\nVALUE i 7 1\r\n9\r\nVALUE j 7 2\r\n10\r\nVALUE k 8 1\r\nK\r\n\
    VALUE l 9 1\r\nL\r\nEND\r\n";

/// Hangs the primary with all of `PENDING` in flight; returns the client that waits for the answers.
fn let_hang(two: &Two) -> Client {
    let mut client = two.client();
    for (key, value) in ('a'..='k').zip(1..) {
        let value = format!("{value}");
        client.check(format!("set {key} 7 0 {}\r\n{value}\r\n", value.len()), "STORED\r\n");
    }
    two.primary.stop();
    for (request, _) in PENDING {
        client.send(request);
    }
    two.magent.settle();
    client
}

fn expect_all_pending(client: &mut Client) {
    for (_, reply) in PENDING {
        client.expect(reply);
    }
    client.check(ALL_PENDING, DONE);
}

#[test]
fn requests_in_flight_are_answered_by_the_backup_when_the_primary_is_killed() {
    let mut two = Two::start(&[PATIENT]);
    let mut client = let_hang(&two);
    assert!(client.is_quiet());
    two.primary.kill();
    expect_all_pending(&mut client);
    assert_eq!(two.backup.ask(ALL_PENDING), DONE);
}

#[test]
fn requests_in_flight_are_answered_by_the_backup_when_the_primary_hangs() {
    let two = Two::start(&["--timeout=500"]);
    expect_all_pending(&mut let_hang(&two));
}

/// A client that has a read and a write in flight at once wants the read to come first.
#[test]
fn a_read_in_flight_does_not_see_the_write_behind_it_when_the_primary_dies() {
    let mut two = Two::start(&[PATIENT]);
    let mut client = two.client();
    client.check("set k 0 0 3\r\nold\r\n", "STORED\r\n");
    two.primary.stop();
    client.send("get k\r\nset k 0 0 3\r\nnew\r\n");
    two.magent.settle();
    two.primary.kill();
    client.expect(hit("k", 0, "old"));
    client.expect("STORED\r\n");
}

#[test]
fn writes_in_flight_are_answered_by_the_primary_when_the_backup_is_killed() {
    let mut two = Two::start(&[PATIENT]);
    let mut client = two.client();
    client.check("set n 0 0 1\r\n1\r\n", "STORED\r\n");
    two.backup.stop();
    client.send(
        "set k 0 0 1\r\nx\r\nadd l 0 0 1\r\nx\r\nset l 0 0 1\r\ny\r\nincr n 1\r\ngat 0 n\r\ndelete n\r\nget l\r\n",
    );
    two.magent.settle();
    assert!(client.is_quiet());
    two.backup.kill();
    client
        .expect("STORED\r\nSTORED\r\nSTORED\r\n2\r\nVALUE n 0 1\r\n2\r\nEND\r\nDELETED\r\nVALUE l 0 1\r\ny\r\nEND\r\n");
    assert_eq!(
        two.primary.ask("get k l n\r\n"),
        "VALUE k 0 1\r\nx\r\nVALUE l 0 1\r\ny\r\nEND\r\n"
    );
}

#[test]
fn only_what_was_in_flight_waits_for_a_server_that_hangs() {
    const TIMEOUT: Duration = Duration::from_millis(1000);
    let two = Two::start(&["--timeout=1000", "--hedge=0"]);
    let mut clients: Vec<Client> = (0..5).map(|_| two.client()).collect();
    clients[0].check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    two.primary.stop();
    let start = Instant::now();
    for client in &mut clients {
        client.send("get k\r\nget k\r\n");
    }
    for client in &mut clients {
        client.expect(hit("k", 0, "x").repeat(2));
    }
    let waited = start.elapsed();
    assert!(
        waited > TIMEOUT / 2 && waited < 4 * TIMEOUT,
        "in flight: waited {waited:?}"
    );

    let start = Instant::now();
    for client in &mut clients {
        for _ in 0..10 {
            client.check("get k\r\n", hit("k", 0, "x"));
            client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        }
    }
    let waited = start.elapsed();
    assert!(waited < TIMEOUT, "100 requests after that: waited {waited:?}");
    assert_eq!(two.magent.server_stat(&two.primary, "timeouts"), "1");
}

#[test]
fn requests_that_wait_for_a_key_are_answered_when_its_server_dies() {
    let mut two = Two::start(&[PATIENT]);
    let mut clients: Vec<Client> = (0..4).map(|_| two.client()).collect();
    two.primary.stop();
    for (client, request) in clients.iter_mut().zip([
        "add k 0 0 1\r\na\r\n",
        "append k 0 0 1\r\nb\r\n",
        "replace k 5 0 1\r\nc\r\n",
        "append k 0 0 1\r\nd\r\nget k\r\n",
    ]) {
        client.send(request);
        two.magent.settle();
    }
    two.primary.kill();
    for (client, reply) in clients.iter_mut().zip(["", "", "", &hit("k", 5, "cd")]) {
        client.expect(format!("STORED\r\n{reply}"));
    }
    assert_eq!(two.backup.ask("get k\r\n"), hit("k", 5, "cd"));
}

/// Writes that a server misses, each with what is there before it and after it.
const MISSED: [(&str, &str, &str); 10] = [
    ("set # 2 0 3\r\nnew\r\n", "STORED\r\n", "VALUE # 2 3\r\nnew\r\nEND\r\n"),
    ("delete #\r\n", "DELETED\r\n", "END\r\n"),
    ("incr # 5\r\n", "16\r\n", "VALUE # 1 2\r\n16\r\nEND\r\n"),
    ("decr # 1\r\n", "10\r\n", "VALUE # 1 2\r\n10\r\nEND\r\n"),
    ("append # 0 0 1\r\n2\r\n", "STORED\r\n", "VALUE # 1 3\r\n112\r\nEND\r\n"),
    (
        "prepend # 0 0 1\r\n2\r\n",
        "STORED\r\n",
        "VALUE # 1 3\r\n211\r\nEND\r\n",
    ),
    ("replace # 3 0 1\r\nr\r\n", "STORED\r\n", "VALUE # 3 1\r\nr\r\nEND\r\n"),
    ("touch # -1\r\n", "TOUCHED\r\n", "END\r\n"),
    ("gat -1 #\r\n", "VALUE # 1 2\r\n11\r\nEND\r\n", "END\r\n"),
    ("set # 2 0 3 noreply\r\nnew\r\n", "", "VALUE # 2 3\r\nnew\r\nEND\r\n"),
];

/// Keys one to a write that will be missed, all with the value 11.
fn prepare(client: &mut Client) {
    for i in 0..MISSED.len() {
        client.check(format!("set k{i} 1 0 2\r\n11\r\n"), "STORED\r\n");
    }
}

fn write_all(client: &mut Client) {
    for (i, (request, reply, _)) in MISSED.iter().enumerate() {
        let key = format!("k{i}");
        client.check(request.replace('#', &key), reply.replace('#', &key));
    }
}

fn assert_nothing_is_stale(client: &mut Client) {
    for (i, (request, _, found)) in MISSED.iter().enumerate() {
        let key = format!("k{i}");
        let reply = client.ask(format!("get {key}\r\n"));
        assert_eq!(reply, found.replace('#', &key), "after {request:?}");
    }
}

#[test]
fn a_hung_primary_never_serves_what_it_had_before_the_writes_that_it_missed() {
    let two = Two::start(&["--timeout=500"]);
    let mut client = two.client();
    prepare(&mut client);
    two.primary.stop();
    write_all(&mut client);
    assert_nothing_is_stale(&mut client);
    two.primary.cont();
    eventually("the primary is up again", || {
        assert_nothing_is_stale(&mut client);
        two.magent.server_stat(&two.primary, "state").starts_with("up")
    });
    assert_nothing_is_stale(&mut client);
    // And not only because the backup is asked.
    for (i, (_, _, found)) in MISSED.iter().enumerate() {
        let (key, reply) = (format!("k{i}"), two.primary.ask(format!("get k{i}\r\n")));
        assert!(reply == MISS || reply == found.replace('#', &key), "{reply:?}");
    }
}

#[test]
fn a_hung_backup_never_serves_what_it_had_before_the_writes_that_it_missed() {
    let mut two = Two::start(&["--timeout=500"]);
    let mut client = two.client();
    prepare(&mut client);
    two.backup.stop();
    write_all(&mut client);
    two.backup.cont();
    // Before that the primary has the only copy of what the backup missed.
    eventually("the backup has what it missed", || {
        two.magent.server_stat(&two.backup, "state") == "up"
    });
    two.primary.kill();
    for (i, (request, _, found)) in MISSED.iter().enumerate() {
        let (key, reply) = (format!("k{i}"), client.ask(format!("get k{i}\r\n")));
        assert!(
            reply == MISS || reply == found.replace('#', &key),
            "{reply:?} after {request:?}"
        );
    }
}

/// What was in flight to a server that hangs is still in its socket: it carries it out when it goes on.
#[test]
fn writes_cut_off_in_flight_never_come_back() {
    let two = Two::start(&["--timeout=1500"]);
    let mut client = two.client();
    client.check("set k 0 0 5\r\nfirst\r\n", "STORED\r\n");
    let connections = two.primary.stat("curr_connections");
    two.primary.stop();
    let script = "set k 0 0 3\r\nold\r\n".repeat(1000);
    let writers: Vec<_> = (0..20)
        .map(|_| {
            let (mut client, script) = (two.client(), script.clone());
            thread::spawn(move || client.check(script, "STORED\r\n".repeat(1000)))
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    client.check("set k 0 0 3\r\nnew\r\n", "STORED\r\n");
    two.magent.wait_for(&two.primary, "rejoining"); // it is asked whether it is there, and can answer at once
    two.primary.cont();
    eventually("the primary is up again, and done with what it had from before", || {
        assert_eq!(client.ask("get k\r\n"), hit("k", 0, "new"));
        let up = two.magent.server_stat(&two.primary, "state").starts_with("up");
        up && two.primary.stat("curr_connections") <= connections
    });
    client.check("get k\r\n", hit("k", 0, "new"));
}

/// With --ack=primary nobody waits for the touch that goes with a gat. If that is lost, and the gat was too, neither has been done (R41).
#[test]
fn a_gat_that_was_cut_off_leaves_the_last_copy() {
    let mut two = Two::start(&["--timeout=500", "--ack=primary"]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    two.magent.settle();
    two.primary.stop();
    two.backup.stop();
    let requests = two.magent.server_stat(&two.backup, "requests");
    client.send("gat 0 k\r\n");
    eventually("the touch is on its way", || {
        two.magent.server_stat(&two.backup, "requests") != requests
    });
    two.primary.kill();
    two.magent.wait_for(&two.primary, "down");
    two.magent.wait_for(&two.backup, "down");
    client.expect("SERVER_ERROR no server available\r\n");
    two.backup.cont();
    two.magent.wait_for(&two.backup, "up");
    client.check("get k\r\n", hit("k", 0, "x"));
}

#[test]
fn a_flush_that_a_server_missed_is_made_up_for() {
    for in_flight in [true, false] {
        let two = Two::start(&["--timeout=500"]);
        let mut client = two.client();
        client.check("set k 0 0 3\r\nold\r\n", "STORED\r\n");
        two.primary.stop();
        if !in_flight {
            client.check("get k\r\n", hit("k", 0, "old")); // from now on it is known to be down
        }
        client.check("flush_all\r\n", "OK\r\n");
        client.check("get k\r\n", MISS);
        two.primary.cont();
        eventually("the primary is up again", || {
            client.check("get k\r\n", MISS);
            two.magent.server_stat(&two.primary, "state").starts_with("up")
        });
        client.check("get k\r\n", MISS);
        assert_eq!(two.primary.ask("get k\r\n"), MISS);
    }
}

/// The connection ends, but not the server: whether it was flushed nobody knows.
#[test]
fn a_flush_that_was_cut_off_is_made_up_for() {
    let flushes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&flushes);
    let server = Fake::start(move |line| match line.split(' ').next()? {
        "version" => Some(b"VERSION 1.6.18\r\n".to_vec()),
        "flush_all" if seen.fetch_add(1, Ordering::SeqCst) == 0 => None,
        "flush_all" => Some(b"OK\r\n".to_vec()),
        _ if seen.load(Ordering::SeqCst) > 1 => Some(b"END\r\n".to_vec()),
        _ => Some(b"VALUE k 0 3\r\nold\r\nEND\r\n".to_vec()),
    });
    let backup = Memcached::start();
    let magent = Magent::start(&["-s", &server.name, "-b", &backup.name]);
    let mut client = magent.client();
    client.check("get k\r\n", hit("k", 0, "old"));
    client.check("flush_all\r\n", "OK\r\n");
    eventually("it is flushed once more", || {
        client.check("get k\r\n", MISS);
        flushes.load(Ordering::SeqCst) > 1
    });
}

#[test]
fn what_was_written_while_a_server_was_dead_is_there_when_it_is_back() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    prepare(&mut client);
    two.primary.kill();
    write_all(&mut client);
    two.primary.restart();
    two.magent.wait_for(&two.primary, "up");
    assert_nothing_is_stale(&mut client);
    client.check("set k0 3 0 2\r\nup\r\n", "STORED\r\n");
    two.both_say("get k0\r\n", &hit("k0", 3, "up"));
}

#[test]
fn a_server_that_comes_and_goes_costs_nothing() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    for round in 0..6 {
        let value = format!("{round}");
        let write = |client: &mut Client| {
            for i in 0..50 {
                client.check(format!("set k{i} 0 0 1\r\n{value}\r\n"), "STORED\r\n");
            }
        };
        let read = |client: &mut Client| {
            for i in 0..50 {
                client.check(format!("get k{i}\r\n"), hit(&format!("k{i}"), 0, &value));
            }
        };
        let server = if round % 2 == 0 {
            &mut two.primary
        } else {
            &mut two.backup
        };
        server.kill();
        write(&mut client);
        read(&mut client);
        server.restart();
        two.magent.wait_for(server, "up");
        read(&mut client);
        write(&mut client);
        read(&mut client);
    }
}

/// Writes ever larger numbers to keys of its own and reads them back, in many ways, until it is told to end. What it
/// reads is what it wrote last or, since a copy can be lost with each server that hangs, nothing; never what was before.
fn write_and_read(client: &mut Client, me: usize, enough: &AtomicBool, done: &AtomicUsize) {
    for round in 1.. {
        if enough.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("w{me}:{}", round % 7);
        let value = format!("{round}");
        let len = value.len();
        let expected = [hit(&key, 0, &value), MISS.to_owned()];
        match round % 5 {
            0 => client.send(format!("set {key} 0 0 {len} noreply\r\n{value}\r\n")),
            1 => {
                let reply = client.ask(format!("delete {key}\r\n"));
                assert!(reply == "DELETED\r\n" || reply == "NOT_FOUND\r\n", "{reply:?}");
                assert_eq!(client.ask(format!("get {key}\r\n")), MISS, "{key} was deleted");
                client.check(format!("add {key} 0 0 {len}\r\n{value}\r\n"), "STORED\r\n");
            }
            2 => {
                client.check(format!("set {key} 0 0 {len}\r\n{value}\r\n"), "STORED\r\n");
                let reply = client.ask(format!("replace {key} 0 0 {len}\r\n{value}\r\n"));
                assert!(reply == "STORED\r\n" || reply == "NOT_STORED\r\n", "{reply:?}");
            }
            _ => client.check(format!("set {key} 0 0 {len}\r\n{value}\r\n"), "STORED\r\n"),
        }
        let reply = client.ask(format!("get {key}\r\n"));
        assert!(
            expected.iter().any(|one| reply == one),
            "{reply:?} after round {round} of {key}"
        );
        done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whichever_server_hangs_when_nothing_old_is_read_and_nothing_fails() {
    let two = Two::start(&["--timeout=500"]);
    let (enough, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for me in 0..4 {
            let (mut client, enough, done) = (two.client(), &enough, &done);
            scope.spawn(move || {
                write_and_read(&mut client, me, enough, done);
            });
        }
        let work_on = |rounds: usize| {
            let goal = done.load(Ordering::Relaxed) + rounds;
            eventually("the clients have worked on", || done.load(Ordering::Relaxed) >= goal);
        };
        let cycle = || {
            for round in 0..4 {
                let server = if round % 2 == 0 { &two.primary } else { &two.backup };
                server.stop();
                two.magent.wait_for(server, "down");
                work_on(200);
                server.cont();
                two.magent.wait_for(server, "up");
                work_on(200);
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(cycle));
        enough.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_server_that_is_no_memcached_is_done_without() {
    let nonsense = Fake::start(|_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let closes = Fake::start(|_| None);
    let endless = Fake::start(|_| Some(vec![b'x'; 100_000]));
    let mute = Fake::start(|_| Some(Vec::new()));
    for server in [nonsense, closes, endless, mute] {
        let backup = Memcached::start();
        let magent = Magent::start(&["-s", &server.name, "-b", &backup.name, "--timeout=500"]);
        let mut client = magent.client();
        client.check("set k 1 0 1\r\nx\r\n", "STORED\r\n");
        client.check("get k\r\n", hit("k", 1, "x"));
        client.check("get k nope\r\n", hit("k", 1, "x"));
        client.check("add l 1 0 1\r\nx\r\n", "STORED\r\n");
        client.check("delete k\r\n", "DELETED\r\n");
        client.check("get k\r\n", MISS);
    }
}

#[test]
fn half_a_value_is_never_passed_on() {
    // Dies in the middle of the second value.
    let dying = |line: &str| match line {
        "version" => Some(b"VERSION 1.6.18\r\n".to_vec()),
        "get b" => Some(b"VALUE b 0 10\r\nfrom".to_vec()),
        "get a b" => Some(b"VALUE a 0 1\r\np\r\nVALUE b 0 10\r\nfrom".to_vec()),
        "get c" => Some(b"VALUE c 0 1\r\np\r\n".to_vec()),
        "get d" => Some(b"VALUE d 0 4\r\nvalue\r\nEND\r\n".to_vec()),
        _ => None,
    };
    let backup = Memcached::start();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(backup.ask(format!("set {key} 0 0 6\r\nbackup\r\n")), "STORED\r\n");
    }
    for (request, reply) in [
        ("get b\r\n", "VALUE b 0 6\r\nbackup\r\nEND\r\n"),
        ("get a b\r\n", "VALUE a 0 1\r\np\r\nVALUE b 0 6\r\nbackup\r\nEND\r\n"),
        ("get c\r\n", "VALUE c 0 1\r\np\r\nEND\r\n"),
        ("get d\r\n", "VALUE d 0 6\r\nbackup\r\nEND\r\n"),
    ] {
        // It hangs after what it said, or it closes the connection.
        let hangs = Fake::start(dying);
        let closes = Fake::start_and_close(dying);
        for server in [hangs, closes] {
            let magent = Magent::start(&["-s", &server.name, "-b", &backup.name, "--timeout=500"]);
            magent.client().check(request, reply);
        }
    }
}

#[test]
fn a_dead_server_is_looked_for_with_growing_pauses() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let probes = Arc::clone(&seen);
    let server = Fake::start_and_refuse(move || probes.lock().unwrap().push(Instant::now()));
    let _magent = Magent::start(&["-s", &server.name]);
    eventually("it was looked for six times", || seen.lock().unwrap().len() >= 6);
    let times = seen.lock().unwrap().clone();
    let (first, last) = (times[1] - times[0], times[5] - times[4]);
    assert!(last > 3 * first, "first after {first:?}, then after {last:?}");
}

/// A machine that stood still, or had too much to do, says nothing about the servers on it.
#[test]
fn a_magent_that_was_stalled_itself_gives_its_servers_time() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--timeout=1000"]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    server.stop();
    client.send("get k\r\n");
    magent.settle();
    // More than once before the server says anything, with less time between than is given each time.
    for _ in 0..2 {
        magent.signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(1800)); // the stall is the point
        magent.signal(libc::SIGCONT);
        thread::sleep(Duration::from_millis(200));
    }
    server.cont();
    client.expect(hit("k", 0, "x"));
    assert_eq!(magent.server_stat(&server, "failures"), "0");
}

/// Lateness is no excuse for ever.
#[test]
fn a_magent_that_is_always_late_finds_a_server_that_hangs() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--timeout=300"]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    server.stop();
    client.send("get k\r\n");
    magent.settle();
    let mut stalls = 0;
    while client.is_quiet() {
        assert!(stalls < 10, "it was never found");
        magent.signal(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(700)); // the stall is the point
        magent.signal(libc::SIGCONT);
        thread::sleep(Duration::from_millis(20));
        stalls += 1;
    }
    client.expect(NO_SERVER);
}

/// A machine that lost its power and came back says nothing of its own accord: the kernel has to ask.
#[test]
fn the_kernel_asks_after_links_that_nobody_uses() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    magent.wait_for(&server, "up");
    let port: u16 = server.name.rsplit(':').next().unwrap().parse().unwrap();
    // proc(5): local address, remote address, state 01 for established, queues, and a timer: 02 is keepalive, in
    // hundredths of a second.
    let timer = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let remote = format!("0100007F:{port:04X}");
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|words| words.get(2) == Some(&&*remote) && words.get(3) == Some(&"01"))?;
        let (kind, left) = row.get(5)?.split_once(':')?;
        (kind == "02").then(|| u64::from_str_radix(left, 16).unwrap())
    };
    eventually("the link has a keepalive timer", || timer().is_some());
    assert!(timer().is_none_or(|hundredths| hundredths <= 200));
}
