//! Looking for a byte, sixteen at a time and then eight. Lines are short, so a call into the C library costs more than it saves,
//! and a loop over single bytes costs most of what it is to parse a line.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The offset of the first `byte` in `bytes`.
#[inline]
pub fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    let pattern = ONES * u64::from(byte);
    find(bytes, |other| other == byte, |word| zeros(word ^ pattern))
}

/// The offset of the first blank or control character: of all up to the blank. What ends a word and what ends a line are among them.
#[inline]
pub fn find_blank_or_control(bytes: &[u8]) -> Option<usize> {
    let above = ONES * u64::from(b' ' + 1);
    let up_to_blank = |word: u64| word.wrapping_sub(above) & !word & HIGH_BITS;
    find(bytes, |other| other <= b' ', up_to_blank)
}

/// The offset of the first byte that `is` one, where `ones` has the highest bit of the lowest such byte of a word set and no bit below.
///
/// Sixteen bytes without one are passed over in one step: to ask all of them, whatever the others say, is what the compiler has a few vector
/// instructions for. It has none for which of them it was, so that is looked for in words of eight.
#[inline(always)]
fn find(bytes: &[u8], is: impl Fn(u8) -> bool, ones: impl Fn(u64) -> u64) -> Option<usize> {
    let offset = |found: u64| found.trailing_zeros() as usize / 8;
    let mut rest = bytes;
    while let Some((sixteen, behind)) = rest.split_first_chunk::<16>() {
        if sixteen.iter().fold(false, |any, &byte| any | is(byte)) {
            let words = u128::from_le_bytes(*sixteen);
            let in_word = match ones(words as u64) {
                0 => 8 + offset(ones((words >> 64) as u64)),
                found => offset(found),
            };
            return Some(bytes.len() - rest.len() + in_word);
        }
        rest = behind;
    }
    let in_word = |word: &[u8; 8]| match ones(u64::from_le_bytes(*word)) {
        0 => None,
        found => Some(offset(found)),
    };
    if let Some(at) = rest.first_chunk().and_then(in_word) {
        return Some(bytes.len() - rest.len() + at);
    }
    // The last ones together with some before that are none.
    match bytes.last_chunk() {
        Some(eight) => in_word(eight).map(|at| bytes.len() - eight.len() + at),
        None => rest.iter().position(|&byte| is(byte)),
    }
}

/// The offset of the first newline.
#[inline]
pub fn find_newline(bytes: &[u8]) -> Option<usize> {
    // Beyond this the C library's search is the faster one. `skip_until` is the standard library's door to it; reading from a
    // slice cannot fail.
    const NEAR: usize = 128;
    let (near, far) = bytes.split_at(bytes.len().min(NEAR));
    if let Some(at) = find_byte(near, b'\n') {
        return Some(at);
    }
    if far.is_empty() {
        return None;
    }
    let mut rest = far;
    let skipped = std::io::BufRead::skip_until(&mut rest, b'\n').unwrap_or(0);
    (skipped > 0 && far[skipped - 1] == b'\n').then(|| near.len() + skipped - 1)
}

/// The highest bit of the lowest zero byte of a word; bits above it may be set where there is none. 0 if no byte is zero.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_where_it_first_is() {
        for other in [b'x', b'\n' ^ 1, b'\n' ^ 0x80, 0, 0xff] {
            for len in [0, 1, 7, 8, 9, 16, 47, 127, 128, 129, 500] {
                assert_eq!(find_newline(&vec![other; len]), None);
                for at in 0..len {
                    let mut bytes = vec![other; len];
                    bytes[at] = b'\n';
                    // What stands behind the first one changes nothing.
                    bytes[at + 1..].fill(b'\n');
                    assert_eq!(find_newline(&bytes), Some(at));
                    assert_eq!(find_byte(&bytes, b'\n'), Some(at));
                    let up_to_blank = bytes.iter().position(|&byte| byte <= b' ');
                    assert_eq!(find_blank_or_control(&bytes), up_to_blank);
                }
            }
        }
    }

    #[test]
    fn every_byte_is_found_among_all_others() {
        let all: Vec<u8> = (0..=255).collect();
        for byte in 0..=255 {
            assert_eq!(find_byte(&all, byte), Some(usize::from(byte)));
            let others: Vec<u8> = all.iter().copied().filter(|&other| other != byte).collect();
            assert_eq!(find_byte(&others, byte), None);
        }
    }
}
