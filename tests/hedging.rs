//! What a server lets wait is asked of its partner too.

mod common;

use common::{Fake, MISS, Magent, Memcached, PATIENT, Two, eventually, hit};

/// Hedged after a moment; a test says itself when a server hangs, and for how long.
const SOON: &str = "--hedge=20";

#[test]
fn what_a_server_that_hangs_was_asked_its_partner_answers() {
    let two = Two::start(&[PATIENT, SOON]);
    let mut client = two.client();
    for key in ["a", "b", "c"] {
        client.check(format!("set {key} 0 0 1\r\n{key}\r\n"), "STORED\r\n");
    }
    two.primary.stop();
    let all = format!(
        "VALUE a 0 1\r\na\r\n{}",
        "VALUE b 0 1\r\nb\r\nVALUE c 0 1\r\nc\r\nEND\r\n"
    );
    client.check("get a\r\n", hit("a", 0, "a"));
    client.check("get a b c\r\nget b\r\n", all + &hit("b", 0, "b"));
    assert_eq!(two.magent.server_stat(&two.primary, "hedges"), "3");
    two.primary.cont();
    // What comes late from there is nobody's answer any more.
    client.check(
        "set a 0 0 3\r\nnew\r\nget a\r\nincr n 1\r\n",
        "STORED\r\nVALUE a 0 3\r\nnew\r\nEND\r\nNOT_FOUND\r\n",
    );
    two.both_say("get a\r\n", &hit("a", 0, "new"));
    assert_eq!(two.magent.server_stat(&two.primary, "state"), "up");
}

/// What a client asks behind a read that is not hedged is not answered by an older state than that is.
#[test]
fn a_client_is_not_told_what_is_older_than_what_it_asked_before() {
    let two = Two::start(&[PATIENT, SOON]);
    let (mut client, mut writer) = (two.client(), two.client());
    client.check("set k 0 0 3\r\nold\r\n", "STORED\r\n");
    two.primary.stop();
    client.send("gets k\r\nget k\r\n");
    // What comes last is asked of the partner, so what comes first might have been.
    two.client().check("get k\r\n", hit("k", 0, "old"));
    writer.send("set k 0 0 3\r\nnew\r\n");
    two.magent.settle();
    assert_eq!(two.magent.server_stat(&two.primary, "hedges"), "1");
    assert!(client.is_quiet());
    two.primary.cont();
    assert!(client.reply().contains("old"));
    client.expect(hit("k", 0, "old"));
    writer.expect("STORED\r\n");
}

#[test]
fn that_the_partner_does_not_have_it_says_nothing() {
    let two = Two::start(&[PATIENT, SOON]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\nset l 0 0 1\r\ny\r\n", "STORED\r\nSTORED\r\n");
    two.backup.ask("delete k\r\n");
    two.primary.stop();
    let mut other = two.client();
    client.send("get k l\r\n");
    other.send("get k\r\n");
    eventually("both are asked", || {
        two.magent.server_stat(&two.primary, "hedges") == "2"
    });
    two.magent.settle();
    assert!(client.is_quiet() && other.is_quiet());
    two.primary.cont();
    client.expect("VALUE k 0 1\r\nx\r\nVALUE l 0 1\r\ny\r\nEND\r\n");
    other.expect(hit("k", 0, "x"));
    client.check("get nothing\r\n", MISS);
}

/// A unique is of one server, a gat changes what it finds, and while a write is on its way the two copies may differ.
#[test]
fn only_where_both_have_the_same_the_partner_is_asked() {
    let two = Two::start(&[PATIENT, SOON]);
    let mut others = [(); 4].map(|()| two.client());
    others[0].check("set k 0 0 3\r\nold\r\nset l 0 0 1\r\ny\r\n", "STORED\r\nSTORED\r\n");
    two.primary.stop();
    others[0].send("set k 0 0 3\r\nnew\r\n");
    two.magent.settle();
    for (client, request) in others[1..].iter_mut().zip(["get k\r\n", "gets l\r\n", "gat 0 l\r\n"]) {
        client.send(request);
    }
    // What comes last is asked of the partner, so all before it might have been.
    two.client().check("get l\r\n", hit("l", 0, "y"));
    assert!(others.iter().all(|client| client.is_quiet()));
    two.primary.cont();
    others[0].expect("STORED\r\n");
    others[1].expect(hit("k", 0, "new"));
    assert!(others[2].reply().contains("VALUE l 0 1 "));
    others[3].expect(hit("l", 0, "y"));
    assert_eq!(two.magent.server_stat(&two.primary, "state"), "up");
}

/// The partner has taken its items back from before it was restarted, and has not been made like the other yet.
#[test]
fn a_partner_whose_items_may_be_old_is_not_asked() {
    let primary = Memcached::start();
    for key in ["k", "l"] {
        primary.ask(format!("set {key} 0 0 3\r\nnew\r\n"));
    }
    let backup = Fake::start_with_stats(|line| {
        let said = match line.split(' ').next()? {
            "stats" => {
                "STAT pid 7\r\nSTAT uptime 100\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\n\
                 STAT total_connections 10\r\nSTAT curr_items 2\r\nSTAT total_items 2\r\nSTAT cmd_set 0\r\nEND\r\n"
            }
            "get" => "VALUE k 0 3\r\nold\r\nEND\r\n",
            "mg" => "EN\r\n",
            "lru_crawler" => "BUSY currently processing crawler request\r\n",
            _ => "ERROR\r\n",
        };
        Some(said.as_bytes().to_vec())
    });
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT, SOON]);
    eventually("it is seen that the backup was restarted", || {
        magent.log().contains("has items from before it was restarted")
    });
    let (mut client, mut other) = (magent.client(), magent.client());
    client.check("get k\r\n", hit("k", 0, "new"));
    primary.stop();
    client.send("get k\r\n");
    other.send("gets k\r\n");
    for _ in 0..5 {
        magent.settle();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(client.is_quiet() && other.is_quiet());
    primary.cont();
    client.expect(hit("k", 0, "new"));
}

#[test]
fn nothing_is_asked_twice_without_hedging() {
    let two = Two::start(&[PATIENT, "--hedge=0"]);
    let mut client = two.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    two.primary.stop();
    client.send("get k\r\n");
    two.magent.settle();
    assert!(client.is_quiet());
    two.primary.cont();
    client.expect(hit("k", 0, "x"));
    assert_eq!(two.magent.server_stat(&two.primary, "hedges"), "0");
}
