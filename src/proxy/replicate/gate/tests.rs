//! What the gate lets in, and when.

use super::*;
use crate::proxy::permit::PastGate;
use proptest::prelude::*;

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];
/// Two of the keys share one.
const SLOTS_OF: [u16; 3] = [7, 7, 8];

fn let_in(gate: &mut Gate, key: usize, access: Access, who: usize) -> Option<Pass> {
    match gate.enter(KEYS[key], SLOTS_OF[key], access, Who::Request(who)) {
        Entry::Go(pass) => Some(pass),
        Entry::Wait => None,
    }
}

fn request(turn: Option<Turn>) -> Option<usize> {
    turn.map(|turn| match turn {
        Turn::Request(id) => id,
        Turn::Repair(..) => panic!("no repair has come"),
    })
}

fn is_over(gate: &Gate) -> bool {
    gate.alone.is_empty() && gate.writes.iter().all(|&count| count == 0)
}

#[test]
fn a_pass_is_for_its_own_key_and_a_way_past_the_gates_for_its_own_reason() {
    let mut gate = Gate::new(&Limits::DEFAULT);
    let alone = match gate.enter(b"a", 0, Access::Alone, Who::Request(1)) {
        Entry::Go(pass) => pass,
        Entry::Wait => panic!("nobody is there"),
    };
    assert!(alone.permits(true, b"a") && !alone.permits(true, b"b") && !alone.permits(true, b""));
    assert!(PastGate::Returning.permits(false, b"a") && !PastGate::Returning.permits(true, b"a"));
    assert!(PastGate::AllKeys.permits(true, b""));
    gate.abandon(alone);
}

#[test]
fn who_has_a_key_alone_is_waited_for_by_all_that_change_it() {
    let mut gate = Gate::new(&Limits::DEFAULT);
    let alone = let_in(&mut gate, 0, Access::Alone, 1).expect("nobody is there");
    for (who, access) in [(2, Access::Both), (3, Access::Touch), (4, Access::Alone)] {
        assert!(let_in(&mut gate, 0, access, who).is_none());
    }
    let other = let_in(&mut gate, 1, Access::Alone, 5).expect("another key");
    let mut going = gate.leave(alone).unwrap();
    assert_eq!(request(gate.next(&mut going)), Some(2));
    let both = let_in(&mut gate, 0, Access::Both, 2).expect("nobody is there");
    assert_eq!(request(gate.next(&mut going)), Some(3));
    let touch = let_in(&mut gate, 0, Access::Touch, 3).expect("writes to both do not wait for each other");
    assert_eq!(request(gate.next(&mut going)), Some(4));
    let alone = let_in(&mut gate, 0, Access::Alone, 4).expect("nor does who needs a key alone");
    assert_eq!(request(gate.next(&mut going)), None);
    for pass in [other, both, touch, alone] {
        gate.abandon(pass);
    }
    assert!(is_over(&gate));
}

#[test]
fn a_get_waits_only_behind_those_that_wait() {
    let mut gate = Gate::new(&Limits::DEFAULT);
    let alone = let_in(&mut gate, 0, Access::Alone, 1).expect("nobody is there");
    assert!(!gate.waits_to_read([KEYS[1], KEYS[0]].into_iter(), Who::Request(2)));
    assert!(let_in(&mut gate, 0, Access::Both, 3).is_none());
    assert!(gate.waits_to_read([KEYS[1], KEYS[0]].into_iter(), Who::Request(4)));
    assert!(!gate.waits_to_read([KEYS[1]].into_iter(), Who::Request(5)));
    let mut going = gate.leave(alone).unwrap();
    assert_eq!(request(gate.next(&mut going)), Some(3));
    assert_eq!(request(gate.next(&mut going)), Some(4));
    assert_eq!(request(gate.next(&mut going)), None);
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
        let both = |comer: &Comer| SLOTS_OF[comer.key] == slot && !comer.waits && comer.access == Some(Access::Both);
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
            return !self.gate.waits_to_read([KEYS[key]].into_iter(), Who::Request(who));
        };
        let pass = let_in(&mut self.gate, key, access, who);
        let is_in = pass.is_some();
        self.inside.extend(pass.map(|pass| (who, pass)));
        is_in
    }

    fn go(&mut self, at: usize) {
        let (who, pass) = self.inside.swap_remove(at % self.inside.len());
        let expected = self.model.leave(who);
        let mut going = self.gate.leave(pass).unwrap_or_default();
        let mut gone = Vec::new();
        while let Some(who) = request(self.gate.next(&mut going)) {
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
