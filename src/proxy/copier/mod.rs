//! Copying: one key to its partner, and all keys to a server that returned.
//!
//! What happens to a repair makes it want something of others ([`Wish`]): that something is sent, noted of a server, or that a
//! key's gate opens. That is carried out in that order; see `wish`. What a resync and its list want is carried out in `filling` and
//! `list_link`.

mod check;
mod command;
mod compare;
mod due;
mod filling;
mod list_link;
mod listing;
mod pacing;
pub mod repair;
mod resync;
mod shares;
#[cfg(test)]
mod tests;
mod wish;

use crate::protocol::server::answer::{Response, Status};
use crate::proxy::fleet::ledger::Receipt;
use crate::proxy::limits::Limits;
#[cfg(debug_assertions)]
use crate::proxy::replicate::gate::Gate;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::upstream::link::Purpose;
use compare::{Comparison, Left, Moving};
use due::Later;
use listing::Listing;
use repair::{Action, Manner, Pair, Repair, Why};
pub use resync::Progress;
use resync::{Resync, Task};
use slab::Slab;
use std::collections::HashMap;
use wish::Wish;

/// Room for repairs that is kept though there are none.
const ROOM_KEPT: usize = 1024;

/// What is being copied, and what is to be.
pub struct Copier {
    repairs: Slab<Running>,
    /// Repairs in progress, but for those of a resync.
    single: usize,
    /// Keys that were read on the first of these two servers, and not on the second.
    due: Later<(usize, usize)>,
    /// Keys that were found on one server only.
    left: Later<Left>,
    /// Keys whose two copies are, or were, computed differently.
    moving: Later<Moving>,
    /// Writes that are looked at once more.
    comparisons: Slab<Comparison>,
    /// The server that is being filled, and from which.
    resync: Option<Resync>,
    /// How many there have been.
    resyncs: u64,
    /// By what a server was filled with from another, and is still to be looked through: the lowest unique that one of the copies has.
    made: HashMap<(usize, usize), u64>,
    /// Something may be lacking that can be copied now.
    wanted: bool,
}

/// A repair, and its questions that are not answered yet. It keeps its place until they are, so that no answer is taken for
/// another repair's.
struct Running {
    repair: Repair,
    legs: u32,
    /// Of the server that is copied from, when it was found to be right (R17).
    found: Receipt,
    /// None while it waits for its key, and when it is over.
    pass: Option<Pass>,
}

impl Default for Copier {
    fn default() -> Self {
        Self {
            repairs: Slab::new(),
            single: 0,
            due: Later::after(due::READ_DELAY_MS),
            left: Later::after(due::WRITTEN_DELAY_MS),
            moving: Later::after(due::MOVING_DELAY_MS),
            comparisons: Slab::new(),
            resync: None,
            resyncs: 0,
            made: HashMap::new(),
            wanted: false,
        }
    }
}

