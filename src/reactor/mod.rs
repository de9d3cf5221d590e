//! The event loop: listeners, connections, timers and signals over one `mio::Poll`, edge-triggered.
//!
//! A turn of the loop: wait for events or the proxy's next deadline, hand the events to the proxy, let it do what is
//! due, let it write. The reactor knows nothing of commands; the proxy knows nothing of sockets.
//!
//! What may block has a thread of its own, whose answer is an event: looking names up (`names`), and reading the
//! configuration again (`reload`).

mod check;
mod listener;
pub mod names;
mod reload;
mod socket_file;
mod world;

pub use check::check;
pub use listener::{Listen, Listener};
pub use names::Names;
pub use reload::{Reload, Reloaded};
pub use world::{Socket, World};

use crate::proxy::Proxy;
use crate::proxy::net::{Level, Net, Readiness};
use crate::sys::{self, PidFile, Signal, Signals};
use crate::words::Reason;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Waker};
use reload::Reloading;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 1024;
/// Bytes of one read.
const SCRATCH_BYTES: usize = 64 << 10;
/// Accepts in a row before connections get their turn.
const ACCEPTS_IN_A_ROW: usize = 64;
/// With no descriptor left, the pause before the next try to accept.
const ACCEPT_PAUSE_MS: u64 = 100;
/// After SIGTERM, how long a port that other processes may share is kept for handshakes that have begun: plenty for a
/// local network. A client that wants to begin one meanwhile tries again after a second, so not longer.
const HANDSHAKES_MS: u64 = 10;
/// After SIGTERM, how long a client that has connected and not asked anything yet is waited for. A client that connects
/// while another process takes the port over must not be turned away.
const SILENT_GRACE_MS: u64 = 500;
/// After SIGTERM, how long clients that do not take their replies are waited for.
const GRACE_MS: u64 = 5000;

/// mio's tokens: a few fixed ones, then clients and links alternately.
const SIGNALS: mio::Token = mio::Token(0);
/// All listeners: they are few, and accepting tells which one it was.
const LISTENERS: mio::Token = mio::Token(1);
/// A thread has an answer: a name was looked up, or the configuration read.
const ANSWERS: mio::Token = mio::Token(2);
const CONNECTIONS: usize = 3;

/// How the loop goes on.
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

/// What comes from other threads, and what wakes the loop for it.
pub struct Answers {
    pub names: Names,
    waker: Arc<Waker>,
}

impl Answers {
    /// Begins the thread that looks names up.
    pub fn new(registry: &Registry) -> io::Result<Self> {
        let waker = Arc::new(Waker::new(registry, ANSWERS)?);
        let woken = Arc::clone(&waker);
        // If it cannot be woken the loop comes to it with the next event.
        let names = Names::new(move || drop(woken.wake()));
        Ok(Self { names, waker })
    }
}

/// The reactor with all that it owns.
pub struct Reactor {
    poll: Poll,
    proxy: Proxy<World>,
    listeners: Vec<Listener>,
    signals: Signals,
    names: Names,
    reloading: Reloading,
    /// Its time is that of the last reload that was taken over.
    pid_file: Option<PidFile>,
    phase: Phase,
    /// Set while there are no descriptors left: when to try again.
    accept_again_ms: Option<u64>,
}

