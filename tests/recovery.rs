//! Servers that come back: empty or with what they held, with magent or later, alone or one after the other. What they
//! lack is filled in, and until then nobody notices that it is lacking.

mod common;

use common::{Client, MISS, Magent, Memcached, NO_SERVER, Two, eventually, eventually_within, hit};
use magent::words::Size;
use std::time::Duration;

/// A memcached with this cannot list its keys, so its partner is never filled and stays as cold as when it came back.
const UNLISTABLE: [&str; 2] = ["-o", "no_lru_crawler"];

/// Waits until a server lacks nothing any more, and has settled.
fn wait_until_filled(magent: &Magent, server: &Memcached) {
    eventually(&format!("{} is filled\n{}", server.name, magent.log()), || {
        magent.server_stat(server, "state") == "up"
    });
}

/// Kills a server and starts it anew, empty; returns when magent has noticed both.
fn lose_memory(magent: &Magent, server: &mut Memcached) {
    server.kill();
    magent.wait_for(server, "down");
    server.restart();
    magent.wait_for(server, "up, cold");
}

/// Stops a server until magent takes it for dead, and lets it go on when `meanwhile` is done.
fn away(magent: &Magent, server: &Memcached, meanwhile: impl FnOnce()) {
    server.stop();
    magent.client().send("get away\r\ndelete away\r\n");
    magent.wait_for(server, "down");
    meanwhile();
    server.cont();
    magent.wait_for(server, "up");
}

fn number(magent: &Magent, server: &Memcached, name: &str) -> u64 {
    magent.server_stat(server, name).parse().expect("a number")
}

/// Stores key0, key1 and so on, all with this value.
fn fill(client: &mut Client, count: usize, value: &str) {
    const AT_A_TIME: usize = 1000;
    for start in (0..count).step_by(AT_A_TIME) {
        let keys = start..count.min(start + AT_A_TIME);
        for key in keys.clone() {
            client.send(format!("set key{key} 0 0 {}\r\n{value}\r\n", value.len()));
        }
        client.expect("STORED\r\n".repeat(keys.len()));
    }
}

/// The unique in the reply to a gets of one key.
fn unique(reply: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(reply);
    let line = text.lines().next().expect("a line");
    line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect(line)
}

fn gets(client: &mut Client, key: &str) -> u64 {
    unique(&client.ask(format!("gets {key}\r\n")).0)
}

#[test]
fn a_copy_that_answered_differently_is_made_alike_before_the_client_knows() {
    for (write, reply, value) in [
        ("incr k 1\r\n", "8\r\n", "8"),
        ("append k 0 0 1\r\n1\r\n", "STORED\r\n", "71"),
        ("touch k 1000\r\n", "TOUCHED\r\n", "7"),
    ] {
        let two = Two::start(&[]);
        let mut client = two.client();
        for others in ["", "set k 0 0 1\r\n3\r\n"] {
            client.check("set k 5 0 1\r\n7\r\n", "STORED\r\n");
            // As if it had been evicted, or worse.
            two.backup.ask("delete k\r\n");
            if !others.is_empty() {
                two.backup.ask(others);
            }
            client.check(write, reply);
            if write.starts_with("touch") && !others.is_empty() {
                continue; // the answers are the same
            }
            if write.starts_with("append") && !others.is_empty() {
                continue;
            }
            two.both_say("get k\r\n", &hit("k", 5, value));
        }
    }
}

#[test]
fn what_the_primary_refused_is_not_kept_by_the_backup() {
    let primary = Memcached::start_with(&["-I", "512k"]);
    let backup = Memcached::start();
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    client.check("set k 0 0 3\r\nold\r\n", "STORED\r\n");
    let large = "x".repeat(700_000);
    client.check(
        format!("set k 0 0 700000\r\n{large}\r\n"),
        "SERVER_ERROR object too large for cache\r\n",
    );
    for server in [&primary, &backup] {
        assert_eq!(server.ask("get k\r\n"), MISS);
    }
}

