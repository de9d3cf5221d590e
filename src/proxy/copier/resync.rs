//! Resync: a server that lacks what its partner has is filled again, with nobody reading.
//!
//! ```text
//!  the lack of one partner's items is taken up when both servers are up
//!        |
//!        v            the list had keys that were not there: once more, for those that moved about meanwhile
//!   the partner lists its keys (`listing`) ----> keys that belong to both ----> a few at a time: held, fetched, added
//!        |                                                                                |
//!        +---- or the keys are known: what a server missed that kept its memory -----------+---> nothing is lacking
//! ```
//! A list of more keys than are kept at a time is gone through several times, in shares.
//!
//! A memcached that can only list its LRUs leaves out what was read a moment ago, and what is moved from one to another
//! meanwhile. So its list is asked for until it has nothing new, and once more when the server that is filled has settled.
//! Another magent before the same servers may have deleted a key on one of the two while it was copied. So in the end
//! the keys of the server that was filled are gone through, and what the partner does not have, nor has a second later, is
//! removed, if it is still the same. Where magent was started before two servers that nobody has said anything of, what the
//! younger one had before stays: its uniques are lower than that of any copy.
//!
//! A server that new settings gave keys to may have held them once before, and have old values of them. So its own list
//! comes first, and each of its keys is made what it is on the partner.
//!
//! One server is filled from one partner at a time. If either server goes down, the lack stays noted and is taken up again
//! when both are back, unless the partner lost its memory: then there is nothing left to be copied.
//!
//! A resync is told what was listed and copied, and says what is to be done next; see `filling` for who does it.

use crate::protocol::server::list::Entry;
use crate::proxy::copier::listing::Listing;
use crate::proxy::copier::pacing::{Pacing, Turn};
use crate::proxy::copier::repair::{Fill, Manner};
use crate::proxy::copier::shares::Shares;
use crate::proxy::fleet::board::BOARD_KEY;
use crate::proxy::limits::{Limits, Room};
use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// What the server that is filled has and its partner has not is looked for once more after this: another magent's write
/// may be on its way to both (R10).
const LOOK_AGAIN_MS: u64 = 1000;

pub struct Resync {
    limits: Limits,
    /// Tells the copies that belong to this from those of one that was broken off.
    pub(super) number: u64,
    pub to: usize,
    pub from: usize,
    started_ms: u64,
    keys: VecDeque<Entry>,
    /// None where the keys were known from the start.
    pub listing: Option<Listing>,
    shares: Shares,
    pub(super) pacing: Pacing,
    /// Keys of the server to be filled that were not on the partner.
    suspects: VecDeque<Entry>,
    phase: Phase,
    /// Keys of this list that are done with, and those of them that were copied.
    seen: u64,
    copied: u64,
    /// Some were copied in this pass.
    found_some: bool,
    /// The lowest unique that a copy was found to have; 0 if one is not known, `u64::MAX` if there is none.
    pub(super) lowest_made: u64,
    /// What the server that is filled had before stays there, also where its partner does not have it.
    keeps_own: bool,
    /// What was copied in all.
    items: u64,
    bytes: u64,
}

/// What a server lacks of a partner's, as a resync takes it up.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// These keys.
    Keys(VecDeque<Entry>),
    /// The same, after the two were parted: each is made alike on both.
    Parted(VecDeque<Entry>),
    /// What the partner has.
    Everything,
    /// The same, and what it has itself may be old; or, if they were parted, newer.
    Suspect { parted: bool },
    /// Next to nothing: what was filled is looked through; `completes`: once the partner has been listed again, whose list
    /// may have left something out.
    Unverified { completes: bool },
}

/// Whose keys are gone through, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Those of the server to be filled, which may be old: they are made what they are on the partner, or, if they were parted, alike.
    Purging { parted: bool },
    /// Those of the partner, for this time: they are copied.
    Filling { pass: u32 },
    /// Keys of both, after they were parted: they are made alike.
    EveningOut,
    /// Those of the partner, after a while: what was left out of its list before is copied.
    Completing,
    /// Those of the server that was filled: what the partner does not have is noted.
    Verifying,
    /// What was noted: if the partner still does not have it, it is removed.
    Removing,
}

/// What a resync does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This key is to be dealt with.
    Copy { key: Box<[u8]>, fill: Fill },
    /// More of the list is to be read.
    Read,
    /// All keys that were listed are done with; see [`Resync::pass_over`].
    PassOver,
    /// Something has to come to its end first, or to come.
    Nothing,
    /// Nothing before this.
    NothingBefore(u64),
}

/// What is known of the two servers when a list is done with.
#[derive(Clone, Copy, Debug)]
pub struct Able {
    pub from_has_meta: bool,
    pub to_has_meta: bool,
    /// The list of `from` leaves nothing out.
    pub from_lists_hash: bool,
}

