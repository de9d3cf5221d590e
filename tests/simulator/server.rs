//! A memcached's process and machine: running, stopped, dead; and what becomes of its connections.

use super::garble::garble;
use super::memcached::{Memcached, Version};
use super::net::{Event, Name, Network, Peer};
use super::pipe::{End, Us};
use super::trace::Readable;

/// How late a thread of a process may run that was stopped.
const THREAD_LATE_MAX_US: u64 = 8_000;

/// When a thread goes on that had another's turn come in between.
const THREADS_TURN_MAX_US: Us = 200;

/// How long a list takes that takes its time.
const LIST_MAX_US: Us = 60_000;

/// How lists of keys come.
#[derive(Clone, Copy, Default)]
pub struct Lists {
    pub are_slow: bool,
    /// One in so many breaks off; 0 for none.
    pub break_one_in: u64,
}

pub struct Server {
    index: usize,
    /// The address in words, as `stats servers` prints it.
    pub name: String,
    /// None while no process runs.
    pub memcached: Option<Memcached>,
    /// SIGSTOP: the kernel goes on taking bytes and connections.
    stopped: bool,
    can_list: bool,
    pid: u32,
    /// Seconds by which its clock is ahead of everybody's.
    pub ahead_s: i64,
    /// The largest item that it takes.
    pub item_max: usize,
    /// None for what the model is.
    pub version: Option<Version>,
    is_full: bool,
    /// How its lists of keys come.
    pub lists: Lists,
    /// It has threads: what came on a connection is not done at one go.
    pub does_a_part: bool,
    /// Lists that go on: the connection, and when each ends.
    listing: Vec<(Name, Us)>,
    /// What it has when it is started again, if it keeps its items.
    kept: Option<Memcached>,
    out: Vec<u8>,
    input: Vec<u8>,
    /// One in so many of its answers is none; 0 for none.
    pub babbles_one_in: u64,
    /// Names of keys that were fetched to be copied, or whose copies have come, with the magent that copies, since this was last
    /// emptied; where there are several magents.
    pub copied: Vec<(usize, String)>,
}

impl Server {
    pub fn new(index: usize, name: String, has_meta: bool, can_list: bool) -> Self {
        Self {
            index,
            name,
            memcached: None,
            stopped: false,
            can_list,
            pid: 100 * (index as u32 + 1),
            ahead_s: 0,
            item_max: 1 << 20,
            version: (!has_meta).then_some(Version::BEFORE_META),
            is_full: false,
            lists: Lists::default(),
            does_a_part: false,
            listing: Vec::new(),
            kept: None,
            out: Vec::new(),
            input: Vec::new(),
            babbles_one_in: 0,
            copied: Vec::new(),
        }
    }

    /// A new process, empty, that has been there for `age_ms` already.
    pub fn start(&mut self, network: &mut Network, age_ms: u64) {
        self.pid += 1;
        let mut memcached = match self.kept.take() {
            Some(kept) => kept.started_again(self.pid),
            None => Memcached::new(self.pid, self.clock_ms(network) - age_ms),
        };
        memcached.set_item_max(self.item_max);
        memcached.set_can_list(self.can_list);
        if let Some(version) = self.version {
            memcached.set_version(version);
            memcached.set_lists_slowly(self.lists.are_slow);
        }
        memcached.set_full(self.is_full);
        memcached.set_busy(false);
        self.listing.clear();
        self.memcached = Some(memcached);
        self.stopped = false;
        network.listening[self.index] = true;
        network.note(
            format_args!("s{}", self.index),
            format_args!("started, pid {}", self.pid),
        );
    }

    /// The time by its own clock.
    pub fn clock_ms(&self, network: &Network) -> u64 {
        network.unix_ms().saturating_add_signed(1000 * self.ahead_s)
    }

    /// SIGUSR1: it ends, and has its items when it is started again.
    pub fn end_and_keep(&mut self, network: &mut Network) {
        self.kept = self.memcached.clone();
        self.kill(network);
    }

    fn connections(&self, network: &Network) -> Vec<Name> {
        network.names(|connection| connection.peer == Peer::Server(self.index))
    }

