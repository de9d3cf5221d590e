//! `flush_all`: what it needs beyond being told to every server.
//!
//! Since 1.6.25 a memcached goes through the items of the last two seconds to flush them, and passes over those that
//! another of its threads has locked at that moment: the one that lists its keys, for one. What it passed over may be
//! copied to its partner. So where a list comes, all servers are flushed once more when it has come to its end, which it
//! does soon with nothing left to be listed.
//!
//! One with a delay takes effect later. Every server that was there has been told the delay and counts for itself. One that was away, or has been started anew
//! or flushed since, knows nothing of it, and would keep what it is filled with. So the time is remembered: such a server
//! *owes* the flush, and is flushed by magent when the time has come, or when it returns after that. Servers count whole
//! seconds, each from its own start, so around that time one of them has flushed an item and another has not; nothing is
//! copied meanwhile, because a copy would be younger than the flush. As in memcached, the last `flush_all` is the one that
//! counts.

use crate::protocol::request::Request;
use crate::proxy::Proxy;
use crate::proxy::fleet::ledger::Event;
use crate::proxy::fleet::life::Version;
use crate::proxy::net::Net;
use crate::proxy::replicate::permit::PastGate;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;

/// Nothing is copied from so long before the time: memcached flushes up to two seconds early.
const EARLY_MS: u64 = 2500;
/// And until so long after it.
const LATE_MS: u64 = 1500;

/// What is known of a flush that is still to come, and of the one before.
#[derive(Default)]
pub struct DelayedFlush {
    /// On magent's clock.
    at_ms: Option<u64>,
    /// Until then nothing is copied after one that has come.
    settles_ms: u64,
}

impl DelayedFlush {
    pub fn is_pending(&self) -> bool {
        self.at_ms.is_some()
    }

    /// Until when nothing is to be copied now; None if copying may go on.
    fn pauses_until_ms(&self, now_ms: u64) -> Option<u64> {
        match self.at_ms {
            Some(at_ms) if at_ms <= now_ms + EARLY_MS => Some(at_ms + LATE_MS),
            _ => (now_ms < self.settles_ms).then_some(self.settles_ms),
        }
    }
}

impl<N: Net> Proxy<N> {
    /// A flush_all is about to be sent to all servers that are up: at once without a delay, after so many seconds with one.
    pub(in crate::proxy) fn note_flush(&mut self, delay_s: Option<u64>) {
        self.delayed_flush.at_ms = delay_s.map(|delay_s| self.now_ms.saturating_add(delay_s.saturating_mul(1000)));
        if let Some(at_ms) = self.delayed_flush.at_ms {
            self.timers.set(Timer::DelayedFlush, at_ms);
        }
        for server in &mut self.farm.servers {
            server.owes_flush = false;
        }
    }

    /// A server has not been told of a flush_all, or may not have been.
    pub(in crate::proxy) fn flush_missed(&mut self, server: usize) {
        let pending = self.delayed_flush.is_pending();
        match pending {
            true => self.farm.servers[server].owes_flush = true,
            false => self.farm.ledger.record(Event::FlushMissed(server)),
        }
    }

    /// A server has forgotten what delay it was told, if any.
    pub(in crate::proxy) fn delayed_flush_forgotten(&mut self, server: usize) {
        self.farm.servers[server].owes_flush = self.delayed_flush.is_pending();
    }

    /// Whether nothing may be copied now. Then there is another look when it may.
    pub(in crate::proxy) fn flush_forbids_copying(&mut self) -> bool {
        let pause = self.delayed_flush.pauses_until_ms(self.now_ms);
        if let Some(until_ms) = pause {
            self.timers.set(Timer::Resync, until_ms);
        }
        pause.is_some()
    }

    /// A server is flushed that lists its keys at this moment: when it is to be flushed again at the latest.
    pub(in crate::proxy) fn flush_again_by_ms(&mut self, id: usize) -> Option<u64> {
        self.is_listed_in_passing().then(|| {
            self.flushes_to_repeat.push(id);
            self.now_ms + self.settings.timeout_ms
        })
    }

    /// Whether a server lists its keys whose flush would pass over some of them.
    pub(in crate::proxy) fn is_listed_in_passing(&self) -> bool {
        let listed = self.copier.list_comes_from();
        listed.is_some_and(|server| self.farm.servers[server].is_since(Version::FLUSHES_IN_PASSING))
    }

    /// Lets those who owe a flush have it when its time has come.
    pub(in crate::proxy) fn flush_tick(&mut self) {
        let Some(at_ms) = self.delayed_flush.at_ms else {
            return;
        };
        if at_ms > self.now_ms {
            self.timers.set(Timer::DelayedFlush, at_ms);
            return;
        }
        self.delayed_flush.at_ms = None;
        self.delayed_flush.settles_ms = self.now_ms + LATE_MS;
        self.timers.set(Timer::Resync, self.delayed_flush.settles_ms);
        self.flushes += 1;
        for index in 0..self.farm.servers.len() {
            let server = &mut self.farm.servers[index];
            if !std::mem::take(&mut server.owes_flush) {
                continue;
            }
            if self.farm.is_up(index) {
                self.emptied(index, "server is flushed");
                let flush = Request::flush();
                self.change(&PastGate::AllKeys, index, Purpose::Forget, 0, Message::from(&flush));
            } else {
                self.farm.ledger.record(Event::FlushMissed(index));
            }
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
            at_ms: None,
            settles_ms: 21_500,
        };
        assert_eq!(flush.pauses_until_ms(21_499), Some(21_500));
        assert_eq!(flush.pauses_until_ms(21_500), None);
    }
}
