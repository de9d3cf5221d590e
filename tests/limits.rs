//! Everything has a bound, and a client that goes to it is alone with what follows: the others are served meanwhile.

mod common;

use common::{
    Bytes, Client, MISS, Magent, Memcached, PATIENT, Two, eventually, hit, is_root, open_many_files, scratch,
};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";
const OUT_OF_CONNECTION: &str = "SERVER_ERROR OUT OF CONNECTION\r\n";
const MIB: usize = 1 << 20;

/// Fails unless magent answers another client's requests.
fn others_are_served(magent: &Magent) {
    let mut client = magent.client();
    for i in 0..20 {
        client.check(format!("set other{i} 0 0 5\r\nother\r\n"), "STORED\r\n");
        client.check(format!("get other{i}\r\n"), hit(&format!("other{i}"), 0, "other"));
    }
}

/// Stores a value of `len` bytes and returns the reply to a get of it.
fn store(magent: &Magent, key: &str, len: usize) -> String {
    let value = "v".repeat(len);
    magent
        .client()
        .check(format!("set {key} 0 0 {len}\r\n{value}\r\n"), "STORED\r\n");
    hit(key, 0, &value)
}

#[test]
fn half_a_set_holds_up_nobody() {
    let two = Two::start(&[PATIENT]);
    for sent in [
        "set k",
        "set k 0 0 100000\r\n",
        "set k 0 0 100000\r\nvvvvv",
        "set k 0 0 1\r\nv",
        "set k 0 0 1\r\nv\r",
    ] {
        let mut stalled = two.client();
        stalled.send(sent);
        two.magent.settle();
        let mut client = two.client();
        client.check("set k 1 0 3\r\nnew\r\n", "STORED\r\n");
        client.check("get k\r\n", hit("k", 1, "new"));
        others_are_served(&two.magent);
        drop(stalled);
        client.check("get k\r\n", hit("k", 1, "new"));
    }
    let mut stalled = two.client();
    stalled.send(format!("set k 0 0 100000\r\n{}", "v".repeat(50_000)));
    others_are_served(&two.magent);
    stalled.check(format!("{}\r\n", "v".repeat(50_000)), "STORED\r\n");
    two.both_say("get k\r\n", &hit("k", 0, &"v".repeat(100_000)));
}

#[test]
fn a_client_that_does_not_read_its_replies_holds_up_nobody() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let reply = store(&magent, "big", 100_000);
    others_are_served(&magent);
    let before = magent.resident_bytes();
    let mut lazy = magent.client();
    lazy.send("get big\r\n".repeat(1000)); // a hundred megabytes of replies
    magent.settle();
    others_are_served(&magent);
    let grown = magent.resident_bytes().saturating_sub(before);
    assert!(grown < 10 * MIB, "grown by {grown} bytes");
    // It was not forgotten either.
    for _ in 0..1000 {
        lazy.expect(&reply);
    }
}

#[test]
fn a_wide_get_of_a_client_that_does_not_read_takes_little_memory() {
    let servers = [
        Memcached::start_with(&["-m", "300"]),
        Memcached::start_with(&["-m", "300"]),
    ];
    let magent = Magent::before(&[&servers[0], &servers[1]], &[], &[]);
    let mut client = magent.client();
    let value = "v".repeat(100_000);
    for i in 0..1000 {
        client.send(format!("set key{i} 0 0 100000 noreply\r\n{value}\r\n"));
    }
    client.check("get nothing\r\n", MISS);
    let before = magent.resident_bytes();
    let keys: Vec<String> = (0..1000).map(|i| format!("key{i}")).collect();
    let mut lazy = magent.client();
    lazy.send(format!("get {}\r\n", keys.join(" ")));
    magent.settle();
    others_are_served(&magent);
    let grown = magent.resident_bytes().saturating_sub(before);
    assert!(grown < 10 * MIB, "grown by {grown} bytes");
    let reply = lazy.reply();
    let overhead: usize = keys
        .iter()
        .map(|key| format!("VALUE {key} 0 100000\r\n\r\n").len())
        .sum();
    assert_eq!(reply.0.len(), overhead + 1000 * 100_000 + MISS.len());
}