    /// kill -9: the memory is gone, and the kernel ends the connections.
    pub fn kill(&mut self, network: &mut Network) {
        self.memcached = None;
        self.stopped = false;
        network.listening[self.index] = false;
        for name in self.connections(network) {
            let resets = network.random.one_in(2);
            let Some(connection) = network.connection(name) else {
                continue;
            };
            connection.forgotten = true;
            if connection.accepted.take().is_none() {
                continue;
            }
            // Unread requests make it a reset, which may overtake the last answers.
            let end = if resets || connection.outward.arrived() > 0 {
                End::Reset
            } else {
                End::Closed
            };
            if end == End::Reset && network.random.one_in(2) {
                if let Some(connection) = network.connection(name) {
                    connection.inward.lose_flights();
                }
            }
            network.peer_close(name, end);
        }
    }

    /// The machine loses power: the memory is gone, and nobody is told.
    pub fn lose_power(&mut self, network: &mut Network) {
        self.memcached = None;
        self.stopped = false;
        for name in self.connections(network) {
            if let Some(connection) = network.connection(name) {
                connection.forgotten = true;
                connection.accepted = None;
                connection.inward.lose_flights();
            }
        }
    }

    /// What it will be when it has done all that lies in its sockets; None while no process runs.
    pub fn foreseen(&self, network: &mut Network) -> Option<Memcached> {
        let mut memcached = self.memcached.clone()?;
        let now_ms = self.clock_ms(network);
        for name in self.connections(network) {
            if let Some(connection) = network.connection(name) {
                if !connection.forgotten {
                    let number = connection.accepted.unwrap_or_else(|| memcached.connect());
                    memcached.input(number, &connection.outward.unread(), now_ms, &mut Vec::new());
                }
            }
        }
        Some(memcached)
    }

    /// Whether it has no memory.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
        if let Some(memcached) = &mut self.memcached {
            memcached.set_full(is_full);
        }
    }

    /// Whether its crawler has something else to do.
    pub fn set_busy(&mut self, is_busy: bool) {
        if let Some(memcached) = &mut self.memcached {
            memcached.set_busy(is_busy);
        }
    }

    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// SIGCONT: it gets to what has come meanwhile, to each connection when the thread that has it runs.
    pub fn go_on(&mut self, network: &mut Network) {
        self.stopped = false;
        for name in self.connections(network) {
            let delay_us = network.random.skewed(0, THREAD_LATE_MAX_US);
            network.at(network.now + delay_us, Event::Resume(name));
        }
    }

    /// One connection between it and a magent breaks for both.
    pub fn lose_connection(&mut self, network: &mut Network, name: Name) {
        if let Some(connection) = network.connection(name) {
            if let Some(number) = connection.accepted.take() {
                connection.forgotten = true;
                if let Some(memcached) = &mut self.memcached {
                    memcached.disconnect(number);
                }
                network.peer_close(name, End::Reset);
            }
        }
    }

    /// Its idle limit, or an administrator, ends a connection in order.
    pub fn end_connection(&mut self, network: &mut Network, name: Name) {
        if let Some(connection) = network.connection(name) {
            if let Some(number) = connection.accepted.take() {
                connection.forgotten = true;
                if let Some(memcached) = &mut self.memcached {
                    memcached.disconnect(number);
                }
                network.peer_close(name, End::Closed);
            }
        }
    }

    /// Somebody connects.
    pub fn knock(&mut self, network: &mut Network, name: Name) {
        if !network.knock(name) {
            return;
        }
        if let Some(connection) = network.connection(name) {
            connection.forgotten = false;
            if let (Some(memcached), false, None) = (&mut self.memcached, self.stopped, connection.accepted) {
                connection.accepted = Some(memcached.connect());
            }
        }
    }

    /// Handles what has arrived on a connection.
    pub fn serve(&mut self, network: &mut Network, name: Name) {
        let Some(connection) = network.connection(name) else {
            return;
        };
        if connection.forgotten || self.memcached.is_none() {
            return network.peer_resets(name);
        }
        let Some(memcached) = self.memcached.as_mut().filter(|_| !self.stopped) else {
            return;
        };
        let something = connection.outward.arrived() > 0 || connection.outward.end().is_some();
        if !something && connection.accepted.is_none() {
            return;
        }
        let number = *connection.accepted.get_or_insert_with(|| memcached.connect());
        if memcached.lists(number) && !end_list_if_due(&mut self.listing, memcached, number, network, name) {
            return; // it reads no more before that
        }
        if !network.peer_is_through(name) {
            return;
        }
        self.input.clear();
        let end = take(network, name, self.does_a_part, &mut self.input);
        let mut stays = end.is_none();
        if !self.input.is_empty() {
            // Of one magent alone nobody asks.
            if network.ports.len() > 1 {
                let magent = network.connection(name).map_or(0, |connection| connection.magent);
                let copied = copied_keys(&self.input).map(|key| (magent, key));
                self.copied.extend(copied);
            }
            let now_ms = network.unix_ms().saturating_add_signed(1000 * self.ahead_s);
            stays &= memcached.input(number, &self.input, now_ms, &mut self.out);
            if network.trace.is_on() && !self.out.is_empty() {
                let line = Readable(&self.out);
                network.note(
                    format_args!("s{}", self.index),
                    format_args!("-> #{}  {line}", name.index),
                );
            }
            if self.lists.break_one_in > 0 && self.input.starts_with(b"lru_crawler metadump") {
                stays &= !break_off(self.lists.break_one_in, network, &mut self.out);
            }
            if !self.out.is_empty() && network.random.one_in(self.babbles_one_in) {
                garble(&self.input, &mut self.out, &mut network.random);
            }
            network.peer_send(name, &self.out);
            self.out.clear();
            if stays && memcached.lists(number) {
                let time = network.now + network.random.between(0, LIST_MAX_US);
                self.listing.push((name, time));
                network.at(time, Event::Resume(name));
            }
        }
        if !stays {
            memcached.disconnect(number);
            if let Some(connection) = network.connection(name) {
                connection.accepted = None;
                connection.forgotten = true;
            }
            network.peer_close(name, End::Closed);
        }
    }
}

