use super::*;

/// Copies that were written while their servers were parted.
#[test]
fn the_copy_that_was_written_meanwhile_is_right() {
    check(
        "parted, begin",
        &[
            ("even out", "unique 5", "0: mg k c k"),
            ("even out", "miss", "0: mg k c k"),
            ("even out", "unknown", "done"),
            // It was written where it is copied from.
            ("even out", "unique 5, unique 6", "0: mg k t f c k v"),
            ("even out", "unique 5, unique 6, value", "1: cas k 4 30 2 5|xy"),
            ("even out", "miss, unique 6, value", "1: add k 4 30 2|xy"),
            // There, or its exptime was changed there.
            ("even out", "unique 5, unique 5, value", "1: cas k 4 30 2 5|xy"),
            ("even out listed", "unique 5, unique 5", "done"),
            ("even out listed", "unique 5, unique 6", "0: mg k t f c k v"),
            // It was deleted there.
            ("even out", "unique 5, miss", "1: md k C5"),
            ("even out", "miss, miss", "done"),
            // It was written on the other one: that is left, and copied back.
            ("even out", "unique 6, miss", "1: mg k t f c k v"),
            ("even out", "unique 6, miss, value", "0: add k 4 30 2|xy"),
            ("even out", "unique 6, unique 5, value", "0: cas k 4 30 2 5|xy"),
            // On both: the senior is right.
            ("even out", "unique 6, unique 6", "0: mg k t f c k v"),
            ("even out", "source junior, unique 6, unique 6", "1: mg k t f c k v"),
            (
                "even out",
                "source junior, unique 6, unique 6, value",
                "0: cas k 4 30 2 6|xy",
            ),
        ],
    );
}

#[test]
fn what_another_magent_makes_alike_is_left_to_it() {
    check(
        "parted, begin, unique 5, unique 6, value",
        &[
            ("even out", "exists", "done"),
            ("even out", "not found", "done"),
            ("even out", "lost", "missed, done"),
            ("even out", "stored", "1: mg k c k"),
            ("even out", "stored, unique 6, unique 5", "2 copied"),
            // What has been written there meanwhile is newer than the copy.
            ("even out", "stored, unique 6, unique 6", "0: mg k t f c k v"),
            ("even out", "stored, unique 6, miss", "they differ, 2 copied"),
            ("even out", "no memory", "refused Server, 1: md k C5"),
        ],
    );
    check(
        "parted, begin, miss, unique 6, value, stored, unique 6",
        &[
            ("even out", "unique 5", "2 copied"),
            ("even out", "unique 6", "0: mg k t f c k v"),
            ("even out", "miss", "1: md k C6"), // it was deleted on both
        ],
    );
    check(
        "begin",
        &[
            ("even out", "unique 6, unique 5", "done"), // they are not known to have been parted any more
            ("even out", "unique 6, lost", "done"),
            ("even out", "lost", "done"),
        ],
    );
}
