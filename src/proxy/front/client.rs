//! A connection from an application: reading its requests, writing its replies, and the limits that it stays within.
//!
//! A client is not read while it has too much in flight or does not take its replies; that stalls it and nobody else.

use crate::buffer::{Chain, Gather};
use crate::protocol::find_newline;
use crate::protocol::request::Kept;
use crate::protocol::text::parse::may_continue;
use crate::proxy::Proxy;
use crate::proxy::front::dispatch::Step;
use crate::proxy::front::pace::Pace;
use crate::proxy::net::{Level, Net, Readiness};
use crate::proxy::settings::Limits;
use crate::proxy::upstream::link::{Outgoing, write_out};
use std::collections::VecDeque;
use std::io::ErrorKind;

/// The first byte of a connection whose client speaks the binary protocol (`protocol_binary.h`).
const BINARY_MAGIC: u8 = 0x80;
/// The log says at most this often that a client speaks a protocol that magent does not.
const BINARY_LOG_PAUSE_MS: u64 = 60_000;

/// What has arrived from the client and is not yet a request.
#[derive(Default)]
pub enum Input {
    #[default]
    Nothing,
    /// A line without its end.
    Line(Gather),
    /// Requests that wait until the client has less in flight.
    Paused(Gather),
    /// A storage command of which `missing` bytes of the data block are to come.
    Value {
        gather: Gather,
        missing: usize,
        kept: Box<Kept>,
    },
    /// A data block that was refused; bytes of it still to come.
    Swallow { missing: usize },
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
    pub input: Input,
    pub output: Chain,
    pub outgoing: Outgoing,
    /// Transactions in the order asked.
    pub queue: VecDeque<usize>,
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
    /// On the list of clients to go on with.
    resuming: bool,
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
            input: Input::Nothing,
            output: Chain::new(),
            outgoing: Outgoing::Idle,
            queue: VecDeque::new(),
            load: 0,
            replies: 0,
            pace,
            stage: Stage::Open,
            has_asked: false,
            readable: false,
            asked_s: (now_ms / 1000) as u32,
            resuming: false,
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
            (Input::Value { .. }, _) => "conn_nread",
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
    fn may_begin(&self, limits: &Limits, share: usize) -> bool {
        let idle = self.queue.is_empty() && self.output.is_empty();
        self.stage == Stage::Open
            && self.queue.len() < limits.requests_in_flight
            && (self.load + self.output.len() + self.replies < share || idle)
            && self.pace.has_room()
    }

    /// Bytes of what it has sent and what is not a request yet.
    fn input_bytes(&self) -> usize {
        match &self.input {
            Input::Line(gather) | Input::Paused(gather) | Input::Value { gather, .. } => gather.capacity(),
            Input::Nothing | Input::Swallow { .. } => 0,
        }
    }

    /// Bytes that closing this client would give back at once.
    pub fn footprint(&self) -> usize {
        self.input_bytes() + self.output.len() + self.replies
    }
}

impl<N: Net> Proxy<N> {
    pub(in crate::proxy) fn client_ready(&mut self, index: usize, readiness: Readiness, scratch: &mut [u8]) {
        let Some(client) = self.clients.get_mut(index) else {
            return; // a late event of a connection that is gone
        };
        if readiness.writable && client.outgoing == Outgoing::Blocked {
            client.outgoing = Outgoing::Idle;
            client.mark_dirty(&mut self.dirty_clients, index);
        }
        if readiness.readable || readiness.closed {
            client.readable = true;
            self.read_client(index, readiness.closed, scratch);
            self.leave_if_heard_out(index);
        }
    }

