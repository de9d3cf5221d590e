//! A client's request in progress.
//!
//! It lives until its reply has left, or its client, and its last leg is in, so no answer ever finds its transaction gone.

use crate::protocol::reply::{Fault, Reply, Status};
#[cfg(debug_assertions)]
use crate::proxy::replicate::gate::Gate;
use crate::proxy::replicate::plan::{Broadcast, Read, Refused, Write};
use crate::proxy::replicate::topic::Survey;
use crate::proxy::upstream::message::Held;

pub const NO_SERVER: &Reply = &Reply::error(Fault::Server, b" no server available");
pub const END: &Reply = &Reply::plain(Status::End);

/// What a transaction is doing.
#[derive(Default)]
pub enum Work {
    /// Nothing any more: the reply is complete.
    #[default]
    Answered,
    /// Held up by another write to the same key.
    Waiting(Held),
    /// The same, of a set that was refused: what it was to replace goes.
    Refused(Refused),
    Read(Read),
    Write(Write),
    Broadcast(Broadcast),
    Survey(Box<Survey>),
    /// A write whose second copy is being made like the first, before its reply is given.
    Healing,
}

/// What a retrieval may ask for at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    /// Keys of a portion, at least 1.
    pub keys: usize,
    /// What a key's value is foreseen to weigh, where that of all keys of a portion is much; else 0.
    pub key_bytes: usize,
    /// Nothing that its client asked before is unanswered.
    pub is_front: bool,
}

#[derive(Default)]
pub struct Transaction {
    /// It is in progress.
    pub is_open: bool,
    /// The reply is complete.
    pub is_answered: bool,
    /// What is answered may not be the reply, but the first part of it: nothing may be left of one part when the next begins.
    pub has_parts: bool,
    /// Legs whose answer has not come.
    pub legs: u32,
    /// The client that it is for; None when the reply has left, or the client.
    pub client: Option<usize>,
    /// Of a retrieval, as it was when the request came.
    pub allowance: Allowance,
    pub work: Work,
}

impl Transaction {
    pub fn open(&mut self, client: usize, allowance: Allowance) {
        self.is_open = true;
        (self.is_answered, self.has_parts) = (false, false);
        self.client = Some(client);
        self.allowance = allowance;
    }

    /// Returns whether it was open, and over.
    pub fn close(&mut self) -> bool {
        std::mem::replace(&mut self.is_open, false) && self.is_over()
    }

    /// Whether nothing is left to be done, but for its reply to leave.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.legs == 0 && matches!(self.work, Work::Answered)
    }
}

impl Work {
    /// Gives back what it has of the gate, where everything ends.
    #[cfg(debug_assertions)]
    pub fn leave_behind(self, gate: &mut Gate) {
        match self {
            Work::Write(write) => write.pass.into_iter().for_each(|pass| gate.abandon(pass)),
            Work::Read(mut read) => read.discount(gate),
            _ => {}
        }
    }
}
