//! Writes, from the pass through the gate to the reply: set, append, prepend, incr, decr, touch, delete, add, replace, cas.
//!
//! The [`Plan`](crate::proxy::replicate::plan::Plan) of a write says in which order its servers get it: both at once, or first the one that decides
//! ([`Place::first`](crate::proxy::fleet::place::Place)), and then its partner by what that said (see `decide`). Whatever the plan, the reply
//! is that of the server that decides, or its partner's own when that was lost. With `--ack=all` it is given when every
//! leg is in, so that an acknowledged write survives the death of either server. A copy that did not acknowledge what its
//! partner did has missed the write (see `missed`), and is rid of the key before anybody reads from it again. Where two servers that
//! were asked at once answer differently, the second copy is made like the first before the client is told; so is that of
//! a server that was away when the write was sent and is back when it is answered.

use crate::buffer::Slice;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Absence, Event, Fate, Lacks};
use crate::proxy::fleet::place::Place;
use crate::proxy::handoff::{Handoff, Waiting, Written};
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::replicate::missed;
use crate::proxy::replicate::plan::{Copy, Stage, Write, is_negative};
use crate::proxy::replicate::transaction::{NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::settings;
use crate::proxy::upstream::link::{Purpose, Side};
use crate::proxy::upstream::message::{Message, Sent};

impl Replicate {
    /// Sends a write that was let in to both servers; `reply` is what the client is told, whatever they say.
    pub fn write_both<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        message: Message<'_>,
        reply: Option<&'static Reply>,
        (place, pass): (Place, Pass),
    ) {
        let (verb, key) = (message.request.verb, message.request.key);
        let tells = servers.tell_unique(message.request, place.first, place.second);
        let changes = tells != message.request.options.unique;
        let telling = changes.then(|| message.request.telling_unique(tells));
        let message = telling.as_ref().map_or(message, |telling| message.with(telling));
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
            stage: Stage::Both,
        });
        self.ask_for_sizes(servers, id, verb, key, place);
    }

    /// A server has answered.
    pub fn write_answer<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, mut reply: Reply) {
        if reply.fault == Fault::Server {
            self.note_failure(servers, id, side);
        }
        let is_in_vain = self.is_in_vain(id);
        let (write, told) = self.write_mut(id);
        if let (Some(server), true) = (write.server(side), reply.unique > 0) {
            let unique = servers.fleet.unique_for_clients(server, Some(reply.unique));
            reply.unique = unique.unwrap_or(0);
        }
        if servers.fleet.others.are_there() {
            if let Some(server) = write.server(side) {
                let marks = matches!(write.verb, Verb::MetaMake | Verb::MetaInvalidate);
                servers.fleet.wrote(server, write.key(), &reply, marks);
            }
        }
        *write.copy_mut(side) = Copy::Answered(reply);
        if write.is_to_both() {
            missed::answered(servers, write, side, told || is_in_vain);
            self.write_step(servers, id);
        } else {
            self.follow(servers, id);
        }
    }

    /// Whether what the second server makes of a write may rest on what the first has refused.
    #[inline]
    fn is_in_vain(&self, id: usize) -> bool {
        match &self.transactions[id].work {
            Work::Write(write) if !self.refused.is_empty() && write.verb != Verb::Set => {
                self.refused.has_another(id, write.key(), write.number)
            }
            _ => false,
        }
    }

    /// A server has refused a write for a reason of its own.
    #[cold]
    fn note_failure<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side) {
        let (write, _) = self.write_mut(id);
        let server = write.server(side);
        let slot = write.pass.as_ref().map(Pass::slot);
        let key = write.key.clone().filter(|_| side == Side::First && write.is_to_both());
        if let Some(server) = server {
            servers.fleet.servers[server].has_refused = true;
        }
        if let (Some(key), Some(slot)) = (key, slot) {
            self.refused.note(id, key.bytes(), slot);
        }
    }

    /// A leg was cut off.
    pub fn write_lost<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, side: Side, delivered: bool) {
        let (write, told) = self.write_mut(id);
        *write.copy_mut(side) = Copy::Lost { delivered };
        missed::lost(servers, write, side, delivered, told);
        match write.is_to_both() {
            true => self.write_step(servers, id),
            false => self.follow(servers, id),
        }
    }

    /// A write, and whether its client has been told what came of it.
    fn write_mut(&mut self, id: usize) -> (&mut Write, bool) {
        let transaction = &mut self.transactions[id];
        match &mut transaction.work {
            Work::Write(write) => (write, transaction.is_answered),
            _ => unreachable!("a write's leg belongs to a write"),
        }
    }

    /// Goes on when enough servers have answered: with the reply, or, when all have, with making them alike.
    pub fn write_step<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let is_told_at_the_end = self.transactions[id].has_parts;
        let (write, told) = self.write_mut(id);
        if !write.is_pending() {
            if !self.weighs(servers, id) {
                self.end_write(servers, id);
            }
            return;
        }
        let is_early = servers.cx.settings.ack == settings::Ack::Primary && !is_told_at_the_end;
        if told || !is_early || may_be_overruled(servers, write) {
            return;
        }
        // The other answer is still to come, but is not waited for.
        if let Some(reply) = write.first.answer() {
            write.count(&mut servers.cx.statistics, reply.status);
            let reply = write.told(reply).clone();
            self.answer_with(servers, id, reply);
        }
    }

    /// All servers have answered that will: it is told what came of it, and leaves the gate.
    fn end_write<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let (write, told) = self.write_mut(id);
        let pass = write.pass.take();
        if write.key.is_none() {
            let reply = (!told).then(|| answer_of(servers, write, &write.first));
            self.transactions[id].work = Work::Answered;
            match reply {
                Some(reply) => self.answer_with(servers, id, reply),
                None => self.end_if_over(id),
            }
            return pass.into_iter().for_each(|pass| self.leave_gate(servers, pass));
        }
        let is_in_vain = self.is_in_vain(id);
        let (write, told) = self.write_mut(id);
        let outcome = outcome(servers, write, told, is_in_vain);
        self.transactions[id].work = Work::Answered;
        if !matches!(outcome, Outcome::Heal { .. }) {
            self.is_undone(servers, id);
        }
        match outcome {
            Outcome::Told => self.end_if_over(id),
            Outcome::Reply(reply) => self.answer_with(servers, id, reply),
            Outcome::Heal {
                pair,
                key,
                reply,
                instead,
                otherwise,
                is_turned,
            } => {
                let waiting = Waiting {
                    write: id,
                    reply,
                    instead,
                    otherwise,
                    is_turned,
                };
                self.wait_for_healing(servers, pair, key.bytes(), waiting);
            }
        }
        if let Some(pass) = pass {
            self.leave_gate(servers, pass);
        }
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
        otherwise: Option<Reply>,
        is_turned: bool,
    },
}

