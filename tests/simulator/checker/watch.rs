//! Reads through a magent that does not write their key.

use super::words::{List, Told};
use super::{Checker, Reply, Watch};
use crate::model::{Answer, State, Version};

/// With more operations in progress than this, a read through another magent may see anything.
const WATCHED_AMONG_MAX: usize = 4;
/// More states than this are not kept.
const WATCHED_STATES_MAX: usize = 64;

impl Checker {
    /// A read that need not fall in line with the others, but must not be older than what was acknowledged when it began.
    pub fn watch(&mut self, key: usize) -> Version {
        self.next_id += 1;
        let (id, asked_ms) = (self.next_id, self.now_ms);
        let crowded = self.keys[key].pending.len() > WATCHED_AMONG_MAX;
        let mut states = if crowded {
            vec![State::Unknown]
        } else {
            self.possible(key)
        };
        for pending in &self.keys[key].pending {
            merge(&mut states, &pending.states);
        }
        let since_ms = self.now_ms.saturating_sub(self.seen_late_ms);
        let recent = self.keys[key]
            .recent
            .iter()
            .filter(|(until_ms, _)| *until_ms >= since_ms);
        let recent: Vec<State> = recent.map(|&(_, state)| state).collect();
        merge(&mut states, &recent);
        self.keys[key].watches.push(Watch { id, asked_ms, states });
        id
    }

    pub(super) fn feed_watches(&mut self, key: usize) {
        if !self.watches {
            return;
        }
        let crowded = self.keys[key].pending.len() > WATCHED_AMONG_MAX;
        let states = if crowded {
            vec![State::Unknown]
        } else {
            self.possible(key)
        };
        let (now_ms, seen_late_ms) = (self.now_ms, self.seen_late_ms);
        let entry = &mut self.keys[key];
        if seen_late_ms > 0 {
            entry.recent.retain(|(until_ms, _)| until_ms + seen_late_ms >= now_ms);
            for state in &states {
                entry.recent.retain(|(_, recent)| recent != state);
                entry.recent.push((now_ms, *state));
            }
        }
        for watch in &mut entry.watches {
            merge(&mut watch.states, &states);
        }
        for pending in entry
            .pending
            .iter_mut()
            .filter(|pending| pending.operation.verb.changes())
        {
            merge(&mut pending.states, &states);
        }
    }

    pub fn end_watch(&mut self, key: usize, id: Version, reply: Option<Reply>) -> Result<(), String> {
        let Some(at) = self.keys[key].watches.iter().position(|watch| watch.id == id) else {
            return Ok(());
        };
        let watch = self.keys[key].watches.swap_remove(at);
        let Some(Reply::Answer(told) | Reply::WithUnique(told, _)) = reply else {
            return Ok(());
        };
        let around = self.around();
        let legal = watch.states.iter().any(|state| match state {
            State::Unknown => true,
            State::Absent => told == Answer::Miss,
            State::Present(item) => match told {
                Answer::Miss => around.now_ms >= item.expires_from_ms || around.evicts,
                Answer::Hit { value, flags, .. } => {
                    (value, flags) == (item.value, item.flags) && watch.asked_ms <= item.expires_until_ms
                }
                _ => false,
            },
        });
        match legal {
            true => Ok(()),
            false => Err(format!(
                "key {}: a read through the magent that does not write it was told {}, and the key was {} in its time",
                self.keys[key].name,
                Told(told, &self.values),
                List(&watch.states, &self.values),
            )),
        }
    }
}

fn merge(into: &mut Vec<State>, states: &[State]) {
    if into.len() > WATCHED_STATES_MAX {
        *into = vec![State::Unknown];
    }
    for state in states {
        if into.first() != Some(&State::Unknown) && !into.contains(state) {
            into.push(*state);
        }
    }
}
