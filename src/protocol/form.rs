//! How what is said to a request is written: replies and items to bytes.
//!
//! A reply may repeat parts of its request, be silent where it was asked quietly, end or not behind an item, and make another question of
//! the answer to the first. All that is
//! taken over from the request into its form, which waits with the reply's place in the client's queue; no other room looks
//! into it.

use super::LINE_END;
use super::binary::reply::Packet;
use super::meta::reply::Meta;
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::Request;
use super::server::answer::Response;
use super::text::reply;

/// The length of a request, as far as the value behind it, how it is replied to, and what it asks for or why it is refused.
pub type Parsed<'a> = (usize, Form, Result<Request<'a>, Refusal>);

/// How the reply to a request is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As to a command of the text protocol.
    #[default]
    Text,
    /// As to a packet of the binary protocol.
    Binary(Packet),
    /// As to a meta command.
    Meta(Meta),
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
            Form::Meta(meta) => meta.reply(reply, &mut add),
            Form::Silent => {}
        }
    }

    /// Adds one of the lines that `stats` is answered by. After the last comes a reply of [`Status::End`](super::reply::Status).
    pub fn statistic(&self, lines: &mut Vec<u8>, name: &str, value: &str) {
        match self {
            Form::Text => reply::add_statistic(lines, name, value),
            Form::Binary(packet) => packet.statistic(lines, name, value),
            Form::Meta(_) | Form::Silent => {}
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
            Form::Meta(meta) => Some(meta.item(item, unique, data)),
            Form::Silent => None,
        }
    }

    /// Whether something may have to be asked when the answer has come: what its client asks behind it waits until then.
    #[inline]
    pub fn may_go_on(&self) -> bool {
        match self {
            Form::Binary(packet) => packet.may_go_on(),
            Form::Meta(meta) => meta.may_go_on(),
            Form::Text | Form::Silent => false,
        }
    }

    /// Whether what is read for it is a look of magent's own at the item.
    #[inline]
    pub fn only_looks(&self) -> bool {
        matches!(self, Form::Meta(meta) if meta.only_looks())
    }

    /// Whether the value of what stores one is behind it: who removes a value stores an empty one.
    #[inline]
    pub fn has_value_behind(&self) -> bool {
        match self {
            Form::Meta(meta) => meta.has_value_behind(),
            Form::Text | Form::Binary(_) | Form::Silent => true,
        }
    }

    /// Whether the value that a request stores may have to be stored again, so that it is kept.
    #[inline]
    pub fn keeps_value(&self) -> bool {
        matches!(self, Form::Meta(meta) if meta.keeps_value())
    }

    /// Whether an item goes that was to be replaced by what is too large, whatever was to be done with it: not only by a set.
    #[inline]
    pub fn always_makes_room(&self) -> bool {
        matches!(self, Form::Meta(_))
    }

    /// What is to be asked next for the same request, where this is what was said so far; None if that is the reply.
    #[inline]
    pub fn follow(&mut self, said: &Reply) -> Option<Request<'_>> {
        match self {
            Form::Binary(packet) => packet.follow(said.status),
            Form::Meta(meta) => meta.follow(said),
            Form::Text | Form::Silent => None,
        }
    }
}
