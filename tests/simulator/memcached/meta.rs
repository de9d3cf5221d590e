//! The meta commands.

use super::commands::{
    BAD_FORMAT, KEY_BYTES_MAX, NOT_A_NUMBER, Next, OUT_OF_MEMORY, Session, TOO_LARGE, not_modelled, usize_of,
};
use super::connection::{Upcoming, UpcomingReply};
use super::items::{Counted, Items, Mode, New, Outcome, Stored};
use super::{Version, number};
use std::io::Write;

/// The key, the length and the flags.
const WORDS_MAX: usize = 18;
const OPAQUE_BYTES_MAX: usize = 32;
const OPAQUE_TOO_LONG: &str = "CLIENT_ERROR opaque token too long";
const BAD_FLAG: &str = "CLIENT_ERROR invalid or duplicate flag";

/// The flags that say how to run a command. Those that only ask for something in the reply are read as it is built.
struct Flags {
    value: bool,
    quiet: bool,
    no_bump: bool,
    /// Bumps when the reply has been built, because of what it shows or changes.
    bumps_late: bool,
    stale: bool,
    mode: Option<u8>,
    client_flags: u32,
    unique: Option<u64>,
    delta: u64,
    initial: u64,
    /// Unix seconds, as the two below.
    exptime: Option<i64>,
    vivify: Option<i64>,
    recache: Option<i64>,
}

/// The reply to an `ms` whose value is on its way.
#[derive(Clone)]
pub struct StoreReply {
    key: Vec<u8>,
    /// Its flags, in order.
    words: Vec<Vec<u8>>,
    quiet: bool,
    /// With an older cas unique the value is stored as well, marked as stale.
    pub may_be_stale: bool,
}

/// Runs `m` and this letter.
pub fn run(session: &mut Session, command: u8, arguments: &[&[u8]]) -> Next {
    if command == b'n' {
        session.say("MN");
        return Next::Write;
    }
    let Some((key, words)) = arguments.split_first() else {
        return match command {
            b'e' => session.insist(BAD_FORMAT),
            _ => session.say("ERROR"),
        };
    };
    if key.len() > KEY_BYTES_MAX || (command == b's' && words.is_empty()) {
        return session.insist(BAD_FORMAT);
    }
    if arguments.len() > WORDS_MAX {
        let are = if command == b'g' { "are " } else { "" };
        return session.insist(&format!("CLIENT_ERROR options flags {are}too long"));
    }
    let result = match command {
        b'g' => get(session, key, words),
        b's' => return set(session, key, words),
        b'd' => delete(session, key, words),
        b'a' => count(session, key, words),
        _ if words.first() == Some(&&b"b"[..]) => not_modelled(b"me of a key in base64"),
        _ => Ok(debug(session, key)),
    };
    result.unwrap_or_else(|complaint| session.insist(complaint))
}

/// `me`. When the item was fetched, and how large it is, is left open.
fn debug(session: &mut Session, key: &[u8]) -> Next {
    let process = &mut session.process;
    let Some(item) = process.items.peek(key, process.now_s) else {
        return session.say("EN");
    };
    let left_s = if item.exptime == 0 {
        -1
    } else {
        item.exptime - process.now_s
    };
    let mut reply = [b"ME ", key].concat();
    let _ = write!(reply, " exp={left_s} la=0 cas={} fetch=no cls=1 size=64", item.cas);
    session.say_meta(&reply, false)
}

