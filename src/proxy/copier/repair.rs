//! Copying one key from a server to its partner, with its flags and remaining time: the state of one such copy.
//!
//! ```text
//!  Waiting -> Checking -> Fetching -> Storing -> Stored -> Verifying -> Over
//!     |          |           |  ^        |                     |         ^
//!     |          |           |  +--------|---------------------+         |
//!     +----------+-----------+-----------+---------------------+-> Removing
//! ```
//! Where the two were parted, what is on both is weighed before one is fetched, perhaps to be copied the other way round (`even`).
//! The item is fetched with a meta command that tells both. The key is held meanwhile: a write that came between fetching
//! and storing would otherwise be overtaken. A server without meta commands (before 1.6) is served from, not repaired
//! from, unless its list of keys told when the item expires.
//!
//! Another magent before the same servers knows nothing of the hold. So when the copy is stored, the item is looked at
//! once more where it came from. If it is gone meanwhile, the copy is taken away again; if it is another, the copy is made
//! like that. The copy is told by its unique, for the other magent may have put something in its place since, perhaps even
//! before the unique was asked for. So what is taken for the copy is not removed where the source has something instead (R32).
//!
//! A repair is told what happens to it, with what is known of its two servers then, and says what is to be done.

use crate::protocol::LINE_END;
use crate::protocol::exptime::exptime_by_clock;
use crate::protocol::exptime::exptime_of;
use crate::protocol::reply::Fault;
use crate::protocol::server::answer::{Response, Status};
use crate::protocol::verb::Verb;
use crate::proxy::copier::command::Command;
use crate::proxy::upstream::link::Purpose;

mod even;
mod kinds;
#[cfg(test)]
mod tests;

pub use kinds::{Action, Fill, Manner, Pair, Party, Why};
use kinds::{look_for_unique, send};

pub struct Repair {
    pub key: Box<[u8]>,
    pub from: usize,
    pub to: usize,
    pub why: Why,
    /// The proxy's count of flushes when the item was fetched: one that came since must not be undone.
    flushes: u64,
    /// Another write to the key was on its way when this was wanted, or had the key, so that it may have come after what
    /// is repaired.
    pub accompanied: bool,
    /// What is on `to`, when that was last asked.
    there: There,
    /// What is on `from` is right because that is the senior.
    pub is_by_seniority: bool,
    /// How often one of the two was found to have another item meanwhile.
    rounds: u32,
    /// The unique that the copy was found to have.
    pub made: Option<u64>,
    stage: Stage,
}

/// What is known of the item on the server that is copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    /// Nothing is.
    Unknown,
    /// There is none, or it is to stay.
    Nothing,
    /// The one with this unique: it, and no other, is to be replaced.
    Item(u64),
}

/// How often a copy is made like its source again, where that has another item each time. Who writes so often through another
/// magent writes again soon.
const ROUNDS_MAX: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has been sent: the key may be held by somebody else.
    Waiting,
    Checking,
    /// What is on `to` is known; now for the unique of what is on `from`, to see which of them is right.
    Weighing,
    /// `by_meta`: with a command that a memcached before 1.6 does not know.
    Fetching {
        by_meta: bool,
    },
    /// `unique` is the item's own where it came from, if it was told and the copy's will be.
    Storing {
        bytes: usize,
        unique: Option<u64>,
    },
    /// The copy is there; now for its unique.
    Stored {
        bytes: usize,
        unique: u64,
    },
    Verifying {
        bytes: usize,
        unique: u64,
        copy: u64,
    },
    Removing,
    /// What was there is gone; now whether the source has nothing still. Another magent may have just copied to it what was removed.
    Removed,
    /// Answers that still come are of no interest.
    Over,
}

type Actions<'a> = Vec<Action<'a>>;

impl Repair {
    /// `accompanied`: somebody else has the key alone.
    pub fn new(from: usize, to: usize, key: &[u8], why: Why, accompanied: bool) -> Self {
        Self {
            key: key.into(),
            from,
            to,
            why,
            flushes: 0,
            accompanied,
            there: There::Unknown,
            is_by_seniority: false,
            rounds: 0,
            made: None,
            stage: Stage::Waiting,
        }
    }

