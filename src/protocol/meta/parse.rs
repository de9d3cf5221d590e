//! The lines of meta commands.

use super::Generation;
use super::flags::{self, Flags};
use super::reply::{Command, Invalidation, Meta};
use super::told::Told;
use crate::protocol::codec::Behind;
use crate::protocol::form::{Form, Parsed};
use crate::protocol::keys::Keys;
use crate::protocol::made::Made;
use crate::protocol::name::{self, Room};
use crate::protocol::refusal::{After, BAD_FORMAT, ERROR, Refusal};
use crate::protocol::reply::{Fault, Reply};
use crate::protocol::request::{Manner, Options, Request};
use crate::protocol::text::dialect::Dialect;
use crate::protocol::verb::Verb;
use crate::protocol::{KEY_BYTES_MAX, LINE_END, base64, find_byte, find_newline, is_key};

const BAD_STORE_MODE: &Reply = &Reply::error(Fault::Client, b" invalid mode for ms M token");
const BAD_COUNT_MODE: &Reply = &Reply::error(Fault::Client, b" invalid mode for ma M token");

/// A line that is understood: how it is replied to, and what it asks for.
type Understood<'a> = Result<(Form, Request<'a>), Refusal>;

/// The words of a line.
#[derive(Clone, Copy)]
struct Line<'a> {
    command: Command,
    key: &'a [u8],
    /// Behind the key.
    words: Keys<'a>,
    /// In all.
    count: usize,
}

/// The command that a line begins with, and the rest of it; None if it is none of these. The old parser takes blanks before it.
fn command(line: &[u8], dialect: Dialect) -> Option<(Command, &[u8])> {
    let line = match dialect {
        Dialect::Old => &line[line.iter().take_while(|&&byte| byte == b' ').count()..],
        Dialect::New => line,
    };
    let [b'm', letter, rest @ ..] = line else {
        return None;
    };
    let command = match letter {
        b'g' => Command::Get,
        b's' => Command::Store,
        b'd' => Command::Delete,
        b'a' => Command::Count,
        b'e' => Command::Debug,
        b'n' => Command::Noop,
        _ => return None,
    };
    matches!(rest, [] | [b' ', ..]).then_some((command, rest))
}

/// Reads the first line of `bytes`, if that is a meta command and whole. The data block of an `ms` is not looked at. A key that has to be
/// decoded is decoded into `room`.
#[inline]
pub fn parse<'a>(behind: Behind, bytes: &'a [u8], room: &'a mut Room) -> Option<Parsed<'a>> {
    match bytes {
        [b'm', _, b' ' | b'\r' | b'\n', ..] => parse_line(behind, bytes, room),
        [b'm', _, 0, ..] | [b' ', ..] if behind.dialect == Dialect::Old => parse_line(behind, bytes, room),
        _ => None,
    }
}

#[inline(never)]
fn parse_line<'a>(behind: Behind, bytes: &'a [u8], room: &'a mut Room) -> Option<Parsed<'a>> {
    let newline = find_newline(bytes)?;
    let line = bytes[..newline].strip_suffix(b"\r").unwrap_or(&bytes[..newline]);
    let line = match behind.dialect {
        // It handles a line as a C string.
        Dialect::Old => find_byte(line, 0).map_or(line, |end| &line[..end]),
        // It looks into nothing shorter.
        Dialect::New if newline < 3 => return None,
        Dialect::New => line,
    };
    let (command, rest) = command(line, behind.dialect)?;
    let mut words = Keys::of(rest);
    let count = 1 + words.count();
    let key = words.next().unwrap_or(&[]);
    let line = Line {
        command,
        key,
        words,
        count,
    };
    let (form, request) = match understand(line, behind, room) {
        Ok((form, request)) => (form, Ok(request)),
        Err(refusal) => (Form::Text, Err(refusal)),
    };
    Some((newline + 1, form, request))
}