impl Flags {
    fn read(items: &Items, words: &[&[u8]]) -> Result<Self, &'static str> {
        let mut flags = Self {
            value: false,
            quiet: false,
            no_bump: false,
            bumps_late: false,
            stale: false,
            mode: None,
            client_flags: 0,
            unique: None,
            delta: 1,
            initial: 0,
            exptime: None,
            vivify: None,
            recache: None,
        };
        let mut seen = Vec::new();
        let mut error = None;
        for word in words {
            let flag = word[0];
            if flag >= 127 || seen.contains(&flag) {
                return Err("CLIENT_ERROR duplicate flag");
            }
            if !b"NTRlOPLkstcfvhuqFCMJDI".contains(&flag) {
                return Err("CLIENT_ERROR invalid flag");
            }
            seen.push(flag);
            // A number that cannot be read does not keep the rest from being looked at.
            if let Err(complaint) = flags.take(items, flag, &word[1..]) {
                let earlier = error.filter(|_| flag == b'F');
                error = Some(earlier.unwrap_or(complaint));
            }
        }
        error.map_or(Ok(flags), Err)
    }

    fn take(&mut self, items: &Items, flag: u8, argument: &[u8]) -> Result<(), &'static str> {
        const BAD_TOKEN: &str = "CLIENT_ERROR bad token in command line format";
        let expires_at = || {
            let exptime = number::signed(argument).ok_or(BAD_TOKEN)?;
            Ok(Some(items.expires_at(exptime)))
        };
        let number = |complaint| number::unsigned(argument).ok_or(complaint);
        self.bumps_late |= b"NTRlh".contains(&flag);
        match flag {
            b'N' => self.vivify = expires_at()?,
            b'T' => self.exptime = expires_at()?,
            b'R' => self.recache = expires_at()?,
            b'C' => self.unique = Some(number(BAD_TOKEN)?),
            b'D' => self.delta = number("CLIENT_ERROR invalid numeric delta value")?,
            b'J' => self.initial = number("CLIENT_ERROR invalid numeric initial value")?,
            b'F' => self.client_flags = number::flags(argument).ok_or(BAD_FORMAT)?,
            b'M' if argument.len() != 1 => return Err("CLIENT_ERROR incorrect length for M token"),
            b'M' => self.mode = Some(argument[0]),
            b'v' => self.value = true,
            b'q' => self.quiet = true,
            b'u' => self.no_bump = true,
            b'I' => self.stale = true,
            _ => {}
        }
        Ok(())
    }
}

/// What the flags `k` and `O` add to a reply; nothing for others.
fn echo(reply: &mut Vec<u8>, key: &[u8], word: &[u8]) -> Result<(), &'static str> {
    match word[0] {
        b'k' => reply.extend([b" k", key].concat()),
        b'O' if word.len() > OPAQUE_BYTES_MAX => return Err(OPAQUE_TOO_LONG),
        b'O' => reply.extend([b" ", word].concat()),
        _ => {}
    }
    Ok(())
}

fn append(reply: &mut Vec<u8>, flag: char, value: impl std::fmt::Display) {
    write!(reply, " {flag}{value}").expect("memory");
}

fn append_ttl(reply: &mut Vec<u8>, exptime: i64, now_s: i64) {
    match exptime {
        0 => append(reply, 't', -1),
        // One that is over wraps.
        _ => append(reply, 't', (exptime - now_s) as u32),
    }
}

impl Session<'_> {
    /// Replies with these bytes and the end of the line. A quiet client does not get to see a reply that was expected.
    fn say_meta(&mut self, reply: &[u8], is_expected: bool) -> Next {
        if !(self.noreply && is_expected) {
            self.replies.push(reply);
            self.replies.push(b"\r\n");
        }
        self.replies.push(b"");
        Next::Command
    }
}

fn get(session: &mut Session, key: &[u8], words: &[&[u8]]) -> Result<Next, &'static str> {
    let items = &mut session.process.items;
    let now_s = session.process.now_s;
    let flags = Flags::read(items, words)?;
    session.noreply = flags.quiet;
    let is_new = flags.vivify.is_some() && items.find(key).is_none();
    if is_new {
        items.link(New {
            key: key.to_vec(),
            value: Vec::new(),
            flags: 0,
            exptime: 0,
        });
    }
    let counters = &mut session.process.counters;
    let Some(stored) = items.find(key) else {
        let mut reply = b"EN".to_vec();
        counters.cmd_get += 1;
        counters.get_misses += 1;
        for word in words {
            echo(&mut reply, key, word)?;
        }
        return Ok(session.say_meta(&reply, true));
    };
    if !flags.no_bump && !flags.bumps_late {
        stored.bump(now_s);
    }
    let mut reply = hit(stored, key, words, &flags, is_new, now_s)?;
    if session.process.version < Version::SAYS_HD && reply.starts_with(b"HD") {
        reply[..2].copy_from_slice(b"OK");
    }
    if !flags.no_bump && flags.bumps_late {
        stored.bump(now_s);
    }
    match flags.exptime {
        Some(_) => counters.cmd_touch += 1,
        None => {
            counters.cmd_get += 1;
            counters.get_hits += 1;
        }
    }
    items.hold(session.connection, key);
    Ok(session.say_meta(&reply, false))
}

