use super::*;

const FROM: usize = 3;
const TO: usize = 4;

/// Two servers that know meta commands and list by the hash table.
const NEW: Able = Able {
    from_has_meta: true,
    to_has_meta: true,
    from_lists_hash: true,
};
/// The one that lists leaves something out.
const LISTS_BY_LRU: Able = Able {
    from_lists_hash: false,
    ..NEW
};
const OLD_TARGET: Able = Able {
    to_has_meta: false,
    ..LISTS_BY_LRU
};
const OLD: Able = Able {
    from_has_meta: false,
    ..OLD_TARGET
};
const INCOMPLETE: Left = Left::Unverified { complete: false };
const ROOM: Room = Room {
    keys: 1000,
    bytes: usize::MAX,
};

fn resync(task: Task) -> Resync {
    Resync::new(1, FROM, TO, task, 0, &Limits::DEFAULT)
}

/// Lists keys, and ends the list.
fn list(resync: &mut Resync, keys: std::ops::Range<u32>) {
    resync.list_begins();
    for key in keys {
        resync.take(Entry::of(key.to_string().as_bytes()));
    }
    resync.listing.as_mut().expect("a list").ends();
}

/// Deals with all keys that were listed, each as `copied` says. Returns in which manner each was.
fn deal(resync: &mut Resync, now_ms: u64, mut copied: impl FnMut(&[u8]) -> Option<usize>) -> Vec<Manner> {
    let mut manners = Vec::new();
    loop {
        match resync.next(now_ms, ROOM) {
            Next::Copy { key, fill } => {
                manners.push(fill.manner);
                assert!(resync.key_done(&fill, copied(&key)));
            }
            Next::PassOver => return manners,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn known_keys_are_copied_without_a_list() {
    let keys = [&b"a"[..], b"b"].map(Entry::of);
    let mut resync = resync(Task::Keys(keys.into()));
    assert!(resync.listing.is_none() && resync.fills() && !resync.is_told());
    assert_eq!(deal(&mut resync, 0, |_| Some(1)), [Manner::Add; 2]);
    assert_eq!(resync.pass_over(&NEW, 0), Follows::Filled(Left::Nothing));
}

#[test]
fn a_server_is_filled_from_a_whole_list_at_once() {
    for (able, complete) in [(NEW, true), (LISTS_BY_LRU, false)] {
        let mut resync = resync(Task::Everything);
        assert!(resync.is_told());
        assert_eq!(resync.listed(), FROM);
        list(&mut resync, 0..3);
        assert_eq!(deal(&mut resync, 0, |_| None), [Manner::Add; 3]);
        // Nothing was copied, so there is nothing new to be found.
        let left = Left::Unverified { complete };
        assert_eq!(resync.pass_over(&able, 0), Follows::Filled(left));
    }
}

#[test]
fn a_list_that_leaves_something_out_is_gone_through_until_it_has_nothing_new() {
    let mut resync = resync(Task::Everything);
    list(&mut resync, 0..3);
    deal(&mut resync, 0, |_| Some(1));
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, 0), Follows::List);
    list(&mut resync, 0..4);
    assert_eq!(
        deal(&mut resync, 0, |key| (key == b"3").then_some(1)),
        [Manner::AddIfLacking; 4]
    );
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, 0), Follows::List);
    list(&mut resync, 0..4);
    deal(&mut resync, 0, |_| None);
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, 0), Follows::Filled(INCOMPLETE));
    assert_eq!((resync.report(2500).items, resync.report(2500).took_ms), (4, 2500));
}

#[test]
fn a_server_that_loses_as_fast_as_it_is_filled_is_filled_a_few_times() {
    let mut resync = resync(Task::Everything);
    for _ in 1..Limits::DEFAULT.list_passes {
        list(&mut resync, 0..3);
        deal(&mut resync, 0, |_| Some(1));
        assert_eq!(resync.pass_over(&LISTS_BY_LRU, 0), Follows::List);
    }
    list(&mut resync, 0..3);
    deal(&mut resync, 0, |_| Some(1));
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, 0), Follows::Filled(INCOMPLETE));
}

