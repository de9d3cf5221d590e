//! A client must not be able to tell magent from memcached: the same bytes, sent to a real memcached and to magent in
//! front of another one, earn the same replies, byte for byte.

mod common;

use common::{Bytes, Client, Fake, Magent, Memcached, Two, Version, assert_same, eventually};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// The first version with the new parser of command lines.
const PARSES_ANEW: Version = Version(1, 6, 40);

/// The same farm three times: a memcached, one behind magent, two copies behind magent.
struct Faces {
    direct: Memcached,
    alone: Magent,
    two: Two,
    _behind: Memcached,
}

impl Faces {
    fn start() -> Self {
        let behind = Memcached::start();
        Self {
            direct: Memcached::start(),
            alone: Magent::before(&[&behind], &[], &[]),
            two: Two::start(&[]),
            _behind: behind,
        }
    }

    /// Sends `bytes`, then the end of the stream, to all three, and compares all that comes back.
    fn compare(&self, bytes: &[u8]) {
        let expected = without_empty_lines(self.direct.client().all_replies(bytes));
        let alone = self.alone.client().all_replies(bytes);
        let two = self.two.client().all_replies(bytes);
        assert_same(("alone", Bytes(bytes.to_vec())), &alone.0, &expected.0);
        // With two copies the uniques are magent's own.
        let expected = without_uniques(&expected);
        assert_same(("two copies", Bytes(bytes.to_vec())), &without_uniques(&two), &expected);
    }

    fn compare_alone(&self, bytes: &[u8]) {
        let expected = self.direct.client().all_replies(bytes);
        let alone = self.alone.client().all_replies(bytes);
        assert_same(Bytes(bytes.to_vec()), &alone.0, &expected.0);
    }

    /// The same for a storage command. Where memcached refuses it and takes its value for a command, which it answers by
    /// ERROR, magent says what memcached says to the line, and ends the connection.
    fn compare_storage(&self, line: &[u8], end: &[u8], behind: &[u8]) {
        let input = [line, end, behind].concat();
        let to_the_line = self.direct.client().all_replies(&[line, end].concat());
        let to_all = self.direct.client().all_replies(&input);
        let behind_the_line = to_all.0.strip_prefix(&to_the_line.0[..]);
        let runs_the_value = behind_the_line.is_some_and(|rest| rest.starts_with(b"ERROR"));
        let alone = self.alone.client().all_replies(&input);
        // With more words than there need be, the length may stand where memcached does not look: behind a key with a space.
        let refusal = b"CLIENT_ERROR bad command line format\r\n";
        let words = line.split(|&byte| byte == b' ').count();
        let is_doubtful = words > 5 && (alone.0.is_empty() || alone.0 == refusal);
        let expected = match to_all.0.starts_with(&alone.0) {
            _ if runs_the_value => to_the_line,
            true if is_doubtful => Bytes(alone.0.clone()),
            _ => to_all,
        };
        assert_same(("alone", Bytes(input.clone())), &alone.0, &expected.0);
        let two = self.two.client().all_replies(&input);
        assert_same(
            ("two copies", Bytes(input)),
            &without_uniques(&two),
            &without_uniques(&expected),
        );
    }

    /// Compares the replies to each of these, and whether the connection is good for another request afterwards.
    fn compare_all<T: AsRef<[u8]>>(&self, inputs: impl IntoIterator<Item = T>) {
        for input in inputs {
            self.compare(input.as_ref());
            self.compare(&[input.as_ref(), b"version\r\n"].concat());
        }
    }
}

/// Since 1.6.40 memcached adds an empty line to its refusal of a retrieval with a long key, which is no use to anybody.
fn without_empty_lines(replies: Bytes) -> Bytes {
    let refusal = "CLIENT_ERROR bad command line format\r\n";
    match replies.0.starts_with(refusal.as_bytes()) && Memcached::version() >= PARSES_ANEW {
        true => Bytes(
            String::from_utf8_lossy(&replies.0)
                .replace(&format!("{refusal}\r\n"), refusal)
                .into(),
        ),
        false => replies,
    }
}

/// Replies with the cas uniques of their values taken out.
fn without_uniques(replies: &Bytes) -> Vec<u8> {
    let mut rest = &replies.0[..];
    let mut masked = Vec::new();
    while let Some(newline) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, behind) = rest.split_at(newline + 1);
        let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
        let len = words
            .get(3)
            .and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
        let value_len = match len {
            Some(len) if words[0] == b"VALUE" => (len + 2).min(behind.len()),
            _ => 0,
        };
        if value_len > 0 && words.len() == 5 {
            masked.extend_from_slice(&words[..4].join(&b' '));
            masked.extend_from_slice(b" unique\r\n");
        } else {
            masked.extend_from_slice(line);
        }
        masked.extend_from_slice(&behind[..value_len]);
        rest = &behind[value_len..];
    }
    masked.extend_from_slice(rest);
    masked
}

/// `text` with K for the longest key there may be and M for one byte more.
fn long(text: &str) -> Vec<u8> {
    text.replace('K', &"k".repeat(250))
        .replace('M', &"k".repeat(251))
        .into_bytes()
}

