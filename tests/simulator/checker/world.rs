//! A world: a state that a key may be in, and what has happened in it of the operations in progress.

use super::explore::Learnt;
use crate::model::{Answer, State, Version};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    pub state: State,
    /// What happened before its reply came, in the order of the numbers.
    pub done: Vec<(Version, Answer)>,
    /// Which version a unique was read with.
    pub uniques: Vec<(u64, Version)>,
}

impl World {
    /// The same behind an operation that leaves the key so, and whose reply has come.
    pub fn told(&self, state: State, learnt: Learnt) -> Self {
        let mut uniques = Vec::with_capacity(self.uniques.len() + usize::from(learnt.is_some()));
        uniques.extend(self.uniques.iter().copied().chain(learnt));
        Self {
            state,
            done: self.done.clone(),
            uniques,
        }
    }

    /// The same behind one whose reply has not.
    pub fn after(&self, state: State, id: Version, answer: Answer) -> Self {
        let (before, behind) = self.done.split_at(self.done.partition_point(|&(done, _)| done < id));
        Self {
            state,
            done: [before, &[(id, answer)], behind].concat(),
            uniques: self.uniques.clone(),
        }
    }

    /// Different for nearly all worlds that are different.
    fn fingerprint(&self) -> u64 {
        let mut hash = match self.state {
            State::Unknown => 1,
            State::Absent => 2,
            State::Present(item) => {
                let expires = item.expires_from_ms ^ item.expires_until_ms.rotate_left(24);
                (u64::from(item.version) << 32 | u64::from(item.value)) ^ expires.wrapping_mul(MIXER)
            }
        };
        let mut mix = |number: u64| hash = (hash ^ number).wrapping_mul(MIXER).rotate_left(29);
        for &(id, answer) in &self.done {
            let told = match answer {
                Answer::Hit { version, .. } => u64::from(version) << 8,
                Answer::Number(number) => number << 8 | 1,
                Answer::Any => 2,
                _ => 3,
            };
            mix(u64::from(id) << 32 ^ told);
        }
        for &(unique, version) in &self.uniques {
            mix(unique ^ u64::from(version) << 40);
        }
        hash
    }
}

/// An odd number with bits all over.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Worlds, each once.
#[derive(Default)]
pub struct Worlds {
    pub list: Vec<World>,
    fingerprints: Vec<u64>,
}

impl Worlds {
    /// Adds one, unless it is there.
    pub fn insert(&mut self, world: World) {
        let fingerprint = world.fingerprint();
        let mut alike = self.fingerprints.iter().zip(&self.list);
        if !alike.any(|(&known, other)| known == fingerprint && *other == world) {
            self.fingerprints.push(fingerprint);
            self.list.push(world);
        }
    }
}
