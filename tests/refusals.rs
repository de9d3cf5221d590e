//! What is too large, or finds no memory: the item that is there stays or goes as in memcached, on both servers.

mod common;

use common::{Client, MISS, Magent, Memcached, Two, eventually, hit};

/// More than memcached takes with its default limit, less than magent's own, so that the server refuses it.
const TOO_LARGE_FOR_SERVERS: usize = 1_048_526;
/// More than magent takes.
const TOO_LARGE: usize = 1_100_000;
const TOO_LARGE_REPLY: &str = "SERVER_ERROR object too large for cache\r\n";
const NO_MEMORY_REPLY: &str = "SERVER_ERROR out of memory storing object\r\n";

fn unique(client: &mut Client, key: &str) -> String {
    let reply = client.ask(format!("gets {key}\r\n"));
    let text = String::from_utf8_lossy(&reply.0).into_owned();
    let line = text.lines().next().unwrap_or_default();
    line.split(' ').nth(4).unwrap_or("0").to_owned()
}

/// Tries add, replace and cas, each on a key of its own that is there, with a value that is refused.
fn conditional_writes_are_refused(client: &mut Client, len: usize, refusal: &str) {
    let value = "z".repeat(len);
    for verb in ["add", "replace", "cas"] {
        let more = match verb {
            "cas" => format!(" {}", unique(client, verb)),
            _ => String::new(),
        };
        client.check(format!("{verb} {verb} 0 0 {len}{more}\r\n{value}\r\n"), refusal);
    }
}

fn store_one_for_each(client: &mut Client) {
    for verb in ["add", "replace", "cas"] {
        client.check(format!("set {verb} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
}

#[test]
fn an_add_replace_or_cas_that_is_too_large_leaves_both_copies() {
    for options in [&[][..], &["--ack=primary"]] {
        let mut two = Two::start(options);
        let mut client = two.client();
        store_one_for_each(&mut client);
        conditional_writes_are_refused(&mut client, TOO_LARGE_FOR_SERVERS, TOO_LARGE_REPLY);
        for verb in ["add", "replace", "cas"] {
            two.both_say(&format!("get {verb}\r\n"), &hit(verb, 0, "old"));
        }
        two.primary.kill();
        for verb in ["add", "replace", "cas"] {
            client.check(format!("get {verb}\r\n"), hit(verb, 0, "old"));
        }
    }
}

/// A memcached that evicts nothing, filled to the brim.
fn fill_to_the_brim(server: &Memcached) {
    let mut client = server.client();
    let value = "f".repeat(200_000);
    for key in 0..600 {
        if client.ask(format!("set fill{key} 0 0 {}\r\n{value}\r\n", value.len())) == NO_MEMORY_REPLY {
            return;
        }
    }
    panic!("the memcached never became full");
}

#[test]
fn an_add_replace_or_cas_without_memory_leaves_both_copies() {
    let primary = Memcached::start_with(&["-M"]);
    let backup = Memcached::start();
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    store_one_for_each(&mut client);
    fill_to_the_brim(&primary);
    conditional_writes_are_refused(&mut client, 200_000, NO_MEMORY_REPLY);
    for verb in ["add", "replace", "cas"] {
        for server in [&primary, &backup] {
            assert_eq!(server.ask(format!("get {verb}\r\n")), hit(verb, 0, "old"));
        }
    }
}

#[test]
fn a_set_that_is_refused_does_not_overtake_what_its_key_is_waiting_for() {
    const KEYS: usize = 50;
    for (len, write) in [
        (TOO_LARGE, "add"),
        (TOO_LARGE_FOR_SERVERS, "add"),
        (TOO_LARGE, "replace"),
    ] {
        let mut two = Two::start(&["--miss=cold"]);
        let value = "x".repeat(len);
        let mut clients: Vec<Client> = (0..KEYS).map(|_| two.client()).collect();
        for (key, client) in clients.iter_mut().enumerate() {
            if write == "replace" {
                client.check(format!("set k{key} 0 0 1\r\no\r\n"), "STORED\r\n");
            }
            client.send(format!(
                "{write} k{key} 0 0 1\r\nv\r\nset k{key} 0 0 {len}\r\n{value}\r\n"
            ));
        }
        for client in &mut clients {
            client.expect(format!("STORED\r\n{TOO_LARGE_REPLY}"));
        }
        let all: String = (0..KEYS).map(|key| format!(" k{key}")).collect();
        two.both_say(&format!("get{all}\r\n"), MISS);
        two.primary.kill();
        clients[0].check(format!("get{all}\r\n"), MISS);
    }
}

#[test]
fn what_waits_behind_a_refused_set_comes_after_it() {
    let two = Two::start(&[]);
    let mut client = two.client();
    let value = "x".repeat(TOO_LARGE);
    client.send(format!(
        "add k 0 0 1\r\nv\r\nset k 0 0 {TOO_LARGE}\r\n{value}\r\nget k\r\nadd k 0 0 1\r\nw\r\nappend k 0 0 1\r\n+\r\n"
    ));
    client.expect(format!("STORED\r\n{TOO_LARGE_REPLY}{MISS}STORED\r\nSTORED\r\n"));
    two.both_say("get k\r\n", &hit("k", 0, "w+"));
}

#[test]
fn a_backup_that_refuses_is_counted_and_told() {
    let primary = Memcached::start();
    let backup = Memcached::start_with(&["-I", "512k"]);
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    let value = "x".repeat(700_000);
    for key in 0..3 {
        for verb in ["set", "replace"] {
            client.check(format!("{verb} k{key} 0 0 700000\r\n{value}\r\n"), "STORED\r\n");
        }
    }
    assert_eq!(magent.server_stat(&backup, "refused"), "6");
    assert_eq!(magent.server_stat(&primary, "refused"), "0");
    assert_eq!(backup.ask("get k0\r\n"), MISS);
    let said = format!("server {} refuses copies of what its partner has", backup.name);
    assert_eq!(magent.log().matches(&said).count(), 1, "{}", magent.log());
    client.check("stats reset\r\n", "RESET\r\n");
    assert_eq!(magent.server_stat(&backup, "refused"), "0");
}

/// What was there before is not left as if it were the new one.
#[test]
fn a_backup_that_refuses_does_not_keep_what_was_there_before() {
    let primary = Memcached::start();
    let mut backup = Memcached::start_with(&["-I", "512k"]);
    let magent = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = magent.client();
    let value = "x".repeat(700_000);
    for verb in ["set", "replace", "cas"] {
        client.check("set k 0 0 3\r\nold\r\n", "STORED\r\n");
        let more = match verb {
            "cas" => format!(" {}", unique(&mut client, "k")),
            _ => String::new(),
        };
        client.check(format!("{verb} k 0 0 700000{more}\r\n{value}\r\n"), "STORED\r\n");
        assert_eq!(backup.ask("get k\r\n"), MISS, "after {verb}");
    }
    // What a server that is filled refuses counts as well.
    backup.restart();
    eventually("the copy is refused", || magent.server_stat(&backup, "refused") == "4");
}
