//! Commands that all servers get: flush_all, cache_memlimit, and version to find the lowest.

use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::server::answer::{Response, Status};
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::fleet::server::Health;
use crate::proxy::front::transaction::{NO_SERVER, Work};
use crate::proxy::net::Net;
use crate::proxy::replicate::permit::PastGate;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;

pub struct Broadcast {
    verb: Verb,
    /// A flush_all without a delay.
    flushes_now: bool,
    /// Until when a flush waits for the end of a server's list, to be sent once more: see `flush`.
    again_by_ms: Option<u64>,
    /// The answer so far: the first error, else the lowest version, else OK.
    best: Option<Reply>,
    error: bool,
}

impl Broadcast {
    /// Whether it is a flush_all without a delay.
    pub fn flushes_now(&self) -> bool {
        self.flushes_now
    }
}

impl<N: Net> Proxy<N> {
    pub(in crate::proxy) fn start_broadcast(&mut self, id: usize, request: &Request<'_>) {
        let flushes_now = request.verb == Verb::FlushAll && request.exptime <= 0;
        self.transactions[id].work = Work::Broadcast(Broadcast {
            verb: request.verb,
            flushes_now,
            again_by_ms: match flushes_now {
                true => self.flush_again_by_ms(id),
                false => None,
            },
            best: None,
            error: false,
        });
        if request.verb == Verb::FlushAll {
            self.statistics.cmd_flush += 1;
            self.flushes += u64::from(flushes_now);
            self.flushes_under_way += usize::from(flushes_now);
            let delay_s = self.seconds_until(request.exptime);
            self.note_flush(delay_s);
        }
        for server in 0..self.farm.servers.len() {
            if self.farm.servers[server].health == Health::Retired {
                continue;
            }
            if self.farm.is_up(server) {
                let own = request.expiring(self.exptime_on(server, request.exptime));
                let (purpose, message) = (Purpose::Broadcast(server), Message::from(&own));
                self.change(&PastGate::AllKeys, server, purpose, id, message);
            } else if request.verb == Verb::FlushAll {
                self.flush_missed(server);
            }
        }
        self.broadcast_step(id);
    }

    /// A server answered, or did not.
    pub(in crate::proxy) fn broadcast_answer(&mut self, id: usize, server: usize, answer: Option<&Response<'_>>) {
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
            None if broadcast.verb == Verb::FlushAll => self.flush_missed(server),
            None => {}
        }
        self.broadcast_step(id);
    }

    /// Flushes all servers once more, if that waits for nothing now.
    pub(in crate::proxy) fn flush_again(&mut self, id: usize) {
        let listed = self.is_listed_in_passing();
        let Work::Broadcast(broadcast) = &mut self.transactions[id].work else {
            return;
        };
        match broadcast.again_by_ms {
            Some(by_ms) if listed && self.now_ms < by_ms => {
                self.timers.set(Timer::RepeatFlush, by_ms);
                self.flushes_to_repeat.push(id);
                return;
            }
            _ => broadcast.again_by_ms = None,
        }
        self.flushes += 1;
        for server in 0..self.farm.servers.len() {
            if self.farm.is_up(server) {
                let (purpose, flush) = (Purpose::Broadcast(server), Request::flush());
                self.change(&PastGate::AllKeys, server, purpose, id, Message::from(&flush));
            }
        }
        self.broadcast_step(id);
    }

    fn broadcast_step(&mut self, id: usize) {
        let waits =
            matches!(&self.transactions[id].work, Work::Broadcast(broadcast) if broadcast.again_by_ms.is_some());
        if waits || self.transactions[id].legs > 0 {
            return;
        }
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        if let Work::Broadcast(broadcast) = work {
            self.flushes_under_way -= usize::from(broadcast.flushes_now);
            self.answer(id, broadcast.best.as_ref().unwrap_or(NO_SERVER));
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
