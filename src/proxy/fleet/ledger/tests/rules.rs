//! The rules of `tests/simulator/README.md`, each as a test of its name: what the ledger says after the schedule that showed
//! it. P and B are the primary and the backup of a key.

use super::*;
use std::rc::Rc;

/// The partner was not there to be sent a set.
const AWAY: Partner = Partner::Missed {
    delivered: false,
    needs: false,
};

#[test]
fn r1_of_two_that_were_gone_before_either_acknowledged_the_one_that_returns_first_keeps_its_copy() {
    for first in [P, B] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        pair.breaks(P);
        pair.cut_off(write, P, false, Partner::Asked);
        pair.breaks(B);
        pair.cut_off(write, B, false, AWAY);
        assert_eq!(pair.believe(), Belief::Unknown(P));
        assert!(pair.keeps(first));
        assert!(!pair.keeps(1 - first), "the other has missed the write");
    }
}

#[test]
fn r2_a_server_that_returns_waits_until_its_partner_has_answered() {
    let mut pair = Pair::new();
    let write = pair.0.begin();
    pair.breaks(P);
    pair.cut_off(write, P, false, Partner::Asked);
    assert!(pair.0.waits_for_partners(P));
    // The partner is found dead.
    pair.falls_silent(B);
    pair.cut_off(write, B, true, AWAY);
    assert!(!pair.0.waits_for_partners(P));
    assert!(pair.keeps(P));
}

#[test]
fn r3_an_answer_counts_while_its_server_has_been_up_in_one_life() {
    for restarts in [false, true] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        let receipt = pair.0.receipt(P);
        assert!(pair.0.holds(receipt));
        match restarts {
            true => pair.is_restarted(P),
            false => pair.breaks(P),
        }
        assert!(!pair.0.holds(receipt));
        pair.falls_silent(B);
        pair.cut_off(write, B, false, Partner::Acked(Some(receipt), Ack::WHOLE));
        pair.breaks(P);
        assert!(pair.keeps(B), "what P acknowledged died with it");
        assert!(!pair.keeps(P));
    }
}

#[test]
fn r4_that_a_restarted_server_does_not_have_the_key_is_overruled_by_its_partner() {
    let mut pair = Pair::new();
    assert_eq!(pair.absence(P), Absence::Proof);
    pair.record(Event::Asked(P));
    pair.is_restarted(P);
    assert_eq!(pair.absence(P), Absence::AskPartner);
    assert_eq!(pair.believe(), Belief::One(B));
    pair.breaks(B);
    assert_eq!(pair.absence(P), Absence::PartnerAway);
    assert_eq!(pair.believe(), Belief::Unknown(B));
    pair.record(Event::Gone(B));
    assert_eq!(pair.absence(P), Absence::Proof, "nobody is left who might have it");
}

#[test]
fn r5_a_write_that_is_answered_after_the_server_has_returned_is_not_missed_by_it_when_it_is_next_away() {
    let mut pair = Pair::new();
    pair.breaks(P);
    let write = pair.write_without(P);
    pair.returns(P);
    // Whoever wrote is answered when P has been made like B: that is the writer's to do.
    pair.ack(write, P, false, Ack::WHOLE);
    pair.breaks(P);
    pair.ack(write, P, false, Ack::WHOLE);
    assert!(matches!(pair.0.servers[P].missed, Missed::Nothing));
}

#[test]
fn r6_what_the_client_did_wrong_leaves_the_key_as_it_was() {
    let mut pair = Pair::new();
    pair.falls_silent(P);
    let write = pair.write_without(P);
    pair.ack(write, P, false, Ack::of(Fate::Unacked));
    pair.breaks(B);
    assert!(pair.keeps(P), "it has the last copy");
}

