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
//! (`Proxy::send_change`), so no path can forget to wait. Those that have a key alone are found by the key, all
//! others are counted by its hash: a plain get or set allocates nothing here.

use crate::proxy::limits::Limits;
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
    waiting: VecDeque<usize>,
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
    pub who: usize,
    pub pass: Pass,
    /// See [`Conditional`](crate::proxy::replicate::conditional::Conditional).
    pub failed_over: Option<bool>,
}

/// The gates of all keys. `who` is a transaction.
pub struct Gate {
    /// Keys that somebody has alone, and who waits for each, in the order of coming.
    alone: HashMap<Rc<[u8]>, VecDeque<usize>>,
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
    pub fn enter(&mut self, key: &[u8], slot: u16, access: Access, who: usize) -> Entry {
        if !self.alone.is_empty() {
            if let Some(waiting) = self.alone.get_mut(key) {
                waiting.push_back(who);
                return Entry::Wait;
            }
        }
        let count = self.count(slot);
        let writes = &mut self.writes[count];
        let kind = match access {
            Access::Both => {
                *writes += 1;
                Kind::Both
            }
            Access::Touch => Kind::Touch,
            Access::Alone => {
                let key: Rc<[u8]> = key.into();
                self.alone.insert(Rc::clone(&key), VecDeque::new());
                Kind::Alone {
                    key,
                    accompanied: *writes > 0,
                }
            }
        };
        Entry::Go(Pass { slot, kind })
    }

