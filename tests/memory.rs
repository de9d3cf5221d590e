//! What is held for clients is bounded by --max-memory and a little for each: they are not read from, and servers are not
//! asked for them, before anybody is closed.

mod common;

use common::{Client, Magent, Memcached, eventually, hit, open_many_files};

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

#[test]
fn what_is_announced_and_not_sent_costs_nothing() {
    open_many_files();
    const COUNT: usize = 3000;
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--max-memory=16m"]);
    let mut client = magent.client();
    client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    let mut idle: Vec<Client> = (0..COUNT).map(|_| magent.client()).collect();
    for client in &mut idle {
        client.check("get nothing\r\n", "END\r\n");
    }
    let mut cost_us = || {
        let tries = (0..5).map(|_| {
            let before = magent.processor_us();
            (0..500).for_each(|_| client.check("get k\r\n", hit("k", 0, "x")));
            magent.processor_us() - before
        });
        tries.min().expect("some tries")
    };
    let before = cost_us();
    for client in &mut idle {
        client.send("set k 0 0 65536\r\n");
    }
    magent.settle();
    let after = cost_us();
    assert!(
        2 * after < 3 * before,
        "500 gets take {before} us, {after} us beside {COUNT} who have announced values"
    );
    eventually("it is little", || magent.stat("buffer_bytes") < 500_000);
    assert!(!magent.log().contains(SHED), "nobody is closed");
}
