//! What a key is called on the servers.
//!
//! A key that a text command can name is called what it is. One with a blank, a newline or a zero byte in it, which clients of the
//! binary protocol can name as it is and those of the meta commands in base64, is called by its base64 behind a byte that no one's
//! keys begin with: so it is one word to every memcached, and all that is done with keys is done with it as well. It is found by that
//! name in the ring, too. Whoever is told of such a key is told what he has asked for.

use super::{KEY_BYTES_MAX, base64, is_key};

/// What the names of those begin with: a unit separator.
const MARK: u8 = 0x1f;

/// Where a name stands that is another than its key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room(Option<[u8; KEY_BYTES_MAX]>);

impl Room {
    /// A key that stands elsewhere, put here.
    fn put(&mut self, name: impl Iterator<Item = u8>) -> Option<&[u8]> {
        // Few keys have one: for the others none is made ready.
        let room = self.0.insert([0; KEY_BYTES_MAX]);
        let mut len = 0;
        for byte in name {
            *room.get_mut(len)? = byte;
            len += 1;
        }
        Some(&room[..len])
    }

    fn name(&mut self, key: &[u8]) -> Option<&[u8]> {
        match key.is_empty() {
            true => None,
            false => self.put([MARK].into_iter().chain(base64::encode(key))),
        }
    }
}

/// What this key is called. None if it is empty, or its name too long: one that needs another name has 186 bytes at most.
pub fn of<'a>(key: &'a [u8], room: &'a mut Room) -> Option<&'a [u8]> {
    match is_key(key) {
        true => Some(key),
        false => room.name(key),
    }
}

/// What the key is called that is this in base64. None as well if it is no base64.
pub fn of_base64<'a>(text: &[u8], room: &'a mut Room) -> Option<&'a [u8]> {
    let mut decoded = [0; KEY_BYTES_MAX];
    let key = base64::decode(text, &mut decoded)?;
    match is_key(key) {
        true => room.put(key.iter().copied()),
        false => room.name(key),
    }
}

/// The key that is called so, as its clients name it.
pub fn key<'a>(name: &'a [u8], room: &'a mut [u8; KEY_BYTES_MAX]) -> &'a [u8] {
    match name {
        [MARK, text @ ..] => base64::decode(text, room).unwrap_or(name),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_no_word_is_called_by_one() {
        let name = |key: &[u8]| of(key, &mut Room::default()).map(<[u8]>::to_vec);
        assert_eq!(name(b"key"), Some(b"key".to_vec()));
        assert_eq!(name(b"a b"), Some(b"\x1fYSBi".to_vec()));
        assert_eq!(name(b""), None);
        for key in [&b"\0"[..], b"a\nb", b" ", &[b' '; 186]] {
            let name = name(key).expect("a name");
            assert!(is_key(&name), "{}", name.escape_ascii());
        }
        for asked in [&b"key"[..], b"a b", &[b' '; 186]] {
            let name = name(asked).expect("a name");
            assert_eq!(key(&name, &mut [0; KEY_BYTES_MAX]), asked);
        }
        assert_eq!(name(&[b' '; 187]), None);
        assert_eq!(name(&[b'k'; 251]), None);
    }

    #[test]
    fn it_is_called_the_same_whoever_names_it() {
        for key in [&b"key"[..], b"a b", b"\0\xff"] {
            let text: Vec<u8> = base64::encode(key).collect();
            let (mut one, mut other) = (Room::default(), Room::default());
            assert_eq!(of_base64(&text, &mut one), of(key, &mut other));
        }
        assert_eq!(of_base64(b"Zm9", &mut Room::default()), None);
    }
}
