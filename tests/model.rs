//! The simulator's model of memcached against a real one: what they are sent is the same, and so must be what they say.

mod common;
#[path = "model/generator.rs"]
mod generator;
#[path = "simulator/memcached/mod.rs"]
mod memcached;
#[path = "model/pair.rs"]
mod pair;
#[allow(dead_code)] // the simulator uses all of it
#[path = "simulator/random.rs"]
mod random;

use generator::Generator;
use memcached::Memcached as Model;
use pair::Pair;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

/// Each is another sequence of commands.
const SEEDS: u64 = 16;
const BATCHES_A_SEED: usize = 500;

/// What random commands must have been answered with, or the test tests little.
const REPLIES: &str = "STORED|NOT_STORED|EXISTS|NOT_FOUND|DELETED|TOUCHED|OK|ERROR|END|VALUE|VERSION|MN|HD|VA|NS|EX|NF|EN|\
    W|X|Z|CLIENT_ERROR bad command line format|\
    CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]|CLIENT_ERROR bad data chunk|\
    CLIENT_ERROR cannot increment or decrement non-numeric value|CLIENT_ERROR duplicate flag|\
    CLIENT_ERROR incorrect length for M token|CLIENT_ERROR invalid exptime argument|CLIENT_ERROR invalid flag|\
    CLIENT_ERROR invalid mode for ma M token|CLIENT_ERROR invalid mode for ms M token|\
    CLIENT_ERROR invalid numeric delta argument|CLIENT_ERROR invalid or duplicate flag|\
    CLIENT_ERROR bad token in command line format|CLIENT_ERROR opaque token too long";

#[test]
fn random_commands_are_answered_as_memcached_answers_them() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut pair = Pair::new(format!("seed {seed}"));
        let mut generator = Generator::new(seed, true);
        pair.open();
        pair.open();
        for _ in 0..BATCHES_A_SEED {
            let lane = generator.below(pair.lanes.len());
            let batch = generator.batch(&pair);
            let replies = pair.check_on(lane, &batch, |all| vec![all.len()]);
            for line in replies.lines() {
                let words = line.split(' ').filter(|word| word.len() <= "NOT_STORED".len());
                seen.extend(words.map(str::to_owned));
                seen.insert(line.to_owned());
            }
            if generator.one_in(25) {
                pair.check_list("all");
            }
        }
        pair.check_counters();
    }
    for reply in REPLIES.split('|') {
        assert!(seen.contains(reply), "no command was answered with {reply}");
    }
}

#[test]
fn any_split_of_the_bytes_is_answered_alike() {
    for seed in 0..SEEDS / 4 {
        let mut pair = Pair::new(format!("seed {seed}"));
        let mut generator = Generator::new(seed, false);
        for _ in 0..BATCHES_A_SEED {
            let batch = generator.batch(&pair);
            pair.check_on(0, &batch, |all| {
                let mut pieces = Vec::new();
                let mut rest = all.len();
                while rest > 0 {
                    let longest = if generator.one_in(2) { 3 } else { 200 };
                    pieces.push(rest.min(1 + generator.below(longest)));
                    rest -= pieces[pieces.len() - 1];
                }
                pieces
            });
        }
        pair.check_counters();
    }
}