    /// Reads and handles what the client sent, as far as its limits allow.
    pub(in crate::proxy) fn read_client(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        for _ in 0..self.settings.limits.client_reads {
            let share = self.client_share();
            let Some(client) = self.clients.get_mut(index) else {
                return;
            };
            let hungry = client.may_begin(&self.settings.limits, share) && !matches!(client.input, Input::Paused(_));
            if !client.readable || !hungry {
                return;
            }
            let has_room = self.pool.in_use() < self.settings.memory_bytes_max;
            let room = match std::mem::take(&mut client.may_go_beyond) || has_room {
                true => scratch.len(),
                // There is none for more of what has begun, and only for a little that is new.
                false if client.input_bytes() > 0 => return self.squeeze(index),
                false => self.settings.limits.squeezed_read_bytes.min(scratch.len()),
            };
            let scratch = &mut scratch[..room];
            match self.net.read(&mut client.socket, scratch) {
                Ok(0) => {
                    client.readable = false;
                    return self.client_leaves(index);
                }
                Ok(count) => {
                    // A short read means drained, unless the event said that the stream has ended behind it.
                    client.readable = count == scratch.len() || to_the_end;
                    client.asked_s = (self.now_ms / 1000) as u32;
                    self.statistics.bytes_read += count as u64;
                    if !std::mem::replace(&mut client.has_asked, true) && scratch[0] == BINARY_MAGIC {
                        return self.refuse_binary(index);
                    }
                    self.client_bytes(index, &scratch[..count]);
                    self.note_weight(index);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.readable = false;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close_client(index),
            }
        }
        self.resume_later(index);
    }

    /// No more will be read from this client; it is closed once it has its replies.
    pub(in crate::proxy) fn client_leaves(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.stage = Stage::Leaving;
        client.input = Input::Nothing;
        // Closing is the writer's business: it knows when everything is out.
        client.mark_dirty(&mut self.dirty_clients, index);
    }

    /// When magent ends: no more is read from a client that has asked something, once all that it had sent is read and
    /// begun. Closing a socket with bytes unread would take away replies that are still on their way.
    pub(in crate::proxy) fn leave_if_heard_out(&mut self, index: usize) {
        let leaving = self.leaving;
        let heard_out = |client: &Client<N>| {
            let unread = client.readable || matches!(client.input, Input::Paused(_));
            client.has_asked && client.stage != Stage::Leaving && !unread
        };
        if leaving && self.clients.get(index).is_some_and(heard_out) {
            self.client_leaves(index);
        }
    }

    /// Handles bytes that were read, in whatever portions they came.
    fn client_bytes(&mut self, index: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let client = &mut self.clients[index];
            match std::mem::take(&mut client.input) {
                Input::Nothing => return self.client_requests(index, bytes),
                Input::Line(mut gather) => {
                    let ends = find_newline(bytes).is_some();
                    gather.extend(bytes);
                    if ends {
                        return self.client_gathered(index, gather);
                    }
                    if !may_continue(gather.bytes()) {
                        return self.line_too_long(index);
                    }
                    client.input = Input::Line(gather);
                    return;
                }
                Input::Paused(mut gather) => {
                    gather.extend(bytes);
                    client.input = Input::Paused(gather);
                    return;
                }
                Input::Value {
                    mut gather,
                    missing,
                    kept,
                } => {
                    let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                    gather.extend(part);
                    bytes = rest;
                    if part.len() == missing {
                        self.begin_gathered(index, &gather.freeze(), &kept);
                    } else {
                        client.input = Input::Value {
                            gather,
                            missing: missing - part.len(),
                            kept,
                        };
                    }
                }
                Input::Swallow { missing } => {
                    let skipped = missing.min(bytes.len());
                    bytes = &bytes[skipped..];
                    if skipped < missing {
                        client.input = Input::Swallow {
                            missing: missing - skipped,
                        };
                    }
                }
            }
        }
    }

    /// Begins the requests in `bytes`, as many as are whole and allowed, and keeps the rest.
    fn client_requests(&mut self, index: usize, bytes: &[u8]) {
        let used = self.begin_requests(index, bytes);
        if used < bytes.len() {
            let mut gather = self.pool.gather(bytes.len() - used);
            gather.extend(&bytes[used..]);
            self.keep(index, gather);
        }
    }

    /// The same for bytes that had to wait.
    fn client_gathered(&mut self, index: usize, mut gather: Gather) {
        let used = self.begin_requests(index, gather.bytes());
        if used < gather.len() {
            gather.consume(used);
            self.keep(index, gather);
        }
    }

    fn keep(&mut self, index: usize, gather: Gather) {
        let share = self.client_share();
        let client = &mut self.clients[index];
        if find_newline(gather.bytes()).is_some() || self.starting || !client.may_begin(&self.settings.limits, share) {
            client.input = Input::Paused(gather);
        } else if may_continue(gather.bytes()) {
            client.input = Input::Line(gather);
        } else {
            self.line_too_long(index);
        }
    }

    /// Begins requests until the bytes, or the client's allowance, are used up. Returns how many bytes were used.
    fn begin_requests(&mut self, index: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len()
            && !self.starting
            && self.clients[index].may_begin(&self.settings.limits, self.client_share())
        {
            match self.begin_request(index, &bytes[at..]) {
                Step::Used(count) => at += count,
                Step::UsedTurn(count) => {
                    self.resume_later(index);
                    return at + count;
                }
                Step::Unfinished => break,
                Step::Leave => {
                    self.client_leaves(index);
                    return bytes.len();
                }
            }
        }
        at
    }

