//! Whatever a client writes: what magent makes of its lines is answered by a memcached exactly once, nobody else notices
//! them, and no value, nor another protocol, is run as commands.

mod common;

use common::{MISS, Magent, Memcached, Two, hit};
use magent::protocol::keys::KeyList;
use magent::protocol::request::Request;
use magent::protocol::server::encode::{Words, encode};
use magent::protocol::text::dialect::Dialect;
use magent::protocol::text::parse::parse;
use std::collections::BTreeSet;

/// Command lines with K for a key: as they should be, and with what parsers differ about.
const LINES: &[&str] = &[
    "get K",
    "gets K",
    "get K k2",
    "get k2 K",
    "gat 0 K",
    "gats 0 k2 K",
    "set K 0 0 7",
    "add K 0 0 7",
    "replace K 0 0 7",
    "append K 0 0 7",
    "prepend K 0 0 7",
    "cas K 0 0 7 1",
    "incr K 5",
    "decr K 5",
    "touch K 0",
    "delete K",
    "delete K 0",
    "flush_all",
    "flush_all 0",
    "verbosity 0",
    "version",
];
const NUMBERS: &[&str] = &[
    "+1",
    "01",
    "-0",
    "-1",
    "00000000000000000000007",
    "1\t",
    "\t1",
    "1x",
    "0x1",
    "-",
    "4294967295",
    "4294967296",
    "2147483646",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-18446744073709551615",
    "99999999999999999999999",
    "",
];

/// The lines above, with every kind of key, number and spacing, and noreply where it is and where it is not.
fn client_lines() -> BTreeSet<Vec<u8>> {
    let mut lines = BTreeSet::new();
    let mut keys: Vec<Vec<u8>> = ["k", "noreply", "0", "-1", "HTTP/1.1", "get", "\u{fc}"]
        .map(|key| key.into())
        .into();
    keys.extend(
        (0..=255_u8)
            .filter(|byte| !b" \n".contains(byte))
            .map(|byte| vec![b'a', byte]),
    );
    keys.extend([vec![b'k'; 250], vec![b'k'; 251], Vec::new()]);
    for line in LINES {
        let (before, behind) = line.split_once('K').unwrap_or((line, ""));
        for key in &keys {
            lines.insert([before.as_bytes(), key, behind.as_bytes()].concat());
        }
        let words: Vec<&str> = line.split(' ').collect();
        for at in 1..words.len() {
            for number in NUMBERS {
                let mut words = words.clone();
                words[at] = number;
                lines.insert(words.join(" ").into_bytes());
            }
            lines.insert(words[..at].join(" ").into_bytes());
        }
    }
    for line in lines.clone() {
        let noisy = |bytes: &[u8]| {
            bytes
                .iter()
                .flat_map(|&byte| if byte == b' ' { vec![b' '; 3] } else { vec![byte] })
                .collect()
        };
        lines.insert([b" ", &line[..]].concat());
        lines.insert([&line[..], b"  "].concat());
        lines.insert([&line[..], b" noreply"].concat());
        lines.insert([&line[..], b" foo"].concat());
        lines.insert([&line[..], b"\r"].concat());
        lines.insert(noisy(&line));
    }
    lines
}

#[test]
fn what_is_forwarded_is_answered_exactly_once() {
    let server = Memcached::start();
    let mut client = server.client();
    let mut forwarded = BTreeSet::new();
    for line in client_lines() {
        let line = [&line[..], b"\r\n"].concat();
        for dialect in [Dialect::Old, Dialect::New] {
            let Some((_, _, Ok(request))) = parse(dialect, &line) else {
                continue;
            };
            let is_sent = request.key_count > 0 || !request.verb.is_retrieval();
            if request.value_len <= 7 && is_sent {
                let mut keys = KeyList::default();
                request.keys.for_each(|key| keys.push(key));
                let value = &b"1234567"[..request.value_len];
                let anew = match request.key_count {
                    2.. => Request::retrieval(request.manner(), &keys, request.key_count),
                    _ => Request {
                        verbatim: None,
                        ..request
                    },
                };
                let as_it_came = request.verbatim.map(|_| request);
                for said in as_it_came.into_iter().chain([anew]) {
                    let mut words = Words::default();
                    forwarded.insert(encode(&Request { value, ..said }, &mut words).parts().concat());
                }
            }
        }
    }
    assert!(forwarded.len() > 3000, "{}", forwarded.len());
    for request in forwarded.iter().filter(|request| !request.starts_with(b"v")) {
        let shown = request.escape_ascii();
        client.send([&request[..], b"version\r\n"].concat());
        let reply = client.reply();
        assert!(!reply.starts_with("VERSION"), "no answer to {shown}");
        assert!(
            !reply.starts_with("ERROR") || request.starts_with(b"ga"),
            "{shown}: {reply:?}"
        );
        assert!(!reply.starts_with("CLIENT_ERROR bad"), "{shown}: {reply:?}");
        assert_eq!(client.line(), Memcached::version().reply().as_str(), "behind {shown}");
    }
}

