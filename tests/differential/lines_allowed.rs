//! What [`Allowed`] means of a stream of lines: what the bare memcached is sent, line by line.

use super::allowed::{Allowed, Candidate, REFUSALS_OF_VALUE};
use super::meta_allowed;
use super::stream::{Stream, expand, needs_replies, split_lines};
use magent::protocol::text::dialect::Dialect;

/// Cuts of a stream that are tried.
const CUTS_MAX: usize = 80;
/// What may be said before a connection is closed.
const LAST_WORDS: [&str; 7] = [
    "",
    "ERROR\r\n",
    "CLIENT_ERROR invalid exptime argument\r\n",
    "CLIENT_ERROR invalid numeric delta argument\r\n",
    REFUSALS_OF_VALUE[0],
    REFUSALS_OF_VALUE[1],
    REFUSALS_OF_VALUE[2],
];
/// Commands with a value.
const STORAGE: [&[u8]; 6] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas"];

/// All that magent might be allowed to make of a stream.
pub fn candidates(stream: &Stream) -> Vec<Candidate> {
    let line = |bytes: Vec<u8>| Part { bytes, is_value: false };
    let lines: Vec<Part> = stream.by_units().0.into_iter().map(line).collect();
    let parts = parts(stream);
    let mut candidates = candidates_of(&lines);
    if parts != lines {
        candidates.extend(candidates_of(&parts));
    }
    candidates
}

fn candidates_of(parts: &[Part]) -> Vec<Candidate> {
    let plain: Vec<Vec<u8>> = parts.iter().map(|part| part.bytes.clone()).collect();
    let mut bases = vec![(Allowed::AsWithoutPipelining, plain.clone())];
    for (allowed, instead) in [
        (
            Allowed::RefusedWhole,
            meta_allowed::refused_for_opaque as fn(&[u8]) -> Vec<u8>,
        ),
        (Allowed::NoGivenUnique, meta_allowed::without_given_unique),
        (Allowed::NoUniqueOfCount, meta_allowed::without_unique_of_count),
        (Allowed::NoStaleStore, meta_allowed::without_stale_store),
        (Allowed::SkippedValue, without_indented_value),
        (Allowed::StatsByWord, without_beginning_of_word),
        (Allowed::LongLine, without_long_line),
        (Allowed::RefusedWhole, refused_whole),
    ] {
        let (_, lines) = bases.last().expect("the first");
        let edited = lines.iter().zip(parts).map(|(line, part)| match part.is_value {
            true => line.clone(),
            false => instead(line),
        });
        let edited: Vec<Vec<u8>> = edited.collect();
        if edited != *lines {
            bases.push((allowed, edited));
        }
    }
    // What stands for one line may be two: each is read by itself, so that no reply is held back for a value to come.
    let stream = |lines: &[Vec<u8>]| {
        let pieces = lines.iter().zip(parts).map(|(line, part)| match part.is_value {
            true => vec![line.clone()],
            false => split_lines(line),
        });
        Stream(pieces.flatten().collect())
    };
    let mut candidates = Vec::new();
    for (allowed, lines) in bases {
        candidates.push(Candidate {
            allowed,
            stream: stream(&lines),
            closes: None,
            replies: Vec::new(),
        });
        let cuts = parts.iter().enumerate().filter(|(_, part)| !part.is_value);
        let cuts = cuts.filter_map(|(n, part)| Some((n, closes(&part.bytes)?)));
        candidates.extend(cuts.take(CUTS_MAX).map(|(n, allowed)| Candidate {
            allowed,
            stream: stream(&lines[..n]),
            closes: Some(LAST_WORDS.iter().map(|words| words.as_bytes().to_vec()).collect()),
            replies: Vec::new(),
        }));
    }
    candidates
}

pub fn words(line: &[u8]) -> Vec<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    words.collect()
}

/// A `stats` that memcached does not know, in place of one with the beginning of a word.
fn without_beginning_of_word(line: &[u8]) -> Vec<u8> {
    const KNOWN: [&[u8]; 6] = [b"reset", b"detail", b"settings", b"cachedump", b"conns", b"extstore"];
    let words = words(line);
    let begins = |word: &&[u8]| KNOWN.iter().any(|known| known.starts_with(word) && known != word);
    match line.starts_with(b"stats ") && line.ends_with(b"\n") && words.get(1).is_some_and(begins) {
        true => b"stats nonsense\r\n".to_vec(),
        false => line.to_vec(),
    }
}

/// What a line without its end goes on with: it is sent behind every stream.
const BEHIND: &[u8] = b"nonsense";

