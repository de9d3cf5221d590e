//! The words of a command line: what stands between spaces, any other bytes whatever they are.

use super::{KEY_BYTES_MAX, find_byte};

/// Words kept of a line; none but retrievals and stats have a use for more.
pub const WORDS_KEPT: usize = 7;

/// The keys of a retrieval line, in the order asked, duplicates included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a>(&'a [u8]);

impl<'a> Keys<'a> {
    /// The keys in `text`, which are separated by spaces.
    pub fn of(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// What has not been iterated over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|&byte| byte != b' ').unwrap_or(self.0.len());
        let text = &self.0[start..];
        let end = find_byte(text, b' ').unwrap_or(text.len());
        self.0 = &text[end..];
        (end > 0).then(|| &text[..end])
    }
}

/// The words of a line that is no retrieval.
pub struct Words<'a> {
    line: &'a [u8],
    pub list: [&'a [u8]; WORDS_KEPT],
    starts: [usize; WORDS_KEPT],
    pub count: usize,
    /// The last word is noreply.
    pub noreply: bool,
}

impl<'a> Words<'a> {
    pub fn of(line: &'a [u8]) -> Self {
        let mut words = Self {
            line,
            list: [&[]; WORDS_KEPT],
            starts: [line.len(); WORDS_KEPT],
            count: 0,
            noreply: false,
        };
        let mut at = 0;
        let mut last: &[u8] = &[];
        while at < line.len() {
            if line[at] == b' ' {
                at += 1;
                continue;
            }
            let start = at;
            while at < line.len() && line[at] != b' ' {
                at += 1;
            }
            last = &line[start..at];
            if words.count < WORDS_KEPT {
                words.list[words.count] = last;
                words.starts[words.count] = start;
            }
            words.count += 1;
        }
        words.noreply = last == b"noreply";
        words
    }

    /// The line from this word on.
    pub fn from(&self, word: usize) -> &'a [u8] {
        &self.line[self.starts[word]..]
    }

    /// The first `count` words as they stand, if the line begins with them and has one space between them.
    pub fn tight(&self, count: usize) -> Option<&'a [u8]> {
        let end = self.starts[count - 1] + self.list[count - 1].len();
        let letters: usize = self.list[..count].iter().map(|word| word.len()).sum();
        (end == letters + count - 1).then(|| &self.line[..end])
    }

    pub fn key_fits(&self) -> bool {
        self.list[1].len() <= KEY_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tight_where_one_space_is_between_them() {
        assert_eq!(Words::of(b"touch k 9 noreply").tight(3), Some(&b"touch k 9"[..]));
        assert_eq!(Words::of(b"touch k 9").tight(3), Some(&b"touch k 9"[..]));
        assert_eq!(Words::of(b"touch k  9").tight(3), None);
        assert_eq!(Words::of(b" touch k 9").tight(3), None);
        assert_eq!(Words::of(b"touch k 9  ").tight(3), Some(&b"touch k 9"[..]));
    }
}
