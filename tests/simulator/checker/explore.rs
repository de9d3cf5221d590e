//! What may have happened: a world carried on, and whether a reply fits one.

use super::world::{World, Worlds};
use super::{Pending, Reply, WORLDS_MAX};
use crate::model::{Answer, Circumstances, Values, Version, outcomes};

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
            let mut around = *around;
            let unique = candidate.operation.unique;
            around.unique_version = world
                .uniques
                .iter()
                .find(|&&(known, _)| known == unique)
                .map(|&(_, version)| version);
            outcomes(
                &candidate.operation,
                candidate.id,
                world.state,
                &around,
                values,
                |state, answer| {
                    let mut next = World { state, ..world.clone() };
                    match wanted {
                        Some((id, reply)) if id == candidate.id => {
                            if agrees(answer, reply, &mut next) {
                                results.insert(next);
                            }
                        }
                        _ => {
                            // What a lost one would have said is of no interest.
                            let answer = if candidate.is_lost() { Answer::Any } else { answer };
                            let place = next.done.partition_point(|&(id, _)| id < candidate.id);
                            next.done.insert(place, (candidate.id, answer));
                            seen.insert(next);
                        }
                    }
                },
            );
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

/// Whether a reply is the answer that an operation gave in a world, where what a unique stands for is noted.
pub fn agrees(answer: Answer, reply: Reply, world: &mut World) -> bool {
    match (answer, reply) {
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
                return false;
            }
            match world.uniques.iter().find(|&&(known, _)| known == unique) {
                Some(&(_, known)) => known == version,
                None => {
                    world.uniques.push((unique, version));
                    true
                }
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
    }
}
