//! Whether all books agree: for the simulator and the fuzzer, which ask at the end of every turn.
//!
//! What is counted twice must come to the same, whoever is on a list must be there, and whatever is in progress must have
//! something that will end it: an answer to come, a key to be let go of, another's turn, a timer.

use crate::proxy::Proxy;
use crate::proxy::net::Net;
use crate::proxy::replicate::plan::Read;
use crate::proxy::replicate::transaction::{Transaction, Work};
use crate::proxy::wrong::{Wrong, equal, holds};

impl<N: Net> Proxy<N> {
    /// Whether all is as it must be at the end of a turn, behind [`Proxy::flush`]; else what is not.
    pub fn check(&self) -> Result<(), String> {
        self.servers.check()?;
        let merging = |id: usize| self.replicate.merging(id);
        self.front.check(&self.servers.cx, &merging)?;
        let mut legs = self.servers.upstream.legs();
        for (id, transaction) in self.replicate.transactions() {
            equal("legs", transaction.legs, legs.remove(&id).unwrap_or(0))
                .and_then(|()| self.check_transaction(id, transaction))
                .map_err(|what| format!("transaction {id}: {what}"))?;
        }
        holds("a leg of no transaction", legs.is_empty())?;
        self.replicate
            .check(&self.servers.cx.settings.limits, self.copier.passes())?;
        let (at_gate, limits) = (self.replicate.repairs_at_gate(), &self.servers.cx.settings.limits);
        self.copier
            .check(self.servers.upstream.repair_legs(), at_gate, limits)?;
        holds(
            "a repair is never due",
            !self.copier.has_due() || self.servers.cx.timers.is_set(crate::proxy::timers::Timer::ReadRepair),
        )?;
        self.check_left_over()
    }

    /// What a turn leaves over is done in the next, which follows at once. Else it waits until something happens, which may be never: where
    /// no client asks for anything, and boards are off.
    fn check_left_over(&self) -> Wrong {
        let servers = &self.servers;
        holds("something to be handed on is left over", !servers.cx.has_handoffs())?;
        holds("a failure is left over", !servers.upstream.has_failed())?;
        let is_dirty = servers.upstream.is_dirty() || self.front.is_dirty();
        holds("something to be written is left over", !is_dirty)?;
        let is_next = self.deadline_ms() == Some(servers.cx.now.ms());
        holds(
            "what is lacking is looked for when something else happens",
            !self.copier.is_to_take_up() || is_next,
        )
    }

    /// Whether something is in progress only as long as there is something that will end it.
    fn check_transaction(&self, id: usize, transaction: &Transaction) -> Wrong {
        if let Some(client) = transaction.client {
            holds("its client does not wait for it", self.front.waits_for(client, id))?;
        }
        let has_legs = transaction.legs > 0;
        let will_end = match &transaction.work {
            Work::Answered => match transaction.client {
                None => has_legs,
                Some(client) => self.front.is_answered(id) && !self.front.is_front(client, id),
            },
            Work::Waiting(_) | Work::Refused(_) => self.replicate.waits_for_key(id),
            Work::Read(read) => {
                let at_gate = read.at_gate && self.replicate.waits_for_key(id);
                has_legs || at_gate || self.will_be_asked(id, transaction, read)
            }
            Work::Write(_) => has_legs,
            Work::Broadcast(_) => has_legs || self.replicate.will_flush(id),
            Work::Survey(_) => has_legs,
            Work::Healing => self.copier.healing(id) == 1,
        };
        holds("nothing will end it", will_end)
    }

    /// Whether there is a time when the next portion of a retrieval is asked for.
    fn will_be_asked(&self, id: usize, transaction: &Transaction, read: &Read) -> bool {
        let Some(client) = transaction.client.filter(|_| read.rest.is_some()) else {
            return false;
        };
        let its_turn = !self.front.is_front(client, id) || self.front.has_output(client);
        let queued = read.queued && self.servers.upstream.will_have_turn(id);
        its_turn || queued || self.replicate.is_put_off(id)
    }
}
