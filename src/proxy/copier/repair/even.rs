//! Two copies that were written while their servers were parted: which of them is right, and what follows.

use super::{Action, Actions, Manner, Pair, ROUNDS_MAX, Repair, Stage, There, Why, look_for_unique};
use crate::protocol::server::answer::{Response, Status};
use crate::proxy::fleet::marks::Right;

impl There {
    /// What a server has, that was asked for the unique of its item.
    pub(super) fn said(response: &Response<'_>) -> Self {
        match (response.status, response.unique) {
            (Status::MetaMiss, _) => There::Nothing,
            (Status::MetaHit | Status::Ok, Some(unique)) => There::Item(unique),
            _ => There::Unknown,
        }
    }

    pub(super) fn unique(self) -> Option<u64> {
        match self {
            There::Item(unique) => Some(unique),
            There::Nothing | There::Unknown => None,
        }
    }
}

impl Repair {
    /// Whether either of the two may be made like the other.
    pub(super) fn evens_out(&self) -> bool {
        self.why.manner() == Manner::EvenOut
    }

    /// What is on `to` is known.
    pub(super) fn weigh(&mut self, actions: &mut Actions) {
        if self.there == There::Unknown {
            return self.over(actions);
        }
        self.stage = Stage::Weighing;
        actions.push(look_for_unique(self.from));
    }

    /// What is on both is known: the wrong one is made like the right one, and removed where that is nothing.
    pub(super) fn weighed(&mut self, response: &Response<'_>, pair: &Pair, actions: &mut Actions) {
        let source = There::said(response);
        let (Some(marks), true) = (pair.marks, source != There::Unknown) else {
            return self.over(actions);
        };
        match (marks.right(source.unique(), self.there.unique()), source) {
            // It is one of all keys, of which nothing is known to have been missed.
            (Right::Either, _) if self.why.unique().is_some() => self.even_already(actions),
            (Right::From, There::Nothing) => self.give_up(pair, actions),
            // Its exptime may have been changed there.
            (Right::From | Right::Either, _) => self.fetch(pair, actions),
            (Right::To, _) => {
                let turned = Pair {
                    from: pair.to,
                    to: pair.from,
                    ..*pair
                };
                std::mem::swap(&mut self.from, &mut self.to);
                self.there = source;
                self.fetch(&turned, actions);
            }
        }
    }

    /// What is on `from` cannot be copied; where it would be right, what is on `to` is copied there, if there is anything.
    pub(super) fn give_way(&mut self, source: Option<u64>, pair: &Pair, actions: &mut Actions) {
        if !self.evens_out() {
            return self.failed(pair, actions);
        }
        self.rounds += 1;
        let (Some(unique), There::Item(_), true) = (source, self.there, self.rounds < ROUNDS_MAX) else {
            return self.over(actions);
        };
        let turned = Pair {
            from: pair.to,
            to: pair.from,
            ..*pair
        };
        std::mem::swap(&mut self.from, &mut self.to);
        self.there = There::Item(unique);
        self.fetch(&turned, actions);
    }

    /// Another magent has put something else there meanwhile, or removed it. That is looked at, or left alone where nothing had
    /// to be replaced.
    pub(super) fn contended(&mut self, pair: &Pair, actions: &mut Actions) {
        self.rounds += 1;
        match self.rounds < ROUNDS_MAX {
            _ if !self.overwrites() => self.over(actions),
            _ if self.there == There::Unknown => self.failed(pair, actions),
            _ if self.is_by_seniority => self.leave_different(None, actions),
            true => self.check(actions),
            false => {
                self.there = There::Unknown;
                self.fetch(pair, actions);
            }
        }
    }

    /// The copy is there, as `copy`, and this is on `from`, where `unique` was copied.
    pub(super) fn verified(
        &mut self,
        seen: Option<u64>,
        (bytes, unique, copy): (usize, u64, u64),
        pair: &Pair,
        actions: &mut Actions,
    ) {
        if seen == Some(unique) {
            if self.is_by_seniority {
                let uniques = [unique, copy];
                actions.push(Action::Alike { uniques });
            }
            return self.done(Some(bytes), actions);
        }
        let replaced = self.there != There::Nothing;
        self.there = There::Item(copy);
        self.rounds += 1;
        // Another magent may be making the two alike the other way round: if both took their copy away, nothing would be left.
        if self.evens_out() && replaced && (seen.is_none() || self.rounds == ROUNDS_MAX) {
            return self.leave_different(Some(bytes), actions);
        }
        match seen.is_some() && self.rounds < ROUNDS_MAX {
            // What came to the one meanwhile is on its way to the other, and may be computed there.
            true if self.is_by_seniority => self.leave_different(Some(bytes), actions),
            true => self.fetch(pair, actions),
            false if seen.is_some() && !pair.from_is_senior => self.leave_different(Some(bytes), actions),
            false => self.give_up(pair, actions),
        }
    }

    /// The two do not have the same yet: they are looked at later.
    pub(super) fn leave_different(&mut self, copied: Option<usize>, actions: &mut Actions) {
        actions.push(Action::Differs);
        self.done(copied, actions);
    }

    /// There is nothing to be done, and nothing to be looked at later.
    fn even_already(&mut self, actions: &mut Actions) {
        if let Why::Fill(fill) = &mut self.why {
            fill.manner = Manner::Add;
        }
        self.over(actions);
    }
}
