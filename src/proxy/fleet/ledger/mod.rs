//! The ledger: what is believed of the servers and of their keys. It is written here alone, and asked here alone.
//!
//! It is told what happens ([`Event`], by [`Ledger::record`]), and answers whose word counts ([`Ledger::believe`]). Nothing
//! here sends, waits or looks at a clock. While nothing differs there is nothing to be told: a write that both servers
//! acknowledge costs a number ([`Ledger::begin`]). What grows is bounded: where more keys differ than there is room for,
//! everything does ([`Missed::TooMany`], [`Lacking::Everything`]), which is a state like any other.
//!
//! # States
//!
//! Of a **server** ([`Account`]): up or away; its *epoch*, which counts the times that it went away or turned out to be in
//! a new life; its *watermark*, the number of the first write that it can still come to miss (it has returned since the
//! others); whether its life is *confirmed* on the link that is open, and whether it has *settled* since it returned;
//! whether it has *drained*, that is, done all that had been delivered when it fell silent; and what it lacks.
//!
//! Of a **write** that a server has not acknowledged (`Writes`, by key, only while the server is away):
//!
//! ```text
//!                    the partner answers                   undelivered: it was away, or the bytes never left magent
//!   in doubt -------------------------------> acked        delivered:   the bytes were in its socket when it fell silent
//!       |                                       ^
//!       | the partner is lost as well,          | the partner acks a later one, or comes back first
//!       | or the client was wrong               |
//!       +--------------------------> unacked ---+
//! ```
//!
//! Of a **key that was lost** ([`Lacking`], by server and partner): these keys; everything; everything, and what is there
//! may be old (suspect); everything, and the partner cannot list it; hardly anything (unverified).
//!
//! # Principles
//!
//! The rules are numbered in `tests/simulator/README.md`, which tells the schedule that showed each. Four sentences make
//! most of them; each rule is a test of its name in `tests/`.
//!
//! 1. **An acknowledgement is good for one epoch of who gave it** ([`Receipt`]): R3, R11, R14, R17, R27. One that does not
//!    hold any more was none, and the write is in doubt again.
//! 2. **The copy that has run every write that was acknowledged is the truth, and where neither acknowledged, the copy that
//!    is there is.** So a server that returns is rid of a key only if its partner acknowledged what it has not run, or is
//!    there to speak for itself: R1, R2, R6, R13, R14, R15, R22. And who is there first settles what the other missed.
//! 3. **What was delivered is run and what was not never is, and only the server's own answers tell when**: R8, R9, R12,
//!    R16. That its partner acknowledged the same write does not hurt: it has been run twice, once on each.
//! 4. **"Not here" proves nothing of a server that may lack the key while its partner may have it** ([`Absence`]): R4, R5, R7,
//!    R10, R18, R19, R24, R25, R37, R39. It is weighed when it comes, by what is known then.
//!
//! The others are not about belief; the README says where they are kept.

pub mod account;
mod ack;
pub mod event;
pub mod lacking;
pub mod missed;
pub mod news;
mod returning;
#[cfg(test)]
mod tests;

use crate::proxy::limits::Limits;
use account::Account;
pub use ack::{Ack, Fate, Number, Receipt};
pub use event::{Absence, Belief, Decision, Event, Partner, Rid};
pub use lacking::{Certainty, Keys, Lacking, Lacks, Range};
pub use missed::Missed;
use news::News;

/// What is believed of all servers and keys.
pub struct Ledger {
    servers: Vec<Account>,
    /// The last number that was given.
    last: Number,
    /// Bytes of keys that are remembered of one server as missed, and as lacking from one partner.
    missed_bytes_max: usize,
    lacking_bytes_max: usize,
    /// Something was recorded; see `news`.
    has_changed: bool,
    /// What of it is to be written down, if anything is.
    news: Option<Vec<News>>,
}

impl Ledger {
    pub fn new(limits: &Limits) -> Self {
        Self {
            servers: Vec::new(),
            last: Number::default(),
            missed_bytes_max: limits.missed_bytes,
            lacking_bytes_max: limits.lacking_bytes,
            has_changed: true,
            news: None,
        }
    }

    /// Opens an account for one server more, which is taken to be up.
    pub fn add_server(&mut self) -> usize {
        self.servers.push(Account::default());
        self.servers.len() - 1
    }

    /// How many accounts there are.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// The number of a write that begins. It may be sent to a server once by this number.
    pub fn begin(&mut self) -> Number {
        self.last = self.last.next();
        self.last
    }

    /// The number that the next write will have.
    pub fn next_number(&self) -> Number {
        self.last.next()
    }

    pub fn account(&self, server: usize) -> &Account {
        &self.servers[server]
    }