fn hit(
    stored: &mut Stored,
    key: &[u8],
    words: &[&[u8]],
    flags: &Flags,
    is_new: bool,
    now_s: i64,
) -> Result<Vec<u8>, &'static str> {
    let len = stored.item.value.len();
    let mut reply = if flags.value {
        format!("VA {len}").into_bytes()
    } else {
        b"HD".to_vec()
    };
    let mut wins = false;
    for word in words {
        let item = &mut stored.item;
        match word[0] {
            b'T' => item.exptime = flags.exptime.unwrap_or_default(),
            b'N' if is_new => {
                item.exptime = flags.vivify.unwrap_or_default();
                wins = true;
            }
            b'R' => {
                let is_due = item.exptime != 0 && flags.recache.is_some_and(|recache| item.exptime < recache);
                wins |= is_due && !is_new && !stored.has_winner;
            }
            b's' => append(&mut reply, 's', len),
            b't' => append_ttl(&mut reply, item.exptime, now_s),
            b'c' => append(&mut reply, 'c', item.cas),
            b'f' => append(&mut reply, 'f', item.flags),
            b'l' => append(&mut reply, 'l', now_s - stored.accessed_s),
            b'h' => append(&mut reply, 'h', u8::from(stored.fetched)),
            _ => echo(&mut reply, key, word)?,
        }
    }
    if stored.has_winner {
        reply.extend(b" Z");
    }
    if stored.is_stale {
        reply.extend(b" X");
        wins |= !stored.has_winner;
    }
    if wins {
        reply.extend(b" W");
        stored.has_winner = true;
    }
    if flags.value {
        reply.extend([b"\r\n", stored.item.value.as_slice()].concat());
    }
    Ok(reply)
}

fn set(session: &mut Session, key: &[u8], words: &[&[u8]]) -> Next {
    let Some(value_len) = number::signed(words[0]).and_then(usize_of) else {
        return session.insist(BAD_FORMAT);
    };
    let is_full = session.process.is_full;
    match announce(&mut session.process.items, key, value_len, &words[1..], is_full) {
        Ok(upcoming) => Next::Value(upcoming),
        Err(complaint) => {
            session.insist(complaint);
            Next::Refuse(value_len + 2)
        }
    }
}

fn announce(
    items: &mut Items,
    key: &[u8],
    value_len: usize,
    words: &[&[u8]],
    is_full: bool,
) -> Result<Upcoming, &'static str> {
    let flags = Flags::read(items, words)?;
    let mode = match flags.mode {
        None | Some(b'S') => Mode::Set,
        Some(b'E') => Mode::Add,
        Some(b'A') => Mode::Append,
        Some(b'P') => Mode::Prepend,
        Some(b'R') => Mode::Replace,
        Some(_) => return Err("CLIENT_ERROR invalid mode for ms M token"),
    };
    let is_cas = flags.unique.is_some() && matches!(mode, Mode::Set | Mode::Replace);
    if words
        .iter()
        .any(|word| word[0] == b'O' && word.len() > OPAQUE_BYTES_MAX)
    {
        return Err(OPAQUE_TOO_LONG);
    }
    if items.is_too_large(key, flags.client_flags, value_len) {
        items.unlink(key);
        return Err(TOO_LARGE);
    }
    if is_full {
        items.unlink(key);
        return Err(OUT_OF_MEMORY);
    }
    Ok(Upcoming {
        mode: if is_cas { Mode::Cas } else { mode },
        new: New {
            key: key.to_vec(),
            value: Vec::new(),
            flags: flags.client_flags,
            exptime: flags.exptime.unwrap_or_default(),
        },
        value_len,
        unique: flags.unique.unwrap_or_default(),
        reply: UpcomingReply::Meta(StoreReply {
            key: key.to_vec(),
            words: words.iter().map(|word| word.to_vec()).collect(),
            quiet: flags.quiet,
            may_be_stale: flags.stale,
        }),
    })
}

