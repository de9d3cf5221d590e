//! add, replace and cas where there are backups: writes whose outcome depends on one server's state.
//!
//! They go to the server that decides ([`Place::first`](crate::proxy::fleet::farm::Place)), and only if it stored does its partner get a
//! plain set of the same item; where there was nothing to replace, what the partner may still have is removed. Between
//! the two the key is held: later writes to it wait, so that both servers apply a key's writes in the same order. Other
//! keys are not concerned. An add is put off while it is not known which life its server is in: what an empty one stored
//! would be seen.

use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::copier::repair::Waiting;
use crate::proxy::fleet::ledger::{Absence, Ack, Decision, Event, Number, Partner, Receipt};
use crate::proxy::fleet::unique;
use crate::proxy::front::transaction::{NO_SERVER, Work};
use crate::proxy::net::Net;
use crate::proxy::settings;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::{Held, Message};
use std::collections::{HashMap, VecDeque};

/// Keys with a write in progress that others must wait for, and the transactions that do.
#[derive(Default)]
pub struct Holds(HashMap<Box<[u8]>, VecDeque<usize>>);

impl Holds {
    pub fn is_held(&self, key: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains_key(key)
    }

    /// Whether a command has to wait for an earlier write to this key. A plain retrieval overtakes that write's second
    /// half, which changes nothing that it could see, but not the writes that wait.
    fn bars(&self, verb: Verb, key: &[u8]) -> bool {
        let only_reads = matches!(verb, Verb::Get | Verb::Gets);
        self.0
            .get(key)
            .is_some_and(|waiting| !only_reads || !waiting.is_empty())
    }

    /// Lets what comes to this key wait from here on.
    pub fn hold(&mut self, key: &[u8]) {
        self.0.insert(key.into(), VecDeque::new());
    }

