//! A server whose answers do not fit what it was asked is given up, and its partner is asked: no client sees an answer that
//! was meant for another question. Which answers fit is the table of `protocol::question`.

mod common;

use common::{Client, Fake, MISS, Magent, Memcached, NO_SERVER, PATIENT, eventually, hit};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

const ERROR: &str = "ERROR\r\n";
const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format\r\n";
const NO_MEMORY: &str = "SERVER_ERROR out of memory storing object\r\n";

/// A server that answers lines which begin with a word of `request` as it is told to, and of all others does not have a key.
fn liar(request: &str, answer: &'static str) -> Fake {
    Fake::start(lies(request, answer))
}

/// The same, which decides, for it is the senior of the two.
fn senior_liar(junior: &Memcached, request: &str, answer: &'static str) -> Fake {
    Fake::start_older(junior, lies(request, answer))
}

fn lies(request: &str, answer: &'static str) -> impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static {
    let verb = request.split(' ').next().expect("a word").trim_end().to_owned();
    move |line| {
        let reply = match line.split(' ').next()? {
            word if word == verb => answer,
            "get" | "gets" | "gat" => MISS,
            "mg" => "EN\r\n",
            "delete" | "touch" => "NOT_FOUND\r\n",
            "flush_all" => "OK\r\n",
            _ => "",
        };
        Some(reply.as_bytes().to_vec())
    }
}

fn failures(client: &mut Client, server: &Fake) -> u64 {
    let failures = client.stat("stats servers", &format!("{}:failures", server.name));
    failures.parse().expect("a number")
}

/// What an honest server has.
fn prepared() -> Memcached {
    let server = Memcached::start();
    for request in ["set k 7 0 5\r\nvalue\r\n", "set n 0 0 1\r\n5\r\n"] {
        assert_eq!(server.ask(request), "STORED\r\n");
    }
    server
}

/// What each request is asked with, what the honest partner answers, and what no memcached answers to it.
const UNFIT: [(&str, &str, &[&str]); 12] = [
    (
        "get k\r\n",
        "VALUE k 7 5\r\nvalue\r\nEND\r\n",
        &[
            "STORED\r\n",
            "NOT_FOUND\r\n",
            "OK\r\n",
            "5\r\n",
            "VERSION 1.6.18\r\n",
            "STAT pid 1\r\n",
            "EN\r\n",
            "HD\r\n",
            "VA 5 kk\r\nwrong\r\n",
            "VALUE other 0 5\r\nwrong\r\nEND\r\n",
            "VALUE kk 0 5\r\nwrong\r\nEND\r\n",
            "VALUE k 0 5 1\r\nwrong\r\nEND\r\n",
            "VALUE k 0 -0\r\n\r\nEND\r\n",
            "VALUE k 0 +5\r\nwrong\r\nEND\r\n",
            "VALUE k 0 05\r\nwrong\r\nEND\r\n",
            "VALUE k 0 5 \r\nwrong\r\nEND\r\n",
            "VALUE k -1 5\r\nwrong\r\nEND\r\n",
            "VALUE k 4294967296 5\r\nwrong\r\nEND\r\n",
            "VALUE k 0 4\r\nwrong\r\nEND\r\n",
            "VALUE k 0 99999999999\r\nwrong\r\nEND\r\n",
            "VALUE k 0 18446744073709551615\r\nwrong\r\nEND\r\n",
            "END \r\n",
            "END\n",
            "end\r\n",
            "\r\n",
        ],
    ),
    (
        "get k nope n\r\n",
        "VALUE k 7 5\r\nvalue\r\nVALUE n 0 1\r\n5\r\nEND\r\n",
        &[
            "VALUE other 0 5\r\nwrong\r\nVALUE k 0 5\r\nwrong\r\nEND\r\n",
            "VALUE k 7 5 1\r\nwrong\r\nEND\r\n",
            "VALUE k\r\n",
            "DELETED\r\n",
        ],
    ),
    (
        "gat 0 k\r\n",
        "VALUE k 7 5\r\nvalue\r\nEND\r\n",
        &["VALUE 0 0 5\r\nwrong\r\nEND\r\n", "TOUCHED\r\n", "STORED\r\n"],
    ),
    (
        "set s 0 0 1\r\nx\r\n",
        "STORED\r\n",
        &[
            "END\r\n",
            "NOT_STORED\r\n",
            "EXISTS\r\n",
            "HD\r\n",
            "STORED 1\r\n",
            "1\r\n",
            ERROR,
            BAD_FORMAT,
        ],
    ),
    (
        "add # 0 0 1\r\nx\r\n",
        "STORED\r\n",
        &[
            "END\r\n",
            "TOUCHED\r\n",
            "EXISTS\r\n",
            "NOT_FOUND\r\n",
            ERROR,
            BAD_FORMAT,
        ],
    ),
    (
        "replace k 7 0 5\r\nvalue\r\n",
        "STORED\r\n",
        &["DELETED\r\n", "EXISTS\r\n", ERROR],
    ),
    (
        "append nope 0 0 1\r\nx\r\n",
        "NOT_STORED\r\n",
        &["OK\r\n", "NOT_FOUND\r\n", ERROR, BAD_FORMAT],
    ),
    (
        "cas k 0 0 1 1\r\nx\r\n",
        "EXISTS\r\n",
        &["NOT_STORED\r\n", "DELETED\r\n", ERROR],
    ),
    (
        "incr n 0\r\n",
        "5\r\n",
        &[
            "DELETED\r\n",
            "STORED\r\n",
            "05\r\n",
            "5 \r\n",
            "-5\r\n",
            "18446744073709551616\r\n",
            "END\r\n",
        ],
    ),
    (
        "touch k 0\r\n",
        "TOUCHED\r\n",
        &["STORED\r\n", "DELETED\r\n", "END\r\n"],
    ),
    (
        "delete nope\r\n",
        "NOT_FOUND\r\n",
        &["TOUCHED\r\n", "STORED\r\n", "5\r\n", "NF x\n"],
    ),
    ("version\r\n", "", &["OK\r\n", "END\r\n", "VERSION\n"]),
];

