//! The servers' clocks.
//!
//! An exptime above 30 days is a unix time, and a memcached compares it with its own clock. Where that is an hour ahead of the
//! other server's, one copy expires an hour early, or at once. So each server is told such a time by its own clock, which
//! its `stats` tell. Most clocks agree to the second, and lines go to all servers as they are.

use crate::protocol::exptime::RELATIVE_EXPTIME_MAX_S;
use crate::proxy::net::Net;
use crate::proxy::servers::Servers;

/// Clocks that differ by less are taken to agree: a memcached's own may be a second late.
const DIFFERENCE_MIN_S: i64 = 2;
/// An answer that took longer says little of the clock.
const ANSWER_MAX_MS: u64 = 1000;

/// Whether a clock that is ahead by so much is as good as one that is not.
fn agree(ahead_s: i64) -> bool {
    ahead_s.unsigned_abs() < DIFFERENCE_MIN_S.unsigned_abs()
}

impl<N: Net> Servers<N> {
    /// A server that was asked then has told its time.
    pub fn note_clock(&mut self, server: usize, time_s: i64, asked_ms: u64) {
        if time_s <= 0 || self.cx.now.ms() > asked_ms + ANSWER_MAX_MS {
            return;
        }
        self.follow_own_clock();
        let ahead_s = time_s.saturating_sub(self.cx.net.unix_time_s() as i64);
        self.fleet.servers[server].clock_ahead_s = if agree(ahead_s) { 0 } else { ahead_s };
    }

    /// Where magent's own clock has been set, as when a machine has slept or first finds the time, the servers' have not: a
    /// memcached counts the seconds since its start.
    pub fn follow_own_clock(&mut self) {
        let started_s = self.cx.net.unix_time_s() as i64 - (self.cx.now.ms() / 1000) as i64;
        let before_s = *self.fleet.clock_started_s.get_or_insert(started_s);
        let set_by_s = started_s.saturating_sub(before_s);
        if agree(set_by_s) {
            return;
        }
        self.fleet.clock_started_s = Some(started_s);
        for server in &mut self.fleet.servers {
            let ahead_s = server.clock_ahead_s.saturating_sub(set_by_s);
            server.clock_ahead_s = if agree(ahead_s) { 0 } else { ahead_s };
        }
    }

    /// How many seconds there are until an exptime or a delay is over, by magent's own clock; None if it is none, or over.
    pub fn seconds_until(&self, exptime: i64) -> Option<u64> {
        let left_s = match exptime {
            ..=RELATIVE_EXPTIME_MAX_S => exptime,
            unix_s => unix_s - self.cx.net.unix_time_s() as i64,
        };
        u64::try_from(left_s).ok().filter(|&left_s| left_s > 0)
    }
}
