//! Hashes of keys in 32 bits, each byte for byte what the program computes that it comes from. All are small; none is meant
//! to withstand somebody who wants many keys on one server.
//!
//! libmemcached and twemproxy read a key as C's `char`, which has a sign on x86: so a byte from 128 on counts as a negative
//! number here, on every machine. md5 and the crcs have no such difference.

use super::md5;

/// What a key is hashed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// magent 0.7's: djb's hash times 33, top bit cleared.
    Djb,
    /// The first four bytes of the digest, the least significant first.
    Md5,
    /// Jenkins'; libmemcached's default.
    OneAtATime,
    /// Bits 16 to 30 of the crc: libmemcached's `crc`, twemproxy's `crc32`.
    Crc32,
    /// All bits of the crc: twemproxy's `crc32a`.
    Crc32a,
    /// The 64-bit variants keep the lower half of their numbers alone, at each step.
    Fnv1In64,
    Fnv1aIn64,
    Fnv1In32,
    Fnv1aIn32,
}

impl Hash {
    /// All, by what they are called in settings and statistics: twemproxy's words, which are libmemcached's but for `crc`.
    pub const CHOICES: [(&'static str, Hash); 9] = [
        ("djb", Hash::Djb),
        ("md5", Hash::Md5),
        ("one_at_a_time", Hash::OneAtATime),
        ("crc32", Hash::Crc32),
        ("crc32a", Hash::Crc32a),
        ("fnv1_64", Hash::Fnv1In64),
        ("fnv1a_64", Hash::Fnv1aIn64),
        ("fnv1_32", Hash::Fnv1In32),
        ("fnv1a_32", Hash::Fnv1aIn32),
    ];

    /// What it is called in settings and statistics.
    pub fn word(self) -> &'static str {
        let choice = Self::CHOICES.iter().find(|(_, hash)| *hash == self);
        choice.map_or("", |(word, _)| word)
    }

    pub fn of(self, key: &[u8]) -> u32 {
        match self {
            Hash::Djb => djb(key),
            Hash::Md5 => md5::first(key),
            Hash::OneAtATime => one_at_a_time(key),
            Hash::Crc32 => crc32(key) >> 16 & 0x7fff,
            Hash::Crc32a => crc32(key),
            Hash::Fnv1In64 => fnv1(key, FNV_64),
            Hash::Fnv1aIn64 => fnv1a(key, FNV_64),
            Hash::Fnv1In32 => fnv1(key, FNV_32),
            Hash::Fnv1aIn32 => fnv1a(key, FNV_32),
        }
    }
}

/// djb's hash times 33 over signed bytes, in 32 bits, top bit cleared (the source of the rule: magent 0.7's C code).
pub(super) fn djb(key: &[u8]) -> u32 {
    let hash = key.iter().fold(5381_u32, |hash, &byte| {
        hash.wrapping_mul(33).wrapping_add_signed(i32::from(byte as i8))
    });
    hash & 0x7fff_ffff
}

fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = key.iter().fold(0_u32, |hash, &byte| {
        let hash = hash.wrapping_add_signed(i32::from(byte as i8));
        let hash = hash.wrapping_add(hash << 10);
        hash ^ hash >> 6
    });
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

/// FNV's first number and its prime.
type Fnv = (u32, u32);

const FNV_32: Fnv = (0x811c_9dc5, 0x0100_0193);
const FNV_64: Fnv = (0xcbf2_9ce4_8422_2325_u64 as u32, 0x100_0000_01b3_u64 as u32);

fn fnv1(key: &[u8], (first, prime): Fnv) -> u32 {
    let step = |hash: u32, &byte: &u8| hash.wrapping_mul(prime) ^ i32::from(byte as i8) as u32;
    key.iter().fold(first, step)
}

fn fnv1a(key: &[u8], (first, prime): Fnv) -> u32 {
    let step = |hash: u32, &byte: &u8| (hash ^ i32::from(byte as i8) as u32).wrapping_mul(prime);
    key.iter().fold(first, step)
}

/// The crc of zlib, four bits at a time.
fn crc32(key: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut at = 0;
        while at < 16 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 4 {
                value = value >> 1 ^ if value & 1 == 1 { 0xedb8_8320 } else { 0 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    let crc = key.iter().fold(u32::MAX, |crc, &byte| {
        let crc = crc ^ u32::from(byte);
        let crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
        crc >> 4 ^ TABLE[(crc & 15) as usize]
    });
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published check values of the algorithms; where keys have bytes from 128 on, tests/vectors/rings.json decides.
    #[test]
    fn hashes_are_those_that_are_published() {
        for (hash, text, expected) in [
            (Hash::Md5, "", 0xd98c_1dd4),
            (Hash::OneAtATime, "a", 0xca2e_9442),
            (
                Hash::OneAtATime,
                "The quick brown fox jumps over the lazy dog",
                0x519e_91f5,
            ),
            (Hash::Crc32a, "123456789", 0xcbf4_3926),
            (Hash::Crc32, "123456789", 0x4bf4),
            (Hash::Fnv1In32, "a", 0x050c_5d7e),
            (Hash::Fnv1aIn32, "a", 0xe40c_292c),
            (Hash::Fnv1In64, "a", 0x8601_b7be),
            (Hash::Fnv1aIn64, "a", 0x8601_ec8c),
            (Hash::Fnv1aIn32, "foobar", 0xbf9c_f968),
            (Hash::Fnv1aIn64, "foobar", 0xf739_67e8),
        ] {
            assert_eq!(hash.of(text.as_bytes()), expected, "{hash:?} {text}");
        }
    }
}
