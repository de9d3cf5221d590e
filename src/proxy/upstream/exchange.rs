//! Reading and writing links: what comes out of them, and what follows where one breaks.

use crate::proxy::fleet::ledger::Event;
use crate::proxy::fleet::server::{Health, Rejoining};
use crate::proxy::net::Net;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::answers::{Arrived, Fault};
use crate::proxy::upstream::link::Use;
use crate::proxy::upstream::{Broken, Read};
use std::fmt;

impl<N: Net> Servers<N> {
    /// Writes what a link has to say.
    pub fn write_link(&mut self, index: usize) {
        if let Err(broken) = self.upstream.write(&mut self.cx.net, index) {
            self.link_unwritable(index, &broken);
        }
    }

    /// Writes on where the socket of a link was full.
    pub fn unblock_link(&mut self, index: usize) {
        if let Err(broken) = self.upstream.unblock(&mut self.cx.net, index, self.cx.now.ms()) {
            self.link_unwritable(index, &broken);
        }
    }

    fn link_unwritable(&mut self, index: usize, broken: &Broken) {
        let server = self.upstream.server_of(index);
        self.link_failed(index, format_args!("{broken}"));
        self.note_how_it_broke(server, broken);
    }

    fn note_how_it_broke(&mut self, server: usize, broken: &Broken) {
        if let Broken::Failed(error) = broken {
            self.note_gone(server, error);
        }
    }

    /// Reads what a server sent. Returns how many bytes; None if there is nothing, or the link has come to its end.
    pub fn read_link(&mut self, index: usize, scratch: &mut [u8]) -> Option<usize> {
        match self.upstream.read(&mut self.cx.net, index, scratch) {
            Read::Bytes(count) => Some(count),
            Read::Nothing => None,
            Read::Ended(broken) => {
                self.link_ended(index, &broken);
                None
            }
        }
    }

    /// What a server said cannot be used, nor can what comes next.
    pub fn link_at_fault(&mut self, index: usize, fault: &Fault) {
        // What lies in its socket it may still run, after what it is sent on the next link.
        self.upstream.note_may_still_run(self.upstream.server_of(index));
        self.link_failed(index, format_args!("{fault}"));
    }

    /// The server ended a connection. If nobody waited for anything on it, that may be an idle limit of the server's, and
    /// it is asked on a new connection whether it is there; requests that come meanwhile wait behind that question.
    fn link_ended(&mut self, index: usize, broken: &Broken) {
        let server = self.upstream.server_of(index);
        let in_use = self.upstream.use_of(index) == Some(Use::Requests);
        if in_use && self.fleet.is_up(server) && self.upstream.close_if_idle(&mut self.cx.net, server) {
            self.look_for(server);
        } else {
            self.link_failed(index, format_args!("{broken}"));
        }
        self.note_how_it_broke(server, broken);
    }

    /// A link can not be used any more: the server is down, unless the link was in quarantine.
    fn link_failed(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        match self.upstream.use_of(index) {
            Some(Use::Quarantine) => self.quarantine_over(index),
            _ => self.server_down(self.upstream.server_of(index), reason),
        }
    }

    /// Closes a link in quarantine that has nothing more to tell, if this is one. Returns whether it was.
    pub fn close_if_told(&mut self, index: usize) -> bool {
        let over = self.upstream.is_quarantine_over(index);
        if over {
            self.quarantine_over(index);
        }
        over
    }

    fn quarantine_over(&mut self, index: usize) {
        let server = self.upstream.server_of(index);
        let end = self.upstream.end_quarantine(&mut self.cx.net, index);
        if !end.is_answered {
            self.fleet.ledger.record(Event::NotDrained(server));
        }
        let is_waited_for = matches!(
            self.fleet.servers[server].health,
            Health::Rejoining {
                step: Rejoining::Draining { .. },
                ..
            }
        );
        if is_waited_for && end.was_last {
            self.rejoin(server);
        }
    }

    /// Gives up on a server's links in quarantine.
    pub fn give_up_quarantine(&mut self, server: usize) {
        if self.upstream.give_up_quarantine(&mut self.cx.net, server) {
            self.fleet.ledger.record(Event::NotDrained(server));
        }
    }

    /// All that was read from a link has been used. The link is still there.
    pub fn link_used(&mut self, server: usize, arrived: &Arrived<'_>) {
        self.upstream
            .used(arrived, self.cx.now.ms(), self.cx.settings.limits.legs_kept);
        if self.fleet.is_confirmed(server) {
            self.fleet.servers[server].acquaintance.heard_ms = self.cx.now.ms();
        }
    }
}
