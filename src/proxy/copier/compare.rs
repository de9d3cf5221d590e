//! Writes looked at once more, while there are other magents: does each server still have what was stored there?
//!
//! Two magents that write a key at the same moment may come to its two servers in different orders, and leave them different. Each
//! of them looks at both once both have acknowledged. If neither saw the other's write, each one's look would have come before the
//! other's write, and that before the other's look, which is a circle. So whoever finds what it has written on one of the two
//! servers only makes them agree: the junior like the senior; or, where one has nothing, like the one that has something, for an
//! item that is there is not taken away, but from the junior by who has deleted it: what is there after that came to the senior before
//! the deletion, or is a copy from before. All that waits a while, for what is there may be on its way to the other.

use crate::buffer::Slice;
use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::{Response, Status};
use crate::proxy::copier::Copier;
use crate::proxy::copier::repair::Why;
use crate::proxy::handoff::Written;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::{Purpose, Side};

/// What a server has of a key, as far as it has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    NotYet,
    Nothing,
    /// The item with this unique.
    Item(u64),
    /// It was lost, or said something else.
    Unknown,
}

/// Why a key is looked at.
#[derive(Debug)]
pub enum Of {
    /// It was written; the unique of what was stored on each server, None of a deletion.
    Written {
        uniques: [Option<u64>; 2],
        is_computed: bool,
    },
    Moving(Moving),
    /// It was read on one of them only.
    Read,
}

impl Of {
    /// How often it has been looked at.
    fn looks(&self) -> u32 {
        match self {
            Of::Moving(moving) => moving.looks + 1,
            Of::Written { .. } | Of::Read => 0,
        }
    }

    /// Whether it was deleted from both.
    fn is_deletion(&self) -> bool {
        matches!(self, Of::Written { uniques, .. } if *uniques == [None; 2])
    }
}

/// A key that was found on one server only. What is to be done is done if that is so a while later, with the same item.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub from: usize,
    pub to: usize,
    /// Of the item.
    pub unique: u64,
    pub how: How,
}

/// What is to be done about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is copied.
    Copied,
    /// It is copied after another while: who has deleted it comes first.
    CopiedLater,
    /// It is removed from where it is, which is `to`.
    Removed,
}

/// A key whose two copies are, or were, computed differently: by magents whose requests came to them in different orders. What is
/// on its way to one of them may still make them alike, and would be done twice if one were made like the other now. So that is
/// done once nothing has changed for a while.
#[derive(Clone, Copy, Debug)]
pub struct Moving {
    pub pair: [usize; 2],
    /// What was there when it was last looked at.
    before: [Seen; 2],
    /// The second has been made like the first. What has come to the first since, and to the second before, is there no more.
    are_alike: bool,
    looks: u32,
}

/// So often a key is looked at that changes all the time.
const LOOKS_MAX: u32 = 250;

/// A key that is being looked at, on two servers.
pub struct Comparison {
    key: Slice,
    servers: [usize; 2],
    of: Of,
    seen: [Seen; 2],
}

/// What is to be done about a key that two servers were asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Not all has been said.
    Open,
    /// They are alike, or it is somebody else's to make them so.
    Alike,
    /// They differ: the junior is to be made like the senior.
    Differ,
    /// They may, or may become alike: that is to be seen later.
    Moving,
    /// Only this one of the two has an item: the other is to have it too, if that is still so after a while.
    OnOne(usize),
}

impl Comparison {
    fn verdict(&self) -> Verdict {
        if self.seen.contains(&Seen::NotYet) {
            return Verdict::Open;
        }
        let is_own = |at: usize, unique: Option<u64>| match (self.seen[at], unique) {
            (Seen::Item(seen), Some(unique)) => seen == unique,
            (Seen::Nothing, None) => true,
            _ => false,
        };
        match (&self.of, self.seen) {
            (_, seen) if seen.contains(&Seen::Unknown) => Verdict::Alike,
            (Of::Written { uniques, .. }, _) if is_own(0, uniques[0]) == is_own(1, uniques[1]) => Verdict::Alike,
            (Of::Moving(_) | Of::Read, [Seen::Nothing, Seen::Nothing]) => Verdict::Alike,
            (Of::Read, [Seen::Item(_), Seen::Item(_)]) => Verdict::Alike,
            (Of::Moving(moving), [Seen::Item(_), Seen::Item(_)])
                if moving.are_alike && moving.before[0] == self.seen[0] =>
            {
                Verdict::Alike
            }
            (_, [Seen::Nothing, _]) => Verdict::OnOne(1),
            (_, [_, Seen::Nothing]) => Verdict::OnOne(0),
            (Of::Moving(moving), seen) if moving.before != seen && moving.looks < LOOKS_MAX => Verdict::Moving,
            (Of::Written { is_computed: true, .. }, _) => Verdict::Moving,
            _ => Verdict::Differ,
        }
    }
}