/// Sends every line, and behind it what may be its value, while another client asks for what is its own.
#[test]
fn no_line_of_a_client_is_noticed_by_another() {
    let two = Two::start(&[]);
    let mut other = two.client();
    other.check("set secret 0 0 6\r\nsecret\r\n", "STORED\r\n");
    for (number, line) in client_lines()
        .iter()
        .filter(|line| !line.windows(9).any(|part| part == b"flush_all"))
        .enumerate()
    {
        let mut client = two.client();
        client.send([line, &b"\r\nget secret\r\n"[..]].concat());
        // A value of its own for each, so that no other can be taken for it.
        other.check(format!("set other 0 0 5\r\n{number:05}\r\n"), "STORED\r\n");
        other.check("get other\r\n", hit("other", 0, &format!("{number:05}")));
    }
    for server in [&two.primary, &two.backup] {
        assert_eq!(two.magent.server_stat(server, "failures"), "0");
        assert_eq!(two.magent.server_stat(server, "state"), "up");
    }
}

#[test]
fn a_delete_of_a_key_called_noreply_has_an_end() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for (count, request) in ["delete noreply\r\n", " delete  noreply \r\n", "delete noreply 0\r\n"]
        .iter()
        .cycle()
        .take(30)
        .enumerate()
    {
        client.check("set noreply 0 0 1\r\nx\r\n", "STORED\r\n");
        two.client().all_replies(request.as_bytes());
        let is_taken = !request.starts_with(' ') || Memcached::version() < common::Version(1, 6, 40);
        client.check(
            "get noreply\r\n",
            if is_taken {
                MISS.to_owned()
            } else {
                hit("noreply", 0, "x")
            },
        );
        client.check(format!("set count 0 0 2\r\n{count:02}\r\n"), "STORED\r\n");
        // Of two servers, one is filled from the other by deletes and sets as well.
        two.both_say("get count\r\n", &hit("count", 0, &format!("{count:02}")));
    }
    for server in [&two.primary, &two.backup] {
        assert_eq!(two.magent.server_stat(server, "failures"), "0");
    }
}

/// memcached gives up a connection on which more than 2048 bytes of a line are there without its end, unless it is a get.
#[test]
fn long_retrievals_cost_nobody_a_server() {
    let two = Two::start(&[]);
    let long: Vec<String> = (0..200).map(|n| format!("{n:0>250}")).collect();
    let short: Vec<String> = (0..100).map(|n| format!("{n:0>40}")).collect();
    let mut client = two.client();
    for key in long.iter().chain(&short) {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let mut pipelining = two.client();
    for _ in 0..20 {
        pipelining.send("get none\r\n".repeat(2000));
        for verb in ["gat 0", "gats 0", "get", "gets"] {
            for keys in [&long[..131], &short, &long] {
                let reply = client.ask(format!("{verb} {}\r\n", keys.join(" ")));
                let values = String::from_utf8_lossy(&reply.0).matches("VALUE ").count();
                assert_eq!(values, keys.len(), "{verb}");
            }
        }
        pipelining.expect(MISS.repeat(2000));
    }
    for server in [&two.primary, &two.backup] {
        assert_eq!(two.magent.server_stat(server, "failures"), "0");
    }
}

/// The reply to `request` in full, after which the connection has to be closed though the client does not end it.
fn last_words(magent: &Magent, request: &[u8]) -> String {
    let mut client = magent.client();
    client.send(request);
    String::from_utf8_lossy(&client.rest().0).into_owned()
}

#[test]
fn what_may_be_a_value_is_not_run() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("set kept 0 0 1\r\nx\r\n", "STORED\r\n");
    let before = "get kept\r\n";
    for line in [
        "ms page eleven T60",
        "ms page -11",
        "ms page",
        "ms",
        "SET page 0 0 11",
        "\tset page 0 0 11",
        "set\tpage 0 0 11",
        "qset page 0 0 11",
        "set page 0 0",
        "set page 0 0 eleven",
        "set page 0 0 -11",
        "add my page 0 0 11 more",
        "cas page 0 0",
        "\0set page 0 0 11",
        "*3\r\n$3",
        "$11",
    ] {
        let request = format!("{before}{line}\r\nflush_all\r\n\r\nset pwned 0 0 1\r\nx\r\n");
        let words = last_words(&two.magent, request.as_bytes());
        let refusal = words.strip_prefix(&hit("kept", 0, "x"));
        let refusal = refusal.unwrap_or_else(|| panic!("what was asked before is answered: {words:?}"));
        assert!(
            refusal.contains("ERROR") && refusal.lines().count() == 1,
            "{line}: {refusal:?}"
        );
    }
    // memcached since 1.6.40 does not look into lines that are so short.
    for line in ["ms\n", "*3\n"] {
        let words = last_words(&two.magent, format!("{line}flush_all\n").as_bytes());
        assert!(words.contains("ERROR") && words.lines().count() == 1, "{words:?}");
    }
    client.check("get kept pwned\r\n", hit("kept", 0, "x"));
    assert_eq!(two.magent.stat("cmd_flush"), 0);
}

