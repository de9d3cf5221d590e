//! What is known of a server for the case that it is parted from a partner; see `parted`.

use crate::protocol::reply::Status;
use crate::proxy::fleet::marks::Marks;
use crate::proxy::fleet::others::SAID_MS;
use crate::proxy::fleet::own::{Own, hash};
use std::collections::{HashMap, HashSet};

/// How long after a server has returned others are told that this magent was without it: the longest pause between two probes, in which
/// they may find out that they can reach this side again, and some more.
const WITHOUT_MS: u64 = 10_000;

/// So long it is waited at most until others have found a server again: they probe it every two seconds, and those that are not there any more
/// are known by then.
const OTHERS_MAX_MS: u64 = 4000;

/// Keys that are to be looked at when a server returns.
const UNLOOKED_MAX: usize = 1024;

/// Keys of which it is known under which unique the partner of a server that is away has stored them: 2 MiB at most.
const STORED_MAX: usize = 1 << 16;

/// What is known of a server for the case that it is parted from a partner.
#[derive(Debug, Default)]
pub struct Contact {
    /// The greatest unique that it has told, in this life.
    seen: u64,
    /// What its partners had told when it was last asked for its board, and is yet to answer; and when it last answered.
    asked: Option<(u64, Vec<(usize, u64)>)>,
    heard: Vec<(usize, u64)>,
    /// What magent wrote there without seeing the unique: since it was last asked for its board, before that, and before the time before.
    /// Its board was written after those of the last kind, and so its unique is above theirs.
    own: [Own; 3],
    /// What was known when it was lost, as long as it is away.
    lost: Option<Lost>,
    /// Keys that were to be looked at here and on a partner, when it was lost.
    unlooked: Vec<Box<[u8]>>,
    /// The partners that it was parted from, until it has been made like them.
    parted: Vec<Parted>,
    /// When it was last asked for its board, and has answered.
    heard_ms: u64,
    /// Whether, and until when, this magent was without it.
    without: Absence,
}

/// Whether this magent is, or was, without a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Absence {
    #[default]
    Never,
    Now,
    Until(u64),
}

/// What was known of a server when it was lost.
#[derive(Debug)]
struct Lost {
    seen: u64,
    heard_ms: u64,
    /// What its partners had told when it was last heard.
    heard: Vec<(usize, u64)>,
    own: Own,
    /// Under which uniques its partners have stored since what this magent wrote last, by a hash of the key; 0 where they have not told.
    stored: HashMap<u64, u64>,
    /// By a hash of the key: under which unique it has stored what it was sent before, as it has told since; 0 if that stored nothing.
    late: HashMap<u64, u64>,
    /// What it had got of magent's own by then, by a hash of the key.
    delivered: HashSet<u64>,
}

#[derive(Debug)]
struct Parted {
    partner: usize,
    /// It was lost once more before all had been made alike.
    is_earlier: bool,
    /// Keys that have been made alike since, by a hash of each; see `is_earlier`.
    made_alike: HashSet<u64>,
    /// Until then at most it is waited for others to find the partner again; None once they have.
    waits_until_ms: Option<u64>,
    /// What has a unique above this was written meanwhile: on the server, on its partner.
    above: [u64; 2],
    /// As when it was lost, and what this magent has written since: on the partner, and on the server itself.
    own: Own,
    stored: HashMap<u64, u64>,
    late: HashMap<u64, u64>,
}

impl Parted {
    /// Whether this key is judged by it.
    fn covers(&self, key: &[u8]) -> bool {
        !self.is_earlier || !self.made_alike.contains(&hash(key))
    }

    /// What this magent had under way to the server when that was lost is not somebody else's.
    fn has_own_of(&mut self, lost: &Lost) {
        let untold = |hash: &&u64| !lost.late.contains_key(*hash);
        self.own.append(&lost.own);
        lost.delivered
            .iter()
            .filter(untold)
            .for_each(|&hash| self.own.add(hash));
        self.late.extend(&lost.late);
    }
}

