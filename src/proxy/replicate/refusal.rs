//! What magent itself refuses, as larger than `--max-item-size`.
//!
//! A set that is refused takes away what it was to replace, on both servers, as in memcached, so that nobody reads that as
//! new. It is a write to its key like any other and waits for its turn (R23).

use crate::protocol::reply::Reply;
use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::gate::{Access, Entry, Who};
use crate::proxy::replicate::plan::Refused;
use crate::proxy::replicate::transaction::Work;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::message::Message;

impl Replicate {
    /// Removes a key on both servers in its turn, and says `reply`.
    pub fn start_removal<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, key: &[u8], reply: &'static Reply) {
        let place = servers.fleet.place_to_decide(key);
        match self.gate.enter(key, place.slot, Access::Both, Who::Request(id)) {
            Entry::Go(pass) => {
                let removal = Request::new(Verb::Delete, key);
                self.write_both(servers, id, Message::from(&removal), Some(reply), (place, pass));
            }
            Entry::Wait => {
                let key = key.into();
                self.transactions[id].work = Work::Refused(Refused { key, reply });
            }
        }
    }
}
