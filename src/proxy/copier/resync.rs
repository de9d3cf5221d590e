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
//! removed, if it is still the same.
//!
//! A server that new settings gave keys to may have held them once before, and have old values of them. So its own list
//! comes first, and each of its keys is made what it is on the partner.
//!
//! One server is filled from one partner at a time. Copying is paced: a few keys are in flight while clients ask for
//! something, more when they do not. If either server goes down, the lack stays noted and is taken up again when both
//! are back, unless the partner lost its memory: then there is nothing left to be copied.

use crate::proxy::Proxy;
use crate::proxy::copier::listing::{Entry, Listing, State};
use crate::proxy::copier::repair::{Manner, Why};
use crate::proxy::fleet::ledger::{Event, Lacking};
use crate::proxy::limits::{Limits, Room};
use crate::proxy::net::{Level, Net};
use crate::proxy::timers::Timer;
use crate::words::Size;
use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};

/// So long after a client's request it still counts as asking.
const BUSY_MS: u64 = 20;
/// What the server that is filled has and its partner has not is looked for once more after this: another magent's write
/// may be on its way to both (R10).
const LOOK_AGAIN_MS: u64 = 1000;

pub struct Resync {
    /// Tells the copies that belong to this from those of one that was broken off.
    number: u64,
    to: usize,
    from: usize,
    started_ms: u64,
    keys: VecDeque<Entry>,
    /// None where the keys were known from the start.
    listing: Option<Listing>,
    /// Of how many shares of the keys which is taken now.
    shares: u64,
    share: u64,
    /// Keys of the list that belong to both servers, in all shares; and whether some of this share had no room.
    listed: usize,
    overflowed: bool,
    in_flight: usize,
    bytes_in_flight: usize,
    /// When the last burst began.
    burst_ms: u64,
    /// Nothing begins before this.
    pause_until_ms: u64,
    /// Keys of the server to be filled that were not on the partner.
    suspects: VecDeque<Entry>,
    phase: Phase,
    /// Keys of this list that are done with, and those of them that were copied.
    seen: u64,
    copied: u64,
    /// Some were copied in this pass.
    found_some: bool,
    /// What was copied in all.
    items: u64,
    bytes: u64,
}

/// Whose keys are gone through, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Those of the server to be filled, which may be old: they are made what they are on the partner.
    Purging,
    /// Those of the partner, for this time: they are copied.
    Filling { pass: u32 },
    /// Those of the partner, after a while: what was left out of its list before is copied.
    Completing,
    /// Those of the server that was filled: what the partner does not have is noted.
    Verifying,
    /// What was noted: if the partner still does not have it, it is removed.
    Removing,
}

impl Phase {
    /// Whether the log tells of it: the server does not have everything yet.
    fn is_told(self) -> bool {
        matches!(self, Phase::Purging | Phase::Filling { .. })
    }
}

impl Resync {
    fn manner(&self, limits: &Limits) -> Manner {
        let few_copied = self.seen >= limits.listed_keys_telling && 2 * self.copied < self.seen;
        match self.phase {
            Phase::Purging => Manner::Overwrite,
            Phase::Verifying => Manner::Verify,
            Phase::Removing => Manner::Remove,
            // The first time, unless another magent has filled the server, or nothing was lost.
            Phase::Filling { pass: 1 } if !few_copied => Manner::Add,
            Phase::Filling { .. } | Phase::Completing => Manner::AddIfLacking,
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Keys in flight, and what their items were taken to weigh.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.in_flight, self.bytes_in_flight)
    }

    /// The server whose keys are listed.
    fn listed(&self) -> usize {
        match self.phase {
            Phase::Filling { .. } | Phase::Completing => self.from,
            Phase::Purging | Phase::Verifying | Phase::Removing => self.to,
        }
    }

    fn list_anew(&mut self) {
        (self.shares, self.share) = (1, 0);
        self.found_some = false;
        self.list_again();
    }

    /// Goes on to the next share of the keys, or to smaller ones. False if that was the last.
    fn take_next_share(&mut self, limits: &Limits) -> bool {
        if self.overflowed {
            // Half full on average: they are not all of one size.
            (self.shares, self.share) = (2 * self.listed as u64 / limits.listed_keys as u64 + 1, 0);
        } else if self.share + 1 < self.shares {
            self.share += 1;
        } else {
            return false;
        }
        self.list_again();
        true
    }

