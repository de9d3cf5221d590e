//! Which promises a schedule puts to the test.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing fails: every reply is exactly memcached's.
    Calm,
    /// One thing fails at a time: clients cannot tell.
    OneFault,
    /// Anything fails at any time: never a stale value, errors and losses only where no copy was left.
    Chaos,
    /// One thing fails at a time, and servers drop items when they like: a miss is legal, a stale value is not.
    Evicting,
    /// Two magents, each with the other's farms the other way round; one fault at a time.
    Crossed,
    /// No backups: what one memcached promises, as long as it lives.
    Alone,
    /// One thing fails at a time, values are refused as too large, by magent or by servers, and servers' clocks differ.
    Refusing,
    /// A server ends and keeps its items, and magent itself may be started anew before it returns, or after.
    Keeping,
    /// One thing fails at a time. Clients ask some hundred things at once, or for some hundred keys, read slowly, leave in
    /// the middle, say values that are too large, and are too many for `-n`.
    Deep,
    /// The same, with bounds of magent's that are reached all the time: of memory, of portions, of what is remembered.
    Shrunk,
    /// One thing fails at a time, and servers have no memory left now and then.
    Full,
    /// One thing fails at a time. Servers are of all versions, lists of keys are slow, broken or refused for now, and a
    /// server may keep its items when it ends.
    Aged,
    /// One thing fails at a time, and it is the way to a server, or magent's own descriptors, ports and memory.
    Unreachable,
    /// One thing fails at a time. Clocks differ, and jump.
    Clocks,
    /// One thing fails at a time. magent is given other settings, other farms too, or is told to end, in the middle of
    /// anything.
    Reloaded,
    /// One thing fails at a time, and meanwhile, before and after the configuration is read again, or magent is told to end.
    Orders,
    /// Three magents; one fault at a time.
    Three,
    /// Two magents, in any weather; one fault at a time.
    Foul,
    /// Two magents with crossed or equal lists, one fault at a time; and clients of both that change the same keys.
    Duel,
    /// Two magents with crossed or equal lists, and a cut between the two machines that they and their servers are on.
    Parted,
    /// Two magents, one fault at a time. What a server is asked on one connection is done in between what it is asked on
    /// another.
    Threads,
    /// One thing fails at a time. Clients ask for statistics, say lines that are refused, and end their connections in every
    /// way that there is.
    Odd,
    /// One thing fails at a time, most often a server that says what is no answer.
    Babbling,
    /// One thing fails at a time. Servers are known by names that lead elsewhere, or nowhere, and a reload fails in every way.
    Named,
    /// The same as `Reloaded`, and keys are distributed otherwise, too.
    Remapped,
    /// One thing fails at a time, around a `flush_all` that takes effect later.
    Delayed,
}

pub const CLASSES: [Class; 6] = [
    Class::Calm,
    Class::OneFault,
    Class::Chaos,
    Class::Evicting,
    Class::Crossed,
    Class::Alone,
];

/// Those that came later: drawn apart, so that a seed means the same class as before. Each with how many seeds it has for a
/// thousand of the others.
pub const MORE_CLASSES: [(Class, u64); 20] = [
    (Class::Refusing, 200),
    (Class::Keeping, 200),
    (Class::Orders, 50),
    (Class::Deep, 6),
    (Class::Shrunk, 6),
    (Class::Full, 25),
    (Class::Aged, 25),
    (Class::Unreachable, 25),
    (Class::Clocks, 25),
    (Class::Reloaded, 25),
    (Class::Three, 15),
    (Class::Foul, 15),
    (Class::Threads, 5),
    (Class::Duel, 25),
    (Class::Odd, 25),
    (Class::Babbling, 25),
    (Class::Named, 25),
    (Class::Remapped, 25),
    (Class::Delayed, 25),
    (Class::Parted, 50),
];

impl Class {
    pub fn named(name: &str) -> Option<Self> {
        let more = MORE_CLASSES.map(|(class, _)| class);
        CLASSES.into_iter().chain(more).find(|class| class.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Class::Calm => "calm",
            Class::OneFault => "one fault",
            Class::Chaos => "chaos",
            Class::Evicting => "evicting",
            Class::Crossed => "crossed",
            Class::Alone => "alone",
            Class::Refusing => "refusing",
            Class::Keeping => "keeping",
            Class::Deep => "deep",
            Class::Shrunk => "shrunk",
            Class::Full => "full",
            Class::Aged => "aged",
            Class::Unreachable => "unreachable",
            Class::Clocks => "clocks",
            Class::Reloaded => "reloaded",
            Class::Orders => "orders",
            Class::Three => "three",
            Class::Foul => "foul",
            Class::Threads => "threads",
            Class::Duel => "duel",
            Class::Odd => "odd",
            Class::Babbling => "babbling",
            Class::Named => "named",
            Class::Remapped => "remapped",
            Class::Delayed => "delayed",
            Class::Parted => "parted",
        }
    }

    /// Clients never see an error, and nothing acknowledged is lost.
    pub fn is_strict(self) -> bool {
        !matches!(self, Class::Chaos | Class::Alone)
    }

    /// Several magents share the servers, and each key is written through one of them.
    pub fn is_shared(self) -> bool {
        matches!(
            self,
            Class::Crossed | Class::Three | Class::Foul | Class::Threads | Class::Duel | Class::Parted
        )
    }

    /// Servers may not have what they stored.
    pub fn loses_items(self) -> bool {
        matches!(self, Class::Evicting | Class::Full)
    }
}
