//! What a client asks for, in the text protocol.
//!
//! A request is understood as memcached 1.6.18 understands it: tokens are split at spaces alone, a NUL byte ends the
//! line, `noreply` is noreply only as the last token and silences even the error that the rest of the line earns.
//!
//! One thing matters more than likeness: a server must never take a value for a command. If magent read a storage line
//! as valid and the server did not, the value that follows would be run as commands. So the line that is forwarded is
//! the client's own only where every memcached reads it alike; else it is written anew from the numbers understood.

use super::number::{is_plain, signed, unsigned};
use super::{KEY_BYTES_MAX, find_newline};

pub const ERROR: &[u8] = b"ERROR\r\n";
pub const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
pub const BAD_DELETE: &[u8] = b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n";
pub const BAD_DELTA: &[u8] = b"CLIENT_ERROR invalid numeric delta argument\r\n";
pub const BAD_EXPTIME: &[u8] = b"CLIENT_ERROR invalid exptime argument\r\n";
pub const BAD_CHUNK: &[u8] = b"CLIENT_ERROR bad data chunk\r\n";
pub const BAD_CLASS: &[u8] = b"BADCLASS invalid class id\r\n";
pub const MEMLIMIT_TOO_SMALL: &[u8] = b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n";
pub const MEMLIMIT_TOO_LARGE: &[u8] = b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes\r\n";
pub const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";

/// Longest value that a command line can announce (`INT_MAX - 2` in memcached's proto_text.c).
const VALUE_LEN_MAX: u64 = i32::MAX as u64 - 2;
/// Tokens kept of a line; none but retrievals and stats have a use for more.
const TOKENS_KEPT: usize = 7;

/// The command of a request, by its name in `protocol.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Incr,
    Decr,
    Touch,
    Delete,
    FlushAll,
    Version,
    Verbosity,
    Stats,
    /// `lru_crawler metadump` and `lru_crawler mgdump`.
    ListKeys,
    CacheMemlimit,
    Quit,
}

impl Verb {
    /// The first word of the command, for lines written anew.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Gets => "gets",
            Verb::Gat => "gat",
            Verb::Gats => "gats",
            Verb::Set => "set",
            Verb::Add => "add",
            Verb::Replace => "replace",
            Verb::Append => "append",
            Verb::Prepend => "prepend",
            Verb::Cas => "cas",
            Verb::Incr => "incr",
            Verb::Decr => "decr",
            Verb::Touch => "touch",
            Verb::Delete => "delete",
            Verb::FlushAll => "flush_all",
            Verb::Version => "version",
            Verb::Verbosity => "verbosity",
            Verb::Stats => "stats",
            Verb::ListKeys => "lru_crawler",
            Verb::CacheMemlimit => "cache_memlimit",
            Verb::Quit => "quit",
        }
    }

    /// get, gets, gat, gats: answered by values.
    pub fn is_retrieval(self) -> bool {
        matches!(self, Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats)
    }

    /// gat, gats: a retrieval that also sets the exptime.
    pub fn is_get_and_touch(self) -> bool {
        matches!(self, Verb::Gat | Verb::Gats)
    }

    /// Commands with a data block behind the line.
    pub fn is_storage(self) -> bool {
        matches!(
            self,
            Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Cas
        )
    }
}

/// The command line to forward: without noreply, without the line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The client's own bytes.
    Verbatim(&'a [u8]),
    /// Written anew, because some memcached might read the client's bytes differently.
    Rewritten(Vec<u8>),
}

impl Line<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Line::Verbatim(bytes) => bytes,
            Line::Rewritten(bytes) => bytes,
        }
    }
}

/// One command line, understood. Fields that the verb has no use for are empty or zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub verb: Verb,
    pub noreply: bool,
    /// The key, the first one of a retrieval; for stats the first argument.
    pub key: &'a [u8],
    /// All keys of a retrieval.
    pub keys: Keys<'a>,
    pub key_count: usize,
    /// Opaque 32 bits that belong to the item.
    pub flags: u32,
    /// Seconds: relative up to 30 days, a unix time above, negative for already expired, 0 for never (`protocol.txt`).
    /// For flush_all the delay, -1 without one.
    pub exptime: i64,
    /// Bytes of the data block behind the line, without its line end.
    pub value_len: usize,
    /// cas unique, incr and decr delta, verbosity level.
    pub number: u64,
    pub line: Line<'a>,
}

