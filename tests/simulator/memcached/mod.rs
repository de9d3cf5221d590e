//! A model of memcached 1.6.18, for the simulator: no sockets, no clock, no randomness; the same input has the same
//! output. tests/model.rs compares it with the real one, byte by byte.
//!
//! ```text
//! mod         one life of a process: its connections and what it knows
//! connection  bytes -> commands; when replies leave
//! commands    the text commands        meta  the meta commands
//! items       the items and the rules by which they change
//! number      numbers as C reads them
//! version     what other versions do differently
//! ```
//!
//! Knowingly different from the real one:
//! - `flush_all` with a delay does what protocol.txt says: at that second everything stored before it is gone. The real
//!   one does it a second early, and throws away what is stored in that second after it, too. The real `flush_all`
//!   also forgets an earlier one: `flush_all`, `flush_all 100` brings back what has not been asked for in between.
//! - `lru_crawler metadump` is done at once, so it is never BUSY; `all` lists every item that no reply holds, where the
//!   real one misses items that its LRU lists move about while it walks them (`hash` misses none).
//! - The real one reads a number behind the end of its value, in what older items left there: a value of blanks only may
//!   be a number to it, and one of 2^63 or more may be none. Here nothing is behind the end.
//! - Nothing but a reply holds an item, where the real one's threads do now and then, so that an incr that could be done
//!   in place pads a value here which is replaced there.
//! - Memory has no end: only [`Memcached::evict`] evicts.
//! - `stats` of a topic says a few lines of what the real one does, and `cache_memlimit` limits nothing.
//! - The binary protocol, base64 keys, `me` and the commands that steer one memcached are not there: they panic, so that
//!   no test rests on a wrong answer.

#![allow(dead_code)] // each test target uses its part

mod commands;
mod connection;
mod items;
mod meta;
mod number;
mod version;

pub use items::Item;
pub use version::Version;

use connection::Connection;
use items::Items;
use std::collections::BTreeMap;

/// One life of one memcached process: its items die with it.
#[derive(Clone)]
pub struct Memcached {
    process: Process,
    connections: BTreeMap<usize, Connection>,
}

/// What all connections share.
#[derive(Clone)]
struct Process {
    pid: u32,
    started_s: i64,
    /// The second that it is now.
    now_s: i64,
    items: Items,
    has_meta: bool,
    can_list: bool,
    version: Version,
    /// It has no memory for anything more.
    is_full: bool,
    /// Its crawler does something else.
    is_busy: bool,
    /// A list of keys takes its time: the end comes when [`Memcached::end_list`] says so.
    lists_slowly: bool,
    /// The connections whose lists have not ended.
    listing: Vec<usize>,
    connections_now: usize,
    connections_ever: usize,
    counters: Counters,
}

#[derive(Clone, Default)]
struct Counters {
    cmd_get: u64,
    cmd_set: u64,
    cmd_flush: u64,
    cmd_touch: u64,
    get_hits: u64,
    get_misses: u64,
    incr_hits: u64,
    incr_misses: u64,
    decr_hits: u64,
    decr_misses: u64,
    evictions: u64,
}

impl Memcached {
    /// `pid` is shown in `stats`, `now_ms` is virtual unix time in milliseconds: the start.
    pub fn new(pid: u32, now_ms: u64) -> Self {
        let started_s = seconds(now_ms);
        let process = Process {
            pid,
            started_s,
            now_s: started_s,
            items: Items::new(started_s),
            has_meta: true,
            can_list: true,
            version: Version::MODELLED,
            is_full: false,
            is_busy: false,
            lists_slowly: false,
            listing: Vec::new(),
            connections_now: 0,
            connections_ever: 0,
            counters: Counters::default(),
        };
        Self {
            process,
            connections: BTreeMap::new(),
        }
    }

    /// Opens a connection and returns its number, which is never used again.
    pub fn connect(&mut self) -> usize {
        self.process.connections_ever += 1;
        self.process.connections_now += 1;
        let number = self.process.connections_ever;
        self.connections.insert(number, Connection::new(number));
        number
    }

    /// Closes a connection. What it has not completed is lost.
    pub fn disconnect(&mut self, connection: usize) {
        if self.connections.remove(&connection).is_some() {
            self.process.connections_now -= 1;
            self.process.listing.retain(|&lister| lister != connection);
            self.process.items.release(connection);
        }
    }

