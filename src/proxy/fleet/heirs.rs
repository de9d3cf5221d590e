//! Who decides of a server's keys when it is lost: all magents the same (R46).
//!
//! Of the two servers of a key the senior decides what may be added, replaced or counted there. A magent that loses it goes on with the
//! other one, which decides from then on; but another magent, which has lost nothing, or not yet, would go on with the first. So the lost
//! server gets a rank above its partners', and is no senior any more, for anybody: the rank is written on the partners' boards before
//! anything is decided there without it, and read by whoever finds that its two servers do not say the same (`replicate::agree`). It
//! stays when the server returns, so that nothing has to be agreed upon then. A server that is started anew gets that of its partners, and is
//! the younger one.
//!
//! ```text
//!  Up --lost, others are there, and it decides--> Up, but leaving --its partners' boards say so, or the timeout--> Down
//! ```
//! As long as a server is leaving its link is kept, though it may be broken: what waits on it, and what is asked of it, is cut off with
//! the rest in a moment, which is two answers of its partner's.

use crate::proxy::fleet::board::Rank;
use std::collections::BTreeMap;

/// What is known of servers' ranks, and the servers that are leaving.
#[derive(Debug, Default)]
pub struct Heirs {
    /// By the number of the server, in its life.
    pub ranks: BTreeMap<u64, u32>,
    /// Of what this magent has learned or said of ranks: how often that was something new.
    version: usize,
    pub leaving: Vec<Leaving>,
}

/// A server that is down as soon as its partners' boards say so.
#[derive(Debug)]
pub struct Leaving {
    pub server: usize,
    pub how: How,
    /// For the log.
    pub reason: String,
    pub rank: u32,
    pub version: usize,
    pub until_ms: u64,
    /// The partners whose boards do not say so yet.
    pub waits_for: Vec<usize>,
}

/// How a server is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its link is broken.
    Broken,
    /// It does not answer.
    Silent { after_ms: u64 },
}

impl Heirs {
    /// The rank of the server of this number; 0 for one that decides as long as it is the older one.
    pub fn rank(&self, id: u64) -> u32 {
        self.ranks.get(&id).copied().unwrap_or(0)
    }

    /// A server has this rank, as somebody says. Returns whether that is news.
    pub fn learn(&mut self, Rank { id, rank }: Rank) -> bool {
        let is_news = rank > self.rank(id);
        if is_news {
            self.ranks.insert(id, rank);
            self.version += 1;
        }
        is_news
    }

    /// What has been learned or said so far: whoever writes a board writes all of it.
    pub fn version(&self) -> usize {
        self.version
    }

    pub fn is_leaving(&self, server: usize) -> bool {
        self.leaving.iter().any(|leaving| leaving.server == server)
    }

    /// Until when it is waited for partners' boards, of the first of those that are leaving.
    pub fn until_ms(&self) -> Option<u64> {
        self.leaving.iter().map(|leaving| leaving.until_ms).min()
    }

    /// Takes out one for which nobody is waited any more.
    pub fn take_gone(&mut self, now_ms: u64) -> Option<Leaving> {
        let is_over = |leaving: &Leaving| leaving.waits_for.is_empty() || leaving.until_ms <= now_ms;
        let at = self.leaving.iter().position(is_over)?;
        Some(self.leaving.remove(at))
    }

    /// What has been waited for of a server's board does not come, or has come, up to this version.
    pub fn heard(&mut self, server: usize, version: usize) {
        for leaving in self.leaving.iter_mut().filter(|leaving| leaving.version <= version) {
            leaving.waits_for.retain(|&partner| partner != server);
        }
    }

    pub fn waits_for(&self, server: usize) -> bool {
        self.leaving.iter().any(|leaving| leaving.waits_for.contains(&server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(server: usize, version: usize, waits_for: &[usize]) -> Leaving {
        Leaving {
            server,
            how: How::Broken,
            reason: String::new(),
            rank: 1,
            version,
            until_ms: 500,
            waits_for: waits_for.to_vec(),
        }
    }

    #[test]
    fn a_rank_only_rises() {
        let mut heirs = Heirs::default();
        let of = |rank| Rank { id: 7, rank };
        assert!(heirs.learn(of(2)) && !heirs.learn(of(2)) && !heirs.learn(of(1)));
        assert_eq!((heirs.rank(7), heirs.rank(8), heirs.version()), (2, 0, 1));
        assert!(heirs.learn(of(3)));
        assert_eq!((heirs.rank(7), heirs.version()), (3, 2));
    }

    #[test]
    fn a_server_is_down_when_all_heirs_have_been_told_or_time_is_up() {
        let mut heirs = Heirs::default();
        heirs.leaving.push(leaving(0, 2, &[1, 2]));
        heirs.leaving.push(leaving(3, 3, &[1]));
        heirs.heard(1, 1); // what was written before that
        assert!(heirs.waits_for(1) && heirs.take_gone(0).is_none());
        heirs.heard(1, 2);
        heirs.heard(2, 2);
        assert_eq!(heirs.take_gone(0).map(|gone| gone.server), Some(0));
        assert!(
            heirs.is_leaving(3) && !heirs.is_leaving(0),
            "the other one was not told of yet"
        );
        assert!(heirs.take_gone(499).is_none());
        assert_eq!(heirs.take_gone(500).map(|gone| gone.server), Some(3));
    }
}
