//! Whether all books agree: for the simulator and the fuzzer, which ask at the end of every turn.
//!
//! What is counted twice must come to the same, whoever is on a list must be there, and whatever is in progress must have
//! something that will end it: an answer to come, a key to be let go of, another's turn, a timer.

use crate::buffer::Chain;
use crate::proxy::Proxy;
use crate::proxy::fleet::server::{Health, Rejoining};
use crate::proxy::front::client::{Client, Stage};
use crate::proxy::front::transaction::{Transaction, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::read::Read;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Outgoing;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// What was found to be wrong.
pub type Wrong = Result<(), String>;

pub fn equal<T: PartialEq + Debug>(what: &str, counted: T, found: T) -> Wrong {
    match counted == found {
        true => Ok(()),
        false => Err(format!("{what}: counted as {counted:?}, there are {found:?}")),
    }
}

pub fn holds(what: &str, holds: bool) -> Wrong {
    match holds {
        true => Ok(()),
        false => Err(what.to_owned()),
    }
}

/// A connection is blocked where its socket did not take all, and only there.
pub fn is_flushed(output: &Chain, outgoing: Outgoing) -> bool {
    match outgoing {
        Outgoing::Idle => output.is_empty(),
        Outgoing::Dirty => false,
        Outgoing::Blocked => true,
    }
}

impl<N: Net> Proxy<N> {
    /// Whether all is as it must be at the end of a turn, behind [`Proxy::flush`]; else what is not.
    pub fn check(&self) -> Result<(), String> {
        self.upstream.check()?;
        holds(
            "clients have left something for another turn",
            self.dirty_clients.is_empty(),
        )?;
        for (index, client) in &self.clients {
            self.check_client(index, client)
                .map_err(|what| format!("client {index}: {what}"))?;
        }
        let mut legs = self.upstream.legs();
        let waiting: BTreeSet<usize> = self.gate.waiting().collect();
        for (id, transaction) in &self.transactions {
            equal("legs", transaction.legs, legs.remove(&id).unwrap_or(0))
                .and_then(|()| self.check_transaction(id, transaction, &waiting))
                .map_err(|what| format!("transaction {id}: {what}"))?;
        }
        holds("a leg of no transaction", legs.is_empty())?;
        self.check_sums(&waiting)?;
        self.check_timers()
    }

    fn check_client(&self, index: usize, client: &Client<N>) -> Wrong {
        let mut queue = Vec::new();
        for &id in &client.queue {
            let transaction = self.transactions.get(id).filter(|one| one.client == Some(index));
            queue.push(transaction.ok_or(format!("waits for transaction {id}, which is not its own"))?);
        }
        let reads: Vec<&Read> = queue.iter().filter_map(|one| read_of(one)).collect();
        let sum = |of: fn(&Transaction) -> usize| queue.iter().map(|one| of(one)).sum::<usize>();
        equal("the load", client.load, sum(|one| one.cost))?;
        equal("keys in flight", client.pace.keys_in_flight, sum(|one| one.keys))?;
        let merging: usize = reads.iter().map(|read| read.kept_bytes()).sum();
        equal(
            "bytes of replies",
            client.replies,
            sum(Transaction::reply_bytes) + merging,
        )?;
        let mut unasked = reads.iter().filter(|read| read.has_more());
        holds("two reads have more to ask for", unasked.nth(1).is_none())?;
        holds("not flushed", is_flushed(&client.output, client.outgoing))?;
        holds(
            "more in flight than allowed",
            queue.len() <= self.settings.limits.requests_in_flight,
        )?;
        let ends = client.stage != Stage::Leaving || !client.queue.is_empty() || !client.output.is_empty();
        holds("it has left and is not closed", ends)?;
        // With something in flight or on its way out, the end of that goes on with it.
        let is_idle = client.queue.is_empty() && client.output.is_empty() && !client.is_squeezed;
        let goes_on = !is_idle || !self.is_able_to_go_on(client) || self.resuming.contains(&index);
        holds("it has asked for more and is never gone on with", goes_on)
    }

    /// Whether something is in progress only as long as there is something that will end it.
    fn check_transaction(&self, id: usize, transaction: &Transaction, waiting: &BTreeSet<usize>) -> Wrong {
        if let Some(index) = transaction.client {
            let client = self.clients.get(index);
            let is_its_own = client.is_some_and(|client| client.queue.contains(&id));
            holds("its client does not wait for it", is_its_own)?;
        }
        let has_legs = transaction.legs > 0;
        let will_end = match &transaction.work {
            Work::Answered => match transaction.client {
                None => has_legs,
                Some(client) => transaction.answered && self.clients[client].queue.front() != Some(&id),
            },
            Work::Waiting(_) => waiting.contains(&id) || self.gate.is_deferred(id),
            Work::Refused(_) => waiting.contains(&id),
            Work::Repair(_) => waiting.contains(&id),
            Work::Read(read) => {
                has_legs || read.is_at_gate() && waiting.contains(&id) || self.will_be_asked(id, transaction, read)
            }
            Work::Write(_) | Work::Conditional(_) => has_legs,
            Work::Broadcast(_) => has_legs || self.flushes_to_repeat.contains(&id),
            Work::Survey(_) => has_legs && self.surveys.contains(&id),
            Work::Healing => self.copier.healing(id) == 1,
        };
        holds("nothing will end it", will_end)
    }

    /// Whether there is a time when the next portion of a retrieval is asked for.
    fn will_be_asked(&self, id: usize, transaction: &Transaction, read: &Read) -> bool {
        let Some(client) = transaction.client.filter(|_| read.has_more()) else {
            return false;
        };
        let client = &self.clients[client];
        let its_turn = client.queue.front() != Some(&id) || !client.output.is_empty();
        let queued = read.is_queued() && self.upstream.will_have_turn(id);
        its_turn || queued || self.reads_to_go_on.contains(&id)
    }

    fn check_sums(&self, waiting: &BTreeSet<usize>) -> Wrong {
        let count = |is_one: fn(&Work) -> bool| self.transactions.iter().filter(|(_, one)| is_one(&one.work)).count();
        let flushes = count(|work| matches!(work, Work::Broadcast(broadcast) if broadcast.flushes_now()));
        equal("flushes", self.flushes_under_way, flushes)?;
        equal(
            "surveys",
            self.surveys.len(),
            count(|work| matches!(work, Work::Survey(_))),
        )?;
        let reads = self.transactions.iter().filter_map(|(_, one)| read_of(one));
        let reads = reads.map(Read::readings).sum();
        // Who has a key alone: what decides, what repairs, and what is deferred until its server is known.
        let alone =
            count(|work| matches!(work, Work::Conditional(_))) + self.gate.deferred_count() + self.copier.passes();
        let writes = count(|work| matches!(work, Work::Write(write) if write.pass.is_some()));
        let found = (alone, writes, reads);
        equal(
            "keys that somebody has, writes to both servers, retrievals",
            self.gate.inside(),
            found,
        )?;
        let strangers = waiting.iter().filter(|&&id| !self.transactions.contains(id)).count();
        holds("what waits for a key is gone", strangers == 0)?;
        let limits = &self.settings.limits;
        holds("too many surveys", self.surveys.len() <= limits.surveys)?;
        let at_gate = count(|work| matches!(work, Work::Repair(_)));
        self.copier.check(self.upstream.repair_legs(), at_gate, limits)
    }

    /// Whoever waits for a time has a timer.
    fn check_timers(&self) -> Wrong {
        let set = |timer: Timer| self.timers.is_set(timer);
        let (silent, next_ms) = self.upstream.silent(self.now_ms, self.settings.timeout_ms);
        let is_waited_for = !silent.is_empty() || next_ms.is_some();
        holds(
            "nobody looks whether a server answers",
            !is_waited_for || set(Timer::Silence),
        )?;
        for (index, server) in self.farm.servers.iter().enumerate() {
            let watched = match server.health {
                Health::Down { .. } => set(Timer::Probe),
                Health::Rejoining { step, .. } => match step {
                    Rejoining::Draining { .. } => set(Timer::Drain),
                    Rejoining::Comparing { .. } => set(Timer::Compare),
                    Rejoining::Probing => set(Timer::Silence),
                },
                Health::Retired => !self.upstream.is_linked(index) || set(Timer::Retire),
                Health::Up => true,
            };
            holds(
                &format!("nobody looks after server {}: {:?}", server.name, server.health),
                watched,
            )?;
            holds(
                "a server never settles",
                !self.farm.ledger.account(index).is_settling() || set(Timer::Settle),
            )?;
        }
        holds("a survey is waited for", self.surveys.is_empty() || set(Timer::Survey))?;
        holds(
            "a repair is never due",
            !self.copier.has_due() || set(Timer::ReadRepair),
        )
    }
}

fn read_of(transaction: &Transaction) -> Option<&Read> {
    match &transaction.work {
        Work::Read(read) => Some(read),
        _ => None,
    }
}
