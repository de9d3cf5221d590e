//! A copy and its source, looked at once more when the copy is stored.

use super::{ADD, FETCH, LOOK, Stage, check, in_words};
use crate::proxy::copier::repair::ROUNDS_MAX;

#[test]
fn a_copy_is_compared_with_where_it_comes_from() {
    check(
        "begin, value, stored",
        &[
            ("read", "unique 6", "0: mg k c k"),
            ("add", "miss", "2 copied"),
            ("add", "unknown", "2 copied"),
            ("add", "lost", "2 copied"),
            ("add", "hung", "2 copied"),
            ("add", "source restarted, unique 6", "2 copied"),
            ("read", "unique 6, unique 5", "2 copied"),
            ("add", "unique 6, miss", "1: md k C6"),
            ("add", "unique 6, unknown", "1: md k C6"),
            ("add", "unique 6, target down, miss", "missed, done"),
            ("add", "unique 6, source down, miss", "2 copied"),
            ("add", "unique 6, lost", "2 copied"),
            ("add", "unique 6, hung", "2 copied"),
        ],
    );
}

/// Their clients may have deleted it (R58).
#[test]
fn what_is_found_on_one_server_alone_is_not_copied_from_one_that_others_are_without() {
    check(
        "",
        &[
            ("read", "source doubtful, begin", "they differ, done"),
            ("left", "source doubtful, begin", "they differ, done"),
            ("add", "source doubtful, begin", FETCH),
            ("heal", "source doubtful, begin", LOOK),
            ("read", "begin, source doubtful, value", "they differ, done"),
            ("left", "begin, source doubtful, value", "they differ, done"),
            ("add", "begin, source doubtful, value", ADD),
            ("read", "begin, value", ADD),
        ],
    );
}

/// What is taken for the copy may be what another magent put there since: it is never gone for a moment (R32).
#[test]
fn a_copy_whose_source_has_another_item_is_made_like_that() {
    const AGAIN: &str = "1: cas k 4 30 2 6|xy";
    check(
        "begin, value, stored, unique 6, unique 6",
        &[
            ("read", "value", AGAIN),
            ("add", "value", AGAIN),
            ("add", "value without unique", "1: cas k 4 30 2 6|xy"),
            ("add", "miss", "1: md k C6"),
            ("add", "dying value", "1: md k C6"),
            ("add", "too large", "1: md k C6"),
            ("add", "flushed, value", "1: md k C6"),
            ("add", "unknown", "no meta, 1: md k C6"),
            ("add", "target down, value", "missed, done"),
            ("add", "lost", "done"),
            ("add", "value, stored", "1: mg k c k"),
            // Meanwhile somebody has put something else there, or removed it.
            ("add", "value, exists", "done"),
            ("add", "value, not found", "done"),
            ("add", "value, no memory", "refused Server, 1: md k C6"),
            ("add", "value, lost", "missed, done"),
            ("add", "value, hung", "missed, delivered, done"),
            ("add", "value, stored, unique 6, unique 5", "2 copied"),
        ],
    );
    for name in ["read", "add", "add if lacking"] {
        let mut stage = Stage::new(name);
        stage.happens("begin");
        if name == "add if lacking" {
            stage.happens("miss");
        }
        let round = ["value", "stored", "unique 6", "unique 6"];
        let all: Vec<_> = (0..ROUNDS_MAX)
            .flat_map(|_| round)
            .map(|event| stage.happens(event))
            .collect();
        let wanted: Vec<_> = all.iter().map(|actions| in_words(actions)).collect();
        assert_eq!(
            wanted.iter().filter(|wanted| *wanted == AGAIN).count() as u32,
            ROUNDS_MAX - 1,
            "{name}"
        );
        assert_eq!(wanted.last().map(String::as_str), Some("1: md k C6"), "{name}");
        assert_eq!(in_words(&stage.happens("hit")), "0: mg k c k", "{name}");
        assert_eq!(in_words(&stage.happens("miss")), "done", "{name}");
    }
}
