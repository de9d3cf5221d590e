//! The return of a server: what it waits for, what it must be rid of, and what the others have missed since.

use super::account::Presence;
use super::{Ack, Fate, Lacks, Ledger, Missed, Rid};

impl Ledger {
    /// Whether a server that returns may only know what to do when its partners have answered what they were asked: they
    /// may be gone as well, and then its copies are the ones that are left (R2, R13).
    pub fn waits_for_partners(&self, server: usize) -> bool {
        let server = &self.servers[server];
        server.missed.is_in_doubt() || server.is_drained() && server.missed.has_delivered()
    }

    /// The keys of what was delivered to a server that is away, which it may have done.
    pub fn delivered(&self, server: usize) -> Vec<Box<[u8]>> {
        self.servers[server].missed.delivered()
    }

    /// What a server that is about to return must be rid of before anybody reads from it, and lacks from then on. The keys
    /// that it keeps although its partner is not there, that has missed (R1, R12, R14).
    pub fn rid(&mut self, server: usize, partner_of: impl Fn(&[u8]) -> Option<usize>) -> Rid {
        self.has_changed = true;
        let keys = match std::mem::take(&mut self.servers[server].missed) {
            Missed::Nothing => return Rid::Keys(Vec::new()),
            Missed::TooMany => return Rid::TooMany,
            Missed::Everything => return Rid::Everything,
            Missed::Keys { keys, .. } => keys,
        };
        let (mut rid, mut is_told) = (Vec::new(), Vec::new());
        for (key, writes) in keys {
            let Some(partner) = partner_of(&key) else {
                rid.push(key);
                is_told.push(true); // nobody is to give it
                continue;
            };
            let [here, there] = [server, partner].map(|index| &self.servers[index]);
            let partner_speaks = there.is_up() && there.lack(server).is_none_or(|lack| lack.is_whole_for(&key));
            let fate = match !partner_speaks && here.is_drained() {
                true => writes.fate_when_drained(),
                false => writes.fate(),
            };
            let is_truth = match fate {
                None => true,
                Some(Fate::Acked) => false,
                // Its partner has been waited for. What was written since is made alike when that is answered.
                Some(Fate::InDoubt | Fate::Unacked) => !partner_speaks,
            };
            let lack = here.lack(partner);
            let is_whole = match fate {
                None => lack.is_none_or(|lack| !lack.is_suspect_of(&key)),
                Some(_) => lack.is_none_or(|lack| lack.lacks(&key) == Lacks::Nothing || lack.what.is_filled_somehow()),
            };
            if is_truth && is_whole {
                if fate.is_some() && !there.is_up() {
                    self.note_new(partner, &key, false, Ack::ACKED);
                    self.note_news(partner, &key);
                }
                continue;
            }
            // What is deleted on one is not lacking on the other any more (R7).
            self.servers[partner].lacks_no_more(server, &key);
            rid.push(key);
            is_told.push(writes.is_told);
        }
        for (key, is_told) in rid.iter().zip(is_told) {
            if let Some(partner) = partner_of(key) {
                self.servers[server].add_key_lacking(partner, key, self.lacking_bytes_max);
                if !is_told {
                    self.tell_lacking(server, partner, key);
                }
            }
        }
        Rid::Keys(rid)
    }

    /// A server is up again, rid of what it had to be. It is believed from here on: what its partners have missed of its
    /// keys they have missed for good.
    pub fn returned(&mut self, server: usize, partners: &[usize], partner_of: impl Fn(&[u8], usize) -> Option<usize>) {
        let number = self.begin();
        for &partner in partners {
            let mut missed = std::mem::take(&mut self.servers[partner].missed);
            let here = &self.servers[server];
            let settled = missed.settle_where(number, |key| {
                let lack = here.lack(partner);
                partner_of(key, partner) == Some(server) && lack.is_none_or(|lack| lack.lacks(key) == Lacks::Nothing)
            });
            self.servers[partner].missed = missed;
            settled.iter().for_each(|key| self.note_news(partner, key));
        }
        let account = &mut self.servers[server];
        account.presence = Presence::Up;
        account.watermark = number;
    }
}
