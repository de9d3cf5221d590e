//! Servers that a cut between machines has parted: each was written to by a magent that could not reach the other.
//!
//! What a server missed while it was away is otherwise removed from it when it returns, for its partner has what there is. But if
//! another magent, which was there, could not reach the partner meanwhile, then what was written to this server by that one is
//! nowhere else. The boards tell: on each, every magent writes which servers it is, or was a moment ago, without. So a server that
//! returns is asked for its board first, and where that says that somebody was without its partner, nothing is removed from it: both
//! copies of each key are looked at, and one is made like the other.
//!
//! Which of them was written while they were parted, their uniques tell, for memcached counts them up: on the server that was away what is
//! above all that had been seen of it; on the partner what this magent stored last, if that told its unique, and else what is above all
//! that had been seen when the other was last heard. Where only one was, it is that one; where both were, it is the senior's, as every magent
//! finds. What magent itself had under way to the server that fell silent is taken for old, since what it wrote afterwards is on the partner:
//! it is known by the unique that comes with a late answer, or, without one, by its key.
//!
//! Nobody begins with that while others still write to one of the two alone, as the boards tell: what they go on writing would be taken for
//! older than its copy.

use crate::protocol::reply::{Reply, Status};
use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::board::{Absence, NOTICED_MS, Without};
use crate::proxy::fleet::ledger::{Event, Lacking, Lacks, Range};
use crate::proxy::fleet::marks::Marks;
use crate::proxy::fleet::others::{FOUND_MS, SAID_MS};
use crate::proxy::fleet::server::{Health, PROBE_PAUSE_MIN_MS};
use crate::proxy::handoff::Handoff;
use crate::proxy::net::{Level, Net};
use crate::proxy::servers::Servers;

impl Fleet {
    /// A board was read: notes which servers others are without. Returns those of which that is news.
    pub fn note_missed(&mut self, text: &[u8], now_ms: u64) -> Vec<usize> {
        let mut missed = self.in_use();
        missed.retain(|&server| {
            let id = self.servers[server].id;
            let is_recent = |said: Absence| said.until_ms + FOUND_MS as i64 >= now_ms as i64;
            let tells = || self.others.board.absences(text, id).any(is_recent);
            id.is_some() && tells() && self.others.miss(server, now_ms)
        });
        missed
    }

    /// Whether others are without a server, so that it may have what their clients have deleted. Before all boards have been understood
    /// nobody knows.
    pub fn may_be_missed(&self, server: usize, now_ms: u64) -> bool {
        self.is_starting || self.others.are_missing(server, now_ms)
    }

    /// A server is asked for its board.
    pub fn is_asked(&mut self, server: usize, now_ms: u64) {
        let partners: Vec<_> = self
            .partners(server)
            .into_iter()
            .map(|partner| (partner, self.servers[partner].contact.seen()))
            .collect();
        self.servers[server].contact.is_asked(partners.into_iter(), now_ms);
    }

    /// Notes whether there are other magents.
    pub fn note_others(&mut self, now_ms: u64) {
        let is_away = |server: usize| !self.is_up(server) || self.servers[server].contact.is_silent(now_ms);
        let is_any_away = self.in_use().into_iter().any(is_away);
        self.others.note(now_ms, is_any_away);
    }

    /// The servers that this magent is, or was a moment ago, without.
    pub fn missed(&self, now_ms: u64) -> Vec<Without> {
        let in_use = self.in_use().into_iter().map(|index| &self.servers[index]);
        let missed = in_use.filter_map(|server| Some((server.id, server.contact.missed_ago_ms(now_ms)?)));
        missed.map(|(id, ago_ms)| Without { id, ago_ms }).collect()
    }

    /// A server returns, with this on its board: notes which partners somebody else was without meanwhile. What was written there before it
    /// was lost says nothing of that: a server that hangs keeps its board as it is (R45).
    pub fn note_parted(&mut self, index: usize, text: &[u8]) {
        let heard_ms = self.servers[index].contact.lost_heard_ms();
        let meanwhile = |said: Absence| said.is_known && said.until_ms > (heard_ms + NOTICED_MS) as i64;
        for partner in self.partners(index) {
            let lacks = self.ledger.account(partner).lack(index).is_some();
            let id = self.servers[partner].id;
            let was_missed = self.others.board.absences(text, id).any(meanwhile);
            if was_missed && self.has_board(partner) && !lacks {
                self.servers[index].contact.is_parted_from(partner);
            }
        }
    }

    /// A server returns, with this on its board: whether somebody may have been without a partner meanwhile who has not been heard to be there.
    pub fn may_be_parted(&self, index: usize, text: &[u8]) -> bool {
        let heard_ms = self.servers[index].contact.lost_heard_ms();
        let perhaps = |said: Absence| !said.is_known && said.until_ms > (heard_ms + NOTICED_MS) as i64;
        let tells = |partner: usize| self.others.board.absences(text, self.servers[partner].id).any(perhaps);
        self.partners_of(index).iter().any(|&partner| tells(partner))
    }

    /// The board of a server was read: whether others have found the partners again that it was parted from. Returns whether they have, just
    /// now.
    pub fn note_found_again(&mut self, index: usize, text: &[u8], now_ms: u64) -> bool {
        if !self.servers[index].contact.was_parted() {
            return false;
        }
        let mut are_without = self.partners(index);
        are_without.retain(|&partner| {
            let id = self.servers[partner].id;
            let is_so = |said: Absence| !said.is_over && said.written_ms + SAID_MS as i64 > now_ms as i64;
            self.others.board.absences(text, id).any(is_so)
        });
        self.servers[index].contact.is_told(&are_without, now_ms)
    }

