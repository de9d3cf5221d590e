//! The list of a server's keys: `lru_crawler metadump`, on a connection of its own, as memcached demands. By the hash
//! table (`hash`) it is complete; a memcached that does not know that (before 1.6.9) lists by its LRUs (`all`), where
//! items that were read a moment ago are left out.
//!
//! ```text
//! key=<uri-encoded> exp=<unix second or -1> la=... cas=... fetch=... cls=... size=...
//! END
//! ```
//! The list is read as fast as it comes: a memcached that waits for its reader holds locks (before 1.6.19), or loses its
//! place after a second and mixes up its lines (since). What does not fit is left for another time; see `resync`.
//!
//! Before 1.5.4 nothing marks the end. There, when nothing comes any more, the version is asked for: the connection is
//! only listened to again when the list is over. Before 1.4.34 a memcached whose reader leaves in the middle crashes, so
//! a list that nobody wants any more is read to its end all the same.

use crate::protocol::server::answer::{signed, unsigned};
use crate::protocol::{find_newline, is_key};
use crate::proxy::Proxy;
use crate::proxy::copier::repair::absolute_exptime;
use crate::proxy::fleet::life::Version;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::timers::Timer;
use crate::proxy::upstream::Read;

const BY_HASH: &[u8] = b"lru_crawler metadump hash\r\n";
const BY_LRU: &[u8] = b"lru_crawler metadump all\r\n";
/// Another list is being made, for another magent perhaps: it is asked for again after this.
const BUSY_PAUSE_MS: u64 = 500;
/// After so long without a line a list whose end is not marked may be over.
const END_PAUSE_MS: u64 = 200;
/// The shortest pause between two questions whether a server whose list stands still is there.
const LIFE_PAUSE_MIN_MS: u64 = 100;
/// A list that does not go on for so long is begun anew.
const SILENT_MAX_MS: u64 = 10_000;
/// Longest line: a key with every byte encoded, and numbers.
const LINE_BYTES_MAX: usize = 2048;
/// What an item is taken to weigh of which that is not known.
const SIZE_UNKNOWN: usize = 16 << 10;
/// No item weighs more (`-I 1g`, and what a memcached adds).
const SIZE_MAX: usize = (1 << 30) + (1 << 20);

/// A key of the list.
pub struct Entry {
    pub key: Box<[u8]>,
    /// The unix second in which it expires, 0 for never; None if that was not told.
    pub exptime: Option<i64>,
    /// What it takes in the server's memory, in bytes.
    pub size: usize,
    /// Its cas unique, if that was told.
    pub unique: Option<u64>,
}

impl Entry {
    /// One that is known without a list.
    pub fn of(key: &[u8]) -> Self {
        Self {
            key: key.into(),
            exptime: None,
            size: SIZE_UNKNOWN,
            unique: None,
        }
    }
}

pub struct Listing {
    pub state: State,
    /// The beginning of a line.
    text: Vec<u8>,
}

pub enum State {
    /// To be asked for then.
    Due {
        at_ms: u64,
    },
    /// It comes on this link, whose socket may have more to read.
    Coming {
        link: usize,
        readable: bool,
        progress_ms: u64,
        /// Whether it was asked if that was all.
        asked: bool,
        /// Before this the server is not asked whether it is still there.
        ask_life_at_ms: u64,
    },
    Ended,
}

impl Listing {
    pub fn new() -> Self {
        Self {
            state: State::Due { at_ms: 0 },
            text: Vec::new(),
        }
    }

    /// Whether there may be something to be read now.
    pub fn may_go_on(&self) -> bool {
        matches!(self.state, State::Coming { readable: true, .. })
    }
}

impl<N: Net> Proxy<N> {
    /// Asks for the list that the resync in progress goes by.
    pub(in crate::proxy) fn open_listing(&mut self) {
        let Some(from) = self.listed_server() else {
            return;
        };
        if self.flushes_under_way > 0 {
            return self.list_later();
        }
        let server = &self.farm.servers[from];
        let command = if server.lists_hash { BY_HASH } else { BY_LRU };
        let opened = self
            .upstream
            .open_list(&mut self.net, from, &server.name.address, command);
        let Ok(index) = opened else {
            return self.list_later();
        };
        let progress_ms = self.now_ms;
        self.list_begins();
        if let Some(listing) = self.listing_mut() {
            listing.text.clear();
            listing.state = State::Coming {
                link: index,
                readable: false,
                progress_ms,
                asked: false,
                ask_life_at_ms: 0,
            };
        }
        self.timers.set(Timer::List, progress_ms + END_PAUSE_MS);
        self.write_listing(index);
    }

