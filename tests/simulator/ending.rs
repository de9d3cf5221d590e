//! The end of a schedule: all is quiet, and everything has to be as it should.

use super::faults::{EXPTIME_DRIFT_MAX_MS, LATE_MAX_MS};
use super::model::State;
use super::plan::Class;
use super::poller::Question;
use super::simulation::{Broken, Simulation};

/// Bytes that a magent without work may hold in buffers.
const IDLE_BUFFERS_MAX: u64 = 128 << 10;

impl Simulation {
    /// All is quiet: every reply has come, every key is what it should be, both copies agree, nothing is left over.
    pub fn end(&mut self) -> Result<(), Broken> {
        for client in &mut self.clients {
            client.rests = true;
        }
        for duelist in &mut self.duelists {
            duelist.rests = true;
        }
        self.run_for(10_000)?;
        self.wait_until_answered()?;
        let answered = |simulation: &mut Self| !simulation.duelists.iter().any(|duelist| duelist.is_waiting());
        if !self.wait_for(5_000_000, 10_000, answered)? {
            return Err("a duelist never got the reply that it waited for".to_owned());
        }
        if self.plan.more.turns_away {
            self.let_all_leave();
        }
        self.run_for(500_000)?;
        self.settle(400);
        let keys: Vec<usize> = (0..self.plan.keys.len()).collect();
        for client in 0..self.magents.len() {
            for some in keys.chunks(20) {
                self.with_client(client, |client, scene| {
                    let mut bytes = Vec::new();
                    client.retrieve(scene, "get", 0, some, &mut bytes);
                    client.send(scene, &bytes);
                });
            }
            self.wait_until_answered()?;
        }
        if self.plan.class != Class::Calm {
            self.heal(None)?;
        }
        for key in keys {
            self.compare(key)?;
        }
        if self.plan.class == Class::Duel {
            self.end_duel()?;
        }
        self.count_what_is_left()?;
        self.look_when_quiet()
    }

    /// So that there is room for who looks at magent.
    pub fn let_all_leave(&mut self) {
        for client in 0..self.clients.len() {
            self.with_client(client, |client, scene| client.ask_later(scene));
        }
    }

    fn compare(&mut self, key: usize) -> Result<(), Broken> {
        self.checker.now_ms = self.now_ms();
        let states = self.checker.possible(key);
        if states.contains(&State::Unknown) {
            return Ok(());
        }
        let now_ms = self.now_ms();
        // A server that hung counts an exptime from when it did what it was sent.
        let drift_ms = match self.plan.class {
            Class::Chaos => LATE_MAX_MS,
            _ => EXPTIME_DRIFT_MAX_MS,
        };
        let servers = self.plan.keys[key].servers.clone();
        let copies: Vec<_> = servers.iter().map(|&server| self.peek(server, key)).collect();
        let name = self.plan.keys[key].name.clone();
        for (copy, server) in copies.iter().zip(&servers) {
            let Some(item) = copy else {
                continue;
            };
            let legal = states.iter().any(|state| {
                matches!(state, State::Present(known) if (known.value, known.flags) == (item.value, item.flags))
            });
            let expiring = item.expires_from_ms < now_ms + drift_ms;
            if !legal && !expiring {
                let value = self.checker.values.bytes(item.value).to_vec();
                let described = self.checker.describe(key);
                return Err(format!(
                    "key {name}: s{server} holds {}, and the key is {described}",
                    super::trace::Readable(&value)
                ));
            }
        }
        let [primary, backup] = copies[..] else {
            return Ok(());
        };
        let agree = match (primary, backup) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                (a.value, a.flags) == (b.value, b.flags) && a.expires_from_ms.abs_diff(b.expires_from_ms) <= drift_ms
            }
            (Some(item), None) | (None, Some(item)) => {
                item.expires_from_ms < now_ms + drift_ms || self.plan.class.loses_items() || !self.plan.heals()
            }
        };
        match agree {
            true => Ok(()),
            false => Err(format!(
                "key {name}: its copies on s{} and s{} do not agree when all is quiet: {primary:?}, {backup:?}",
                servers[0], servers[1]
            )),
        }
    }

    fn count_what_is_left(&mut self) -> Result<(), Broken> {
        self.with_pollers(|poller, scene| poller.ask(scene, Question::Statistics));
        let answered = |simulation: &mut Self| !simulation.pollers.iter().any(|poller| poller.is_waiting());
        if !self.wait_for(1_000_000, 10_000, answered)? {
            return Err("stats was not answered".to_owned());
        }
        for poller in &self.pollers {
            for (name, limit) in [("requests_in_flight", 0), ("buffer_bytes", IDLE_BUFFERS_MAX)] {
                let number = poller
                    .statistics
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|&(_, number)| number);
                if number.is_none_or(|number| number > limit) {
                    return Err(format!("magent {} at rest has {name} {number:?}", poller.magent));
                }
            }
        }
        Ok(())
    }
}
