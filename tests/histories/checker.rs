//! The history checker: what clients wrote and read, and whether that can have happened on one memcached that never fails.
//!
//! A key has one writer, which does one thing after the other; so a key's writes are its versions, 1, 2, 3 and so on, and
//! version 0 is that it is not there. A read may see any version between two bounds:
//!
//! ```text
//!   time ------------------------------------------------------------------------------->
//!   writes     |== 1 ==|      |== 2 ==|       |===== 3 =====|    |== 4 ==|
//!   read                                 |========|
//!                                 ^ the last that was acknowledged before it began: the oldest that it may see
//!                                               ^ the last that had begun before it ended: the newest
//! ```
//! And no reader sees an older version than it has seen before.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// What a key holds, if anything.
pub type Item = Option<Content>;

/// Flags and a value, of which the beginning and a hash are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    flags: u32,
    len: usize,
    hash: u64,
    beginning: String,
}

impl Content {
    pub fn of(flags: u32, value: &[u8]) -> Self {
        const SHOWN: usize = 24;
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self {
            flags,
            len: value.len(),
            hash: hasher.finish(),
            beginning: value[..value.len().min(SHOWN)].escape_ascii().to_string(),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ({} bytes, flags {})", self.beginning, self.len, self.flags)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged.
    Done,
    /// It was answered that it was not done.
    Refused,
    /// An error or a wrong answer: it may take effect at any time until the key's next write is acknowledged.
    Unknown,
}

/// Times are counted from the start of the history.
#[derive(Debug)]
pub struct Write {
    pub begin: Duration,
    pub end: Duration,
    /// What the key holds after it.
    pub leaves: Item,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub struct Read {
    pub reader: Arc<str>,
    pub key: Arc<str>,
    pub begin: Duration,
    pub end: Duration,
    pub seen: Item,
}

/// What went wrong, and when.
pub type Faults = Vec<(Duration, String)>;

/// All that clients did and got.
#[derive(Debug, Default)]
pub struct History {
    /// By key, in the order of its writer.
    pub writes: BTreeMap<Arc<str>, Vec<Write>>,
    /// Those of one reader in its order.
    pub reads: Vec<Read>,
    /// Error replies and closed connections.
    pub errors: Faults,
    /// Answers to writes that no memcached would have given.
    pub wrong: Faults,
    /// The longest time that an answer took, and to what.
    pub longest: (Duration, String),
}

/// What a history is to be blamed for, all in the order of time.
#[derive(Debug)]
pub struct Verdict {
    pub errors: Faults,
    /// Reads of what had been overwritten or deleted, or that was older than what the same reader had seen.
    pub stale: Faults,
    /// Reads that found nothing of an acknowledged write that nobody had deleted.
    pub lost: Faults,
    /// Wrong answers to writes, and reads of what nobody wrote or what was refused.
    pub wrong: Faults,
    pub longest: (Duration, String),
    pub reads: usize,
    pub writes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Stale,
    Lost,
    NeverWritten,
}

impl History {
    /// Puts what one client did to what others did.
    pub fn merge(&mut self, other: History) {
        for (key, writes) in other.writes {
            let others = self.writes.insert(key, writes);
            assert!(others.is_none(), "a key has one writer");
        }
        self.reads.extend(other.reads);
        self.errors.extend(other.errors);
        self.wrong.extend(other.wrong);
        self.waited(other.longest.0, || other.longest.1);
    }

    pub fn waited(&mut self, time: Duration, what: impl FnOnce() -> String) {
        if time > self.longest.0 {
            self.longest = (time, what());
        }
    }

    pub fn check(self) -> Verdict {
        let (mut stale, mut lost, mut wrong) = (Faults::new(), Faults::new(), self.wrong);
        let mut floors: HashMap<(&str, &str), usize> = HashMap::new();
        for read in &self.reads {
            let writes = self.writes.get(&read.key).map_or(&[][..], Vec::as_slice);
            let floor = floors.entry((&read.reader, &read.key)).or_default();
            match version(writes, read, *floor) {
                // What was never acknowledged may vanish again.
                Ok(version) if version > 0 && writes[version - 1].outcome == Outcome::Unknown => {}
                Ok(version) => *floor = version,
                Err(fault) => {
                    let blame = (read.end, format!("{read:?}: {}", allowed(writes, read, *floor)));
                    match fault {
                        Fault::Stale => stale.push(blame),
                        Fault::Lost => lost.push(blame),
                        Fault::NeverWritten => wrong.push(blame),
                    }
                }
            }
        }
        let in_order = |mut faults: Faults| {
            faults.sort();
            faults
        };
        Verdict {
            errors: in_order(self.errors),
            stale: in_order(stale),
            lost: in_order(lost),
            wrong: in_order(wrong),
            longest: self.longest,
            reads: self.reads.len(),
            writes: self.writes.values().map(Vec::len).sum(),
        }
    }
}

/// The oldest and the newest version that a read may see.
fn bounds(writes: &[Write], read: &Read) -> (usize, usize) {
    let ended = writes.partition_point(|write| write.end <= read.begin);
    let done = |write: &Write| write.outcome == Outcome::Done;
    let oldest = writes[..ended].iter().rposition(done).map_or(0, |at| at + 1);
    let newest = writes.partition_point(|write| write.begin < read.end);
    (oldest, newest)
}

/// The version that a read saw, the oldest if there are several, for a reader that has seen version `floor`.
fn version(writes: &[Write], read: &Read, floor: usize) -> Result<usize, Fault> {
    let was_seen = |&version: &usize| match version {
        0 => read.seen.is_none(),
        version => {
            let write = &writes[version - 1];
            write.outcome != Outcome::Refused && write.leaves == read.seen
        }
    };
    let (oldest, newest) = bounds(writes, read);
    if let Some(version) = (oldest.max(floor)..=newest).find(was_seen) {
        return Ok(version);
    }
    Err(match read.seen {
        None if (oldest..=newest).any(|version| was_seen(&version)) => Fault::Stale,
        None => Fault::Lost,
        Some(_) if (1..oldest.max(floor)).any(|version| was_seen(&version)) => Fault::Stale,
        Some(_) => Fault::NeverWritten,
    })
}

/// What a read should have seen, in words.
fn allowed(writes: &[Write], read: &Read, floor: usize) -> String {
    let (oldest, newest) = bounds(writes, read);
    let mut text = format!("versions {oldest} to {newest} could be read, and version {floor} had been;");
    for (at, write) in writes.iter().enumerate().take(newest).skip(oldest.saturating_sub(1)) {
        text += &format!("\n      version {}: {write:?}", at + 1);
    }
    text
}

impl Verdict {
    /// Fails unless nothing went wrong and nobody waited longer than `limit`; `context` is shown then.
    #[track_caller]
    pub fn assert_flawless(&self, limit: Duration, context: impl fmt::Display) {
        let counts = [&self.errors, &self.stale, &self.lost, &self.wrong].map(Vec::len);
        let flawless = counts == [0; 4] && self.longest.0 <= limit;
        assert!(flawless, "{self}\n  at most {limit:?} may be waited\n{context}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        write!(f, "{} reads, {} writes", self.reads, self.writes)?;
        for (what, faults) in [
            ("errors", &self.errors),
            ("stale reads", &self.stale),
            ("lost writes", &self.lost),
            ("wrong answers", &self.wrong),
        ] {
            write!(f, "\n  {what}: {}", faults.len())?;
            for (at, fault) in faults.iter().take(SHOWN) {
                write!(f, "\n    {at:?}: {fault}")?;
            }
        }
        write!(f, "\n  longest wait: {:?} ({})", self.longest.0, self.longest.1)
    }
}

/// The checker itself, on histories made by hand; times are in milliseconds.
mod tests {
    use super::*;
    use std::ops::Range;

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn item(value: &str) -> Item {
        (!value.is_empty()).then(|| Content::of(0, value.as_bytes()))
    }

    /// Writes of one key: when, what it holds then ("" for nothing), and the outcome.
    fn written(writes: &[(Range<u64>, &str, Outcome)]) -> History {
        let writes = writes.iter().map(|(time, leaves, outcome)| Write {
            begin: ms(time.start),
            end: ms(time.end),
            leaves: item(leaves),
            outcome: *outcome,
        });
        let mut history = History::default();
        history.writes.insert("k".into(), writes.collect());
        history
    }

    /// How many of these reads are stale, lost and wrong.
    fn faults(mut history: History, reads: &[(&str, Range<u64>, &str)]) -> [usize; 3] {
        history.reads.extend(reads.iter().map(|(reader, time, seen)| Read {
            reader: (*reader).into(),
            key: "k".into(),
            begin: ms(time.start),
            end: ms(time.end),
            seen: item(seen),
        }));
        let verdict = history.check();
        [verdict.stale.len(), verdict.lost.len(), verdict.wrong.len()]
    }

    const NONE: [usize; 3] = [0, 0, 0];
    const STALE: [usize; 3] = [1, 0, 0];
    const LOST: [usize; 3] = [0, 1, 0];
    const WRONG: [usize; 3] = [0, 0, 1];

    fn two_writes() -> History {
        written(&[(10..20, "1", Outcome::Done), (30..40, "2", Outcome::Done)])
    }

    #[test]
    fn what_was_written_last_or_is_being_written_may_be_read() {
        for (time, seen) in [
            (1..5, ""),
            (11..12, ""),
            (11..12, "1"),
            (21..22, "1"),
            (31..32, "1"),
            (31..32, "2"),
            (5..35, ""),
            (5..35, "1"),
            (5..35, "2"),
            (41..42, "2"),
        ] {
            assert_eq!(
                faults(two_writes(), &[("r", time.clone(), seen)]),
                NONE,
                "{time:?} {seen}"
            );
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        assert_eq!(faults(two_writes(), &[("r", 41..42, "1")]), STALE);
        let deleted = || written(&[(10..20, "1", Outcome::Done), (30..40, "", Outcome::Done)]);
        assert_eq!(faults(deleted(), &[("r", 41..42, "1")]), STALE);
        assert_eq!(faults(deleted(), &[("r", 41..42, "")]), NONE);
        assert_eq!(faults(deleted(), &[("r", 39..42, "1")]), NONE);
    }

    #[test]
    fn a_lost_write_is_found() {
        assert_eq!(faults(two_writes(), &[("r", 21..22, "")]), LOST);
        assert_eq!(faults(two_writes(), &[("r", 31..32, "")]), LOST);
        let again = || {
            written(&[
                (10..20, "1", Outcome::Done),
                (30..40, "", Outcome::Done),
                (50..60, "3", Outcome::Done),
            ])
        };
        assert_eq!(faults(again(), &[("r", 21..29, "")]), LOST);
        assert_eq!(faults(again(), &[("r", 21..31, "")]), NONE);
        assert_eq!(faults(again(), &[("r", 41..42, "")]), NONE);
        assert_eq!(faults(again(), &[("r", 55..56, "")]), NONE);
        assert_eq!(faults(again(), &[("r", 61..62, "")]), LOST);
    }

    #[test]
    fn a_reader_never_goes_back() {
        let during = |first: &str, second: &str, other: &str| {
            faults(two_writes(), &[("r", 31..32, first), (other, 33..34, second)])
        };
        assert_eq!(during("1", "2", "r"), NONE);
        assert_eq!(during("2", "1", "r"), STALE);
        assert_eq!(during("2", "1", "another"), NONE);
        let deleted = written(&[
            (10..20, "1", Outcome::Done),
            (30..40, "", Outcome::Done),
            (41..60, "2", Outcome::Done),
        ]);
        assert_eq!(faults(deleted, &[("r", 45..46, "2"), ("r", 47..48, "")]), STALE);
    }

    #[test]
    fn what_nobody_wrote_or_not_yet_is_found() {
        assert_eq!(faults(two_writes(), &[("r", 41..42, "3")]), WRONG);
        assert_eq!(faults(two_writes(), &[("r", 21..22, "2")]), WRONG);
        let mut flags = two_writes();
        flags.writes.get_mut("k").unwrap()[1].leaves = Some(Content::of(7, b"2"));
        assert_eq!(faults(flags, &[("r", 41..42, "2")]), WRONG);
    }

    #[test]
    fn what_was_refused_is_never_read() {
        let refused = || written(&[(10..20, "1", Outcome::Done), (30..40, "2", Outcome::Refused)]);
        assert_eq!(faults(refused(), &[("r", 31..32, "1"), ("r", 41..42, "1")]), NONE);
        assert_eq!(faults(refused(), &[("r", 31..32, "2")]), WRONG);
        assert_eq!(faults(refused(), &[("r", 41..42, "2")]), WRONG);
    }

    #[test]
    fn a_write_that_was_cut_off_may_be_read_or_not_until_the_next_is_acknowledged() {
        let cut = || {
            written(&[
                (10..20, "1", Outcome::Done),
                (30..40, "2", Outcome::Unknown),
                (60..70, "3", Outcome::Done),
            ])
        };
        let both_ways = [
            ("r", 41..42, "1"),
            ("r", 43..44, "2"),
            ("r", 45..46, "1"),
            ("r", 61..62, "3"),
        ];
        assert_eq!(faults(cut(), &both_ways), NONE);
        assert_eq!(faults(cut(), &[("r", 41..42, "")]), LOST);
        assert_eq!(faults(cut(), &[("r", 71..72, "2")]), STALE);
    }

    #[test]
    fn the_longest_wait_of_all_clients_counts() {
        let mut history = two_writes();
        for (time, what) in [(3, "a"), (5, "b"), (4, "c")] {
            let longest = (ms(time), what.to_owned());
            history.merge(History {
                longest,
                ..History::default()
            });
        }
        let verdict = history.check();
        assert_eq!(verdict.longest, (ms(5), "b".to_owned()));
        verdict.assert_flawless(ms(5), "");
        assert!(std::panic::catch_unwind(|| verdict.assert_flawless(ms(4), "")).is_err());
    }
}