    fn write_listing(&mut self, index: usize) {
        match self.upstream.write_list(&mut self.net, index) {
            Ok(()) => {}
            Err(_) if self.is_listing_on(index) => self.list_later(),
            Err(_) => self.upstream.close_list(&mut self.net, index),
        }
    }

    /// Whether the list that is wanted comes on this link.
    fn is_listing_on(&mut self, index: usize) -> bool {
        let state = self.listing_mut().map(|listing| &listing.state);
        matches!(state, Some(State::Coming { link, .. }) if *link == index)
    }

    pub(in crate::proxy) fn listing_ready(&mut self, index: usize, readiness: Readiness) {
        if readiness.writable && self.upstream.has_unsent(index) {
            self.write_listing(index);
        }
        if readiness.readable || readiness.closed {
            self.listing_readable(index);
        }
    }

    /// There may be more to read on a link that lists keys.
    pub(in crate::proxy) fn listing_readable(&mut self, index: usize) {
        match self.listing_mut().map(|listing| &mut listing.state) {
            Some(State::Coming { link, readable, .. }) if *link == index => *readable = true,
            _ => self.read_to_the_end(index),
        }
    }

    /// Throws away what comes of a list that nobody wants any more, some of it now and the rest after the others' turn.
    fn read_to_the_end(&mut self, index: usize) {
        let mut nowhere = [0; 4096];
        for _ in 0..self.settings.limits.unwanted_list_reads {
            match self.upstream.read(&mut self.net, index, &mut nowhere) {
                // Only the answer to the question behind the list ends like this.
                Read::Bytes(count) if !nowhere[..count].ends_with(b"\r\n") => {}
                Read::Nothing => return,
                Read::Bytes(_) | Read::Ended(_) => return self.upstream.close_list(&mut self.net, index),
            }
        }
        self.upstream.read_later(index);
    }

    /// Reads some of the list. Returns whether it is worth going on at once.
    pub(in crate::proxy) fn read_listing(&mut self, scratch: &mut [u8]) -> bool {
        let now_ms = self.now_ms;
        let Some(Listing {
            state:
                State::Coming {
                    link,
                    readable,
                    progress_ms,
                    ..
                },
            ..
        }) = self.listing_mut()
        else {
            return false;
        };
        *progress_ms = now_ms;
        let index = *link;
        *readable = false;
        match self.upstream.read(&mut self.net, index, scratch) {
            Read::Bytes(count) => {
                if let Some(Listing {
                    state: State::Coming { readable, .. },
                    ..
                }) = self.listing_mut()
                {
                    *readable = true; // until a read says that it is not
                }
                return self.take_list(&scratch[..count]);
            }
            Read::Nothing => {}
            Read::Ended(_) => self.list_later(),
        }
        false
    }

    /// Takes bytes of the list. Returns false if it has ended in a failure.
    fn take_list(&mut self, bytes: &[u8]) -> bool {
        let Some(listing) = self.listing_mut() else {
            return false;
        };
        let mut text = std::mem::take(&mut listing.text);
        text.extend_from_slice(bytes);
        let mut entries = Vec::new();
        let mut at = 0;
        let mut end = None;
        while let Some(newline) = find_newline(&text[at..]) {
            let line = text[at..at + newline].trim_ascii_end();
            at += newline + 1;
            match understand(line) {
                Some(Line::Key(entry)) => entries.extend(entry),
                other => {
                    end = Some(other);
                    break;
                }
            }
        }
        text.drain(..at);
        let too_long = text.len() > LINE_BYTES_MAX;
        if let Some(listing) = self.listing_mut() {
            listing.text = text;
        }
        self.take_entries(entries);
        match end {
            Some(Some(Line::End)) => self.end_listing(),
            None if !too_long => {}
            Some(Some(Line::Later)) => self.list_later(),
            Some(_) | None => {
                self.list_refused();
                return false;
            }
        }
        true
    }

