//! What magents agree upon that change a key at the same moment, where one of them has lost the server that decides.
//!
//! That one has written on the second server's board that the first decides nothing any more (`fleet::heirs`), before it has changed
//! anything there without it. The others go on with both, and find out where it matters: a copy that is made on the second replaces only
//! what was there before the first decided, or nothing; and where the second has something else, or has counted differently, its board is
//! asked. If the first one still decides the second is made like it, as ever. If not, the second's word is the reply, and the first is
//! made like that.

use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::Response;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::board::BOARD_KEY;
use crate::proxy::fleet::ledger::{Decision, Event};
use crate::proxy::fleet::place::Place;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::plan::{Copy, Found, Guard, Stage, Write};
use crate::proxy::replicate::transaction::Work;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::Purpose;

/// What is on a board, to be looked at.
const ON_BOARD: Options = Options {
    ttl: true,
    flags: true,
    unique: true,
    value: true,
    ..Options::NONE
};

impl Replicate {
    /// What is known of the item on the second server that a write may replace which the first is to decide about: where others are there
    /// that is asked for, and who has said there that the first does not decide. `before`: what became of the write on the second.
    pub fn guard<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        place: Place,
        request: &Request<'_>,
        before: &Copy,
    ) -> Guard {
        let replaces = matches!(request.verb, Verb::Replace | Verb::Cas) && before.answer().is_none();
        let second = place.second.filter(|&second| {
            replaces && servers.fleet.compares(place.first, place.second) && servers.fleet.is_up(second)
        });
        let Some(second) = second else {
            return Guard::default();
        };
        let unique = Options {
            unique: true,
            ..Options::default()
        };
        self.ask(
            servers,
            (second, Purpose::Guard),
            id,
            Request::look(request.key, unique),
        );
        self.ask_for_rank(servers, id, second);
        Guard {
            is_asked: true,
            of: second,
            pending: 2,
            found: Found::Unknown,
        }
    }

    fn ask_for_rank<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize) {
        self.ask(servers, (server, Purpose::Rank), id, Request::look(BOARD_KEY, ON_BOARD));
    }

    /// The second server has said what it has, or nothing.
    pub fn guarded<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        server: usize,
        response: Option<&Response<'_>>,
    ) {
        let found = response.map_or(Found::Unknown, |response| match (response.status, response.unique) {
            (Status::MetaMiss, _) => Found::Nothing,
            (_, Some(unique)) => Found::Item(unique),
            _ => Found::Unknown,
        });
        self.guard_step(servers, id, server, Some(found));
    }

    fn guard_step<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize, found: Option<Found>) {
        let Work::Write(write) = &mut self.transactions[id].work else {
            return self.end_if_over(id);
        };
        let Stage::Deciding(undecided) = &mut write.stage else {
            return;
        };
        let guard = &mut undecided.guard;
        if guard.pending == 0 || guard.of != server {
            return; // it was asked beside another server's decision, which is not waited for any more
        }
        guard.pending -= 1;
        guard.found = found.unwrap_or(guard.found);
        if guard.pending == 0 && !write.first.is_pending() {
            self.follow(servers, id);
        }
    }

    /// A board has told who decides, as far as it tells.
    pub fn rank_told<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, server: usize) {
        let Work::Write(write) = &mut self.transactions[id].work else {
            return self.end_if_over(id);
        };
        match &mut write.stage {
            Stage::Deciding(_) => self.guard_step(servers, id, server, None),
            Stage::Asking(_) => self.go_on_by_rank(servers, id),
            Stage::Weighing { is_asked } => {
                *is_asked = false;
                if servers.fleet.place_to_decide(write.key()).first != write.servers.0 {
                    write.turn();
                }
                self.write_step(servers, id);
            }
            _ => {}
        }
    }

    /// Two servers have counted differently: asks who decides, where others are there. Returns whether that is to be waited for.
    pub fn weighs<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) -> bool {
        let transaction = &mut self.transactions[id];
        let Work::Write(write) = &mut transaction.work else {
            return false;
        };
        let (Stage::Both, (first, Some(second)), false) = (&write.stage, write.servers, transaction.is_answered) else {
            return false;
        };
        let counted = |copy: &Copy| {
            copy.answer()
                .filter(|reply| reply.status == Status::Number)
                .map(|reply| reply.number)
        };
        let (Some(one), Some(other)) = (counted(&write.first), counted(&write.second)) else {
            return false;
        };
        let asks = one != other && servers.fleet.compares(first, Some(second)) && servers.fleet.is_up(second);
        if asks {
            write.stage = Stage::Weighing { is_asked: true };
            self.ask_for_rank(servers, id, second);
        }
        asks
    }

    /// The second server has something else than the first decided about: asks who decides.
    pub fn ask_who_decides<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, write: &mut Write) {
        let (Stage::Adding(undecided) | Stage::Replacing(undecided)) =
            std::mem::replace(&mut write.stage, Stage::Copying)
        else {
            unreachable!("it was to be copied");
        };
        write.stage = Stage::Asking(undecided);
        if let Some(second) = write.servers.1 {
            self.ask_for_rank(servers, id, second);
        }
    }

    fn go_on_by_rank<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let mut write = self.take_write(id);
        let Stage::Asking(undecided) = std::mem::replace(&mut write.stage, Stage::Copying) else {
            unreachable!("it was asked who decides");
        };
        let second = write.servers.1.filter(|&second| servers.fleet.is_up(second));
        match (second, write.verb) {
            _ if servers.fleet.place_to_decide(write.key()).first != write.servers.0 => {
                write.turn();
                write.first = Copy::Answered(overruled(&write));
                write.stage = Stage::Overruled;
            }
            (_, Verb::Add) => {
                write.stage = Stage::Adding(undecided);
                self.confirm(servers, id, &mut write);
            }
            (Some(second), _) => _ = self.copy_as(servers, id, (second, Verb::Set), &mut write, undecided),
            (None, _) => missed_by_second(servers, &mut write, undecided.held.key()),
        }
        self.transactions[id].work = Work::Write(write);
        self.write_step(servers, id);
    }

    /// Whether a server that has decided does not decide any more, as its partner's board has told meanwhile: the partner is to.
    pub fn is_superseded<N: Net>(&self, servers: &Servers<N>, write: &Write) -> bool {
        let Stage::Deciding(undecided) = &write.stage else {
            return false;
        };
        let second = write.servers.1.filter(|&second| servers.fleet.is_up(second));
        undecided.guard.is_asked
            && write.second.answer().is_none()
            && second.is_some()
            && second == Some(servers.fleet.place_to_decide(write.key()).first)
    }
}

/// What a client is told whose write the first server, which does not decide any more, has stored, and the second has not, by its answer,
/// for somebody has been there meanwhile.
fn overruled(write: &Write) -> Reply {
    let status = write.first.answer().map_or(Status::Exists, |reply| reply.status);
    Reply::plain(match (write.verb, status) {
        // That came after it.
        (Verb::Replace, _) => Status::Stored,
        (Verb::Cas, Status::NotFound) | (Verb::Add, _) => status,
        _ => Status::Exists,
    })
}

/// The second server is away, and misses what the first has stored.
pub fn missed_by_second<N: Net>(servers: &mut Servers<N>, write: &mut Write, key: &[u8]) {
    if let Some(second) = write.servers.1 {
        servers.fleet.ledger.record(Event::Decided {
            write: write.number,
            key,
            missed_by: second,
            failed_over: None,
            decision: Decision::Stored,
        });
        write.second = Copy::Absent;
    }
}
