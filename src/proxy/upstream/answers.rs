//! Bytes that came from a server become answers to the legs on its link, one at a time.
//!
//! Whoever has read from a link asks for one chunk after the other ([`Upstream::next_chunk`]), parses the answer that it begins
//! with, and has it taken for the oldest leg's ([`Upstream::accept`]). An answer borrows the bytes that were read, or, where it
//! came in pieces, what these were put together in; nothing is copied to be handed on.

use crate::buffer::{Gather, Slice};
use crate::protocol::server::answer::{Garbage, Response, Status};
use crate::protocol::server::shown;
use crate::protocol::{LINE_END, find_newline};
use crate::proxy::net::{Net, Time};
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::{Arriving, Leg, Link, Part, Purpose, Use};
use std::fmt;

/// The last line of the answer to a retrieval.
pub const END: &[u8] = b"END\r\n";

/// Bytes that were read from a link, as far as they have not become answers.
pub struct Arrived<'a> {
    link: usize,
    /// How many they were.
    len: usize,
    rest: &'a [u8],
    /// Where the oldest leg ended when they were read.
    oldest_end: u64,
}

/// What an answer was put together in that came in pieces.
#[derive(Default)]
pub enum Pieces {
    #[default]
    None,
    Line(Gather),
    Value(Slice),
}

/// Bytes that an answer may begin with.
pub struct Chunk<'a> {
    pub bytes: &'a [u8],
    /// They were put together; else they are what was read.
    pub gathered: bool,
    /// The block that they stand in alone, where there is one.
    slice: Option<&'a Slice>,
}

/// What a server has said. The answer itself is the caller's already: it is not moved about.
pub enum Said<'a> {
    /// The answer is the oldest leg's last line, or one of many of `stats`.
    Line,
    Value {
        part: Part,
        /// The line, the data block and its end; the line alone where no value was asked for.
        bytes: &'a [u8],
        /// Where these begin in what was read, if they are there in one piece.
        at: Option<usize>,
        slice: Option<&'a Slice>,
    },
    /// The number that was counted to, with its line end: the answer is the oldest leg's.
    Counted(&'a [u8]),
    /// A value above the item limit, which is thrown away.
    Oversized(Part),
    /// A value that is not all there.
    Nothing,
}

/// A value of a key that was asked for.
pub struct Value<'a> {
    pub part: &'a Part,
    pub response: &'a Response<'a>,
    pub line_len: usize,
    /// The line, the data block and its end.
    pub bytes: &'a [u8],
    /// Where these begin in what was read, if they are there in one piece.
    pub at: Option<usize>,
    /// The block that these alone stand in, where there is one.
    pub slice: Option<&'a Slice>,
}