fn understand<'a>(line: Line<'a>, behind: Behind, room: &'a mut Room) -> Understood<'a> {
    if line.command == Command::Noop {
        return Ok((Form::Meta(Meta::plain(Command::Noop)), Request::new(Verb::Noop, b"")));
    }
    if line.command == Command::Debug {
        return debug(line, behind, room).map_err(Refusal::loud);
    }
    if line.command == Command::Store {
        return store(line, behind, room);
    }
    if line.count < 2 {
        return Err(Refusal::loud(match behind.dialect {
            Dialect::Old => ERROR,
            Dialect::New => BAD_FORMAT,
        }));
    }
    let (flags, key) = read(line, behind, room).map_err(Refusal::loud)?;
    match line.command {
        Command::Get => get(line, &flags, key, behind),
        Command::Delete => delete(line, &flags, key, behind),
        _ => count(line, &flags, key, behind),
    }
    .map_err(Refusal::loud)
}

/// `me`, which knows `b` alone; since 1.6.40 only where something else is behind it.
fn debug<'a>(line: Line<'a>, behind: Behind, room: &'a mut Room) -> Result<(Form, Request<'a>), &'static Reply> {
    if behind.meta == Generation::Nothing {
        return Err(ERROR);
    }
    if behind.dialect == Dialect::New && !line.words.clone().all(flags::is_flag) {
        return Err(BAD_FORMAT);
    }
    let words_min = match behind.dialect {
        Dialect::Old => "me key b".split(' ').count(),
        Dialect::New => "me key b more".split(' ').count(),
    };
    let is_base64 = line.count >= words_min && line.words.clone().next() == Some(b"b");
    let key = match is_base64 {
        true => name::of_base64(line.key, room),
        false => Some(line.key).filter(|key| is_key(key)),
    };
    let request = Request::new(Verb::MetaDebug, key.ok_or(BAD_FORMAT)?);
    let keys = Keys::of(request.key);
    Ok((Form::Meta(Meta::plain(Command::Debug)), Request { keys, ..request }))
}

/// Reads what stands behind the key, and the key itself.
fn read<'a>(line: Line<'a>, behind: Behind, room: &'a mut Room) -> Result<(Flags, &'a [u8]), &'static Reply> {
    let is_new = behind.dialect == Dialect::New;
    if is_new && !line.words.clone().all(flags::is_flag) {
        return Err(BAD_FORMAT);
    }
    // What some commands say of whatever is wrong.
    let said = |reply| match line.command {
        _ if reply == flags::LONG_OPAQUE => reply,
        Command::Count => flags::INVALID_OR_TWICE,
        Command::Delete if !is_new => flags::INVALID_OR_TWICE,
        _ => reply,
    };
    if line.key.len() > KEY_BYTES_MAX {
        return Err(if is_new { said(BAD_FORMAT) } else { BAD_FORMAT });
    }
    if flags::are_too_many(line.count, behind.dialect) {
        return Err(match line.command {
            _ if is_new => said(flags::TOO_MANY),
            Command::Get => flags::TOO_MANY,
            _ => flags::TOO_MANY_OLD,
        });
    }
    let decodes = || base64::decode(line.key, &mut [0; KEY_BYTES_MAX]).is_some();
    let flags = Flags::read(line.words, behind, decodes).map_err(said)?;
    let key = match flags.is_base64 {
        true => name::of_base64(line.key, room),
        false => Some(line.key).filter(|key| is_key(key)),
    };
    key.map(|key| (flags, key)).ok_or(BAD_FORMAT)
}

