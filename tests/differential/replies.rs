//! Replies as a client sees them, but for what differs by nature: cas uniques, and what `stats` says.

use std::collections::HashMap;

/// Replies in a form that is the same for every memcached that behaves the same, and the uniques that were in them.
#[derive(Default)]
pub struct Normal {
    pub bytes: Vec<u8>,
    /// By key, in the order seen.
    pub uniques: HashMap<Vec<u8>, Vec<u64>>,
}

impl Normal {
    /// A key's unique becomes the number of those that came before it, so that two are equal where they have to be and
    /// nowhere else. Lines of `stats` are left out, not their END. Blanks behind a number are left out: where incr or decr
    /// has made it shorter, memcached leaves some if nothing else holds the item, which nobody can foresee.
    pub fn of(raw: &[u8]) -> Self {
        let mut normal = Self::default();
        let mut numbers: HashMap<(&[u8], u64), usize> = HashMap::new();
        let mut rest = raw;
        while let Some(newline) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, behind) = rest.split_at(newline + 1);
            let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
            let number = |n: usize| -> Option<u64> { std::str::from_utf8(words.get(n)?).ok()?.parse().ok() };
            let is_value = words[0] == b"VALUE" && (4..=5).contains(&words.len());
            let value_len = number(3).filter(|_| is_value).and_then(|len| usize::try_from(len).ok());
            let Some(value_len) = value_len else {
                if words[0] != b"STAT" {
                    normal.bytes.extend_from_slice(line);
                }
                rest = behind;
                continue;
            };
            let (value, after) = behind.split_at(value_len.min(behind.len()));
            let value = without_padding(value);
            normal.bytes.extend_from_slice(&words[..3].join(&b' '));
            normal.bytes.extend_from_slice(format!(" {}", value.len()).as_bytes());
            if let Some(unique) = number(4) {
                let next = numbers.len();
                let number = *numbers.entry((words[1], unique)).or_insert(next);
                normal.bytes.extend_from_slice(format!(" <{number}>").as_bytes());
                normal.uniques.entry(words[1].to_vec()).or_default().push(unique);
            }
            normal.bytes.extend_from_slice(b"\r\n");
            normal.bytes.extend_from_slice(value);
            let (end, after) = after.split_at(after.len().min(2));
            normal.bytes.extend_from_slice(end);
            rest = after;
        }
        normal.bytes.extend_from_slice(rest);
        normal
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

/// A value, but for blanks behind a number.
pub fn without_padding(value: &[u8]) -> &[u8] {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match value[digits..].iter().all(|&byte| byte == b' ') {
        true if digits > 0 => &value[..digits],
        _ => value,
    }
}
