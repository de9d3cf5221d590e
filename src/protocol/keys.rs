//! Several keys, one behind the other.
//!
//! No key of a list has a blank in it: a text client cannot name one that has, and who can asks for its keys one by one.

use super::find_byte;

/// The keys of a retrieval, in the order asked, duplicates included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a>(&'a [u8]);

impl<'a> Keys<'a> {
    /// The keys in `text`, which are separated by spaces.
    pub fn of(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// What has not been iterated over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Passes over the next key if it is this one, in one comparison where a single space is before it.
    pub fn pass(&mut self, key: &[u8]) -> bool {
        let [b' ', behind @ ..] = self.0 else {
            return false;
        };
        match behind.strip_prefix(key) {
            Some(rest @ ([] | [b' ', ..])) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut text = self.0;
        while let [b' ', behind @ ..] = text {
            text = behind;
        }
        let (key, rest) = text.split_at(find_byte(text, b' ').unwrap_or(text.len()));
        self.0 = rest;
        (!key.is_empty()).then_some(key)
    }
}

/// Keys that were put together.
#[derive(Clone, Debug, Default)]
pub struct KeyList(Vec<u8>);

impl KeyList {
    pub fn push(&mut self, key: &[u8]) {
        self.0.push(b' ');
        self.0.extend_from_slice(key);
    }

    /// Adds what another list, or the rest of one, has.
    pub fn extend(&mut self, other: Keys<'_>) {
        self.0.extend_from_slice(other.rest());
    }

    pub fn keys(&self) -> Keys<'_> {
        Keys(&self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Bytes of all keys, with one between any two and one in front.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_its_keys_back() {
        let mut list = KeyList::default();
        for key in [&b"a"[..], b"bb", b"a"] {
            list.push(key);
        }
        assert_eq!(list.keys().collect::<Vec<_>>(), [&b"a"[..], b"bb", b"a"]);
        let mut keys = list.keys();
        assert!(!keys.pass(b"b") && keys.pass(b"a") && !keys.pass(b"b") && keys.pass(b"bb"));
        assert_eq!(keys.collect::<Vec<_>>(), [b"a"]);
        let mut more = KeyList::default();
        more.push(b"c");
        more.extend(keys);
        assert_eq!((more.keys().count(), more.len(), more.is_empty()), (2, 4, false));
    }
}
