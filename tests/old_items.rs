//! Servers that come back with items from before, and a magent that was not there all the time: nobody reads what is old,
//! nothing that was deleted comes back, and nothing is thrown away without need.

mod common;

use common::{Client, MISS, Magent, Memcached, Scratch, eventually, hit, scratch};

/// A memcached that keeps its items from one life to the next, and one that does not, before which k, d and same are set.
struct Servers {
    keeps: Memcached,
    other: Memcached,
    _folder: Scratch,
}

impl Servers {
    fn start() -> Self {
        let folder = scratch();
        let file = folder.path("memory");
        Self {
            keeps: Memcached::start_with(&["-e", &file]),
            other: Memcached::start(),
            _folder: folder,
        }
    }

    fn magent(&self, keeps_is_primary: bool) -> Magent {
        self.magent_with(keeps_is_primary, &[])
    }

    fn magent_with(&self, keeps_is_primary: bool, options: &[&str]) -> Magent {
        let (keeps, other) = (&self.keeps, &self.other);
        let (primary, backup) = if keeps_is_primary {
            (keeps, other)
        } else {
            (other, keeps)
        };
        Magent::before(&[primary], &[backup], options)
    }
}

fn store(client: &mut Client) {
    for key in ["k", "d", "same"] {
        client.check(format!("set {key} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
}

/// So many that each server has some.
fn store_many(client: &mut Client) -> Vec<String> {
    let keys: Vec<String> = (0..40).map(|key| format!("key{key}")).collect();
    for key in &keys {
        client.check(format!("set {key} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
    keys
}

/// What happens while the one that keeps its items is away.
fn change(client: &mut Client) {
    client.check("set k 0 0 3\r\nnew\r\n", "STORED\r\n");
    client.check("delete d\r\n", "DELETED\r\n");
}

/// What every client has to see from then on.
#[track_caller]
fn check(client: &mut Client) {
    client.check("get k\r\n", hit("k", 0, "new"));
    client.check("get d\r\n", MISS);
    client.check("get same\r\n", hit("same", 0, "old"));
}

/// Reads until both servers have what they should, and never sees anything else.
#[track_caller]
fn check_until_both_are_right(magent: &Magent, servers: &Servers) {
    let mut client = magent.client();
    let wanted = "VALUE k 0 3\r\nnew\r\nVALUE same 0 3\r\nold\r\nEND\r\n";
    eventually("both copies are right", || {
        check(&mut client);
        let copies = [&servers.keeps, &servers.other].map(|server| server.ask("get k d same\r\n"));
        magent.server_stat(&servers.keeps, "state") == "up" && copies.iter().all(|copy| copy == wanted)
    });
    check(&mut client);
}

#[test]
fn a_server_that_keeps_its_items_is_rid_of_what_it_missed() {
    for keeps_is_primary in [true, false] {
        let mut servers = Servers::start();
        let magent = servers.magent(keeps_is_primary);
        let mut client = magent.client();
        store(&mut client);
        servers.keeps.end_and_keep();
        change(&mut client);
        servers.keeps.restart();
        check_until_both_are_right(&magent, &servers);
    }
}

#[test]
fn a_server_that_was_away_when_magent_started_is_not_believed_about_old_items() {
    for keeps_is_primary in [true, false] {
        let mut servers = Servers::start();
        let magent = servers.magent(keeps_is_primary);
        let mut client = magent.client();
        store(&mut client);
        servers.keeps.end_and_keep();
        change(&mut client);
        drop(magent);
        let magent = servers.magent(keeps_is_primary);
        magent.wait_for(&servers.keeps, "down");
        check(&mut magent.client());
        servers.keeps.restart();
        check_until_both_are_right(&magent, &servers);
        assert!(
            magent.log().contains("was away when magent started"),
            "{}",
            magent.log()
        );
    }
}

#[test]
fn a_server_that_took_old_items_back_before_magent_started_is_not_believed() {
    for keeps_is_primary in [true, false] {
        let mut servers = Servers::start();
        let magent = servers.magent(keeps_is_primary);
        let mut client = magent.client();
        store(&mut client);
        servers.keeps.end_and_keep();
        change(&mut client);
        drop(magent);
        servers.keeps.restart();
        assert_eq!(servers.keeps.ask("get k\r\n"), hit("k", 0, "old"), "it kept its items");
        let magent = servers.magent(keeps_is_primary);
        check_until_both_are_right(&magent, &servers);
        assert!(
            magent.log().contains("from before it was restarted"),
            "{}",
            magent.log()
        );
    }
}

/// It kept its memory, and nobody knows what it missed.
#[test]
fn a_server_that_hung_when_magent_started_is_not_believed_about_old_items() {
    for keeps_is_primary in [true, false] {
        let servers = Servers::start();
        let magent = servers.magent_with(keeps_is_primary, &["--timeout=1000"]);
        let mut client = magent.client();
        store(&mut client);
        servers.keeps.stop();
        client.send("set other 0 0 1\r\nx\r\n");
        magent.wait_for(&servers.keeps, "down");
        change(&mut magent.client());
        drop(magent);
        let magent = servers.magent_with(keeps_is_primary, &["--timeout=1000"]);
        magent.wait_for(&servers.keeps, "down");
        servers.keeps.cont();
        magent.wait_for(&servers.keeps, "up");
        check_until_both_are_right(&magent, &servers);
    }
}

/// What it holds together with a server that is not there is nowhere else (R31).
#[test]
fn a_server_that_may_be_old_is_not_flushed_while_one_of_its_partners_is_away() {
    let (here, mut away, hung) = (Memcached::start(), Memcached::start(), Memcached::start());
    let start = |away: &Memcached| Magent::before(&[&here, away], &[&hung], &["--timeout=1000"]);
    let magent = start(&away);
    let mut client = magent.client();
    let keys = store_many(&mut client);
    let is_here = |key: &&String| here.ask(format!("get {key}\r\n")) != MISS;
    let (changed, kept): (Vec<&String>, Vec<&String>) = keys.iter().partition(is_here);
    hung.stop();
    client.send("set another 0 0 1\r\nx\r\n");
    magent.wait_for(&hung, "down");
    let mut client = magent.client();
    for key in &changed {
        client.check(format!("set {key} 0 0 3\r\nnew\r\n"), "STORED\r\n");
    }
    drop(magent);
    let magent = start(&away);
    magent.wait_for(&hung, "down");
    away.kill();
    magent.wait_for(&away, "down");
    hung.cont();
    magent.wait_for(&hung, "up");
    let mut client = magent.client();
    let check = |client: &mut Client| {
        for (keys, value) in [(&changed, "new"), (&kept, "old")] {
            keys.iter()
                .for_each(|key| client.check(format!("get {key}\r\n"), hit(key, 0, value)));
        }
    };
    check(&mut client);
    eventually("nothing old is left", || {
        changed
            .iter()
            .all(|key| hung.ask(format!("get {key}\r\n")) == hit(key, 0, "new"))
    });
    check(&mut client);
}

/// Its partner was away at the start as well, and is empty since (R38).
#[test]
fn of_two_servers_that_were_away_at_the_start_the_younger_is_given_what_the_older_has() {
    let (here, mut away, hung) = (Memcached::start(), Memcached::start(), Memcached::start());
    let start = |away: &Memcached| Magent::before(&[&here, away], &[&hung], &["--timeout=1000"]);
    let magent = start(&away);
    let mut client = magent.client();
    let keys = store_many(&mut client);
    let is_away = |key: &&String| away.ask(format!("get {key}\r\n")) != MISS;
    let held: Vec<&String> = keys.iter().filter(is_away).collect();
    assert!(!held.is_empty());
    drop((client, magent));
    // memcached counts whole seconds, and who is restarted is to be younger by some.
    eventually("it is old enough", || hung.stat("uptime") >= 5);
    hung.stop();
    away.kill();
    let magent = start(&away);
    magent.wait_for(&hung, "down");
    magent.wait_for(&away, "down");
    away.restart();
    magent.wait_for(&away, "up");
    hung.cont();
    eventually("it has what only the other had", || {
        held.iter()
            .all(|key| away.ask(format!("get {key}\r\n")) == hit(key, 0, "old"))
    });
    let mut client = magent.client();
    keys.iter()
        .for_each(|key| client.check(format!("get {key}\r\n"), hit(key, 0, "old")));
}

/// A machine that has rebooted: its memcached is empty, and its magent does not reach the other machine at first.
#[test]
fn a_full_server_is_not_flushed_for_the_sake_of_an_empty_one() {
    let full = Memcached::start();
    for key in 0..100 {
        full.ask(format!("set key{key} 0 0 1\r\nx\r\n"));
    }
    std::thread::sleep(std::time::Duration::from_secs(4)); // ages are told in seconds, give or take one
    let empty = Memcached::start();
    full.stop();
    let magent = Magent::before(&[&empty], &[&full], &["--timeout=1000"]);
    magent.wait_for(&full, "down");
    full.cont();
    magent.wait_for(&full, "up");
    let mut client = magent.client();
    for key in 0..100 {
        let key = format!("key{key}");
        client.check(format!("get {key}\r\n"), hit(&key, 0, "x"));
        assert_eq!(full.ask(format!("get {key}\r\n")), hit(&key, 0, "x"));
    }
}

#[test]
fn a_magent_that_starts_where_all_is_well_throws_nothing_away() {
    let servers = Servers::start();
    store(&mut servers.magent(true).client());
    let magent = servers.magent(true);
    let mut client = magent.client();
    client.check(
        "get k d same\r\n",
        "VALUE k 0 3\r\nold\r\nVALUE d 0 3\r\nold\r\nVALUE same 0 3\r\nold\r\nEND\r\n",
    );
    for server in [&servers.keeps, &servers.other] {
        assert_eq!(server.stat("cmd_flush"), 0);
        assert_eq!(server.stat("curr_items"), 3);
        assert_eq!(magent.server_stat(server, "resync_items"), "0");
    }
}

/// memcached counts an item that it moves in its memory as stored once more, though no command stored it.
#[test]
fn a_server_that_has_moved_items_in_its_memory_has_taken_none_back() {
    let (moved, partner) = (Memcached::start(), Memcached::start());
    let value = "x".repeat(1000);
    for server in [&moved, &partner] {
        let mut client = server.client();
        for key in 0..3000 {
            client.check(format!("set key{key} 0 0 1000\r\n{value}\r\n"), "STORED\r\n");
        }
    }
    let mut client = moved.client();
    for key in (1..3000).step_by(2) {
        client.check(format!("delete key{key}\r\n"), "DELETED\r\n");
    }
    client.check("set only 0 0 1\r\nx\r\n", "STORED\r\n");
    let slabs = String::from_utf8(moved.ask("stats slabs\r\n").0).expect("text");
    let class = slabs.lines().find_map(|line| {
        let (class, pages) = line.strip_prefix("STAT ")?.split_once(":total_pages ")?;
        (pages.parse::<u32>().ok()? > 1).then_some(class)
    });
    let class = class.expect("three megabytes have several pages");
    client.check(format!("slabs reassign {class} 0\r\n"), "OK\r\n");
    eventually("items have been moved", || moved.stat("slab_reassign_rescues") > 0);
    assert!(moved.stat("total_items") > moved.stat("cmd_set"));
    let magent = Magent::before(&[&moved], &[&partner], &[]);
    magent.client().check("get only\r\n", hit("only", 0, "x"));
    assert!(!magent.log().contains("from before"), "{}", magent.log());
}
