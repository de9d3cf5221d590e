//! incr, decr, touch and delete: a key and no value.

use super::dialect::Dialect;
use super::refusal::{After, BAD_DELETE, BAD_DELTA, BAD_EXPTIME, BAD_FORMAT, Refusal, ends_in_http};
use super::words::Words;
use crate::protocol::number::{is_plain, is_plain_unsigned};
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;

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
    request.verbatim = words.tight(3).filter(|_| is_plain_unsigned(words.list[2], delta));
    Ok(request)
}

pub(super) fn touch(line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = two_arguments(line, dialect)?;
    let exptime = dialect.exptime(words.list[2]);
    let exptime = exptime.ok_or(words.refuse(BAD_EXPTIME, After::NextLine))?;
    let mut request = words.request(Verb::Touch);
    request.exptime = exptime;
    request.verbatim = words.tight(3).filter(|_| is_plain(words.list[2], exptime));
    Ok(request)
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
    // Servers take a key that looks like a request for silence for one.
    request.verbatim = words.tight(2).filter(|_| request.key != b"noreply");
    Ok(request)
}
