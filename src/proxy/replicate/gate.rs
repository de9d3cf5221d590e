//! The gate of a key: what may go on with it, and what has to wait for what.
//!
//! | who | waits while |
//! | --- | --- |
//! | a write that decides on one server first (add, replace, cas), a repair: [`Access::Alone`] | another of these has the key |
//! | a write to both servers at once: [`Access::Both`]; gat: [`Access::Touch`] | one of these has it |
//! | get, gets | one of these has it and somebody waits for that |
//! | whatever changes a key | its own client is still reading the key, or any keys with a get of many |
//! | whatever comes behind a wide get of its own client | keys of that have not been asked for |
//!
//! Writes to both servers do not wait for each other: each server's link carries them in the same order. For the same
//! reason whoever needs a key alone does not wait for those that are on their way; what follows it does.
//!
//! Only who was let in has a [`Pass`], and only with a pass is a server sent what changes a key
//! (`Servers::change`), so no path can forget to wait. Those that have a key alone are found by the key, all
//! others are counted by its hash: a plain get or set allocates nothing here.

use crate::proxy::limits::Limits;
use crate::proxy::permit::Permit;
use crate::proxy::replicate::reading::{Reading, Readings, Reads};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// What a request means to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To change it on both servers at once.
    Both,
    /// To change its exptime where it is read, and by a touch on the other server. Nobody asks whether one is under way.
    Touch,
    /// To change it on one server and then, by what that says, on the other.
    Alone,
}

/// Who goes through a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A client's request, by the number of its transaction.
    Request(usize),
    /// A repair, by its number.
    Repair(usize),
}

/// Whose turn it is. A repair has its key alone now, a request goes through the gate as it did before.
#[must_use]
#[derive(Debug)]
pub enum Turn {
    Request(usize),
    Repair(usize, Pass),
}

/// What the gate says to who wants to go in.
#[must_use]
pub enum Entry {
    Go(Pass),
    /// It stands behind those that wait already, and is named by [`Gate::next`] when its turn has come.
    Wait,
}

/// The permission to change a key on its servers. It is given back with [`Gate::leave`].
#[must_use = "whoever was let in leaves again"]
#[derive(Debug)]
pub struct Pass {
    slot: u16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Both,
    Touch,
    Alone {
        key: Rc<[u8]>,
        /// Writes to both servers may have been on their way when it was let in.
        accompanied: bool,
    },
}

impl Pass {
    /// The slot of the key.
    pub fn slot(&self) -> u16 {
        self.slot
    }

    /// Whether other writes to the key may have been on their way when its holder, who has it alone, was let in.
    pub fn is_accompanied(&self) -> bool {
        matches!(self.kind, Kind::Alone { accompanied: true, .. })
    }

    /// The key, of those who have it alone.
    pub fn key(&self) -> Option<&Rc<[u8]>> {
        match &self.kind {
            Kind::Alone { key, .. } => Some(key),
            Kind::Both | Kind::Touch => None,
        }
    }
}

impl Permit for Pass {
    fn permits(&self, _: bool, key: &[u8]) -> bool {
        self.key().is_none_or(|own| **own == *key)
    }
}

#[cfg(debug_assertions)]
impl Drop for Pass {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a pass was not given back: {:?}", self.kind);
    }
}

/// Those that waited for somebody who has left, in their order; see [`Gate::next`].
#[must_use = "whoever waited is to go on"]
#[derive(Default)]
pub struct Going {
    key: Option<Rc<[u8]>>,
    slot: u16,
    waiting: VecDeque<Who>,
}

#[cfg(debug_assertions)]
impl Drop for Going {
    fn drop(&mut self) {
        let over = self.waiting.is_empty() || std::thread::panicking();
        assert!(over, "somebody waits for a key that nobody has");
    }
}

/// An add that has its key alone and waits until the server that decides has said which life it is in.
pub struct Deferred {
    /// Its transaction.
    pub who: usize,
    pub pass: Pass,
    /// The other server was to decide, and was lost; whether it fell silent and had been sent this, so that it may do the
    /// same.
    pub failed_over: Option<bool>,
}

/// The gates of all keys.
pub struct Gate {
    /// Keys that somebody has alone, and who waits for each, in the order of coming.
    alone: HashMap<Rc<[u8]>, VecDeque<Who>>,
    deferred: Vec<Deferred>,
    /// Writes to both servers under way, by the slot of their key, of which several may share a count.
    writes: Box<[u32]>,
    readings: Readings,
}

impl Gate {
    pub fn new(limits: &Limits) -> Self {
        Self {
            alone: HashMap::new(),
            deferred: Vec::new(),
            writes: vec![0; limits.write_counts].into_boxed_slice(),
            readings: Readings::new(limits.read_counts),
        }
    }

    fn count(&self, slot: u16) -> usize {
        usize::from(slot) % self.writes.len()
    }

    /// Lets `who` in to a key, or lets it stand behind those that wait. `slot` is the key's.
    pub fn enter(&mut self, key: &[u8], slot: u16, access: Access, who: Who) -> Entry {
        if !self.alone.is_empty() {
            if let Some(waiting) = self.alone.get_mut(key) {
                waiting.push_back(who);
                return Entry::Wait;
            }
        }
        let kind = match access {
            Access::Both => {
                let count = self.count(slot);
                self.writes[count] += 1;
                Kind::Both
            }
            Access::Touch => Kind::Touch,
            Access::Alone => return Entry::Go(self.let_in_alone(key.into(), slot)),
        };
        Entry::Go(Pass { slot, kind })
    }