impl<'a> Request<'a> {
    /// The keys of a retrieval, the one key of anything else.
    pub fn keys_concerned(&self) -> Keys<'a> {
        match self.verb.is_retrieval() {
            true => self.keys,
            false => Keys::of(self.key),
        }
    }
}

/// What memcached says to a line that is no command: the error text, and whether noreply keeps it from the client.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reply: &'static [u8],
    pub noreply: bool,
}

impl Refusal {
    const fn loud(reply: &'static [u8]) -> Self {
        Self { reply, noreply: false }
    }
}

/// The keys of a retrieval line, in the order asked, duplicates included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a>(&'a [u8]);

impl<'a> Keys<'a> {
    /// The keys in `text`, which are separated by spaces.
    pub fn of(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// What has not been iterated over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|&byte| byte != b' ').unwrap_or(self.0.len());
        let text = &self.0[start..];
        let end = text.iter().position(|&byte| byte == b' ').unwrap_or(text.len());
        self.0 = &text[end..];
        (end > 0).then(|| &text[..end])
    }
}

/// The tokens of a line that is no retrieval.
struct Tokens<'a> {
    list: [&'a [u8]; TOKENS_KEPT],
    count: usize,
    noreply: bool,
    /// The line without the noreply at its end.
    command: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn of(line: &'a [u8]) -> Self {
        let mut tokens = Self {
            list: [&[]; TOKENS_KEPT],
            count: 0,
            noreply: false,
            command: line,
        };
        let mut at = 0;
        while at < line.len() {
            if line[at] == b' ' {
                at += 1;
                continue;
            }
            let start = at;
            while at < line.len() && line[at] != b' ' {
                at += 1;
            }
            let token = &line[start..at];
            if tokens.count < TOKENS_KEPT {
                tokens.list[tokens.count] = token;
            }
            tokens.count += 1;
            tokens.noreply = token == b"noreply";
            tokens.command = if tokens.noreply { &line[..start] } else { &line[..at] };
        }
        tokens
    }

    /// A refusal that noreply silences.
    fn refuse(&self, reply: &'static [u8]) -> Refusal {
        Refusal {
            reply,
            noreply: self.noreply,
        }
    }

    fn request(&self, verb: Verb) -> Request<'a> {
        Request {
            verb,
            noreply: self.noreply,
            key: self.list[1],
            keys: Keys(&[]),
            key_count: 0,
            flags: 0,
            exptime: 0,
            value_len: 0,
            number: 0,
            line: Line::Verbatim(self.command),
        }
    }

    fn key_fits(&self) -> bool {
        self.list[1].len() <= KEY_BYTES_MAX
    }
}

/// Whether a line that has not ended yet may go on: a line of `LINE_BYTES_MAX` bytes only if it is a retrieval.
pub fn may_continue(beginning: &[u8]) -> bool {
    if beginning.len() <= super::LINE_BYTES_MAX {
        return true;
    }
    let verb = Keys(beginning).next().unwrap_or(&[]);
    beginning.len() <= super::RETRIEVAL_LINE_BYTES_MAX && matches!(verb, b"get" | b"gets" | b"gat" | b"gats")
}

/// Reads the first line of `bytes`. None while it has not ended; else the length of the line with its end, and the
/// request or memcached's refusal of it. The data block of a storage command is not looked at.
pub fn parse(bytes: &[u8]) -> Option<(usize, Result<Request<'_>, Refusal>)> {
    let newline = find_newline(bytes)?;
    let mut line = &bytes[..newline];
    if let [before @ .., b'\r'] = line {
        line = before;
    }
    Some((newline + 1, parse_line(line)))
}