#[test]
fn r7_what_is_deleted_on_one_server_is_not_lacking_on_the_other() {
    let mut pair = Pair::new();
    for server in [P, B] {
        pair.record(Event::LacksKey {
            server,
            from: 1 - server,
            key: KEY,
        });
    }
    pair.breaks(P);
    pair.record(Event::Missed {
        server: P,
        key: KEY,
        delivered: false,
        ack: Ack::ACKED,
    });
    assert_eq!(pair.returns(P), [KEY.into()]);
    assert_eq!(pair.0.lacks(KEY, B, P), Lacks::Nothing);
    assert_eq!(pair.believe(), Belief::One(B));
}

#[test]
fn r8_r9_what_was_given_up_may_still_be_run_so_it_does_not_count_as_run() {
    for given_up in [false, true] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        pair.falls_silent(B);
        pair.cut_off(write, B, true, Partner::Acked(None, Ack::WHOLE));
        pair.breaks(P);
        if given_up {
            pair.record(Event::NotDrained(B));
        }
        assert_eq!(pair.keeps(B), !given_up);
    }
}

#[test]
fn r10_a_server_that_was_filled_is_looked_through_once_it_has_settled_and_speaks_for_itself_meanwhile() {
    let mut pair = Pair::new();
    pair.is_restarted(B);
    pair.record(Event::Settling(B));
    let left = Lacking::Unverified { complete: true };
    pair.record(Event::Filled {
        server: B,
        from: P,
        left,
    });
    assert_eq!(pair.0.to_be_copied(|_, _| false), None);
    pair.breaks(P);
    assert_eq!(pair.believe(), Belief::One(B), "it has what there was");
    pair.returns(P);
    pair.record(Event::Settled(B));
    let unverified = Lacking::Unverified { complete: true };
    assert_eq!(pair.0.to_be_copied(|_, _| false), Some((B, P, &unverified)));
}

#[test]
fn r11_r17_what_a_server_was_found_to_have_is_worth_nothing_after_it_was_lost() {
    let mut pair = Pair::new();
    let source = pair.0.receipt(P);
    pair.breaks(P);
    pair.returns(P);
    assert!(!pair.0.holds(source), "nor when it is back");
    assert!(pair.0.holds(pair.0.receipt(P)));
}

#[test]
fn r12_what_was_delivered_is_told_from_what_was_not() {
    for delivered in [true, false] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        pair.cut_off(write, B, delivered, Partner::Asked);
        pair.falls_silent(B);
        pair.ack(write, B, delivered, Ack::ACKED);
        pair.breaks(P);
        assert_eq!(pair.keeps(B), delivered, "it has run it since, and its partner is lost");
        assert!(
            pair.keeps(P),
            "it has missed nothing: both have the same, or it alone has the key"
        );
    }
    // What comes after the last that was delivered it has not run, whatever that was.
    let mut pair = Pair::new();
    let write = pair.0.begin();
    pair.falls_silent(B);
    pair.cut_off(write, B, true, Partner::Acked(None, Ack::WHOLE));
    let write = pair.write_without(B);
    pair.ack(write, B, false, Ack::ACKED);
    pair.breaks(P);
    assert!(!pair.keeps(B));
}

#[test]
fn r12_a_delivered_write_that_leaves_nothing_makes_up_for_what_was_not_delivered_before() {
    for whole in [true, false] {
        let mut pair = Pair::new();
        pair.falls_silent(B);
        pair.record(Event::Missed {
            server: B,
            key: KEY,
            delivered: false,
            ack: Ack::ACKED,
        });
        let write = pair.0.begin();
        pair.cut_off(write, B, true, Partner::Acked(None, Ack { whole, ..Ack::ACKED }));
        pair.breaks(P);
        assert_eq!(pair.keeps(B), whole);
    }
}

#[test]
fn r12_while_the_partner_is_there_what_was_delivered_goes_too() {
    let mut pair = Pair::new();
    let write = pair.0.begin();
    pair.falls_silent(B);
    pair.cut_off(write, B, true, Partner::Acked(None, Ack::WHOLE));
    assert_eq!(pair.returns(B), [KEY.into()]);
}

