//! Every item is on two servers, and a client that reads through magent cannot tell when one of them is gone.

mod common;

use common::{Bytes, Client, Fake, MISS, Magent, Memcached, PATIENT, Two, eventually, hit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What a server says of an item: seconds left, -1 for ever; flags; value.
fn item(server: &Memcached, key: &str) -> Option<(i64, u32, String)> {
    let reply = server.ask(format!("mg {key} t f v\r\n"));
    let text = String::from_utf8(reply.0).unwrap();
    let mut words = text.split_whitespace();
    if words.next() != Some("VA") {
        return None;
    }
    let ttl = words.nth(1).unwrap()[1..].parse().unwrap();
    let flags = words.next().unwrap()[1..].parse().unwrap();
    Some((ttl, flags, words.next().unwrap_or_default().to_owned()))
}

/// Asserts that an item has about this many seconds left on a server. A memcached counts its own seconds from its own
/// start, so a date given to one and told by another may be off by a few.
#[track_caller]
fn assert_ttl(server: &Memcached, key: &str, seconds: i64) {
    let (ttl, _, _) = item(server, key).expect("the item is there");
    assert!(
        (seconds - 15..=seconds + 4).contains(&ttl),
        "{ttl} s are left, not {seconds}"
    );
}

/// The unique that a gets through this client shows.
fn unique(client: &mut Client, key: &str) -> String {
    let reply = client.ask(format!("gets {key}\r\n"));
    let text = String::from_utf8_lossy(&reply.0).into_owned();
    let line = text.lines().next().unwrap_or_default();
    line.split(' ').nth(4).unwrap_or("0").to_owned()
}

/// Each storing command: what is sent, the answer, what a get finds afterwards.
fn writes() -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("set k 5 0 3\r\nabc", "STORED", hit("k", 5, "abc")),
        ("append k 9 0 1\r\nd", "STORED", hit("k", 5, "abcd")),
        ("prepend k 9 0 1\r\nx", "STORED", hit("k", 5, "xabcd")),
        ("add k 6 0 3\r\nnew", "NOT_STORED", hit("k", 5, "xabcd")),
        ("cas k 6 0 3 987654321\r\nnew", "EXISTS", hit("k", 5, "xabcd")),
        ("replace k 7 0 2\r\n10", "STORED", hit("k", 7, "10")),
        ("incr k 95", "105", hit("k", 7, "105")),
        ("decr k 4", "101", hit("k", 7, "101")),
        ("touch k 1000", "TOUCHED", hit("k", 7, "101")),
        ("delete k", "DELETED", MISS.to_owned()),
        ("delete k", "NOT_FOUND", MISS.to_owned()),
        ("replace k 6 0 3\r\nnew", "NOT_STORED", MISS.to_owned()),
        ("append k 6 0 3\r\nnew", "NOT_STORED", MISS.to_owned()),
        ("incr k 1", "NOT_FOUND", MISS.to_owned()),
        ("add k 4294967295 0 3\r\nadd", "STORED", hit("k", u32::MAX, "add")),
        ("set k 1 -1 3\r\nold", "STORED", MISS.to_owned()),
        ("set k 1 0 0\r\n", "STORED", hit("k", 1, "")),
    ]
}

#[test]
fn every_write_is_on_both_servers() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for (request, reply, found) in writes() {
        client.check(format!("{request}\r\n"), format!("{reply}\r\n"));
        two.both_say("get k\r\n", &found);
    }
    let unique = unique(&mut client, "k");
    client.check(format!("cas k 8 0 3 {unique}\r\ncas\r\n"), "STORED\r\n");
    two.both_say("get k\r\n", &hit("k", 8, "cas"));
    client.check(format!("cas k 8 0 5 {unique}\r\nagain\r\n"), "EXISTS\r\n");
    two.both_say("get k\r\n", &hit("k", 8, "cas"));
    client.check("flush_all\r\n", "OK\r\n");
    two.both_say("get k\r\n", MISS);
}