impl StoreReply {
    pub fn push(self, session: &mut Session, outcome: Outcome) -> Next {
        session.noreply = self.quiet;
        let (code, cas) = match outcome {
            Outcome::Stored(cas) => ("HD", cas),
            Outcome::NotStored => ("NS", 0),
            Outcome::Exists => ("EX", 0),
            Outcome::NotFound => ("NF", 0),
        };
        let mut reply = code.as_bytes().to_vec();
        for word in &self.words {
            match word[0] {
                b'c' => append(&mut reply, 'c', cas),
                _ => echo(&mut reply, &self.key, word).expect("it was checked before the value was awaited"),
            }
        }
        session.say_meta(&reply, code == "HD")
    }
}

fn delete(session: &mut Session, key: &[u8], words: &[&[u8]]) -> Result<Next, &'static str> {
    let items = &mut session.process.items;
    let flags = Flags::read(items, words).map_err(|_| BAD_FLAG)?;
    session.noreply = flags.quiet;
    let mut echoes = Vec::new();
    for word in words {
        echo(&mut echoes, key, word)?;
    }
    let cas = items.find(key).map(|stored| stored.item.cas);
    let code = match cas {
        None => "NF",
        Some(cas) if flags.unique.is_some_and(|unique| unique != cas) => "EX",
        Some(_) if flags.stale => {
            let next = items.next_cas();
            let stored = items.find(key).expect("it was found just now");
            stored.is_stale = true;
            stored.has_winner = false;
            stored.item.cas = next;
            stored.item.exptime = flags.exptime.unwrap_or(stored.item.exptime);
            "HD"
        }
        Some(_) => {
            items.unlink(key);
            "HD"
        }
    };
    Ok(session.say_meta(&[code.as_bytes(), &echoes].concat(), code == "HD"))
}

fn count(session: &mut Session, key: &[u8], words: &[&[u8]]) -> Result<Next, &'static str> {
    let items = &mut session.process.items;
    let now_s = session.process.now_s;
    let flags = Flags::read(items, words).map_err(|_| BAD_FLAG)?;
    session.noreply = flags.quiet;
    let up = match flags.mode {
        None | Some(b'I' | b'+') => true,
        Some(b'D' | b'-') => false,
        Some(_) => return Err("CLIENT_ERROR invalid mode for ma M token"),
    };
    let unique = flags.unique.unwrap_or_default();
    let (mut is_new, mut keeps) = (false, true);
    let (value, cas, exptime) = match items.count(key, up, flags.delta, unique, session.process.is_full) {
        Counted::To {
            value,
            cas,
            exptime,
            in_place,
        } => {
            keeps = in_place;
            (value, cas, exptime)
        }
        Counted::NotFound if flags.vivify.is_some() => {
            is_new = true;
            let cas = items.link(New {
                key: key.to_vec(),
                value: flags.initial.to_string().into_bytes(),
                flags: 0,
                exptime: 0,
            });
            (flags.initial, cas, 0)
        }
        Counted::NotANumber => return Err(NOT_A_NUMBER),
        Counted::NoMemory => return Err("SERVER_ERROR out of memory"),
        refused @ (Counted::NotFound | Counted::OtherCas) => {
            let mut reply = if matches!(refused, Counted::NotFound) {
                b"NF"
            } else {
                b"EX"
            }
            .to_vec();
            for word in words {
                echo(&mut reply, key, word)?;
            }
            return Ok(session.say_meta(&reply, false));
        }
    };
    let digits = value.to_string();
    let mut reply = if flags.value {
        format!("VA {}", digits.len())
    } else {
        "HD".to_owned()
    }
    .into_bytes();
    let mut expires_at = exptime;
    let result = words.iter().try_for_each(|word| {
        match word[0] {
            b'c' => append(&mut reply, 'c', cas),
            b't' => append_ttl(&mut reply, expires_at, now_s),
            b'T' => expires_at = flags.exptime.unwrap_or_default(),
            b'N' if is_new => expires_at = flags.vivify.unwrap_or_default(),
            _ => echo(&mut reply, key, word)?,
        }
        Ok(())
    });
    // Where a reply held the old value, memcached sets the exptime of the old one, which nobody gets to see.
    if keeps {
        items.find(key).expect("it was counted just now").item.exptime = expires_at;
    }
    result?;
    if flags.value {
        reply.extend([b"\r\n", digits.as_bytes()].concat());
    }
    Ok(session.say_meta(&reply, !is_new))
}
