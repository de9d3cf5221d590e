//! Commands that concern servers, not keys: flush_all, verbosity, lru_crawler, cache_memlimit.

use super::dialect::Dialect;
use super::refusal::{
    After, BAD_CLASS, BAD_EXPTIME, BAD_FORMAT, ERROR, MEMLIMIT_TOO_LARGE, MEMLIMIT_TOO_SMALL, Refusal,
};
use super::words::Words;
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;

pub(super) fn flush_all(line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = Words::of(line);
    if dialect == Dialect::Old && words.count > 3 {
        return Err(Refusal::loud(ERROR));
    }
    let mut request = words.request(Verb::FlushAll);
    request.key = &[];
    let arguments = words.count - 1 - usize::from(words.noreply);
    request.exptime = match arguments {
        0 => -1,
        _ => {
            let delay = dialect.exptime(words.list[1]);
            delay.ok_or(words.refuse(BAD_EXPTIME, After::NextLine))?.max(-1)
        }
    };
    Ok(request)
}

pub(super) fn verbosity(line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = Words::of(line);
    let few_or_many = !(2..=3).contains(&words.count);
    if dialect == Dialect::Old && few_or_many {
        return Err(Refusal::loud(ERROR));
    }
    let level = dialect.level(words.list[1]).filter(|_| words.count > 1);
    let level = level.ok_or(words.refuse(BAD_FORMAT, After::NextLine))?;
    let mut request = words.request(Verb::Verbosity);
    request.key = &[];
    request.number = u64::from(level);
    Ok(request)
}

/// `lru_crawler metadump|mgdump <classes>`; the other uses of the word would steer one server.
pub(super) fn list_keys(line: &[u8]) -> Result<Request<'_>, Refusal> {
    let words = Words::of(line);
    if words.count != 3 || !matches!(words.list[1], b"metadump" | b"mgdump") {
        return Err(Refusal::loud(ERROR));
    }
    let classes = words.list[2];
    let are_numbers = classes.iter().all(|byte| byte.is_ascii_digit() || *byte == b',');
    if !(are_numbers || matches!(classes, b"all" | b"hash")) {
        return Err(Refusal::loud(BAD_CLASS));
    }
    let mut request = words.request(match words.list[1] {
        b"mgdump" => Verb::ListAsCommands,
        _ => Verb::ListKeys,
    });
    request.key = classes;
    request.noreply = false;
    Ok(request)
}

/// `cache_memlimit <megabytes> [noreply]`, with the limits of memcached's `process_memlimit_command`.
pub(super) fn cache_memlimit(line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = Words::of(line);
    if dialect == Dialect::Old && !(2..=3).contains(&words.count) {
        return Err(Refusal::loud(ERROR));
    }
    let level = dialect.level(words.list[1]).filter(|_| words.count > 1);
    let megabytes = match level {
        None => return Err(words.refuse(ERROR, After::NextLine)),
        Some(0..=7) => return Err(words.refuse(MEMLIMIT_TOO_SMALL, After::NextLine)),
        Some(1_000_000_001..) => return Err(words.refuse(MEMLIMIT_TOO_LARGE, After::NextLine)),
        Some(megabytes) => megabytes,
    };
    let mut request = words.request(Verb::CacheMemlimit);
    request.key = &[];
    request.number = megabytes.into();
    Ok(request)
}
