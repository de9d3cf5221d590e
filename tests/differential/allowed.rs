//! Where a client may see another thing from magent than from memcached: this list, and nothing else.
//!
//! Each is checked against a bare memcached too: it is sent what magent makes of the stream, and answers what magent's
//! client has to see.

use super::asked::{Asked, Masked};
use super::meta_allowed;
use super::packets_allowed;
use super::stream::{Stream, expand, needs_replies, split_lines};
use super::world::{End, Truth};
use magent::protocol::text::dialect::Dialect;

/// What a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// What memcached answers to a line at a time, where what it answers, or computes, depends on how the bytes are split:
    /// it loses replies when it closes a connection, and pads a number that has become shorter unless a reply holds it.
    AsWithoutPipelining,
    /// A value that is too large, or whose line is refused, is refused before all of it is there.
    RefusedEarly,
    /// The meta command `me` is not there: ERROR.
    NoMetaDebug,
    /// The flag E of meta commands is refused: magent gives uniques itself.
    NoGivenUnique,
    /// An `ms` with I and a unique that is older than what is there stores nothing, where memcached stores it as stale.
    NoStaleStore,
    /// A refused line that has, or may have, a value behind it closes the connection, after the error, where memcached runs
    /// the value as commands.
    ClosedBeforeValue,
    /// A storage command behind blanks, which memcached since 1.6.40 refuses, is refused with its value, where memcached
    /// runs the value as commands.
    SkippedValue,
    /// A line that begins or ends like a web browser's request closes the connection. Memcacheds differ in what of it they
    /// want to see.
    ClosedForBrowser,
    /// A NUL in a key is refused, where memcached since 1.6.40 takes it; and a gat with a key that is too long touches
    /// nothing, where memcached has touched the keys before it.
    RefusedWhole,
    /// A line that is longer than 2048 bytes, and no get, is answered if magent reads it at once, and a gat in any case,
    /// where memcached closes the connection if it has not read it to its end at once.
    LongLine,
    /// A value of nearly 1 MiB, too large for an item, and with a wrong end: it is refused for that end.
    WrongEndOfTooLarge,
    /// What only begins a word that `stats` knows is none of them: ERROR. Since 1.6.40 memcached takes it for that word, and
    /// resets its counters at `stats r`.
    StatsByWord,
    /// A packet of an unknown operation that has a key or extras is passed over, where memcached passes over as many bytes
    /// more, which are of the next packet.
    UnknownWithKey,
    /// A key of the binary protocol, or in base64, that a text command cannot name is refused if it has more than 186 bytes:
    /// its name on the servers would be too long.
    NoNameForKey,
    /// An item has not been fetched where it is looked at with the flag h: the other copy was, when this one was slow to answer.
    HitElsewhere,
    /// The unique of what was stored is not told, but by a plain set, where the value is long or a server has refused one for want of
    /// room: what memcached refuses in the form that tells it takes away the item that is there.
    NoUniqueTold,
    /// Blanks are in the middle of a value, where a number was made shorter before something was appended: or they are not, where a
    /// reply held the item.
    PaddedElsewhere,
    /// An append or a count with a unique, in the binary protocol or by the flag C, is refused, where memcached does it to the
    /// item of that unique alone: servers cannot be asked that.
    NoUniqueOfCount,
    /// A fault that is known, and should be none: what there is of them is told where they are looked for.
    KnownFault,
}

/// What is allowed of replies wherever it is in them, each with all before it.
pub const MASKS: [(Allowed, Masked); 3] = [
    (
        Allowed::HitElsewhere,
        Masked {
            hits: true,
            stored: false,
            blanks: false,
        },
    ),
    (
        Allowed::NoUniqueTold,
        Masked {
            hits: true,
            stored: true,
            blanks: false,
        },
    ),
    (
        Allowed::PaddedElsewhere,
        Masked {
            hits: true,
            stored: true,
            blanks: true,
        },
    ),
];

pub const ALL: [Allowed; 19] = [
    Allowed::AsWithoutPipelining,
    Allowed::RefusedEarly,
    Allowed::NoMetaDebug,
    Allowed::NoGivenUnique,
    Allowed::NoStaleStore,
    Allowed::ClosedBeforeValue,
    Allowed::SkippedValue,
    Allowed::ClosedForBrowser,
    Allowed::RefusedWhole,
    Allowed::LongLine,
    Allowed::WrongEndOfTooLarge,
    Allowed::StatsByWord,
    Allowed::UnknownWithKey,
    Allowed::NoNameForKey,
    Allowed::HitElsewhere,
    Allowed::NoUniqueTold,
    Allowed::PaddedElsewhere,
    Allowed::NoUniqueOfCount,
    Allowed::KnownFault,
];