/// Since 1.6.25 one of a thousand flushes leaves an item or two, but no two in a row.
#[test]
fn a_memcached_whose_flush_passes_over_items_is_told_two() {
    for (stats, flushes) in [
        (&b"STAT pid 1\r\nSTAT version 1.6.18\r\nEND\r\n"[..], 1),
        (b"STAT pid 1\r\nSTAT version 1.6.45\r\nEND\r\n", 2),
    ] {
        let told = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&told);
        let server = Fake::start_saying(stats, move |line| {
            seen.fetch_add(usize::from(line == "flush_all"), Ordering::SeqCst);
            Some(
                if line.starts_with("flush_all") {
                    "OK\r\n"
                } else {
                    "ERROR\r\n"
                }
                .into(),
            )
        });
        let magent = Magent::start(&["-s", &server.name]);
        let more_by = |request: &str| {
            let before = told.load(Ordering::SeqCst);
            magent.client().check(request, "OK\r\n");
            told.load(Ordering::SeqCst) - before
        };
        eventually("its version is known", || more_by("flush_all\r\n") == flushes);
        assert_eq!(more_by("flush_all\r\n"), flushes);
        assert_eq!(more_by("flush_all 10\r\n"), 0);
    }
}

#[test]
fn every_silent_write_is_on_both_servers() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for (request, _, found) in writes() {
        let (line, block) = request
            .split_once("\r\n")
            .map_or((request, ""), |(line, block)| (line, block));
        let data = if request.contains("\r\n") {
            format!("{block}\r\n")
        } else {
            String::new()
        };
        client.send(format!("{line} noreply\r\n{data}"));
        client.check("get other\r\n", MISS);
        two.both_say("get k\r\n", &found);
    }
}

#[test]
fn large_values_are_on_both_servers() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for size in [1023, 1024, 1025, 4096, 65_536, 1_000_000] {
        let value = "v".repeat(size);
        for verb in ["set", "replace"] {
            client.check(format!("{verb} k 3 0 {size}\r\n{value}\r\n"), "STORED\r\n");
            two.both_say("get k\r\n", &hit("k", 3, &value));
        }
        client.check("delete k\r\n", "DELETED\r\n");
        client.check(format!("add k 4 0 {size}\r\n{value}\r\n"), "STORED\r\n");
        two.both_say("get k\r\n", &hit("k", 4, &value));
        // Too large: as in memcached, what was there goes, on both.
        client.check(
            format!("set k 0 0 2000000\r\n{}\r\n", "x".repeat(2_000_000)),
            "SERVER_ERROR object too large for cache\r\n",
        );
        two.both_say("get k\r\n", MISS);
    }
}

#[test]
fn what_add_replace_and_cas_stored_reaches_the_backup_whatever_it_had() {
    for had in [None, Some("set k 1 0 5\r\nstale\r\n")] {
        let two = Two::start(&[]);
        let mut client = two.client();
        let prepare_backup = || match had {
            Some(set) => assert_eq!(two.backup.ask(set), "STORED\r\n"),
            None => drop(two.backup.ask("delete k\r\n")),
        };
        prepare_backup();
        client.check("add k 11 1000 3\r\nadd\r\n", "STORED\r\n");
        two.both_say("get k\r\n", &hit("k", 11, "add"));
        assert_ttl(&two.primary, "k", 1000);
        assert_ttl(&two.backup, "k", 1000);
        prepare_backup();
        client.check("replace k 12 2000 7\r\nreplace\r\n", "STORED\r\n");
        two.both_say("get k\r\n", &hit("k", 12, "replace"));
        assert_ttl(&two.backup, "k", 2000);
        let unique = unique(&mut client, "k");
        prepare_backup();
        client.check(format!("cas k 13 3000 3 {unique}\r\ncas\r\n"), "STORED\r\n");
        two.both_say("get k\r\n", &hit("k", 13, "cas"));
        assert_ttl(&two.backup, "k", 3000);
    }
}

