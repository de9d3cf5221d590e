//! The process as magent's service sees it: listeners, the configuration, names, the service manager.
//!
//! What may block has a thread of its own, whose answer is an event: looking names up (`names`), and reading the
//! configuration again, which may wait for the file, for the users that it names, for the address to listen on.

use super::{Journal, LISTENERS, Listen, Listener, Mailbox, Names, Socket, World, check, journal};
use crate::proxy::control::{self, Accepted, Control, Found, Reloaded, Remembered, State};
use crate::proxy::settings::Settings;
use crate::sys::{self, PidFile};
use crate::words::Reason;
use mio::net::TcpStream;
use mio::{Registry, Waker};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

/// A new reading of the configuration; the error is one line.
type Reading = Result<Reloaded<Listen>, String>;
/// Reads the configuration again.
pub type Reload = Arc<dyn Fn() -> Reading + Send + Sync>;

/// What comes from other threads, and what wakes the loop for it.
pub struct Answers {
    pub names: Names,
    waker: Arc<Waker>,
}

impl Answers {
    /// Begins the thread that looks names up.
    pub fn new(registry: &Registry) -> io::Result<Self> {
        let waker = Arc::new(Waker::new(registry, super::ANSWERS)?);
        let woken = Arc::clone(&waker);
        // If it cannot be woken the loop comes to it with the next event.
        let names = Names::new(move || drop(woken.wake()));
        Ok(Self { names, waker })
    }

    /// Begins the thread that writes the journal. Returns also what others have left there.
    pub fn keep_journal(&self, found: journal::Found) -> io::Result<(Journal, Remembered)> {
        let waker = Arc::clone(&self.waker);
        // If it cannot be woken the loop comes to it with the next event.
        found.begin(move || drop(waker.wake()))
    }
}

/// What there is of the process beside connections.
pub struct Process {
    listeners: Vec<Listener>,
    /// Accepted where nobody listens any more.
    accepted: VecDeque<(Socket, Option<SocketAddr>)>,
    answers: Answers,
    reload: Reload,
    reading: Mailbox<Reading>,
    /// A thread may have answered.
    answered: bool,
    /// Its time is that of the last reload that was taken over.
    pid_file: Option<PidFile>,
    pub(super) journal: Option<Journal>,
}

impl Process {
    /// The listeners are not watched yet.
    pub fn new(
        listeners: Vec<Listener>,
        answers: Answers,
        reload: Reload,
        pid_file: Option<PidFile>,
        journal: Option<Journal>,
    ) -> Self {
        Self {
            listeners,
            accepted: VecDeque::new(),
            answers,
            reload,
            reading: Mailbox::new(),
            answered: false,
            pid_file,
            journal,
        }
    }