    fn list_again(&mut self) {
        (self.seen, self.copied) = (0, 0);
        self.listing = Some(Listing::new());
    }

    /// Takes a key of the list, if it is in this share and there is room.
    fn take(&mut self, entry: Entry, limits: &Limits) {
        self.listed += 1;
        if self.shares > 1 {
            // Not the hash that spreads keys over servers: of that one every share might be empty, or full.
            let mut hasher = DefaultHasher::new();
            hasher.write(&entry.key);
            if hasher.finish() % self.shares != self.share {
                return;
            }
        }
        match self.keys.len() < limits.listed_keys {
            true => self.keys.push_back(entry),
            false => self.overflowed = true,
        }
    }
}

impl<N: Net> Proxy<N> {
    /// Goes on with what is to be filled, as far as it is allowed to now.
    pub(in crate::proxy) fn resync_step(&mut self, scratch: &mut [u8]) {
        while self.resync_wanted && self.resync.is_none() {
            self.take_up_resync();
        }
        if self.resync_may_read() {
            self.read_listing(scratch);
        }
        if self.resync.is_some() && self.flush_forbids_copying() {
            return;
        }
        if self.resync_awaits_list() {
            return; // an event, or the tick, goes on with it
        }
        let Some(room) = self.resync_room() else {
            return;
        };
        let mut reads = 0;
        while let Some(resync) = &mut self.resync {
            if self.now_ms < resync.pause_until_ms {
                self.timers.set(Timer::Resync, resync.pause_until_ms);
                return;
            }
            if resync.in_flight >= room.keys || resync.bytes_in_flight >= room.bytes {
                return;
            }
            if let Some(entry) = resync.keys.pop_front() {
                resync.in_flight += 1;
                resync.bytes_in_flight += entry.size;
                let (from, to) = (resync.from, resync.to);
                let why = Why::Fill {
                    resync: resync.number,
                    manner: resync.manner(&self.settings.limits),
                    // What its own list says of its keys says nothing of the partner's.
                    listed_exptime: entry.exptime.filter(|_| resync.phase != Phase::Purging),
                    size: entry.size,
                    unique: entry.unique,
                };
                self.start_repair(from, to, &entry.key, why);
                continue;
            }
            let in_flight = resync.in_flight;
            match &resync.listing {
                Some(listing) if listing.may_go_on() => {
                    // A list may be long without a key that belongs to both.
                    reads += 1;
                    if reads > self.settings.limits.list_reads || !self.read_listing(scratch) {
                        return;
                    }
                }
                Some(listing) if !matches!(listing.state, State::Ended) => return,
                _ if in_flight > 0 => return,
                _ => self.pass_over(),
            }
        }
    }

    /// Whether there is nothing to be copied before more of the list comes.
    fn resync_awaits_list(&self) -> bool {
        self.resync.as_ref().is_some_and(|resync| {
            let listing = resync.listing.as_ref();
            let awaited = |listing: &Listing| !matches!(listing.state, State::Ended) && !listing.may_go_on();
            resync.keys.is_empty() && listing.is_some_and(awaited)
        })
    }

    /// How much may be in flight now. None while there is to be a pause.
    fn resync_room(&mut self) -> Option<Room> {
        let resync = self.resync.as_mut()?;
        if self.now_ms >= self.requested_ms + BUSY_MS {
            return Some(self.settings.limits.resync_idle);
        }
        if resync.in_flight > 0 {
            return None;
        }
        if self.now_ms == resync.burst_ms {
            self.timers.set(Timer::Resync, self.now_ms + 1);
            return None;
        }
        resync.burst_ms = self.now_ms;
        Some(self.settings.limits.resync_busy)
    }

    /// Whether more of the list may be there.
    pub(in crate::proxy) fn resync_may_read(&self) -> bool {
        let listing = self.resync.as_ref().and_then(|resync| resync.listing.as_ref());
        listing.is_some_and(Listing::may_go_on)
    }

    /// The list begins, perhaps once more.
    pub(in crate::proxy) fn list_begins(&mut self) {
        if let Some(resync) = &mut self.resync {
            (resync.listed, resync.overflowed) = (0, false);
        }
    }

    /// Whether it has run out of keys, and waits for more of the list.
    pub(in crate::proxy) fn resync_is_hungry(&self) -> bool {
        self.resync.as_ref().is_some_and(|resync| resync.keys.is_empty())
    }