#[test]
fn what_add_replace_and_cas_did_not_store_leaves_the_backup_alone() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("set k 5 0 3\r\nabc\r\n", "STORED\r\n");
    client.check("add k 6 0 3\r\nnew\r\n", "NOT_STORED\r\n");
    client.check("cas k 6 0 3 987654321\r\nnew\r\n", "EXISTS\r\n");
    client.check("cas nope 6 0 3 987654321\r\nnew\r\n", "NOT_FOUND\r\n");
    client.check("replace nope 6 0 3\r\nnew\r\n", "NOT_STORED\r\n");
    two.both_say("get k nope\r\n", &hit("k", 5, "abc"));
}

#[test]
fn touch_and_gat_set_the_time_on_both_servers() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("set a 1 0 1\r\nA\r\n", "STORED\r\n");
    client.check("set b 2 0 1\r\nB\r\n", "STORED\r\n");
    let both_have = |key: &str, seconds: i64| {
        assert_ttl(&two.primary, key, seconds);
        assert_ttl(&two.backup, key, seconds);
    };
    client.check("touch a 1000\r\n", "TOUCHED\r\n");
    both_have("a", 1000);
    client.check("gat 2000 a\r\n", hit("a", 1, "A"));
    both_have("a", 2000);
    assert!(client.ask("gats 3000 a\r\n").starts_with("VALUE a 1 1 "));
    both_have("a", 3000);
    client.check(
        "gat 4000 a b nope\r\n",
        "VALUE a 1 1\r\nA\r\nVALUE b 2 1\r\nB\r\nEND\r\n",
    );
    both_have("a", 4000);
    both_have("b", 4000);
    client.check("gat 0 a\r\n", hit("a", 1, "A"));
    client.send("touch b 0 noreply\r\n");
    client.check("get nope\r\n", MISS);
    for server in [&two.primary, &two.backup] {
        assert_eq!(item(server, "a"), Some((-1, 1, "A".to_owned())));
        assert_eq!(item(server, "b"), Some((-1, 2, "B".to_owned())));
    }
}

/// Reads in every way what `fill` has written, through a magent whose primary is not what it was.
fn everything_is_there(client: &mut Client, with_gat: bool) {
    client.check("get a\r\n", hit("a", 1, "A"));
    assert!(client.ask("gets b\r\n").starts_with("VALUE b 2 1 "));
    let reply = client.ask("get a b c nope d\r\n");
    for part in ["VALUE a 1 1\r\nA\r\n", "VALUE b 2 1\r\nB\r\n", "VALUE c 3 1\r\nC\r\n"] {
        assert!(reply.contains(part), "{reply:?} has {part:?}");
    }
    assert_eq!(
        reply.0.len(),
        "VALUE a 1 1\r\nA\r\n".len() * 3 + "VALUE d 4 3000\r\n\r\nEND\r\n".len() + 3000
    );
    if with_gat {
        client.check("gat 0 c\r\n", hit("c", 3, "C"));
    }
    client.check("get d\r\n", hit("d", 4, &"D".repeat(3000)));
    client.check("get nope\r\n", MISS);
}

fn fill(client: &mut Client) {
    for (key, flags, value) in [("a", 1, "A"), ("b", 2, "B"), ("c", 3, "C"), ("d", 4, &"D".repeat(3000))] {
        client.check(
            format!("set {key} {flags} 0 {}\r\n{value}\r\n", value.len()),
            "STORED\r\n",
        );
    }
}

#[test]
fn reads_are_answered_by_the_backup_when_the_primary_is_dead() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    fill(&mut client);
    two.primary.kill();
    everything_is_there(&mut client, true);
    everything_is_there(&mut two.client(), true);
}

#[test]
fn reads_are_answered_by_the_backup_when_the_primary_hangs() {
    let two = Two::start(&["--timeout=500"]);
    let mut client = two.client();
    fill(&mut client);
    two.primary.stop();
    everything_is_there(&mut client, true);
    everything_is_there(&mut two.client(), true);
}

#[test]
fn reads_are_answered_by_the_backup_when_the_primary_has_lost_the_items() {
    let two = Two::start(&[]);
    let mut client = two.client();
    fill(&mut client);
    let mut direct = two.primary.client();
    direct.check("flush_all\r\nflush_all\r\n", "OK\r\nOK\r\n"); // since 1.6.25 one alone passes over an item now and then
    everything_is_there(&mut client, false);
    // A gat changes the item, and what the server that decides does not have is a miss; but it is copied back.
    client.check("gat 0 c\r\n", MISS);
    eventually("the primary has it again", || {
        two.primary.ask("get c\r\n") == hit("c", 3, "C")
    });
}