/// What comes of a write whose key has two servers. `is_in_vain`: what the second has may be what the first refused.
fn outcome<N: Net>(servers: &mut Servers<N>, write: &mut Write, told: bool, is_in_vain: bool) -> Outcome {
    let turned = is_overruled(servers, write, told || is_in_vain);
    if turned {
        write.turn();
    }
    if let Some(outcome) = heals(servers, write, told, is_in_vain, turned) {
        return outcome;
    }
    let _ = look_again(servers, write);
    match told {
        true => Outcome::Told,
        false => answers(servers, write),
    }
}

/// What the client is told where this is what counts.
fn answer_of<N: Net>(servers: &mut Servers<N>, write: &Write, copy: &Copy) -> Reply {
    let Some(reply) = copy.answer() else {
        return NO_SERVER.clone();
    };
    write.count(&mut servers.cx.statistics, reply.status);
    write.told(reply).clone()
}

/// Whether the word of the first server, which does not find the key, does not count: it was started anew, which was not
/// known when it was asked, or its partner has the key, as whoever reads it sees, unless that is settled: the client has been told
/// already, or what the partner has is to be removed. One that decides is asked for its word only once that counts.
fn is_overruled<N: Net>(servers: &Servers<N>, write: &Write, is_settled: bool) -> bool {
    let Some(key) = &write.key else {
        return false;
    };
    if !write.first.is_negative() || !write.is_to_both() {
        return false;
    }
    match &write.second {
        Copy::Absent | Copy::Lost { .. } | Copy::Pending => false,
        Copy::Answered(answer) => {
            // What is deleted is gone from both, whoever had it.
            let is_failure = answer.status == Status::Error && answer.fault != Fault::Client;
            let finds = !is_settled && !is_failure && !is_negative(answer) && write.verb != Verb::Delete;
            let (first, second) = write.servers;
            let counts = |second| {
                let is_outdated = servers.fleet.ledger.is_outdated(key.bytes(), second, first)
                    || servers.fleet.is_to_be_evened_out(key.bytes(), second, first);
                let is_good = servers.fleet.has_meta(second) && !is_outdated;
                // Or it has come to decide meanwhile, and somebody may have read there what the write has left (R40).
                is_good || servers.fleet.place_to_decide(key.bytes()).first == second
            };
            finds && second.is_some_and(counts)
                || servers.fleet.absence(key.bytes(), write.servers.0) == Absence::AskPartner
        }
    }
}

/// Whether it may come to that: its partner has the key, or has not said anything yet. What is deleted is gone from both all the same, if the first
/// was not started anew.
fn may_be_overruled<N: Net>(servers: &Servers<N>, write: &Write) -> bool {
    let anew = |key: &Slice| servers.fleet.absence(key.bytes(), write.servers.0) == Absence::AskPartner;
    let counts = |key: &Slice| write.verb != Verb::Delete || anew(key);
    match write.second.is_pending() {
        true => write.first.is_negative() && write.key.as_ref().is_some_and(counts),
        false => is_overruled(servers, write, false), // its size is still to come
    }
}