    /// Begins, with the key held for it; `decides`: of this key the word of `from` is the truth.
    pub fn begin(&mut self, pair: &Pair, decides: bool) -> Actions<'static> {
        let mut actions = Vec::new();
        self.flushes = pair.flushes;
        self.there = match self.overwrites() {
            true => There::Unknown,
            false => There::Nothing,
        };
        let heals = self.why.heals();
        self.is_by_seniority = self.why.is_by_seniority() && pair.from_is_senior;
        // Only where `from` is believed may something be taken away on its word: it may have missed the key itself.
        let fills = matches!(self.why, Why::Fill(_));
        let takes_away = fills && matches!(self.why.manner(), Manner::Overwrite | Manner::Verify | Manner::Remove);
        let believed = !takes_away || decides;
        let abandoned = heals && !pair.source_is_still;
        let possible = pair.from.is_up && pair.to.is_up && believed && !abandoned;
        let check_first = match self.why.manner() {
            Manner::AddIfLacking | Manner::Overwrite | Manner::EvenOut => pair.to.has_meta,
            manner => matches!(manner, Manner::Verify | Manner::Remove),
        };
        match (possible, check_first) {
            _ if self.may_be_deleted(pair) => self.leave_different(None, &mut actions),
            (false, _) if takes_away => self.over(&mut actions),
            (false, _) if abandoned => self.heal_abandoned(pair, &mut actions),
            (false, _) => self.failed(pair, &mut actions),
            (true, true) => self.check(&mut actions),
            (true, false) => self.fetch(pair, &mut actions),
        }
        actions
    }

    /// The item came: `data` is its value with the line end.
    pub fn value<'a>(&mut self, response: &Response<'_>, data: &'a [u8], pair: &Pair, unix_s: i64) -> Actions<'a> {
        let mut actions = Vec::new();
        if !matches!(self.stage, Stage::Fetching { .. }) {
            return actions;
        }
        // In its last second an item cannot be stored anew: 0 would make it stay for ever.
        let exptime = self.exptime(response, pair, unix_s);
        let (Some(flags), Some(exptime)) = (response.flags, exptime) else {
            self.failed(pair, &mut actions);
            return actions;
        };
        if matches!(self.why, Why::Left(unique) if response.unique != Some(unique)) {
            self.over(&mut actions);
            return actions;
        }
        let is_overtaken = self.is_by_seniority && !pair.from_is_senior || self.why.has_changed(response.unique, None);
        if is_overtaken || self.may_be_deleted(pair) {
            self.leave_different(None, &mut actions);
            return actions;
        }
        if self.flushes != pair.flushes || pair.flush_is_near {
            match self.overwrites() {
                true => self.over(&mut actions),
                false => self.give_up(pair, &mut actions),
            }
            return actions;
        }
        let bytes = data.len() - LINE_END.len();
        if response.marks().forbid_a_copy(bytes) {
            self.give_way(response.unique, pair, &mut actions);
            return actions;
        }
        let unique = response.unique.filter(|_| pair.to.has_meta && self.rounds < ROUNDS_MAX);
        (self.stage, self.made) = (Stage::Storing { bytes, unique }, None);
        if !pair.to.is_up {
            self.failed(pair, &mut actions);
            return actions;
        }
        let copy = Command::Store {
            verb: match self.there {
                There::Item(_) => Verb::Cas,
                There::Nothing => Verb::Add,
                There::Unknown => Verb::Set,
            },
            unique: match self.there {
                There::Item(unique) => unique,
                There::Nothing | There::Unknown => 0,
            },
            flags,
            exptime: exptime_by_clock(exptime, pair.to.ahead_s),
            value: &data[..bytes],
        };
        actions.push(send(self.to, Purpose::RepairStore, copy));
        actions
    }

    /// Whether what is to be copied may have been deleted, where nothing else says that it is right: it is looked at again (R58, R63).
    fn may_be_deleted(&self, pair: &Pair) -> bool {
        pair.source_is_doubtful && self.why.is_found_alone()
    }

    /// What the copy is to be told for its time to live.
    fn exptime(&self, response: &Response<'_>, pair: &Pair, unix_s: i64) -> Option<i64> {
        match (response.ttl_s, &self.why) {
            (Some(ttl_s), _) => exptime_of(ttl_s, unix_s),
            // Listed by the clock of where it comes from.
            (None, Why::Fill(fill)) => fill.listed_exptime.map(|listed_s| match listed_s {
                0 => 0,
                listed_s => listed_s.saturating_sub(pair.from.ahead_s),
            }),
            (None, _) => None,
        }
    }

    /// The item came, and is larger than magent takes.
    pub fn too_large(&mut self, pair: &Pair) -> Actions<'static> {
        let mut actions = Vec::new();
        if matches!(self.stage, Stage::Fetching { .. }) {
            self.failed(pair, &mut actions);
        }
        actions
    }

    /// An answer that is no value.
    pub fn answer(&mut self, purpose: Purpose, response: &Response<'_>, pair: &Pair) -> Actions<'static> {
        let mut actions = Vec::new();
        let status = response.status;
        // If not, it has nothing to say of the item any more.
        let source_is_still = pair.source_is_still;
        match self.stage {
            Stage::Waiting | Stage::Over => {}
            Stage::Checking => self.checked(response, pair, &mut actions),
            Stage::Weighing => self.weighed(response, pair, &mut actions),
            Stage::Fetching { by_meta } => self.not_fetched(response, by_meta, pair, &mut actions),
            // The end behind a value that is on its way already.
            _ if purpose == Purpose::RepairFetch => {}
            Stage::Storing { bytes, unique } if status == Status::Stored => match unique {
                Some(unique) => {
                    self.stage = Stage::Stored { bytes, unique };
                    actions.push(look_for_unique(self.to));
                }
                None => self.done(Some(bytes), &mut actions),
            },
            Stage::Storing { .. } => {
                if status == Status::Error {
                    actions.push(Action::Refused(response.reply()));
                }
                match status {
                    Status::NotStored | Status::Exists | Status::NotFound => self.contended(pair, &mut actions),
                    _ => self.failed(pair, &mut actions), // what was there before must not stay
                }
            }
            Stage::Stored { bytes, .. } | Stage::Verifying { bytes, .. } if !source_is_still => {
                self.done(Some(bytes), &mut actions);
            }
            Stage::Stored { bytes, unique } => match response.unique {
                Some(copy) => {
                    self.made = Some(copy);
                    self.stage = Stage::Verifying { bytes, unique, copy };
                    actions.push(look_for_unique(self.from));
                }
                None => self.done(Some(bytes), &mut actions),
            },
            Stage::Verifying { bytes, unique, copy } => {
                self.verified(response.unique, (bytes, unique, copy), pair, &mut actions);
            }
            Stage::Removing if status == Status::Exists => self.contended(pair, &mut actions),
            Stage::Removing | Stage::Removed => self.removed(response, pair, &mut actions),
        }
        actions
    }

    /// What was there is gone. Where another magent may have copied it back to the source meanwhile, it is copied from there once more.
    fn removed(&mut self, response: &Response<'_>, pair: &Pair, actions: &mut Actions) {
        match self.stage {
            Stage::Removed if response.unique.is_some() && self.rounds + 1 < ROUNDS_MAX => {
                self.there = There::Nothing;
                self.rounds += 1;
                self.fetch(pair, actions);
            }
            Stage::Removed if response.unique.is_some() => self.leave_different(None, actions),
            Stage::Removing if pair.source_is_still && pair.from.has_meta && !self.why.looks_through() => {
                self.stage = Stage::Removed;
                actions.push(look_for_unique(self.from));
            }
            _ => self.over(actions),
        }
    }

    fn checked(&mut self, response: &Response<'_>, pair: &Pair, actions: &mut Actions) {
        let status = response.status;
        match (self.why.manner(), status) {
            (Manner::Overwrite, _) => {
                self.there = There::said(response);
                match self
                    .why
                    .has_changed(None, Some(self.there.unique().unwrap_or_default()))
                {
                    true => self.leave_different(None, actions),
                    false => self.fetch(pair, actions),
                }
            }
            (Manner::EvenOut, _) => {
                self.there = There::said(response);
                self.weigh(actions);
            }
            // What is HD now was OK before 1.6.10.
            (_, Status::MetaHit | Status::Ok) => self.over(actions),
            (Manner::Verify, Status::MetaMiss) => {
                actions.push(Action::Suspect);
                self.over(actions);
            }
            (Manner::Remove, Status::MetaMiss) => self.remove(self.why.unique(), pair, actions),
            (Manner::Verify | Manner::Remove, _) => self.over(actions),
            _ => self.fetch(pair, actions),
        }
    }

    fn not_fetched(&mut self, response: &Response<'_>, by_meta: bool, pair: &Pair, actions: &mut Actions) {
        let unknown = response.status == Status::Error && response.fault != Fault::Server;
        if unknown && by_meta {
            actions.push(Action::HasNoMeta);
            let mut pair = *pair;
            pair.from.has_meta = false;
            if self.is_contradicted() {
                // Nothing can be copied from it, so it is the other one's word that counts.
                self.outdate_answer(self.from);
                std::mem::swap(&mut self.from, &mut self.to);
                std::mem::swap(&mut pair.from, &mut pair.to);
                return self.remove(None, &pair, actions);
            }
            return self.fetch(&pair, actions);
        }
        match self.why.heals() && !pair.source_is_still {
            true => self.heal_abandoned(pair, actions),
            false => {
                if self.is_contradicted() {
                    self.outdate_answer(self.from);
                }
                self.failed(pair, actions);
            }
        }
    }

    /// An answer was cut off; `delivered`: what was asked lay in its server's socket when that fell silent.
    pub fn lost(&mut self, delivered: bool, pair: &Pair) -> Actions<'static> {
        let mut actions = Vec::new();
        match self.stage {
            Stage::Over => {}
            Stage::Removed => self.over(&mut actions),
            // The source ended after the copy was made.
            Stage::Stored { bytes, .. } | Stage::Verifying { bytes, .. } => self.done(Some(bytes), &mut actions),
            stage if self.changes_what_is_there() => {
                let delivered = delivered && matches!(stage, Stage::Storing { .. });
                actions.push(Action::Missed { delivered });
                self.over(&mut actions);
            }
            // With the source gone, what the other has is the best there is.
            _ if self.why.heals() => self.heal_abandoned(pair, &mut actions),
            _ => self.over(&mut actions),
        }
        actions
    }

    /// What this server answered to the write that waits for this is not true of anything there any more.
    pub fn outdate_answer(&mut self, server: usize) {
        if let Why::Heal(Some(waiting)) = &mut self.why {
            match waiting.otherwise.take() {
                Some(otherwise) if server == self.from => waiting.reply = Some(otherwise),
                _ => waiting.instead = None,
            }
        }
    }

    /// Whether `to` decides, and did not find what `from` has.
    fn is_contradicted(&self) -> bool {
        matches!(&self.why, Why::Heal(Some(waiting)) if waiting.is_turned)
    }

    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn check(&mut self, actions: &mut Actions) {
        self.stage = Stage::Checking;
        let server = match self.why.manner() {
            Manner::Verify | Manner::Remove => self.from,
            _ => self.to,
        };
        let look = match self.overwrites() || self.evens_out() {
            true => Command::LookForUnique,
            false => Command::Look,
        };
        actions.push(send(server, Purpose::RepairCheck, look));
    }

    fn fetch(&mut self, pair: &Pair, actions: &mut Actions) {
        let by_meta = pair.from.has_meta;
        self.stage = Stage::Fetching { by_meta };
        let listed = matches!(&self.why, Why::Fill(fill) if fill.listed_exptime.is_some());
        let command = match (by_meta, listed) {
            (true, _) => Command::Fetch,
            (false, true) => Command::FetchPlain,
            (false, false) => return self.failed(pair, actions),
        };
        actions.push(send(self.from, Purpose::RepairFetch, command));
    }

    /// The server that a copy was to be made like is gone, or has lost what it had. The client is told that server's answer,
    /// which others may have seen the effect of, so a copy of which it is not true goes (R11). But where another write was on its
    /// way as well, what `to` has may be its work, and its client may have been told that it is stored: so it stays, and
    /// the answer that `to` gave is the reply if it is true of anything there (R28). Where nobody waits, nothing was wrong
    /// when it was last looked at.
    fn heal_abandoned(&mut self, pair: &Pair, actions: &mut Actions) {
        if let Why::Heal(Some(waiting)) = &mut self.why {
            if !self.accompanied {
                return self.remove(None, pair, actions);
            }
            if let Some(instead) = waiting.instead.take() {
                waiting.reply = Some(instead);
            }
        }
        self.over(actions);
    }

    /// There is nothing to copy, or it cannot be copied. Where that is needed, a wrong copy is removed instead.
    fn failed(&mut self, pair: &Pair, actions: &mut Actions) {
        match self.overwrites() {
            true if self.there == There::Unknown => self.remove(None, pair, actions),
            _ => self.give_up(pair, actions),
        }
    }

    /// Leaves what is there, but for a copy that is not what its source has.
    fn give_up(&mut self, pair: &Pair, actions: &mut Actions) {
        match self.there {
            There::Item(copy) => self.remove(Some(copy), pair, actions),
            There::Nothing | There::Unknown => self.over(actions),
        }
    }

    /// Removes what `to` has; with a unique, only if it is still the copy that has it.
    fn remove(&mut self, copy: Option<u64>, pair: &Pair, actions: &mut Actions) {
        self.stage = Stage::Removing;
        if !pair.to.is_up {
            actions.push(Action::Missed { delivered: false });
            return self.over(actions);
        }
        actions.push(send(self.to, Purpose::RepairStore, Command::Remove(copy)));
    }

    fn over(&mut self, actions: &mut Actions) {
        self.done(None, actions);
    }

    fn done(&mut self, copied: Option<usize>, actions: &mut Actions) {
        self.stage = Stage::Over;
        actions.push(Action::Done { copied });
    }

    /// Whether the copy replaces what is there, and nothing there is to be left where there is nothing to copy.
    pub fn overwrites(&self) -> bool {
        self.why.manner() == Manner::Overwrite
    }

    /// Whether something wrong may be left if this comes to nothing now.
    fn changes_what_is_there(&self) -> bool {
        match self.stage {
            Stage::Storing { .. } => self.overwrites() || matches!(self.there, There::Item(_)),
            // Where what is there is to be replaced.
            Stage::Checking => self.overwrites(),
            stage => stage == Stage::Removing,
        }
    }
}