#[test]
fn a_read_that_only_the_primary_can_answer_does_not_wait_for_a_hung_backup() {
    let two = Two::start(&[PATIENT]);
    let mut client = two.client();
    fill(&mut client);
    two.backup.stop();
    client.check("get a\r\n", hit("a", 1, "A"));
    client.check("get a b\r\n", "VALUE a 1 1\r\nA\r\nVALUE b 2 1\r\nB\r\nEND\r\n");
}

#[test]
fn what_the_backup_had_to_answer_is_put_back_on_the_primary() {
    let two = Two::start(&[]);
    let mut client = two.client();
    let large = "v".repeat(100_000);
    let month = 60 * 60 * 24 * 30;
    for (key, flags, seconds, value) in [
        ("forever", 7, 0, "abc"),
        ("minutes", 4_294_967_295, 1000, "1"),
        ("months", 8, 2 * month, "x"),
        ("large", 9, 5000, &large),
        ("empty", 10, 0, ""),
    ] {
        // A time above 30 days is given as a date.
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        let exptime = if seconds > month { now + seconds } else { seconds };
        client.check(
            format!("set {key} {flags} {exptime} {}\r\n{value}\r\n", value.len()),
            "STORED\r\n",
        );
        assert_eq!(two.primary.ask(format!("delete {key}\r\n")), "DELETED\r\n");
        client.check(format!("get {key}\r\n"), hit(key, flags, value));
        eventually("the item is back", || {
            two.primary.ask(format!("get {key}\r\n")) == hit(key, flags, value)
        });
        match seconds {
            0 => assert_eq!(item(&two.primary, key).unwrap().0, -1),
            _ => assert_ttl(&two.primary, key, seconds),
        }
    }
    assert_eq!(two.magent.server_stat(&two.primary, "repairs"), "5");
}

#[test]
fn a_wide_get_puts_every_key_back_on_the_primary() {
    let two = Two::start(&[]);
    let mut client = two.client();
    let keys: Vec<String> = (0..20).map(|i| format!("k{i}")).collect();
    for key in &keys {
        client.check(format!("set {key} 3 0 2\r\nxy\r\n"), "STORED\r\n");
    }
    for key in keys.iter().step_by(2) {
        assert_eq!(two.primary.ask(format!("delete {key}\r\n")), "DELETED\r\n");
    }
    let all = format!("get {}\r\n", keys.join(" "));
    let found = client.ask(&all);
    assert_eq!(found.0.len(), two.backup.ask(&all).0.len());
    eventually("all keys are back", || two.primary.ask(&all) == two.backup.ask(&all).0);
}

/// The backup is asked for the item a second time to repair it; meanwhile the item is flushed.
#[test]
fn a_flush_is_never_undone_by_a_repair() {
    let primary = Memcached::start();
    let backup = Fake::start(|line| {
        Some(match line.split(' ').next()? {
            "version" => Memcached::version().reply().into_bytes(),
            "get" => b"VALUE k 0 3\r\nold\r\nEND\r\n".to_vec(),
            "mg" => Vec::new(), // busy; it answers when the next command comes
            _ => b"VA 3 t-1 f0\r\nold\r\nOK\r\n".to_vec(),
        })
    });
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name]);
    let mut client = magent.client();
    client.check("get k\r\n", hit("k", 0, "old"));
    client.check("flush_all\r\n", "OK\r\n");
    client.check("version\r\n", Memcached::version().reply()); // behind whatever went to the primary
    assert_eq!(primary.ask("get k\r\n"), MISS);
}

#[test]
fn by_default_a_write_is_acknowledged_when_both_have_it() {
    for write in ["set k 1 0 3\r\nnew\r\n", "add k 1 0 3\r\nnew\r\n"] {
        let two = Two::start(&[PATIENT]);
        let mut client = two.client();
        two.backup.stop();
        client.send(write);
        eventually("the primary has it", || {
            two.primary.ask("get k\r\n") == hit("k", 1, "new")
        });
        two.magent.settle();
        assert!(client.is_quiet(), "no acknowledgement before the backup's");
        two.backup.cont();
        client.expect("STORED\r\n");
        assert_eq!(two.backup.ask("get k\r\n"), hit("k", 1, "new"));
    }
}

