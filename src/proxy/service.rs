//! magent as a process: clients are let in, the configuration is read again, and it ends in good order.
//!
//! ```text
//!  Serving --End--> HandingOver --10 ms, or no listener is shared--> Leaving --all answered, or 5 s--> ended
//!     |                                                                 ^
//!     +-----------------------------------------------------------------+ End again: now
//!
//!  a reload:  Idle --Reload--> Reading --the file is read--> LookingUp --names are answered, or the timeout--> Idle
//! ```
//! Nothing of the old configuration goes before all of the new is there, and nobody waits for it. The proxy knows nothing
//! of all this but [`Proxy::accept`], [`Proxy::reconfigure`], [`Proxy::name_found`] and [`Proxy::leave`].

use super::Proxy;
use super::control::{Accepted, Control, Journal, Order, Reloaded, State};
use super::net::{Level, Readiness, Token};
use super::report::Report;
use crate::words::Reason;

/// Accepts in a turn before connections get theirs.
const ACCEPTS_IN_A_TURN: usize = 64;
/// With no descriptor left, the pause before the next try to accept.
const ACCEPT_PAUSE_MS: u64 = 100;
/// When told to end, how long a port that other processes may share is kept for handshakes that have begun: plenty for a
/// local network. A client that wants to begin one meanwhile tries again after a second, so not longer.
const HANDSHAKES_MS: u64 = 10;
/// When told to end, how long a client that has connected and not asked anything yet is waited for. A client that connects
/// while another process takes the port over must not be turned away.
const SILENT_GRACE_MS: u64 = 500;
/// When told to end, how long clients that do not take their replies are waited for.
const GRACE_MS: u64 = 5000;

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Told to end, and others may listen on the port: what clients have asked is served as before, and the handshakes
    /// that they have begun here are finished until the time given. Closing would reset these, even with an empty queue.
    HandingOver {
        until_ms: u64,
    },
    /// Told to end: no new clients, what is in flight is answered until the time given.
    Leaving {
        silent_until_ms: u64,
        until_ms: u64,
    },
}

/// A reload on its way.
enum Reloading<L> {
    Idle,
    /// The file is being read.
    Reading,
    /// The names of servers are looked up, until the time given at the latest.
    LookingUp {
        reloaded: Box<Reloaded<L>>,
        until_ms: u64,
    },
}

/// The proxy, and what the process around it does.
pub struct Service<W: Control> {
    proxy: Proxy<W>,
    phase: Phase,
    reloading: Reloading<W::Listen>,
    /// A reload was asked for once more meanwhile.
    reload_again: bool,
    /// Set while there are no descriptors left: when to try again to accept.
    accept_again_ms: Option<u64>,
}

impl<W: Control> Service<W> {
    pub fn new(proxy: Proxy<W>) -> Self {
        Self {
            proxy,
            phase: Phase::Serving,
            reloading: Reloading::Idle,
            reload_again: false,
            accept_again_ms: None,
        }
    }

    /// The world.
    pub fn world(&mut self) -> &mut W {
        self.proxy.net()
    }

    /// The proxy alone, to look at.
    pub fn proxy(&self) -> &Proxy<W> {
        &self.proxy
    }

