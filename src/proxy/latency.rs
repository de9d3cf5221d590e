//! How long clients wait and servers take, in microseconds: histograms that never grow.
//!
//! Buckets are log-linear: one for all below [`FIRST_US`], then [`PER_OCTAVE`] of equal width for each doubling, and one for all
//! that took longer than [`LAST_US`]. So a percentile is known to within a quarter of itself, and a histogram has 672 bytes: the six
//! kinds of requests and eleven servers together stay below 12 KB.

use crate::protocol::verb::Verb;

/// What is shorter is not told apart: nothing comes back from a socket sooner.
pub const FIRST_US: u64 = 1 << FIRST_BITS;
/// What is longer is not told apart: a little more than 8 s, beyond the longest timeout but one that somebody asks for.
pub const LAST_US: u64 = 1 << LAST_BITS;
const FIRST_BITS: u32 = 3;
const LAST_BITS: u32 = 23;
/// Buckets for each doubling: a power of two.
const PER_OCTAVE: usize = 1 << PER_OCTAVE_BITS;
const PER_OCTAVE_BITS: u32 = 2;
const BUCKETS: usize = (LAST_BITS - FIRST_BITS) as usize * PER_OCTAVE + 2;

/// How many of a kind took how long. Counts only ever grow, as Prometheus expects of a histogram.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum_us: 0,
            max_us: 0,
        }
    }
}

impl Histogram {
    /// One more, which took so many microseconds.
    #[inline]
    pub fn note(&mut self, us: u64) {
        self.counts[bucket_of(us)] += 1;
        self.sum_us += us;
        self.max_us = self.max_us.max(us);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// How long the longest took, in microseconds.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// How long they took on average, in microseconds; 0 of none.
    pub fn mean_us(&self) -> u64 {
        self.sum_us.checked_div(self.count()).unwrap_or(0)
    }

    /// What so many of a thousand (1 to 1000) did not take longer than, in microseconds, to within a quarter; 0 of none.
    pub fn per_mille_us(&self, per_mille: u64) -> u64 {
        let wanted = (self.count() * per_mille).div_ceil(1000);
        let mut before = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            if count > 0 && before + count >= wanted {
                let (from, to) = (start_of(bucket), end_of(bucket).unwrap_or(self.max_us));
                let within = (wanted - before) * (to - from) / count;
                return (from + within).min(self.max_us);
            }
            before += count;
        }
        0
    }

    /// How many took less than so many microseconds, a power of two from [`FIRST_US`] to [`LAST_US`].
    pub fn count_below(&self, us: u64) -> u64 {
        debug_assert!(us.is_power_of_two() && (FIRST_US..=LAST_US).contains(&us));
        self.counts[..bucket_of(us)].iter().sum()
    }
}

/// The bucket of what took so long.
#[inline]
fn bucket_of(us: u64) -> usize {
    if us < FIRST_US {
        return 0;
    }
    let bits = us.ilog2();
    let part = (us >> (bits - PER_OCTAVE_BITS)) as usize - PER_OCTAVE;
    ((bits - FIRST_BITS) as usize * PER_OCTAVE + part + 1).min(BUCKETS - 1)
}

/// The shortest time in a bucket.
fn start_of(bucket: usize) -> u64 {
    match bucket.checked_sub(1) {
        None => 0,
        Some(place) => {
            let part = (PER_OCTAVE + place % PER_OCTAVE) as u64;
            part << (FIRST_BITS - PER_OCTAVE_BITS + (place / PER_OCTAVE) as u32)
        }
    }
}

/// Where a bucket ends and the next begins; None of the last, which has no end.
fn end_of(bucket: usize) -> Option<u64> {
    (bucket + 1 < BUCKETS).then(|| start_of(bucket + 1))
}

