//! The list of a server's keys: how it is asked for, and its lines.
//!
//! ```text
//! key=<uri-encoded> exp=<unix second or -1> la=... cas=... fetch=... cls=... size=...
//! END
//! ```

use crate::protocol::exptime::absolute_exptime;
use crate::protocol::is_key;
use crate::protocol::server::answer::{signed, unsigned};

/// How a server goes through its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListBy {
    /// By its hash table: whole, whatever is moved about meanwhile.
    Hash,
    /// By its LRU queues.
    Lru,
}

impl ListBy {
    /// What asks for the list. It must be alone on its connection.
    pub fn command(self) -> &'static [u8] {
        match self {
            ListBy::Hash => b"lru_crawler metadump hash\r\n",
            ListBy::Lru => b"lru_crawler metadump all\r\n",
        }
    }
}

/// A question whose answer marks the end of a list that does not do that itself.
pub const MARK: &[u8] = b"version\r\n";

/// What an item is taken to weigh of which that is not known.
const SIZE_UNKNOWN: usize = 16 << 10;
/// No item weighs more (`-I 1g`, and what a memcached adds).
const SIZE_MAX: usize = (1 << 30) + (1 << 20);

/// A key of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Box<[u8]>,
    /// The unix second in which it expires, 0 for never; None if that was not told.
    pub exptime: Option<i64>,
    /// What it takes in the server's memory, in bytes.
    pub size: usize,
    /// Its cas unique, if that was told.
    pub unique: Option<u64>,
}

impl Entry {
    /// One that is known without a list.
    pub fn of(key: &[u8]) -> Self {
        Self {
            key: key.into(),
            exptime: None,
            size: SIZE_UNKNOWN,
            unique: None,
        }
    }
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// None for a key that no text command can name.
    Key(Option<Entry>),
    End,
    /// The server is busy with another list, or has too many connections.
    Later,
}

/// Understands a line of the list; None if it is not one.
pub fn understand(line: &[u8]) -> Option<Line> {
    let begins = |beginnings: &[&[u8]]| beginnings.iter().any(|&beginning| line.starts_with(beginning));
    if line == b"END" || begins(&[b"VERSION ", b"NOTSTARTED"]) {
        return Some(Line::End);
    }
    if begins(&[b"BUSY", b"ERROR Too many", b"ERROR an unknown error", b"SERVER_ERROR"]) {
        return Some(Line::Later);
    }
    if line == b"OK" {
        return Some(Line::Key(None));
    }
    let mut words = line.split(|&byte| byte == b' ');
    let key = decoded(words.next()?.strip_prefix(b"key=")?)?;
    let mut exptime = None;
    let mut size = SIZE_UNKNOWN;
    let mut unique = None;
    for word in words {
        if let Some(value) = word.strip_prefix(b"exp=") {
            exptime = match signed(value) {
                Some(-1) => Some(0),
                unix_s => unix_s.and_then(absolute_exptime),
            };
        } else if let Some(value) = word.strip_prefix(b"size=") {
            let known = unsigned(value).and_then(|bytes| usize::try_from(bytes).ok());
            size = known.filter(|&bytes| bytes <= SIZE_MAX).unwrap_or(size);
        } else if let Some(value) = word.strip_prefix(b"cas=") {
            unique = unsigned(value);
        }
    }
    Some(Line::Key(is_key(&key).then(|| Entry {
        key: key.into(),
        exptime,
        size,
        unique,
    })))
}

/// A key without its URI encoding.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        key.push(match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                (digit(high)? * 16 + digit(low)?) as u8
            }
            (b'%', _) => return None,
            _ => *first,
        });
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_list_are_understood() {
        let line = b"key=a%25b%2Fc exp=1795382158 la=1795382058 cas=7 fetch=no cls=1 size=64";
        let Some(Line::Key(Some(entry))) = understand(line) else {
            panic!("a key");
        };
        assert_eq!((&*entry.key, entry.exptime), (&b"a%b/c"[..], Some(1_795_382_158)));
        assert_eq!((entry.size, entry.unique), (64, Some(7)));
        let Some(Line::Key(Some(entry))) = understand(b"key=k exp=-1 la=1") else {
            panic!("a key");
        };
        assert_eq!((entry.exptime, entry.size), (Some(0), SIZE_UNKNOWN));
        for end in [&b"END"[..], b"VERSION 1.4.39", b"NOTSTARTED no items to crawl"] {
            assert_eq!(understand(end), Some(Line::End));
        }
        for later in [
            &b"BUSY currently processing crawler request"[..],
            b"ERROR Too many open connections",
            b"ERROR an unknown error happened",
            b"SERVER_ERROR out of memory",
        ] {
            assert_eq!(understand(later), Some(Line::Later));
        }
        for refusal in [
            &b"ERROR"[..],
            b"ERROR lru crawler disabled",
            b"CLIENT_ERROR x",
            b"key=a%2",
            b"",
        ] {
            assert_eq!(understand(refusal), None);
        }
    }

    /// What a text command can name is copied, what it cannot is not.
    #[test]
    fn keys_that_no_command_can_name_are_passed_over() {
        let named = |line: &[u8]| match understand(line) {
            Some(Line::Key(entry)) => entry.map(|entry| entry.key.to_vec()),
            _ => panic!("a key"),
        };
        assert_eq!(named(b"key=a%01%7F%0Db exp=-1"), Some(b"a\x01\x7f\rb".to_vec()));
        for unnamed in [
            &b"key=a%20b exp=-1"[..],
            b"key=a%00b exp=-1",
            b"key=a%0Ab exp=-1",
            b"key= exp=-1",
            b"OK",
        ] {
            assert_eq!(named(unnamed), None);
        }
    }

    #[test]
    fn what_no_item_can_weigh_is_not_believed() {
        let line = format!("key=k exp=7 size={}", u64::MAX);
        let Some(Line::Key(Some(entry))) = understand(line.as_bytes()) else {
            panic!("a key");
        };
        assert_eq!((entry.size, entry.exptime), (SIZE_UNKNOWN, None));
    }
}
