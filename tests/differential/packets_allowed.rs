//! What [`Allowed`] means of a stream of the binary protocol: what the bare memcached is sent, packet by packet.

use super::allowed::{Allowed, Candidate};
use super::asked::{Asked, LAST_OPAQUE};
use super::packets::{HEADER_BYTES, Parts, REPLY, STAT, is_whole, noop, refusal, split_packets};
use super::stream::{Stream, needs_replies};
use super::world::{End, Truth};
use magent::protocol::name::{self, Room};

const INVALID: (u8, &str) = (4, "Invalid arguments");
const NOT_FOUND: (u8, &str) = (1, "Not found");
const UNKNOWN: (u8, &str) = (0x81, "Unknown command");
const TOO_LARGE: (u8, &str) = (3, "Too large.");
/// Cuts of a stream that are tried.
const CUTS_MAX: usize = 80;

/// A packet in place of another, what is said to it, and what magent says to the other.
type Instead = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// None: the packet stays as it is.
type Edit = fn(&[u8], &Parts) -> Option<Instead>;

/// What magent does otherwise, and the packet that makes memcached do that.
const EDITS: [(Allowed, Edit); 4] = [
    (Allowed::KnownFault, without_known_fault),
    (Allowed::UnknownWithKey, without_key_of_unknown),
    (Allowed::NoNameForKey, without_long_name),
    (Allowed::NoUniqueOfCount, without_unique_of_count),
];

pub fn candidates(stream: &Stream) -> Vec<Candidate> {
    let packets = stream.units();
    let plain = packets.iter().map(|packet| (packet.clone(), Vec::new()));
    let mut bases: Vec<(Allowed, Vec<Instead>)> = vec![(Allowed::AsWithoutPipelining, plain.collect())];
    for (allowed, edit) in EDITS {
        let (_, before) = bases.last().expect("the first");
        let edited = |(packet, replies): &Instead| {
            let instead = Parts::of(packet).and_then(|parts| edit(packet, &parts));
            instead.unwrap_or_else(|| (packet.clone(), replies.clone()))
        };
        let after: Vec<Instead> = before.iter().map(edited).collect();
        if after != *before {
            bases.push((allowed, after));
        }
    }
    let mut candidates = Vec::new();
    for (allowed, packets) in bases {
        let candidate = |allowed, count, closes| {
            let (packets, replies): (_, Vec<_>) = packets[..count].iter().cloned().unzip();
            Candidate {
                allowed,
                stream: Stream(packets),
                closes,
                replies: replies.concat(),
            }
        };
        let whole = candidate(allowed, packets.len(), None);
        candidates.extend(completed(&whole));
        candidates.extend(joined(&whole));
        candidates.push(whole);
        let cuts = packets.iter().enumerate();
        let cuts = cuts.filter_map(|(n, (packet, _))| Some((n, closes(packet)?)));
        for (n, (allowed, words)) in cuts.take(CUTS_MAX) {
            candidates.push(candidate(allowed, n, Some(words)));
        }
    }
    candidates
}

/// The same at once: so memcached may leave a number without blanks.
fn joined(whole: &Candidate) -> Option<Candidate> {
    let bytes = whole.stream.bytes();
    (!needs_replies(&bytes)).then_some(Candidate {
        stream: Stream(vec![bytes]),
        closes: None,
        replies: whole.replies.clone(),
        ..*whole
    })
}

/// The same where what is sent behind the stream makes its last packet whole, and comes to an end in the middle of what is sent:
/// which closes the connection, and nothing is lost if it comes by itself.
fn completed(whole: &Candidate) -> Option<Candidate> {
    const LAST_MAX: usize = 533;
    let (last, before) = whole.stream.0.split_last()?;
    let more = Asked::of(&whole.stream).last();
    let bytes = [&last[..], &more.repeat(LAST_MAX)].concat();
    let len = split_packets(&bytes).first().map_or(0, Vec::len);
    let behind = (len.checked_sub(last.len())?).next_multiple_of(more.len()) + last.len();
    let pieces = [&bytes[..len], bytes.get(len..behind)?].map(<[u8]>::to_vec);
    let stream = Stream([before, &pieces].concat());
    (len > last.len()).then_some(Candidate {
        stream,
        closes: None,
        replies: whole.replies.clone(),
        ..*whole
    })
}

/// Faults of magent's, until they are none: to be deleted one by one.
fn without_known_fault(_: &[u8], parts: &Parts) -> Option<Instead> {
    let key = parts.key().filter(|_| parts.opcode == STAT && parts.extras_len == 0)?;
    // A stat of nothing but blanks is a stat of all: Not found.
    let is_blank = !key.is_empty() && key.iter().all(|&byte| byte == b' ');
    let mut all = noop(parts.opaque);
    all[1] = STAT;
    is_blank.then_some((all, Vec::new()))
}

/// A noop in its place, to see where the refusal stands.
fn refused(parts: &Parts) -> Instead {
    let packet = noop(parts.opaque);
    let mut said = packet.clone();
    said[0] = REPLY;
    let (status, words) = INVALID;
    (packet, vec![(said, refusal(parts.opcode, parts.opaque, status, words))])
}

