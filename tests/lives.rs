//! What a server says of itself, and of what it has, is believed only as far as it can be true.

mod common;

use common::{Client, Fake, MISS, Magent, Memcached, PATIENT, eventually, hit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

/// A memcached in a container has the same process number in each life, and two may begin in one second. It closes its first
/// connection when it is asked for `end`, and tells on the next how many there have been.
fn in_a_container(connections: [u64; 2]) -> (Fake, Arc<AtomicUsize>) {
    let introductions = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&introductions);
    let server = Fake::start_with_stats(move |line| {
        let said = match line.split(' ').next()? {
            "stats" => {
                let connections = connections[seen.fetch_add(1, Ordering::SeqCst).min(1)];
                format!(
                    "STAT pid 1\r\nSTAT uptime 2\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\n\
                     STAT total_connections {connections}\r\nEND\r\n"
                )
            }
            "get" if line.ends_with(" end") => return None,
            "get" => MISS.to_owned(),
            "lru_crawler" => MISS.to_owned(),
            "mg" => "EN\r\n".to_owned(),
            "delete" => "NOT_FOUND\r\n".to_owned(),
            _ => String::new(),
        };
        Some(said.into_bytes())
    });
    (server, introductions)
}

#[test]
fn a_second_life_in_the_same_second_is_told_from_the_first() {
    for (connections, restarted) in [([3, 3], true), ([3, 2], true), ([3, 4], false)] {
        let (server, introductions) = in_a_container(connections);
        let backup = Memcached::start();
        let magent = Magent::start(&["-s", &server.name, "-b", &backup.name, PATIENT]);
        let mut client = magent.client();
        client.check("get end\r\n", MISS);
        eventually("it has come back", || {
            introductions.load(Ordering::SeqCst) > 1 && magent.log().contains("is up again")
        });
        let log = magent.log();
        assert_eq!(log.contains("may lack items"), restarted, "{connections:?}: {log}");
        assert_eq!(log.contains("kept its items"), !restarted, "{connections:?}: {log}");
    }
}

/// Its first connection is cut off with a write, so that it is asked on the second one twice: before it is waited for no longer what
/// becomes of the write, and then.
#[test]
fn one_that_is_asked_twice_on_a_connection_is_not_in_another_life() {
    let introductions = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&introductions);
    let server = Fake::start_with_stats(move |line| {
        let said = match line.split(' ').next()? {
            "stats" => {
                let connections = 3 + seen.fetch_add(1, Ordering::SeqCst).min(1);
                format!(
                    "STAT pid 1\r\nSTAT uptime 2\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\n\
                     STAT total_connections {connections}\r\nEND\r\n"
                )
            }
            "delete" if line.ends_with(" hangs") => {
                sleep(Duration::from_secs(5));
                return None;
            }
            "get" | "lru_crawler" => MISS.to_owned(),
            "mg" => "EN\r\n".to_owned(),
            "delete" => "NOT_FOUND\r\n".to_owned(),
            _ => String::new(),
        };
        Some(said.into_bytes())
    });
    let backup = Memcached::start();
    let magent = Magent::start(&["-s", &server.name, "-b", &backup.name, "--timeout=200"]);
    magent.client().check("delete hangs\r\n", "NOT_FOUND\r\n");
    eventually("it has come back", || magent.log().contains("is up again"));
    assert!(
        introductions.load(Ordering::SeqCst) > 2,
        "it was asked once: {}",
        magent.log()
    );
    assert!(magent.log().contains("kept its items"), "{}", magent.log());
}

/// The greatest, the least, and what is no number at all.
const EXTREMES: [&str; 12] = [
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "-1",
    "-0",
    "0",
    "+1",
    "01",
    "4294967296",
    "",
    "\x0b1",
];

#[test]
fn numbers_of_stats_may_be_anything() {
    for extreme in EXTREMES {
        let server = Fake::start_with_stats(move |line| {
            let stats = format!(
                "STAT pid {extreme}\r\nSTAT uptime {extreme}\r\nSTAT time {extreme}\r\nSTAT total_connections {extreme}\r\n\
                 STAT version {extreme}.{extreme}\r\nEND\r\n"
            );
            Some(match line.split(' ').next()? {
                "stats" => stats.into_bytes(),
                "get" => hit("k", 0, "x").into_bytes(),
                _ => Vec::new(),
            })
        });
        let backup = Memcached::start();
        let magent = Magent::start(&["-s", &server.name, "-b", &backup.name, PATIENT]);
        let mut client = magent.client();
        // Which of the two is believed depends on which seems to be the older; that there is an answer does not.
        let reply = client.ask("get k\r\n");
        assert!(
            [hit("k", 0, "x").as_str(), MISS].iter().any(|&fits| reply == fits),
            "{extreme:?}: {reply:?}"
        );
        client.check("settled?\r\n", "ERROR\r\n");
    }
}