#[test]
fn a_client_that_writes_faster_than_the_servers_take_is_slowed_down() {
    let two = Two::start(&[PATIENT]);
    others_are_served(&two.magent);
    let before = two.magent.resident_bytes();
    two.primary.stop();
    let mut eager = two.client();
    let item = format!("set k 0 0 10000 noreply\r\n{}\r\n", "v".repeat(10_000));
    let writer = std::thread::spawn(move || {
        for _ in 0..5000 {
            eager.send(&item);
        }
        eager.check("get nothing\r\n", MISS);
    });
    // It goes on until its socket is full, because magent reads no more of it.
    let mut seen = 0;
    let mut same = 0;
    eventually("magent reads no more", || {
        let read = two.magent.stat("bytes_read");
        // Asking is read, too: a few bytes each time.
        same = if read < seen + 1000 { same + 1 } else { 0 };
        seen = read;
        same > 50
    });
    assert!(seen < 10 * MIB as u64, "{seen} bytes were read");
    let grown = two.magent.resident_bytes().saturating_sub(before);
    assert!(grown < 10 * MIB, "grown by {grown} bytes");
    two.primary.cont();
    writer.join().unwrap();
    others_are_served(&two.magent);
}

#[test]
fn megabytes_without_a_newline_close_the_connection() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    for beginning in ["", "set ", "get ", "gat 0 ", "\0", " "] {
        let client = magent.client();
        let endless = format!("{beginning}{}", "x".repeat(5 * MIB));
        assert_eq!(client.all_replies(endless.as_bytes()), "", "{beginning:?}");
        others_are_served(&magent);
    }
    let keys = format!("get {}", "x ".repeat(3 * MIB));
    assert_eq!(magent.client().all_replies(keys.as_bytes()), "");
    eventually("its memory is given back", || magent.stat("buffer_bytes") < 100_000);
}

#[test]
fn an_unfinished_line_holds_up_nobody() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut unfinished: Vec<Client> = Vec::new();
    for _ in 0..20 {
        let mut client = magent.client();
        client.send(format!("get {}", "x ".repeat(400_000)));
        unfinished.push(client);
    }
    magent.settle();
    others_are_served(&magent);
    for client in &mut unfinished {
        client.check("\r\n", MISS);
    }
}

#[test]
fn a_value_of_ten_megabytes_is_refused_and_the_connection_lives_on() {
    let two = Two::start(&[]);
    let mut client = two.client();
    let value = "v".repeat(10 * MIB);
    let before = two.magent.resident_bytes();
    for verb in ["set", "add", "replace", "append", "prepend"] {
        client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        client.check(format!("{verb} k 0 0 {}\r\n{value}\r\n", value.len()), TOO_LARGE);
        // As in memcached, a set takes away what was there.
        let found = if verb == "set" {
            MISS.to_owned()
        } else {
            hit("k", 0, "x")
        };
        client.check("get k\r\n", &found);
        two.both_say("get k\r\n", &found);
    }
    client.check(format!("cas k 0 0 {} 5\r\n{value}\r\n", value.len()), TOO_LARGE);
    client.send(format!("append k 0 0 {} noreply\r\n{value}\r\n", value.len()));
    client.check("get k\r\n", hit("k", 0, "x"));
    let grown = two.magent.resident_bytes().saturating_sub(before);
    assert!(grown < 5 * MIB, "grown by {grown} bytes");
}