/// A storage command with a value of `len` bytes that look like replies, line ends and zeroes.
fn store(command: &str, value: &[u8]) -> Vec<u8> {
    let line = command.replace('#', &value.len().to_string());
    [line.as_bytes(), b"\r\n", value, b"\r\n"].concat()
}

fn value(len: usize) -> Vec<u8> {
    let pattern = b"END\r\nVALUE x 0 1\r\n\0\0get a\r\n\xff\x80STORED\r\n";
    pattern.iter().copied().cycle().take(len).collect()
}

#[test]
fn retrievals_are_answered_as_memcached_answers_them() {
    let faces = Faces::start();
    faces.compare_all([
        &b"set a 7 0 3\r\nabc\r\n"[..],
        b"set q1 0 0 1\r\n1\r\n",
        b"get a\r\n",
        b"get  a   \r\n",
        b" get a\r\n",
        b"get a\n",
        b"get\r\n",
        b"get \r\n",
        b"gets\r\n",
        b"get a b a q1\r\n",
        b"get a b \r\n",
        b"  get  a   b  a   \r\n",
        b"gat  0  a  b   \r\n",
        b"gat 0 \r\n",
        b"gets a q1\r\n",
        b"bget a\r\n",
        b"bget a q1 b\r\n",
        b"bget\r\n",
        b"get a\tb\r\n",
        b"get a\r\r\n",
        b"get a\r\n\r\nget a\r\n",
        b"get noreply\r\n",
        b"get a noreply\r\n",
        b"get",
        b"get a",
        b"get a\r",
        b"gat 0 a\r\n",
        b"gats 0 a q1\r\n",
        b"gat a\r\n",
        b"gat x a\r\n",
        b"gat 0\r\n",
        b"gat 10\r\n",
        b"gat\r\n",
        b"gats\r\n",
        b"gats 0 a b c\r\n",
        b"gat 0 a noreply\r\n",
        b"gat +5000 a\r\n",
        b"gat 99999999999999999999 a\r\n",
        b"gat -1 q1\r\nget q1\r\n",
    ]);
    faces.compare_all([
        long("get K\r\n"),
        long("get M\r\n"),
        long("get a M\r\n"),
        long("get a M a\r\n"),
        long("gat 0 K\r\n"),
        long("gat 0 M\r\n"),
        long("gat 0 a M\r\n"),
        format!("get {}a\r\n", "a ".repeat(30_000)).into_bytes(),
        format!("gat 0 {}a\r\n", "a ".repeat(900)).into_bytes(),
        [b"get ".to_vec(), b"a ".repeat(30), long("M\r\n")].concat(),
        [b"get ".to_vec(), b"a ".repeat(30), long("M a\r\n")].concat(),
    ]);
}

/// Since 1.6.40 a zero byte is part of a key, before it ends the line. A server of either kind may be behind magent
/// tomorrow, so that such a key is refused where it is not the end.
#[test]
fn a_zero_byte_ends_the_line_or_is_refused() {
    let faces = Faces::start();
    if Memcached::version() < PARSES_ANEW {
        faces.compare_all([
            &b"set a 7 0 3\r\nabc\r\n"[..],
            b"get a\0b\r\n",
            b"gat 0 a\0b\r\n",
            b"delete a\0b\r\nget a\r\n",
        ]);
        return faces.compare_storage(b"set a\0b 0 0 3", b"\r\n", b"abc\r\nget a\r\n");
    }
    let refused = "CLIENT_ERROR bad command line format\r\n";
    let mut client = faces.two.client();
    for request in [
        "get a\0b",
        "gat 0 c a\0b",
        "delete a\0",
        "set a\0b 0 0 11\r\nflush_all\r\n",
        "incr \0 1",
    ] {
        client.check(format!("{request}\r\n"), refused);
    }
}

