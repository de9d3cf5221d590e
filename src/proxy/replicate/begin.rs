//! A request with keys goes through their gate, at once or when its turn has come, and begins.

use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::{Entry, Going, Pass, Turn, Who};
use crate::proxy::replicate::plan::{Copy, Plan};
use crate::proxy::replicate::reading::Reads;
use crate::proxy::replicate::transaction::Work;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::message::Message;

impl Replicate {
    /// Starts, or starts again after it had to wait, a transaction for a request with keys.
    pub fn begin_transaction<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, message: Message<'_>) {
        let request = message.request;
        if request.verb.only_reads() {
            // Of a wide one the first keys tell: it may as well come before writes that have not begun, and what follows of
            // it is asked for later anyway.
            let keys = request.keys_concerned().take(servers.cx.settings.limits.keys_looked_at);
            return match self.gate.waits_to_read(keys, Who::Request(id)) {
                true => self.wait(servers, id, message),
                false => self.start_read(servers, id, message, None),
            };
        }
        self.has_marked |= matches!(request.verb, Verb::MetaMake | Verb::MetaInvalidate);
        let plan = Plan::of(request.verb, servers.fleet.has_backups());
        if plan == Plan::Mirrored && request.key_count != 1 {
            // One of many keys goes through their gates as it is asked for.
            return self.start_read(servers, id, message, None);
        }
        let place = servers.fleet.place_to_decide(request.key);
        let pass = match self
            .gate
            .enter(request.key, place.slot, plan.access(), Who::Request(id))
        {
            Entry::Go(pass) => pass,
            Entry::Wait => return self.wait(servers, id, message),
        };
        match plan {
            Plan::Both => self.write_both(servers, id, message, None, (place, pass)),
            Plan::Mirrored => return self.start_read(servers, id, message, Some(pass)),
            Plan::FirstThenCopy => self.decide(servers, id, message, (place, pass), Copy::Absent, true),
        }
        servers.cx.statistics.count_write(request.verb);
    }

    /// What has been answered was the first part of a request: goes on with the next.
    pub fn go_on_with<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, message: Message<'_>) {
        let transaction = &mut self.transactions[id];
        assert!(
            matches!(transaction.work, Work::Answered),
            "nothing is left of the first part"
        );
        transaction.is_answered = false;
        self.begin_transaction(servers, id, message);
    }

    /// Keeps a request until its turn has come.
    pub fn wait<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, message: Message<'_>) {
        self.transactions[id].work = Work::Waiting(message.hold(&servers.cx.pool));
    }

    /// Gives a pass back. Those that waited for that begin in their order, until one of them has the key alone. While there are legs
    /// that were cut off and have not failed over they wait on: one of those may be of what their own client asked before (R33).
    pub fn leave_gate<N: Net>(&mut self, servers: &mut Servers<N>, pass: Pass) {
        let Some(going) = self.gate.leave(pass) else {
            return;
        };
        match servers.upstream.has_lost() {
            true => self.put_off.push_back(going),
            false => self.let_go_on(servers, going),
        }
    }

    /// Lets those begin that had to wait until all legs have failed over. Returns whether there were any.
    pub fn begin_put_off<N: Net>(&mut self, servers: &mut Servers<N>) -> bool {
        let Some(going) = self.put_off.pop_front() else {
            return false;
        };
        self.let_go_on(servers, going);
        true
    }

    fn let_go_on<N: Net>(&mut self, servers: &mut Servers<N>, mut going: Going) {
        while let Some(turn) = self.gate.next(&mut going) {
            match turn {
                Turn::Request(id) => self.begin_again(servers, id),
                Turn::Repair(repair, pass) => servers.cx.hand_on(Handoff::RepairTurn(repair, pass)),
            }
        }
    }

    /// Starts a transaction that had to wait for its key.
    fn begin_again<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        match work {
            Work::Waiting(held) => {
                self.begin_transaction(servers, id, Message::in_piece(&held.request(), held.piece()));
            }
            Work::Refused(refused) => self.start_removal(servers, id, &refused.key, refused.reply),
            Work::Read(mut read) => {
                read.at_gate = false;
                self.transactions[id].work = Work::Read(read);
                servers.cx.hand_on(Handoff::GoOn(id));
            }
            _ => unreachable!("only what waits is behind a gate"),
        }
    }

    /// Whether a request would change a key that the same client is still reading, or come before keys of a wide get of
    /// the same client that are not asked for yet. The earlier read may have to ask the backup yet, or at all, and would
    /// see what is newer. So would one that reads a key on another server than the one behind it does, if it has to ask elsewhere yet.
    pub fn would_overtake_read<N: Net>(&self, servers: &Servers<N>, client: usize, request: &Request<'_>) -> bool {
        let reads = request.verb.only_reads();
        let changes = !request.key.is_empty() && !reads && request.verb != Verb::Stats;
        if !changes && !reads {
            return false;
        }
        let is_reading = |what| self.gate.is_reading(client, what);
        if is_reading(Reads::Unasked) || !servers.fleet.has_backups() {
            return is_reading(Reads::Unasked);
        }
        let has = |key| is_reading(Reads::Many) || is_reading(Reads::Key(key));
        if changes {
            return request.key_count > 1 || has(request.key);
        }
        // Most are asked of the primary, like those before them.
        let goes_elsewhere = |key| request.verb != Verb::Get || !self.is_at_rest(key, servers.fleet.place(key).slot);
        let may_come_before = |key| is_reading(Reads::Elsewhere) || has(key) && goes_elsewhere(key);
        let mut keys = request.keys_concerned().take(servers.cx.settings.limits.keys_looked_at);
        keys.any(|key| may_come_before(key) && servers.fleet.is_decided_elsewhere(key))
    }
}
