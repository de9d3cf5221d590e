//! What a client waits for.

use crate::buffer::{BLOCK_BYTES, Chain, Slice};
use crate::protocol::form::Form;
use crate::protocol::verb::Verb;
use crate::proxy::front::slow::Late;
use crate::proxy::net::Time;

/// A client's side of a request in progress.
#[derive(Default)]
pub struct Pending {
    /// The client whose queue this is in; None once the reply has left, or its client.
    pub client: Option<usize>,
    pub form: Form,
    /// The value that it stores, if that may have to be stored again.
    pub kept: Option<Slice>,
    /// The reply is complete.
    pub is_answered: bool,
    /// Keys that a retrieval asks for at a time; 0 for everything else.
    pub keys: usize,
    /// Bytes that the request, and the reply as far as it can be foreseen, weigh on the client's allowance.
    pub cost: usize,
    /// What was asked, and for how many keys, several being 2; None of what no server is asked for a client's sake.
    pub asked: Option<(Verb, u8)>,
    /// When it had been read, in microseconds, the lower 32 bits: a request is answered, or has failed, within a few timeouts, none of
    /// which is longer than ten minutes, and these come to more than an hour.
    pub since_us: u32,
    /// Since when its next portion waits for its client.
    pub stalled_us: Option<u32>,
    /// Where it is late: what the log will tell.
    pub late: Option<Box<Late>>,
    /// The reply, while an earlier one has still to leave.
    pub reply: Chain,
}

impl Pending {
    /// What its reply weighs while an earlier one has still to leave: however short it is, it has a block of its own.
    pub fn reply_bytes(&self) -> usize {
        if self.reply.is_empty() {
            0
        } else {
            self.reply.len() + BLOCK_BYTES
        }
    }

    /// How long it has waited, in microseconds.
    #[inline]
    pub fn waited_us(&self, now: Time) -> u32 {
        now.low_us().wrapping_sub(self.since_us)
    }

    /// Nobody waits any more; what is still to be answered goes on, in its form.
    pub fn clear(&mut self) {
        self.client = None;
        self.reply.clear();
        self.kept = None;
        self.late = None;
    }

    /// What is known of the request for its reply is not needed any more.
    #[inline]
    pub fn forget_request(&mut self) {
        self.form = Form::default();
        self.kept = None;
    }
}