/// The kinds of requests whose latencies are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of one key; those that set an exptime (`gat`) too.
    Get,
    /// Of several keys.
    MultiGet,
    /// What is stored whatever was there: set, touch.
    Set,
    /// What depends on what is there: add, replace, cas, append, prepend.
    Conditional,
    /// incr, decr.
    Counter,
    Delete,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Get,
        Kind::MultiGet,
        Kind::Set,
        Kind::Conditional,
        Kind::Counter,
        Kind::Delete,
    ];

    /// Of a request for so many keys; None of those that concern no key.
    #[inline]
    pub fn of(verb: Verb, keys: usize) -> Option<Kind> {
        Some(match verb {
            Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats if keys > 1 => Kind::MultiGet,
            Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats => Kind::Get,
            Verb::MetaGet | Verb::MetaGetAndTouch | Verb::MetaDebug => Kind::Get,
            Verb::Set | Verb::Touch => Kind::Set,
            Verb::Add | Verb::Replace | Verb::Cas | Verb::Append | Verb::Prepend | Verb::MetaMake => Kind::Conditional,
            Verb::Incr | Verb::Decr => Kind::Counter,
            Verb::Delete | Verb::MetaDelete | Verb::MetaInvalidate => Kind::Delete,
            _ => return None,
        })
    }

    /// Its name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::MultiGet => "multi_get",
            Kind::Set => "set",
            Kind::Conditional => "conditional",
            Kind::Counter => "counter",
            Kind::Delete => "delete",
        }
    }
}

/// What clients waited, by kind: from when a request had been read to when its reply was complete.
#[derive(Default)]
pub struct Latencies([Histogram; Kind::ALL.len()]);

impl Latencies {
    /// That of a kind.
    pub fn of(&self, kind: Kind) -> &Histogram {
        &self.0[kind as usize]
    }

    /// A request of a kind waited for so many microseconds.
    #[inline]
    pub fn note(&mut self, kind: Kind, us: u64) {
        self.0[kind as usize].note(us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn six_kinds_and_eleven_servers_take_no_more_than_12_kb() {
        let size = size_of::<Histogram>();
        assert!(size_of::<Latencies>() + 11 * size <= 12 << 10, "{size} bytes each");
    }

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(start_of(bucket)), bucket);
            if let Some(end) = end_of(bucket) {
                assert_eq!(bucket_of(end - 1), bucket);
            }
        }
        assert_eq!(start_of(BUCKETS - 1), LAST_US);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn of_none_there_is_nothing_to_tell() {
        let none = Histogram::default();
        assert_eq!(
            (none.count(), none.mean_us(), none.max_us(), none.per_mille_us(500)),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn every_request_for_a_key_has_a_kind() {
        assert_eq!(Kind::of(Verb::Get, 1), Some(Kind::Get));
        assert_eq!(Kind::of(Verb::Gats, 2), Some(Kind::MultiGet));
        assert_eq!(Kind::of(Verb::Append, 1), Some(Kind::Conditional));
        assert_eq!(Kind::of(Verb::Stats, 0), None);
    }

    proptest! {
        #[test]
        fn percentiles_are_right_to_a_quarter(mut times in prop::collection::vec(0..30_000_000_u64, 1..200), per_mille in 1..=1000_u64) {
            let mut histogram = Histogram::default();
            times.iter().for_each(|&us| histogram.note(us));
            times.sort_unstable();
            let rank = (times.len() as u64 * per_mille).div_ceil(1000);
            let exact = times[rank as usize - 1];
            let told = histogram.per_mille_us(per_mille);
            let same_bucket = start_of(bucket_of(exact))..=end_of(bucket_of(exact)).unwrap_or(u64::MAX);
            prop_assert!(same_bucket.contains(&told), "{told} for {exact}");
            prop_assert_eq!(histogram.count(), times.len() as u64);
            prop_assert_eq!(histogram.sum_us(), times.iter().sum::<u64>());
            prop_assert_eq!(histogram.max_us(), times[times.len() - 1]);
            for bits in FIRST_BITS..=LAST_BITS {
                let below = times.iter().filter(|&&us| us < 1 << bits).count() as u64;
                prop_assert_eq!(histogram.count_below(1 << bits), below);
            }
        }
    }
}