    /// Another magent is heard again, which was not: what lies between may be whole again, and servers that are away are looked for at once.
    /// Returns whether there are any.
    pub fn look_soon(&mut self, now_ms: u64) -> bool {
        let mut any = false;
        for server in &mut self.servers {
            if let Health::Down { probe_at_ms, away, .. } = &mut server.health {
                *probe_at_ms = now_ms.min(*probe_at_ms);
                away.pause_ms = PROBE_PAUSE_MIN_MS;
                any = true;
            }
        }
        any
    }

    pub fn was_parted_from_all(&self, server: usize) -> bool {
        let was_parted = |partner: usize| self.servers[server].contact.was_parted_last(partner);
        self.partners(server).into_iter().all(was_parted)
    }

    /// Whether a server that returns was parted from the partner that has this key.
    pub fn was_parted(&self, server: usize, key: &[u8]) -> bool {
        let partner = self.partner(key, server);
        partner.is_some_and(|partner| self.servers[server].contact.was_parted_of(key, partner))
    }

    /// A copy of a key is made on one of its servers.
    pub fn is_made_alike(&mut self, key: &[u8], server: usize) {
        for server in [Some(server), self.partner(key, server)].into_iter().flatten() {
            self.servers[server].contact.is_made_alike(key);
        }
    }

    /// Whether one of a key's servers is away, so that both are looked at when it returns.
    pub fn looks_when_back(&mut self, key: &[u8], pair: [usize; 2]) -> bool {
        let away = pair.into_iter().find(|&server| !self.is_up(server));
        if let Some(server) = away {
            self.servers[server].contact.was_not_looked_at(key);
        }
        away.is_some()
    }

    /// Whether a key of two servers that were parted has still to be made alike.
    pub fn are_to_be_evened_out(&self, key: &[u8], [one, other]: [usize; 2]) -> bool {
        self.is_to_be_evened_out(key, one, other) || self.is_to_be_evened_out(key, other, one)
    }

    /// The same, where this server is the one that returned: what it has of the key may be old, or somebody else's (R63).
    pub fn is_to_be_evened_out(&self, key: &[u8], server: usize, partner: usize) -> bool {
        if !self.servers[server].contact.was_parted_from(partner) {
            return false;
        }
        let lack = self.ledger.account(server).lack(partner);
        lack.is_some_and(|lack| lack.lacks(key) == Lacks::Surely || lack.is_suspect_of(key))
    }

    /// A server has answered a write of this key; `marks`: one that gives an item another unique, and does not tell it.
    pub fn wrote(&mut self, server: usize, key: &[u8], reply: &Reply, marks: bool) {
        let unique = match reply.status {
            Status::Stored => reply.number, // 0 if it does not tell
            Status::Number => 0,
            Status::Touched if marks => 0,
            _ => return,
        };
        let contact = &mut self.servers[server].contact;
        match unique {
            0 => contact.wrote_unseen(key),
            unique => contact.saw(unique),
        }
        contact.stored_again(key, unique);
        if let Some(partner) = self.partner(key, server) {
            self.servers[partner].contact.partner_stored(key, server, unique);
        }
    }

    /// How a key is to be judged that is copied from one server to another; None where those were not parted.
    pub fn marks(&self, key: &[u8], from: usize, to: usize) -> Option<Marks> {
        self.servers[to].contact.marks(key, from, self.is_older(from, to))
    }
}

impl<N: Net> Servers<N> {
    /// A server that returns may have done what magent had sent it before, after or before what another magent did there meanwhile: that
    /// is looked at, too, if it was parted from the key's other server; and what was to be looked at when it was lost.
    pub fn watch_what_was_under_way(&mut self, index: usize) {
        let mut keys = self.fleet.servers[index].contact.take_unlooked();
        if self.fleet.servers[index].contact.was_parted() {
            let mut delivered = self.fleet.ledger.delivered(index);
            delivered.retain(|key| self.fleet.was_parted(index, key));
            keys.append(&mut delivered);
        }
        for key in keys {
            if let Some(partner) = self.fleet.partner(&key, index) {
                let (pair, key) = ((partner, index), self.cx.pool.copy(&[&key]));
                self.cx.hand_on(Handoff::Moving { pair, key });
            }
        }
    }

    /// A server returns that was parted from its partners, and the keys that it missed are too many to be known: it may have what is old of
    /// any.
    pub fn suspect_what_is_parted(&mut self, index: usize) {
        for from in self.fleet.partners(index) {
            self.fleet.ledger.record(Event::Lacks {
                server: index,
                from,
                what: Lacking::Suspect,
                of: Range::All,
            });
        }
        self.tell_parted(index, None);
    }

    /// A server returns that was parted from a partner, and so many of the keys that it missed are to be made alike, or all.
    pub fn tell_parted(&mut self, index: usize, keys: Option<usize>) {
        let mut parted = self.fleet.partners(index);
        parted.retain(|&partner| self.fleet.servers[index].contact.was_parted_from(partner));
        for partner in parted.into_iter().filter(|_| keys != Some(0)) {
            let [name, other] = [index, partner].map(|server| &self.fleet.servers[server].name);
            let keys = keys.map_or("all".to_owned(), |keys| keys.to_string());
            self.cx.log.say(
                Level::Warning,
                format_args!(
                    "server {name} was written to by another magent without {other}; keys to be made alike on both: {keys}"
                ),
            );
        }
    }
}
