//! Writes that both copies get at once: set, append, prepend, incr, decr, touch, delete; and every write without backups.
//!
//! The reply is that of the server that decides ([`Place::first`](crate::proxy::fleet::farm::Place)), or its partner's own when that was
//! lost. With `--ack=all` it is given when every leg is in, so that an acknowledged write survives the death of either
//! server. A copy that did not acknowledge what its partner did has missed the write, and is rid of the key before anybody
//! reads from it again. Where the two answer differently, the second copy is made like the first before the client is
//! told; so is that of a server that was away when the write was sent and is back when it is answered.

use crate::buffer::Slice;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::copier::repair::Waiting;
use crate::proxy::fleet::farm::Place;
use crate::proxy::fleet::ledger::{Absence, Ack, Event, Fate, Lacks, Number, Partner, Receipt};
use crate::proxy::front::transaction::{NO_SERVER, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::replicate::padding::Sizes;
use crate::proxy::settings;
use crate::proxy::statistics::Statistics;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::{Message, Sent};

/// One of the two legs.
enum Copy {
    /// No such server, or it is down.
    Absent,
    Pending,
    Answered(Reply),
    Lost {
        /// It lay in the server's socket when that fell silent.
        delivered: bool,
    },
}

impl Copy {
    fn is_pending(&self) -> bool {
        matches!(self, Copy::Pending)
    }

    fn answer(&self) -> Option<&Reply> {
        match self {
            Copy::Answered(reply) => Some(reply),
            _ => None,
        }
    }

    /// Whether a partner that does the same, from the same state, or from having nothing, is left with nothing else.
    fn is_done_alike(&self, verb: Verb) -> bool {
        self.answer()
            .is_some_and(|reply| reply.status != Status::Error && (verb == Verb::Delete || !is_negative(reply)))
    }

    /// What this answer means to a partner that missed the write. What the client did wrong changed nothing (R6).
    fn ack(&self, verb: Verb) -> Ack {
        let fate = match self.answer() {
            Some(reply) if reply.fault == Fault::Client => Fate::Unacked,
            _ => Fate::Acked,
        };
        Ack {
            fate,
            alike: self.is_done_alike(verb),
            whole: matches!(verb, Verb::Set | Verb::Delete),
        }
    }
}

pub struct Write {
    verb: Verb,
    /// The server whose answer counts, and its partner.
    servers: (usize, Option<usize>),
    /// None once it is over.
    pub pass: Option<Pass>,
    first: Copy,
    second: Copy,
    /// Of the server that answered last.
    receipt: Option<Receipt>,
    /// In the ledger.
    number: Number,
    /// That it is not on the first may only mean that the second, which cannot be reached, has it.
    elsewhere: bool,
    /// Its key; kept where a second copy makes it worth knowing.
    key: Option<Slice>,
    /// What the client is told, whatever the servers say.
    reply: Option<&'static Reply>,
    /// Of what an append or prepend has left.
    pub sizes: Sizes,
}

impl Write {
    /// What the client is told where a server answered this.
    fn told<'a>(&self, reply: &'a Reply) -> &'a Reply {
        self.reply.unwrap_or(reply)
    }

    /// Lets the other server decide.
    fn turn(&mut self) {
        if let Some(second) = &mut self.servers.1 {
            std::mem::swap(&mut self.servers.0, second);
            std::mem::swap(&mut self.first, &mut self.second);
            self.sizes.turn();
        }
    }

    /// Counts what the client asked for; it did not ask for a removal that has a reply of its own.
    fn count(&self, statistics: &mut Statistics, status: Status) {
        if self.reply.is_none() {
            statistics.count_outcome(self.verb, status);
        }
    }
}

impl<N: Net> Proxy<N> {
    pub(in crate::proxy) fn start_write(&mut self, id: usize, message: Message<'_>, way: (Place, Pass)) {
        self.statistics.count_write(message.request.verb);
        self.write_both(id, message, None, way);
    }

