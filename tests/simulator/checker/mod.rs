//! Whether the replies are ones that a single memcached could have given.
//!
//! Linearizability, just in time: per key a set of *worlds*, each a state that the key may be in and the operations in
//! progress that have had their effect in it already. When a reply comes, each world in which the operation had not
//! happened is carried on in every way that makes it happen, and those in which it said something else are dropped. If
//! none is left, no order of the operations explains the reply.
//!
//! An operation whose client will never be told (its connection was lost, it got an error) may have its effect at any
//! later time or never, until all is quiet: then it has had it or never will.

mod explore;
#[cfg(test)]
mod tests;
mod undone;
mod watch;
mod words;
mod world;

use super::model::{Answer, Circumstances, Operation, State, Values, Verb, Version};
use explore::{agrees, explore};
use words::{List, explanation};
use world::{World, Worlds};

/// Operations without a reply that a key may have before nothing is promised any more.
const LOST_MAX: usize = 7;
/// With more operations in progress than this, what went unanswered is not settled now.
const SETTLED_AMONG_MAX: usize = 3;
/// How long copying one key takes at most, once it was fetched, but for the time that the copy spends on a slow connection; and how
/// long it takes to look at it once more, and to remove it, once it has come.
const COPYING_MS: u64 = 20;
/// The connection of what no client asks for.
const NOBODY: u32 = u32::MAX;
/// More worlds than this are not followed.
const WORLDS_MAX: usize = 2_000;

/// What a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Answer(Answer),
    /// A value with its unique; the version in the answer means nothing.
    WithUnique(Answer, u64),
}

struct Pending {
    id: Version,
    operation: Operation,
    connection: u32,
    /// Nobody will be told, since this time.
    lost_ms: Option<u64>,
    /// A server that may have done it alone has lost its memory since.
    may_be_undone: bool,
    /// The states that the key may have been in since it was asked for. Until it is acknowledged, a read through another
    /// magent may see them all. Only kept where there are such reads.
    states: Vec<State>,
}

impl Pending {
    /// Whether it is so late that the exptime that it gave the key may be over.
    fn has_expired_itself(&self, now_ms: u64) -> bool {
        let Operation {
            verb,
            exptime,
            asked_ms,
            ..
        } = self.operation;
        // memcached counts whole seconds.
        let least_ms = u64::try_from(exptime - 1).map(|seconds| seconds * 1000);
        verb == Verb::GetAndTouch && least_ms.is_ok_and(|least_ms| now_ms >= asked_ms + least_ms)
    }

    fn is_lost(&self) -> bool {
        self.lost_ms.is_some()
    }
}

/// A read whose magent does not write the key: it may see any state of its time.
struct Watch {
    id: Version,
    asked_ms: u64,
    states: Vec<State>,
}

#[derive(Default)]
struct Key {
    name: String,
    worlds: Vec<World>,
    pending: Vec<Pending>,
    watches: Vec<Watch>,
    /// What it may have been lately, and until when, where reads through another magent may come late.
    recent: Vec<(u64, State)>,
    /// When last a write to it was in progress.
    changed_ms: u64,
    /// When last its exptime alone was changed.
    touched_ms: u64,
    /// Until when a magent that does not write it may be copying it.
    copied_until_ms: u64,
    /// The uniques that clients, and operations in progress, hold; each as often as it is held.
    held: Vec<u64>,
    /// As many bytes as its value may have had, at most.
    largest_bytes: usize,
}

pub struct Checker {
    pub values: Values,
    keys: Vec<Key>,
    next_id: Version,
    pub now_ms: u64,
    pub evicts: bool,
    /// Servers may have no memory.
    pub refuses: bool,
    /// How late a server that hung may do what was acknowledged.
    pub late_ms: u64,
    /// There are reads that need not fall in line.
    pub watches: bool,
    /// How old what they see may be.
    pub seen_late_ms: u64,
    pub disturbed_ms: u64,
    /// Keys given up because too much went unanswered.
    pub given_up: usize,
}