#[test]
fn storage_commands_are_answered_as_memcached_answers_them() {
    let faces = Faces::start();
    for verb in ["set", "add", "replace", "append", "prepend", "cas"] {
        // What stands behind the value's length where the command is right.
        let unique = if verb == "cas" { " 1" } else { "" };
        let lines = [
            "a 0 0 3#",
            "a 5 0 3#",
            "a 0 0 3# noreply",
            "a 0 0 3# foo",
            "a 0 0 3# 4",
            "a 0 0 3# noreply x",
            "a 0 0 3# x noreply",
            "a 0 0 3# NOREPLY",
            "a 0 0 3# noreplyx",
            "  a  0   0  3#  ",
            "K 0 0 3#",
            "M 0 0 3#",
            "M 0 0 3# noreply",
            "noreply 0 0 3#",
            "a 0 0",
            "a 0",
            "a",
            "",
            "a 0 0 noreply",
            "a 0 0 x#",
            "a x 0 3#",
            "a x 0 3# noreply",
            "a 0 x 3#",
            "a 0 0 -1#",
            "a -1 0 3#",
            "a +1 0 3#",
            "a -0 0 3#",
            "a 4294967295 0 3#",
            "a 4294967296 0 3#",
            "a 18446744073709551615 0 3#",
            "a 18446744073709551616 0 3#",
            "a 0 -1 3#",
            "a 0 9999999999999999999999 3#",
            "a 0 -9999999999999999999999 3#",
            "a 0 0 3abc#",
            "a 0 0 +3#",
            "a 0 0 03#",
            "a 0 0 0x3#",
            "a 0 0 3\t#",
            "a 0 0 \t3#",
            "a 0 0 18446744073709551616#",
            "a 0 0 2147483646#",
            "a 0 0 2147483647#",
            "a\tb 0 0 3#",
            "a 0 0 3#\0",
            "a 0 0 3#\0 noreply",
            "a 0 0 3# 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26",
        ];
        for line in lines {
            let line = long(&format!("{verb} {}", line.replace('#', unique)));
            // What is there afterwards tells what the command did.
            faces.compare_storage(&line, b"\r\n", b"abc\r\nget a\r\n");
            faces.compare_storage(&line, b"\n", b"xyz\r\ngets a\r\n");
        }
        let blocks: [&[u8]; 12] = [
            b"\r\nabcdef\r\n",
            b"\r\nab\r\n",
            b"\r\nab\r\n\r\nget a\r\n",
            b"\r\nabc\n\r\n",
            b"\r\nabc\rx",
            b"\r\nabc",
            b"\r\nabc\r",
            b"\r\nab",
            b"\r\n",
            b" noreply\r\nabcdef\r\n",
            b" noreply\r\nab",
            b"\r\n\r\n\0\r\nget a\r\n",
        ];
        for block in blocks {
            let line = format!("{verb} a 0 0 3{unique}");
            faces.compare_all([[line.as_bytes(), block].concat()]);
        }
        faces.compare_all([
            store(&format!("{verb} a 0 0 #{unique}"), b""),
            format!("{verb} a 0 0 3{unique}{}\r\nabc\r\n", " ".repeat(1900)).into_bytes(),
            verb.as_bytes().to_vec(),
        ]);
        faces.compare_storage(verb.as_bytes(), b"\r\n", b"abc\r\n");
    }
    for line in [
        &b"cas a 0 0 3 x"[..],
        b"cas a 0 0 3 ",
        b"cas a 0 0 3 noreply",
        b"cas a 0 0 3 -1",
        b"cas a 0 0 3 -18446744073709551615",
        b"cas a 0 0 3 +1",
        b"cas a 0 0 3 99999999999999999999999",
        b"cas a 0 0 3 18446744073709551615",
        b"cas a 0 0 3 1 2 3",
        b"set a b 0 0 3",
        b"set a b c 0 0 3",
        b"cas a b 0 0 3",
    ] {
        faces.compare_storage(line, b"\r\n", b"abc\r\nget a\r\n");
    }
    faces.compare_all([
        &b"cas a 0 0 3 1 noreply\r\nabc\r\nget a\r\n"[..],
        b"append zz 0 0 1\r\na\r\n",
        b"set zz 5 0 1\r\nq\r\nappend zz 9 0 1\r\na\r\nprepend zz 8 0 1\r\nb\r\nget zz\r\n",
    ]);
}

#[test]
fn arithmetic_is_answered_as_memcached_answers_it() {
    let faces = Faces::start();
    for number in [
        "10",
        "0",
        "99",
        "099",
        "18446744073709551615",
        "1111111111111111111111",
        "x",
        "1 2",
        "-1",
        "",
    ] {
        let set = format!("set n 3 0 {}\r\n{number}\r\n", number.len());
        for line in [
            "incr n 1",
            "decr n 1",
            "incr n 0",
            "decr n 50",
            "incr n 18446744073709551615",
            "incr n 1 noreply",
            "decr n 1 noreply",
            "incr n +1",
            "incr n 01",
        ] {
            faces.compare_all([format!("{set}{line}\r\nget n\r\n")]);
        }
    }
    faces.compare_all([
        &b"incr n\r\n"[..],
        b"incr\r\n",
        b"incr n x\r\n",
        b"incr n x noreply\r\n",
        b"incr n -1\r\n",
        b"incr n -0\r\n",
        b"incr n 1x\r\n",
        b"incr n 1 foo\r\n",
        b"incr n noreply\r\n",
        b"incr noreply\r\n",
        b"incr noreply 1\r\n",
        b"incr nope 1\r\n",
        b"incr nope 1 noreply\r\n",
        b"incr n 18446744073709551616\r\n",
        b"decr n 1 2 3\r\n",
        b"decr n 18446744073709551616\r\n",
        b"incr n 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\r\n",
    ]);
    faces.compare_all([long("incr M 1\r\n"), long("incr K 1\r\n"), long("decr M 1 noreply\r\n")]);
}