/// What a get finds is there for every command, and is on both servers again.
#[test]
fn what_one_server_evicted_is_there_for_commands_that_ask_for_it() {
    for (write, reply, flags, value) in [
        ("incr k 1\r\n", "8\r\n", 5, "8"),
        ("append k 0 0 1\r\n1\r\n", "STORED\r\n", 5, "71"),
        ("touch k 1000\r\n", "TOUCHED\r\n", 5, "7"),
        ("replace k 0 0 1\r\n1\r\n", "STORED\r\n", 0, "1"),
        ("cas k 0 0 1 7\r\n1\r\n", "EXISTS\r\n", 5, "7"),
    ] {
        for evicts in [0, 1] {
            let two = Two::start(&[]);
            let mut client = two.client();
            client.check("set k 5 0 1\r\n7\r\n", "STORED\r\n");
            [&two.primary, &two.backup][evicts].ask("delete k\r\n");
            client.check(write, reply);
            let expected = hit("k", flags, value);
            client.check("get k\r\n", &expected);
            if write.starts_with("cas") {
                continue; // it has changed nothing
            }
            for server in [&two.primary, &two.backup] {
                eventually(&format!("both have it after {write:?}"), || {
                    server.ask("get k\r\n") == expected.as_str()
                });
            }
        }
    }
}

#[test]
fn without_backups_uniques_are_the_servers_own() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(gets(&mut client, "k"), gets(&mut server.client(), "k"));
    let own = gets(&mut server.client(), "k");
    client.check(format!("cas k 0 0 1 {own}\r\ny\r\n"), "STORED\r\n");
}

#[test]
fn a_unique_of_one_server_or_life_is_good_for_no_other() {
    let mut two = Two::start(&["--timeout=500"]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    let of_primary = gets(&mut client, "k");
    assert!(i64::try_from(of_primary).is_ok(), "it is positive everywhere");
    two.primary.kill();
    client.check("get k\r\n", hit("k", 0, "1"));
    client.check(format!("cas k 0 0 1 {of_primary}\r\n2\r\n"), "EXISTS\r\n");
    let of_backup = gets(&mut client, "k");
    client.check(format!("cas k 0 0 1 {of_backup}\r\n2\r\n"), "STORED\r\n");
    client.check(format!("cas k 0 0 1 {of_backup}\r\n3\r\n"), "EXISTS\r\n");
    let of_backup = gets(&mut client, "k");
    two.primary.restart();
    wait_until_filled(&two.magent, &two.primary);
    // The backup is the senior now, and still decides.
    client.check(format!("cas k 0 0 1 {of_primary}\r\n3\r\n"), "EXISTS\r\n");
    client.check(format!("cas k 0 0 1 {of_backup}\r\n3\r\n"), "STORED\r\n");
    two.both_say("get k\r\n", &hit("k", 0, "3"));
    let of_backup = gets(&mut client, "k");
    two.backup.kill();
    client.check("get k\r\n", hit("k", 0, "3"));
    client.check(format!("cas k 0 0 1 {of_backup}\r\n4\r\n"), "EXISTS\r\n");
    let of_new_life = gets(&mut client, "k");
    assert_ne!(of_primary, of_new_life);
    client.check(format!("cas k 0 0 1 {of_primary}\r\n4\r\n"), "EXISTS\r\n");
    client.check(format!("cas k 0 0 1 {of_new_life}\r\n4\r\n"), "STORED\r\n");
    client.check(format!("cas nothing 0 0 1 {of_new_life}\r\n3\r\n"), "NOT_FOUND\r\n");
}

/// Its partner cannot list its keys, so nothing is filled in and every command has to do without.
#[test]
fn while_a_primary_is_cold_every_command_answers_as_if_it_had_never_died() {
    let mut primary = Memcached::start();
    let backup = Memcached::start_with(&UNLISTABLE);
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    let keys = ["n", "a", "p", "t", "d", "r", "c", "g", "m", "x"];
    for key in keys {
        client.check(format!("set {key} 3 0 1\r\n5\r\n"), "STORED\r\n");
    }
    lose_memory(&magent, &mut primary);
    eventually("it is said that the keys cannot be listed", || {
        magent.log().contains("cannot list its keys")
    });
    client.check("incr n 1\r\n", "6\r\n");
    client.check("decr n 2\r\n", "4\r\n");
    client.check("add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n");
    client.check("append p 0 0 1\r\n6\r\n", "STORED\r\n");
    client.check("prepend p 0 0 1\r\n4\r\n", "STORED\r\n");
    client.check("touch t 1000\r\n", "TOUCHED\r\n");
    client.check("delete d\r\n", "DELETED\r\n");
    client.check("delete d\r\n", "NOT_FOUND\r\n");
    client.check("replace r 1 0 1\r\nx\r\n", "STORED\r\n");
    let unique = gets(&mut client, "c");
    client.check(format!("cas c 1 0 1 {unique}\r\nx\r\n"), "STORED\r\n");
    client.check("gat 1000 g\r\n", hit("g", 3, "5"));
    client.check("incr nothing 1\r\n", "NOT_FOUND\r\n");
    client.check(
        "get n a p\r\n",
        "VALUE n 3 1\r\n4\r\nVALUE a 3 1\r\n5\r\nVALUE p 3 3\r\n456\r\nEND\r\n",
    );
    client.check(
        "get m d r c\r\n",
        "VALUE m 3 1\r\n5\r\nVALUE r 1 1\r\nx\r\nVALUE c 1 1\r\nx\r\nEND\r\n",
    );
    assert_eq!(magent.log().matches("cannot list its keys").count(), 1);
    assert_eq!(magent.server_stat(&primary, "state"), "up, cold");
}

#[test]
fn a_server_that_was_restarted_while_nobody_asked_is_not_believed() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\n5\r\n", "STORED\r\n");
    two.primary.restart();
    client.check("incr k 1\r\n", "6\r\n");
    client.check("add k 0 0 1\r\nx\r\n", "NOT_STORED\r\n");
    wait_until_filled(&two.magent, &two.primary);
    two.both_say("get k\r\n", &hit("k", 0, "6"));
}

