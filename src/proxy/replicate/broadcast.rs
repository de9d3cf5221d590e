//! Commands that all servers get: flush_all, cache_memlimit, and version to find the lowest.

use crate::protocol::request::Request;
use crate::protocol::server::answer::{Response, Status};
use crate::protocol::verb::Verb;
use crate::proxy::net::Net;
use crate::proxy::permit::PastGate;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::plan::Broadcast;
use crate::proxy::replicate::transaction::{NO_SERVER, Work};
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;

impl Replicate {
    pub fn start_broadcast<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, request: &Request<'_>) {
        let flushes_now = request.verb == Verb::FlushAll && request.exptime <= 0;
        let is_repeated = flushes_now && servers.is_listed_in_passing();
        if is_repeated {
            self.flushes_to_repeat.push(id);
        }
        self.transactions[id].work = Work::Broadcast(Broadcast {
            verb: request.verb,
            flushes_now,
            again_by_ms: is_repeated.then(|| servers.cx.now.ms() + servers.cx.settings.timeout_ms),
            best: None,
            error: false,
        });
        if request.verb == Verb::FlushAll {
            servers.cx.statistics.cmd_flush += 1;
            if flushes_now {
                servers.fleet.flush_begins();
            }
            servers.note_flush(request.exptime);
        }
        for server in servers.fleet.in_use() {
            if servers.fleet.is_up(server) {
                let own = request.expiring(servers.fleet.exptime_on(server, request.exptime));
                let times = if flushes_now { servers.flushes_needed(server) } else { 1 };
                self.broadcast_to(servers, id, server, &own, times);
            } else if request.verb == Verb::FlushAll {
                servers.flush_missed(server);
            }
        }
        self.broadcast_step(servers, id);
    }

    /// A server answered, or did not.
    pub fn broadcast_answer<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        server: usize,
        answer: Option<&Response<'_>>,
    ) {
        let Work::Broadcast(broadcast) = &mut self.transactions[id].work else {
            unreachable!("a broadcast's leg belongs to a broadcast");
        };
        match answer {
            Some(response) => {
                let better = match &broadcast.best {
                    _ if broadcast.error => false,
                    _ if response.status == Status::Error => true,
                    None => true,
                    Some(best) => broadcast.verb == Verb::Version && is_lower(response.message, best.message()),
                };
                broadcast.error |= response.status == Status::Error;
                if better {
                    broadcast.best = Some(response.reply());
                }
            }
            None if broadcast.verb == Verb::FlushAll => servers.flush_missed(server),
            None => {}
        }
        self.broadcast_step(servers, id);
    }

    /// Flushes all servers once more, where that is to be done and waits for nothing now.
    pub fn flush_again<N: Net>(&mut self, servers: &mut Servers<N>) {
        for id in std::mem::take(&mut self.flushes_to_repeat) {
            self.repeat_flush(servers, id);
        }
    }

    fn repeat_flush<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let listed = servers.is_listed_in_passing();
        let Work::Broadcast(broadcast) = &mut self.transactions[id].work else {
            return;
        };
        match broadcast.again_by_ms {
            Some(by_ms) if listed && servers.cx.now.ms() < by_ms => {
                servers.cx.timers.set(Timer::RepeatFlush, by_ms);
                self.flushes_to_repeat.push(id);
                return;
            }
            _ => broadcast.again_by_ms = None,
        }
        servers.fleet.count_flush();
        for server in servers.fleet.in_use() {
            if servers.fleet.is_up(server) {
                let times = servers.flushes_needed(server);
                self.broadcast_to(servers, id, server, &Request::flush(), times);
            }
        }
        self.broadcast_step(servers, id);
    }

    fn broadcast_to<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        server: usize,
        request: &Request<'_>,
        times: usize,
    ) {
        for _ in 0..times {
            let (purpose, message) = (Purpose::Broadcast(server), Message::from(request));
            self.change(servers, &PastGate::AllKeys, (server, purpose), id, message);
        }
    }

    fn broadcast_step<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let waits =
            matches!(&self.transactions[id].work, Work::Broadcast(broadcast) if broadcast.again_by_ms.is_some());
        if waits || self.transactions[id].legs > 0 {
            return;
        }
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        if let Work::Broadcast(broadcast) = work {
            if broadcast.flushes_now {
                servers.fleet.flush_ends();
            }
            self.answer(servers, id, broadcast.best.as_ref().unwrap_or(NO_SERVER));
        }
    }
}

/// Whether `a` is a lower version than `b`, number by number.
fn is_lower(a: &[u8], b: &[u8]) -> bool {
    let numbers = |line: &[u8]| -> Vec<u64> {
        line.split(|byte| !byte.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| crate::protocol::number::unsigned(digits).unwrap_or(u64::MAX))
            .collect()
    };
    numbers(a) < numbers(b)
}

#[cfg(test)]
mod tests {
    use super::is_lower;

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(is_lower(b" 1.4.31", b" 1.6.18"));
        assert!(is_lower(b" 1.6.9", b" 1.6.18"));
        assert!(!is_lower(b" 1.6.18", b" 1.6.18"));
    }
}
