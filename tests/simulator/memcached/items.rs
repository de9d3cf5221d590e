//! The items of a memcached and the rules by which they change.

use super::number;
use std::collections::BTreeMap;
use std::mem;

#[derive(Clone)]
pub struct Item {
    pub value: Vec<u8>,
    pub flags: u32,
    /// Unix second at which it expires, 0 for never.
    pub exptime: i64,
    pub cas: u64,
}

/// An item with what memcached notes about it.
#[derive(Clone)]
pub struct Stored {
    pub item: Item,
    /// Of its piece of memory: a value that replaces this one has another.
    id: u64,
    pub accessed_s: i64,
    /// Read since it was stored.
    pub fetched: bool,
    /// Marked so by `md I`; the first client that reads it then is told to refresh it.
    pub is_stale: bool,
    /// A client has been told to refresh it.
    pub has_winner: bool,
}

/// An item that a client has sent.
#[derive(Clone)]
pub struct New {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub flags: u32,
    /// As [`Item::exptime`].
    pub exptime: i64,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
}

pub enum Outcome {
    /// With this cas unique.
    Stored(u64),
    NotStored,
    Exists,
    NotFound,
}

pub enum Counted {
    To {
        value: u64,
        cas: u64,
        /// Before the change. What happens to it is up to [`Self::To::in_place`].
        exptime: i64,
        /// Not if a reply still holds the old value: then that one was replaced, and memcached goes on with the old.
        in_place: bool,
    },
    NotANumber,
    NotFound,
    OtherCas,
    /// The number needs more room than it has.
    NoMemory,
}

/// The largest item, with its header, key and value, if the server is not told otherwise.
const BYTES_MAX: usize = 1 << 20;
const HEADER_BYTES: usize = 48;
const CAS_BYTES: usize = 8;
/// Of what a crawler may have locked, one item in so many is.
const LOCKED_ONE_IN: u64 = 3;
/// Larger exptimes are unix times.
const RELATIVE_MAX_S: i64 = 60 * 60 * 24 * 30;
/// memcached counts time from this long before its start, so that no time of its own is 0.
const BEFORE_START_S: i64 = 62;

#[derive(Clone)]
pub struct Items {
    by_key: BTreeMap<Vec<u8>, Stored>,
    /// What replies that have not been written yet refer to: connection and [`Stored::id`].
    held: Vec<(usize, u64)>,
    started_s: i64,
    now_s: i64,
    /// The largest item, with its header, key and value.
    bytes_max: usize,
    cas_last: u64,
    id_last: u64,
    /// The second at which everything stored before it is gone.
    flush_at_s: Option<i64>,
    pub stored_ever: u64,
}

/// What an item needs of memory, as `size=` in a metadump says.
pub fn bytes(key: &[u8], flags: u32, value_len: usize) -> usize {
    let flags_bytes = if flags == 0 { 0 } else { size_of::<u32>() };
    HEADER_BYTES + CAS_BYTES + key.len() + 1 + flags_bytes + value_len + 2
}

impl Items {
    pub fn new(started_s: i64) -> Self {
        Self {
            by_key: BTreeMap::new(),
            held: Vec::new(),
            started_s,
            now_s: started_s,
            bytes_max: BYTES_MAX,
            cas_last: 0,
            id_last: 0,
            flush_at_s: None,
            stored_ever: 0,
        }
    }