/// The requests and the end of the link are in one batch of events.
#[test]
fn a_server_that_was_restarted_while_magent_did_not_run_is_not_believed() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    for key in ["n", "t", "a", "g", "d"] {
        client.check(format!("set {key} 3 0 1\r\n5\r\n"), "STORED\r\n");
    }
    two.magent.stop();
    client.send("incr n 1\r\ntouch t 100\r\nadd a 0 0 1\r\nx\r\ngat 100 g\r\ndelete d\r\n");
    two.primary.restart();
    two.magent.signal(libc::SIGCONT);
    client.expect(format!("6\r\nTOUCHED\r\nNOT_STORED\r\n{}DELETED\r\n", hit("g", 3, "5")));
    wait_until_filled(&two.magent, &two.primary);
    two.both_say("get n\r\n", &hit("n", 3, "6"));
    two.both_say("get a\r\n", &hit("a", 3, "5"));
    two.both_say("get d\r\n", MISS);
}

#[test]
fn a_server_that_returns_empty_is_filled_with_nobody_reading() {
    const KEYS: usize = 3000;
    let mut two = Two::start(&[]);
    let mut client = two.client();
    for key in 0..KEYS {
        let exptime = if key % 2 == 0 { 1000 } else { 0 };
        client.send(format!("set key{key} {key} {exptime} 5\r\n{key:05}\r\n"));
    }
    client.expect("STORED\r\n".repeat(KEYS));
    lose_memory(&two.magent, &mut two.primary);
    wait_until_filled(&two.magent, &two.primary);
    assert_eq!(two.primary.stat("curr_items"), KEYS as u64);
    assert_eq!(number(&two.magent, &two.primary, "resync_items"), KEYS as u64);
    assert_eq!(number(&two.magent, &two.primary, "resync_bytes"), 5 * KEYS as u64);
    assert_eq!(number(&two.magent, &two.backup, "resync_items"), 0);
    for key in [0, 1, 998, 999] {
        let reply = two.primary.ask(format!("mg key{key} t f v\r\n"));
        let ttl = String::from_utf8_lossy(&reply.0).into_owned();
        let ttl: i64 = ttl
            .split([' ', '\r'])
            .nth(2)
            .and_then(|word| word[1..].parse().ok())
            .expect("a time");
        assert!(
            if key % 2 == 0 {
                (900..=1000).contains(&ttl)
            } else {
                ttl == -1
            },
            "{reply:?}"
        );
        assert!(reply.contains(&format!(" f{key}\r\n{key:05}\r\n")), "{reply:?}");
    }
    // The log tells it in one line each.
    let log = two.magent.log();
    let (to, from) = (&two.primary.name, &two.backup.name);
    for line in [
        format!("server {to} is being filled with what {from} has\n"),
        format!(
            "server {to} has been filled with what {from} has: {KEYS} items, {}, in ",
            Size(5 * KEYS as u64)
        ),
    ] {
        assert_eq!(log.matches(&line).count(), 1, "{line} in {log}");
    }
    two.backup.kill();
    client.check("get key7\r\n", hit("key7", 7, "00007"));
}

