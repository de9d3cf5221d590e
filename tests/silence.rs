//! A server that hangs is given up early while its partner answers, and only after the timeout where that would not help.

mod common;

use common::{Fake, Magent, Memcached, Two, eventually};
use std::thread::sleep;
use std::time::Duration;

const ADAPTS: &str = "--timeout=auto";

/// After how many milliseconds each server was given up, by the log, which tells of so many.
fn given_up_after(magent: &Magent, count: usize) -> Vec<u64> {
    let after = |line: &str| {
        line.split_once("no answer within ")?
            .1
            .split_once(" ms")?
            .0
            .parse()
            .ok()
    };
    let told = || -> Vec<u64> { magent.log().lines().filter_map(after).collect() };
    eventually("the log tells", || told().len() >= count);
    told()
}

fn is_whole(magent: &Magent, server: &Memcached) {
    eventually("it has all that it should have", || {
        magent.server_stat(server, "state") == "up"
    });
}

/// Two memcacheds that lack nothing, behind a magent.
fn whole(arguments: &[&str]) -> Two {
    let two = Two::start(arguments);
    is_whole(&two.magent, &two.primary);
    is_whole(&two.magent, &two.backup);
    two
}

#[test]
fn a_server_that_hangs_is_given_up_early_where_its_partner_answers() {
    for primary_hangs in [true, false] {
        let two = whole(&[ADAPTS]);
        two.client()
            .check("set n 0 0 1\r\n1\r\nset k 0 0 1\r\nx\r\n", "STORED\r\nSTORED\r\n");
        match primary_hangs {
            true => two.primary.stop(),
            false => two.backup.stop(),
        }
        let asked = [
            ("set a 0 0 1\r\nx\r\n", "STORED\r\n"),
            ("add b 0 0 1\r\nx\r\n", "STORED\r\n"),
            ("delete k\r\n", "DELETED\r\n"),
            ("incr n 1\r\n", "2\r\n"),
            ("replace c 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
            ("gets d\r\n", "END\r\n"),
        ];
        let mut clients: Vec<_> = asked.iter().map(|_| two.client()).collect();
        for (client, (command, _)) in clients.iter_mut().zip(asked) {
            client.send(command);
        }
        for (client, (_, reply)) in clients.iter_mut().zip(asked) {
            client.expect(reply);
        }
        let after = given_up_after(&two.magent, 1);
        assert!(matches!(after[..], [50..500]), "{after:?}");
    }
}

#[test]
fn one_that_has_just_returned_is_not_given_up_early_again() {
    let two = whole(&[ADAPTS]);
    let mut client = two.client();
    for _ in 0..2 {
        two.primary.stop();
        client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        two.primary.cont();
        is_whole(&two.magent, &two.primary);
    }
    let after = given_up_after(&two.magent, 2);
    assert!(matches!(after[..], [50..500, 500]), "{after:?}");
}

#[test]
fn where_nobody_can_take_its_place_it_has_the_whole_timeout() {
    let two = whole(&[ADAPTS]);
    two.primary.stop();
    two.backup.stop();
    assert!(two.client().ask("set k 0 0 1\r\nx\r\n").starts_with("SERVER_ERROR"));
    assert_eq!(given_up_after(&two.magent, 2), [500, 500]);

    let alone = Memcached::start();
    let magent = Magent::before(&[&alone], &[], &[ADAPTS]);
    magent.settle();
    alone.stop();
    assert!(magent.client().ask("set k 0 0 1\r\nx\r\n").starts_with("SERVER_ERROR"));
    assert_eq!(given_up_after(&magent, 1), [500]);
}

#[test]
fn a_timeout_that_is_set_is_kept() {
    let two = whole(&["--timeout=600"]);
    two.primary.stop();
    two.client().check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(given_up_after(&two.magent, 1), [600]);
}

/// What goes through all items of a server may take it longer than anything else.
#[test]
fn a_server_has_the_time_that_a_flush_takes() {
    const LONG: Duration = Duration::from_millis(300);
    let slow = Fake::start(|line| match line {
        "flush_all" => {
            sleep(LONG);
            Some(b"OK\r\n".to_vec())
        }
        _ => Some(b"ERROR\r\n".to_vec()),
    });
    let partner = Memcached::start();
    let magent = Magent::start(&["-s", &slow.name, "-b", &partner.name, ADAPTS, "--board=off"]);
    magent.settle();
    is_whole(&magent, &partner);
    magent.client().check("flush_all\r\n", "OK\r\n");
    let timeouts = format!("{}:timeouts", slow.name);
    assert_eq!(magent.client().stat("stats servers", &timeouts), "0");
}
