//! What came back of a request, or did not, is its plan's.

use crate::protocol::server::answer::Response;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::{Leg, Purpose, Side};

impl Replicate {
    /// The last line of an answer to a transaction has come.
    pub fn answered<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, leg: &Leg, response: &Response<'_>) {
        let id = leg.transaction;
        if leg.purpose.has_transaction() {
            self.transactions[id].legs -= 1;
        }
        match leg.purpose {
            Purpose::Read(ask) => self.read_end(servers, server, ask, leg, response.status),
            Purpose::MirrorTouch | Purpose::MirrorTouchAlone => {
                self.mirror_touch_done(servers, server, leg, Some(response.status));
            }
            Purpose::Write(side) => {
                let marks = leg.sent.asked.question.marks();
                self.write_answer(servers, id, side, response.reply_to_write(marks));
            }
            Purpose::Size(side) => self.size_answered(servers, id, side, Some(response)),
            Purpose::Decide => self.write_answer(servers, id, Side::First, response.reply_to_write(false)),
            Purpose::Confirm => self.confirmed(servers, id, Some(response)),
            Purpose::Guard => self.guarded(servers, id, server, Some(response)),
            Purpose::Rank => self.rank_told(servers, id, server),
            Purpose::Broadcast(server) => self.broadcast_answer(servers, id, server, Some(response)),
            Purpose::Survey => self.survey_step(servers, id),
            _ => unreachable!("no transaction's"),
        }
    }

    /// A leg of a transaction was cut off. The legs of one transaction fail over one by one.
    pub fn lost<N: Net>(&mut self, servers: &mut Servers<N>, server: usize, leg: &Leg) {
        let id = leg.transaction;
        if leg.purpose.has_transaction() {
            self.transactions[id].legs -= 1;
        }
        match leg.purpose {
            Purpose::Read(ask) => self.read_lost(servers, server, ask, leg),
            Purpose::MirrorTouch | Purpose::MirrorTouchAlone => self.mirror_touch_done(servers, server, leg, None),
            Purpose::Write(side) => self.write_lost(servers, id, side, leg.delivered),
            Purpose::Size(side) => self.size_answered(servers, id, side, None),
            Purpose::Decide => self.write_lost(servers, id, Side::First, leg.delivered),
            Purpose::Confirm => self.confirmed(servers, id, None),
            Purpose::Guard => self.guarded(servers, id, server, None),
            Purpose::Rank => self.rank_told(servers, id, server),
            Purpose::Broadcast(server) => self.broadcast_answer(servers, id, server, None),
            Purpose::Survey => self.survey_step(servers, id),
            _ => unreachable!("no transaction's"),
        }
    }
}