#[test]
fn with_ack_primary_a_write_is_acknowledged_when_the_primary_has_it() {
    let two = Two::start(&["--ack=primary", PATIENT]);
    let mut client = two.client();
    client.check("set n 0 0 1\r\n1\r\n", "STORED\r\n");
    eventually("the backup has it, too", || {
        two.backup.ask("get n\r\n") == hit("n", 0, "1")
    });
    two.backup.stop();
    client.check("set k 1 0 3\r\nnew\r\n", "STORED\r\n");
    client.check("add k2 1 0 3\r\nadd\r\n", "STORED\r\n");
    client.check("incr n 1\r\n", "2\r\n");
    client.check("touch n 0\r\n", "TOUCHED\r\n");
    client.check("gat 0 n\r\n", hit("n", 0, "2"));
    client.check("delete n\r\n", "DELETED\r\n");
    // What is too large is refused, and takes away what was there.
    let too_large = format!("set n 0 0 2000000\r\n{}\r\n", "x".repeat(2_000_000));
    client.check(too_large, "SERVER_ERROR object too large for cache\r\n");
    client.check("get k k2\r\n", "VALUE k 1 3\r\nnew\r\nVALUE k2 1 3\r\nadd\r\nEND\r\n");
    two.backup.cont();
    eventually("the backup has it, too", || {
        two.backup.ask("get k k2 n\r\n") == "VALUE k 1 3\r\nnew\r\nVALUE k2 1 3\r\nadd\r\nEND\r\n"
    });
}

#[test]
fn with_miss_cold_a_miss_on_a_warm_primary_is_a_miss() {
    let mut two = Two::start(&["--miss=cold"]);
    let mut client = two.client();
    client.check("set k 1 0 1\r\nx\r\n", "STORED\r\n");
    client.check("set l 1 0 1\r\ny\r\n", "STORED\r\n");
    assert_eq!(two.primary.ask("delete k\r\n"), "DELETED\r\n");
    let asked = two.backup.stat("cmd_get");
    client.check("get k\r\n", MISS);
    client.check("get k l\r\n", hit("l", 1, "y"));
    assert_eq!(two.backup.stat("cmd_get"), asked, "the backup was not asked");

    // One that came back empty is cold: the backup is asked.
    two.primary.restart();
    two.magent.wait_for(&two.primary, "up, cold");
    client.check("get k\r\n", hit("k", 1, "x"));
    client.check("get k l\r\n", "VALUE k 1 1\r\nx\r\nVALUE l 1 1\r\ny\r\nEND\r\n");
}

#[test]
fn farms_may_overlap_and_two_copies_are_never_on_one_server() {
    for ketama in [&[][..], &["-k"]] {
        let servers: Vec<_> = (0..3).map(|_| Memcached::start()).collect();
        for count in [2, 3] {
            let farm: Vec<&Memcached> = servers[..count].iter().collect();
            let magent = Magent::before(&farm, &farm, ketama);
            let mut client = magent.client();
            client.check("flush_all\r\n", "OK\r\n");
            let mut direct: Vec<Client> = farm.iter().map(|server| server.client()).collect();
            for i in 0..100 {
                client.check(format!("set k{i} 0 0 1\r\nx\r\n"), "STORED\r\n");
                client.check(format!("add a{i} 0 0 1\r\nx\r\n"), "STORED\r\n");
                for key in [format!("k{i}"), format!("a{i}")] {
                    let found = direct
                        .iter_mut()
                        .map(|server| server.ask(format!("get {key}\r\n")) != MISS);
                    assert_eq!(
                        found.filter(|found| *found).count(),
                        2,
                        "copies of {key} on {count} servers"
                    );
                }
            }
        }
    }
}

