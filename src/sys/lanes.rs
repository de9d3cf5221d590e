//! Four numbers of 32 bits that are computed with side by side, in one register of SSE2, which every x86-64 processor has.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_and_si128, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_or_si128, _mm_set1_epi32,
    _mm_sll_epi32, _mm_srl_epi32, _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32,
    _mm_unpacklo_epi64, _mm_xor_si128,
};
use std::ops::{Add, BitAnd, BitOr, BitXor, Not};

/// Four numbers; what is done is done to each of them.
#[derive(Clone, Copy)]
pub struct Lanes(__m128i);

// In all of this file:
// SAFETY: the instructions belong to SSE2, which is a part of x86-64. All but three compute with registers alone. Those three read or
// write 16 bytes wherever they begin: all of an array of four numbers, or one of the four quarters of an array of 64 bytes.
impl Lanes {
    #[inline]
    pub fn new(numbers: [u32; 4]) -> Self {
        Self(unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) })
    }

    /// The numbers in four blocks, whose first byte is the least significant one: the first ones, the second ones, and so on.
    #[inline]
    pub fn side_by_side(blocks: [&[u8; 64]; 4]) -> [Self; 16] {
        let mut lanes = [Self::all(0); 16];
        for (quarter, lanes) in lanes.chunks_exact_mut(4).enumerate() {
            unsafe {
                let [a, b, c, d] = blocks.map(|block| _mm_loadu_si128(block.as_ptr().cast::<__m128i>().add(quarter)));
                let (front, behind) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
                let (other_front, other_behind) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
                lanes[0] = Self(_mm_unpacklo_epi64(front, other_front));
                lanes[1] = Self(_mm_unpackhi_epi64(front, other_front));
                lanes[2] = Self(_mm_unpacklo_epi64(behind, other_behind));
                lanes[3] = Self(_mm_unpackhi_epi64(behind, other_behind));
            }
        }
        lanes
    }

    /// Four times the same number.
    #[inline]
    pub fn all(number: u32) -> Self {
        Self(unsafe { _mm_set1_epi32(number as i32) })
    }

    #[inline]
    pub fn numbers(self) -> [u32; 4] {
        let mut numbers = [0_u32; 4];
        unsafe { _mm_storeu_si128(numbers.as_mut_ptr().cast(), self.0) };
        numbers
    }

    /// By 1 to 31 bits.
    #[inline]
    pub fn rotate_left(self, bits: u32) -> Self {
        unsafe {
            let left = _mm_sll_epi32(self.0, _mm_cvtsi32_si128(bits as i32));
            let right = _mm_srl_epi32(self.0, _mm_cvtsi32_si128(32 - bits as i32));
            Self(_mm_or_si128(left, right))
        }
    }
}

/// Without looking for overflow.
impl Add for Lanes {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self(unsafe { _mm_add_epi32(self.0, other.0) })
    }
}

impl BitAnd for Lanes {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(unsafe { _mm_and_si128(self.0, other.0) })
    }
}

impl BitOr for Lanes {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(unsafe { _mm_or_si128(self.0, other.0) })
    }
}

impl BitXor for Lanes {
    type Output = Self;

    #[inline]
    fn bitxor(self, other: Self) -> Self {
        Self(unsafe { _mm_xor_si128(self.0, other.0) })
    }
}

impl Not for Lanes {
    type Output = Self;

    #[inline]
    fn not(self) -> Self {
        self ^ Self::all(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lanes_compute_what_each_number_gives_alone(a: [u32; 4], b: [u32; 4], bits in 1_u32..32) {
            let (left, right) = (Lanes::new(a), Lanes::new(b));
            let each = |of: fn(u32, u32) -> u32| -> [u32; 4] { std::array::from_fn(|at| of(a[at], b[at])) };
            prop_assert_eq!(left.numbers(), a);
            prop_assert_eq!(Lanes::all(a[0]).numbers(), [a[0]; 4]);
            prop_assert_eq!((left + right).numbers(), each(u32::wrapping_add));
            prop_assert_eq!((left & right).numbers(), each(|a, b| a & b));
            prop_assert_eq!((left | right).numbers(), each(|a, b| a | b));
            prop_assert_eq!((left ^ right).numbers(), each(|a, b| a ^ b));
            prop_assert_eq!((!left).numbers(), a.map(|a| !a));
            prop_assert_eq!(left.rotate_left(bits).numbers(), a.map(|a| a.rotate_left(bits)));
        }
    }
}
