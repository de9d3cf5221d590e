//! Writes that both copies get at once: set, append, prepend, incr, decr, touch, delete; and every write without backups.
//!
//! The reply is that of the server that decides ([`Place::first`](crate::proxy::fleet::place::Place)), or its partner's own when that was
//! lost. With `--ack=all` it is given when every leg is in, so that an acknowledged write survives the death of either
//! server. A copy that did not acknowledge what its partner did has missed the write, and is rid of the key before anybody
//! reads from it again. Where the two answer differently, the second copy is made like the first before the client is
//! told; so is that of a server that was away when the write was sent and is back when it is answered.

use crate::buffer::Slice;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Absence, Ack, Event, Fate, Lacks, Partner, Receipt};
use crate::proxy::fleet::place::Place;
use crate::proxy::handoff::Waiting;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::replicate::missed;
use crate::proxy::replicate::plan::{Copy, Write, is_negative};
use crate::proxy::replicate::transaction::{NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::settings;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::{Message, Sent};

impl Replicate {
    pub fn start_write<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        message: Message<'_>,
        way: (Place, Pass),
    ) {
        servers.cx.statistics.count_write(message.request.verb);
        self.write_both(servers, id, message, None, way);
    }

    pub fn write_both<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        message: Message<'_>,
        reply: Option<&'static Reply>,
        (place, pass): (Place, Pass),
    ) {
        let (verb, key) = (message.request.verb, message.request.key);
        let up = |server: &usize| servers.fleet.is_up(*server);
        let first = Some(place.first).filter(up);
        let second = place.second.filter(up);
        if first.is_none() {
            self.leave_gate(servers, pass);
            return self.answer(servers, id, NO_SERVER);
        }
        let number = servers.fleet.ledger.begin();
        let elsewhere = missed::unsent(servers, number, key, place, verb != Verb::Set);
        let mut sent: Option<Sent> = None;
        let mut key_piece = None;
        for (server, side) in [(first, Side::First), (second, Side::Second)] {
            let Some(server) = server else {
                continue;
            };
            let timed = servers.fleet.by_clock_of(server, message.request);
            let message = match &timed {
                Some(timed) => message.with(timed),
                None => message.again(sent.as_ref()),
            };
            let leg = self.change(servers, &pass, (server, Purpose::Write(side)), id, message);
            if place.second.is_some() {
                key_piece = Some(leg.sent.key_piece());
                // What the other server gets is the same, unless this one has another clock.
                if side == Side::First && timed.is_none() {
                    sent = Some(leg.sent.clone());
                }
            }
        }
        let state = |server: Option<usize>| if server.is_some() { Copy::Pending } else { Copy::Absent };
        self.transactions[id].work = Work::Write(Write {
            verb,
            servers: (place.first, place.second),
            pass: Some(pass),
            first: state(first),
            second: state(second),
            receipt: None,
            number,
            elsewhere,
            key: key_piece,
            reply,
            sizes: None,
        });
        self.ask_for_sizes(servers, id, verb, key, place);
    }

    pub fn write_answer<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, reply: Reply) {
        self.write_copy(servers, id, side, Copy::Answered(reply));
    }

    pub fn write_lost<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, delivered: bool) {
        self.note_missed(servers, id, side, delivered);
        self.write_copy(servers, id, side, Copy::Lost { delivered });
    }

    fn write_copy<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, copy: Copy) {
        let Work::Write(write) = &mut self.transactions[id].work else {
            unreachable!("a write's leg belongs to a write");
        };
        let answered = copy.answer().is_some();
        let server = match side {
            Side::First => {
                write.first = copy;
                Some(write.servers.0)
            }
            Side::Second => {
                write.second = copy;
                write.servers.1
            }
        };
        if let Some(server) = server.filter(|_| answered) {
            let before = write.receipt.replace(servers.fleet.ledger.receipt(server));
            if side == Side::Second {
                self.doubt_absence(servers, id, before);
            }
            self.settle_missed(servers, id, side);
        }
        self.write_step(servers, id);
    }

    /// The first server answered that it does not have the key, and was lost since; the second has the key, and now says what
    /// it did with it. Nothing is left of what the first said, and whoever reads sees what the second has: so the second's
    /// answer is the reply, as if the first had been lost a moment earlier (R27).
    fn doubt_absence<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, absence: Option<Receipt>) {
        let told = self.transactions[id].is_answered;
        let Work::Write(write) = &mut self.transactions[id].work else {
            return;
        };
        let negative = |copy: &Copy| copy.answer().is_some_and(is_negative);
        let first = write.servers.0;
        let holds = absence.is_some_and(|receipt| servers.fleet.ledger.holds(receipt));
        if told || !negative(&write.first) || negative(&write.second) || holds {
            return;
        }
        write.first = Copy::Lost { delivered: false };
        let key = write.key.as_ref().map(|key| key.bytes());
        if let (false, Some(key), Some(partner)) = (servers.fleet.is_up(first), key, write.servers.1) {
            servers.fleet.ledger.record(Event::CutOff {
                write: write.number,
                key,
                server: first,
                delivered: false,
                partner,
                is: Partner::Asked,
            });
        }
    }

    /// Goes on when enough servers have answered: with the reply, or, when all have, with making them alike.
    pub fn write_step<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let told = self.transactions[id].is_answered;
        let Work::Write(write) = &mut self.transactions[id].work else {
            return;
        };
        if !write.first.is_pending() && !write.second.is_pending() && !write.waits_for_sizes() {
            if is_overruled(servers, write) {
                write.turn();
            }
            if let Some(pass) = write.pass.take() {
                self.leave_gate(servers, pass);
            }
            return self.end_write(servers, id);
        }
        if told || servers.cx.settings.ack != settings::Ack::Primary || is_overruled(servers, write) {
            return;
        }
        // The other answer is still to come, but is not waited for.
        if let Some(reply) = write.first.answer() {
            write.count(&mut servers.cx.statistics, reply.status);
            let reply = write.told(reply).clone();
            self.answer_with(servers, id, reply);
        }
    }

    /// All servers have answered that will.
    fn end_write<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let told = self.transactions[id].is_answered;
        let Work::Write(write) = &self.transactions[id].work else {
            return;
        };
        let outcome = match heals(servers, write, told) {
            Some(outcome) => outcome,
            None if told => Outcome::Told,
            None => answers(servers, write),
        };
        self.transactions[id].work = Work::Answered;
        match outcome {
            Outcome::Told => self.end_if_over(id),
            Outcome::Reply(reply) => self.answer_with(servers, id, reply),
            Outcome::Heal {
                pair,
                key,
                reply,
                instead,
            } => {
                let waiting = Waiting {
                    write: id,
                    reply,
                    instead,
                };
                self.wait_for_healing(servers, pair, key.bytes(), waiting);
            }
        }
    }

    /// A leg was cut off: its server has missed the write, unless it is the only one that may have it.
    fn note_missed<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, delivered: bool) {
        let told = self.transactions[id].is_answered;
        let Work::Write(write) = &mut self.transactions[id].work else {
            return;
        };
        let (Some(key), (first, Some(second))) = (&write.key, write.servers) else {
            return;
        };
        let (lost, partner, partners_copy) = match side {
            Side::First => (first, second, &mut write.second),
            Side::Second => (second, first, &mut write.first),
        };
        let is = match partners_copy {
            Copy::Pending => Partner::Asked,
            Copy::Answered(_) => {
                let receipt = write.receipt.filter(|_| !told);
                let ack = partners_copy.ack(write.verb);
                if receipt.is_some_and(|receipt| !servers.fleet.ledger.holds(receipt)) {
                    // It acknowledged, and was lost since, perhaps with its memory: that is no acknowledgement (R3).
                    *partners_copy = Copy::Lost { delivered: false };
                }
                Partner::Acked(receipt, ack)
            }
            Copy::Absent => Partner::Missed { delivered: false },
            Copy::Lost { delivered } => Partner::Missed { delivered: *delivered },
        };
        let key = key.bytes();
        // A partner that was never filled with it cannot tell whether it was there; see what it says.
        let is_the_only_one = matches!(is, Partner::Missed { .. }) && !servers.fleet.is_up(partner);
        let unsure = servers.fleet.ledger.lacks(key, partner, lost) != Lacks::Nothing;
        if write.verb != Verb::Set && !is_the_only_one && unsure {
            write.elsewhere = true;
            return;
        }
        servers.fleet.ledger.record(Event::CutOff {
            write: write.number,
            key,
            server: lost,
            delivered,
            partner,
            is,
        });
    }

    /// A server answered: if its partner did not get the write, it has missed it for good, unless it was none.
    fn settle_missed<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side) {
        let Work::Write(write) = &mut self.transactions[id].work else {
            return;
        };
        let (Some(key), (first, Some(second))) = (&write.key, write.servers) else {
            return;
        };
        let (copy, server, partner, partners_copy) = match side {
            Side::First => (&write.first, first, second, &write.second),
            Side::Second => (&write.second, second, first, &write.first),
        };
        let delivered = match partners_copy {
            Copy::Absent => false,
            Copy::Lost { delivered } => *delivered,
            Copy::Pending | Copy::Answered(_) => return,
        };
        let key = key.bytes();
        // Where the item may be elsewhere, what this one says is not the last word; nor if it turned out only now that it
        // was started anew.
        let here = copy.answer().is_some_and(|reply| !is_negative(reply));
        write.elsewhere |= !here && servers.fleet.absence(key, server) == Absence::PartnerAway;
        let ack = copy.ack(write.verb);
        let fate = if write.elsewhere { Fate::Unacked } else { ack.fate };
        servers.fleet.ledger.record(Event::Acked {
            write: write.number,
            key,
            missed_by: partner,
            delivered,
            ack: Ack { fate, ..ack },
        });
    }
}