    /// Takes a pass back. Those that waited for that are to go on: [`Gate::next`] names them one by one. None if nobody could wait for it.
    #[inline]
    pub fn leave(&mut self, mut pass: Pass) -> Option<Going> {
        let (slot, kind) = (pass.slot, std::mem::replace(&mut pass.kind, Kind::Touch));
        std::mem::forget(pass);
        match kind {
            Kind::Touch => {}
            Kind::Both => {
                let count = self.count(slot);
                self.writes[count] -= 1;
            }
            Kind::Alone { key, .. } => {
                let waiting = self.alone.remove(&key).unwrap_or_default();
                let key = Some(key);
                return Some(Going { key, slot, waiting });
            }
        }
        None
    }

    /// Who is to come in now. When one of them has the key alone again, the others wait on, before those that have come
    /// meanwhile, and there is nobody to go on.
    pub fn next(&mut self, going: &mut Going) -> Option<Turn> {
        let key = going.key.as_ref()?;
        if let Some(queue) = self.alone.get_mut(key) {
            while let Some(who) = going.waiting.pop_back() {
                queue.push_front(who);
            }
        }
        Some(match going.waiting.pop_front()? {
            Who::Request(id) => Turn::Request(id),
            Who::Repair(number) => Turn::Repair(number, self.let_in_alone(Rc::clone(key), going.slot)),
        })
    }

    fn let_in_alone(&mut self, key: Rc<[u8]>, slot: u16) -> Pass {
        let accompanied = self.has_writes(slot);
        self.alone.insert(Rc::clone(&key), VecDeque::new());
        let kind = Kind::Alone { key, accompanied };
        Pass { slot, kind }
    }

    /// Whether a get has to wait for one of its keys; if so, `who` stands behind those that wait for that. It overtakes the
    /// second half of a write that has the key alone, which changes nothing that it could see, but not the writes that wait.
    pub fn waits_to_read<'a>(&mut self, mut keys: impl Iterator<Item = &'a [u8]>, who: Who) -> bool {
        if self.alone.is_empty() {
            return false;
        }
        let barred = |key: &&[u8]| self.alone.get(*key).is_some_and(|waiting| !waiting.is_empty());
        let Some(waiting) = keys.find(barred).and_then(|key| self.alone.get_mut(key)) else {
            return false;
        };
        waiting.push_back(who);
        true
    }

    /// Whether somebody has a key alone.
    #[inline]
    pub fn is_held(&self, key: &[u8]) -> bool {
        !self.alone.is_empty() && self.is_held_now(key)
    }

    /// The rare half, kept out of those that ask.
    #[inline(never)]
    fn is_held_now(&self, key: &[u8]) -> bool {
        self.alone.contains_key(key)
    }

    /// Whether a write to both servers is under way to a key of this slot.
    pub fn has_writes(&self, slot: u16) -> bool {
        self.writes[self.count(slot)] > 0
    }

    /// Keeps an add that has its key alone until [`Gate::take_deferred`].
    pub fn defer(&mut self, deferred: Deferred) {
        self.deferred.push(deferred);
    }

    pub fn take_deferred(&mut self) -> Vec<Deferred> {
        std::mem::take(&mut self.deferred)
    }

    pub fn deferred_count(&self) -> usize {
        self.deferred.len()
    }

    pub fn is_deferred(&self, who: usize) -> bool {
        self.deferred.iter().any(|deferred| deferred.who == who)
    }

    /// Those who wait, for whichever key.
    pub fn waiting(&self) -> impl Iterator<Item = Who> {
        self.alone.values().flatten().copied()
    }

    /// Keys that somebody has alone, writes to both servers, and retrievals that must not be overtaken.
    pub fn inside(&self) -> (usize, usize, usize) {
        // Without looking for overflow, which there is none of, this many are added up many at a time.
        let writes = self.writes.iter().fold(0_u32, |sum, &count| sum.wrapping_add(count));
        (self.alone.len(), writes as usize, self.readings.total())
    }

    /// Takes a pass back where everything ends, and nobody goes on.
    #[cfg(debug_assertions)]
    pub fn abandon(&mut self, pass: Pass) {
        if let Some(mut going) = self.leave(pass) {
            going.waiting.clear();
        }
    }

    /// The same of those that are deferred.
    #[cfg(debug_assertions)]
    pub fn abandon_deferred(&mut self) {
        for deferred in self.take_deferred() {
            self.abandon(deferred.pass);
        }
    }

    /// A client's retrieval begins. It is given back with [`Gate::has_read`].
    pub fn reads(&mut self, client: usize, what: Reads<'_>) -> Reading {
        self.readings.begin(client, what)
    }

    /// A retrieval is over, or nobody waits for it any more.
    pub fn has_read(&mut self, reading: Reading) {
        self.readings.end(reading);
    }

    /// Whether this of a client is in progress: what must not overtake it waits.
    #[inline]
    pub fn is_reading(&self, client: usize, what: Reads<'_>) -> bool {
        self.readings.may_have(client, what)
    }
}

#[cfg(test)]
mod tests;
