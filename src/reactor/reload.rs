//! Reading the configuration again: nothing of the old goes before all of the new is there.

use super::{LISTENERS, Listen, Listener, Reactor, Reloaded, is_exhaustion};
use crate::proxy::net::{Level, Net};
use crate::sys;
use crate::words::Reason;
use std::io;

impl Reactor {
    /// Takes a new reading of the configuration over, all of it or, if anything is wrong with it, nothing.
    pub(super) fn reload(&mut self) {
        sys::notify_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", sys::monotonic_us()));
        let result = (self.reload)().and_then(|reloaded| self.take_over(reloaded));
        let net = self.proxy.net();
        match result {
            Ok(()) => net.log(Level::Notice, format_args!("the configuration has been read again")),
            Err(error) => net.log(
                Level::Error,
                format_args!("the configuration is not changed, because of an error: {error}"),
            ),
        }
        sys::notify_manager("READY=1");
    }

    fn take_over(&mut self, reloaded: Reloaded) -> Result<(), String> {
        self.listen_on(&reloaded.listen)?;
        self.proxy.net().set_verbosity(reloaded.verbosity);
        for line in &reloaded.warnings {
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
                    Ok(socket) => self.proxy.accept(socket),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => break,
                    // The client was gone before it was accepted.
                    Err(_) => {}
                }
            }
        }
    }
}
