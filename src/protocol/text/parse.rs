//! The lines of clients.
//!
//! A request is understood as the memcached behind magent understands it ([`Dialect`]): words are split at spaces alone,
//! `noreply` is noreply only as the last word and silences even the error that the rest of the line earns.
//!
//! What a server is sent is written in one form that every memcached reads alike ([`encode`](crate::protocol::server::encode)).
//! Where a client's own line has that form, the request says so, and the line goes on as it came.

use super::dialect::Dialect;
use super::refusal::{After, BAD_EXPTIME, BAD_FORMAT, Refusal};
use super::storage::storage;
use super::words::Words;
use super::{admin, common, keyed};
use crate::protocol::form::{Form, Parsed};
use crate::protocol::keys::Keys;
use crate::protocol::number::is_plain;
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::protocol::{KEY_BYTES_MAX, LINE_BYTES_MAX, RETRIEVAL_LINE_BYTES_MAX, find_byte, find_newline};

/// Lines with their ends that the new parser does not look into.
const BYTES_MIN_NEW: usize = 4;
/// Commands that the new parser takes with blanks in front (`proto_text.c` has kept its own reading of them).
const TAKEN_BEHIND_BLANKS: [&[u8]; 3] = [b"flush_all", b"verbosity", b"cache_memlimit"];

/// Whether a line that has not ended yet may go on: a line of `LINE_BYTES_MAX` bytes only if it is a retrieval.
pub fn may_continue(beginning: &[u8]) -> bool {
    if beginning.len() <= LINE_BYTES_MAX {
        return true;
    }
    let verb = Keys::of(beginning).next().unwrap_or(&[]);
    beginning.len() <= RETRIEVAL_LINE_BYTES_MAX && matches!(verb, b"get" | b"gets" | b"gat" | b"gats")
}

/// Reads the first line of `bytes`. None while it has not ended. The data block of a storage command is not looked at.
#[inline]
pub fn parse(dialect: Dialect, bytes: &[u8]) -> Option<Parsed<'_>> {
    match common::parse(bytes) {
        Some((line_len, request)) => Some((line_len, Form::Text, Ok(request))),
        None => parse_any(dialect, bytes),
    }
}

/// The same for any line, whether it is a common one or not.
#[inline(never)]
pub(super) fn parse_any(dialect: Dialect, bytes: &[u8]) -> Option<Parsed<'_>> {
    let newline = find_newline(bytes)?;
    let mut line = &bytes[..newline];
    if let [before @ .., b'\r'] = line {
        line = before;
    }
    let parsed = match dialect {
        Dialect::Old => parse_old(line),
        Dialect::New if newline + 1 < BYTES_MIN_NEW => Err(Refusal {
            reply: BAD_FORMAT,
            noreply: false,
            ..Refusal::of_unknown(line, dialect)
        }),
        Dialect::New => parse_new(line),
    };
    let parsed = parsed.map_err(|refusal| refusal.of_whole_line(line));
    let noreply = match &parsed {
        Ok(request) => request.noreply,
        Err(refusal) => refusal.noreply,
    };
    let form = if noreply { Form::Silent } else { Form::Text };
    Some((newline + 1, form, parsed))
}

/// The old parser handles a line as a C string, and takes blanks before a command.
fn parse_old(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let line = find_byte(line, 0).map_or(line, |end| &line[..end]);
    let mut words = Keys::of(line);
    match words.next().unwrap_or(&[]) {
        // What clients of old said; it is a get.
        b"bget" => retrieval(Verb::Get, line, words, Dialect::Old),
        verb => command(verb, line, words, Dialect::Old),
    }
}

/// The new parser takes no blanks before most commands, and a zero byte for a part of a key.
fn parse_new(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let mut words = Keys::of(line);
    let verb = words.next().unwrap_or(&[]);
    if line.starts_with(b" ") && !TAKEN_BEHIND_BLANKS.contains(&verb) {
        return Err(refusal_of_indented(line));
    }
    let parsed = command(verb, line, words, Dialect::New);
    match &parsed {
        // A server of another version might take it for the end of the line.
        Ok(request) if find_byte(line, 0).is_some() && request.keys_concerned().any(|key| key.contains(&0)) => {
            Err(Refusal::of_request(request))
        }
        _ => parsed,
    }
}

