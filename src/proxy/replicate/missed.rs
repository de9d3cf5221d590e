//! Who has missed a write, or the touch that keeps a second copy in step with a gat: what the ledger is told of them.

use crate::proxy::fleet::ledger::{Absence, Event, Number, Partner};
use crate::proxy::fleet::place::Place;
use crate::proxy::net::Net;
use crate::proxy::servers::Servers;

/// A change begins: where the second server of its key is away, that misses it, unless the change `needs` the key to be there
/// and only that server may have it. Returns whether that is so.
pub fn unsent<N: Net>(servers: &mut Servers<N>, write: Number, key: &[u8], place: Place, needs: bool) -> bool {
    let Some(server) = place.second.filter(|&second| !servers.fleet.is_up(second)) else {
        return false;
    };
    if needs && servers.fleet.absence(key, place.first) == Absence::PartnerAway {
        return true;
    }
    servers.fleet.ledger.record(Event::Unsent {
        write,
        key,
        server,
        partner: place.first,
    });
    false
}

/// A change was cut off from a server, or before the answer came, while its partner is like this.
pub fn cut_off<N: Net>(
    servers: &mut Servers<N>,
    write: Number,
    key: &[u8],
    (server, delivered): (usize, bool),
    (partner, is): (usize, Partner),
) {
    servers.fleet.ledger.record(Event::CutOff {
        write,
        key,
        server,
        delivered,
        partner,
        is,
    });
}

/// The same where the partner is to be asked in its place. Returns whether the partner's word counts: not where only the one
/// that was lost may have the key, for then that is the truth when it returns, and has missed nothing.
pub fn fails_over<N: Net>(
    servers: &mut Servers<N>,
    write: Number,
    key: &[u8],
    (server, delivered): (usize, bool),
    (partner, is): (usize, Partner),
) -> bool {
    if servers.fleet.absence(key, partner) == Absence::PartnerAway {
        servers.fleet.ledger.record(Event::LacksKey {
            server: partner,
            from: server,
            key,
        });
        return false;
    }
    cut_off(servers, write, key, (server, delivered), (partner, is));
    true
}
