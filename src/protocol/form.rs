//! How what is said to a request is written: replies and items to bytes.
//!
//! A reply may repeat parts of its request, be silent where it was asked quietly, end or not behind an item, and make another question of
//! the answer to the first. All that is
//! taken over from the request into its form, which waits with the reply's place in the client's queue; no other room looks
//! into it.

use super::LINE_END;
use super::binary::reply::Packet;
use super::reply::{Reply, Status};
use super::request::Request;
use super::server::answer::Response;
use super::text::reply;

/// How the reply to a request is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As to a command of the text protocol.
    #[default]
    Text,
    /// As to a packet of the binary protocol.
    Binary(Packet),
    /// Not at all: noreply.
    Silent,
}

impl Form {
    /// Writes a reply, or what ends one that consists of items, piece by piece.
    #[inline]
    pub fn reply(&self, reply: &Reply, mut add: impl FnMut(&[u8])) {
        match self {
            Form::Text => reply::encode(reply, add),
            Form::Binary(packet) => packet.reply(reply, &mut add),
            Form::Silent => {}
        }
    }

    /// Adds one of the lines that `stats` is answered by. After the last comes a reply of [`Status::End`](super::reply::Status).
    pub fn statistic(&self, lines: &mut Vec<u8>, name: &str, value: &str) {
        match self {
            Form::Text => reply::add_statistic(lines, name, value),
            Form::Binary(packet) => packet.statistic(lines, name, value),
            Form::Silent => {}
        }
    }

    /// Whether nothing is ever written, whatever is said.
    #[inline]
    pub fn is_silent(&self) -> bool {
        *self == Form::Silent
    }

    /// A reply as it is written.
    pub fn written(&self, reply: &Reply) -> Vec<u8> {
        let mut written = Vec::new();
        self.reply(reply, |part| written.extend_from_slice(part));
        written
    }

    /// An item as it is written: what comes in front of its value, and the part of `data` that follows. None where that is
    /// what the server has written. `data` is the value with its line end; empty if none was asked for.
    #[inline]
    pub fn item<'a>(
        &mut self,
        item: &Response<'_>,
        unique: Option<u64>,
        data: &'a [u8],
        verbatim: bool,
    ) -> Option<(Vec<u8>, &'a [u8])> {
        match self {
            Form::Text if unique == item.unique && verbatim => None,
            Form::Text => Some((reply::value_line(item, unique, data.len() - LINE_END.len()), data)),
            Form::Binary(packet) => Some(packet.item(item, unique, data)),
            Form::Silent => None,
        }
    }

    /// Whether something may have to be asked when the answer has come: what its client asks behind it waits until then.
    #[inline]
    pub fn may_go_on(&self) -> bool {
        matches!(self, Form::Binary(packet) if packet.may_go_on())
    }

    /// What is to be asked next for the same request, where this is what was said so far; None if that is the reply.
    #[inline]
    pub fn follow(&mut self, said: Status) -> Option<Request<'_>> {
        match self {
            Form::Binary(packet) => packet.follow(said),
            Form::Text | Form::Silent => None,
        }
    }
}