    /// It cannot list its keys, or not in this way.
    fn list_refused(&mut self) {
        let by_hash = self
            .listed_server()
            .filter(|&server| self.farm.servers[server].lists_hash);
        match by_hash {
            Some(server) => {
                self.farm.servers[server].lists_hash = false;
                self.set_listing(State::Due { at_ms: 0 });
                self.open_listing();
            }
            None => self.cannot_list(),
        }
    }

    /// The list is complete.
    fn end_listing(&mut self) {
        self.set_listing(State::Ended);
    }

    /// The list broke off, or was refused for now.
    pub(in crate::proxy) fn list_later(&mut self) {
        let at_ms = self.now_ms + BUSY_PAUSE_MS;
        self.timers.set(Timer::List, at_ms);
        self.set_listing(State::Due { at_ms });
    }

    fn set_listing(&mut self, state: State) {
        if let Some(listing) = self.listing_mut() {
            let before = std::mem::replace(&mut listing.state, state);
            self.close_listing_link(&before);
        }
    }

    fn close_listing_link(&mut self, state: &State) {
        if let State::Coming { link, .. } = *state {
            self.upstream.close_list(&mut self.net, link);
        }
    }

    /// Leaves a list, perhaps in the middle.
    pub(in crate::proxy) fn leave_listing(&mut self, listing: Option<Listing>) {
        let Some(state) = listing.map(|listing| listing.state) else {
            return;
        };
        let State::Coming { link: index, asked, .. } = state else {
            return;
        };
        let from = self.upstream.server_of(index);
        let server = &self.farm.servers[from];
        if server.is_since(Version::LISTS_SAFELY) || !self.farm.is_up(from) || self.upstream.has_unsent(index) {
            self.close_listing_link(&state);
        } else if !asked {
            self.ask_whether_that_was_all(index);
        }
    }

    /// Asks something behind the list, which is answered when that is over.
    fn ask_whether_that_was_all(&mut self, index: usize) {
        self.upstream.put_on_list(index, b"version\r\n");
        self.write_listing(index);
    }

    /// Asks for a list that is due, and does not wait for ever for one that does not go on.
    pub(in crate::proxy) fn listing_tick(&mut self) {
        let (now_ms, timeout_ms) = (self.now_ms, self.settings.timeout_ms);
        let Some(from) = self.listed_server() else {
            return;
        };
        let hungry = self.resync_is_hungry();
        let life_pause_ms = timeout_ms.max(LIFE_PAUSE_MIN_MS);
        let ends_lists = self.farm.servers[from].is_since(Version::ENDS_LISTS);
        match self.listing_mut().map(|listing| &mut listing.state) {
            Some(State::Due { at_ms }) if *at_ms <= now_ms => self.open_listing(),
            Some(State::Due { at_ms }) => {
                let at_ms = *at_ms;
                self.timers.set(Timer::List, at_ms);
            }
            Some(State::Coming { progress_ms, .. }) if !hungry => {
                *progress_ms = now_ms;
                self.timers.set(Timer::List, now_ms + END_PAUSE_MS);
            }
            Some(State::Coming {
                progress_ms,
                asked,
                link,
                ask_life_at_ms,
                ..
            }) => {
                let silent_ms = now_ms - *progress_ms;
                // Is it still there? If not, that ends the resync. Ticks come as often as clients ask for something.
                let asks_life = silent_ms >= timeout_ms && *ask_life_at_ms <= now_ms;
                if asks_life {
                    *ask_life_at_ms = now_ms + life_pause_ms;
                }
                let due_ms = *progress_ms + END_PAUSE_MS;
                if !*asked && !ends_lists {
                    if due_ms <= now_ms {
                        *asked = true;
                        let link = *link;
                        self.ask_whether_that_was_all(link);
                    } else {
                        self.timers.set(Timer::List, due_ms);
                    }
                }
                if silent_ms >= SILENT_MAX_MS {
                    self.list_later();
                } else if asks_life {
                    self.ask_for_life(from);
                }
                self.timers.set(Timer::List, now_ms + life_pause_ms);
            }
            Some(State::Ended) | None => {}
        }
    }
}

