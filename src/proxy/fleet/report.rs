//! What is told of servers: a copy that one refuses, and its state.
//!
//! What the server that decides stored and its partner refuses, as too large or for want of memory, has one copy: the client is
//! not told, so the administrator is.

use crate::protocol::reply::Reply;
use crate::protocol::text::reply::line;
use crate::proxy::net::{Level, Net};
use crate::proxy::servers::Servers;

/// A server that refuses copies is in the log so often at most.
const REFUSAL_LOG_PAUSE_MS: u64 = 60_000;

impl<N: Net> Servers<N> {
    /// Counts a copy that a server refused with this line, and tells the log from time to time.
    pub fn note_refusal(&mut self, server: usize, reply: &Reply) {
        let server = &mut self.fleet.servers[server];
        server.counters.refused += 1;
        let told_lately = |told_ms: u64| self.cx.now.ms() < told_ms + REFUSAL_LOG_PAUSE_MS;
        if server.refusal_told_ms.is_some_and(told_lately) {
            return;
        }
        server.refusal_told_ms = Some(self.cx.now.ms());
        self.cx.log.say(
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
