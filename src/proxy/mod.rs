//! The state machines: clients, links, servers, requests in progress, and the two copies of every item.
//!
//! Five owners, each with fields of its own, hand each other values; [`Proxy`] only conducts. An owner may use those below it,
//! and tells those above it by a [`Handoff`], which is handed on when the owner that is at work has come to its
//! end.
//!
//! | owner | what it is for |
//! | --- | --- |
//! | `front` | clients (`client`): reading requests (`reading` `dispatch`), replies in the order asked (`replies` `pending`), limits (`pace` `memory` `tight`), magent's own statistics (`statistics`) |
//! | `copier` | one key to its partner (`repair` `command` `due`); all that a server lacks (`resync` `shares` `pacing`), from its partner's list of keys (`listing`); what that takes of others (`wish` `filling` `list_link`); its `tests` |
//! | `replicate` | one request on its way (`transaction` `transactions` `begin` `answers`): through the `gate` of its key (`reading`: what its own client must not overtake), and then by its `plan`: `read` `portion` `merge` `touch` `write` `conditional` `broadcast` `survey` `topic`; what is refused (`refusal`); numbers with blanks behind them (`padding`) |
//! | `fleet` | servers: `server` `health`; what is believed of them and of keys (`ledger`); which of them hold a key (`layout` `place`); whether one was started anew, and what it may have from before (`life` `introduction` `version` `past` `holdings` `unique`); host names (`names`); flushes, delayed ones too, and clocks (`flush` `delayed_flush` `clock`); what is told of them (`report`) |
//! | `upstream` | links: a connection to a server (`link`), a request on its way (`message`), what comes back (`answers` `exchange`), links of a server that fell silent (`quarantine`), large portions (`bulk` `turns`), a link for a list of keys (`lists`) |
//!
//! | room | what it is for |
//! | --- | --- |
//! | `links` `handoff` | what the conductor does with what comes from servers; what owners tell those above them |
//! | `servers` `context` `permit` | the two lower owners together; what all rooms use; who may change a server |
//! | `service` `control` | magent as a process: letting clients in, reloading, ending; what that asks of the world |
//! | `net` `settings` `limits` | what the proxy asks of the world, what it is told by the configuration, and the bounds that nobody tells it |
//! | `statistics` `timers` `log` | counters; when to wake up; what is to be said in the log at the end of the turn |
//! | `check` `wrong` | whether all books agree, for tests |
//!
//! A leg that was cut off is not handled where its link died but put on a list and handled before the next flush, so a
//! failure never surprises the code that happened to meet it.

mod check;
mod context;
pub mod control;
mod copier;
mod fleet;
mod front;
mod handoff;
pub mod limits;
mod links;
mod log;
pub mod net;
mod permit;
mod replicate;
mod servers;
pub mod service;
pub mod settings;
mod statistics;
mod timers;
mod upstream;
mod wrong;

use context::Context;
use copier::Copier;
use front::Front;
use handoff::Handoff;
use net::{Net, Readiness, Token};
use replicate::Replicate;
use servers::Servers;
use settings::Settings;
use std::net::IpAddr;
use upstream::Failure;

/// The whole proxy: the owners, and what is handed on between them.
pub struct Proxy<N: Net> {
    front: Front<N>,
    copier: Copier,
    replicate: Replicate,
    servers: Servers<N>,
}

/// What the world does with it. It tells of accepted connections ([`accept`](Self::accept)) and of events ([`ready`](Self::ready)),
/// asks it to write when a batch of events is done ([`flush`](Self::flush)), and wakes it at [`deadline_ms`](Self::deadline_ms)
/// at the latest ([`tick`](Self::tick)).
impl<N: Net> Proxy<N> {
    pub fn new(net: N, settings: Settings) -> Self {
        Self {
            front: Front::new(!settings.backups.is_empty()),
            copier: Copier::default(),
            replicate: Replicate::new(&settings.limits),
            servers: Servers::new(Context::new(net, settings)),
        }
    }

    /// Sets how much is told in the log: 0 up to notices, 1 clients' connections too, 2 and more also their requests.
    pub fn set_verbosity(&mut self, verbosity: u32) {
        self.servers.cx.log.set_verbosity(verbosity);
    }

    /// The world.
    pub fn net(&mut self) -> &mut N {
        &mut self.servers.cx.net
    }

    /// What all rooms use.
    pub(in crate::proxy) fn context(&mut self) -> &mut Context<N> {
        &mut self.servers.cx
    }

    /// Looks for all servers, so that those that are not there are known before anybody asks for them.
    pub fn start(&mut self) {
        self.servers.start();
    }

