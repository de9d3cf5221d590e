//! Exptimes as a memcached reads them, made of the seconds that are left or of a unix second.

/// memcached takes an exptime up to 30 days for relative and a larger one for a unix time.
pub const RELATIVE_EXPTIME_MAX_S: i64 = 60 * 60 * 24 * 30;
/// What to tell a server for an exptime by magent's clock, where the server's is so far ahead of it.
pub fn exptime_by_clock(exptime: i64, ahead_s: i64) -> i64 {
    match exptime {
        ..=RELATIVE_EXPTIME_MAX_S => exptime,
        unix_s => unix_s.saturating_add(ahead_s),
    }
}

/// Whether what is stored with this exptime is over at once.
pub fn is_past(exptime: i64, now_s: i64) -> bool {
    exptime < 0 || exptime > RELATIVE_EXPTIME_MAX_S && exptime <= now_s
}

/// The exptime that makes an item expire in `ttl_s` seconds, -1 for never; None where it would not, or where a memcached
/// would read another one: it keeps 32 bits.
pub fn exptime_of(ttl_s: i64, now_s: i64) -> Option<i64> {
    match ttl_s {
        -1 => Some(0),
        1..=RELATIVE_EXPTIME_MAX_S => Some(ttl_s),
        ttl_s if ttl_s > 0 => now_s.checked_add(ttl_s).and_then(absolute_exptime),
        _ => None,
    }
}

/// A unix second as an exptime; None where a memcached would take it for something else.
pub fn absolute_exptime(unix_s: i64) -> Option<i64> {
    (RELATIVE_EXPTIME_MAX_S + 1..=i64::from(i32::MAX))
        .contains(&unix_s)
        .then_some(unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_zero_or_a_date_that_has_been_is_past() {
        let now_s = 1_800_000_000;
        for (exptime, expected) in [(-1, true), (0, false), (1, false), (now_s, true), (now_s + 1, false)] {
            assert_eq!(is_past(exptime, now_s), expected, "{exptime}");
        }
    }

    #[test]
    fn an_exptime_is_one_that_a_memcached_reads_as_it_is_meant() {
        let now_s = 1_800_000_000;
        for (ttl_s, exptime) in [
            (-1, Some(0)),
            (0, None),
            (1, Some(1)),
            (RELATIVE_EXPTIME_MAX_S, Some(RELATIVE_EXPTIME_MAX_S)),
            (RELATIVE_EXPTIME_MAX_S + 1, Some(now_s + RELATIVE_EXPTIME_MAX_S + 1)),
            (i64::from(i32::MAX) - now_s, Some(i64::from(i32::MAX))),
            (i64::from(i32::MAX) - now_s + 1, None),
            (i64::MAX, None),
            (-2, None),
            (i64::MIN, None),
        ] {
            assert_eq!(exptime_of(ttl_s, now_s), exptime, "{ttl_s}");
        }
        for relative in [i64::MIN, -1, 0, 5, RELATIVE_EXPTIME_MAX_S] {
            assert_eq!(absolute_exptime(relative), None);
        }
    }
}
