//! What a client asks must not overtake what it has asked before.
//!
//! Requests of one client are in flight together, and an earlier retrieval may have to ask the backup yet: a write behind it
//! that it could see must wait. Which of a client's many retrievals in flight have a key is looked up in a table of counts, for
//! a walk through them at each write would make a pipeline cost the square of its length.

use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::front::transaction::Work;
use crate::proxy::net::Net;

/// How a retrieval in progress is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Not at all: no write can overtake it.
    Not,
    /// Its one key, at this place in the table.
    Key(u16),
    /// With those of its client that may concern any key.
    Any,
}

/// How many retrievals in progress have a key, by a hash of the key and the client. Keys may share a count.
pub struct KeysRead(Box<[u16]>);

impl KeysRead {
    /// A table of so many counts, 1 to 65,536.
    pub fn new(counts: usize) -> Self {
        Self(vec![0; counts].into_boxed_slice())
    }

    fn slot(&self, client: usize, key: &[u8]) -> u16 {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut hash = (client as u64 + 1).wrapping_mul(FACTOR);
        for part in key.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
            hash ^= hash >> 29;
        }
        ((hash >> 40) % self.0.len() as u64) as u16
    }

    /// Counts one more. A count that is full, which takes as many requests as a hundred busy clients have, is left as it is:
    /// the retrieval is to be counted otherwise.
    pub fn add(&mut self, client: usize, key: &[u8]) -> Counted {
        let slot = self.slot(client, key);
        match self.0[usize::from(slot)].checked_add(1) {
            Some(count) => {
                self.0[usize::from(slot)] = count;
                Counted::Key(slot)
            }
            None => Counted::Any,
        }
    }

    fn remove(&mut self, slot: u16) {
        self.0[usize::from(slot)] -= 1;
    }

    fn may_have(&self, client: usize, key: &[u8]) -> bool {
        self.0[usize::from(self.slot(client, key))] > 0
    }
}

impl<N: Net> Proxy<N> {
    /// Counts a retrieval that begins, so that nothing overtakes it; `only` is its key if it has but one.
    pub(in crate::proxy) fn count_read(&mut self, id: usize, only: Option<&[u8]>) {
        let Some(client) = self.transactions[id].client.filter(|_| self.farm.has_backups()) else {
            return;
        };
        let counted = only.map_or(Counted::Any, |key| self.keys_read.add(client, key));
        if counted == Counted::Any {
            self.clients[client].reads_of_any += 1;
        }
        self.read_mut(id).counted = counted;
    }

    /// The retrieval is over, or nobody waits for it any more.
    pub(in crate::proxy) fn discount_read(&mut self, id: usize) {
        let client = self.transactions[id].client;
        match std::mem::replace(&mut self.read_mut(id).counted, Counted::Not) {
            Counted::Not => {}
            Counted::Key(slot) => self.keys_read.remove(slot),
            Counted::Any => {
                if let Some(client) = client {
                    self.clients[client].reads_of_any -= 1;
                }
            }
        }
    }

    /// Whether a request would change a key that the same client is still reading, or come before keys of a wide get of
    /// the same client that are not asked for yet. The earlier read may have to ask the backup yet, or at all, and would
    /// see what is newer.
    pub(in crate::proxy) fn would_overtake_read(&self, client: usize, request: &Request<'_>) -> bool {
        let reads = matches!(request.verb, Verb::Get | Verb::Gets);
        let changes = !request.key.is_empty() && !reads && request.verb != Verb::Stats;
        if !changes && !reads {
            return false;
        }
        let owner = &self.clients[client];
        if owner.unasked.is_some() || reads || !self.farm.has_backups() {
            return owner.unasked.is_some();
        }
        if owner.reads_of_any > 0 || request.key_count > 1 {
            return true;
        }
        // Where another key has the same count, a walk tells.
        self.keys_read.may_have(client, request.key)
            && owner.queue.iter().any(|&id| match &self.transactions[id].work {
                Work::Read(read) => read.may_concern(request.key),
                _ => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_as_long_as_it_is_counted() {
        let mut keys = KeysRead::new(1 << 14);
        let counted = [keys.add(1, b"a"), keys.add(1, b"a")];
        keys.add(2, b"a longer key than that");
        assert!(keys.may_have(1, b"a") && keys.may_have(2, b"a longer key than that"));
        assert!(!keys.may_have(2, b"a") && !keys.may_have(1, b"b"));
        for (counted, still_there) in counted.into_iter().zip([true, false]) {
            let Counted::Key(slot) = counted else {
                panic!("there is room");
            };
            keys.remove(slot);
            assert_eq!(keys.may_have(1, b"a"), still_there);
        }
    }
}
