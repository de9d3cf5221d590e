//! All schedules of a repair: every answer to every question, in every order.

use super::{FROM, Stage, TO, WHYS, as_sent};
use crate::proxy::copier::repair::{Action, ROUNDS_MAX};
use crate::proxy::upstream::link::Purpose;

/// All answers that a question may have.
fn answers(line: &[u8]) -> &'static [&'static str] {
    match line {
        line if line.ends_with(b" v\r\n") => &[
            "value",
            "value without unique",
            "dying value",
            "too large",
            "miss",
            "unknown",
            "lost",
            "hung",
        ],
        line if line.starts_with(b"get") => &["plain value", "end", "unknown", "lost", "hung"],
        line if line.starts_with(b"mg") => &["unique 5", "unique 6", "hit", "miss", "unknown", "lost", "hung"],
        line if line.starts_with(b"md") => &["hit", "not found", "exists", "lost", "hung"],
        line if line.starts_with(b"delete") => &["deleted", "not found", "no memory", "lost", "hung"],
        line if line.starts_with(b"cas") => &["stored", "exists", "not found", "no memory", "lost", "hung"],
        _ => &["stored", "not stored", "no memory", "lost", "hung"],
    }
}

/// What happens in a schedule: to the servers, or an answer to the oldest question of one of them.
type Event = (Option<usize>, &'static str);

/// A question that is not answered yet.
struct Asked {
    server: usize,
    purpose: Purpose,
    answers: &'static [&'static str],
}

/// Plays a schedule, and says what has been asked and is not answered.
fn play(name: &str, schedule: &[Event]) -> Vec<Asked> {
    let mut stage = Stage::new(name);
    stage.repair.rounds = ROUNDS_MAX - 1; // all of them would be some millions of schedules
    let mut asked: Vec<Asked> = Vec::new();
    let mut done = 0;
    for &(server, event) in schedule {
        if let Some(oldest) = asked.iter().position(|question| Some(question.server) == server) {
            stage.purpose = asked[oldest].purpose;
            match event {
                // Its end follows.
                "plain value" => asked[oldest].answers = &["end", "lost", "hung"],
                _ => _ = asked.remove(oldest),
            }
        }
        for action in stage.happens(event) {
            match action {
                Action::Send {
                    server,
                    purpose,
                    command,
                } => asked.push(Asked {
                    server,
                    purpose,
                    answers: answers(&as_sent(&command)),
                }),
                Action::Done { .. } => done += 1,
                _ => {}
            }
        }
    }
    assert!(done <= 1, "{name} is over twice: {schedule:?}");
    assert_eq!(stage.repair.is_over(), done == 1, "{name}: {schedule:?}");
    assert!(done == 1 || !asked.is_empty(), "{name} waits for nothing: {schedule:?}");
    asked
}

/// Plays all schedules that begin like this one. Returns how many there are.
fn explore(name: &str, schedule: &mut Vec<Event>) -> usize {
    assert!(schedule.len() < 24, "{name} never ends: {schedule:?}");
    let asked = play(name, schedule);
    let mut count = 1;
    for server in [FROM, TO] {
        let oldest = asked.iter().find(|question| question.server == server);
        for answer in oldest.map_or(&[][..], |question| question.answers) {
            schedule.push((Some(server), *answer));
            count += explore(name, schedule);
            schedule.pop();
        }
    }
    count
}

/// Whatever the two servers answer, in whichever order, and whatever has become of them before: a repair that is not over
/// waits for an answer, and is over once.
#[test]
fn every_repair_comes_to_its_end() {
    let mut count = 0;
    for name in WHYS {
        for before in ["", "source old", "target old", "source restarted", "target decides"] {
            for meanwhile in ["", "source down", "target down", "source restarted", "flushed"] {
                let mut schedule: Vec<Event> = [before, "begin", meanwhile].map(|event| (None, event)).to_vec();
                schedule.retain(|(_, event)| !event.is_empty());
                count += explore(name, &mut schedule);
            }
        }
    }
    assert!(count > 5_000, "only {count} schedules");
}
