//! Exptimes as a memcached reads them.

/// memcached takes an exptime up to 30 days for relative and a larger one for a unix time.
pub const RELATIVE_EXPTIME_MAX_S: i64 = 60 * 60 * 24 * 30;
/// What to tell a server for an exptime by magent's clock, where the server's is so far ahead of it.
pub fn exptime_by_clock(exptime: i64, ahead_s: i64) -> i64 {
    match exptime {
        ..=RELATIVE_EXPTIME_MAX_S => exptime,
        unix_s => unix_s.saturating_add(ahead_s),
    }
}