/// Notes the unique that a key has now.
fn remember(uniques: &mut HashMap<u64, u64>, key: &[u8], unique: u64) {
    let has_room = uniques.len() < STORED_MAX;
    match uniques.get_mut(&hash(key)) {
        Some(known) => *known = unique, // also where there is no room for others: what is older would be taken for the last
        None if has_room => _ = uniques.insert(hash(key), unique),
        None => {}
    }
}

impl Contact {
    /// It has told this unique.
    #[inline]
    pub fn saw(&mut self, unique: u64) {
        self.seen = self.seen.max(unique);
    }

    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// It is asked for its board; `partners`: what they have told so far. What counts is what they had told when the first question
    /// was asked that it has not answered.
    pub fn is_asked(&mut self, partners: impl Iterator<Item = (usize, u64)>, now_ms: u64) {
        if self.asked.is_none() {
            self.asked = Some((now_ms, partners.collect()));
            let since = std::mem::take(&mut self.own[0]);
            self.own[1].append(&since);
        }
    }

    /// It was asked for its board a while ago, and has not answered: what others write there is not read.
    pub fn is_silent(&self, now_ms: u64) -> bool {
        self.asked
            .as_ref()
            .is_some_and(|&(asked_ms, _)| asked_ms + SAID_MS < now_ms)
    }

    /// It has answered.
    pub fn is_heard(&mut self) {
        if let Some(asked) = self.asked.take() {
            (self.heard_ms, self.heard) = asked;
            self.own[2] = std::mem::take(&mut self.own[1]);
        }
    }

    /// It has stored this key, and not told under which unique.
    pub fn wrote_unseen(&mut self, key: &[u8]) {
        self.own[0].add(hash(key));
    }

    /// It is away from now on. `is_uneven`: it was parted from a partner, and has not been made like it yet.
    pub fn is_lost(&mut self, is_uneven: bool) {
        self.asked = None;
        self.parted.retain(|_| is_uneven);
        self.parted.iter_mut().for_each(|parted| parted.is_earlier = true);
        self.without = Absence::Now;
        let mut own = Own::default();
        std::mem::take(&mut self.own)
            .into_iter()
            .for_each(|keys| own.append(&keys));
        self.lost = Some(Lost {
            seen: self.seen,
            heard_ms: self.heard_ms,
            stored: HashMap::new(),
            late: HashMap::new(),
            delivered: HashSet::new(),
            heard: std::mem::take(&mut self.heard),
            own,
        });
    }

    /// It is away since before this magent was started, which knows of no unique what was written when: what it has is taken for older than what
    /// its partners have acknowledged.
    pub fn was_lost_before(&mut self, now_ms: u64) {
        (self.seen, self.heard_ms) = (u64::MAX, now_ms);
        self.is_lost(false);
        self.seen = 0;
    }

    /// It has answered what it was sent before it was lost.
    pub fn answered_late(&mut self, key: &[u8], status: Status, unique: Option<u64>) {
        let Some(lost) = &mut self.lost else {
            return;
        };
        let late = lost.late.entry(hash(key)).or_default();
        *late = (*late).max(unique.unwrap_or_default());
        let writes = matches!(status, Status::Stored | Status::Number | Status::MetaHit | Status::Ok);
        if unique.is_none() && writes {
            lost.own.add(hash(key));
        }
    }

    /// It was lost before it said what it has of a key that other magents may have written at the same moment.
    pub fn was_not_looked_at(&mut self, key: &[u8]) {
        if self.unlooked.len() < UNLOOKED_MAX {
            self.unlooked.push(key.into());
        }
    }

    /// It is in another life: what was known of its uniques says nothing any more.
    pub fn is_reborn(&mut self) {
        *self = Self {
            without: self.without,
            ..Self::default()
        };
    }

