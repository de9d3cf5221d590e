//! A request with keys goes through their gate, at once or when its turn has come, and begins.

use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::front::transaction::Work;
use crate::proxy::net::Net;
use crate::proxy::replicate::gate::{Access, Entry, Gate, Pass};
use crate::proxy::replicate::reading::Reads;
use crate::proxy::upstream::message::Message;

impl<N: Net> Proxy<N> {
    /// Starts, or starts again after it had to wait, a transaction for a request with keys.
    pub(in crate::proxy) fn begin_transaction(&mut self, id: usize, message: Message<'_>) {
        let request = message.request;
        let access = match request.verb {
            Verb::Get | Verb::Gets => {
                // Of a wide one the first keys tell: it may as well come before writes that have not begun, and what follows of
                // it is asked for later anyway.
                let keys = request.keys_concerned().take(self.settings.limits.keys_looked_at);
                return match self.gate.waits_to_read(keys, id) {
                    true => self.wait(id, message),
                    false => self.start_read(id, message, None),
                };
            }
            // One of many keys goes through their gates as it is asked for.
            Verb::Gat | Verb::Gats if request.key_count != 1 => return self.start_read(id, message, None),
            Verb::Gat | Verb::Gats => Access::Touch,
            Verb::Add | Verb::Replace | Verb::Cas if self.farm.has_backups() => Access::Alone,
            _ => Access::Both,
        };
        let place = self.farm.place(request.key);
        let pass = match self.gate.enter(request.key, place.slot, access, id) {
            Entry::Go(pass) => pass,
            Entry::Wait => return self.wait(id, message),
        };
        match access {
            Access::Touch => self.start_read(id, message, Some(pass)),
            Access::Alone => self.start_conditional(id, message, pass),
            Access::Both => self.start_write(id, message, (place, pass)),
        }
    }

    /// Keeps a request until its turn has come.
    pub(in crate::proxy) fn wait(&mut self, id: usize, message: Message<'_>) {
        self.transactions[id].work = Work::Waiting(message.hold(&self.pool));
        self.bar_what_follows(id);
    }

    /// What the client asks next must not be answered from before a request that waits.
    pub(in crate::proxy) fn bar_what_follows(&mut self, id: usize) {
        if let Some(client) = self.transactions[id].client {
            self.raise_barrier(client);
        }
    }

    /// Gives a pass back. Those that waited for that begin in their order, until one of them has the key alone.
    pub(in crate::proxy) fn leave_gate(&mut self, pass: Pass) {
        let mut going = self.gate.leave(pass);
        while let Some(id) = self.gate.next(&mut going) {
            self.begin_again(id);
        }
    }

    /// Starts a transaction that had to wait for its key.
    fn begin_again(&mut self, id: usize) {
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        match work {
            Work::Waiting(held) => self.begin_transaction(id, Message::in_piece(&held.request(), held.piece())),
            Work::Repair(repair) => self.start_waiting_repair(id, repair),
            Work::Refused(refused) => self.start_removal_again(id, refused),
            Work::Read(read) => {
                self.transactions[id].work = Work::Read(read);
                self.has_turn_at_gate(id);
            }
            _ => unreachable!("only what waits is behind a gate"),
        }
    }

    /// Whether a request would change a key that the same client is still reading, or come before keys of a wide get of
    /// the same client that are not asked for yet. The earlier read may have to ask the backup yet, or at all, and would
    /// see what is newer.
    pub(in crate::proxy) fn would_overtake_read(&self, client: usize, request: &Request<'_>) -> bool {
        let reads = matches!(request.verb, Verb::Get | Verb::Gets);
        let changes = !request.key.is_empty() && !reads && request.verb != Verb::Stats;
        if !changes && !reads {
            return false;
        }
        let is_reading = |what| self.gate.is_reading(client, what);
        if is_reading(Reads::Unasked) || reads || !self.farm.has_backups() {
            return is_reading(Reads::Unasked);
        }
        is_reading(Reads::Many) || request.key_count > 1 || is_reading(Reads::Key(request.key))
    }

    /// Counts a retrieval that begins, so that nothing of its client overtakes it; `only` is its key if it has but one.
    pub(in crate::proxy) fn count_read(&mut self, id: usize, only: Option<&[u8]>) {
        let Some(client) = self.transactions[id].client.filter(|_| self.farm.has_backups()) else {
            return;
        };
        let reading = self.gate.reads(client, only.map_or(Reads::Many, Reads::Key));
        self.read_mut(id).reading = Some(reading);
    }
}

impl Work {
    /// Gives back what it has of the gate, where everything ends.
    pub(in crate::proxy) fn leave_behind(self, gate: &mut Gate) {
        match self {
            Work::Write(write) => write.pass.into_iter().for_each(|pass| gate.abandon(pass)),
            Work::Conditional(conditional) => gate.abandon(conditional.pass),
            Work::Read(mut read) => read.discount(gate),
            _ => {}
        }
    }
}