/// The line as memcached comes to read it, what of it is sent behind the stream, and how its stand-in has to end.
fn whole(line: &[u8]) -> (Vec<u8>, usize, &'static str) {
    match line.ends_with(b"\n") {
        true => (line.to_vec(), 0, "\r\n"),
        false => ([line, BEHIND].concat(), BEHIND.len() + 2, ""),
    }
}

/// In place of a storage command behind blanks an unknown command, and one that reads the value and does nothing with it.
fn without_indented_value(line: &[u8]) -> Vec<u8> {
    let (whole, behind, _) = whole(line);
    let words = words(&whole);
    match words.get(4).and_then(|word| Dialect::New.value_len(word)) {
        Some(len) if line.starts_with(b" ") && may_have_value(&words) => {
            let refused = if words.last() == Some(&&b"noreply"[..]) {
                ""
            } else {
                "nonsense\r\n"
            };
            format!("{refused}append nobodys_key 0 0 {} noreply\r\n", behind + len).into_bytes()
        }
        _ => line.to_vec(),
    }
}

/// A line, or a value, of which is known what it is.
#[derive(Clone, PartialEq, Eq)]
struct Part {
    bytes: Vec<u8>,
    is_value: bool,
}

/// The stream in lines and values, as far as lengths of values are beyond doubt.
fn parts(stream: &Stream) -> Vec<Part> {
    let bytes = stream.bytes();
    let (mut parts, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let newline = rest.iter().position(|&byte| byte == b'\n');
        let (line, behind) = rest.split_at(newline.map_or(rest.len(), |at| at + 1));
        let (value, behind) = behind.split_at(value_bytes(line, behind));
        for (bytes, is_value) in [(line, false), (value, true)] {
            if !bytes.is_empty() {
                let bytes = bytes.to_vec();
                parts.push(Part { bytes, is_value });
            }
        }
        rest = behind;
    }
    parts
}

/// The word that says how long the value behind a line is.
fn value_len_word<'a>(words: &[&'a [u8]]) -> Option<&'a [u8]> {
    match words.first() {
        Some(name) if *name == b"ms" => words.get(2).copied(),
        Some(name) if STORAGE.contains(name) => words.get(4).copied(),
        _ => None,
    }
}

/// How many of the bytes behind a line are its value, with the end of that; a stand-in for a value is one.
fn value_bytes(line: &[u8], behind: &[u8]) -> usize {
    let Some(len) = value_len_word(&words(line)) else {
        return 0;
    };
    let stand_in = [b"<x*", len, b">"].concat();
    // What only the old parser takes is refused by the new one, and nothing is behind it then.
    match Dialect::Old.value_len(len) {
        Some(_) if behind.starts_with(&stand_in) => (stand_in.len() + 2).min(behind.len()),
        Some(len) if len < behind.len() => (len + 2).min(behind.len()),
        _ => 0,
    }
}

/// Whether a value reaches over a unique: how long that is decides what behind it is left for commands.
pub fn has_unique_in_value(stream: &Stream) -> bool {
    let bytes = stream.bytes();
    let mut rest = &bytes[..];
    while let Some(newline) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, behind) = rest.split_at(newline + 1);
        let len = value_len_word(&words(line)).and_then(|word| Dialect::Old.value_len(word));
        if len.is_some_and(|len| needs_replies(&behind[..len.min(behind.len())])) {
            return true;
        }
        rest = behind;
    }
    false
}