#[test]
fn r13_before_its_copies_go_the_partner_is_asked_whether_it_is_there() {
    let mut pair = Pair::new();
    let write = pair.0.begin();
    pair.falls_silent(B);
    pair.cut_off(write, B, true, Partner::Acked(None, Ack::WHOLE));
    assert!(pair.0.waits_for_partners(B));
    pair.record(Event::NotDrained(B));
    assert!(!pair.0.waits_for_partners(B), "they go in any case");
}

#[test]
fn r14_where_neither_acknowledged_and_the_one_that_was_away_is_back_it_is_the_other_that_has_missed_it() {
    let mut pair = Pair::new();
    pair.breaks(B);
    let write = pair.write_without(B);
    assert_eq!(pair.returns(B), [KEY.into()]);
    let (server, from, key) = (B, P, KEY);
    pair.record(Event::Copied { server, from, key });
    pair.breaks(P);
    pair.cut_off(write, P, false, AWAY);
    assert!(pair.0.servers[P].missed.of(KEY).is_some());
    pair.breaks(B);
    assert!(pair.keeps(B), "it has missed nothing that it does not know of");
    assert!(!pair.keeps(P));
}

#[test]
fn r15_only_a_conditional_write_that_failed_over_says_anything_of_what_the_partner_missed() {
    for failed_over in [None, Some(false), Some(true)] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        pair.breaks(B);
        pair.cut_off(write, B, false, Partner::Asked);
        pair.decide(B, failed_over, Decision::Unchanged);
        let fate = pair.0.servers[B].missed.of(KEY).and_then(|writes| writes.fate());
        let expected = match failed_over {
            None => Fate::InDoubt,
            Some(_) => Fate::Acked,
        };
        assert_eq!(fate, Some(expected), "{failed_over:?}");
    }
}

#[test]
fn r16_a_conditional_write_that_was_decided_in_another_way_here_and_there_takes_the_copy_with_it() {
    for (there, here) in [(true, true), (false, false), (true, false), (false, true)] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        pair.falls_silent(B);
        pair.cut_off(write, B, true, Partner::Asked);
        let decision = match there {
            true => Decision::Stored,
            false => Decision::Unchanged,
        };
        pair.decide(B, Some(true), decision);
        pair.record(Event::Ran {
            server: B,
            key: KEY,
            stored: here,
        });
        pair.breaks(P);
        assert_eq!(pair.keeps(B), there == here, "{there} {here}");
    }
}

#[test]
fn r18_r19_a_server_whose_life_is_not_known_is_asked_after_one_whose_is() {
    let mut pair = Pair::new();
    assert!(pair.0.certainty(KEY, P, B).is_full());
    pair.record(Event::Asked(P));
    assert!(
        !pair.0.certainty(KEY, P, B).is_full(),
        "a miss on it is asked of its partner"
    );
    assert_eq!(pair.believe(), Belief::One(B));
    pair.record(Event::Introduced { server: P, anew: false });
    pair.record(Event::Settling(P));
    assert!(!pair.0.certainty(KEY, P, B).is_full());
    assert_eq!(pair.believe(), Belief::One(B));
    pair.record(Event::Settled(P));
    assert_eq!(pair.believe(), Belief::Either);
}

#[test]
fn r22_a_refusal_changes_nothing_unless_it_failed_over() {
    for failed_over in [None, Some(false), Some(true)] {
        let mut pair = Pair::new();
        pair.breaks(B);
        pair.decide(B, failed_over, Decision::Refused);
        assert_eq!(pair.keeps(B), failed_over.is_none(), "{failed_over:?}");
    }
}

#[test]
fn r22_what_found_nothing_there_the_partner_has_missed() {
    let mut pair = Pair::new();
    pair.breaks(B);
    pair.decide(B, None, Decision::NothingThere);
    assert!(!pair.keeps(B));
    pair.breaks(B);
    pair.decide(B, None, Decision::Flushed);
    assert!(pair.keeps(B));
}

