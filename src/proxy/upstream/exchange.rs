//! What the conductor does with links: it lets the owner of the links read and write, and hands on what comes out.

use crate::protocol::reply;
use crate::protocol::request::Request;
use crate::protocol::server::answer::{self, Garbage, Response, Status};
use crate::proxy::Proxy;
use crate::proxy::fleet::ledger::Event;
use crate::proxy::fleet::server::{Health, Rejoining};
use crate::proxy::front::transaction::Work;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::replicate::permit::Permit;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::answers::{Fault, Pieces, Said, Value};
use crate::proxy::upstream::link::{Leg, Part, Purpose, Use};
use crate::proxy::upstream::message::Message;
use crate::proxy::upstream::{Broken, Read};
use std::fmt;

impl<N: Net> Proxy<N> {
    /// Sends a server what changes a key on it, or all keys: whoever does so shows that it may.
    pub(in crate::proxy) fn change(
        &mut self,
        permit: &impl Permit,
        server: usize,
        purpose: Purpose,
        transaction: usize,
        message: Message<'_>,
    ) -> &mut Leg {
        let key = message.request.key;
        debug_assert!(permit.permits(self.farm.is_up(server), key));
        self.put_leg(server, purpose, transaction, message)
    }

    /// Asks a server for something that changes nothing, but for the exptime where it is read.
    pub(in crate::proxy) fn send(
        &mut self,
        server: usize,
        purpose: Purpose,
        transaction: usize,
        message: Message<'_>,
    ) -> &mut Leg {
        assert!(!purpose.changes(), "{purpose:?} without a pass");
        self.put_leg(server, purpose, transaction, message)
    }

    /// Puts a leg on the link of a server, opening it if need be. If it cannot be opened the leg is lost like any other
    /// whose link dies.
    fn put_leg(&mut self, server: usize, purpose: Purpose, transaction: usize, message: Message<'_>) -> &mut Leg {
        if purpose.has_transaction() {
            self.transactions[transaction].legs += 1;
        }
        let to = &mut self.farm.servers[server];
        to.counters.requests += 1;
        if !self.upstream.is_linked(server) {
            self.upstream.open(&mut self.net, server, &to.name.address);
        }
        self.timers.set(Timer::Silence, self.now_ms + self.settings.timeout_ms);
        self.upstream.send(server, purpose, transaction, message, self.now_ms)
    }

    /// A request of no other value, key or options than these, as [`send`](Self::send) does it.
    pub(in crate::proxy) fn ask(
        &mut self,
        server: usize,
        purpose: Purpose,
        transaction: usize,
        request: Request<'_>,
    ) -> &mut Leg {
        self.send(server, purpose, transaction, Message::from(&request))
    }

