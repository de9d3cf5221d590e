//! How much of a resync is in flight: a little at a time while clients ask for something, more while they do not.

use crate::proxy::limits::{Limits, Room};

/// So long after a client's request it still counts as asking.
const BUSY_MS: u64 = 20;

/// Copies in flight, and when more may begin.
#[derive(Debug, Default)]
pub struct Pacing {
    in_flight: usize,
    bytes_in_flight: usize,
    /// When the last burst began.
    burst_ms: u64,
    /// Nothing begins before this.
    pause_until_ms: u64,
}

/// Whether more may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// As long as less than this is in flight.
    Go(Room),
    /// When what is awaited has come.
    Later,
    /// Not before this.
    At(u64),
}

impl Pacing {
    /// How much may be in flight now, where a client last asked for something at `requested_ms`.
    pub fn turn(&mut self, now_ms: u64, requested_ms: u64, limits: &Limits) -> Turn {
        if let Some(until_ms) = self.paused_until_ms(now_ms) {
            return Turn::At(until_ms);
        }
        if now_ms >= requested_ms + BUSY_MS {
            return Turn::Go(limits.resync_idle);
        }
        if self.in_flight > 0 {
            return Turn::Later;
        }
        if now_ms == self.burst_ms {
            return Turn::At(now_ms + 1);
        }
        self.burst_ms = now_ms;
        Turn::Go(limits.resync_busy)
    }

    /// Keys in flight, and what their items were taken to weigh.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.in_flight, self.bytes_in_flight)
    }

    /// Whether nothing more is to begin now.
    pub fn is_full(&self, room: Room) -> bool {
        self.in_flight >= room.keys || self.bytes_in_flight >= room.bytes
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Until when nothing begins.
    pub fn paused_until_ms(&self, now_ms: u64) -> Option<u64> {
        (now_ms < self.pause_until_ms).then_some(self.pause_until_ms)
    }

    pub fn pause(&mut self, until_ms: u64) {
        self.pause_until_ms = until_ms;
    }

    /// A copy of so many bytes begins.
    pub fn begins(&mut self, bytes: usize) {
        self.in_flight += 1;
        self.bytes_in_flight += bytes;
    }

    /// One has come to its end.
    pub fn ends(&mut self, bytes: usize) {
        self.in_flight -= 1;
        self.bytes_in_flight -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::DEFAULT;

    #[test]
    fn nobody_looks_again_before_a_pause_is_over() {
        let mut pacing = Pacing::default();
        pacing.pause(150);
        for requested_ms in [0, 99] {
            assert_eq!(pacing.turn(100, requested_ms, &LIMITS), Turn::At(150));
            assert_eq!(pacing.turn(100, requested_ms, &LIMITS), Turn::At(150));
        }
        assert_eq!(pacing.turn(150, 149, &LIMITS), Turn::Go(LIMITS.resync_busy));
    }

    #[test]
    fn while_clients_ask_copies_come_in_bursts() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.turn(100, 90, &LIMITS), Turn::Go(LIMITS.resync_busy));
        // Of one millisecond there is one burst, and none while the last is in flight.
        assert_eq!(pacing.turn(100, 90, &LIMITS), Turn::At(101));
        pacing.begins(10);
        assert_eq!(pacing.turn(105, 100, &LIMITS), Turn::Later);
        pacing.ends(10);
        assert_eq!(pacing.turn(105, 100, &LIMITS), Turn::Go(LIMITS.resync_busy));
        pacing.begins(10);
        assert_eq!(pacing.turn(100 + BUSY_MS, 100, &LIMITS), Turn::Go(LIMITS.resync_idle));
    }

    #[test]
    fn what_is_in_flight_is_bounded_in_keys_and_bytes() {
        let room = Room { keys: 2, bytes: 100 };
        let mut pacing = Pacing::default();
        assert!(pacing.is_idle() && !pacing.is_full(room));
        pacing.begins(99);
        assert!(!pacing.is_full(room), "one item may be larger");
        pacing.begins(99);
        assert!(pacing.is_full(room));
        pacing.ends(99);
        assert!(!pacing.is_full(room) && !pacing.is_idle());
        pacing.begins(1);
        pacing.ends(99);
        pacing.begins(500);
        assert!(pacing.is_full(Room { keys: 9, bytes: 100 }));
    }

    #[test]
    fn a_pause_has_an_end() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.paused_until_ms(5), None);
        pacing.pause(1005);
        assert_eq!(
            (pacing.paused_until_ms(1004), pacing.paused_until_ms(1005)),
            (Some(1005), None)
        );
    }
}
