//! What a server says that is out of its mind: no answer to what it was asked, whatever else it may be.
//!
//! It does what it is asked all the same. So an answer that would fit, and be wrong, is not among these: nobody could tell.

use super::random::Random;

/// No item may be so large, by magent's settings where servers babble.
pub const OVERSIZED_BYTES: usize = 9_000;

/// Puts something else in the place of the answers to what came in.
pub fn garble(input: &[u8], out: &mut Vec<u8>, random: &mut Random) {
    let line = input.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
    let is_one_line = line.len() + 1 == input.len();
    let asks = matches!(words[0], b"get" | b"gets" | b"mg" | b"stats" | b"version");
    match (random.below(5), &words[..]) {
        (0 | 1, [b"get" | b"gets", key, ..]) if is_one_line => {
            out.clear();
            let unique = if words[0] == b"gets" { " 7" } else { "" };
            out.extend_from_slice(b"VALUE ");
            out.extend_from_slice(key);
            out.extend_from_slice(format!(" 0 {OVERSIZED_BYTES}{unique}\r\n").as_bytes());
            large_value(out);
            out.extend_from_slice(b"END\r\n");
        }
        (0..4, [b"mg", key, b"t", b"f", b"c", b"k", b"v"]) if is_one_line => {
            out.clear();
            out.extend_from_slice(format!("VA {OVERSIZED_BYTES} t-1 f0 c7 k").as_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(b"\r\n");
            large_value(out);
        }
        (2, [b"get" | b"gets", key, ..]) if is_one_line => {
            // A value that is longer than it says.
            out.clear();
            let unique = if words[0] == b"gets" { " 7" } else { "" };
            out.extend_from_slice(b"VALUE ");
            out.extend_from_slice(key);
            out.extend_from_slice(format!(" 0 1{unique}\r\nabc\r\nEND\r\n").as_bytes());
        }
        (2, [b"stats"]) => *out = b"ERROR too many open connections\r\n".into(),
        (3, [b"get" | b"gets" | b"mg" | b"version", ..]) => *out = b"STAT pid 1\r\nEND\r\n".into(),
        // An answer to another question.
        (2, _) if asks => *out = b"STORED\r\n".into(),
        (2 | 3, _) => *out = b"VALUE nobody-asked-for-it 0 1\r\nx\r\nEND\r\n".into(),
        // One that would be right, and something behind it.
        (4, _) => out.extend_from_slice(b"VALUE nobody-asked-for-it 0 1\r\nx\r\n"),
        _ => *out = b"\x00\x01\x02 what?\r\n".into(),
    }
}

fn large_value(out: &mut Vec<u8>) {
    out.resize(out.len() + OVERSIZED_BYTES, b'#');
    out.extend_from_slice(b"\r\n");
}