    /// Takes over an accepted connection. One too many is told so and closed.
    pub fn accept(&mut self, socket: N::Socket) {
        self.front.accept(&mut self.servers.cx, socket);
    }

    /// Takes the time; to be called before the events of a batch.
    pub fn begin_batch(&mut self) {
        self.servers.cx.now_ms = self.servers.cx.net.now_ms();
        self.servers.follow_own_clock();
    }

    /// Handles an event. `scratch` is where reads go; its content means nothing between calls.
    pub fn ready(&mut self, token: Token, readiness: Readiness, scratch: &mut [u8]) {
        match token {
            Token::Client(index) => {
                if self.front.is_ready(index, readiness) {
                    self.read_client(index, readiness.closed, scratch);
                }
            }
            Token::Link(index) => self.link_ready(index, readiness, scratch),
        }
    }

    /// Does what is due: servers that let a request wait too long are down, and those that are down are looked for.
    pub fn tick(&mut self) {
        if let Some(silent) = self.servers.wake() {
            self.servers.flush_tick();
            self.copier.listing_tick(&mut self.servers);
            self.copier.repairs_tick(&mut self.replicate, &mut self.servers);
            self.replicate.surveys_tick(&mut self.servers);
            self.servers.tick(silent);
            self.hand_on();
        }
    }

    /// After a batch of events: one write per connection that has something to say, and what follows from it.
    pub fn flush(&mut self, scratch: &mut [u8]) {
        self.settle(); // before anything is begun that should know of it
        for index in self.servers.upstream.take_reading() {
            self.read_on(index, scratch);
        }
        self.settle();
        self.go_on_reading();
        let requested_ms = self.front.requested_ms();
        self.copier
            .resync_step(&mut self.replicate, &mut self.servers, requested_ms, scratch);
        self.replicate.flush_again(&mut self.servers);
        self.hand_on();
        for _ in 0..2 {
            self.write_dirty();
            let resuming = self.front.take_resuming();
            if resuming.is_empty() {
                break;
            }
            for index in resuming {
                if self.front.resume(&mut self.replicate, &mut self.servers, index) {
                    self.read_client(index, true, scratch);
                }
            }
            self.settle();
        }
        self.write_dirty();
        self.front.keep_within_memory(&mut self.servers.cx, &mut self.replicate);
        self.replicate.shrink(&self.servers.cx.settings.limits);
        self.hand_on();
        if cfg!(debug_assertions) {
            self.servers.fleet.check();
        }
        self.servers.cx.hand_out_log();
    }

    /// When `tick` is due, on the clock of [`Net::now_ms`]; None if there is nothing to wait for but events.
    pub fn deadline_ms(&self) -> Option<u64> {
        let cx = &self.servers.cx;
        let is_busy = self.front.is_busy(cx)
            || self.servers.upstream.is_busy()
            || self.replicate.is_busy()
            || self.copier.may_read_list();
        match is_busy {
            true => Some(cx.now_ms),
            false => cx.timers.next_deadline_ms(),
        }
    }

    /// Works by new settings from here on. Clients stay connected and servers that are in both keep their links.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.servers.reconfigure(settings);
        self.copier.break_off_resync_if_moved(&mut self.servers);
        self.hand_on();
    }

    /// The host names that are to be looked up, each answer to be given to [`Proxy::name_found`]; empty afterwards.
    #[must_use]
    pub fn take_wanted_names(&mut self) -> Vec<String> {
        self.servers.take_wanted_names()
    }

    /// A host has these addresses. A server that is up keeps the one it is reached at; so does one whose name still has it.
    pub fn name_found(&mut self, host: &str, found: &[IpAddr]) {
        self.servers.name_found(host, found);
        self.hand_on();
    }

    /// Ends the conversation with all clients: what they have asked is answered, including what waits in their sockets,
    /// and no more is read. A client that has only just connected may ask once, until [`Proxy::leave_silent`].
    pub fn leave(&mut self, scratch: &mut [u8]) {
        for index in self.front.leave() {
            self.read_client(index, true, scratch);
        }
    }

    /// Gives up on the clients that have not asked anything yet.
    pub fn leave_silent(&mut self) {
        self.front.leave_silent();
    }

    /// Whether nothing is in progress any more.
    pub fn is_idle(&self) -> bool {
        self.front.count() == 0 && self.replicate.is_idle() && self.copier.is_idle()
    }

    /// Connections of clients that are open.
    pub fn client_count(&self) -> usize {
        self.front.count()
    }
}

