//! Base64, read and written as memcached's `base64.c` does.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING: u8 = b'=';

fn value(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        PADDING => 0,
        _ => return None,
    })
}

/// Decodes `text` into `room`; what is no letter is passed over. None where it is not whole, or empty, or longer than the room.
pub fn decode<'a>(text: &[u8], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let count = text.iter().filter(|&&letter| value(letter).is_some()).count();
    if count == 0 || count % 4 != 0 {
        return None;
    }
    let (mut len, mut block, mut in_block, mut padding) = (0, 0_u32, 0, 0);
    for &letter in text {
        let Some(value) = value(letter) else {
            continue;
        };
        padding += usize::from(letter == PADDING);
        block = block << 6 | u32::from(value);
        in_block += 1;
        if in_block == 4 {
            let [_, bytes @ ..] = block.to_be_bytes();
            room.get_mut(len..len + 3)?.copy_from_slice(&bytes);
            len += 3;
            (block, in_block) = (0, 0);
            if padding > 0 {
                break;
            }
        }
    }
    match padding {
        0..=2 if len > padding => Some(&room[..len - padding]),
        _ => None,
    }
}

/// `bytes` in base64, letter by letter.
pub fn encode(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.chunks(3).flat_map(|block| {
        let mut bytes = [0; 4];
        bytes[1..=block.len()].copy_from_slice(block);
        let bits = u32::from_be_bytes(bytes);
        let letter = |at: usize| LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
        [0, 1, 2, 3].map(|at| if at <= block.len() { letter(at) } else { PADDING })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for (key, text) in [
            (&b"f"[..], &b"Zg=="[..]),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"\xff\x00\xfe", b"/wD+"),
            (&[0xfb; 186], &[b'+', b'/', b'v', b'7'].repeat(62)),
        ] {
            let written: Vec<u8> = encode(key).collect();
            assert_eq!(written.escape_ascii().to_string(), text.escape_ascii().to_string());
            assert_eq!(decode(text, &mut [0; 300]), Some(key));
        }
    }

    #[test]
    fn what_is_no_letter_is_passed_over_and_what_is_not_whole_is_nothing() {
        let decoded = |text: &[u8]| decode(text, &mut [0; 6]).map(<[u8]>::to_vec);
        assert_eq!(decoded(b"Zm*9v"), Some(b"foo".to_vec()));
        assert_eq!(
            decoded(b"Zg==Zm9v"),
            Some(b"f".to_vec()),
            "nothing comes behind the end"
        );
        assert_eq!(decoded(b"Zm9vYmFyYmF6"), None, "it is too long");
        for text in [&b""[..], b"Z", b"Zm9", b"Zm9vY", b"====", b"Z===", b"***", b"Zm9v===="] {
            assert_eq!(decoded(text), None, "{}", text.escape_ascii());
        }
    }
}