#[test]
fn touch_and_delete_are_answered_as_memcached_answers_them() {
    let faces = Faces::start();
    let set = "set a 0 0 3\r\nabc\r\n";
    for line in [
        "touch a 0",
        "touch a 100",
        "touch a -1",
        "touch a +5",
        "touch a",
        "touch",
        "touch a x",
        "touch a x noreply",
        "touch a 0 noreply",
        "touch a -1 noreply",
        "touch a 0 foo",
        "touch a 0 1 2",
        "touch a noreply",
        "touch noreply",
        "touch noreply 0",
        "touch nope 0",
        "touch a 99999999999999999999999",
        "touch K 0",
        "touch M 0",
        "touch M 0 noreply",
        "delete a",
        "delete a 0",
        "delete a 1",
        "delete a 00",
        "delete a noreply",
        "delete a 0 noreply",
        "delete a 1 noreply",
        "delete a foo",
        "delete a noreply x",
        "delete a noreply noreply",
        "delete a 0 foo",
        "delete a b c d",
        "delete",
        "delete noreply",
        "delete nope",
        "delete nope noreply",
        "delete K",
        "delete M",
        "delete M 0",
        "delete M 1",
        "delete M noreply",
        "delete M 1",
        "delete M 0 noreply",
    ] {
        let line = long(&format!("{set}{line}\r\nget a\r\n"));
        faces.compare_all([line]);
    }
    faces.compare_all(["set noreply 0 0 1\r\na\r\ndelete noreply\r\nget noreply\r\n"]);
}

#[test]
fn flush_all_version_verbosity_and_quit_are_answered_as_memcached_answers_them() {
    let faces = Faces::start();
    let set = "set a 0 0 3\r\nabc\r\n";
    for line in [
        "flush_all",
        "flush_all 0",
        "flush_all noreply",
        "flush_all 0 noreply",
        "flush_all x",
        "flush_all x noreply",
        "flush_all -1",
        "flush_all 0 1",
        "flush_all 0 x",
        "flush_all 0 2 3 4",
        "flush_all noreply 0",
        "flush_all 99999999999999999999",
        "flush_all 1000",
        "flush_all",
        "version",
        "version x",
        "version\r",
        "version noreply",
        "verbosity 1",
        "verbosity 0",
        "verbosity",
        "verbosity x",
        "verbosity x noreply",
        "verbosity 1 noreply",
        "verbosity noreply",
        "verbosity 1 2",
        "verbosity 1 2 3 4",
        "verbosity 1 noreply x",
        "verbosity 1x",
        "verbosity -1",
        "verbosity 4294967296",
        "verbosity 99999999999999999999999",
        "quit",
        "quit x",
        "quit noreply",
    ] {
        faces.compare_all([format!("{set}get a\r\n{line}\r\nget a\r\n")]);
    }
}

#[test]
fn what_is_no_command_is_answered_as_memcached_answers_it() {
    let faces = Faces::start();
    faces.compare_all([
        &b""[..],
        b"\r\n",
        b"\n",
        b" \r\n",
        b"\0\r\n",
        b"\r\r\n",
        b"foo\r\n",
        b"foo bar baz\r\n",
        b"foo noreply\r\n",
        b"getx a\r\n",
        b"\xff\xfe\r\n",
        b"extstore\r\n",
        b"slabs\r\n",
        b"lru\r\n",
        b"lru_crawler\r\n",
        b"cache_memlimit\r\n",
        b"stats nope\r\n",
        b"stats items\r\n",
        b"stats noreply\r\n",
        b"stats a b c d\r\n",
        b"stats reset\r\n",
    ]);
    // Too long, and without an end: the connection is closed. What comes behind them may come too late to matter.
    for input in [
        "x".repeat(3000),
        " ".repeat(3000),
        format!("set {} ", "x".repeat(3000)),
        "x".repeat(2000),
        format!("get {}", "x".repeat(3000)),
        format!("get {}", "x ".repeat(3000)),
        format!("gets {}", "x ".repeat(3000)),
    ] {
        faces.compare(input.as_bytes());
    }
}

#[test]
fn commands_that_steer_one_memcached_are_refused() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    for line in [
        "shutdown",
        "shutdown graceful",
        "slabs reassign 1 2",
        "slabs automove 1",
        "lru_crawler enable",
        "lru_crawler crawl 1",
        "lru mode flat",
        "watch",
        "watch fetchers",
        "refresh_certs",
        "misbehave",
    ] {
        client.check(format!("{line}\r\n"), "ERROR\r\n");
    }
    assert_eq!(server.ask("version\r\n"), client.ask("version\r\n").0);
}

