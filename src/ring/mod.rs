//! Key distribution: which server of a farm a key belongs to, exactly as by those who spread keys before magent did.
//!
//! Two kinds. *Modulo*: a number of the key, modulo the number of places in a row; a server has one place, or as many as its
//! weight. *Ketama*: a consistent hash; each server owns points on a circle of 32 bits, and a key belongs to the first point at
//! or after its own hash.
//!
//! magent 0.7's are the default and its `-k`. magent 0.6 kept only eight bits of the key's hash, which sent nearly every key to
//! one server; that is not reproduced. libmemcached's and twemproxy's are for who comes from there: what they share is that a
//! server at memcached's own port is hashed without it. tests/vectors says where the originals sent keys.

pub mod hash;
mod md5;
mod spread;

use hash::Hash;
pub use spread::{Distribution, HashTag, KeyHash, Spread};

/// magent's own ketama: digests per server and unit of weight; each gives four points.
const DIGESTS_PER_SERVER: usize = 500;
/// libmemcached's ketama without weights: points per server (`MEMCACHED_POINTS_PER_SERVER`).
const POINTS_PER_SERVER: usize = 100;
/// The ketama that libmemcached and twemproxy share: points per server on average (`MEMCACHED_POINTS_PER_SERVER_KETAMA`).
const POINTS_ON_AVERAGE: f32 = 160.0;
/// The port that is not hashed.
const UNHASHED_PORT: u16 = 11211;

/// A server as a ring knows it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The host as written, without brackets, or a unix socket's path.
    pub host: &'a str,
    /// 0 for a unix socket.
    pub port: u16,
    /// At least 1.
    pub weight: u32,
    /// twemproxy's name of it, hashed in place of host and port.
    pub name: Option<&'a str>,
}

impl<'a> Member<'a> {
    /// One without weight and name.
    pub fn plain(host: &'a str, port: u16) -> Self {
        Self {
            host,
            port,
            weight: 1,
            name: None,
        }
    }

    /// What libmemcached and twemproxy hash of it.
    fn hashed(&self, distribution: Distribution) -> String {
        match (self.name, self.port) {
            (Some(name), _) => name.to_owned(),
            (None, UNHASHED_PORT) => self.host.to_owned(),
            // The colon before a port that is not there.
            (None, 0) if distribution.knows_names() => format!("{}:", self.host),
            (None, port) => format!("{}:{port}", self.host),
        }
    }
}

/// Maps the hash of a key to a place in one farm; [`places`] says whose that is.
pub struct Ring {
    places: u32,
    /// Ketama's points in ascending order, with the place that owns each; empty for modulo.
    points: Vec<(u32, u16)>,
}

