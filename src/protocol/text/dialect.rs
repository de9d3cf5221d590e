//! The two ways in which memcacheds read a command line.
//!
//! memcached 1.6.40 has a new parser (`proto_parser.c`, `vendor/mcmc`). It refuses blanks before a command, takes any number
//! of words behind one, wants digits where the old one took whatever C's `strtol` does, and says other things to what it
//! refuses. A client is answered as the memcached behind magent would have answered it; what is forwarded is read alike
//! by both.

use crate::protocol::number::{signed, strict_signed, strict_unsigned, wrapping_unsigned};

/// Longest numbers of 32 and of 64 bits, in characters, that the new parser looks at (`mcmc.c`).
const CHARACTERS_MAX_32: usize = 11;
const CHARACTERS_MAX_64: usize = 22;
/// Longest value that a command line can announce (`INT_MAX - 2` in either parser).
const VALUE_BYTES_MAX: i64 = i32::MAX as i64 - 2;

/// How a command line is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As memcached up to 1.6.39 does.
    Old,
    /// As memcached since 1.6.40 does.
    #[default]
    New,
}

impl Dialect {
    /// The exptime of everything but a storage command, of which memcached keeps the low 32 bits where it takes more:
    /// libmemcached says -1 as 4294967295, and means it.
    pub fn exptime(self, token: &[u8]) -> Option<i64> {
        match self {
            Dialect::Old => signed(token).map(low_exptime),
            Dialect::New => strict_signed(token, CHARACTERS_MAX_32)
                .and_then(|number| i32::try_from(number).ok())
                .map(i64::from),
        }
    }

    /// As much of a line as a number of a storage command is looked for in: the old parser has cut the line into words, the
    /// new one reads over blanks as C does.
    fn number_text(self, text: &[u8]) -> &[u8] {
        match self {
            Dialect::Old => text.split(|&byte| byte == b' ').next().unwrap_or(&[]),
            Dialect::New => text,
        }
    }

    /// The exptime of a storage command. `text` begins with it.
    pub fn stored_exptime(self, text: &[u8]) -> Option<i64> {
        signed(self.number_text(text)).map(low_exptime)
    }

    /// The flags of a storage command, of which memcached keeps the low 32 bits. `text` begins with them.
    pub fn flags(self, text: &[u8]) -> Option<u32> {
        wrapping_unsigned(self.number_text(text)).map(|flags| flags as u32)
    }

    /// Bytes of a data block, without its line end.
    pub fn value_len(self, token: &[u8]) -> Option<usize> {
        let len = match self {
            Dialect::Old => i64::from(signed(token)? as i32),
            Dialect::New => strict_signed(token, CHARACTERS_MAX_32)?,
        };
        (0..=VALUE_BYTES_MAX).contains(&len).then_some(len as usize)
    }

    /// A cas unique, or what incr and decr are to add or subtract.
    pub fn number(self, token: &[u8]) -> Option<u64> {
        match self {
            Dialect::Old => wrapping_unsigned(token),
            Dialect::New => strict_unsigned(token, CHARACTERS_MAX_64),
        }
    }

    /// The level of verbosity.
    pub fn level(self, token: &[u8]) -> Option<u32> {
        match self {
            Dialect::Old => wrapping_unsigned(token).map(|level| level as u32),
            Dialect::New => strict_unsigned(token, CHARACTERS_MAX_32).and_then(|level| u32::try_from(level).ok()),
        }
    }
}

fn low_exptime(exptime: i64) -> i64 {
    i64::from(exptime as i32)
}
