//! One request on its way to the servers of its keys: plans for both copies, what has to wait for what, its reply.

mod agree;
mod answers;
pub mod begin;
pub mod broadcast;
mod check;
pub mod decide;
pub mod gate;
mod hedge;
pub mod merge;
mod missed;
pub mod padding;
pub mod plan;
pub mod portion;
pub mod read;
pub mod reading;
pub mod refusal;
mod refused;
pub mod survey;
pub mod topic;
pub mod touch;
pub mod transaction;
mod transactions;
pub mod write;

use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::proxy::handoff::{Handoff, Heal, Urgency, Waiting};
use crate::proxy::limits::Limits;
use crate::proxy::net::Net;
use crate::proxy::permit::Permit;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::{Leg, Purpose};
use crate::proxy::upstream::message::Message;
use gate::{Gate, Going};
use merge::Merge;
use plan::Share;
use refused::Refused;
use std::collections::VecDeque;
use transaction::{Allowance, Transaction, Work};
use transactions::Transactions;

/// All requests in progress.
pub struct Replicate {
    transactions: Transactions,
    /// What may go on with each key, and what has to wait for what.
    gate: Gate,
    /// The writes that one server of a key has refused, and that have not been undone on the other.
    refused: Refused,
    /// Those that may go through a gate once all legs that were cut off have failed over.
    put_off: VecDeque<Going>,
    /// Some client has made an item that is to be stored, or made one stale: who asks for such a one first is to store it.
    has_marked: bool,
    /// Room to split retrievals in.
    shares: Vec<Share>,
    /// Room for the slots of retrievals of several keys, and for values that wait for others.
    spare_slots: Vec<Vec<u16>>,
    #[expect(clippy::vec_box, reason = "they are lent in their boxes, which are what is spared")]
    spare_merges: Vec<Box<Merge>>,
    /// Retrievals whose next portion is to be asked for in another turn.
    reads_to_go_on: Vec<usize>,
    /// The `stats` requests that servers are being asked about.
    surveys: Vec<usize>,
    /// Flushes of all servers that are to be done once more.
    flushes_to_repeat: Vec<usize>,
}

impl Replicate {
    pub fn new(limits: &Limits) -> Self {
        Self {
            transactions: Transactions::default(),
            gate: Gate::new(limits),
            refused: Refused::default(),
            put_off: VecDeque::new(),
            has_marked: false,
            shares: Vec::new(),
            spare_slots: Vec::new(),
            spare_merges: Vec::new(),
            reads_to_go_on: Vec::new(),
            surveys: Vec::new(),
            flushes_to_repeat: Vec::new(),
        }
    }

    /// A client's request is to [begin](Self::begin_transaction).
    pub fn open(&mut self, client: usize, allowance: Allowance) -> usize {
        self.transactions.open(client, allowance)
    }

    /// A request that may [go on](Self::go_on_with) when it is answered: that is when all servers have answered, whatever is told of others.
    pub fn has_parts(&mut self, id: usize) {
        self.transactions[id].has_parts = true;
    }

    /// The reply of a request has left for its client.
    #[inline]
    pub fn release(&mut self, id: usize) {
        let transaction = &mut self.transactions[id];
        transaction.client = None;
        if transaction.is_over() {
            self.transactions.close(id);
        }
    }

    /// The client of a request is gone: it runs on, but for keys that have not been asked for.
    pub fn abandon(&mut self, id: usize) {
        self.transactions[id].client = None;
        self.abandon_read(id);
        self.end_if_over(id);
    }

    /// Whether a request waits for its key.
    pub fn is_waiting(&self, id: usize) -> bool {
        matches!(self.transactions[id].work, Work::Waiting(_) | Work::Refused(_))
    }

    /// Requests in progress, but for those that ask for statistics: asking does not change the answer.
    pub fn count(&self) -> usize {
        self.transactions.len().saturating_sub(self.surveys.len())
    }

    /// Whether adds wait until it is known which life their servers are in.
    #[inline]
    pub fn has_deferred(&self) -> bool {
        self.gate.deferred_count() > 0
    }

    /// Whether nothing is in progress.
    pub fn is_idle(&self) -> bool {
        self.transactions.len() == 0
    }

