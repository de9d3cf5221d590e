//! add, replace and cas where there are backups: writes whose outcome depends on one server's state.
//!
//! They go to the server that decides ([`Place::first`](crate::proxy::fleet::place::Place)), and only if it stored does its partner get a
//! plain set of the same item; where there was nothing to replace, what the partner may still have is removed. Between
//! the two such a write has the key alone ([`Access::Alone`](crate::proxy::replicate::gate::Access)): later writes to it wait, so
//! that both servers apply a key's writes in the same order. Other keys are not concerned. An add is deferred while it is not
//! known which life its server is in: what an empty one stored would be seen.
//!
//! ```text
//! Deciding --stored--> Copying --acknowledged----------------> over
//!   |  |                  | refused
//!   |  +--nothing there--> Removing --acknowledged-----------> over
//!   +--lost, or its word does not count--> Elsewhere --> Deciding, by the other server
//! ```

use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Absence, Ack, Decision, Event, Partner};
use crate::proxy::fleet::unique;
use crate::proxy::handoff::{Handoff, Waiting};
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::{Deferred, Pass};
use crate::proxy::replicate::missed;
use crate::proxy::replicate::plan::{Conditional, Stage};
use crate::proxy::replicate::transaction::{NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::settings;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::Message;

/// What a pass was given for that is sent to the server that decides.
struct Turn {
    /// See [`Conditional`].
    failed_over: Option<bool>,
    pass: Pass,
    /// It may be deferred: nothing that its client asked later is on its way yet.
    may_wait: bool,
}

impl Replicate {
    pub fn start_conditional<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, message: Message<'_>, pass: Pass) {
        servers.cx.statistics.count_write(message.request.verb);
        let turn = Turn {
            failed_over: None,
            pass,
            may_wait: true,
        };
        self.decide(servers, id, message, turn);
    }

    /// Sends a conditional write to the server that decides about it now.
    fn decide<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, message: Message<'_>, turn: Turn) {
        let Turn {
            failed_over,
            pass,
            may_wait,
        } = turn;
        let request = message.request;
        let fleet = &servers.fleet;
        let place = fleet.place(request.key);
        let adds = request.verb == Verb::Add;
        // An add would store where there may be an item that nobody can see.
        let unknown = adds && fleet.absence(request.key, place.first) == Absence::PartnerAway;
        if !fleet.is_up(place.first) || unknown {
            self.answer(servers, id, NO_SERVER);
            return self.leave_gate(servers, pass);
        }
        // Whether that one has just been started anew is not known: it would store, and somebody might see it
        // (R18).
        if may_wait && adds && place.second.is_some() && !fleet.is_confirmed(place.first) {
            self.wait(servers, id, message);
            let who = id;
            return self.gate.defer(Deferred { who, pass, failed_over });
        }
        let to = (place.first, Purpose::Conditional(Side::First));
        let exptime = fleet.exptime_on(place.first, request.exptime);
        let held = if request.verb == Verb::Cas || exptime != request.exptime {
            let number = unique::untagged(fleet.tag(place.first), request.number);
            let own = Request {
                number,
                exptime,
                verbatim: None,
                ..*request
            };
            self.change(servers, &pass, to, id, message.with(&own));
            message.hold(&servers.cx.pool)
        } else {
            let leg = self.change(servers, &pass, to, id, message);
            message.hold_as_sent(&leg.sent)
        };
        self.transactions[id].work = Work::Conditional(Box::new(Conditional {
            servers: (place.first, place.second),
            held,
            flushes: servers.fleet.flushes(),
            failed_over,
            number: servers.fleet.ledger.begin(),
            pass,
            stage: Stage::Deciding,
        }));
    }

    /// Sends what was deferred, if the life of its server is known now or the server is down. Returns whether there was any.
    pub fn decide_deferred<N: Net>(&mut self, servers: &mut Servers<N>) -> bool {
        let before = self.gate.take_deferred();
        let count = before.len();
        for Deferred { who, pass, failed_over } in before {
            let work = std::mem::replace(&mut self.transactions[who].work, Work::Answered);
            let Work::Waiting(held) = work else {
                unreachable!("what is deferred waits");
            };
            let request = held.request();
            let message = Message::in_piece(&request, held.piece());
            let turn = Turn {
                failed_over,
                pass,
                may_wait: true,
            };
            self.decide(servers, who, message, turn);
        }
        self.gate.deferred_count() < count
    }

    /// The server that was asked is none that can decide any more; its partner is. See [`Turn::may_wait`].
    /// Returns whether it is deferred.
    pub fn decide_elsewhere<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, may_wait: bool) -> bool {
        let conditional = self.take_conditional(id);
        let Stage::Elsewhere(failed_over) = conditional.stage else {
            unreachable!("it is to be decided");
        };
        // The unique of a cas was the other server's.
        let request = Request {
            number: 0,
            ..conditional.held.request()
        };
        let message = Message::in_piece(&request, conditional.held.piece());
        let turn = Turn {
            failed_over,
            pass: conditional.pass,
            may_wait,
        };
        self.decide(servers, id, message, turn);
        self.gate.is_deferred(id)
    }

    /// The client for which a write is to be decided elsewhere, if there is one.
    pub fn client_of(&self, id: usize) -> Option<usize> {
        self.transactions[id].client
    }

    fn take_conditional(&mut self, id: usize) -> Box<Conditional> {
        match std::mem::replace(&mut self.transactions[id].work, Work::Answered) {
            Work::Conditional(conditional) => conditional,
            _ => unreachable!("a conditional write's leg belongs to one"),
        }
    }

    fn go_elsewhere<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        mut conditional: Box<Conditional>,
        failed_over: Option<bool>,
    ) {
        conditional.stage = Stage::Elsewhere(failed_over);
        self.transactions[id].work = Work::Conditional(conditional);
        servers.cx.hand_on(Handoff::DecideElsewhere(id));
    }

    pub fn conditional_answer<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, reply: Reply) {
        let mut conditional = self.take_conditional(id);
        conditional.stage = match conditional.stage.clone() {
            Stage::Deciding | Stage::Elsewhere(_) => return self.decided(servers, id, conditional, reply),
            Stage::Copying(decided, receipt) if reply.status != Status::Stored => {
                if let Some(second) = conditional.servers.1 {
                    if reply.status == Status::Error {
                        servers.note_refusal(second, &reply);
                    }
                    self.remove_from_second(servers, id, second, &conditional);
                }
                Stage::Removing(decided, receipt)
            }
            Stage::Copying(decided, _) | Stage::Removing(decided, _) => {
                return self.conditional_over(servers, id, conditional, &decided);
            }
        };
        self.transactions[id].work = Work::Conditional(conditional);
    }

    /// The server that decides has said something.
    fn decided<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, conditional: Box<Conditional>, reply: Reply) {
        let adds = conditional.verb() == Verb::Add;
        let decision = match reply.status {
            Status::Stored => Decision::Stored,
            // A refusal (too large, out of memory) leaves what is there: memcached takes away only what a set meant to
            // replace.
            Status::Error => Decision::Refused,
            Status::NotStored | Status::NotFound if !adds => Decision::NothingThere,
            _ => Decision::Unchanged,
        };
        let added = adds && decision == Decision::Stored;
        let says_little = added || matches!(decision, Decision::Refused | Decision::NothingThere);
        let absence = servers.fleet.absence(&conditional.key(), conditional.servers.0);
        if says_little && absence != Absence::Proof {
            if added {
                // The server turned out to be empty after an add had failed over to it, or got the key by new settings.
                self.take_back(servers, &conditional);
            }
            let failed_over = conditional.failed_over;
            return match absence {
                Absence::PartnerAway => self.conditional_over(servers, id, conditional, NO_SERVER),
                _ => self.go_elsewhere(servers, id, conditional, failed_over),
            };
        }
        let decision = match conditional.flushes != servers.fleet.flushes() && decision.has_stored() {
            true => Decision::Flushed,
            false => decision,
        };
        match conditional.servers.1 {
            Some(second) if !servers.fleet.is_up(second) => {
                servers.fleet.ledger.record(Event::Decided {
                    write: conditional.number,
                    key: &conditional.key(),
                    missed_by: second,
                    failed_over: conditional.failed_over,
                    decision,
                });
                self.conditional_over(servers, id, conditional, &reply);
            }
            Some(second) => self.follow(servers, id, (conditional, second), reply, decision),
            None => self.conditional_over(servers, id, conditional, &reply),
        }
    }

    /// Makes the partner follow what was decided.
    fn follow<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        (mut conditional, second): (Box<Conditional>, usize),
        reply: Reply,
        decision: Decision,
    ) {
        let receipt = servers.fleet.ledger.receipt(conditional.servers.0);
        match decision {
            Decision::Stored => self.copy_to_second(servers, id, second, &conditional),
            Decision::NothingThere => self.remove_from_second(servers, id, second, &conditional),
            // What its partner did with it before that was lost is not known: it is back, and may have stored it.
            Decision::Refused if conditional.failed_over.is_some() => {
                let waiting = Waiting {
                    write: id,
                    reply: Some(reply),
                    instead: None,
                };
                let pair = (conditional.servers.0, second);
                self.wait_for_healing(servers, pair, &conditional.key(), waiting);
                return self.leave_gate(servers, conditional.pass);
            }
            Decision::Refused | Decision::Flushed | Decision::Unchanged => {
                return self.conditional_over(servers, id, conditional, &reply);
            }
        }
        if servers.cx.settings.ack == settings::Ack::Primary {
            self.answer(servers, id, &reply);
        }
        conditional.stage = match decision.has_stored() {
            true => Stage::Copying(reply, receipt),
            false => Stage::Removing(reply, receipt),
        };
        self.transactions[id].work = Work::Conditional(conditional);
    }

    pub fn conditional_lost<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, delivered: bool) {
        let conditional = self.take_conditional(id);
        let key = conditional.key();
        let (first, second) = conditional.servers;
        let cut_off = |server: usize, partner: usize, is: Partner| Event::CutOff {
            write: conditional.number,
            key: &key,
            server,
            delivered,
            partner,
            is,
        };
        let fleet = &mut servers.fleet;
        match (side, conditional.stage.clone(), second) {
            (_, Stage::Copying(reply, _) | Stage::Removing(reply, _), None) => {
                self.conditional_over(servers, id, conditional, &reply);
            }
            (_, Stage::Deciding | Stage::Elsewhere(_), None) => {
                self.conditional_over(servers, id, conditional, NO_SERVER);
            }
            (Side::Second, Stage::Copying(reply, receipt) | Stage::Removing(reply, receipt), Some(second)) => {
                let receipt = Some(receipt).filter(|_| !self.transactions[id].is_answered);
                let acked = Partner::Acked(receipt, Ack::WHOLE);
                fleet.ledger.record(cut_off(second, first, acked));
                match receipt.is_none_or(|receipt| fleet.ledger.holds(receipt)) {
                    true => self.conditional_over(servers, id, conditional, &reply),
                    // The server that decided was lost since, perhaps with its memory.
                    false => self.conditional_over(servers, id, conditional, NO_SERVER),
                }
            }
            (.., Some(second)) if !fleet.is_up(second) => {
                let delivered = conditional.failed_over == Some(true);
                fleet
                    .ledger
                    .record(cut_off(first, second, Partner::Missed { delivered }));
                self.conditional_over(servers, id, conditional, NO_SERVER);
            }
            (.., Some(second)) => {
                let lost = (first, delivered);
                match missed::fails_over(servers, conditional.number, &key, lost, (second, Partner::Asked)) {
                    true => self.go_elsewhere(servers, id, conditional, Some(delivered)),
                    false => self.conditional_over(servers, id, conditional, NO_SERVER),
                }
            }
        }
    }

    /// Sends the partner a plain set of the item that was stored.
    fn copy_to_second<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        second: usize,
        conditional: &Conditional,
    ) {
        let request = conditional.held.request();
        let copy = Request {
            verb: Verb::Set,
            exptime: servers.fleet.exptime_on(second, request.exptime),
            verbatim: None,
            ..request
        };
        let to = (second, Purpose::Conditional(Side::Second));
        let message = Message::in_piece(&copy, conditional.held.piece());
        self.change(servers, &conditional.pass, to, id, message);
    }

    fn remove_from_second<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        second: usize,
        conditional: &Conditional,
    ) {
        let removal = Request::new(Verb::Delete, conditional.held.key());
        let to = (second, Purpose::Conditional(Side::Second));
        self.change(servers, &conditional.pass, to, id, Message::from(&removal));
    }

    /// Undoes an add where the item may be on the partner.
    fn take_back<N: Net>(&mut self, servers: &mut Servers<N>, conditional: &Conditional) {
        let removal = Request::new(Verb::Delete, conditional.held.key());
        let (server, pass) = (conditional.servers.0, &conditional.pass);
        servers.change(pass, server, Purpose::Forget, 0, Message::from(&removal));
    }

    fn conditional_over<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        conditional: Box<Conditional>,
        reply: &Reply,
    ) {
        if self.transactions[id].is_answered {
            self.end_if_over(id);
        } else {
            servers.cx.statistics.count_outcome(conditional.verb(), reply.status);
            self.answer(servers, id, reply);
        }
        self.leave_gate(servers, conditional.pass);
    }
}
