//! What happened, for people to read, and a hash of it, to tell that a seed replays.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept where not all are shown.
const LINES_KEPT: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing but the hash: for the many seeds that pass.
    Silent,
    /// The last lines.
    Tail,
    /// All lines, printed as they come.
    Full,
}

pub struct Trace {
    verbosity: Verbosity,
    lines: VecDeque<String>,
    hash: u64,
}

impl Trace {
    pub fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            lines: VecDeque::new(),
            hash: 0xCBF2_9CE4_8422_2325,
        }
    }

    pub fn is_on(&self) -> bool {
        self.verbosity != Verbosity::Silent
    }

    pub fn line(&mut self, now_us: u64, who: fmt::Arguments<'_>, what: fmt::Arguments<'_>) {
        if self.verbosity == Verbosity::Silent {
            return;
        }
        let line = format!("{:>7}.{:03} ms  {who}  {what}", now_us / 1000, now_us % 1000);
        if self.verbosity == Verbosity::Full {
            println!("{line}");
        }
        self.lines.push_back(line);
        if self.lines.len() > LINES_KEPT {
            self.lines.pop_front();
        }
    }

    /// Counts bytes that were exchanged, and when, into the hash.
    pub fn mix(&mut self, now_us: u64, bytes: &[u8]) {
        let mut hash = self.hash ^ now_us;
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        self.hash = hash;
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn tail(&self) -> impl Iterator<Item = &String> {
        self.lines.iter()
    }
}

/// Bytes as one readable line, the middle of long ones left out.
pub struct Readable<'a>(pub &'a [u8]);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 150;
        match self.0.len() > SHOWN {
            true => write!(f, "{}... ({} bytes)", self.0[..SHOWN].escape_ascii(), self.0.len()),
            false => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}
