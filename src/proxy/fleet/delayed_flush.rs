//! A `flush_all` that is still to come; see `flush`.

use std::collections::BTreeSet;

/// Nothing is copied from so long before the time: memcached flushes up to two seconds early.
const EARLY_MS: u64 = 2500;
/// And until so long after it.
pub const LATE_MS: u64 = 1500;

/// What is known of a flush that is still to come, and of the one before.
#[derive(Default)]
pub struct DelayedFlush {
    /// On magent's clock.
    pub at_ms: Option<u64>,
    /// Servers that do not know of it.
    pub owed_by: BTreeSet<usize>,
    /// Until then nothing is copied after one that has come.
    pub settles_ms: u64,
}

impl DelayedFlush {
    pub fn is_pending(&self) -> bool {
        self.at_ms.is_some()
    }

    /// Until when nothing is to be copied now; None if copying may go on.
    pub fn pauses_until_ms(&self, now_ms: u64) -> Option<u64> {
        match self.at_ms {
            Some(at_ms) if at_ms <= now_ms + EARLY_MS => Some(at_ms + LATE_MS),
            _ => (now_ms < self.settles_ms).then_some(self.settles_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied_around_the_time_of_a_flush() {
        let mut flush = DelayedFlush::default();
        assert_eq!(flush.pauses_until_ms(10_000), None);
        flush.at_ms = Some(20_000);
        assert_eq!(flush.pauses_until_ms(10_000), None);
        assert_eq!(flush.pauses_until_ms(17_500), Some(21_500));
        flush = DelayedFlush {
            settles_ms: 21_500,
            ..DelayedFlush::default()
        };
        assert_eq!(flush.pauses_until_ms(21_499), Some(21_500));
        assert_eq!(flush.pauses_until_ms(21_500), None);
    }
}