#[test]
fn noreply_is_silent_everywhere() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for line in [
        "set a 0 0 1 noreply\r\n5\r\n",
        "add a 0 0 1 noreply\r\n6\r\n",
        "add b 0 0 1 noreply\r\n6\r\n",
        "replace nope 0 0 1 noreply\r\n6\r\n",
        "append a 0 0 1 noreply\r\n1\r\n",
        "prepend nope 0 0 1 noreply\r\n1\r\n",
        "cas a 0 0 1 999999 noreply\r\n1\r\n",
        "incr a 1 noreply\r\n",
        "decr nope 1 noreply\r\n",
        "touch a 0 noreply\r\n",
        "delete b noreply\r\n",
        "verbosity 0 noreply\r\n",
        // Errors, too.
        "incr a x noreply\r\n",
        "touch a x noreply\r\n",
        "delete a 1 noreply\r\n",
        "flush_all x noreply\r\n",
        "verbosity x noreply\r\n",
        "set a 0 0 1 noreply\r\n5x\n",
    ] {
        if line.starts_with("delete a 1") && Memcached::version() >= PARSES_ANEW {
            continue; // there it is a delete like any other
        }
        client.send(line);
    }
    client.check("get a b\r\n", "VALUE a 0 2\r\n52\r\nEND\r\n");
    client.send("flush_all noreply\r\n");
    client.check("get a b\r\n", "END\r\n");
}

/// memcached keeps the low 32 bits, so that the far future can be the past; libmemcached says -1 as 4294967295.
#[test]
fn an_exptime_beyond_32_bits_means_what_memcached_makes_of_it() {
    let faces = Faces::start();
    for exptime in [
        "2147483648",
        "4294967295",
        "4294967296",
        "9999999999",
        "99999999999",
        "9223372036854775807",
    ] {
        for sign in ["", "-"] {
            let script = format!(
                "set a 0 {sign}{exptime} 1\r\nx\r\nget a\r\nset a 0 0 1\r\nx\r\ntouch a {sign}{exptime}\r\nget a\r\n\
                 set a 0 0 1\r\nx\r\ngat {sign}{exptime} a\r\nget a\r\n"
            );
            faces.compare(script.as_bytes());
        }
    }
}

#[test]
fn keys_are_any_bytes_that_memcached_accepts() {
    let faces = Faces::start();
    let mut keys: Vec<Vec<u8>> = (1..=255_u8)
        .filter(|byte| !matches!(byte, b' ' | b'\n'))
        .flat_map(|byte| [vec![byte], vec![b'k', byte, b'k']])
        .collect();
    keys.extend(["schlüssel", "ключ", "键", "🗝"].map(|text| text.as_bytes().to_vec()));
    keys.push(vec![0xff; 250]);
    for key in keys {
        // A carriage return at the end of a line is a line end; inside it is part of the key.
        let around = [
            "add ",
            " 1 0 1\r\n4\r\nreplace ",
            " 1 0 1\r\n3\r\nset ",
            " 1 0 1\r\n5\r\nincr ",
            " 1\r\nget ",
            " k ",
            "\r\ngets ",
            "\r\ntouch ",
            " 0\r\ndelete ",
            "\r\nget ",
            "\r\n",
        ];
        let input = around.map(str::as_bytes).join(&key[..]);
        faces.compare(&input);
    }
}

#[test]
fn values_are_any_bytes_of_any_size_up_to_the_item_limit() {
    let faces = Faces::start();
    let sizes = [
        0, 1, 2, 29, 30, 31, 100, 1000, 1022, 1023, 1024, 1025, 1026, 2047, 2048, 2049, 4000, 4093, 4094, 4095, 4096,
        4097, 4098, 8191, 8192, 8193, 16_384, 65_533, 65_534, 65_535, 65_536, 65_537, 65_538, 131_072, 500_000,
        1_048_376,
    ];
    for size in sizes {
        let value = value(size);
        for verb in ["set", "replace"] {
            faces.compare(
                &[
                    &store(&format!("{verb} big 9 0 #"), &value)[..],
                    b"get big\r\ngets big x big\r\n",
                ]
                .concat(),
            );
        }
        faces.compare(&[&store("append big 0 0 #", b"tail")[..], b"get big\r\n"].concat());
    }
}

#[test]
fn values_above_the_item_limit_are_refused_as_memcached_refuses_them() {
    let faces = Faces::start();
    for size in [1_048_300, 1_048_500, 1_048_575, 1_048_576, 1_048_577, 2_000_000] {
        let value = vec![b'x'; size];
        for verb in ["set", "add", "replace", "append", "prepend"] {
            for noreply in ["", " noreply"] {
                let refused = store(&format!("{verb} a 0 0 #{noreply}"), &value);
                let before = &b"set a 0 0 3\r\nabc\r\n"[..];
                faces.compare(&[before, &refused, b"get a\r\nget b\r\n"].concat());
                faces.compare(&[b"delete a\r\n", &refused[..], b"get a\r\n"].concat());
            }
        }
        let refused = store("cas a 0 0 # 1", &value);
        faces.compare(&[b"set a 0 0 3\r\nabc\r\n", &refused[..], b"get a\r\n"].concat());
    }
}

/// Commands of many kinds on few keys, with replies of many sizes.
fn pipeline() -> Vec<u8> {
    let mut script = Vec::new();
    for i in 0..300 {
        script.extend_from_slice(&store(&format!("set k{} {i} 0 #", i % 7), &value(i * 7)));
        script.extend_from_slice(format!("get k{}\r\nadd k{} 0 0 1\r\nx\r\n", i % 5, i % 11).as_bytes());
        script.extend_from_slice(format!("bogus\r\nappend k{} 0 0 2\r\nyz\r\nget k1 k2\r\n", i % 3).as_bytes());
        script.extend_from_slice(format!("delete k{}\r\nincr k{} 1\r\nget\r\n", i % 6, i % 7).as_bytes());
    }
    script
}