    /// A write of this key lay in its socket when it was lost.
    pub fn was_delivered(&mut self, key: &[u8]) {
        if let Some(lost) = &mut self.lost {
            lost.delivered.insert(hash(key));
        }
    }

    /// It returns, and somebody was without this partner meanwhile.
    pub fn is_parted_from(&mut self, partner: usize) {
        let Some(lost) = &self.lost else {
            return;
        };
        let of_partner = lost.heard.iter().find(|&&(of, _)| of == partner);
        self.parted.push(Parted {
            partner,
            is_earlier: false,
            made_alike: HashSet::new(),
            waits_until_ms: Some(u64::MAX),
            stored: lost.stored.clone(),
            late: HashMap::new(),
            above: [lost.seen, of_partner.map_or(0, |&(_, seen)| seen)],
            own: Own::default(),
        });
    }

    /// It has returned.
    pub fn is_back(&mut self, now_ms: u64) {
        if let Some(lost) = self.lost.take() {
            self.parted.iter_mut().for_each(|parted| parted.has_own_of(&lost));
        }
        if self.without == Absence::Now {
            self.without = Absence::Until(now_ms);
        }
        for parted in &mut self.parted {
            parted.waits_until_ms = Some(now_ms + OTHERS_MAX_MS);
        }
    }

    /// It has been made like its partners.
    pub fn is_settled(&mut self) {
        self.parted.clear();
    }

    /// Since when others are told that this magent is, or was, without it, as long as they are.
    pub fn missed_ago_ms(&self, now_ms: u64) -> Option<u64> {
        match self.without {
            Absence::Never => None,
            Absence::Now => Some(0),
            Absence::Until(back_ms) => Some((now_ms - back_ms).max(1)).filter(|&ago_ms| ago_ms < WITHOUT_MS),
        }
    }

    /// When it was last heard before it was lost.
    pub fn lost_heard_ms(&self) -> u64 {
        self.lost.as_ref().map_or(u64::MAX >> 1, |lost| lost.heard_ms)
    }

    /// A partner has stored a key, under this unique, 0 if it has not told, while this server is away, or has returned and was parted from it.
    pub fn partner_stored(&mut self, key: &[u8], partner: usize, unique: u64) {
        let of_lost = self.lost.iter_mut().map(|lost| &mut lost.stored);
        let of_it = self.parted.iter_mut().filter(|parted| parted.partner == partner);
        let of_parted = of_it.map(|parted| &mut parted.stored);
        of_lost
            .chain(of_parted)
            .for_each(|stored| remember(stored, key, unique));
    }

    /// It has stored a key, under this unique, 0 if it has not told, since it returned: what was parted is not made alike yet.
    pub fn stored_again(&mut self, key: &[u8], unique: u64) {
        for parted in &mut self.parted {
            match unique {
                0 => parted.own.add(hash(key)),
                unique => remember(&mut parted.late, key, unique),
            }
        }
    }

