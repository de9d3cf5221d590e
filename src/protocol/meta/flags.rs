//! What stands behind the key of a meta command: words of one letter, some with an argument.

use super::Generation;
use crate::protocol::codec::Behind;
use crate::protocol::keys::Keys;
use crate::protocol::refusal::BAD_FORMAT;
use crate::protocol::reply::{Fault, Reply};
use crate::protocol::text::dialect::Dialect;

/// Longest opaque, its letter included (`MFLAG_MAX_OPAQUE_LENGTH` of memcached).
const OPAQUE_BYTES_MAX: usize = 32;
/// Words of a line, its end counted by the old parser (`MFLAG_MAX_OPT_LENGTH`).
const WORDS_MAX: usize = 20;

pub const TOO_MANY: &Reply = &Reply::error(Fault::Client, b" options flags are too long");
pub const TOO_MANY_OLD: &Reply = &Reply::error(Fault::Client, b" options flags too long");
pub const INVALID: &Reply = &Reply::error(Fault::Client, b" invalid flag");
pub const INVALID_OR_TWICE: &Reply = &Reply::error(Fault::Client, b" invalid or duplicate flag");
const TWICE: &Reply = &Reply::error(Fault::Client, b" duplicate flag");
pub const BAD_KEY: &Reply = &Reply::error(Fault::Client, b" error decoding key");
const BAD_TOKEN: &Reply = &Reply::error(Fault::Client, b" bad token in command line format");
const BAD_MODE_LEN: &Reply = &Reply::error(Fault::Client, b" incorrect length for M token");
const BAD_INITIAL: &Reply = &Reply::error(Fault::Client, b" invalid numeric initial value");
const BAD_DELTA: &Reply = &Reply::error(Fault::Client, b" invalid numeric delta value");
pub const LONG_OPAQUE: &Reply = &Reply::error(Fault::Client, b" opaque token too long");

/// What is asked for, of whatever command it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `b`: the key is in base64.
    pub is_base64: bool,
    /// `q`: what is usual is not told.
    pub is_quiet: bool,
    /// `v`: the value is told.
    pub value: bool,
    /// `t f c s h l`: so are these.
    pub ttl: bool,
    /// `t` comes before `T`, or `N`: what was left is told.
    pub ttl_before: bool,
    pub ttl_before_made: bool,
    pub flags: bool,
    pub unique: bool,
    pub size: bool,
    pub hit: bool,
    pub last_access: bool,
    /// `T`: seconds until it expires.
    pub exptime: Option<i64>,
    /// It comes before `N`.
    pub touches_before_made: bool,
    /// `N`: the same of what is made where there is nothing.
    pub made_for: Option<i64>,
    /// `R`: with less than so many seconds left somebody is to store it anew.
    pub recached_at: Option<i64>,
    /// It comes before `T`.
    pub recaches_first: bool,
    /// `u`: it does not count as a fetch.
    pub no_update: bool,
    /// `F`: flags of the item.
    pub item_flags: u32,
    /// `C`: the unique that is to be found.
    pub found: Option<u64>,
    /// `E`: the one that is to be given.
    pub given: Option<u64>,
    /// `M`: its letter, 0 without.
    pub mode: u8,
    /// `J`: what a count makes.
    pub initial: u64,
    /// `D`: what it adds or subtracts.
    pub delta: u64,
    /// `I`: it is marked as stale.
    pub invalidates: bool,
    /// `x`: its value is removed.
    pub removes_value: bool,
}

/// Whether a line has too many words for any memcached.
pub fn are_too_many(words: usize, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Old => words >= WORDS_MAX,
        Dialect::New => words > WORDS_MAX,
    }
}

/// Whether the new parser takes a word for a flag at all, before it looks which.
pub fn is_flag(word: &[u8]) -> bool {
    word.first()
        .is_some_and(|letter| letter.is_ascii_digit() || (b'A'..=b'z').contains(letter))
}