/// What comes of a write that all have answered.
enum Outcome {
    /// Nothing more: the client has been told.
    Told,
    Reply(Reply),
    /// The second copy is to be made like the first; then it is told.
    Heal {
        pair: (usize, usize),
        key: Slice,
        reply: Option<Reply>,
        instead: Option<Reply>,
    },
}

/// Whether the first server only does not find the key because it was started anew, which was not known when it was
/// asked.
fn is_overruled<N: Net>(servers: &Servers<N>, write: &Write) -> bool {
    let Some(key) = &write.key else {
        return false;
    };
    let negative = write.first.answer().is_some_and(is_negative);
    negative
        && !matches!(write.second, Copy::Absent | Copy::Lost { .. })
        && servers.fleet.absence(key.bytes(), write.servers.0) == Absence::AskPartner
}

/// Answers by the server that decides, or by the only one that said anything.
fn answers<N: Net>(servers: &mut Servers<N>, write: &Write) -> Outcome {
    let (copy, here, other, there) = match (&write.first, write.servers) {
        (Copy::Answered(_), (first, second)) => (&write.first, first, &write.second, second),
        (_, (first, second)) => (&write.second, second.unwrap_or(first), &write.first, Some(first)),
    };
    let Some(reply) = copy.answer() else {
        return Outcome::Reply(NO_SERVER.clone());
    };
    let alone = write.first.answer().is_none() || write.second.answer().is_none();
    if let (true, Some(there), Some(piece)) = (alone, there, &write.key) {
        let key = piece.bytes();
        if is_negative(reply) && write.elsewhere {
            // It says no more than that the key is not here.
            servers.fleet.ledger.record(Event::LacksKey {
                server: here,
                from: there,
                key,
            });
            return Outcome::Reply(NO_SERVER.clone());
        }
        let ack = copy.ack(write.verb);
        if !is_negative(reply) && ack.fate == Fate::Acked {
            if servers.fleet.is_up(there) {
                // It has come back meanwhile, without this write, and may have been filled without it.
                write.count(&mut servers.cx.statistics, reply.status);
                return Outcome::Heal {
                    pair: (here, there),
                    key: piece.clone(),
                    reply: Some(write.told(reply).clone()),
                    instead: None,
                };
            }
            if write.elsewhere {
                servers.fleet.ledger.record(Event::Missed {
                    server: there,
                    key,
                    delivered: matches!(other, Copy::Lost { delivered: true }),
                    ack: Ack { whole: false, ..ack },
                });
            }
        }
    }
    write.count(&mut servers.cx.statistics, reply.status);
    Outcome::Reply(write.told(reply).clone())
}

