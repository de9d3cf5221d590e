//! What is held for clients is bounded by --max-memory and a little for each: they are not read from, and servers are not
//! asked for them, before anybody is closed.

mod common;

use common::{Client, Magent, Memcached, eventually, hit, open_many_files, stay_on_one_processor};

const MIB: usize = 1 << 20;
const SHED: &str = "when --max-memory was reached";

/// A magent with little memory before two servers, one of which hangs; each has a key that is known.
struct SlowAndFast {
    slow: Memcached,
    fast: Memcached,
    magent: Magent,
    of_slow: String,
    of_fast: String,
}

impl SlowAndFast {
    fn start() -> Self {
        let (slow, fast) = (Memcached::start(), Memcached::start());
        let magent = Magent::before(&[&slow, &fast], &[], &["--max-memory=1m", "--timeout=60000"]);
        let mut client = magent.client();
        let mut key_on = |server: &Memcached| {
            let mut keys = (0..100).map(|i| format!("key{i}"));
            let there = |key: &String| {
                client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
                server.ask(format!("get {key}\r\n")) == hit(key, 0, "x")
            };
            keys.find(there).expect("some key is there")
        };
        let (of_slow, of_fast) = (key_on(&slow), key_on(&fast));
        slow.stop();
        Self {
            slow,
            fast,
            magent,
            of_slow,
            of_fast,
        }
    }

    /// What magent has grown by when it has read what these clients have sent, as far as it reads it.
    fn grown_by(&self, clients: &mut [Client], request: &str) -> usize {
        let before = self.magent.resident_bytes();
        for client in clients {
            client.send(request);
            self.magent.settle();
        }
        let mut most = 0;
        // Until nothing comes any more.
        for _ in 0..50 {
            self.magent.settle();
            most = most.max(self.magent.resident_bytes().saturating_sub(before));
        }
        most
    }

    /// Fails unless a client with keys of the server that does not hang is served.
    fn others_are_served(&self) {
        let mut client = self.magent.client();
        let key = &self.of_fast;
        client.check(format!("set {key} 0 0 5\r\nother\r\n"), "STORED\r\n");
        client.check(format!("get {key}\r\n"), hit(key, 0, "other"));
    }
}

/// Many clients ask for large values behind one that does not come.
fn replies_that_wait(request: impl Fn(&str, &str) -> String, reply: impl Fn(&str, &str) -> String) {
    let two = SlowAndFast::start();
    let (slow, fast) = (two.of_slow.as_str(), two.of_fast.as_str());
    let value = "v".repeat(100_000);
    assert_eq!(
        two.fast.ask(format!("set {fast} 0 0 100000\r\n{value}\r\n")),
        "STORED\r\n"
    );
    let mut clients: Vec<Client> = (0..20).map(|_| two.magent.client()).collect();
    let grown = two.grown_by(&mut clients, &request(slow, fast));
    // 60 MB were asked for.
    assert!(grown < 8 * MIB, "grown by {grown} bytes");
    two.slow.cont();
    let expected = reply(&hit(slow, 0, "x"), &hit(fast, 0, &value));
    let mut whole = 0;
    for client in &mut clients {
        let got = client.rest_or(expected.len());
        assert!(
            expected.as_bytes().starts_with(&got.0),
            "what is served is served right"
        );
        whole += usize::from(got.0.len() == expected.len());
    }
    assert!(whole > 0, "not everybody is closed");
    two.others_are_served();
}

#[test]
fn replies_behind_one_that_does_not_come_count() {
    let request = |slow: &str, fast: &str| format!("get {slow}\r\n{}", format!("get {fast}\r\n").repeat(30));
    replies_that_wait(request, |slow, fast| format!("{slow}{}", fast.repeat(30)));
}

#[test]
fn values_behind_one_that_does_not_come_count() {
    let request = |slow: &str, fast: &str| format!("get {slow}{}\r\n", format!(" {fast}").repeat(30));
    replies_that_wait(request, |slow, fast| {
        let value = |reply: &str| reply.strip_suffix("END\r\n").expect("a hit").to_owned();
        format!("{}{}END\r\n", value(slow), value(fast).repeat(30))
    });
}

#[test]
fn clients_of_a_server_that_hangs_are_not_read_from_and_not_closed() {
    let two = SlowAndFast::start();
    let key = &two.of_slow;
    let set = format!("set {key} 0 0 10000 noreply\r\n{}\r\n", "v".repeat(10_000));
    let request = format!("{}get {key}\r\n", set.repeat(50));
    let mut clients: Vec<Client> = (0..40).map(|_| two.magent.client()).collect();
    let grown = two.grown_by(&mut clients, &request);
    // 20 MB were sent.
    assert!(grown < 6 * MIB, "grown by {grown} bytes");
    two.others_are_served();
    two.slow.cont();
    for client in &mut clients {
        client.expect(hit(key, 0, &"v".repeat(10_000)));
    }
    assert!(!two.magent.log().contains(SHED), "nobody is closed");
}

