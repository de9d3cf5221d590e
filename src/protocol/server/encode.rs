//! Requests as servers are sent them.
//!
//! Every line has one form that every memcached reads alike: one space between words, none before or behind, numbers without
//! a sign or zero in front, no noreply. If a server read a storage line otherwise than magent did, the value that follows would
//! be run as commands; if it said nothing, every answer behind would go to the client before.

use super::question::Question;
use crate::protocol::LINE_END;
use crate::protocol::number::Decimal;
use crate::protocol::request::{Kept, Options, Request, Span};
use crate::protocol::verb::Verb;

/// The key that looks like a request for silence.
const NOREPLY: &[u8] = b"noreply";
/// Parts of a request: the line's five, its end, the value and its end.
const PARTS_MAX: usize = 8;
/// Where the words behind a key are written: ` <bytes> F<flags> T<exptime> C<unique> c` is the longest of all.
const WORDS_BYTES_MAX: usize = " 18446744073709551615 F4294967295 T-9223372036854775808 C18446744073709551615 c".len();

/// Room for the words of a line that are written anew.
pub struct Words {
    bytes: [u8; WORDS_BYTES_MAX],
    len: usize,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            bytes: [0; WORDS_BYTES_MAX],
            len: 0,
        }
    }
}

impl Words {
    fn add(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        self.bytes[self.len..end].copy_from_slice(text);
        self.len = end;
    }

    fn word(&mut self, word: &[u8]) {
        self.add(b" ");
        self.add(word);
    }

    fn unsigned(&mut self, number: u64) {
        self.word(Decimal::new(number).as_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.add(if number < 0 { b" -" } else { b" " });
        self.add(Decimal::new(number.unsigned_abs()).as_bytes());
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A request in the form in which a server gets it, in parts.
pub struct Encoded<'a> {
    parts: [&'a [u8]; PARTS_MAX],
    count: usize,
    /// How many of them are the line.
    head: usize,
    /// Bytes of all parts.
    len: usize,
    /// Where the key, or the list of keys, stands.
    key: Span,
    question: Question,
}

impl<'a> Encoded<'a> {
    /// All parts.
    pub fn parts(&self) -> &[&'a [u8]] {
        &self.parts[..self.count]
    }

    /// Those before the value, with the end of the line.
    pub fn head(&self) -> &[&'a [u8]] {
        &self.parts[..self.head]
    }

    /// What stands behind the value.
    pub fn tail(&self) -> &'static [u8] {
        if self.count > self.head { LINE_END } else { b"" }
    }

    /// Whether `piece` is just this: the line of a text client, and the value behind it, were kept together.
    pub fn is_all_of(&self, piece: &[u8]) -> bool {
        self.parts[0].as_ptr() == piece.as_ptr() && self.len == piece.len()
    }

    /// What is to be known of it as long as it is not answered.
    pub fn asked(&self) -> Asked {
        Asked {
            key: self.key,
            len: self.len as u32,
            question: self.question,
        }
    }
}

/// What was asked of a server: what the answer has to fit, and where in the piece that was sent the keys stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub key: Span,
    /// Bytes in all, with the value.
    pub len: u32,
    pub question: Question,
}

impl Asked {
    /// The request, where all of it was written to a piece.
    pub fn kept(&self, request: &Request<'_>) -> Kept {
        let behind_line = match request.verb.is_storage() {
            true => LINE_END.len() + request.value.len() + LINE_END.len(),
            false => LINE_END.len(),
        };
        let line_len = self.len as usize - behind_line;
        let value = Span::new(line_len + LINE_END.len(), request.value.len());
        Kept::as_written(request, self.key, value, line_len)
    }
}

/// A request in the form in which servers get it. What is written anew is written to `words`.
#[inline]
pub fn encode<'a>(request: &Request<'a>, words: &'a mut Words) -> Encoded<'a> {
    match request.verbatim {
        Some(line) => as_it_came(request, line),
        None => anew(request, words),
    }
}

/// How many parts are behind the line, the value and its end, and their bytes.
#[inline]
fn behind_line(request: &Request<'_>) -> (usize, usize) {
    match request.verb.is_storage() {
        true => (2, request.value.len() + LINE_END.len()),
        false => (0, 0),
    }
}

/// All keys of a retrieval of several, the one key of anything else.
#[inline]
fn key_text<'a>(request: &Request<'a>) -> &'a [u8] {
    match request.key_count {
        2.. => request.keys.rest(),
        _ => request.key,
    }
}