/// memcached takes blanks before a command, or since 1.6.40 refuses them and runs the value as commands. Here it is one
/// refusal, the client's next request is answered, and nobody else is answered what the value asked for.
#[test]
fn a_storage_command_behind_blanks_is_stored_or_refused_with_its_value() {
    let two = Two::start(&[]);
    let (mut client, mut other) = (two.client(), two.client());
    client.check("set secret 0 0 6\r\nsecret\r\n", "STORED\r\n");
    client.check("set other 0 0 4\r\nmine\r\n", "STORED\r\n");
    let reply = if Memcached::version() < common::Version(1, 6, 40) {
        "STORED\r\n"
    } else {
        "ERROR\r\n"
    };
    for _ in 0..60 {
        client.send(" set k 0 0 10\r\nget secret\r\n");
        other.check("get other\r\n".repeat(5), hit("other", 0, "mine").repeat(5));
        client.expect(reply);
        client.check("get other\r\n", hit("other", 0, "mine"));
    }
    for server in [&two.primary, &two.backup] {
        assert_eq!(two.magent.server_stat(server, "failures"), "0");
    }
}

/// A browser, or who abuses one, cannot write to a cache on its machine.
#[test]
fn http_requests_are_hung_up_on() {
    let two = Two::start(&[]);
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /\r\n",
        "OPTIONS * HTTP/1.0\r\n",
        "BREW /pot HTTP/2\r\n",
        "delete / HTTP/1.1\r\n",
        "touch / HTTP/1.1\r\n",
        "incr / HTTP/1.1\r\n",
        "flush_all / HTTP/1.1\r\n",
        "\0POST / HTTP/1.1\r\n",
        "BREW /pot\0 HTTP/1.1\r\n",
    ] {
        let request = format!("get none\r\n{request}flush_all\r\nset pwned 0 0 1\r\nx\r\n");
        assert_eq!(last_words(&two.magent, request.as_bytes()), MISS, "{request:?}");
    }
    two.client().check("get pwned HTTP/1.1\r\n", MISS);
    assert_eq!(two.magent.stat("cmd_flush"), 0);
}

/// It is the first byte of a connection that tells its protocol.
#[test]
fn what_begins_a_binary_request_is_a_byte_like_any_other_behind_a_line() {
    let two = Two::start(&[]);
    two.client().check(b"version\r\n\x80\r\nversion\r\n", {
        let version = Memcached::version().reply();
        let refusal = if Memcached::version() < common::Version(1, 6, 40) {
            "ERROR"
        } else {
            "CLIENT_ERROR bad command line format"
        };
        format!("{version}{refusal}\r\n{version}")
    });
}

/// A connection that is closed for a line with a value behind it has that unread, which resets it. What was said before is
/// not to go with it, however much.
#[test]
fn a_line_that_closes_the_connection_does_not_cost_the_replies_before_it() {
    let server = Memcached::start();
    let magent = Magent::start(&["-s", &server.name]);
    let large = "z".repeat(1_000_000);
    let mut client = magent.client();
    client.check(format!("set big 0 0 {}\r\n{large}\r\n", large.len()), "STORED\r\n");
    let unread = "x".repeat(100_000);
    for _ in 0..20 {
        let mut client = magent.client();
        client.send(format!("get big\r\nget big\r\nst big 0 0 7\r\n{unread}"));
        let value = hit("big", 0, &large);
        client.expect(format!("{value}{value}ERROR\r\n"));
    }
}