impl Flags {
    /// Reads the words behind the key, or behind the length of a value; `decodes`: whether that key can be in base64.
    pub fn read(words: Keys<'_>, behind: Behind, decodes: impl Fn() -> bool) -> Result<Self, &'static Reply> {
        let mut flags = Self {
            delta: 1,
            ..Self::default()
        };
        let (mut seen, mut error, mut is_long) = (0_u128, None, false);
        for word in words {
            let (letter, argument) = (word[0], &word[1..]);
            if letter >= 127 || seen >> letter & 1 == 1 {
                return Err(TWICE);
            }
            seen |= 1 << letter;
            match letter {
                b'x' | b'E' if behind.meta < Generation::RemovesValues => return Err(INVALID),
                // Which memcached sees when it has read the others.
                b'O' if word.len() > OPAQUE_BYTES_MAX => is_long = true,
                b'b' if !decodes() => error = Some(BAD_KEY),
                _ => match flags.take(letter, argument, behind.dialect) {
                    Ok(true) => {}
                    Ok(false) => return Err(INVALID),
                    // Of bad flags of an item memcached says nothing of its own.
                    Err(wrong) if wrong == BAD_FORMAT => error = error.or(Some(BAD_FORMAT)),
                    Err(wrong) => error = Some(wrong),
                },
            }
        }
        match error {
            Some(error) => Err(error),
            None if is_long => Err(LONG_OPAQUE),
            None => Ok(flags),
        }
    }

    /// Takes one of them. Returns whether there is such a one.
    fn take(&mut self, letter: u8, argument: &[u8], dialect: Dialect) -> Result<bool, &'static Reply> {
        let some = Some(argument).filter(|argument| !argument.is_empty());
        let seconds = || some.and_then(|text| dialect.exptime(text)).ok_or(BAD_TOKEN);
        let number = |error| some.and_then(|text| dialect.number(text)).ok_or(error);
        let level = || some.and_then(|text| dialect.level(text)).ok_or(BAD_FORMAT);
        match letter {
            b'b' => self.is_base64 = true,
            b'q' => self.is_quiet = true,
            b'v' => self.value = true,
            b't' => {
                self.ttl = true;
                self.ttl_before = self.exptime.is_none();
                self.ttl_before_made = self.ttl_before && self.made_for.is_none();
            }
            b'f' => self.flags = true,
            b'c' => self.unique = true,
            b's' => self.size = true,
            b'h' => self.hit = true,
            b'l' => self.last_access = true,
            b'I' => self.invalidates = true,
            b'x' => self.removes_value = true,
            b'T' => {
                self.exptime = Some(seconds()?);
                self.touches_before_made = self.made_for.is_none();
            }
            b'N' => self.made_for = Some(seconds()?),
            b'R' => {
                self.recached_at = Some(seconds()?);
                self.recaches_first = self.exptime.is_none();
            }
            b'u' => self.no_update = true,
            b'F' => self.item_flags = level()?,
            b'C' => self.found = Some(number(BAD_TOKEN)?),
            b'E' => self.given = Some(number(BAD_TOKEN)?),
            b'J' => self.initial = number(BAD_INITIAL)?,
            b'D' => self.delta = number(BAD_DELTA)?,
            b'M' => match (dialect, argument) {
                (_, [mode]) | (Dialect::New, [mode, ..]) => self.mode = *mode,
                // Where the new parser looks for a letter there is what is behind the word.
                (Dialect::New, []) => self.mode = b' ',
                (Dialect::Old, _) => return Err(BAD_MODE_LEN),
            },
            b'k' | b'O' | b'P' | b'L' => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Behind = Behind {
        dialect: Dialect::Old,
        meta: Generation::Basic,
    };
    const NEW: Behind = Behind {
        dialect: Dialect::New,
        meta: Generation::RemovesValues,
    };

    fn read(text: &str, behind: Behind) -> Result<Flags, &'static Reply> {
        Flags::read(Keys::of(text.as_bytes()), behind, || !text.contains("undecodable"))
    }

    #[test]
    fn flags_are_read_with_what_they_bring() {
        for behind in [OLD, NEW] {
            let flags = read("b q k v t f c s h l O123 P L u T30 N7 R5 F9 C4", behind);
            let expected = Flags {
                is_base64: true,
                is_quiet: true,
                value: true,
                ttl: true,
                ttl_before: true,
                ttl_before_made: true,
                touches_before_made: true,
                no_update: true,
                flags: true,
                unique: true,
                size: true,
                hit: true,
                last_access: true,
                exptime: Some(30),
                made_for: Some(7),
                recached_at: Some(5),
                item_flags: 9,
                found: Some(4),
                delta: 1,
                ..Flags::default()
            };
            assert_eq!(flags, Ok(expected));
            let flags = read("MI J5 D3 I T-1", behind).expect("flags");
            assert_eq!((flags.mode, flags.initial, flags.delta), (b'I', 5, 3));
            assert_eq!((flags.invalidates, flags.exptime), (true, Some(-1)));
            assert!(!read("N7 T1", behind).expect("flags").touches_before_made);
            assert!(read("R7 T1", behind).expect("flags").recaches_first);
        }
        let flags = read("x E7", NEW).expect("flags");
        assert_eq!((flags.removes_value, flags.given), (true, Some(7)));
    }

    #[test]
    fn what_is_wrong_with_them_is_said_as_memcached_says_it() {
        for (text, old, new) in [
            ("v v", TWICE, TWICE),
            ("v \u{e9}", TWICE, TWICE),
            ("y", INVALID, INVALID),
            ("x", INVALID, INVALID),
            ("-", INVALID, INVALID),
            ("7", INVALID, INVALID),
            ("Tx", BAD_TOKEN, BAD_TOKEN),
            ("T", BAD_TOKEN, BAD_TOKEN),
            ("N R1", BAD_TOKEN, BAD_TOKEN),
            ("Cx", BAD_TOKEN, BAD_TOKEN),
            ("Fx", BAD_FORMAT, BAD_FORMAT),
            ("F", BAD_FORMAT, BAD_FORMAT),
            ("Jx", BAD_INITIAL, BAD_INITIAL),
            ("D-1", BAD_DELTA, BAD_DELTA),
            ("Oaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", LONG_OPAQUE, LONG_OPAQUE),
            ("b Oundecodableaaaaaaaaaaaaaaaaaaaaa", BAD_KEY, BAD_KEY),
            ("Fx b Oundecodable", BAD_KEY, BAD_KEY),
            ("b Fx Oundecodable", BAD_KEY, BAD_KEY),
            ("b Tx Oundecodable", BAD_TOKEN, BAD_TOKEN),
            ("Tx b Oundecodable", BAD_KEY, BAD_KEY),
        ] {
            let new_but_for_x = match text {
                "x" => Behind {
                    meta: Generation::Basic,
                    ..NEW
                },
                _ => NEW,
            };
            assert_eq!(read(text, OLD), Err(old), "{text}");
            assert_eq!(read(text, new_but_for_x), Err(new), "{text}");
        }
        assert_eq!(read("MEX", OLD), Err(BAD_MODE_LEN));
        assert_eq!(read("MEX", NEW).expect("flags").mode, b'E');
    }
}
