//! MD5 (RFC 1321) of what fits into one of its blocks, as nearly all keys do: of one text, or of four side by side.
//!
//! Each of MD5's 64 steps needs what the one before has computed: with one text a processor mostly waits. Four take little
//! longer than one if each has a lane of a wide register. The rounds are written once, for numbers of whichever kind.

#[cfg(target_arch = "x86_64")]
use crate::sys::Lanes;
use std::num::Wrapping;
use std::ops::{Add, BitAnd, BitOr, BitXor, Not};

/// A longer text, with the bit behind it and its length, does not fit into a block.
const TEXT_BYTES_MAX: usize = 55;

/// One that is no longer stands with the bit behind it in the first six words of the block.
const SHORT_BYTES_MAX: usize = 23;

const BLOCK_BYTES: usize = 64;
const BLOCK_WORDS: usize = 16;
/// Where in a block the length of the text is, in bits.
const LENGTH_AT: usize = 56;

/// What the digest is before the first block.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The first 32 bits of the fractions of the sine of 1 to 64, without their signs.
#[rustfmt::skip]
const SINES: [[u32; BLOCK_WORDS]; 4] = [
    [
        0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
        0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    ],
    [
        0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
        0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    ],
    [
        0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
        0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    ],
    [
        0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
        0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
    ],
];

/// The four numbers in a text's digest.
pub fn digest(text: &[u8]) -> [u32; 4] {
    match text.len() <= TEXT_BYTES_MAX {
        true => digest_of_block(&words(&block(text)).map(Wrapping)).map(|number| number.0),
        false => digest_of_long(text),
    }
}

/// The first number in a text's digest, and nothing else: a few steps are of no use to that.
pub fn first(text: &[u8]) -> u32 {
    match text.len() <= SHORT_BYTES_MAX {
        true => {
            // That most of the block is zero is then a part of the instructions: a seventh less to do.
            let [a, b, c, d, e, f] = words(&block(text));
            let length = 8 * text.len() as u32;
            digest_of_block(&[a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, length, 0].map(Wrapping))[0].0
        }
        false => digest(text)[0],
    }
}

/// The first number in the digest of each of four texts.
pub fn first_of_four(texts: [&[u8]; 4]) -> [u32; 4] {
    #[cfg(target_arch = "x86_64")]
    if texts.iter().all(|text| text.len() <= TEXT_BYTES_MAX) {
        let [a, b, c, d] = texts;
        let blocks = [&block(a), &block(b), &block(c), &block(d)];
        return digest_of_block(&Lanes::side_by_side(blocks))[0].numbers();
    }
    texts.map(first)
}

#[inline(never)]
fn digest_of_long(text: &[u8]) -> [u32; 4] {
    words(&md5::compute(text).0)
}

/// Numbers whose first byte is the least significant one.
#[inline]
fn words<const COUNT: usize>(bytes: &[u8]) -> [u32; COUNT] {
    std::array::from_fn(|at| {
        let at = 4 * at;
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    })
}

/// A text as MD5 reads it: a single bit behind it, and at the end its length in bits.
#[inline]
fn block(text: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    block[..text.len()].copy_from_slice(text);
    block[text.len()] = 0x80;
    block[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&(8 * text.len() as u16).to_le_bytes());
    block
}

/// What MD5 computes with: a number of 32 bits, or one of each of several texts. Sums wrap around.
trait Word:
    Copy + Add<Output = Self> + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    fn all(number: u32) -> Self;
    fn rotate_left(self, bits: u32) -> Self;
}

/// Whoever needs but one of the four numbers is spared the last steps to the others, for this is a part of its caller.
#[inline(always)]
fn digest_of_block<W: Word>(block: &[W; BLOCK_WORDS]) -> [W; 4] {
    // F, G, H and I of the RFC, or what comes to the same with less to wait for.
    let f = |x: W, y: W, z: W| z ^ (x & (y ^ z));
    let g = |x: W, y: W, z: W| (x & z) + (y & !z);
    let h = |x: W, y: W, z: W| x ^ (y ^ z);
    let i = |x: W, y: W, z: W| y ^ (x | !z);
    let start = START.map(W::all);
    let state = Round(block, (0, 1), [7, 12, 17, 22], &SINES[0], f).all(start);
    let state = Round(block, (1, 5), [5, 9, 14, 20], &SINES[1], g).all(state);
    let state = Round(block, (5, 3), [4, 11, 16, 23], &SINES[2], h).all(state);
    let state = Round(block, (0, 7), [6, 10, 15, 21], &SINES[3], i).all(state);
    std::array::from_fn(|at| start[at] + state[at])
}

