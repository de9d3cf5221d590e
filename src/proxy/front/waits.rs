//! How long requests wait, from the turn in which the last of one was read to the turn in which its reply is complete.
//!
//! The time in which magent had to wait for the client itself, which did not take what was answered before, is taken off: it says
//! nothing of magent or the servers. What a line of the log tells beside the command is noted when an answer comes, or fails to come, to a
//! request that is late by then: one that is in time leaves nothing behind.

use crate::proxy::context::Context;
use crate::proxy::front::Front;
use crate::proxy::front::pending::Pending;
use crate::proxy::front::slow::{Late, shown};
use crate::proxy::latency::Kind;
use crate::proxy::net::{Level, Net, Time};
use crate::proxy::servers::Servers;
use crate::proxy::settings::NEVER_SLOW;
use crate::proxy::upstream::link::{Leg, Purpose};

impl<N: Net> Front<N> {
    /// A part of a request was answered, or never will be: if it is late already, its line in the log will tell where.
    #[inline]
    pub fn note_late(&mut self, servers: &Servers<N>, server: usize, leg: &Leg) {
        let Some(pending) = self.pending.get(leg.transaction) else {
            return;
        };
        if pending.waited_us(servers.cx.now) >= servers.cx.settings.slow_us {
            self.note_late_leg(servers, server, leg);
        }
    }

    #[cold]
    fn note_late_leg(&mut self, servers: &Servers<N>, server: usize, leg: &Leg) {
        if !leg.purpose.has_transaction() {
            return;
        }
        let key = match leg.purpose {
            Purpose::Rank => b"", // that is the board's
            _ if leg.keys > 1 => leg.all_keys().next().unwrap_or_default(),
            _ => leg.sent.key(),
        };
        self.note_asked(servers, leg.transaction, (key, leg.keys), server);
    }

    /// A request waits for a server because of a key, the first of so many.
    #[cold]
    pub fn note_asked(&mut self, servers: &Servers<N>, id: usize, (key, keys): (&[u8], u32), server: usize) {
        let pending = &mut self.pending[id];
        let kind = pending.asked.and_then(|(verb, keys)| Kind::of(verb, keys.into()));
        let is_told = servers.cx.settings.slow_us != NEVER_SLOW && kind.is_some();
        if pending.client.is_none() || pending.is_answered || !is_told {
            return;
        }
        let since_us = pending.since_us;
        let mut late = match pending.late.take().filter(|late| late.since_us == since_us) {
            Some(late) => late,
            None if self.slow.may_note(servers.cx.now) => Box::new(Late::new(since_us)),
            None => return,
        };
        if late.key.is_empty() {
            late.key = shown(key);
            if keys > 1 {
                late.key += &format!(" and {} more", keys - 1);
            }
        }
        late.add_server(server, &servers.fleet.servers[server].name);
        pending.late = Some(late);
    }

    /// The reply of a request to a client is complete. Returns whether that is to be told of.
    #[inline]
    pub fn note_latency(cx: &mut Context<N>, pending: &Pending) -> bool {
        let Some(kind) = pending.asked.and_then(|(verb, keys)| Kind::of(verb, keys.into())) else {
            return false;
        };
        let us = pending.waited_us(cx.now);
        cx.latencies.note(kind, us.into());
        us >= cx.settings.slow_us
    }

    /// Tells of a request that was slow.
    #[cold]
    pub fn tell_slow(&mut self, cx: &mut Context<N>, client: usize, id: usize) {
        let pending = &mut self.pending[id];
        let (since_us, ms) = (pending.since_us, pending.waited_us(cx.now) / 1000);
        let late = pending.late.take().filter(|late| late.since_us == since_us);
        let Some((verb, _)) = pending.asked.filter(|_| self.slow.may_tell(cx)) else {
            return;
        };
        let (key, names) = match &late {
            Some(late) => (late.key.as_str(), late.names.as_str()),
            None => ("?", "no server"),
        };
        let (verb, from) = (verb.name(), self.origin(cx, client));
        cx.log.say(
            Level::Warning,
            format_args!("client {client} from {from}: {verb} {key} took {ms} ms at {names}"),
        );
    }

    /// Tells what is to be told in another second than it happened.
    pub fn slow_tick(&mut self, cx: &mut Context<N>) {
        self.slow.tick(cx);
    }

    /// Whether the rest of a wide retrieval, whose turn it is, waits for its client to take what has come.
    pub fn note_stalled(&mut self, now: Time, client: usize, id: usize, is_stalled: bool) {
        let pending = &mut self.pending[id];
        match (pending.stalled_us, is_stalled) {
            (None, true) => pending.stalled_us = Some(now.low_us()),
            (Some(since_us), false) => {
                pending.stalled_us = None;
                self.take_off(now, client, now.low_us().wrapping_sub(since_us));
            }
            _ => {}
        }
    }

    /// All that a client waits for has waited for it, for so long: that does not count.
    fn take_off(&mut self, now: Time, client: usize, us: u32) {
        if us == 0 {
            return;
        }
        for id in self.clients[client].queue.iter() {
            let pending = &mut self.pending[id];
            let off = us.min(pending.waited_us(now));
            pending.since_us = pending.since_us.wrapping_add(off);
            pending.late = None;
        }
    }
}
