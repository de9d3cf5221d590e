//! Clients: reading their requests, replies in the order asked, limits, and every byte charged to somebody.

mod check;
pub mod client;
mod dispatch;
mod hot;
mod memory;
mod pace;
pub mod pending;
mod queue;
mod reading;
mod replies;
mod slow;
mod statistics;
mod tight;
mod waits;

use crate::protocol::reply::{Fault, Reply};
use crate::protocol::text::reply::line;
use crate::proxy::context::Context;
use crate::proxy::net::{Level, Net, Token};
use crate::proxy::upstream::keep_room;
use crate::words::Reason;
use client::Client;
use hot::{HotKey, HotKeys};
use pace::Pace;
use pending::Pending;
use queue::Lists;
use slab::Slab;
use slow::SlowLog;
use std::io::IoSlice;
use tight::Tight;

/// What a client beyond `-n` is told.
const OUT_OF_CONNECTION: &Reply = &Reply::error(Fault::Server, b" OUT OF CONNECTION");

/// All clients, and their side of what is in progress for them.
pub struct Front<N: Net> {
    clients: Slab<Client<N>>,
    /// By the transaction's number.
    pending: Vec<Pending>,
    /// Clients with something to write after this batch.
    dirty: Vec<usize>,
    /// Clients to go on with: their socket or their input holds more.
    resuming: Vec<usize>,
    /// Room for the queues of clients that have several requests in progress.
    lists: Lists,
    tight: Tight,
    /// The keys asked most.
    hot: HotKeys,
    /// What is told of requests that take long.
    slow: SlowLog,
    /// A running average of what clients' values weigh.
    value_bytes: usize,
    /// When a client last asked for something.
    requested_ms: u64,
    /// It is not known yet what the servers hold, so no request begins.
    is_held_back: bool,
    /// No new clients, and no more requests from the old ones.
    is_leaving: bool,
}

impl<N: Net> Front<N> {
    /// One whose clients wait until [`Front::let_begin`], if they are to be held back.
    pub fn new(is_held_back: bool) -> Self {
        Self {
            clients: Slab::new(),
            pending: Vec::new(),
            dirty: Vec::new(),
            resuming: Vec::new(),
            lists: Lists::default(),
            tight: Tight::default(),
            hot: HotKeys::default(),
            slow: SlowLog::default(),
            value_bytes: 0,
            requested_ms: 0,
            is_held_back,
            is_leaving: false,
        }
    }

    /// Takes over an accepted connection. One too many is told so and closed.
    pub fn accept(&mut self, cx: &mut Context<N>, mut socket: N::Socket) {
        if self.clients.len() >= cx.settings.clients_max {
            cx.statistics.rejected_connections += 1;
            // A fresh socket has room for a line; if not, closing it says enough.
            let _ = cx.net.write(&mut socket, &[IoSlice::new(&line(OUT_OF_CONNECTION))]);
            return cx.net.close(socket);
        }
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        if let Err(error) = cx.net.adopt(&mut socket, Token::Client(index)) {
            cx.log.say(
                Level::Error,
                format_args!("cannot watch a client's connection: {}", Reason(&error)),
            );
            return cx.net.close(socket);
        }
        let pace = Pace::new(&cx.settings.limits, self.value_bytes);
        entry.insert(Client::new(socket, cx.now.ms(), pace));
        cx.statistics.total_connections += 1;
        if cx.log.shows(Level::Info) {
            let from = self.origin(cx, index);
            cx.log
                .say(Level::Info, format_args!("client {index}: connected from {from}"));
        }
    }

    /// What the servers hold is known: requests may begin.
    pub fn let_begin(&mut self, cx: &Context<N>) {
        self.is_held_back = false;
        for index in self.open_clients() {
            self.resume_if_possible(cx, index);
        }
    }

    /// Gives memory back where nothing is in progress, but for so many requests.
    #[inline]
    pub fn shrink(&mut self, kept: usize) {
        if self.pending.len() > kept {
            self.pending = Vec::new();
        }
    }

    /// The numbers of all clients.
    pub fn open_clients(&self) -> Vec<usize> {
        self.clients.iter().map(|(index, _)| index).collect()
    }

    /// All clients, in the order of their numbers.
    pub fn clients(&self) -> impl Iterator<Item = (usize, &Client<N>)> {
        self.clients.iter()
    }

    /// Connections that are open.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// The keys asked most since the start, or since `stats reset`.
    pub fn hot_keys(&self) -> Vec<HotKey<'_>> {
        self.hot.list()
    }

    /// When a client last asked for something.
    pub fn requested_ms(&self) -> u64 {
        self.requested_ms
    }

    /// Whether clients are to be gone on with at once.
    pub fn is_busy(&self, cx: &Context<N>) -> bool {
        !self.resuming.is_empty() || self.may_relax(cx)
    }

    /// The clients to go on with, each to be given to [`Front::resume`].
    pub fn take_resuming(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.resuming)
    }

    /// Whether clients have something to be written.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Those clients, each to be given to [`Front::write`].
    pub fn take_dirty(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.dirty)
    }

    /// Takes the room of that list back.
    pub fn give_back(&mut self, list: Vec<usize>) {
        keep_room(&mut self.dirty, list);
    }
}
