//! The words of a command line: what stands between spaces, any other bytes whatever they are.

use crate::protocol::KEY_BYTES_MAX;

/// Words kept of a line; none but retrievals and stats have a use for more.
pub const WORDS_KEPT: usize = 7;

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

    /// The line from this word on, empty if it has not so many.
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