impl Copier {
    /// Looks at what a write has left on its two servers.
    pub fn compare<N: Net>(&mut self, servers: &mut Servers<N>, written: Written) {
        let Written {
            key,
            pair,
            uniques,
            is_computed,
        } = written;
        self.look(servers, key, [pair.0, pair.1], Of::Written { uniques, is_computed });
    }

    /// Two servers have computed a key's item differently, or may have: that is looked at until nothing changes any more.
    pub fn watch<N: Net>(&mut self, servers: &mut Servers<N>, pair: (usize, usize), key: &[u8]) {
        let first = Moving {
            pair: [pair.0, pair.1],
            before: [Seen::NotYet; 2],
            are_alike: false,
            looks: 0,
        };
        self.watch_on(servers, key, first);
    }

    /// The second of two servers has been made like the first, and their items have these uniques: that is looked at once more.
    pub fn watch_alike<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        pair: (usize, usize),
        key: &[u8],
        uniques: [u64; 2],
    ) {
        let made = Moving {
            pair: [pair.0, pair.1],
            before: uniques.map(Seen::Item),
            are_alike: true,
            looks: 0,
        };
        self.watch_on(servers, key, made);
    }

    fn watch_on<N: Net>(&mut self, servers: &mut Servers<N>, key: &[u8], moving: Moving) {
        let cx = &mut servers.cx;
        if let Some(due_ms) = self.moving.note(key, moving, cx.now.ms(), &cx.settings.limits) {
            cx.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    fn look_again<N: Net>(&mut self, servers: &mut Servers<N>, comparison: &Comparison) {
        let (pair, before) = (comparison.servers, comparison.seen);
        let looks = comparison.of.looks();
        let moving = Moving {
            pair,
            before,
            are_alike: false,
            looks,
        };
        self.watch_on(servers, comparison.key.bytes(), moving);
    }

    /// Leaves a key that was found on one server only for a while.
    pub fn leave<N: Net>(&mut self, servers: &mut Servers<N>, key: &[u8], left: Left) {
        let cx = &mut servers.cx;
        if let Some(due_ms) = self.left.note_instead(key, left, cx.now.ms(), &cx.settings.limits) {
            cx.timers.set(Timer::ReadRepair, due_ms);
        }
    }

    pub fn look<N: Net>(&mut self, servers: &mut Servers<N>, key: Slice, pair: [usize; 2], of: Of) {
        let id = self.comparisons.insert(Comparison {
            key: key.clone(),
            servers: pair,
            of,
            seen: [Seen::NotYet; 2],
        });
        let options = Options {
            unique: true,
            ..Options::default()
        };
        for (server, side) in [(pair[0], Side::First), (pair[1], Side::Second)] {
            servers.ask(server, Purpose::Compare(side), id, Request::look(key.bytes(), options));
        }
    }

    /// A server has said what it has; None: it was cut off.
    pub fn compared<N: Net>(
        &mut self,
        replicate: &mut Replicate,
        servers: &mut Servers<N>,
        (id, side): (usize, Side),
        response: Option<&Response<'_>>,
    ) {
        let comparison = &mut self.comparisons[id];
        comparison.seen[side as usize] = match response.map(|response| (response.status, response.unique)) {
            Some((Status::MetaMiss, _)) => Seen::Nothing,
            Some((Status::MetaHit | Status::Ok, Some(unique))) => Seen::Item(unique),
            _ => Seen::Unknown,
        };
        if comparison.verdict() == Verdict::Open {
            return;
        }
        let comparison = self.comparisons.remove(id);
        let (key, [one, other]) = (comparison.key.bytes(), comparison.servers);
        if servers.fleet.looks_when_back(key, [one, other]) {
            return;
        }
        let fleet = &servers.fleet;
        let are_owners = fleet.are_owners(key, one, other);
        if are_owners && !servers.flush_forbids_copying() {
            self.even_out(replicate, servers, &comparison);
        }
    }

    /// Does what is to be done about a key that both its servers have told of.
    fn even_out<N: Net>(&mut self, replicate: &mut Replicate, servers: &mut Servers<N>, comparison: &Comparison) {
        let (key, pair, seen) = (comparison.key.bytes(), comparison.servers, comparison.seen);
        let senior = servers.fleet.senior(key, pair[0], pair[1]);
        match comparison.verdict() {
            Verdict::Open | Verdict::Alike => {}
            // They were parted, and which of them is right is still to be seen. What comes of it is looked at again: two magents that
            // make them alike at the same moment, each the other way round, exchange them.
            Verdict::Differ if servers.fleet.are_to_be_evened_out(key, pair) => {
                if comparison.of.looks() < LOOKS_MAX {
                    self.look_again(servers, comparison);
                }
            }
            Verdict::Differ => {
                let (from, to) = if senior == pair[1] { (1, 0) } else { (0, 1) };
                let why = match (seen[from], seen[to]) {
                    // What changes all the time is made alike all the same.
                    (Seen::Item(one), Seen::Item(other)) if comparison.of.looks() < LOOKS_MAX => {
                        Why::Differ([one, other])
                    }
                    _ => Why::Heal(None),
                };
                self.start_repair(replicate, servers, (pair[from], pair[to]), key, why);
            }
            Verdict::Moving => self.look_again(servers, comparison),
            Verdict::OnOne(at) => {
                let (here, there) = (pair[at], pair[1 - at]);
                let Seen::Item(unique) = seen[at] else {
                    return;
                };
                // Where the senior has it, that has come there after the deletion.
                let (from, to, how) = match (here == senior, comparison.of.is_deletion()) {
                    (true, _) => (here, there, How::Copied),
                    (false, true) => (there, here, How::Removed),
                    (false, false) => (here, there, How::CopiedLater),
                };
                // Who has deleted that item knows more than who only finds it there.
                let is_same = |known: &Left| known.how == How::Removed && (known.to, known.unique) == (from, unique);
                if how == How::Removed || !self.left.noted(key).is_some_and(is_same) {
                    self.leave(servers, key, Left { from, to, unique, how });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;

    #[test]
    fn who_finds_its_own_write_on_one_server_only_makes_both_agree() {
        use Seen::{Item, NotYet, Nothing, Unknown};
        let written = |is_computed| move |uniques, seen| verdict(Of::Written { uniques, is_computed }, seen);
        let stored = [Some(5), Some(7)];
        for (uniques, seen, expected) in [
            (stored, [Item(5), NotYet], Verdict::Open),
            (stored, [Item(5), Item(7)], Verdict::Alike),
            (stored, [Item(6), Item(8)], Verdict::Alike),
            (stored, [Item(5), Item(8)], Verdict::Differ),
            (stored, [Item(6), Item(7)], Verdict::Differ),
            (stored, [Nothing, Item(7)], Verdict::OnOne(1)),
            (stored, [Item(5), Nothing], Verdict::OnOne(0)),
            (stored, [Nothing, Nothing], Verdict::Alike),
            (stored, [Item(5), Unknown], Verdict::Alike),
            ([None; 2], [Nothing, Nothing], Verdict::Alike),
            ([None; 2], [Nothing, Item(8)], Verdict::OnOne(1)),
            ([None; 2], [Item(6), Nothing], Verdict::OnOne(0)),
            ([None; 2], [Item(6), Item(8)], Verdict::Alike),
        ] {
            assert_eq!(written(false)(uniques, seen), expected, "{uniques:?} {seen:?}");
        }
        // What each server computes is not made alike before all has come to both.
        assert_eq!(written(true)(stored, [Item(5), Item(8)]), Verdict::Moving);
    }

    #[test]
    fn what_two_servers_compute_is_made_alike_once_nothing_moves() {
        use Seen::{Item, NotYet, Nothing, Unknown};
        let pair = [0, 1];
        for (before, looks, seen, expected) in [
            ([NotYet; 2], 0, [Item(5), Item(7)], Verdict::Moving),
            ([Item(5), Item(7)], 1, [Item(5), Item(7)], Verdict::Differ),
            ([Item(5), Item(6)], 1, [Item(5), Item(7)], Verdict::Moving),
            ([Item(5), Item(6)], LOOKS_MAX, [Item(5), Item(7)], Verdict::Differ),
            ([Item(5), Item(7)], 1, [Unknown, Item(7)], Verdict::Alike),
            ([Item(5), Item(7)], 1, [Nothing, Nothing], Verdict::Alike),
            ([NotYet; 2], 0, [Nothing, Item(7)], Verdict::OnOne(1)),
        ] {
            let are_alike = false;
            let of = Of::Moving(Moving {
                pair,
                before,
                are_alike,
                looks,
            });
            assert_eq!(verdict(of, seen), expected, "{before:?} {looks} {seen:?}");
        }
        // What came to the first when it had been copied, and to the second before that, is not on the second.
        for (seen, expected) in [
            ([Item(5), Item(7)], Verdict::Alike),
            ([Item(5), Item(8)], Verdict::Alike), // who has changed that looks at it
            ([Item(6), Item(7)], Verdict::Moving),
            ([Item(5), Nothing], Verdict::OnOne(0)),
            ([Nothing, Item(7)], Verdict::OnOne(1)),
        ] {
            let made = Moving {
                pair,
                before: [Item(5), Item(7)],
                are_alike: true,
                looks: 0,
            };
            assert_eq!(verdict(Of::Moving(made), seen), expected, "{seen:?}");
        }
    }

    fn verdict(of: Of, seen: [Seen; 2]) -> Verdict {
        let (key, servers) = (Pool::default().copy(&[b"k"]), [0, 1]);
        Comparison { key, servers, of, seen }.verdict()
    }
}
