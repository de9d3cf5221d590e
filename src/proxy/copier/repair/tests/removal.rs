//! What a repair removes, and when.

use super::{FETCH, LOOK, REMOVE, REMOVE_6, check};

#[test]
fn what_cannot_be_fetched_is_removed_where_it_may_be_wrong() {
    check(
        "begin",
        &[
            ("read", "miss", "done"),
            ("add", "miss", "done"),
            ("read", "unknown", "no meta, done"),
            ("listed", "unknown", "no meta, 0: get k"),
            ("listed", "unknown, end", "done"),
            ("listed", "unknown, unknown", "done"),
            ("listed", "source old, unknown", "no meta, 0: get k"),
            ("read", "no memory", "done"),
            ("read", "lost", "done"),
            ("add", "hung", "done"),
        ],
    );
    check(
        "target old, begin",
        &[
            ("heal", "miss", REMOVE),
            ("heal for nobody", "miss", REMOVE),
            ("overwrite", "miss", REMOVE),
            ("overwrite", "target down, miss", "missed, done"),
            ("heal", "unknown", "no meta, 1: delete k"),
            ("overwrite", "no memory", REMOVE),
            ("overwrite", "lost", "done"),
            ("heal", "source restarted, miss", REMOVE),
            ("accompanied heal", "source restarted, miss", "done"),
            ("heal for nobody", "source restarted, miss", "done"),
            ("heal", "source down, lost", REMOVE),
            ("heal", "source down, hung", REMOVE),
            ("accompanied heal", "source down, lost", "done"),
            ("heal for nobody", "source down, lost", "done"),
            ("heal", "source down, target down, lost", "missed, done"),
        ],
    );
}

#[test]
fn what_is_to_be_replaced_is_removed_only_as_it_was_seen() {
    check(
        "begin, unique 6",
        &[
            ("heal", "miss", REMOVE_6),
            ("heal for nobody", "miss", REMOVE_6),
            ("overwrite", "miss", REMOVE_6),
            ("heal", "unknown", "no meta, 1: md k C6"),
            ("overwrite", "no memory", REMOVE_6),
            ("overwrite", "lost", "done"),
            ("heal", "source restarted, miss", REMOVE),
        ],
    );
    check(
        "begin, miss",
        &[("heal", "miss", "done"), ("overwrite", "unknown", "no meta, done")],
    );
    // What is there cannot be looked at.
    check(
        "begin",
        &[
            ("heal", "unknown", FETCH),
            ("heal", "lost", "missed, done"),
            ("overwrite", "hung", "missed, done"),
        ],
    );
}

#[test]
fn a_removal_is_over_when_it_is_answered_and_missed_when_it_is_not() {
    for before in ["target old, begin, miss", "target old, begin, value, no memory"] {
        check(
            before,
            &[
                ("overwrite", "deleted", "0: mg k c k"),
                ("overwrite", "not found, miss", "done"),
                ("heal", "deleted, lost", "done"),
                // Somebody has copied to the source meanwhile what has been removed.
                ("heal", "deleted, unique 5", FETCH),
                ("heal", "source restarted, deleted", "done"),
                ("heal", "no memory, miss", "done"),
                ("heal", "lost", "missed, done"),
                ("overwrite", "hung", "missed, done"),
            ],
        );
    }
    check(
        "begin, unique 6, miss",
        &[
            ("heal", "hit, miss", "done"),
            ("heal", "exists", LOOK),
            ("overwrite", "lost", "missed, done"),
        ],
    );
    check(
        "begin, miss",
        &[("remove", "exists", "done"), ("remove", "lost", "missed, done")],
    );
}

/// What was found on one server only, while others are there, is copied or removed as it was seen a while ago.
#[test]
fn what_was_left_on_one_server_is_dealt_with_as_it_was_found() {
    check(
        "begin",
        &[
            ("left", "value", "1: add k 4 30 2|xy"),
            ("left of another item", "value", "done"),
            ("left", "miss", "done"),
            ("deleted", "hit", "done"),
            ("deleted", "miss", "1: md k C9"),
            ("deleted", "lost", "done"),
            ("deleted", "miss, exists", "done"),
            ("deleted", "miss, deleted", "0: mg k c k"),
            ("deleted", "miss, deleted, miss", "done"),
            ("deleted", "miss, deleted, unique 5", FETCH),
            ("deleted", "miss, lost", "missed, done"),
        ],
    );
    check(
        "target decides, begin",
        &[
            ("left", "value", "1: add k 4 30 2|xy"),
            ("deleted", "miss", "1: md k C9"),
        ],
    );
}
