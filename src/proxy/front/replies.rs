//! How replies leave in the order the client asked.
//!
//! A request is in its client's queue until its reply is complete and all before it have left. Without a client, which has
//! closed, what would be a reply is dropped.

use crate::buffer::{Chain, Pool, Slice};
use crate::protocol::form::Form;
use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::context::Context;
use crate::proxy::front::Front;
use crate::proxy::front::client::Stage;
use crate::proxy::front::memory::client_share;
use crate::proxy::front::pending::Pending;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::merge::Merge;
use crate::proxy::replicate::transaction::Allowance;
use crate::proxy::upstream::answers::Value;
use std::rc::Rc;

/// What a request in progress takes beside its bytes, with its legs, roughly.
const TRANSACTION_BYTES: usize = 512;

/// Who is told something, and in which form.
pub struct Addressee {
    pub client: usize,
    pub form: Form,
}

/// What a request weighs on its client's allowance.
#[derive(Clone, Copy, Default)]
pub struct Weight {
    /// Bytes of the request, and of the reply as far as it can be foreseen.
    pub cost: usize,
    /// Keys that a retrieval asks for at a time; 0 for everything else.
    pub keys: usize,
    /// What is asked, and for how many keys; see [`Pending`].
    pub asked: Option<(Verb, u8)>,
}

impl Weight {
    /// Of a request: its keys, and its value, as they came.
    pub fn of(request: &Request<'_>) -> Self {
        let key_bytes = match request.key_count {
            2.. => request.keys.rest().len(),
            _ => request.key.len(),
        };
        Self {
            cost: key_bytes + request.value_len,
            keys: 0,
            asked: Some((request.verb, request.key_count.min(2) as u8)),
        }
    }
}

impl<N: Net> Front<N> {
    /// Puts a new request at the end of its client's queue.
    pub fn open(
        &mut self,
        cx: &Context<N>,
        replicate: &mut Replicate,
        to: Addressee,
        weight: Weight,
        allowance: Allowance,
    ) -> usize {
        let Addressee { client, form } = to;
        let Weight { cost, keys, asked } = weight;
        let id = replicate.open(client, allowance);
        if id >= self.pending.len() {
            self.pending.resize_with(id + 1, Pending::default);
        }
        let cost = cost + TRANSACTION_BYTES;
        let pending = &mut self.pending[id];
        (pending.client, pending.form, pending.is_answered) = (Some(client), form, false);
        (pending.keys, pending.cost) = (keys, cost);
        self.requested_ms = cx.now.ms();
        let owner = &mut self.clients[client];
        (pending.asked, pending.since_us, pending.stalled_us) = (asked, owner.read_us, None);
        owner.queue.push_back(&mut self.lists, id);
        owner.load += cost;
        owner.pace.keys_in_flight += keys as u32;
        id
    }

    /// What the next portion of a client's retrieval of so many keys may be, if it is the `is_front` of its queue.
    pub fn allowance(&self, cx: &Context<N>, client: usize, keys: usize, is_front: bool) -> Allowance {
        let limits = &cx.settings.limits;
        let pace = &self.clients[client].pace;
        let keys = keys.min(pace.portion_keys(limits)).max(1);
        let foreseen = pace.foreseen_bytes(keys);
        let is_bulk = foreseen >= limits.bulk_bytes_min;
        Allowance {
            keys,
            key_bytes: if is_bulk { foreseen / keys } else { 0 },
            is_front,
        }
    }

    /// Whether, and for how much, the next portion of a retrieval may be asked for: when it is the client's turn to be
    /// answered, and the client has taken what came before.
    pub fn may_go_on(&mut self, cx: &Context<N>, client: usize, id: usize) -> Option<Allowance> {
        let held_max = client_share(cx).min(cx.settings.limits.portion_bytes);
        let owner = &self.clients[client];
        let is_first = owner.queue.front() == Some(id);
        let is_taken = owner.output.len() <= held_max;
        if is_first {
            self.note_stalled(cx.now, client, id, !is_taken);
        }
        (is_first && is_taken).then(|| self.allowance(cx, client, usize::MAX, true))
    }

