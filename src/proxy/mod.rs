//! The state machines: clients, links, servers, transactions, and the two copies of every item.
//!
//! The proxy knows the outside only through [`Net`]. Its owner tells it of accepted connections ([`Proxy::accept`]) and of
//! events ([`Proxy::ready`]), asks it to write when a batch of events is done ([`Proxy::flush`]), and wakes it at
//! [`Proxy::deadline_ms`] at the latest ([`Proxy::tick`]).
//!
//! | room | what it is for |
//! | --- | --- |
//! | `front` | clients: reading requests (`client`, `dispatch`), replies in the order asked (`transaction`), limits (`pace`, `memory`) |
//! | `replicate` | one request on its way: through the gate of its key (`gate` `begin`; `reading`: what its own client must not overtake; `permit`: who may change a server), and then by its plan: `read` `merge` `touch` `write` `conditional` `broadcast` `survey`; what is refused (`refusal`); numbers with blanks behind them (`padding`) |
//! | `upstream` | the owner of all links: a connection to a server (`link`), a request on its way (`message`), what comes back (`answers`), links of a server that fell silent (`quarantine`), large portions (`bulk`), a link for a list of keys (`lists`); what the conductor does with them (`exchange`) |
//! | `fleet` | servers: `server` `health`; what is believed of them and of keys (`ledger`); which of them hold a key (`farm` `layout`); whether one was started anew, and what it may have from before (`life` `past` `unique`); host names (`names`); delayed flushes and other clocks (`flush` `clock`) |
//! | `copier` | one key to its partner (`repair` `command` `exptime` `due`); all that a server lacks (`resync` `shares` `pacing`), from its partner's list of keys (`listing` `entry`); what that takes of others (`wish` `filling` `list_link`); its `tests` and `check` |
//! | `service` `control` | magent as a process: letting clients in, reloading, ending; what that asks of the world |
//! | `net` `settings` `limits` | what the proxy asks of the world, what it is told by the configuration, and the bounds that nobody tells it |
//! | `event` | what an owner tells the conductor when that asks |
//! | `statistics` | counters, and magent's own replies to stats |
//! | `timers` | when to wake up, one time for each kind of thing that may be waited for |
//! | `log` | what is to be said in the log at the end of the turn |
//! | `check` | whether all books agree, for tests |
//!
//! A leg that was cut off is not handled where its link died but put on a list and handled before the next flush, so a
//! failure never surprises the code that happened to meet it.

mod check;
pub mod control;
mod copier;
mod event;
mod fleet;
mod front;
pub mod limits;
mod log;
pub mod net;
mod replicate;
pub mod service;
pub mod settings;
mod statistics;
mod timers;
mod upstream;

use crate::buffer::Pool;
use crate::protocol::reply::{Fault, Reply};
use crate::protocol::text::dialect::Dialect;
use crate::protocol::text::reply::line;
use crate::words::Reason;
use copier::Copier;
use event::Event;
use fleet::farm::Farm;
use fleet::flush::DelayedFlush;
use fleet::unique::Tags;
use front::client::Client;
use front::memory::Tight;
use front::pace::Pace;
use front::transaction::Transaction;
use log::Log;
use net::{Level, Net, Readiness, Token};
use replicate::gate::Gate;
use replicate::read::Share;
use settings::Settings;
use slab::Slab;
use statistics::Statistics;
use std::fmt;
use std::io;
use std::rc::Rc;
use timers::{Timer, Timers};
use upstream::Upstream;

/// What a client beyond `-n` is told.
const OUT_OF_CONNECTION: &Reply = &Reply::error(Fault::Server, b" OUT OF CONNECTION");

