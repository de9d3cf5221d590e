//! Filling a server: who carries out what a resync says, and tells the log of it.

use crate::protocol::server::list::{Entry, ListBy};
use crate::proxy::copier::Copier;
use crate::proxy::copier::pacing::Turn;
use crate::proxy::copier::repair::Why;
use crate::proxy::copier::resync::{Able, Follows, Left, Next, Resync, Task};
use crate::proxy::fleet::ledger::{Event, Lacking};
use crate::proxy::fleet::server::Own;
use crate::proxy::net::{Level, Net};
use crate::proxy::replicate::Replicate;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::words::Size;

impl Copier {
    /// Goes on with what is to be filled, as far as it is allowed to now.
    /// A client has last asked for something at `requested_ms`.
    pub fn resync_step<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        requested_ms: u64,
        scratch: &mut [u8],
    ) {
        while self.takes_up() {
            self.take_up_resync(servers);
        }
        if self.may_read_list() {
            self.read_listing(servers, scratch);
        }
        if self.resync.is_some() && servers.flush_forbids_copying() {
            return;
        }
        let now_ms = servers.cx.now.ms();
        let turn = self.resync.as_mut().map(|resync| resync.turn(now_ms, requested_ms));
        let room = match turn {
            None | Some(Turn::Later) => return,
            Some(Turn::At(at_ms)) => return servers.cx.timers.set(Timer::Resync, at_ms),
            Some(Turn::Go(room)) => room,
        };
        let mut reads = 0;
        while let Some(resync) = &mut self.resync {
            let (from, to) = (resync.from, resync.to);
            match resync.next(now_ms, room) {
                Next::Copy { key, fill } => self.start_repair(replicate, servers, (from, to), &key, Why::Fill(fill)),
                Next::Read => {
                    // A list may be long without a key that belongs to both.
                    reads += 1;
                    if reads > servers.cx.settings.limits.list_reads || !self.read_listing(servers, scratch) {
                        return;
                    }
                }
                Next::PassOver => self.pass_over(servers),
                Next::NothingBefore(at_ms) => return servers.cx.timers.set(Timer::Resync, at_ms),
                Next::Nothing => return,
            }
        }
    }

    /// Begins to copy something that is lacking, if both servers are there.
    fn take_up_resync<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some((from, to, task)) = Self::lack_to_take_up(servers) else {
            return;
        };
        let (now_ms, limits) = (servers.cx.now.ms(), &servers.cx.settings.limits);
        let keeps_own = servers.fleet.servers[to].own == Own::Kept;
        let made_before = self.made.get(&(from, to)).copied().unwrap_or(u64::MAX);
        let resync = self.take_up(from, to, task, now_ms, limits);
        if keeps_own {
            resync.keep_own(made_before);
        }
        let (lists, told) = (resync.listing.is_some(), resync.is_told());
        if told {
            let (to, from) = (servers.fleet.name(to), servers.fleet.name(from));
            servers.cx.log.say(
                Level::Notice,
                format_args!("server {to} is being filled with what {from} has"),
            );
        }
        if lists {
            self.open_listing(servers);
        }
    }

    /// Something that a server lacks of a partner's, where both are there: the partner, the server, and what it is.
    fn lack_to_take_up<N: Net>(servers: &Servers<N>) -> Option<(usize, usize, Task)> {
        let fleet = &servers.fleet;
        let now_ms = servers.cx.now.ms();
        // What others still write to one of the two alone is not to be taken for older than its copy; nor is what their clients have
        // deleted on one to be copied from the other.
        let waits = |to: usize, from: usize| {
            let contact = &fleet.servers[to].contact;
            let lack = fleet.ledger.account(to).lack(from);
            let lists = lack.is_some_and(|lack| !matches!(lack.what, Lacking::Keys(_)));
            contact.waits_for_others(from, now_ms)
                || lists && !contact.was_parted_from(from) && fleet.may_be_missed(from, now_ms)
        };
        let (to, from, what) = fleet.ledger.to_be_copied(waits)?;
        let parted = fleet.servers[to].contact.was_parted_from(from);
        let task = match what {
            Lacking::Keys(keys) if parted => Task::Parted(keys.iter().map(Entry::of).collect()),
            Lacking::Keys(keys) if servers.fleet.has_meta(from) => Task::Keys(keys.iter().map(Entry::of).collect()),
            Lacking::Suspect => Task::Suspect { parted },
            Lacking::Unverified { complete } => Task::Unverified { completes: !complete },
            Lacking::Keys(_) | Lacking::Everything | Lacking::Unlistable => Task::Everything,
        };
        Some((from, to, task))
    }

    /// All keys that were listed are done with: once more, or that was it.
    fn pass_over<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some(resync) = &mut self.resync else {
            return;
        };
        let fleet = &servers.fleet;
        let able = Able {
            from_has_meta: fleet.has_meta(resync.from),
            to_has_meta: fleet.has_meta(resync.to),
            from_lists_hash: fleet.lists(resync.from) == ListBy::Hash,
        };
        match resync.pass_over(&able, servers.cx.now.ms()) {
            Follows::List => self.open_listing(servers),
            Follows::GoOn => {}
            Follows::Filled(left) => {
                self.note_filled(servers);
                self.end_resync(servers, left);
            }
            Follows::Verified => {
                let pair = (resync.from, resync.to);
                self.end_resync(servers, Left::Nothing);
                self.made.remove(&pair);
            }
        }
    }

    /// Tells the log that a server has what its partner has.
    fn note_filled<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some(resync) = self.resync.as_ref().filter(|resync| resync.is_told()) else {
            return;
        };
        let report = resync.report(servers.cx.now.ms());
        let (to, from) = (servers.fleet.name(resync.to), servers.fleet.name(resync.from));
        let (items, bytes) = (report.items, report.bytes);
        let (s, ms) = (report.took_ms / 1000, report.took_ms % 1000);
        servers.cx.log.say(
            Level::Notice,
            format_args!(
                "server {to} has been filled with what {from} has: {items} items, {}, in {s}.{ms:03} s",
                Size(bytes)
            ),
        );
    }

    /// Ends the resync; its lack becomes this.
    fn end_resync<N: Net>(&mut self, servers: &mut Servers<N>, left: Left) {
        let Some(resync) = self.take_resync() else {
            return;
        };
        // Known keys were struck off one by one; what was missed since is still to be copied.
        if resync.listing.is_some() {
            servers.fleet.ledger.record(Event::Filled {
                server: resync.to,
                from: resync.from,
                left: match left {
                    Left::Nothing => Lacking::Keys(Default::default()),
                    Left::Unverified { complete } => Lacking::Unverified { complete },
                    Left::Unlistable => Lacking::Unlistable,
                },
            });
        }
        // Of two that were parted and have been made alike nobody has anything to remove: others decide by the senior, and so does this magent.
        let was_parted = servers.fleet.servers[resync.to].contact.was_parted_from(resync.from);
        let is_done = was_parted && servers.fleet.ledger.account(resync.to).lacks_nothing_more();
        if is_done || !servers.fleet.ledger.account(resync.to).is_settling() {
            servers.settled(resync.to);
        }
        self.leave_listing(servers, resync);
    }

    /// The server whose keys are listed cannot list them.
    pub fn cannot_list<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some(resync) = &self.resync else {
            return;
        };
        let left = resync.cannot_list();
        if left == Left::Unlistable {
            let name = |index: usize| servers.fleet.name(index);
            let (to, from, mute) = (name(resync.to), name(resync.from), name(resync.listed()));
            servers.cx.log.say(
                Level::Warning,
                format_args!(
                    "server {mute} cannot list its keys: {to} is not filled from {from}, which is asked first"
                ),
            );
        }
        self.end_resync(servers, left);
    }

    /// Ends the resync if it needs this server; what is lacking stays noted.
    pub fn break_off_resync<N: Net>(&mut self, servers: &mut Servers<N>, index: usize, reason: &str) {
        let needs = |resync: &Resync| resync.to == index || resync.from == index;
        if !self.resync.as_ref().is_some_and(needs) {
            return;
        }
        let Some(resync) = self.take_resync() else {
            return;
        };
        if resync.is_told() {
            let name = |index: usize| servers.fleet.name(index);
            let (to, from, name) = (name(resync.to), name(resync.from), name(index));
            let items = resync.report(servers.cx.now.ms()).items;
            servers.cx.log.say(
                Level::Warning,
                format_args!("filling server {to} with what {from} has ended after {items} items: {name}: {reason}"),
            );
        }
        self.leave_listing(servers, resync);
    }

    /// Other magents are without a server: what is listed of it may have been deleted meanwhile. It is copied from again when they have
    /// found it.
    pub fn source_is_missed<N: Net>(&mut self, servers: &mut Servers<N>, index: usize) {
        let lists_it = |resync: &Resync| resync.from == index && resync.listing.is_some();
        if self.resync.as_ref().is_some_and(lists_it) {
            self.break_off_resync(servers, index, "another magent cannot reach it");
        }
    }

    /// New settings may have taken the reason away.
    pub fn break_off_resync_if_moved<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some(resync) = &self.resync else {
            return;
        };
        let (to, from) = (resync.to, resync.from);
        if servers.fleet.ledger.account(to).lack(from).is_none() {
            self.break_off_resync(servers, to, "the configuration has changed");
        }
    }
}