/// Those who have announced a value are compared with as many who have not, turn and turn about: what else goes on meanwhile
/// touches both.
#[test]
fn what_is_announced_and_not_sent_costs_nothing() {
    stay_on_one_processor();
    open_many_files();
    const COUNT: usize = 3000;
    const TURNS: usize = 12;
    let server = Memcached::start();
    let clients = || {
        let magent = Magent::before(&[&server], &[], &["--max-memory=16m"]);
        let mut idle: Vec<Client> = (0..COUNT).map(|_| magent.client()).collect();
        for client in &mut idle {
            client.check("get nothing\r\n", "END\r\n");
        }
        (magent, idle)
    };
    let (quiet, _idle) = clients();
    let (magent, mut announcing) = clients();
    for client in &mut announcing {
        client.send("set k 0 0 65536\r\n");
    }
    magent.settle();
    quiet.client().check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    let mut least_us = [u64::MAX; 2];
    for _ in 0..TURNS {
        for (least_us, magent) in least_us.iter_mut().zip([&quiet, &magent]) {
            let mut client = magent.client();
            let before = magent.processor_us();
            (0..500).for_each(|_| client.check("get k\r\n", hit("k", 0, "x")));
            *least_us = (*least_us).min(magent.processor_us() - before);
        }
    }
    let [quiet_us, announced_us] = least_us;
    assert!(
        2 * announced_us < 3 * quiet_us,
        "500 gets take {quiet_us} us, {announced_us} us beside {COUNT} who have announced values"
    );
    eventually("it is little", || magent.stat("buffer_bytes") < 500_000);
    assert!(!magent.log().contains(SHED), "nobody is closed");
}

/// A short reply that finds the socket full is not much, but what comes behind it is.
#[test]
fn large_replies_behind_a_full_socket_count() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--max-memory=1m"]);
    let mut client = magent.client();
    for (key, len) in [("short", 8000), ("large", 1_000_000)] {
        client.check(format!("set {key} 0 0 {len}\r\n{}\r\n", "v".repeat(len)), "STORED\r\n");
    }
    let mut clients: Vec<Client> = (0..3).map(|_| magent.client()).collect();
    for client in &mut clients {
        // Until its socket takes no more.
        let before = magent.stat("buffer_bytes");
        let holds_some = || (0..3).all(|_| magent.stat("buffer_bytes") > before);
        while !holds_some() {
            client.send("get short\r\n");
        }
    }
    for client in &mut clients {
        client.send("get large\r\n");
    }
    eventually("who holds the most is closed", || magent.stat("shed_connections") > 0);
    eventually("it is little again", || magent.stat("buffer_bytes") < 2 * MIB as u64);
}

/// Whoever has begun to send a value waits for memory. Where all of it is held by those who wait, and by little ones that are
/// not worth closing, they must get on.
#[test]
fn clients_that_hold_all_memory_do_not_wait_for_each_other() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--max-memory=1m"]);
    let begin = |request: String| {
        let mut client = magent.client();
        client.send(request);
        client
    };
    let half = "v".repeat(50_000);
    let mut large: Vec<Client> = (0..10)
        .map(|n| begin(format!("set k{n} 0 0 100000\r\n{half}{}", &half[..49_000])))
        .collect();
    eventually("they hold much", || magent.stat("buffer_bytes") > 1_000_000);
    let _small: Vec<Client> = (0..80).map(|_| begin(format!("get {}", "k ".repeat(450)))).collect();
    eventually("there is no more", || magent.stat("buffer_bytes") > MIB as u64);
    large.truncate(5); // the others are gone
    for client in &mut large {
        client.send(format!("{}\r\n", &half[..1000]));
    }
    for client in &mut large {
        client.expect("STORED\r\n");
    }
    let mut other = magent.client();
    other.check(format!("set k 0 0 50000\r\n{half}\r\n"), "STORED\r\n");
    assert!(!magent.log().contains(SHED), "nobody is closed");
}

/// Many requests in flight take room, which is not kept when they are answered.
#[test]
fn what_many_requests_took_is_given_back() {
    let (one, other) = (Memcached::start(), Memcached::start());
    let magent = Magent::before(&[&one, &other], &[], &["--timeout=60000"]);
    let mut clients: Vec<Client> = (0..60).map(|_| magent.client()).collect();
    let before = magent.resident_bytes();
    one.stop();
    other.stop();
    for client in &mut clients {
        client.send("version\r\n".repeat(1000));
    }
    eventually("all are in flight", || magent.stat("requests_in_flight") == 60_000);
    let most = magent.resident_bytes().saturating_sub(before);
    one.cont();
    other.cont();
    for client in &mut clients {
        (0..1000).for_each(|_| assert!(client.line().starts_with("VERSION")));
    }
    eventually("they are gone", || magent.stat("requests_in_flight") == 0);
    // The last of them goes in the turn after its answer.
    eventually("what they took is given back", || {
        4 * magent.resident_bytes().saturating_sub(before) < most
    });
}