    /// Counts the writes that servers missed from 0 again.
    pub fn count_anew(&mut self) {
        self.servers.iter_mut().for_each(|account| account.misses = 0);
    }

    /// What an acknowledgement that this server gives now is worth later.
    pub fn receipt(&self, server: usize) -> Receipt {
        Receipt {
            server: server as u32,
            epoch: self.servers[server].epoch,
        }
    }

    /// Whether what was acknowledged is still there: the server has been up, in one life, since (R3).
    pub fn holds(&self, receipt: Receipt) -> bool {
        let server = &self.servers[receipt.server as usize];
        server.is_up() && server.epoch == receipt.epoch
    }

    /// Whose word counts of a key that `one` and `other` hold. Where both are as good it is the first's by custom.
    pub fn believe(&self, key: &[u8], one: usize, other: Option<usize>) -> Belief {
        let is_up = |server: usize| self.servers[server].is_up();
        let Some(other) = other else {
            return match is_up(one) {
                true => Belief::One(one),
                false => Belief::Unknown(one),
            };
        };
        match (is_up(one), is_up(other)) {
            (true, true) => {
                let (first, second) = (self.certainty(key, one, other), self.certainty(key, other, one));
                match first.cmp(&second) {
                    std::cmp::Ordering::Greater => Belief::One(one),
                    std::cmp::Ordering::Equal => Belief::Either,
                    std::cmp::Ordering::Less => Belief::One(other),
                }
            }
            (true, false) => self.believe_alone(key, one, other),
            (false, true) => self.believe_alone(key, other, one),
            (false, false) => Belief::Unknown(one),
        }
    }

    /// The same where only one of the two is there. One that has ended has nothing left to tell.
    fn believe_alone(&self, key: &[u8], here: usize, away: usize) -> Belief {
        let lack = self.servers[here].lack(away);
        let is_whole = lack.is_none_or(|lack| lack.is_whole_for(key));
        match is_whole || self.servers[away].is_gone() {
            true => Belief::One(here),
            false => Belief::Unknown(away),
        }
    }

    /// What it proves that a server says it does not have a key (R4). One that has gone since said so while it was there.
    pub fn absence(&self, key: &[u8], server: usize, partner: usize) -> Absence {
        match self.servers[partner].is_up() {
            true if self.lacks(key, server, partner) < self.lacks(key, partner, server) => Absence::AskPartner,
            true => Absence::Proof,
            false => match self.believe_alone(key, server, partner) {
                // What the partner may have does not count (R56).
                Belief::Unknown(_) if self.servers[partner].missed.makes_void(key) => Absence::Proof,
                Belief::Unknown(_) => Absence::PartnerAway,
                Belief::One(_) | Belief::Either => Absence::Proof,
            },
        }
    }

    /// The server that is asked first for a key that `one` and `other` hold: `one`, unless the other's word counts and it
    /// is there.
    pub fn asked_first(&self, key: &[u8], one: usize, other: usize) -> usize {
        if self.servers[one].is_sound() {
            return one; // mostly
        }
        match self.believe(key, one, Some(other)) {
            Belief::One(server) => server,
            Belief::Unknown(away) if away == one && self.servers[other].is_up() => other,
            Belief::Unknown(_) | Belief::Either => one,
        }
    }

    /// How sure it is that a server has what its partner may have of a key.
    pub fn certainty(&self, key: &[u8], server: usize, partner: usize) -> Certainty {
        Certainty {
            lacks: self.lacks(key, server, partner),
            doubt: self.servers[server].doubt(),
        }
    }

    /// Whether what a server has of a key may be old, and its partner, whose life is known, has what there is.
    pub fn is_outdated(&self, key: &[u8], server: usize, partner: usize) -> bool {
        let [one, other] = [(server, partner), (partner, server)].map(|(server, of)| self.servers[server].lack(of));
        let is_suspect = one.is_some_and(|lack| lack.is_suspect_of(key));
        is_suspect && other.is_none_or(|lack| lack.is_whole_for(key)) && self.servers[partner].is_confirmed
    }

    pub fn lacks(&self, key: &[u8], server: usize, partner: usize) -> Lacks {
        let lack = self.servers[server].lack(partner);
        lack.map_or(Lacks::Nothing, |lack| lack.lacks(key))
    }

    /// Whether a server has missed a write of this key, as far as is known.
    pub fn has_missed(&self, server: usize, key: &[u8]) -> bool {
        self.servers[server].missed.has(key)
    }

