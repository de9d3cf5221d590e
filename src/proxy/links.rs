//! What comes out of links, and to whom it goes.

use crate::protocol::LINE_END;
use crate::protocol::reply;
use crate::protocol::request::Request;
use crate::protocol::server::answer::{self, Garbage, Response, Status};
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::permit::PastGate;
use crate::proxy::replicate::read::Goes;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::answers::{END, Fault, Pieces, Said, Value};
use crate::proxy::upstream::link::{Leg, Part, Purpose, Use};
use crate::proxy::upstream::message::Message;
use std::ops::Range;

/// Values of one retrieval that came one behind the other and are to go into its reply as they came.
struct Run<'a> {
    /// What was read.
    read: &'a [u8],
    /// The retrieval's transaction.
    id: usize,
    /// Where they are in it; empty if there are none.
    at: Range<usize>,
}

impl<'a> Run<'a> {
    fn take(&mut self) -> &'a [u8] {
        let read = self.read;
        &read[std::mem::take(&mut self.at)]
    }
}

impl<N: Net> Proxy<N> {
    pub(in crate::proxy) fn link_ready(&mut self, index: usize, readiness: Readiness, scratch: &mut [u8]) {
        match self.servers.upstream.use_of(index) {
            None => return, // a late event of a link that is gone
            Some(Use::Lists) => self.copier.listing_ready(&mut self.servers, index, readiness),
            Some(Use::Requests | Use::Quarantine) => {
                if readiness.writable {
                    self.servers.unblock_link(index);
                }
                if readiness.readable || readiness.closed {
                    self.read_link(index, readiness.closed, scratch);
                }
            }
        }
        self.hand_on();
    }

    /// Reads on where the others got their turn before all was read.
    pub(in crate::proxy) fn read_on(&mut self, index: usize, scratch: &mut [u8]) {
        match self.servers.upstream.use_of(index) {
            Some(Use::Lists) => self.copier.listing_readable(&mut self.servers, index),
            _ => self.read_link(index, true, scratch),
        }
    }

    /// Reads and handles what a server sent, some of it now and the rest after the others' turn.
    fn read_link(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        for _ in 0..self.servers.cx.settings.limits.link_reads {
            let Some(count) = self.servers.read_link(index, scratch) else {
                return;
            };
            if let Err(fault) = self.link_bytes(index, &scratch[..count]) {
                return self.servers.link_at_fault(index, &fault);
            }
            // A short read means drained, unless the event said that the stream has ended behind it.
            if self.servers.close_if_told(index) || count < scratch.len() && !to_the_end {
                return;
            }
        }
        self.servers.upstream.read_later(index);
    }

    /// Handles what was read from a link. The link is still there when this returns.
    fn link_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Fault> {
        let mut run = Run {
            read: bytes,
            id: 0,
            at: 0..0,
        };
        let handled = self.link_answers(index, bytes, &mut run);
        self.end_run(&mut run);
        handled
    }

    fn link_answers(&mut self, index: usize, bytes: &[u8], run: &mut Run<'_>) -> Result<(), Fault> {
        let server = self.servers.upstream.server_of(index);
        let item_bytes_max = self.servers.cx.settings.item_bytes_max;
        let mut arrived = self.servers.upstream.arrived(index, bytes);
        let mut pieces = Pieces::default();
        while let Some(chunk) = self.servers.upstream.next_chunk(&mut arrived, &mut pieces) {
            // It is looked at where it is, and so is what it says: a move of these costs as much as many a step below.
            let parsed = answer::parse(chunk.bytes);
            let (line_len, response) = match &parsed {
                Some(Ok((line_len, response))) => (*line_len, response),
                Some(Err(Garbage)) => return Err(Fault::Garbage),
                None => {
                    let gathered = chunk.gathered;
                    self.servers.upstream.keep(&mut arrived, &mut pieces, gathered);
                    continue;
                }
            };
            let upstream = &mut self.servers.upstream;
            let said = upstream.accept(&mut arrived, &chunk, line_len, response, item_bytes_max);
            let Ok(what) = &said else {
                return said.map(drop);
            };
            self.answer_said((index, server), what, response, line_len, run)?;
            if self.servers.cx.has_handoffs() {
                self.end_run(run);
                self.hand_on();
            }
        }
        self.servers.link_used(server, &arrived);
        Ok(())
    }

    /// Handles an answer, the first line of which is so long.
    #[inline]
    fn answer_said(
        &mut self,
        (index, server): (usize, usize),
        said: &Said<'_>,
        response: &Response<'_>,
        line_len: usize,
        run: &mut Run<'_>,
    ) -> Result<(), Garbage> {
        match said {
            &Said::Value {
                ref part,
                bytes,
                at,
                slice,
            } => {
                let value = Value {
                    part,
                    response,
                    line_len,
                    bytes,
                    at,
                    slice,
                };
                if !self.reply_came(index, server, &value, run)? {
                    self.value_came(index, server, &value, run);
                    self.whole_came((index, server), part, response, run)?;
                }
            }
            Said::Line if response.status == Status::Stat => self.statistic_came(index, response)?,
            Said::Line => {
                self.end_run(run);
                let leg = self.servers.upstream.take_oldest(index).ok_or(Garbage)?;
                self.answer_came((index, server), &leg, response)?;
            }
            Said::Counted(number) => {
                let leg = self.servers.upstream.take_oldest(index).ok_or(Garbage)?;
                self.answer_came((index, server), &leg, &response.counted(number)?)?;
            }
            Said::Oversized(part) => {
                self.oversized_came(index, server, part, response);
                self.whole_came((index, server), part, response, run)?;
            }
            Said::Nothing => {}
        }
        Ok(())
    }

