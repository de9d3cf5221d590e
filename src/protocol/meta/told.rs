//! What the line of a reply tells behind its first words.

use crate::protocol::keys::Keys;
use crate::protocol::number::Decimal;
use crate::protocol::server::answer::{Marks, Response};
use crate::protocol::{KEY_BYTES_MAX, base64};

/// What is told of an item, or of the request, word for word as far as that is known before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told(Box<[u8]>);

impl Told {
    /// The `letters` among the words of a request, with its key, as that was written, which may be in base64.
    pub fn of(letters: &[u8], words: Keys<'_>, (key, is_base64): (&[u8], bool)) -> Self {
        let mut told = Vec::new();
        for word in words.filter(|word| letters.contains(&word[0])) {
            told.push(b' ');
            match word[0] {
                b'k' => {
                    told.push(b'k');
                    match is_base64 {
                        true => {
                            // As memcached writes it.
                            let mut room = [0; KEY_BYTES_MAX];
                            let key = base64::decode(key, &mut room).unwrap_or(&[]);
                            told.extend(base64::encode(key));
                            told.extend_from_slice(b" b");
                        }
                        false => told.extend_from_slice(key),
                    }
                }
                b'O' => told.extend_from_slice(word),
                letter => told.push(letter),
            }
        }
        Self(told.into_boxed_slice())
    }

    /// Adds the words to a line; `find` tells what is behind the letter of one that was not known before. Those that nobody knows are left out.
    pub fn add(&self, line: &mut Vec<u8>, mut find: impl FnMut(u8, &mut Vec<u8>) -> bool) {
        for word in Keys::of(&self.0) {
            let before = line.len();
            line.push(b' ');
            line.extend_from_slice(word);
            let is_known = matches!(word, [b'k' | b'O' | b'b', ..]);
            if !is_known && !find(word[0], line) {
                line.truncate(before);
            }
        }
    }

    /// Whether this letter is among them.
    pub fn has(&self, letter: u8) -> bool {
        Keys::of(&self.0).any(|word| word == [letter])
    }
}

/// Adds marks.
pub fn add_marks(marks: Marks, line: &mut Vec<u8>) {
    marks.letters().for_each(|mark| line.extend_from_slice(&[b' ', mark]));
}

/// Adds what a server has told of an item under this letter. Returns whether it has.
pub fn add_of(item: &Response<'_>, letter: u8, line: &mut Vec<u8>) -> bool {
    let number = match letter {
        b'f' => item.flags.map(u64::from),
        b's' => item.size,
        b't' => match item.ttl_s {
            Some(-1) => {
                line.extend_from_slice(b"-1");
                return true;
            }
            ttl_s => ttl_s.and_then(|ttl_s| u64::try_from(ttl_s).ok()),
        },
        b'h' | b'l' => item.told(letter),
        _ => None,
    };
    if let Some(number) = number {
        line.extend_from_slice(Decimal::new(number).as_bytes());
    }
    number.is_some()
}