/// What follows when a list is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The keys of [`Resync::listed`] are to be listed.
    List,
    /// The keys are known.
    GoOn,
    /// The server has what its partner has, which is to be told; this is left to do.
    Filled(Left),
    /// It has been looked through.
    Verified,
}

/// What a server lacks of its partner's after a resync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// Hardly anything, which is to be looked into; `complete`: the list has left nothing out.
    Unverified {
        complete: bool,
    },
    /// All that it lacked: the partner cannot list it.
    Unlistable,
}

/// What has been copied, and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub items: u64,
    pub bytes: u64,
    pub took_ms: u64,
}

/// How far a server has been filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The server that it is filled from.
    pub from: usize,
    /// What has been copied, and for how long.
    pub report: Report,
    /// Keys of the list that are done with, about; and how many it has, once that is known.
    pub done: u64,
    pub total: Option<u64>,
}

impl Resync {
    pub fn new(number: u64, from: usize, to: usize, task: Task, now_ms: u64, limits: &Limits) -> Self {
        let phase = match task {
            Task::Suspect { parted } => Phase::Purging { parted },
            Task::Unverified { completes: false } => Phase::Verifying,
            Task::Unverified { completes: true } => Phase::Completing,
            Task::Parted(_) => Phase::EveningOut,
            Task::Keys(_) | Task::Everything => Phase::Filling { pass: 1 },
        };
        let (keys, listing) = match task {
            Task::Keys(keys) | Task::Parted(keys) => (keys, None),
            _ => (VecDeque::new(), Some(Listing::default())),
        };
        Self {
            limits: limits.clone(),
            number,
            to,
            from,
            started_ms: now_ms,
            keys,
            listing,
            shares: Shares::default(),
            pacing: Pacing::default(),
            suspects: VecDeque::new(),
            phase,
            seen: 0,
            copied: 0,
            found_some: false,
            lowest_made: u64::MAX,
            keeps_own: false,
            items: 0,
            bytes: 0,
        }
    }

    /// Whether the log tells of it: the server does not have everything yet.
    pub fn is_told(&self) -> bool {
        self.listing.is_some() && self.fills()
    }

    /// Whether the server may lack what its partner has, as long as this is not over.
    pub fn fills(&self) -> bool {
        matches!(
            self.phase,
            Phase::Purging { .. } | Phase::Filling { .. } | Phase::EveningOut
        )
    }

    /// The server whose keys are listed.
    pub fn listed(&self) -> usize {
        match self.phase {
            Phase::Filling { .. } | Phase::EveningOut | Phase::Completing => self.from,
            Phase::Purging { .. } | Phase::Verifying | Phase::Removing => self.to,
        }
    }

