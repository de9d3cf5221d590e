//! What clients may hold in memory together.
//!
//! The more is held the less a client may have more of ([`client_share`]): it is not read from, and servers are not
//! asked for it, until it has less. So a server that hangs, or clients that do not take their replies, bring memory near
//! `--max-memory` and no further. A request that has been read is never put off where its client has nothing else in flight.
//!
//! Where there is none left, a value that has begun to arrive waits. But what waits for its client, and not for a server, may
//! wait for ever: above the limit the clients that hold the most of that are closed. To find these nobody walks through all
//! clients: whoever comes to hold much is put on a list.

use crate::proxy::context::Context;
use crate::proxy::front::Front;
use crate::proxy::net::{Level, Net};
use crate::proxy::replicate::Replicate;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Outgoing;
use crate::words::Size;

/// A client may have one part in so many of what is left.
const SHARE_OF_FREE: usize = 4;
/// Where nothing could be given back, so long nobody looks again.
const IN_VAIN_PAUSE_MS: u64 = 10;
/// Unless one part in so many of `--max-memory` has come since.
const PARTS_MORE: usize = 8;

/// Bytes that may be held for one client: requests in flight, and replies that have come or are foreseen.
pub fn client_share<N: Net>(cx: &Context<N>) -> usize {
    let free = cx.settings.memory_bytes_max.saturating_sub(cx.pool.in_use());
    let limits = &cx.settings.limits;
    let share = (free / SHARE_OF_FREE).max(limits.client_bytes_min);
    share.min(limits.client_bytes)
}

impl<N: Net> Front<N> {
    /// Notes a client that has come to hold much.
    pub fn note_weight(&mut self, cx: &Context<N>, index: usize) {
        let client = &mut self.clients[index];
        if !client.is_heavy && client.footprint() >= cx.settings.limits.light_bytes {
            client.is_heavy = true;
            self.tight.heavy.push(index);
        }
    }

    /// The same where nothing will be written to it, which is when it is noted otherwise: its socket is full.
    pub fn note_weight_if_blocked(&mut self, cx: &Context<N>, index: usize) {
        if self.clients[index].outgoing == Outgoing::Blocked {
            self.note_weight(cx, index);
        }
    }

    /// Lets a client wait until there is memory again.
    pub fn squeeze(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !client.is_squeezed {
            client.is_squeezed = true;
            self.tight.squeezed.push_back(index);
        }
    }

    /// Whether there is memory again for clients that wait for it.
    pub fn may_relax(&self, cx: &Context<N>) -> bool {
        !self.tight.squeezed.is_empty() && cx.pool.in_use() < cx.settings.memory_bytes_max
    }

    /// After a batch: makes room where too much is held, and goes on with some of those that waited for room.
    pub fn keep_within_memory(&mut self, cx: &mut Context<N>, replicate: &mut Replicate) {
        let in_use = cx.pool.in_use();
        let in_vain = cx.now.ms() < self.tight.look_again_ms && in_use < self.tight.look_again_bytes;
        if in_use > cx.settings.memory_bytes_max && !in_vain {
            self.shed(cx, replicate);
        }
        self.let_one_go_beyond(cx);
        for _ in 0..cx.settings.limits.relaxed_in_a_turn {
            if !self.may_relax(cx) {
                return;
            }
            let Some(index) = self.tight.squeezed.pop_front() else {
                return;
            };
            if let Some(client) = self.clients.get_mut(index).filter(|client| client.is_squeezed) {
                client.is_squeezed = false;
                self.resume_later(index);
            }
        }
    }

    /// Reads from one of the clients that wait for memory in spite of the limit, if there has been none for longer than servers
    /// may take: then it is these clients that have it, and some of them may never send the rest, or be gone. What they come to
    /// hold by that is still shed.
    fn let_one_go_beyond(&mut self, cx: &mut Context<N>) {
        if cx.pool.in_use() < cx.settings.memory_bytes_max {
            self.tight.short_since_ms = None;
            return;
        }
        let since_ms = *self.tight.short_since_ms.get_or_insert(cx.now.ms());
        if self.tight.squeezed.is_empty() {
            return;
        }
        let due_ms = (since_ms + cx.settings.timeout_ms).max(self.tight.beyond_at_ms);
        if cx.now.ms() < due_ms {
            return cx.timers.set(Timer::Memory, due_ms);
        }
        self.tight.beyond_at_ms = cx.now.ms() + IN_VAIN_PAUSE_MS;
        cx.timers.set(Timer::Memory, self.tight.beyond_at_ms);
        while let Some(index) = self.tight.squeezed.pop_front() {
            if let Some(client) = self.clients.get_mut(index).filter(|client| client.is_squeezed) {
                (client.is_squeezed, client.may_go_beyond) = (false, true);
                return self.resume_later(index);
            }
        }
    }

    /// Closes the clients that hold the most until those that hold much hold less than the limit together. What is on its
    /// way to servers does not count: it leaves, or fails over, within the timeout, and closing its clients would not free it.
    fn shed(&mut self, cx: &mut Context<N>, replicate: &mut Replicate) {
        let mut heavy = std::mem::take(&mut self.tight.heavy);
        heavy.retain(|&index| {
            let Some(client) = self.clients.get_mut(index) else {
                return false;
            };
            client.is_heavy &= client.footprint() >= cx.settings.limits.light_bytes;
            client.is_heavy
        });
        // An index may have been given to another client since.
        heavy.sort_unstable_by_key(|&index| (std::cmp::Reverse(self.clients[index].footprint()), index));
        heavy.dedup();
        let held: usize = heavy.iter().map(|&index| self.clients[index].footprint()).sum();
        let mut excess = held.saturating_sub(cx.settings.memory_bytes_max);
        if excess == 0 {
            self.tight.look_again_ms = cx.now.ms() + IN_VAIN_PAUSE_MS;
            self.tight.look_again_bytes = cx.pool.in_use() + cx.settings.memory_bytes_max / PARTS_MORE;
        }
        let mut closed = 0;
        for &index in &heavy {
            if excess == 0 {
                break;
            }
            let held = self.clients[index].footprint();
            excess = excess.saturating_sub(held);
            closed += 1;
            cx.statistics.shed_connections += 1;
            let from = self.origin(cx, index);
            cx.log.say(
                Level::Warning,
                format_args!(
                    "client {index} from {from}: closed, it held {} when --max-memory was reached",
                    Size(held as u64)
                ),
            );
            self.close_client(cx, replicate, index);
        }
        heavy.drain(..closed);
        self.tight.heavy.append(&mut heavy);
    }
}