#[test]
fn odd_lines_are_answered_alike() {
    let mut pair = Pair::new("odd lines");
    let key = "k".repeat(251);
    // Replies to earlier commands are lost with a key that is too long.
    pair.check(format!(
        "set a 0 0 1\r\nx\r\nversion\r\nmg a v\r\nget a {key}\r\nversion\r\n"
    ));
    let with_key = "set KEY 0 0 1|incr KEY 1|touch KEY 0|delete KEY|gat 0 KEY|mg KEY|ms KEY 1|md KEY|ma KEY";
    for name in with_key.split('|') {
        pair.check(format!("{}\r\nx\r\n", name.replace("KEY", &key)));
        pair.check(format!("{} noreply\r\nx\r\n", name.replace("KEY", &key)));
        pair.check(format!("{}\r\nx\r\n", name.replace("KEY", &key[1..])));
    }
    let numbers = "4294967296|-1|+5|\t5|5\t9|5x|-0|18446744073709551615|-18446744073709551615|18446744073709551616|\
        9223372036854775807|9223372036854775808|-4294967296|9223372036854775808\t-";
    for number in numbers.split('|') {
        pair.check(format!("set a {number} 0 1\r\nx\r\nget a\r\n"));
        pair.check(format!("set a 0 {number} 1\r\nx\r\nget a\r\n"));
        pair.check(format!("cas a 0 0 1 {number}\r\nx\r\nget a\r\n"));
        pair.check(format!("set n 0 0 1\r\n7\r\nincr n {number}\r\ngets n\r\n"));
        let len = number.len();
        pair.check(format!("set n 0 0 {len}\r\n{number}\r\nincr n 1\r\ngets n\r\n"));
    }
    for value in "|-|- 1|0x10|007|\r\n7|7\u{b}8|9223372036854775808 -|9223372036854775808 \0-".split('|') {
        let len = value.len();
        pair.check(format!("set n 0 0 {len}\r\n{value}\r\nincr n 1\r\nget n\r\nma n\r\n"));
    }
    let flags = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0!~\x7f\u{80}".chars();
    for flag in flags.filter(|flag| *flag != 'b') {
        for argument in ["", "5", "x"] {
            let word = format!("{flag}{argument}");
            pair.check(format!("mg a {word}\r\nms a 1 {word}\r\nx\r\nma a {word}\r\n"));
            pair.check(format!("set a 0 0 1\r\n7\r\nma a {word}\r\nmd a {word}\r\n"));
        }
    }
    for count in [17, 18, 19, 20, 30] {
        let words = " k".repeat(count);
        pair.check(format!(
            "mg a{words}\r\nms a 1{words}\r\nmd a{words}\r\nma a{words}\r\nget a{words}\r\ngat 0{words}\r\n"
        ));
    }
    let lines = "get|mn x|m|mx|quit|quit x|x HTTP/1|HTTP/1.0|version HTTP/1|get HTTP/1|gone HTTP/1|\r";
    for line in lines.split('|') {
        pair.check(format!("version\r\n{line}\r\nversion\r\n"));
        pair.check(format!("{line}\n"));
    }
    pair.check("set b 0 0 5\r\nabc\r\nversion\r\nversion\r\nset b 0 0 2 noreply\r\nabc\r\nget b\r\n");
}

#[test]
fn a_line_without_an_end_is_read_up_to_a_limit() {
    for (start, len, stays) in [
        ("x", 2048, true),
        ("x", 2049, false),
        ("get ", 9000, true),
        ("  gets ", 9000, true),
        ("gat 0 ", 2049, false),
    ] {
        let mut pair = Pair::new(start);
        let line = [start, &"a ".repeat(len)].concat()[..len].to_owned();
        let client = &mut pair.lanes[0].client;
        client.send(&line);
        if stays {
            client.send("\r\nmn\r\n");
            let mut reply = client.line().0;
            while !reply.ends_with(b"MN\r\n") {
                reply.extend(client.line().0);
            }
            assert_eq!(pair.model_says(0, line), "");
            assert_eq!(pair.model_says(0, "\r\nmn\r\n"), reply);
        } else {
            client.expect_closed();
            let (connection, now_ms) = (pair.lanes[0].connection, pair.now_ms);
            for request in [line.as_str(), "version\r\n"] {
                let stays = pair
                    .model
                    .input(connection, request.as_bytes(), now_ms, &mut Vec::new());
                assert!(!stays, "it is closed, and stays so");
            }
        }
    }
}

#[test]
fn a_shorter_number_is_padded_unless_a_reply_holds_the_item() {
    let mut pair = Pair::new("padding");
    pair.check("set n 0 0 2\r\n10\r\n");
    let padded = pair.check("decr n 1\r\nget n\r\n");
    assert!(padded.contains("VALUE n 0 2\r\n9 \r\n"), "{padded}");
    pair.check("set n 0 0 2\r\n10\r\n");
    let held = pair.check("mg n v\r\ndecr n 1\r\nget n\r\n");
    assert!(held.contains("VALUE n 0 1\r\n9\r\n"), "{held}");
    // A get of a key that is too long lets go of it, though the reply is never written.
    pair.check(format!(
        "set n 0 0 2\r\n10\r\nmg n v\r\nget {}\r\ndecr n 1\r\nget n\r\n",
        "k".repeat(251)
    ));
    for command in "mn|get other|gat 0 other|version|touch other 0|set other 0 0 1\r\nx".split('|') {
        for count in [1, 18, 19, 20, 40] {
            pair.check("set n 0 0 2\r\n10\r\n");
            let between = format!("{command}\r\n").repeat(count);
            pair.check(format!("mg n v\r\n{between}decr n 1\r\nget n\r\n"));
        }
    }
}