/// Takes what has arrived on a connection; some of it first, perhaps, if a part may do.
fn take(network: &mut Network, name: Name, a_part: bool, into: &mut Vec<u8>) -> Option<End> {
    let arrived = network.connection(name)?.outward.arrived();
    if !a_part || arrived < 2 || !network.random.one_in(2) {
        return network.peer_take(name, into);
    }
    let part = network.random.between(1, arrived as u64);
    let later_us = network.random.between(1, THREADS_TURN_MAX_US);
    network.at(network.now + later_us, Event::Resume(name));
    network.peer_take_some(name, part as usize, into)
}

/// Ends a list that is through. Returns whether it did.
fn end_list_if_due(
    listing: &mut Vec<(Name, Us)>,
    memcached: &mut Memcached,
    number: usize,
    network: &mut Network,
    name: Name,
) -> bool {
    let is_due = |&(lister, time): &(Name, Us)| lister == name && time <= network.now;
    let Some(at) = listing.iter().position(is_due) else {
        return false;
    };
    listing.swap_remove(at);
    let mut out = Vec::new();
    memcached.end_list(number, &mut out);
    network.peer_send(name, &out);
    true
}

/// A list may break off, in the middle of a line perhaps. Returns whether it does.
fn break_off(one_in: u64, network: &mut Network, out: &mut Vec<u8>) -> bool {
    let breaks = network.random.one_in(one_in);
    if breaks {
        let kept = network.random.below(out.len() as u64 + 1);
        out.truncate(kept as usize);
    }
    breaks
}

/// The keys that a magent copies if it does not write them, by what it asks for: it fetches one, or adds it.
fn copied_keys(input: &[u8]) -> impl Iterator<Item = String> {
    input.split(|&byte| byte == b'\n').filter_map(|line| {
        let fetched = || line.strip_prefix(b"mg ")?.strip_suffix(b" t f c k v\r");
        let added = || line.strip_prefix(b"add ")?.split(|&byte| byte == b' ').next();
        let key = fetched().or_else(added)?;
        Some(String::from_utf8_lossy(key).into_owned())
    })
}
