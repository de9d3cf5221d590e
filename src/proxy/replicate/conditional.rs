//! add, replace and cas where there are backups: writes whose outcome depends on one server's state.
//!
//! They go to the server that decides ([`Place::first`](crate::proxy::fleet::farm::Place)), and only if it stored does its partner get a
//! plain set of the same item; where there was nothing to replace, what the partner may still have is removed. Between
//! the two such a write has the key alone ([`Access::Alone`](crate::proxy::replicate::gate::Access)): later writes to it wait, so
//! that both servers apply a key's writes in the same order. Other keys are not concerned. An add is deferred while it is not
//! known which life its server is in: what an empty one stored would be seen.

use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::copier::repair::Waiting;
use crate::proxy::fleet::ledger::{Absence, Ack, Decision, Event, Number, Partner, Receipt};
use crate::proxy::fleet::unique;
use crate::proxy::front::transaction::{NO_SERVER, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::{Deferred, Pass};
use crate::proxy::settings;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::{Held, Message};
use std::rc::Rc;

pub struct Conditional {
    /// The server that decides, and its partner.
    servers: (usize, Option<usize>),
    /// The whole request, by the client's clock and with its own unique.
    held: Held,
    /// The proxy's count of flushes when it was sent: one that came since has flushed what was stored.
    flushes: u64,
    /// Its partner was to decide, and was lost; whether it fell silent and had been sent this, so that it may do the same.
    failed_over: Option<bool>,
    /// In the ledger: a new one each time that it is sent to the server that decides.
    number: Number,
    pub pass: Pass,
    stage: Stage,
}

#[derive(Clone)]
enum Stage {
    Deciding,
    /// The server that decides stored, and said this; its partner gets its copy.
    Copying(Reply, Receipt),
    /// The partner refused the copy, or there was nothing to replace: what the partner had before must go.
    Removing(Reply, Receipt),
}

impl<N: Net> Proxy<N> {
    pub(in crate::proxy) fn start_conditional(&mut self, id: usize, message: Message<'_>, pass: Pass) {
        self.statistics.count_write(message.request.verb);
        self.decide(id, message, true, (None, pass));
    }

    /// Sends a conditional write to the server that decides about it now. It may be deferred where nothing that its client
    /// asked later is on its way yet.
    fn decide(&mut self, id: usize, message: Message<'_>, may_wait: bool, (failed_over, pass): (Option<bool>, Pass)) {
        let request = message.request;
        let place = self.farm.place(request.key);
        // An add would store where there may be an item that nobody can see.
        let unknown = request.verb == Verb::Add && self.farm.absence(request.key, place.first) == Absence::PartnerAway;
        if !self.farm.is_up(place.first) || unknown {
            self.answer(id, NO_SERVER);
            return self.leave_gate(pass);
        }
        // Whether that one has just been started anew is not known: it would store, and somebody might see it
        // (R18).
        if may_wait && request.verb == Verb::Add && place.second.is_some() && !self.farm.is_confirmed(place.first) {
            self.wait(id, message);
            let who = id;
            return self.gate.defer(Deferred { who, pass, failed_over });
        }
        let purpose = Purpose::Conditional(Side::First);
        let exptime = self.exptime_on(place.first, request.exptime);
        let held = if request.verb == Verb::Cas || exptime != request.exptime {
            let number = unique::untagged(self.farm.tag(place.first), request.number);
            let own = Request {
                number,
                exptime,
                verbatim: None,
                ..*request
            };
            self.change(&pass, place.first, purpose, id, message.with(&own));
            message.hold(&self.pool)
        } else {
            let leg = self.change(&pass, place.first, purpose, id, message);
            message.hold_as_sent(&leg.sent)
        };
        self.transactions[id].work = Work::Conditional(Conditional {
            servers: (place.first, place.second),
            held,
            flushes: self.flushes,
            failed_over,
            number: self.farm.ledger.begin(),
            pass,
            stage: Stage::Deciding,
        });
    }

    /// Sends what was deferred, if the life of its server is known now or the server is down. Returns whether there was any.
    pub(in crate::proxy) fn decide_deferred(&mut self) -> bool {
        let before = self.gate.take_deferred();
        let count = before.len();
        for Deferred { who, pass, failed_over } in before {
            let work = std::mem::replace(&mut self.transactions[who].work, Work::Answered);
            let Work::Waiting(held) = work else {
                unreachable!("what is deferred waits");
            };
            let request = held.request();
            let message = Message::in_piece(&request, held.piece());
            self.decide(who, message, true, (failed_over, pass));
        }
        self.gate.deferred_count() < count
    }

    fn take_conditional(&mut self, id: usize) -> Conditional {
        match std::mem::replace(&mut self.transactions[id].work, Work::Answered) {
            Work::Conditional(conditional) => conditional,
            _ => unreachable!("a conditional write's leg belongs to one"),
        }
    }

    pub(in crate::proxy) fn conditional_answer(&mut self, id: usize, reply: Reply) {
        let status = reply.status;
        let mut conditional = self.take_conditional(id);
        conditional.stage = match conditional.stage.clone() {
            Stage::Deciding => {
                let stored = status == Status::Stored;
                // A refusal (too large, out of memory) leaves what is there: memcached takes away only what a set meant to
                // replace.
                let refused = status == Status::Error;
                let nothing_there =
                    conditional.verb() != Verb::Add && matches!(status, Status::NotStored | Status::NotFound);
                let added = stored && conditional.verb() == Verb::Add;
                let says_little = nothing_there || refused || added;
                let absence = self.farm.absence(&conditional.key(), conditional.servers.0);
                if says_little && absence != Absence::Proof {
                    if added {
                        // The server turned out to be empty after an add had failed over to it, or got the key by new
                        // settings.
                        self.take_back(&conditional);
                    }
                    return match absence {
                        Absence::PartnerAway => self.conditional_failed(id, conditional),
                        _ => {
                            let failed_over = conditional.failed_over;
                            self.decide_elsewhere(id, conditional, failed_over);
                        }
                    };
                }
                let flushed = conditional.flushes != self.flushes;
                if let Some(missed_by) = conditional.servers.1.filter(|&second| !self.farm.is_up(second)) {
                    self.farm.ledger.record(Event::Decided {
                        write: conditional.number,
                        key: &conditional.key(),
                        missed_by,
                        failed_over: conditional.failed_over,
                        decision: match (stored, nothing_there, refused) {
                            (true, ..) if flushed => Decision::Flushed,
                            (true, ..) => Decision::Stored,
                            (_, true, _) => Decision::NothingThere,
                            (.., true) => Decision::Refused,
                            _ => Decision::Unchanged,
                        },
                    });
                    return self.conditional_over(id, conditional, &reply);
                }
                // What its partner did with it before that was lost is not known.
                let refused_anew = refused && conditional.failed_over.is_some();
                let concerns_second = stored && !flushed || nothing_there || refused_anew;
                let Some(second) = conditional.servers.1.filter(|_| concerns_second) else {
                    return self.conditional_over(id, conditional, &reply);
                };
                if refused {
                    // It is back, and may have stored what is refused here.
                    let waiting = Waiting {
                        write: id,
                        reply: Some(reply),
                        instead: None,
                    };
                    self.heal(conditional.servers.0, second, &conditional.key(), Some(waiting));
                    return self.leave_gate(conditional.pass);
                }
                match stored {
                    true => self.copy_to_second(id, second, &conditional),
                    false => self.remove_from_second(id, second, &conditional),
                }
                if self.settings.ack == settings::Ack::Primary {
                    self.answer(id, &reply);
                }
                let receipt = self.farm.ledger.receipt(conditional.servers.0);
                match stored {
                    true => Stage::Copying(reply, receipt),
                    false => Stage::Removing(reply, receipt),
                }
            }
            Stage::Copying(decided, receipt) if status != Status::Stored => {
                if let Some(second) = conditional.servers.1 {
                    if status == Status::Error {
                        self.note_refusal(second, &reply);
                    }
                    self.remove_from_second(id, second, &conditional);
                }
                Stage::Removing(decided, receipt)
            }
            Stage::Copying(decided, _) | Stage::Removing(decided, _) => {
                return self.conditional_over(id, conditional, &decided);
            }
        };
        self.transactions[id].work = Work::Conditional(conditional);
    }

    pub(in crate::proxy) fn conditional_lost(&mut self, id: usize, side: Side, delivered: bool) {
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
        let Some(second) = second else {
            return match conditional.stage.clone() {
                Stage::Deciding => self.conditional_failed(id, conditional),
                Stage::Copying(reply, _) | Stage::Removing(reply, _) => self.conditional_over(id, conditional, &reply),
            };
        };
        match (side, conditional.stage.clone()) {
            (Side::Second, Stage::Copying(reply, receipt) | Stage::Removing(reply, receipt)) => {
                let receipt = Some(receipt).filter(|_| !self.transactions[id].answered);
                let acked = Partner::Acked(receipt, Ack::WHOLE);
                self.farm.ledger.record(cut_off(second, first, acked));
                match receipt.is_none_or(|receipt| self.farm.ledger.holds(receipt)) {
                    true => self.conditional_over(id, conditional, &reply),
                    // The server that decided was lost since, perhaps with its memory.
                    false => self.conditional_failed(id, conditional),
                }
            }
            _ if !self.farm.is_up(second) => {
                let delivered = conditional.failed_over == Some(true);
                self.farm
                    .ledger
                    .record(cut_off(first, second, Partner::Missed { delivered }));
                self.conditional_failed(id, conditional);
            }
            _ if self.farm.absence(&key, second) == Absence::PartnerAway => {
                self.farm.ledger.record(Event::LacksKey {
                    server: second,
                    from: first,
                    key: &key,
                });
                self.conditional_failed(id, conditional);
            }
            _ => {
                self.farm.ledger.record(cut_off(first, second, Partner::Asked));
                self.decide_elsewhere(id, conditional, Some(delivered));
            }
        }
    }

    /// The server that was asked is none that can decide any more; its partner is.
    fn decide_elsewhere(&mut self, id: usize, conditional: Conditional, failed_over: Option<bool>) {
        // The unique of a cas was the other server's.
        let request = Request {
            number: 0,
            ..conditional.held.request()
        };
        let last_asked = |client: usize| self.clients[client].queue.back() == Some(&id);
        let may_wait = self.transactions[id].client.is_none_or(last_asked);
        let message = Message::in_piece(&request, conditional.held.piece());
        self.decide(id, message, may_wait, (failed_over, conditional.pass));
    }

    /// Sends the partner a plain set of the item that was stored.
    fn copy_to_second(&mut self, id: usize, second: usize, conditional: &Conditional) {
        let request = conditional.held.request();
        let copy = Request {
            verb: Verb::Set,
            exptime: self.exptime_on(second, request.exptime),
            verbatim: None,
            ..request
        };
        let purpose = Purpose::Conditional(Side::Second);
        let message = Message::in_piece(&copy, conditional.held.piece());
        self.change(&conditional.pass, second, purpose, id, message);
    }

    fn remove_from_second(&mut self, id: usize, second: usize, conditional: &Conditional) {
        let removal = Request::new(Verb::Delete, conditional.held.key());
        let purpose = Purpose::Conditional(Side::Second);
        self.change(&conditional.pass, second, purpose, id, Message::from(&removal));
    }

    /// Undoes an add where the item may be on the partner.
    fn take_back(&mut self, conditional: &Conditional) {
        let removal = Request::new(Verb::Delete, conditional.held.key());
        let (server, pass) = (conditional.servers.0, &conditional.pass);
        self.change(pass, server, Purpose::Forget, 0, Message::from(&removal));
    }

    fn conditional_failed(&mut self, id: usize, conditional: Conditional) {
        self.conditional_over(id, conditional, NO_SERVER);
    }

    fn conditional_over(&mut self, id: usize, conditional: Conditional, reply: &Reply) {
        if self.transactions[id].answered {
            self.end_if_over(id);
        } else {
            self.statistics.count_outcome(conditional.verb(), reply.status);
            self.answer(id, reply);
        }
        self.leave_gate(conditional.pass);
    }
}

impl Conditional {
    fn verb(&self) -> Verb {
        self.held.verb()
    }

    fn key(&self) -> Rc<[u8]> {
        self.pass.key().map_or_else(|| Rc::from(&b""[..]), Rc::clone)
    }
}
