//! When magent has to wake up though nothing happens: one time for each kind of thing that it may wait for.
//!
//! A time is never moved to a later one. Whoever is woken too early looks at what it waits for, and sets its timer anew. So
//! a timer costs two comparisons to set, also where it is set with each request, and none to stop.

/// What a timer wakes. Each is set anew, as long as there is something to wait for, by the one that it wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A link whose server has let somebody wait for too long, or for long enough to be looked at (`Servers::wake`).
    Silence,
    /// A read that its server lets wait (`Replicate::hedge_late_reads`).
    Hedge,
    /// A server that is down, to be looked for.
    Probe,
    /// A server that is there again, whose old link is waited for no longer.
    Drain,
    /// A server that is there again, to look whether its partners have answered.
    Compare,
    /// A server that has been up for so long that nobody has anything to remove from it.
    Settle,
    /// A server that the settings do not name any more, to look whether its link is free.
    Retire,
    /// The flush_all that was asked for with a delay.
    DelayedFlush,
    /// A flush_all that is to be done once more when a list of keys is over.
    RepeatFlush,
    /// A list of keys that is to be asked for, or does not go on.
    List,
    /// The resync, which may copy again (`Copier::resync_step`).
    Resync,
    /// A key that was read on one of its servers only.
    ReadRepair,
    /// A client's `stats` whose servers are waited for no longer.
    Survey,
    /// The boards of all servers, which are to be read.
    Board,
    /// The journal, which could not be written.
    Journal,
    /// A client that is read from though there is no memory (`Front::keep_within_memory`).
    Memory,
    /// Slow requests that were not logged, which are to be counted in the log (`SlowLog::tick`).
    Slow,
}

const KINDS: usize = Timer::Slow as usize + 1;
const NEVER: u64 = u64::MAX;

/// The timers of one magent, in milliseconds on the clock of [`Net::now_ms`](super::net::Net::now_ms).
#[derive(Debug)]
pub struct Timers {
    at_ms: [u64; KINDS],
    /// The least of those: asked for in every turn.
    next_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            at_ms: [NEVER; KINDS],
            next_ms: NEVER,
        }
    }
}

impl Timers {
    /// Wakes this at a time, unless it is woken before.
    pub fn set(&mut self, timer: Timer, at_ms: u64) {
        let known_ms = &mut self.at_ms[timer as usize];
        *known_ms = at_ms.min(*known_ms);
        self.next_ms = at_ms.min(self.next_ms);
    }

    /// When the first is due; None if there is none.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        (self.next_ms != NEVER).then_some(self.next_ms)
    }

    /// Whether there is a time for this.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.at_ms[timer as usize] != NEVER
    }

    /// Stops all: who has something to wait for sets its own anew.
    pub fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Nobody is woken before this.
    pub fn put_off(&mut self, until_ms: u64) {
        for at_ms in self.at_ms.iter_mut().filter(|at_ms| **at_ms != NEVER) {
            *at_ms = until_ms.max(*at_ms);
        }
        self.find_next();
    }

    fn find_next(&mut self) {
        self.next_ms = self.at_ms.iter().copied().min().unwrap_or(NEVER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_is_not_moved_to_a_later_time() {
        let mut timers = Timers::default();
        assert_eq!(timers.next_deadline_ms(), None);
        timers.set(Timer::Probe, 200);
        timers.set(Timer::Silence, 100);
        timers.set(Timer::Silence, 300);
        assert_eq!(timers.next_deadline_ms(), Some(100));
        assert!(timers.is_set(Timer::Probe) && !timers.is_set(Timer::Drain));
    }

    #[test]
    fn what_is_put_off_comes_no_sooner_and_what_is_due_later_keeps_its_time() {
        let mut timers = Timers::default();
        timers.set(Timer::Probe, 100);
        timers.set(Timer::Settle, 900);
        timers.put_off(500);
        assert_eq!(timers.next_deadline_ms(), Some(500));
        timers.put_off(1000);
        assert_eq!(timers.next_deadline_ms(), Some(1000));
        timers.stop_all();
        assert_eq!(timers.next_deadline_ms(), None);
        timers.put_off(2000);
        assert_eq!(timers.next_deadline_ms(), None, "nothing is to be waited for");
    }
}
