//! The event loop: connections, listeners, timers and signals over one `mio::Poll`, edge-triggered.
//!
//! A turn of the loop: wait for events or the next deadline, hand the events to the service, let it do what is due, let
//! it write. The reactor knows nothing of commands; [`crate::proxy`] knows nothing of sockets. `world` is what a proxy
//! asks of the system, `process` what the service around it does; `status` is who reads what [`crate::status`] shows.

mod check;
mod compare;
pub mod journal;
mod listener;
mod mailbox;
pub mod names;
mod probe;
mod process;
mod socket_file;
mod status;
mod stream;
mod top;
mod world;

pub use check::check;
pub use compare::compare;
pub use journal::Journal;
pub use listener::{Listen, Listener};
use mailbox::Mailbox;
pub use names::Names;
pub use probe::probe;
pub use process::{Answers, Process, Reload};
pub use status::CONNECTIONS_MAX as STATUS_CONNECTIONS_MAX;
use status::Status;
pub use top::{top, top_once};
pub use world::{Socket, World};

use crate::proxy::control::Order;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::service::Service;
use crate::sys::{Signal, Signals};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 1024;
/// Bytes of one read.
const SCRATCH_BYTES: usize = 64 << 10;

/// mio's tokens: a few fixed ones, those of the status port, then clients and links alternately.
const SIGNALS: mio::Token = mio::Token(0);
/// All listeners: they are few, and accepting tells which one it was.
const LISTENERS: mio::Token = mio::Token(1);
/// A thread has an answer: a name was looked up, or the configuration read.
const ANSWERS: mio::Token = mio::Token(2);
/// Connections to the port of `--status`, as many as there may be.
const STATUS: usize = 3;
const CONNECTIONS: usize = STATUS + STATUS_CONNECTIONS_MAX;

/// The reactor with all that it owns.
pub struct Reactor {
    poll: Poll,
    service: Service<World>,
    signals: Signals,
    status: Status,
}

impl Reactor {
    /// `service` is made from the world that this poll watches.
    pub fn new(poll: Poll, mut service: Service<World>, signals: Signals) -> io::Result<Self> {
        let fd = signals.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), SIGNALS, Interest::READABLE)?;
        service.world().process.watch(poll.registry())?;
        Ok(Self {
            poll,
            service,
            signals,
            status: Status::default(),
        })
    }

    /// Serves until a signal says to end, and returns when what was in flight is answered.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut scratch = vec![0; SCRATCH_BYTES];
        self.service.start(&mut scratch);
        loop {
            let patience = self.patience();
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.service.begin_turn();
            for event in &events {
                let readiness = Readiness {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    closed: event.is_read_closed() || event.is_error(),
                };
                match event.token() {
                    SIGNALS => self.take_signals(&mut scratch),
                    LISTENERS => self.service.world().process.listeners_ready(),
                    ANSWERS => self.service.world().process.threads_answered(),
                    mio::Token(token) if token < CONNECTIONS => self.status.ready(token - STATUS, readiness),
                    token => self.service.ready(world::from_mio(token), readiness, &mut scratch),
                }
            }
            if self.service.end_turn(&mut scratch) {
                return Ok(());
            }
            self.status.turn(&mut self.service);
        }
    }

    /// How long to wait for events at most.
    fn patience(&mut self) -> Option<Duration> {
        let now_ms = self.service.world().now_ms();
        let deadlines_ms = [self.service.deadline_ms(), self.status.deadline_ms(now_ms)];
        let next_ms = deadlines_ms.into_iter().flatten().min()?;
        Some(Duration::from_millis(next_ms.saturating_sub(now_ms)))
    }

    fn take_signals(&mut self, scratch: &mut [u8]) {
        while let Some(signal) = self.signals.take() {
            let order = match signal {
                Signal::Reload => Order::Reload,
                Signal::ReopenLog => Order::ReopenLog,
                Signal::Terminate => Order::End,
            };
            self.service.order(order, scratch);
        }
    }
}
