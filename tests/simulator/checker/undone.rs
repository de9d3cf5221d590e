//! What one server alone has done, of a write that was not answered, and has lost with its memory.

use super::Checker;
use super::world::World;
use crate::model::Version;

impl Checker {
    /// Whether somebody has seen what a write did that was not answered.
    pub fn is_seen_unanswered(&self, key: usize) -> bool {
        let entry = &self.keys[key];
        let changing = |id: Version| {
            let mut pending = entry.pending.iter();
            pending.any(|pending| pending.id == id && pending.operation.verb.changes())
        };
        let has_seen = |world: &World| world.done.iter().any(|&(done, _)| changing(done));
        entry.worlds.iter().all(has_seen)
    }

    /// A server that may have done alone what is under way loses its memory.
    pub fn may_be_undone(&mut self, key: usize) {
        for pending in &mut self.keys[key].pending {
            pending.may_be_undone |= pending.operation.verb.changes();
        }
    }

    /// Nothing is promised of a key of which somebody has seen what may be undone, if whoever asked for that was not told that it is done. It
    /// may have been seen before it was lost, and told only now.
    pub(super) fn forget_what_is_undone(&mut self, key: usize) {
        let entry = &self.keys[key];
        let is_seen = |id: Version| {
            let mut worlds = entry.worlds.iter();
            worlds.all(|world| world.done.iter().any(|&(done, _)| done == id))
        };
        let mut undone = entry
            .pending
            .iter()
            .filter(|pending| pending.is_lost() && pending.may_be_undone);
        if undone.any(|pending| is_seen(pending.id)) {
            self.taint(key);
        }
    }
}
