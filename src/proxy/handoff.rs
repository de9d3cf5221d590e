//! What an owner hands to another, by way of the conductor.

use crate::buffer::Slice;
use crate::protocol::reply::Reply;
use crate::proxy::replicate::gate::Pass;
use crate::proxy::replicate::merge::Merge;
use crate::proxy::replicate::topic::Survey;

/// Something that happened in one room and concerns another. A number is a transaction's, if nothing else is said.
pub enum Handoff {
    /// The reply is complete with this.
    Reply(usize, Reply),
    /// Values of the reply, which had to wait for each other.
    Values(usize, Box<Merge>),
    /// The servers have said all that they say to a client's `stats`.
    Surveyed(usize, Box<Survey>),
    /// A portion of so many keys has been answered, and there are more to ask for.
    Portion(usize, usize),
    /// There may be more keys to ask for now.
    GoOn(usize),
    /// A value of each key that two servers were asked for has come.
    RaceOver(usize),
    /// An add, replace or cas is to be decided by the other server.
    DecideElsewhere(usize),
    /// The copy on one server is to be made like the one on the other.
    Heal(Box<Heal>),
    /// Both servers have acknowledged a write, which is to be looked at once more.
    Written(Box<Written>),
    /// These two servers have computed a key's item differently, or in another order.
    Moving { pair: (usize, usize), key: Slice },
    /// A key was found on `from` and not on `to`.
    FoundOnOne { from: usize, to: usize, key: Box<[u8]> },
    /// A repair of this number, which has waited for its key, has it alone now.
    RepairTurn(usize, Pass),
    /// What is copied to or from a server cannot go on, for this reason.
    BreakOff(usize, &'static str),
    /// Other magents are without a server.
    MissedByOthers(usize),
    /// Something may be lacking that can be copied now.
    Lacking,
    /// All servers are known, or known not to be there: requests may begin.
    Started,
}

/// What is to be made alike, and what depends on that.
pub struct Heal {
    pub from: usize,
    pub to: usize,
    pub key: Box<[u8]>,
    pub urgency: Urgency,
}

/// What a write has left on its two servers.
pub struct Written {
    pub key: Slice,
    pub pair: (usize, usize),
    /// The unique of what was stored on each; None of a deletion.
    pub uniques: [Option<u64>; 2],
    /// Each server has computed it from what it had.
    pub is_computed: bool,
}

/// Who cares whether a copy is healed.
pub enum Urgency {
    /// A write waits for it.
    Waited(Waiting),
    /// It may be left undone.
    IfRoom,
}

/// A write that its two servers answered differently.
#[derive(Debug, PartialEq, Eq)]
pub struct Waiting {
    pub write: usize,
    /// The answer of `from`, if the client has not been given it yet.
    pub reply: Option<Reply>,
    /// The answer of `to`, if that has an effect that can be seen and the client has not been given any.
    pub instead: Option<Reply>,
    /// What `to` answered at all, if the client has not been given any. It is the reply where nothing is left of what `from` had.
    pub otherwise: Option<Reply>,
    /// It is `to` that decides, and it did not find the key.
    pub is_turned: bool,
}