/// Whatever a text command can name has two copies again.
#[test]
fn keys_with_control_bytes_are_filled_in_too() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    let bytes = (1..b' ').filter(|&byte| byte != b'\n').chain([0x7f, 0x80, 0xff, b'%']);
    let keys: Vec<Vec<u8>> = bytes.map(|byte| vec![b'k', byte, b'y']).collect();
    for key in &keys {
        client.check([b"set ", &key[..], b" 0 0 1\r\nx\r\n"].concat(), "STORED\r\n");
    }
    lose_memory(&two.magent, &mut two.primary);
    wait_until_filled(&two.magent, &two.primary);
    assert_eq!(number(&two.magent, &two.primary, "resync_items"), keys.len() as u64);
    two.backup.kill();
    for key in &keys {
        let found = [b"VALUE ", &key[..], b" 0 1\r\nx\r\nEND\r\n"].concat();
        client.check([b"get ", &key[..], b"\r\n"].concat(), &found);
    }
}

/// magent keeps 200,000 keys of a list at a time.
#[test]
fn a_server_is_filled_with_more_items_than_a_list_may_have() {
    const ITEMS: usize = 250_000;
    let mut primary = Memcached::start();
    let backup = Memcached::start();
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    magent.settle();
    fill(&mut backup.client(), ITEMS, "x");
    lose_memory(&magent, &mut primary);
    // Who asks it again and again how far it is takes half of magent's time.
    eventually_within(Duration::from_secs(240), "it is filled", || {
        magent.log().contains("has all that its partners have")
    });
    wait_until_filled(&magent, &primary);
    assert_eq!(primary.stat("curr_items"), ITEMS as u64);
    assert_eq!(number(&magent, &primary, "resync_items"), ITEMS as u64);
    for key in [0, ITEMS / 2, ITEMS - 1] {
        let key = format!("key{key}");
        assert_eq!(primary.ask(format!("get {key}\r\n")), hit(&key, 0, "x"));
    }
}

#[test]
fn keys_deleted_or_changed_while_a_server_is_filled_stay_so() {
    const KEYS: usize = 20_000;
    let mut two = Two::start(&[]);
    let mut client = two.client();
    fill(&mut client, KEYS, "x");
    lose_memory(&two.magent, &mut two.primary);
    for key in 0..KEYS / 20 {
        let (gone, new, more) = (20 * key, 20 * key + 1, 20 * key + 2);
        client.check(format!("delete key{gone}\r\n"), "DELETED\r\n");
        client.check(format!("set key{new} 0 0 3\r\nnew\r\n"), "STORED\r\n");
        client.check(format!("append key{more} 0 0 1\r\ny\r\n"), "STORED\r\n");
    }
    wait_until_filled(&two.magent, &two.primary);
    for server in [&two.primary, &two.backup] {
        let mut direct = server.client();
        for key in 0..KEYS / 20 {
            let (gone, new, more) = (20 * key, 20 * key + 1, 20 * key + 2);
            let (new, more) = (format!("key{new}"), format!("key{more}"));
            direct.check(format!("get key{gone}\r\n"), MISS);
            direct.check(format!("get {new}\r\n"), hit(&new, 0, "new"));
            direct.check(format!("get {more}\r\n"), hit(&more, 0, "xy"));
        }
        assert_eq!(server.stat("curr_items"), (KEYS - KEYS / 20) as u64);
    }
}