    /// What it knows now of itself and its servers.
    pub fn report(&self) -> Report<'_> {
        Report {
            is_leaving: self.phase != Phase::Serving,
            ..self.proxy.report()
        }
    }

    /// Looks for the servers; to be called once, before the first turn.
    pub fn start(&mut self, scratch: &mut [u8]) {
        self.proxy.start();
        self.proxy.flush(scratch);
    }

    /// Begins a turn: to be called before its events and orders.
    pub fn begin_turn(&mut self) {
        self.proxy.begin_batch();
    }

    /// A connection may have something to be read or written.
    pub fn ready(&mut self, token: Token, readiness: Readiness, scratch: &mut [u8]) {
        self.proxy.ready(token, readiness, scratch);
    }

    /// Somebody wants something of the process.
    pub fn order(&mut self, order: Order, scratch: &mut [u8]) {
        match (order, self.phase) {
            (Order::ReopenLog, _) => self.reopen_log(),
            (Order::Reload, Phase::Serving) => self.begin_reload(),
            (Order::Reload, _) => {}
            (Order::End, Phase::Serving) => self.hand_over(scratch),
            // Told twice: now.
            (Order::End, _) => {
                self.close_listeners();
                self.phase = Phase::Leaving {
                    silent_until_ms: 0,
                    until_ms: 0,
                };
            }
        }
    }

    /// Ends a turn, after its events and orders. Returns whether magent has ended.
    #[must_use]
    pub fn end_turn(&mut self, scratch: &mut [u8]) -> bool {
        self.take_names();
        self.take_journal();
        self.accept();
        self.go_on_reloading();
        self.leave_if_handed_over(scratch);
        self.give_up_on_silent_clients();
        self.proxy.tick();
        self.proxy.flush(scratch);
        for host in self.proxy.take_wanted_names() {
            self.world().look_up(&host);
        }
        let has_left = self.has_left();
        if has_left {
            self.say(Level::Notice, format_args!("ended"));
            self.proxy.end_journal();
            self.proxy.context().hand_out_log();
        }
        has_left
    }

    /// When the next turn is due if there is no event before, on the clock of [`Net::now_ms`](super::net::Net::now_ms);
    /// None if there is nothing to wait for but events.
    pub fn deadline_ms(&mut self) -> Option<u64> {
        let leaving_ms = match self.phase {
            Phase::Serving => None,
            Phase::HandingOver { until_ms } => Some(until_ms),
            Phase::Leaving {
                silent_until_ms,
                until_ms,
            } => Some(silent_until_ms.min(until_ms)),
        };
        let reload_ms = match self.reloading {
            Reloading::LookingUp { until_ms, .. } => Some(until_ms),
            Reloading::Idle | Reloading::Reading => None,
        };
        let now_ms = self.world().now_ms();
        let more_to_accept = self.accept_again_ms.is_none() && self.world().may_accept();
        let accept_ms = if more_to_accept {
            Some(now_ms)
        } else {
            self.accept_again_ms
        };
        let deadlines_ms = [self.proxy.deadline_ms(), leaving_ms, accept_ms, reload_ms];
        deadlines_ms.into_iter().flatten().min()
    }

    fn say(&mut self, level: Level, line: std::fmt::Arguments<'_>) {
        self.proxy.context().log.say(level, line);
    }

    /// Hands on what was found of the names that were looked up.
    fn take_names(&mut self) {
        while let Some(found) = self.world().take_name() {
            if let Some(warning) = found.warning {
                self.say(Level::Warning, format_args!("{warning}"));
            }
            self.proxy.name_found(&found.host, &found.addresses);
        }
    }

    fn take_journal(&mut self) {
        while let Some(told) = self.world().take_journal() {
            match told {
                Journal::Failed { begun, reason } => self.proxy.journal_failed(begun, &reason),
                Journal::Written => self.proxy.journal_written(),
                Journal::Found(remembered) => self.proxy.remember(&remembered),
            }
        }
    }

    fn reopen_log(&mut self) {
        if let Err(error) = self.world().reopen_log() {
            self.say(
                Level::Error,
                format_args!("SIGUSR1: cannot open the log again: {}", Reason(&error)),
            );
        }
    }
}

/// Letting clients in.
impl<W: Control> Service<W> {
    fn accept(&mut self) {
        if let Some(again_ms) = self.accept_again_ms {
            if self.world().now_ms() < again_ms && !self.world().take_freed() {
                return;
            }
            self.accept_again_ms = None;
        }
        for _ in 0..ACCEPTS_IN_A_TURN {
            if !self.world().may_accept() {
                return;
            }
            match self.world().accept() {
                Accepted::Client(socket) => self.proxy.accept(socket),
                Accepted::Gone => {}
                Accepted::Nobody => return,
                Accepted::Exhausted(line) => {
                    self.say(Level::Warning, format_args!("{line}; trying again"));
                    self.world().take_freed();
                    self.accept_again_ms = Some(self.world().now_ms() + ACCEPT_PAUSE_MS);
                    return;
                }
            }
        }
    }

    /// Takes in those who have connected and were not accepted yet, whom closing would turn away.
    fn close_listeners(&mut self) {
        self.world().close_listeners();
        self.accept_the_rest();
    }

    fn accept_the_rest(&mut self) {
        while self.world().may_accept() {
            match self.world().accept() {
                Accepted::Client(socket) => self.proxy.accept(socket),
                Accepted::Gone => {}
                Accepted::Nobody | Accepted::Exhausted(_) => return,
            }
        }
    }
}

/// Ending.
impl<W: Control> Service<W> {
    /// What to do when told to end: leaves, at once if no listener is shared.
    fn hand_over(&mut self, scratch: &mut [u8]) {
        self.world().tell(State::Ending);
        let shared = self.world().stop_listening();
        if !shared {
            self.accept_the_rest();
            return self.leave(scratch);
        }
        self.phase = Phase::HandingOver {
            until_ms: self.world().now_ms() + HANDSHAKES_MS,
        };
    }