#[inline]
fn as_it_came<'a>(request: &Request<'a>, line: &'a [u8]) -> Encoded<'a> {
    let (value_parts, value_len) = behind_line(request);
    Encoded {
        parts: [line, LINE_END, request.value, LINE_END, b"", b"", b"", b""],
        count: 2 + value_parts,
        head: 2,
        len: line.len() + LINE_END.len() + value_len,
        key: Span::of(key_text(request), line),
        question: Question::of(request),
    }
}

/// Kept apart from the line as it came, which there is most of.
#[inline(never)]
fn anew<'a>(request: &Request<'a>, words: &'a mut Words) -> Encoded<'a> {
    write_words(request, words);
    let words = words.bytes();
    let (before, behind): (&[u8], &[u8]) = match matches!(request.verb, Verb::Gat | Verb::Gats) {
        true => (words, b""),
        false => (b"", words),
    };
    let key = key_text(request);
    // A list has a space in front of each key.
    let space: &[u8] = match request.key_count < 2 && !key.is_empty() {
        true => b" ",
        false => b"",
    };
    let name: &[u8] = match request.verb {
        verb if verb.is_storage() && request.options.unique => b"ms",
        verb if verb.is_count() && request.options.unique => b"ma",
        verb => verb.name().as_bytes(),
    };
    let line_len: usize = [name, before, space, key, behind].iter().map(|part| part.len()).sum();
    let (value_parts, value_len) = behind_line(request);
    Encoded {
        parts: [name, before, space, key, behind, LINE_END, request.value, LINE_END],
        count: 6 + value_parts,
        head: 6,
        len: line_len + LINE_END.len() + value_len,
        key: Span::new(name.len() + before.len() + space.len(), key.len()),
        question: Question::of(request),
    }
}

/// The words of a line beside its name and keys.
fn write_words(request: &Request<'_>, words: &mut Words) {
    match request.verb {
        Verb::Gat | Verb::Gats | Verb::Touch => words.signed(request.exptime),
        verb if verb.is_count() && request.options.unique => {
            if verb == Verb::Decr {
                words.word(b"MD");
            }
            words.word(b"D");
            words.add(Decimal::new(request.number).as_bytes());
            words.add(b" v c");
        }
        Verb::Incr | Verb::Decr | Verb::CacheMemlimit => words.unsigned(request.number),
        // Every memcached answers `delete noreply 0`, and since 1.6.40 none answers `delete noreply`.
        Verb::Delete if request.key == NOREPLY => words.word(b"0"),
        Verb::FlushAll if request.exptime >= 0 => words.signed(request.exptime),
        Verb::MetaGet | Verb::MetaGetAndTouch | Verb::MetaMake | Verb::MetaInvalidate | Verb::MetaDelete => {
            write_meta_words(request, words);
        }
        verb if verb.is_storage() && request.options.unique => write_item_options(request, words),
        verb if verb.is_storage() => {
            words.unsigned(request.flags.into());
            words.signed(request.exptime);
            words.unsigned(request.value.len() as u64);
            if verb == Verb::Cas {
                words.unsigned(request.number);
            }
        }
        _ => {}
    }
}

/// The same of those that are meta commands whatever they tell.
fn write_meta_words(request: &Request<'_>, words: &mut Words) {
    match request.verb {
        Verb::MetaGet => {
            write_recache(request, words);
            write_options(request.options, words);
        }
        Verb::MetaGetAndTouch => write_touch(request, words),
        Verb::MetaMake => {
            write_seconds(b'N', request.exptime, words);
            // The fetch is counted where it is read.
            words.word(b"u");
        }
        Verb::MetaInvalidate => {
            words.word(b"I");
            if request.options.sets_exptime {
                write_exptime(request.exptime, words);
            }
            if request.number > 0 {
                words.word(b"C");
                words.add(Decimal::new(request.number).as_bytes());
            }
        }
        Verb::MetaDelete => {
            words.word(b"C");
            words.add(Decimal::new(request.number).as_bytes());
        }
        _ => {}
    }
}

