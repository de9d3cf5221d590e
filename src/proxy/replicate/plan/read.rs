//! What is known of a retrieval.

use crate::buffer::Slice;
use crate::protocol::keys::KeyList;
use crate::protocol::reply::Reply;
use crate::protocol::request::Manner;
use crate::protocol::server::key_list_bytes_max;
use crate::protocol::verb::Verb;
use crate::proxy::replicate::gate::Gate;
use crate::proxy::replicate::merge::Merge;
use crate::proxy::replicate::reading::Reading;
use crate::proxy::upstream::link::{Ask, Leg, Part};

pub struct Read {
    pub manner: Manner,
    pub keys: usize,
    pub hits: usize,
    /// Times that servers were asked for what was not there.
    pub again: u8,
    /// Of a gat: some server has done its part of it.
    pub touched: bool,
    /// It found all that it asked for there.
    pub touched_all: bool,
    /// The slots of the keys of all legs of this portion, leg by leg; see `merge`.
    pub slots: Vec<u16>,
    /// The values that have to wait for others.
    pub merge: Option<Box<Merge>>,
    /// Keys that the server asked first turned out not to have while its answer came, until that answer is complete.
    pub missed: Option<Box<Wanted>>,
    /// What the client is told in place of END.
    pub failure: Option<&'static Reply>,
    /// Keys that have not been asked for.
    pub rest: Option<Slice>,
    /// Keys of the portion that was asked for last.
    pub portion: usize,
    /// It is among those that wait for a server.
    pub queued: bool,
    /// It has waited, and may be asked for before those that still wait.
    pub has_turn: bool,
    /// It waits for the gate of the next key.
    pub at_gate: bool,
    /// What of its client's must not overtake it: what changes its keys, and while some are not asked for, anything.
    pub reading: Option<Reading>,
    pub unasked: Option<Reading>,
}

/// Why no more keys can be asked for now.
pub enum Hindrance {
    /// It is this server's turn to send other large values.
    Server(usize),
    /// Somebody has the next key alone.
    Gate,
}

/// Keys to ask for elsewhere, and their slots.
#[derive(Default)]
pub struct Wanted {
    pub keys: KeyList,
    pub slots: Vec<u16>,
}

/// The request to one server, while a retrieval is being split.
#[derive(Default)]
pub struct Share {
    pub server: usize,
    pub ask: Option<Ask>,
    pub keys: KeyList,
    pub slots: Vec<u16>,
}

impl Read {
    /// Whether it also sets the exptime.
    pub fn touches(&self) -> bool {
        self.manner.verb.is_get_and_touch()
    }

    /// Lets what its client asked later go on.
    pub fn discount(&mut self, gate: &mut Gate) {
        for reading in [self.reading.take(), self.unasked.take()].into_iter().flatten() {
            gate.has_read(reading);
        }
    }

    /// Keys that a leg asked for before the value that came now have not come.
    pub fn miss_before(&mut self, leg: &Leg, part: &Part) {
        let missed = self.missed.get_or_insert_default();
        for (key, slot) in leg.skipped_before(part) {
            missed.keys.push(key);
            missed.slots.extend(self.slots.get(slot));
        }
    }

    /// How often it is counted as what must not be overtaken.
    pub fn readings(&self) -> usize {
        usize::from(self.reading.is_some()) + usize::from(self.unasked.is_some())
    }

    /// Bytes of values that wait for others.
    pub fn kept_bytes(&self) -> usize {
        self.merge.as_ref().map_or(0, |merge| merge.bytes())
    }
}

impl Wanted {
    pub fn add(&mut self, other: Wanted) {
        self.keys.extend(other.keys.keys());
        self.slots.extend_from_slice(&other.slots);
    }
}

/// The keys of a leg for which no value has come and none can come before another's.
pub fn unanswered(leg: &Leg, slots: &[u16]) -> Wanted {
    let mut keys = KeyList::default();
    if leg.keys > 1 {
        let (start, end) = (
            leg.slots_start + leg.passed as usize,
            leg.slots_start + leg.keys as usize,
        );
        keys.extend(leg.keys_left());
        return Wanted {
            keys,
            slots: slots.get(start..end).unwrap_or(&[]).to_vec(),
        };
    }
    if leg.hits > 0 {
        return Wanted::default();
    }
    keys.push(leg.sent.key());
    Wanted {
        keys,
        slots: vec![slots.get(leg.slots_start).copied().unwrap_or(0)],
    }
}

/// Adds a key to the share of its server and reason, which is begun if it is the first.
pub fn add_to_share(
    shares: &mut Vec<Share>,
    used: &mut usize,
    (server, ask): (usize, Ask),
    verb: Verb,
    key: &[u8],
    slot: u16,
) {
    // A server closes the connection on which a long gat is not there in one piece.
    let len_max = key_list_bytes_max(verb);
    let same = |share: &Share| {
        let has_room = share.keys.len() + 1 + key.len() <= len_max;
        has_room && share.server == server && share.ask == Some(ask)
    };
    let at = shares[..*used].iter().position(same).unwrap_or_else(|| {
        if *used == shares.len() {
            shares.push(Share::default());
        }
        let share = &mut shares[*used];
        (share.server, share.ask) = (server, Some(ask));
        share.slots.clear();
        share.keys.clear();
        *used += 1;
        *used - 1
    });
    let share = &mut shares[at];
    share.keys.push(key);
    share.slots.push(slot);
}
