//! What a client of each protocol reads of what lies behind magent, whoever has written it.

use super::common::Client;
use super::common::packets::{Binary, Packet};
use super::keys::{is_word, named};
use super::replies::without_padding;
use super::server::{Contents, unix_now};

/// Items that are read of one stream.
const ITEMS_MAX: usize = 8;
/// Seconds that may pass between two looks at a time.
const SECONDS_MAX: i64 = 3;

/// A connection of each kind.
pub struct Readers {
    lines: Client,
    packets: Binary,
}

impl Readers {
    pub fn connect(name: &str) -> Self {
        Self {
            lines: Client::connect(name),
            packets: Binary::connect(name),
        }
    }

    /// What of this is not read as it is, in words.
    pub fn difference(&mut self, contents: &Contents) -> Option<String> {
        contents.items.iter().take(ITEMS_MAX).find_map(|(key, item)| {
            let read = [
                ("text", is_word(key).then(|| self.by_text(key))),
                ("meta", Some(self.by_meta(key, item.2))),
                ("binary", Some(self.by_binary(key))),
            ];
            let expected = Some((item.0, without_padding(&item.1).to_vec()));
            let wrong = read
                .into_iter()
                .find(|(_, read)| read.as_ref().is_some_and(|read| *read != expected));
            wrong.map(|(protocol, read)| {
                let shown = |item: Option<(u32, Vec<u8>)>| match item {
                    Some((flags, value)) => format!("\"{}\" (flags {flags})", value.escape_ascii()),
                    None => "nothing, or another time".to_owned(),
                };
                format!(
                    "{} read by {protocol}: {}, but there is {}",
                    key.escape_ascii(),
                    shown(read.flatten()),
                    shown(expected.clone())
                )
            })
        })
    }

    fn by_text(&mut self, key: &[u8]) -> Option<(u32, Vec<u8>)> {
        self.lines.send([b"get ", key, b"\r\n"].concat());
        let line = self.lines.line();
        let words: Vec<&[u8]> = line.0.trim_ascii_end().split(|&byte| byte == b' ').collect();
        let &[b"VALUE", _, flags, len] = &words[..] else {
            return None;
        };
        let item = (number(flags)? as u32, self.value(number(len)?));
        self.lines.expect("END\r\n");
        Some(item)
    }

    fn by_meta(&mut self, key: &[u8], until: i64) -> Option<(u32, Vec<u8>)> {
        self.lines.send([b"mg ", &named(key)[..], b" f t v u\r\n"].concat());
        let line = self.lines.line();
        let words: Vec<&[u8]> = line.0.trim_ascii_end().split(|&byte| byte == b' ').collect();
        let [b"VA", len, flags, ttl, ..] = words[..] else {
            return None;
        };
        let value = self.value(number(len)?);
        let ttl = number(ttl.strip_prefix(b"t")?)?;
        let is_right = match until {
            -1 => ttl == -1,
            _ => (ttl - (until - unix_now())).abs() <= SECONDS_MAX,
        };
        is_right.then_some((number(flags.strip_prefix(b"f")?)? as u32, value))
    }

    fn by_binary(&mut self, key: &[u8]) -> Option<(u32, Vec<u8>)> {
        const GETK: u8 = 0x0c;
        let said = self.packets.ask(&Packet::new(GETK, key));
        let flags = u32::from_be_bytes(said.extras[..].try_into().ok()?);
        (said.status == 0 && said.key == key).then(|| (flags, without_padding(&said.value).to_vec()))
    }

    fn value(&mut self, len: i64) -> Vec<u8> {
        let mut value = self.lines.rest_or(len as usize + 2).0;
        value.truncate(len as usize);
        without_padding(&value).to_vec()
    }
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