enum Line {
    /// None for a key that no text command can name.
    Key(Option<Entry>),
    End,
    /// It is busy with another list, or has too many connections.
    Later,
}

/// Understands a line of the list; None if it is not one.
fn understand(line: &[u8]) -> Option<Line> {
    let begins = |beginnings: &[&[u8]]| beginnings.iter().any(|&beginning| line.starts_with(beginning));
    if line == b"END" || begins(&[b"VERSION ", b"NOTSTARTED"]) {
        return Some(Line::End);
    }
    if begins(&[b"BUSY", b"ERROR Too many", b"ERROR an unknown error", b"SERVER_ERROR"]) {
        return Some(Line::Later);
    }
    if line == b"OK" {
        return Some(Line::Key(None));
    }
    let mut words = line.split(|&byte| byte == b' ');
    let key = decoded(words.next()?.strip_prefix(b"key=")?)?;
    let mut exptime = None;
    let mut size = SIZE_UNKNOWN;
    let mut unique = None;
    for word in words {
        if let Some(value) = word.strip_prefix(b"exp=") {
            exptime = match signed(value) {
                Some(-1) => Some(0),
                unix_s => unix_s.and_then(absolute_exptime),
            };
        } else if let Some(value) = word.strip_prefix(b"size=") {
            let known = unsigned(value).and_then(|bytes| usize::try_from(bytes).ok());
            size = known.filter(|&bytes| bytes <= SIZE_MAX).unwrap_or(size);
        } else if let Some(value) = word.strip_prefix(b"cas=") {
            unique = unsigned(value);
        }
    }
    Some(Line::Key(is_key(&key).then(|| Entry {
        key: key.into(),
        exptime,
        size,
        unique,
    })))
}

/// A key without its URI encoding.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        key.push(match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                (digit(high)? * 16 + digit(low)?) as u8
            }
            (b'%', _) => return None,
            _ => *first,
        });
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_list_are_understood() {
        let line = b"key=a%25b%2Fc exp=1795382158 la=1795382058 cas=7 fetch=no cls=1 size=64";
        let Some(Line::Key(Some(entry))) = understand(line) else {
            panic!("a key");
        };
        assert_eq!((&*entry.key, entry.exptime), (&b"a%b/c"[..], Some(1_795_382_158)));
        assert_eq!((entry.size, entry.unique), (64, Some(7)));
        let Some(Line::Key(Some(entry))) = understand(b"key=k exp=-1 la=1") else {
            panic!("a key");
        };
        assert_eq!(entry.exptime, Some(0));
        assert!(matches!(understand(b"END"), Some(Line::End)));
        assert!(matches!(
            understand(b"BUSY currently processing crawler request"),
            Some(Line::Later)
        ));
        assert!(matches!(
            understand(b"ERROR Too many open connections"),
            Some(Line::Later)
        ));
        assert!(matches!(understand(b"key=a%20b exp=-1"), Some(Line::Key(None))));
        // What a text command can name is copied, what it cannot is not.
        let named = |line: &[u8]| match understand(line) {
            Some(Line::Key(entry)) => entry.map(|entry| entry.key.to_vec()),
            _ => panic!("a key"),
        };
        assert_eq!(named(b"key=a%01%7F%0Db exp=-1"), Some(b"a\x01\x7f\rb".to_vec()));
        for unnamed in [&b"key=a%00b exp=-1"[..], b"key=a%0Ab exp=-1", b"key= exp=-1"] {
            assert_eq!(named(unnamed), None);
        }
        for end in [&b"VERSION 1.4.39"[..], b"NOTSTARTED no items to crawl"] {
            assert!(matches!(understand(end), Some(Line::End)));
        }
        assert!(matches!(
            understand(b"ERROR an unknown error happened"),
            Some(Line::Later)
        ));
        for refusal in [
            &b"ERROR"[..],
            b"ERROR lru crawler disabled",
            b"CLIENT_ERROR x",
            b"key=a%2",
        ] {
            assert!(understand(refusal).is_none());
        }
    }
}
