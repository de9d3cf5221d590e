//! What permits to send a server what changes it.

use crate::proxy::replicate::gate::Pass;

/// Why magent changes a server past the gates of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastGate {
    /// What the server missed is removed while it is not up yet: nobody else is sent there, and what is sent later stands
    /// behind the removals on the same link.
    Returning,
    /// flush_all, and what else all servers are sent, concerns every key. It is sent to all in one turn, so every link has
    /// it at the same place among the writes; whoever is copying an item throws it away.
    AllKeys,
}

/// What permits to send a server what changes it: a [`Pass`], or a reason to go past the gates.
pub trait Permit {
    /// Whether a server that is up or not may be sent a request with this key.
    fn permits(&self, is_up: bool, key: &[u8]) -> bool;
}

impl Permit for Pass {
    fn permits(&self, _: bool, key: &[u8]) -> bool {
        self.key().is_none_or(|own| **own == *key)
    }
}

impl Permit for PastGate {
    fn permits(&self, is_up: bool, _: &[u8]) -> bool {
        *self == PastGate::AllKeys || !is_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::limits::Limits;
    use crate::proxy::replicate::gate::{Access, Entry, Gate};

    #[test]
    fn a_pass_is_for_its_own_key_and_a_way_past_the_gates_for_its_own_reason() {
        let mut gate = Gate::new(&Limits::DEFAULT);
        let alone = match gate.enter(b"a", 0, Access::Alone, 1) {
            Entry::Go(pass) => pass,
            Entry::Wait => panic!("nobody is there"),
        };
        assert!(alone.permits(true, b"a") && !alone.permits(true, b"b") && !alone.permits(true, b""));
        assert!(PastGate::Returning.permits(false, b"a") && !PastGate::Returning.permits(true, b"a"));
        assert!(PastGate::AllKeys.permits(true, b""));
        gate.abandon(alone);
    }
}
