//! Filling a server from a memcached of another age. None before 1.6 can be had on the machines where this is tested, so
//! they are played by fakes, which say what the sources of memcached and its release notes tell that those versions say.

mod common;

use common::{Fake, Magent, Memcached, eventually, hit};
use std::fs;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

/// An item: key, flags, value. The key is one that a list has to encode.
const ITEMS: [(&str, u32, &str); 3] = [("a%b", 7, "hello"), ("key2", 0, "x"), ("key3", 0, "")];

/// What differs between versions.
#[derive(Clone, Copy)]
struct Age {
    stats: &'static [u8],
    /// Behind the keys of a list by LRU, and the rest of each line.
    end: &'static str,
    fields: &'static str,
    meta: fn(key: &str, flags: &str, item: Option<(u32, &str)>) -> String,
}

fn no_meta(_: &str, _: &str, _: Option<(u32, &str)>) -> String {
    "ERROR\r\n".to_owned()
}

/// 1.5.19 to 1.5.22: all flags in one word.
fn first_meta(_: &str, flags: &str, item: Option<(u32, &str)>) -> String {
    match (item, flags) {
        (_, flags) if flags.contains(' ') => "CLIENT_ERROR incorrect number of tokens supplied\r\n".to_owned(),
        (None, _) => "EN\r\n".to_owned(),
        (Some((item_flags, value)), "") => format!("VA sftv {} {item_flags} -1\r\n{value}\r\nEN\r\n", value.len()),
        (Some(_), flags) => format!("VA {flags} 1\r\nEN\r\n"),
    }
}

/// 1.6.0 to 1.6.9: OK is what is HD now.
fn second_meta(key: &str, flags: &str, item: Option<(u32, &str)>) -> String {
    match (item, flags) {
        (None, _) => "EN\r\n".to_owned(),
        (Some((item_flags, value)), "t f c k v") => {
            format!("VA {} t-1 f{item_flags} c9 k{key}\r\n{value}\r\n", value.len())
        }
        (Some(_), "c k") => format!("OK c9 k{key}\r\n"),
        (Some(_), _) => format!("OK t-1 k{key}\r\n"),
    }
}

const OF_1_4_33: Age = Age {
    stats: b"STAT pid 7\r\nSTAT uptime 100000\r\nSTAT time 1800000000\r\nSTAT version 1.4.33\r\nEND\r\n",
    end: "",
    fields: "la=1799999000 cas=2 fetch=no",
    meta: no_meta,
};
const OF_1_5_3: Age = Age {
    stats: b"STAT pid 7\r\nSTAT uptime 100000\r\nSTAT time 1800000000\r\nSTAT version 1.5.3\r\nEND\r\n",
    ..OF_1_4_33
};
const OF_1_5_12: Age = Age {
    stats: b"STAT pid 7\r\nSTAT uptime 100000\r\nSTAT time 1800000000\r\nSTAT version 1.5.12\r\nEND\r\n",
    end: "END\r\n",
    fields: "la=1799999000 cas=2 fetch=no cls=1 size=70",
    meta: no_meta,
};
const OF_1_5_20: Age = Age {
    stats: b"STAT pid 7\r\nSTAT uptime 100000\r\nSTAT time 1800000000\r\nSTAT version 1.5.20\r\nEND\r\n",
    meta: first_meta,
    ..OF_1_5_12
};
const OF_1_6_5: Age = Age {
    stats: b"STAT pid 7\r\nSTAT uptime 100000\r\nSTAT time 1800000000\r\nSTAT version 1.6.5\r\nEND\r\n",
    meta: second_meta,
    ..OF_1_5_12
};

/// What a memcached of this age with these items answers to a line.
fn answer(age: Age, items: &[(&str, u32, &str)], line: &str) -> String {
    let find = |key: &str| {
        let item = items.iter().find(|(known, ..)| *known == key);
        item.map(|&(_, flags, value)| (flags, value))
    };
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (key, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
    match (verb, rest) {
        // To these it does no good.
        ("lru_crawler", "metadump hash") => panic!("a list by the hash table was asked for"),
        ("lru_crawler", _) => {
            let line = |(key, ..): &(&str, u32, &str)| {
                let key = key.replace('%', "%25");
                format!("key={key} exp=-1 {}\n", age.fields)
            };
            items.iter().map(line).collect::<String>() + age.end
        }
        ("version", _) => "VERSION 1.0.0\r\n".to_owned(),
        ("get", _) => match find(rest) {
            Some((flags, value)) => hit(rest, flags, value),
            None => "END\r\n".to_owned(),
        },
        ("mg", _) => (age.meta)(key, arguments, find(key)),
        _ => "ERROR\r\n".to_owned(),
    }
}

#[test]
fn a_server_is_filled_from_a_memcached_of_any_age() {
    thread::scope(|scope| {
        for age in [OF_1_4_33, OF_1_5_3, OF_1_5_12, OF_1_5_20, OF_1_6_5] {
            for items in [&ITEMS[..], &[]] {
                scope.spawn(move || fill_from(age, items));
            }
        }
    });
}

fn fill_from(age: Age, items: &'static [(&str, u32, &str)]) {
    let old = Fake::start_saying(age.stats, move |line| Some(answer(age, items, line).into_bytes()));
    let young = Memcached::start();
    let magent = Magent::start(&["-s", &young.name, "-b", &old.name]);
    let version = age.stats.escape_ascii();
    eventually(&format!("{version}: it is filled\n{}", magent.log()), || {
        magent.server_stat(&young, "state") == "up"
    });
    for (key, flags, value) in items {
        assert_eq!(
            young.ask(format!("get {key}\r\n")),
            hit(key, *flags, value),
            "{version}"
        );
    }
    let log = magent.log();
    let said = format!("has been filled with what {} has: {} items", old.name, items.len());
    assert_eq!(log.matches(&said).count(), 1, "{version}: {log}");
    assert!(!log.contains("is down"), "{version}: {log}");
    assert_eq!(magent.server_stat(&young, "resync_items"), items.len().to_string());
}

/// Before 1.4.34 a memcached crashes if its reader leaves.
#[test]
fn a_list_of_an_old_memcached_is_read_to_its_end_though_nobody_wants_it_any_more() {
    let (asked, was_asked) = mpsc::channel();
    let (end, may_end) = mpsc::channel();
    let (asked, may_end) = (Mutex::new(asked), Mutex::new(may_end));
    let old = Fake::start_saying(OF_1_4_33.stats, move |line| match line {
        // The list goes on, and no line of it that is complete has come.
        "lru_crawler metadump all" => Some(b"key=".to_vec()),
        "version" => {
            asked.lock().unwrap().send(()).expect("a test that waits");
            may_end.lock().unwrap().recv().expect("a test that says so");
            Some(b"k exp=-1\nVERSION 1.4.33\r\n".to_vec())
        }
        line => Some(answer(OF_1_4_33, &ITEMS, line).into_bytes()),
    });
    let mut young = Memcached::start();
    let magent = Magent::start(&["-s", &young.name, "-b", &old.name]);
    let open_files = || fs::read_dir(format!("/proc/{}/fd", magent.id())).map_or(0, Iterator::count);
    eventually("it is being filled", || magent.log().contains("is being filled"));
    young.kill();
    magent.wait_for(&young, "down");
    was_asked.recv().expect("the end of the list is asked for");
    let before = open_files();
    end.send(()).expect("it waits for this");
    eventually("the connection is closed then", || open_files() < before);
}