#[test]
fn several_commands_in_one_packet_are_answered_in_order() {
    let faces = Faces::start();
    faces.compare_alone(&pipeline());
    faces.compare_alone(&[&pipeline()[..], b"quit\r\nget k1\r\n"].concat());
}

#[test]
fn several_commands_in_one_packet_are_carried_out_in_order_on_two_copies() {
    let faces = Faces::start();
    faces.compare(&pipeline());
}

/// A wide get is asked for in portions, so that what follows it could come to the server first.
#[test]
fn nothing_that_follows_a_wide_get_is_seen_by_it() {
    let faces = Faces::start();
    let keys: Vec<String> = (0..400).map(|i| format!("key{i}")).collect();
    let first = format!("get {}\r\n", keys[..20].join(" "));
    let wide = format!("get {}\r\n", keys.join(" "));
    let last = keys.last().unwrap();
    for next in [
        store(&format!("add {last} 0 0 #"), b"1"),
        format!("incr {last} 1\r\n").into_bytes(),
        format!("touch {last} -1\r\n").into_bytes(),
        store(&format!("set {last} 0 0 #"), b"7"),
        format!("gat -1 {last}\r\n").into_bytes(),
        store(&format!("set {last} 0 0 #"), b"8"),
        format!("delete {last}\r\n").into_bytes(),
        store(&format!("set {last} 0 0 #"), b"9"),
        b"flush_all\r\n".to_vec(),
    ] {
        // The answer to the first get makes room for more while the second is not done.
        faces.compare(&[first.as_bytes(), wide.as_bytes(), &next, wide.as_bytes()].concat());
    }
}

#[test]
fn a_command_may_come_in_many_packets() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let direct = Memcached::start();
    let script =
        b"set a 5 0 7\r\nab\r\n\0\rc\r\nget a\r\ngets a b\r\nfoo\r\nadd b 0 0 1 noreply\r\nx\r\nset c 0 0 1\r\nxyz\r\n\
        incr b\r\ndelete b\r\ntouch a 0\r\ngat 0 a\r\n";
    let expected = direct.client().all_replies(script);
    let mut client = magent.client();
    for byte in script {
        client.send([*byte]);
        magent.settle();
    }
    client.shutdown();
    assert_same("one byte at a time", &client.rest().0, &expected.0);

    for size in [10, 5000, 200_000] {
        let request = store("set big 3 0 #", &value(size));
        let line_len = request.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let cuts = [
            1,
            line_len - 1,
            line_len,
            line_len + 1,
            line_len + size / 2,
            request.len() - 2,
            request.len() - 1,
        ];
        for cut in cuts {
            let mut client = magent.client();
            client.send(&request[..cut]);
            magent.settle();
            client.send(&request[cut..]);
            client.expect("STORED\r\n");
            let expected = [
                format!("VALUE big 3 {size}\r\n").as_bytes(),
                &value(size),
                b"\r\nEND\r\n",
            ]
            .concat();
            client.check("get big\r\n", expected);
        }
    }
}

const WIDTHS: [usize; 12] = [1, 2, 3, 50, 99, 100, 255, 256, 257, 513, 999, 1000];

/// Keys of a get that is `width` wide: every third one is missing, some stand there twice.
fn wide_keys(width: usize) -> Vec<String> {
    (0..width)
        .map(|i| format!("key:{}", if i % 10 == 9 { i / 2 } else { i }))
        .collect()
}

fn fill(client: &mut Client) {
    for i in (0..1000).filter(|i| i % 3 != 2) {
        client.send(store(&format!("set key:{i} {i} 0 # noreply"), &value(i)));
    }
    client.check("get nothing\r\n", "END\r\n");
}

#[test]
fn a_wide_get_from_one_server_is_answered_as_memcached_answers_it() {
    let faces = Faces::start();
    for client in [
        &mut faces.direct.client(),
        &mut faces.alone.client(),
        &mut faces.two.client(),
    ] {
        fill(client);
    }
    for width in WIDTHS {
        for verb in ["get", "gets", "gat 0"] {
            let line = format!("{verb} {}\r\n", wide_keys(width).join(" "));
            // memcached itself knows longer lines of get and gets alone.
            if line.len() <= 2048 || verb != "gat 0" {
                faces.compare(line.as_bytes());
            }
        }
    }
}

/// The values of a reply, each with its line, sorted; the last line must be END.
fn values(reply: &Bytes) -> Vec<Bytes> {
    let mut rest = &reply.0[..];
    let mut values = Vec::new();
    while rest != b"END\r\n" {
        let line_len = rest.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        let words: Vec<&[u8]> = rest[..line_len].trim_ascii_end().split(|&byte| byte == b' ').collect();
        assert_eq!(words[0], b"VALUE", "{:?}", Bytes(rest.to_vec()));
        let value_len: usize = std::str::from_utf8(words[3]).unwrap().parse().unwrap();
        let (value, behind) = rest.split_at(line_len + value_len + 2);
        values.push(Bytes(value.to_vec()));
        rest = behind;
    }
    values.sort();
    values
}

