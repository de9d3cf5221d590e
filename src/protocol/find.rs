//! Looking for a byte, eight at a time. Lines are short, so a call into the C library costs more than it saves, and a loop over
//! single bytes costs most of what it is to parse a line.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The offset of the first `byte` in `bytes`.
#[inline]
pub fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    let pattern = ONES * u64::from(byte);
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    for (index, eight) in words.enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(eight);
        let found = zeros(u64::from_le_bytes(word) ^ pattern);
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&other| other == byte)?;
    Some(bytes.len() - rest.len() + at)
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
