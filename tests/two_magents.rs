//! Two magents before the same two servers, and clients of both that change a key at the same moment: in the end both servers have
//! the same, and what was answered is what one memcached could have answered.

mod common;

use common::{Client, Fake, MISS, Magent, Memcached, eventually, run};
use std::thread;

const KEYS: usize = 500;
const BOARD: &str = "--board=on";

/// Which lists the two magents have.
#[derive(Clone, Copy, Debug)]
enum Lists {
    /// Each has its own server first.
    Crossed,
    Same,
}

struct Two {
    servers: [Memcached; 2],
    magents: [Magent; 2],
}

impl Two {
    fn start(lists: Lists) -> Self {
        let [one, other] = [(); 2].map(|()| Memcached::start());
        let magents = match lists {
            Lists::Crossed => [
                Magent::before(&[&one], &[&other], &[BOARD]),
                Magent::before(&[&other], &[&one], &[BOARD]),
            ],
            Lists::Same => [(); 2].map(|()| Magent::before(&[&one, &other], &[&one, &other], &[BOARD])),
        };
        Self {
            servers: [one, other],
            magents,
        }
    }

    /// Has each of the keys changed through both magents at the same moment, and returns what the two clients were told. `requests`
    /// says what each of them asks.
    fn at_once(&self, requests: impl Fn(usize, &str, &mut Client) -> String + Sync) -> Vec<[String; 2]> {
        let mut clients = [0, 1].map(|at| self.magents[at].client());
        let keys = (0..KEYS).map(|n| format!("key{n}"));
        let told = keys.map(|key| {
            let lines = [0, 1].map(|at| requests(at, &key, &mut clients[at]));
            thread::scope(|scope| {
                let [one, other] = &mut clients;
                let [first, second] = &lines;
                let first = scope.spawn(move || text(one, first));
                let second = scope.spawn(move || text(other, second));
                [first, second].map(|client| client.join().expect("a client that is answered"))
            })
        });
        told.collect()
    }

    /// What both servers have of every key, once they have the same.
    fn agree(&self) -> Vec<Vec<u8>> {
        let all = |server: &Memcached| -> Vec<Vec<u8>> {
            let mut client = server.client();
            let get = |n| client.ask(format!("get key{n}\r\n")).0;
            (0..KEYS).map(get).collect()
        };
        let mut what = Vec::new();
        eventually("both servers have the same", || {
            let [one, other] = [0, 1].map(|at| all(&self.servers[at]));
            what = one;
            what == other
        });
        let [one, other] = [0, 1].map(|at| &*self.servers[at].name);
        let ended = run(&["--compare", "-l", "127.0.0.1", "-s", one, "-b", other]);
        assert_eq!(ended.status, Some(0), "{}", ended.output);
        what
    }

    fn fill(&self, value: &str) {
        let mut client = self.magents[0].client();
        for n in 0..KEYS {
            client.check(format!("set key{n} 0 0 {}\r\n{value}\r\n", value.len()), "STORED\r\n");
        }
        self.agree();
    }
}

fn text(client: &mut Client, request: &str) -> String {
    String::from_utf8_lossy(&client.ask(request).0).trim_end().to_owned()
}

fn both(test: impl Fn(&Two)) {
    for lists in [Lists::Crossed, Lists::Same] {
        println!("{lists:?}");
        test(&Two::start(lists));
    }
}

#[test]
fn sets_at_the_same_moment_leave_both_servers_alike() {
    both(|two| {
        two.at_once(|at, key, _| format!("set {key} 0 0 1\r\n{at}\r\n"));
        two.agree();
    });
}

#[test]
fn a_set_and_a_deletion_at_the_same_moment_leave_both_servers_alike() {
    both(|two| {
        two.fill("x");
        two.at_once(|at, key, _| match at {
            0 => format!("set {key} 0 0 1\r\n1\r\n"),
            _ => format!("delete {key}\r\n"),
        });
        two.agree();
    });
}

#[test]
fn of_two_who_add_a_key_one_is_told_that_it_is_stored() {
    both(|two| {
        for told in two.at_once(|at, key, _| format!("add {key} 0 0 1\r\n{at}\r\n")) {
            let stored = told.iter().filter(|reply| *reply == "STORED").count();
            assert_eq!(stored, 1, "{told:?}");
        }
        two.agree();
    });
}

#[test]
fn of_two_who_have_a_unique_one_may_store_by_it() {
    both(|two| {
        two.fill("x");
        let told = two.at_once(|at, key, client| {
            let item = text(client, &format!("gets {key}\r\n"));
            let line = item.lines().next().expect("a line");
            let unique = line.rsplit(' ').next().expect("a unique");
            format!("cas {key} 0 0 1 {unique}\r\n{at}\r\n")
        });
        for told in told {
            let stored = told.iter().filter(|reply| *reply == "STORED").count();
            assert_eq!(stored, 1, "{told:?}");
        }
        two.agree();
    });
}

#[test]
fn both_counts_of_a_key_are_counted_and_told_once() {
    both(|two| {
        two.fill("0");
        for mut told in two.at_once(|_, key, _| format!("incr {key} 1\r\n")) {
            told.sort_unstable();
            assert_eq!(told, ["1", "2"]);
        }
        for (n, item) in two.agree().iter().enumerate() {
            assert_eq!(*item, format!("VALUE key{n} 0 1\r\n2\r\nEND\r\n").into_bytes());
        }
    });
}

/// A magent that is alone leaves nothing behind that would make it look at its writes once more for ever.
#[test]
fn who_is_gone_is_not_waited_for() {
    let mut two = Two::start(Lists::Crossed);
    let mut client = two.magents[0].client();
    let looks = |two: &Two| two.servers[0].stat("cmd_get");
    client.check("set key0 0 0 1\r\nx\r\n", "STORED\r\n");
    two.magents[1].signal(libc::SIGKILL);
    two.magents[1].wait();
    eventually("nobody else is there", || {
        let before = looks(&two);
        for _ in 0..100 {
            client.check("set key0 0 0 1\r\nx\r\n", "STORED\r\n");
        }
        looks(&two) - before < 50
    });
}

/// One whose memory is full drops it at once, say; or somebody else's item has its key.
#[test]
fn a_server_that_does_not_keep_its_board_is_not_waited_for() {
    for stored in [
        "STORED\r\n",
        "NOT_STORED\r\n",
        "SERVER_ERROR out of memory storing object\r\n",
    ] {
        let [one, other] = [(); 2].map(|()| {
            Fake::start(move |line| {
                let reply = match line.split(' ').next()? {
                    "mg" => "EN\r\n",
                    "add" | "cas" => stored,
                    "get" => MISS,
                    "lru_crawler" => "END\r\n",
                    _ => "",
                };
                Some(reply.as_bytes().to_vec())
            })
        });
        let magent = Magent::start(&["-s", &one.name, "-b", &other.name, BOARD, "--timeout=1000"]);
        magent.client().check("get k\r\n", MISS);
    }
}