    /// Whether a list is on its way.
    pub(in crate::proxy) fn a_list_comes(&self) -> bool {
        let listing = self.resync.as_ref().and_then(|resync| resync.listing.as_ref());
        listing.is_some_and(|listing| matches!(listing.state, State::Coming { .. }))
    }

    pub(in crate::proxy) fn listing_mut(&mut self) -> Option<&mut Listing> {
        self.resync.as_mut().and_then(|resync| resync.listing.as_mut())
    }

    /// Keeps the entries of a list that belong to both servers.
    pub(in crate::proxy) fn take_entries(&mut self, entries: Vec<Entry>) {
        let Some(resync) = &mut self.resync else {
            return;
        };
        let (to, from) = (resync.to, resync.from);
        let mine = entries
            .into_iter()
            .filter(|entry| self.farm.are_owners(&entry.key, from, to));
        mine.for_each(|entry| resync.take(entry, &self.settings.limits));
    }

    /// Begins to copy something that is lacking, if both servers are there.
    fn take_up_resync(&mut self) {
        self.resync_wanted = false;
        let Some((to, from, what)) = self.farm.ledger.to_be_copied() else {
            return;
        };
        let known: Option<VecDeque<Entry>> = match what {
            Lacking::Keys(keys) if self.farm.servers[from].has_meta => Some(keys.iter().map(Entry::of).collect()),
            _ => None,
        };
        let phase = match what {
            Lacking::Suspect => Phase::Purging,
            Lacking::Unverified { complete: true } => Phase::Verifying,
            Lacking::Unverified { complete: false } => Phase::Completing,
            _ => Phase::Filling { pass: 1 },
        };
        self.resyncs += 1;
        let listing = known.is_none().then(Listing::new);
        self.resync = Some(Resync {
            number: self.resyncs,
            to,
            from,
            started_ms: self.now_ms,
            keys: known.unwrap_or_default(),
            listing,
            shares: 1,
            share: 0,
            listed: 0,
            overflowed: false,
            in_flight: 0,
            bytes_in_flight: 0,
            burst_ms: 0,
            pause_until_ms: 0,
            suspects: VecDeque::new(),
            phase,
            seen: 0,
            copied: 0,
            found_some: false,
            items: 0,
            bytes: 0,
        });
        if self.listing_mut().is_some() {
            if phase.is_told() {
                let (to, from) = (&self.farm.servers[to].name, &self.farm.servers[from].name);
                self.log.say(
                    Level::Notice,
                    format_args!("server {to} is being filled with what {from} has"),
                );
            }
            self.open_listing();
        }
    }

    /// The server whose keys are listed now.
    pub(in crate::proxy) fn listed_server(&self) -> Option<usize> {
        self.resync.as_ref().map(Resync::listed)
    }

    pub(in crate::proxy) fn resync_servers(&self) -> Option<(usize, usize)> {
        self.resync.as_ref().map(|resync| (resync.to, resync.from))
    }

    /// A key is done with; `copied` are the bytes of it that were stored, None if it was there or is gone.
    pub(in crate::proxy) fn fill_done(&mut self, number: u64, key: &[u8], size: usize, copied: Option<usize>) {
        let Some(resync) = self.resync.as_mut().filter(|resync| resync.number == number) else {
            return;
        };
        resync.in_flight -= 1;
        resync.seen += 1;
        resync.bytes_in_flight -= size;
        if let Some(bytes) = copied {
            resync.items += 1;
            resync.copied += 1;
            resync.found_some = true;
            resync.bytes += bytes as u64;
        }
        self.farm.ledger.record(Event::Copied {
            server: resync.to,
            from: resync.from,
            key,
        });
    }

    /// Notes a key of the server that is filled which its partner does not have.
    pub(in crate::proxy) fn note_suspect(&mut self, number: u64, key: &[u8], unique: Option<u64>) {
        let resync = self.resync.as_mut().filter(|resync| resync.number == number);
        if let Some(resync) = resync.filter(|resync| resync.suspects.len() < self.settings.limits.listed_keys) {
            resync.suspects.push_back(Entry {
                unique,
                ..Entry::of(key)
            });
        }
    }

