//! The lines that nearly all are, read from front to end once: `get` and `gets`, and a `set` without noreply, written as a client
//! library writes them.
//!
//! Of these every [`Dialect`](super::dialect::Dialect) makes the same, and so does [`parse`](super::parse), which is asked for all others: for
//! those with a blank too many, with a control character, NUL or a lone newline among them, with a number that is not plain or that
//! memcached would cut, with a key that is too long. So nothing is refused here, and nothing is decided: a line that is taken here is
//! taken there, as the same request.

use crate::protocol::keys::Keys;
use crate::protocol::number::plain_behind_space;
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::protocol::{KEY_BYTES_MAX, LINE_END, find_blank_or_control};

/// Longest value of a line that is taken here: memcached's `-I` may not be set higher.
const VALUE_BYTES_MAX: u64 = 1 << 30;

/// What these lines begin with, told by one comparison.
const GET: u32 = u32::from_le_bytes(*b"get ");
const GETS: u32 = u32::from_le_bytes(*b"gets");
const SET: u32 = u32::from_le_bytes(*b"set ");

/// Reads the first line of `bytes`, if it is one of these and whole: its length with its end, and the request.
#[inline]
pub(super) fn parse(bytes: &[u8]) -> Option<(usize, Request<'_>)> {
    let verb = match u32::from_le_bytes(*bytes.first_chunk()?) {
        GET => Verb::Get,
        GETS => Verb::Gets,
        SET => return set(bytes),
        _ => return None,
    };
    retrieval(verb, bytes)
}

/// How long the key is that `text` begins with.
#[inline]
fn key_len(text: &[u8]) -> Option<usize> {
    find_blank_or_control(text).filter(|len| (1..=KEY_BYTES_MAX).contains(len))
}

#[inline(always)]
fn retrieval(verb: Verb, bytes: &[u8]) -> Option<(usize, Request<'_>)> {
    let name_len = verb.name().len();
    let mut rest = &bytes[name_len..];
    let mut first: &[u8] = &[];
    let mut key_count = 0;
    while let [b' ', text @ ..] = rest {
        let (key, behind) = text.split_at(key_len(text)?);
        if key_count == 0 {
            first = key;
        }
        rest = behind;
        key_count += 1;
    }
    let line_len = bytes.len() - rest.strip_prefix(LINE_END).filter(|_| key_count > 0)?.len();
    let line = &bytes[..line_len - LINE_END.len()];
    let request = Request {
        keys: Keys::of(&line[name_len..]),
        key_count,
        verbatim: Some(line),
        ..Request::new(verb, first)
    };
    Some((line_len, request))
}

