//! The checker finds what it is there to find.

use super::{Checker, Reply};
use crate::model::{Answer, Operation, Seen, Verb, Version};

fn checker() -> Checker {
    Checker::new(&["k".to_owned()])
}

fn operation(checker: &mut Checker, verb: Verb, value: &str) -> Operation {
    Operation {
        verb,
        value: checker.values.id(value.as_bytes()),
        flags: 0,
        exptime: 0,
        delta: 1,
        unique: 7,
        unique_seen: Seen::default(),
        asked_ms: 1,
        too_large: false,
        repeats: false,
    }
}

fn begin(checker: &mut Checker, client: u32, verb: Verb, value: &str) -> Version {
    let operation = operation(checker, verb, value);
    checker.now_ms = 1;
    checker.begin(0, client, operation)
}

fn hit(checker: &mut Checker, value: &str) -> Reply {
    Reply::WithUnique(
        Answer::Hit {
            value: checker.values.id(value.as_bytes()),
            flags: 0,
            version: 0,
        },
        7,
    )
}

#[track_caller]
fn done(checker: &mut Checker, client: u32, verb: Verb, value: &str, answer: Answer) -> Result<(), String> {
    let id = begin(checker, client, verb, value);
    checker.end(0, id, Reply::Answer(answer))
}

fn get(checker: &mut Checker, value: &str) -> Result<(), String> {
    let id = begin(checker, 9, Verb::Get, "");
    let told = hit(checker, value);
    checker.end(0, id, told)
}

#[test]
fn a_stale_read_is_found() {
    let mut checker = checker();
    done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
    done(&mut checker, 1, Verb::Set, "b", Answer::Stored).unwrap();
    assert!(get(&mut checker, "a").is_err());
}

#[test]
fn a_lost_write_is_found() {
    let mut checker = checker();
    done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
    assert!(done(&mut checker, 2, Verb::Get, "", Answer::Miss).is_err());
}

#[test]
fn a_flush_may_happen_twice_where_it_is_repeated_and_not_once_it_is_answered() {
    for repeats in [false, true] {
        let mut checker = checker();
        let flush = Operation {
            repeats,
            ..operation(&mut checker, Verb::FlushAll, "")
        };
        done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
        let id = checker.begin(0, 2, flush);
        done(&mut checker, 1, Verb::Add, "b", Answer::Stored).unwrap();
        let again = done(&mut checker, 1, Verb::Add, "c", Answer::Stored);
        assert_eq!(again.is_ok(), repeats);
        if repeats {
            checker.end(0, id, Reply::Answer(Answer::Done)).unwrap();
            done(&mut checker, 1, Verb::Set, "d", Answer::Stored).unwrap();
            assert!(done(&mut checker, 1, Verb::Add, "e", Answer::Stored).is_err());
        }
    }
}

#[test]
fn writes_at_the_same_time_may_happen_in_either_order_but_in_one() {
    for first in ["a", "b"] {
        let mut checker = checker();
        let ids = [
            begin(&mut checker, 1, Verb::Set, "a"),
            begin(&mut checker, 2, Verb::Set, "b"),
        ];
        for id in ids {
            checker.end(0, id, Reply::Answer(Answer::Stored)).unwrap();
        }
        let second = if first == "a" { "b" } else { "a" };
        get(&mut checker, first).unwrap();
        assert!(get(&mut checker, second).is_err());
    }
}

#[test]
fn a_unique_that_succeeds_twice_is_found() {
    let mut checker = checker();
    done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
    get(&mut checker, "a").unwrap();
    done(&mut checker, 1, Verb::Cas, "b", Answer::Stored).unwrap();
    assert!(done(&mut checker, 2, Verb::Cas, "c", Answer::Stored).is_err());
}

#[test]
fn what_a_client_was_not_told_may_have_happened_or_not_until_all_is_quiet() {
    let lost_set = || {
        let mut checker = checker();
        done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
        let id = begin(&mut checker, 2, Verb::Set, "b");
        checker.lose(0, id);
        checker
    };
    get(&mut lost_set(), "a").unwrap();
    get(&mut lost_set(), "b").unwrap();
    let mut checker = lost_set();
    get(&mut checker, "a").unwrap();
    checker.now_ms = 100;
    checker.settle(0, 50);
    done(&mut checker, 1, Verb::Set, "c", Answer::Stored).unwrap();
    assert!(get(&mut checker, "b").is_err());
}

#[test]
fn requests_of_one_connection_happen_in_the_order_asked() {
    let mut checker = checker();
    done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
    let first = begin(&mut checker, 2, Verb::Get, "");
    let second = begin(&mut checker, 2, Verb::Get, "");
    done(&mut checker, 1, Verb::Set, "b", Answer::Stored).unwrap();
    let (new, old) = (hit(&mut checker, "b"), hit(&mut checker, "a"));
    let Reply::WithUnique(new, _) = new else { unreachable!() };
    let Reply::WithUnique(old, _) = old else { unreachable!() };
    checker.end(0, first, Reply::Answer(new)).unwrap();
    assert!(checker.end(0, second, Reply::Answer(old)).is_err());
}

#[test]
fn a_gat_may_miss_only_when_its_own_exptime_may_be_over() {
    for (after_ms, is_legal) in [(1_900, false), (2_100, true)] {
        let mut checker = checker();
        done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
        let gat = Operation {
            exptime: 3,
            ..operation(&mut checker, Verb::GetAndTouch, "")
        };
        let id = checker.begin(0, 1, gat);
        checker.now_ms += after_ms;
        assert_eq!(checker.end(0, id, Reply::Answer(Answer::Miss)).is_ok(), is_legal);
    }
}

#[test]
fn a_write_is_seen_unanswered_once_every_order_has_it() {
    let mut checker = checker();
    done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
    let id = begin(&mut checker, 1, Verb::Set, "b");
    assert!(!checker.is_seen_unanswered(0));
    get(&mut checker, "b").unwrap();
    assert!(checker.is_seen_unanswered(0));
    checker.end(0, id, Reply::Answer(Answer::Stored)).unwrap();
    assert!(!checker.is_seen_unanswered(0));
}

#[test]
fn what_was_seen_of_a_write_that_was_undone_and_refused_is_forgotten_in_whatever_order_that_is_told() {
    for (is_undone, is_refused, seen_first) in [
        (true, true, true),
        (true, true, false),
        (false, true, true),
        (true, false, true),
    ] {
        let mut checker = checker();
        done(&mut checker, 1, Verb::Set, "a", Answer::Stored).unwrap();
        let id = begin(&mut checker, 1, Verb::Set, "b");
        if is_undone {
            checker.may_be_undone(0);
        }
        if seen_first {
            get(&mut checker, "b").unwrap();
        }
        match is_refused {
            true => checker.lose(0, id),
            false => checker.end(0, id, Reply::Answer(Answer::Stored)).unwrap(),
        }
        if !seen_first {
            get(&mut checker, "b").unwrap();
        }
        let is_forgotten = is_undone && is_refused;
        assert_eq!(
            get(&mut checker, "a").is_ok(),
            is_forgotten,
            "{is_undone} {is_refused} {seen_first}"
        );
    }
}
