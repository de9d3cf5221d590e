//! Which servers hold which keys: the rings of both farms laid over each other. What servers hold keys together, and who
//! gets keys by new settings, is computed from the rings themselves, not from samples of keys: a pair that was left out
//! would not be filled, or would serve what is old.
//!
//! By ketama the points of all rings cut the circle into arcs; the keys of an arc have the same servers on each ring. By
//! modulo a key's place in a farm of n is its hash modulo n, and places in several farms are possible together if each two
//! of them are: if they are equal modulo the greatest common divisor of the two farms' sizes (Chinese remainder theorem).
//! The one hash in four billion with which ketama falls back to modulo is left out: where it leads says nothing of the
//! ring.

use crate::proxy::fleet::arcs::{Arcs, Owners, each_of_both};
use crate::ring::{KeyHash, Ring, Spread};
use std::collections::{BTreeSet, HashSet};

/// More steps than this are not taken to find who gets keys in farms that are spread by modulo: everybody then may.
const STEPS_MAX: usize = 50_000_000;

/// A farm's ring, and for each of its places the index of the server that has it among all servers.
pub type FarmRing = (Ring, Vec<usize>);

pub struct Layout {
    pub spread: Spread,
    pub primaries: FarmRing,
    pub backups: Option<FarmRing>,
    /// By ketama: whose each arc is.
    arcs: Option<Arcs>,
}

impl Layout {
    pub fn new(spread: Spread, primaries: FarmRing, backups: Option<FarmRing>) -> Self {
        Self::on_rings(spread, primaries, backups).cut_into_arcs()
    }

    /// One that looks on the rings for each key.
    fn on_rings(spread: Spread, primaries: FarmRing, backups: Option<FarmRing>) -> Self {
        Self {
            spread,
            primaries,
            backups,
            arcs: None,
        }
    }

    /// By ketama the arcs say all that the points of the rings do, which are many.
    fn cut_into_arcs(mut self) -> Self {
        if self.spread.is_circle() {
            self.arcs = Some(self.arcs());
            for (ring, _) in [Some(&mut self.primaries), self.backups.as_mut()].into_iter().flatten() {
                ring.forget_points();
            }
        }
        self
    }

    /// The servers that a key belongs to. Its backup is found on the backups' own ring; if that is the primary itself,
    /// the next server round the ring is taken, so that two copies are never on one server when there are two.
    #[inline]
    pub fn owners(&self, hash: KeyHash) -> Owners {
        match &self.arcs {
            Some(arcs) if hash.is_on_ring() => arcs.owners(hash.point()),
            _ => self.owners_by_rings(hash),
        }
    }

    /// The same, looked up on the rings themselves.
    #[inline(never)]
    fn owners_by_rings(&self, hash: KeyHash) -> Owners {
        let (ring, _) = &self.primaries;
        let start = self.backups.as_ref().map_or(0, |(ring, _)| ring.start(hash));
        self.owners_at(ring.start(hash), start, hash.is_on_ring())
    }

    /// The other server that holds a key that a server holds.
    pub fn partner(&self, key: &[u8], server: usize) -> Option<usize> {
        match self.owners(self.spread.hash(key)) {
            (primary, backup) if primary == server => backup,
            (primary, backup) => backup.filter(|&backup| backup == server).map(|_| primary),
        }
    }

    /// Whether a server holds a key.
    pub fn has(&self, key: &[u8], server: usize) -> bool {
        holds(self.owners(self.spread.hash(key)), server)
    }

    /// The same as [`owners`](Self::owners) for places on the rings: points by ketama, servers by modulo.
    #[inline(always)]
    fn owners_at(&self, on_primaries: usize, on_backups: usize, by_points: bool) -> Owners {
        let (ring, servers) = &self.primaries;
        let primary = ring.from(on_primaries, by_points).next().map_or(0, |at| servers[at]);
        let backup = self.backups.as_ref().and_then(|(ring, servers)| {
            if let [only] = servers[..] {
                return (only != primary).then_some(only); // there is no need to walk all round to find no other
            }
            let is_other = |server: &usize| *server != primary;
            let mut round = ring.from(on_backups, by_points).map(|at| servers[at]);
            // The weight of all others may be too little for a point.
            round.find(is_other).or_else(|| servers.iter().copied().find(is_other))
        });
        (primary, backup)
    }