fn parse_line(line: &[u8]) -> Result<Request<'_>, Refusal> {
    // memcached handles the line as a C string.
    let line = match line.contains(&0) {
        true => line.split(|&byte| byte == 0).next().unwrap_or(&[]),
        false => line,
    };
    let mut words = Keys(line);
    match words.next().unwrap_or(&[]) {
        // bget is what clients of old said; memcached still takes it for a get.
        b"get" | b"bget" => retrieval(Verb::Get, line, words),
        b"gets" => retrieval(Verb::Gets, line, words),
        b"gat" => get_and_touch(Verb::Gat, line, words),
        b"gats" => get_and_touch(Verb::Gats, line, words),
        b"set" => storage(Verb::Set, line),
        b"add" => storage(Verb::Add, line),
        b"replace" => storage(Verb::Replace, line),
        b"append" => storage(Verb::Append, line),
        b"prepend" => storage(Verb::Prepend, line),
        b"cas" => storage(Verb::Cas, line),
        b"incr" => arithmetic(Verb::Incr, line),
        b"decr" => arithmetic(Verb::Decr, line),
        b"touch" => touch(line),
        b"delete" => delete(line),
        b"flush_all" => flush_all(line),
        b"verbosity" => verbosity(line),
        b"version" => Ok(plain(Verb::Version, line)),
        b"stats" => Ok(plain(Verb::Stats, line)),
        b"lru_crawler" => list_keys(line),
        b"cache_memlimit" => cache_memlimit(line),
        b"quit" => Ok(plain(Verb::Quit, line)),
        _ => Err(Refusal::loud(ERROR)),
    }
}

fn retrieval<'a>(verb: Verb, line: &'a [u8], keys: Keys<'a>) -> Result<Request<'a>, Refusal> {
    let mut request = keyed_retrieval(verb, line, keys)?;
    match keys.clone().next() {
        Some(key) => request.key = key,
        None => return Err(Refusal::loud(ERROR)),
    }
    Ok(request)
}

fn keyed_retrieval<'a>(verb: Verb, line: &'a [u8], keys: Keys<'a>) -> Result<Request<'a>, Refusal> {
    let mut key_count = 0;
    for key in keys {
        if key.len() > KEY_BYTES_MAX {
            return Err(Refusal::loud(BAD_FORMAT));
        }
        key_count += 1;
    }
    Ok(Request {
        verb,
        noreply: false,
        key: &[],
        keys,
        key_count,
        flags: 0,
        exptime: 0,
        value_len: 0,
        number: 0,
        line: Line::Verbatim(line),
    })
}

fn get_and_touch<'a>(verb: Verb, line: &'a [u8], mut keys: Keys<'a>) -> Result<Request<'a>, Refusal> {
    let token = keys.next().ok_or(Refusal::loud(ERROR))?;
    let exptime = signed(token).ok_or(Refusal::loud(BAD_EXPTIME))?;
    let mut request = keyed_retrieval(verb, line, keys)?;
    request.exptime = low_exptime(exptime);
    request.key = keys.clone().next().unwrap_or(&[]);
    if !is_plain(token, true) {
        let mut text = format!("{} {}", verb.name(), request.exptime).into_bytes();
        text.extend_from_slice(keys.rest());
        request.line = Line::Rewritten(text);
    }
    Ok(request)
}

fn storage(verb: Verb, line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    let arguments = if verb == Verb::Cas { 6 } else { 5 };
    if tokens.count != arguments && tokens.count != arguments + 1 {
        return Err(Refusal::loud(ERROR));
    }
    let [_, key, flags, exptime, value_len, unique, _] = tokens.list;
    let unique = if verb == Verb::Cas { unique } else { b"0" };
    let mut request = tokens.request(verb);
    let numbers = (unsigned(flags), signed(exptime), unsigned(value_len), unsigned(unique));
    let (Some(flags_value), Some(exptime_value), Some(len), Some(unique_value)) = numbers else {
        return Err(tokens.refuse(BAD_FORMAT));
    };
    if !tokens.key_fits() || len > VALUE_LEN_MAX {
        return Err(tokens.refuse(BAD_FORMAT));
    }
    request.flags = flags_value as u32; // memcached keeps the low 32 bits
    request.exptime = low_exptime(exptime_value);
    request.value_len = len as usize;
    request.number = unique_value;
    let unique_is_plain = unique.len() <= 20 && unique.iter().all(u8::is_ascii_digit);
    if !(is_plain(flags, false) && is_plain(exptime, true) && is_plain(value_len, false) && unique_is_plain) {
        request.line = Line::Rewritten(storage_line(verb, key, &request));
    }
    Ok(request)
}

/// A storage command line for `key` with the numbers of `request`, without noreply and line end.
pub fn storage_line(verb: Verb, key: &[u8], request: &Request<'_>) -> Vec<u8> {
    let mut text = format!("{} ", verb.name()).into_bytes();
    text.extend_from_slice(key);
    text.extend_from_slice(format!(" {} {} {}", request.flags, request.exptime, request.value_len).as_bytes());
    if verb == Verb::Cas {
        text.extend_from_slice(format!(" {}", request.number).as_bytes());
    }
    text
}

