//! A connection from an application: what has come from it, what is to go to it, and the limits that it stays within.

use crate::buffer::{Chain, Gather};
use crate::protocol::codec::Codec;
use crate::protocol::form::Form;
use crate::protocol::request::Kept;
use crate::proxy::front::pace::Pace;
use crate::proxy::front::queue::Queue;
use crate::proxy::net::Net;
use crate::proxy::settings::Limits;
use crate::proxy::upstream::link::Outgoing;

/// What has arrived from the client and is not yet a request: in boxes, for most clients have nothing of the kind.
#[derive(Default)]
pub enum Input {
    #[default]
    Nothing,
    /// A line without its end.
    Line(Box<Gather>),
    /// Requests that wait until the client has less in flight.
    Paused(Box<Gather>),
    /// A storage command of which bytes of the data block are to come.
    Value(Box<Begun>),
    /// A data block that was refused; bytes of it still to come.
    Swallow { missing: usize },
}

/// A storage command whose value has not all come.
pub struct Begun {
    pub gather: Gather,
    /// So many are to come.
    pub missing: usize,
    pub form: Form,
    pub kept: Kept,
}

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    /// A flush_all, stats, or a write to a key that is being read: nothing more is begun until all before it is answered.
    Barrier,
    /// quit, end-of-file or shutdown: what is in flight is answered, then the connection is closed.
    Leaving,
}

pub struct Client<N: Net> {
    pub socket: N::Socket,
    /// How it is spoken with.
    pub codec: Codec,
    pub input: Input,
    pub output: Chain,
    pub outgoing: Outgoing,
    /// Transactions in the order asked.
    pub queue: Queue,
    /// The sum of the costs of what is in the queue.
    pub load: usize,
    /// Bytes of replies that wait for an earlier one, and of values that wait to be merged.
    pub replies: usize,
    /// How much its retrievals may ask for at a time.
    pub pace: Pace,
    pub stage: Stage,
    /// It has sent something.
    pub has_asked: bool,
    /// The socket may have more than was read.
    pub readable: bool,
    /// When it last sent something, in seconds on the clock of `Net::now_ms`.
    pub asked_s: u32,
    /// When it was last read from, in microseconds, the lower 32 bits: or when it took what it had not, if that was later.
    pub read_us: u32,
    /// Requests that have begun, or were refused.
    pub requests: u32,
    /// Bytes that it has sent, and that it has taken.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// On the list of clients to go on with.
    pub is_resuming: bool,
    /// On the list of those that hold much.
    pub is_heavy: bool,
    /// On the list of those that are read when there is memory again.
    pub is_squeezed: bool,
    /// It may be read from once though there is none.
    pub may_go_beyond: bool,
}

impl<N: Net> Client<N> {
    pub fn new(socket: N::Socket, now_ms: u64, pace: Pace) -> Self {
        Self {
            socket,
            codec: Codec::default(),
            input: Input::Nothing,
            output: Chain::new(),
            outgoing: Outgoing::Idle,
            queue: Queue::default(),
            load: 0,
            replies: 0,
            pace,
            stage: Stage::Open,
            has_asked: false,
            readable: false,
            asked_s: (now_ms / 1000) as u32,
            read_us: 0,
            requests: 0,
            bytes_read: 0,
            bytes_written: 0,
            is_resuming: false,
            is_heavy: false,
            is_squeezed: false,
            may_go_beyond: false,
        }
    }

    /// What it is doing, in the words of memcached's `stats conns`.
    pub fn state(&self) -> &'static str {
        match (&self.input, self.stage) {
            (_, Stage::Leaving) => "conn_closing",
            _ if self.outgoing == Outgoing::Blocked => "conn_mwrite",
            (Input::Value(_), _) => "conn_nread",
            (Input::Swallow { .. }, _) => "conn_swallow",
            _ if !self.queue.is_empty() => "conn_io_queue",
            _ => "conn_read",
        }
    }

    pub fn mark_dirty(&mut self, dirty: &mut Vec<usize>, index: usize) {
        if self.outgoing == Outgoing::Idle {
            self.outgoing = Outgoing::Dirty;
            dirty.push(index);
        }
    }

    /// Whether another request of this client may begin, where no client may have more than `share` bytes held for it. One
    /// that has nothing in flight may always ask for something.
    pub fn may_begin(&self, limits: &Limits, share: usize) -> bool {
        let idle = self.queue.is_empty() && self.output.is_empty();
        self.stage == Stage::Open
            && self.queue.len() < limits.requests_in_flight
            && (self.load + self.output.len() + self.replies < share || idle)
            && self.pace.has_room()
    }

    /// Bytes of what it has sent and what is not a request yet.
    pub fn input_bytes(&self) -> usize {
        match &self.input {
            Input::Line(gather) | Input::Paused(gather) => gather.capacity(),
            Input::Value(begun) => begun.gather.capacity(),
            Input::Nothing | Input::Swallow { .. } => 0,
        }
    }

    /// Bytes that closing this client would give back at once.
    pub fn footprint(&self) -> usize {
        self.input_bytes() + self.output.len() + self.replies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection takes beside its socket and some 60 bytes of numbers.
    #[test]
    fn an_idle_connection_takes_little() {
        let parts = [
            size_of::<Input>(),
            size_of::<Chain>(),
            size_of::<Queue>(),
            size_of::<Pace>(),
        ];
        assert!(parts.iter().sum::<usize>() <= 124, "{parts:?}");
    }
}
