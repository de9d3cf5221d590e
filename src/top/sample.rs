//! What a magent has answered at one moment, and the rates between two of them.

use std::cell::Cell;

/// What it is asked, in one piece.
pub const REQUEST: &[u8] = b"stats\r\nstats servers\r\nstats settings\r\nstats latency\r\n";

/// Which of the replies; in the order asked.
#[derive(Clone, Copy, Debug)]
pub enum Topic {
    General,
    Servers,
    Settings,
    /// Nothing, of a magent that does not know it yet.
    Latency,
}
const TOPICS: usize = 4;

/// The replies to [`REQUEST`], of one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// On the clock of whoever asks.
    pub at_ms: u64,
    replies: [Reply; TOPICS],
}

/// The statistics of one reply.
#[derive(Clone, Debug, Default)]
struct Reply {
    /// Name and value, in the order in which they came.
    lines: Vec<(String, String)>,
    /// Behind what was asked last: what is asked next mostly stands there, and a farm may be large.
    next: Cell<usize>,
}

impl Reply {
    fn find(&self, name: &str) -> Option<&str> {
        let (before, behind) = self.lines.split_at(self.next.get());
        let (passed, (_, value)) = behind
            .iter()
            .chain(before)
            .enumerate()
            .find(|(_, (known, _))| known == name)?;
        self.next.set((self.next.get() + passed + 1) % self.lines.len());
        Some(value)
    }
}

impl Sample {
    /// Reads the replies, once all of them are there.
    pub fn read(bytes: &[u8], at_ms: u64) -> Option<Self> {
        let mut replies = [const { Vec::new() }; TOPICS];
        let mut current = 0;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if !line.ends_with(b"\n") {
                return None;
            }
            if let Some(statistic) = line.strip_prefix(b"STAT ") {
                replies.get_mut(current)?.push(statistic.trim_ascii_end());
                continue;
            }
            // An end, or an error, which is one as well.
            current += 1;
            if current == TOPICS {
                let replies = replies.map(reply);
                return Some(Self { at_ms, replies });
            }
        }
        None
    }

    /// Whether it is a magent that has answered, as far as can be seen.
    pub fn is_of_magent(&self) -> bool {
        self.text(Topic::General, "servers_up").is_some()
    }

    /// The value of a statistic.
    pub fn text(&self, topic: Topic, name: &str) -> Option<&str> {
        self.replies[topic as usize].find(name)
    }

    /// One that is a number.
    pub fn number(&self, topic: Topic, name: &str) -> Option<u64> {
        self.text(topic, name)?.parse().ok()
    }

    /// The sum of several counters.
    pub fn sum(&self, topic: Topic, names: &[&str]) -> Option<u64> {
        names.iter().map(|name| self.number(topic, name)).sum()
    }

    /// Each server, with its state.
    pub fn servers(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = &self.replies[Topic::Servers as usize].lines;
        lines
            .iter()
            .filter_map(|(name, value)| Some((name.strip_suffix(":state")?, value.as_str())))
    }
}

fn reply(statistics: Vec<&[u8]>) -> Reply {
    let mut reply = Reply::default();
    for statistic in statistics {
        let text = String::from_utf8_lossy(statistic);
        // What is drawn must not steer a terminal.
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let (name, value) = text.split_once(' ').unwrap_or((&text, ""));
        reply.lines.push((name.to_owned(), value.to_owned()));
    }
    reply
}

/// A sample and the one before it, if there is one of the same magent.
#[derive(Clone, Copy)]
pub struct Two<'a> {
    pub now: &'a Sample,
    pub before: Option<&'a Sample>,
}

impl Two<'_> {
    /// By how much the sum of some counters has grown. None if that cannot be told: somebody has reset them.
    pub fn growth(&self, topic: Topic, names: &[&str]) -> Option<u64> {
        let before = self.before?.sum(topic, names)?;
        self.now.sum(topic, names)?.checked_sub(before)
    }

    /// The same a second.
    pub fn rate(&self, topic: Topic, names: &[&str]) -> Option<u64> {
        let growth = self.growth(topic, names)?;
        let between_ms = self.now.at_ms.checked_sub(self.before?.at_ms)?;
        let halves = between_ms / 2;
        (growth * 1000 + halves).checked_div(between_ms)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A sample as of a magent that answers these lines.
    pub fn sample(at_ms: u64, replies: [&str; TOPICS]) -> Sample {
        let written = |reply: &&str| {
            let lines = reply.lines().map(|line| format!("STAT {}\r\n", line.trim()));
            lines.collect::<String>() + "END\r\n"
        };
        let bytes: String = replies.iter().map(written).collect();
        Sample::read(bytes.as_bytes(), at_ms).expect("all replies")
    }

    #[test]
    fn replies_are_a_sample_once_all_are_there() {
        let bytes = b"STAT servers_up 1\r\nEND\r\nSTAT unix:/a b\x1b:state up\r\nEND\r\nEND\r\nERROR\r\n";
        for end in 0..bytes.len() {
            assert!(Sample::read(&bytes[..end], 0).is_none(), "{end}");
        }
        let sample = Sample::read(bytes, 5).expect("all of them");
        assert!(sample.is_of_magent());
        assert_eq!(sample.at_ms, 5);
        assert_eq!(sample.number(Topic::General, "servers_up"), Some(1));
        assert_eq!(sample.text(Topic::Latency, "get:count"), None);
        assert!(
            !Sample::read(b"END\r\nERROR\r\nEND\r\nERROR\r\n", 0)
                .expect("all")
                .is_of_magent()
        );
    }

    #[test]
    fn rates_are_of_the_time_between_and_not_known_after_a_reset() {
        let [before, now] =
            [(1000, "a 10\nb 5"), (3000, "a 40\nb 4")].map(|(at_ms, general)| sample(at_ms, [general, "", "", ""]));
        let two = Two {
            now: &now,
            before: Some(&before),
        };
        assert_eq!(two.rate(Topic::General, &["a"]), Some(15));
        assert_eq!(two.rate(Topic::General, &["b"]), None);
        assert_eq!(two.growth(Topic::General, &["a", "b"]), Some(29));
        assert_eq!(two.growth(Topic::General, &["c"]), None);
        assert_eq!(
            Two {
                now: &now,
                before: None
            }
            .rate(Topic::General, &["a"]),
            None
        );
    }
}