/// The source of a copy, older than any real server: a list of keys with these fields, and items with these flags.
fn source(fields: Vec<(String, String)>, items: HashMap<String, String>) -> Fake {
    let list: String = fields
        .iter()
        .map(|(key, fields)| format!("key={key} {fields}\n"))
        .collect();
    Fake::start_with_stats(move |line| {
        let words: Vec<&str> = line.split(' ').collect();
        Some(
            match words[0] {
                "stats" => {
                    "STAT pid 1\r\nSTAT uptime 1000000\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\nEND\r\n"
                        .to_owned()
                }
                "lru_crawler" => format!("{list}END\r\n"),
                "mg" => match items.get(words[1]) {
                    Some(flags) => format!("VA 5 {flags} k{}\r\nvalue\r\n", words[1]),
                    None => "EN\r\n".to_owned(),
                },
                "get" | "gets" => MISS.to_owned(),
                "delete" => "NOT_FOUND\r\n".to_owned(),
                _ => "STORED\r\n".to_owned(),
            }
            .into_bytes(),
        )
    })
}

/// What a fake server that is to be filled was sent.
fn empty(lines: &Arc<Mutex<Vec<String>>>) -> Fake {
    let lines = Arc::clone(lines);
    Fake::start_with_stats(move |line| {
        lines.lock().unwrap().push(line.to_owned());
        let reply = match line.split(' ').next()? {
            "stats" => "STAT pid 2\r\nSTAT uptime 100\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\nEND\r\n",
            "set" | "add" => "STORED\r\n",
            "mg" => "EN\r\n",
            "get" => MISS,
            "lru_crawler" => MISS,
            "delete" => "NOT_FOUND\r\n",
            _ => "",
        };
        Some(reply.as_bytes().to_vec())
    })
}

/// Whether a storage command is one that every memcached reads alike.
fn is_well_formed(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let plain = |word: &str, most: i64| {
        word.parse::<i64>()
            .is_ok_and(|number| (0..=most).contains(&number) && number.to_string() == word)
    };
    words.len() == 5
        && !words[1].is_empty()
        && plain(words[2], i64::from(u32::MAX))
        && plain(words[3], i64::from(i32::MAX))
        && words[4] == "5"
}

/// Copies what the source has, item by item, and returns the storage commands that were sent to the server that is filled.
fn stored(fields: Vec<(String, String)>, items: HashMap<String, String>) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (primary, backup) = (empty(&lines), source(fields, items));
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT]);
    eventually("it is filled, or its source was found out", || {
        let log = magent.log();
        log.contains("has been filled with") || log.contains("is down")
    });
    let mut client: Client = magent.client();
    client.check("settled?\r\n", "ERROR\r\n");
    let lines = lines.lock().unwrap();
    let stores = |line: &&String| line.starts_with("set ") || line.starts_with("add ");
    lines.iter().filter(stores).cloned().collect()
}

#[test]
fn what_is_copied_is_written_as_every_memcached_reads_it() {
    let listed = |key: &str| (key.to_owned(), "exp=-1 la=1 cas=7 fetch=no cls=1 size=63".to_owned());
    let good = HashMap::from([("good".to_owned(), "t-1 f4294967295 c7".to_owned())]);
    assert_eq!(stored(vec![listed("good")], good), ["add good 4294967295 0 5"]);
    for extreme in EXTREMES {
        for field in ["f", "t", "c", "s"] {
            let rest = ["t-1", "f0", "c7"].into_iter().filter(|word| !word.starts_with(field));
            let flags = rest
                .map(str::to_owned)
                .chain([format!("{field}{extreme}")])
                .collect::<Vec<_>>()
                .join(" ");
            let lines = stored(vec![listed("odd")], HashMap::from([("odd".to_owned(), flags.clone())]));
            assert!(
                lines.iter().all(|line| is_well_formed(line)),
                "{flags:?} became {lines:?}"
            );
        }
    }
}

#[test]
fn what_is_listed_may_be_anything() {
    let item = |key: &str| (key.to_owned(), "t-1 f0 c7".to_owned());
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "l", "m"];
    for field in ["exp", "cas", "size", "la", "cls"] {
        let list = keys.iter().zip(EXTREMES).map(|(key, extreme)| {
            let field = format!("{field}={extreme}");
            ((*key).to_owned(), format!("{field} exp=-1 size=63 cas=7 {field}"))
        });
        let mut lines = stored(list.collect(), keys.iter().map(|key| item(key)).collect());
        lines.sort();
        let expected: Vec<String> = keys.iter().map(|key| format!("add {key} 0 0 5")).collect();
        assert_eq!(lines, expected, "{field}");
    }
}

#[test]
fn a_key_that_would_end_its_line_is_not_copied() {
    let fields = "exp=-1 la=1 cas=7 fetch=no cls=1 size=63".to_owned();
    let list = ["a%0D%0Aflush_all", "b%20c", "d%00e", "", "g%0A", "%"].map(|key| (key.to_owned(), fields.clone()));
    let long = ("x".repeat(251), fields.clone());
    let last = ("good".to_owned(), fields);
    for bad in list.into_iter().chain([long]) {
        let items = HashMap::from([("good".to_owned(), "t-1 f0 c7".to_owned())]);
        let list = vec![last.clone(), bad.clone()];
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (primary, backup) = (empty(&lines), source(list, items));
        let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT]);
        eventually("the list was read", || {
            let log = magent.log();
            log.contains("has been filled with") || log.contains("cannot list")
        });
        let known = |line: &str| {
            let words = ["stats", "mg good", "add good", "value", "lru_crawler", "set good"];
            words.iter().any(|word| line.starts_with(word))
        };
        let lines = lines.lock().unwrap();
        let odd: Vec<&String> = lines.iter().filter(|line| !known(line)).collect();
        assert!(odd.is_empty(), "{:?} was listed, and this sent: {odd:?}", bad.0);
    }
}