#[test]
fn a_wide_get_over_several_servers_finds_every_key() {
    let direct = Memcached::start();
    fill(&mut direct.client());
    let servers: Vec<_> = (0..5).map(|_| Memcached::start()).collect();
    let [a, b, c, d, e] = &servers[..] else { unreachable!() };
    for (primaries, backups, arguments) in [
        (vec![a, b, c], vec![], vec![]),
        (vec![a, b, c], vec![], vec!["-k"]),
        (vec![a, b, c], vec![d, e], vec![]),
        (vec![a, b, c], vec![a, b, c], vec!["-k"]),
    ] {
        let magent = Magent::before(&primaries, &backups, &arguments);
        let mut client = magent.client();
        client.check("flush_all\r\n", "OK\r\n");
        fill(&mut client);
        for server in &primaries {
            assert!(server.stat("curr_items") > 0, "the keys are spread over all servers");
        }
        for width in WIDTHS {
            for verb in ["get", "gat 0"] {
                let keys = wide_keys(width).join(" ");
                let reply = client.ask(format!("{verb} {keys}\r\n"));
                let expected = direct.ask(format!("get {keys}\r\n"));
                assert_eq!(
                    values(&reply),
                    values(&expected),
                    "{verb} of {width} keys, {arguments:?}"
                );
            }
        }
    }
}

#[test]
fn a_delayed_flush_happens_when_it_is_due() {
    let two = Two::start(&[]);
    let mut client = two.client();
    client.check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("flush_all 3\r\n", "OK\r\n");
    client.check("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    eventually("the item is gone", || client.ask("get a\r\n") == "END\r\n");
    two.both_say("get a\r\n", "END\r\n");
}

#[test]
fn version_is_the_lowest_among_the_servers() {
    let servers = [Memcached::start(), Memcached::start()];
    let old = Fake::start(|_| Some(b"VERSION 1.4.31\r\n".to_vec()));
    let magent = Magent::before(&[&servers[0], &servers[1]], &[], &["-s", &old.name]);
    magent.client().check("version\r\n", "VERSION 1.4.31\r\n");
    let magent = Magent::before(&[&servers[0], &servers[1]], &[], &[]);
    assert_eq!(magent.ask("version\r\n"), servers[0].ask("version\r\n").0);
}

/// A command for the comparison with memcached: few keys, so that commands meet, and no time that runs out.
fn command() -> impl Strategy<Value = Bytes> {
    let key = || select(vec!["a", "b", "c", "d"]);
    let value = || {
        prop_oneof![
            4 => vec(any::<u8>(), 0..20),
            3 => select(vec!["0", "7", "99", "18446744073709551615"]).prop_map(|text| text.as_bytes().to_vec()),
            1 => (900_usize..9000).prop_map(self::value),
        ]
    };
    let verb = || select(vec!["set", "set", "add", "replace", "append", "prepend"]);
    let exptime = || select(vec!["0", "0", "0", "-1", "1000", "2000000000"]);
    let noreply = || select(vec!["", "", "", " noreply"]);
    let storage = (verb(), key(), any::<u32>(), exptime(), noreply(), value());
    let keys = || vec(key(), 1..6).prop_map(|keys| keys.join(" "));
    let bytes = prop_oneof![
        8 => storage.prop_map(|(verb, key, flags, exptime, noreply, value)| {
            store(&format!("{verb} {key} {flags} {exptime} #{noreply}"), &value)
        }),
        6 => (select(vec!["get", "gets", "gat 0", "gats 0", "gat 1000"]), keys())
            .prop_map(|(verb, keys)| format!("{verb} {keys}\r\n").into_bytes()),
        3 => (select(vec!["incr", "decr"]), key(), any::<u64>(), any::<u8>(), noreply())
            .prop_map(|(verb, key, large, small, noreply)| {
                let delta = if small < 50 { large } else { u64::from(small) };
                format!("{verb} {key} {delta}{noreply}\r\n").into_bytes()
            }),
        3 => (select(vec!["delete K", "touch K 0", "touch K 1000", "touch K -1"]), key(), noreply())
            .prop_map(|(line, key, noreply)| format!("{}{noreply}\r\n", line.replace('K', key)).into_bytes()),
        1 => (key(), any::<u16>(), noreply()).prop_map(|(key, unique, noreply)| {
            store(&format!("cas {key} 1 0 # {}{noreply}", u64::from(unique) + (1 << 40)), b"cas")
        }),
        1 => select(vec![
            "flush_all", "flush_all noreply", "flush_all 0", "version", "verbosity 0", "bogus", "", "get", "incr a x",
            "set a 0 0 x", "set a 0 0 2\r\nabcd", "add b 0 0", "touch c", "delete d 5", "get a\tb", "verbosity 1 noreply",
        ])
        .prop_map(|line| format!("{line}\r\n").into_bytes()),
    ];
    bytes.prop_map(Bytes)
}

fn quick(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        max_shrink_time: 20_000, // milliseconds; an answer that never comes takes its time to be missed
        ..Config::default()
    }
}

