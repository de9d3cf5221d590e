//! Numbers that a memcached has padded.
//!
//! An incr or decr whose result is no longer than the value is done in place, the rest filled with blanks; if somebody is
//! reading the item just then, it is replaced by one without (`do_add_delta` in memcached.c). So the two copies of one
//! number may be `9` and `9 `, as two memcacheds would have them. To a reader, and to the next incr, they are the same.
//! But what is appended stands behind the blanks, so an append or prepend is followed by a question for the size, to
//! both servers, on the link that brought it. Where the sizes differ the second copy is made like the first. Nothing is
//! remembered for that, so it does not matter which magent counted, or when.

use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::{Response, Status};
use crate::protocol::verb::Verb;
use crate::proxy::fleet::place::Place;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::plan::{Sizes, Stage, Write};
use crate::proxy::replicate::transaction::Work;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::{Purpose, Side};

impl Replicate {
    /// Asks both servers for the size of what an append or prepend, on its way to both, leaves.
    pub fn ask_for_sizes<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, verb: Verb, key: &[u8], place: Place) {
        let appends = matches!(verb, Verb::Append | Verb::Prepend);
        let Some(second) = place.second.filter(|_| appends) else {
            return;
        };
        let both = [(place.first, Side::First), (second, Side::Second)];
        let fleet = &servers.fleet;
        if !both
            .iter()
            .all(|&(server, _)| fleet.is_up(server) && fleet.has_meta(server))
        {
            return;
        }
        if let Work::Write(write) = &mut self.transactions[id].work {
            write.stage = Stage::Measuring(Box::new(Sizes {
                pending: 2,
                ..Sizes::default()
            }));
        }
        for (server, side) in both {
            let size = Options {
                size: true,
                unique: true,
                no_update: true,
                ..Options::default()
            };
            self.ask(servers, (server, Purpose::Size(side)), id, Request::look(key, size));
        }
    }

    /// A server has told a size, or nothing (`None`: it was cut off).
    pub fn size_answered<N: Net>(
        &mut self,
        servers: &mut Servers<N>,
        id: usize,
        side: Side,
        response: Option<&Response<'_>>,
    ) {
        // What is HD now was OK before 1.6.10.
        let size = response
            .filter(|response| matches!(response.status, Status::MetaHit | Status::Ok))
            .and_then(|response| response.size);
        let Work::Write(Write {
            stage: Stage::Measuring(sizes),
            ..
        }) = &mut self.transactions[id].work
        else {
            unreachable!("a size's leg belongs to a write whose sizes are asked for");
        };
        sizes.pending -= 1;
        match side {
            Side::First => sizes.first = size,
            Side::Second => sizes.second = size,
        }
        self.write_step(servers, id);
    }
}
