//! A memcached pads a number that has become shorter with blanks, but not while somebody reads the item. What is appended
//! afterwards is on both servers all the same.

mod common;

use common::{Client, Magent, Memcached, Two, eventually};

/// Somebody who has asked a server for a number behind more than its socket takes, and reads nothing: as long as this
/// connection lives the item is being read.
fn reads_slowly(server: &Memcached) -> Client {
    const LARGE: usize = 1_000_000;
    let mut client = server.client();
    client.check(
        format!("set large 0 0 {LARGE}\r\n{}\r\n", "x".repeat(LARGE)),
        "STORED\r\n",
    );
    client.send(format!("get{} n\r\n", " large".repeat(40)));
    eventually("the answer has begun", || !client.is_quiet());
    client
}

/// Counts down while the primary's item is being read, so that the primary replaces it and the backup changes it in place.
fn count_down_while_reading(primary: &Memcached, client: &mut Client, delta: u32, to: &str) {
    let reader = reads_slowly(primary);
    client.check(format!("decr n {delta}\r\n"), format!("{to}\r\n"));
    drop(reader);
}

fn value(server: &Memcached) -> String {
    String::from_utf8(server.ask("get n\r\n").0).unwrap()
}

#[test]
fn what_is_appended_to_a_padded_number_is_the_same_on_both_servers() {
    for options in [&[][..], &["--ack=primary"]] {
        for (start, delta, end, write, appended) in [
            ("10", 1, "9", "append", "x"),
            ("10", 1, "9", "prepend", "1"),
            ("1000", 999, "1", "append", "0"),
            ("10", 50, "0", "append", "x"),
            // Memcached counts on from a number that is written in another way.
            ("007", 1, "6", "append", "x"),
            ("10", 1, "9", "append", ""),
        ] {
            let two = Two::start(options);
            let mut client = two.client();
            client.check(format!("set n 0 0 {}\r\n{start}\r\n", start.len()), "STORED\r\n");
            count_down_while_reading(&two.primary, &mut client, delta, end);
            assert_ne!(
                value(&two.primary),
                value(&two.backup),
                "the copies differ in their blanks"
            );
            client.check(
                format!("{write} n 0 0 {}\r\n{appended}\r\n", appended.len()),
                "STORED\r\n",
            );
            eventually("both copies are alike", || value(&two.primary) == value(&two.backup));
            client.check("get n\r\n", value(&two.primary));
        }
    }
}

/// The reply comes when the copies are alike.
#[test]
fn an_append_is_acknowledged_when_both_copies_are_alike() {
    let mut two = Two::start(&[]);
    let mut client = two.client();
    client.check("set n 0 0 2\r\n10\r\n", "STORED\r\n");
    count_down_while_reading(&two.primary, &mut client, 1, "9");
    assert_ne!(
        value(&two.primary),
        value(&two.backup),
        "the copies differ in their blanks"
    );
    client.check("append n 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(value(&two.primary), value(&two.backup));
    let shown = client.ask("get n\r\n");
    two.primary.kill();
    client.check("get n\r\n", shown.0);
}

/// The magent that appends is not the one that counted, and was started later.
#[test]
fn it_does_not_matter_which_magent_counted() {
    let (primary, backup) = (Memcached::start(), Memcached::start());
    let counts = Magent::before(&[&primary], &[&backup], &[]);
    let mut client = counts.client();
    client.check("set n 0 0 2\r\n10\r\n", "STORED\r\n");
    count_down_while_reading(&primary, &mut client, 1, "9");
    drop(client);
    let appends = Magent::before(&[&primary], &[&backup], &[]);
    appends.client().check("append n 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(value(&primary), value(&backup));
}

#[test]
fn a_counter_shows_the_same_number_on_both_servers() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("set n 0 0 3\r\n102\r\n", "STORED\r\n");
    for number in (98..=101).rev() {
        count_down_while_reading(&two.primary, &mut client, 1, &number.to_string());
        client.check("incr n 0\r\n", format!("{number}\r\n"));
        for server in [&two.primary, &two.backup] {
            assert_eq!(server.ask("incr n 0\r\n"), format!("{number}\r\n"));
        }
    }
}
