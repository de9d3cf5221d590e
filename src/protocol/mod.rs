//! Bytes to values and back, without I/O and without allocation on the common path.
//!
//! | room | what it is for |
//! | --- | --- |
//! | `request` `verb` `keys` `reply` | what is asked for and what is said, in no protocol's form |
//! | `codec` `form` | how a client is understood, and how what is said to a request is written: by one of the protocols below |
//! | `refusal` | what is said to what is no request |
//! | `binary` | clients: their packets (`parse` `operation`), and replies written for them (`reply`) |
//! | `text` | clients: their lines (`common` `parse` `storage` `keyed` `admin` `words`), read as the memcached behind would read them (`dialect`), what is no request (`refusal`), and replies written for them (`reply`) |
//! | `meta` | clients: the meta commands among those lines (`parse` `flags`), and replies written for them (`reply` `told`) |
//! | `name` `base64` | what a key is called on servers that no text command can name |
//! | `made` | what a request makes where there is nothing that it could change |
//! | `server` | servers: requests written for them (`encode`), what they answer (`answer`), whether that fits (`question`), the list of their keys (`list`) |
//! | `number` `exptime` `find` | numbers and exptimes as memcached reads them; looking for bytes |
//!
//! Everything here is a pure function of the bytes at hand: a parser is given what has arrived so far and either understands
//! a whole line or asks for more, so any split of the bytes gives the same result. No other room looks into the bytes of a
//! command. Each protocol of clients is a room of its own, with the same [`request::Request`] as its result, its own [`codec::Codec`] and
//! [`form::Form`].
//!
//! The text protocol is memcached's `protocol.txt`; where that is silent, the behaviour of memcached 1.6.18 and of 1.6.45
//! is the rule, and `tests/text_protocol.rs` and `tests/differential.rs` compare byte for byte.

pub mod base64;
pub mod binary;
pub mod codec;
pub mod exptime;
mod find;
pub mod form;
pub mod keys;
mod made;
pub mod meta;
pub mod name;
pub mod number;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod server;
pub mod text;
pub mod verb;

pub use find::{find_blank_or_control, find_byte, find_newline};

/// What ends a line, and a data block.
pub const LINE_END: &[u8] = b"\r\n";
/// Longest key in bytes (`KEY_MAX_LENGTH` of memcached).
pub const KEY_BYTES_MAX: usize = 250;
/// Longest command line but for retrievals: without a newline in this many bytes memcached closes the connection.
pub const LINE_BYTES_MAX: usize = 2048;
/// Longest retrieval line: some 4,000 keys of full length. memcached has no limit; a proxy must have one.
pub const RETRIEVAL_LINE_BYTES_MAX: usize = 1 << 20;

/// Whether `word` may stand in a command line as a key: 1 to [`KEY_BYTES_MAX`] bytes that every memcached reads as one
/// word. A space and a newline end it everywhere, a zero byte ends the line before memcached 1.6.40 or so; all others,
/// control bytes and a carriage return too, belong to the key (seen with 1.6.18, 1.6.38 and 1.6.45).
pub fn is_key(word: &[u8]) -> bool {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\n' | 0);
    (1..=KEY_BYTES_MAX).contains(&word.len()) && !word.iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::{KEY_BYTES_MAX, is_key};

    #[test]
    fn a_key_is_what_every_memcached_reads_as_one_word() {
        for key in [
            &b"k"[..],
            b"\x01\x1f\x7f\xff",
            b"a\rb",
            b"a\r",
            b"a\tb",
            &[b'k'; KEY_BYTES_MAX],
        ] {
            assert!(is_key(key), "{}", key.escape_ascii());
        }
        for word in [&b""[..], b" ", b"a b", b"a\nb", b"a\0b", &[b'k'; KEY_BYTES_MAX + 1]] {
            assert!(!is_key(word), "{}", word.escape_ascii());
        }
    }
}