#[test]
fn the_item_limit_can_be_set() {
    let large = Memcached::start_with(&["-I", "4m"]);
    let magent = Magent::before(&[&large], &[], &["--max-item-size=3m"]);
    store(&magent, "k", 3 * MIB);
    let mut client = magent.client();
    assert_eq!(client.ask("get k\r\n"), large.ask("get k\r\n").0);
    let value = "v".repeat(3 * MIB + 1);
    client.check(format!("set k 0 0 {}\r\n{value}\r\n", value.len()), TOO_LARGE);
    client.check("get k\r\n", MISS);

    // A value that another put there is not passed on; that is said, and it is no miss.
    let small = Magent::before(&[&large], &[], &["--max-item-size=1k"]);
    assert_eq!(large.ask("set a 0 0 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(
        large.ask(format!("set b 0 0 5000\r\n{}\r\n", "v".repeat(5000))),
        "STORED\r\n"
    );
    let mut client = small.client();
    client.check("get b\r\n", TOO_LARGE);
    client.check(
        "get a b a\r\n",
        format!("VALUE a 0 1\r\nx\r\nVALUE a 0 1\r\nx\r\n{TOO_LARGE}"),
    );
    client.check("get a\r\n", hit("a", 0, "x"));
}

#[test]
fn a_client_too_many_is_told_so() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["-n", "3"]);
    let mut clients = vec![magent.client(), magent.client(), magent.client()];
    for client in &mut clients {
        client.check("get k\r\n", MISS);
    }
    for _ in 0..200 {
        let mut refused = magent.client();
        refused.expect(OUT_OF_CONNECTION);
        refused.expect_closed();
    }
    for client in &mut clients {
        client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    }
    assert_eq!(clients[0].stat("stats", "rejected_connections"), "200");
    assert_eq!(clients[0].stat("stats", "curr_connections"), "3");
    clients.pop();
    eventually("there is room", || clients[0].stat("stats", "curr_connections") == "2");
    magent.client().check("get k\r\n", hit("k", 0, "x"));
}

/// Connections must not be lost by what clients do before they leave.
#[test]
fn however_a_client_leaves_its_connection_is_closed() {
    let two = Two::start(&[]);
    let big = store(&two.magent, "big", 500_000);
    let scripts = [
        "",
        "quit\r\n",
        "get k\r\n",
        "get k\r\nquit\r\n",
        "set k 0 0 1 noreply\r\nx\r\n",
        "set k 0 0 1 noreply\r\nx\r\nquit\r\n",
        "add k 0 0 1 noreply\r\nx\r\n",
        "delete k noreply\r\nquit\r\n",
        "incr nope 1 noreply\r\n",
        "touch k 0 noreply\r\nquit\r\n",
        "flush_all noreply\r\n",
        "verbosity 0 noreply\r\n",
        "set k 0 0 100\r\nhalf",
        "set k 0 0 100000000\r\nhalf",
        "get k",
        "bogus\r\n",
        "version\r\n",
        "flush_all\r\nflush_all\r\n",
        "stats\r\n",
        "quit\r\nget k\r\n",
    ];
    for script in scripts {
        let mut client = two.client();
        client.send(script);
        client.shutdown();
        client.rest(); // to the end of the stream, which has to come
    }
    for script in scripts {
        // Gone without a word.
        two.client().send(script);
    }
    two.client().check("set big 0 0 1\r\nx\r\n", "STORED\r\n");
    assert!(!big.is_empty());
    eventually("all connections are closed", || {
        two.magent.stat("curr_connections") == 1
    });
    assert_eq!(two.magent.stat("requests_in_flight"), 0);
}