/// Which of these members has each place, by its number: on a circle each has its own, in a row as many as its weight.
pub fn places(spread: &Spread, members: &[Member<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    if spread.distribution == Distribution::TwemproxyModula {
        // twemproxy puts them into this order, to find names that are there twice (`string_compare`).
        order.sort_by_cached_key(|&at| {
            let name = members[at].hashed(spread.distribution);
            (name.len(), name)
        });
    }
    let times = |at: &usize| match spread.distribution {
        Distribution::Modulo | Distribution::TwemproxyModula => members[*at].weight as usize,
        _ => 1,
    };
    order
        .iter()
        .flat_map(|at| std::iter::repeat_n(*at, times(at)))
        .collect()
}

impl Ring {
    /// The ring of these members, in the order of the command line; there are 1 to 65,535 of them.
    pub fn new(spread: &Spread, members: &[Member<'_>]) -> Self {
        let has_weights = members.iter().any(|member| member.weight > 1);
        let mut points = match spread.distribution {
            distribution if !distribution.is_circle() => Vec::new(),
            Distribution::Ketama => own_points(members),
            // With weights libmemcached's is the weighted one, but for the hash of keys.
            Distribution::LibmemcachedKetama if !has_weights => unweighted_points(spread.hash, members),
            distribution => shared_points(distribution, members),
        };
        // Where two servers share a point, the one named first keeps it.
        points.sort();
        Self {
            places: places(spread, members).len() as u32,
            points,
        }
    }

    /// The place that owns a key.
    pub fn owner(&self, hash: KeyHash) -> usize {
        self.owners(hash).next().unwrap_or(0)
    }

    /// The places met when walking round the ring from the key on, starting with its owner; they repeat.
    pub fn owners(&self, hash: KeyHash) -> impl Iterator<Item = usize> + '_ {
        self.from(self.start(hash), hash.is_on_ring())
    }

    /// Where a key is on the ring: the number of a point, behind the last if there is none after it, or of a place.
    pub fn start(&self, hash: KeyHash) -> usize {
        match !self.points.is_empty() && hash.is_on_ring() {
            true => self.points.partition_point(|&(point, _)| point < hash.ketama),
            false => (hash.djb % self.places) as usize,
        }
    }

    /// The places met from one on, once round the ring: by the points, if there are any, or one after the other.
    pub fn from(&self, start: usize, by_points: bool) -> impl Iterator<Item = usize> + '_ {
        let by_points = by_points && !self.points.is_empty();
        let steps = if by_points {
            self.points.len()
        } else {
            self.places as usize
        };
        (0..steps).map(move |step| {
            let at = start + step; // less than twice round
            let at = if at < steps { at } else { at - steps };
            if by_points { usize::from(self.points[at].1) } else { at }
        })
    }

    /// Gives the memory of the points back. Without them only a key that is not on the circle has its place.
    pub fn forget_points(&mut self) {
        self.points = Vec::new();
    }

    /// Ketama's points in ascending order, with the place that owns each; none for modulo.
    pub fn points(&self) -> &[(u32, u16)] {
        &self.points
    }
}

fn own_points(members: &[Member<'_>]) -> Vec<(u32, u16)> {
    let digests = |member: &Member<'_>| DIGESTS_PER_SERVER * member.weight as usize;
    let mut points = Vec::with_capacity(members.iter().map(digests).sum::<usize>() * 4);
    for (place, member) in members.iter().enumerate() {
        let Member { host, port, .. } = member;
        for digest in 0..digests(member) {
            let text = format!("{host}-{port}-{digest}");
            points.extend(md5::digest(text.as_bytes()).map(|point| (point, place as u16)));
        }
    }
    points
}

/// libmemcached's `update_continuum` without weights: a point a hash, by the hash of keys.
fn unweighted_points(hash: Hash, members: &[Member<'_>]) -> Vec<(u32, u16)> {
    let mut points = Vec::new();
    for (place, member) in members.iter().enumerate() {
        let name = member.hashed(Distribution::LibmemcachedKetama);
        points.extend((0..POINTS_PER_SERVER).map(|number| {
            let text = format!("{name}-{number}");
            (hash.of(text.as_bytes()), place as u16)
        }));
    }
    points
}

/// libmemcached's `update_continuum` with weights, and twemproxy's `ketama_update`: each server's share of 160 points a server,
/// in whole digests of four. Both compute in floats, and so the last digit counts. One of very little weight has none.
fn shared_points(distribution: Distribution, members: &[Member<'_>]) -> Vec<(u32, u16)> {
    let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let mut points = Vec::new();
    for (place, member) in members.iter().enumerate() {
        let name = member.hashed(distribution);
        let share = member.weight as f32 / total as f32;
        let digests = share * POINTS_ON_AVERAGE / 4.0 * members.len() as f32;
        let digests = (f64::from(digests) + 0.000_000_000_1) as f32;
        for digest in 0..digests as u32 {
            let text = format!("{name}-{digest}");
            points.extend(md5::digest(text.as_bytes()).map(|point| (point, place as u16)));
        }
    }
    points
}