fn get<'a>(
    line: Line<'a>,
    flags: &Flags,
    key: &'a [u8],
    behind: Behind,
) -> Result<(Form, Request<'a>), &'static Reply> {
    if flags.given.is_some() {
        return Err(flags::INVALID);
    }
    // Before 1.6.40 it was read and passed over.
    let unless = flags.found.filter(|_| behind.dialect == Dialect::New);
    let (verb, options) = asked_for(flags, flags.unique || unless.is_some(), behind)?;
    let told = Told::of(b"Okstcflh", line.words, (line.key, flags.is_base64));
    let mut meta = Meta::new(Command::Get, flags, told);
    meta.unless(unless);
    let exptime = flags.exptime.unwrap_or(0);
    if let Some(made_for) = flags.made_for {
        // A time that is set behind it is the item's.
        let later = flags.exptime.filter(|_| !flags.touches_before_made);
        let manner = Manner {
            verb: Verb::MetaGet,
            options: Options {
                recaches: false,
                ..options
            },
            exptime: 0,
            number: 0,
        };
        meta.makes_where_none(key, later.unwrap_or(made_for), manner, flags.ttl_before_made);
    }
    let request = Request {
        keys: Keys::of(key),
        exptime,
        number: flags.recached_at.unwrap_or(0) as u64,
        options,
        ..Request::new(verb, key)
    };
    Ok((Form::Meta(meta), request))
}

/// What is asked of servers for a get.
fn asked_for(flags: &Flags, wants_unique: bool, behind: Behind) -> Result<(Verb, Options), &'static Reply> {
    let wins = flags.made_for.is_some() || flags.recached_at.is_some();
    let needs_meta = flags.ttl || flags.hit || flags.last_access || wins;
    if behind.meta == Generation::Nothing {
        let verb = match (flags.exptime, wants_unique) {
            _ if needs_meta => return Err(ERROR),
            (None, false) => Verb::Get,
            (None, true) => Verb::Gets,
            (Some(_), false) => Verb::Gat,
            (Some(_), true) => Verb::Gats,
        };
        return Ok((verb, Options::default()));
    }
    let options = Options {
        ttl: flags.ttl,
        ttl_before: flags.ttl && flags.ttl_before,
        flags: flags.flags,
        unique: wants_unique,
        size: flags.size && !flags.value,
        value: flags.value,
        hit: flags.hit,
        last_access: flags.last_access,
        no_update: flags.no_update,
        recaches: flags.recached_at.is_some(),
        recaches_first: flags.recached_at.is_some() && flags.recaches_first,
        ..Options::default()
    };
    let verb = match flags.exptime {
        Some(_) => Verb::MetaGetAndTouch,
        None => Verb::MetaGet,
    };
    Ok((verb, options))
}

/// The refusal of an `ms`, whose value, where its length is known, is passed over.
fn refuse(reply: &'static Reply, value_len: Option<usize>) -> Refusal {
    match value_len {
        Some(len) => Refusal {
            reply,
            noreply: false,
            after: After::Swallow(len + LINE_END.len()),
        },
        None => Refusal::closing(reply),
    }
}

fn store<'a>(mut line: Line<'a>, behind: Behind, room: &'a mut Room) -> Understood<'a> {
    let value_len = line.words.next().and_then(|word| behind.dialect.value_len(word));
    let Some(value_len) = value_len else {
        let is_unknown = behind.meta == Generation::Nothing || line.count < 2 && behind.dialect == Dialect::Old;
        return Err(Refusal::closing(if is_unknown { ERROR } else { BAD_FORMAT }));
    };
    let is_passed_over = match behind.dialect {
        // Here memcached has not looked at the length yet.
        Dialect::Old => line.key.len() <= KEY_BYTES_MAX && !flags::are_too_many(line.count, behind.dialect),
        Dialect::New => line.words.clone().all(flags::is_flag),
    };
    let refused = |reply| refuse(reply, Some(value_len).filter(|_| is_passed_over));
    let (flags, key) = read(line, behind, room).map_err(refused)?;
    let verb = verb_of_store(&flags).map_err(refused)?;
    let tells_size = flags.size && behind.meta >= Generation::MakesWhatIsPadded;
    let letters: &[u8] = if tells_size { b"Okcs" } else { b"Okc" };
    let mut meta = Meta::new(
        Command::Store,
        &flags,
        Told::of(letters, line.words, (line.key, flags.is_base64)),
    );
    let pads = matches!(verb, Verb::Append | Verb::Prepend);
    let options = if flags.unique {
        Options::UNIQUE
    } else {
        Options::default()
    };
    meta.stores(value_len);
    if pads {
        meta.pads(key);
        if let (Some(exptime), true) = (flags.made_for, behind.meta >= Generation::MakesWhatIsPadded) {
            meta.makes(
                Made::what_is_padded(verb, key, (flags.item_flags, exptime), options),
                false,
            );
        }
    }
    let request = Request {
        flags: if pads { 0 } else { flags.item_flags },
        exptime: flags.exptime.filter(|_| !pads).unwrap_or(0),
        value_len,
        number: flags.found.filter(|_| verb == Verb::Cas).unwrap_or(0),
        options,
        ..Request::new(verb, key)
    };
    Ok((Form::Meta(meta), request))
}

