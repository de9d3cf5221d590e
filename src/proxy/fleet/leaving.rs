//! Servers that are lost, and whose partners are to decide: others are told, and what they tell is learned; see [`heirs`](crate::proxy::fleet::heirs).

use crate::protocol::reply::Status;
use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::board::{self, RANKS_MAX, Rank};
use crate::proxy::fleet::heirs::{How, Leaving};
use crate::proxy::fleet::server::Known;
use crate::proxy::net::Net;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;

/// Ranks that are remembered; those of servers that are not there any more go first.
const REMEMBERED_MAX: usize = 64;

impl Fleet {
    /// The ranks that are to be written on boards: those of servers that are in use.
    pub fn ranks(&self) -> Vec<Rank> {
        let id_of = |index: usize| self.servers[index].id;
        let ids = self.in_use().into_iter().filter_map(id_of);
        let ranks = ids.map(|id| Rank {
            id,
            rank: self.heirs.rank(id),
        });
        ranks.filter(|rank| rank.rank > 0).take(RANKS_MAX).collect()
    }

    /// A board was read: whoever has lost a server that decided has said so there.
    pub fn learn_ranks(&mut self, text: &[u8]) {
        let mut any = false;
        for rank in board::ranks(text) {
            any |= self.heirs.learn(rank);
        }
        if any {
            self.apply_ranks();
        }
    }

    /// A server that was seen to begin has this number: it is the youngest, however often its partners were lost before (R48).
    pub fn is_born(&mut self, index: usize, id: u64) {
        if std::mem::take(&mut self.servers[index].is_newborn) {
            let rank = self.rank_of_newborn(index);
            self.heirs.learn(Rank { id, rank });
        }
    }

    pub fn rank_of_newborn(&self, index: usize) -> u32 {
        let partners = self.partners_of(index).iter();
        let ranks = partners.map(|&partner| self.servers[partner].seniority.0);
        ranks.max().unwrap_or(0)
    }

    fn apply_ranks(&mut self) {
        for index in 0..self.servers.len() {
            self.apply_rank(index);
        }
        if self.heirs.ranks.len() > REMEMBERED_MAX {
            let servers = &self.servers;
            let is_there = |id: &u64| servers.iter().any(|server| server.id == Some(*id));
            self.heirs.ranks.retain(|id, _| is_there(id));
        }
    }

    /// What is known of a server's rank counts, unless nobody has been told yet.
    pub fn apply_rank(&mut self, index: usize) {
        let leaving = self.heirs.leaving.iter().find(|leaving| leaving.server == index);
        let server = &mut self.servers[index];
        let Some(rank) = server.id.map(|id| self.heirs.rank(id)) else {
            return;
        };
        if leaving.is_none_or(|leaving| leaving.rank < rank) {
            server.seniority.0 = rank;
        }
    }

    /// The partners that are to decide in place of a server, and whose boards are to say so.
    fn heirs_of(&self, index: usize) -> Vec<usize> {
        let mut heirs = self.partners(index);
        heirs.retain(|&partner| self.has_board(partner) && self.is_senior(index, partner));
        heirs
    }
}

impl<N: Net> Servers<N> {
    /// A server is lost. Where others are there and it decides, they are told first. Returns whether it stays for so long.
    pub fn leaves(&mut self, index: usize, how: How, reason: &str) -> bool {
        if let Some(leaving) = self
            .fleet
            .heirs
            .leaving
            .iter_mut()
            .find(|leaving| leaving.server == index)
        {
            if how == How::Broken {
                (leaving.how, leaving.reason) = (how, reason.to_owned());
                self.upstream.sever(index);
            }
            return true;
        }
        let now_ms = self.cx.now.ms();
        let fleet = &mut self.fleet;
        let heirs = fleet.heirs_of(index);
        let Some(id) = fleet.servers[index].id.filter(|_| fleet.is_up(index)) else {
            return false;
        };
        let is_known = matches!(fleet.servers[index].life, Known::Life(_));
        if heirs.is_empty() || !is_known || fleet.others.count(now_ms) == 0 || !self.upstream.is_linked(index) {
            return false;
        }
        let highest = heirs.iter().map(|&heir| fleet.servers[heir].seniority.0).max();
        let rank = highest.unwrap_or(0).saturating_add(1);
        fleet.heirs.learn(Rank { id, rank });
        let until_ms = now_ms + self.cx.settings.timeout_ms;
        fleet.heirs.leaving.push(Leaving {
            server: index,
            how,
            reason: reason.to_owned(),
            rank,
            version: fleet.heirs.version(),
            until_ms,
            waits_for: heirs.clone(),
        });
        if how == How::Broken {
            self.upstream.sever(index);
        }
        self.cx.timers.set(Timer::Board, until_ms);
        heirs.into_iter().for_each(|heir| self.read_board(heir));
        true
    }

    /// A board has this magent's line, as of this version, or somebody else was faster, or the server refuses it.
    pub fn has_told(&mut self, server: usize, status: Status, version: usize) {
        if !self.fleet.heirs.waits_for(server) {
            return;
        }
        match status {
            Status::NotStored | Status::Exists | Status::NotFound => return self.read_board(server),
            Status::Error => self.fleet.heirs.heard(server, usize::MAX),
            _ => self.fleet.heirs.heard(server, version),
        }
        self.let_go();
    }

    /// A server is lost, or nobody can use it any more: nobody waits for its board.
    pub fn is_not_told(&mut self, server: usize) {
        self.fleet.heirs.heard(server, usize::MAX);
        self.let_go();
    }

    /// Nobody can use a server any more: no others need to be told. Returns whether it was leaving.
    pub fn is_gone(&mut self, server: usize) -> bool {
        let leaving = self
            .fleet
            .heirs
            .leaving
            .iter_mut()
            .find(|leaving| leaving.server == server);
        leaving.map(|leaving| leaving.waits_for.clear()).is_some()
    }

    /// The servers are down for which nobody is waited any more.
    pub fn let_go(&mut self) {
        while let Some(leaving) = self.fleet.heirs.take_gone(self.cx.now.ms()) {
            self.fleet.apply_rank(leaving.server);
            match leaving.how {
                How::Broken => self.is_lost(leaving.server, format_args!("{}", leaving.reason)),
                How::Silent { after_ms } => self.is_silent(leaving.server, after_ms),
            }
        }
        if let Some(until_ms) = self.fleet.heirs.until_ms() {
            self.cx.timers.set(Timer::Board, until_ms);
        }
    }
}