#[test]
fn without_descriptors_magent_serves_those_who_are_there_and_then_the_next() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut clients: Vec<Client> = (0..5).map(|_| magent.client()).collect();
    for client in &mut clients {
        client.check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    }
    magent.limit_open_files(2);
    // The kernel connects them all; magent can take two.
    let mut waiting: Vec<Client> = (0..20).map(|_| magent.client()).collect();
    for client in &mut waiting {
        client.send("get k\r\n");
    }
    eventually("magent is out of descriptors", || {
        magent.log().contains("cannot accept")
    });
    for _ in 0..50 {
        for client in &mut clients {
            client.check("get k\r\n", hit("k", 0, "x"));
        }
    }
    for client in &mut waiting[..2] {
        client.expect(hit("k", 0, "x"));
    }
    assert!(waiting[2..].iter().all(Client::is_quiet));
    // Each that leaves makes room for one that waits.
    drop(clients);
    for client in &mut waiting[2..7] {
        client.expect(hit("k", 0, "x"));
    }
    let rest = waiting.split_off(7);
    drop(waiting);
    for mut client in rest {
        client.expect(hit("k", 0, "x"));
    }
    let complaints = magent.log().matches("cannot accept").count();
    assert!(complaints < 100, "{complaints} lines in the log");
}

#[test]
fn links_to_servers_have_descriptors_when_clients_have_taken_all_they_may() {
    let mut server = Memcached::start();
    // Not as root, who may open as many files as he likes.
    let scratch = scratch();
    let program = scratch.path("magent");
    std::fs::copy(Magent::program(), &program).unwrap();
    let mut command = Command::new(program);
    if is_root() {
        command.uid(65534).gid(65534);
    }
    // SAFETY: setrlimit may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit {
                rlim_cur: 100,
                rlim_max: 100,
            };
            match libc::setrlimit(libc::RLIMIT_NOFILE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let magent = Magent::start_by(command, &["-s", &server.name, "-i", "2"]);
    let warning = "only 100 files may be open: -n 4096 is lowered to ";
    eventually("the log says so", || magent.log().contains(warning));
    let log = magent.log();
    let most = log
        .split(warning)
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("the log says so");
    let most: usize = most.parse().unwrap();
    let mut clients: Vec<Client> = (0..most).map(|_| magent.client()).collect();
    for client in &mut clients {
        client.check("get k\r\n", MISS);
    }
    magent.client().expect(OUT_OF_CONNECTION);
    server.restart();
    eventually("the server is reached again", || {
        clients[0].ask("set k 0 0 1\r\nx\r\n") == "STORED\r\n"
    });
    for client in &mut clients {
        client.check("get k\r\n", hit("k", 0, "x"));
    }
}

#[test]
fn memory_stays_bounded_when_many_clients_do_not_read() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--max-memory=8m"]);
    let reply = store(&magent, "big", 900_000);
    let mut good = magent.client();
    others_are_served(&magent);
    let before = magent.resident_bytes();
    let mut lazy: Vec<Client> = Vec::new();
    for _ in 0..60 {
        let mut client = magent.client();
        client.send("get big\r\n".repeat(20));
        lazy.push(client);
        magent.settle();
        good.check("get other1\r\n", hit("other1", 0, "other"));
    }
    let grown = magent.resident_bytes().saturating_sub(before);
    assert!(grown < 24 * MIB, "grown by {grown} bytes");
    others_are_served(&magent);
    assert!(good.stat("stats", "shed_connections").parse::<u32>().unwrap() > 0);
    let told = |line: &str| line.contains(" from 127.0.0.1:") && line.contains("when --max-memory was reached");
    eventually("the log says whom it closed", || magent.log().lines().any(told));
    // Whoever is served is served right, to the last byte that he gets.
    for client in &mut lazy {
        let got = client.rest_or(reply.len() * 20);
        assert!(reply.repeat(20).as_bytes().starts_with(&got.0));
    }
    good.check("get other1\r\n", hit("other1", 0, "other"));
}

#[test]
fn memory_stays_bounded_when_many_clients_stall_in_a_value() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["--max-memory=8m"]);
    others_are_served(&magent);
    let before = magent.resident_bytes();
    let mut good = magent.client();
    let most = "v".repeat(1_000_000);
    let mut stalled: Vec<Client> = Vec::new();
    for i in 0..60 {
        let client = magent.client();
        // magent may close this one while it sends.
        let _ = client
            .stream()
            .write_all(format!("set s{i} 0 0 1000001\r\n{most}").as_bytes());
        stalled.push(client);
        good.check("get other1\r\n", hit("other1", 0, "other"));
    }
    let grown = magent.resident_bytes().saturating_sub(before);
    assert!(grown < 24 * MIB, "grown by {grown} bytes");
    others_are_served(&magent);
    assert!(good.stat("stats", "shed_connections").parse::<u32>().unwrap() > 0);
}