impl Reactor {
    /// `proxy` is made from the world that this poll watches.
    pub fn new(
        poll: Poll,
        proxy: Proxy<World>,
        mut listeners: Vec<Listener>,
        signals: Signals,
        answers: Answers,
        reload: Reload,
        pid_file: Option<PidFile>,
    ) -> io::Result<Self> {
        let fd = signals.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), SIGNALS, Interest::READABLE)?;
        for listener in &mut listeners {
            listener.register(poll.registry(), LISTENERS)?;
        }
        Ok(Self {
            poll,
            proxy,
            listeners,
            signals,
            names: answers.names,
            reloading: Reloading::new(reload, answers.waker),
            pid_file,
            phase: Phase::Serving,
            accept_again_ms: None,
        })
    }

    /// Serves until a signal says to end, and returns when what was in flight is answered.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut scratch = vec![0; SCRATCH_BYTES];
        self.proxy.start();
        self.proxy.flush(&mut scratch);
        loop {
            let patience = self.patience();
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.proxy.begin_batch();
            for event in &events {
                let readiness = Readiness {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    closed: event.is_read_closed() || event.is_error(),
                };
                match event.token() {
                    SIGNALS => self.take_signals(&mut scratch),
                    LISTENERS => self.listener_ready(),
                    ANSWERS => self.take_names(),
                    token => self.proxy.ready(world::from_mio(token), readiness, &mut scratch),
                }
            }
            self.accept();
            self.go_on_reloading();
            self.leave_if_handed_over(&mut scratch);
            self.proxy.tick();
            self.proxy.flush(&mut scratch);
            for host in self.proxy.take_wanted_names() {
                self.names.ask(&host);
            }
            if self.has_left() {
                self.proxy.net().log(Level::Notice, format_args!("ended"));
                return Ok(());
            }
        }
    }

    /// Hands on what was found of the names that were looked up.
    fn take_names(&mut self) {
        while let Some((host, found, warning)) = self.names.take() {
            if let Some(warning) = warning {
                self.proxy.net().log(Level::Warning, format_args!("{warning}"));
            }
            self.proxy.name_found(&host, &found);
        }
    }

    fn listener_ready(&mut self) {
        for listener in &mut self.listeners {
            listener.ready = true;
        }
    }

    /// How long to wait for events at most.
    fn patience(&mut self) -> Option<Duration> {
        let leaving_ms = match self.phase {
            Phase::Serving => None,
            Phase::HandingOver { until_ms } => Some(until_ms),
            Phase::Leaving {
                silent_until_ms,
                until_ms,
            } => Some(silent_until_ms.min(until_ms)),
        };
        let more_to_accept = self.accept_again_ms.is_none() && self.listeners.iter().any(|listener| listener.ready);
        let now_ms = self.proxy.net().now_ms();
        let accept_ms = if more_to_accept {
            Some(now_ms)
        } else {
            self.accept_again_ms
        };
        let deadlines_ms = [
            self.proxy.deadline_ms(),
            leaving_ms,
            accept_ms,
            self.reloading.deadline_ms(),
        ];
        let next_ms = deadlines_ms.into_iter().flatten().min()?;
        Some(Duration::from_millis(next_ms.saturating_sub(now_ms)))
    }

    fn take_signals(&mut self, scratch: &mut [u8]) {
        while let Some(signal) = self.signals.take() {
            match (signal, self.phase) {
                (Signal::ReopenLog, _) => {
                    let net = self.proxy.net();
                    if let Err(error) = net.reopen_log() {
                        net.log(
                            Level::Error,
                            format_args!("SIGUSR1: cannot open the log again: {}", Reason(&error)),
                        );
                    }
                }
                (Signal::Reload, Phase::Serving) => self.begin_reload(),
                (Signal::Reload, _) => {}
                (Signal::Terminate, Phase::Serving) => self.hand_over(scratch),
                // Told twice: now.
                (Signal::Terminate, _) => {
                    self.close_listeners();
                    self.phase = Phase::Leaving {
                        silent_until_ms: 0,
                        until_ms: 0,
                    };
                }
            }
        }
    }

    /// What to do when told to end: leaves, at once if no listener is shared.
    fn hand_over(&mut self, scratch: &mut [u8]) {
        sys::notify_manager("STOPPING=1");
        let (shared, own) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(Listener::is_shared);
        self.listeners = own;
        self.close_listeners();
        if shared.is_empty() {
            return self.leave(scratch);
        }
        for listener in &shared {
            // A packet filter on this one socket, because a program that chooses among all on the port (socket(7),
            // SO_ATTACH_REUSEPORT_CBPF) would have to know the number of this one, and would outlive it if we are
            // killed. Without the filter we go on: at worst a connection begun in the last moment is reset.
            let _ = listener.begin_no_more();
        }
        self.listeners = shared;
        self.phase = Phase::HandingOver {
            until_ms: self.proxy.net().now_ms() + HANDSHAKES_MS,
        };
    }

    fn leave_if_handed_over(&mut self, scratch: &mut [u8]) {
        if let Phase::HandingOver { until_ms } = self.phase {
            if self.proxy.net().now_ms() >= until_ms {
                self.close_listeners();
                self.leave(scratch);
            }
        }
    }

    /// Lets clients that are done go; the listeners are closed.
    fn leave(&mut self, scratch: &mut [u8]) {
        let clients = self.proxy.client_count();
        let net = self.proxy.net();
        net.log(
            Level::Notice,
            format_args!("told to end; clients that are still answered what they have asked: {clients}"),
        );
        let now_ms = net.now_ms();
        self.phase = Phase::Leaving {
            silent_until_ms: now_ms + SILENT_GRACE_MS,
            until_ms: now_ms + GRACE_MS,
        };
        self.proxy.leave(scratch);
    }

    /// Whether all is done that is to be done after being told to end.
    fn has_left(&mut self) -> bool {
        let Phase::Leaving {
            silent_until_ms,
            until_ms,
        } = self.phase
        else {
            return false;
        };
        let now_ms = self.proxy.net().now_ms();
        if now_ms >= silent_until_ms && silent_until_ms < until_ms {
            self.proxy.leave_silent();
            self.phase = Phase::Leaving {
                silent_until_ms: until_ms,
                until_ms,
            };
        }
        self.proxy.is_idle() || now_ms >= until_ms
    }

    fn accept(&mut self) {
        let now_ms = self.proxy.net().now_ms();
        if let Some(again_ms) = self.accept_again_ms {
            if now_ms < again_ms && !self.proxy.net().take_freed() {
                return;
            }
            self.accept_again_ms = None;
        }
        for listener in &mut self.listeners {
            for _ in 0..ACCEPTS_IN_A_ROW {
                if !listener.ready {
                    break;
                }
                match listener.accept() {
                    Ok((socket, from)) => welcome(&mut self.proxy, socket, from),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.ready = false,
                    Err(error) if is_exhaustion(&error) => {
                        let net = self.proxy.net();
                        net.log(
                            Level::Warning,
                            format_args!("{listener}: cannot accept: {}; trying again", Reason(&error)),
                        );
                        net.take_freed();
                        self.accept_again_ms = Some(now_ms + ACCEPT_PAUSE_MS);
                        return;
                    }
                    // The client was gone before it was accepted.
                    Err(_) => {}
                }
            }
        }
    }
}

/// Takes a connection over, unless it is magent's own: requests would go round for ever.
fn welcome(proxy: &mut Proxy<World>, socket: Socket, from: Option<SocketAddr>) {
    match from {
        Some(from) if proxy.net().is_own_link(&socket, from) => proxy.net().close(socket),
        _ => proxy.accept(socket),
    }
}

/// Whether accepting failed because something ran out, so that trying on at once would fail the same way.
fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustion = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhaustion.contains(&code))
}