/// The refusal of a line with blanks in front. If it is a storage command but for those, it says how long its value is.
fn refusal_of_indented(line: &[u8]) -> Refusal {
    let refusal = Refusal::of_unknown(line, Dialect::New);
    let start = line.len() - line.trim_ascii_start().len();
    let after = match parse_new(&line[start..]) {
        Ok(request) if request.verb.is_storage() => Refusal::of_request(&request).after,
        Err(Refusal { after, .. }) => after,
        Ok(_) => After::NextLine,
    };
    match (refusal.after, after) {
        (After::Close, After::Swallow(_)) => Refusal { after, ..refusal },
        _ => refusal,
    }
}

fn command<'a>(verb: &[u8], line: &'a [u8], words: Keys<'a>, dialect: Dialect) -> Result<Request<'a>, Refusal> {
    match verb {
        b"get" => retrieval(Verb::Get, line, words, dialect),
        b"gets" => retrieval(Verb::Gets, line, words, dialect),
        b"gat" => get_and_touch(Verb::Gat, line, words, dialect),
        b"gats" => get_and_touch(Verb::Gats, line, words, dialect),
        b"set" => storage(Verb::Set, line, dialect),
        b"add" => storage(Verb::Add, line, dialect),
        b"replace" => storage(Verb::Replace, line, dialect),
        b"append" => storage(Verb::Append, line, dialect),
        b"prepend" => storage(Verb::Prepend, line, dialect),
        b"cas" => storage(Verb::Cas, line, dialect),
        b"incr" => keyed::arithmetic(Verb::Incr, line, dialect),
        b"decr" => keyed::arithmetic(Verb::Decr, line, dialect),
        b"touch" => keyed::touch(line, dialect),
        b"delete" => keyed::delete(line, dialect),
        b"flush_all" => admin::flush_all(line, dialect),
        b"verbosity" => admin::verbosity(line, dialect),
        b"version" => Ok(plain(Verb::Version, line)),
        b"stats" => Ok(plain(Verb::Stats, line)),
        b"lru_crawler" => admin::list_keys(line),
        b"cache_memlimit" => admin::cache_memlimit(line, dialect),
        b"quit" => Ok(plain(Verb::Quit, line)),
        _ => Err(Refusal::of_unknown(line, dialect)),
    }
}

fn retrieval<'a>(verb: Verb, line: &'a [u8], keys: Keys<'a>, dialect: Dialect) -> Result<Request<'a>, Refusal> {
    let request = keyed_retrieval(verb, line, verb.name().len(), keys)?;
    match request.key_count {
        0 => Err(Refusal::too_short(dialect)),
        _ => Ok(request),
    }
}

/// A retrieval whose keys stand behind `before` bytes, if one space is between all words.
fn keyed_retrieval<'a>(verb: Verb, line: &'a [u8], before: usize, keys: Keys<'a>) -> Result<Request<'a>, Refusal> {
    let mut first: &[u8] = &[];
    let mut key_count = 0;
    let mut len = before;
    for key in keys {
        if key_count == 0 {
            first = key;
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Refusal::loud(BAD_FORMAT));
        }
        key_count += 1;
        len += 1 + key.len();
    }
    let is_tight = len == line.len();
    Ok(Request {
        keys,
        key_count,
        verbatim: is_tight.then_some(line),
        ..Request::new(verb, first)
    })
}

/// The old parser takes a gat without keys, the new one does not.
fn get_and_touch<'a>(verb: Verb, line: &'a [u8], mut keys: Keys<'a>, dialect: Dialect) -> Result<Request<'a>, Refusal> {
    let token = keys.next().ok_or(Refusal::too_short(dialect))?;
    if dialect == Dialect::New && keys.clone().next().is_none() {
        return Err(Refusal::too_short(dialect));
    }
    let exptime = dialect.exptime(token).ok_or(Refusal::loud(BAD_EXPTIME))?;
    let mut request = keyed_retrieval(verb, line, verb.name().len() + 1 + token.len(), keys)?;
    request.exptime = exptime;
    request.verbatim = request.verbatim.filter(|_| is_plain(token, exptime));
    Ok(request)
}

