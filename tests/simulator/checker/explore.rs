//! What may have happened: a world carried on, and whether a reply fits one.

use super::world::{World, Worlds};
use super::{Pending, Reply, WORLDS_MAX};
use crate::model::{Answer, Circumstances, State, Values, Version, outcomes};

/// Carries a world on in every way that makes the wanted operation happen, or, without one, in every way. False if there
/// are too many to follow.
pub fn explore(
    pending: &[Pending],
    world: World,
    wanted: Option<(Version, Reply)>,
    around: &Circumstances,
    values: &mut Values,
    results: &mut Worlds,
) -> bool {
    if let ([only], Some((id, reply))) = (pending, wanted) {
        if only.id == id {
            happen(only, &world, around, values, |state, answer| {
                if let Some(learnt) = agrees(answer, reply, &world) {
                    results.insert(world.told(state, learnt));
                }
            });
            return true;
        }
    }
    let mut seen = Worlds::default();
    seen.insert(world);
    let mut at = 0;
    while at < seen.list.len() && seen.list.len() < WORLDS_MAX {
        let world = seen.list[at].clone();
        at += 1;
        let open = |candidate: &&Pending| !world.done.iter().any(|&(id, _)| id == candidate.id);
        let changes_ahead = pending
            .iter()
            .filter(open)
            .any(|pending| pending.operation.verb.changes());
        for (index, candidate) in pending.iter().enumerate() {
            let is_wanted = wanted.is_some_and(|(id, _)| id == candidate.id);
            // A read that nothing changes behind can as well happen later.
            let pointless = !candidate.operation.verb.changes() && !is_wanted && (!changes_ahead || wanted.is_none());
            if !open(&candidate) || pointless {
                continue;
            }
            // Where all states are looked for, reads are left out, and nothing waits for them.
            let counts = |other: &&Pending| wanted.is_some() || other.operation.verb.changes();
            let earlier = pending[..index].iter().filter(open).filter(counts);
            if !candidate.is_lost()
                && earlier
                    .clone()
                    .any(|other| other.connection == candidate.connection && !other.is_lost())
            {
                continue; // a connection's requests happen in the order asked
            }
            happen(candidate, &world, around, values, |state, answer| match wanted {
                Some((id, reply)) if id == candidate.id => {
                    if let Some(learnt) = agrees(answer, reply, &world) {
                        results.insert(world.told(state, learnt));
                    }
                }
                _ => {
                    // What a lost one would have said is of no interest.
                    let answer = if candidate.is_lost() { Answer::Any } else { answer };
                    if candidate.operation.repeats {
                        seen.insert(World { state, ..world.clone() });
                    }
                    seen.insert(world.after(state, candidate.id, answer));
                }
            });
        }
    }
    if at < seen.list.len() {
        return false;
    }
    if wanted.is_none() {
        for world in seen.list {
            results.insert(world);
        }
    }
    true
}

/// All that an operation in progress may do to the key in a world.
fn happen(
    candidate: &Pending,
    world: &World,
    around: &Circumstances,
    values: &mut Values,
    each: impl FnMut(State, Answer),
) {
    let unique = candidate.operation.unique;
    let read = world.uniques.iter().find(|&&(known, _)| known == unique);
    let around = Circumstances {
        unique_version: read.map(|&(_, version)| version),
        ..*around
    };
    outcomes(&candidate.operation, candidate.id, world.state, &around, values, each);
}

/// What a unique stands for, where a reply says so and it was not known.
pub type Learnt = Option<(u64, Version)>;

/// Whether a reply is the answer that an operation gave in a world, and what is learnt from it there.
pub fn agrees(answer: Answer, reply: Reply, world: &World) -> Option<Learnt> {
    let is_true = match (answer, reply) {
        (Answer::Any, _) | (_, Reply::Answer(Answer::Any)) => true,
        (
            Answer::Hit { value, flags, version },
            Reply::WithUnique(
                Answer::Hit {
                    value: told_value,
                    flags: told_flags,
                    ..
                },
                unique,
            ),
        ) => {
            if (value, flags) != (told_value, told_flags) {
                return None;
            }
            match world.uniques.iter().find(|&&(known, _)| known == unique) {
                Some(&(_, known)) => known == version,
                None => return Some(Some((unique, version))),
            }
        }
        (
            Answer::Hit { value, flags, .. },
            Reply::Answer(Answer::Hit {
                value: told_value,
                flags: told_flags,
                ..
            }),
        ) => (value, flags) == (told_value, told_flags),
        (answer, Reply::Answer(told) | Reply::WithUnique(told, _)) => answer == told,
    };
    is_true.then_some(None)
}
