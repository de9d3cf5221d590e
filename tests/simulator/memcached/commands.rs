//! The text commands.

use super::connection::{Replies, Upcoming, UpcomingReply};
use super::items::{self, Counted, Mode, New, Outcome, Stored};
use super::{Process, Version, meta, number};
use std::fmt::Display;
use std::io::Write;

pub const KEY_BYTES_MAX: usize = 250;
pub const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format";
pub const OUT_OF_MEMORY: &str = "SERVER_ERROR out of memory storing object";
pub const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";
pub const NOT_A_NUMBER: &str = "CLIENT_ERROR cannot increment or decrement non-numeric value";
/// memcached splits a line into so many words at most. The rest it looks at only for a get.
const WORDS_MAX: usize = 23;

/// A command being run: what it may change, and where its reply goes.
pub struct Session<'a> {
    pub process: &'a mut Process,
    pub replies: &'a mut Replies,
    pub connection: usize,
    /// Keeps the next reply from being written.
    pub noreply: bool,
}

/// What the connection does next.
pub enum Next {
    Command,
    /// Reads the value.
    Value(Upcoming),
    /// Throws the value away: so many bytes with the end of its line.
    Refuse(usize),
    /// Writes all replies at once.
    Write,
    /// Has handed itself over to a metadump.
    Listed,
    /// Closes, behind its replies.
    Close,
    /// Closes without them.
    Abort,
}

impl<'a> Session<'a> {
    pub fn new(process: &'a mut Process, replies: &'a mut Replies, connection: usize) -> Self {
        Self {
            process,
            replies,
            connection,
            noreply: false,
        }
    }

    /// Replies with a line, unless the client wants none.
    pub fn say(&mut self, line: &str) -> Next {
        if self.noreply {
            // One that is not written is stacked like any other.
            self.replies.push(b"");
            return Next::Command;
        }
        self.insist(line)
    }

    /// Replies with a line, wanted or not.
    pub fn insist(&mut self, line: &str) -> Next {
        self.replies.push(line.as_bytes());
        self.replies.push(b"\r\n");
        Next::Command
    }
}

/// Runs the command in a line.
pub fn run(session: &mut Session, line: &[u8], out: &mut Vec<u8>) -> Next {
    // To memcached a line ends with its first NUL.
    let text = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let all = || text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let words: Vec<&[u8]> = all().take(WORDS_MAX).collect();
    let Some((&name, arguments)) = words.split_first().filter(|(name, _)| name.len() > 1) else {
        return session.say("ERROR");
    };
    match (name, arguments.len()) {
        (b"mg" | b"ms" | b"md" | b"ma" | b"mn" | b"me", _) if session.process.has_meta => {
            meta::run(session, name[1], arguments)
        }
        (b"get" | b"bget", 1..) => get(session, all().skip(1), false, None),
        (b"gets", 1..) => get(session, all().skip(1), true, None),
        (b"gat" | b"gats", _) if session.process.version < Version::HAS_GAT => session.say("ERROR"),
        (b"gat", 1..) => get(session, all().skip(2), false, Some(arguments[0])),
        (b"gats", 1..) => get(session, all().skip(2), true, Some(arguments[0])),
        (b"set", 4 | 5) => announce(session, Mode::Set, arguments),
        (b"add", 4 | 5) => announce(session, Mode::Add, arguments),
        (b"replace", 4 | 5) => announce(session, Mode::Replace, arguments),
        (b"append", 4 | 5) => announce(session, Mode::Append, arguments),
        (b"prepend", 4 | 5) => announce(session, Mode::Prepend, arguments),
        (b"cas", 5 | 6) => announce(session, Mode::Cas, arguments),
        (b"incr", 2 | 3) => count(session, true, arguments),
        (b"decr", 2 | 3) => count(session, false, arguments),
        (b"touch", 2 | 3) => touch(session, arguments),
        (b"delete", 1..=3) => delete(session, arguments),
        (b"flush_all", 0..=2) => flush_all(session, arguments),
        (b"verbosity", 1 | 2) => verbosity(session, arguments),
        (b"version", _) => session.say(&format!("VERSION {}", session.process.version)),
        (b"stats", _) => stats(session, arguments),
        (b"lru_crawler", _) => lru_crawler(session, arguments, out),
        (b"quit", _) => Next::Close,
        (b"cache_memlimit", 1 | 2) => cache_memlimit(session, arguments),
        (b"watch" | b"slabs" | b"lru" | b"cache_memlimit" | b"shutdown" | b"extstore", _) => not_modelled(line),
        (
            b"get" | b"bget" | b"gets" | b"gat" | b"gats" | b"set" | b"add" | b"replace" | b"append" | b"prepend"
            | b"cas" | b"incr" | b"decr" | b"touch" | b"delete" | b"flush_all" | b"verbosity",
            _,
        ) => session.say("ERROR"),
        _ if line[0] == 0x80 => not_modelled(line),
        _ => unknown(session, name, words[words.len() - 1]),
    }
}