    /// What is to be copied next: to which server, from which, and what. Servers that are not up and confirmed wait, and what
    /// is only to be looked through once more waits until its server has settled (R10); `waits`: a server, and of which partner's.
    pub fn to_be_copied(&self, waits: impl Fn(usize, usize) -> bool) -> Option<(usize, usize, &Lacking)> {
        let is_ready = |server: usize| self.servers[server].is_up() && self.servers[server].is_confirmed;
        (0..self.servers.len()).filter(|&to| is_ready(to)).find_map(|to| {
            let account = &self.servers[to];
            let possible = |what: &Lacking| match what {
                Lacking::Unlistable => false,
                Lacking::Unverified { .. } => !account.is_settling,
                what => !what.is_over(),
            };
            let mut lacks = account.lacks.iter();
            lacks
                .find(|lack| possible(&lack.what) && is_ready(lack.from) && !waits(to, lack.from))
                .map(|lack| (to, lack.from, &lack.what))
        })
    }

    /// Notes what has happened.
    pub fn record(&mut self, event: Event<'_>) {
        self.has_changed = true;
        let missed = event.missed().filter(|_| self.news.is_some());
        self.note_event(event);
        if let Some((key, servers)) = missed {
            servers
                .into_iter()
                .flatten()
                .for_each(|server| self.note_news(server, key));
        }
    }

    fn note_event(&mut self, event: Event<'_>) {
        match event {
            Event::Down { server, drains } => self.servers[server].goes_away(drains),
            Event::NotDrained(server) => self.servers[server].will_not_drain(),
            Event::Asked(server) => self.servers[server].is_confirmed = false,
            Event::Introduced { server, anew } => self.servers[server].is_introduced(anew),
            Event::Gone(server) => self.servers[server].is_known_to_be_gone(true),
            Event::Emptied { server, partners } => self.emptied(server, partners),
            Event::Settling(server) => self.servers[server].is_settling = true,
            Event::Settled(server) => self.servers[server].settled(),
            Event::FlushMissed(server) => self.servers[server].missed = Missed::Everything,
            Event::Lacks { server, from, what, of } => {
                self.servers[server].add_lack(from, what, of, self.lacking_bytes_max);
            }
            Event::LacksKey { server, from, key } => self.lacks_key(server, from, key),
            Event::Copied { server, from, key } => self.copied(server, from, key),
            Event::Filled { server, from, left } => self.servers[server].filled(from, left),
            Event::MayList => self.servers.iter_mut().for_each(Account::list_again),
            Event::Unnamed(server) => self.unnamed(server),
            Event::NotRid { server, key, delivered } => self.not_rid(server, key, delivered),
            Event::Unsent {
                write,
                key,
                server,
                partner,
            } => self.miss_for_now(write, key, server, partner, false),
            Event::CutOff {
                write,
                key,
                server,
                delivered,
                partner,
                is,
            } => self.cut_off(write, key, (server, delivered), (partner, is)),
            Event::Answered {
                write,
                key,
                missed_by,
                delivered,
                ack,
            } => self.answered(write, key, (missed_by, delivered), ack),
            Event::Changed { key, missed_by, alike } => self.changed(key, missed_by, alike),
            Event::Decided {
                write,
                key,
                missed_by,
                failed_over,
                decision,
            } => self.decided(write, key, (missed_by, failed_over), decision),
            Event::Ran { server, key, stored } => self.servers[server].missed.ran(key, stored),
            Event::Missed {
                key,
                server,
                ack,
                delivered,
            } => self.note_new(server, key, delivered, ack),
        }
    }

    fn lacks_key(&mut self, server: usize, from: usize, key: &[u8]) {
        self.servers[server].add_key_lacking(from, key, self.lacking_bytes_max);
        self.tell_lacking(server, from, key);
    }

    fn note_new(&mut self, server: usize, key: &[u8], delivered: bool, ack: Ack) {
        let write = self.begin();
        self.note(server, key, write, delivered, ack);
    }

    fn note(&mut self, server: usize, key: &[u8], write: Number, delivered: bool, ack: Ack) {
        let account = &mut self.servers[server];
        account.misses += 1;
        account.missed.add(key, write, delivered, ack, self.missed_bytes_max);
    }

    /// Notes that a server has missed a write that its partner has acknowledged.
    fn miss_acked(&mut self, server: usize, key: &[u8], write: Number) {
        self.note(server, key, write, false, Ack::ACKED);
    }

    /// Notes that a server has missed a write that its partner has not acknowledged, so far, but may if it is there.
    fn miss_for_now(&mut self, write: Number, key: &[u8], server: usize, partner: usize, delivered: bool) {
        let fate = match self.servers[partner].is_up() {
            true => Fate::InDoubt,
            false => Fate::Unacked,
        };
        self.note(server, key, write, delivered, Ack::of(fate));
    }