#[test]
fn with_overlapping_farms_every_key_survives_any_one_server() {
    let mut servers: Vec<_> = (0..3).map(|_| Memcached::start()).collect();
    let magent = {
        let farm: Vec<&Memcached> = servers.iter().collect();
        Magent::before(&farm, &farm, &["-k"])
    };
    let mut client = magent.client();
    for i in 0..60 {
        client.check(format!("set k{i} {i} 0 2\r\nxy\r\n"), "STORED\r\n");
    }
    servers[1].kill();
    for i in 0..60 {
        client.check(format!("get k{i}\r\n"), hit(&format!("k{i}"), i, "xy"));
    }
}

#[test]
fn two_farms_of_different_size_hold_each_key_once_each() {
    let servers: Vec<_> = (0..5).map(|_| Memcached::start()).collect();
    let [a, b, c, d, e] = &servers[..] else { unreachable!() };
    let magent = Magent::before(&[a, b, c], &[d, e], &["-k"]);
    let mut client = magent.client();
    for i in 0..100 {
        client.check(format!("set k{i} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let count = |farm: &[&Memcached]| farm.iter().map(|server| server.stat("curr_items")).sum::<u64>();
    assert_eq!((count(&[a, b, c]), count(&[d, e])), (100, 100));
    assert!(servers.iter().all(|server| server.stat("curr_items") > 0));
}

#[test]
fn a_server_alone_in_both_farms_is_used_like_a_farm_without_backups() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[&server], &[]);
    let mut client = magent.client();
    client.check("set k 1 0 1\r\n1\r\n", "STORED\r\n");
    client.check("add k 1 0 1\r\n1\r\n", "NOT_STORED\r\n");
    client.check("add l 1 0 1\r\n1\r\n", "STORED\r\n");
    client.check("incr k 1\r\n", "2\r\n");
    client.check("get k l nope\r\n", "VALUE k 1 1\r\n2\r\nVALUE l 1 1\r\n1\r\nEND\r\n");
    assert_eq!(server.stat("cmd_set"), 3, "no command is sent twice");
}

/// The layout of two machines: each runs a memcached and a magent, and is the other's backup.
#[test]
fn two_crossed_magents_see_one_cache() {
    let (mut a, b) = (Memcached::start(), Memcached::start());
    let one = Magent::before(&[&a], &[&b], &[]);
    let other = Magent::before(&[&b], &[&a], &[]);
    let (mut one, mut other) = (one.client(), other.client());
    one.check("set k 1 0 1\r\n5\r\n", "STORED\r\n");
    other.check("get k\r\n", hit("k", 1, "5"));
    other.check("incr k 2\r\n", "7\r\n");
    one.check("get k\r\n", hit("k", 1, "7"));
    one.check("add l 2 0 1\r\nx\r\n", "STORED\r\n");
    other.check("add l 2 0 1\r\ny\r\n", "NOT_STORED\r\n");
    other.check("append l 2 0 1\r\ny\r\n", "STORED\r\n");
    one.check("get k l\r\n", "VALUE k 1 1\r\n7\r\nVALUE l 2 2\r\nxy\r\nEND\r\n");
    other.check("delete k\r\n", "DELETED\r\n");
    one.check("get k\r\n", MISS);

    a.kill();
    one.check("get l\r\n", hit("l", 2, "xy"));
    other.check("get l\r\n", hit("l", 2, "xy"));
    one.check("set m 3 0 1\r\nz\r\n", "STORED\r\n");
    other.check("get m\r\n", hit("m", 3, "z"));
}

#[test]
fn with_the_primary_dead_the_backup_answers_every_command() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    client.check("set k 5 0 1\r\n1\r\n", "STORED\r\n");
    two.primary.kill();
    for (request, reply) in [
        ("get k\r\n", "VALUE k 5 1\r\n1\r\nEND\r\n"),
        ("incr k 9\r\n", "10\r\n"),
        ("add k 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("add l 6 0 1\r\nx\r\n", "STORED\r\n"),
        ("replace l 7 0 1\r\ny\r\n", "STORED\r\n"),
        ("replace m 7 0 1\r\ny\r\n", "NOT_STORED\r\n"),
        ("append l 7 0 1\r\nz\r\n", "STORED\r\n"),
        ("prepend l 7 0 1\r\nx\r\n", "STORED\r\n"),
        ("cas l 7 0 1 987654321\r\nz\r\n", "EXISTS\r\n"),
        ("gat 0 l\r\n", "VALUE l 7 3\r\nxyz\r\nEND\r\n"),
        ("touch l 0\r\n", "TOUCHED\r\n"),
        ("decr k 1\r\n", "9\r\n"),
        ("get k l\r\n", "VALUE k 5 2\r\n9 \r\nVALUE l 7 3\r\nxyz\r\nEND\r\n"),
        ("delete k\r\n", "DELETED\r\n"),
        ("get k\r\n", MISS),
        ("version\r\n", &Memcached::version().reply()),
        ("flush_all\r\n", "OK\r\n"),
        ("get l\r\n", MISS),
    ] {
        client.check(request, reply);
    }
    client.check("set k 0 0 1\r\n1\r\n", "STORED\r\n");
    let unique = unique(&mut client, "k");
    client.check(format!("cas k 0 0 1 {unique}\r\n2\r\n"), "STORED\r\n");
    assert_eq!(two.backup.ask("get k\r\n"), hit("k", 0, "2"));
}

/// Does many writes of every kind on few keys, with values of its own.
fn write_a_lot(client: &mut Client, me: u32) {
    let mut dice = me.wrapping_mul(2_654_435_761);
    let mut roll = |sides: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 16) % sides
    };
    for i in 0..250 {
        let key = format!("k{}", roll(3));
        let value = format!("{me}:{i}");
        let item = |verb: &str, more: &str| format!("{verb} {key} {i} 0 {}{more}\r\n{value}\r\n", value.len());
        let request = match roll(12) {
            0..3 => item("set", ""),
            3..6 => item("add", ""),
            6..8 => item("replace", ""),
            8 => item("cas", &format!(" {}", unique(client, &key))),
            9 => item("append", ""),
            _ => format!("delete {key}\r\n"),
        };
        client.ask(request);
    }
}

