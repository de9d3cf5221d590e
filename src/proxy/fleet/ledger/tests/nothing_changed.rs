//! The same of writes that change nothing where their key is not (R37, R39), or are acknowledged by nobody (R64).

use super::*;

#[test]
fn r37_what_changes_nothing_where_the_key_is_not_the_one_that_has_it_has_not_missed() {
    for needs in [false, true] {
        let mut pair = Pair::new();
        // P has taken the key's last write while B was away, and lacks what B has of the others.
        pair.record(Event::Lacks {
            server: P,
            from: B,
            what: Lacking::Everything,
            of: Range::All,
        });
        pair.falls_silent(P);
        pair.record(Event::LacksKey {
            server: B,
            from: P,
            key: KEY,
        });
        let write = pair.0.begin();
        pair.falls_silent(B);
        pair.cut_off(
            write,
            B,
            true,
            Partner::Missed {
                delivered: false,
                needs,
            },
        );
        assert_eq!(pair.keeps(P), needs, "a set has left something on B");
    }
}

#[test]
fn r64_what_a_server_is_rid_of_is_written_down_though_nobody_has_acknowledged_what_it_missed() {
    for is_acknowledged in [false, true] {
        let mut pair = Pair::new();
        pair.0.keep_news();
        pair.falls_silent(B);
        let write = pair.write_without(B);
        if is_acknowledged {
            pair.ack(write, B, false, Ack::WHOLE);
            assert_eq!(pair.0.take_news().len(), 1);
        }
        assert_eq!(pair.returns(B), [KEY.into()]);
        assert_eq!(pair.0.lacks(KEY, B, P), Lacks::Surely);
        // What was said before is not said again.
        let news = pair.0.take_news();
        let told = (B, news::Became::Missed, KEY.into());
        assert_eq!(news, if is_acknowledged { vec![] } else { vec![told] });
    }
}

#[test]
fn r39_what_only_the_one_that_is_away_may_have_is_in_doubt_until_the_other_has_said_what_it_has() {
    for is_found in [false, true] {
        let mut pair = Pair::new();
        pair.record(Event::Lacks {
            server: B,
            from: P,
            what: Lacking::Everything,
            of: Range::All,
        });
        pair.breaks(P);
        let misses = pair.0.account(P).misses();
        let write = pair.write_without(P);
        assert_eq!(pair.absence(B), Absence::PartnerAway);
        assert!(pair.0.waits_for_partners(P), "B may yet say that it has removed it");
        match is_found {
            true => pair.ack(write, P, false, Ack::WHOLE),
            false => pair.finds_nothing(write, P),
        }
        assert!(!pair.0.waits_for_partners(P));
        assert_eq!(pair.0.account(P).misses(), misses + u64::from(is_found));
        assert_eq!(pair.keeps(P), !is_found);
    }
}

#[test]
fn r39_one_that_was_in_doubt_leaves_what_was_missed_beside_it() {
    let mut pair = Pair::new();
    pair.breaks(P);
    let earlier = pair.write_without(P);
    pair.ack(earlier, P, false, Ack::WHOLE);
    let write = pair.write_without(P);
    pair.finds_nothing(write, P);
    assert!(pair.0.has_missed(P, KEY));
    assert!(!pair.keeps(P));
    // What it has returned since does not concern it any more.
    pair.breaks(P);
    let later = pair.write_without(P);
    pair.finds_nothing(write, P);
    assert!(pair.0.waits_for_partners(P));
    pair.ack(later, P, false, Ack::WHOLE);
    assert!(!pair.keeps(P));
}

#[test]
fn r56_what_a_server_that_is_away_has_missed_a_write_of_it_cannot_tell() {
    for (is_delivered, absence) in [(false, Absence::Proof), (true, Absence::PartnerAway)] {
        let mut pair = Pair::new();
        pair.breaks(P);
        let write = match is_delivered {
            false => pair.write_without(P),
            true => {
                let write = pair.0.begin();
                pair.cut_off(write, P, true, Partner::Asked);
                write
            }
        };
        pair.ack(write, P, is_delivered, Ack::WHOLE);
        pair.record(Event::Lacks {
            server: B,
            from: P,
            what: Lacking::Everything,
            of: Range::All,
        });
        assert_eq!(pair.absence(B), absence);
        assert_eq!(pair.0.absence(b"another", B, P), Absence::PartnerAway);
    }
}