/// Whether memcached makes a number that gets shorter shorter, or fills it up with spaces in place, depends on whether an
/// earlier reply still refers to the item: in a pipeline, on how the bytes fell into packets.
fn may_shrink_a_number(command: &[u8]) -> bool {
    let digits = command.iter().filter(|byte| byte.is_ascii_digit()).count();
    let wraps = command.starts_with(b"incr") && digits > 3;
    wraps || command.starts_with(b"decr") || command.windows(20).any(|part| part == b"18446744073709551615")
}

/// Of what [`command`] gives, what every memcached refuses without knowing how long its value is.
fn is_refused_storage(command: &[u8]) -> bool {
    matches!(command, b"set a 0 0 x\r\n" | b"add b 0 0\r\n")
}

#[test]
fn any_pipeline_in_any_packets_is_answered_as_memcached_answers_it() {
    let (direct, behind) = (Memcached::start(), Memcached::start());
    let magent = Magent::before(&[&behind], &[], &[]);
    let script = (vec(command(), 1..40), vec(any::<Index>(), 0..6));
    let result = TestRunner::new(quick(200)).run(&script, |(commands, cuts)| {
        let steady = commands.into_iter().filter(|command| !may_shrink_a_number(&command.0));
        let script: Vec<Bytes> = steady.collect();
        let whole = |commands: &[Bytes]| {
            let commands = commands.iter().flat_map(|command| &command.0).copied();
            b"flush_all\r\n".iter().copied().chain(commands).collect::<Vec<u8>>()
        };
        // memcached goes on where there may be a value, magent does not.
        let end = script.iter().position(|command| is_refused_storage(&command.0));
        let heard = whole(&script[..end.map_or(script.len(), |end| end + 1)]);
        let expected = direct.client().all_replies(&heard);
        // What is not heard any more comes with the last line that is.
        let bytes = whole(&script);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(heard.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut client = magent.client();
        let mut sent = 0;
        for cut in cuts {
            client.send(&bytes[sent..cut]);
            magent.settle();
            sent = cut;
        }
        client.shutdown();
        prop_assert_eq!(
            Bytes(without_uniques(&client.rest())),
            Bytes(without_uniques(&expected))
        );
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// A step of a conversation that waits for each answer.
#[derive(Clone, Debug)]
enum Step {
    Send(Bytes),
    /// A cas with the unique that a gets says now, or with another.
    Cas {
        key: &'static str,
        right: bool,
    },
}

fn take_step(name: &str, step: &Step) -> Vec<u8> {
    let all = |bytes: &[u8]| Client::connect(name).all_replies(bytes);
    match step {
        Step::Send(bytes) => without_uniques(&all(&bytes.0)),
        Step::Cas { key, right } => {
            let item = all(format!("gets {key}\r\n").as_bytes());
            let line = String::from_utf8_lossy(&item.0)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            let unique: u64 = line
                .split(' ')
                .nth(4)
                .map_or(1, |unique| unique.parse().expect("a unique"));
            let unique = if *right { unique } else { unique ^ 1 };
            without_uniques(&all(&store(&format!("cas {key} 6 0 # {unique}"), b"compared")))
        }
    }
}

#[test]
fn any_conversation_with_two_copies_goes_as_with_memcached_and_leaves_both_alike() {
    // decr pads a number that gets shorter with a space only where nothing else holds the item. With one thread a memcached
    // is done with a reply, and with the item in it, before it reads the next command; and without the other one nobody
    // moves items about.
    let start = || Memcached::start_with(&["-t", "1", "-o", "no_lru_maintainer"]);
    let (direct, primary, backup) = (start(), start(), start());
    let two = Two {
        magent: Magent::before(&[&primary], &[&backup], &[]),
        primary,
        backup,
    };
    let cas = (select(vec!["a", "b", "c", "d"]), any::<bool>()).prop_map(|(key, right)| Step::Cas { key, right });
    let step = prop_oneof![8 => command().prop_map(Step::Send), 1 => cas];
    let result = TestRunner::new(quick(100)).run(&vec(step, 1..25), |steps| {
        let start = Step::Send(Bytes(b"flush_all\r\n".to_vec()));
        for step in std::iter::once(&start).chain(&steps) {
            let expected = take_step(&direct.name, step);
            let reply = take_step(&two.magent.name, step);
            prop_assert_eq!(Bytes(reply), Bytes(expected), "{:?}", step);
        }
        let everything = "get a b c d\r\n";
        let expected = direct.ask(everything);
        prop_assert_eq!(&two.primary.ask(everything), &expected, "the primary in the end");
        prop_assert_eq!(&two.backup.ask(everything), &expected, "the backup in the end");
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
