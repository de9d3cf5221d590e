//! The ledger against a model that keeps the whole history: whatever happens in whatever order, the two believe the same.

use super::super::*;
use super::model::{KEYS, Model, Note, Said};
use proptest::prelude::*;

const ALL: [fn() -> Lacking; 3] = [|| Lacking::Everything, || Lacking::Suspect, || Lacking::Unlistable];
const LEFT: [fn() -> Lacking; 4] = [
    || Lacking::Unverified { complete: true },
    || Lacking::Unverified { complete: false },
    || Lacking::Keys(Default::default()),
    || Lacking::Unlistable,
];

/// What happens next: what kind of thing, to which server and key, and how.
#[derive(Clone, Copy, Debug)]
struct Step {
    kind: u8,
    server: usize,
    key: usize,
    delivered: bool,
    ack: Ack,
    how: usize,
}

/// A write in progress: its number, its key, who has missed it, and how.
type Open = (Number, usize, usize, bool);

/// Both sides of the comparison, and what is under way.
struct Both {
    ledger: Ledger,
    model: Model,
    open: Vec<Open>,
    receipts: Vec<(Receipt, usize, u32)>,
}

impl Both {
    fn new(bytes_max: usize) -> Self {
        let mut ledger = Ledger::new(&Limits {
            missed_bytes: bytes_max,
            lacking_bytes: bytes_max,
            ..Limits::default()
        });
        ledger.add_server();
        ledger.add_server();
        Self {
            ledger,
            model: Model::default(),
            open: Vec::new(),
            receipts: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step.kind {
            0..=7 => self.server_event(step),
            8..=11 => self.lack_event(step),
            12..=14 => self.missed_event(step),
            15..=16 if !self.open.is_empty() => self.answer_event(step),
            _ => self.other_event(step),
        }
    }

    fn server_event(&mut self, step: Step) {
        let (ledger, model, server) = (&mut self.ledger, &mut self.model, step.server);
        match step.kind {
            0 => {
                let drains = step.delivered;
                ledger.record(Event::Down { server, drains });
                if !model.away[server] {
                    (model.drained[server], model.gone[server]) = (drains, false);
                    model.broken[server] += 1;
                }
                (model.away[server], model.confirmed[server]) = (true, false);
            }
            1 if model.away[server] => {
                let partner_of = |_: &[u8]| Some(1 - server);
                let number = ledger.last.next();
                let rid = ledger.rid(server, partner_of);
                let keys: Vec<_> = model
                    .returns(server, number)
                    .into_iter()
                    .map(|key| KEYS[key].into())
                    .collect();
                if !matches!(rid, Rid::TooMany | Rid::Everything) {
                    assert_eq!(rid, Rid::Keys(keys));
                }
                ledger.returned(server, &[1 - server], |_, server| Some(1 - server));
                model.is_up_again(server, ledger.last);
            }
            2 => {
                let anew = step.how == 0;
                ledger.record(Event::Introduced { server, anew });
                (model.confirmed[server], model.gone[server]) = (true, false);
                model.broken[server] += u32::from(anew);
            }
            3 => {
                ledger.record(Event::NotDrained(server));
                model.drained[server] = false;
            }
            4 => {
                ledger.record(Event::Gone(server));
                model.gone[server] = model.away[server];
            }
            5 => {
                ledger.record(Event::Asked(server));
                model.confirmed[server] = false;
            }
            6 => {
                ledger.record(Event::Settling(server));
                model.settling[server] = true;
            }
            7 => {
                ledger.record(Event::Settled(server));
                model.settling[server] = false;
                model.forget_if_over(server);
            }
            _ => {}
        }
    }

    fn lack_event(&mut self, step: Step) {
        let (ledger, model, server) = (&mut self.ledger, &mut self.model, step.server);
        let (from, key) = (1 - server, KEYS[step.key]);
        match step.kind {
            8 => {
                ledger.record(Event::LacksKey { server, from, key });
                model.said[server].push(Said::Lacks(step.key));
            }
            9 => {
                ledger.record(Event::Copied { server, from, key });
                model.said[server].push(Said::Has(step.key));
            }
            10 if step.how == 0 => {
                ledger.record(Event::Emptied {
                    server,
                    partners: &[from],
                });
                model.said[from].push(Said::Forgotten);
                model.said[server].push(Said::All(ALL[0]));
            }
            10 => {
                let what = ALL[step.how % ALL.len()];
                ledger.record(Event::Lacks {
                    server,
                    from,
                    what: what(),
                    of: Range::All,
                });
                model.said[server].push(Said::All(what));
            }
            _ => {
                let left = LEFT[step.how];
                ledger.record(Event::Filled {
                    server,
                    from,
                    left: left(),
                });
                model.said[server].push(Said::Filled(left));
            }
        }
    }

    /// A server misses a write.
    fn missed_event(&mut self, step: Step) {
        let Step {
            server, delivered, ack, ..
        } = step;
        let (partner, key) = (1 - server, KEYS[step.key]);
        let (ledger, model) = (&mut self.ledger, &mut self.model);
        let for_now = |model: &Model| match model.away[partner] {
            true => Ack::of(Fate::Unacked),
            false => Ack::of(Fate::InDoubt),
        };
        match step.kind {
            12 => {
                let write = ledger.begin();
                ledger.record(Event::Unsent {
                    write,
                    key,
                    server,
                    partner,
                });
                model.note(server, step.key, write, false, for_now(model));
                self.open.push((write, step.key, server, false));
            }
            13 => {
                let write = ledger.begin();
                let is = Partner::Asked;
                ledger.record(Event::CutOff {
                    write,
                    key,
                    server,
                    delivered,
                    partner,
                    is,
                });
                model.note(server, step.key, write, delivered, for_now(model));
                self.open.push((write, step.key, server, delivered));
            }
            _ => {
                let write = ledger.begin();
                let (receipt, _, broken) =
                    *self
                        .receipts
                        .last()
                        .unwrap_or(&(ledger.receipt(partner), partner, model.broken[partner]));
                let receipt = Some(receipt).filter(|_| step.how > 0 && receipt.server as usize == partner);
                let is = Partner::Acked(receipt, ack);
                ledger.record(Event::CutOff {
                    write,
                    key,
                    server,
                    delivered,
                    partner,
                    is,
                });
                let holds = receipt.is_none() || !model.away[partner] && model.broken[partner] == broken;
                let ack = if holds { ack } else { Ack::of(Fate::Unacked) };
                model.note(server, step.key, write, delivered, ack);
            }
        }
    }

    /// What became of a write that one server has missed: the other answers, does not have the key, or is lost as well.
    fn answer_event(&mut self, step: Step) {
        let (ledger, model) = (&mut self.ledger, &mut self.model);
        let (write, key, missed_by, delivered) = self.open.swap_remove(step.how % self.open.len());
        match step.kind {
            15 => {
                let ack = (!step.delivered).then_some(step.ack);
                ledger.record(Event::Answered {
                    write,
                    key: KEYS[key],
                    missed_by,
                    delivered,
                    ack,
                });
                match ack {
                    _ if write < model.returned[missed_by] => {}
                    Some(ack) => _ = model.settle(missed_by, key, write, delivered, ack),
                    None => model.take_back(missed_by, key, delivered),
                }
            }
            _ => {
                // The one that was asked last is lost, too.
                let (server, partner) = (1 - missed_by, missed_by);
                let needs = step.ack.alike;
                let is = Partner::Missed { delivered, needs };
                let nobody = needs && model.away[partner] && !model.gone[partner] && model.lacks(server, key) > 0;
                ledger.record(Event::CutOff {
                    write,
                    key: KEYS[key],
                    server,
                    delivered: false,
                    partner,
                    is,
                });
                let unacked = Ack::of(Fate::Unacked);
                if nobody {
                    if write >= model.returned[partner] {
                        model.take_back(partner, key, delivered);
                    }
                    return;
                }
                if !model.away[partner] {
                    model.note(server, key, write, false, unacked);
                } else if !model.settle(partner, key, write, delivered, unacked) {
                    model.note(partner, key, write, delivered, unacked);
                }
            }
        }
    }

    /// What says something of writes before it, and receipts.
    fn other_event(&mut self, step: Step) {
        let Step { server, ack, .. } = step;
        let key = KEYS[step.key];
        let (ledger, model) = (&mut self.ledger, &mut self.model);
        match step.kind {
            17 => {
                let alike = ack.alike;
                ledger.record(Event::Changed {
                    key,
                    missed_by: server,
                    alike,
                });
                let number = ledger.last;
                model.settle_all(server, step.key, number);
                if !alike && model.notes(server, step.key).any(Note::is_run_alike) {
                    model.note(server, step.key, number, false, Ack::ACKED);
                }
            }
            18 => {
                let failed_over = [None, Some(false), Some(true), Some(true)][step.how];
                let decision = decision_of(ack);
                let write = ledger.begin();
                let missed_by = server;
                ledger.record(Event::Decided {
                    write,
                    key,
                    missed_by,
                    failed_over,
                    decision,
                });
                let noted = model.notes(server, step.key).next().is_some();
                if failed_over.is_some() {
                    model.settle_all(server, step.key, ledger.last);
                }
                if failed_over == Some(true) && noted {
                    model.verdicts[server][step.key].0 = Some(decision == Decision::Stored);
                }
                match (decision, failed_over) {
                    (Decision::Stored, _) => {
                        model.note(server, step.key, write, failed_over == Some(true), Ack::WHOLE);
                    }
                    (Decision::NothingThere, None | Some(false)) | (Decision::Refused, Some(_)) => {
                        model.note(server, step.key, write, false, Ack::ACKED);
                    }
                    _ => {}
                }
            }
            19 => {
                let stored = ack.alike;
                ledger.record(Event::Ran { server, key, stored });
                if model.notes(server, step.key).next().is_some() {
                    model.verdicts[server][step.key].1 = Some(stored);
                }
            }
            20 => self
                .receipts
                .push((ledger.receipt(server), server, model.broken[server])),
            _ => {}
        }
    }

    fn has_overflowed(&self) -> bool {
        self.ledger
            .servers
            .iter()
            .any(|account| matches!(account.missed, Missed::TooMany | Missed::Everything))
    }

    fn check(&self) {
        for (key, text) in KEYS.iter().enumerate() {
            assert_eq!(
                self.ledger.believe(text, 0, Some(1)),
                self.model.believe(key),
                "key {key}"
            );
        }
        for server in [0, 1] {
            assert_eq!(
                self.ledger.account(server).lacking(1 - server),
                self.model.lacking(server).as_ref()
            );
            let waits = self
                .model
                .notes
                .iter()
                .filter(|note| note.server == server && !note.over)
                .any(|note| {
                    let drained = self.model.away[server] && self.model.drained[server];
                    note.ack.fate == Fate::InDoubt || drained && note.is_run_alike()
                });
            assert_eq!(self.ledger.waits_for_partners(server), waits, "server {server}");
        }
        for &(receipt, server, broken) in &self.receipts {
            let holds = !self.model.away[server] && self.model.broken[server] == broken;
            assert_eq!(self.ledger.holds(receipt), holds);
        }
    }
}

fn decision_of(ack: Ack) -> Decision {
    match (ack.alike, ack.whole) {
        (true, true) => Decision::Stored,
        (true, false) => Decision::NothingThere,
        (false, true) => Decision::Refused,
        (false, false) => Decision::Unchanged,
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![Just(Fate::Acked), Just(Fate::Acked), Just(Fate::Unacked)];
    let ack = (fate, any::<bool>(), any::<bool>()).prop_map(|(fate, alike, whole)| Ack { fate, alike, whole });
    let step = (0..21u8, 0..2usize, 0..3usize, any::<bool>(), ack, 0..4usize);
    let step = step.prop_map(|(kind, server, key, delivered, ack, how)| Step {
        kind,
        server,
        key,
        delivered,
        ack,
        how,
    });
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_believes_what_the_whole_history_says(steps in steps()) {
        let mut both = Both::new(1 << 20);
        for step in steps {
            both.take(step);
            both.check();
        }
    }

    #[test]
    fn the_ledger_stays_within_its_bound_and_is_right_until_it_overflows(steps in steps()) {
        let bytes_max = 2 * (ack::KEY_OVERHEAD + 1);
        let mut both = Both::new(bytes_max);
        for step in steps {
            both.take(step);
            for account in &both.ledger.servers {
                if let Missed::Keys { keys, bytes } = &account.missed {
                    prop_assert!(*bytes <= bytes_max);
                    prop_assert_eq!(*bytes, keys.keys().map(|key| key.len() + ack::KEY_OVERHEAD).sum::<usize>());
                }
                for lack in &account.lacks {
                    if let Lacking::Keys(keys) = &lack.what {
                        prop_assert!(keys.bytes() <= bytes_max);
                    }
                }
            }
            let lacks = both.model.said.iter().enumerate().any(|(server, _)| {
                both.ledger.account(server).lacking(1 - server) != both.model.lacking(server).as_ref()
            });
            if both.has_overflowed() || lacks {
                break;
            }
            both.check();
        }
    }
}