impl Checker {
    pub fn new(keys: &[String]) -> Self {
        let key = |name: &String| Key {
            name: name.clone(),
            worlds: vec![World {
                state: State::Absent,
                done: Vec::new(),
                uniques: Vec::new(),
            }],
            ..Key::default()
        };
        Self {
            values: Values::default(),
            keys: keys.iter().map(key).collect(),
            next_id: 0,
            now_ms: 0,
            evicts: false,
            refuses: false,
            late_ms: 0,
            watches: false,
            seen_late_ms: 0,
            disturbed_ms: 0,
            given_up: 0,
        }
    }

    /// A flush of all keys takes effect from here on, at some time until it [ends](Self::flush_ends). Returns its operations.
    pub fn flush_begins(&mut self, operation: Operation) -> Vec<Version> {
        let keys = 0..self.keys.len();
        keys.map(|key| self.begin(key, NOBODY, operation)).collect()
    }

    /// It has taken effect, not everywhere at the same moment: what was stored since it began may be gone, or not.
    pub fn flush_ends(&mut self, flush: &[Version]) -> Result<(), String> {
        for (key, &id) in flush.iter().enumerate() {
            let is_newer = |world: &&World| matches!(world.state, State::Present(item) if item.version > id);
            let mut newer: Vec<World> = self.keys[key].worlds.iter().filter(is_newer).cloned().collect();
            self.end(key, id, Reply::Answer(Answer::Any))?;
            let mut worlds = Worlds::default();
            for world in std::mem::take(&mut self.keys[key].worlds) {
                if is_newer(&&world) {
                    let state = State::Absent;
                    worlds.insert(World { state, ..world.clone() });
                }
                worlds.insert(world);
            }
            for world in &mut newer {
                world.done.retain(|&(done, _)| done != id);
            }
            newer.into_iter().for_each(|world| worlds.insert(world));
            self.keys[key].worlds = worlds.list;
        }
        Ok(())
    }

    fn around(&self) -> Circumstances {
        Circumstances {
            now_ms: self.now_ms,
            evicts: self.evicts,
            refuses: self.refuses,
            late_ms: self.late_ms,
            disturbed_ms: self.disturbed_ms,
            unique_version: None,
        }
    }

    /// An operation is asked for. Those of one connection on one key happen in the order asked.
    pub fn begin(&mut self, key: usize, connection: u32, operation: Operation) -> Version {
        self.next_id += 1;
        let id = self.next_id;
        if operation.verb == Verb::Cas {
            self.hold_unique(key, operation.unique);
        }
        self.feed_watches(key);
        let bytes = self.values.len_of(operation.value);
        let largest = &mut self.keys[key].largest_bytes;
        *largest = match operation.verb {
            Verb::Append | Verb::Prepend => *largest + bytes,
            _ => bytes.max(*largest),
        };
        self.keys[key].pending.push(Pending {
            id,
            operation,
            connection,
            lost_ms: None,
            may_be_undone: false,
            states: Vec::new(),
        });
        self.feed_watches(key);
        id
    }

    /// Its reply has come.
    pub fn end(&mut self, key: usize, id: Version, reply: Reply) -> Result<(), String> {
        self.feed_watches(key);
        let around = self.around();
        let (entry, values) = (&mut self.keys[key], &mut self.values);
        let Some(at) = entry.pending.iter().position(|pending| pending.id == id) else {
            return Ok(()); // the key was given up meanwhile
        };
        let reply = match reply {
            Reply::Answer(Answer::Miss) if entry.pending[at].has_expired_itself(around.now_ms) => {
                Reply::Answer(Answer::Any)
            }
            reply => reply,
        };
        let mut results = Worlds::default();
        let mut through = true;
        for mut world in std::mem::take(&mut entry.worlds) {
            match world.done.iter().position(|&(done, _)| done == id) {
                Some(done) => {
                    let (_, said) = world.done.remove(done);
                    if let Some(learnt) = agrees(said, reply, &world) {
                        world.uniques.extend(learnt);
                        results.insert(world);
                    }
                }
                None => through &= explore(&entry.pending, world, Some((id, reply)), &around, values, &mut results),
            }
            if results.list.len() > WORLDS_MAX || !through {
                entry.pending.remove(at);
                self.give_up(key);
                return Ok(());
            }
        }
        let ended = entry.pending.remove(at);
        if ended.operation.verb.changes() {
            entry.changed_ms = around.now_ms;
        }
        if ended.operation.verb.touches() {
            entry.touched_ms = around.now_ms;
        }
        if results.list.is_empty() {
            return Err(explanation(&entry.name, &ended, reply, values));
        }
        entry.worlds = results.list;
        let removes = ended.operation.verb == Verb::Delete || ended.operation.exptime < 0;
        if removes && around.now_ms <= entry.copied_until_ms {
            self.taint(key);
        }
        if ended.operation.verb == Verb::Cas {
            self.release_unique(key, ended.operation.unique);
        }
        self.feed_watches(key);
        self.forget_what_is_undone(key);
        Ok(())
    }

