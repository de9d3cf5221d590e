//! How much a client's retrievals may ask for at a time.
//!
//! Nobody knows how large values are before they come, and servers cannot be told to stop. So a client begins with few
//! keys, and may have more in flight the more it has been answered, as long as what came was about what was foreseen. Where
//! much more came it begins with few again.

use crate::proxy::settings::Limits;

/// Keys in flight that a client begins with.
const KEYS_AT_FIRST: u32 = 2;
/// A new client's values are taken to weigh so much at least.
const VALUE_BYTES_AT_FIRST: usize = 256;
/// So many keys more may be in flight for each that was answered.
const GROWTH: u32 = 8;
/// After values came that nobody foresaw, no more than so many keys are in flight, and one more for each
/// [`KEYS_FOR_TRUST`] that were answered.
const KEYS_MAX_AFTER_SURPRISE: u32 = 32;
const KEYS_FOR_TRUST: u32 = 16;

/// The pace of one client.
pub struct Pace {
    /// Keys that the retrievals in progress ask for at a time.
    pub keys_in_flight: u32,
    /// How many of those there may be before the next retrieval waits.
    window: u32,
    /// How far the window may grow.
    window_max: u32,
    /// Keys answered that have not widened `window_max` yet.
    earned: u32,
    /// What a value weighs with its line, at least 1: an average that follows soon where they grow, and late where they
    /// shrink.
    value_bytes: u32,
    /// A value has come.
    is_known: bool,
    /// Bytes that came beyond twice what was foreseen, less what was foreseen and did not come.
    excess: u32,
}

impl Pace {
    /// `value_bytes` is what others' values weigh.
    pub fn new(limits: &Limits, value_bytes: usize) -> Self {
        Self {
            keys_in_flight: 0,
            window: KEYS_AT_FIRST,
            window_max: window_max(limits),
            earned: 0,
            value_bytes: narrow(value_bytes.max(VALUE_BYTES_AT_FIRST)),
            is_known: false,
            excess: 0,
        }
    }

    /// Whether a retrieval may begin.
    pub fn has_room(&self) -> bool {
        self.keys_in_flight < self.window
    }

    /// How many keys of a retrieval may be asked for at once without having to hold too large a reply.
    pub fn portion_keys(&self, limits: &Limits) -> usize {
        let by_size = limits.portion_bytes / self.value_bytes as usize;
        by_size.clamp(1, limits.portion_keys.min(self.window as usize))
    }

    /// What the values of so many keys are expected to come to.
    pub fn foreseen_bytes(&self, keys: usize) -> usize {
        keys.saturating_mul(self.value_bytes as usize)
    }

    /// A retrieval that asked for so many keys at a time has been answered.
    pub fn answered(&mut self, limits: &Limits, keys: usize) {
        self.keys_in_flight -= keys as u32;
        self.earned += keys as u32;
        let trust = self.earned / KEYS_FOR_TRUST;
        if self.window_max < window_max(limits) && trust > 0 {
            self.window_max = (self.window_max + trust).min(window_max(limits));
        }
        self.earned %= KEYS_FOR_TRUST;
        self.portion_answered(keys);
    }

    /// A portion of a retrieval has been answered, and the next is to be asked for.
    pub fn portion_answered(&mut self, keys: usize) {
        self.window = (self.window + GROWTH * keys as u32).min(self.window_max);
    }

    /// A value came, of so many bytes with its line.
    pub fn value_came(&mut self, limits: &Limits, bytes: usize) {
        let bytes = narrow(bytes);
        let more = self.excess.saturating_add(bytes);
        self.excess = more.saturating_sub(self.value_bytes.saturating_mul(2));
        if self.excess as usize > limits.portion_bytes {
            self.excess = 0;
            self.window = KEYS_AT_FIRST;
            self.window_max = KEYS_MAX_AFTER_SURPRISE.min(window_max(limits));
            self.earned = 0;
            self.value_bytes = bytes;
        } else if !self.is_known {
            self.value_bytes = bytes.max(1);
        } else if bytes > self.value_bytes {
            self.value_bytes = self.value_bytes.midpoint(bytes);
        } else {
            self.value_bytes = self.value_bytes - (self.value_bytes - bytes).div_ceil(8) + 1;
        }
        self.is_known = true;
    }
}

/// Bytes of a value: none has more than 1 GiB.
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How far a window may grow at most.
fn window_max(limits: &Limits) -> u32 {
    limits.requests_in_flight as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for so many keys, portion by portion, with values of this size. Returns the keys of each portion.
    fn portions(pace: &mut Pace, limits: &Limits, keys: usize, value_bytes: usize) -> Vec<usize> {
        let mut portions = Vec::new();
        let mut left = keys;
        while left > 0 {
            let portion = pace.portion_keys(limits).min(left);
            (0..portion).for_each(|_| pace.value_came(limits, value_bytes));
            pace.portion_answered(portion);
            portions.push(portion);
            left -= portion;
        }
        portions
    }

    #[test]
    fn a_client_of_small_values_has_wide_portions_after_a_few_keys() {
        let limits = Limits::default();
        let mut pace = Pace::new(&limits, 0);
        assert_eq!(portions(&mut pace, &limits, 1000, 100), [2, 18, 162, 256, 256, 256, 50]);
        assert_eq!(portions(&mut pace, &limits, 200, 100), [200]);
    }

    #[test]
    fn what_is_in_flight_of_large_values_is_little() {
        let limits = Limits::default();
        let mut pace = Pace::new(&limits, 0);
        let portions = portions(&mut pace, &limits, 100, 1 << 20);
        assert_eq!(portions[0], KEYS_AT_FIRST as usize);
        assert!(portions[1..].iter().all(|&keys| keys == 1), "{portions:?}");
    }

    #[test]
    fn who_was_wrong_once_begins_with_few_keys_again() {
        let limits = Limits::default();
        let mut pace = Pace::new(&limits, 0);
        portions(&mut pace, &limits, 1000, 100);
        portions(&mut pace, &limits, 1, 1 << 20);
        let small = portions(&mut pace, &limits, 300, 100);
        assert!(small[0] == 1 && *small.iter().max().unwrap() <= 60, "{small:?}");
    }

    #[test]
    fn values_of_mixed_sizes_are_no_surprise() {
        let limits = Limits::default();
        let mut pace = Pace::new(&limits, 0);
        portions(&mut pace, &limits, 1000, 100);
        for _ in 0..20 {
            portions(&mut pace, &limits, 20, 100);
            portions(&mut pace, &limits, 1, 100_000);
        }
        assert_eq!(pace.window_max, window_max(&limits));
    }
}