#[test]
fn only_the_keys_that_belong_to_a_server_are_filled_in() {
    const KEYS: usize = 2000;
    for distribution in [&[][..], &["-k"]] {
        let mut primaries = [Memcached::start(), Memcached::start(), Memcached::start()];
        let backups = [Memcached::start(), Memcached::start()];
        let magent = Magent::before(&primaries.each_ref(), &backups.each_ref(), distribution);
        let mut client = magent.client();
        for key in 0..KEYS {
            client.send(format!("set key{key} 0 0 1\r\nx\r\n"));
        }
        client.expect("STORED\r\n".repeat(KEYS));
        let before = primaries[1].stat("curr_items");
        // What another put there is not this server's business.
        backups[0].ask("set key0 0 0 1\r\nx\r\nset key1 0 0 1\r\nx\r\nset key2 0 0 1\r\nx\r\n");
        lose_memory(&magent, &mut primaries[1]);
        wait_until_filled(&magent, &primaries[1]);
        assert_eq!(primaries[1].stat("curr_items"), before);
        let mut there = client.ask(
            (0..KEYS)
                .map(|key| format!(" key{key}"))
                .fold("get".to_owned(), |a, b| a + &b)
                + "\r\n",
        );
        there.0.retain(|&byte| byte == b'V');
        assert_eq!(there.0.len(), KEYS, "every key is there");
    }
}

