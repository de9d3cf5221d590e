//! Reading what clients ask, and writing what they are answered.
//!
//! A client is not read while it has too much in flight or does not take its replies; that stalls it and nobody else.

use crate::buffer::Gather;
use crate::protocol::codec::Codec;
use crate::proxy::context::Context;
use crate::proxy::front::Front;
use crate::proxy::front::client::{Begun, Client, Input, Stage};
use crate::proxy::front::dispatch::Step;
use crate::proxy::front::memory::client_share;
use crate::proxy::front::replies::Addressee;
use crate::proxy::net::{Level, Net, Readiness, Time};
use crate::proxy::replicate::Replicate;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::{Outgoing, write_out};
use std::io::ErrorKind;

/// Bytes of what is thrown away that are read at a time.
const SWALLOWED_AT_ONCE: usize = 32 << 10;

impl<N: Net> Front<N> {
    /// An event of a client's connection has come. Returns whether the client is to be [read](Front::read).
    pub fn is_ready(&mut self, now: Time, index: usize, readiness: Readiness) -> bool {
        let Some(client) = self.clients.get_mut(index) else {
            return false; // a late event of a connection that is gone
        };
        if readiness.writable && client.outgoing == Outgoing::Blocked {
            client.outgoing = Outgoing::Idle;
            client.mark_dirty(&mut self.dirty, index);
            client.read_us = now.low_us(); // what it has sent and what has not begun may have waited for that
        }
        let reads = readiness.readable || readiness.closed;
        client.readable |= reads;
        reads
    }