    /// What was to be looked at when it was lost. It is told once.
    pub fn take_unlooked(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.unlooked)
    }

    /// Whether it was parted from any partner.
    pub fn was_parted(&self) -> bool {
        !self.parted.is_empty()
    }

    /// Its board says which partners others are still without. Returns whether there is one that it was parted from and they have found
    /// again, just now.
    pub fn is_told(&mut self, are_without: &[usize], now_ms: u64) -> bool {
        let mut any = false;
        for parted in &mut self.parted {
            let waits = parted.waits_until_ms > Some(now_ms) && are_without.contains(&parted.partner);
            any |= !waits && parted.waits_until_ms.take().is_some();
        }
        any
    }

    /// Whether a partner that it was parted from is not found again by others yet.
    pub fn waits_for_others(&self, partner: usize, now_ms: u64) -> bool {
        let of_it = |parted: &&Parted| parted.partner == partner;
        let parted = self.parted.iter().find(of_it);
        parted.is_some_and(|parted| parted.waits_until_ms > Some(now_ms))
    }

    pub fn was_parted_from(&self, partner: usize) -> bool {
        self.parted.iter().any(|parted| parted.partner == partner)
    }

    /// The same, when it was away last.
    pub fn was_parted_last(&self, partner: usize) -> bool {
        let mut of_it = self.parted.iter().filter(|parted| parted.partner == partner);
        of_it.any(|parted| !parted.is_earlier)
    }

    /// Whether this key is to be judged by what is known of that.
    pub fn was_parted_of(&self, key: &[u8], partner: usize) -> bool {
        self.parting(key, partner).is_some()
    }

    fn parting(&self, key: &[u8], partner: usize) -> Option<&Parted> {
        self.parted
            .iter()
            .find(|parted| parted.partner == partner && parted.covers(key))
    }

    /// A copy of this key is made here, or on a partner.
    pub fn is_made_alike(&mut self, key: &[u8]) {
        for parted in &mut self.parted {
            if parted.made_alike.len() < STORED_MAX {
                parted.made_alike.insert(hash(key));
            }
        }
    }

    /// How a key is to be judged that is copied to this server from a partner; None where they were not parted.
    pub fn marks(&self, key: &[u8], partner: usize, from_is_senior: bool) -> Option<Marks> {
        let parted = self.parting(key, partner)?;
        let [to_above, from_above] = parted.above;
        Some(Marks {
            stored: parted.stored.get(&hash(key)).copied().filter(|&unique| unique > 0),
            from_above,
            to_above,
            to_is_own: parted.own.has(hash(key)),
            late: parted.late.get(&hash(key)).copied().filter(|&unique| unique > 0),
            from_is_senior,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fleet::marks::Right;

    #[test]
    fn a_server_is_silent_that_has_not_told_its_board_for_a_while() {
        let mut contact = Contact::default();
        contact.is_asked(std::iter::empty(), 1000);
        contact.is_asked(std::iter::empty(), 1300); // and again, as long as it has not answered
        assert!(!contact.is_silent(1000 + SAID_MS) && contact.is_silent(1001 + SAID_MS));
        contact.is_heard();
        assert!(!contact.is_silent(9000));
    }

    #[test]
    fn what_is_there_in_place_of_what_was_stored_is_not_this_magents() {
        let marks = Marks {
            stored: Some(15),
            from_above: 10,
            to_above: 20,
            to_is_own: false,
            late: None,
            from_is_senior: true,
        };
        assert_eq!(marks.right(Some(15), Some(21)), Right::From);
        for from in [Some(16), Some(14), None] {
            assert_eq!(marks.right(from, Some(21)), Right::To);
            let both = if from.is_some() { Right::Either } else { Right::From };
            assert_eq!(marks.right(from, Some(20)), both);
        }
    }

    #[test]
    fn what_counts_is_what_was_seen_when_the_other_was_last_heard() {
        let mut contact = Contact::default();
        contact.saw(20);
        contact.is_asked([(1, 10)].into_iter(), 100);
        contact.is_heard();
        contact.is_asked([(1, 11)].into_iter(), 200);
        contact.is_asked([(1, 12)].into_iter(), 300); // it has not answered the first one
        contact.is_lost(false);
        assert_eq!((contact.missed_ago_ms(5000), contact.lost_heard_ms()), (Some(0), 100));
        contact.partner_stored(b"stored", 1, 15);
        contact.partner_stored(b"untold", 1, 15);
        contact.partner_stored(b"untold", 1, 0);
        contact.is_asked([(1, 90)].into_iter(), 5000);
        contact.is_heard();
        contact.saw(100); // its board, which others have written meanwhile
        contact.answered_late(b"late", Status::Stored, Some(25));
        contact.answered_late(b"late", Status::Deleted, None);
        contact.answered_late(b"deleted", Status::Deleted, None);
        contact.answered_late(b"counted", Status::Number, None);
        for key in [&b"delivered"[..], b"late", b"deleted", b"counted"] {
            contact.was_delivered(key);
        }
        contact.is_parted_from(1);
        contact.is_back(6000);
        assert_eq!(
            [6000, 7000, 6000 + WITHOUT_MS].map(|now_ms| contact.missed_ago_ms(now_ms)),
            [Some(1), Some(1000), None]
        );
        let marks = contact.marks(b"key", 1, true).unwrap();
        assert_eq!((marks.from_above, marks.to_above, marks.to_is_own), (10, 20, false));
        assert!(contact.marks(b"delivered", 1, true).unwrap().to_is_own);
        let late = |contact: &Contact, key: &[u8]| {
            let marks = contact.marks(key, 1, true).unwrap();
            (marks.to_is_own, marks.late)
        };
        assert_eq!(late(&contact, b"late"), (false, Some(25)));
        let [deleted, counted] = [&b"deleted"[..], b"counted"].map(|key| late(&contact, key));
        assert_eq!([deleted, counted], [(false, None), (true, None)]);
        let stored = |contact: &Contact, key: &[u8]| contact.marks(key, 1, true).unwrap().stored;
        let all = [&b"key"[..], b"stored", b"untold"].map(|key| stored(&contact, key));
        assert_eq!(all, [None, Some(15), None]);
        contact.partner_stored(b"stored", 1, 16);
        contact.partner_stored(b"key", 2, 17); // another partner, from which it was not parted
        let both = [&b"key"[..], b"stored"].map(|key| stored(&contact, key));
        assert_eq!(both, [None, Some(16)]);
        contact.stored_again(b"late", 26);
        contact.stored_again(b"key", 0);
        let both = [&b"late"[..], b"key"].map(|key| late(&contact, key));
        assert_eq!(both, [(false, Some(26)), (true, None)]);
        assert_eq!(contact.marks(b"key", 2, true), None);
        contact.is_settled();
        assert!(!contact.was_parted_from(1));
    }

    #[test]
    fn what_was_not_made_alike_when_it_is_lost_again_is_judged_by_what_was_known_first() {
        let mut contact = Contact::default();
        contact.saw(20);
        contact.is_lost(false);
        contact.is_parted_from(1);
        contact.is_back(0);
        contact.is_made_alike(b"copied");
        contact.saw(30);
        contact.is_lost(true);
        assert!(
            contact.was_parted_of(b"key", 1) && !contact.was_parted_of(b"copied", 1) && !contact.was_parted_last(1)
        );
        contact.is_parted_from(1);
        let above = |key: &[u8]| contact.marks(key, 1, true).unwrap().to_above;
        assert_eq!([above(b"key"), above(b"copied")], [20, 30]);
        assert!(contact.was_parted_last(1));
        contact.is_lost(false);
        assert!(!contact.was_parted());
    }

    #[test]
    fn what_was_stored_before_the_board_was_written_is_below_its_unique() {
        let is_own = |boards_read: usize| {
            let mut contact = Contact::default();
            contact.wrote_unseen(b"key");
            for _ in 0..boards_read {
                contact.is_asked([].into_iter(), 0);
                contact.is_heard();
            }
            contact.is_lost(false);
            contact.is_parted_from(1);
            contact.is_back(0);
            contact.marks(b"key", 1, true).unwrap().to_is_own
        };
        assert_eq!([0, 1, 2].map(is_own), [true, true, false]);
    }

    #[test]
    fn what_is_stored_last_is_known_also_where_there_is_no_room_for_more_keys() {
        let mut contact = Contact::default();
        contact.is_lost(false);
        (0..STORED_MAX + 1).for_each(|n| contact.partner_stored(n.to_string().as_bytes(), 1, 1));
        contact.partner_stored(b"0", 1, 2);
        contact.is_parted_from(1);
        let stored = |n: usize| contact.marks(n.to_string().as_bytes(), 1, true).unwrap().stored;
        assert_eq!([0, 1, STORED_MAX].map(stored), [Some(2), Some(1), None]);
    }
}
