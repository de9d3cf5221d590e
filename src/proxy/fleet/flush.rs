//! `flush_all`: what it needs beyond being told to every server.
//!
//! Since 1.6.25 a memcached goes through the items of the last two seconds to flush them, and passes over those that
//! another of its threads has locked at that moment: the one that moves them between its queues, which costs one flush in
//! a thousand an item or two, or the one that lists its keys. What the one passed over is caught by a second flush right behind
//! the first, so such a server is always told two. What the other passed over may be copied to the partner. So where a list comes,
//! all servers are flushed once more when it has come to its end, which it does soon with nothing left to be listed.
//!
//! One with a delay takes effect later. Every server that was there has been told the delay and counts for itself. One that was away, or has been started anew
//! or flushed since, knows nothing of it, and would keep what it is filled with. So the time is remembered: such a server
//! *owes* the flush, and is flushed by magent when the time has come, or when it returns after that. Servers count whole
//! seconds, each from its own start, so around that time one of them has flushed an item and another has not; nothing is
//! copied meanwhile, because a copy would be younger than the flush. As in memcached, the last `flush_all` is the one that
//! counts.

use crate::protocol::request::Request;
use crate::proxy::fleet::delayed_flush::LATE_MS;
use crate::proxy::fleet::ledger::Event;
use crate::proxy::fleet::version::Version;
use crate::proxy::net::Net;
use crate::proxy::permit::PastGate;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;

impl<N: Net> Servers<N> {
    /// A flush_all is about to be sent to all servers that are up: at once, or with a delay.
    pub fn note_flush(&mut self, exptime: i64) {
        self.fleet.flushes += u64::from(exptime <= 0);
        let delay_s = self.seconds_until(exptime);
        self.fleet.delayed_flush.at_ms =
            delay_s.map(|delay_s| self.cx.now.ms().saturating_add(delay_s.saturating_mul(1000)));
        if let Some(at_ms) = self.fleet.delayed_flush.at_ms {
            self.cx.timers.set(Timer::DelayedFlush, at_ms);
        }
        self.fleet.delayed_flush.owed_by.clear();
    }

    /// A server has not been told of a flush_all, or may not have been.
    pub fn flush_missed(&mut self, server: usize) {
        match self.fleet.delayed_flush.is_pending() {
            true => _ = self.fleet.delayed_flush.owed_by.insert(server),
            false => self.fleet.ledger.record(Event::FlushMissed(server)),
        }
    }

    /// A server has forgotten what delay it was told, if any.
    pub fn delayed_flush_forgotten(&mut self, server: usize) {
        let flush = &mut self.fleet.delayed_flush;
        if flush.is_pending() {
            flush.owed_by.insert(server);
        }
    }

    /// Whether one with a delay may have come to one server now, and not to another yet.
    pub fn flush_is_near(&self) -> bool {
        self.flush_pauses_until_ms().is_some()
    }

    fn flush_pauses_until_ms(&self) -> Option<u64> {
        self.fleet.delayed_flush.pauses_until_ms(self.cx.now.ms())
    }

    /// Whether nothing may be copied now. Then there is another look when it may.
    pub fn flush_forbids_copying(&mut self) -> bool {
        let pause = self.flush_pauses_until_ms();
        if let Some(until_ms) = pause {
            self.cx.timers.set(Timer::Resync, until_ms);
        }
        pause.is_some()
    }

    /// How often a server is told one that takes effect at once, to leave nothing.
    pub fn flushes_needed(&self, server: usize) -> usize {
        1 + usize::from(self.fleet.servers[server].is_since(Version::FLUSHES_IN_PASSING))
    }

    /// A server may have what is old: all that it has is forgotten there.
    pub fn forget_all(&mut self, permit: &PastGate, server: usize) {
        self.emptied(server, "server is flushed");
        for _ in 0..self.flushes_needed(server) {
            let flush = Request::flush();
            self.change(permit, server, Purpose::Forget, 0, Message::from(&flush));
        }
    }

    /// Whether a server lists its keys whose flush would pass over some of them.
    pub fn is_listed_in_passing(&self) -> bool {
        let mut listed = self.upstream.listed();
        listed.any(|server| self.fleet.servers[server].is_since(Version::FLUSHES_IN_PASSING))
    }

    /// Lets those who owe a flush have it when its time has come.
    pub fn flush_tick(&mut self) {
        let Some(at_ms) = self.fleet.delayed_flush.at_ms else {
            return;
        };
        if at_ms > self.cx.now.ms() {
            self.cx.timers.set(Timer::DelayedFlush, at_ms);
            return;
        }
        self.fleet.delayed_flush.at_ms = None;
        self.fleet.delayed_flush.settles_ms = self.cx.now.ms() + LATE_MS;
        self.cx.timers.set(Timer::Resync, self.fleet.delayed_flush.settles_ms);
        self.fleet.flushes += 1;
        for index in std::mem::take(&mut self.fleet.delayed_flush.owed_by) {
            if self.fleet.is_up(index) {
                self.forget_all(&PastGate::AllKeys, index);
            } else {
                self.fleet.ledger.record(Event::FlushMissed(index));
            }
        }
    }
}