#[test]
fn an_answer_that_does_not_fit_gives_its_server_up_and_no_client_sees_it() {
    let backup = prepared();
    for (request, reply, answers) in UNFIT {
        for (count, &answer) in answers.iter().enumerate() {
            let primary = senior_liar(&backup, request, answer);
            let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT]);
            let mut client = magent.client();
            let request = request.replace('#', &format!("new{count}"));
            client.send(&request);
            match reply {
                "" => assert!(client.line().starts_with("VERSION 1."), "{answer:?} to {request:?}"),
                reply => assert_eq!(client.rest_or(reply.len()), reply, "{answer:?} to {request:?}"),
            }
            assert_eq!(failures(&mut client, &primary), 1, "{answer:?} to {request:?}");
            assert!(client.is_quiet(), "{answer:?} to {request:?}");
        }
    }
}

/// A memcached may answer this, and its connection is as good as before.
#[test]
fn an_answer_that_fits_is_no_failure() {
    let fits: [(&str, &str); 16] = [
        ("get k\r\n", ERROR),
        ("get k\r\n", "SERVER_ERROR out of memory writing get response\r\n"),
        (
            "get k n\r\n",
            "VALUE k 7 5\r\nvalue\r\nSERVER_ERROR out of memory writing get response\r\n",
        ),
        ("get k k\r\n", "VALUE k 7 5\r\nvalue\r\nVALUE k 7 5\r\nvalue\r\nEND\r\n"),
        (
            "gets k\r\n",
            "VALUE k 4294967295 5 18446744073709551615\r\nvalue\r\nEND\r\n",
        ),
        ("set s 0 0 1\r\nx\r\n", NO_MEMORY),
        ("add s 0 0 1\r\nx\r\n", NO_MEMORY),
        ("append s 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
        ("cas k 0 0 1 1\r\nx\r\n", "NOT_FOUND\r\n"),
        ("incr n 1\r\n", "18446744073709551615\r\n"),
        (
            "incr k 1\r\n",
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        ),
        ("touch k 0\r\n", ERROR),
        ("delete k\r\n", "DELETED\r\n"),
        ("delete k\r\n", ERROR),
        ("flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n"),
        ("version\r\n", "VERSION 1.4.15_4_gabcdef\r\n"),
    ];
    for (request, answer) in fits {
        let server = liar(request, answer);
        let magent = Magent::start(&["-s", &server.name, PATIENT]);
        let mut client = magent.client();
        client.send(request);
        let reply = client.reply();
        assert!(!reply.0.is_empty(), "{answer:?} to {request:?}");
        assert_eq!(
            failures(&mut client, &server),
            0,
            "{answer:?} to {request:?} is answered {reply:?}"
        );
        assert!(client.is_quiet(), "{answer:?} to {request:?}");
    }
}

/// The first of two answers is good, and has been passed on when the second comes.
#[test]
fn what_comes_behind_an_answer_is_nobody_elses() {
    let backup = prepared();
    for (request, answer, reply) in [
        (
            "get a\r\n",
            "VALUE a 0 5\r\nright\r\nVALUE a 0 5\r\nwrong\r\nEND\r\n",
            hit("a", 0, "right"),
        ),
        (
            "get a\r\n",
            "VALUE a 0 5\r\nright\r\nEND\r\nVALUE k 0 5\r\nwrong\r\nEND\r\n",
            hit("a", 0, "right"),
        ),
        (
            "set s 0 0 1\r\nx\r\n",
            "STORED\r\nVALUE k 0 5\r\nwrong\r\nEND\r\n",
            "STORED\r\n".to_owned(),
        ),
        (
            "get a k\r\n",
            "VALUE k 0 5\r\nright\r\nVALUE a 0 5\r\nwrong\r\nEND\r\n",
            hit("k", 0, "right"),
        ),
    ] {
        let primary = liar(request, answer);
        let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT]);
        let mut client = magent.client();
        client.check(request, reply);
        // The partner's, whatever the server had said in advance.
        client.check("get k\r\n", hit("k", 7, "value"));
        assert!(failures(&mut client, &primary) >= 1, "{answer:?}");
    }
}

