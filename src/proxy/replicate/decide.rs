//! Writes that one server decides about first: add, replace, cas and a delete of one unique where there are backups (see
//! [`Plan`](crate::proxy::replicate::plan::Plan)).
//!
//! They go to the server that decides ([`Place::first`](crate::proxy::fleet::place::Place)), and only if it stored does its partner get a
//! plain set of the same item; where there was nothing to replace, the partner is asked to decide. Between
//! the two such a write has the key alone ([`Access::Alone`](crate::proxy::replicate::gate::Access)): later writes to it wait, so
//! that both servers apply a key's writes in the same order. Other keys are not concerned. An add is deferred while it is not
//! known which life its server is in: what an empty one stored would be seen.
//!
//! ```text
//! Deciding --stored--> Copying --acknowledged----------------> over
//!   |  |                  | refused
//!   |  +--nothing there--> Deciding, by the other server
//!   +--lost, or its word does not count--> Deciding, by the other server
//! ```

use crate::protocol::exptime::is_past;
use crate::protocol::reply::Status;
use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::Response;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Absence, Decision, Event};
use crate::proxy::fleet::place::Place;
use crate::proxy::fleet::unique;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::agree::missed_by_second;
use crate::proxy::replicate::gate::{Deferred, Pass};
use crate::proxy::replicate::plan::{Copy, Found, Stage, Undecided, Write};
use crate::proxy::replicate::transaction::{NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::Message;

impl Replicate {
    /// Sends a write that was let in to the server that decides about it now. `before`: what became of it on the partner, if that was
    /// to decide before. `may_wait`: it may be deferred, for nothing that its client asked later is on its way yet.
    pub fn decide<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        message: Message<'_>,
        (place, pass): (Place, Pass),
        before: Copy,
        may_wait: bool,
    ) {
        let request = message.request;
        let (fleet, adds) = (&servers.fleet, request.verb == Verb::Add);
        // An add would store where there may be an item that nobody can see.
        let unknown = adds && fleet.absence(request.key, place.first) == Absence::PartnerAway;
        if !fleet.is_up(place.first) || unknown {
            self.answer(servers, id, NO_SERVER);
            return self.leave_gate(servers, pass);
        }
        // Whether that one has just been started anew is not known: it would store, and somebody might see it (R18).
        if may_wait && adds && place.second.is_some() && !fleet.is_confirmed(place.first) {
            let (who, failed_over) = (id, before.lost());
            self.wait(servers, id, message);
            return self.gate.defer(Deferred { who, pass, failed_over });
        }
        let to = (place.first, Purpose::Decide);
        let exptime = fleet.exptime_on(place.first, request.exptime);
        let tells_unique = servers.tell_unique(request, place.first, place.second);
        let guard = self.guard(servers, id, place, request, &before);
        let changes = exptime != request.exptime || tells_unique != request.options.unique;
        let held = if request.verb.names_unique() || changes {
            // Who names no unique has 0 there, and its form has none.
            let number = unique::untagged(servers.fleet.tag(place.first), request.number);
            let own = Request { number, ..*request }.expiring(exptime).anew();
            let own = own.telling_unique(tells_unique);
            self.change(servers, &pass, to, id, message.with(&own));
            message.hold(&servers.cx.pool)
        } else {
            let leg = self.change(servers, &pass, to, id, message);
            message.hold_as_sent(&leg.sent)
        };
        self.transactions[id].work = Work::Write(Write {
            verb: request.verb,
            servers: (place.first, place.second),
            pass: Some(pass),
            first: Copy::Pending,
            second: before,
            receipt: None,
            number: servers.fleet.ledger.begin(),
            elsewhere: false,
            key: place.second.and_then(|_| held.piece().part_of(held.key())),
            reply: None,
            stage: Stage::Deciding(Box::new(Undecided {
                held,
                flushes: servers.fleet.flushes(),
                tells_unique,
                is_compared: servers.fleet.compares(place.first, place.second),
                guard,
            })),
        });
    }

    /// Sends what was deferred, if the life of its server is known now or the server is down. Returns whether there was any.
    pub fn decide_deferred<N: Net>(&mut self, servers: &mut Servers<N>) -> bool {
        let before = self.gate.take_deferred();
        let count = before.len();
        for Deferred { who, pass, failed_over } in before {
            let work = std::mem::take(&mut self.transactions[who].work);
            let Work::Waiting(held) = work else {
                unreachable!("what is deferred waits");
            };
            let request = held.request();
            let message = Message::in_piece(&request, held.piece());
            let way = (servers.fleet.place_to_decide(request.key), pass);
            let before = failed_over.map_or(Copy::Absent, |delivered| Copy::Lost { delivered });
            self.decide(servers, who, message, way, before, true);
        }
        self.gate.deferred_count() < count
    }

    /// The server that was asked cannot decide any more, or has nothing to replace; its partner may. `may_wait`: see
    /// [`decide`](Self::decide). Returns whether it is deferred.
    pub fn decide_elsewhere<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, may_wait: bool) -> bool {
        let write = self.take_write(id);
        let (Stage::Deciding(undecided), Some(pass)) = (write.stage, write.pass) else {
            unreachable!("it is to be decided");
        };
        // The unique of a cas was the other server's.
        let request = Request {
            number: 0,
            ..undecided.held.request()
        };
        let message = Message::in_piece(&request, undecided.held.piece());
        let mut place = servers.fleet.place_to_decide(request.key);
        let before = match write.first {
            Copy::Answered(_) => {
                // It is its partner's turn, whoever comes first by now.
                if let Some(second) = place.second.filter(|_| place.first == write.servers.0) {
                    (place.first, place.second) = (second, Some(place.first));
                }
                match request.verb {
                    Verb::Add => Copy::Absent, // and what it stored is removed again
                    _ => write.first,
                }
            }
            Copy::Lost { .. } => write.first,
            Copy::Absent | Copy::Pending => write.second,
        };
        self.decide(servers, id, message, (place, pass), before, may_wait);
        self.gate.is_deferred(id)
    }

    /// The client for which a write is to be decided elsewhere, if there is one.
    pub fn client_of(&self, id: usize) -> Option<usize> {
        self.transactions[id].client
    }

    pub fn take_write(&mut self, id: usize) -> Write {
        match std::mem::take(&mut self.transactions[id].work) {
            Work::Write(write) => write,
            _ => unreachable!("a write's leg belongs to a write"),
        }
    }

    /// Goes on when a leg was answered, or cut off: with what the partner gets, with the end, or by the other server.
    pub fn follow<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let mut write = self.take_write(id);
        // Where who was to decide is lost, it is sent elsewhere at once: before what its client has asked behind it is (R60).
        let is_lost = write.first.lost().is_some();
        if matches!(&write.stage, Stage::Deciding(undecided) if undecided.guard.pending > 0 && !is_lost) {
            self.transactions[id].work = Work::Write(write);
            return;
        }
        let goes_elsewhere = match (&write.stage, &write.first, &write.second, write.servers.1) {
            (Stage::Deciding(_), Copy::Answered(_), ..) => {
                self.is_superseded(servers, &write) || self.decided(servers, id, &mut write)
            }
            (Stage::Deciding(_), .., second) => {
                let is_up = |second: usize| servers.fleet.is_up(second);
                !write.elsewhere && second.is_some_and(is_up)
            }
            (Stage::Adding(_) | Stage::Replacing(_), _, Copy::Answered(reply), Some(_)) if is_another(reply.status) => {
                self.ask_who_decides(servers, id, &mut write);
                false
            }
            (Stage::Adding(_) | Stage::Replacing(_) | Stage::Copying, _, Copy::Answered(reply), Some(second))
                if reply.status != Status::Stored =>
            {
                if reply.status == Status::Error {
                    servers.note_refusal(second, reply);
                }
                self.remove_from_second(servers, id, second, &mut write);
                false
            }
            _ => false,
        };
        self.transactions[id].work = Work::Write(write);
        match goes_elsewhere {
            true => servers.cx.hand_on(Handoff::DecideElsewhere(id)),
            false => self.write_step(servers, id),
        }
    }

    /// The server that decides has said something: makes its partner follow that. Returns whether the partner is to decide.
    fn decided<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, write: &mut Write) -> bool {
        let (Some(reply), Stage::Deciding(undecided)) = (write.first.answer(), &write.stage) else {
            unreachable!("it has decided");
        };
        let adds = write.verb == Verb::Add;
        let decision = decision(reply.status, adds, undecided.flushes != servers.fleet.flushes());
        let (key, first) = (undecided.held.key(), write.servers.0);
        write.receipt = Some(servers.fleet.ledger.receipt(first));
        let added = adds && decision.has_stored();
        let says_little = added || matches!(decision, Decision::Refused | Decision::NothingThere);
        let absence = match says_little {
            true => servers.fleet.absence(key, first),
            false => Absence::Proof,
        };
        if added && absence != Absence::Proof {
            take_back(servers, write, key);
        }
        match (absence, write.servers.1) {
            (Absence::AskPartner, _) if write.second.answer().is_some() => write.turn(), // that has been done
            (Absence::AskPartner, _) => return true,
            (Absence::PartnerAway, _) => {
                write.first = Copy::Lost { delivered: false }; // its word does not count
            }
            (Absence::Proof, None) => {}
            (Absence::Proof, Some(second)) if !servers.fleet.is_up(second) => {
                servers.fleet.ledger.record(Event::Decided {
                    write: write.number,
                    key,
                    missed_by: second,
                    failed_over: write.second.lost(),
                    decision,
                });
            }
            (Absence::Proof, Some(second)) => match decision {
                Decision::Stored => self.copy_to_second(servers, id, second, write),
                // What the flush has taken here, it need not have taken there: that may have been written since by its clock (R34).
                Decision::Flushed => self.remove_from_second(servers, id, second, write),
                Decision::NothingThere if servers.fleet.ledger.is_outdated(key, second, first) => {
                    self.remove_from_second(servers, id, second, write);
                }
                // What its partner has may be old, or somebody else's.
                Decision::NothingThere if servers.fleet.is_to_be_evened_out(key, second, first) => {}
                // What its partner has may be what this one has refused (R42).
                Decision::NothingThere if self.refused.has_another(id, key, write.number) => {}
                // Otherwise whoever reads finds it there.
                Decision::NothingThere => return write.second.answer().is_none(),
                Decision::Refused if undecided.tells_unique && !self.refused.has_another(id, key, write.number) => {
                    // That has taken away what was there.
                    servers.fleet.ledger.record(Event::LacksKey {
                        server: first,
                        from: second,
                        key,
                    });
                    servers.cx.hand_on(Handoff::Lacking);
                }
                Decision::Refused | Decision::Unchanged => {}
            },
        }
        false
    }

    /// The second does not add what the first has stored: asks the first whether it still has that.
    pub fn confirm<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, write: &mut Write) {
        let first = write.servers.0;
        if !write.receipt.is_some_and(|receipt| servers.fleet.ledger.holds(receipt)) {
            write.first = Copy::Lost { delivered: false }; // and somebody else has been given the key on the second
            return;
        }
        let Stage::Adding(undecided) = std::mem::replace(&mut write.stage, Stage::Copying) else {
            unreachable!("it was to be added");
        };
        write.stage = Stage::Confirming(undecided);
        let unique = Options {
            unique: true,
            ..Options::default()
        };
        self.ask(
            servers,
            (first, Purpose::Confirm),
            id,
            Request::look(write.key(), unique),
        );
    }

    /// The first server has said what it has of what it stored, or nothing (`None`: it was cut off).
    pub fn confirmed<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, response: Option<&Response<'_>>) {
        let mut write = self.take_write(id);
        let (Stage::Confirming(undecided), (_, Some(second))) =
            (std::mem::replace(&mut write.stage, Stage::Copying), write.servers)
        else {
            unreachable!("it is asked for what it has stored");
        };
        let now_s = servers.cx.net.unix_time_s() as i64;
        let stored = write.first.answer().map(|reply| reply.number);
        let is_as_stored = response.is_some_and(|response| response.unique == stored);
        match response {
            None => write.first = Copy::Lost { delivered: false },
            Some(_) if is_as_stored && servers.fleet.is_up(second) => {
                // What the second has is what the first did not have any more.
                self.copy_as(servers, id, (second, Verb::Set), &mut write, undecided);
            }
            Some(_) if is_as_stored => missed_by_second(servers, &mut write, undecided.held.key()),
            // What was over as soon as it was stored leaves nothing on the second either (R61).
            Some(response)
                if response.status == Status::MetaMiss && is_past(undecided.held.request().exptime, now_s) =>
            {
                if servers.fleet.is_up(second) {
                    self.remove_from_second(servers, id, second, &mut write);
                } else {
                    missed_by_second(servers, &mut write, undecided.held.key());
                }
            }
            // Somebody has changed it since, and that on both.
            Some(_) => write.second = Copy::Absent,
        }
        self.transactions[id].work = Work::Write(write);
        self.write_step(servers, id);
    }

    /// Sends the partner a plain set of the item that was stored, a removal where one was removed; or first an add, if it was one and other
    /// magents are there.
    fn copy_to_second<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, second: usize, write: &mut Write) {
        if write.verb == Verb::MetaDelete {
            return self.remove_from_second(servers, id, second, write);
        }
        let Stage::Deciding(undecided) = std::mem::replace(&mut write.stage, Stage::Copying) else {
            unreachable!("what was decided is copied");
        };
        let adds = write.verb == Verb::Add && undecided.tells_unique && undecided.is_compared;
        let (verb, is_guarded) = match undecided.guard.found {
            _ if adds => (Verb::Add, false),
            Found::Unknown => (Verb::Set, false),
            Found::Nothing => (Verb::Add, true),
            Found::Item(_) => (Verb::Cas, true),
        };
        let undecided = self.copy_as(servers, id, (second, verb), write, undecided);
        match is_guarded {
            true => write.stage = Stage::Replacing(undecided),
            false if adds => write.stage = Stage::Adding(undecided),
            false => {}
        }
    }

    pub fn copy_as<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        (second, verb): (usize, Verb),
        write: &mut Write,
        undecided: Box<Undecided>,
    ) -> Box<Undecided> {
        let request = undecided.held.request();
        let copy = Request {
            verb,
            exptime: servers.fleet.exptime_on(second, request.exptime),
            number: match undecided.guard.found {
                Found::Item(unique) if verb == Verb::Cas => unique,
                _ => 0,
            },
            verbatim: None,
            ..request
        };
        let copy = copy.telling_unique(servers.tell_unique(&copy, write.servers.0, Some(second)));
        let message = Message::in_piece(&copy, undecided.held.piece());
        let to = (second, Purpose::Write(Side::Second));
        self.change(servers, write.pass(), to, id, message);
        write.second = Copy::Pending;
        undecided
    }

    fn remove_from_second<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, second: usize, write: &mut Write) {
        let removal = Request::new(Verb::Delete, write.key());
        let message = Message::from(&removal);
        let to = (second, Purpose::Write(Side::Second));
        self.change(servers, write.pass(), to, id, message);
        (write.second, write.stage) = (Copy::Pending, Stage::Removing);
    }
}

/// Removes what a server has added that turned out to be empty after the add had failed over to it, or got the key by new settings.
fn take_back<N: Net>(servers: &mut Servers<N>, write: &Write, key: &[u8]) {
    let removal = Request::new(Verb::Delete, key);
    servers.change(
        write.pass(),
        write.servers.0,
        Purpose::Forget,
        0,
        Message::from(&removal),
    );
}

/// Whether a server that was to get a copy has something else, or nothing to replace.
fn is_another(status: Status) -> bool {
    matches!(status, Status::NotStored | Status::Exists | Status::NotFound)
}

/// What a server has made of an add, replace or cas by what it said. `is_flushed`: all servers have been told to flush since it was asked.
fn decision(status: Status, adds: bool, is_flushed: bool) -> Decision {
    match status {
        Status::Stored | Status::Deleted if is_flushed => Decision::Flushed,
        Status::Stored | Status::Deleted => Decision::Stored,
        // A refusal (too large, out of memory) leaves what is there: memcached takes away only what a set meant to replace, or what
        // was to tell its unique.
        Status::Error => Decision::Refused,
        Status::NotStored | Status::NotFound if !adds => Decision::NothingThere,
        _ => Decision::Unchanged,
    }
}