/// memcached keeps the low 32 bits, signed: libmemcached says -1 as 4294967295, and means it. Servers that refuse such
/// numbers are sent what the others make of them.
fn low_exptime(exptime: i64) -> i64 {
    i64::from(exptime as i32)
}

fn arithmetic(verb: Verb, line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if !(3..=4).contains(&tokens.count) {
        return Err(Refusal::loud(ERROR));
    }
    if !tokens.key_fits() {
        return Err(tokens.refuse(BAD_FORMAT));
    }
    let mut request = tokens.request(verb);
    request.number = unsigned(tokens.list[2]).ok_or(tokens.refuse(BAD_DELTA))?;
    if !tokens.list[2].iter().all(u8::is_ascii_digit) {
        request.line = keyed_line(verb, request.key, &request.number.to_string());
    }
    Ok(request)
}

fn touch(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if !(3..=4).contains(&tokens.count) {
        return Err(Refusal::loud(ERROR));
    }
    if !tokens.key_fits() {
        return Err(tokens.refuse(BAD_FORMAT));
    }
    let exptime = signed(tokens.list[2]).ok_or(tokens.refuse(BAD_EXPTIME))?;
    let mut request = tokens.request(Verb::Touch);
    request.exptime = low_exptime(exptime);
    if !is_plain(tokens.list[2], true) {
        request.line = keyed_line(Verb::Touch, request.key, &request.exptime.to_string());
    }
    Ok(request)
}

fn keyed_line<'a>(verb: Verb, key: &[u8], argument: &str) -> Line<'a> {
    let mut text = format!("{} ", verb.name()).into_bytes();
    text.extend_from_slice(key);
    text.push(b' ');
    text.extend_from_slice(argument.as_bytes());
    Line::Rewritten(text)
}

/// `delete <key> [0] [noreply]`: the 0 is what is left of a hold time that clients of old sent.
fn delete(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if !(2..=4).contains(&tokens.count) {
        return Err(Refusal::loud(ERROR));
    }
    let noreply = tokens.noreply && tokens.count > 2; // `delete noreply` deletes a key of that name
    let hold_is_zero = tokens.list[2] == b"0";
    let valid = match tokens.count {
        2 => true,
        3 => hold_is_zero || noreply,
        _ => hold_is_zero && noreply,
    };
    if !valid {
        return Err(tokens.refuse(BAD_DELETE));
    }
    if !tokens.key_fits() {
        return Err(tokens.refuse(BAD_FORMAT));
    }
    let mut request = tokens.request(Verb::Delete);
    request.noreply = noreply;
    if tokens.count == 2 && tokens.noreply {
        request.line = Line::Verbatim(line);
    }
    Ok(request)
}

fn flush_all(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if tokens.count > 3 {
        return Err(Refusal::loud(ERROR));
    }
    let mut request = tokens.request(Verb::FlushAll);
    let arguments = tokens.count - 1 - usize::from(tokens.noreply);
    request.exptime = match arguments {
        0 => -1,
        _ => low_exptime(signed(tokens.list[1]).ok_or(tokens.refuse(BAD_EXPTIME))?).max(-1),
    };
    let delay = if request.exptime < 0 {
        String::new()
    } else {
        format!(" {}", request.exptime)
    };
    request.line = Line::Rewritten(format!("flush_all{delay}").into_bytes());
    Ok(request)
}

fn verbosity(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if !(2..=3).contains(&tokens.count) {
        return Err(Refusal::loud(ERROR));
    }
    let mut request = tokens.request(Verb::Verbosity);
    request.number = unsigned(tokens.list[1]).ok_or(tokens.refuse(BAD_FORMAT))?;
    Ok(request)
}

/// `lru_crawler metadump|mgdump <classes>`; the other uses of the word would steer one server.
fn list_keys(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if tokens.count != 3 || !matches!(tokens.list[1], b"metadump" | b"mgdump") {
        return Err(Refusal::loud(ERROR));
    }
    let classes = tokens.list[2];
    let are_numbers = classes.iter().all(|byte| byte.is_ascii_digit() || *byte == b',');
    if !(are_numbers || matches!(classes, b"all" | b"hash")) {
        return Err(Refusal::loud(BAD_CLASS));
    }
    let mut request = tokens.request(Verb::ListKeys);
    request.noreply = false;
    Ok(request)
}