#[test]
fn writes_of_many_clients_to_few_keys_leave_both_copies_alike() {
    for ack in ["--ack=all", "--ack=primary"] {
        let two = Two::start(&[ack]);
        let writers: Vec<_> = (0..8)
            .map(|me| {
                let mut client = two.client();
                thread::spawn(move || write_a_lot(&mut client, me))
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let mut found: Vec<Bytes> = Vec::new();
        eventually("no request is in flight", || two.magent.stat("requests_in_flight") == 0);
        for server in [&two.primary, &two.backup] {
            found.push(server.ask("get k0 k1 k2\r\n"));
        }
        assert_eq!(found[0], found[1].0, "primary and backup with {ack}");
    }
}

#[test]
fn pipelined_writes_of_many_clients_to_few_keys_leave_both_copies_alike() {
    let two = Two::start(&[]);
    let writers: Vec<_> = (0..6)
        .map(|me| {
            let client = two.client();
            thread::spawn(move || {
                let mut script = String::new();
                for i in 0..200 {
                    let value = format!("{me}:{i}");
                    let len = value.len();
                    let key = (me + i) % 3;
                    script += &format!("set k{key} {i} 0 {len}\r\n{value}\r\n");
                    script += &format!("delete k{}\r\nadd k{} 0 0 {len}\r\n{value}\r\n", i % 3, i % 2);
                    script += &format!(
                        "append k{} 0 0 1\r\n+\r\nreplace k{} {i} 0 {len}\r\n{value}\r\n",
                        i % 3,
                        i % 3
                    );
                    script += &format!("get k{key}\r\nset k{key} {i} 0 {len} noreply\r\n{value}\r\n");
                }
                client.all_replies(script.as_bytes())
            })
        })
        .collect();
    for writer in writers {
        assert!(!writer.join().unwrap().contains("ERROR"));
    }
    let everything = "get k0 k1 k2\r\n";
    eventually("no request is in flight", || two.magent.stat("requests_in_flight") == 0);
    assert_eq!(two.primary.ask(everything), two.backup.ask(everything).0);
}