    /// Takes a pass back. Those that waited for that are to go on: [`Gate::next`] names them one by one.
    pub fn leave(&mut self, mut pass: Pass) -> Going {
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
                return Going { key, waiting };
            }
        }
        Going::default()
    }

    /// Who is to come in now. When one of them has the key alone again, the others wait on, before those that have come
    /// meanwhile, and there is nobody to go on.
    pub fn next(&mut self, going: &mut Going) -> Option<usize> {
        let key = going.key.as_ref()?;
        if let Some(queue) = self.alone.get_mut(key) {
            while let Some(who) = going.waiting.pop_back() {
                queue.push_front(who);
            }
        }
        going.waiting.pop_front()
    }

    /// Whether a get has to wait for one of its keys; if so, `who` stands behind those that wait for that. It overtakes the
    /// second half of a write that has the key alone, which changes nothing that it could see, but not the writes that wait.
    pub fn waits_to_read<'a>(&mut self, mut keys: impl Iterator<Item = &'a [u8]>, who: usize) -> bool {
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
    pub fn is_held(&self, key: &[u8]) -> bool {
        !self.alone.is_empty() && self.alone.contains_key(key)
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
    pub fn waiting(&self) -> impl Iterator<Item = usize> {
        self.alone.values().flatten().copied()
    }

    /// Keys that somebody has alone, writes to both servers, and retrievals that must not be overtaken.
    pub fn inside(&self) -> (usize, usize, usize) {
        let writes = self.writes.iter().map(|&count| count as usize).sum();
        (self.alone.len(), writes, self.readings.total())
    }

    /// Takes a pass back where everything ends, and nobody goes on.
    pub fn abandon(&mut self, pass: Pass) {
        let mut going = self.leave(pass);
        going.waiting.clear();
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
    pub fn is_reading(&self, client: usize, what: Reads<'_>) -> bool {
        self.readings.may_have(client, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];
    /// Two of the keys share one.
    const SLOTS_OF: [u16; 3] = [7, 7, 8];

    fn let_in(gate: &mut Gate, key: usize, access: Access, who: usize) -> Option<Pass> {
        match gate.enter(KEYS[key], SLOTS_OF[key], access, who) {
            Entry::Go(pass) => Some(pass),
            Entry::Wait => None,
        }
    }

    fn is_over(gate: &Gate) -> bool {
        gate.alone.is_empty() && gate.writes.iter().all(|&count| count == 0)
    }

    #[test]
    fn who_has_a_key_alone_is_waited_for_by_all_that_change_it() {
        let mut gate = Gate::new(&Limits::DEFAULT);
        let alone = let_in(&mut gate, 0, Access::Alone, 1).expect("nobody is there");
        for (who, access) in [(2, Access::Both), (3, Access::Touch), (4, Access::Alone)] {
            assert!(let_in(&mut gate, 0, access, who).is_none());
        }
        let other = let_in(&mut gate, 1, Access::Alone, 5).expect("another key");
        let mut going = gate.leave(alone);
        assert_eq!(gate.next(&mut going), Some(2));
        let both = let_in(&mut gate, 0, Access::Both, 2).expect("nobody is there");
        assert_eq!(gate.next(&mut going), Some(3));
        let touch = let_in(&mut gate, 0, Access::Touch, 3).expect("writes to both do not wait for each other");
        assert_eq!(gate.next(&mut going), Some(4));
        let alone = let_in(&mut gate, 0, Access::Alone, 4).expect("nor does who needs a key alone");
        assert_eq!(gate.next(&mut going), None);
        for pass in [other, both, touch, alone] {
            gate.abandon(pass);
        }
        assert!(is_over(&gate));
    }

    #[test]
    fn a_get_waits_only_behind_those_that_wait() {
        let mut gate = Gate::new(&Limits::DEFAULT);
        let alone = let_in(&mut gate, 0, Access::Alone, 1).expect("nobody is there");
        assert!(!gate.waits_to_read([KEYS[1], KEYS[0]].into_iter(), 2));
        assert!(let_in(&mut gate, 0, Access::Both, 3).is_none());
        assert!(gate.waits_to_read([KEYS[1], KEYS[0]].into_iter(), 4));
        assert!(!gate.waits_to_read([KEYS[1]].into_iter(), 5));
        let mut going = gate.leave(alone);
        assert_eq!(gate.next(&mut going), Some(3));
        assert_eq!(gate.next(&mut going), Some(4));
        assert_eq!(gate.next(&mut going), None);
    }

    #[test]
    fn who_has_a_key_alone_knows_whether_writes_are_under_way() {
        let mut gate = Gate::new(&Limits::DEFAULT);
        let write = let_in(&mut gate, 0, Access::Both, 1).expect("nobody is there");
        let accompanied = let_in(&mut gate, 0, Access::Alone, 2).expect("nobody has it alone");
        gate.abandon(write);
        let not = let_in(&mut gate, 2, Access::Alone, 3).expect("nobody has it alone");
        assert!(accompanied.is_accompanied() && !not.is_accompanied());
        gate.abandon(accompanied);
        gate.abandon(not);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a pass was not given back")]
    fn a_pass_is_given_back() {
        drop(let_in(&mut Gate::new(&Limits::DEFAULT), 0, Access::Touch, 1));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "somebody waits for a key that nobody has")]
    fn whoever_waited_goes_on() {
        let mut gate = Gate::new(&Limits::DEFAULT);
        let alone = let_in(&mut gate, 0, Access::Alone, 1).expect("nobody is there");
        assert!(let_in(&mut gate, 0, Access::Both, 2).is_none());
        drop(gate.leave(alone));
    }

    /// One who came, in the order of coming.
    #[derive(Clone, Debug)]
    struct Comer {
        who: usize,
        key: usize,
        /// None reads.
        access: Option<Access>,
        waits: bool,
    }

    /// All that is in progress, in one list.
    #[derive(Default)]
    struct Model(Vec<Comer>);

    impl Model {
        fn is_held(&self, key: usize) -> bool {
            let alone = |comer: &Comer| comer.key == key && !comer.waits && comer.access == Some(Access::Alone);
            self.0.iter().any(alone)
        }

        fn has_to_wait(&self, key: usize, access: Option<Access>) -> bool {
            let others_wait = self.0.iter().any(|comer| comer.key == key && comer.waits);
            self.is_held(key) && (access.is_some() || others_wait)
        }

        fn has_writes(&self, slot: u16) -> bool {
            let both =
                |comer: &Comer| SLOTS_OF[comer.key] == slot && !comer.waits && comer.access == Some(Access::Both);
            self.0.iter().any(both)
        }

        /// Lets one go, and says who goes on, in their order.
        fn leave(&mut self, who: usize) -> Vec<usize> {
            let at = self.0.iter().position(|comer| comer.who == who).expect("it is there");
            let key = self.0.remove(at).key;
            let mut going = Vec::new();
            while let Some(at) = self.0.iter().position(|comer| comer.key == key && comer.waits) {
                if self.is_held(key) {
                    break;
                }
                self.0[at].waits = false;
                going.push(self.0[at].who);
                if self.0[at].access.is_none() {
                    self.0.remove(at);
                }
            }
            going
        }
    }

    /// The gate with those that it let in.
    struct Checked {
        gate: Gate,
        model: Model,
        inside: Vec<(usize, Pass)>,
        all: Vec<Comer>,
    }

    impl Checked {
        fn come(&mut self, key: usize, access: Option<Access>) {
            let who = self.all.len();
            let waits = self.model.has_to_wait(key, access);
            let comer = Comer {
                who,
                key,
                access,
                waits,
            };
            self.all.push(comer.clone());
            if access.is_some() || waits {
                self.model.0.push(comer);
            }
            assert_eq!(self.enter(who), !waits, "{:?}", self.all[who]);
        }

        /// Returns whether it was let in.
        fn enter(&mut self, who: usize) -> bool {
            let Comer { key, access, .. } = self.all[who];
            let Some(access) = access else {
                return !self.gate.waits_to_read([KEYS[key]].into_iter(), who);
            };
            let pass = let_in(&mut self.gate, key, access, who);
            let is_in = pass.is_some();
            self.inside.extend(pass.map(|pass| (who, pass)));
            is_in
        }

        fn go(&mut self, at: usize) {
            let (who, pass) = self.inside.swap_remove(at % self.inside.len());
            let expected = self.model.leave(who);
            let mut going = self.gate.leave(pass);
            let mut gone = Vec::new();
            while let Some(who) = self.gate.next(&mut going) {
                assert!(self.enter(who), "who has its turn is let in");
                gone.push(who);
            }
            assert_eq!(gone, expected);
        }

        fn agrees(&self) {
            for (key, &slot) in SLOTS_OF.iter().enumerate() {
                assert_eq!(self.gate.is_held(KEYS[key]), self.model.is_held(key));
                assert_eq!(self.gate.has_writes(slot), self.model.has_writes(slot));
            }
        }
    }

    fn access() -> impl Strategy<Value = Option<Access>> {
        prop_oneof![
            Just(None),
            Just(Some(Access::Both)),
            Just(Some(Access::Touch)),
            Just(Some(Access::Alone)),
        ]
    }

    proptest! {
        /// Some come, for one of the keys, and some go. What the gate says is what a list of who waits for what says.
        #[test]
        fn the_gate_is_a_list_of_who_waits_for_what_in_order(
            steps in prop::collection::vec((0..KEYS.len(), access(), any::<bool>(), 0..100_usize), 1..200),
        ) {
            let mut checked = Checked {
                gate: Gate::new(&Limits::DEFAULT),
                model: Model::default(),
                inside: Vec::new(),
                all: Vec::new(),
            };
            for (key, access, goes, at) in steps {
                match goes && !checked.inside.is_empty() {
                    true => checked.go(at),
                    false => checked.come(key, access),
                }
                checked.agrees();
            }
            while !checked.inside.is_empty() {
                checked.go(0);
            }
            prop_assert!(is_over(&checked.gate) && checked.model.0.is_empty());
        }
    }
}
