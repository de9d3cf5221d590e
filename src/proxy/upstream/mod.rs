//! Links to servers and the legs on them: a request is written on its server's link behind those before it, and its answer
//! is found out from what comes back.
//!
//! [`Upstream`] owns all of that and knows nothing of the other rooms. It says what happened by what it returns: what came
//! ([`Said`](answers::Said)), a link that broke ([`Broken`]), and, when it is asked for, a [`Failure`]. A leg that was cut off
//! is not told of where its link died but waits for the conductor to ask.

mod answer_times;
pub mod answers;
mod budget;
pub mod bulk;
mod check;
pub mod exchange;
mod hedge;
pub mod link;
pub mod lists;
pub mod losses;
pub mod message;
pub mod purpose;
pub mod quarantine;
mod turns;

use crate::buffer::Pool;
use crate::protocol::server::encode::{Words, encode};
use crate::proxy::latency::Histogram;
use crate::proxy::net::{Address, Delivery, Net, Time, Token};
use crate::words::Reason;
use answer_times::AnswerTimes;
use budget::Budget;
use bulk::Bulk;
use link::{Leg, Link, Outgoing, Purpose, Use, write_out};
use losses::Losses;
use message::{Message, Sent};
use slab::Slab;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::rc::Rc;

/// Places that are kept in a list of what is to be written.
const ROOM_KEPT: usize = 1024;

/// All links, and what is on them.
pub struct Upstream<N: Net> {
    pool: Rc<Pool>,
    links: Slab<Link<N>>,
    /// By the server's index.
    peers: Vec<Peer>,
    /// Links with something to write after this batch.
    dirty: Vec<usize>,
    /// Links whose socket holds more.
    reading: Vec<usize>,
    /// Servers that a link could not be opened to.
    unreachable: VecDeque<(usize, io::Error)>,
    /// Legs whose link died, with the server that it led to.
    lost: VecDeque<(usize, Leg)>,
    /// Servers whose turn it may be to be asked for the portions that wait for them.
    bulk_done: Vec<usize>,
}

/// What leads to one server.
#[derive(Default)]
struct Peer {
    /// The open link that requests go on.
    link: Option<usize>,
    /// Links in quarantine, with answers still to come.
    quarantined: Vec<usize>,
    /// Something that it was sent on a link that is gone it may still run.
    may_still_run: bool,
    losses: Losses,
    bulk: Bulk,
    answer_times: AnswerTimes,
    /// How long it took to answer since the start, or since `stats reset`.
    answered: Histogram,
    /// After so long somebody looks whether it has answered.
    patience_ms: u64,
    budget: Budget,
}

/// What a read brought.
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    Ended(Broken),
}

/// What failed, and is told when it is asked for.
pub enum Failure {
    /// A link to a server could not be opened.
    Unreachable(usize, io::Error),
    /// A leg was cut off: its link to this server died before the answer came.
    Lost(usize, Leg),
}

/// Why a link came to its end.
pub enum Broken {
    Closed,
    Failed(io::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Closed => f.write_str("it closed the connection"),
            Broken::Failed(error) => Reason(error).fmt(f),
        }
    }
}

/// Keeps the room of a list that has been worked off, so that not every turn takes memory anew.
pub fn keep_room(list: &mut Vec<usize>, mut used: Vec<usize>) {
    if list.capacity() == 0 && used.capacity() <= ROOM_KEPT {
        used.clear();
        *list = used;
    }
}

impl<N: Net> Upstream<N> {
    pub fn new(pool: Rc<Pool>, servers: usize) -> Self {
        let mut upstream = Self {
            pool,
            links: Slab::new(),
            peers: Vec::new(),
            dirty: Vec::new(),
            reading: Vec::new(),
            unreachable: VecDeque::new(),
            lost: VecDeque::new(),
            bulk_done: Vec::new(),
        };
        upstream.reach(servers);
        upstream
    }

    /// Makes room for so many servers in all. None is ever forgotten.
    pub fn reach(&mut self, servers: usize) {
        self.peers.resize_with(servers.max(self.peers.len()), Peer::default);
    }

    /// How long a server took to answer its parts of clients' requests.
    pub fn answered(&self, server: usize) -> &Histogram {
        &self.peers[server].answered
    }

    /// Forgets how long they took.
    pub fn count_anew(&mut self) {
        self.peers
            .iter_mut()
            .for_each(|peer| peer.answered = Histogram::default());
    }

    /// Whether requests to a server have a link.
    pub fn is_linked(&self, server: usize) -> bool {
        self.peers[server].link.is_some()
    }

