//! Key distribution: which server of a farm a key belongs to, exactly as in magent 0.7.
//!
//! Two ways, chosen by `-k`. *Modulo*: a djb hash of the key, modulo the number of servers. *Ketama*: a consistent hash;
//! each server owns 2,000 points on a circle of 32 bits, and a key belongs to the first point at or after its own hash.
//! magent 0.6 kept only eight bits of the key's hash, which sent nearly every key to one server; that is not reproduced.

/// Digests per server; each gives four points.
const DIGESTS_PER_SERVER: usize = 500;

/// How keys are spread over a farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    Modulo,
    Ketama,
}

/// The hash of a key, computed once and used on the ring of each farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    djb: u32,
    ketama: u32,
}

impl KeyHash {
    pub fn of(distribution: Distribution, key: &[u8]) -> Self {
        match distribution {
            Distribution::Modulo => Self {
                djb: djb(key),
                ketama: 0,
            },
            Distribution::Ketama => {
                let ketama = points_of(&md5::compute(key).0)[0];
                let djb = if ketama == 0 { djb(key) } else { 0 };
                Self { djb, ketama }
            }
        }
    }

    /// The hash of the keys, if any, that fall on this number: on this place of the circle, or on this one modulo the
    /// number of servers.
    pub fn at(distribution: Distribution, number: u32) -> Self {
        match distribution {
            Distribution::Modulo => Self { djb: number, ketama: 0 },
            Distribution::Ketama => Self { djb: 0, ketama: number },
        }
    }

    /// Whether the circle says where the key belongs, if there is one.
    pub fn is_on_ring(self) -> bool {
        self.ketama != 0
    }

    /// One of 65,536 classes of keys: other bits than those that chose the server.
    pub fn slot(self) -> u16 {
        ((self.djb ^ self.ketama).wrapping_mul(0x9E37_79B1) >> 16) as u16
    }
}

/// djb's hash times 33 over signed bytes, in 32 bits, top bit cleared (the source of the rule: magent 0.7's C code).
fn djb(key: &[u8]) -> u32 {
    let hash = key.iter().fold(5381_u32, |hash, &byte| {
        hash.wrapping_mul(33).wrapping_add_signed(i32::from(byte as i8))
    });
    hash & 0x7fff_ffff
}

fn points_of(digest: &[u8; 16]) -> [u32; 4] {
    std::array::from_fn(|i| {
        u32::from_le_bytes([digest[4 * i], digest[4 * i + 1], digest[4 * i + 2], digest[4 * i + 3]])
    })
}

/// Maps the hash of a key to a server of one farm, named by its place in the farm.
pub struct Ring {
    servers: usize,
    /// Ketama's points in ascending order, with the server that owns each; empty for modulo.
    points: Vec<(u32, u16)>,
}

impl Ring {
    /// The ring of servers with these names, in the order of the command line. `names` are host and port; there are 1 to
    /// 65,535 of them.
    pub fn new(distribution: Distribution, names: &[(String, u16)]) -> Self {
        let mut points = Vec::new();
        if distribution == Distribution::Ketama {
            points.reserve(names.len() * DIGESTS_PER_SERVER * 4);
            for (server, (host, port)) in names.iter().enumerate() {
                for digest in 0..DIGESTS_PER_SERVER {
                    let text = format!("{host}-{port}-{digest}");
                    points.extend(points_of(&md5::compute(text).0).map(|point| (point, server as u16)));
                }
            }
            // Where two servers share a point, the one named first keeps it.
            points.sort();
        }
        Self {
            servers: names.len(),
            points,
        }
    }

    /// The server that owns a key.
    pub fn owner(&self, hash: KeyHash) -> usize {
        self.owners(hash).next().unwrap_or(0)
    }

    /// The servers met when walking round the ring from the key on, starting with its owner; servers repeat.
    pub fn owners(&self, hash: KeyHash) -> impl Iterator<Item = usize> + '_ {
        self.from(self.start(hash), hash.is_on_ring())
    }

    /// The place of a key on the ring: the number of a point, behind the last if there is none after it, or of a server.
    pub fn start(&self, hash: KeyHash) -> usize {
        match !self.points.is_empty() && hash.is_on_ring() {
            true => self.points.partition_point(|&(point, _)| point < hash.ketama),
            false => hash.djb as usize % self.servers,
        }
    }

    /// The servers met from a place on, once round the ring: by the points, if there are any, or one after the other.
    pub fn from(&self, start: usize, by_points: bool) -> impl Iterator<Item = usize> + '_ {
        let by_points = by_points && !self.points.is_empty();
        let steps = if by_points { self.points.len() } else { self.servers };
        (0..steps).map(move |step| {
            let at = (start + step) % steps;
            if by_points { usize::from(self.points[at].1) } else { at }
        })
    }

    /// Ketama's points in ascending order, with the server that owns each; none for modulo.
    pub fn points(&self) -> &[(u32, u16)] {
        &self.points
    }
}
