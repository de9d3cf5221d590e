//! When a server that lets somebody wait is given up.
//!
//! ```text
//!  asked --10 times what 999 of 1,000 answers take, 50 ms at least--> down, if its partners have answered since,
//!                |                                                      it has got what it was sent, and no packet was lost
//!                +--the timeout--> down
//!                |                  if it has returned lately, and packets are lost:
//!                +--four times the timeout--> down
//! ```
//! To be given up costs a server little: what it misses meanwhile is made up for, a moment later. So a wrong guess does, too, where its
//! partners can take its place, and clients do not wait for as long as many of them would. But it must not be wrong all the time: who
//! has returned lately has the whole timeout to answer, and where packets are lost, so that the kernel sends them
//! again after ever longer pauses, even more. A timeout that the administrator has set is as it is.

use crate::proxy::fleet::heirs::How;
use crate::proxy::fleet::ledger::Event;
use crate::proxy::fleet::server::Cause;
use crate::proxy::net::{Delivery, Net};
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;

/// A server that takes so many times as long as nearly all of its answers do is not going to answer.
const LONGEST_TIMES: u64 = 10;
/// But it has so many milliseconds at least: a memcached, and the machine that it is on, may pause for a moment.
const EARLY_MIN_MS: u64 = 50;
/// For so long after a server has returned it is not given up early.
pub const LATELY_MS: u64 = 10_000;
/// So many timeouts it has in that time, if packets are lost: the kernel sends them again after 200 ms, and then after twice as long each time.
const LOSSY_TIMES: u64 = 4;
/// How often it is looked whether what has to be for giving up a server early is.
const LOOK_AGAIN_MS: u64 = 5;
/// A tick that comes later than this says nothing of milliseconds.
const ON_TIME_MS: u64 = 5;
/// One that comes later than this says nothing about the servers.
const LATE_MAX_MS: u64 = 50;

/// What becomes of a server that lets somebody wait.
enum Verdict {
    Waits {
        until_ms: u64,
    },
    /// It has not answered for so long.
    Down {
        after_ms: u64,
    },
}

/// Servers that are to be given up, each with the milliseconds for which it has not answered.
pub type Silent = Vec<(usize, u64)>;

impl<N: Net> Servers<N> {
    /// Wakes up, if anything is due: stops all timers, for each of those that are woken sets its own anew. Returns the servers
    /// that let a request wait too long; None if nothing is due, or all is put off.
    pub fn wake(&mut self) -> Option<Silent> {
        let (timeout_ms, now_ms) = (self.cx.settings.timeout_ms, self.cx.now.ms());
        let due_ms = self.cx.timers.next_deadline_ms().filter(|&due_ms| due_ms <= now_ms)?;
        let late_ms = now_ms - due_ms;
        let late = late_ms > LATE_MAX_MS;
        if late {
            // magent itself did not run, on a machine that was stopped or overloaded; nor did a server on it perhaps (R20).
            self.upstream.excuse(late_ms + late_ms.min(timeout_ms));
        }
        // What else is due is put off as well, but not twice: it must be done at last where every tick is late.
        self.fleet.was_put_off = late && !self.fleet.was_put_off;
        if self.fleet.was_put_off {
            self.cx.timers.put_off(now_ms + late_ms.min(timeout_ms));
            return None;
        }
        self.cx.timers.stop_all();
        let mut silent = Vec::new();
        for (server, since_ms) in self.upstream.kept_waiting() {
            match self.judge(server, since_ms, late_ms) {
                Verdict::Waits { until_ms } => self.cx.timers.set(Timer::Silence, until_ms),
                Verdict::Down { after_ms } => silent.push((server, after_ms)),
            }
        }
        Some(silent)
    }