#[test]
fn many_clients_share_few_links_to_a_server() {
    let two = Two::start(&["-i", "3"]);
    let mut clients: Vec<Client> = (0..50).map(|_| two.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        for key in 0..10 {
            client.check(format!("set k{key} 0 0 2\r\n{i:02}\r\n"), "STORED\r\n");
            client.check(
                format!("get k{key}\r\n"),
                hit(&format!("k{key}"), 0, &format!("{i:02}")),
            );
        }
    }
    for server in [&two.primary, &two.backup] {
        let links: u64 = two.magent.server_stat(server, "links").parse().unwrap();
        assert!((1..=3).contains(&links), "{links} links");
        // Beside them, the one that asks and the one that memcached listens on.
        assert!(server.stat("curr_connections") <= links + 2);
    }
}

#[test]
fn an_idle_connection_costs_little() {
    open_many_files();
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let reply = store(&magent, "k", 5000);
    others_are_served(&magent);
    let before = magent.resident_bytes();
    const COUNT: usize = 2000;
    let mut clients: Vec<Client> = (0..COUNT).map(|_| magent.client()).collect();
    for client in &mut clients {
        // Idle is who has been busy.
        client.send(format!("set k 0 0 5000\r\n{}\r\nget k k k\r\n", "v".repeat(5000)));
        client.expect("STORED\r\n");
        client.expect(format!("{0}{0}{1}", &reply[..reply.len() - MISS.len()], reply));
    }
    let each = magent.resident_bytes().saturating_sub(before) / COUNT;
    assert!(each < 1500, "{each} bytes for each connection");
    assert!(magent.stat("buffer_bytes") < 100_000);
    for client in &mut clients {
        client.check("get k\r\n", &reply);
    }
}

/// Replies can only be lost with the connection, never inside it.
#[test]
fn slow_readers_get_every_byte_in_order() {
    let two = Two::start(&[]);
    let mut expected = Vec::new();
    let mut script = Vec::new();
    for (i, len) in [(0, 10), (1, 3000), (2, 70_000), (3, 900_000)] {
        store(&two.magent, &format!("k{i}"), len);
    }
    for i in 0..200 {
        let key = i % 4;
        script.extend_from_slice(format!("get k{key}\r\nincr nope {i}\r\n").as_bytes());
        let len = [10, 3000, 70_000, 900_000][key];
        expected.extend_from_slice(format!("{}NOT_FOUND\r\n", hit(&format!("k{key}"), 0, &"v".repeat(len))).as_bytes());
    }
    let mut client = two.client();
    client.send(script);
    two.magent.settle();
    let mut read = 0;
    while read < expected.len() {
        let step = 40_000.min(expected.len() - read);
        client.expect(&expected[read..read + step]);
        read += step;
    }
    assert!(client.is_quiet());
}

/// A client that is told to wait by its socket: it may not be written to, and is.
#[test]
fn a_full_socket_is_waited_for_and_not_given_up() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    client.stream().set_nonblocking(true).unwrap();
    let mut sent = 0;
    let script = "get nothing\r\n".repeat(200_000);
    // Until neither side takes more.
    loop {
        match client.stream().write(&script.as_bytes()[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        if sent == script.len() {
            break;
        }
    }
    client.stream().set_nonblocking(false).unwrap();
    others_are_served(&magent);
    let whole = sent / "get nothing\r\n".len();
    for _ in 0..whole {
        client.expect(MISS);
    }
    assert_ne!(whole, 0, "{:?}", Bytes(Vec::new()));
}
