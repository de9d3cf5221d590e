//! Sending to servers, and understanding what comes back.

use crate::buffer::{Gather, Slice};
use crate::protocol::reply;
use crate::protocol::request::Request;
use crate::protocol::server::answer::{self, Garbage, Response, Status};
use crate::protocol::server::encode::{Words, encode};
use crate::protocol::server::shown;
use crate::protocol::{LINE_END, find_newline};
use crate::proxy::Proxy;
use crate::proxy::fleet::ledger::Event;
use crate::proxy::front::transaction::Work;
use crate::proxy::net::{Net, Readiness, Token};
use crate::proxy::replicate::permit::Permit;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::{Arriving, Leg, Link, Outgoing, Part, Purpose, write_out};
use crate::proxy::upstream::message::{Message, Sent};
use crate::words::Reason;
use std::fmt;
use std::io::ErrorKind;

/// Why what came from a server cannot be used, and what comes next cannot either.
enum Fault {
    Garbage,
    /// It is an answer, but not to what was asked.
    Misfit(String),
}

impl From<Garbage> for Fault {
    fn from(Garbage: Garbage) -> Self {
        Fault::Garbage
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Garbage => f.write_str("it does not speak memcached's protocol"),
            Fault::Misfit(what) => f.write_str(what),
        }
    }
}

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
        self.farm.servers[server].counters.requests += 1;
        let link = self.link(server);
        let (sent, end) = match link {
            Some(index) => self.links[index].put(&self.pool, message),
            None => (self.unsent(message), 0),
        };
        let keys = message.request.key_count as u32;
        let leg = Leg::new(transaction, purpose, sent, keys, self.now_ms, end);
        let Some(index) = link else {
            self.lost.push_back((server, leg));
            return &mut self.lost.back_mut().expect("just pushed").1;
        };
        self.timers.set(Timer::Silence, self.now_ms + self.settings.timeout_ms);
        let link = &mut self.links[index];
        if link.outgoing == Outgoing::Idle {
            link.outgoing = Outgoing::Dirty;
            self.dirty_links.push(index);
        }
        link.pending.push_back(leg);
        link.pending.back_mut().expect("just pushed")
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

    /// What would have been sent.
    fn unsent(&self, message: Message<'_>) -> Sent {
        let mut words = Words::default();
        let encoded = encode(message.request, &mut words);
        Sent {
            piece: self.pool.copy(encoded.parts()),
            asked: encoded.asked(),
            is_whole: true,
        }
    }

    /// The link of a server. None if it cannot be opened; the server is down once the batch settles.
    fn link(&mut self, server: usize) -> Option<usize> {
        if let index @ Some(_) = self.farm.servers[server].link {
            return index;
        }
        let entry = self.links.vacant_entry();
        let index = entry.key();
        let address = &self.farm.servers[server].name.address;
        match self.net.connect(address, Token::Link(index)) {
            Ok(socket) => {
                entry.insert(Link::new(socket, server));
                self.farm.servers[server].link = Some(index);
                Some(index)
            }
            Err(error) => {
                // Not here: whoever sends may be in the middle of this server's answers.
                self.unreachable.push((server, error));
                None
            }
        }
    }

    pub(in crate::proxy) fn write_link(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index) else {
            return;
        };
        if link.outgoing != Outgoing::Dirty {
            return; // put on the list before its slot was given to this link, which may be one that lists keys
        }
        link.outgoing = Outgoing::Idle;
        match write_out(&mut self.net, &mut link.socket, &mut link.output) {
            Ok(_) if link.output.is_empty() => {}
            Ok(_) => link.outgoing = Outgoing::Blocked,
            // Not connected yet: an event says when.
            Err(error) if error.kind() == ErrorKind::NotConnected => link.outgoing = Outgoing::Blocked,
            Err(error) => {
                let server = self.links[index].server;
                self.link_failed(index, format_args!("{}", Reason(&error)));
                self.note_gone(server, &error);
            }
        }
    }

    /// Writes on after the socket was full.
    fn unblock_link(&mut self, index: usize) {
        let link = &mut self.links[index];
        let before = link.output.len();
        link.outgoing = Outgoing::Dirty;
        self.write_link(index);
        if let Some(link) = self.links.get_mut(index) {
            let written = before.saturating_sub(link.output.len());
            if written > 0 {
                link.wrote_after_waiting(self.now_ms, written);
            }
        }
    }

    pub(in crate::proxy) fn link_ready(&mut self, index: usize, readiness: Readiness, scratch: &mut [u8]) {
        let Some(link) = self.links.get(index) else {
            return; // a late event of a link that is gone
        };
        if link.lists {
            return self.listing_ready(index, readiness);
        }
        if readiness.writable && link.outgoing == Outgoing::Blocked {
            self.unblock_link(index);
        }
        if readiness.readable || readiness.closed {
            self.read_link(index, readiness.closed, scratch);
        }
    }

    /// Reads on where the others got their turn before all was read.
    pub(in crate::proxy) fn read_on(&mut self, index: usize, scratch: &mut [u8]) {
        match self.links.get(index) {
            Some(link) if link.lists => self.listing_readable(index),
            _ => self.read_link(index, true, scratch),
        }
    }

    /// Reads and handles what a server sent, some of it now and the rest after the others' turn.
    pub(in crate::proxy) fn read_link(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        for _ in 0..self.settings.limits.link_reads {
            let Some(link) = self.links.get_mut(index) else {
                return;
            };
            match self.net.read(&mut link.socket, scratch) {
                Ok(0) => return self.link_ended(index, format_args!("it closed the connection")),
                Ok(count) => {
                    if let Err(fault) = self.link_bytes(index, &scratch[..count]) {
                        // What lies in its socket it may still run, after what it is sent on the next link.
                        let server = self.links[index].server;
                        self.farm.servers[server].quarantine_given_up = true;
                        return self.link_failed(index, format_args!("{fault}"));
                    }
                    if self.links[index].quarantined && self.links[index].pending.is_empty() {
                        return self.quarantine_over(index);
                    }
                    // A short read means drained, unless the event said that the stream has ended behind it.
                    if count < scratch.len() && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let server = self.links[index].server;
                    self.link_ended(index, format_args!("{}", Reason(&error)));
                    return self.note_gone(server, &error);
                }
            }
        }
        self.reading.push(index);
    }

    /// The server ended a connection. If nobody waited for anything on it, that may be an idle limit of the server's, and
    /// it is asked on a new connection whether it is there; requests that come meanwhile wait behind that question.
    fn link_ended(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        let link = &self.links[index];
        let (server, idle) = (link.server, link.pending.is_empty());
        if !idle || link.quarantined || !self.farm.is_up(server) {
            return self.link_failed(index, reason);
        }
        if self.farm.servers[server].link == Some(index) {
            self.farm.servers[server].link = None;
        }
        let link = self.links.remove(index);
        self.net.close(link.socket);
        self.look_for(server);
    }

    /// A link can not be used any more: the server is down, unless the link was in quarantine.
    fn link_failed(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        match self.links[index].quarantined {
            true => self.quarantine_over(index),
            false => self.server_down(self.links[index].server, reason),
        }
    }

    /// Handles what was read from a link. The link is still there when this returns.
    fn link_bytes(&mut self, index: usize, mut bytes: &[u8]) -> Result<(), Fault> {
        let oldest_before = self.links[index].pending.front().map_or(0, |leg| leg.end);
        while !bytes.is_empty() {
            let link = &mut self.links[index];
            match std::mem::take(&mut link.arriving) {
                Arriving::Nothing => {
                    let used = self.answers(index, bytes)?;
                    let rest = &bytes[used..];
                    if !rest.is_empty() {
                        let mut gather = self.pool.gather(rest.len());
                        gather.extend(rest);
                        self.links[index].arriving = Arriving::Line(gather);
                    }
                    break;
                }
                Arriving::Line(mut gather) => {
                    let line_end = find_newline(bytes).map_or(bytes.len(), |newline| newline + 1);
                    let (part, rest) = bytes.split_at(line_end);
                    gather.extend(part);
                    bytes = rest;
                    let used = self.answers(index, gather.bytes())?;
                    if used < gather.len() {
                        self.links[index].arriving = Arriving::Line(gather);
                    }
                }
                Arriving::Value {
                    mut gather,
                    line_len,
                    missing,
                } => {
                    let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                    gather.extend(part);
                    bytes = rest;
                    let missing = missing - part.len();
                    if missing == 0 {
                        self.gathered_value(index, gather, line_len)?;
                    } else {
                        self.links[index].arriving = Arriving::Value {
                            gather,
                            line_len,
                            missing,
                        };
                    }
                }
                Arriving::Oversized { missing } => {
                    let skipped = missing.min(bytes.len());
                    bytes = &bytes[skipped..];
                    if skipped < missing {
                        let missing = missing - skipped;
                        link.arriving = Arriving::Oversized { missing };
                    }
                }
            }
        }
        // A server that answers is not silent, however long its queue. But lines of `stats` could come for ever: all of them
        // have the time that an answer has.
        let link = &mut self.links[index];
        link.give_back_room(self.settings.limits.legs_kept);
        let oldest = link.pending.front().map(|leg| (leg.end, leg.purpose));
        let goes_on = matches!(oldest, Some((end, Purpose::Probe | Purpose::Survey)) if end == oldest_before);
        if !goes_on {
            link.progressed(self.now_ms);
        }
        let server = link.server;
        if self.farm.is_confirmed(server) {
            self.farm.servers[server].acquaintance.heard_ms = self.now_ms;
        }
        Ok(())
    }

    /// Handles the whole answers at the front of `bytes`. Returns how many bytes they are; where a value has begun that
    /// is not all there, all bytes are taken.
    fn answers(&mut self, index: usize, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(parsed) = answer::parse(&bytes[at..]) else {
                break;
            };
            let (line_len, response) = parsed?;
            if !self.links[index].is_answer(&response) {
                return Err(self.misfit(index, &response));
            }
            if response.status == Status::Stat {
                self.introduction_line(index, &response)?;
                at += line_len;
                continue;
            }
            let Some(value_len) = response.value_len else {
                let link = &mut self.links[index];
                let leg = link.pending.pop_front().ok_or(Garbage)?;
                let server = link.server;
                self.answered(server, leg, &response)?;
                at += line_len;
                continue;
            };
            let total = line_len + value_len + LINE_END.len();
            if value_len > self.settings.item_bytes_max {
                let skipped = total.min(bytes.len() - at);
                self.oversized_value(index, &response, total - skipped)?;
                at += skipped;
            } else if let Some(whole) = bytes.get(at..at + total) {
                self.whole_value(index, &response, line_len, whole, None)?;
                at += total;
            } else {
                let mut gather = self.pool.gather(total);
                gather.extend(&bytes[at..]);
                self.links[index].arriving = Arriving::Value {
                    missing: total - gather.len(),
                    gather,
                    line_len,
                };
                return Ok(bytes.len());
            }
        }
        Ok(at)
    }

    /// A line of the answer to `stats`; the leg stays until its end.
    fn introduction_line(&mut self, index: usize, said: &Response<'_>) -> Result<(), Garbage> {
        let link = &self.links[index];
        let asked = link.pending.front().map(|leg| (leg.purpose, leg.transaction));
        match asked {
            Some((Purpose::Probe, _)) => self.farm.servers[link.server].introduction.take(said.key, said.message),
            Some((Purpose::Survey, transaction)) => self.survey_line(transaction, said.key, said.message),
            Some((Purpose::GivenUp { .. }, _)) => {}
            _ => return Err(Garbage),
        }
        Ok(())
    }

    /// What is wrong with an answer that is none to the oldest question.
    fn misfit(&self, index: usize, response: &Response<'_>) -> Fault {
        let said = shown(response.line);
        Fault::Misfit(match self.links[index].pending.front() {
            Some(leg) => format!("it answered {said:?} to {:?}", shown(leg.sent.piece.bytes())),
            None => format!("it said {said:?}, and had not been asked anything"),
        })
    }

    fn gathered_value(&mut self, index: usize, gather: Gather, line_len: usize) -> Result<(), Fault> {
        let slice = gather.freeze();
        let bytes = slice.bytes();
        let (_, response) = answer::parse(bytes).ok_or(Garbage)??;
        self.whole_value(index, &response, line_len, bytes, Some(&slice))
    }

    /// A value has come: the line, the data block and its end.
    fn whole_value(
        &mut self,
        index: usize,
        response: &Response<'_>,
        line_len: usize,
        bytes: &[u8],
        slice: Option<&Slice>,
    ) -> Result<(), Fault> {
        if !bytes.ends_with(LINE_END) {
            return Err(Garbage.into());
        }
        let part = self.take_value(index, response)?;
        match part.purpose {
            Purpose::Read(_) => {
                let server = self.links[index].server;
                self.read_value(&part, server, response, line_len, bytes, slice);
            }
            Purpose::RepairFetch => self.repair_value(part.transaction, response, &bytes[line_len..]),
            _ => {}
        }
        Ok(())
    }

    /// A value above the item limit begins; `missing` bytes of it are still to come.
    fn oversized_value(&mut self, index: usize, response: &Response<'_>, missing: usize) -> Result<(), Fault> {
        let part = self.take_value(index, response)?;
        match part.purpose {
            Purpose::Read(_) => self.read_oversized(part.transaction),
            Purpose::RepairFetch => self.repair_failed(part.transaction),
            _ => {}
        }
        if missing > 0 {
            self.links[index].arriving = Arriving::Oversized { missing };
        }
        Ok(())
    }

    /// Gives the oldest leg of a link a value, if that is of a key which it asked for. More may come to the leg, which stays
    /// on the link; only a meta value is a whole answer.
    fn take_value(&mut self, index: usize, response: &Response<'_>) -> Result<Part, Fault> {
        let link = &mut self.links[index];
        let leg = link.pending.front_mut().ok_or(Garbage)?;
        let work = match leg.purpose {
            Purpose::Read(_) if self.farm.has_backups() => &mut self.transactions[leg.transaction].work,
            _ => &mut Work::Answered,
        };
        let fits = match work {
            Work::Read(read) => read.take_value(leg, response.key),
            _ => leg.take_value(response.key, |_, _| {}),
        };
        if !fits {
            return Err(self.misfit(index, response));
        }
        let part = leg.part();
        if response.status == Status::MetaValue {
            link.pending.pop_front();
            if part.purpose == Purpose::RepairFetch {
                self.transactions[part.transaction].legs -= 1;
            }
        }
        Ok(part)
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
                self.repair_answer(id, server, leg.purpose, response);
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