#[test]
fn what_changes_a_value_takes_the_next_cas_unique() {
    let mut pair = Pair::new("cas");
    let replies =
        pair.check("set a 0 0 1\r\n1\r\ngets a\r\ncas a 0 0 1 1\r\n2\r\ncas a 0 0 1 1\r\n3\r\ncas b 0 0 1 1\r\n4\r\n");
    assert!(
        replies.starts_with("STORED\r\nVALUE a 0 1 1\r\n1\r\nEND\r\nSTORED\r\nEXISTS\r\nNOT_FOUND\r\n"),
        "{replies}"
    );
    let changes = "incr a 1|decr a 1|append a 0 0 1\r\nx|prepend a 0 0 1\r\nx|replace a 0 0 1\r\n1|add a 0 0 1\r\nx|\
        touch a 0|gat 0 a|mg a T0|md a I|ma a|ms a 0\r\n|md a|set a 0 0 1\r\n1|flush_all|mg a N0|delete a|\
        add a 0 0 1\r\n1|cas a 0 0 1 0\r\n1|ms a 1 C0\r\n1";
    for change in changes.split('|') {
        pair.check(format!(
            "{change}\r\nmn\r\nmg a c v s\r\nset other 0 0 1\r\nx\r\ngets other\r\n"
        ));
    }
}

#[test]
fn a_stale_item_is_refreshed_by_one_client() {
    let mut pair = Pair::new("stale");
    pair.check("set a 0 1000 1\r\n1\r\nmd a I T2000\r\nmg a t c\r\nmg a t c\r\n");
    let replies = pair.check("ms a 1 I C1 T3000\r\n2\r\nmg a t c v\r\nms a 1\r\n3\r\nmg a t c\r\n");
    assert!(replies.contains(" Z X\r\n2\r\nHD\r\nHD t-1 c4\r\n"), "{replies}");
    pair.check("mg b N2000 t\r\nmg b t\r\nmg b T1000 R1500 t\r\nmg b R500 t\r\n");
    pair.check("set c 0 1000 1\r\n1\r\nmg c R500\r\nmg c R1500 t\r\nmg c R1500 t\r\n");
}

#[test]
fn an_item_that_is_too_large_is_refused_and_takes_the_old_one_with_it() {
    let mut pair = Pair::new("size");
    // The header, the key, the end of the line and the flags, if any.
    let most = (1 << 20) - 48 - 8 - "big\0".len() - 2;
    for (name, flags, len) in [
        ("set", 0, most),
        ("set", 0, most + 1),
        ("set", 7, most - 4),
        ("set", 7, most - 3),
        ("add", 0, most + 1),
        ("replace", 0, most + 1),
        ("append", 0, most),
        ("append", 0, most + 1),
        ("prepend", 0, most),
    ] {
        let value = "x".repeat(len);
        pair.check("set big 3 0 5\r\nsmall\r\n");
        pair.check(format!("{name} big {flags} 0 {len}\r\n{value}\r\nmg big s f c\r\n"));
        pair.check("set big 3 0 5\r\nsmall\r\n");
        pair.check(format!(
            "{name} big {flags} 0 {len} noreply\r\n{value}\r\nmg big s f c\r\n"
        ));
    }
    pair.check("set big 3 0 5\r\nsmall\r\n");
    pair.check(format!(
        "ms big {} ME q\r\n{}\r\nmg big s\r\n",
        most + 1,
        "x".repeat(most + 1)
    ));
}

#[test]
fn a_metadump_lists_what_is_there() {
    let mut pair = Pair::new("metadump");
    pair.check_list("all");
    let odd: Vec<u8> = (1..=255).filter(|byte| !b"\n\r ".contains(byte)).collect();
    for key in odd.chunks(200) {
        pair.check([b"set ", key, b" 0 0 1\r\nx\r\n"].concat());
    }
    pair.check("set forever 5 0 3\r\nabc\r\nset for_a_while 0 1000 1\r\nx\r\nset expired 0 -1 1\r\nx\r\n");
    pair.check("get forever\r\nset never_read 0 0 0\r\n\r\n");
    for what in ["all", "hash"] {
        pair.check_list(what);
    }
    for command in "lru_crawler|lru_crawler metadump|version|touch a 0 noreply|mg a q|stats nonsense".split('|') {
        pair.check(format!("{command}\r\nlru_crawler metadump all\r\nversion\r\n"));
    }
    pair.check("flush_all\r\nset later 0 0 1\r\nx\r\n");
    pair.check_list("all");

    // Line ends, which the comparison of lines leaves out, and the numbers that it makes alike.
    let dump = pair.model_says(0, "lru_crawler metadump all\r\n");
    let now_s = pair.now_ms / 1000;
    assert_eq!(
        dump,
        &*format!("key=later exp=-1 la={now_s} cas=8 fetch=no cls=1 size=65\nEND\r\n")
    );
}

