//! Whether whoever waits for a time has a timer; see [`Proxy::check`](crate::proxy::Proxy::check).

use crate::proxy::fleet::server::{Board, Health, Rejoining};
use crate::proxy::net::Net;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::wrong::{Wrong, holds};

impl<N: Net> Servers<N> {
    /// Whether all is as it must be at the end of a turn.
    pub fn check(&self) -> Wrong {
        self.upstream.check()?;
        let set = |timer: Timer| self.cx.timers.is_set(timer);
        let is_waited_for = !self.upstream.kept_waiting().is_empty();
        holds(
            "nobody looks whether a server answers",
            !is_waited_for || set(Timer::Silence),
        )?;
        for (index, server) in self.fleet.servers.iter().enumerate() {
            let watched = match server.health {
                Health::Down { .. } => set(Timer::Probe),
                Health::Rejoining { step, .. } => match step {
                    Rejoining::Draining { .. } => set(Timer::Drain),
                    Rejoining::Reading(Board::Noticed { .. }) | Rejoining::Comparing { .. } => set(Timer::Compare),
                    Rejoining::Probing | Rejoining::Reading(Board::Asked | Board::AskedAgain { .. }) => {
                        set(Timer::Silence)
                    }
                    Rejoining::Reading(Board::Read) => false,
                },
                Health::Retired => !self.upstream.is_linked(index) || set(Timer::Retire),
                Health::Up => true,
            };
            holds(
                &format!("nobody looks after server {}: {:?}", server.name, server.health),
                watched,
            )?;
            holds(
                "a server never settles",
                !self.fleet.ledger.account(index).is_settling() || set(Timer::Settle),
            )?;
        }
        Ok(())
    }
}