    pub(in crate::proxy) fn write_both(
        &mut self,
        id: usize,
        message: Message<'_>,
        reply: Option<&'static Reply>,
        (place, pass): (Place, Pass),
    ) {
        let (verb, key) = (message.request.verb, message.request.key);
        let up = |server: &usize| self.farm.is_up(*server);
        let first = Some(place.first).filter(up);
        let second = place.second.filter(up);
        if first.is_none() {
            self.leave_gate(pass);
            return self.answer(id, NO_SERVER);
        }
        let elsewhere = verb != Verb::Set && self.farm.absence(key, place.first) == Absence::PartnerAway;
        let number = self.farm.ledger.begin();
        if !elsewhere {
            self.note_absent(number, place, key);
        }
        let mut sent: Option<Sent> = None;
        let mut key_piece = None;
        for (server, side) in [(first, Side::First), (second, Side::Second)] {
            let Some(server) = server else {
                continue;
            };
            let timed = self.by_clock_of(server, message.request);
            let message = match &timed {
                Some(timed) => message.with(timed),
                None => message.again(sent.as_ref()),
            };
            let leg = self.change(&pass, server, Purpose::Write(side), id, message);
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
            sizes: Sizes::default(),
        });
        self.ask_for_sizes(id, verb, key, place);
    }

    pub(in crate::proxy) fn write_answer(&mut self, id: usize, side: Side, reply: Reply) {
        self.write_copy(id, side, Copy::Answered(reply));
    }

    pub(in crate::proxy) fn write_lost(&mut self, id: usize, side: Side, delivered: bool) {
        self.note_missed(id, side, delivered);
        self.write_copy(id, side, Copy::Lost { delivered });
    }

    fn write_copy(&mut self, id: usize, side: Side, copy: Copy) {
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
            let before = write.receipt.replace(self.farm.ledger.receipt(server));
            if side == Side::Second {
                self.doubt_absence(id, before);
            }
            self.settle_missed(id, side);
        }
        self.write_step(id);
    }

    /// The first server answered that it does not have the key, and was lost since; the second has the key, and now says what
    /// it did with it. Nothing is left of what the first said, and whoever reads sees what the second has: so the second's
    /// answer is the reply, as if the first had been lost a moment earlier (R27).
    fn doubt_absence(&mut self, id: usize, absence: Option<Receipt>) {
        let told = self.transactions[id].answered;
        let Work::Write(write) = &mut self.transactions[id].work else {
            return;
        };
        let negative = |copy: &Copy| copy.answer().is_some_and(is_negative);
        let first = write.servers.0;
        let holds = absence.is_some_and(|receipt| self.farm.ledger.holds(receipt));
        if told || !negative(&write.first) || negative(&write.second) || holds {
            return;
        }
        write.first = Copy::Lost { delivered: false };
        let key = write.key.as_ref().map(|key| key.bytes());
        if let (false, Some(key), Some(partner)) = (self.farm.is_up(first), key, write.servers.1) {
            self.farm.ledger.record(Event::CutOff {
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
    pub(in crate::proxy) fn write_step(&mut self, id: usize) {
        let Work::Write(write) = &self.transactions[id].work else {
            return;
        };
        let all = !write.first.is_pending() && !write.second.is_pending() && !write.sizes.are_pending();
        let first_answered = write.first.answer().is_some();
        let enough =
            all || (self.settings.ack == settings::Ack::Primary && first_answered && !self.is_overruled(write));
        if !enough {
            return;
        }
        if all {
            let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
            let Work::Write(mut write) = work else {
                return;
            };
            if self.is_overruled(&write) {
                write.turn();
            }
            if let Some(pass) = write.pass.take() {
                self.leave_gate(pass);
            }
            if !self.heal_if_different(id, &write) {
                match self.transactions[id].answered {
                    true => self.end_if_over(id),
                    false => self.answer_write(id, &write),
                }
            }
        } else if !self.transactions[id].answered {
            if let Work::Write(write) = &self.transactions[id].work {
                // The other answer is still to come, but is not waited for.
                let early = write.first.answer();
                if let Some(reply) = early {
                    write.count(&mut self.statistics, reply.status);
                    let reply = write.told(reply).clone();
                    self.answer(id, &reply);
                }
            }
        }
    }

    /// Whether the first server only does not find the key because it was started anew, which was not known when it was
    /// asked.
    fn is_overruled(&self, write: &Write) -> bool {
        let Some(key) = &write.key else {
            return false;
        };
        let negative = write.first.answer().is_some_and(is_negative);
        negative
            && !matches!(write.second, Copy::Absent | Copy::Lost { .. })
            && self.farm.absence(key.bytes(), write.servers.0) == Absence::AskPartner
    }

    /// Answers by the server that decides, or by the only one that said anything.
    fn answer_write(&mut self, id: usize, write: &Write) {
        let (copy, here, other, there) = match (&write.first, write.servers) {
            (Copy::Answered(_), (first, second)) => (&write.first, first, &write.second, second),
            (_, (first, second)) => (&write.second, second.unwrap_or(first), &write.first, Some(first)),
        };
        let Some(reply) = copy.answer() else {
            return self.answer(id, NO_SERVER);
        };
        let alone = write.first.answer().is_none() || write.second.answer().is_none();
        if let (true, Some(there), Some(key)) = (alone, there, &write.key) {
            let key = key.bytes();
            if is_negative(reply) && write.elsewhere {
                // It says no more than that the key is not here.
                self.farm.ledger.record(Event::LacksKey {
                    server: here,
                    from: there,
                    key,
                });
                return self.answer(id, NO_SERVER);
            }
            let ack = copy.ack(write.verb);
            if !is_negative(reply) && ack.fate == Fate::Acked {
                if self.farm.is_up(there) {
                    // It has come back meanwhile, without this write, and may have been filled without it.
                    write.count(&mut self.statistics, reply.status);
                    let reply = Some(write.told(reply).clone());
                    let (write, instead) = (id, None);
                    return self.heal(here, there, key, Some(Waiting { write, reply, instead }));
                }
                if write.elsewhere {
                    self.farm.ledger.record(Event::Missed {
                        server: there,
                        key,
                        delivered: matches!(other, Copy::Lost { delivered: true }),
                        ack: Ack { whole: false, ..ack },
                    });
                }
            }
        }
        write.count(&mut self.statistics, reply.status);
        self.answer(id, write.told(reply));
    }

    /// Where the two servers answered differently, begins to make the second copy like the first, and leaves the reply to
    /// that. Returns whether it did.
    fn heal_if_different(&mut self, id: usize, write: &Write) -> bool {
        let (Some(reply), Some(answer), Some(key)) = (write.first.answer(), write.second.answer(), &write.key) else {
            return false;
        };
        let (first, Some(second)) = write.servers else {
            return false;
        };
        if agree(write.verb, reply, answer) && !write.sizes.differ() {
            return false;
        }
        let key = key.bytes();
        let cold = self.farm.ledger.lacks(key, second, first) != Lacks::Nothing;
        if cold && is_negative(answer) {
            return false; // it is not there yet, and will be copied
        }
        let unanswered = !self.transactions[id].answered;
        let told = unanswered.then(|| write.told(reply).clone());
        if unanswered {
            write.count(&mut self.statistics, reply.status);
        }
        let seen = unanswered && !is_negative(answer) && answer.status != Status::Error;
        let waiting = Waiting {
            write: id,
            reply: told,
            instead: seen.then(|| write.told(answer).clone()),
        };
        self.heal(first, second, key, Some(waiting));
        true
    }

    /// A leg was cut off: its server has missed the write, unless it is the only one that may have it.
    fn note_missed(&mut self, id: usize, side: Side, delivered: bool) {
        let told = self.transactions[id].answered;
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
                if receipt.is_some_and(|receipt| !self.farm.ledger.holds(receipt)) {
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
        let is_the_only_one = matches!(is, Partner::Missed { .. }) && !self.farm.is_up(partner);
        let unsure = self.farm.ledger.lacks(key, partner, lost) != Lacks::Nothing;
        if write.verb != Verb::Set && !is_the_only_one && unsure {
            write.elsewhere = true;
            return;
        }
        self.farm.ledger.record(Event::CutOff {
            write: write.number,
            key,
            server: lost,
            delivered,
            partner,
            is,
        });
    }

    /// A server answered: if its partner did not get the write, it has missed it for good, unless it was none.
    fn settle_missed(&mut self, id: usize, side: Side) {
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
        write.elsewhere |= !here && self.farm.absence(key, server) == Absence::PartnerAway;
        let ack = copy.ack(write.verb);
        let fate = if write.elsewhere { Fate::Unacked } else { ack.fate };
        self.farm.ledger.record(Event::Acked {
            write: write.number,
            key,
            missed_by: partner,
            delivered,
            ack: Ack { fate, ..ack },
        });
    }

    /// The partner was down when the write was sent.
    fn note_absent(&mut self, write: Number, place: Place, key: &[u8]) {
        if let Some(server) = place.second.filter(|&second| !self.farm.is_up(second)) {
            self.farm.ledger.record(Event::Unsent {
                write,
                key,
                server,
                partner: place.first,
            });
        }
    }
}

/// Whether an answer says that the key is not there.
fn is_negative(reply: &Reply) -> bool {
    matches!(reply.status, Status::NotFound | Status::NotStored)
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
