//! Keys in base64, as meta commands have them.

use magent::protocol::{KEY_BYTES_MAX, base64};

/// A key that a meta command has.
pub fn key_of(text: &[u8], is_base64: bool) -> Vec<u8> {
    let mut room = [0; KEY_BYTES_MAX];
    let decoded = Some(text)
        .filter(|_| is_base64)
        .and_then(|text| base64::decode(text, &mut room));
    decoded.unwrap_or(text).to_vec()
}

/// Whether a text command can name it.
pub fn is_word(key: &[u8]) -> bool {
    !key.iter().any(|byte| b" \r\n\0".contains(byte))
}

/// A key as a meta command names it, and the flag for that.
pub fn named(key: &[u8]) -> Vec<u8> {
    match is_word(key) {
        true => key.to_vec(),
        false => [&encoded(key)[..], b" b"].concat(),
    }
}

pub fn encoded(key: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for block in key.chunks(3) {
        let byte = |at: usize| block.get(at).map_or(0, |&byte| u32::from(byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            text.push(match at <= block.len() {
                true => LETTERS[(bits >> (18 - 6 * at) & 63) as usize],
                false => b'=',
            });
        }
    }
    text
}