    /// Opens a link to a server that has none. Where that cannot be, an event tells: whoever sends may be in the middle of
    /// this server's answers.
    pub fn open(&mut self, net: &mut N, server: usize, address: &Address) {
        let entry = self.links.vacant_entry();
        let index = entry.key();
        match net.connect(address, Token::Link(index)) {
            Ok(socket) => {
                entry.insert(Link::new(socket, server, Use::Requests));
                self.peers[server].link = Some(index);
                self.peers[server].losses.link_opened();
            }
            Err(error) => self.unreachable.push_back((server, error)),
        }
    }

    /// Puts a leg on a server's link. Without one it is lost, like any other whose link dies.
    pub fn send(
        &mut self,
        server: usize,
        purpose: Purpose,
        transaction: usize,
        message: Message<'_>,
        now: Time,
    ) -> &mut Leg {
        let keys = message.request.key_count as u32;
        let Some(index) = self.peers[server].link else {
            let leg = Leg::new(transaction, purpose, self.unsent(message), keys, now, 0);
            self.lost.push_back((server, leg));
            return &mut self.lost.back_mut().expect("just pushed").1;
        };
        let link = &mut self.links[index];
        let (sent, end) = link.put(&self.pool, message);
        if link.outgoing == Outgoing::Idle {
            link.outgoing = Outgoing::Dirty;
            self.dirty.push(index);
        }
        link.pending
            .push_back(Leg::new(transaction, purpose, sent, keys, now, end));
        link.pending.back_mut().expect("just pushed")
    }

    /// What would have been sent.
    fn unsent(&self, message: Message<'_>) -> Sent {
        let mut words = Words::default();
        let encoded = encode(message.request, &mut words);
        Sent {
            piece: self.pool.copy(encoded.parts()),
            asked: encoded.asked(),
            is_whole: true,
        }
    }

