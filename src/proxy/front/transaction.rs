//! A client's request in progress, and how replies leave in the order the client asked.
//!
//! A transaction is in its client's queue until its reply is complete and all before it have left; it lives on until its
//! last leg is in, so no answer ever finds its transaction gone. Without a client (it closed, or the transaction is
//! magent's own) what would be a reply is dropped.

use crate::buffer::{BLOCK_BYTES, Chain, Pool, Slice};
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::text::reply::encode;
use crate::proxy::Proxy;
use crate::proxy::front::client::Stage;
use crate::proxy::net::Net;
use crate::proxy::replicate::broadcast::Broadcast;
use crate::proxy::replicate::conditional::Conditional;
use crate::proxy::replicate::read::Read;
use crate::proxy::replicate::refusal::Refused;
use crate::proxy::replicate::survey::Survey;
use crate::proxy::replicate::write::Write;
use crate::proxy::upstream::link::{Leg, Purpose};
use crate::proxy::upstream::message::Held;

pub const NO_SERVER: &Reply = &Reply::error(Fault::Server, b" no server available");
pub const END: &Reply = &Reply::plain(Status::End);

/// What a request in progress takes beside its bytes, with its legs, roughly.
const TRANSACTION_BYTES: usize = 512;

/// What a transaction is doing.
pub enum Work {
    /// Nothing any more: the reply is complete.
    Answered,
    /// Held up by another write to the same key.
    Waiting(Held),
    /// The same, of a set that was refused: what it was to replace goes.
    Refused(Refused),
    Read(Read),
    Write(Write),
    Conditional(Conditional),
    Broadcast(Broadcast),
    Survey(Survey),
    /// A repair of that number waits for its key.
    Repair(usize),
    /// A write whose second copy is being made like the first, before its reply is given.
    Healing,
}

pub struct Transaction {
    /// The client whose queue this is in.
    pub client: Option<usize>,
    pub noreply: bool,
    /// Keys that a retrieval asks for at a time; 0 for everything else.
    pub keys: usize,
    /// The reply is complete.
    pub answered: bool,
    /// Legs whose answer has not come.
    pub legs: u32,
    /// Bytes that the request, and the reply as far as it can be foreseen, weigh on the client's allowance.
    pub cost: usize,
    /// The reply, while an earlier one has still to leave.
    pub reply: Chain,
    pub work: Work,
}

impl Transaction {
    /// What its reply weighs while an earlier one has still to leave.
    pub fn reply_bytes(&self) -> usize {
        weight(&self.reply)
    }

    pub fn new(client: Option<usize>, noreply: bool, cost: usize) -> Self {
        Self {
            client,
            noreply,
            keys: 0,
            answered: false,
            legs: 0,
            cost,
            reply: Chain::new(),
            work: Work::Answered,
        }
    }
}

/// What a reply that waits takes in memory: however short it is, it has a block of its own.
fn weight(reply: &Chain) -> usize {
    if reply.is_empty() { 0 } else { reply.len() + BLOCK_BYTES }
}

impl<N: Net> Proxy<N> {
    /// Puts a new transaction at the end of its client's queue.
    pub(in crate::proxy) fn open(&mut self, client: usize, noreply: bool, cost: usize) -> usize {
        let cost = cost + TRANSACTION_BYTES;
        let id = self.transactions.insert(Transaction::new(Some(client), noreply, cost));
        self.requested_ms = self.now_ms;
        let owner = &mut self.clients[client];
        owner.queue.push_back(id);
        owner.load += cost;
        id
    }

    /// Lets `add` write to where the bytes of a reply go now; not at all if nobody wants them.
    fn add_to_reply(&mut self, id: usize, add: impl FnOnce(&mut Chain, &Pool)) {
        let transaction = &mut self.transactions[id];
        let Some(index) = transaction.client.filter(|_| !transaction.noreply) else {
            return;
        };
        let client = &mut self.clients[index];
        if client.queue.front() == Some(&id) {
            add(&mut client.output, &self.pool);
            return self.output_grew(index);
        }
        let before = weight(&transaction.reply);
        add(&mut transaction.reply, &self.pool);
        client.replies += weight(&transaction.reply) - before;
        self.note_weight(index);
    }

