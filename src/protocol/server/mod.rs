//! The dialect that servers are spoken to in: memcached's text protocol, with its meta commands where nothing else will do.
//!
//! [`encode`] writes requests, [`answer`] reads what comes back, and [`question`] tells whether that fits what was asked;
//! [`list`] is the list of a server's keys, which has a connection of its own.

pub mod answer;
pub mod encode;
pub mod list;
pub mod question;

use super::find_newline;

/// What a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// memcached's text protocol alone.
    Text,
    /// The same, and the meta commands in it.
    Meta,
}

/// Longest line that may be sent to a server, but for get and gets: memcached up to 1.6.13 closes a connection on
/// which more than 1024 bytes of a line are there without its end, later ones 2048.
pub const LINE_BYTES_MAX: usize = 1024;
/// What such a line has beside its keys, at most.
const GAT_BYTES_MAX: usize = "gats -2147483648\r\n".len();
/// Bytes of what was sent that a line of the log shows.
const SHOWN_MAX: usize = 60;

/// Bytes of keys, as a list has them, that one retrieval may ask for.
pub fn key_list_bytes_max(verb: super::verb::Verb) -> usize {
    match verb.is_get_and_touch() {
        true => LINE_BYTES_MAX - GAT_BYTES_MAX,
        // A get may be as long as it likes.
        false => usize::MAX,
    }
}

/// What was sent to a server or came from it, as far as it fits into a line of the log.
pub fn shown(bytes: &[u8]) -> String {
    let line = bytes[..find_newline(bytes).unwrap_or(bytes.len())].trim_ascii_end();
    line[..line.len().min(SHOWN_MAX)].escape_ascii().to_string()
}

// A key of any length fits.
const _: () = assert!(super::KEY_BYTES_MAX < LINE_BYTES_MAX - GAT_BYTES_MAX);