/// Sixteen steps. The first takes this word of the block, each other one the word so many behind the one before. Written out, not
/// in a loop: which word, which sine and how far to turn are then a part of each step's instructions.
struct Round<'a, W, Mix>(
    &'a [W; BLOCK_WORDS],
    (usize, usize),
    [u32; 4],
    &'a [u32; BLOCK_WORDS],
    Mix,
);

impl<W: Word, Mix: Fn(W, W, W) -> W> Round<'_, W, Mix> {
    #[inline(always)]
    fn all(&self, state: [W; 4]) -> [W; 4] {
        self.four(self.four(self.four(self.four(state, 0), 4), 8), 12)
    }

    #[inline(always)]
    fn four(&self, state: [W; 4], step: usize) -> [W; 4] {
        self.one(self.one(self.one(self.one(state, step), step + 1), step + 2), step + 3)
    }

    #[inline(always)]
    fn one(&self, [a, b, c, d]: [W; 4], step: usize) -> [W; 4] {
        let Self(block, (first, stride), shifts, sines, mix) = self;
        let word = block[(first + stride * step) % BLOCK_WORDS];
        // What is known before `b`, the number that the step before has computed, is added up first.
        let sum = a + word + W::all(sines[step]) + mix(b, c, d);
        [d, b + sum.rotate_left(shifts[step % 4]), b, c]
    }
}

impl Word for Wrapping<u32> {
    #[inline(always)]
    fn all(number: u32) -> Self {
        Wrapping(number)
    }

    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        Wrapping(self.0.rotate_left(bits))
    }
}

#[cfg(target_arch = "x86_64")]
impl Word for Lanes {
    #[inline(always)]
    fn all(number: u32) -> Self {
        Lanes::all(number)
    }

    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        self.rotate_left(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn by_crate(text: &[u8]) -> [u32; 4] {
        digest_of_long(text)
    }

    /// The test suite of RFC 1321.
    #[test]
    fn digests_are_those_that_are_published() {
        for (text, digest_of_it) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
        ] {
            let found: String = digest(text.as_bytes())
                .iter()
                .map(|number| format!("{:08x}", number.swap_bytes()))
                .collect();
            assert_eq!(found, digest_of_it, "{text}");
        }
    }

    /// Around the length from which on the crate computes, too.
    #[test]
    fn texts_of_every_length_have_the_digest_that_the_crate_computes() {
        let text: Vec<u8> = (0..70).map(|at| (at * 37) as u8 | 0x80).collect();
        for length in 0..=text.len() {
            let text = &text[..length];
            let expected = by_crate(text);
            assert_eq!(digest(text), expected, "{length}");
            assert_eq!(first(text), expected[0], "{length}");
            assert_eq!(first_of_four([text; 4]), [expected[0]; 4], "{length}");
        }
    }

    proptest! {
        #[test]
        fn texts_have_the_digest_that_the_crate_computes(text in vec(any::<u8>(), 0..=TEXT_BYTES_MAX)) {
            prop_assert_eq!(digest(&text), by_crate(&text));
            prop_assert_eq!(first(&text), by_crate(&text)[0]);
        }

        /// One is longer than a block at times.
        #[test]
        fn four_texts_have_the_digests_that_each_has_alone(
            texts in [vec(any::<u8>(), 0..=55), vec(any::<u8>(), 0..=55), vec(any::<u8>(), 0..=58), vec(any::<u8>(), 0..=55)],
        ) {
            let expected = texts.each_ref().map(|text| by_crate(text)[0]);
            prop_assert_eq!(first_of_four(texts.each_ref().map(Vec::as_slice)), expected);
        }
    }
}