    /// No reply will come, or one that says nothing.
    pub fn lose(&mut self, key: usize, id: Version) {
        let entry = &mut self.keys[key];
        let Some(at) = entry.pending.iter().position(|pending| pending.id == id) else {
            return;
        };
        match entry.pending[at].operation.verb.changes() {
            true => {
                entry.pending[at].lost_ms = Some(self.now_ms);
                self.forget_what_is_undone(key);
            }
            false => {
                entry.pending.remove(at);
                self.forget_done(key, id);
            }
        }
        if self.keys[key]
            .pending
            .iter()
            .filter(|pending| pending.is_lost())
            .count()
            > LOST_MAX
        {
            self.give_up(key);
        }
    }

    fn forget_done(&mut self, key: usize, id: Version) {
        let mut worlds = Worlds::default();
        for mut world in std::mem::take(&mut self.keys[key].worlds) {
            world.done.retain(|&(done, _)| done != id);
            worlds.insert(world);
        }
        self.keys[key].worlds = worlds.list;
    }

    fn give_up(&mut self, key: usize) {
        self.given_up += 1;
        self.taint(key);
    }

    /// From here on nothing is promised of a key, until it is written anew.
    pub fn taint(&mut self, key: usize) {
        let entry = &mut self.keys[key];
        entry.pending.retain(|pending| !pending.is_lost());
        // What is in progress may have had its effect already, or have it later.
        let changing = entry.pending.iter().filter(|pending| pending.operation.verb.changes());
        let mut done: Vec<Vec<(Version, Answer)>> = vec![Vec::new()];
        for pending in changing {
            for at in 0..done.len() {
                let more = [&done[at][..], &[(pending.id, Answer::Any)]].concat();
                done.push(more);
            }
        }
        let unknown = |done| World {
            state: State::Unknown,
            done,
            uniques: Vec::new(),
        };
        entry.worlds = done.into_iter().map(unknown).collect();
        for watch in &mut entry.watches {
            watch.states.push(State::Unknown);
        }
    }

    /// Whether a write to the key was in progress at or after this time.
    pub fn changed_since(&self, key: usize, since_ms: u64) -> bool {
        let entry = &self.keys[key];
        let changing = entry.pending.iter().any(|pending| pending.operation.verb.changes());
        changing || (entry.changed_ms >= since_ms && entry.changed_ms > 0)
    }

    /// Whether an operation that only changes the exptime was in progress at or after this time.
    pub fn touched_since(&self, key: usize, since_ms: u64) -> bool {
        let entry = &self.keys[key];
        let touching = entry.pending.iter().any(|pending| pending.operation.verb.touches());
        touching || (entry.touched_ms >= since_ms && entry.touched_ms > 0)
    }

    /// A magent that does not write this key copies it. A removal through the other at the same moment may be undone:
    /// nothing but a lock on both servers would help, and the manual says so.
    pub fn copying(&mut self, key: usize) {
        let entry = &mut self.keys[key];
        entry.copied_until_ms = self.now_ms + COPYING_MS;
        let removes = |pending: &Pending| {
            pending.operation.verb == Verb::Delete
                || (pending.operation.exptime < 0 && pending.operation.verb.changes())
        };
        if entry.pending.iter().any(removes) {
            self.taint(key);
        }
    }

    /// Whether what this operation wants to store is refused.
    pub fn is_too_large(&self, key: usize, id: Version) -> bool {
        let mut pending = self.keys[key].pending.iter();
        pending.any(|pending| pending.id == id && pending.operation.too_large)
    }