    /// Adds to a transaction's reply.
    pub(in crate::proxy) fn reply(&mut self, id: usize, bytes: &[u8]) {
        self.add_to_reply(id, |chain, pool| chain.push(pool, bytes));
    }

    /// Adds to a transaction's reply, a large slice without copying.
    pub(in crate::proxy) fn reply_slice(&mut self, id: usize, slice: &Slice) {
        self.add_to_reply(id, |chain, pool| chain.push_slice(pool, slice));
    }

    /// Ends a transaction's reply with this, and lets those out that waited for it.
    pub(in crate::proxy) fn answer(&mut self, id: usize, reply: &Reply) {
        self.add_to_reply(id, |chain, pool| encode(reply, |part| chain.push(pool, part)));
        self.answered_whole(id);
    }

    /// The same where the reply has been written before.
    pub(in crate::proxy) fn answer_written(&mut self, id: usize, bytes: &[u8]) {
        self.reply(id, bytes);
        self.answered_whole(id);
    }

    fn answered_whole(&mut self, id: usize) {
        self.transactions[id].answered = true;
        if let Some(client) = self.transactions[id].client {
            self.release_replies(client);
        }
        self.end_if_over(id);
    }

    /// Moves what is complete at the front of a client's queue out of it.
    fn release_replies(&mut self, index: usize) {
        let client = &mut self.clients[index];
        while let Some(&front) = client.queue.front() {
            let transaction = &mut self.transactions[front];
            if !transaction.reply.is_empty() {
                client.replies -= weight(&transaction.reply);
                client.output.append(&self.pool, &mut transaction.reply);
                client.mark_dirty(&mut self.dirty_clients, index);
            }
            if !transaction.answered {
                break;
            }
            client.queue.pop_front();
            client.load -= transaction.cost;
            client.pace.answered(&self.settings.limits, transaction.keys);
            transaction.client = None;
            if transaction.legs == 0 && matches!(transaction.work, Work::Answered) {
                self.transactions.remove(front);
            }
        }
        if client.stage == Stage::Leaving && client.queue.is_empty() {
            // Closing is the writer's business, even where the last reply was none.
            client.mark_dirty(&mut self.dirty_clients, index);
        }
        self.note_weight_if_blocked(index);
        self.resume_if_possible(index);
        // The transaction that is in front now may have been waiting for that with the rest of a wide get.
        if let Some(&front) = self.clients[index].queue.front() {
            self.continue_read(front);
        }
    }

    /// Removes a transaction that nobody waits for any more, neither a client nor a leg.
    pub(in crate::proxy) fn end_if_over(&mut self, id: usize) {
        let Some(transaction) = self.transactions.get(id) else {
            return;
        };
        let over = matches!(transaction.work, Work::Answered);
        if over && transaction.legs == 0 && transaction.client.is_none() {
            self.transactions.remove(id);
        }
    }

    /// A leg was cut off: its link died before the answer came. The legs of one transaction fail over one by one.
    pub(in crate::proxy) fn leg_lost(&mut self, server: usize, leg: Leg) {
        match leg.purpose {
            Purpose::GivenUp { .. } => return,
            Purpose::Probe => {
                // What was said so far is not to be completed by another answer.
                self.farm.servers[server].introduction = Default::default();
                return;
            }
            Purpose::Forget => return self.forget_lost(server, &leg),
            purpose if purpose.is_repair() => return self.repair_lost(leg.transaction, leg.delivered),
            _ => self.transactions[leg.transaction].legs -= 1,
        }
        let id = leg.transaction;
        match leg.purpose {
            Purpose::Read(ask) => self.read_lost(server, id, ask, &leg),
            Purpose::MirrorTouch => self.mirror_touch_done(server, &leg, None),
            Purpose::Write(side) => self.write_lost(id, side, leg.delivered),
            Purpose::Size(side) => self.size_answered(id, side, None),
            Purpose::Conditional(side) => self.conditional_lost(id, side, leg.delivered),
            Purpose::Broadcast(server) => self.broadcast_answer(id, server, None),
            Purpose::Survey => self.survey_step(id),
            Purpose::RepairFetch | Purpose::RepairCheck | Purpose::RepairStore => {}
            Purpose::Probe | Purpose::Forget | Purpose::GivenUp { .. } => {}
        }
    }
}
