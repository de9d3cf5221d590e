//! Replies as a client sees them, but for what differs by nature: cas uniques, times that pass, and what `stats` says.

use super::allowed::is_over;
use super::asked::Asked;
use super::keys::key_of;
use super::packets::{self, HEADER_BYTES, REPLY, STAT};
use std::collections::HashMap;

/// Replies in a form that is the same for every memcached that behaves the same, and the uniques that were in them.
#[derive(Default)]
pub struct Normal {
    pub bytes: Vec<u8>,
    /// By key, in the order seen.
    pub uniques: HashMap<Vec<u8>, Vec<u64>>,
    /// What is written for each of them.
    numbers: HashMap<(Vec<u8>, u64), usize>,
}

impl Normal {
    /// A key's unique becomes the number of those that came before it, so that two are equal where they have to be and
    /// nowhere else. Lines of `stats` are left out, not their END. Blanks behind a number are left out: where incr or decr
    /// has made it shorter, memcached leaves some if nothing else holds the item, which nobody can foresee.
    pub fn of(raw: &[u8], asked: &Asked) -> Self {
        let mut normal = Self::default();
        let mut rest = raw;
        let next = if asked.is_binary { Self::packet } else { Self::line };
        while let Some(len) = next(&mut normal, rest, asked) {
            rest = &rest[len..];
        }
        normal.bytes.extend_from_slice(rest);
        normal
    }

    /// The number of a unique.
    fn number(&mut self, key: &[u8], unique: u64) -> usize {
        let next = self.numbers.len();
        self.uniques.entry(key.to_vec()).or_default().push(unique);
        *self.numbers.entry((key.to_vec(), unique)).or_insert(next)
    }

    /// Takes a line, and the value behind it. Returns how many bytes these are.
    fn line(&mut self, raw: &[u8], asked: &Asked) -> Option<usize> {
        let newline = raw.iter().position(|&byte| byte == b'\n')?;
        let (line, behind) = raw.split_at(newline + 1);
        let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
        let number = |n: usize| -> Option<u64> { std::str::from_utf8(words.get(n)?).ok()?.parse().ok() };
        let len_at = match (words[0], words.len()) {
            (b"VALUE", 4..=5) => Some(3),
            (b"VA", 2..) => Some(1),
            _ => None,
        };
        let value_len = len_at.and_then(number).and_then(|len| usize::try_from(len).ok());
        let value = value_len.map(|len| asked.tight(&behind[..len.min(behind.len())]));
        match (words[0], &value) {
            (b"VALUE", Some(value)) => {
                self.bytes.extend_from_slice(&words[..3].join(&b' '));
                self.bytes.extend_from_slice(format!(" {}", value.len()).as_bytes());
                if let Some(unique) = number(4) {
                    let number = self.number(words[1], unique);
                    self.bytes.extend_from_slice(format!(" <{number}>").as_bytes());
                }
                self.bytes.extend_from_slice(b"\r\n");
            }
            (b"VA", Some(value)) => {
                self.bytes.extend_from_slice(format!("VA {}", value.len()).as_bytes());
                self.flags(&words[2..], value_len.map(|len| (len, value.len())), asked);
                self.bytes.extend_from_slice(b"\r\n");
            }
            (b"HD" | b"EN" | b"NF" | b"NS" | b"EX", _) => {
                self.bytes.extend_from_slice(words[0]);
                self.flags(&words[1..], None, asked);
                self.bytes.extend_from_slice(b"\r\n");
            }
            (b"ME", _) => self.debugging(&words),
            (b"STAT", _) => {}
            _ => self.bytes.extend_from_slice(line),
        }
        let (Some(value), Some(value_len)) = (value, value_len) else {
            return Some(line.len());
        };
        self.bytes.extend_from_slice(&value);
        let after = &behind[value_len.min(behind.len())..];
        let end = after.len().min(2);
        self.bytes.extend_from_slice(&after[..end]);
        Some(line.len() + behind.len() - after.len() + end)
    }