#[test]
fn a_value_without_unique_is_no_answer_to_gets() {
    let backup = prepared();
    let primary = senior_liar(&backup, "gets k", "VALUE k 0 5\r\nwrong\r\nEND\r\n");
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT]);
    let mut client = magent.client();
    let reply = client.ask("gets k\r\n");
    assert!(
        reply.starts_with("VALUE k 7 5 ") && reply.0.ends_with(b"\r\nvalue\r\nEND\r\n"),
        "{reply:?}"
    );
    assert_eq!(failures(&mut client, &primary), 1);
}

/// What lies in its socket when its connection is closed it may still run; by the second answer it has.
#[test]
fn a_server_that_was_out_of_step_answers_twice_before_it_is_used_again() {
    let introductions = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&introductions);
    let lied = AtomicBool::new(false);
    let primary = Fake::start_with_stats(move |line| {
        let reply = match line.split(' ').next()? {
            "stats" => {
                seen.fetch_add(1, Ordering::SeqCst);
                "STAT pid 1\r\nEND\r\n"
            }
            "get" if !lied.swap(true, Ordering::SeqCst) => "STORED\r\n",
            "get" => MISS,
            "lru_crawler" => MISS,
            "delete" => "NOT_FOUND\r\n",
            _ => "",
        };
        Some(reply.as_bytes().to_vec())
    });
    let backup = prepared();
    let magent = Magent::start(&["-s", &primary.name, "-b", &backup.name, PATIENT]);
    magent.client().check("get k\r\n", hit("k", 7, "value"));
    eventually("it is used again", || magent.log().contains("is up again"));
    assert_eq!(
        introductions.load(Ordering::SeqCst),
        3,
        "once at the start, and twice since"
    );
}

#[test]
fn without_a_partner_an_answer_that_does_not_fit_is_an_error() {
    for (request, answer) in [
        ("get a\r\n", "VALUE b 0 5\r\nwrong\r\nEND\r\n"),
        (
            "get a c\r\n",
            "VALUE zz 0 5\r\nwrong\r\nVALUE a 0 5\r\nright\r\nEND\r\n",
        ),
        ("set a 0 0 1\r\nx\r\n", "END\r\n"),
        ("delete a\r\n", "STORED\r\n"),
    ] {
        let server = liar(request, answer);
        let magent = Magent::start(&["-s", &server.name, PATIENT]);
        magent.client().check(request, NO_SERVER);
        eventually("the log says why", || magent.log().contains("is down: it answered \""));
    }
}

