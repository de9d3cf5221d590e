//! The connection that a list of keys comes on: who opens, reads and closes it, as the listing says.

use crate::protocol::LINE_END;
use crate::protocol::server::list::{Entry, ListBy, MARK};
use crate::proxy::copier::Copier;
use crate::proxy::copier::listing::{Errand, Heard, Patience};
use crate::proxy::copier::resync::Resync;
use crate::proxy::fleet::ledger::Lacks;
use crate::proxy::fleet::version::Version;
use crate::proxy::net::{Net, Readiness};
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::Read;

impl Copier {
    /// Asks for the list that the resync in progress goes by.
    pub fn open_listing<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some(listed) = self.listed_server() else {
            return;
        };
        if servers.fleet.is_being_flushed() {
            return self.list_later(servers);
        }
        let command = servers.fleet.lists(listed).command();
        let opened = servers.upstream.open_list(
            &mut servers.cx.net,
            listed,
            &servers.fleet.name(listed).address,
            command,
        );
        let Ok(index) = opened else {
            return self.list_later(servers);
        };
        if let Some(at_ms) = self.list_begins(index, servers.cx.now.ms()) {
            servers.cx.timers.set(Timer::List, at_ms);
        }
        self.write_listing(servers, index);
    }

    fn write_listing<N: Net>(&mut self, servers: &mut Servers<N>, index: usize) {
        match servers.upstream.write_list(&mut servers.cx.net, index) {
            Ok(()) => {}
            Err(_) if self.list_link() == Some(index) => self.list_later(servers),
            Err(_) => servers.upstream.close_list(&mut servers.cx.net, index),
        }
    }

    pub fn listing_ready<N: Net>(&mut self, servers: &mut Servers<N>, index: usize, readiness: Readiness) {
        if readiness.writable && servers.upstream.has_unsent(index) {
            self.write_listing(servers, index);
        }
        if readiness.readable || readiness.closed {
            self.listing_readable(servers, index);
        }
    }

    /// There may be more to read on a link that lists keys.
    pub fn listing_readable<N: Net>(&mut self, servers: &mut Servers<N>, index: usize) {
        let listing = self.listing_mut();
        if !listing.is_some_and(|listing| listing.readable(index)) {
            self.read_to_the_end(servers, index);
        }
    }

    /// Throws away what comes of a list that nobody wants any more, some of it now and the rest after the others' turn.
    fn read_to_the_end<N: Net>(&mut self, servers: &mut Servers<N>, index: usize) {
        let mut nowhere = [0; 4096];
        for _ in 0..servers.cx.settings.limits.unwanted_list_reads {
            match servers.upstream.read(&mut servers.cx.net, index, &mut nowhere) {
                // Only the answer to the question behind the list ends like this.
                Read::Bytes(count) if !nowhere[..count].ends_with(LINE_END) => {}
                Read::Nothing => return,
                Read::Bytes(_) | Read::Ended(_) => return servers.upstream.close_list(&mut servers.cx.net, index),
            }
        }
        servers.upstream.read_later(index);
    }

    /// Reads some of the list. Returns whether it is worth going on at once.
    pub fn read_listing<N: Net>(&mut self, servers: &mut Servers<N>, scratch: &mut [u8]) -> bool {
        let now_ms = servers.cx.now.ms();
        let Some(index) = self.listing_mut().and_then(|listing| listing.reads(now_ms)) else {
            return false;
        };
        match servers.upstream.read(&mut servers.cx.net, index, scratch) {
            Read::Bytes(count) => return self.take_list(servers, &scratch[..count]),
            Read::Nothing => {
                if let Some(listing) = self.listing_mut() {
                    listing.drained();
                }
            }
            Read::Ended(_) => self.list_later(servers),
        }
        false
    }

    /// Takes bytes of the list. Returns false if it has ended in a failure.
    fn take_list<N: Net>(&mut self, servers: &mut Servers<N>, bytes: &[u8]) -> bool {
        let Some(listing) = self.listing_mut() else {
            return false;
        };
        let (entries, heard) = listing.take(bytes);
        self.take_entries(servers, entries);
        match heard {
            Heard::More => {}
            Heard::End => {
                let link = self.listing_mut().and_then(|listing| listing.ends());
                self.run(servers, link.map(|link| Errand::Close { link }));
            }
            Heard::Later => self.list_later(servers),
            Heard::Refused => self.list_refused(servers),
        }
        heard != Heard::Refused
    }

    /// Keeps the entries of a list that belong to both servers, of those of which anything may be lacking.
    fn take_entries<N: Net>(&mut self, servers: &mut Servers<N>, entries: Vec<Entry>) {
        let Some(resync) = &mut self.resync else {
            return;
        };
        let (to, from) = (resync.to, resync.from);
        let fleet = &servers.fleet;
        let is_lacking = |key: &[u8]| fleet.ledger.lacks(key, to, from) != Lacks::Nothing;
        let mine = |entry: &Entry| fleet.are_owners(&entry.key, from, to) && is_lacking(&entry.key);
        entries.into_iter().filter(mine).for_each(|entry| resync.take(entry));
    }

    /// The server cannot list its keys, or not in this way.
    fn list_refused<N: Net>(&mut self, servers: &mut Servers<N>) {
        let by_hash = self
            .listed_server()
            .filter(|&server| servers.fleet.lists(server) == ListBy::Hash);
        let Some(server) = by_hash else {
            return self.cannot_list(servers);
        };
        servers.fleet.lists_no_hash(server);
        let link = self.listing_mut().and_then(|listing| listing.again());
        self.run(servers, link.map(|link| Errand::Close { link }));
        self.open_listing(servers);
    }

    /// The list broke off, or was refused for now.
    fn list_later<N: Net>(&mut self, servers: &mut Servers<N>) {
        let now_ms = servers.cx.now.ms();
        if let Some(listing) = self.listing_mut() {
            let errands = listing.later(now_ms);
            self.run(servers, errands);
        }
    }

    /// Asks for a list that is due, and does not wait for ever for one that does not go on.
    pub fn listing_tick<N: Net>(&mut self, servers: &mut Servers<N>) {
        let Some(resync) = &mut self.resync else {
            return;
        };
        let patience = Patience {
            timeout_ms: servers.cx.settings.timeout_ms,
            hungry: resync.is_hungry(),
            ends_lists: servers.fleet.is_since(resync.listed(), Version::ENDS_LISTS),
        };
        if let Some(listing) = &mut resync.listing {
            let errands = listing.tick(servers.cx.now.ms(), &patience);
            self.run(servers, errands);
        }
    }

    /// Leaves the list of a resync that is over, perhaps in the middle.
    pub fn leave_listing<N: Net>(&mut self, servers: &mut Servers<N>, resync: Resync) {
        let Some(listing) = resync.listing else {
            return;
        };
        let safely = listing.link().is_some_and(|index| {
            let listed = servers.upstream.server_of(index);

            servers.fleet.is_since(listed, Version::LISTS_SAFELY)
                || !servers.fleet.is_up(listed)
                || servers.upstream.has_unsent(index)
        });
        self.run(servers, listing.leave(safely));
    }

    fn run<N: Net>(&mut self, servers: &mut Servers<N>, errands: impl IntoIterator<Item = Errand>) {
        for errand in errands {
            match errand {
                Errand::Open => self.open_listing(servers),
                Errand::AskEnd { link } => {
                    servers.upstream.put_on_list(link, MARK);
                    self.write_listing(servers, link);
                }
                Errand::AskLife => {
                    if let Some(server) = self.listed_server() {
                        servers.ask_for_life(server);
                    }
                }
                Errand::Close { link } => servers.upstream.close_list(&mut servers.cx.net, link),
                Errand::Wake { at_ms } => servers.cx.timers.set(Timer::List, at_ms),
            }
        }
    }
}