    /// Whether it has run out of keys, and waits for more of the list.
    pub fn is_hungry(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn report(&self, now_ms: u64) -> Report {
        Report {
            items: self.items,
            bytes: self.bytes,
            took_ms: now_ms - self.started_ms,
        }
    }

    /// How far it has come.
    pub fn progress(&self, now_ms: u64) -> Progress {
        let (listed, done_before) = self.shares.listed();
        let (has_ended, listed) = match &self.listing {
            Some(listing) => (listing.has_ended(), listed),
            None => (true, self.seen + self.keys.len() as u64),
        };
        let done = done_before + self.seen;
        Progress {
            from: self.from,
            report: self.report(now_ms),
            done,
            total: has_ended.then_some(listed.max(done)), // what was done with before is not known to the key
        }
    }

    /// The list begins, perhaps once more.
    pub fn list_begins(&mut self) {
        self.shares.list_begins();
    }

    /// Lets the server that was filled keep what it had before: this is the lowest unique that a copy on it has.
    pub fn keep_own(&mut self, lowest_made: u64) {
        (self.keeps_own, self.lowest_made) = (true, lowest_made);
    }

    /// Whether an item is no copy that was made here: its server gave it a unique before it gave one to any. One that gives none (memcached's
    /// `-C`) does not tell them apart, and keeps all.
    fn is_own(&self, entry: &Entry) -> bool {
        let looks_through = matches!(self.phase, Phase::Verifying | Phase::Removing);
        self.keeps_own
            && looks_through
            && entry
                .unique
                .is_some_and(|unique| unique == 0 || unique < self.lowest_made)
    }

    /// Takes a key of the list that belongs to both servers, if it is in this share and there is room.
    pub fn take(&mut self, entry: Entry) {
        if self.is_own(&entry) {
            return;
        }
        if *entry.key != *BOARD_KEY && self.shares.takes(&entry.key, self.keys.len(), self.limits.listed_keys) {
            self.keys.push_back(entry);
        }
    }

    /// How much may be in flight now, where a client last asked for something at `requested_ms`.
    pub fn turn(&mut self, now_ms: u64, requested_ms: u64) -> Turn {
        match self.awaits_list() {
            true => Turn::Later, // an event, or the tick, goes on with it
            false => self.pacing.turn(now_ms, requested_ms, &self.limits),
        }
    }

    /// Whether there is nothing to be copied before more of the list comes.
    fn awaits_list(&self) -> bool {
        let awaited = |listing: &Listing| !listing.has_ended() && !listing.may_go_on();
        self.keys.is_empty() && self.listing.as_ref().is_some_and(awaited)
    }

    /// What to do next, with so much in flight at most.
    pub fn next(&mut self, now_ms: u64, room: Room) -> Next {
        if let Some(until_ms) = self.pacing.paused_until_ms(now_ms) {
            return Next::NothingBefore(until_ms);
        }
        if self.pacing.is_full(room) {
            return Next::Nothing;
        }
        if let Some(entry) = self.keys.pop_front() {
            self.pacing.begins(entry.size);
            let fill = Fill {
                resync: self.number,
                manner: self.manner(),
                // What its own list says of its keys says nothing of the partner's.
                listed_exptime: entry.exptime.filter(|_| !matches!(self.phase, Phase::Purging { .. })),
                size: entry.size,
                unique: entry.unique,
            };
            return Next::Copy { key: entry.key, fill };
        }
        match &self.listing {
            Some(listing) if listing.may_go_on() => Next::Read,
            Some(listing) if !listing.has_ended() => Next::Nothing,
            _ if !self.pacing.is_idle() => Next::Nothing,
            _ => Next::PassOver,
        }
    }

    fn manner(&self) -> Manner {
        let few_copied = self.seen >= self.limits.listed_keys_telling && 2 * self.copied < self.seen;
        match self.phase {
            Phase::Purging { parted: false } => Manner::Overwrite,
            Phase::Purging { parted: true } | Phase::EveningOut => Manner::EvenOut,
            Phase::Verifying => Manner::Verify,
            Phase::Removing => Manner::Remove,
            // The first time, unless another magent has filled the server, or nothing was lost.
            Phase::Filling { pass: 1 } if !few_copied => Manner::Add,
            Phase::Filling { .. } | Phase::Completing => Manner::AddIfLacking,
        }
    }

    /// A key is done with; `copied` are the bytes of it that were stored, None if it was there or is gone. False, and nothing
    /// is changed, if it was a key of another resync.
    pub fn key_done(&mut self, fill: &Fill, copied: Option<usize>) -> bool {
        if fill.resync != self.number {
            return false;
        }
        self.pacing.ends(fill.size);
        self.seen += 1;
        if let Some(bytes) = copied {
            self.items += 1;
            self.copied += 1;
            self.found_some = true;
            self.bytes += bytes as u64;
        }
        true
    }

    /// Notes a key of the server that is filled which its partner does not have.
    pub fn suspect(&mut self, fill: &Fill, key: &[u8]) {
        if fill.resync == self.number && self.suspects.len() < self.limits.listed_keys {
            let unique = fill.unique;
            self.suspects.push_back(Entry {
                unique,
                ..Entry::of(key)
            });
        }
    }

    /// All keys that were listed are done with: once more, or that was it.
    #[must_use]
    pub fn pass_over(&mut self, able: &Able, now_ms: u64) -> Follows {
        let lists = self.listing.is_some();
        if lists && self.phase != Phase::Removing && self.shares.take_next(self.limits.listed_keys) {
            self.list_again();
            return Follows::List;
        }
        let again = lists && self.found_some && !able.from_lists_hash && able.to_has_meta;
        self.phase = match self.phase {
            Phase::Purging { .. } => Phase::Filling { pass: 1 },
            Phase::Filling { pass } if again && pass < self.limits.list_passes => Phase::Filling { pass: pass + 1 },
            Phase::Filling { .. } => {
                return Follows::Filled(match lists && able.from_has_meta {
                    true => Left::Unverified {
                        complete: able.from_lists_hash,
                    },
                    false => Left::Nothing,
                });
            }
            Phase::EveningOut => return Follows::Filled(Left::Nothing),
            Phase::Completing => Phase::Verifying,
            Phase::Verifying if !self.suspects.is_empty() => {
                self.keys = std::mem::take(&mut self.suspects);
                self.pacing.pause(now_ms + LOOK_AGAIN_MS);
                self.phase = Phase::Removing;
                return Follows::GoOn;
            }
            Phase::Verifying | Phase::Removing => return Follows::Verified,
        };
        self.shares = Shares::default();
        self.found_some = false;
        self.list_again();
        Follows::List
    }

    fn list_again(&mut self) {
        (self.seen, self.copied) = (0, 0);
        self.listing = Some(Listing::default());
    }

    /// The server whose keys are listed cannot list them.
    pub fn cannot_list(&self) -> Left {
        match self.fills() {
            true => Left::Unlistable,
            false => Left::Nothing,
        }
    }
}
