//! Packets of the binary protocol as a stream has them, in which a unique may be a stand-in: where they end, what they are.

use super::stream::{expand, is_stand_in};
use std::fmt::Write;

pub const REQUEST: u8 = 0x80;
pub const REPLY: u8 = 0x81;
/// Bytes of a header without its unique, which is behind them.
const UNIQUE_AT: usize = 16;
const UNIQUE_BYTES: usize = 8;
pub const HEADER_BYTES: usize = UNIQUE_AT + UNIQUE_BYTES;

pub const STAT: u8 = 0x10;
pub const NOOP: u8 = 0x0a;

const NAMES: [&str; 37] = [
    "get",
    "set",
    "add",
    "replace",
    "delete",
    "increment",
    "decrement",
    "quit",
    "flush",
    "getq",
    "noop",
    "version",
    "getk",
    "getkq",
    "append",
    "prepend",
    "stat",
    "setq",
    "addq",
    "replaceq",
    "deleteq",
    "incrementq",
    "decrementq",
    "quitq",
    "flushq",
    "appendq",
    "prependq",
    "verbosity",
    "touch",
    "gat",
    "gatq",
    "0x1f",
    "sasl_mechanisms",
    "sasl_auth",
    "sasl_step",
    "gatk",
    "gatkq",
];

/// What stands in a header, and what is behind it as far as it is there.
pub struct Parts<'a> {
    pub opcode: u8,
    pub opaque: [u8; 4],
    /// As it is written: eight bytes, or a stand-in.
    pub unique: &'a [u8],
    pub key_len: usize,
    pub extras_len: usize,
    pub body_len: usize,
    /// Behind the header, stand-ins and all.
    pub body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// None if it does not begin with a whole header.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..UNIQUE_AT).filter(|header| header[0] == REQUEST)?;
        let behind = &bytes[UNIQUE_AT..];
        let (unique, body) = behind.split_at_checked(stand_in(behind).unwrap_or(UNIQUE_BYTES))?;
        Some(Self {
            opcode: header[1],
            opaque: [header[12], header[13], header[14], header[15]],
            unique,
            key_len: u16::from_be_bytes([header[2], header[3]]).into(),
            extras_len: header[4].into(),
            body_len: u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize,
            body,
        })
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        self.body.get(self.extras_len..self.extras_len + self.key_len)
    }

    pub fn extras(&self) -> Option<&'a [u8]> {
        self.body.get(..self.extras_len)
    }

    pub fn has_unique(&self) -> bool {
        self.unique.iter().any(|&byte| byte != 0)
    }
}

/// Whether an operation tells the unique of what it has stored.
pub fn stores(opcode: u8) -> bool {
    matches!(opcode, 0x01..=0x03 | 0x05 | 0x06 | 0x0e | 0x0f | 0x11..=0x13 | 0x15 | 0x16 | 0x19 | 0x1a)
}

/// Bytes of the stand-in that these begin with.
fn stand_in(bytes: &[u8]) -> Option<usize> {
    match is_stand_in(bytes) {
        true => Some(bytes.iter().position(|&byte| byte == b'>')? + 1),
        false => None,
    }
}

/// Bytes of a packet at the front of these, which may be more than there are; None if it has no header.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    let parts = Parts::of(bytes)?;
    let (mut left, mut body) = (parts.body_len.max(parts.extras_len + parts.key_len), parts.body);
    while left > 0 && !body.is_empty() {
        let len = stand_in(body).unwrap_or(1);
        let bytes = match len {
            1 => 1,
            _ => expand(&body[..len], |_, _| [0; UNIQUE_BYTES]).len(),
        };
        left = left.saturating_sub(bytes);
        body = &body[len..];
    }
    Some(bytes.len() - body.len() + left)
}

pub fn is_whole(packet: &[u8]) -> bool {
    packet_len(packet) == Some(packet.len())
}

/// A packet each, and what is behind the last of them.
pub fn split_packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let len = packet_len(rest).map_or(rest.len(), |len| len.min(rest.len()));
        packets.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    packets
}

/// The same packet with less in it: no unique, no flags and times, no value, another opaque.
pub fn plainer(packet: &[u8]) -> Vec<Vec<u8>> {
    let Some(parts) = Parts::of(packet).filter(|_| is_whole(packet)) else {
        return Vec::new();
    };
    let header = &packet[..UNIQUE_AT];
    let mut all = Vec::new();
    if parts.has_unique() {
        all.push([header, &[0; UNIQUE_BYTES], parts.body].concat());
    }
    let head_len = parts.extras_len + parts.key_len;
    let Some((head, value)) = parts.body.split_at_checked(head_len) else {
        return all;
    };
    let rest = &packet[UNIQUE_AT..packet.len() - parts.body.len()];
    for value in [
        &value[..0],
        &value[..value.len() / 2],
        &value[..value.len().saturating_sub(1)],
    ] {
        let body_len = (head_len + value.len()) as u32;
        if !value.contains(&b'<') && body_len < parts.body_len as u32 {
            all.push([&header[..8], &body_len.to_be_bytes(), &header[12..], rest, head, value].concat());
        }
    }
    let (extras, key) = head.split_at(parts.extras_len);
    all.push([header, rest, &vec![0; extras.len()], key, value].concat());
    let opaque = u32::from_be_bytes(parts.opaque);
    if opaque > u32::from(u16::MAX) {
        all.push([&header[..12], &[0, 0], &header[14..], rest, parts.body].concat());
    }
    all
}

/// A reply of this status that says these words.
pub fn refusal(opcode: u8, opaque: [u8; 4], status: u8, words: &str) -> Vec<u8> {
    let mut bytes = vec![REPLY, opcode, 0, 0, 0, 0, 0, status, 0, 0, 0, words.len() as u8];
    bytes.extend(opaque);
    bytes.extend([0; UNIQUE_BYTES]);
    bytes.extend(words.bytes());
    bytes
}

pub fn noop(opaque: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![REQUEST, NOOP];
    bytes.resize(12, 0);
    bytes.extend(opaque);
    bytes.resize(HEADER_BYTES, 0);
    bytes
}

/// What packets are, for who reads it.
pub fn described(bytes: &[u8]) -> String {
    let mut text = String::new();
    for packet in split_packets(bytes) {
        let Some(parts) = Parts::of(&packet) else {
            _ = write!(text, "; {} bytes", packet.len());
            continue;
        };
        match NAMES.get(usize::from(parts.opcode)) {
            Some(name) => _ = write!(text, "; {name}"),
            None => _ = write!(text, "; {:#x}", parts.opcode),
        }
        let behind = parts.body.get(parts.extras_len + parts.key_len..).unwrap_or(&[]);
        let shown = |bytes: &[u8]| {
            bytes[..bytes.len().min(40)]
                .escape_ascii()
                .to_string()
                .replace('"', "'")
        };
        for (name, bytes) in [
            ("extras", parts.extras().unwrap_or(&[])),
            ("key", parts.key().unwrap_or(&[])),
            ("value", behind),
            ("unique", if parts.has_unique() { parts.unique } else { b"" }),
        ] {
            if !bytes.is_empty() {
                _ = write!(text, " {name} {}", shown(bytes));
            }
        }
        if !is_whole(&packet) || parts.body_len < parts.extras_len + parts.key_len {
            let (extras, key, body) = (parts.extras_len, parts.key_len, parts.body_len);
            _ = write!(text, " (extras {extras} key {key} of {body} bytes)");
        }
    }
    text.trim_start_matches("; ").to_owned()
}