    /// All servers, in both farms.
    pub fn servers(&self) -> impl Iterator<Item = usize> + '_ {
        let backups = self.backups.iter().flat_map(|(_, servers)| servers);
        self.primaries.1.iter().chain(backups).copied()
    }

    /// All that a key's servers may be.
    pub fn pairs(&self) -> HashSet<Owners> {
        match &self.arcs {
            Some(arcs) => arcs.pairs().iter().copied().collect(),
            None => {
                let places = self.places();
                places
                    .map(|(primary, backup)| self.owners_at(primary, backup, false))
                    .collect()
            }
        }
    }

    /// The servers that hold keys now that they did not hold before, each with the partner that holds them too.
    pub fn gained(&self, before: &Layout) -> BTreeSet<(usize, usize)> {
        let mut gained = BTreeSet::new();
        match (&before.arcs, &self.arcs) {
            // The two hashes of a key have nothing to do with each other: whatever was possible is possible with
            // whatever is.
            _ if !self.spread.hashes_like(&before.spread) => {
                let old = before.pairs();
                for (server, partner) in self.pairs().into_iter().flat_map(both_ways) {
                    if old.iter().any(|&owners| !holds(owners, server)) {
                        gained.insert((server, partner));
                    }
                }
            }
            (Some(old), Some(new)) => {
                for (was, is) in each_of_both(old, new) {
                    for (server, partner) in both_ways(is) {
                        if !holds(was, server) {
                            gained.insert((server, partner));
                        }
                    }
                }
            }
            _ => {
                let steps = self.places().count() * before.places().count();
                for place in self.places() {
                    for (server, partner) in both_ways(self.owners_at(place.0, place.1, false)) {
                        if steps > STEPS_MAX || before.may_not_hold(server, self, place) {
                            gained.insert((server, partner));
                        }
                    }
                }
            }
        }
        gained
    }

    /// By ketama: the arcs between the points of both rings.
    fn arcs(&self) -> Arcs {
        let rings = || [Some(&self.primaries), self.backups.as_ref()].into_iter().flatten();
        let points = rings().flat_map(|(ring, _)| ring.points());
        let mut ends: Vec<u32> = points.map(|&(point, _)| point).filter(|&point| point != 0).collect();
        ends.push(u32::MAX);
        ends.sort(); // of two lists that are in order already
        ends.dedup();
        let (mut on_primaries, mut on_backups) = (0, 0);
        let count = ends.len();
        let each = ends.into_iter().map(|end| {
            advance(&self.primaries.0, &mut on_primaries, end);
            if let Some((ring, _)) = &self.backups {
                advance(ring, &mut on_backups, end);
            }
            (end, self.owners_at(on_primaries, on_backups, true))
        });
        Arcs::new(each, count)
    }

    fn backup_places(&self) -> usize {
        self.backups.as_ref().map_or(1, |(_, servers)| servers.len())
    }

    /// By modulo: the places that a key may have in the two farms.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (primaries, backups) = (self.primaries.1.len(), self.backup_places());
        let common = gcd(primaries, backups);
        (0..primaries).flat_map(move |primary| {
            let possible = (primary % common..backups).step_by(common);
            possible.map(move |backup| (primary, backup))
        })
    }

    /// By modulo: whether a key with this place by the new settings may be one that a server does not hold by these.
    fn may_not_hold(&self, server: usize, new: &Layout, (new_primary, new_backup): (usize, usize)) -> bool {
        let (primaries, backups) = (self.primaries.1.len(), self.backup_places());
        let (new_primaries, new_backups) = (new.primaries.1.len(), new.backup_places());
        let possible = |farm: usize| {
            let common = gcd(farm, new_primaries);
            let other = gcd(farm, new_backups);
            let places = (new_primary % common..farm).step_by(common);
            places.filter(move |place| place % other == new_backup % other)
        };
        let common = gcd(primaries, backups);
        possible(primaries)
            .filter(|&primary| self.primaries.1[primary] != server)
            .any(|primary| {
                possible(backups)
                    .filter(|backup| backup % common == primary % common)
                    .any(|backup| !holds(self.owners_at(primary, backup, false), server))
            })
    }
}

fn holds((primary, backup): Owners, server: usize) -> bool {
    primary == server || backup == Some(server)
}

/// Each of two servers with the other.
fn both_ways((primary, backup): Owners) -> impl Iterator<Item = (usize, usize)> {
    let pairs = backup.map(|backup| [(primary, backup), (backup, primary)]);
    pairs.into_iter().flatten()
}