impl Copier {
    /// Whether there is room for a repair that may be left undone.
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.single < limits.repairs
    }

    /// How far a server has been filled, while it is.
    pub fn progress(&self, server: usize, now_ms: u64) -> Option<Progress> {
        let resync = self.resync.as_ref().filter(|resync| resync.to == server)?;
        resync.fills().then(|| resync.progress(now_ms))
    }

    /// Whether nothing is being copied.
    pub fn is_idle(&self) -> bool {
        self.repairs.is_empty() && self.comparisons.is_empty()
    }

    /// Takes a repair, which is to [begin](Self::begin) when it is [let in](Self::let_in); `found` is of the server that is copied
    /// from, which is right. Returns its number.
    pub fn enter(&mut self, repair: Repair, found: Receipt) -> usize {
        self.single += usize::from(!matches!(repair.why, Why::Fill(_)));
        self.repairs.insert(Running {
            repair,
            legs: 0,
            found,
            pass: None,
        })
    }

    /// The servers that a repair copies from and to.
    pub fn servers(&self, id: usize) -> (usize, usize) {
        let repair = &self.repairs[id].repair;
        (repair.from, repair.to)
    }

    /// Of the server that a repair copies from, when it was found to be right.
    pub fn found(&self, id: usize) -> Receipt {
        self.repairs[id].found
    }

    /// A repair has its key alone, and the server that it copies from is found to be right. What is to be healed has been
    /// found before: of that a client is told.
    pub fn let_in(&mut self, id: usize, pass: Pass, found: Receipt) {
        let running = &mut self.repairs[id];
        if !running.repair.why.heals() {
            running.found = found;
        }
        running.repair.accompanied |= pass.is_accompanied();
        running.pass = Some(pass);
    }

    /// What permits a repair to change the copy.
    fn pass(&self, id: usize) -> &Pass {
        let pass = self.repairs[id].pass.as_ref();
        pass.expect("only who was let in changes anything")
    }

    /// Gives back what it has of the gate, where everything ends.
    #[cfg(debug_assertions)]
    pub fn leave_behind(&mut self, gate: &mut Gate) {
        let passes = self.repairs.drain().filter_map(|running| running.pass);
        passes.for_each(|pass| gate.abandon(pass));
    }

    /// Whether a repair, if it is not over, makes the junior like the senior, and for no other reason.
    fn is_by_seniority(&self, id: usize) -> bool {
        let running = self.repairs.get(id);
        running.is_some_and(|running| running.repair.is_by_seniority)
    }

    pub fn key(&self, id: usize) -> &[u8] {
        &self.repairs[id].repair.key
    }

    /// A repair was let in; `decides`: of this key the word of the server that it copies from is the truth.
    pub fn begin(&mut self, id: usize, pair: &Pair, decides: bool) -> Vec<Wish<'static>> {
        let actions = self.repairs[id].repair.begin(pair, decides);
        self.wishes(id, actions)
    }

    /// The item came: `data` is its value with the line end.
    pub fn value<'a>(
        &mut self,
        id: usize,
        response: &Response<'_>,
        data: &'a [u8],
        pair: &Pair,
        unix_s: i64,
    ) -> Vec<Wish<'a>> {
        let running = self.value_came(id, response);
        let actions = running.repair.value(response, data, pair, unix_s);
        self.wishes(id, actions)
    }

    /// The item came, and is larger than magent takes.
    pub fn too_large(&mut self, id: usize, response: &Response<'_>, pair: &Pair) -> Vec<Wish<'static>> {
        let actions = self.value_came(id, response).repair.too_large(pair);
        self.wishes(id, actions)
    }

    /// Only a meta value is a whole answer.
    fn value_came(&mut self, id: usize, response: &Response<'_>) -> &mut Running {
        let running = &mut self.repairs[id];
        running.legs -= u32::from(response.status == Status::MetaValue);
        running
    }

    /// An answer that is no value.
    pub fn answer(&mut self, id: usize, purpose: Purpose, response: &Response<'_>, pair: &Pair) -> Vec<Wish<'static>> {
        let running = &mut self.repairs[id];
        running.legs -= 1;
        let actions = running.repair.answer(purpose, response, pair);
        self.wishes(id, actions)
    }

    /// An answer was cut off; `delivered`: what was asked lay in its server's socket when that fell silent.
    pub fn lost(&mut self, id: usize, delivered: bool, pair: &Pair) -> Vec<Wish<'static>> {
        let running = &mut self.repairs[id];
        running.legs -= 1;
        let actions = running.repair.lost(delivered, pair);
        self.wishes(id, actions)
    }

    /// Something may be lacking that can be copied now.
    pub fn want_resync(&mut self) {
        self.wanted = true;
    }

    /// Whether something is to be looked for that is lacking, and can be copied.
    pub fn is_to_take_up(&self) -> bool {
        self.wanted && self.resync.is_none()
    }

    /// The same; it is told once.
    fn takes_up(&mut self) -> bool {
        let takes_up = self.is_to_take_up();
        self.wanted &= !takes_up;
        takes_up
    }

    /// Begins to fill `to` with what it lacks of what `from` has.
    fn take_up(&mut self, from: usize, to: usize, task: Task, now_ms: u64, limits: &Limits) -> &mut Resync {
        self.resyncs += 1;
        self.resync
            .insert(Resync::new(self.resyncs, from, to, task, now_ms, limits))
    }

    /// Ends the resync. There may be another to begin.
    fn take_resync(&mut self) -> Option<Resync> {
        let resync = self.resync.take();
        self.wanted |= resync.is_some();
        resync
    }

    /// The server whose keys are listed now.
    fn listed_server(&self) -> Option<usize> {
        self.resync.as_ref().map(Resync::listed)
    }

    /// The link that a list comes on.
    fn list_link(&self) -> Option<usize> {
        let listing = self.resync.as_ref().and_then(|resync| resync.listing.as_ref());
        listing.and_then(Listing::link)
    }

    /// Whether more of a list may be there.
    pub fn may_read_list(&self) -> bool {
        let listing = self.resync.as_ref().and_then(|resync| resync.listing.as_ref());
        listing.is_some_and(Listing::may_go_on)
    }

    fn listing_mut(&mut self) -> Option<&mut Listing> {
        self.resync.as_mut().and_then(|resync| resync.listing.as_mut())
    }

    /// A list was asked for on this link. Returns when it is to be looked at.
    fn list_begins(&mut self, link: usize, now_ms: u64) -> Option<u64> {
        let resync = self.resync.as_mut()?;
        resync.list_begins();
        resync.listing.as_mut().map(|listing| listing.begins(link, now_ms))
    }

    /// What a repair's actions are for others.
    fn wishes<'a>(&mut self, id: usize, actions: Vec<Action<'a>>) -> Vec<Wish<'a>> {
        let mut wishes = Vec::with_capacity(actions.len() + 2);
        for action in actions {
            let running = &mut self.repairs[id];
            let repair = &running.repair;
            match action {
                Action::Send {
                    server,
                    purpose,
                    command,
                } => {
                    running.legs += 1;
                    let replaces = purpose == Purpose::RepairStore && repair.overwrites();
                    wishes.push(Wish::Send {
                        repair: id,
                        key: repair.key.clone(),
                        server,
                        purpose,
                        command,
                    });
                    if replaces {
                        self.outdate_answers(id);
                    }
                }
                Action::HasNoMeta => wishes.push(Wish::HasNoMeta(repair.from)),
                Action::Refused(reply) => wishes.push(Wish::Refused(repair.to, reply)),
                Action::Missed { delivered } => wishes.push(Wish::Missed {
                    server: repair.to,
                    key: repair.key.clone(),
                    delivered,
                }),
                Action::Suspect => {
                    if let (Why::Fill(fill), Some(resync)) = (&repair.why, &mut self.resync) {
                        resync.suspect(fill, &repair.key);
                    }
                }
                Action::Differs => wishes.push(Wish::Watch {
                    pair: (repair.from, repair.to),
                    key: repair.key.clone(),
                    alike: None,
                }),
                Action::Alike { uniques } => wishes.push(Wish::Watch {
                    pair: (repair.from, repair.to),
                    key: repair.key.clone(),
                    alike: Some(uniques),
                }),
                Action::Done { copied } => self.done(id, copied, &mut wishes),
            }
        }
        if self.repairs[id].legs == 0 && self.repairs[id].repair.is_over() {
            self.repairs.remove(id);
            if self.repairs.is_empty() && self.repairs.capacity() > ROOM_KEPT {
                self.repairs = Slab::new();
            }
        }
        wishes
    }

    /// A repair replaces or removes what its server has of a key: of what that server answered before, to writes whose repairs
    /// wait for the key behind this one, nothing is there any more, whether they copy to it or from it (R30).
    fn outdate_answers(&mut self, id: usize) {
        if self.repairs.len() == 1 {
            return;
        }
        let (key, to) = (self.repairs[id].repair.key.clone(), self.repairs[id].repair.to);
        for (other, Running { repair, .. }) in &mut self.repairs {
            if other != id && (repair.to == to || repair.from == to) && repair.key == key {
                repair.outdate_answer(to);
            }
        }
    }

    /// The end of a repair; `copied` are the bytes that were stored.
    fn done(&mut self, id: usize, copied: Option<usize>, wishes: &mut Vec<Wish<'_>>) {
        let running = &mut self.repairs[id];
        let (repair, pass) = (&mut running.repair, running.pass.take());
        let (server, made) = (repair.to, repair.made);
        let key = std::mem::take(&mut repair.key);
        let why = std::mem::replace(&mut repair.why, Why::Read);
        let fills = matches!(why, Why::Fill(_));
        if let Some(bytes) = copied {
            wishes.push(Wish::Copied { server, bytes, fills });
        }
        self.single -= usize::from(!fills);
        match why {
            Why::Read | Why::Left(_) | Why::Heal(None) | Why::Differ(_) | Why::Deleted(_) => {}
            Why::Heal(Some(waiting)) => wishes.push(Wish::Healed(waiting)),
            Why::Fill(fill) => {
                let mut resync = self.resync.as_mut();
                if copied.is_some() {
                    // Also of a resync that was broken off meanwhile.
                    let pair = (repair.from, repair.to);
                    let lowest = self.made.entry(pair).or_insert(u64::MAX);
                    *lowest = made.unwrap_or(0).min(*lowest);
                    if let Some(resync) = resync.as_mut().filter(|resync| (resync.from, resync.to) == pair) {
                        resync.lowest_made = *lowest;
                    }
                }
                if fill.manner == Manner::EvenOut {
                    let (pair, key) = ((repair.from, repair.to), key.clone());
                    wishes.push(Wish::Watch { pair, key, alike: None });
                }
                if let Some(resync) = resync.and_then(|resync| resync.key_done(&fill, copied).then_some(resync)) {
                    wishes.push(Wish::Filled {
                        server: resync.to,
                        from: resync.from,
                        key,
                    });
                }
            }
        }
        wishes.extend(pass.map(Wish::Leave));
    }
}