#[test]
fn r24_a_server_that_was_away_when_magent_started_is_flushed_before_anybody_reads_from_it() {
    let mut pair = Pair::new();
    pair.breaks(P);
    pair.record(Event::FlushMissed(P));
    assert_eq!(pair.0.rid(P, |_| Some(B)), Rid::Everything);
    let partners = &[B];
    pair.record(Event::Emptied { server: P, partners });
    pair.returns(P);
    assert_eq!(pair.believe(), Belief::One(B));
}

#[test]
fn r25_a_suspect_server_is_asked_after_its_partner_and_is_made_like_that() {
    let mut pair = Pair::new();
    let suspect = |server, from| Event::Lacks {
        server,
        from,
        what: Lacking::Suspect,
        of: Range::All,
    };
    pair.record(suspect(P, B));
    assert_eq!(pair.believe(), Belief::One(B));
    pair.record(Event::Lacks {
        server: P,
        from: B,
        what: Lacking::Everything,
        of: Range::All,
    });
    assert_eq!(
        pair.0.to_be_copied(|_, _| false),
        Some((P, B, &Lacking::Suspect)),
        "it is still old"
    );
    // What it has run all of is suspect all the same.
    let write = pair.0.begin();
    pair.falls_silent(P);
    pair.cut_off(write, P, true, Partner::Acked(None, Ack::WHOLE));
    pair.breaks(B);
    assert!(!pair.keeps(P));
}

#[test]
fn r27_the_absence_that_a_lost_server_told_has_no_effect() {
    let mut pair = Pair::new();
    let write = pair.0.begin();
    let absence = pair.0.receipt(P);
    pair.breaks(P);
    assert!(!pair.0.holds(absence));
    pair.cut_off(write, P, false, Partner::Asked);
    pair.ack(write, P, false, Ack::ACKED);
    assert!(!pair.keeps(P), "B has acknowledged it alone");
}

/// Keys that begin with a letter.
#[derive(Debug)]
struct BeginWith(u8);

impl Keys for BeginWith {
    fn contain(&self, key: &[u8]) -> bool {
        key[0] == self.0
    }
}

#[test]
fn r29_servers_that_each_got_keys_which_the_other_had_are_believed_key_by_key() {
    let gained = |server, from, letter| Event::Lacks {
        server,
        from,
        what: Lacking::Suspect,
        of: Range::Some(vec![Rc::new(BeginWith(letter))]),
    };
    let mut ledger = Pair::new().0;
    ledger.record(gained(P, B, b'p'));
    ledger.record(gained(B, P, b'b'));
    assert_eq!(ledger.believe(b"p1", P, Some(B)), Belief::One(B));
    assert_eq!(ledger.believe(b"b1", P, Some(B)), Belief::One(P));
    assert_eq!(ledger.believe(b"other", P, Some(B)), Belief::Either);
    assert!(ledger.is_outdated(b"p1", P, B) && !ledger.is_outdated(b"b1", P, B));
    assert_eq!(ledger.absence(b"b1", P, B), Absence::Proof);
    assert_eq!(ledger.absence(b"p1", P, B), Absence::AskPartner);
    // What is left to be looked through is of these keys too.
    ledger.record(Event::Filled {
        server: P,
        from: B,
        left: Lacking::Unverified { complete: false },
    });
    assert_eq!(ledger.lacks(b"p1", P, B), Lacks::Perhaps);
    assert_eq!(ledger.lacks(b"b1", P, B), Lacks::Nothing);
    // Others by the next reload, and all when it loses its memory.
    ledger.record(gained(P, B, b'q'));
    for (key, lacks) in [
        (b"p1", Lacks::Perhaps),
        (b"q1", Lacks::Perhaps),
        (b"b1", Lacks::Nothing),
    ] {
        assert_eq!(ledger.lacks(key, P, B), lacks);
    }
    ledger.record(Event::Lacks {
        server: P,
        from: B,
        what: Lacking::Everything,
        of: Range::All,
    });
    assert_eq!(ledger.lacks(b"b1", P, B), Lacks::Perhaps);
}