    /// As `-I`.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    pub fn is_too_large(&self, key: &[u8], flags: u32, value_len: usize) -> bool {
        bytes(key, flags, value_len) > self.bytes_max
    }

    /// The process has ended, and another one takes the items back: they count as stored by that.
    pub fn take_back(&mut self) {
        self.held.clear();
        self.flush_at_s = None;
        self.stored_ever = self.by_key.len() as u64;
    }

    pub fn set_clock(&mut self, now_s: i64) {
        self.now_s = now_s;
        if self.is_flushed(now_s) {
            self.by_key.clear();
            self.flush_at_s = None;
        }
    }

    /// The second at which something with this exptime expires, 0 for never. One that is over already is in the past.
    pub fn expires_at(&self, exptime: i32) -> i64 {
        let origin_s = self.started_s - BEFORE_START_S;
        match i64::from(exptime) {
            0 => 0,
            relative @ 1..=RELATIVE_MAX_S => self.now_s + relative,
            absolute if absolute > origin_s => absolute,
            _ => origin_s + 1,
        }
    }

    fn is_flushed(&self, now_s: i64) -> bool {
        self.flush_at_s.is_some_and(|at_s| now_s >= at_s)
    }

    /// The items that are there, by key.
    pub fn live(&self, now_s: i64) -> impl Iterator<Item = (&[u8], &Stored)> {
        let items = self.by_key.iter().filter(move |_| !self.is_flushed(now_s));
        let items = items.filter(move |(_, stored)| !has_expired(&stored.item, now_s));
        items.map(|(key, stored)| (key.as_slice(), stored))
    }

    pub fn peek(&self, key: &[u8], now_s: i64) -> Option<&Item> {
        let item = &self.by_key.get(key)?.item;
        (!self.is_flushed(now_s) && !has_expired(item, now_s)).then_some(item)
    }

    /// How many there are, with those that have expired and that nobody has asked for since.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The item, to be looked at or changed in place.
    pub fn find(&mut self, key: &[u8]) -> Option<&mut Stored> {
        if has_expired(&self.by_key.get(key)?.item, self.now_s) {
            self.by_key.remove(key);
        }
        self.by_key.get_mut(key)
    }

    /// As [`Self::find`], and notes that it was read.
    pub fn fetch(&mut self, key: &[u8]) -> Option<&mut Stored> {
        let now_s = self.now_s;
        let stored = self.find(key)?;
        stored.bump(now_s);
        Some(stored)
    }

    pub fn store(&mut self, mode: Mode, mut new: New, unique: u64, may_be_stale: bool) -> Outcome {
        let bytes_max = self.bytes_max;
        let Some(old) = self.find(&new.key) else {
            return match mode {
                Mode::Set | Mode::Add => Outcome::Stored(self.link(new)),
                Mode::Cas => Outcome::NotFound,
                Mode::Replace | Mode::Append | Mode::Prepend => Outcome::NotStored,
            };
        };
        match mode {
            Mode::Add => Outcome::NotStored,
            Mode::Set | Mode::Replace => Outcome::Stored(self.link(new)),
            Mode::Cas if unique == old.item.cas => Outcome::Stored(self.link(new)),
            Mode::Cas if may_be_stale && (1..old.item.cas).contains(&unique) => {
                new.exptime = old.item.exptime;
                let (key, has_winner) = (new.key.clone(), old.has_winner);
                let cas = self.link(new);
                let stored = self.by_key.get_mut(&key).expect("it was stored just now");
                stored.is_stale = true;
                stored.has_winner = has_winner;
                Outcome::Stored(cas)
            }
            Mode::Cas => Outcome::Exists,
            Mode::Append | Mode::Prepend if unique != 0 && unique != old.item.cas => Outcome::Exists,
            Mode::Append | Mode::Prepend => {
                let sent = mem::take(&mut new.value);
                let had = &old.item.value;
                new.value = if mode == Mode::Append {
                    [had, &sent[..]]
                } else {
                    [&sent[..], had]
                }
                .concat();
                new.flags = old.item.flags;
                new.exptime = old.item.exptime;
                if bytes(&new.key, new.flags, new.value.len()) > bytes_max {
                    return Outcome::NotStored;
                }
                Outcome::Stored(self.link(new))
            }
        }
    }

    /// Stores an item in place of the one that is there, and returns its cas unique.
    pub fn link(&mut self, new: New) -> u64 {
        let cas = self.next_cas();
        self.id_last += 1;
        self.stored_ever += 1;
        let stored = Stored {
            item: Item {
                value: new.value,
                flags: new.flags,
                exptime: new.exptime,
                cas,
            },
            id: self.id_last,
            accessed_s: self.now_s,
            fetched: false,
            is_stale: false,
            has_winner: false,
        };
        self.by_key.insert(new.key, stored);
        cas
    }

    /// Every change of a value takes the next; changes of its exptime do not.
    pub fn next_cas(&mut self) -> u64 {
        self.cas_last += 1;
        self.cas_last
    }

    /// Adds to a value that is a number, with the wrap at 64 bits, or subtracts, not below 0. `unique` 0 is any. Where there
    /// is no memory, nothing that is stored anew.
    pub fn count(&mut self, key: &[u8], up: bool, delta: u64, unique: u64, is_full: bool) -> Counted {
        let Some(stored) = self.find(key) else {
            return Counted::NotFound;
        };
        if stored.item.value.is_empty() {
            return Counted::NotANumber;
        }
        if unique != 0 && unique != stored.item.cas {
            return Counted::OtherCas;
        }
        let Some(before) = number::unsigned(&stored.item.value) else {
            return Counted::NotANumber;
        };
        let value = if up {
            before.wrapping_add(delta)
        } else {
            before.saturating_sub(delta)
        };
        let mut digits = value.to_string().into_bytes();
        let (id, len) = (stored.id, stored.item.value.len());
        let (flags, exptime) = (stored.item.flags, stored.item.exptime);
        let is_held = self.held.iter().any(|&(_, held)| held == id);
        let in_place = digits.len() <= len && !is_held;
        if is_full && !in_place {
            return Counted::NoMemory;
        }
        let cas = if in_place {
            // A shorter number does not give memory back: blanks fill it.
            digits.resize(len, b' ');
            let cas = self.next_cas();
            let item = &mut self.by_key.get_mut(key).expect("it was found just now").item;
            item.value = digits;
            item.cas = cas;
            cas
        } else {
            self.link(New {
                key: key.to_vec(),
                value: digits,
                flags,
                exptime,
            })
        };
        Counted::To {
            value,
            cas,
            exptime,
            in_place,
        }
    }

    /// Whether there was one.
    pub fn unlink(&mut self, key: &[u8]) -> bool {
        self.by_key.remove(key).is_some()
    }

    /// Drops everything, now or at a second; an earlier flush that is still to come is forgotten. One that passes over what
    /// is locked leaves some of what was stored or read a moment ago.
    pub fn flush(&mut self, delay: i32, passes_over: bool) {
        let at_s = self.expires_at(delay.max(0));
        let is_now = at_s <= self.now_s;
        self.flush_at_s = (!is_now).then_some(at_s);
        // The real one takes a cas unique to tell what is older, where its clock of seconds cannot.
        if at_s <= self.now_s + 1 {
            self.next_cas();
        }
        if is_now {
            let now_s = self.now_s;
            let is_locked = |stored: &Stored| stored.accessed_s + 1 >= now_s && stored.id % LOCKED_ONE_IN == 0;
            self.by_key.retain(|_, stored| passes_over && is_locked(stored));
        }
    }

    /// Notes that a reply on this connection refers to the item.
    pub fn hold(&mut self, connection: usize, key: &[u8]) {
        if let Some(stored) = self.by_key.get(key) {
            self.held.push((connection, stored.id));
        }
    }

    /// The replies on this connection have been written.
    pub fn release(&mut self, connection: usize) {
        self.held.retain(|&(holder, _)| holder != connection);
    }

    pub fn is_held(&self, stored: &Stored) -> bool {
        self.held.iter().any(|&(_, held)| held == stored.id)
    }
}

impl Stored {
    pub fn bump(&mut self, now_s: i64) {
        // The first read only leaves a mark.
        if mem::replace(&mut self.fetched, true) {
            self.accessed_s = now_s;
        }
    }
}

fn has_expired(item: &Item, now_s: i64) -> bool {
    item.exptime != 0 && item.exptime <= now_s
}
