//! How keys are spread: by which distribution, what of a key is hashed, and with what.

use super::hash::{Hash, djb};
use super::md5;

/// How a number becomes a server of a farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// magent's own: modulo the number of servers.
    Modulo,
    /// magent's own circle.
    Ketama,
    /// libmemcached's default.
    LibmemcachedModula,
    /// `MEMCACHED_BEHAVIOR_KETAMA`.
    LibmemcachedKetama,
    /// `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`, PHP's `OPT_LIBKETAMA_COMPATIBLE`.
    LibmemcachedKetamaWeighted,
    TwemproxyModula,
    /// twemproxy's default.
    TwemproxyKetama,
}

impl Distribution {
    /// All, by what they are called in settings and statistics; the first is the default.
    pub const CHOICES: [(&'static str, Distribution); 7] = [
        ("modulo", Distribution::Modulo),
        ("ketama", Distribution::Ketama),
        ("libmemcached-modula", Distribution::LibmemcachedModula),
        ("libmemcached-ketama", Distribution::LibmemcachedKetama),
        ("libmemcached-ketama-weighted", Distribution::LibmemcachedKetamaWeighted),
        ("twemproxy-modula", Distribution::TwemproxyModula),
        ("twemproxy-ketama", Distribution::TwemproxyKetama),
    ];

    pub fn word(self) -> &'static str {
        let choice = Self::CHOICES.iter().find(|(_, distribution)| *distribution == self);
        choice.map_or("", |(word, _)| word)
    }

    /// Whether servers have points on a circle, rather than places in a row.
    pub fn is_circle(self) -> bool {
        match self {
            Self::Modulo | Self::LibmemcachedModula | Self::TwemproxyModula => false,
            Self::Ketama | Self::LibmemcachedKetama | Self::LibmemcachedKetamaWeighted | Self::TwemproxyKetama => true,
        }
    }

    /// Whether a server may have a name that is hashed in its address's place.
    pub fn knows_names(self) -> bool {
        matches!(self, Self::TwemproxyModula | Self::TwemproxyKetama)
    }

    /// What the weights of a farm may add up to where each unit is a place, or as many points as a server without a weight has:
    /// a reload computes with all of them while clients wait. None where weights are shares of a fixed number of points.
    pub fn weights_max(self) -> Option<u64> {
        match self {
            Self::Modulo | Self::TwemproxyModula => Some(1000),
            Self::Ketama => Some(200),
            Self::LibmemcachedModula | Self::LibmemcachedKetama => None,
            Self::LibmemcachedKetamaWeighted | Self::TwemproxyKetama => None,
        }
    }

    fn default_hash(self) -> Hash {
        match self {
            Self::Modulo => Hash::Djb,
            Self::Ketama | Self::LibmemcachedKetamaWeighted => Hash::Md5,
            Self::LibmemcachedModula | Self::LibmemcachedKetama => Hash::OneAtATime,
            Self::TwemproxyModula | Self::TwemproxyKetama => Hash::Fnv1aIn64,
        }
    }
}

/// The characters between which a key's tag stands.
pub type HashTag = (u8, u8);

/// A distribution with all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub distribution: Distribution,
    pub hash: Hash,
    /// Of a key that has a tag, only that is hashed.
    pub tag: Option<HashTag>,
    way: Way,
}

/// The same for the hot path: magent's own ways, and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Modulo,
    Ketama,
    Other,
}

impl Spread {
    /// Without `hash`, by the distribution's default.
    pub fn new(distribution: Distribution, hash: Option<Hash>, tag: Option<HashTag>) -> Self {
        let hash = hash.unwrap_or(distribution.default_hash());
        Self {
            distribution,
            hash,
            tag,
            way: match (distribution, hash, tag) {
                (Distribution::Modulo, Hash::Djb, None) => Way::Modulo,
                (Distribution::Ketama, Hash::Md5, None) => Way::Ketama,
                _ => Way::Other,
            },
        }
    }

    /// One without a tag, with its default hash.
    pub fn plain(distribution: Distribution) -> Self {
        Self::new(distribution, None, None)
    }

    pub fn is_circle(&self) -> bool {
        self.distribution.is_circle()
    }

    /// Whether a key has the same hash by both, on rings of the same kind.
    pub fn hashes_like(&self, other: &Self) -> bool {
        (self.hash, self.tag, self.is_circle()) == (other.hash, other.tag, other.is_circle())
    }

    pub fn hash(&self, key: &[u8]) -> KeyHash {
        match self.way {
            Way::Modulo => modulo(key),
            Way::Ketama => ketama(md5::first(key), key),
            Way::Other => self.hash_otherwise(key),
        }
    }

    /// Whether four keys are hashed in little more time than one.
    pub fn hashes_side_by_side(&self) -> bool {
        self.hash == Hash::Md5
    }

