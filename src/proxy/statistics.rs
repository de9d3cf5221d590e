//! Counters, with memcached's names for what magent also has.

use crate::protocol::reply::Status;
use crate::protocol::verb::Verb;

/// Counted since the start, or since `stats reset`, over all clients.
#[derive(Default)]
pub struct Statistics {
    pub started_ms: u64,
    pub total_connections: u64,
    pub rejected_connections: u64,
    /// Clients closed because `--max-memory` was reached.
    pub shed_connections: u64,
    /// Keys asked for by get and gets; those of gat and gats count as touches, as in memcached.
    pub cmd_get: u64,
    /// set, add, replace, append, prepend and cas.
    pub cmd_set: u64,
    /// Items that clients have stored: the servers count what magents store for themselves as well.
    pub total_items: u64,
    /// Meta commands.
    pub cmd_meta: u64,
    pub cmd_touch: u64,
    pub cmd_flush: u64,
    pub get_hits: u64,
    pub get_misses: u64,
    pub delete_hits: u64,
    pub delete_misses: u64,
    pub incr_hits: u64,
    pub incr_misses: u64,
    pub decr_hits: u64,
    pub decr_misses: u64,
    pub cas_hits: u64,
    pub cas_misses: u64,
    pub cas_badval: u64,
    pub touch_hits: u64,
    pub touch_misses: u64,
    pub store_too_large: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

impl Statistics {
    pub fn new(now_ms: u64) -> Self {
        Self {
            started_ms: now_ms,
            ..Self::default()
        }
    }

    pub fn count_write(&mut self, verb: Verb) {
        match verb {
            _ if verb.is_storage() => self.cmd_set += 1,
            Verb::Touch => self.cmd_touch += 1,
            _ => {}
        }
    }

    pub fn count_outcome(&mut self, verb: Verb, status: Status) {
        self.total_items += u64::from(verb.is_storage() && status == Status::Stored);
        let counter = match (verb, status) {
            (Verb::Delete | Verb::MetaDelete, Status::Deleted) => &mut self.delete_hits,
            (Verb::Delete | Verb::MetaDelete, Status::NotFound) => &mut self.delete_misses,
            (Verb::Incr, Status::Number) => &mut self.incr_hits,
            (Verb::Incr, Status::NotFound) => &mut self.incr_misses,
            (Verb::Decr, Status::Number) => &mut self.decr_hits,
            (Verb::Decr, Status::NotFound) => &mut self.decr_misses,
            (Verb::Cas, Status::Stored) => &mut self.cas_hits,
            (Verb::Cas, Status::NotFound) => &mut self.cas_misses,
            (Verb::Cas, Status::Exists) => &mut self.cas_badval,
            (Verb::Touch, Status::Touched) => &mut self.touch_hits,
            (Verb::Touch, Status::NotFound) => &mut self.touch_misses,
            _ => return,
        };
        *counter += 1;
    }
}
