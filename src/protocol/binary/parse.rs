//! The packets of clients.

use super::operation::Operation;
use super::reply::Packet;
use super::{HEADER_BYTES, NOT_TO_BE_MADE, REQUEST_MAGIC};
use crate::protocol::KEY_BYTES_MAX;
use crate::protocol::form::{Form, Parsed};
use crate::protocol::keys::Keys;
use crate::protocol::made::Made;
use crate::protocol::name::{self, Room};
use crate::protocol::refusal::{After, BAD_FORMAT, ERROR, Refusal};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Options, Request};
use crate::protocol::verb::Verb;

/// More than this no packet may have behind its header (`ITEM_SIZE_MAX_UPPER_LIMIT` of memcached).
const BODY_BYTES_MAX: usize = 1 << 30;

/// What stands in front of every packet.
struct Header {
    opcode: u8,
    key_len: usize,
    extras_len: usize,
    body_len: usize,
    opaque: [u8; 4],
    unique: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let &[
            _,
            opcode,
            k0,
            k1,
            extras,
            _,
            _,
            _,
            b0,
            b1,
            b2,
            b3,
            o0,
            o1,
            o2,
            o3,
            ref unique @ ..,
        ] = bytes;
        Some(Self {
            opcode,
            key_len: u16::from_be_bytes([k0, k1]).into(),
            extras_len: extras.into(),
            body_len: u32::from_be_bytes([b0, b1, b2, b3]) as usize,
            opaque: [o0, o1, o2, o3],
            unique: u64::from_be_bytes(*unique),
        })
    }

    /// Bytes of the packet as far as its value.
    fn head_len(&self) -> usize {
        HEADER_BYTES + self.extras_len + self.key_len
    }

    /// Bytes of its value.
    fn value_len(&self) -> usize {
        self.body_len - self.extras_len - self.key_len
    }

    /// What the packet stands for, or why it is none, told by its header alone.
    fn understand(&self) -> Result<Operation, (&'static Reply, After)> {
        if self.extras_len + self.key_len > self.body_len {
            return Err((ERROR, After::Close));
        }
        if self.body_len > BODY_BYTES_MAX || self.key_len > KEY_BYTES_MAX {
            return Err((BAD_FORMAT, After::Close));
        }
        match Operation::of(self.opcode) {
            None => Err((ERROR, After::Swallow(self.body_len))),
            Some((operation, _)) if !operation.takes(self.extras_len, self.key_len, self.body_len) => {
                Err((BAD_FORMAT, After::Close))
            }
            // As from a memcached without SASL.
            Some((Operation::SaslMechanisms | Operation::Sasl, _)) => Err((ERROR, After::Swallow(self.body_len))),
            Some((operation, _)) => Ok(operation),
        }
    }
}

/// Whether the packet at the front of `bytes` is there, as far as its value, or whether it is seen already that it is none.
pub fn is_whole(bytes: &[u8]) -> bool {
    match Header::read(bytes) {
        None => bytes.first().is_some_and(|&magic| magic != REQUEST_MAGIC),
        Some(header) => bytes[0] != REQUEST_MAGIC || header.understand().is_err() || bytes.len() >= header.head_len(),
    }
}

/// Reads the packet at the front of `bytes`, as far as its value. None if more has to come.
#[inline(never)]
pub fn parse<'a>(bytes: &'a [u8], room: &'a mut Room) -> Option<Parsed<'a>> {
    if *bytes.first()? != REQUEST_MAGIC {
        return Some((1, Form::Silent, Err(Refusal::hang_up())));
    }
    let header = Header::read(bytes)?;
    let packet = Packet::new(header.opcode, header.opaque);
    let refused = |packet, len, reply, after| {
        let noreply = false;
        Some((len, Form::Binary(packet), Err(Refusal { reply, noreply, after })))
    };
    let operation = match header.understand() {
        Ok(operation) => operation,
        Err((reply, after)) => return refused(packet, HEADER_BYTES, reply, after),
    };
    let head = bytes.get(..header.head_len())?;
    let (extras, key) = head[HEADER_BYTES..].split_at(header.extras_len);
    let name = match operation {
        Operation::Append | Operation::Prepend | Operation::Increment | Operation::Decrement if header.unique > 0 => {
            None
        }
        Operation::Stat => Some(key),
        _ if key.is_empty() => Some(key),
        _ => name::of(key, room),
    };
    let Some(name) = name else {
        return refused(packet, head.len(), BAD_FORMAT, After::Swallow(header.value_len()));
    };
    let packet = match operation {
        Operation::Increment | Operation::Decrement => packet.making(initial(operation, name, extras)),
        _ if operation.tells_key() => packet.telling(key),
        _ => packet,
    };
    Some((
        head.len(),
        Form::Binary(packet),
        Ok(request(operation, &header, extras, name)),
    ))
}