/// How an item is stored by a meta command that tells its unique. Append and prepend leave flags and exptime as they are.
fn write_item_options(request: &Request<'_>, words: &mut Words) {
    words.unsigned(request.value.len() as u64);
    let mode: &[u8] = match request.verb {
        Verb::Add => b"ME",
        Verb::Replace => b"MR",
        Verb::Append => b"MA",
        Verb::Prepend => b"MP",
        _ => b"",
    };
    if !matches!(request.verb, Verb::Append | Verb::Prepend) {
        words.word(b"F");
        words.add(Decimal::new(request.flags.into()).as_bytes());
        write_exptime(request.exptime, words);
    }
    if !mode.is_empty() {
        words.word(mode);
    }
    if request.verb == Verb::Cas {
        words.word(b"C");
        words.add(Decimal::new(request.number).as_bytes());
    }
    words.word(b"c");
}

fn write_exptime(exptime: i64, words: &mut Words) {
    write_seconds(b'T', exptime, words);
}

fn write_seconds(letter: u8, seconds: i64, words: &mut Words) {
    words.word(&[letter]);
    if seconds < 0 {
        words.add(b"-");
    }
    words.add(Decimal::new(seconds.unsigned_abs()).as_bytes());
}

/// What of a meta get sets the exptime, in the order in which it is done.
fn write_touch(request: &Request<'_>, words: &mut Words) {
    let mut options = request.options;
    if options.recaches_first {
        write_recache(request, words);
    }
    if options.ttl && options.ttl_before {
        options.ttl = false;
        words.word(b"t");
    }
    write_exptime(request.exptime, words);
    if !options.recaches_first {
        write_recache(request, words);
    }
    write_options(options, words);
}

fn write_recache(request: &Request<'_>, words: &mut Words) {
    if request.options.recaches {
        write_seconds(b'R', request.number as i64, words);
    }
}

