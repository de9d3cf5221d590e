//! The servers as requests meet them: what is known of them, and the links that lead to them.

use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::context::Context;
use crate::proxy::fleet::Fleet;
use crate::proxy::fleet::server::Health;
use crate::proxy::net::Net;
use crate::proxy::permit::Permit;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::{Leg, Purpose};
use crate::proxy::upstream::message::Message;

/// No memcached refuses an item for its size whose value is no longer: the least that `-I` takes is 1 KiB, its key and head included.
const TAKEN_BYTES_MAX: usize = 512;

/// The two owners that requests act on, and the means of all rooms.
pub struct Servers<N: Net> {
    pub fleet: Fleet,
    pub upstream: Upstream<N>,
    /// Goes last: what the others hold is of its pool.
    pub cx: Context<N>,
}

impl<N: Net> Servers<N> {
    pub fn new(cx: Context<N>) -> Self {
        let fleet = Fleet::new(&cx.settings, cx.net.identity());
        let upstream = Upstream::new(std::rc::Rc::clone(&cx.pool), fleet.servers.len());
        Self { fleet, upstream, cx }
    }

    /// Writes down what has changed, in the journal and in the log.
    #[inline]
    pub fn end_turn(&mut self) {
        if self.fleet.ledger.take_changed() {
            self.write_journal();
        }
        if cfg!(debug_assertions) {
            self.fleet.check();
        }
        self.cx.hand_out_log();
    }

    /// Whether a storage command, or a count, is sent to these two in the form that tells the unique of what it stores: because its client
    /// wants to know it, or because others may write there. Where memcached refuses to store that for want of room, the item that is there goes,
    /// whatever was to be done with it (1.6.18 to 1.6.45); in the form without, only a set takes it away.
    #[inline]
    pub fn tell_unique(&self, request: &Request<'_>, one: usize, other: Option<usize>) -> bool {
        let is_wanted = request.options.unique && self.fleet.tell_unique(one, other);
        match request.verb.is_storage() {
            true => (is_wanted || self.fleet.compares(one, other)) && self.may_tell_unique(request, one, other),
            false => is_wanted,
        }
    }

    fn may_tell_unique(&self, request: &Request<'_>, one: usize, other: Option<usize>) -> bool {
        let refuses = |server: usize| self.fleet.servers[server].has_refused;
        let has_room = || {
            let fits = request.value.len() <= TAKEN_BYTES_MAX;
            fits && !refuses(one) && other.is_none_or(|other| !refuses(other))
        };
        request.verb == Verb::Set || has_room()
    }

    /// Sends a server what changes a key on it, or all keys: whoever does so shows that it may.
    #[inline]
    pub fn change(
        &mut self,
        permit: &impl Permit,
        server: usize,
        purpose: Purpose,
        number: usize,
        message: Message<'_>,
    ) -> &mut Leg {
        let key = message.request.key;
        debug_assert!(permit.permits(self.fleet.is_up(server), key));
        self.put_leg(server, purpose, number, message)
    }

    /// Asks a server for something that changes nothing, but for the exptime where it is read.
    #[inline]
    pub fn send(&mut self, server: usize, purpose: Purpose, number: usize, message: Message<'_>) -> &mut Leg {
        assert!(!purpose.changes(), "{purpose:?} without a pass");
        self.put_leg(server, purpose, number, message)
    }

    /// A request of no other value, key or options than these, as [`send`](Self::send) does it.
    pub fn ask(&mut self, server: usize, purpose: Purpose, number: usize, request: Request<'_>) -> &mut Leg {
        self.send(server, purpose, number, Message::from(&request))
    }

    /// Puts a leg on the link of a server, opening it if need be. If it cannot be opened the leg is lost like any other
    /// whose link dies.
    fn put_leg(&mut self, server: usize, purpose: Purpose, number: usize, message: Message<'_>) -> &mut Leg {
        let to = &mut self.fleet.servers[server];
        to.counters.requests += 1;
        if !self.upstream.is_linked(server) {
            self.upstream.open(&mut self.cx.net, server, &to.name.address);
            if to.health == Health::Retired {
                self.cx.timers.set(Timer::Retire, self.cx.now.ms()); // somebody was in the middle of something
            }
        }
        let now = self.cx.now;
        self.cx
            .timers
            .set(Timer::Silence, now.ms() + self.upstream.patience_ms(server));
        self.upstream.send(server, purpose, number, message, now)
    }
}
