//! set, add, replace, append, prepend and cas: `<command> <key> <flags> <exptime> <bytes> [<cas unique>] [noreply]`.

use super::dialect::Dialect;
use super::refusal::{After, BAD_FORMAT, ERROR, Refusal};
use super::words::Words;
use crate::protocol::number::{is_plain, is_plain_unsigned};
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;

pub(super) fn storage(verb: Verb, line: &[u8], dialect: Dialect) -> Result<Request<'_>, Refusal> {
    let words = Words::of(line);
    let arguments = if verb == Verb::Cas { 6 } else { 5 };
    let value_len = match dialect {
        Dialect::Old if words.count != arguments && words.count != arguments + 1 => {
            return Err(Refusal::closing(ERROR));
        }
        Dialect::New if words.count < 5 => return Err(Refusal::closing(BAD_FORMAT)),
        Dialect::Old => dialect.value_len(words.list[4]),
        // Here memcached has not looked for noreply yet.
        Dialect::New => Some(dialect.value_len(words.list[4]).ok_or(Refusal::closing(BAD_FORMAT))?),
    };
    let flags = dialect.flags(words.from(2));
    let exptime = dialect.stored_exptime(words.from(3));
    let unique = match verb {
        Verb::Cas if words.count < 6 => None,
        Verb::Cas => dialect.number(words.list[5]),
        _ => Some(0),
    };
    let mut request = words.request(verb);
    let Some(value_len) = value_len else {
        return Err(words.refuse(BAD_FORMAT, After::Close));
    };
    request.value_len = value_len;
    // The new parser has the length by now, and skips the value. With more words than there should be it may be the length
    // of something else: there is a space in the key.
    let with_noreply = arguments + usize::from(words.noreply);
    let is_certain = dialect == Dialect::New && words.count <= with_noreply;
    let (Some(flags), Some(exptime)) = (flags, exptime) else {
        return Err(match is_certain && verb != Verb::Cas {
            true => Refusal::of_request(&request),
            false => words.refuse(BAD_FORMAT, After::Close),
        });
    };
    let Some(unique) = unique.filter(|_| words.key_fits()) else {
        return Err(match is_certain {
            true => Refusal::of_request(&request),
            false => words.refuse(BAD_FORMAT, After::Close),
        });
    };
    (request.flags, request.exptime, request.number) = (flags, exptime, unique);
    let [_, _, flags_word, exptime_word, len_word, unique_word, _] = words.list;
    let is_plain = is_plain_unsigned(flags_word, u64::from(flags))
        && is_plain(exptime_word, exptime)
        && is_plain_unsigned(len_word, value_len as u64)
        && (verb != Verb::Cas || is_plain_unsigned(unique_word, unique));
    request.verbatim = words.tight(arguments).filter(|_| is_plain);
    Ok(request)
}
