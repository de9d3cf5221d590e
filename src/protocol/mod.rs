//! Bytes to meaning and back, without I/O and without allocation on the common path.
//!
//! [`request`] reads what clients say, in the [`dialect`] of the memcached behind; its [`words`], its [`verb`], the numbers
//! in it ([`number`]), and the [`refusal`] of what is no request; `storage`, `keyed` and `admin` are its kinds of command, and
//! `find` looks for bytes. [`response`] reads what servers answer, and [`question`]
//! tells whether that fits what they were asked. Everything here is a pure function of the bytes at hand: a parser is given
//! what has arrived so far and either understands a whole line or asks for more, so any split of the bytes gives the same
//! result.
//!
//! The text protocol is memcached's `protocol.txt`; where that is silent, the behaviour of memcached 1.6.18 and of 1.6.45
//! is the rule, and `tests/text_protocol.rs` and `tests/differential.rs` compare byte for byte. The meta commands and the binary
//! protocol will be two more files beside `request`, with the same [`request::Request`] as their result.

mod admin;
pub mod dialect;
mod find;
mod keyed;
pub mod number;
pub mod question;
pub mod refusal;
pub mod request;
pub mod response;
mod storage;
pub mod verb;
pub mod words;

pub use find::{find_byte, find_newline};

/// Longest key in bytes (`KEY_MAX_LENGTH` of memcached).
pub const KEY_BYTES_MAX: usize = 250;
/// Longest command line but for retrievals: without a newline in this many bytes memcached closes the connection.
pub const LINE_BYTES_MAX: usize = 2048;
/// Longest line that may be sent to a server, but for get and gets: memcached up to 1.6.13 closes a connection on
/// which more than 1024 bytes of a line are there without its end, later ones 2048.
pub const SERVER_LINE_BYTES_MAX: usize = 1024;
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
