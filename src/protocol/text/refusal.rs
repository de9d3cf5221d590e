//! What is said to a line that is no request, and what becomes of the bytes behind it.
//!
//! A value must never be taken for commands: not the value of a storage command that is refused, nor that of a command
//! that magent does not know, nor the body of a request in another protocol. memcached goes on with the next line in
//! most of these cases; magent ends the connection where it cannot tell where the next command begins.

use super::dialect::Dialect;
use crate::protocol::keys::Keys;
pub(super) use crate::protocol::refusal::*;
use crate::protocol::request::Request;
use crate::protocol::{LINE_END, find_byte};

/// What web browsers begin a request with.
const HTTP_METHODS: [&[u8]; 9] = [
    b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT",
];
/// Commands of memcached that have a data block.
const COMMANDS_WITH_VALUE: [&[u8]; 7] = [b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms"];

impl Refusal {
    /// What is said to a line with too few words.
    pub(super) const fn too_short(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Old => Self::loud(ERROR),
            Dialect::New => Self::loud(BAD_FORMAT),
        }
    }

    /// The refusal of a request that can be told from what follows it: the data block is skipped.
    pub(super) fn of_request(request: &Request<'_>) -> Self {
        let after = match request.verb.is_storage() {
            true => After::Swallow(request.value_len + LINE_END.len()),
            false => After::NextLine,
        };
        Self {
            reply: BAD_FORMAT,
            noreply: request.noreply,
            after,
        }
    }

    /// The refusal of a line whose first word is no command that magent knows.
    pub(super) fn of_unknown(line: &[u8], dialect: Dialect) -> Self {
        if is_http(line) {
            return Self::hang_up();
        }
        let noreply = dialect == Dialect::New && Keys::of(line).last() == Some(b"noreply");
        let after = if may_announce_value(line) {
            After::Close
        } else {
            After::NextLine
        };
        Self {
            reply: ERROR,
            noreply,
            after,
        }
    }

    /// The refusal where all of the line is looked at, whatever made magent refuse it: a command with too few words, or a NUL,
    /// at which the old parser's line ends, must not let through what is refused without.
    pub(super) fn of_whole_line(self, line: &[u8]) -> Self {
        match self.after {
            After::NextLine if ends_in_http(line) => Self::hang_up(),
            After::NextLine if find_byte(line, 0).is_some() && may_announce_value(line) => Self {
                after: After::Close,
                ..self
            },
            _ => self,
        }
    }
}

/// Whether the last of at least two words says that this is HTTP.
pub fn ends_in_http(line: &[u8]) -> bool {
    let last = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next();
    last.is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// The first line of an HTTP request.
fn is_http(line: &[u8]) -> bool {
    let mut words = Keys::of(line);
    let method = words.next().is_some_and(|word| HTTP_METHODS.contains(&word));
    (method && words.next().is_some()) || ends_in_http(line)
}

/// Whether a line that is no command of ours may have a value behind it: it is a storage command but for its case or for
/// blanks and control bytes around it, has the form of one, or announces a string in Redis' protocol.
fn may_announce_value(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = Keys::of(line).take(5).collect();
    let Some(first) = words.first() else {
        return false;
    };
    if let [b'*' | b'$', len @ ..] = first {
        return is_number(len);
    }
    let word_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let start = first.iter().position(word_byte).unwrap_or(first.len());
    let name_len = first[start..].iter().take_while(|byte| word_byte(byte)).count();
    let name = &first[start..start + name_len];
    COMMANDS_WITH_VALUE.iter().any(|known| known.eq_ignore_ascii_case(name))
        || (words.len() == 5 && words[2..].iter().all(|word| is_number(word)))
}

fn is_number(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_a_value_behind_it_is_not_read_on() {
        for line in [
            &b"ms page 11 T60"[..],
            b"ms",
            b" set k 0 0 5",
            b"SET k 0 0 5",
            b"\tset k 0 0 5",
            b"set\tk 0 0 5",
            b"set\0",
            b"qset k 0 0 5",
            b"qset k 0 -1 5 noreply",
            b"*3",
            b"$5",
        ] {
            assert_eq!(
                Refusal::of_unknown(line, Dialect::Old),
                Refusal::closing(ERROR),
                "{}",
                line.escape_ascii()
            );
        }
        for line in [
            &b""[..],
            b"   ",
            b"foo",
            b"mg page v",
            b"mn",
            b"settings",
            b"set-top box",
            b"*",
            b"foo a b c d",
            b"slabs reassign 1 2",
            b"GET",
        ] {
            assert_eq!(
                Refusal::of_unknown(line, Dialect::Old),
                Refusal::loud(ERROR),
                "{}",
                line.escape_ascii()
            );
        }
    }

    #[test]
    fn http_is_hung_up_on() {
        for line in [
            &b"GET / HTTP/1.1"[..],
            b"GET /",
            b"POST / HTTP/1.0",
            b"OPTIONS * HTTP/1.1 ",
            b"BREW /pot HTTP/2",
            b"HTTP/1.1 200 OK HTTP/1.1",
        ] {
            assert_eq!(
                Refusal::of_unknown(line, Dialect::New),
                Refusal::hang_up(),
                "{}",
                line.escape_ascii()
            );
        }
    }
}