#[test]
fn servers_without_meta_commands_are_filled_once_and_not_looked_through() {
    for (able, left) in [(OLD_TARGET, INCOMPLETE), (OLD, Left::Nothing)] {
        let mut resync = resync(Task::Everything);
        list(&mut resync, 0..3);
        deal(&mut resync, 0, |_| Some(1));
        assert_eq!(resync.pass_over(&able, 0), Follows::Filled(left));
    }
}

#[test]
fn a_server_with_old_items_is_rid_of_them_before_it_is_filled() {
    let mut resync = resync(Task::Suspect { parted: false });
    assert!(resync.is_told());
    assert_eq!(resync.listed(), TO);
    resync.list_begins();
    resync.take(Entry {
        exptime: Some(7),
        ..Entry::of(b"k")
    });
    resync.listing.as_mut().expect("a list").ends();
    let Next::Copy { fill, .. } = resync.next(0, ROOM) else {
        panic!("a key");
    };
    // Its own list says nothing of the partner's item.
    assert_eq!((fill.manner, fill.listed_exptime), (Manner::Overwrite, None));
    assert_eq!(resync.next(0, ROOM), Next::Nothing, "it is in flight");
    resync.key_done(&fill, Some(1));
    assert_eq!(resync.pass_over(&NEW, 0), Follows::List);
    assert!(resync.is_told());
    assert_eq!(resync.listed(), FROM);
    list(&mut resync, 0..1);
    assert_eq!(deal(&mut resync, 0, |_| None), [Manner::Add]);
    assert_eq!(
        resync.pass_over(&NEW, 0),
        Follows::Filled(Left::Unverified { complete: true })
    );
}

#[test]
fn what_was_filled_is_looked_through_and_what_nobody_has_removed_a_while_later() {
    let mut resync = resync(Task::Unverified { completes: true });
    assert!(!resync.is_told() && !resync.fills());
    assert_eq!(resync.listed(), FROM);
    list(&mut resync, 0..2);
    assert_eq!(deal(&mut resync, 0, |_| None), [Manner::AddIfLacking; 2]);
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, 0), Follows::List);
    assert_eq!(resync.listed(), TO);
    resync.list_begins();
    resync.take(Entry {
        unique: Some(9),
        ..Entry::of(b"k")
    });
    resync.listing.as_mut().expect("a list").ends();
    let Next::Copy { key, fill } = resync.next(0, ROOM) else {
        panic!("a key");
    };
    assert_eq!(fill.manner, Manner::Verify);
    resync.suspect(&fill, &key);
    resync.key_done(&fill, None);
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, 100), Follows::GoOn);
    let then_ms = 100 + LOOK_AGAIN_MS;
    assert_eq!(resync.next(then_ms - 1, ROOM), Next::NothingBefore(then_ms));
    let Next::Copy { fill, .. } = resync.next(then_ms, ROOM) else {
        panic!("a key");
    };
    assert_eq!((fill.manner, fill.unique), (Manner::Remove, Some(9)));
    resync.key_done(&fill, None);
    assert_eq!(resync.next(then_ms, ROOM), Next::PassOver);
    assert_eq!(resync.pass_over(&LISTS_BY_LRU, then_ms), Follows::Verified);
}

#[test]
fn where_nothing_is_suspected_nothing_is_removed() {
    let mut resync = resync(Task::Unverified { completes: false });
    assert_eq!(resync.listed(), TO);
    list(&mut resync, 0..2);
    assert_eq!(deal(&mut resync, 0, |_| None), [Manner::Verify; 2]);
    assert_eq!(resync.pass_over(&NEW, 0), Follows::Verified);
}