/// Cuts of a stream that are tried.
const CUTS_MAX: usize = 80;
/// memcached 1.6.45 ends an error of get with two line ends. Magent does not.
const DOUBLE_END: (&[u8], &[u8]) = (
    b"CLIENT_ERROR bad command line format\r\n\r\n",
    b"CLIENT_ERROR bad command line format\r\n",
);
/// A known fault: of a key that is no base64 nothing is said where a flag is wrong too.
const KNOWN_FAULT: (&[u8], &[u8]) = (
    b"CLIENT_ERROR error decoding key\r\n",
    b"CLIENT_ERROR bad command line format\r\n",
);
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";
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
/// What may be said before all of a value is there.
const REFUSALS_OF_VALUE: [&str; 3] = [
    "CLIENT_ERROR bad command line format\r\n",
    "CLIENT_ERROR bad data chunk\r\n",
    TOO_LARGE,
];

/// Commands with a value.
const STORAGE: [&[u8]; 6] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas"];

/// What a bare memcached is sent, and what becomes of its answer.
pub struct Candidate {
    pub allowed: Allowed,
    pub stream: Stream,
    /// The connection is closed behind it, after one of these.
    pub closes: Option<Vec<Vec<u8>>>,
    /// What is said to what stands in for another thing, and what magent says to that.
    pub replies: Vec<(Vec<u8>, Vec<u8>)>,
}

/// All that magent might be allowed to make of a stream.
pub fn candidates(stream: &Stream) -> Vec<Candidate> {
    if stream.is_binary() {
        return packets_allowed::candidates(stream);
    }
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
            Allowed::NoMetaDebug,
            meta_allowed::without_debug as fn(&[u8]) -> Vec<u8>,
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

impl Candidate {
    /// What magent's client may see, by what the bare memcached answered to the stream of this.
    pub fn outcomes(&self, asked: &Asked, mut truth: Truth) -> Vec<(Allowed, Truth)> {
        for (from, to) in &self.replies {
            truth.replies = replaced(&truth.replies, from, to).unwrap_or(truth.replies);
        }
        match (&self.closes, &truth.end) {
            (None, _) => self.outcomes_of_whole(asked, truth),
            (Some(words), &End::Open(sent)) => {
                // Without the answers to what was sent behind the cut to see how it ends.
                let len = asked.last_replies(sent).len();
                truth.replies.truncate(truth.replies.len().saturating_sub(len));
                truth.end = End::Closed;
                words.iter().map(|words| (self.allowed, truth.saying(words))).collect()
            }
            (Some(_), _) => Vec::new(),
        }
    }

    fn outcomes_of_whole(&self, asked: &Asked, truth: Truth) -> Vec<(Allowed, Truth)> {
        let mut outcomes = vec![(self.allowed, truth.clone())];
        let is_binary = asked.is_binary;
        if matches!(truth.end, End::Awaits(_)) {
            outcomes.extend(match is_binary {
                true => packets_allowed::refused_early(&self.stream, asked, &truth),
                false => {
                    let words = REFUSALS_OF_VALUE.iter();
                    words
                        .map(|words| (Allowed::RefusedEarly, truth.saying(words.as_bytes())))
                        .collect()
                }
            });
        }
        let replies = replaced(&truth.replies, TOO_LARGE.as_bytes(), b"CLIENT_ERROR bad data chunk\r\n");
        if let Some(replies) = replies.filter(|_| !is_binary) {
            outcomes.push((
                Allowed::WrongEndOfTooLarge,
                Truth {
                    replies,
                    ..truth.clone()
                },
            ));
        }
        let replies = replaced(&truth.replies, KNOWN_FAULT.0, KNOWN_FAULT.1);
        if let Some(replies) = replies.filter(|_| !is_binary) {
            outcomes.push((Allowed::KnownFault, Truth { replies, ..truth }));
        }
        outcomes
    }
}

/// When an item ends, -1 for never. An exptime of the binary protocol that is no signed number is a date after 2038 to memcached,
/// and never to magent, which cannot say it in the text protocol.
pub fn end_of_life(seconds: i64) -> i64 {
    if seconds > i32::MAX.into() { -1 } else { seconds }
}

/// The answers of a memcached as they would be without its slips.
pub fn corrected(replies: &[u8]) -> Vec<u8> {
    replaced(replies, DOUBLE_END.0, DOUBLE_END.1).unwrap_or_else(|| replies.to_vec())
}

/// The bytes with one thing in them replaced by another, wherever it is; None if it is nowhere.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    (rest.len() < bytes.len()).then_some(out)
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
