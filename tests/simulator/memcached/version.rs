//! Versions of memcached, and what of their differences magent may notice. From the sources and release notes, as in
//! tests/old_memcached.rs; tests/model.rs compares the model with real ones only where they are as 1.6.18.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// What the model is one of, unless it is told otherwise.
    pub const MODELLED: Version = Version(1, 6, 18);
    pub const HAS_GAT: Version = Version(1, 5, 3);
    /// Before this nothing marks the end of a list.
    pub const ENDS_LISTS: Version = Version(1, 5, 4);
    /// `cls` and `size` in a list.
    pub const LISTS_SIZES: Version = Version(1, 5, 12);
    /// What a server is that knows no meta commands, where nothing else is said of it.
    pub const BEFORE_META: Version = Version(1, 5, 22);
    pub const HAS_META: Version = Version(1, 6, 0);
    pub const LISTS_HASH: Version = Version(1, 6, 9);
    /// Before this `mg` answers OK where it has no value to show.
    pub const SAYS_HD: Version = Version(1, 6, 10);
    /// Its flush_all passes over what its crawler, or another thread, has locked.
    pub const FLUSHES_IN_PASSING: Version = Version(1, 6, 25);
    /// It parses lines anew, as since 1.6.40.
    pub const PARSES_ANEW: Version = Version(1, 6, 45);
    /// A list begins with OK.
    pub const LISTS_WITH_OK: Version = Version(1, 6, 43);

    /// Those that servers are.
    pub const ALL: [Version; 6] = [
        Version(1, 4, 31),
        Version(1, 5, 12),
        Version(1, 6, 5),
        Version(1, 6, 18),
        Version(1, 6, 38),
        Version(1, 6, 45),
    ];
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}