/// What is handed on.
impl<N: Net> Proxy<N> {
    /// Reads from a client, and begins what it asks, as far as its limits allow; the rest after the others' turn.
    fn read_client(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        let (front, replicate, servers) = (&mut self.front, &mut self.replicate, &mut self.servers);
        let mut reads = servers.cx.settings.limits.client_reads;
        while let Some(count) = front.read(&mut servers.cx, replicate, index, to_the_end, scratch) {
            front.take(replicate, servers, index, &scratch[..count]);
            reads -= 1;
            if reads == 0 {
                front.resume_later(index);
                break;
            }
        }
        front.leave_if_heard_out(index);
        self.hand_on();
    }

    /// Lets the legs of dead links fail over, and what had to wait for that begin.
    #[inline(always)]
    fn settle(&mut self) {
        self.hand_on();
        if self.servers.upstream.has_failed() || self.replicate.has_deferred() {
            self.settle_all();
        }
    }

    #[cold]
    fn settle_all(&mut self) {
        loop {
            match self.servers.upstream.next_failure() {
                Some(Failure::Unreachable(server, error)) => self.servers.link_refused(server, &error),
                Some(Failure::Lost(server, leg)) => self.leg_lost(server, &leg),
                None if self.replicate.decide_deferred(&mut self.servers) => {}
                None => break,
            }
            self.hand_on();
        }
    }

    fn write_dirty(&mut self) {
        // A write can fail, which costs a link, which makes others dirty.
        while self.servers.upstream.is_dirty() || self.front.is_dirty() {
            for index in self.servers.upstream.take_dirty() {
                self.servers.write_link(index);
            }
            for index in self.front.take_dirty() {
                self.front.write(&mut self.servers.cx, &mut self.replicate, index);
            }
            self.settle();
        }
    }

    /// Goes on with retrievals that have waited for their turn.
    fn go_on_reading(&mut self) {
        for id in self.replicate.take_put_off() {
            self.go_on(id);
        }
        for server in self.servers.upstream.take_bulk_done() {
            // Each of them may come to wait again.
            for _ in 0..self.servers.upstream.waiting(server) {
                let Some(id) = self.replicate.next_in_turn(&mut self.servers, server) else {
                    break;
                };
                self.go_on(id);
            }
            self.servers.upstream.end_turn(server);
        }
        self.hand_on();
    }

    /// Asks for the next portion of a retrieval, if its client has taken the replies so far and it waits for nothing else.
    fn go_on(&mut self, id: usize) {
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        let client = replicate.waits_for_client(id);
        if let Some(allowance) = client.and_then(|client| self.front.may_go_on(&servers.cx, client, id)) {
            replicate.ask_portion(servers, id, allowance);
        }
    }

    /// Hands on what the owners have for each other.
    #[inline(always)]
    fn hand_on(&mut self) {
        if self.servers.cx.has_handoffs() {
            self.hand_on_all();
        }
    }

    #[inline(never)]
    fn hand_on_all(&mut self) {
        while let Some(handoff) = self.servers.cx.next_handoff() {
            let (front, replicate, servers) = (&mut self.front, &mut self.replicate, &mut self.servers);
            match handoff {
                Handoff::Reply(id, reply) => front.answer(&mut servers.cx, replicate, id, &reply),
                Handoff::Values(id, values) => front.values(&servers.cx, id, *values),
                Handoff::Surveyed(id, survey) => front.surveyed(replicate, servers, id, &survey),
                Handoff::Portion(id, keys) => {
                    front.portion_answered(id, keys);
                    self.go_on(id);
                }
                Handoff::GoOn(id) => self.go_on(id),
                Handoff::DecideElsewhere(id) => {
                    let client = replicate.client_of(id);
                    let may_wait = client.is_none_or(|client| front.is_last(client, id));
                    if replicate.decide_elsewhere(servers, id, may_wait) {
                        front.bar_what_follows(id);
                    }
                }
                Handoff::Heal(heal) => self.copier.heal(replicate, servers, *heal),
                Handoff::FoundOnOne { from, to, key } => self.copier.found_on_one(servers, from, to, &key),
                Handoff::RepairTurn(repair, pass) => self.copier.has_turn(replicate, servers, repair, pass),
                Handoff::BreakOff(server, reason) => self.copier.break_off_resync(servers, server, reason),
                Handoff::Lacking => self.copier.want_resync(),
                Handoff::Started => front.let_begin(&servers.cx),
            }
        }
    }
}

/// Whoever was let in through a gate leaves again, also where everything ends.
#[cfg(debug_assertions)]
impl<N: Net> Drop for Proxy<N> {
    fn drop(&mut self) {
        self.copier.leave_behind(self.replicate.gate());
        while let Some(handoff) = self.servers.cx.next_handoff() {
            if let Handoff::RepairTurn(_, pass) = handoff {
                self.replicate.gate().abandon(pass);
            }
        }
        self.replicate.leave_behind();
    }
}
