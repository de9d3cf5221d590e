//! What has to be known of a stream to read the replies to it, and to see that it has been read to its end.

use super::keys::key_of;
use super::packets::{Parts, REPLY, noop, split_packets};
use super::replies::without_padding;
use super::stream::{Stream, split_lines};
use std::collections::HashMap;

/// Sent behind every stream: who answers it has read all that came before as commands.
const LAST: &[u8] = b"nonsense\r\nmg nobodys_key Othe-last-one\r\n";
const LAST_REPLY: &[u8] = b"ERROR\r\nEN Othe-last-one\r\n";
pub const LAST_OPAQUE: [u8; 4] = *b"last";

/// What of replies is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// Whether an item has been fetched.
    pub hits: bool,
    /// Uniques that are told of what was stored.
    pub stored: bool,
    /// Blanks in values.
    pub blanks: bool,
}

#[derive(Clone, Default)]
pub struct Asked {
    pub is_binary: bool,
    /// The keys that opaques stand for; None where they stand for several.
    keys: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// Numbers are counted: they may be padded.
    pub counts: bool,
    /// An item may have another time than it was told.
    pub retimes: bool,
    pub masked: Masked,
}

impl Asked {
    pub fn of(stream: &Stream) -> Self {
        let bytes = stream.bytes();
        let is_binary = stream.is_binary();
        let counts = [&b"ma "[..], b"incr", b"decr"];
        let mut asked = Self {
            is_binary,
            counts: counts
                .iter()
                .any(|word| bytes.windows(word.len()).any(|bytes| bytes == *word)),
            retimes: !is_binary && retimes(&bytes),
            ..Self::default()
        };
        match is_binary {
            true => {
                for packet in split_packets(&bytes) {
                    if let Some(parts) = Parts::of(&packet) {
                        asked.add(&parts.opaque, parts.key().unwrap_or(&[]));
                    }
                }
            }
            false => split_lines(&bytes).iter().for_each(|line| asked.add_line(line)),
        }
        asked
    }

    fn add(&mut self, opaque: &[u8], key: &[u8]) {
        let known = self.keys.entry(opaque.to_vec()).or_insert_with(|| Some(key.to_vec()));
        if known.as_deref() != Some(key) {
            *known = None;
        }
    }

    /// Takes the opaque of a meta command.
    fn add_line(&mut self, line: &[u8]) {
        let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
        let ([_, key, flags @ ..], true) = (&words[..], line.starts_with(b"m")) else {
            return;
        };
        let key = key_of(key, flags.contains(&&b"b"[..]));
        for word in flags.iter().filter(|word| word.first() == Some(&b'O')) {
            self.add(&word[1..], &key);
        }
    }

    /// The key that is meant by an opaque.
    pub fn key(&self, opaque: &[u8]) -> Option<&[u8]> {
        self.keys.get(opaque)?.as_deref()
    }

    /// A value, but for the blanks that are not looked at.
    pub fn tight(&self, value: &[u8]) -> Vec<u8> {
        let mut value = without_padding(value).to_vec();
        if self.masked.blanks {
            value.retain(|&byte| byte != b' ');
        }
        value
    }

    pub fn last(&self) -> Vec<u8> {
        match self.is_binary {
            true => noop(LAST_OPAQUE),
            false => LAST.to_vec(),
        }
    }

    /// The replies to so many of it, where nothing was unfinished before.
    pub fn last_replies(&self, count: usize) -> Vec<u8> {
        match self.is_binary {
            true => {
                let mut reply = noop(LAST_OPAQUE);
                reply[0] = REPLY;
                reply.repeat(count)
            }
            false => LAST_REPLY.repeat(count),
        }
    }

    /// Whether the last of it has been answered.
    pub fn is_answered(&self, raw: &[u8]) -> bool {
        match self.is_binary {
            true => raw.ends_with(&self.last_replies(1)),
            false => raw.ends_with(b"EN Othe-last-one\r\n"),
        }
    }
}

/// Whether a count gives its item a time.
fn retimes(bytes: &[u8]) -> bool {
    split_lines(bytes).iter().any(|line| {
        let mut words = line.trim_ascii().split(|&byte| byte == b' ');
        words.next() == Some(b"ma") && words.any(|word| word.starts_with(b"T"))
    })
}