/// What is to be told, and the key with it, so that it is seen what was looked at.
fn write_options(told: Options, words: &mut Words) {
    let flags = [
        (told.ttl, b"t"),
        (told.flags, b"f"),
        (told.unique, b"c"),
        (told.size, b"s"),
        (told.hit, b"h"),
        (told.last_access, b"l"),
        (told.no_update, b"u"),
        (true, b"k"),
        (told.value, b"v"),
    ];
    for (_, flag) in flags.into_iter().filter(|(is_told, _)| *is_told) {
        words.word(flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::keys::KeyList;

    fn text(request: &Request<'_>) -> String {
        let mut words = Words::default();
        let encoded = encode(request, &mut words);
        let bytes = encoded.parts().concat();
        assert_eq!((encoded.asked().len as usize, encoded.len), (bytes.len(), bytes.len()));
        assert_eq!(
            encoded.key.in_piece(&bytes),
            key_text(request),
            "where the key is, is known"
        );
        bytes.escape_ascii().to_string()
    }

    fn item(verb: Verb) -> Request<'static> {
        Request {
            flags: u32::MAX,
            exptime: i64::from(i32::MIN),
            value: b"v\0",
            number: u64::MAX,
            ..Request::new(verb, b"k")
        }
    }

    #[test]
    fn what_is_stored_tells_its_unique_if_it_is_asked() {
        for (verb, expected) in [
            (Verb::Set, "ms k 2 F4294967295 T-2147483648 c"),
            (Verb::Add, "ms k 2 F4294967295 T-2147483648 ME c"),
            (Verb::Replace, "ms k 2 F4294967295 T-2147483648 MR c"),
            (Verb::Append, "ms k 2 MA c"),
            (Verb::Prepend, "ms k 2 MP c"),
            (Verb::Cas, "ms k 2 F4294967295 T-2147483648 C18446744073709551615 c"),
        ] {
            let expected = format!("{expected}\\r\\nv\\x00\\r\\n");
            assert_eq!(text(&item(verb).telling_unique(true)), expected);
        }
        for (verb, expected) in [(Verb::Incr, "ma k D7 v c"), (Verb::Decr, "ma k MD D7 v c")] {
            let count = Request {
                number: 7,
                ..Request::new(verb, b"k")
            };
            assert_eq!(text(&count.telling_unique(true)), format!("{expected}\\r\\n"));
            assert_eq!(text(&count.telling_unique(true).telling_unique(false)), text(&count));
        }
    }

    #[test]
    fn requests_are_written_as_every_memcached_reads_them() {
        let number = |verb, key, number| Request {
            number,
            ..Request::new(verb, key)
        };
        let all = Options {
            ttl: true,
            flags: true,
            unique: true,
            size: true,
            value: true,
            hit: true,
            last_access: true,
            ..Options::default()
        };
        for (request, expected) in [
            (Request::new(Verb::Get, b"k"), "get k"),
            (Request::new(Verb::Gats, b"k").expiring(-7), "gats -7 k"),
            (item(Verb::Set), "set k 4294967295 -2147483648 2\\r\\nv\\x00"),
            (item(Verb::Prepend), "prepend k 4294967295 -2147483648 2\\r\\nv\\x00"),
            (
                item(Verb::Cas),
                "cas k 4294967295 -2147483648 2 18446744073709551615\\r\\nv\\x00",
            ),
            (number(Verb::Incr, b"k", 7), "incr k 7"),
            (Request::new(Verb::Touch, b"k").expiring(9), "touch k 9"),
            (Request::new(Verb::Delete, b"k"), "delete k"),
            (Request::new(Verb::Delete, b"noreply"), "delete noreply 0"),
            (Request::new(Verb::FlushAll, b"").expiring(-1), "flush_all"),
            (Request::new(Verb::FlushAll, b"").expiring(3), "flush_all 3"),
            (number(Verb::CacheMemlimit, b"", 64), "cache_memlimit 64"),
            (Request::new(Verb::Version, b""), "version"),
            (Request::new(Verb::Stats, b""), "stats"),
            (Request::new(Verb::Stats, b"items"), "stats items"),
            (Request::new(Verb::ListKeys, b"hash"), "lru_crawler metadump hash"),
            (Request::look(b"k", Options::default()), "mg k k"),
            (Request::look(b"k", all), "mg k t f c s h l k v"),
            (number(Verb::MetaDelete, b"k", 7), "md k C7"),
        ] {
            assert_eq!(text(&request), format!("{expected}\\r\\n"));
        }
    }

    #[test]
    fn a_line_goes_on_as_it_came_until_something_of_it_changes() {
        let line = b"set k 1 2 1";
        let request = Request {
            exptime: 2,
            value: b"v",
            verbatim: Some(line),
            key: &line[4..5],
            ..Request::new(Verb::Set, b"")
        };
        assert_eq!(text(&request), "set k 1 2 1\\r\\nv\\r\\n");
        assert_eq!(text(&request.expiring(2)), "set k 1 2 1\\r\\nv\\r\\n");
        assert_eq!(text(&request.expiring(3)), "set k 0 3 1\\r\\nv\\r\\n");
    }

    #[test]
    fn what_is_kept_of_what_was_written_is_the_request() {
        let mut list = KeyList::default();
        list.push(b"a");
        list.push(b"bb");
        let keys = Request {
            keys: list.keys(),
            key_count: 2,
            exptime: 7,
            ..Request::new(Verb::Gat, &list.keys().rest()[1..2])
        };
        assert_eq!(text(&keys), "gat 7 a bb\\r\\n");
        let item = Request {
            value: b"value",
            value_len: 5,
            flags: 3,
            ..Request::new(Verb::Add, b"k")
        };
        for request in [keys, item] {
            let mut words = Words::default();
            let encoded = encode(&request, &mut words);
            let piece = encoded.parts().concat();
            let again = encoded.asked().kept(&request).request(&piece);
            let expected = Request {
                verbatim: again.verbatim,
                keys: again.keys,
                ..request
            };
            assert_eq!(again, expected);
            assert!(again.keys_concerned().eq(request.keys_concerned()));
            assert!(again.verbatim.is_none_or(|line| line == b"add k 3 0 5"));
        }
    }
}