    /// The same of four keys.
    pub fn hashes(&self, keys: [&[u8]; 4]) -> [KeyHash; 4] {
        if !self.hashes_side_by_side() {
            return keys.map(|key| self.hash(key));
        }
        let hashed = self.tag.map_or(keys, |tag| keys.map(|key| tagged(key, tag)));
        let numbers = md5::first_of_four(hashed);
        std::array::from_fn(|at| match self.distribution {
            Distribution::Ketama => ketama(numbers[at], hashed[at]),
            _ => KeyHash::at(self.is_circle(), numbers[at]),
        })
    }

    #[inline(never)]
    fn hash_otherwise(&self, key: &[u8]) -> KeyHash {
        let key = self.tag.map_or(key, |tag| tagged(key, tag));
        match (self.distribution, self.hash) {
            (Distribution::Ketama, Hash::Md5) => ketama(md5::first(key), key),
            (_, hash) => KeyHash::at(self.is_circle(), hash.of(key)),
        }
    }
}

#[inline]
fn modulo(key: &[u8]) -> KeyHash {
    KeyHash {
        djb: djb(key),
        ketama: 0,
    }
}

/// By the first number of its md5. A hash of 0 is none here, as in magent 0.7: such a key goes by modulo.
#[inline]
fn ketama(ketama: u32, key: &[u8]) -> KeyHash {
    let djb = if ketama == 0 { djb(key) } else { 0 };
    KeyHash { djb, ketama }
}

/// What is hashed of a key: what stands between the first opening character and the first closing one behind it, if anything
/// does, or else the whole key (twemproxy's `server_pool_idx`).
fn tagged(key: &[u8], (open, close): HashTag) -> &[u8] {
    let Some(start) = key.iter().position(|&byte| byte == open) else {
        return key;
    };
    let behind = &key[start + 1..];
    match behind.iter().position(|&byte| byte == close) {
        None | Some(0) => key,
        Some(end) => &behind[..end],
    }
}

/// The hash of a key, computed once and used on the ring of each farm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyHash {
    /// What is taken modulo the number of places; of magent's own distributions, djb's hash.
    pub(super) djb: u32,
    /// The place on the circle; 0 if there is none.
    pub(super) ketama: u32,
}

impl KeyHash {
    /// The hash of the keys, if any, that fall on this number: on this place of the circle, or on this one modulo the
    /// number of servers. On the circle 0 counts as 1, between which there is a point once in four billion.
    pub fn at(is_circle: bool, number: u32) -> Self {
        match is_circle {
            false => Self { djb: number, ketama: 0 },
            true => Self {
                djb: 0,
                ketama: number.max(1),
            },
        }
    }

    /// Whether the circle says where the key belongs, if there is one.
    pub fn is_on_ring(self) -> bool {
        self.ketama != 0
    }

    /// Where on the circle the key is; 0 if the circle does not say where it belongs.
    pub fn point(self) -> u32 {
        self.ketama
    }

    /// One of 65,536 classes of keys: other bits than those that chose the server.
    pub fn slot(self) -> u16 {
        ((self.djb ^ self.ketama).wrapping_mul(0x9E37_79B1) >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tag_that_is_closed_and_not_empty_is_hashed() {
        for (key, hashed) in [
            ("user:{7}:name", "7"),
            ("{7}", "7"),
            ("{7}{8}", "7"),
            ("{{7}}", "{7"),
            ("{}", "{}"),
            ("{}{7}", "{}{7}"),
            ("{7", "{7"),
            ("7}", "7}"),
            ("}7{8", "}7{8"),
            ("7", "7"),
        ] {
            assert_eq!(tagged(key.as_bytes(), (b'{', b'}')), hashed.as_bytes(), "{key}");
        }
        assert_eq!(tagged(b"x$7$y", (b'$', b'$')), b"7");
        assert_eq!(tagged(b"$7", (b'$', b'$')), b"$7");
    }

    /// By every distribution and hash, with a tag and without, of keys with a tag and without, short and long ones.
    #[test]
    fn keys_that_are_hashed_four_at_a_time_have_the_hash_that_each_has_alone() {
        let long = "long".repeat(20);
        let keys = ["", "key", "{7}", "user:{7}:name", "\u{e4}\u{20ac}", &long, "{}x"].map(str::as_bytes);
        for (_, distribution) in Distribution::CHOICES {
            for (_, hash) in Hash::CHOICES {
                for tag in [None, Some((b'{', b'}'))] {
                    let spread = Spread::new(distribution, Some(hash), tag);
                    for four in keys.windows(4) {
                        let four = [four[0], four[1], four[2], four[3]];
                        assert_eq!(spread.hashes(four), four.map(|key| spread.hash(key)), "{spread:?}");
                    }
                }
            }
        }
    }
}