/// Where another magent has filled the server, or nothing was lost, each key is looked for before it is fetched.
#[test]
fn keys_that_are_there_are_not_fetched_once_that_is_known_of_most() {
    let enough = Limits::DEFAULT.listed_keys_telling as usize;
    let mut resync = resync(Task::Everything);
    list(&mut resync, 0..200);
    let manners = deal(&mut resync, 0, |_| None);
    assert!(manners[..enough].iter().all(|&manner| manner == Manner::Add));
    assert!(manners[enough..].iter().all(|&manner| manner == Manner::AddIfLacking));
}

#[test]
fn more_keys_than_there_is_room_for_are_taken_in_shares_in_every_phase() {
    let limits = Limits {
        listed_keys: 10,
        ..Limits::DEFAULT
    };
    for task in [
        Task::Everything,
        Task::Suspect { parted: false },
        Task::Unverified { completes: true },
    ] {
        let mut resync = Resync::new(1, FROM, TO, task, 0, &limits);
        let phase = resync.phase;
        let mut dealt = std::collections::BTreeSet::new();
        loop {
            list(&mut resync, 0..50);
            deal(&mut resync, 0, |key| {
                dealt.insert(key.to_vec());
                None
            });
            if resync.pass_over(&NEW, 0) != Follows::List || resync.phase != phase {
                break;
            }
        }
        assert_eq!(dealt.len(), 50, "{phase:?}");
    }
}

#[test]
fn suspects_have_a_bound() {
    let limits = Limits {
        listed_keys: 2,
        ..Limits::DEFAULT
    };
    let task = Task::Unverified { completes: false };
    let mut resync = Resync::new(1, FROM, TO, task, 0, &limits);
    let fill = Fill {
        resync: 1,
        manner: Manner::Verify,
        listed_exptime: None,
        size: 1,
        unique: None,
    };
    for key in [b"a", b"b", b"c"] {
        resync.suspect(&fill, key);
    }
    assert_eq!(resync.suspects.len(), 2);
    resync.suspects.clear();
    let of_another = Fill { resync: 2, ..fill };
    resync.suspect(&of_another, b"a");
    assert!(resync.suspects.is_empty());
    assert!(!resync.key_done(&of_another, None), "a key of one that was broken off");
}

#[test]
fn what_comes_next_depends_on_the_list_and_on_what_is_in_flight() {
    let mut resync = resync(Task::Everything);
    assert_eq!(resync.next(0, ROOM), Next::Nothing, "it is not asked for yet");
    assert_eq!(resync.turn(100, 100), Turn::Later);
    let listing = resync.listing.as_mut().expect("a list");
    listing.begins(7, 0);
    assert_eq!(resync.next(0, ROOM), Next::Nothing);
    resync.listing.as_mut().expect("a list").readable(7);
    assert_eq!(resync.turn(100, 100), Turn::Go(Limits::DEFAULT.resync_busy));
    assert_eq!(resync.next(0, ROOM), Next::Read);
    resync.take(Entry::of(b"a"));
    assert!(!resync.is_hungry());
    let Next::Copy { fill, .. } = resync.next(0, Room { keys: 1, bytes: 1 }) else {
        panic!("a key");
    };
    assert!(resync.is_hungry());
    assert_eq!(resync.next(0, Room { keys: 1, bytes: 1 }), Next::Nothing, "no room");
    resync.listing.as_mut().expect("a list").ends();
    assert_eq!(resync.next(0, ROOM), Next::Nothing, "it is in flight");
    resync.key_done(&fill, None);
    assert_eq!(resync.next(0, ROOM), Next::PassOver);
}

#[test]
fn who_cannot_list_leaves_unfilled_who_lacks_something() {
    for (task, left) in [
        (Task::Everything, Left::Unlistable),
        (Task::Suspect { parted: false }, Left::Unlistable),
        (Task::Unverified { completes: true }, Left::Nothing),
        (Task::Unverified { completes: false }, Left::Nothing),
    ] {
        assert_eq!(resync(task).cannot_list(), left);
    }
}