/// What an `ms` is in no protocol's words.
fn verb_of_store(flags: &Flags) -> Result<Verb, &'static Reply> {
    let verb = match (flags.mode, flags.found) {
        (0 | b'S' | b'R', Some(_)) => Verb::Cas,
        (0 | b'S', None) => Verb::Set,
        (b'R', None) => Verb::Replace,
        (b'E', _) => Verb::Add,
        (b'A' | b'P', Some(_)) => return Err(flags::INVALID),
        (b'A', None) => Verb::Append,
        (b'P', None) => Verb::Prepend,
        _ => return Err(BAD_STORE_MODE),
    };
    match flags.given {
        Some(_) => Err(flags::INVALID),
        None => Ok(verb),
    }
}

fn delete<'a>(
    line: Line<'a>,
    flags: &Flags,
    key: &'a [u8],
    behind: Behind,
) -> Result<(Form, Request<'a>), &'static Reply> {
    if flags.given.is_some() {
        return Err(match behind.dialect {
            Dialect::Old => flags::INVALID_OR_TWICE,
            Dialect::New => flags::INVALID,
        });
    }
    let told = Told::of(b"Ok", line.words, (line.key, flags.is_base64));
    let mut meta = Meta::new(Command::Delete, flags, told);
    let needs_meta = flags.invalidates || flags.found.is_some() && !flags.removes_value;
    if needs_meta && behind.meta == Generation::Nothing {
        return Err(ERROR);
    }
    let stale = Invalidation {
        exptime: flags.exptime.filter(|_| !flags.removes_value),
        found: flags.found.filter(|_| !flags.removes_value),
    };
    if flags.invalidates && (flags.removes_value || flags.found.is_some()) {
        meta.invalidates(key, stale);
    }
    let request = match (flags.removes_value, flags.invalidates, flags.found) {
        (true, _, found) => Request {
            flags: flags.item_flags,
            exptime: flags.exptime.unwrap_or(0),
            number: found.unwrap_or(0),
            ..Request::new(if found.is_some() { Verb::Cas } else { Verb::Replace }, key)
        },
        // It is looked at first, in the way that takes no token.
        (false, true, Some(_)) => Request {
            keys: Keys::of(key),
            ..Request::new(Verb::Gets, key)
        },
        (false, true, None) => stale.request(key),
        (false, false, Some(unique)) => Request {
            number: unique,
            ..Request::new(Verb::MetaDelete, key)
        },
        (false, false, None) => Request::new(Verb::Delete, key),
    };
    Ok((Form::Meta(meta), request))
}

fn count<'a>(
    line: Line<'a>,
    flags: &Flags,
    key: &'a [u8],
    behind: Behind,
) -> Result<(Form, Request<'a>), &'static Reply> {
    let verb = match flags.mode {
        0 | b'I' | b'+' => Verb::Incr,
        b'D' | b'-' => Verb::Decr,
        _ => return Err(BAD_COUNT_MODE),
    };
    if flags.found.is_some() || flags.given.is_some() {
        return Err(flags::INVALID_OR_TWICE);
    }
    if flags.ttl && behind.meta == Generation::Nothing {
        return Err(ERROR);
    }
    let options = if flags.unique {
        Options::UNIQUE
    } else {
        Options::default()
    };
    let told = Told::of(b"Okct", line.words, (line.key, flags.is_base64));
    let mut meta = Meta::new(Command::Count, flags, told);
    if let Some(exptime) = flags.made_for {
        let numbers = (flags.delta, flags.initial);
        // Before 1.6.40.
        let is_told = behind.dialect == Dialect::Old;
        meta.makes(Made::count(verb, key, numbers, exptime, options), is_told);
    }
    meta.counts(key, flags);
    let request = Request {
        number: flags.delta,
        options,
        ..Request::new(verb, key)
    };
    Ok((Form::Meta(meta), request))
}

#[cfg(test)]
mod tests;
