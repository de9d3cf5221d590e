//! What permits to send a server what changes it.

/// Why magent changes a server past the gates of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastGate {
    /// What the server missed is removed while it is not up yet: nobody else is sent there, and what is sent later stands
    /// behind the removals on the same link.
    Returning,
    /// flush_all, and what else all servers are sent, concerns every key. It is sent to all in one turn, so every link has
    /// it at the same place among the writes; whoever is copying an item throws it away.
    AllKeys,
    /// The board is no client's item.
    Board,
    /// What magent's own look has taken from an item that is stale is given back to it.
    Token,
}

/// What permits to send a server what changes it: a [`Pass`](crate::proxy::replicate::gate::Pass), or a reason to go past the gates.
pub trait Permit {
    /// Whether a server that is up or not may be sent a request with this key.
    fn permits(&self, is_up: bool, key: &[u8]) -> bool;
}

impl Permit for PastGate {
    fn permits(&self, is_up: bool, _: &[u8]) -> bool {
        *self != PastGate::Returning || !is_up
    }
}
