//! The last lines of the log, in fixed memory.

use crate::proxy::net::Level;
use std::collections::VecDeque;

/// Lines that are kept.
const KEPT: usize = 20;
/// Bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 400;

/// One of them.
pub struct Event {
    /// As the log has it.
    pub time: String,
    pub level: Level,
    pub line: String,
}

/// What matters enough to be told without `-v`, oldest first.
#[derive(Default)]
pub struct Events(VecDeque<Event>);

impl Events {
    /// Whether a line of this level is kept.
    pub fn keep(level: Level) -> bool {
        level <= Level::Notice
    }

    /// Keeps a line, in place of the oldest.
    pub fn note(&mut self, time: String, level: Level, mut line: String) {
        if line.len() > LINE_BYTES_MAX {
            let end = (0..=LINE_BYTES_MAX).rev().find(|&end| line.is_char_boundary(end));
            line.truncate(end.unwrap_or(0));
            line.push('…');
            line.shrink_to_fit();
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Event { time, level, line });
    }

    /// The last first.
    pub fn latest_first(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_no_more_of_them() {
        let mut events = Events::default();
        for number in 0..50 {
            events.note(String::new(), Level::Notice, number.to_string());
        }
        events.note(String::new(), Level::Error, "中".repeat(1000));
        let lines: Vec<&str> = events.latest_first().map(|event| event.line.as_str()).collect();
        assert_eq!(lines.len(), KEPT);
        assert!(lines[0].len() <= LINE_BYTES_MAX + 3 && lines[0].ends_with("中…"));
        assert_eq!(lines[1], "49");
    }
}
