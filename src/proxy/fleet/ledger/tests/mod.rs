//! The ledger is tried alone: by schedules, and against a model.

mod model;
mod nothing_changed;
mod property;
mod rules;

use super::*;

const P: usize = 0;
const B: usize = 1;
const KEY: &[u8] = b"key";

/// Two servers that hold the same keys, and both all that there is.
pub struct Pair(pub Ledger);

impl Pair {
    pub fn new() -> Self {
        let mut ledger = Ledger::new(&Limits::default());
        for _ in [P, B] {
            let server = ledger.add_server();
            ledger.record(Event::Introduced { server, anew: true });
        }
        Self(ledger)
    }

    pub fn record(&mut self, event: Event<'_>) {
        self.0.record(event);
    }

    /// A server's links break: it is down, and what was on its way to it was not delivered.
    pub fn breaks(&mut self, server: usize) {
        self.record(Event::Down { server, drains: false });
    }

    pub fn falls_silent(&mut self, server: usize) {
        self.record(Event::Down { server, drains: true });
    }

    /// A server is in a new life.
    pub fn is_restarted(&mut self, server: usize) {
        self.record(Event::Introduced { server, anew: true });
        let partners = &[1 - server];
        self.record(Event::Emptied { server, partners });
    }

    /// What a server that returns must be rid of; then it is up.
    pub fn returns(&mut self, server: usize) -> Vec<Box<[u8]>> {
        let rid = self.0.rid(server, |_| Some(1 - server));
        self.record(Event::Introduced { server, anew: false });
        self.0.returned(server, &[1 - server], |_, server| Some(1 - server));
        match rid {
            Rid::Keys(keys) => keys,
            Rid::TooMany | Rid::Everything => panic!("nothing overflowed"),
        }
    }

    pub fn keeps(&mut self, server: usize) -> bool {
        self.returns(server).is_empty()
    }

    /// A write begins while a server is away.
    pub fn write_without(&mut self, server: usize) -> Number {
        let write = self.0.begin();
        let partner = 1 - server;
        self.record(Event::Unsent {
            write,
            key: KEY,
            server,
            partner,
        });
        write
    }

    /// A write is cut off on its way to a server, whose partner has made this of it.
    pub fn cut_off(&mut self, write: Number, server: usize, delivered: bool, is: Partner) {
        self.record(Event::CutOff {
            write,
            key: KEY,
            server,
            delivered,
            partner: 1 - server,
            is,
        });
    }

    /// The partner of a server that missed a write answers that.
    pub fn ack(&mut self, write: Number, missed_by: usize, delivered: bool, ack: Ack) {
        self.record(Event::Answered {
            write,
            key: KEY,
            missed_by,
            delivered,
            ack: Some(ack),
        });
    }

    /// It answers that it does not have the key, which the other may have.
    pub fn finds_nothing(&mut self, write: Number, missed_by: usize) {
        self.record(Event::Answered {
            write,
            key: KEY,
            missed_by,
            delivered: false,
            ack: None,
        });
    }

    pub fn decide(&mut self, missed_by: usize, failed_over: Option<bool>, decision: Decision) {
        let write = self.0.begin();
        self.record(Event::Decided {
            write,
            key: KEY,
            missed_by,
            failed_over,
            decision,
        });
    }

    pub fn believe(&self) -> Belief {
        self.0.believe(KEY, P, Some(B))
    }

    pub fn absence(&self, server: usize) -> Absence {
        self.0.absence(KEY, server, 1 - server)
    }
}

#[test]
fn while_nothing_differs_both_are_as_good_and_nothing_is_kept() {
    let mut pair = Pair::new();
    let write = pair.0.begin();
    assert!(write < pair.0.begin());
    assert_eq!(pair.believe(), Belief::Either);
    assert!(matches!(pair.0.servers[B].missed, Missed::Nothing));
    assert_eq!(pair.0.believe(KEY, P, None), Belief::One(P));
}

#[test]
fn what_the_partner_acknowledged_is_gone_when_the_server_returns_and_is_copied() {
    let mut pair = Pair::new();
    pair.breaks(B);
    assert_eq!(pair.believe(), Belief::One(P));
    let write = pair.write_without(B);
    pair.ack(write, B, false, Ack::WHOLE);
    assert_eq!(pair.returns(B), [KEY.into()]);
    assert_eq!(pair.0.lacks(KEY, B, P), Lacks::Surely);
    assert_eq!(pair.believe(), Belief::One(P));
    let (to, from, _) = pair.0.to_be_copied(|_, _| false).expect("the key is to be copied");
    assert_eq!((to, from), (B, P));
    pair.record(Event::Copied {
        server: B,
        from: P,
        key: KEY,
    });
    assert_eq!(pair.believe(), Belief::Either);
}

#[test]
fn more_keys_than_there_is_room_for_are_everything() {
    let mut pair = Pair::new();
    let bytes_max = 3 * (ack::KEY_OVERHEAD + 1);
    (pair.0.missed_bytes_max, pair.0.lacking_bytes_max) = (bytes_max, bytes_max);
    for key in [b"a", b"b", b"c", b"a"] {
        let (from, server) = (P, B);
        pair.record(Event::LacksKey { server, from, key });
        assert!(matches!(pair.0.servers[B].lacking(P), Some(Lacking::Keys(_))));
    }
    pair.record(Event::LacksKey {
        server: B,
        from: P,
        key: b"d",
    });
    assert_eq!(pair.0.servers[B].lacking(P), Some(&Lacking::Everything));
    pair.breaks(B);
    for key in [b"a", b"b", b"c", b"d"] {
        assert!(matches!(
            pair.0.servers[B].missed,
            Missed::Nothing | Missed::Keys { .. }
        ));
        pair.record(Event::Missed {
            server: B,
            key,
            delivered: false,
            ack: Ack::ACKED,
        });
    }
    assert_eq!(pair.0.rid(B, |_| Some(P)), Rid::TooMany);
}

#[test]
fn a_touch_that_the_partner_has_done_settles_what_was_missed_before() {
    for (alike, delivered) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut pair = Pair::new();
        let write = pair.0.begin();
        pair.falls_silent(B);
        pair.cut_off(write, B, delivered, Partner::Asked);
        let missed_by = B;
        pair.record(Event::Changed {
            key: KEY,
            missed_by,
            alike,
        });
        pair.breaks(P);
        assert_eq!(pair.keeps(B), delivered && alike, "{alike} {delivered}");
    }
}

#[test]
fn a_server_that_the_configuration_does_not_name_misses_everything_and_lacks_nothing() {
    let mut pair = Pair::new();
    let receipt = pair.0.receipt(P);
    pair.record(Event::LacksKey {
        server: B,
        from: P,
        key: KEY,
    });
    pair.record(Event::Unnamed(P));
    assert!(!pair.0.holds(receipt));
    assert_eq!(pair.0.servers[B].lacking(P), None);
    assert_eq!(pair.0.rid(P, |_| Some(B)), Rid::Everything);
}
