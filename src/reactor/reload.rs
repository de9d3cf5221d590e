//! Reading the configuration again: nothing of the old goes before all of the new is there, and nobody waits for it.
//!
//! The file is read by a thread of its own, which may block: for the file, for the users that it names, for the address
//! to listen on. Then the servers' names are waited for, no longer than the timeout, and all is taken over in one step.

use super::{LISTENERS, Listen, Listener, Phase, Reactor, check, is_exhaustion, welcome};
use crate::proxy::net::{Level, Net};
use crate::proxy::settings::Settings;
use crate::sys;
use crate::words::Reason;
use mio::Waker;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

/// What a new reading of the configuration changes in a running process.
pub struct Reloaded {
    pub settings: Settings,
    pub listen: Vec<Listen>,
    pub verbosity: u32,
    /// What it cannot change, one line each.
    pub warnings: Vec<String>,
}

/// Reads the configuration again; the error is one line.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, String> + Send + Sync>;

enum Stage {
    /// There is nothing to be done.
    Idle,
    /// A thread reads the file.
    Reading(Receiver<Result<Reloaded, String>>),
    /// The names of servers are looked up, until the time given at the latest.
    LookingUp { reloaded: Box<Reloaded>, until_ms: u64 },
}

/// A reload on its way.
pub(super) struct Reloading {
    reload: Reload,
    waker: Arc<Waker>,
    stage: Stage,
    /// It was asked for once more meanwhile.
    again: bool,
}

impl Reloading {
    pub(super) fn new(reload: Reload, waker: Arc<Waker>) -> Self {
        Self {
            reload,
            waker,
            stage: Stage::Idle,
            again: false,
        }
    }

    /// When it goes on, whatever has been answered.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::LookingUp { until_ms, .. } => Some(until_ms),
            Stage::Idle | Stage::Reading(_) => None,
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let (reload, waker) = (Arc::clone(&self.reload), Arc::clone(&self.waker));
        let (read, reading) = mpsc::channel();
        thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Nobody takes it where magent ends meanwhile, and if it cannot be woken it takes it at its next event.
            let _ = read.send(reload());
            let _ = waker.wake();
        })?;
        self.stage = Stage::Reading(reading);
        Ok(())
    }
}

impl Reactor {
    /// Begins to read the configuration again.
    pub(super) fn begin_reload(&mut self) {
        if !matches!(self.reloading.stage, Stage::Idle) {
            self.reloading.again = true;
            return;
        }
        sys::notify_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", sys::monotonic_us()));
        if let Err(error) = self.reloading.read() {
            self.end_reload(Err(format!("cannot begin a thread: {}", Reason(&error))));
        }
    }

    /// Does the next step, if what it needs has come.
    pub(super) fn go_on_reloading(&mut self) {
        if let Stage::Reading(reading) = &self.reloading.stage {
            let read = match reading.try_recv() {
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => Err("the thread that reads it has ended".to_owned()),
                Ok(read) => read,
            };
            match read {
                Err(error) => return self.end_reload(Err(error)),
                Ok(reloaded) => {
                    self.names.ask_for_servers(&reloaded.settings);
                    let until_ms = self.proxy.net().now_ms() + reloaded.settings.timeout_ms;
                    let reloaded = Box::new(reloaded);
                    self.reloading.stage = Stage::LookingUp { reloaded, until_ms };
                }
            }
        }
        let now_ms = self.proxy.net().now_ms();
        match std::mem::replace(&mut self.reloading.stage, Stage::Idle) {
            Stage::LookingUp { reloaded, until_ms }
                if now_ms >= until_ms || self.names.are_answered(&reloaded.settings) =>
            {
                let result = self.take_over(*reloaded);
                self.end_reload(result);
            }
            stage => self.reloading.stage = stage,
        }
    }

    fn end_reload(&mut self, result: Result<(), String>) {
        self.reloading.stage = Stage::Idle;
        let net = self.proxy.net();
        match result {
            Ok(()) => {
                net.log(Level::Notice, format_args!("the configuration has been read again"));
                if let Some(pid_file) = &self.pid_file {
                    pid_file.renew();
                }
            }
            Err(error) => net.log(
                Level::Error,
                format_args!("the configuration is not changed, because of an error: {error}"),
            ),
        }
        sys::notify_manager("READY=1");
        if std::mem::take(&mut self.reloading.again) {
            self.begin_reload();
        }
    }

    /// Takes a new reading over, all of it or, if anything is wrong with it, nothing.
    fn take_over(&mut self, mut reloaded: Reloaded) -> Result<(), String> {
        if self.phase != Phase::Serving {
            return Err("magent ends".to_owned());
        }
        let unknown = self.names.fill_in(&mut reloaded.settings);
        let strange = check(&reloaded.settings, &reloaded.listen)?;
        self.listen_on(&reloaded.listen)?;
        self.proxy.net().set_verbosity(reloaded.verbosity);
        for line in reloaded.warnings.iter().chain(&unknown).chain(&strange) {
            self.proxy.net().log(Level::Warning, format_args!("{line}"));
        }
        self.proxy.reconfigure(reloaded.settings);
        Ok(())
    }

    /// Listens on all of these and nowhere else, or on what it did before. Where the place is the same the listener is:
    /// what root has bound could not be bound again.
    fn listen_on(&mut self, wanted: &[Listen]) -> Result<(), String> {
        let mut added = Vec::new();
        for listen in wanted {
            if !self.listeners.iter().any(|listener| listener.is_at(listen)) {
                added.push(self.listen_beside(listen)?);
            }
        }
        self.adjust(wanted)?;
        for listener in &added {
            let net = self.proxy.net();
            net.log(Level::Notice, format_args!("listening on {listener}"));
        }
        let (kept, outgoing) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition(|listener| wanted.contains(listener.name()));
        self.listeners = outgoing;
        self.close_listeners();
        self.listeners = kept;
        self.listeners.extend(added);
        Ok(())
    }

    fn listen_beside(&mut self, listen: &Listen) -> Result<Listener, String> {
        let bound = Listener::bind_beside(listen, &self.listeners);
        let mut listener = bound.map_err(|error| format!("cannot listen on {listen}: {}", Reason(&error)))?;
        let registered = listener.register(self.poll.registry(), LISTENERS);
        registered.map_err(|error| format!("cannot watch {listen}: {}", Reason(&error)))?;
        Ok(listener)
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

    /// Takes in those who have connected and were not accepted yet, whom closing would turn away, and closes.
    pub(super) fn close_listeners(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            for _ in 0..sys::BACKLOG {
                match listener.accept() {
                    Ok((socket, from)) => welcome(&mut self.proxy, socket, from),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => break,
                    // The client was gone before it was accepted.
                    Err(_) => {}
                }
            }
        }
    }
}