    /// Puts a transaction behind those that wait for a key.
    pub fn wait(&mut self, key: &[u8], transaction: usize) {
        if let Some(waiting) = self.0.get_mut(key) {
            waiting.push_back(transaction);
        }
    }
}

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
    /// Whether a request has to wait for an earlier write to one of its keys.
    pub(in crate::proxy) fn must_wait(&self, request: &Request<'_>) -> bool {
        !self.holds.0.is_empty() && self.barred_key(request).is_some()
    }

    /// A key of a request that an earlier write bars. Of a wide get only the first keys are looked at: it may as well
    /// come before writes that have not begun, and what follows of it is asked for later anyway.
    fn barred_key<'a>(&self, request: &Request<'a>) -> Option<&'a [u8]> {
        let most = match request.verb {
            Verb::Get | Verb::Gets => self.settings.limits.keys_looked_at,
            _ => usize::MAX,
        };
        let mut first = request.keys_concerned().take(most);
        first.find(|key| self.holds.bars(request.verb, key))
    }

    pub(in crate::proxy) fn wait(&mut self, id: usize, message: Message<'_>) {
        let request = message.request;
        let key = self.barred_key(request);
        self.holds.wait(key.unwrap_or(request.key), id);
        self.transactions[id].work = Work::Waiting(message.hold(&self.pool));
        // What the client asks next must not be answered from before this.
        if let Some(client) = self.transactions[id].client {
            self.raise_barrier(client);
        }
    }

    /// Lets go of a key: those that waited for it are started in their order, until one of them holds it again.
    pub(in crate::proxy) fn release(&mut self, key: &[u8]) {
        let mut waiting = self.holds.0.remove(key).unwrap_or_default();
        while let Some(id) = waiting.pop_front() {
            self.begin_again(id);
            if let Some(queue) = self.holds.0.get_mut(key) {
                // Those that still wait come before any that came to wait meanwhile.
                while let Some(id) = waiting.pop_back() {
                    queue.push_front(id);
                }
            }
        }
    }

    pub(in crate::proxy) fn start_conditional(&mut self, id: usize, message: Message<'_>) {
        self.statistics.count_write(message.request.verb);
        self.holds.hold(message.request.key);
        self.decide(id, message, true, None);
    }

    /// Sends a conditional write, whose key is held, to the server that decides about it now. It may be put off where
    /// nothing that its client asked later is on its way yet.
    fn decide(&mut self, id: usize, message: Message<'_>, may_wait: bool, failed_over: Option<bool>) {
        let request = message.request;
        let place = self.farm.place(request.key);
        // An add would store where there may be an item that nobody can see.
        let unknown = request.verb == Verb::Add && self.farm.absence(request.key, place.first) == Absence::PartnerAway;
        if !self.farm.is_up(place.first) || unknown {
            self.answer(id, NO_SERVER);
            return self.release(request.key);
        }
        // Whether that one has just been started anew is not known: it would store, and somebody might see it.
        if may_wait && request.verb == Verb::Add && place.second.is_some() && !self.farm.is_confirmed(place.first) {
            return self.put_off(id, message, failed_over);
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
            self.send(place.first, purpose, id, message.with(&own));
            message.hold(&self.pool)
        } else {
            let leg = self.send(place.first, purpose, id, message);
            message.hold_as_sent(&leg.sent)
        };
        self.transactions[id].work = Work::Conditional(Conditional {
            servers: (place.first, place.second),
            held,
            flushes: self.flushes,
            failed_over,
            number: self.farm.ledger.begin(),
            stage: Stage::Deciding,
        });
    }

    /// Keeps a conditional write, whose key is held, until it is known which life the server that decides is in.
    fn put_off(&mut self, id: usize, message: Message<'_>, failed_over: Option<bool>) {
        self.transactions[id].work = Work::Waiting(message.hold(&self.pool));
        self.put_off.push((id, failed_over));
        if let Some(client) = self.transactions[id].client {
            self.raise_barrier(client);
        }
    }

    /// Sends what was put off, if it is known now or the server is down. Returns whether there was any.
    pub(in crate::proxy) fn decide_what_was_put_off(&mut self) -> bool {
        let before = std::mem::take(&mut self.put_off);
        let count = before.len();
        for (id, failed_over) in before {
            let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
            let Work::Waiting(held) = work else {
                unreachable!("what is put off waits");
            };
            let request = held.request();
            self.decide(id, Message::in_piece(&request, held.piece()), true, failed_over);
        }
        self.put_off.len() < count
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
                        Absence::PartnerAway => self.conditional_failed(id, &conditional),
                        _ => self.decide_elsewhere(id, &conditional, conditional.failed_over),
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
                    return self.conditional_over(id, &conditional, &reply);
                }
                // What its partner did with it before that was lost is not known.
                let refused_anew = refused && conditional.failed_over.is_some();
                let concerns_second = stored && !flushed || nothing_there || refused_anew;
                let Some(second) = conditional.servers.1.filter(|_| concerns_second) else {
                    return self.conditional_over(id, &conditional, &reply);
                };
                if refused {
                    // It is back, and may have stored what is refused here.
                    let (key, reply) = (conditional.key(), Some(reply));
                    self.heal(conditional.servers.0, second, &key, Some(Waiting { write: id, reply }));
                    return self.release(&key);
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
                return self.conditional_over(id, &conditional, &decided);
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
            return match &conditional.stage {
                Stage::Deciding => self.conditional_failed(id, &conditional),
                Stage::Copying(reply, _) | Stage::Removing(reply, _) => self.conditional_over(id, &conditional, reply),
            };
        };
        match (side, conditional.stage.clone()) {
            (Side::Second, Stage::Copying(reply, receipt) | Stage::Removing(reply, receipt)) => {
                let receipt = Some(receipt).filter(|_| !self.transactions[id].answered);
                let acked = Partner::Acked(receipt, Ack::WHOLE);
                self.farm.ledger.record(cut_off(second, first, acked));
                match receipt.is_none_or(|receipt| self.farm.ledger.holds(receipt)) {
                    true => self.conditional_over(id, &conditional, &reply),
                    // The server that decided was lost since, perhaps with its memory.
                    false => self.conditional_failed(id, &conditional),
                }
            }
            _ if !self.farm.is_up(second) => {
                let delivered = conditional.failed_over == Some(true);
                self.farm
                    .ledger
                    .record(cut_off(first, second, Partner::Missed { delivered }));
                self.conditional_failed(id, &conditional);
            }
            _ if self.farm.absence(&key, second) == Absence::PartnerAway => {
                self.farm.ledger.record(Event::LacksKey {
                    server: second,
                    from: first,
                    key: &key,
                });
                self.conditional_failed(id, &conditional);
            }
            _ => {
                self.farm.ledger.record(cut_off(first, second, Partner::Asked));
                self.decide_elsewhere(id, &conditional, Some(delivered));
            }
        }
    }

    /// The server that was asked is none that can decide any more; its partner is.
    fn decide_elsewhere(&mut self, id: usize, conditional: &Conditional, failed_over: Option<bool>) {
        // The unique of a cas was the other server's.
        let request = Request {
            number: 0,
            ..conditional.held.request()
        };
        let last_asked = |client: usize| self.clients[client].queue.back() == Some(&id);
        let may_wait = self.transactions[id].client.is_none_or(last_asked);
        let message = Message::in_piece(&request, conditional.held.piece());
        self.decide(id, message, may_wait, failed_over);
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
        self.send(second, purpose, id, message);
    }

    fn remove_from_second(&mut self, id: usize, second: usize, conditional: &Conditional) {
        let removal = Request::new(Verb::Delete, conditional.held.key());
        let purpose = Purpose::Conditional(Side::Second);
        self.ask(second, purpose, id, removal);
    }

    /// Undoes an add where the item may be on the partner.
    fn take_back(&mut self, conditional: &Conditional) {
        let removal = Request::new(Verb::Delete, conditional.held.key());
        self.ask(conditional.servers.0, Purpose::Forget, 0, removal);
    }

    fn conditional_failed(&mut self, id: usize, conditional: &Conditional) {
        self.conditional_over(id, conditional, NO_SERVER);
    }

    fn conditional_over(&mut self, id: usize, conditional: &Conditional, reply: &Reply) {
        if self.transactions[id].answered {
            self.end_if_over(id);
        } else {
            self.statistics.count_outcome(conditional.verb(), reply.status);
            self.answer(id, reply);
        }
        self.release(&conditional.key());
    }
}

impl Conditional {
    fn verb(&self) -> Verb {
        self.held.verb()
    }

    fn key(&self) -> Box<[u8]> {
        self.held.key().into()
    }
}