pub fn not_modelled(what: &[u8]) -> ! {
    panic!("the model of memcached cannot do {:?}", what.escape_ascii().to_string());
}

fn unknown(session: &mut Session, name: &[u8], last: &[u8]) -> Next {
    // Somebody takes this for a web server; names that begin like a command of memcached's are answered all the same.
    if last.starts_with(b"HTTP/") && !b"gsacidt".contains(&name[0]) {
        return Next::Abort;
    }
    session.say("ERROR")
}

fn says_noreply(words: &[&[u8]]) -> bool {
    words.last() == Some(&&b"noreply"[..])
}

fn get<'k>(
    session: &mut Session,
    keys: impl Iterator<Item = &'k [u8]>,
    with_cas: bool,
    exptime: Option<&[u8]>,
) -> Next {
    let expires_at = match exptime.map(number::signed) {
        None => None,
        Some(Some(exptime)) => Some(session.process.items.expires_at(exptime)),
        Some(None) => return session.say("CLIENT_ERROR invalid exptime argument"),
    };
    for key in keys {
        if key.len() > KEY_BYTES_MAX {
            // This takes the replies to earlier commands with it.
            session.replies.clear();
            session.process.items.release(session.connection);
            return session.say(BAD_FORMAT);
        }
        let counters = &mut session.process.counters;
        match expires_at {
            Some(_) => counters.cmd_touch += 1,
            None => counters.cmd_get += 1,
        }
        let Some(stored) = session.process.items.fetch(key) else {
            counters.get_misses += u64::from(expires_at.is_none());
            continue;
        };
        counters.get_hits += u64::from(expires_at.is_none());
        if let Some(expires_at) = expires_at {
            stored.item.exptime = expires_at;
        }
        push_value(session.replies, key, stored, with_cas);
    }
    session.replies.push(b"END\r\n");
    Next::Write
}

fn push_value(replies: &mut Replies, key: &[u8], stored: &Stored, with_cas: bool) {
    let item = &stored.item;
    replies.push(b"VALUE ");
    replies.push(key);
    replies.push(format!(" {} {}", item.flags, item.value.len()).as_bytes());
    if with_cas {
        replies.push(format!(" {}", item.cas).as_bytes());
    }
    replies.push(b"\r\n");
    replies.push(&item.value);
    replies.push(b"\r\n");
}

/// A store command: checks its line and awaits its value.
fn announce(session: &mut Session, mode: Mode, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments);
    let key = arguments[0];
    let flags = number::flags(arguments[1]);
    let (exptime, value_len) = (number::signed(arguments[2]), number::signed(arguments[3]));
    let unique = if mode == Mode::Cas {
        number::unsigned(arguments[4])
    } else {
        Some(0)
    };
    let (Some(flags), Some(exptime), Some(value_len), Some(unique)) = (flags, exptime, value_len, unique) else {
        return session.say(BAD_FORMAT);
    };
    let Some(value_len) = usize_of(value_len).filter(|_| key.len() <= KEY_BYTES_MAX) else {
        return session.say(BAD_FORMAT);
    };
    if session.process.items.is_too_large(key, flags, value_len) {
        session.say(TOO_LARGE);
        if mode == Mode::Set {
            session.process.items.unlink(key);
        }
        return Next::Refuse(value_len + 2);
    }
    if session.process.is_full {
        session.say(OUT_OF_MEMORY);
        if mode == Mode::Set {
            session.process.items.unlink(key); // nobody is to read what was to be replaced
        }
        return Next::Refuse(value_len + 2);
    }
    Next::Value(Upcoming {
        mode,
        new: New {
            key: key.to_vec(),
            value: Vec::new(),
            flags,
            exptime: session.process.items.expires_at(exptime),
        },
        value_len,
        unique,
        reply: UpcomingReply::Text {
            noreply: session.noreply,
        },
    })
}

/// The length of a value, if it can be one: room for the end of the line must be left.
pub fn usize_of(value_len: i32) -> Option<usize> {
    usize::try_from(value_len).ok().filter(|_| value_len <= i32::MAX - 2)
}

