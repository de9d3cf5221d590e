//! What the ledger knows of one server.

use super::ack::Number;
use super::lacking::{Doubt, KeySet, Lack, Lacking, Range};
use super::missed::Missed;

/// Whether clients' requests may be sent to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Up,
    Away {
        /// It has run all that was delivered to it when it fell silent, as far as it has answered.
        drained: bool,
        /// What it held is lost: nobody waits for what it may tell.
        gone: bool,
    },
}

pub struct Account {
    pub(super) presence: Presence,
    /// Counts the times that it went away or turned out to be in a new life.
    pub(super) epoch: u32,
    /// It has returned since any write with a smaller number could be missed by it.
    pub(super) watermark: Number,
    /// It has said which life it is in, on the link that is open now.
    pub(super) is_confirmed: bool,
    /// It has returned so lately that others may still have something to remove from it.
    pub(super) is_settling: bool,
    pub(super) missed: Missed,
    /// How many writes it has missed, for `stats`.
    pub(super) misses: u64,
    /// A partner at most once.
    pub(super) lacks: Vec<Lack>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            presence: Presence::Up,
            epoch: 0,
            watermark: Number::default(),
            is_confirmed: false,
            is_settling: false,
            missed: Missed::Nothing,
            misses: 0,
            lacks: Vec::new(),
        }
    }
}

impl Account {
    pub fn is_up(&self) -> bool {
        self.presence == Presence::Up
    }

    pub(super) fn is_drained(&self) -> bool {
        matches!(self.presence, Presence::Away { drained: true, .. })
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.presence, Presence::Away { gone: true, .. })
    }

    pub fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    pub fn is_settling(&self) -> bool {
        self.is_settling
    }

    pub fn misses(&self) -> u64 {
        self.misses
    }

    /// Whether it has missed a flush_all: nothing of what it has stays when it returns.
    pub fn is_to_be_flushed(&self) -> bool {
        matches!(self.missed, Missed::Everything)
    }

    /// Whether it lacks nothing, and nobody has anything to remove from it.
    pub fn is_whole(&self) -> bool {
        self.lacks.is_empty() && !self.is_settling
    }

    /// Whether all that it lacked has been copied.
    pub fn lacks_nothing_more(&self) -> bool {
        self.lacks.iter().all(|lack| lack.what.is_over())
    }

    /// Whether its word is the truth, whatever the key and its partner.
    pub fn is_sound(&self) -> bool {
        self.is_up() && self.is_confirmed && self.is_whole()
    }

    /// Whether it may lack more than a few keys.
    pub fn lacks_more_than_keys(&self) -> bool {
        self.lacks.iter().any(|lack| !matches!(lack.what, Lacking::Keys(_)))
    }

    /// Whose items it lacks.
    pub fn lacks_of(&self) -> impl Iterator<Item = usize> {
        self.lacks.iter().map(|lack| lack.from)
    }

    /// Whether all that it has may be old, and is to be made what it is on a partner.
    pub fn is_suspect_of(&self, partner: usize) -> bool {
        let lack = self.lack(partner);
        lack.is_some_and(|lack| lack.what == Lacking::Suspect && matches!(lack.of, Range::All))
    }

    /// What it lacks, of each partner's.
    pub fn lacks(&self) -> impl Iterator<Item = &Lacking> {
        self.lacks.iter().map(|lack| &lack.what)
    }

    /// What it lacks of a partner's.
    pub fn lack(&self, partner: usize) -> Option<&Lack> {
        self.lacks.iter().find(|lack| lack.from == partner)
    }

    #[cfg(test)]
    pub fn lacking(&self, partner: usize) -> Option<&Lacking> {
        self.lack(partner).map(|lack| &lack.what)
    }

    fn lack_mut(&mut self, partner: usize) -> Option<&mut Lack> {
        self.lacks.iter_mut().find(|lack| lack.from == partner)
    }

    pub(super) fn doubt(&self) -> Doubt {
        match (self.is_confirmed, self.is_settling) {
            (false, _) => Doubt::Unconfirmed,
            (true, true) => Doubt::Settling,
            (true, false) => Doubt::None,
        }
    }

    /// One that is away already goes on being so.
    pub(super) fn goes_away(&mut self, drains: bool) {
        if self.is_up() {
            self.is_put_away();
            let (drained, gone) = (drains, false);
            self.presence = Presence::Away { drained, gone };
        }
        self.is_confirmed = false;
    }

    /// Nothing is asked of it any more, though it goes on answering what it was.
    pub(super) fn is_put_away(&mut self) {
        self.epoch += 1;
        let (drained, gone) = (false, false);
        self.presence = Presence::Away { drained, gone };
    }

    pub(super) fn will_not_drain(&mut self) {
        if let Presence::Away { drained, .. } = &mut self.presence {
            *drained = false;
        }
    }

    pub(super) fn is_known_to_be_gone(&mut self, is_gone: bool) {
        if let Presence::Away { gone, .. } = &mut self.presence {
            *gone = is_gone;
        }
    }

    pub(super) fn is_introduced(&mut self, anew: bool) {
        self.is_confirmed = true;
        self.is_known_to_be_gone(false);
        self.epoch += u32::from(anew);
    }

    pub(super) fn settled(&mut self) {
        self.is_settling = false;
        self.lacks.retain(|lack| !lack.what.is_over());
    }

    /// Notes that it lacks everything of a partner's, in this manner, of such keys, beside what it lacked before.
    pub(super) fn add_lack(&mut self, from: usize, what: Lacking, of: Range, bytes_max: usize) {
        if let Lacking::Keys(keys) = what {
            return keys.iter().for_each(|key| self.add_key_lacking(from, key, bytes_max));
        }
        match self.lack_mut(from) {
            None => self.lacks.push(Lack { from, what, of }),
            Some(known) => known.add(what, of),
        }
    }

    /// Notes that it lacks one key of a partner's.
    pub(super) fn add_key_lacking(&mut self, from: usize, key: &[u8], bytes_max: usize) {
        if self.lack(from).is_none() {
            let (what, of) = (Lacking::Keys(KeySet::default()), Range::All);
            self.lacks.push(Lack { from, what, of });
        }
        let Some(lack) = self.lack_mut(from) else {
            return;
        };
        if !lack.of.covers(key) {
            lack.of = Range::All;
        }
        match &mut lack.what {
            Lacking::Keys(keys) => {
                keys.insert(key.into());
                if keys.bytes() > bytes_max {
                    lack.what = Lacking::Everything;
                }
            }
            // One key more, in a server that may have too many as well: all of it anew.
            Lacking::Unverified { .. } => lack.what = Lacking::Everything,
            Lacking::Everything | Lacking::Suspect | Lacking::Unlistable => {}
        }
    }

    /// Notes that a partner has not got a key any more either.
    pub(super) fn lacks_no_more(&mut self, from: usize, key: &[u8]) {
        self.copied(from, key);
        if !self.is_settling {
            self.lacks.retain(|lack| !lack.what.is_over());
        }
    }

    pub(super) fn copied(&mut self, from: usize, key: &[u8]) {
        if let Some(Lacking::Keys(keys)) = self.lack_mut(from).map(|lack| &mut lack.what) {
            keys.remove(key);
        }
    }

    pub(super) fn filled(&mut self, from: usize, left: Lacking) {
        if let Some(lack) = self.lack_mut(from) {
            lack.what = left;
        }
    }

    pub(super) fn list_again(&mut self) {
        for lack in &mut self.lacks {
            if lack.what == Lacking::Unlistable {
                lack.what = Lacking::Everything;
            }
        }
    }
}