#[test]
fn a_server_that_kept_its_memory_needs_only_what_it_missed() {
    let two = Two::start(&["--timeout=300"]);
    let mut client = two.client();
    for key in 0..500 {
        client.check(format!("set key{key} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
    away(&two.magent, &two.primary, || {
        two.client().check("set key1 0 0 3\r\nnew\r\n", "STORED\r\n");
        two.client().check("delete key2\r\n", "DELETED\r\n");
    });
    client.check("get key1 key2\r\n", hit("key1", 0, "new"));
    wait_until_filled(&two.magent, &two.primary);
    two.both_say("get key1\r\n", &hit("key1", 0, "new"));
    two.both_say("get key2\r\n", MISS);
    two.both_say("get key3\r\n", &hit("key3", 0, "old"));
    assert_eq!(
        number(&two.magent, &two.primary, "resync_items"),
        1,
        "{}",
        two.magent.log()
    );
    assert!(two.magent.log().contains("kept its items"));
}

#[test]
fn filling_goes_on_after_the_source_or_the_target_went_away() {
    const KEYS: usize = 30_000;
    let mut two = Two::start(&["--timeout=300"]);
    let mut client = two.client();
    fill(&mut client, KEYS, &"x".repeat(500));
    // The target dies again while it is filled.
    lose_memory(&two.magent, &mut two.primary);
    lose_memory(&two.magent, &mut two.primary);
    // The source hangs while it is read from.
    two.backup.stop();
    two.magent.wait_for(&two.backup, "down");
    two.backup.cont();
    two.magent.wait_for(&two.backup, "up");
    wait_until_filled(&two.magent, &two.primary);
    assert_eq!(two.primary.stat("curr_items"), KEYS as u64, "{}", two.magent.log());
}

#[test]
fn a_flush_while_a_server_is_filled_empties_both() {
    // Each time by chance: a memcached that lists its keys would pass over some of them.
    const TIMES: usize = 10;
    const KEYS: usize = 20_000;
    let mut two = Two::start(&[]);
    let mut client = two.client();
    for _ in 0..TIMES {
        fill(&mut client, KEYS, "x");
        lose_memory(&two.magent, &mut two.primary);
        client.check("flush_all\r\n", "OK\r\n");
        check_empty(&two, KEYS);
    }
    wait_until_filled(&two.magent, &two.primary);
    check_empty(&two, KEYS);
}

fn check_empty(two: &Two, keys: usize) {
    for server in [&two.primary, &two.backup] {
        let mut direct = server.client();
        for key in 0..keys {
            direct.send(format!("get key{key}\r\n"));
        }
        direct.expect(MISS.repeat(keys));
    }
}

/// A machine that reboots starts its memcached and its magent at the same time.
#[test]
fn at_start_the_younger_server_is_filled_from_the_older() {
    let older = Memcached::start();
    for key in 0..100 {
        older.ask(format!("set key{key} 3 0 1\r\n5\r\n"));
    }
    std::thread::sleep(Duration::from_secs(4)); // ages are told in seconds, give or take one
    let younger = Memcached::start();
    for (primary, backup) in [(&younger, &older), (&older, &younger)] {
        younger.ask("flush_all\r\n");
        younger.ask("flush_all\r\n"); // since 1.6.25 one alone passes over an item now and then
        let magent = Magent::before(&[primary], &[backup], &[]);
        let mut client = magent.client();
        client.check(
            "incr key1 1\r\n",
            if primary.name == younger.name { "6\r\n" } else { "7\r\n" },
        );
        client.check("add key2 0 0 1\r\nx\r\n", "NOT_STORED\r\n");
        wait_until_filled(&magent, &younger);
        assert_eq!(younger.ask("get key3\r\n"), hit("key3", 3, "5"), "{}", magent.log());
        assert_eq!(number(&magent, &older, "resync_items"), 0);
        let said = format!("server {} was started later than {}", younger.name, older.name);
        assert_eq!(magent.log().matches(&said).count(), 1, "{}", magent.log());
    }
}

/// Who puts magent before servers that are in use has had no second copies before: what one of the two has alone is no
/// remainder of anything.
#[test]
fn what_the_younger_server_had_before_magent_came_stays() {
    let older = Memcached::start();
    older.ask("set common 3 0 1\r\n5\r\n");
    older.ask("set of_older 0 0 1\r\n1\r\n");
    std::thread::sleep(Duration::from_secs(4)); // ages are told in seconds, give or take one
    for is_primary in [true, false] {
        let younger = Memcached::start();
        younger.ask("set of_younger 0 0 1\r\n2\r\n");
        let (primary, backup) = if is_primary {
            (&younger, &older)
        } else {
            (&older, &younger)
        };
        let magent = Magent::before(&[primary], &[backup], &[]);
        let done = format!("server {} has all that its partners have", younger.name);
        let filled = format!("server {} has been filled", younger.name);
        eventually("the younger server is filled", || magent.log().contains(&filled));
        if is_primary {
            younger.stop();
            magent.wait_for(&younger, "down");
            younger.cont();
        }
        eventually("it is looked through", || magent.log().contains(&done));
        assert_eq!(younger.ask("get common\r\n"), hit("common", 3, "5"), "{}", magent.log());
        for (key, value) in [("of_older", "1"), ("of_younger", "2")] {
            assert_eq!(
                magent.ask(format!("get {key}\r\n")),
                hit(key, 0, value),
                "{}",
                magent.log()
            );
            assert_eq!(
                younger.ask(format!("get {key}\r\n")),
                hit(key, 0, value),
                "{}",
                magent.log()
            );
        }
    }
}

#[test]
fn a_miss_on_a_cold_server_is_an_error_while_its_partner_may_have_the_item() {
    let mut primary = Memcached::start();
    let backup = Memcached::start_with(&UNLISTABLE);
    let magent = Magent::before(&[&primary], &[&backup], &["--timeout=300"]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\n5\r\n", "STORED\r\n");
    lose_memory(&magent, &mut primary);
    client.check("set other 0 0 1\r\nx\r\n", "STORED\r\n");
    backup.stop();
    for request in [
        "get k\r\n",
        "get other k\r\n",
        "incr k 1\r\n",
        "replace k 0 0 1\r\nx\r\n",
    ] {
        let reply = client.ask(request);
        assert!(reply.0.ends_with(NO_SERVER.as_bytes()), "{request:?}: {reply:?}");
    }
    client.check("get other\r\n", hit("other", 0, "x"));
    backup.cont();
    magent.wait_for(&backup, "up");
    client.check("get k\r\n", hit("k", 0, "5"));
    client.check("incr k 1\r\n", "6\r\n");
}

#[test]
fn a_miss_is_a_miss_where_the_partner_has_ended() {
    let mut primary = Memcached::start();
    let mut backup = Memcached::start_with(&UNLISTABLE);
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\n5\r\n", "STORED\r\n");
    lose_memory(&magent, &mut primary);
    backup.kill();
    magent.wait_for(&backup, "down");
    eventually("it is known that nobody listens any more", || {
        client.ask("get k\r\n") == MISS
    });
    client.check("incr k 1\r\n", "NOT_FOUND\r\n");
    client.check("add k 0 0 1\r\n7\r\n", "STORED\r\n");
    client.check("get k\r\n", hit("k", 0, "7"));
    // The one that lost its memory last is filled by the other.
    backup.restart();
    wait_until_filled(&magent, &backup);
    assert_eq!(backup.ask("get k\r\n"), hit("k", 0, "7"));
}

#[test]
fn what_a_server_that_hung_had_been_sent_is_kept_when_its_partner_dies() {
    for primary_hangs in [true, false] {
        let Two {
            magent,
            mut primary,
            mut backup,
        } = Two::start(&["--timeout=300"]);
        let (hung, dying) = match primary_hangs {
            true => (&primary, &mut backup),
            false => (&backup, &mut primary),
        };
        let mut client = magent.client();
        client.check(
            "set n 0 0 1\r\n5\r\nset text 0 0 1\r\na\r\nset gone 0 0 1\r\n1\r\nset late 0 0 1\r\n1\r\n",
            "STORED\r\n".repeat(4),
        );
        hung.stop();
        client.check(
            "set new 7 1000 1\r\nx\r\nincr n 2\r\nappend text 0 0 1\r\nb\r\nadd added 0 0 1\r\ny\r\ndelete gone\r\n",
            "STORED\r\n7\r\nSTORED\r\nSTORED\r\nDELETED\r\n",
        );
        // This one it is not sent: there is one copy, and what it holds is old.
        magent.wait_for(hung, "down");
        client.check("set late 0 0 1\r\n2\r\n", "STORED\r\n");
        lose_memory(&magent, dying);
        hung.cont();
        magent.wait_for(hung, "up");
        for (key, flags, value) in [("new", 7, "x"), ("n", 0, "7"), ("text", 0, "ab"), ("added", 0, "y")] {
            client.check(format!("get {key}\r\n"), hit(key, flags, value));
        }
        client.check("get gone late\r\n", "END\r\n");
        wait_until_filled(&magent, dying);
        for (key, flags, value) in [("new", 7, "x"), ("n", 0, "7"), ("text", 0, "ab"), ("added", 0, "y")] {
            assert_eq!(dying.ask(format!("get {key}\r\n")), hit(key, flags, value));
        }
    }
}

#[test]
fn the_log_says_when_the_partner_of_a_returned_server_may_fail() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    client.check("set key 3 0 5\r\nvalue\r\n", "STORED\r\n");
    let whole = format!(
        "server {} has all that its partners have, which may fail now\n",
        two.primary.name
    );
    assert!(!two.magent.log().contains(&whole));
    two.primary.restart();
    eventually("the log says so", || two.magent.log().contains(&whole));
    assert_eq!(two.magent.server_stat(&two.primary, "state"), "up");
    two.backup.kill();
    client.check("get key\r\n", hit("key", 3, "value"));
}
