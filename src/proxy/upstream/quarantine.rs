//! Links to a server that fell silent.
//!
//! A server that hangs may have commands in its socket that nobody waits for any more. When it wakes up it runs them,
//! and a connection that was merely closed gives no sign of when that is over: a set that a client was told had failed
//! over could land after the key's deletion, and the old value would be back (R8). So the link of a silent server is not
//! closed but put in quarantine, and the server is not used again before it has answered all that it was sent there, or has
//! ended the connection. A server that answers on a new connection, and for a while nothing on the old one, has been
//! started anew, and the old connection leads nowhere.
//!
//! Where the silence is the network's, what was written last has not come to its machine. That would come there when it can be reached
//! again, behind what others have written meanwhile, and be taken for newer. So that link is closed, which throws away what was not
//! delivered; what was, of which the server could not tell, it does at once.
//!
//! What it has answered there it has done. If its partner, which had acknowledged it all, is lost meanwhile, that makes its
//! copy the last one, and it stays; so what a server missed is told by whether it was delivered before, or never sent (R12).

use crate::proxy::net::{Delivery, Net};
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::link::{Leg, Outgoing, Purpose, Use};

/// How a link came out of quarantine.
pub struct QuarantineEnd {
    /// All that was delivered on it is answered.
    pub is_answered: bool,
    /// The server has no other one there.
    pub was_last: bool,
}

impl<N: Net> Upstream<N> {
    /// Puts the link of a server that fell silent in quarantine; all that waited on it is cut off. Returns how many parts of
    /// clients' requests those were, and whether the link stays, to hear what the server does.
    pub fn quarantine(&mut self, net: &mut N, server: usize, now_ms: u64) -> (usize, bool) {
        let peer = &mut self.peers[server];
        let Some(index) = peer.link.take() else {
            return (0, true);
        };
        let link = &mut self.links[index];
        let cut_off = link.clients_waiting();
        let written = link.written();
        link.output.clear();
        link.outgoing = Outgoing::Idle;
        link.used_for = Use::Quarantine;
        // What was not sent, or not in full, is never run; a probe changes nothing, but is answered before what
        // stands behind it.
        let last = link
            .pending
            .iter()
            .rposition(|leg| leg.end <= written && leg.purpose != Purpose::Probe);
        let awaited = last.map_or(0, |last| last + 1);
        let kept = link.pending.iter().take(awaited).map(Leg::as_given_up).collect();
        let mut lost = std::mem::replace(&mut link.pending, kept);
        lost.iter_mut().take(awaited).for_each(|leg| leg.delivered = true);
        self.lost.extend(lost.into_iter().map(|leg| (server, leg)));
        let is_unheard = net.delivery(&link.socket) == Delivery::Stuck;
        if is_unheard {
            peer.losses.noticed(now_ms);
        }
        if link.pending.is_empty() || is_unheard {
            let link = self.links.remove(index);
            net.close(link.socket);
            peer.may_still_run |= is_unheard;
        } else {
            peer.quarantined.push(index);
        }
        (cut_off, !is_unheard)
    }

    /// Whether a link is in quarantine and has told all that it had to tell.
    pub fn is_quarantine_over(&self, index: usize) -> bool {
        let link = &self.links[index];
        link.used_for == Use::Quarantine && link.pending.is_empty()
    }

    /// Closes a link in quarantine that has nothing more to tell: its last answer came, or the server ended it.
    pub fn end_quarantine(&mut self, net: &mut N, index: usize) -> QuarantineEnd {
        let link = self.links.remove(index);
        net.close(link.socket);
        let quarantined = &mut self.peers[link.server].quarantined;
        quarantined.retain(|&other| other != index);
        QuarantineEnd {
            is_answered: link.pending.is_empty(),
            was_last: quarantined.is_empty(),
        }
    }

    /// Gives up on a server's links in quarantine. Returns whether there were any.
    pub fn give_up_quarantine(&mut self, net: &mut N, server: usize) -> bool {
        let quarantined = std::mem::take(&mut self.peers[server].quarantined);
        for &index in &quarantined {
            let link = self.links.remove(index);
            net.close(link.socket);
        }
        !quarantined.is_empty()
    }

    /// Whether a server has links in quarantine.
    pub fn is_in_quarantine(&self, server: usize) -> bool {
        !self.peers[server].quarantined.is_empty()
    }

    /// A link was given up though what it brought may still be run. The server must answer twice more, with a pause between:
    /// then it has got to all that had come before (R9).
    pub fn note_may_still_run(&mut self, server: usize) {
        self.peers[server].may_still_run = true;
    }

    /// Whether that was noted since this was last asked.
    pub fn take_may_still_run(&mut self, server: usize) -> bool {
        std::mem::take(&mut self.peers[server].may_still_run)
    }
}
