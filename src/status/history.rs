//! How it went in the last ten minutes: a sample every five seconds, in fixed memory.

use crate::proxy::report::{Kind, Latencies, Report, Statistics};
use std::collections::VecDeque;

/// Between two samples.
pub const EVERY_MS: u64 = 5000;
/// So many are kept: ten minutes.
pub const SAMPLES: usize = 120;

/// Powers of two microseconds between which latencies are told apart.
const BITS: std::ops::RangeInclusive<u32> = 3..=23;
const BOUNDS: usize = 21;

/// What happened between two times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Keys that were asked for or changed, by the second.
    pub requests_per_s: u64,
    pub hits: u64,
    pub misses: u64,
    /// What half of the requests did not take longer than, and 99 of a hundred, in microseconds.
    pub p50_us: u64,
    pub p99_us: u64,
}

/// What was counted up to a time.
#[derive(Clone, Copy)]
struct Counted {
    at_ms: u64,
    requests: u64,
    hits: u64,
    misses: u64,
    /// How many took less than each power of two, and all of them.
    below: [u64; BOUNDS],
    all: u64,
}

/// The samples.
#[derive(Default)]
pub struct History {
    samples: VecDeque<Sample>,
    last: Option<Counted>,
}

impl History {
    /// When the next sample is due, on the clock of [`sample`](Self::sample).
    pub fn due_ms(&self) -> u64 {
        self.last.map_or(0, |last| last.at_ms + EVERY_MS)
    }

    /// Takes a sample.
    pub fn sample(&mut self, now_ms: u64, report: &Report<'_>) {
        let now = Counted::of(now_ms, report.statistics, report.latencies);
        if let Some(last) = self.last.replace(now) {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(now.since(&last));
        }
    }

    /// Forgets all of it, where nobody looks any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The samples, oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> + DoubleEndedIterator {
        self.samples.iter()
    }

    /// The last sample, if there is one.
    pub fn latest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    /// Of a thousand keys that were asked for, how many were found; None if none were asked for.
    pub fn hits_per_mille(&self) -> Option<u64> {
        let (hits, misses) = (self.samples.iter()).fold((0, 0), |(hits, misses), sample| {
            (hits + sample.hits, misses + sample.misses)
        });
        (hits * 1000).checked_div(hits + misses)
    }
}

impl Counted {
    fn of(at_ms: u64, s: &Statistics, latencies: &Latencies) -> Self {
        let (mut below, mut all) = ([0; BOUNDS], 0);
        for kind in Kind::ALL {
            let histogram = latencies.of(kind);
            all += histogram.count();
            for (count, bits) in below.iter_mut().zip(BITS) {
                *count += histogram.count_below(1 << bits);
            }
        }
        let counted = s.delete_hits + s.delete_misses + s.incr_hits + s.incr_misses + s.decr_hits + s.decr_misses;
        Self {
            at_ms,
            requests: s.cmd_get + s.cmd_set + s.cmd_touch + counted,
            hits: s.get_hits,
            misses: s.get_misses,
            below,
            all,
        }
    }

    fn since(&self, last: &Self) -> Sample {
        // After `stats reset` it is counted from 0 again.
        let more = |now: u64, last: u64| now.checked_sub(last).unwrap_or(now);
        let mut below = [0; BOUNDS];
        for (count, (&now, &last)) in below.iter_mut().zip(self.below.iter().zip(&last.below)) {
            *count = more(now, last);
        }
        let all = more(self.all, last.all);
        let ms = (self.at_ms - last.at_ms).max(1);
        Sample {
            requests_per_s: more(self.requests, last.requests) * 1000 / ms,
            hits: more(self.hits, last.hits),
            misses: more(self.misses, last.misses),
            p50_us: per_cent(&below, all, 50),
            p99_us: per_cent(&below, all, 99),
        }
    }
}

/// What so many of a hundred did not take longer than, evenly spread between powers of two; 0 of none.
fn per_cent(below: &[u64; BOUNDS], all: u64, per_cent: u64) -> u64 {
    let wanted = (all * per_cent).div_ceil(100);
    if wanted == 0 {
        return 0;
    }
    let (mut from_us, mut before) = (0, 0);
    for (&count, bits) in below.iter().zip(BITS) {
        if count >= wanted && count > before {
            return from_us + ((1 << bits) - from_us) * (wanted - before) / (count - before);
        }
        (from_us, before) = (1 << bits, count.max(before));
    }
    from_us
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(at_ms: u64, statistics: &Statistics, latencies: &Latencies) -> Counted {
        Counted::of(at_ms, statistics, latencies)
    }

    #[test]
    fn a_sample_is_what_came_since_the_last() {
        let (mut statistics, mut latencies) = (Statistics::default(), Latencies::default());
        statistics.cmd_get = 1000;
        statistics.get_hits = 600;
        statistics.get_misses = 400;
        latencies.note(Kind::Get, 5_000_000);
        let first = counted(0, &statistics, &latencies);
        statistics.cmd_get += 50_000;
        statistics.get_hits += 45_000;
        statistics.get_misses += 5000;
        (0..99).for_each(|_| latencies.note(Kind::Get, 200));
        latencies.note(Kind::Set, 3000);
        let sample = counted(5000, &statistics, &latencies).since(&first);
        assert_eq!(
            (sample.requests_per_s, sample.hits, sample.misses),
            (10_000, 45_000, 5000)
        );
        assert!(
            (128..=256).contains(&sample.p50_us) && (128..=256).contains(&sample.p99_us),
            "{sample:?}"
        );
        latencies.note(Kind::Delete, 3000);
        let sample = counted(10_000, &statistics, &latencies).since(&counted(5000, &statistics, &Latencies::default()));
        assert!((2048..=4096).contains(&sample.p99_us), "{sample:?}");
    }

    #[test]
    fn after_stats_reset_it_is_counted_from_0() {
        let (mut before, mut after) = (Statistics::default(), Statistics::default());
        (before.cmd_set, after.cmd_set) = (1000, 50);
        let none = Latencies::default();
        let sample = counted(5000, &after, &none).since(&counted(0, &before, &none));
        assert_eq!(sample.requests_per_s, 10);
        assert_eq!((sample.p50_us, sample.p99_us), (0, 0));
    }
}