/// `cache_memlimit <megabytes> [noreply]`, with the limits of memcached's `process_memlimit_command`.
fn cache_memlimit(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let tokens = Tokens::of(line);
    if !(2..=3).contains(&tokens.count) {
        return Err(Refusal::loud(ERROR));
    }
    let megabytes = match unsigned(tokens.list[1]).and_then(|number| u32::try_from(number).ok()) {
        None => return Err(tokens.refuse(ERROR)),
        Some(0..=7) => return Err(tokens.refuse(MEMLIMIT_TOO_SMALL)),
        Some(1_000_000_001..) => return Err(tokens.refuse(MEMLIMIT_TOO_LARGE)),
        Some(megabytes) => megabytes,
    };
    let mut request = tokens.request(Verb::CacheMemlimit);
    request.key = &[];
    request.number = megabytes.into();
    request.line = Line::Rewritten(format!("cache_memlimit {megabytes}").into_bytes());
    Ok(request)
}

fn plain(verb: Verb, line: &[u8]) -> Request<'_> {
    let mut request = Tokens::of(line).request(verb);
    // A last word noreply is an argument like any other here.
    request.noreply = false;
    request.line = Line::Verbatim(line);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Result<Request<'_>, Refusal> {
        let (len, parsed) = parse(text).expect("a whole line");
        assert_eq!(len, text.len());
        parsed
    }

    #[test]
    fn noreply_is_stripped_from_what_is_forwarded() {
        for (text, forwarded) in [
            (&b"set k 1 2 3 noreply\r\n"[..], &b"set k 1 2 3 "[..]),
            (b"set k 1 2 3\n", b"set k 1 2 3"),
            (b"set  k 1 2 3  \r\n", b"set  k 1 2 3"),
            (b"cas k 1 2 3 4 noreply\r\n", b"cas k 1 2 3 4 "),
            (b"incr k 5 noreply\r\n", b"incr k 5 "),
            (b"delete k noreply\r\n", b"delete k "),
            (b"delete noreply\r\n", b"delete noreply"),
            (b"touch k 9 noreply\r\n", b"touch k 9 "),
        ] {
            let request = line(text).unwrap();
            assert_eq!(request.line.bytes(), forwarded);
            assert_eq!(
                request.noreply,
                text.ends_with(b"noreply\r\n") && text != b"delete noreply\r\n"
            );
        }
    }

    #[test]
    fn numbers_that_servers_may_read_differently_are_written_anew() {
        for (text, forwarded) in [
            (&b"set k +1 0 03\r\n"[..], &b"set k 1 0 3"[..]),
            (b"set k 4294967296 0 3\r\n", b"set k 0 0 3"),
            (b"set k 0 99999999999 3 noreply\r\n", b"set k 0 1215752191 3"),
            (b"set k 0 0 3\t\r\n", b"set k 0 0 3"),
            (b"cas k 0 0 3 +7\r\n", b"cas k 0 0 3 7"),
            (b"incr k +7\r\n", b"incr k 7"),
            (b"touch k -9999999999\r\n", b"touch k -1410065407"),
            (b"gat 9999999999 a b\r\n", b"gat 1410065407 a b"),
            (b"flush_all 3 noreply\r\n", b"flush_all 3"),
            (b"flush_all -5\r\n", b"flush_all"),
            (b"set k 0 0 1\0 junk\r\n", b"set k 0 0 1"),
        ] {
            let forward = line(text).unwrap().line;
            assert_eq!(forward.bytes(), forwarded, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn keys_of_a_retrieval_are_counted_and_bounded() {
        let request = line(b"gets  a bb   a \r\n").unwrap();
        assert_eq!(request.keys.collect::<Vec<_>>(), [&b"a"[..], b"bb", b"a"]);
        assert_eq!((request.key, request.key_count), (&b"a"[..], 3));
        assert_eq!(line(b"get\r\n"), Err(Refusal::loud(ERROR)));
        assert_eq!(line(b"gat 0\r\n").unwrap().key_count, 0);
        let long = [b"get a ", &[b'k'; 251][..], b"\r\n"].concat();
        assert_eq!(line(&long), Err(Refusal::loud(BAD_FORMAT)));
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
