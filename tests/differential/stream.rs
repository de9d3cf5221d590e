//! What a client sends: pieces, each of which is read by itself, and the line of text that stands for them.

use super::packets::{REQUEST, described, split_packets};
use super::random::Random;
use std::fmt;

/// The pieces in order. In them stand, for what a test cannot know or does not want to print:
/// `<cas KEY>` the last unique that this client was given for the key, `<old KEY>` the one before it, `<x*N>` N times x.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Stream(pub Vec<Vec<u8>>);

impl Stream {
    /// All bytes, however they are split.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// Whether it is of the binary protocol, as its first byte says.
    pub fn is_binary(&self) -> bool {
        self.0.iter().flatten().next() == Some(&REQUEST)
    }

    /// Whether a server may have refused something in it for want of room, which magent remembers.
    pub fn is_large(&self) -> bool {
        let is_stand_in = |window: &[u8]| window.starts_with(b"<x*") && window[3..].iter().all(u8::is_ascii_digit);
        self.bytes().windows(b"<x*1000000".len()).any(is_stand_in)
    }

    /// Its lines, or packets.
    pub fn units(&self) -> Vec<Vec<u8>> {
        match self.is_binary() {
            true => split_packets(&self.bytes()),
            false => split_lines(&self.bytes()),
        }
    }

    /// The same bytes, each line or packet a piece.
    pub fn by_units(&self) -> Self {
        Self(self.units())
    }

    /// A piece as it is sent; `unique` says the unique of a key, the last or the one before.
    pub fn expand(&self, piece: &[u8], digits: usize, unique: impl Fn(&[u8], bool) -> u64) -> Vec<u8> {
        match self.is_binary() {
            true => expand(piece, |key, old| unique(key, old).to_be_bytes()),
            false => expand(piece, |key, old| format!("{:0digits$}", unique(key, old))),
        }
    }

    /// The same bytes cut at random.
    pub fn split(bytes: &[u8], random: &mut Random) -> Self {
        let most = match random.below(6) {
            0 => 3,
            1 => 20,
            2 => 300,
            3 => return Self(vec![bytes.to_vec()]).by_units(),
            _ => return Self(vec![bytes.to_vec()]),
        };
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        // Beyond so many pieces a test would be slow, and show no more.
        while !rest.is_empty() && pieces.len() < 60 {
            let at = usize::try_from(random.between(1, most)).map_or(1, |at| at.min(rest.len()));
            let at = at.max(end_of_stand_in(bytes, bytes.len() - rest.len() + at) + rest.len() - bytes.len());
            pieces.push(rest[..at].to_vec());
            rest = &rest[at..];
        }
        if !rest.is_empty() {
            pieces.push(rest.to_vec());
        }
        Self(pieces)
    }

    /// Reads what `Display` writes: quoted pieces. Everything else in the line is a comment.
    pub fn read(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut chars = text.bytes();
        while chars.by_ref().any(|byte| byte == b'"') {
            let mut piece = Vec::new();
            while let Some(byte) = chars.next() {
                match byte {
                    b'"' => break,
                    b'\\' => piece.push(match chars.next() {
                        Some(b'r') => b'\r',
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b'x') => {
                            let mut digit = || chars.next().and_then(|digit| char::from(digit).to_digit(16));
                            let (high, low) = (digit().expect("a digit"), digit().expect("a digit"));
                            (high * 16 + low) as u8
                        }
                        other => other.expect("something behind a backslash"),
                    }),
                    other => piece.push(other),
                }
            }
            pieces.push(piece);
        }
        Self(pieces)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, piece) in self.0.iter().enumerate() {
            let space = if n > 0 { " " } else { "" };
            write!(f, "{space}\"{}\"", piece.escape_ascii())?;
        }
        if self.is_binary() {
            write!(f, " ({})", described(&self.bytes()))?;
        }
        Ok(())
    }
}

/// Lines with their ends, and what is behind the last of them.
pub fn split_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

/// Whether bytes begin as a stand-in does.
pub fn is_stand_in(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'<')
        && [&b"<cas "[..], b"<old ", b"<x*"]
            .iter()
            .any(|begin| bytes.starts_with(begin))
}

/// `at`, or the end of the stand-in that it would cut in two.
fn end_of_stand_in(bytes: &[u8], at: usize) -> usize {
    let start = bytes[..at].iter().rposition(|&byte| byte == b'<');
    let inside = start.filter(|&start| {
        let text = &bytes[start..];
        is_stand_in(text) && !bytes[start..at].contains(&b'>')
    });
    match inside.and_then(|start| {
        bytes[start..]
            .iter()
            .position(|&byte| byte == b'>')
            .map(|len| start + len + 1)
    }) {
        Some(end) => end.max(at),
        None => at,
    }
}

/// Whether a piece asks for something that the replies before it have to tell.
pub fn needs_replies(piece: &[u8]) -> bool {
    [&b"<cas "[..], b"<old "]
        .iter()
        .any(|begin| piece.windows(begin.len()).any(|window| window == *begin))
}

/// A piece with its stand-ins replaced; `unique` says what stands for the unique of a key, the last or the one before.
pub fn expand<U: AsRef<[u8]>>(piece: &[u8], unique: impl Fn(&[u8], bool) -> U) -> Vec<u8> {
    const LONGEST: usize = 2_000_000;
    let (mut out, mut rest) = (Vec::with_capacity(piece.len()), piece);
    while let Some(at) = rest.iter().position(|&byte| byte == b'<') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let end = rest.iter().position(|&byte| byte == b'>');
        let inside = end.map(|end| &rest[1..end]).filter(|inside| !inside.contains(&b'\n'));
        let replaced = inside.and_then(|inside| {
            if let Some(key) = inside.strip_prefix(b"cas ") {
                return Some(unique(key, false).as_ref().to_vec());
            }
            if let Some(key) = inside.strip_prefix(b"old ") {
                return Some(unique(key, true).as_ref().to_vec());
            }
            let count: usize = std::str::from_utf8(inside.strip_prefix(b"x*")?).ok()?.parse().ok()?;
            Some(vec![b'x'; count.min(LONGEST)])
        });
        match (replaced, end) {
            (Some(bytes), Some(end)) => {
                out.extend_from_slice(&bytes);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push(b'<');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}