    /// A line of the answer to `stats`; the leg stays until its end.
    fn statistic_came(&mut self, index: usize, said: &Response<'_>) -> Result<(), Garbage> {
        let asked = self.servers.upstream.oldest(index);
        match asked.map(|leg| (leg.purpose, leg.transaction)) {
            Some((Purpose::Probe, _)) => {
                let server = self.servers.upstream.server_of(index);
                self.servers.fleet.introduces(server, said.key, said.message);
            }
            Some((Purpose::Survey, transaction)) => self.replicate.survey_line(transaction, said.key, said.message),
            Some((Purpose::GivenUp { .. }, _)) => {}
            _ => return Err(Garbage),
        }
        Ok(())
    }

    /// What there is most of, at once and not by way of handoffs: the last value of a retrieval came in one piece with the end of the answer,
    /// and is, with that, the rest of the reply. Returns whether it was so.
    #[inline]
    fn reply_came(
        &mut self,
        index: usize,
        server: usize,
        value: &Value<'_>,
        run: &mut Run<'_>,
    ) -> Result<bool, Garbage> {
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        let (id, unique) = (value.part.transaction, value.response.unique);
        // A meta item is the last that comes as well, but no end stands behind it.
        let ends = value.part.is_last && value.response.status == Status::Value;
        let Some(at) = value.at.filter(|_| ends && replicate.is_whole_with(value.part)) else {
            return Ok(false);
        };
        let is_the_same = servers.fleet.unique_for_clients(server, unique) == unique;
        if !is_the_same || !self.front.takes_as_it_is(&servers.cx, id) {
            return Ok(false);
        }
        let leg = servers.upstream.take_oldest(index).ok_or(Garbage)?;
        servers.upstream.note_answer(server, &leg, servers.cx.now);
        self.front.note_late(servers, server, &leg);
        replicate.read_whole(servers, server, &leg);
        self.front.weigh(&servers.cx, id, value.bytes.len());
        self.add_to_run(run, id, at..at + value.bytes.len() + END.len());
        let rest = run.take();
        self.front
            .answer_written(&mut self.servers.cx, &mut self.replicate, id, rest);
        Ok(true)
    }

    /// Values that came one behind the other, and go into one reply as they came, are written there together.
    #[inline]
    fn add_to_run(&mut self, run: &mut Run<'_>, id: usize, at: Range<usize>) {
        if run.id != id || run.at.end != at.start {
            self.end_run(run);
            (run.id, run.at.start) = (id, at.start);
        }
        run.at.end = at.end;
    }

    /// Writes those that have come; to be called before anything else is done to the reply, or is done that looks at it.
    #[inline]
    fn end_run(&mut self, run: &mut Run<'_>) {
        let bytes = run.take();
        if !bytes.is_empty() {
            self.front.values_as_they_came(&self.servers.cx, run.id, bytes);
        }
    }

    fn value_came(&mut self, index: usize, server: usize, value: &Value<'_>, run: &mut Run<'_>) {
        self.note_skipped(index, value.part);
        let id = value.part.transaction;
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        match value.part.purpose {
            Purpose::Read(_) => {
                if self.front.only_looks(id) {
                    give_back(servers, server, value.response.key, value.response);
                }
                let unique = servers.fleet.unique_for_clients(server, value.response.unique);
                let anew = self.front.written_anew(&servers.cx, id, value, unique);
                let (bytes, slice) = match &anew {
                    Some(anew) => (anew.bytes(), None),
                    None => (value.bytes, value.slice),
                };
                let of = (value.part, value.response.key);
                match replicate.read_value(servers, server, of, bytes, slice) {
                    Goes::Out => match value.at.filter(|_| anew.is_none()) {
                        Some(at) => {
                            self.front.weigh(&servers.cx, id, bytes.len());
                            self.add_to_run(run, id, at..at + value.bytes.len());
                        }
                        None => {
                            self.end_run(run);
                            self.front.value(&self.servers.cx, id, bytes, slice);
                        }
                    },
                    Goes::OutBeforeOthers => {
                        self.end_run(run);
                        self.front.value(&self.servers.cx, id, bytes, slice);
                        if let Some(merge) = self.replicate.merge_mut(id) {
                            self.front.due_values(&self.servers.cx, id, merge);
                        }
                    }
                    Goes::ToOthers => self.front.value_waits(&servers.cx, id, bytes.len()),
                    Goes::Nowhere => {}
                }
            }
            Purpose::Board => {
                let text = &value.bytes[value.line_len..value.bytes.len() - LINE_END.len()];
                servers.board_read(server, value.response, Some(text));
            }
            Purpose::Rank => {
                let text = &value.bytes[value.line_len..value.bytes.len() - LINE_END.len()];
                servers.fleet.learn_ranks(text);
            }
            Purpose::RepairFetch => {
                let data = &value.bytes[value.line_len..];
                give_back(servers, server, value.response.key, value.response);
                self.copier.repair_value(replicate, servers, id, value.response, data);
            }
            _ => {}
        }
    }