    /// All keys that were listed are done with: once more, or that was it.
    fn pass_over(&mut self) {
        let Some(resync) = &mut self.resync else {
            return;
        };
        if resync.phase != Phase::Removing && resync.listing.is_some() && resync.take_next_share(&self.settings.limits)
        {
            return self.open_listing();
        }
        let servers = &self.farm.servers;
        let (to, from) = (resync.to, resync.from);
        // A list by the hash table leaves nothing out.
        let incomplete = !servers[from].lists_hash;
        let passes_max = self.settings.limits.list_passes;
        let found_some = resync.listing.is_some() && resync.found_some;
        resync.phase = match resync.phase {
            Phase::Purging => Phase::Filling { pass: 1 },
            Phase::Filling { pass } if found_some && incomplete && pass < passes_max && servers[to].has_meta => {
                Phase::Filling { pass: pass + 1 }
            }
            Phase::Filling { .. } => {
                let verifiable = resync.listing.is_some() && servers[from].has_meta;
                let left = if verifiable {
                    Lacking::Unverified { complete: !incomplete }
                } else {
                    Lacking::Keys(Default::default())
                };
                self.note_filled();
                return self.end_resync(left);
            }
            Phase::Completing => Phase::Verifying,
            Phase::Verifying if !resync.suspects.is_empty() => {
                resync.keys = std::mem::take(&mut resync.suspects);
                resync.pause_until_ms = self.now_ms + LOOK_AGAIN_MS;
                resync.phase = Phase::Removing;
                return;
            }
            Phase::Verifying | Phase::Removing => return self.end_resync(Lacking::Keys(Default::default())),
        };
        resync.list_anew();
        self.open_listing();
    }

    /// Tells the log that a server has what its partner has.
    fn note_filled(&mut self) {
        let Some(resync) = self.resync.as_ref().filter(|resync| resync.listing.is_some()) else {
            return;
        };
        let (to, from) = (&self.farm.servers[resync.to].name, &self.farm.servers[resync.from].name);
        let (items, bytes, took_ms) = (resync.items, resync.bytes, self.now_ms - resync.started_ms);
        let (s, ms) = (took_ms / 1000, took_ms % 1000);
        self.log.say(
            Level::Notice,
            format_args!(
                "server {to} has been filled with what {from} has: {items} items, {}, in {s}.{ms:03} s",
                Size(bytes)
            ),
        );
    }

    /// Ends the resync; its lack becomes this.
    fn end_resync(&mut self, what: Lacking) {
        let Some(resync) = self.resync.take() else {
            return;
        };
        // Known keys were struck off one by one; what was missed since is still to be copied.
        if resync.listing.is_some() {
            self.farm.ledger.record(Event::Filled {
                server: resync.to,
                from: resync.from,
                left: what,
            });
        }
        if !self.farm.ledger.account(resync.to).is_settling() {
            self.settled(resync.to);
        }
        self.resync_wanted = true;
        self.leave_listing(resync.listing);
    }

    /// The partner cannot say what it has.
    pub(in crate::proxy) fn cannot_list(&mut self) {
        if self.resync.as_ref().is_some_and(|resync| !resync.phase.is_told()) {
            return self.end_resync(Lacking::Keys(Default::default()));
        }
        if let (Some((to, from)), Some(mute)) = (self.resync_servers(), self.listed_server()) {
            let (to, from) = (&self.farm.servers[to].name, &self.farm.servers[from].name);
            let mute = &self.farm.servers[mute].name;
            self.log.say(
                Level::Warning,
                format_args!(
                    "server {mute} cannot list its keys: {to} is not filled from {from}, which is asked first"
                ),
            );
            self.end_resync(Lacking::Unlistable);
        }
    }

    /// Ends the resync if it needs this server; what is lacking stays noted.
    pub(in crate::proxy) fn break_off_resync(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        if self
            .resync_servers()
            .is_none_or(|(to, from)| to != index && from != index)
        {
            return;
        }
        let Some(resync) = self.resync.take() else {
            return;
        };
        if resync.listing.is_some() && resync.phase.is_told() {
            let (to, from) = (&self.farm.servers[resync.to].name, &self.farm.servers[resync.from].name);
            let (items, name) = (resync.items, &self.farm.servers[index].name);
            self.log.say(
                Level::Warning,
                format_args!("filling server {to} with what {from} has ended after {items} items: {name}: {reason}"),
            );
        }
        self.resync_wanted = true;
        self.leave_listing(resync.listing);
    }

    /// New settings may have taken the reason away.
    pub(in crate::proxy) fn break_off_resync_if_moved(&mut self) {
        if let Some((to, from)) = self.resync_servers() {
            if self.farm.ledger.account(to).lack(from).is_none() {
                self.break_off_resync(to, format_args!("the configuration has changed"));
            }
        }
    }
}