/// A line that is refused as magent refuses one with a NUL in a key: its key is too long. And so is a retrieval with such a
/// key: memcached may have touched the keys before it, and 1.6.45 says a line end in place of the error if noreply is
/// behind. What is refused for something else, blanks in front or a number, is refused for that by both.
fn refused_whole(line: &[u8]) -> Vec<u8> {
    const KEY_BYTES_MAX: usize = 250;
    const RETRIEVALS: [&[u8]; 4] = [b"get", b"gets", b"gat", b"gats"];
    const OTHERS: [&[u8]; 5] = [b"incr", b"decr", b"touch", b"delete", b"stats"];
    let (whole, _, end) = whole(line);
    let words = words(&whole);
    let Some(&name) = words.first() else {
        return line.to_vec();
    };
    let is_silent = words.last() == Some(&&b"noreply"[..]);
    let has_nul = words.get(1).is_some_and(|key| key.contains(&0));
    let len = words.get(4).and_then(|word| Dialect::New.value_len(word));
    if let Some(len) = len.filter(|_| STORAGE.contains(&name) && has_nul) {
        let refused = if is_silent { "" } else { "get <x*251>\r\n" };
        return format!("{refused}append nobodys_key 0 0 {len} noreply\r\n").into_bytes();
    }
    let before = whole.iter().take_while(|&&byte| byte == b' ').count();
    let blanks = &whole[..before];
    if RETRIEVALS.contains(&name) {
        let (arguments, keys) = words.split_at(words.len().min(if name.starts_with(b"gat") { 2 } else { 1 }));
        let is_refused = |key: &&[u8]| expand(key, |_, _| "0").len() > KEY_BYTES_MAX || key.contains(&0);
        return match keys.iter().any(is_refused) {
            true => [blanks, &arguments.join(&b' '), b" <x*251>", end.as_bytes()].concat(),
            false => line.to_vec(),
        };
    }
    let argument = words.get(2);
    let is_valid = match name {
        b"incr" | b"decr" => argument.is_some_and(|word| Dialect::New.number(word).is_some()),
        b"touch" => argument.is_some_and(|word| Dialect::New.exptime(word).is_some()),
        _ => true,
    };
    match OTHERS.contains(&name) && has_nul && is_valid {
        true if is_silent => [blanks, b"delete <x*251> noreply", end.as_bytes()].concat(),
        true => [blanks, b"get <x*251>", end.as_bytes()].concat(),
        false => line.to_vec(),
    }
}

/// Longest line, but for get, that memcached reads on if its end is not there.
const LINE_BYTES_MAX: usize = 2048;

/// Whether a line, or what a value may have left of one, is too long for memcached to wait for its end.
pub fn has_long_line(stream: &Stream) -> bool {
    stream
        .by_units()
        .0
        .iter()
        .any(|line| expand(line, |_, _| "0").len() > LINE_BYTES_MAX)
}

/// A long gat as a get, which memcached reads whatever its length: what it finds lives on as before. Of any other line
/// the beginning, which is refused alike.
fn without_long_line(line: &[u8]) -> Vec<u8> {
    let words = words(line);
    let end = if line.ends_with(b"\n") { &b"\r\n"[..] } else { b"" };
    if expand(line, |_, _| "0").len() <= LINE_BYTES_MAX {
        return line.to_vec();
    }
    match words.first() {
        Some(name) if matches!(*name, b"get" | b"gets") => line.to_vec(),
        Some(name) if matches!(*name, b"gat" | b"gats") && words.len() > 1 => {
            let get = if *name == b"gat" { &b"get"[..] } else { b"gets" };
            let words = [&[get], &words[2..]].concat();
            [&words.join(&b' '), end].concat()
        }
        _ => [&expand(line, |_, _| "0")[..LINE_BYTES_MAX - 100], end].concat(),
    }
}

/// Whether a line may end the conversation if it is refused, and why.
fn closes(line: &[u8]) -> Option<Allowed> {
    // What stands for a unique is a number.
    let line = expand(line, |_, _| "0");
    // The old parser reads a line up to a NUL, the new one does not.
    let beginning = line.split(|&byte| byte == 0).next().unwrap_or(&[]);
    closes_by_words(&words(&line)).or_else(|| closes_by_words(&words(beginning)))
}

fn closes_by_words(words: &[&[u8]]) -> Option<Allowed> {
    const BROWSERS: [&[u8]; 9] = [
        b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT",
    ];
    let ends_in_http = words.last().is_some_and(|word| word.starts_with(b"HTTP/"));
    if ends_in_http || words.first().is_some_and(|word| BROWSERS.contains(word)) {
        return Some(Allowed::ClosedForBrowser);
    }
    may_have_value(words).then_some(Allowed::ClosedBeforeValue)
}

/// It has the name of a storage command, but for case and what surrounds it, or the form of one, or is one of Redis'.
fn may_have_value(words: &[&[u8]]) -> bool {
    const NAMES: [&str; 7] = ["set", "add", "replace", "append", "prepend", "cas", "ms"];
    let Some(first) = words.first() else {
        return false;
    };
    let letters = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let name = first
        .iter()
        .skip_while(|byte| !letters(byte))
        .take_while(|byte| letters(byte));
    let name: Vec<u8> = name.map(u8::to_ascii_lowercase).collect();
    let is_number = |word: &[u8]| {
        let digits = word.strip_prefix(b"-").unwrap_or(word);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    NAMES.iter().any(|known| known.as_bytes() == name)
        || matches!(first, [b'*' | b'$', len @ ..] if is_number(len))
        || (words.len() >= 5 && words[2..5].iter().all(|word| is_number(word)))
}