    /// Where an item was all that comes to its leg, that is answered.
    #[inline]
    fn whole_came(
        &mut self,
        (index, server): (usize, usize),
        part: &Part,
        said: &Response<'_>,
        run: &mut Run<'_>,
    ) -> Result<(), Garbage> {
        if !part.is_last {
            return Ok(());
        }
        self.end_run(run);
        let leg = self.servers.upstream.take_oldest(index).ok_or(Garbage)?;
        match part.purpose {
            Purpose::Read(_) | Purpose::Rank => self.answer_came((index, server), &leg, said),
            // A repair has gone on with the item.
            _ => Ok(()),
        }
    }

    /// A value above the item limit has begun to come.
    fn oversized_came(&mut self, index: usize, server: usize, part: &Part, response: &Response<'_>) {
        self.note_skipped(index, part);
        let id = part.transaction;
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        match part.purpose {
            Purpose::Read(_) => replicate.read_oversized(id),
            Purpose::Board => servers.board_unread(server),
            Purpose::RepairFetch => {
                give_back(servers, server, response.key, response);
                self.copier.repair_too_large(replicate, servers, id, response);
            }
            _ => {}
        }
    }

    /// What a retrieval asked for before a value did not come: its partner may have it.
    fn note_skipped(&mut self, index: usize, part: &Part) {
        if part.skipped == 0 || !matches!(part.purpose, Purpose::Read(_)) || !self.servers.fleet.has_backups() {
            return;
        }
        // More may come to it, so it is still the oldest.
        if let Some(leg) = self.servers.upstream.oldest(index) {
            self.replicate.note_skipped(leg, part);
        }
    }

    /// The last line of an answer has come.
    fn answer_came(
        &mut self,
        (link, server): (usize, usize),
        leg: &Leg,
        response: &Response<'_>,
    ) -> Result<(), Garbage> {
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        if response.status == Status::Error {
            servers.fleet.counters(server).errors += 1;
        }
        if leg.purpose.looks() {
            give_back(servers, server, leg.sent.key(), response);
        }
        match leg.purpose {
            Purpose::GiveBack => {}
            Purpose::Probe | Purpose::Forget => return servers.answered(server, leg, response),
            Purpose::GivenUp { .. } => {
                servers.upstream.note_late_answer(link, leg, servers.cx.now);
                return servers.answered(server, leg, response);
            }
            Purpose::Board if response.status == Status::MetaMiss => servers.board_read(server, response, None),
            Purpose::Board => {
                if response.fault == reply::Fault::Unknown {
                    servers.fleet.has_no_meta(server);
                }
                servers.board_unread(server);
            }
            Purpose::Post => servers.posted(server, response.status, leg.transaction),
            Purpose::Compare(side) => {
                let whose = (leg.transaction, side);
                self.copier.compared(replicate, servers, whose, Some(response));
            }
            purpose if purpose.is_repair() => {
                self.copier
                    .repair_answer(replicate, servers, leg.transaction, purpose, response);
            }
            _ => {
                servers.upstream.note_answer(server, leg, servers.cx.now);
                self.front.note_late(servers, server, leg);
                replicate.answered(servers, server, leg, response);
            }
        }
        Ok(())
    }

    /// A leg was cut off: its link died before the answer came.
    pub(in crate::proxy) fn leg_lost(&mut self, server: usize, leg: &Leg) {
        let (replicate, servers) = (&mut self.replicate, &mut self.servers);
        match leg.purpose {
            Purpose::Probe | Purpose::Forget | Purpose::GivenUp { .. } => servers.lost(server, leg),
            Purpose::Board | Purpose::Post | Purpose::GiveBack => {}
            Purpose::Compare(side) => self.copier.compared(replicate, servers, (leg.transaction, side), None),
            purpose if purpose.is_repair() => {
                self.copier
                    .repair_lost(replicate, servers, leg.transaction, leg.delivered);
            }
            _ => {
                self.front.note_late(servers, server, leg);
                replicate.lost(servers, server, leg);
            }
        }
    }
}

/// Where magent's own look at an item that is stale was told to store it anew, the next client that asks for it is to be told so.
fn give_back<N: Net>(servers: &mut Servers<N>, server: usize, key: &[u8], said: &Response<'_>) {
    let Some(number) = said.unique.filter(|_| said.marks().has_won()) else {
        return;
    };
    if servers.fleet.is_up(server) {
        let stale = Request {
            number,
            ..Request::new(Verb::MetaInvalidate, key)
        };
        servers.change(&PastGate::Token, server, Purpose::GiveBack, 0, Message::from(&stale));
        servers.fleet.servers[server].contact.wrote_unseen(key); // it has another unique then
    }
}