/// Has what both servers have acknowledged looked at once more, where other magents may have written the key at the same moment.
fn look_again<N: Net>(servers: &mut Servers<N>, write: &Write) -> Option<()> {
    let (first, second, key) = (write.servers.0, write.servers.1?, write.key.as_ref()?);
    if !servers.fleet.compares(first, Some(second)) {
        return None;
    }
    let deletes = matches!(write.verb, Verb::Delete | Verb::MetaDelete);
    let unique = |copy: &Copy| match copy.answer().map(|reply| (reply.status, reply.number)) {
        Some((Status::Stored, unique)) if unique > 0 => Some(Some(unique)),
        Some((Status::Deleted | Status::NotFound, _)) if deletes => Some(None),
        _ => None,
    };
    let stored = |copy: &Copy| copy.answer().is_some_and(|reply| reply.status == Status::Stored);
    if let (Some(one), Some(other)) = (unique(&write.first), unique(&write.second)) {
        servers.cx.hand_on(Handoff::Written(Box::new(Written {
            key: key.clone(),
            pair: (first, second),
            uniques: [one, other],
            is_computed: matches!(write.verb, Verb::Append | Verb::Prepend),
        })));
    } else if stored(&write.first) && stored(&write.second) {
        // What they have stored they have not told.
        let (pair, key) = ((first, second), key.clone());
        servers.cx.hand_on(Handoff::Moving { pair, key });
    }
    Some(())
}

/// Answers by the server that decides, or by the only one that said anything.
fn answers<N: Net>(servers: &mut Servers<N>, write: &Write) -> Outcome {
    let (copy, here, there) = match (&write.first, write.servers) {
        (Copy::Answered(_), (first, second)) => (&write.first, first, second),
        (_, (first, second)) => (&write.second, second.unwrap_or(first), Some(first)),
    };
    let Some(reply) = copy.answer() else {
        return Outcome::Reply(NO_SERVER.clone());
    };
    let alone = write.first.answer().is_none() || write.second.answer().is_none();
    if let (true, Some(there), Some(piece)) = (alone && write.is_to_both(), there, &write.key) {
        if is_negative(reply) && write.elsewhere {
            // It says no more than that the key is not here.
            servers.fleet.ledger.record(Event::LacksKey {
                server: here,
                from: there,
                key: piece.bytes(),
            });
            return Outcome::Reply(NO_SERVER.clone());
        }
        let has_changed_something = !is_negative(reply) && copy.ack(write.verb).fate == Fate::Acked;
        if has_changed_something && servers.fleet.is_up(there) {
            // It has come back meanwhile, without this write, and may have been filled without it.
            write.count(&mut servers.cx.statistics, reply.status);
            return Outcome::Heal {
                pair: (here, there),
                key: piece.clone(),
                reply: Some(write.told(reply).clone()),
                instead: None,
                otherwise: None,
                is_turned: false,
            };
        }
    }
    Outcome::Reply(answer_of(servers, write, copy))
}

/// Where the two servers answered differently, the second copy is to be made like the first, and the reply is left to that.
fn heals<N: Net>(
    servers: &mut Servers<N>,
    write: &Write,
    told: bool,
    is_in_vain: bool,
    turned: bool,
) -> Option<Outcome> {
    let (reply, piece) = (write.first.answer()?, write.key.as_ref()?);
    let (first, second) = (write.servers.0, write.servers.1?);
    let (mut instead, mut otherwise) = (None, None);
    if write.is_to_both() {
        let answer = write.second.answer()?;
        if agree(write.verb, reply, answer) && !write.sizes_differ() {
            return None;
        }
        let cold = servers.fleet.ledger.lacks(piece.bytes(), second, first) != Lacks::Nothing;
        if cold && is_negative(answer) {
            return None; // it is not there yet, and will be copied
        }
        let have_counted = reply.status == Status::Number && answer.status == Status::Number;
        let have_padded = agree(write.verb, reply, answer);
        // Which one does not find may have been rid of it by another's `delete`, or have evicted it.
        let is_on_one = !is_in_vain && !is_negative(reply) && reply.status != Status::Error && is_negative(answer);
        if (have_counted || have_padded || is_on_one) && servers.fleet.compares(first, Some(second)) {
            // What others have done may have come to one before this, and to the other after it.
            let (pair, key) = ((first, second), piece.clone());
            servers.cx.hand_on(Handoff::Moving { pair, key });
            return None;
        }
        let is_known = !told && !is_in_vain && answer.status != Status::Error;
        otherwise = is_known.then(|| write.told(answer).clone());
        instead = otherwise.clone().filter(|_| !is_negative(answer));
    } else if write.is_left_behind() && servers.fleet.is_up(second) {
        // What the second has stored nobody has decided.
    } else if reply.status != Status::Error || write.second.lost().is_none() || !servers.fleet.is_up(second) {
        return None; // if not, it failed over to who refuses it: its partner is back, and may have stored it
    }
    if !told {
        write.count(&mut servers.cx.statistics, reply.status);
    }
    Some(Outcome::Heal {
        pair: (first, second),
        key: piece.clone(),
        reply: (!told).then(|| write.told(reply).clone()),
        instead,
        otherwise,
        is_turned: turned && !told,
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