fn request<'a>(operation: Operation, header: &Header, extras: &[u8], key: &'a [u8]) -> Request<'a> {
    let verb = verb_of(operation, header.unique > 0);
    let request = Request::new(verb, key);
    match verb {
        Verb::Gets => Request {
            keys: Keys::of(key),
            ..request
        },
        Verb::Gats => Request {
            keys: Keys::of(key),
            exptime: exptime(number_32(extras, 0)),
            ..request
        },
        Verb::Incr | Verb::Decr => Request {
            number: number_64(extras, 0),
            options: Options::UNIQUE,
            ..request
        },
        Verb::MetaDelete => Request {
            number: header.unique,
            ..request
        },
        Verb::FlushAll => Request {
            exptime: match extras {
                [] => -1,
                _ => number_32(extras, 0).min(i32::MAX as u32).into(),
            },
            ..request
        },
        Verb::Stats => Request {
            key: Keys::of(key).next().unwrap_or(&[]),
            keys: Keys::of(key),
            ..request
        },
        verb if verb.is_storage() => Request {
            // Of an append they are 0: it has no extras.
            flags: number_32(extras, 0),
            exptime: exptime(number_32(extras, 4)),
            value_len: header.value_len(),
            number: header.unique,
            options: Options::UNIQUE,
            ..request
        },
        _ => request,
    }
}

/// What an operation is in no protocol's words; `of_unique`: it is to be done to the item of one unique.
fn verb_of(operation: Operation, of_unique: bool) -> Verb {
    match operation {
        Operation::Get | Operation::GetKey => Verb::Gets,
        Operation::Touch | Operation::GetAndTouch | Operation::GetAndTouchKey => Verb::Gats,
        Operation::Set | Operation::Add | Operation::Replace if of_unique => Verb::Cas,
        Operation::Set => Verb::Set,
        Operation::Add => Verb::Add,
        Operation::Replace => Verb::Replace,
        Operation::Append => Verb::Append,
        Operation::Prepend => Verb::Prepend,
        Operation::Increment => Verb::Incr,
        Operation::Decrement => Verb::Decr,
        Operation::Delete if of_unique => Verb::MetaDelete,
        Operation::Delete => Verb::Delete,
        Operation::Flush => Verb::FlushAll,
        Operation::Version => Verb::Version,
        Operation::Stat => Verb::Stats,
        Operation::Noop | Operation::SaslMechanisms | Operation::Sasl => Verb::Noop,
        Operation::Quit => Verb::Quit,
    }
}

/// What a count makes where there is no item.
fn initial(operation: Operation, key: &[u8], extras: &[u8]) -> Option<Made> {
    let made_for = number_32(extras, 16);
    let numbers = (number_64(extras, 0), number_64(extras, 8));
    let verb = verb_of(operation, false);
    (made_for != NOT_TO_BE_MADE).then(|| Made::count(verb, key, numbers, exptime(made_for), Options::UNIQUE))
}

/// memcached takes an exptime of this protocol for a number without a sign, and one that is not for a text command is a date after
/// 2038, further on than its clock goes there: never.
fn exptime(seconds: u32) -> i64 {
    i32::try_from(seconds).map_or(0, i64::from)
}

/// The number at this place of a packet's extras, whose length has been looked at.
fn number_32(extras: &[u8], at: usize) -> u32 {
    let bytes = extras.get(at..).and_then(|extras| extras.first_chunk());
    u32::from_be_bytes(*bytes.unwrap_or(&[0; 4]))
}

/// The same of 64 bits.
fn number_64(extras: &[u8], at: usize) -> u64 {
    let bytes = extras.get(at..).and_then(|extras| extras.first_chunk());
    u64::from_be_bytes(*bytes.unwrap_or(&[0; 8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
        let body_len = (extras.len() + key.len() + value.len()) as u32;
        let mut bytes = vec![REQUEST_MAGIC, opcode];
        bytes.extend((key.len() as u16).to_be_bytes());
        bytes.extend([extras.len() as u8, 0, 0, 0]);
        bytes.extend(body_len.to_be_bytes());
        bytes.extend([0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0, 0, 0, 0, 0]);
        [&bytes[..], extras, key, value].concat()
    }

    /// It is there, as far as its value, from one byte on, and the same however much is behind it.
    #[test]
    fn a_packet_is_the_same_however_it_is_cut() {
        let count = [&[0; 7][..], &[5], &[0; 7], &[9], &[0; 4]].concat();
        for (bytes, needed) in [
            (packet(0x00, b"", b"key", b""), 27),
            (packet(0x11, &[0; 8], b"key", b"value"), 35),
            (packet(0x05, &count, b"key", b""), 47),
            (packet(0x1d, &[0; 4], b"key", b""), 31),
            (packet(0x0a, b"", b"", b""), 24),
            (packet(0x10, b"", b"items", b""), 29),
            // What is refused by its header alone, and by its key.
            (packet(0x33, b"", b"key", b"value"), 24),
            (packet(0x00, &[0; 4], b"key", b""), 24),
            (packet(0x00, b"", &[b'k'; 251], b""), 24),
            (packet(0x00, b"", b"a b", b""), 27),
            (b"get key\r\n".to_vec(), 1),
        ] {
            let (mut room, mut other) = (Room::default(), Room::default());
            let whole = parse(&bytes, &mut room).expect("a packet");
            for cut in 0..bytes.len() {
                let part = &bytes[..cut];
                let there = cut >= needed;
                let parsed = parse(part, &mut other);
                assert_eq!((parsed.is_some(), is_whole(part)), (there, there), "{cut} of {bytes:?}");
                assert!(!there || parsed.as_ref() == Some(&whole), "{cut} of {bytes:?}");
            }
        }
    }
}