    /// Whether all that a client asked before is answered.
    pub fn is_first(&self, client: usize, id: usize) -> bool {
        self.clients[client].queue.front() == Some(id)
    }

    /// Whether a client has asked for nothing since.
    pub fn is_last(&self, client: usize, id: usize) -> bool {
        self.clients[client].queue.back() == Some(id)
    }

    /// A portion of a retrieval has been answered.
    pub fn portion_answered(&mut self, id: usize, keys: usize) {
        if let Some(client) = self.pending[id].client {
            self.clients[client].pace.portion_answered(keys);
        }
    }

    /// An item as its client is to see it, with this unique; None where that is as the server wrote it.
    #[inline]
    pub fn written_anew(
        &mut self,
        cx: &Context<N>,
        id: usize,
        value: &Value<'_>,
        unique: Option<u64>,
    ) -> Option<Slice> {
        let (form, data) = (&mut self.pending[id].form, &value.bytes[value.line_len..]);
        let (before, data) = form.item(value.response, unique, data, cx.settings.verbatim)?;
        Some(cx.pool.copy(&[&before, data]))
    }

    /// Whether the client of a retrieval has not asked for the item, which magent looks at for its sake.
    #[inline]
    pub fn only_looks(&self, id: usize) -> bool {
        self.pending[id].form.only_looks()
    }

    /// A value came, and goes into the reply.
    #[inline]
    pub fn value(&mut self, cx: &Context<N>, id: usize, bytes: &[u8], slice: Option<&Slice>) {
        self.weigh(cx, id, bytes.len());
        self.add_to_reply(cx, id, |_, chain, pool| match slice {
            Some(slice) => chain.push_slice(pool, slice),
            None => chain.push(pool, bytes),
        });
    }

    /// Whether what a server has written for the client of a retrieval is what this is to see.
    #[inline]
    pub fn takes_as_it_is(&self, cx: &Context<N>, id: usize) -> bool {
        cx.settings.verbatim && matches!(self.pending[id].form, Form::Text)
    }

    /// Values that have been [weighed](Self::weigh) go into the reply as they came.
    pub fn values_as_they_came(&mut self, cx: &Context<N>, id: usize, bytes: &[u8]) {
        self.add_to_reply(cx, id, |_, chain, pool| chain.push(pool, bytes));
    }

    /// A value of so many bytes came, and waits for others.
    pub fn value_waits(&mut self, cx: &Context<N>, id: usize, bytes: usize) {
        self.weigh(cx, id, bytes);
        if let Some(client) = self.pending[id].client {
            self.clients[client].replies += bytes;
            self.note_weight(cx, client);
        }
    }

    /// A value of so many bytes came.
    #[inline]
    pub fn weigh(&mut self, cx: &Context<N>, id: usize, bytes: usize) {
        if let Some(client) = self.pending[id].client {
            self.clients[client].pace.value_came(&cx.settings.limits, bytes);
            self.value_bytes = (self.value_bytes * 63 + bytes) / 64;
        }
    }

    /// Values that waited for each other go into the reply.
    pub fn values(&mut self, cx: &Context<N>, id: usize, merge: &mut Merge) {
        if let Some(client) = self.pending[id].client {
            self.clients[client].replies -= merge.bytes();
        }
        self.add_to_reply(cx, id, |_, chain, pool| merge.let_out_all(pool, chain));
    }

    /// So do those of them whose turn it is.
    pub fn due_values(&mut self, cx: &Context<N>, id: usize, merge: &mut Merge) {
        let before = merge.bytes();
        self.add_to_reply(cx, id, |_, chain, pool| merge.let_out_due(pool, chain));
        if let Some(client) = self.pending[id].client {
            self.clients[client].replies -= before - merge.bytes();
        }
    }