/// Stores the value that a command announced. `block` is the value and, if all is well, the end of its line.
pub fn store(session: &mut Session, mut upcoming: Upcoming, block: &[u8]) -> Next {
    session.process.counters.cmd_set += 1;
    if let UpcomingReply::Text { noreply } = upcoming.reply {
        session.noreply = noreply;
    }
    let Some(value) = block.strip_suffix(b"\r\n") else {
        return session.say("CLIENT_ERROR bad data chunk");
    };
    upcoming.new.value = value.to_vec();
    let may_be_stale = matches!(&upcoming.reply, UpcomingReply::Meta(reply) if reply.may_be_stale);
    let outcome = session
        .process
        .items
        .store(upcoming.mode, upcoming.new, upcoming.unique, may_be_stale);
    match upcoming.reply {
        UpcomingReply::Meta(reply) => reply.push(session, outcome),
        UpcomingReply::Text { .. } => session.say(match outcome {
            Outcome::Stored(_) => "STORED",
            Outcome::NotStored => "NOT_STORED",
            Outcome::Exists => "EXISTS",
            Outcome::NotFound => "NOT_FOUND",
        }),
    }
}

fn count(session: &mut Session, up: bool, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments);
    let key = arguments[0];
    if key.len() > KEY_BYTES_MAX {
        return session.say(BAD_FORMAT);
    }
    let Some(delta) = number::unsigned(arguments[1]) else {
        return session.say("CLIENT_ERROR invalid numeric delta argument");
    };
    let counted = session.process.items.count(key, up, delta, 0, session.process.is_full);
    let counters = &mut session.process.counters;
    match (&counted, up) {
        (Counted::To { .. }, true) => counters.incr_hits += 1,
        (Counted::To { .. }, false) => counters.decr_hits += 1,
        (Counted::NotFound, true) => counters.incr_misses += 1,
        (Counted::NotFound, false) => counters.decr_misses += 1,
        _ => {}
    }
    match counted {
        Counted::To { value, .. } => session.say(&value.to_string()),
        Counted::NotANumber => session.say(NOT_A_NUMBER),
        Counted::NotFound => session.say("NOT_FOUND"),
        Counted::NoMemory => session.say("SERVER_ERROR out of memory"),
        Counted::OtherCas => unreachable!("any cas unique will do"),
    }
}

fn touch(session: &mut Session, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments);
    let key = arguments[0];
    if key.len() > KEY_BYTES_MAX {
        return session.say(BAD_FORMAT);
    }
    let Some(exptime) = number::signed(arguments[1]) else {
        return session.say("CLIENT_ERROR invalid exptime argument");
    };
    session.process.counters.cmd_touch += 1;
    let expires_at = session.process.items.expires_at(exptime);
    let Some(stored) = session.process.items.fetch(key) else {
        return session.say("NOT_FOUND");
    };
    stored.item.exptime = expires_at;
    session.say("TOUCHED")
}

fn delete(session: &mut Session, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments) && arguments.len() > 1;
    // There was a time before which the key could not be added again; only 0 is left of it.
    let is_valid = match arguments[1..] {
        [] => true,
        [word] => word == b"0" || session.noreply,
        [word, ..] => word == b"0" && session.noreply,
    };
    if !is_valid {
        return session.say("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]");
    }
    let key = arguments[0];
    if key.len() > KEY_BYTES_MAX {
        return session.say(BAD_FORMAT);
    }
    let was_there = session.process.items.find(key).is_some();
    session.process.items.unlink(key);
    session.say(if was_there { "DELETED" } else { "NOT_FOUND" })
}

fn flush_all(session: &mut Session, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments);
    session.process.counters.cmd_flush += 1;
    let has_delay = arguments.len() > usize::from(session.noreply);
    let delay = if has_delay {
        number::signed(arguments[0])
    } else {
        Some(0)
    };
    let Some(delay) = delay else {
        return session.say("CLIENT_ERROR invalid exptime argument");
    };
    let passes_over = session.process.passes_over();
    session.process.items.flush(delay, passes_over);
    session.say("OK")
}

fn verbosity(session: &mut Session, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments);
    let level = number::flags(arguments[0]);
    session.say(if level.is_some() { "OK" } else { BAD_FORMAT })
}

/// Changes nothing here: the limits are magent's business to refuse, and memory has no end.
fn cache_memlimit(session: &mut Session, arguments: &[&[u8]]) -> Next {
    session.noreply = says_noreply(arguments);
    match number::flags(arguments[0]) {
        Some(8..=1_000_000_000) => session.say("OK"),
        _ => not_modelled(arguments[0]),
    }
}

/// What there is to be said of items in one slab class, and the same for settings; as memcached says it, and no more of it
/// than a few lines of each kind.
fn topic(session: &mut Session, lines: &[(&str, &str)]) -> Next {
    for (name, value) in lines {
        session.replies.push(format!("STAT {name} {value}\r\n").as_bytes());
    }
    session.replies.push(b"END\r\n");
    Next::Command
}

