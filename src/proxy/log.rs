//! What is to be said in the log: noted where it happens, handed to the world at the end of the turn, in its order.
//!
//! So a room needs no world to say something. A line that is not shown is never put into words.

use crate::proxy::net::Level;
use std::fmt;

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub level: Level,
    pub line: String,
}

/// The lines of this turn, and which levels are shown.
#[derive(Debug)]
pub struct Log {
    shown: Level,
    said: Vec<Said>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            shown: Level::Notice,
            said: Vec::new(),
        }
    }
}

impl Log {
    /// Sets which levels are shown: 0 up to Notice, 1 Info too, 2 and more all.
    pub fn set_verbosity(&mut self, verbosity: u32) {
        self.shown = match verbosity {
            0 => Level::Notice,
            1 => Level::Info,
            _ => Level::Debug,
        };
    }

    /// Whether lines of a level are shown.
    pub fn shows(&self, level: Level) -> bool {
        level <= self.shown
    }

    /// Notes a line, if it is shown.
    pub fn say(&mut self, level: Level, line: fmt::Arguments<'_>) {
        if self.shows(level) {
            let line = line.to_string();
            self.said.push(Said { level, line });
        }
    }

    /// Whether nothing has been said.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// What has been said since this was last asked.
    #[must_use]
    pub fn take(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_kept_in_its_order_and_nothing_else() {
        let mut log = Log::default();
        let mut lines = |verbosity: u32| -> Vec<String> {
            log.set_verbosity(verbosity);
            for (level, word) in [
                (Level::Debug, "a request"),
                (Level::Error, "an error"),
                (Level::Info, "a client"),
                (Level::Notice, "a notice"),
            ] {
                log.say(level, format_args!("{word}"));
            }
            log.take().into_iter().map(|said| said.line).collect()
        };
        assert_eq!(lines(0), ["an error", "a notice"]);
        assert_eq!(lines(1), ["an error", "a client", "a notice"]);
        for verbosity in [2, 3, u32::MAX] {
            assert_eq!(lines(verbosity), ["a request", "an error", "a client", "a notice"]);
        }
    }
}
