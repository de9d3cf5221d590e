//! That commands and values go on as they came is an optimization: written anew they are the same to servers and clients.

mod common;

use common::{Bytes, Magent, Memcached, assert_same};
use std::process::Command;

/// A magent that writes all commands and values anew.
fn magent(primary: &Memcached, backup: Option<&Memcached>) -> Magent {
    let mut command = Command::new(Magent::program());
    command.env("MAGENT_TEST_ANEW", "1");
    let mut arguments = vec!["-s", &primary.name];
    if let Some(backup) = backup {
        arguments.extend(["-b", &backup.name]);
    }
    Magent::start_by(command, &arguments)
}

/// Every command, with values of all sizes, at once and with a value that comes late.
fn conversation() -> Vec<u8> {
    let mut text = Vec::new();
    for len in [0, 1, 100, 1023, 1024, 5000, 300_000] {
        let value = "v".repeat(len);
        for verb in ["set", "add", "replace", "append", "prepend"] {
            text.extend(format!("{verb} k{len} 7 0 {len}\r\n{value}\r\n").into_bytes());
            text.extend(format!("{verb}  l{len} 07 0 {len} noreply\r\n{value}\r\nget l{len}\r\n").into_bytes());
        }
        text.extend(format!("get k{len}\r\nget k{len} none l{len}\r\ngat 0 k{len} l{len}\r\n").into_bytes());
    }
    for line in [
        "set n 4294967295 0 1\r\n9",
        "incr n 18446744073709551615",
        "decr n 007",
        "incr none 1",
        "incr k100 1",
        "touch n  0",
        "touch none -1",
        "cas n 0 0 1 18446744073709551615\r\n1",
        "cas none 0 0 1 7\r\n1",
        "set noreply 0 0 1\r\n1",
        "delete noreply 0",
        "delete n",
        "delete n",
        "version",
        "flush_all 100",
        "flush_all",
        "get k100",
    ] {
        text.extend(format!("{line}\r\n").into_bytes());
    }
    text
}

#[test]
fn what_is_written_anew_is_what_came() {
    let direct = Memcached::start();
    let expected = direct.client().all_replies(&conversation());
    for backup in [None, Some(Memcached::start())] {
        let primary = Memcached::start();
        let magent = magent(&primary, backup.as_ref());
        let replies = magent.client().all_replies(&conversation());
        assert_same(
            ("with a backup", Bytes(vec![u8::from(backup.is_some())])),
            &replies.0,
            &expected.0,
        );
    }
}
