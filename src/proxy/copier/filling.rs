//! Filling a server: who carries out what a resync says, and tells the log of it.

use crate::proxy::Proxy;
use crate::proxy::copier::entry::Entry;
use crate::proxy::copier::pacing::Turn;
use crate::proxy::copier::repair::Why;
use crate::proxy::copier::resync::{Able, Follows, Left, Next, Resync, Task};
use crate::proxy::fleet::ledger::{Event, Lacking};
use crate::proxy::net::{Level, Net};
use crate::proxy::timers::Timer;
use crate::words::Size;
use std::fmt;

impl<N: Net> Proxy<N> {
    /// Goes on with what is to be filled, as far as it is allowed to now.
    pub(in crate::proxy) fn resync_step(&mut self, scratch: &mut [u8]) {
        while self.copier.takes_up() {
            self.take_up_resync();
        }
        if self.copier.may_read_list() {
            self.read_listing(scratch);
        }
        if self.copier.resync.is_some() && self.flush_forbids_copying() {
            return;
        }
        let (now_ms, requested_ms) = (self.now_ms, self.requested_ms);
        let turn = self
            .copier
            .resync
            .as_mut()
            .map(|resync| resync.turn(now_ms, requested_ms));
        let room = match turn {
            None | Some(Turn::Later) => return,
            Some(Turn::At(at_ms)) => return self.timers.set(Timer::Resync, at_ms),
            Some(Turn::Go(room)) => room,
        };
        let mut reads = 0;
        while let Some(resync) = &mut self.copier.resync {
            let (from, to) = (resync.from, resync.to);
            match resync.next(now_ms, room) {
                Next::Copy { key, fill } => self.start_repair(from, to, &key, Why::Fill(fill)),
                Next::Read => {
                    // A list may be long without a key that belongs to both.
                    reads += 1;
                    if reads > self.settings.limits.list_reads || !self.read_listing(scratch) {
                        return;
                    }
                }
                Next::PassOver => self.pass_over(),
                Next::NothingBefore(at_ms) => return self.timers.set(Timer::Resync, at_ms),
                Next::Nothing => return,
            }
        }
    }

    /// Begins to copy something that is lacking, if both servers are there.
    fn take_up_resync(&mut self) {
        let Some((from, to, task)) = self.lack_to_take_up() else {
            return;
        };
        let (now_ms, limits) = (self.now_ms, &self.settings.limits);
        let resync = self.copier.take_up(from, to, task, now_ms, limits);
        let (lists, told) = (resync.listing.is_some(), resync.is_told());
        if told {
            let (to, from) = (&self.farm.servers[to].name, &self.farm.servers[from].name);
            self.log.say(
                Level::Notice,
                format_args!("server {to} is being filled with what {from} has"),
            );
        }
        if lists {
            self.open_listing();
        }
    }

    /// Something that a server lacks of a partner's, where both are there: the partner, the server, and what it is.
    fn lack_to_take_up(&self) -> Option<(usize, usize, Task)> {
        let (to, from, what) = self.farm.ledger.to_be_copied()?;
        let task = match what {
            Lacking::Keys(keys) if self.farm.servers[from].has_meta => Task::Keys(keys.iter().map(Entry::of).collect()),
            Lacking::Suspect => Task::Suspect,
            Lacking::Unverified { complete } => Task::Unverified { completes: !complete },
            Lacking::Keys(_) | Lacking::Everything | Lacking::Unlistable => Task::Everything,
        };
        Some((from, to, task))
    }

    /// All keys that were listed are done with: once more, or that was it.
    fn pass_over(&mut self) {
        let Some(resync) = &mut self.copier.resync else {
            return;
        };
        let [from, to] = [resync.from, resync.to].map(|index| &self.farm.servers[index]);
        let able = Able {
            from_has_meta: from.has_meta,
            to_has_meta: to.has_meta,
            from_lists_hash: from.lists_hash,
        };
        match resync.pass_over(&able, self.now_ms) {
            Follows::List => self.open_listing(),
            Follows::GoOn => {}
            Follows::Filled(left) => {
                self.note_filled();
                self.end_resync(left);
            }
            Follows::Verified => self.end_resync(Left::Nothing),
        }
    }

    /// Tells the log that a server has what its partner has.
    fn note_filled(&mut self) {
        let Some(resync) = self.copier.resync.as_ref().filter(|resync| resync.is_told()) else {
            return;
        };
        let report = resync.report(self.now_ms);
        let (to, from) = (&self.farm.servers[resync.to].name, &self.farm.servers[resync.from].name);
        let (items, bytes) = (report.items, report.bytes);
        let (s, ms) = (report.took_ms / 1000, report.took_ms % 1000);
        self.log.say(
            Level::Notice,
            format_args!(
                "server {to} has been filled with what {from} has: {items} items, {}, in {s}.{ms:03} s",
                Size(bytes)
            ),
        );
    }

    /// Ends the resync; its lack becomes this.
    fn end_resync(&mut self, left: Left) {
        let Some(resync) = self.copier.take_resync() else {
            return;
        };
        // Known keys were struck off one by one; what was missed since is still to be copied.
        if resync.listing.is_some() {
            self.farm.ledger.record(Event::Filled {
                server: resync.to,
                from: resync.from,
                left: match left {
                    Left::Nothing => Lacking::Keys(Default::default()),
                    Left::Unverified { complete } => Lacking::Unverified { complete },
                    Left::Unlistable => Lacking::Unlistable,
                },
            });
        }
        if !self.farm.ledger.account(resync.to).is_settling() {
            self.settled(resync.to);
        }
        self.leave_listing(resync);
    }

    /// The server whose keys are listed cannot list them.
    pub(in crate::proxy) fn cannot_list(&mut self) {
        let Some(resync) = &self.copier.resync else {
            return;
        };
        let left = resync.cannot_list();
        if left == Left::Unlistable {
            let name = |index: usize| &self.farm.servers[index].name;
            let (to, from, mute) = (name(resync.to), name(resync.from), name(resync.listed()));
            self.log.say(
                Level::Warning,
                format_args!(
                    "server {mute} cannot list its keys: {to} is not filled from {from}, which is asked first"
                ),
            );
        }
        self.end_resync(left);
    }

    /// Ends the resync if it needs this server; what is lacking stays noted.
    pub(in crate::proxy) fn break_off_resync(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        let needs = |resync: &Resync| resync.to == index || resync.from == index;
        if !self.copier.resync.as_ref().is_some_and(needs) {
            return;
        }
        let Some(resync) = self.copier.take_resync() else {
            return;
        };
        if resync.is_told() {
            let name = |index: usize| &self.farm.servers[index].name;
            let (to, from, name) = (name(resync.to), name(resync.from), name(index));
            let items = resync.report(self.now_ms).items;
            self.log.say(
                Level::Warning,
                format_args!("filling server {to} with what {from} has ended after {items} items: {name}: {reason}"),
            );
        }
        self.leave_listing(resync);
    }

    /// New settings may have taken the reason away.
    pub(in crate::proxy) fn break_off_resync_if_moved(&mut self) {
        let Some(resync) = &self.copier.resync else {
            return;
        };
        let (to, from) = (resync.to, resync.from);
        if self.farm.ledger.account(to).lack(from).is_none() {
            self.break_off_resync(to, format_args!("the configuration has changed"));
        }
    }
}
