//! How long a server takes to answer, as far as it matters for when to lose patience with it.

/// Time is told apart by powers of two: bucket 0 is less than a millisecond, bucket n less than 2^n.
const BUCKETS: usize = 16;
/// After so many answers the percentile is found anew, and those before count half.
const ANSWERS: u32 = 128;
/// What is assumed of a server that has not answered as often yet.
const UNKNOWN_MS: u64 = 8;

/// Of the answers that came before, of so many one may have taken longer than what is called the longest.
const ANSWERS_PER_LONGEST: u32 = 1000;
/// Where there are more of them they count half.
const ANSWERS_BEFORE: u32 = 8 * ANSWERS_PER_LONGEST;

/// The times of the last answers: one of each batch that came.
pub struct AnswerTimes {
    counts: [u32; BUCKETS],
    total: u32,
    percentile_99_ms: u64,
    /// The same of those that came before, some thousands.
    before: [u32; BUCKETS],
    percentile_999_ms: u64,
}

impl Default for AnswerTimes {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            percentile_99_ms: UNKNOWN_MS,
            before: [0; BUCKETS],
            percentile_999_ms: UNKNOWN_MS,
        }
    }
}

/// What all but so many answers took no longer than, in milliseconds, at least 1.
fn all_but(mut left: u32, counts: &[u32; BUCKETS]) -> u64 {
    let bucket = (0..BUCKETS).rev().find(|&bucket| {
        let count = counts[bucket];
        let has_it = count > left;
        left = left.saturating_sub(count);
        has_it
    });
    1 << bucket.unwrap_or(0)
}

impl AnswerTimes {
    /// An answer took so many whole milliseconds.
    #[inline]
    pub fn note(&mut self, ms: u64) {
        let bucket = (u64::BITS - ms.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
        if self.total >= 2 * ANSWERS {
            self.find_percentile();
        }
    }

    /// What 99 of 100 answers did not take longer than, in milliseconds, at least 1; up to twice as much as it is.
    pub fn percentile_99_ms(&self) -> u64 {
        self.percentile_99_ms
    }

    /// What 999 of 1,000 answers did not take longer than, of some thousands; the same of that.
    pub fn percentile_999_ms(&self) -> u64 {
        self.percentile_999_ms
    }

    #[cold]
    fn find_percentile(&mut self) {
        self.percentile_99_ms = all_but(self.total / 100, &self.counts);
        for (before, count) in self.before.iter_mut().zip(&mut self.counts) {
            *before += count.div_ceil(2);
            *count /= 2;
        }
        self.total = self.counts.iter().sum();
        let before: u32 = self.before.iter().sum();
        self.percentile_999_ms = all_but(before / ANSWERS_PER_LONGEST, &self.before);
        if before > ANSWERS_BEFORE {
            self.before.iter_mut().for_each(|count| *count /= 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_in_a_hundred_may_be_late_and_what_was_is_forgotten() {
        let mut times = AnswerTimes::default();
        assert_eq!(times.percentile_99_ms(), UNKNOWN_MS);
        for count in 0..1000 {
            times.note(if count % 100 == 0 { 300 } else { 0 });
        }
        assert_eq!(times.percentile_99_ms(), 1);
        for count in 0..1000 {
            times.note(if count % 10 == 0 { 300 } else { 0 });
        }
        assert_eq!(times.percentile_99_ms(), 512);
        (0..3000).for_each(|_| times.note(1));
        assert_eq!(times.percentile_99_ms(), 2);
    }

    #[test]
    fn one_answer_in_a_thousand_may_be_much_later() {
        let mut times = AnswerTimes::default();
        assert_eq!(times.percentile_999_ms(), UNKNOWN_MS);
        for count in 0..20_000 {
            times.note(if count % 2000 == 0 { 300 } else { 3 });
        }
        assert_eq!(times.percentile_999_ms(), 4);
        for count in 0..2000 {
            times.note(if count % 100 == 0 { 30 } else { 3 });
        }
        assert_eq!(times.percentile_999_ms(), 32);
    }
}