    /// Takes what `me` is told: when an item was fetched, by which copy, and its unique, nobody can foresee, nor, where a number may have been
    /// padded, how large it is. Of what was stored by a key in base64, memcached tells it so.
    fn debugging(&mut self, words: &[&[u8]]) {
        const KNOWN: [&[u8]; 2] = [b"exp=-1", b"cls=1"];
        let is_known = |word: &&&[u8]| KNOWN.contains(*word);
        let kept = words.iter().take(1).chain(words.iter().skip(2).filter(is_known));
        self.bytes
            .extend_from_slice(&kept.copied().collect::<Vec<_>>().join(&b' '));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Takes the flags of a meta reply. What is told of a value that may have been padded, and of how much time has passed, nobody
    /// can foresee; `lens`: how long the value is, with blanks behind a number and without.
    fn flags(&mut self, words: &[&[u8]], lens: Option<(usize, usize)>, asked: &Asked) {
        let is_base64 = words.contains(&&b"b"[..]);
        let key = words
            .iter()
            .find_map(|word| Some(key_of(word.strip_prefix(b"k")?, is_base64)));
        let opaque = words.iter().find_map(|word| word.strip_prefix(b"O"));
        let key = key.or_else(|| Some(asked.key(opaque?)?.to_vec()));
        for &word in words.iter().filter(|word| ***word != b"b"[..]) {
            let (&letter, argument) = word.split_first().unwrap_or((&0, &[]));
            let number: Option<u64> = std::str::from_utf8(argument).ok().and_then(|text| text.parse().ok());
            let told = match (letter, number, &key) {
                // None is told of what was not stored.
                (b'c', Some(_), _) if asked.masked.stored => "c#".to_owned(),
                (b'c', Some(unique), Some(key)) if unique > 0 => format!("c<{}>", self.number(key, unique)),
                (b'c', Some(unique), None) if unique > 0 => "c#".to_owned(),
                (b't', _, _) if asked.retimes => "t#".to_owned(),
                (b'h', Some(_), _) if asked.masked.hits => "h#".to_owned(),
                (b't', Some(seconds), _) if is_over(seconds) => "t-1".to_owned(),
                (b't', Some(seconds), _) => format!("t{}", roughly(seconds)),
                (b'l', Some(_), _) => "l#".to_owned(),
                (b's', Some(size), _) => match lens {
                    Some((len, short)) if size == len as u64 => format!("s{short}"),
                    None if asked.counts && size <= LONGEST_NUMBER => "s#".to_owned(),
                    _ => format!("s{size}"),
                },
                _ => {
                    self.bytes.push(b' ');
                    self.bytes.extend_from_slice(&told_key(word, is_base64));
                    continue;
                }
            };
            self.bytes.extend_from_slice(format!(" {told}").as_bytes());
        }
    }

    /// Takes a packet. Returns how many bytes it is.
    fn packet(&mut self, raw: &[u8], asked: &Asked) -> Option<usize> {
        let header: &[u8; HEADER_BYTES] = raw.first_chunk().filter(|header| header[0] == REPLY)?;
        let key_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (extras_len, opaque) = (usize::from(header[4]), &header[12..16]);
        let body_len = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let body = raw.get(HEADER_BYTES..HEADER_BYTES + body_len)?;
        let len = HEADER_BYTES + body_len;
        if header[1] == STAT && key_len > 0 {
            return Some(len);
        }
        let unique = u64::from_be_bytes(*header.last_chunk().expect("eight bytes"));
        let number = match asked.key(opaque) {
            _ if asked.masked.stored && packets::stores(header[1]) && header[6..8] == [0, 0] => u64::MAX,
            _ if unique == 0 => 0,
            Some(key) => self.number(key, unique) as u64 + 1,
            None => u64::MAX,
        };
        let head = body.get(..extras_len + key_len).unwrap_or(body);
        let value = &body[head.len()..];
        let value = if extras_len > 0 {
            asked.tight(value)
        } else {
            value.to_vec()
        };
        self.bytes.extend_from_slice(&header[..8]);
        self.bytes.extend(((head.len() + value.len()) as u32).to_be_bytes());
        self.bytes.extend_from_slice(opaque);
        self.bytes.extend(number.to_be_bytes());
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(&value);
        Some(len)
    }

    /// The unique that a `cas` of this client gives; one that nobody has if it was never told one.
    pub fn unique(&self, key: &[u8], old: bool) -> u64 {
        const NOBODYS: u64 = 4_000_000_000;
        let seen = self.uniques.get(key).map_or(&[][..], Vec::as_slice);
        let last = seen.last().copied().unwrap_or(NOBODYS);
        match old {
            false => last,
            true => seen
                .iter()
                .rev()
                .copied()
                .find(|&unique| unique != last)
                .unwrap_or(NOBODYS),
        }
    }
}

/// A word of a reply, and if it is a key, the bare one. What a command with N has made by a key in base64 is told by the bare key by
/// memcached, whoever asks, and as it is asked for by magent.
fn told_key(word: &[u8], is_base64: bool) -> Vec<u8> {
    match word.split_first() {
        Some((b'k', key)) => [b"k", &key_of(key, is_base64)[..]].concat(),
        _ => word.to_vec(),
    }
}

/// Digits of the longest number that is counted.
const LONGEST_NUMBER: u64 = 20;

/// Seconds that are left, where some may have passed. No exptime of a test is near the edge.
fn roughly(seconds: u64) -> u64 {
    const STEP: u64 = 100;
    (seconds + STEP / 2) / STEP * STEP
}

/// A value, but for blanks behind a number.
pub fn without_padding(value: &[u8]) -> &[u8] {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match value[digits..].iter().all(|&byte| byte == b' ') {
        true if digits > 0 => &value[..digits],
        _ => value,
    }
}