    /// Begins to watch the listeners.
    pub(super) fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        let mut listeners = self.listeners.iter_mut();
        listeners.try_for_each(|listener| listener.register(registry, LISTENERS))
    }

    /// Whether there is a port of `--status`.
    pub(super) fn has_status(&self) -> bool {
        self.listeners.iter().any(Listener::is_status)
    }

    /// Whether somebody may wait there.
    pub(super) fn may_accept_status(&self) -> bool {
        self.listeners
            .iter()
            .any(|listener| listener.is_status() && listener.ready)
    }

    /// Who waits there may be accepted now, though descriptors had run out.
    pub(super) fn accept_status_again(&mut self) {
        let status = self.listeners.iter_mut().filter(|listener| listener.is_status());
        status.for_each(|listener| listener.ready = true);
    }

    /// The next connection there.
    pub(super) fn accept_status(&mut self) -> Option<TcpStream> {
        let listener = self.listeners.iter_mut().find(|listener| listener.is_status())?;
        loop {
            match listener.accept() {
                Ok((Socket::Tcp(stream), _)) => return Some(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => {
                    listener.ready = false;
                    return None;
                }
                // It was gone before it was accepted.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// There may be somebody to accept; which listener it was is told by accepting.
    pub(super) fn listeners_ready(&mut self) {
        for listener in &mut self.listeners {
            listener.ready = true;
        }
    }

    pub(super) fn threads_answered(&mut self) {
        self.answered = true;
    }

    /// Closes these, and keeps who has connected there, whom closing would turn away.
    fn close(&mut self, listeners: Vec<Listener>) {
        for listener in listeners.into_iter().filter(|listener| !listener.is_status()) {
            for _ in 0..sys::BACKLOG {
                match listener.accept() {
                    Ok(accepted) => self.accepted.push_back(accepted),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => break,
                    // The client was gone before it was accepted.
                    Err(_) => {}
                }
            }
        }
    }

    /// Lets the listeners whose place is wanted be as wanted there, all of them or none.
    fn adjust(&mut self, wanted: &[Listen]) -> Result<(), String> {
        let mut before: Vec<(usize, Listen)> = Vec::new();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(listen) = wanted.iter().find(|listen| listener.is_at(listen)) else {
                continue;
            };
            let old = listener.name().clone();
            if let Err(error) = listener.adjust(listen) {
                for (index, old) in before {
                    // It was so a moment ago; what cannot be undone is said by the line of the error.
                    let _ = self.listeners[index].adjust(&old);
                }
                return Err(format!("cannot change how {listen} is listened on: {}", Reason(&error)));
            }
            before.push((index, old));
        }
        Ok(())
    }

    fn listen_beside(&self, listen: &Listen, registry: &Registry) -> Result<Listener, String> {
        let bound = Listener::bind_beside(listen, &self.listeners);
        let mut listener = bound.map_err(|error| format!("cannot listen on {listen}: {}", Reason(&error)))?;
        let registered = listener.register(registry, LISTENERS);
        registered.map_err(|error| format!("cannot watch {listen}: {}", Reason(&error)))?;
        Ok(listener)
    }

    /// The next connection of these listeners.
    fn accept_here(&mut self) -> Accepted<(Socket, Option<SocketAddr>)> {
        for listener in for_clients(&mut self.listeners).filter(|listener| listener.ready) {
            match listener.accept() {
                Ok(accepted) => return Accepted::Client(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.ready = false,
                Err(error) if is_exhaustion(&error) => {
                    return Accepted::Exhausted(format!("{listener}: cannot accept: {}", Reason(&error)));
                }
                // The client was gone before it was accepted.
                Err(_) => return Accepted::Gone,
            }
        }
        Accepted::Nobody
    }
}

impl Control for World {
    type Listen = Listen;

    fn accept(&mut self) -> Accepted<Socket> {
        let accepted = match self.process.accepted.pop_front() {
            Some(accepted) => Accepted::Client(accepted),
            None => self.process.accept_here(),
        };
        match accepted {
            // magent's own: requests would go round for ever.
            Accepted::Client((socket, Some(from))) if self.is_own_link(&socket, from) => Accepted::Gone,
            Accepted::Client((socket, _)) => Accepted::Client(socket),
            Accepted::Gone => Accepted::Gone,
            Accepted::Nobody => Accepted::Nobody,
            Accepted::Exhausted(line) => Accepted::Exhausted(line),
        }
    }

    fn may_accept(&self) -> bool {
        let ready = |listener: &Listener| listener.ready && !listener.is_status();
        !self.process.accepted.is_empty() || self.process.listeners.iter().any(ready)
    }

    fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Where the place is the same the listener is: what root has bound could not be bound again.
    fn listen_on(&mut self, wanted: &[Listen]) -> Result<(), String> {
        let process = &mut self.process;
        let mut added = Vec::new();
        for listen in wanted {
            if !process.listeners.iter().any(|listener| listener.is_at(listen)) {
                added.push(process.listen_beside(listen, &self.registry)?);
            }
        }
        process.adjust(wanted)?;
        for listener in &added {
            self.log
                .write(libc::LOG_NOTICE, format_args!("listening on {listener}"));
        }
        let (kept, outgoing) = std::mem::take(&mut process.listeners)
            .into_iter()
            .partition(|listener| wanted.contains(listener.name()));
        process.close(outgoing);
        process.listeners = kept;
        process.listeners.extend(added);
        Ok(())
    }

    fn stop_listening(&mut self) -> bool {
        let (shared, own) = std::mem::take(&mut self.process.listeners)
            .into_iter()
            .partition::<Vec<_>, _>(Listener::is_shared);
        self.process.close(own);
        for listener in &shared {
            // A packet filter on this one socket, because a program that chooses among all on the port (socket(7),
            // SO_ATTACH_REUSEPORT_CBPF) would have to know the number of this one, and would outlive it if we are
            // killed. Without the filter we go on: at worst a connection begun in the last moment is reset.
            let _ = listener.begin_no_more();
        }
        self.process.listeners = shared;
        !self.process.listeners.is_empty()
    }

    fn close_listeners(&mut self) {
        let listeners = std::mem::take(&mut self.process.listeners);
        self.process.close(listeners);
    }

    fn read_configuration(&mut self) -> io::Result<()> {
        let (reload, waker) = (
            Arc::clone(&self.process.reload),
            Arc::clone(&self.process.answers.waker),
        );
        let read = self.process.reading.clone();
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Nobody takes it where magent ends meanwhile, and if it cannot be woken it takes it at its next event.
            read.put(reload());
            let _ = waker.wake();
        })?;
        Ok(())
    }

    fn take_configuration(&mut self) -> Option<Reading> {
        self.process.reading.try_take()
    }

    fn check(&mut self, settings: &Settings, listen: &[Listen]) -> Result<Vec<String>, String> {
        check(settings, listen)
    }

    fn look_up(&mut self, host: &str) {
        self.process.answers.names.ask(host);
    }

    fn names_are_answered(&self, settings: &Settings) -> bool {
        self.process.answers.names.are_answered(settings)
    }

    fn fill_names_in(&mut self, settings: &mut Settings) -> Vec<String> {
        self.process.answers.names.fill_in(settings)
    }

    fn take_name(&mut self) -> Option<Found> {
        if !self.process.answered {
            return None;
        }
        let taken = self.process.answers.names.take();
        self.process.answered = taken.is_some();
        taken.map(|(host, addresses, warning)| Found {
            host,
            addresses,
            warning,
        })
    }

    fn take_journal(&mut self) -> Option<control::Journal> {
        self.process.journal.as_ref()?.take_told()
    }

    fn reopen_log(&mut self) -> io::Result<()> {
        self.log.reopen()
    }

    fn tell(&mut self, state: State) {
        match state {
            State::Reloading => {
                sys::notify_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", sys::monotonic_us()));
            }
            State::Reloaded { changed } => {
                if let Some(pid_file) = self.process.pid_file.as_ref().filter(|_| changed) {
                    pid_file.renew();
                }
                sys::notify_manager("READY=1");
            }
            State::Ending => sys::notify_manager("STOPPING=1"),
        }
    }
}

/// The listeners that clients connect to.
fn for_clients(listeners: &mut [Listener]) -> impl Iterator<Item = &mut Listener> {
    listeners.iter_mut().filter(|listener| !listener.is_status())
}

/// Whether accepting failed because something ran out, so that trying on at once would fail the same way.
fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustion = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| exhaustion.contains(&code))
}