fn plain(verb: Verb, line: &[u8]) -> Request<'_> {
    let words = Words::of(line);
    let mut request = words.request(verb);
    // A last word noreply is an argument like any other here.
    request.noreply = false;
    match verb {
        Verb::Stats => request.keys = Keys::of(words.from(1)),
        _ => request.key = &[],
    }
    request
}

impl<'a> Words<'a> {
    /// A refusal that noreply silences.
    pub(super) fn refuse(&self, reply: &'static Reply, after: After) -> Refusal {
        Refusal {
            reply,
            noreply: self.noreply,
            after,
        }
    }

    pub(super) fn request(&self, verb: Verb) -> Request<'a> {
        Request {
            noreply: self.noreply,
            ..Request::new(verb, self.list[1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::ERROR;
    use super::*;
    use crate::protocol::server::encode::encode;

    const BOTH: [Dialect; 2] = [Dialect::Old, Dialect::New];

    fn line(dialect: Dialect, text: &[u8]) -> Result<Request<'_>, Refusal> {
        let (len, _, parsed) = parse(dialect, text).expect("a whole line");
        assert_eq!(len, text.len());
        parsed
    }

    /// As it came, if that can be, and written anew.
    fn check_forwarded(dialect: Dialect, text: &[u8], forwarded: &[u8]) {
        let request = line(dialect, text).unwrap();
        let text = text.escape_ascii();
        for verbatim in [request.verbatim, None] {
            // Several keys are put together anew for each server; see `keys`.
            if verbatim.is_none() && request.key_count > 1 {
                continue;
            }
            let mut words = Default::default();
            let value = vec![b'v'; request.value_len];
            let whole = Request {
                verbatim,
                value: &value,
                ..request
            };
            let encoded = encode(&whole, &mut words).head().concat();
            let forward = encoded.strip_suffix(b"\r\n").expect("a line").escape_ascii();
            assert_eq!(forward.to_string(), forwarded.escape_ascii().to_string(), "{text}");
        }
    }

    #[test]
    fn what_is_forwarded_has_one_form() {
        for dialect in BOTH {
            for (text, forwarded) in [
                (&b"set k 1 2 3 noreply\r\n"[..], &b"set k 1 2 3"[..]),
                (b"set k 1 2 3\n", b"set k 1 2 3"),
                (b"set  k 1 2 3  \r\n", b"set k 1 2 3"),
                (b"set k 1 2 3 foo\r\n", b"set k 1 2 3"),
                (b"set k 01 -0 3\r\n", b"set k 1 0 3"),
                (b"set k 4294967296 0 03\r\n", b"set k 0 0 3"),
                (b"set k 4294967295 0 3\r\n", b"set k 4294967295 0 3"),
                (b"set k 0 99999999999 3 noreply\r\n", b"set k 0 1215752191 3"),
                (b"cas k 1 2 3 4 noreply\r\n", b"cas k 1 2 3 4"),
                (b"incr k 5 noreply\r\n", b"incr k 5"),
                (b"incr k 007\r\n", b"incr k 7"),
                (b"delete k noreply\r\n", b"delete k"),
                (b"delete k 0\r\n", b"delete k"),
                (b"delete  noreply\r\n", b"delete noreply 0"),
                (b"touch k  9 noreply\r\n", b"touch k 9"),
                (b"touch k -0\r\n", b"touch k 0"),
                (b"flush_all 3 noreply\r\n", b"flush_all 3"),
                (b"flush_all -5\r\n", b"flush_all"),
                (b"get  k \r\n", b"get k"),
                (b"get k\tl\r\n", b"get k\tl"),
                (b"gets a b\r\n", b"gets a b"),
                (b"gat 07 a\r\n", b"gat 7 a"),
                (b"gats 7  a\r\n", b"gats 7 a"),
            ] {
                check_forwarded(dialect, text, forwarded);
            }
        }
    }

    #[test]
    fn numbers_that_only_the_old_parser_takes_are_written_anew() {
        for (text, forwarded) in [
            (&b"set k +1 0 03\r\n"[..], &b"set k 1 0 3"[..]),
            (b"set k 0 0 3\t\r\n", b"set k 0 0 3"),
            (b"set k 0 0 4294967299\r\n", b"set k 0 0 3"),
            (b"cas k 0 0 3 +7\r\n", b"cas k 0 0 3 7"),
            (b" set k 0 0 3\r\n", b"set k 0 0 3"),
            (b"bget k\r\n", b"get k"),
            (b"incr k +7\r\n", b"incr k 7"),
            (b"touch k -9999999999\r\n", b"touch k -1410065407"),
            (b"gat 9999999999 a\r\n", b"gat 1410065407 a"),
            (b"set k 0 0 1\0 junk\r\n", b"set k 0 0 1"),
        ] {
            check_forwarded(Dialect::Old, text, forwarded);
            assert!(text.starts_with(b"set k +1") || line(Dialect::New, text).is_err());
        }
    }

    #[test]
    fn a_key_called_noreply_is_no_request_for_silence_where_more_follows() {
        for dialect in BOTH {
            assert!(!line(dialect, b"set noreply 0 0 1\r\n").unwrap().noreply);
            assert!(!line(dialect, b"incr noreply 1\r\n").unwrap().noreply);
            assert!(!line(dialect, b"get noreply\r\n").unwrap().noreply);
            let silent = line(dialect, b"delete noreply\r\n").unwrap().noreply;
            assert_eq!(silent, dialect == Dialect::New);
        }
    }

    /// What becomes of the value behind a storage command that is refused.
    #[test]
    fn a_refused_value_is_skipped_or_never_read() {
        let after = |dialect, text| line(dialect, text).unwrap_err().after;
        for text in [
            &b"set k 0 0\r\n"[..],
            b"set k 0 0 x\r\n",
            b"set k 0 0 -1\r\n",
            b"set my key 0 0 5\r\n",
            b"cas my key 0 0 5\r\n",
            b"add\r\n",
            b"ms k 5\r\n",
        ] {
            for dialect in BOTH {
                assert_eq!(after(dialect, text), After::Close, "{}", text.escape_ascii());
            }
        }
        let long = [b"set ", &[b'k'; 251][..], b" 0 0 5 noreply\r\n"].concat();
        for text in [
            &b"set k x 0 5\r\n"[..],
            b"cas k 0 0 5 \r\n",
            b"cas k 0 0 5 x\r\n",
            &long,
        ] {
            assert_eq!(after(Dialect::Old, text), After::Close, "{}", text.escape_ascii());
            assert_eq!(after(Dialect::New, text), After::Swallow(7), "{}", text.escape_ascii());
        }
        assert_eq!(after(Dialect::New, b"  set k 0 0 5\r\n"), After::Swallow(7));
        assert_eq!(after(Dialect::New, b"  set k 0 0 x\r\n"), After::Close);
        assert_eq!(after(Dialect::New, b"set a\0b 0 0 5\r\n"), After::Swallow(7));
    }

    #[test]
    fn keys_of_a_retrieval_are_counted_and_bounded() {
        for dialect in BOTH {
            let request = line(dialect, b"gets  a bb   a \r\n").unwrap();
            assert_eq!(request.keys.collect::<Vec<_>>(), [&b"a"[..], b"bb", b"a"]);
            assert_eq!((request.key, request.key_count), (&b"a"[..], 3));
            let long = [b"get a ", &[b'k'; 251][..], b"\r\n"].concat();
            assert_eq!(line(dialect, &long), Err(Refusal::loud(BAD_FORMAT)));
        }
        assert_eq!(line(Dialect::Old, b"get\r\n"), Err(Refusal::loud(ERROR)));
        assert_eq!(line(Dialect::New, b"get\r\n"), Err(Refusal::loud(BAD_FORMAT)));
        assert_eq!(line(Dialect::Old, b"gat 0\r\n").unwrap().key_count, 0);
        assert_eq!(line(Dialect::New, b"gat 0\r\n"), Err(Refusal::loud(BAD_FORMAT)));
    }

    #[test]
    fn only_retrievals_may_have_long_lines() {
        assert!(may_continue(&[b'x'; 2048]));
        assert!(!may_continue(&[b'x'; 2049]));
        let keys = [b"get ".to_vec(), vec![b'k'; 100_000]].concat();
        assert!(may_continue(&keys));
        let endless = [b"get ".to_vec(), vec![b'k'; 1 << 20]].concat();
        assert!(!may_continue(&endless));
    }
}