fn stats(session: &mut Session, arguments: &[&[u8]]) -> Next {
    let number = session.process.items.len().to_string();
    match arguments {
        [] => {}
        [b"items"] => return topic(session, &[("items:1:number", &number), ("items:1:age", "3")]),
        [b"slabs"] => {
            return topic(
                session,
                &[
                    ("1:chunk_size", "96"),
                    ("1:used_chunks", &number),
                    ("active_slabs", "1"),
                ],
            );
        }
        [b"sizes"] => return topic(session, &[("sizes_status", "disabled")]),
        [b"settings"] => {
            return topic(
                session,
                &[("maxbytes", "67108864"), ("evictions", "on"), ("item_size_max", "9")],
            );
        }
        [
            b"reset" | b"settings" | b"items" | b"slabs" | b"sizes" | b"conns" | b"detail" | b"cachedump",
            ..,
        ] => not_modelled(&arguments.concat()),
        _ => return session.say("ERROR"),
    }
    let process = &session.process;
    let counters = &process.counters;
    // The real one starts at 2.
    let uptime = process.now_s - process.started_s + 2;
    let mut text = Vec::new();
    let mut line = |name: &str, value: &dyn Display| write!(text, "STAT {name} {value}\r\n").expect("memory");
    line("pid", &process.pid);
    line("uptime", &uptime);
    line("time", &process.now_s);
    line("version", &process.version);
    line("curr_connections", &process.connections_now);
    line("total_connections", &(process.connections_ever + 1));
    line("cmd_get", &counters.cmd_get);
    line("cmd_set", &counters.cmd_set);
    line("cmd_flush", &counters.cmd_flush);
    line("cmd_touch", &counters.cmd_touch);
    line("get_hits", &counters.get_hits);
    line("get_misses", &counters.get_misses);
    line("incr_misses", &counters.incr_misses);
    line("incr_hits", &counters.incr_hits);
    line("decr_misses", &counters.decr_misses);
    line("decr_hits", &counters.decr_hits);
    line("curr_items", &process.items.len());
    line("total_items", &process.items.stored_ever);
    line("evictions", &counters.evictions);
    session.replies.push(&text);
    session.replies.push(b"END\r\n");
    Next::Command
}

fn lru_crawler(session: &mut Session, arguments: &[&[u8]], out: &mut Vec<u8>) -> Next {
    let [b"metadump", what] = arguments else {
        if arguments.is_empty() || arguments[0] == b"metadump" {
            return session.say("ERROR");
        }
        not_modelled(&arguments.concat());
    };
    if !session.process.can_list {
        return session.say("ERROR");
    }
    if session.replies.are_stacked() {
        return session.say("ERROR cannot pipeline other commands before metadump");
    }
    let version = session.process.version;
    let omits_held = match *what {
        b"all" => true,
        b"hash" if version >= Version::LISTS_HASH => false,
        _ => not_modelled(&arguments.concat()),
    };
    let process = &mut *session.process;
    if process.is_busy || !process.listing.is_empty() {
        return session.say("BUSY currently processing crawler request");
    }
    if version >= Version::LISTS_WITH_OK {
        out.extend_from_slice(b"OK\r\n");
    }
    // An item that expires in this very second is still listed: one second earlier is asked for.
    for (key, stored) in process.items.live(process.now_s - 1) {
        if !(omits_held && process.items.is_held(stored)) {
            list(out, key, stored, version);
        }
    }
    if process.lists_slowly {
        process.listing.push(session.connection);
    } else if version >= Version::ENDS_LISTS {
        out.extend_from_slice(b"END\r\n");
    }
    Next::Listed
}

fn list(out: &mut Vec<u8>, key: &[u8], stored: &Stored, version: Version) {
    let item = &stored.item;
    out.extend_from_slice(b"key=");
    for &byte in key {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => write!(out, "%{byte:02X}").expect("memory"),
        }
    }
    let exp = if item.exptime == 0 { -1 } else { item.exptime };
    let fetch = if stored.fetched { "yes" } else { "no" };
    let size = items::bytes(key, item.flags, item.value.len());
    let (la, cas) = (stored.accessed_s, item.cas);
    // Not the end of line that the protocol has elsewhere.
    write!(out, " exp={exp} la={la} cas={cas} fetch={fetch}").expect("memory");
    if version >= Version::LISTS_SIZES {
        write!(out, " cls=1 size={size}").expect("memory");
    }
    out.push(b'\n');
}
