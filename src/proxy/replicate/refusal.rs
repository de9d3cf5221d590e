//! What is refused: by magent itself, as larger than `--max-item-size`, or by a server, as too large or for want of memory.
//!
//! A set that is refused takes away what it was to replace, on both servers, as in memcached, so that nobody reads that as
//! new. It is a write to its key like any other and waits for its turn (R23). What the server that decides stored and its
//! partner refuses has one copy: the client is not told, so the administrator is.

use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::text::reply::line;
use crate::protocol::verb::Verb;
use crate::proxy::Proxy;
use crate::proxy::front::transaction::Work;
use crate::proxy::net::{Level, Net};
use crate::proxy::replicate::gate::{Access, Entry};
use crate::proxy::upstream::message::Message;

/// A server that refuses copies is in the log so often at most.
const REFUSAL_LOG_PAUSE_MS: u64 = 60_000;

/// A set that was refused and that waits for its key.
pub struct Refused {
    key: Box<[u8]>,
    reply: &'static Reply,
}

impl<N: Net> Proxy<N> {
    /// Removes a key on both servers in its turn, and says `reply`.
    pub(in crate::proxy) fn start_removal(&mut self, id: usize, key: &[u8], reply: &'static Reply) {
        let place = self.farm.place(key);
        match self.gate.enter(key, place.slot, Access::Both, id) {
            Entry::Go(pass) => {
                let removal = Request::new(Verb::Delete, key);
                self.write_both(id, Message::from(&removal), Some(reply), (place, pass));
            }
            Entry::Wait => {
                let key = key.into();
                self.transactions[id].work = Work::Refused(Refused { key, reply });
                self.bar_what_follows(id);
            }
        }
    }

    /// Starts a removal that had to wait.
    pub(in crate::proxy) fn start_removal_again(&mut self, id: usize, Refused { key, reply }: Refused) {
        self.start_removal(id, &key, reply);
    }

    /// Counts a copy that a server refused with this line, and tells the log from time to time.
    pub(in crate::proxy) fn note_refusal(&mut self, server: usize, reply: &Reply) {
        let server = &mut self.farm.servers[server];
        server.counters.refused += 1;
        let told_lately = |told_ms: u64| self.now_ms < told_ms + REFUSAL_LOG_PAUSE_MS;
        if server.refusal_told_ms.is_some_and(told_lately) {
            return;
        }
        server.refusal_told_ms = Some(self.now_ms);
        self.log.say(
            Level::Warning,
            format_args!(
                "server {} refuses copies of what its partner has ({}), so these items have one copy: {} refused in all",
                server.name,
                line(reply).trim_ascii_end().escape_ascii(),
                server.counters.refused,
            ),
        );
    }
}