/// The whole proxy, but for the world.
pub struct Proxy<N: Net> {
    net: N,
    settings: Settings,
    farm: Farm,
    clients: Slab<Client<N>>,
    upstream: Upstream<N>,
    transactions: Slab<Transaction>,
    /// What may go on with each key, and what has to wait for what.
    gate: Gate,
    copier: Copier,
    /// When a client last asked for something.
    requested_ms: u64,
    tags: Tags,
    /// It is not known yet what the servers hold, so no request begins.
    starting: bool,
    /// The transactions of the `stats` requests that servers are being asked about.
    surveys: Vec<usize>,
    /// How clients' lines are read: as the servers read them.
    dialect: Dialect,
    /// Connections closed because they spoke the binary protocol, and when the log last said so.
    binary_refused: u64,
    binary_logged_ms: u64,
    /// Times that all servers were flushed.
    flushes: u64,
    /// Those that are not answered yet: no list is asked for meanwhile.
    flushes_under_way: usize,
    /// The transactions of those that are to be done once more.
    flushes_to_repeat: Vec<usize>,
    delayed_flush: DelayedFlush,
    pool: Rc<Pool>,
    statistics: Statistics,
    /// Clients with something to write after this batch.
    dirty_clients: Vec<usize>,
    /// Clients to go on with: their socket or their input holds more.
    resuming: Vec<usize>,
    /// Room to split retrievals in.
    shares: Vec<Share>,
    /// Host names that are to be looked up.
    wanted_names: Vec<String>,
    /// Retrievals whose next portion is to be asked for in another turn.
    reads_to_go_on: Vec<usize>,
    /// A running average of what clients' values weigh.
    value_bytes: usize,
    tight: Tight,
    /// The time of this batch, and of the start.
    now_ms: u64,
    started_ms: u64,
    timers: Timers,
    log: Log,
    /// The last tick came late and was put off.
    tick_put_off: bool,
    /// No new clients, and no more requests from the old ones.
    leaving: bool,
}

impl<N: Net> Proxy<N> {
    pub fn new(net: N, settings: Settings) -> Self {
        let now_ms = net.now_ms();
        let farm = Farm::new(&settings);
        let pool = Rc::new(Pool::new());
        let mut timers = Timers::default();
        // Where the first turn is late, that is not for the servers to pay.
        timers.set(Timer::Silence, now_ms);
        Self {
            starting: !settings.backups.is_empty(),
            upstream: Upstream::new(Rc::clone(&pool), farm.servers.len()),
            farm,
            statistics: Statistics::new(now_ms),
            net,
            gate: Gate::new(&settings.limits),
            settings,
            clients: Slab::new(),
            transactions: Slab::new(),
            copier: Copier::default(),
            requested_ms: 0,
            tags: Tags::default(),
            surveys: Vec::new(),
            dialect: Dialect::default(),
            binary_refused: 0,
            binary_logged_ms: 0,
            flushes: 0,
            flushes_under_way: 0,
            flushes_to_repeat: Vec::new(),
            delayed_flush: DelayedFlush::default(),
            pool,
            dirty_clients: Vec::new(),
            resuming: Vec::new(),
            shares: Vec::new(),
            wanted_names: Vec::new(),
            reads_to_go_on: Vec::new(),
            value_bytes: 0,
            tight: Tight::default(),
            now_ms,
            started_ms: now_ms,
            timers,
            log: Log::default(),
            tick_put_off: false,
            leaving: false,
        }
    }

    pub fn net(&mut self) -> &mut N {
        &mut self.net
    }

    /// Looks for all servers, so that those that are not there are known before anybody asks for them.
    pub fn start(&mut self) {
        for server in 0..self.farm.servers.len() {
            self.look_for(server);
        }
    }

    /// Takes over an accepted connection. One too many is told so and closed.
    pub fn accept(&mut self, mut socket: N::Socket) {
        if self.clients.len() >= self.settings.clients_max {
            self.statistics.rejected_connections += 1;
            // A fresh socket has room for a line; if not, closing it says enough.
            let _ = self
                .net
                .write(&mut socket, &[io::IoSlice::new(&line(OUT_OF_CONNECTION))]);
            return self.net.close(socket);
        }
        let entry = self.clients.vacant_entry();
        let index = entry.key();
        if let Err(error) = self.net.adopt(&mut socket, Token::Client(index)) {
            self.log.say(
                Level::Error,
                format_args!("cannot watch a client's connection: {}", Reason(&error)),
            );
            return self.net.close(socket);
        }
        let pace = Pace::new(&self.settings.limits, self.value_bytes);
        entry.insert(Client::new(socket, self.now_ms, pace));
        self.statistics.total_connections += 1;
        if self.log.shows(Level::Info) {
            let from = self.origin(index);
            self.log
                .say(Level::Info, format_args!("client {index}: connected from {from}"));
        }
    }

    /// Handles an event. `scratch` is where reads go; its content means nothing between calls.
    pub fn ready(&mut self, token: Token, readiness: Readiness, scratch: &mut [u8]) {
        match token {
            Token::Client(index) => self.client_ready(index, readiness, scratch),
            Token::Link(index) => self.link_ready(index, readiness, scratch),
        }
    }