    /// A write was cut off on its way to a server: who has missed it?
    fn cut_off(
        &mut self,
        write: Number,
        key: &[u8],
        (server, delivered): (usize, bool),
        (partner, is): (usize, Partner),
    ) {
        let unacked = Ack::of(Fate::Unacked);
        match is {
            Partner::Asked => self.miss_for_now(write, key, server, partner, delivered),
            Partner::Acked(receipt, ack) if receipt.is_none_or(|receipt| self.holds(receipt)) => {
                self.note(server, key, write, delivered, ack);
            }
            // It acknowledged, and was lost since, perhaps with its memory (R3).
            Partner::Acked(..) => self.note(server, key, write, delivered, unacked),
            // It was away, has come back since, and goes on: it is the other that has missed the write (R14).
            Partner::Missed { .. } if self.servers[partner].is_up() => {
                self.note(server, key, write, delivered, unacked)
            }
            Partner::Missed { delivered, needs: true } if self.has_changed_nothing(key, server, partner) => {
                self.answered(write, key, (partner, delivered), None);
            }
            // The one that was asked last is the only one that may have it.
            Partner::Missed { delivered, .. } => {
                let missed = &mut self.servers[partner].missed;
                if !missed.settle(key, write, delivered, unacked) {
                    self.note(partner, key, write, delivered, unacked);
                }
            }
        }
    }

    /// Whether a write that needs the key has changed nothing on a server, for only its partner, which is away, may have it (R37).
    fn has_changed_nothing(&self, key: &[u8], server: usize, partner: usize) -> bool {
        !self.servers[partner].is_gone() && self.lacks(key, server, partner) != Lacks::Nothing
    }

    /// A write was acknowledged, or refused, by the partner of one that has missed it, or has changed nothing there. One that returned
    /// meanwhile is rid of it already (R5).
    fn answered(&mut self, write: Number, key: &[u8], (missed_by, delivered): (usize, bool), ack: Option<Ack>) {
        let account = &mut self.servers[missed_by];
        if write < account.watermark {
            return;
        }
        match ack {
            Some(ack) => _ = account.missed.settle(key, write, delivered, ack),
            None => account.misses -= u64::from(account.missed.take_back(key, delivered)).min(account.misses),
        }
    }

    /// The partner of a server has changed a key, on top of what it had. `alike`: who runs what it was sent before is left
    /// with the same.
    fn changed(&mut self, key: &[u8], missed_by: usize, alike: bool) {
        let number = self.begin();
        if let Some(writes) = self.servers[missed_by].missed.of(key) {
            writes.settle_all(number);
            if !alike && writes.has_delivered() {
                writes.add(number, false, Ack::ACKED);
            }
        }
    }

    /// A server decided about an add, replace or cas whose partner is away. Only one that failed over says anything of
    /// writes before it (R15); what was delivered to the partner may be decided there in another way (R16). A refusal leaves
    /// the key as it was (R22), but if it failed over, what the partner did with it is not known.
    fn decided(
        &mut self,
        write: Number,
        key: &[u8],
        (missed_by, failed_over): (usize, Option<bool>),
        decision: Decision,
    ) {
        let delivered = failed_over == Some(true);
        if failed_over.is_some() {
            if let Some(writes) = self.servers[missed_by].missed.of(key) {
                writes.settle_all(write);
                if delivered {
                    writes.stored_there = Some(decision.has_stored());
                }
            }
        }
        match decision {
            Decision::Stored => self.note(missed_by, key, write, delivered, Ack::WHOLE),
            // Where it was delivered it has found nothing to replace either, or tells.
            Decision::NothingThere if delivered => {}
            Decision::NothingThere => self.miss_acked(missed_by, key, write),
            Decision::Refused if failed_over.is_some() => self.miss_acked(missed_by, key, write),
            Decision::Refused | Decision::Flushed | Decision::Unchanged => {}
        }
    }

    /// A removal of what a server missed, or of what it was told by mistake, did not come through, or nobody knows. If it was
    /// delivered it comes before all that was written since the server returned.
    fn not_rid(&mut self, server: usize, key: &[u8], delivered: bool) {
        let write = match delivered {
            true => self.servers[server].watermark,
            false => self.begin(),
        };
        let account = &mut self.servers[server];
        account.missed.add(key, write, false, Ack::ACKED, self.missed_bytes_max);
    }

    /// A server holds nothing any more: others lack nothing of it, and it lacks what they have.
    fn emptied(&mut self, server: usize, partners: &[usize]) {
        for account in &mut self.servers {
            account.lacks.retain(|lack| lack.from != server);
        }
        for &partner in partners {
            self.servers[server].add_lack(partner, Lacking::Everything, Range::All, self.lacking_bytes_max);
        }
    }

    /// The configuration does not name a server any more. It misses all that is written from here on.
    fn unnamed(&mut self, server: usize) {
        for account in &mut self.servers {
            account.lacks.retain(|lack| lack.from != server);
        }
        let account = &mut self.servers[server];
        account.is_put_away();
        account.lacks.clear();
        account.missed = Missed::Everything;
    }
}
