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
    /// Keys of this portion that two servers were asked for; see `hedge`.
    pub race: Option<Box<Race>>,
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
    pub elsewhere: Option<Reading>,
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

/// Keys that two servers were asked for, because the first let them wait. The value that comes first counts.
pub struct Race {
    /// What was asked since, and first, by server and where the request ends on its link.
    pub legs: Vec<(usize, u64)>,
    /// The slots of the keys that no value has come of, and of those that one has come of.
    open: Vec<u16>,
    won: Vec<u16>,
}

impl Race {
    pub fn new(first: (usize, u64), slots: &[u16]) -> Self {
        Self {
            legs: vec![first],
            open: slots.to_vec(),
            won: Vec::new(),
        }
    }

    /// A value came of the key of this slot. Returns whether it counts, and whether one has come of each key with it.
    fn take_value(&mut self, slot: u16) -> (bool, bool) {
        if let Some(at) = self.open.iter().position(|&open| open == slot) {
            self.won.push(self.open.swap_remove(at));
            return (true, self.open.is_empty());
        }
        (!self.won.contains(&slot), false)
    }

    /// What was asked for keys of these slots is a part of it, if all of them are.
    pub fn joins(&mut self, leg: (usize, u64), slots: &[u16]) {
        if slots
            .iter()
            .all(|slot| self.open.contains(slot) || self.won.contains(slot))
        {
            self.legs.push(leg);
        }
    }
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
        let readings = [self.reading.take(), self.unasked.take(), self.elsewhere.take()];
        for reading in readings.into_iter().flatten() {
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

    /// A value came of the key of this slot. Returns whether it counts, and whether it was the last one of a race.
    #[inline]
    pub fn take_value(&mut self, slot: u16) -> (bool, bool) {
        match &mut self.race {
            None => (true, false),
            Some(race) => race.take_value(slot),
        }
    }

    /// How often it is counted as what must not be overtaken.
    pub fn readings(&self) -> usize {
        let readings = [&self.reading, &self.unasked, &self.elsewhere];
        readings.into_iter().flatten().count()
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

#[cfg(test)]
mod tests {
    use super::Race;

    #[test]
    fn a_race_is_over_once_and_what_other_keys_were_asked_with_is_no_part_of_it() {
        let mut race = Race::new((0, 10), &[1, 2]);
        race.joins((1, 20), &[1, 2]);
        race.joins((2, 30), &[2, 3]);
        assert_eq!(race.legs, [(0, 10), (1, 20)]);
        assert_eq!(race.take_value(3), (true, false), "another key's");
        assert_eq!(race.take_value(2), (true, false));
        assert_eq!(race.take_value(2), (false, false), "the second value of a key");
        assert_eq!(race.take_value(1), (true, true));
        assert_eq!(race.take_value(4), (true, false), "what is over is not over again");
        race.joins((3, 40), &[1]);
        assert_eq!(race.legs.len(), 3);
    }
}
