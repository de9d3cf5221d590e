//! Which version a memcached is, and what follows from that.

/// A memcached's version, and what it tells of what that can do. The steps are those of its release notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// Before this a memcached crashes when who reads its list leaves.
    pub const LISTS_SAFELY: Version = Version(1, 4, 34);
    /// Since this the end of its list is marked.
    pub const ENDS_LISTS: Version = Version(1, 5, 4);
    /// Since this it knows the meta commands; 1.5.19 to 1.5.22 have others of the same names.
    pub const HAS_META: Version = Version(1, 6, 0);
    /// Since this, at the latest, `ms` tells the unique of what it stores.
    pub const TELLS_UNIQUE: Version = Version(1, 6, 18);
    /// Since this it lists its keys as commands, too: `lru_crawler mgdump`.
    pub const HAS_MGDUMP: Version = Version(1, 6, 19);
    /// Since this an append by a meta command may make its item, and `ms` tells the size of what it has stored.
    pub const MAKES_WHAT_IS_PADDED: Version = Version(1, 6, 20);
    /// Since this a meta command may remove an item's value, and give its unique.
    pub const REMOVES_VALUES: Version = Version(1, 6, 27);
    /// Since this it can list its keys by its hash table.
    pub const LISTS_HASH: Version = Version(1, 6, 9);
    /// Since this its `flush_all` passes over what another of its threads, its crawler perhaps, has locked at that moment.
    pub const FLUSHES_IN_PASSING: Version = Version(1, 6, 25);
    /// Since this it reads command lines by its new parser.
    pub const PARSES_ANEW: Version = Version(1, 6, 40);

    /// Reads the numbers in front, as many as there are: `1.6.18`, `1.6`, `1.4.15_4_gabcdef`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut numbers = text.splitn(3, |&byte| byte == b'.').map(|part| {
            let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
            std::str::from_utf8(&part[..digits]).ok()?.parse().ok()
        });
        let major = numbers.next()??;
        let mut further = || numbers.next().flatten().unwrap_or(0);
        Some(Version(major, further(), further()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_understood_and_compared() {
        for (text, version) in [
            (&b"1.6.18"[..], Some(Version(1, 6, 18))),
            (b"1.4.15_4_gabcdef", Some(Version(1, 4, 15))),
            (b"1.6", Some(Version(1, 6, 0))),
            (b"2", Some(Version(2, 0, 0))),
            (b"1.6.18-rc1", Some(Version(1, 6, 18))),
            (b"unknown", None),
            (b"", None),
            (b"99999999999.1", None),
        ] {
            assert_eq!(Version::parse(text), version, "{}", text.escape_ascii());
        }
        assert!(Version(1, 6, 18) >= Version::LISTS_HASH && Version(1, 6, 8) < Version::LISTS_HASH);
        assert!(Version(1, 5, 22) < Version::HAS_META && Version(1, 10, 0) > Version::HAS_META);
    }
}