    /// What becomes of a server that has said nothing since then, though somebody waits for it.
    fn judge(&mut self, server: usize, since_ms: u64, late_ms: u64) -> Verdict {
        let (timeout_ms, now_ms) = (self.cx.settings.timeout_ms, self.cx.now.ms());
        let (early_ms, timeout_at_ms) = (since_ms + self.silent_after_ms(server), since_ms + timeout_ms);
        if now_ms < early_ms {
            return Verdict::Waits { until_ms: early_ms };
        }
        if now_ms < timeout_at_ms {
            return match late_ms <= ON_TIME_MS && self.can_be_done_without(server, since_ms) {
                true => Verdict::Down {
                    after_ms: now_ms - since_ms,
                },
                false => Verdict::Waits {
                    until_ms: timeout_at_ms.min(now_ms + LOOK_AGAIN_MS),
                },
            };
        }
        if now_ms < since_ms + LOSSY_TIMES * timeout_ms && self.is_kept_from_answering(server) {
            return Verdict::Waits {
                until_ms: now_ms + LOOK_AGAIN_MS,
            };
        }
        Verdict::Down { after_ms: timeout_ms }
    }

    /// For how many milliseconds a server may say nothing before it can be given up.
    pub fn silent_after_ms(&self, server: usize) -> u64 {
        let timeout_ms = self.cx.settings.timeout_ms;
        match self.is_replaceable(server) && !self.has_returned_lately(server) {
            true => {
                let early_ms = LONGEST_TIMES * self.upstream.longest_ms(server);
                early_ms.max(EARLY_MIN_MS).min(timeout_ms)
            }
            false => timeout_ms,
        }
    }

    /// Whether its partners have all that a server has, and clients may ask them.
    fn is_replaceable(&self, server: usize) -> bool {
        let fleet = &self.fleet;
        let is_sound = |&partner: &usize| fleet.ledger.account(partner).is_sound();
        let partners = fleet.partners_of(server);
        self.cx.settings.adaptive_timeout
            && fleet.is_up(server)
            && !partners.is_empty()
            && partners.iter().all(is_sound)
    }

    fn has_returned_lately(&self, server: usize) -> bool {
        let returned_ms = self.fleet.servers[server].returned_ms;
        returned_ms.is_some_and(|returned_ms| self.cx.now.ms() < returned_ms + LATELY_MS)
    }

    /// Whether it may be the network that keeps a server from answering which has returned lately.
    fn is_kept_from_answering(&mut self, server: usize) -> bool {
        self.is_replaceable(server)
            && self.has_returned_lately(server)
            && self.upstream.has_lost_packets(&self.cx.net, server, self.cx.now.ms())
    }

    /// Whether a server has got what it was asked and should have answered, and its partners have answered since. One of which that is
    /// not known is asked.
    fn can_be_done_without(&mut self, server: usize, since_ms: u64) -> bool {
        let now_ms = self.cx.now.ms();
        // What goes through all items of a server may take long.
        let takes_long = matches!(
            self.upstream.oldest_to(server),
            None | Some(Purpose::Survey | Purpose::Broadcast(_))
        );
        let has_arrived = self.upstream.delivery(&self.cx.net, server) == Delivery::Arrived
            && !self.upstream.has_lost_packets(&self.cx.net, server, now_ms);
        if takes_long || !has_arrived {
            return false;
        }
        let mut all_answer = true;
        for partner in self.fleet.partners(server) {
            let (waits_since_ms, said_ms) = self.upstream.silence(partner);
            let is_silent = waits_since_ms.is_some_and(|since_ms| since_ms + EARLY_MIN_MS <= now_ms);
            if said_ms <= since_ms && waits_since_ms.is_none() {
                self.ask_for_life(partner);
            }
            all_answer &= said_ms > since_ms && !is_silent;
        }
        all_answer
    }

    /// A server let somebody wait too long.
    pub fn server_silent(&mut self, index: usize, after_ms: u64) {
        if self.fleet.heirs.is_leaving(index) || self.leaves(index, How::Silent { after_ms }, "") {
            let until_ms = self.cx.now.ms() + LOOK_AGAIN_MS;
            return self.cx.timers.set(Timer::Silence, until_ms);
        }
        self.is_silent(index, after_ms);
    }

    /// The same where others need not be told first, or have been.
    pub fn is_silent(&mut self, index: usize, after_ms: u64) {
        if self.fleet.is_up(index) {
            self.fleet.servers[index].counters.timeouts += 1;
        }
        let (cut_off, drains) = self.upstream.quarantine(&mut self.cx.net, index, self.cx.now.ms());
        self.fleet.ledger.record(Event::Down { server: index, drains });
        self.mark_down(
            index,
            cut_off,
            Cause::Server,
            format_args!("no answer within {after_ms} ms"),
        );
    }
}