    /// Takes the time; to be called before the events of a batch.
    pub fn begin_batch(&mut self) {
        self.now_ms = self.net.now_ms();
        self.follow_own_clock();
    }

    /// After a batch of events: one write per connection that has something to say, and what follows from it.
    pub fn flush(&mut self, scratch: &mut [u8]) {
        self.settle(); // before anything is begun that should know of it
        for index in self.upstream.take_reading() {
            self.read_on(index, scratch);
        }
        self.settle();
        self.go_on_reading();
        self.resync_step(scratch);
        for id in std::mem::take(&mut self.flushes_to_repeat) {
            self.flush_again(id);
        }
        for _ in 0..2 {
            self.write_dirty();
            let resuming = std::mem::take(&mut self.resuming);
            if resuming.is_empty() {
                break;
            }
            for index in resuming {
                self.resume_client(index, scratch);
            }
            self.settle();
        }
        self.write_dirty();
        self.keep_within_memory();
        if self.transactions.is_empty() && self.transactions.capacity() > self.settings.limits.transactions_kept {
            self.transactions = Slab::new();
        }
        if cfg!(debug_assertions) {
            self.farm.check();
        }
        self.hand_out_log();
    }

    /// Sets how much is told in the log: 0 up to notices, 1 clients' connections too, 2 and more also their requests.
    pub fn set_verbosity(&mut self, verbosity: u32) {
        self.log.set_verbosity(verbosity);
    }

    /// Says something in the log at the end of this turn, behind what has been said in it.
    pub fn say(&mut self, level: Level, line: fmt::Arguments<'_>) {
        self.log.say(level, line);
    }

    /// Hands what has been said to the world.
    pub fn hand_out_log(&mut self) {
        for said in self.log.take() {
            self.net.log(said.level, format_args!("{}", said.line));
        }
    }

    /// Lets the legs of dead links fail over, and what had to wait for that begin.
    fn settle(&mut self) {
        loop {
            match self.upstream.next_event() {
                Some(Event::Unreachable(server, error)) => self.link_refused(server, &error),
                Some(Event::Lost(server, leg)) => self.leg_lost(server, leg),
                None if self.decide_deferred() => {}
                None => break,
            }
        }
    }

    fn write_dirty(&mut self) {
        // A write can fail, which costs a link, which makes others dirty.
        while self.upstream.is_dirty() || !self.dirty_clients.is_empty() {
            for index in self.upstream.take_dirty() {
                self.write_link(index);
            }
            for index in std::mem::take(&mut self.dirty_clients) {
                self.write_client(index);
            }
            self.settle();
        }
    }

    /// When `tick` is due, on the clock of [`Net::now_ms`]; None if there is nothing to wait for but events.
    pub fn deadline_ms(&self) -> Option<u64> {
        if self.may_relax()
            || !self.resuming.is_empty()
            || self.upstream.is_busy()
            || !self.reads_to_go_on.is_empty()
            || self.copier.may_read_list()
        {
            return Some(self.now_ms);
        }
        self.timers.next_deadline_ms()
    }

    /// Ends the conversation with all clients: what they have asked is answered, including what waits in their sockets,
    /// and no more is read. A client that has only just connected may ask once, until [`Proxy::leave_silent`].
    pub fn leave(&mut self, scratch: &mut [u8]) {
        self.leaving = true;
        let open: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        for index in open {
            self.clients[index].readable = true;
            self.read_client(index, true, scratch);
            self.leave_if_heard_out(index);
        }
    }

    /// Gives up on the clients that have not asked anything yet.
    pub fn leave_silent(&mut self) {
        let open: Vec<usize> = self.clients.iter().map(|(index, _)| index).collect();
        for index in open {
            if !self.clients[index].has_asked {
                self.client_leaves(index);
            }
        }
    }

    /// Whether nothing is in progress any more.
    pub fn is_idle(&self) -> bool {
        self.clients.is_empty() && self.transactions.is_empty() && self.copier.is_idle()
    }

    /// Connections of clients that are open.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }
}

/// Whoever was let in through a gate leaves again, also where everything ends.
#[cfg(debug_assertions)]
impl<N: Net> Drop for Proxy<N> {
    fn drop(&mut self) {
        for transaction in self.transactions.drain() {
            transaction.work.leave_behind(&mut self.gate);
        }
        self.copier.leave_behind(&mut self.gate);
        self.gate.abandon_deferred();
    }
}