    /// Operations in progress on a key, and how many of those are of other connections than this.
    pub fn in_progress(&self, key: usize, connection: u32) -> (usize, usize) {
        let pending = &self.keys[key].pending;
        let others = pending.iter().filter(|pending| pending.connection != connection);
        (pending.len(), others.count())
    }

    /// As many bytes as the value of a key may have had, at most.
    pub fn largest_bytes(&self, key: usize) -> usize {
        self.keys[key].largest_bytes
    }

    /// The same of all keys.
    pub fn largest_bytes_of_all(&self) -> usize {
        self.keys.iter().map(|key| key.largest_bytes).max().unwrap_or(0)
    }

    /// Whether something is under way that sets an exptime.
    pub fn dates_in_progress(&self, key: usize) -> bool {
        let mut pending = self.keys[key].pending.iter();
        pending.any(|pending| pending.operation.exptime > 0)
    }

    /// Operations that went unanswered since the key was last quiet.
    pub fn lost(&self, key: usize) -> usize {
        self.keys[key]
            .pending
            .iter()
            .filter(|pending| pending.is_lost())
            .count()
    }

    /// The last copy of a key may have been lost, and not be missed until later.
    pub fn may_vanish(&mut self, key: usize) {
        let operation = Operation {
            verb: Verb::Vanish,
            value: 0,
            flags: 0,
            exptime: 0,
            delta: 0,
            unique: 0,
            unique_seen: Default::default(),
            asked_ms: self.now_ms,
            too_large: false,
            repeats: false,
        };
        let id = self.begin(key, u32::MAX, operation);
        self.lose(key, id);
    }

    /// All is quiet: what went unanswered before this time has had its effect or never will.
    pub fn settle(&mut self, key: usize, before_ms: u64) {
        let around = self.around();
        let (entry, values) = (&mut self.keys[key], &mut self.values);
        let is_over = |pending: &Pending| pending.lost_ms.is_some_and(|lost_ms| lost_ms < before_ms);
        let over: Vec<Version> = entry
            .pending
            .iter()
            .filter(|pending| is_over(pending))
            .map(|pending| pending.id)
            .collect();
        if over.is_empty() || entry.pending.len() > over.len() + SETTLED_AMONG_MAX {
            return;
        }
        let mut worlds = Worlds::default();
        let mut through = true;
        for world in std::mem::take(&mut entry.worlds) {
            through &= explore(&entry.pending, world, None, &around, values, &mut worlds);
        }
        if !through {
            return self.give_up(key);
        }
        entry.pending.retain(|pending| !is_over(pending));
        let mut kept = Worlds::default();
        for mut world in worlds.list {
            world.done.retain(|(done, _)| !over.contains(done));
            kept.insert(world);
        }
        entry.worlds = kept.list;
    }

    /// Somebody may use this unique.
    pub fn hold_unique(&mut self, key: usize, unique: u64) {
        self.keys[key].held.push(unique);
    }

    /// One of those who might have used this unique will not; what nobody holds is forgotten.
    pub fn release_unique(&mut self, key: usize, unique: u64) {
        let entry = &mut self.keys[key];
        if let Some(at) = entry.held.iter().position(|&held| held == unique) {
            entry.held.swap_remove(at);
        }
        if !entry.held.contains(&unique) {
            for world in &mut entry.worlds {
                world.uniques.retain(|&(known, _)| known != unique);
            }
        }
    }

    /// The states that a key may be in, operations in progress included.
    pub fn possible(&mut self, key: usize) -> Vec<State> {
        let around = self.around();
        let (entry, values) = (&self.keys[key], &mut self.values);
        let mut worlds = Worlds::default();
        for world in &entry.worlds {
            if !explore(&entry.pending, world.clone(), None, &around, values, &mut worlds) {
                return vec![State::Unknown];
            }
        }
        let mut states: Vec<State> = Vec::new();
        for world in worlds.list {
            if !states.contains(&world.state) {
                states.push(world.state);
            }
        }
        states
    }

    /// The states of a key in words.
    pub fn describe(&mut self, key: usize) -> String {
        let states = self.possible(key);
        List(&states, &self.values).to_string()
    }
}
