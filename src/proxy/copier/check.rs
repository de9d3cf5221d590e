//! Whether the books of the copier agree; see [`Proxy::check`](crate::proxy::Proxy::check).

use super::Copier;
use super::repair::Why;
use crate::proxy::limits::Limits;
use crate::proxy::wrong::{Wrong, equal, holds};
use std::collections::BTreeMap;

impl Copier {
    /// Repairs that have their key alone.
    pub fn passes(&self) -> usize {
        self.repairs
            .iter()
            .filter(|(_, running)| running.pass.is_some())
            .count()
    }

    /// Repairs that answer this write when they are over.
    pub fn healing(&self, write: usize) -> usize {
        let mut count = 0;
        for (_, running) in &self.repairs {
            if let Why::Heal(Some(waiting)) = &running.repair.why {
                count += usize::from(waiting.write == write);
            }
        }
        count
    }

    /// Whether something is to be done about a key a while later.
    pub fn has_due(&self) -> bool {
        self.due.len() + self.left.len() + self.moving.len() > 0
    }

    /// Whether all is as it must be at the end of a turn: `legs` are those of each repair that are to be answered,
    /// `at_gate` the repairs that wait for their key.
    pub fn check(&self, mut legs: BTreeMap<usize, u32>, at_gate: usize, limits: &Limits) -> Wrong {
        let (mut single, mut filling, mut waiting) = (0, (0, 0), 0);
        for (id, running) in &self.repairs {
            equal("legs of a repair", running.legs, legs.remove(&id).unwrap_or(0))?;
            if running.repair.is_over() {
                holds("a repair that is over keeps its place", running.legs > 0)?;
                continue;
            }
            waiting += usize::from(running.pass.is_none());
            holds(
                "a repair that has its key and asks nothing",
                running.legs > 0 || running.pass.is_none(),
            )?;
            match &running.repair.why {
                Why::Read | Why::Left(_) | Why::Heal(_) | Why::Differ(_) | Why::Deleted(_) => single += 1,
                Why::Fill(fill) if Some(fill.resync) == self.resync.as_ref().map(|resync| resync.number) => {
                    filling = (filling.0 + 1, filling.1 + fill.size);
                }
                Why::Fill(_) => {}
            }
        }
        holds("a leg of no repair", legs.is_empty())?;
        equal("repairs that wait for their key", at_gate, waiting)?;
        equal("repairs", self.single, single)?;
        if let Some(resync) = &self.resync {
            equal(
                "keys of the resync, and their bytes",
                resync.pacing.in_flight(),
                filling,
            )?;
        }
        let most = self.due.len().max(self.left.len()).max(self.moving.len());
        holds("too many keys for later", most <= limits.read_repairs)
    }
}