    /// Lets `add` write to where the bytes of a reply go now; not at all if nobody wants them.
    fn add_to_reply(&mut self, cx: &Context<N>, id: usize, add: impl FnOnce(&Form, &mut Chain, &Pool)) {
        let pending = &mut self.pending[id];
        let Some(index) = pending.client.filter(|_| !matches!(pending.form, Form::Silent)) else {
            return;
        };
        let client = &mut self.clients[index];
        if client.queue.front() == Some(id) {
            add(&pending.form, &mut client.output, &cx.pool);
            return self.output_grew(cx, index);
        }
        let before = pending.reply_bytes();
        add(&pending.form, &mut pending.reply, &cx.pool);
        client.replies += pending.reply_bytes() - before;
        self.note_weight(cx, index);
    }

    /// Ends a reply with this, and lets those out that waited for it.
    pub fn answer(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, id: usize, reply: &Reply) {
        self.add_to_reply(cx, id, |form, chain, pool| {
            form.reply(reply, |part| chain.push(pool, part))
        });
        self.answered_whole(cx, replicate, id);
    }

    /// The same where the reply has been written before.
    pub fn answer_written(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, id: usize, bytes: &[u8]) {
        self.add_to_reply(cx, id, |_, chain, pool| chain.push(pool, bytes));
        self.answered_whole(cx, replicate, id);
    }

    fn answered_whole(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, id: usize) {
        let pending = &mut self.pending[id];
        pending.is_answered = true;
        if let Some(client) = pending.client {
            if Self::note_latency(cx, pending) {
                self.tell_slow(cx, client, id);
            } else {
                pending.late = None;
            }
            self.release_replies(cx, replicate, client);
        }
    }

    /// Moves what is complete at the front of a client's queue out of it.
    fn release_replies(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, index: usize) {
        let client = &mut self.clients[index];
        while let Some(front) = client.queue.front() {
            let pending = &mut self.pending[front];
            if !pending.reply.is_empty() {
                client.replies -= pending.reply_bytes();
                client.output.append(&cx.pool, &mut pending.reply);
                client.mark_dirty(&mut self.dirty, index);
            }
            if !pending.is_answered {
                break;
            }
            client.queue.pop_front();
            client.load -= pending.cost;
            client.pace.answered(&cx.settings.limits, pending.keys);
            pending.client = None;
            pending.forget_request();
            replicate.release(front);
        }
        if client.stage == Stage::Leaving && client.queue.is_empty() {
            // Closing is the writer's business, even where the last reply was none.
            client.mark_dirty(&mut self.dirty, index);
        }
        self.note_weight_if_blocked(cx, index);
        self.resume_if_possible(cx, index);
        self.front_goes_on(cx, replicate, index);
    }

    /// What is in front of a client's queue may have been waiting for that with the rest of a wide get.
    #[inline]
    pub fn front_goes_on(&self, cx: &mut Context<N>, replicate: &Replicate, index: usize) {
        if let Some(front) = self.clients[index].queue.front() {
            if replicate.has_unasked(front) {
                cx.hand_on(Handoff::GoOn(front));
            }
        }
    }

    /// Answers a request that needs no server, in its turn.
    pub fn answer_at_once(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, to: Addressee, reply: &Reply) {
        let written = to.form.written(reply);
        if !written.is_empty() {
            self.answer_written_at_once(cx, replicate, to, &written);
        }
    }

    /// The same where the reply has been written before.
    pub fn answer_written_at_once(
        &mut self,
        cx: &mut Context<N>,
        replicate: &mut Replicate,
        to: Addressee,
        reply: &[u8],
    ) {
        let client = to.client;
        let owner = &mut self.clients[client];
        if owner.queue.is_empty() {
            let pool = Rc::clone(&cx.pool);
            owner.output.push(&pool, reply);
            return self.output_grew(cx, client);
        }
        let weight = Weight {
            cost: reply.len(),
            ..Weight::default()
        };
        let id = self.open(cx, replicate, to, weight, Allowance::default());
        self.answer_written(cx, replicate, id, reply);
    }
}