    pub(in crate::proxy) fn write_link(&mut self, index: usize) {
        if let Err(broken) = self.upstream.write(&mut self.net, index) {
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

    pub(in crate::proxy) fn link_ready(&mut self, index: usize, readiness: Readiness, scratch: &mut [u8]) {
        match self.upstream.use_of(index) {
            None => return, // a late event of a link that is gone
            Some(Use::Lists) => return self.listing_ready(index, readiness),
            Some(Use::Requests | Use::Quarantine) => {}
        }
        if readiness.writable {
            if let Err(broken) = self.upstream.unblock(&mut self.net, index, self.now_ms) {
                self.link_unwritable(index, &broken);
            }
        }
        if readiness.readable || readiness.closed {
            self.read_link(index, readiness.closed, scratch);
        }
    }

    /// Reads on where the others got their turn before all was read.
    pub(in crate::proxy) fn read_on(&mut self, index: usize, scratch: &mut [u8]) {
        match self.upstream.use_of(index) {
            Some(Use::Lists) => self.listing_readable(index),
            _ => self.read_link(index, true, scratch),
        }
    }

    /// Reads and handles what a server sent, some of it now and the rest after the others' turn.
    fn read_link(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        for _ in 0..self.settings.limits.link_reads {
            match self.upstream.read(&mut self.net, index, scratch) {
                Read::Bytes(count) => {
                    if let Err(fault) = self.link_bytes(index, &scratch[..count]) {
                        // What lies in its socket it may still run, after what it is sent on the next link.
                        self.upstream.note_may_still_run(self.upstream.server_of(index));
                        return self.link_failed(index, format_args!("{fault}"));
                    }
                    if self.upstream.is_quarantine_over(index) {
                        return self.quarantine_over(index);
                    }
                    // A short read means drained, unless the event said that the stream has ended behind it.
                    if count < scratch.len() && !to_the_end {
                        return;
                    }
                }
                Read::Nothing => return,
                Read::Ended(broken) => return self.link_ended(index, &broken),
            }
        }
        self.upstream.read_later(index);
    }

    /// The server ended a connection. If nobody waited for anything on it, that may be an idle limit of the server's, and
    /// it is asked on a new connection whether it is there; requests that come meanwhile wait behind that question.
    fn link_ended(&mut self, index: usize, broken: &Broken) {
        let server = self.upstream.server_of(index);
        let in_use = self.upstream.use_of(index) == Some(Use::Requests);
        if in_use && self.farm.is_up(server) && self.upstream.close_if_idle(&mut self.net, server) {
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

    /// A link in quarantine has nothing more to tell.
    fn quarantine_over(&mut self, index: usize) {
        let server = self.upstream.server_of(index);
        let end = self.upstream.end_quarantine(&mut self.net, index);
        if !end.is_answered {
            self.farm.ledger.record(Event::NotDrained(server));
        }
        let is_waited_for = matches!(
            self.farm.servers[server].health,
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
    pub(in crate::proxy) fn give_up_quarantine(&mut self, server: usize) {
        if self.upstream.give_up_quarantine(&mut self.net, server) {
            self.farm.ledger.record(Event::NotDrained(server));
        }
    }

    /// Handles what was read from a link. The link is still there when this returns.
    fn link_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Fault> {
        let server = self.upstream.server_of(index);
        let item_bytes_max = self.settings.item_bytes_max;
        let mut arrived = self.upstream.arrived(index, bytes);
        let mut pieces = Pieces::default();
        while let Some(chunk) = self.upstream.next_chunk(&mut arrived, &mut pieces) {
            let Some(parsed) = answer::parse(chunk.bytes) else {
                let gathered = chunk.gathered;
                self.upstream.keep(&mut arrived, &mut pieces, gathered);
                continue;
            };
            let (line_len, response) = parsed?;
            let said = self
                .upstream
                .accept(&mut arrived, &chunk, line_len, &response, item_bytes_max)?;
            match said {
                Said::Value { part, bytes, slice } => {
                    let value = Value {
                        part: &part,
                        response: &response,
                        line_len,
                        bytes,
                        slice,
                    };
                    self.value_came(index, server, &value);
                }
                Said::Line if response.status == Status::Stat => self.introduction_line(index, &response)?,
                Said::Line => {
                    let leg = self.upstream.take_oldest(index).ok_or(Garbage)?;
                    self.answered(server, leg, &response)?;
                }
                Said::Oversized(part) => self.oversized_came(index, &part, &response),
                Said::Nothing => {}
            }
        }
        self.upstream
            .used(&arrived, self.now_ms, self.settings.limits.legs_kept);
        if self.farm.is_confirmed(server) {
            self.farm.servers[server].acquaintance.heard_ms = self.now_ms;
        }
        Ok(())
    }

    /// A line of the answer to `stats`; the leg stays until its end.
    fn introduction_line(&mut self, index: usize, said: &Response<'_>) -> Result<(), Garbage> {
        let asked = self.upstream.oldest(index);
        match asked.map(|leg| (leg.purpose, leg.transaction)) {
            Some((Purpose::Probe, _)) => {
                let server = self.upstream.server_of(index);
                self.farm.servers[server].introduction.take(said.key, said.message);
            }
            Some((Purpose::Survey, transaction)) => self.survey_line(transaction, said.key, said.message),
            Some((Purpose::GivenUp { .. }, _)) => {}
            _ => return Err(Garbage),
        }
        Ok(())
    }

    fn value_came(&mut self, index: usize, server: usize, value: &Value<'_>) {
        self.note_skipped(index, value.part);
        let id = value.part.transaction;
        match value.part.purpose {
            Purpose::Read(_) => self.read_value(server, value),
            Purpose::RepairFetch => self.repair_value(id, value.response, &value.bytes[value.line_len..]),
            _ => {}
        }
    }

    /// A value above the item limit has begun to come.
    fn oversized_came(&mut self, index: usize, part: &Part, response: &Response<'_>) {
        self.note_skipped(index, part);
        let id = part.transaction;
        match part.purpose {
            Purpose::Read(_) => self.read_oversized(id),
            Purpose::RepairFetch => self.repair_too_large(id, response),
            _ => {}
        }
    }

    /// What a retrieval asked for before a value did not come: its partner may have it.
    fn note_skipped(&mut self, index: usize, part: &Part) {
        if part.skipped == 0 || !matches!(part.purpose, Purpose::Read(_)) || !self.farm.has_backups() {
            return;
        }
        // More may come to it, so it is still the oldest.
        if let (Some(leg), Work::Read(read)) = (
            self.upstream.oldest(index),
            &mut self.transactions[part.transaction].work,
        ) {
            read.miss_before(leg, part);
        }
    }

    /// The last line of an answer has come.
    fn answered(&mut self, server: usize, leg: Leg, response: &Response<'_>) -> Result<(), Garbage> {
        let status = response.status;
        if status == Status::Error {
            self.farm.servers[server].counters.errors += 1;
        }
        let id = leg.transaction;
        if leg.purpose.has_transaction() {
            self.transactions[id].legs -= 1;
        }
        match leg.purpose {
            Purpose::Read(ask) => self.read_end(server, ask, &leg, status),
            Purpose::MirrorTouch => self.mirror_touch_done(server, &leg, Some(status)),
            Purpose::Write(side) => self.write_answer(id, side, response.reply()),
            Purpose::Size(side) => self.size_answered(id, side, Some(response)),
            Purpose::Conditional(_) => self.conditional_answer(id, response.reply()),
            Purpose::Broadcast(server) => self.broadcast_answer(id, server, Some(response)),
            Purpose::Survey => self.survey_step(id),
            Purpose::RepairFetch | Purpose::RepairCheck | Purpose::RepairStore => {
                self.repair_answer(id, leg.purpose, response);
            }
            Purpose::Probe => return self.probe_answered(server, &leg, status),
            Purpose::Forget => return self.forget_answered(server, &leg, status),
            Purpose::GivenUp { fails_over } => {
                // What a failure of its own has left behind is not known.
                if response.fault == reply::Fault::Server {
                    self.farm.ledger.record(Event::NotDrained(server));
                }
                if fails_over {
                    let key = leg.sent.key();
                    let stored = status == Status::Stored;
                    self.farm.ledger.record(Event::Ran { server, key, stored });
                }
            }
        }
        Ok(())
    }
}
