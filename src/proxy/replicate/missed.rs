//! Who has missed a write, or the touch that keeps a second copy in step with a gat: what the ledger is told of them.

use crate::protocol::verb::Verb;
use crate::proxy::fleet::ledger::{Absence, Ack, Event, Lacks, Number, Partner, Receipt};
use crate::proxy::fleet::place::Place;
use crate::proxy::net::Net;
use crate::proxy::replicate::plan::{Copy, Stage, Write, is_negative};
use crate::proxy::servers::Servers;
use crate::proxy::upstream::link::Side;

/// A change begins: where the second server of its key is away, that misses it, for now. Returns whether the change `needs` the
/// key to be there and only that server may have it: then "not found" is no answer, and whoever gets it takes the miss back (R39).
pub fn unsent<N: Net>(servers: &mut Servers<N>, write: Number, key: &[u8], place: Place, needs: bool) -> bool {
    let Some(server) = place.second.filter(|&second| !servers.fleet.is_up(second)) else {
        return false;
    };
    let elsewhere = needs && servers.fleet.absence(key, place.first) == Absence::PartnerAway;
    servers.fleet.ledger.record(Event::Unsent {
        write,
        key,
        server,
        partner: place.first,
    });
    elsewhere
}

/// A change was cut off from a server, or before the answer came, while its partner is like this.
pub fn cut_off<N: Net>(
    servers: &mut Servers<N>,
    write: Number,
    key: &[u8],
    (server, delivered): (usize, bool),
    (partner, is): (usize, Partner),
) {
    if delivered {
        servers.fleet.servers[server].contact.was_delivered(key);
    }
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

/// A leg of a write was cut off: its server has missed the write, unless it is the only one that may have it. `told`: the
/// client has been given the other's answer.
pub fn lost<N: Net>(servers: &mut Servers<N>, write: &mut Write, side: Side, delivered: bool, told: bool) {
    let to_both = write.is_to_both();
    let (Some(key), (first, Some(second))) = (&write.key, write.servers) else {
        return;
    };
    let (lost, partner, partners_copy) = match side {
        Side::First => (first, second, &mut write.second),
        Side::Second => (second, first, &mut write.first),
    };
    let (key, number) = (key.bytes(), write.number);
    let is_up = servers.fleet.is_up(partner);
    if let (Stage::Deciding(_), true) = (&write.stage, is_up) {
        // It decides in its place.
        write.elsewhere = !fails_over(servers, number, key, (lost, delivered), (partner, Partner::Asked));
        return;
    }
    let is = match partners_copy {
        Copy::Pending => Partner::Asked,
        Copy::Answered(_) => {
            let receipt = write.receipt.filter(|_| !told);
            let ack = match to_both {
                true => partners_copy.ack(write.verb),
                false => Ack::WHOLE, // of a set or a delete
            };
            if receipt.is_some_and(|receipt| !servers.fleet.ledger.holds(receipt)) {
                // It acknowledged, and was lost since, perhaps with its memory: that is no acknowledgement (R3).
                *partners_copy = Copy::Lost { delivered: false };
            }
            Partner::Acked(receipt, ack)
        }
        _ => Partner::Missed {
            delivered: partners_copy.lost() == Some(true),
            needs: !matches!(write.verb, Verb::Set | Verb::Add),
        },
    };
    // A partner that was never filled with it cannot tell whether it was there; see what it says.
    let is_the_only_one = matches!(is, Partner::Missed { .. }) && !is_up;
    let unsure = servers.fleet.ledger.lacks(key, partner, lost) != Lacks::Nothing;
    if to_both && write.verb != Verb::Set && !is_the_only_one && unsure {
        let has_changed_something = partners_copy.answer().is_some_and(|reply| !is_negative(reply));
        write.elsewhere = !has_changed_something;
        if write.elsewhere && is != Partner::Asked {
            return;
        }
    }
    cut_off(servers, number, key, (lost, delivered), (partner, is));
}

/// One of the two servers that were sent a write has answered: what its acknowledgement is worth later, and what its partner
/// has missed. `is_settled`: the client has been told, or what the second server says of it does not count.
pub fn answered<N: Net>(servers: &mut Servers<N>, write: &mut Write, side: Side, is_settled: bool) {
    let (first, Some(second)) = write.servers else {
        return;
    };
    match side {
        Side::First => write.receipt = Some(servers.fleet.ledger.receipt(first)),
        Side::Second => {
            let before = write.receipt.replace(servers.fleet.ledger.receipt(second));
            if !is_settled && write.first.is_negative() {
                doubt_absence(servers, write, before);
            }
        }
    }
    settle(servers, write, side);
}

/// The first server answered that it does not have the key, and was lost since; the second has the key, and now says what
/// it did with it. Nothing is left of what the first said, and whoever reads sees what the second has: so the second's
/// answer is the reply, as if the first had been lost a moment earlier (R27).
fn doubt_absence<N: Net>(servers: &mut Servers<N>, write: &mut Write, absence: Option<Receipt>) {
    let holds = absence.is_some_and(|receipt| servers.fleet.ledger.holds(receipt));
    if write.second.is_negative() || holds {
        return;
    }
    write.first = Copy::Lost { delivered: false };
    if let (Some(key), (first, Some(second))) = (&write.key, write.servers) {
        if !servers.fleet.is_up(first) {
            let partner = (second, Partner::Asked);
            cut_off(servers, write.number, key.bytes(), (first, false), partner);
        }
    }
}

/// If the partner of a server that has answered did not get the write, it has missed it for good, unless it was none.
fn settle<N: Net>(servers: &mut Servers<N>, write: &mut Write, side: Side) {
    let (Some(key), (first, Some(second))) = (&write.key, write.servers) else {
        return;
    };
    let (copy, server, partner, partners_copy) = match side {
        Side::First => (&write.first, first, second, &write.second),
        Side::Second => (&write.second, second, first, &write.first),
    };
    let delivered = match partners_copy {
        Copy::Absent => false,
        Copy::Lost { delivered } => *delivered,
        Copy::Pending | Copy::Answered(_) => return,
    };
    let key = key.bytes();
    // Where the item may be elsewhere, what this one says is not the last word; nor if it turned out only now that it
    // was started anew.
    let here = !copy.is_negative();
    write.elsewhere |= !here && servers.fleet.absence(key, server) == Absence::PartnerAway;
    servers.fleet.ledger.record(Event::Answered {
        write: write.number,
        key,
        missed_by: partner,
        delivered,
        ack: (here || !write.elsewhere).then(|| copy.ack(write.verb)),
    });
}
