//! The servers' clocks.
//!
//! An exptime above 30 days is a unix time, and a memcached compares it with its own clock. Where that is an hour ahead of the
//! other server's, one copy expires an hour early, or at once. So each server is told such a time by its own clock, which
//! its `stats` tell. Most clocks agree to the second, and lines go to all servers as they are.

use crate::protocol::request::Request;
use crate::proxy::Proxy;
use crate::proxy::net::Net;

/// memcached takes an exptime up to 30 days for relative and a larger one for a unix time.
pub const RELATIVE_EXPTIME_MAX_S: i64 = 60 * 60 * 24 * 30;
/// Clocks that differ by less are taken to agree: a memcached's own may be a second late.
const DIFFERENCE_MIN_S: i64 = 2;
/// An answer that took longer says little of the clock.
const ANSWER_MAX_MS: u64 = 1000;

/// Whether a clock that is ahead by so much is as good as one that is not.
fn agree(ahead_s: i64) -> bool {
    ahead_s.unsigned_abs() < DIFFERENCE_MIN_S.unsigned_abs()
}

/// What to tell a server for an exptime by magent's clock, where the server's is so far ahead of it.
pub fn exptime_by_clock(exptime: i64, ahead_s: i64) -> i64 {
    match exptime {
        ..=RELATIVE_EXPTIME_MAX_S => exptime,
        unix_s => unix_s.saturating_add(ahead_s),
    }
}

impl<N: Net> Proxy<N> {
    /// A server that was asked then has told its time.
    pub(in crate::proxy) fn note_clock(&mut self, server: usize, time_s: i64, asked_ms: u64) {
        if time_s <= 0 || self.now_ms > asked_ms + ANSWER_MAX_MS {
            return;
        }
        self.follow_own_clock();
        let ahead_s = time_s.saturating_sub(self.net.unix_time_s() as i64);
        self.farm.servers[server].clock_ahead_s = if agree(ahead_s) { 0 } else { ahead_s };
    }

    /// Where magent's own clock has been set, as when a machine has slept or first finds the time, the servers' have not: a
    /// memcached counts the seconds since its start.
    pub(in crate::proxy) fn follow_own_clock(&mut self) {
        let started_s = self.net.unix_time_s() as i64 - (self.now_ms / 1000) as i64;
        let before_s = *self.farm.clock_started_s.get_or_insert(started_s);
        let set_by_s = started_s.saturating_sub(before_s);
        if agree(set_by_s) {
            return;
        }
        self.farm.clock_started_s = Some(started_s);
        for server in &mut self.farm.servers {
            let ahead_s = server.clock_ahead_s.saturating_sub(set_by_s);
            server.clock_ahead_s = if agree(ahead_s) { 0 } else { ahead_s };
        }
    }

    /// How many seconds there are until an exptime or a delay is over, by magent's own clock; None if it is none, or over.
    pub(in crate::proxy) fn seconds_until(&self, exptime: i64) -> Option<u64> {
        let left_s = match exptime {
            ..=RELATIVE_EXPTIME_MAX_S => exptime,
            unix_s => unix_s - self.net.unix_time_s() as i64,
        };
        u64::try_from(left_s).ok().filter(|&left_s| left_s > 0)
    }

    /// What to tell a server for an exptime that a client has given.
    pub(in crate::proxy) fn exptime_on(&self, server: usize, exptime: i64) -> i64 {
        exptime_by_clock(exptime, self.farm.servers[server].clock_ahead_s)
    }

    /// A request as it goes to a server whose clock is another; None if it goes there as it is.
    pub(in crate::proxy) fn by_clock_of<'a>(&self, server: usize, request: &Request<'a>) -> Option<Request<'a>> {
        if self.farm.servers[server].clock_ahead_s == 0 || !request.verb.has_exptime() {
            return None;
        }
        let exptime = self.exptime_on(server, request.exptime);
        (exptime != request.exptime).then(|| request.expiring(exptime))
    }
}