/// Where the two servers answered differently, the second copy is to be made like the first, and the reply is left to that.
fn heals<N: Net>(servers: &mut Servers<N>, write: &Write, told: bool) -> Option<Outcome> {
    let (reply, answer, piece) = (write.first.answer()?, write.second.answer()?, write.key.as_ref()?);
    let (first, second) = (write.servers.0, write.servers.1?);
    if agree(write.verb, reply, answer) && !write.sizes_differ() {
        return None;
    }
    let cold = servers.fleet.ledger.lacks(piece.bytes(), second, first) != Lacks::Nothing;
    if cold && is_negative(answer) {
        return None; // it is not there yet, and will be copied
    }
    if !told {
        write.count(&mut servers.cx.statistics, reply.status);
    }
    let seen = !told && !is_negative(answer) && answer.status != Status::Error;
    Some(Outcome::Heal {
        pair: (first, second),
        key: piece.clone(),
        reply: (!told).then(|| write.told(reply).clone()),
        instead: seen.then(|| write.told(answer).clone()),
    })
}

/// Whether two answers to a write leave both servers with the same.
fn agree(verb: Verb, one: &Reply, other: &Reply) -> bool {
    match (one.status, other.status) {
        (Status::Deleted | Status::NotFound, Status::Deleted | Status::NotFound) if verb == Verb::Delete => true,
        // What a failure of the server's own leaves behind is not known.
        (Status::Error, Status::Error) => one == other && one.fault == Fault::Client,
        (Status::Number, Status::Number) => one.number == other.number,
        (one, other) => one == other,
    }
}