    /// Whether links have something to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Those links, each to be given to [`Upstream::write`].
    pub fn take_dirty(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.dirty)
    }

    /// Takes the room of that list back.
    pub fn give_back(&mut self, list: Vec<usize>) {
        keep_room(&mut self.dirty, list);
    }

    /// Writes what a link has to say.
    pub fn write(&mut self, net: &mut N, index: usize) -> Result<(), Broken> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        if link.outgoing != Outgoing::Dirty {
            return Ok(()); // put on the list before its slot was given to this link, which may be one that lists keys
        }
        link.outgoing = Outgoing::Idle;
        match write_out(net, &mut link.socket, &mut link.output) {
            Ok(_) if link.output.is_empty() => {}
            Ok(_) => link.outgoing = Outgoing::Blocked,
            // Not connected yet: an event says when.
            Err(error) if error.kind() == ErrorKind::NotConnected => link.outgoing = Outgoing::Blocked,
            Err(error) => return Err(Broken::Failed(error)),
        }
        Ok(())
    }

    /// Writes on where the socket was full.
    pub fn unblock(&mut self, net: &mut N, index: usize, now_ms: u64) -> Result<(), Broken> {
        let Some(link) = self.links.get_mut(index) else {
            return Ok(());
        };
        if link.outgoing != Outgoing::Blocked {
            return Ok(());
        }
        let before = link.output.len();
        link.outgoing = Outgoing::Dirty;
        self.write(net, index)?;
        let link = &mut self.links[index];
        let written = before.saturating_sub(link.output.len());
        if written > 0 {
            link.wrote_after_waiting(now_ms, written);
        }
        Ok(())
    }

    /// Reads what is there on a link; nothing where it is gone.
    pub fn read(&mut self, net: &mut N, index: usize, into: &mut [u8]) -> Read {
        let Some(link) = self
            .links
            .get_mut(index)
            .filter(|link| link.outgoing != Outgoing::Severed)
        else {
            return Read::Nothing;
        };
        loop {
            return match net.read(&mut link.socket, into) {
                Ok(0) => Read::Ended(Broken::Closed),
                Ok(count) => Read::Bytes(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Read::Ended(Broken::Failed(error)),
            };
        }
    }

    /// Has a link read on once the others have had their turn.
    pub fn read_later(&mut self, index: usize) {
        self.reading.push(index);
    }

    /// The links that are to be read on.
    pub fn take_reading(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.reading)
    }

    /// Whether there is something to go on with at once.
    pub fn is_busy(&self) -> bool {
        !self.reading.is_empty() || !self.bulk_done.is_empty()
    }

    /// The next failure: first the servers that could not be reached, then the legs that were cut off.
    #[must_use]
    pub fn next_failure(&mut self) -> Option<Failure> {
        match self.unreachable.pop_front() {
            Some((server, error)) => Some(Failure::Unreachable(server, error)),
            None => self.lost.pop_front().map(|(server, leg)| Failure::Lost(server, leg)),
        }
    }

    /// Whether there is a failure that nobody has been told of.
    #[inline]
    pub fn has_failed(&self) -> bool {
        !self.unreachable.is_empty() || !self.lost.is_empty()
    }

    /// Whether legs were cut off that nobody has been told of.
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// What an event of a link is about; None if the link is gone.
    pub fn use_of(&self, index: usize) -> Option<Use> {
        self.links.get(index).map(|link| link.used_for)
    }

    /// Where an open link leads.
    pub fn server_of(&self, index: usize) -> usize {
        self.links[index].server
    }

    /// The leg whose answer is the next one on an open link.
    pub fn oldest(&self, index: usize) -> Option<&Leg> {
        self.links[index].pending.front()
    }

    /// Requests to a server that it has not answered.
    pub fn pending(&self, server: usize) -> usize {
        let link = self.peers[server].link;
        link.map_or(0, |link| self.links[link].pending.len())
    }

    /// Whether a server has left something unanswered that it was asked by then.
    pub fn is_asked_before(&self, server: usize, asked_ms: u64) -> bool {
        let link = self.peers[server].link;
        link.is_some_and(|link| self.links[link].asked_before(asked_ms))
    }

    /// A server's link is broken, and kept for now: nothing is read from it or written to it any more.
    pub fn sever(&mut self, server: usize) {
        if let Some(index) = self.peers[server].link {
            self.links[index].outgoing = Outgoing::Severed;
        }
    }

    /// Closes a server's link, and cuts off what waits on it. Returns how many parts of clients' requests that were.
    pub fn close(&mut self, net: &mut N, server: usize) -> usize {
        let Some(index) = self.peers[server].link.take() else {
            return 0;
        };
        let link = self.links.remove(index);
        let cut_off = link.clients_waiting();
        net.close(link.socket);
        self.lost.extend(link.pending.into_iter().map(|leg| (server, leg)));
        cut_off
    }

    /// Closes a server's link if nobody waits on it. Returns whether it has none now.
    pub fn close_if_idle(&mut self, net: &mut N, server: usize) -> bool {
        let is_idle = self.pending(server) == 0;
        if is_idle {
            self.close(net, server);
        }
        is_idle
    }

    /// Gives servers that somebody waits for so much more time, because magent itself did not run.
    pub fn excuse(&mut self, more_ms: u64) {
        for (_, link) in &mut self.links {
            link.excuse(more_ms);
        }
    }

    /// The servers that let somebody wait, each with since when it has said nothing, magent's own delays taken off.
    pub fn kept_waiting(&self) -> Vec<(usize, u64)> {
        let waits = |link: &Link<N>| Some((link.server, link.waits_since_ms()?));
        self.links.iter().filter_map(|(_, link)| waits(link)).collect()
    }

    /// What 999 of 1,000 answers of a server take, in milliseconds.
    pub fn longest_ms(&self, server: usize) -> u64 {
        self.peers[server].answer_times.percentile_999_ms()
    }

    /// Looks whether packets to a server were lost, if it was not looked for a while.
    pub fn watch_losses(&mut self, net: &N, server: usize, now_ms: u64) {
        if self.peers[server].losses.is_due(now_ms) {
            self.has_lost_packets(net, server, now_ms);
        }
    }

    /// Whether packets to a server were lost lately.
    pub fn has_lost_packets(&mut self, net: &N, server: usize, now_ms: u64) -> bool {
        let Peer { link, losses, .. } = &mut self.peers[server];
        if let Some(link) = link.map(|link| &self.links[link]) {
            losses.are(net.lost_packets(&link.socket), now_ms);
        }
        losses.is_any(now_ms)
    }

    /// What the oldest request to a server is about; and how far that has come.
    pub fn oldest_to(&self, server: usize) -> Option<Purpose> {
        self.oldest(self.peers[server].link?).map(|leg| leg.purpose)
    }

    pub fn delivery(&self, net: &N, server: usize) -> Delivery {
        match self.peers[server].link.map(|link| &self.links[link]) {
            Some(link) if link.pending.front().is_none_or(|leg| leg.end <= link.written()) => {
                net.delivery(&link.socket)
            }
            Some(_) => Delivery::UnderWay,
            None => Delivery::Arrived,
        }
    }

    /// Since when a server has said nothing and somebody waits for it; and when it last said something.
    pub fn silence(&self, server: usize) -> (Option<u64>, u64) {
        match self.peers[server].link {
            Some(link) => (self.links[link].waits_since_ms(), self.links[link].progress_ms()),
            None => (None, 0),
        }
    }
}