#[test]
fn what_is_read_with_a_metadump_waits_for_more() {
    let mut pair = Pair::new("metadump");
    let request = "lru_crawler metadump all\r\nversion\r\nlru_crawler metadump all\r\nmn\r\nvers";
    let client = &mut pair.lanes[0].client;
    client.check(request, "END\r\n");
    // No time is long enough to prove it, but what comes later than this comes too late for the check below.
    thread::sleep(Duration::from_millis(50));
    assert!(client.is_quiet());
    let waiting = "VERSION 1.6.18\r\nERROR cannot pipeline other commands before metadump\r\nMN\r\nVERSION 1.6.18\r\n";
    client.check("ion\r\n", waiting);

    assert_eq!(pair.model_says(0, request), "END\r\n");
    assert_eq!(pair.model_says(0, "ion\r\n"), waiting);
}

#[test]
fn nothing_is_written_while_a_value_is_awaited() {
    let mut pair = Pair::new("value");
    let (request, rest) = ("touch a 0\r\nset a 0 0 5\r\nab", "cde\r\nversion\r\n");
    let client = &mut pair.lanes[0].client;
    client.send(request);
    thread::sleep(Duration::from_millis(50));
    assert!(client.is_quiet());
    client.check(rest, "NOT_FOUND\r\nSTORED\r\nVERSION 1.6.18\r\n");

    assert_eq!(pair.model_says(0, request), "");
    assert_eq!(pair.model_says(0, rest), "NOT_FOUND\r\nSTORED\r\nVERSION 1.6.18\r\n");
}

/// Follows an item with an exptime of two seconds to its end, by the clock of the one who is asked, and says how long
/// that took.
fn live_and_die(mut ask: impl FnMut(&str) -> String) -> i64 {
    let number = |text: &str, name: &str| -> i64 {
        let behind = &text[text.find(name).expect(name) + name.len()..];
        let end = behind.find(|c: char| !c.is_ascii_digit()).expect("an end");
        behind[..end].parse().expect("a number")
    };
    ask("set a 0 2 1\r\nx\r\n");
    let expires_at = number(&ask("lru_crawler metadump all\r\n"), "exp=");
    let (mut start, mut origin) = (None, None);
    loop {
        let before = number(&ask("stats\r\n"), "STAT time ");
        let is_listed = ask("lru_crawler metadump all\r\n").contains("key=a ");
        let replies = ask("stats\r\nget a\r\nstats\r\n");
        let now = number(&replies, "STAT time ");
        let is_there = replies.contains("VALUE a");
        let (_, last) = replies.rsplit_once("STAT pid ").expect("statistics");
        if number(last, "STAT time ") == now {
            assert_eq!(is_there, now < expires_at, "at {now} of {expires_at}: {replies}");
        }
        if before == now {
            assert_eq!(is_listed, now <= expires_at, "a list has it for a second more");
        }
        let started = now - number(&replies, "STAT uptime ");
        assert_eq!(*origin.get_or_insert(started), started, "one life has one start");
        let start = *start.get_or_insert(now);
        if !is_there {
            return now - start;
        }
    }
}

#[test]
fn an_item_is_gone_from_the_second_of_its_exptime_on() {
    let mut pair = Pair::new("exptime");
    let mut client = pair.real.client();
    let real = live_and_die(|request| {
        let end = if request.contains("set") {
            "STORED\r\n"
        } else {
            "END\r\n"
        };
        client.send(request);
        let mut reply = String::new();
        let mut ends = if request.contains("get") { 3 } else { 1 };
        while ends > 0 {
            let line = String::from_utf8(client.line().0).expect("text");
            if line.starts_with("BUSY") {
                client.send(request); // the list before has ended, but not the thread that made it
            }
            ends -= usize::from(line == end);
            reply += &line;
        }
        if request.contains("get") {
            thread::sleep(Duration::from_millis(20));
        }
        reply
    });
    let model = live_and_die(|request| {
        let reply = pair.model_says(0, request);
        pair.now_ms += if request.contains("get") { 20 } else { 0 };
        String::from_utf8(reply.0).expect("text")
    });
    // The first second may be nearly over when the item is stored, or quite when the time is asked for. How long the real
    // one was watched says more of the machine than of it: what it does in each second has been checked.
    assert!((1..=2).contains(&model), "{model} s, and the real one {real} s");
}