    /// Whether retrievals are to be gone on with at once.
    pub fn is_busy(&self) -> bool {
        !self.reads_to_go_on.is_empty()
    }

    /// The gates of all keys.
    pub fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }

    /// Gives memory back where nothing is in progress, but for so many requests.
    #[inline]
    pub fn shrink(&mut self, kept: usize) {
        self.transactions.shrink(kept);
    }

    /// Gives back what all have of the gates, where everything ends.
    #[cfg(debug_assertions)]
    pub fn leave_behind(&mut self) {
        for transaction in self.transactions.iter_mut() {
            std::mem::take(&mut transaction.work).leave_behind(&mut self.gate);
        }
        self.gate.abandon_deferred();
    }

    /// Ends the reply of a request with this.
    fn answer<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, reply: &Reply) {
        self.answer_with(servers, id, reply.clone());
    }

    /// The same with a reply that is of no other use.
    #[inline]
    fn answer_with<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, reply: Reply) {
        let transaction = &mut self.transactions[id];
        transaction.is_answered = true;
        match transaction.client {
            Some(_) => servers.cx.hand_on(Handoff::Reply(id, reply)),
            None => self.end_if_over(id),
        }
    }

    /// Leaves the reply of a write to when the copy on the second server is made like the one on the first.
    fn wait_for_healing<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        (from, to): (usize, usize),
        key: &[u8],
        waiting: Waiting,
    ) {
        self.transactions[waiting.write].work = Work::Healing;
        servers.cx.hand_on(Handoff::Heal(Box::new(Heal {
            from,
            to,
            key: key.into(),
            urgency: Urgency::Waited(waiting),
        })));
    }

    /// Has it made like that, where nobody waits for it and it may be left undone.
    fn heal_if_room<N: Net>(&self, servers: &mut Servers<N>, (from, to): (usize, usize), key: &[u8]) {
        servers.cx.hand_on(Handoff::Heal(Box::new(Heal {
            from,
            to,
            key: key.into(),
            urgency: Urgency::IfRoom,
        })));
    }

    /// A write that waited for its two copies to be made alike is over; its reply is this, if it has not been given.
    pub fn healed<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, reply: Option<&Reply>) {
        self.is_undone(servers, id);
        self.transactions[id].work = Work::Answered;
        match reply {
            Some(reply) => self.answer(servers, id, reply),
            None => self.end_if_over(id),
        }
    }

    /// A write has left its two servers alike; what one of them refused, the other does not have any more.
    #[inline]
    fn is_undone<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        self.refused.over(id, servers.fleet.ledger.next_number());
        self.refused.forget(|slot| self.gate.has_writes(slot));
    }

    /// Removes a transaction that nobody waits for any more, neither a client nor a leg.
    fn end_if_over(&mut self, id: usize) {
        let over = |transaction: &Transaction| transaction.client.is_none() && transaction.is_over();
        if self.transactions.get(id).is_some_and(over) {
            self.transactions.close(id);
        }
    }

    /// Sends a server what changes a key on it, or all keys, for a transaction.
    fn change<'a, N: Net>(
        &mut self,
        servers: &'a mut Servers<N>,
        permit: &impl Permit,
        (server, purpose): (usize, Purpose),
        id: usize,
        message: Message<'_>,
    ) -> &'a mut Leg {
        self.transactions[id].legs += 1;
        servers.change(permit, server, purpose, id, message)
    }

    /// Asks a server for something that changes nothing, for a transaction.
    fn send<'a, N: Net>(
        &mut self,
        servers: &'a mut Servers<N>,
        (server, purpose): (usize, Purpose),
        id: usize,
        message: Message<'_>,
    ) -> &'a mut Leg {
        self.transactions[id].legs += 1;
        servers.send(server, purpose, id, message)
    }

    /// A request of no other value, key or options than these, as [`send`](Self::send) does it.
    fn ask<'a, N: Net>(
        &mut self,
        servers: &'a mut Servers<N>,
        to: (usize, Purpose),
        id: usize,
        request: Request<'_>,
    ) -> &'a mut Leg {
        self.send(servers, to, id, Message::from(&request))
    }
}