#[inline(always)]
fn set(bytes: &[u8]) -> Option<(usize, Request<'_>)> {
    let text = &bytes["set ".len()..];
    let (key, text) = text.split_at(key_len(text)?);
    let (flags, text) = plain_behind_space(text)?;
    let (exptime, text) = plain_behind_space(text)?;
    let (value_len, text) = plain_behind_space(text).filter(|&(len, _)| len <= VALUE_BYTES_MAX)?;
    let line_len = bytes.len() - text.strip_prefix(LINE_END)?.len();
    let request = Request {
        flags: u32::try_from(flags).ok()?,
        exptime: i32::try_from(exptime).ok()?.into(),
        value_len: value_len as usize,
        verbatim: Some(&bytes[..line_len - LINE_END.len()]),
        ..Request::new(Verb::Set, key)
    };
    Some((line_len, request))
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::super::parse::parse_any;
    use super::*;
    use crate::protocol::form::Form;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// What is taken here is the same request there, in either dialect; whether it was taken.
    fn is_taken(bytes: &[u8]) -> bool {
        let Some((line_len, request)) = parse(bytes) else {
            return false;
        };
        for dialect in [Dialect::Old, Dialect::New] {
            let expected = Some((line_len, Form::Text, Ok(request)));
            assert_eq!(parse_any(dialect, bytes), expected, "{}", bytes.escape_ascii());
        }
        true
    }

    fn key_of(len: usize) -> String {
        "k".repeat(len)
    }

    #[test]
    fn common_lines_are_taken() {
        for line in [
            "get k",
            "gets k",
            "get a bb ccc a",
            "get noreply",
            "get \u{ff} a\u{7f}b",
            "set k 0 0 0",
            "set k 4294967295 2147483647 1073741824",
            "set noreply 1 2 3",
            &format!("get {} {}", key_of(KEY_BYTES_MAX), key_of(15)),
            &format!("set {} 32 86400 100", key_of(KEY_BYTES_MAX)),
        ] {
            assert!(is_taken(format!("{line}\r\n").as_bytes()), "{line:?}");
            assert!(
                is_taken(format!("{line}\r\nget k\r\n").as_bytes()),
                "{line:?} with more behind"
            );
            for len in 0..line.len() + 2 {
                assert_eq!(
                    parse(&format!("{line}\r\n").as_bytes()[..len]),
                    None,
                    "{line:?} up to {len}"
                );
            }
        }
    }

    #[test]
    fn odd_lines_are_left_to_who_reads_any() {
        assert_eq!((parse(b"get k\n"), parse(b"get k\r\r\n")), (None, None));
        for line in [
            "",
            "get",
            "get ",
            "get  k",
            "get k ",
            "get a  b",
            " get k",
            "GET k",
            "gets",
            "getsk",
            "gat 0 k",
            "get a\tb",
            "get a\0b",
            "get a\rb",
            "set k 0 0 1 noreply",
            "set k 0 0 1 ",
            "set k 0 0",
            "set k 00 0 1",
            "set k 0 -1 1",
            "set k +0 0 1",
            "set k 0 0 01",
            "set k 0\t0 0 1",
            "set k 4294967296 0 1",
            "set k 0 2147483648 1",
            "set k 0 0 1073741825",
            "set k 0 0 18446744073709551617",
            &format!("get {}", key_of(KEY_BYTES_MAX + 1)),
            &format!("get k {}", key_of(KEY_BYTES_MAX + 1)),
            &format!("set {} 0 0 1", key_of(KEY_BYTES_MAX + 1)),
        ] {
            assert_eq!(parse(format!("{line}\r\n").as_bytes()), None, "{line:?}");
            assert_eq!(
                parse(format!("{line}\n").as_bytes()),
                None,
                "{line:?} without a carriage return"
            );
        }
    }

    /// Parts of lines: right ones mostly, so that all of a line is right now and then, and what makes it odd.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        let number = prop_oneof![0..12_u64, any::<u64>(), Just(u64::from(u32::MAX)), Just(1 << 30)];
        prop_oneof![
            8 => vec(0x21..=0xff_u8, 1..40),
            8 => number.prop_map(|number| number.to_string().into_bytes()),
            1 => vec(any::<u8>(), 0..3),
            1 => (248..=252_usize).prop_map(|len| key_of(len).into_bytes()),
            1 => select(vec!["noreply", "-1", "+1", "00", "01", "get"]).prop_map(Vec::from),
        ]
    }

    proptest! {
        #[test]
        fn what_is_taken_here_is_taken_there(
            verb in select(vec!["get", "gets", "set", "set", "set", "get ", " get", "Get", "gat"]),
            parts in vec(part(), 0..6),
            blank in select(vec![" ", " ", " ", " ", "  ", "\t"]),
            end in select(vec!["\r\n", "\r\n", "\r\n", " \r\n", "\n", "\r\r\n", "\0\r\n", ""]),
        ) {
            let blank = blank.as_bytes();
            let mut line = [&[verb.as_bytes().to_vec()][..], &parts].concat().join(blank);
            line.extend_from_slice(end.as_bytes());
            is_taken(&line);
        }

        #[test]
        fn a_set_that_is_taken_here_is_taken_there(
            key in part(), flags in part(), exptime in part(), len in part(),
        ) {
            let words = [b"set".to_vec(), key, flags, exptime, len];
            is_taken(&[&words.join(&b' ')[..], b"\r\n"].concat());
        }

        #[test]
        fn keys_of_any_bytes_are_the_same_keys(keys in vec(vec(any::<u8>(), 1..30), 1..5)) {
            is_taken(&[b"get ", &keys.join(&b' ')[..], b"\r\n"].concat());
        }
    }
}