/// Why what came from a server cannot be used, and what comes next cannot either.
pub enum Fault {
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

impl<N: Net> Upstream<N> {
    /// Takes what was read from an open link.
    pub fn arrived<'a>(&self, link: usize, bytes: &'a [u8]) -> Arrived<'a> {
        Arrived {
            link,
            len: bytes.len(),
            rest: bytes,
            oldest_end: self.oldest(link).map_or(0, |leg| leg.end),
        }
    }

    /// The bytes that the next answer begins with; None when all are used. The link must still be open.
    #[inline]
    pub fn next_chunk<'h, 'a: 'h>(&mut self, arrived: &mut Arrived<'a>, pieces: &'h mut Pieces) -> Option<Chunk<'h>> {
        if arrived.rest.is_empty() {
            return None;
        }
        match self.links[arrived.link].arriving {
            Arriving::Nothing => arrived.chunk(),
            _ => self.gather(arrived, pieces),
        }
    }

    /// Keeps the last chunk, which was `gathered` or not: the line that it begins with has no end yet.
    pub fn keep(&mut self, arrived: &mut Arrived<'_>, pieces: &mut Pieces, gathered: bool) {
        let gather = match std::mem::take(pieces) {
            Pieces::Line(gather) if gathered => gather,
            _ => {
                let bytes = std::mem::take(&mut arrived.rest);
                let mut gather = self.pool.gather(bytes.len());
                gather.extend(bytes);
                gather
            }
        };
        self.links[arrived.link].arriving = Arriving::Line(gather);
    }

    /// Takes the answer that a chunk begins with, whose line is so long, for one to the link's oldest leg.
    #[inline]
    pub fn accept<'h>(
        &mut self,
        arrived: &mut Arrived<'_>,
        chunk: &Chunk<'h>,
        line_len: usize,
        response: &Response<'_>,
        item_bytes_max: usize,
    ) -> Result<Said<'h>, Fault> {
        let link = &mut self.links[arrived.link];
        if !link.is_answer(response) {
            return Err(misfit(link, response));
        }
        let bytes = chunk.bytes;
        let Some(value_len) = response.value_len else {
            arrived.used(chunk, line_len);
            return match link.is_item(response) {
                true => Ok(Said::Value {
                    part: take_value(link, response)?,
                    bytes: &bytes[..line_len],
                    at: None,
                    slice: None,
                }),
                false => Ok(Said::Line),
            };
        };
        let total = line_len + value_len + LINE_END.len();
        let is_count = link.is_count();
        if value_len > item_bytes_max && !is_count {
            let part = take_value(link, response)?;
            arrived.skip(link, chunk, total);
            return Ok(Said::Oversized(part));
        }
        if let Some(whole) = bytes.get(..total) {
            arrived.used(chunk, total);
            if !whole.ends_with(LINE_END) {
                return Err(Fault::Garbage);
            }
            if is_count {
                return Ok(Said::Counted(&whole[line_len..]));
            }
            let mut part = take_value(link, response)?;
            let end = arrived.len - arrived.rest.len();
            part.is_last |= arrived.takes_end(&part);
            return Ok(Said::Value {
                part,
                bytes: whole,
                at: (!chunk.gathered).then(|| end - total),
                slice: chunk.slice,
            });
        }
        let mut gather = self.pool.gather(total);
        gather.extend(bytes);
        link.arriving = Arriving::Value {
            missing: total - gather.len(),
            gather,
        };
        arrived.used(chunk, bytes.len());
        Ok(Said::Nothing)
    }

    /// Takes the oldest leg, whose answer is complete, off its link.
    pub fn take_oldest(&mut self, index: usize) -> Option<Leg> {
        self.links[index].take_oldest()
    }

    /// Notes how long a server has taken to answer a part of a client's request.
    #[inline]
    pub fn note_answer(&mut self, server: usize, leg: &Leg, now: Time) {
        self.peers[server].answered.note(leg.took_us(now).into());
    }

    /// The same of one that was given up since; but what is heard out says how long it hung.
    pub fn note_late_answer(&mut self, link: usize, leg: &Leg, now: Time) {
        let Link { used_for, server, .. } = self.links[link];
        if used_for == Use::Requests {
            self.note_answer(server, leg, now);
        }
    }

    /// Notes that all of it has been used. A server that answers is not silent, however long its queue. But lines of `stats`
    /// could come for ever: all of them have the time that an answer has.
    pub fn used(&mut self, arrived: &Arrived<'_>, now_ms: u64, legs_kept: usize) {
        let link = &mut self.links[arrived.link];
        let peer = &mut self.peers[link.server];
        // What is heard out says how long it hung.
        if link.used_for == Use::Requests {
            if let Some(sent_ms) = link.take_answered_sent_ms() {
                peer.answer_times.note(now_ms.saturating_sub(sent_ms));
            }
        }
        link.give_back_room(legs_kept);
        let oldest = link.pending.front().map(|leg| (leg.end, leg.purpose));
        let goes_on = matches!(oldest, Some((end, Purpose::Probe | Purpose::Survey)) if end == arrived.oldest_end);
        if !goes_on {
            link.progressed(now_ms);
        }
    }

    /// Adds bytes to what has arrived before. What is whole with them, or a line that may be, is the next chunk.
    fn gather<'h, 'a: 'h>(&mut self, arrived: &mut Arrived<'a>, pieces: &'h mut Pieces) -> Option<Chunk<'h>> {
        let link = &mut self.links[arrived.link];
        match std::mem::take(&mut link.arriving) {
            Arriving::Nothing => arrived.chunk(),
            Arriving::Line(mut gather) => {
                let line_end = find_newline(arrived.rest).map_or(arrived.rest.len(), |newline| newline + 1);
                let (part, rest) = arrived.rest.split_at(line_end);
                gather.extend(part);
                arrived.rest = rest;
                *pieces = Pieces::Line(gather);
                pieces.chunk()
            }
            Arriving::Value { mut gather, missing } => {
                let (part, rest) = arrived.rest.split_at(missing.min(arrived.rest.len()));
                gather.extend(part);
                arrived.rest = rest;
                let missing = missing - part.len();
                if missing > 0 {
                    link.arriving = Arriving::Value { gather, missing };
                    return None;
                }
                *pieces = Pieces::Value(gather.freeze());
                pieces.chunk()
            }
            Arriving::Oversized { missing } => {
                let skipped = missing.min(arrived.rest.len());
                arrived.rest = &arrived.rest[skipped..];
                if skipped < missing {
                    let missing = missing - skipped;
                    link.arriving = Arriving::Oversized { missing };
                }
                arrived.chunk()
            }
        }
    }
}

