//! The connection that a list of keys comes on: who opens, reads and closes it, as the listing says.

use crate::proxy::Proxy;
use crate::proxy::copier::entry::Entry;
use crate::proxy::copier::listing::{Errand, Heard, Patience};
use crate::proxy::copier::resync::Resync;
use crate::proxy::fleet::life::Version;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::timers::Timer;
use crate::proxy::upstream::Read;

const BY_HASH: &[u8] = b"lru_crawler metadump hash\r\n";
const BY_LRU: &[u8] = b"lru_crawler metadump all\r\n";

impl<N: Net> Proxy<N> {
    /// Asks for the list that the resync in progress goes by.
    pub(in crate::proxy) fn open_listing(&mut self) {
        let Some(listed) = self.copier.listed_server() else {
            return;
        };
        if self.flushes_under_way > 0 {
            return self.list_later();
        }
        let server = &self.farm.servers[listed];
        let command = if server.lists_hash { BY_HASH } else { BY_LRU };
        let opened = self
            .upstream
            .open_list(&mut self.net, listed, &server.name.address, command);
        let Ok(index) = opened else {
            return self.list_later();
        };
        if let Some(at_ms) = self.copier.list_begins(index, self.now_ms) {
            self.timers.set(Timer::List, at_ms);
        }
        self.write_listing(index);
    }

    fn write_listing(&mut self, index: usize) {
        match self.upstream.write_list(&mut self.net, index) {
            Ok(()) => {}
            Err(_) if self.copier.list_link() == Some(index) => self.list_later(),
            Err(_) => self.upstream.close_list(&mut self.net, index),
        }
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
        let listing = self.copier.listing_mut();
        if !listing.is_some_and(|listing| listing.readable(index)) {
            self.read_to_the_end(index);
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
        let Some(index) = self.copier.listing_mut().and_then(|listing| listing.reads(now_ms)) else {
            return false;
        };
        match self.upstream.read(&mut self.net, index, scratch) {
            Read::Bytes(count) => return self.take_list(&scratch[..count]),
            Read::Nothing => {
                if let Some(listing) = self.copier.listing_mut() {
                    listing.drained();
                }
            }
            Read::Ended(_) => self.list_later(),
        }
        false
    }

    /// Takes bytes of the list. Returns false if it has ended in a failure.
    fn take_list(&mut self, bytes: &[u8]) -> bool {
        let Some(listing) = self.copier.listing_mut() else {
            return false;
        };
        let (entries, heard) = listing.take(bytes);
        self.take_entries(entries);
        match heard {
            Heard::More => {}
            Heard::End => {
                let link = self.copier.listing_mut().and_then(|listing| listing.ends());
                self.run(link.map(|link| Errand::Close { link }));
            }
            Heard::Later => self.list_later(),
            Heard::Refused => self.list_refused(),
        }
        heard != Heard::Refused
    }

    /// Keeps the entries of a list that belong to both servers.
    fn take_entries(&mut self, entries: Vec<Entry>) {
        let Some(resync) = &mut self.copier.resync else {
            return;
        };
        let (to, from) = (resync.to, resync.from);
        let mine = entries
            .into_iter()
            .filter(|entry| self.farm.are_owners(&entry.key, from, to));
        mine.for_each(|entry| resync.take(entry));
    }

    /// The server cannot list its keys, or not in this way.
    fn list_refused(&mut self) {
        let by_hash = self
            .copier
            .listed_server()
            .filter(|&server| self.farm.servers[server].lists_hash);
        let Some(server) = by_hash else {
            return self.cannot_list();
        };
        self.farm.servers[server].lists_hash = false;
        let link = self.copier.listing_mut().and_then(|listing| listing.again());
        self.run(link.map(|link| Errand::Close { link }));
        self.open_listing();
    }

    /// The list broke off, or was refused for now.
    fn list_later(&mut self) {
        let now_ms = self.now_ms;
        if let Some(listing) = self.copier.listing_mut() {
            let errands = listing.later(now_ms);
            self.run(errands);
        }
    }

    /// Asks for a list that is due, and does not wait for ever for one that does not go on.
    pub(in crate::proxy) fn listing_tick(&mut self) {
        let Some(resync) = &mut self.copier.resync else {
            return;
        };
        let patience = Patience {
            timeout_ms: self.settings.timeout_ms,
            hungry: resync.is_hungry(),
            ends_lists: self.farm.servers[resync.listed()].is_since(Version::ENDS_LISTS),
        };
        if let Some(listing) = &mut resync.listing {
            let errands = listing.tick(self.now_ms, &patience);
            self.run(errands);
        }
    }

    /// Leaves the list of a resync that is over, perhaps in the middle.
    pub(in crate::proxy) fn leave_listing(&mut self, resync: Resync) {
        let Some(listing) = resync.listing else {
            return;
        };
        let safely = listing.link().is_some_and(|index| {
            let listed = self.upstream.server_of(index);
            let server = &self.farm.servers[listed];
            server.is_since(Version::LISTS_SAFELY) || !self.farm.is_up(listed) || self.upstream.has_unsent(index)
        });
        self.run(listing.leave(safely));
    }

    fn run(&mut self, errands: impl IntoIterator<Item = Errand>) {
        for errand in errands {
            match errand {
                Errand::Open => self.open_listing(),
                Errand::AskEnd { link } => {
                    self.upstream.put_on_list(link, b"version\r\n");
                    self.write_listing(link);
                }
                Errand::AskLife => {
                    if let Some(server) = self.copier.listed_server() {
                        self.ask_for_life(server);
                    }
                }
                Errand::Close { link } => self.upstream.close_list(&mut self.net, link),
                Errand::Wake { at_ms } => self.timers.set(Timer::List, at_ms),
            }
        }
    }
}