    /// Reads what a client has sent, as far as its limits allow, for [`Front::take`]. None if there is nothing to take; `to_the_end`:
    /// the stream may have ended behind it.
    pub fn read(
        &mut self,
        cx: &mut Context<N>,
        replicate: &mut Replicate,
        index: usize,
        to_the_end: bool,
        scratch: &mut [u8],
    ) -> Option<usize> {
        let share = client_share(cx);
        let client = self.clients.get_mut(index)?;
        let hungry = client.may_begin(&cx.settings.limits, share) && !matches!(client.input, Input::Paused(_));
        if !client.readable || !hungry {
            return None;
        }
        let has_room = cx.pool.in_use() < cx.settings.memory_bytes_max;
        let room = match std::mem::take(&mut client.may_go_beyond) || has_room {
            true => scratch.len(),
            // There is none for more of what has begun, and only for a little that is new.
            false if client.input_bytes() > 0 => {
                self.squeeze(index);
                return None;
            }
            false => cx.settings.limits.squeezed_read_bytes.min(scratch.len()),
        };
        let scratch = &mut scratch[..room];
        match cx.net.read(&mut client.socket, scratch) {
            Ok(0) => {
                client.readable = false;
                self.client_leaves(index);
            }
            Ok(count) => {
                // A short read means drained, unless the event said that the stream has ended behind it.
                client.readable = count == scratch.len() || to_the_end;
                client.asked_s = (cx.now.ms() / 1000) as u32;
                client.read_us = cx.now.low_us();
                client.bytes_read += count as u64;
                cx.statistics.bytes_read += count as u64;
                if !std::mem::replace(&mut client.has_asked, true) {
                    client.codec = Codec::of(scratch[0]);
                }
                return Some(count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => client.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Some(0),
            Err(_) => self.close_client(cx, replicate, index),
        }
        None
    }

    /// No more will be read from this client; it is closed once it has its replies.
    pub fn client_leaves(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.stage = Stage::Leaving;
        client.input = Input::Nothing;
        // Closing is the writer's business: it knows when everything is out.
        client.mark_dirty(&mut self.dirty, index);
    }

    /// magent ends: clients are let go when they are [heard out](Self::leave_if_heard_out). Returns them, to be read once more.
    pub fn leave(&mut self) -> Vec<usize> {
        self.is_leaving = true;
        for (_, client) in &mut self.clients {
            client.readable = true;
        }
        self.open_clients()
    }

    /// When magent ends: no more is read from a client that has asked something, once all that it had sent is read and
    /// begun. Closing a socket with bytes unread would take away replies that are still on their way.
    pub fn leave_if_heard_out(&mut self, index: usize) {
        let heard_out = |client: &Client<N>| {
            let unread = client.readable || matches!(client.input, Input::Paused(_));
            client.has_asked && client.stage != Stage::Leaving && !unread
        };
        if self.is_leaving && self.clients.get(index).is_some_and(heard_out) {
            self.client_leaves(index);
        }
    }

    /// Gives up on the clients that have not asked anything yet.
    pub fn leave_silent(&mut self) {
        for index in self.open_clients() {
            if !self.clients[index].has_asked {
                self.client_leaves(index);
            }
        }
    }

    /// Handles bytes that were read, in whatever portions they came: begins what they ask for.
    pub fn take(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, index: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let client = &mut self.clients[index];
            match std::mem::take(&mut client.input) {
                Input::Nothing => {
                    self.take_requests(replicate, servers, index, bytes);
                    break;
                }
                Input::Line(mut gather) => {
                    let known = gather.len();
                    gather.extend(bytes);
                    if client.codec.is_whole(gather.bytes(), known) {
                        self.take_gathered(replicate, servers, index, gather);
                    } else if client.codec.may_continue(gather.bytes()) {
                        client.input = Input::Line(gather);
                    } else {
                        self.line_too_long(&mut servers.cx, index);
                    }
                    break;
                }
                Input::Paused(mut gather) => {
                    gather.extend(bytes);
                    client.input = Input::Paused(gather);
                    break;
                }
                Input::Value(mut begun) => {
                    let (part, rest) = bytes.split_at(begun.missing.min(bytes.len()));
                    begun.gather.extend(part);
                    begun.missing -= part.len();
                    bytes = rest;
                    if begun.missing == 0 {
                        let Begun { form, kept, gather, .. } = *begun;
                        let to = Addressee { client: index, form };
                        self.begin_gathered(replicate, servers, to, &gather.freeze(), &kept);
                    } else {
                        client.input = Input::Value(begun);
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
        self.note_weight(&servers.cx, index);
    }

    /// Begins the requests in `bytes`, as many as are whole and allowed, and keeps the rest.
    fn take_requests(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, index: usize, bytes: &[u8]) {
        let used = self.begin_requests(replicate, servers, index, bytes);
        if used < bytes.len() {
            let mut gather = Box::new(servers.cx.pool.gather(bytes.len() - used));
            gather.extend(&bytes[used..]);
            self.keep(&mut servers.cx, index, gather);
        }
    }

    /// The same for bytes that had to wait.
    fn take_gathered(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        index: usize,
        mut gather: Box<Gather>,
    ) {
        let used = self.begin_requests(replicate, servers, index, gather.bytes());
        if used < gather.len() {
            gather.consume(used);
            self.keep(&mut servers.cx, index, gather);
        }
    }

    fn keep(&mut self, cx: &mut Context<N>, index: usize, gather: Box<Gather>) {
        let client = &mut self.clients[index];
        let may_begin = client.may_begin(&cx.settings.limits, client_share(cx));
        if client.codec.is_whole(gather.bytes(), 0) || self.is_held_back || !may_begin {
            client.input = Input::Paused(gather);
        } else if client.codec.may_continue(gather.bytes()) {
            client.input = Input::Line(gather);
        } else {
            self.line_too_long(cx, index);
        }
    }

    /// Begins requests until the bytes, or the client's allowance, are used up. Returns how many bytes were used.
    fn begin_requests(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        index: usize,
        bytes: &[u8],
    ) -> usize {
        let mut at = 0;
        while at < bytes.len()
            && !self.is_held_back
            && self.clients[index].may_begin(&servers.cx.settings.limits, client_share(&servers.cx))
        {
            match self.begin_request(replicate, servers, index, &bytes[at..]) {
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
    fn line_too_long(&mut self, cx: &mut Context<N>, index: usize) {
        cx.log.say(
            Level::Info,
            format_args!("client {index}: line too long, connection closed"),
        );
        self.client_leaves(index);
    }

    /// Where a client comes from, for the log.
    pub fn origin(&self, cx: &Context<N>, index: usize) -> String {
        let peer = cx.net.peer(&self.clients[index].socket);
        peer.map_or("a unix socket".to_owned(), |address| address.to_string())
    }

    /// There is more to be written to a client.
    pub fn output_grew(&mut self, cx: &Context<N>, index: usize) {
        self.clients[index].mark_dirty(&mut self.dirty, index);
        self.note_weight_if_blocked(cx, index);
    }

    /// Whether a client has asked for something that could begin now.
    pub fn is_able_to_go_on(&self, cx: &Context<N>, client: &Client<N>) -> bool {
        let waits = matches!(client.input, Input::Paused(_));
        waits && !self.is_held_back && client.may_begin(&cx.settings.limits, client_share(cx))
    }

    /// Puts a client on the list to go on with, if it was waiting for something that has come.
    pub fn resume_if_possible(&mut self, cx: &Context<N>, index: usize) {
        let client = &mut self.clients[index];
        if client.stage == Stage::Barrier && client.queue.is_empty() {
            client.stage = Stage::Open;
        }
        let waits = client.readable || matches!(client.input, Input::Paused(_));
        if waits && client.may_begin(&cx.settings.limits, client_share(cx)) {
            self.resume_later(index);
        }
    }

    /// Goes on with a client when others have had their turn.
    pub fn resume_later(&mut self, index: usize) {
        if let Some(client) = self.clients.get_mut(index).filter(|client| !client.is_resuming) {
            client.is_resuming = true;
            self.resuming.push(index);
        }
    }

    /// Goes on with a client: first with what it has sent already, then, if this returns true, it is to be [read](Front::read)
    /// to the end. Whether the stream has ended behind what is read now is not known any more: until it says so.
    pub fn resume(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, index: usize) -> bool {
        let share = client_share(&servers.cx);
        let Some(client) = self.clients.get_mut(index) else {
            return false;
        };
        client.is_resuming = false;
        if !client.may_begin(&servers.cx.settings.limits, share) {
            return false;
        }
        match std::mem::take(&mut client.input) {
            Input::Paused(gather) => self.take_gathered(replicate, servers, index, gather),
            input => client.input = input,
        }
        true
    }

    /// Writes a client's replies, and closes it if they were its last.
    pub fn write(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, index: usize) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        client.outgoing = Outgoing::Idle;
        let Ok(written) = write_out(&mut cx.net, &mut client.socket, &mut client.output) else {
            return self.close_client(cx, replicate, index);
        };
        client.bytes_written += written as u64;
        cx.statistics.bytes_written += written as u64;
        if !client.output.is_empty() {
            client.outgoing = Outgoing::Blocked;
        } else if client.stage == Stage::Leaving && client.queue.is_empty() {
            swallow_rest(cx, client);
            return self.close_client(cx, replicate, index);
        }
        client.queue.give_back(&mut self.lists);
        self.note_weight(cx, index);
        self.resume_if_possible(cx, index);
        self.front_goes_on(cx, replicate, index);
    }

    /// Ends a client's connection. What it has in flight runs on without it.
    pub fn close_client(&mut self, cx: &mut Context<N>, replicate: &mut Replicate, index: usize) {
        let client = self.clients.remove(index);
        cx.log.say(Level::Info, format_args!("client {index}: closed"));
        cx.net.close(client.socket);
        for id in client.queue.iter() {
            self.pending[id].clear();
            replicate.abandon(id);
        }
    }
}

/// Throws away what a client has sent that nobody reads. Closing a socket with bytes unread resets the connection, which
/// takes away replies that are still on their way. A client that goes on sending all the same is not waited for.
fn swallow_rest<N: Net>(cx: &mut Context<N>, client: &mut Client<N>) {
    if !client.readable {
        return;
    }
    let mut nowhere = [0; SWALLOWED_AT_ONCE];
    for _ in 0..cx.settings.limits.client_reads {
        match cx.net.read(&mut client.socket, &mut nowhere) {
            Ok(SWALLOWED_AT_ONCE) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
