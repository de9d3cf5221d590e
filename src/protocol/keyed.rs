//! incr, decr, touch and delete: a key and no value.

use super::dialect::Dialect;
use super::number::{is_plain, is_plain_unsigned};
use super::refusal::ends_in_http;
use super::request::{After, BAD_DELETE, BAD_DELTA, BAD_EXPTIME, BAD_FORMAT, Line, Refusal, Request, Verb};
use super::words::Words;

/// The key that looks like a request for silence.
const NOREPLY: &[u8] = b"noreply";

/// The words of `<command> <key> <argument> [noreply]`.
fn two_arguments(line: &[u8], dialect: Dialect) -> Result<Words<'_>, Refusal> {
    let words = Words::of(line);
    if words.count < 3 || (dialect == Dialect::Old && words.count > 4) {
        return Err(Refusal::too_short(dialect));
    }
    match words.key_fits() {
        true => Ok(words),
        false => Err(words.refuse(BAD_FORMAT, After::NextLine)),
    }
}

pub(super) fn arithmetic(verb: Verb, line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = two_arguments(line, dialect)?;
    let delta = dialect.number(words.list[2]);
    let delta = delta.ok_or(words.refuse(BAD_DELTA, After::NextLine))?;
    let mut request = words.request(verb);
    request.number = delta;
    request.line = match words.tight(3).filter(|_| is_plain_unsigned(words.list[2], delta)) {
        Some(text) => Line::Verbatim(text),
        None => keyed_line(verb, request.key, &delta.to_string()),
    };
    Ok(request)
}

pub(super) fn touch(line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = two_arguments(line, dialect)?;
    let exptime = dialect.exptime(words.list[2]);
    let exptime = exptime.ok_or(words.refuse(BAD_EXPTIME, After::NextLine))?;
    let mut request = words.request(Verb::Touch);
    request.exptime = exptime;
    request.line = match words.tight(3).filter(|_| is_plain(words.list[2], exptime)) {
        Some(text) => Line::Verbatim(text),
        None => keyed_line(Verb::Touch, request.key, &exptime.to_string()),
    };
    Ok(request)
}

fn keyed_line<'a>(verb: Verb, key: &[u8], argument: &str) -> Line<'a> {
    let mut text = format!("{} ", verb.name()).into_bytes();
    text.extend_from_slice(key);
    text.push(b' ');
    text.extend_from_slice(argument.as_bytes());
    Line::Rewritten(text)
}

/// `delete <key> [0] [noreply]`: the 0 is what is left of a hold time that clients of old sent. The new parser takes
/// whatever stands there, and is silent where the key is noreply and the last word.
pub(super) fn delete(line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = Words::of(line);
    if words.count < 2 || (dialect == Dialect::Old && words.count > 4) {
        return Err(Refusal::too_short(dialect));
    }
    let noreply = words.noreply && (words.count > 2 || dialect == Dialect::New);
    let hold_is_zero = words.list[2] == b"0";
    let valid = match (dialect, words.count) {
        (Dialect::New, _) => true,
        (_, 2) => true,
        (_, 3) => hold_is_zero || noreply,
        _ => hold_is_zero && noreply,
    };
    if words.count > 2 && ends_in_http(line) {
        return Err(Refusal::hang_up());
    }
    if !valid {
        return Err(words.refuse(BAD_DELETE, After::NextLine));
    }
    if !words.key_fits() {
        return Err(Refusal {
            noreply,
            ..Refusal::loud(BAD_FORMAT)
        });
    }
    let mut request = words.request(Verb::Delete);
    request.noreply = noreply;
    let [command, key, argument] = deletion(request.key);
    request.line = match words.tight(2).filter(|_| argument.is_empty()) {
        Some(text) => Line::Verbatim(text),
        None => Line::Rewritten([command, key, argument].concat()),
    };
    Ok(request)
}

/// The parts of a delete's line, without its end. Every memcached answers `delete noreply 0`, and since 1.6.40 none answers
/// `delete noreply`.
pub fn deletion(key: &[u8]) -> [&[u8]; 3] {
    [b"delete ", key, if key == NOREPLY { b" 0" } else { b"" }]
}