    fn leave_if_handed_over(&mut self, scratch: &mut [u8]) {
        if let Phase::HandingOver { until_ms } = self.phase {
            if self.world().now_ms() >= until_ms {
                self.close_listeners();
                self.leave(scratch);
            }
        }
    }

    /// Lets clients that are done go; the listeners are closed.
    fn leave(&mut self, scratch: &mut [u8]) {
        let clients = self.proxy.client_count();
        self.say(
            Level::Notice,
            format_args!("told to end; clients that are still answered what they have asked: {clients}"),
        );
        let now_ms = self.world().now_ms();
        self.phase = Phase::Leaving {
            silent_until_ms: now_ms + SILENT_GRACE_MS,
            until_ms: now_ms + GRACE_MS,
        };
        self.proxy.leave(scratch);
    }

    /// Before the flush of this turn, which closes them: the next turn may be seconds away.
    fn give_up_on_silent_clients(&mut self) {
        let Phase::Leaving {
            silent_until_ms,
            until_ms,
        } = self.phase
        else {
            return;
        };
        if self.world().now_ms() >= silent_until_ms && silent_until_ms < until_ms {
            self.proxy.leave_silent();
            self.phase = Phase::Leaving {
                silent_until_ms: until_ms,
                until_ms,
            };
        }
    }

    /// Whether all is done that is to be done after being told to end.
    fn has_left(&mut self) -> bool {
        match self.phase {
            Phase::Leaving { until_ms, .. } => self.proxy.is_idle() || self.world().now_ms() >= until_ms,
            Phase::Serving | Phase::HandingOver { .. } => false,
        }
    }
}

/// Reading the configuration again.
impl<W: Control> Service<W> {
    fn begin_reload(&mut self) {
        if !matches!(self.reloading, Reloading::Idle) {
            self.reload_again = true;
            return;
        }
        self.world().tell(State::Reloading);
        match self.world().read_configuration() {
            Ok(()) => self.reloading = Reloading::Reading,
            Err(error) => self.end_reload(Err(format!("cannot begin a thread: {}", Reason(&error)))),
        }
    }

    /// Does the next step, if what it needs has come.
    fn go_on_reloading(&mut self) {
        match self.reloading {
            Reloading::Idle => return,
            Reloading::LookingUp { .. } => {}
            Reloading::Reading => match self.world().take_configuration() {
                None => return,
                Some(Err(error)) => return self.end_reload(Err(error)),
                Some(Ok(reloaded)) => self.look_names_up(reloaded),
            },
        }
        let now_ms = self.world().now_ms();
        match std::mem::replace(&mut self.reloading, Reloading::Idle) {
            Reloading::LookingUp { reloaded, until_ms }
                if now_ms >= until_ms || self.world().names_are_answered(&reloaded.settings) =>
            {
                let result = self.take_over(*reloaded);
                self.end_reload(result);
            }
            reloading => self.reloading = reloading,
        }
    }

    fn look_names_up(&mut self, reloaded: Reloaded<W::Listen>) {
        for server in reloaded.settings.servers().filter(|server| server.is_by_name()) {
            self.world().look_up(&server.host);
        }
        self.reloading = Reloading::LookingUp {
            until_ms: self.world().now_ms() + reloaded.settings.timeout_ms,
            reloaded: Box::new(reloaded),
        };
    }

    fn end_reload(&mut self, result: Result<(), String>) {
        self.reloading = Reloading::Idle;
        let changed = result.is_ok();
        match result {
            Ok(()) => self.say(Level::Notice, format_args!("the configuration has been read again")),
            Err(error) => self.say(
                Level::Error,
                format_args!("the configuration is not changed, because of an error: {error}"),
            ),
        }
        self.world().tell(State::Reloaded { changed });
        if std::mem::take(&mut self.reload_again) {
            self.begin_reload();
        }
    }

    /// Takes a new reading over, all of it or, if anything is wrong with it, nothing.
    fn take_over(&mut self, mut reloaded: Reloaded<W::Listen>) -> Result<(), String> {
        if self.phase != Phase::Serving {
            return Err("magent ends".to_owned());
        }
        let world = self.world();
        let unknown = world.fill_names_in(&mut reloaded.settings);
        let strange = world.check(&reloaded.settings, &reloaded.listen)?;
        world.listen_on(&reloaded.listen)?;
        self.proxy.set_verbosity(reloaded.verbosity);
        for line in reloaded.warnings.iter().chain(&unknown).chain(&strange) {
            self.say(Level::Warning, format_args!("{line}"));
        }
        self.proxy.reconfigure(reloaded.settings);
        Ok(())
    }
}