    /// Takes bytes that arrived on a connection, in any split; runs every command that is complete; appends replies to
    /// `out`. False if memcached closes the connection (quit, line too long ...), and for one that is closed.
    pub fn input(&mut self, connection: usize, bytes: &[u8], now_ms: u64, out: &mut Vec<u8>) -> bool {
        self.process.now_s = seconds(now_ms);
        self.process.items.set_clock(self.process.now_s);
        let Some(open) = self.connections.get_mut(&connection) else {
            return false;
        };
        let stays = open.input(&mut self.process, bytes, out);
        if !stays {
            self.disconnect(connection);
        }
        stays
    }

    /// The item, if it is there and not expired or flushed; without touching it.
    pub fn peek(&self, key: &[u8], now_ms: u64) -> Option<&Item> {
        self.process.items.peek(key, seconds(now_ms))
    }

    /// All keys that are there, in a stable order.
    pub fn keys(&self, now_ms: u64) -> Vec<Vec<u8>> {
        let live = self.process.items.live(seconds(now_ms));
        live.map(|(key, _)| key.to_vec()).collect()
    }

    /// Evicts an item, as memory pressure would.
    pub fn evict(&mut self, key: &[u8]) {
        if self.process.items.unlink(key) {
            self.process.counters.evictions += 1;
        }
    }

    /// The largest item that it takes, as by `-I`, with what an item needs beside its value.
    pub fn set_item_max(&mut self, bytes_max: usize) {
        self.process.items.set_bytes_max(bytes_max);
    }

    /// What a process is that has a memory file (`-e`), was ended by SIGUSR1 and is started again: it has its items, and its
    /// old uptime.
    pub fn started_again(mut self, pid: u32) -> Self {
        self.connections.clear();
        self.process.listing.clear();
        self.process.pid = pid;
        self.process.connections_now = 0;
        self.process.connections_ever = 0;
        self.process.counters = Counters::default();
        self.process.items.take_back();
        self
    }

    /// Whether meta commands are known (memcached 1.6); if not they answer ERROR, as 1.4 and 1.5 do. They are.
    pub fn set_has_meta(&mut self, has: bool) {
        self.process.has_meta = has;
    }

    /// What version it is, as far as that makes a difference to magent.
    pub fn set_version(&mut self, version: Version) {
        self.process.version = version;
        self.process.has_meta = version >= Version::HAS_META;
    }

    /// Whether it has no memory for anything more, and nothing that it may evict.
    pub fn set_full(&mut self, is_full: bool) {
        self.process.is_full = is_full;
    }

    /// Whether its crawler does something else, so that no list is to be had.
    pub fn set_busy(&mut self, is_busy: bool) {
        self.process.is_busy = is_busy;
    }

    /// Whether lists take their time.
    pub fn set_lists_slowly(&mut self, slowly: bool) {
        self.process.lists_slowly = slowly;
    }

    /// Whether a connection waits for the end of a list.
    pub fn lists(&self, connection: usize) -> bool {
        self.process.listing.contains(&connection)
    }

    /// The list on a connection has come to its end, which is marked or not.
    pub fn end_list(&mut self, connection: usize, out: &mut Vec<u8>) {
        self.process.listing.retain(|&lister| lister != connection);
        if self.process.version >= Version::ENDS_LISTS {
            out.extend_from_slice(b"END\r\n");
        }
    }

    /// Whether `lru_crawler metadump` works; if not it answers ERROR. It does.
    pub fn set_can_list(&mut self, can: bool) {
        self.process.can_list = can;
    }
}

impl Process {
    /// Whether its crawler holds locks that this flush_all passes over, or the thread that moves items between its queues:
    /// that does at each second one, so often enough, and never at two in a row.
    fn passes_over(&self) -> bool {
        let items_are_moved = self.counters.cmd_flush % 2 == 1;
        self.version >= Version::FLUSHES_IN_PASSING && (items_are_moved || !self.listing.is_empty())
    }
}

fn seconds(ms: u64) -> i64 {
    i64::try_from(ms / 1000).expect("a time of this age")
}