/// Moves a place on a ring to the first point at or after this one, or behind the last.
fn advance(ring: &Ring, place: &mut usize, end: u32) {
    while ring.points().get(*place).is_some_and(|&(point, _)| point < end) {
        *place += 1;
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::hash::Hash;
    use crate::ring::{Distribution, Member};
    use std::time::Instant;

    /// A layout of these servers, known by their numbers.
    fn layout(distribution: Distribution, primaries: &[usize], backups: &[usize]) -> Layout {
        uncut(distribution, primaries, backups).cut_into_arcs()
    }

    /// The same that looks on the rings.
    fn uncut(distribution: Distribution, primaries: &[usize], backups: &[usize]) -> Layout {
        let spread = Spread::plain(distribution);
        let ring = |servers: &[usize]| {
            let hosts: Vec<_> = servers.iter().map(|server| format!("10.0.0.{server}")).collect();
            let members: Vec<_> = hosts.iter().map(|host| Member::plain(host, 11211)).collect();
            (Ring::new(&spread, &members), servers.to_vec())
        };
        let backups = (!backups.is_empty()).then(|| ring(backups));
        Layout::on_rings(spread, ring(primaries), backups)
    }

    /// Layouts of farms that differ, overlap, have one server, or no backups; fewer of those by ketama, which takes its time
    /// to try out.
    fn layouts(distribution: Distribution) -> Vec<Layout> {
        let uncut = uncut_layouts(distribution).into_iter();
        uncut.map(Layout::cut_into_arcs).collect()
    }

    fn uncut_layouts(distribution: Distribution) -> Vec<Layout> {
        let lists: [(&[usize], &[usize]); 12] = [
            (&[0, 1], &[2, 3]),
            (&[0, 1, 2], &[2, 0, 1]),
            (&[0], &[0]),
            (&[0, 1, 5], &[3, 2]),
            (&[0], &[]),
            (&[0], &[1]),
            (&[0, 1], &[2, 3, 4]),
            (&[0, 1, 2], &[0, 1, 2]),
            (&[0, 1, 2, 5], &[0, 1, 2]),
            (&[0, 1, 2, 3, 4, 5], &[6, 7, 8, 9]),
            (&[0, 1, 2, 3, 4, 5], &[6, 7, 8]),
            (&[0, 0, 1], &[1, 1, 0]),
        ];
        let count = if distribution.is_circle() { 5 } else { lists.len() };
        lists[..count].iter().map(|(a, b)| uncut(distribution, a, b)).collect()
    }

    /// One hash at least of every kind that there is.
    fn all_hashes(layouts: &[&Layout]) -> Vec<KeyHash> {
        match layouts[0].spread.is_circle() {
            false => (0..2520).map(|hash| KeyHash::at(false, hash)).collect(),
            true => {
                let rings = layouts.iter().flat_map(|layout| {
                    let backups = layout.backups.as_ref().map(|(ring, _)| ring);
                    [Some(&layout.primaries.0), backups].into_iter().flatten()
                });
                let points = rings.flat_map(|ring| ring.points().iter().map(|&(point, _)| point));
                let arcs = layouts.iter().filter_map(|layout| layout.arcs.as_ref());
                let points = points.chain(arcs.flat_map(|arcs| arcs.each().map(|(end, _)| end)));
                let around = points.flat_map(|point| [point.wrapping_sub(1), point, point.wrapping_add(1)]);
                let hashes = around.chain([1, u32::MAX]).filter(|&hash| hash != 0);
                hashes.map(|hash| KeyHash::at(true, hash)).collect()
            }
        }
    }

    #[test]
    fn owners_are_those_that_are_met_on_the_rings() {
        for (_, distribution) in Distribution::CHOICES {
            uncut_layouts(distribution)
                .into_iter()
                .for_each(has_the_same_owners_when_cut);
        }
    }

    fn has_the_same_owners_when_cut(layout: Layout) {
        let hashes = all_hashes(&[&layout]);
        let expected: Vec<Owners> = hashes.iter().map(|&hash| layout.owners(hash)).collect();
        let layout = layout.cut_into_arcs();
        for (hash, expected) in hashes.into_iter().zip(expected) {
            assert_eq!(layout.owners(hash), expected, "{:?} {hash:?}", layout.spread);
        }
    }

    /// Few points, which servers share; one that has none; and a hash by which all points are close together.
    #[test]
    fn owners_are_those_that_are_met_on_rings_of_any_kind() {
        for (distribution, hash, weights) in [
            (Distribution::LibmemcachedKetama, Some(Hash::Crc32), [1, 1, 1]),
            (Distribution::LibmemcachedKetama, Some(Hash::Djb), [1, 1, 1]),
            (Distribution::LibmemcachedKetamaWeighted, None, [1, 100_000, 1]),
            (Distribution::TwemproxyKetama, None, [1, 3, 60]),
            (Distribution::Ketama, Some(Hash::Crc32a), [5, 1, 2]),
        ] {
            let spread = Spread::new(distribution, hash, None);
            let ring = |servers: [usize; 3]| {
                let member = |&server: &usize| Member {
                    weight: weights[server],
                    ..Member::plain(["10.0.0.0", "10.0.0.1", "10.0.0.1"][server], 11211)
                };
                let members: Vec<_> = servers.iter().map(member).collect();
                (Ring::new(&spread, &members), servers.to_vec())
            };
            has_the_same_owners_when_cut(Layout::on_rings(spread, ring([0, 1, 2]), Some(ring([2, 0, 1]))));
        }
    }

    fn gained_by_trial(before: &Layout, after: &Layout) -> BTreeSet<(usize, usize)> {
        let mut gained = BTreeSet::new();
        for hash in all_hashes(&[before, after]) {
            for (server, partner) in both_ways(after.owners(hash)) {
                if !holds(before.owners(hash), server) {
                    gained.insert((server, partner));
                }
            }
        }
        gained
    }

    #[test]
    fn pairs_are_those_that_some_hash_has() {
        for distribution in [
            Distribution::Modulo,
            Distribution::Ketama,
            Distribution::TwemproxyKetama,
        ] {
            for layout in layouts(distribution) {
                let hashes = all_hashes(&[&layout]).into_iter();
                let expected: HashSet<Owners> = hashes.map(|hash| layout.owners(hash)).collect();
                assert_eq!(layout.pairs(), expected, "{distribution:?}");
            }
        }
    }

    #[test]
    fn who_gained_keys_is_who_some_hash_says() {
        for distribution in [
            Distribution::Modulo,
            Distribution::Ketama,
            Distribution::TwemproxyKetama,
        ] {
            let layouts = layouts(distribution);
            for (old, before) in layouts.iter().enumerate() {
                for (new, after) in layouts.iter().enumerate() {
                    let expected = gained_by_trial(before, after);
                    assert_eq!(after.gained(before), expected, "{distribution:?} {old} to {new}");
                }
            }
        }
    }

    /// magent's circle and libmemcached's weighted one: the same hash of keys, other points.
    #[test]
    fn who_gained_keys_is_who_some_hash_says_where_only_the_points_change() {
        for before in layouts(Distribution::Ketama) {
            for after in layouts(Distribution::LibmemcachedKetamaWeighted) {
                assert_eq!(after.gained(&before), gained_by_trial(&before, &after));
            }
        }
    }

    #[test]
    fn where_the_hash_of_keys_changes_what_is_possible_may_be() {
        for [after, before] in [
            [Distribution::Ketama, Distribution::Modulo],
            [Distribution::TwemproxyKetama, Distribution::LibmemcachedKetama],
            [Distribution::TwemproxyModula, Distribution::LibmemcachedModula],
        ] {
            what_is_possible_may_be(&layouts(after), &layouts(before));
        }
    }

    fn what_is_possible_may_be(after: &[Layout], before: &[Layout]) {
        for after in after {
            let pairs = after.pairs();
            for before in before {
                let mut expected = BTreeSet::new();
                for was in before.pairs() {
                    for (server, partner) in pairs.iter().copied().flat_map(both_ways) {
                        if !holds(was, server) {
                            expected.insert((server, partner));
                        }
                    }
                }
                assert_eq!(after.gained(before), expected);
            }
        }
    }

    /// The farm of which 4,096 samples of keys missed 14 pairs of 50.
    #[test]
    fn a_server_that_joins_a_large_farm_gains_keys_with_every_partner() {
        let (primaries, backups): (Vec<usize>, Vec<usize>) = ((0..50).collect(), (100..150).collect());
        let before = layout(Distribution::Ketama, &primaries, &backups);
        let after = layout(Distribution::Ketama, &[&primaries[..], &[50]].concat(), &backups);
        let started = Instant::now();
        let gained = after.gained(&before);
        let took = started.elapsed();
        let expected: BTreeSet<(usize, usize)> = backups.iter().map(|&backup| (50, backup)).collect();
        assert_eq!(gained, expected, "in {took:?}");
        let pairs = after.pairs().len();
        assert_eq!(pairs, 51 * 50, "every primary holds keys with every backup");
    }

    #[test]
    fn keys_belong_to_pairs_that_are_known() {
        for distribution in [Distribution::Modulo, Distribution::Ketama] {
            let layout = layout(distribution, &[0, 1, 2, 3, 4], &[2, 5, 6]);
            let pairs = layout.pairs();
            for key in 0..10_000 {
                let owners = layout.owners(layout.spread.hash(format!("key{key}").as_bytes()));
                assert!(pairs.contains(&owners));
            }
        }
    }
}