    /// A line without end that is no retrieval: memcached closes the connection without a word, and so do we.
    fn line_too_long(&mut self, index: usize) {
        self.log.say(
            Level::Info,
            format_args!("client {index}: line too long, connection closed"),
        );
        self.client_leaves(index);
    }

    /// Where a client comes from, for the log.
    pub(in crate::proxy) fn origin(&self, index: usize) -> String {
        let peer = self.net.peer(&self.clients[index].socket);
        peer.map_or("a unix socket".to_owned(), |address| address.to_string())
    }

    /// A client of the binary protocol is told by the end of its connection, at once: it would wait for an answer for ever.
    /// The log says so for whoever looks after it, but not at every one of its attempts.
    fn refuse_binary(&mut self, index: usize) {
        self.binary_refused += 1;
        if self.now_ms >= self.binary_logged_ms + BINARY_LOG_PAUSE_MS || self.binary_refused == 1 {
            self.binary_logged_ms = self.now_ms;
            let count = self.binary_refused;
            let from = self.origin(index);
            self.log.say(
                Level::Warning,
                format_args!(
                    "client {from}: binary protocol, connection closed ({count} so far); set it to the text protocol, PHP: memcached.sess_binary_protocol = 0"
                ),
            );
        }
        self.client_leaves(index);
    }

    /// There is more to be written to a client.
    pub(in crate::proxy) fn output_grew(&mut self, index: usize) {
        self.clients[index].mark_dirty(&mut self.dirty_clients, index);
        self.note_weight_if_blocked(index);
    }

    /// Whether a client has asked for something that could begin now.
    pub(in crate::proxy) fn is_able_to_go_on(&self, client: &Client<N>) -> bool {
        let waits = matches!(client.input, Input::Paused(_));
        waits && !self.starting && client.may_begin(&self.settings.limits, self.client_share())
    }

    /// Puts a client on the list to go on with, if it was waiting for something that has come.
    pub(in crate::proxy) fn resume_if_possible(&mut self, index: usize) {
        let share = self.client_share();
        let client = &mut self.clients[index];
        if client.stage == Stage::Barrier && client.queue.is_empty() {
            client.stage = Stage::Open;
        }
        let waits = client.readable || matches!(client.input, Input::Paused(_));
        if waits && client.may_begin(&self.settings.limits, share) {
            self.resume_later(index);
        }
    }

    pub(in crate::proxy) fn resume_later(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if !client.resuming {
            client.resuming = true;
            self.resuming.push(index);
        }
    }

    /// Goes on with a client: first with what it has sent already, then with what its socket holds.
    pub(in crate::proxy) fn resume_client(&mut self, index: usize, scratch: &mut [u8]) {
        let share = self.client_share();
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.resuming = false;
        if !client.may_begin(&self.settings.limits, share) {
            return;
        }
        match std::mem::take(&mut client.input) {
            Input::Paused(gather) => self.client_gathered(index, gather),
            input => client.input = input,
        }
        // Whether the stream has ended behind what is read now is not known any more: read until it says so.
        self.read_client(index, true, scratch);
        self.leave_if_heard_out(index);
    }

    /// Writes a client's replies, and closes it if they were its last.
    pub(in crate::proxy) fn write_client(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.outgoing = Outgoing::Idle;
        let Ok(written) = write_out(&mut self.net, &mut client.socket, &mut client.output) else {
            return self.close_client(index);
        };
        self.statistics.bytes_written += written as u64;
        if !client.output.is_empty() {
            client.outgoing = Outgoing::Blocked;
        } else if client.stage == Stage::Leaving && client.queue.is_empty() {
            return self.close_client(index);
        }
        let front = client.queue.front().copied();
        self.note_weight(index);
        self.resume_if_possible(index);
        if let Some(front) = front {
            self.continue_read(front);
        }
    }

    /// Ends a client's connection. What it has in flight runs on without it.
    pub(in crate::proxy) fn close_client(&mut self, index: usize) {
        let client = self.clients.remove(index);
        self.log.say(Level::Info, format_args!("client {index}: closed"));
        self.net.close(client.socket);
        for id in client.queue {
            self.transactions[id].client = None;
            self.transactions[id].reply.clear();
            self.abandon_read(id);
            self.end_if_over(id);
        }
    }
}
