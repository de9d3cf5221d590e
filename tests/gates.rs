//! What is under way with a key does not undo what else is under way with it.

mod common;

use common::{Bytes, Fake, MISS, Magent, PATIENT, eventually, hit};
use std::sync::{Arc, Condvar, Mutex};

/// What a scripted server was asked, and whether it may go on.
#[derive(Default)]
struct Script {
    seen: Mutex<Vec<String>>,
    open: Mutex<bool>,
    changed: Condvar,
}

impl Script {
    fn has_seen(&self, beginning: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|line| line.starts_with(beginning))
    }

    fn note(&self, line: &str) {
        self.seen.lock().unwrap().push(line.to_owned());
    }

    fn wait(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// A server that holds up its first incr until it may go on, answers those with `count`, and ends for good when it is to be
/// copied from.
fn ending(script: &Arc<Script>, count: &'static str) -> Fake {
    let script = Arc::clone(script);
    Fake::start_with_stats(move |line| {
        script.note(line);
        let reply = match line.split(' ').next()? {
            _ if script.has_seen("mg ") => return None,
            "stats" => "STAT pid 1\r\nEND\r\n",
            "incr" => {
                script.wait();
                count
            }
            "7" => "STORED\r\n",
            _ => "",
        };
        Some(reply.into())
    })
}

/// A server that has what it was sent, and does what it is told.
fn lasting(script: &Arc<Script>, before: Option<u64>) -> Fake {
    let script = Arc::clone(script);
    let item = Mutex::new(before);
    Fake::start(move |line| {
        script.note(line);
        let mut item = item.lock().unwrap();
        let reply = match line.split(' ').next()? {
            "get" => item.map_or("END\r\n".into(), |value| hit("n", 0, &value.to_string())),
            "incr" => {
                *item = item.map(|value| value + 1);
                item.map_or("NOT_FOUND\r\n".into(), |value| format!("{value}\r\n"))
            }
            "7" => {
                *item = Some(7);
                "STORED\r\n".into()
            }
            "delete" => item.take().map_or("NOT_FOUND\r\n", |_| "DELETED\r\n").into(),
            "mg" => "EN\r\n".into(),
            _ => String::new(),
        };
        Some(reply.into_bytes())
    })
}

/// A write of a key is under way, and another one if there is a second. The servers answer the first one differently, and
/// the one that decides is lost before the other is made like it. Returns what the clients are told, and what is there then.
fn lose_who_decided(count: &'static str, before: Option<u64>, second: Option<&str>) -> Vec<String> {
    let [primary, backup] = [(); 2].map(|()| Arc::new(Script::default()));
    let servers = (ending(&primary, count), lasting(&backup, before));
    let magent = Magent::start(&["-s", &servers.0.name, "-b", &servers.1.name, PATIENT]);
    let mut clients = vec![magent.client()];
    clients[0].send("incr n 1\r\n");
    eventually("the first write is with both", || {
        primary.has_seen("incr") && backup.has_seen("incr")
    });
    if let Some(second) = second {
        let mut client = magent.client();
        client.send(second);
        clients.push(client);
        let writes = |script: &Script| {
            script
                .seen
                .lock()
                .unwrap()
                .iter()
                .filter(|line| line.contains(" n "))
                .count()
        };
        eventually("the second one is with the backup", || writes(&backup) == 2);
    }
    primary.open();
    let mut told: Vec<String> = clients.iter_mut().map(|client| text(&client.line())).collect();
    assert!(primary.has_seen("mg n "), "it was to be copied from");
    told.push(text(&magent.ask("get n\r\n")));
    told
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(&bytes.0).into_owned()
}

#[test]
fn a_set_behind_a_write_that_is_being_repaired_is_not_removed() {
    let told = lose_who_decided("6\r\n", None, Some("set n 0 0 1\r\n7\r\n"));
    assert_eq!(told, ["6\r\n", "STORED\r\n", &hit("n", 0, "7")]);
}

#[test]
fn what_stays_of_a_write_that_cannot_be_repaired_is_what_its_client_is_told() {
    let told = lose_who_decided("NOT_FOUND\r\n", Some(5), Some("incr n 1\r\n"));
    assert_eq!(told, ["6\r\n", "7\r\n", &hit("n", 0, "7")]);
}

#[test]
fn a_write_that_cannot_be_repaired_and_is_alone_leaves_nothing() {
    let told = lose_who_decided("8\r\n", Some(5), None);
    assert_eq!(told, ["8\r\n", MISS]);
}

/// That it is not on the one is no reason to take it away from the other.
#[test]
fn what_one_did_not_find_and_the_other_has_stays() {
    let told = lose_who_decided("NOT_FOUND\r\n", Some(5), None);
    assert_eq!(told, ["6\r\n", &hit("n", 0, "6")]);
}
