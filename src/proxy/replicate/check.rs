//! Whether the books of requests in progress agree; see [`Proxy::check`](crate::proxy::Proxy::check).

use crate::proxy::limits::Limits;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::Who;
use crate::proxy::replicate::plan::Read;
use crate::proxy::replicate::transaction::{Transaction, Work};
use crate::proxy::wrong::{Wrong, equal, holds};

impl Replicate {
    pub fn transactions(&self) -> impl Iterator<Item = (usize, &Transaction)> {
        self.transactions.iter()
    }

    /// Bytes of values that wait for others; None if there is no such transaction.
    pub fn merging(&self, id: usize) -> Option<usize> {
        self.transactions
            .get(id)
            .map(|transaction| read_of(transaction).map_or(0, Read::kept_bytes))
    }

    /// Whether a request waits for a key, and is known to.
    pub fn waits_for_key(&self, id: usize) -> bool {
        self.gate.waiting().any(|who| who == Who::Request(id)) || self.gate.is_deferred(id)
    }

    /// How many repairs wait for their key.
    pub fn repairs_at_gate(&self) -> usize {
        let repair = |who: &Who| matches!(who, Who::Repair(_));
        self.gate.waiting().filter(repair).count()
    }

    /// Whether a flush is to be done once more.
    pub fn will_flush(&self, id: usize) -> bool {
        self.flushes_to_repeat.contains(&id)
    }

    /// Whether the next portion of a retrieval has been put off to another turn.
    pub fn is_put_off(&self, id: usize) -> bool {
        self.reads_to_go_on.contains(&id)
    }

    /// Whether all is as it must be at the end of a turn, where repairs have so many keys alone.
    pub fn check(&self, limits: &Limits, repairing: usize) -> Wrong {
        let count = |is_one: fn(&Work) -> bool| self.transactions.iter().filter(|(_, one)| is_one(&one.work)).count();
        let surveys = count(|work| matches!(work, Work::Survey(_)));
        equal("surveys", self.surveys.len(), surveys)?;
        holds("too many surveys", self.surveys.len() <= limits.surveys)?;
        let reads = self.transactions.iter().filter_map(|(_, one)| read_of(one));
        let reads = reads.map(Read::readings).sum();
        // Who has a key alone: what decides, what repairs, and what is deferred until its server is known.
        let alone = count(|work| has_pass(work, false)) + self.gate.deferred_count() + repairing;
        let writes = count(|work| has_pass(work, true));
        equal(
            "keys that somebody has, writes to both servers, retrievals",
            self.gate.inside(),
            (alone, writes, reads),
        )?;
        holds("somebody is put off for ever", self.put_off.is_empty())?;
        let is_gone = |who: Who| matches!(who, Who::Request(id) if !self.transactions.contains(id));
        holds("what waits for a key is gone", !self.gate.waiting().any(is_gone))
    }
}

/// Whether it is a write to both servers, or one that one decides about first, that has not left the gate.
fn has_pass(work: &Work, to_both: bool) -> bool {
    matches!(work, Work::Write(write) if write.is_to_both() == to_both && write.pass.is_some())
}

fn read_of(transaction: &Transaction) -> Option<&Read> {
    match &transaction.work {
        Work::Read(read) => Some(read),
        _ => None,
    }
}
