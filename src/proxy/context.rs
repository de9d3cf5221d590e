//! What every room uses and none owns: the world, the settings, the time, and where it is noted what is to be said, to be
//! done later, or to be done next by another room.

use crate::buffer::Pool;
use crate::proxy::handoff::Handoff;
use crate::proxy::latency::Latencies;
use crate::proxy::log::Log;
use crate::proxy::net::{Net, Time};
use crate::proxy::settings::Settings;
use crate::proxy::statistics::Statistics;
use crate::proxy::timers::{Timer, Timers};
use std::collections::VecDeque;
use std::rc::Rc;

/// The means of all rooms.
pub struct Context<N: Net> {
    pub net: N,
    pub settings: Settings,
    pub pool: Rc<Pool>,
    pub statistics: Statistics,
    /// What clients waited since the start, or since `stats reset`.
    pub latencies: Latencies,
    pub timers: Timers,
    pub log: Log,
    /// The time of this turn, and of the start, on the clock of [`Net::now`].
    pub now: Time,
    pub started_ms: u64,
    handoffs: VecDeque<Handoff>,
}

impl<N: Net> Context<N> {
    pub fn new(net: N, settings: Settings) -> Self {
        let now = net.now();
        let now_ms = now.ms();
        let mut timers = Timers::default();
        // Where the first turn is late, that is not for the servers to pay.
        timers.set(Timer::Silence, now_ms);
        Self {
            net,
            settings,
            pool: Rc::new(Pool::new()),
            statistics: Statistics::new(now_ms),
            latencies: Latencies::default(),
            timers,
            log: Log::default(),
            now,
            started_ms: now_ms,
            handoffs: VecDeque::new(),
        }
    }

    /// Notes what another room is to do next; the conductor hands it on when the one that is at work has come to its end.
    #[inline]
    pub fn hand_on(&mut self, handoff: Handoff) {
        self.handoffs.push_back(handoff);
    }

    /// Hands what has been said to the world.
    #[inline]
    pub fn hand_out_log(&mut self) {
        if self.log.is_empty() {
            return;
        }
        for said in self.log.take() {
            self.net.log(said.level, format_args!("{}", said.line));
        }
    }

    /// Whether something is to be handed on.
    #[inline]
    pub fn has_handoffs(&self) -> bool {
        !self.handoffs.is_empty()
    }

    /// What is to be handed on next.
    #[inline]
    pub fn next_handoff(&mut self) -> Option<Handoff> {
        self.handoffs.pop_front()
    }
}