/// A server that reads no further than to its first large set until it is told what to answer, and then says nothing more.
struct Blind {
    fake: Fake,
    told: Arc<(Mutex<Option<String>>, Condvar)>,
}

impl Blind {
    fn start() -> Self {
        let told = Arc::new((Mutex::new(None::<String>), Condvar::new()));
        let waits = Arc::clone(&told);
        let fake = Fake::start(move |line| {
            if !line.starts_with("set big") {
                return Some(Vec::new());
            }
            let (answer, changed) = &*waits;
            let mut answer = answer.lock().unwrap();
            while answer.is_none() {
                answer = changed.wait(answer).unwrap();
            }
            Some(answer.take().unwrap_or_default().into_bytes())
        });
        Self { fake, told }
    }

    fn say(&self, answer: String) {
        *self.told.0.lock().unwrap() = Some(answer);
        self.told.1.notify_all();
    }
}

/// Requests that stand in one block of a link's output are answered before they are sent, in ways that make magent look
/// at them and put repairs, second copies and other servers' shares in their places: it must not trip over that, nor
/// believe it.
#[test]
fn a_server_that_answers_what_it_was_not_sent_is_not_believed() {
    let (large, large_count) = ("z".repeat(1_000_000), 24);
    let value = "VALUE k 7 5\r\nvalue\r\nEND\r\n";
    let wrong = "VALUE nope 0 5\r\nwrong\r\nEND\r\n";
    for (request, reply, early) in [
        ("append nope 0 0 1\r\nx\r\n", "NOT_STORED\r\n", "STORED\r\n"),
        ("prepend k 0 0 1\r\nx\r\n", "STORED\r\n", "NOT_STORED\r\n"),
        ("incr n 1\r\n", "6\r\n", "NOT_FOUND\r\n"),
        ("decr nope 1\r\n", "NOT_FOUND\r\n", "7\r\n"),
        ("touch k 0\r\n", "TOUCHED\r\n", "NOT_FOUND\r\n"),
        ("get nope\r\n", MISS, wrong),
        ("get nope k\r\n", value, wrong),
        ("gat 0 k\r\n", value, MISS),
        ("gat 0 nope k\r\n", value, wrong),
        ("add new 0 0 1\r\nx\r\n", "STORED\r\n", "NOT_STORED\r\n"),
        ("replace nope 0 0 1\r\nx\r\n", "NOT_STORED\r\n", "STORED\r\n"),
        ("cas k 0 0 1 1\r\nx\r\n", "EXISTS\r\n", "STORED\r\n"),
        ("delete k\r\n", "DELETED\r\n", "NOT_FOUND\r\n"),
    ] {
        let backup = prepared();
        let primary = Blind::start();
        let magent = Magent::start(&["-s", &primary.fake.name, "-b", &backup.name, PATIENT]);
        let mut others: Vec<Client> = (0..large_count).map(|_| magent.client()).collect();
        for (count, other) in others.iter_mut().enumerate() {
            other.send(format!("set big{count} 0 0 {}\r\n{large}\r\n", large.len()));
        }
        for count in 0..large_count {
            eventually(
                &format!("big{count} stands in the link's output before {request:?} does"),
                || backup.ask(format!("touch big{count} 0\r\n")) == "TOUCHED\r\n",
            );
        }
        let mut client = magent.client();
        client.send(request);
        magent.settle();
        others.push(magent.client());
        others[large_count].send("set last 0 0 1\r\nx\r\n");
        eventually(&format!("the set behind {request:?} is on its way to both"), || {
            backup.ask("get last\r\n") != MISS
        });
        primary.say("STORED\r\n".repeat(large_count) + early + "STORED\r\n");
        assert_eq!(client.rest_or(reply.len()), reply, "{request:?}");
        others.iter_mut().for_each(|other| other.expect("STORED\r\n"));
        assert_eq!(failures(&mut client, &primary.fake), 1);
    }
}