/// Bytes of the extras of an operation with a key; None: it is another.
fn extras_len(opcode: u8) -> Option<usize> {
    match opcode {
        0x00 | 0x04 | 0x09 | 0x0c..=0x0f | 0x14 | 0x19 | 0x1a => Some(0),
        0x01..=0x03 | 0x11..=0x13 => Some(8),
        0x05 | 0x06 | 0x15 | 0x16 => Some(20),
        0x1c..=0x1e | 0x23 | 0x24 => Some(4),
        _ => None,
    }
}

/// Whether it has the lengths that its operation wants.
fn is_sound(parts: &Parts) -> bool {
    let may_have_value = matches!(parts.opcode, 0x01..=0x03 | 0x11..=0x13 | 0x0e | 0x0f | 0x19 | 0x1a);
    let head = parts.extras_len + parts.key_len;
    let is_as_long = if may_have_value {
        parts.body_len >= head
    } else {
        parts.body_len == head
    };
    extras_len(parts.opcode) == Some(parts.extras_len) && parts.key_len > 0 && parts.key_len <= 250 && is_as_long
}

fn without_key_of_unknown(packet: &[u8], parts: &Parts) -> Option<Instead> {
    let is_known = (extras_len(parts.opcode).is_some() || matches!(parts.opcode, 0x07 | 0x08 | 0x0a | 0x0b | 0x10))
        || matches!(parts.opcode, 0x17 | 0x18 | 0x20..=0x22);
    let has_head = parts.key_len + parts.extras_len > 0 && parts.key_len <= 250;
    let is_there = parts.key_len + parts.extras_len <= parts.body_len && parts.body_len <= 1 << 30;
    let mut bare = packet[..packet.len() - parts.body.len()].to_vec();
    bare[2..5].fill(0);
    bare[8..12].fill(0);
    (!is_known && has_head && is_there).then_some((bare, Vec::new()))
}

/// A key that a text command cannot name, and whose name would be too long.
fn without_long_name(_: &[u8], parts: &Parts) -> Option<Instead> {
    let has_name = name::of(parts.key()?, &mut Room::default()).is_some();
    (is_sound(parts) && !has_name).then(|| refused(parts))
}

/// An append or a count that is to be done to the item of one unique.
fn without_unique_of_count(_: &[u8], parts: &Parts) -> Option<Instead> {
    let is_meant = matches!(parts.opcode, 0x05 | 0x06 | 0x0e | 0x0f | 0x15 | 0x16 | 0x19 | 0x1a);
    (is_meant && parts.has_unique() && is_sound(parts)).then(|| refused(parts))
}

/// Whether a packet ends the conversation that does not with memcached, why, and after which words.
fn closes(packet: &[u8]) -> Option<(Allowed, Vec<Vec<u8>>)> {
    // What is sent behind the stream may be its end.
    let more = [packet, &noop(LAST_OPAQUE)].concat();
    let parts = &Parts::of(if packet.len() < HEADER_BYTES { &more } else { packet })?;
    let wanted = match parts.opcode {
        0x10 => Some(0),
        0x1c..=0x1e | 0x23 | 0x24 if parts.key_len > 0 => Some(4),
        _ => None,
    };
    let has_value = parts.body_len > parts.extras_len + parts.key_len && parts.body_len <= 1 << 30;
    let is_meant = wanted == Some(parts.extras_len) && has_value && parts.key_len <= 250;
    let said = |(status, words)| refusal(parts.opcode, parts.opaque, status, words);
    if is_meant {
        return Some((Allowed::ClosedBeforeValue, vec![said(INVALID)]));
    }
    // What its header shows, where memcached waits for its key, or closes the connection without a word if that is very long.
    let is_bad = parts.key_len > 250 || parts.extras_len + parts.key_len > parts.body_len;
    let is_early = is_bad || !is_whole(packet);
    // A known fault: what is Unknown command is Not found if it is a stat.
    if is_early && parts.opcode == STAT {
        return Some((Allowed::KnownFault, vec![said(INVALID), said(NOT_FOUND)]));
    }
    is_early.then(|| (Allowed::RefusedEarly, vec![said(INVALID), said(UNKNOWN)]))
}

/// What may be said to the packet at the end of a stream before all of it is there.
pub fn refused_early(stream: &Stream, asked: &Asked, truth: &Truth) -> Vec<(Allowed, Truth)> {
    let last = stream.units().pop().unwrap_or_default();
    // What is sent behind the stream may be its end.
    let last = [last, asked.last()].concat();
    let Some(parts) = Parts::of(&last) else {
        return Vec::new();
    };
    let mut outcomes = Vec::new();
    for (status, words) in [INVALID, UNKNOWN, TOO_LARGE] {
        let truth = truth.saying(&refusal(parts.opcode, parts.opaque, status, words));
        let closed = Truth {
            end: End::Closed,
            ..truth.clone()
        };
        outcomes.extend([(Allowed::RefusedEarly, truth), (Allowed::RefusedEarly, closed)]);
    }
    outcomes
}