#[test]
fn an_absolute_exptime_is_a_unix_time() {
    let mut pair = Pair::new("exptime");
    let in_a_while = pair.now_ms / 1000 + 4000;
    let long_ago = 60 * 60 * 24 * 30 + 1;
    for exptime in [in_a_while, in_a_while - 8000, long_ago, long_ago - 1] {
        pair.check(format!(
            "set a 0 {exptime} 1\r\nx\r\nmg a t\r\ntouch a {exptime}\r\nmg a t T-1\r\n"
        ));
        pair.check(format!("set a 0 0 1\r\nx\r\ntouch a {exptime}\r\nmg a t T-1\r\n"));
    }
    pair.check(format!(
        "set a 0 {in_a_while} 1\r\nx\r\nincr a 1\r\nappend a 0 0 1\r\nx\r\n"
    ));
    pair.check_list("all");
    let item = pair.model.peek(b"a", pair.now_ms).expect("it is there");
    assert_eq!(item.exptime, in_a_while as i64);
    assert!(pair.model.peek(b"a", in_a_while * 1000 - 1).is_some());
    assert!(pair.model.peek(b"a", in_a_while * 1000).is_none());
}

#[test]
fn a_delayed_flush_leaves_what_is_stored_after_it() {
    // With 2, a second that ends while memcached carries out the flush would make it take a cas unique more than the model.
    for delay in [1, 3] {
        let mut pair = Pair::new("flush");
        pair.check(format!("set a 0 0 1\r\nx\r\nflush_all {delay}\r\n"));
        assert!(pair.model.peek(b"a", pair.now_ms).is_some());
        let time = pair.lanes[0].client.stat("stats", "time");
        let gone_at = time.parse::<u64>().expect("a number") + delay;
        common::eventually("the delay is over", || pair.real.stat("time") > gone_at);
        pair.now_ms += 1000 * delay;
        assert!(pair.model.peek(b"a", pair.now_ms).is_none());
        pair.check("gets a\r\nset b 0 0 1\r\nx\r\ngets a b\r\n");
        assert!(pair.model.peek(b"b", pair.now_ms).is_some());
        pair.check_list("all");
    }
}

#[test]
fn the_simulator_can_look_and_meddle() {
    let now_ms = 1_800_000_000_000;
    let mut model = Model::new(7, now_ms);
    let connection = model.connect();
    let say = |model: &mut Model, request: &str| {
        let mut out = Vec::new();
        assert!(model.input(connection, request.as_bytes(), now_ms, &mut out));
        String::from_utf8(out).expect("text")
    };
    say(
        &mut model,
        "set b 5 0 1\r\nx\r\nset a 0 10 1\r\nx\r\nset c 0 -1 1\r\nx\r\n",
    );
    assert_eq!(model.keys(now_ms), [b"a", b"b"]);
    assert_eq!(model.keys(now_ms + 10_000), [b"b"]);
    let item = model.peek(b"b", now_ms).expect("it is there");
    assert_eq!(
        (&item.value[..], item.flags, item.exptime, item.cas),
        (&b"x"[..], 5, 0, 1)
    );
    model.evict(b"b");
    assert_eq!(say(&mut model, "get b\r\n"), "END\r\n");

    let stats = say(&mut model, "stats\r\n");
    assert!(
        stats.starts_with("STAT pid 7\r\nSTAT uptime 2\r\nSTAT time 1800000000\r\nSTAT version 1.6.18\r\n"),
        "{stats}"
    );
    assert!(
        stats.contains("STAT curr_connections 1\r\n") && stats.contains("STAT evictions 1\r\n"),
        "{stats}"
    );

    model.set_has_meta(false);
    model.set_can_list(false);
    assert_eq!(
        say(&mut model, "mg a v\r\nmn\r\nlru_crawler metadump all\r\n"),
        "ERROR\r\n".repeat(3)
    );
    model.set_has_meta(true);
    model.set_can_list(true);
    assert_eq!(say(&mut model, "mg a v\r\n"), "VA 1\r\nx\r\n");
    assert!(say(&mut model, "lru_crawler metadump all\r\n").starts_with("key=a exp=1800000010 "));
    model.disconnect(connection);
    assert!(!model.input(connection, b"version\r\n", now_ms, &mut Vec::new()));
}