impl<'a> Arrived<'a> {
    fn chunk(&self) -> Option<Chunk<'a>> {
        (!self.rest.is_empty()).then_some(Chunk {
            bytes: self.rest,
            gathered: false,
            slice: None,
        })
    }

    /// So many bytes of a chunk have been used; what was put together is no part of what was read.
    fn used(&mut self, chunk: &Chunk<'_>, len: usize) {
        if !chunk.gathered {
            self.rest = &self.rest[len..];
        }
    }

    /// Throws so many bytes away, those of the chunk and the others when they come.
    fn skip<N: Net>(&mut self, link: &mut Link<N>, chunk: &Chunk<'_>, len: usize) {
        let skipped = len.min(chunk.bytes.len());
        if skipped < len {
            let missing = len - skipped;
            link.arriving = Arriving::Oversized { missing };
        }
        self.used(chunk, skipped);
    }

    /// Takes the end of a retrieval's answer with a value of it, if it is there: so it mostly is with the last one, and is not parsed for itself.
    #[inline]
    fn takes_end(&mut self, part: &Part) -> bool {
        let may_end = matches!(part.purpose, Purpose::Read(_)) && !part.is_last;
        match self.rest.strip_prefix(END).filter(|_| may_end) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

impl Pieces {
    fn chunk(&self) -> Option<Chunk<'_>> {
        let (bytes, slice) = match self {
            Pieces::None => return None,
            Pieces::Line(gather) => (gather.bytes(), None),
            Pieces::Value(slice) => (slice.bytes(), Some(slice)),
        };
        Some(Chunk {
            bytes,
            gathered: true,
            slice,
        })
    }
}

/// Gives the oldest leg of a link an item, if that is of a key which it asked for. The leg stays on the link, for more may come
/// to it; only a meta item is a whole answer for itself.
fn take_value<N: Net>(link: &mut Link<N>, response: &Response<'_>) -> Result<Part, Fault> {
    let leg = link.pending.front_mut().ok_or(Garbage)?;
    let Some(mut part) = leg.take_value(response.key) else {
        return Err(misfit(link, response));
    };
    part.is_last = response.status != Status::Value;
    Ok(part)
}

/// What is wrong with an answer that is none to the oldest question.
fn misfit<N: Net>(link: &Link<N>, response: &Response<'_>) -> Fault {
    let said = shown(response.line);
    Fault::Misfit(match link.pending.front() {
        Some(leg) => format!("it answered {said:?} to {:?}", shown(leg.sent.piece.bytes())),
        None => format!("it said {said:?}, and had not been asked anything"),
    })
}
