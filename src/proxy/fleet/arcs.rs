//! The circle of ketama, cut by the points of both farms' rings into arcs: all keys of one have the same servers.
//!
//! Where a key's arc is, a table says: for each of the stretches of equal length that the circle is divided into, which is the
//! first arc that ends in it or behind it. With about half as many stretches as there are arcs, two or three are left to choose from.

use std::collections::HashMap;

/// The servers of a key: its primary, and its backup if there is one.
pub type Owners = (usize, Option<usize>);

/// The arcs of a circle and their owners.
pub struct Arcs {
    /// In ascending order; the last one ends where the circle does. Neighbours have other owners.
    arcs: Box<[Arc]>,
    /// For each stretch, how many arcs end before it; and at last how many there are.
    starts: Box<[u32]>,
    /// Turns a number on the circle into that of its stretch.
    shift: u32,
    /// All that arcs have for owners, each once.
    pairs: Vec<Owners>,
}

/// An arc, from where the one before it ends.
#[derive(Clone, Copy)]
struct Arc {
    /// The last number that belongs to it.
    end: u32,
    /// Its owners' place among the pairs.
    pair: u32,
}

impl Arcs {
    /// Of arcs in ascending order, no more than `count_max`, by the last number of each, which at last is the greatest there is.
    pub fn new(each: impl Iterator<Item = (u32, Owners)>, count_max: usize) -> Self {
        let mut arcs: Vec<Arc> = Vec::with_capacity(count_max);
        let mut pairs = Vec::new();
        let mut known = HashMap::new();
        for (end, owners) in each {
            let pair = *known.entry(owners).or_insert(pairs.len() as u32);
            if pair as usize == pairs.len() {
                pairs.push(owners);
            }
            match arcs.last_mut() {
                Some(last) if last.pair == pair => last.end = end,
                _ => arcs.push(Arc { end, pair }),
            }
        }
        let stretches = (arcs.len().next_power_of_two() / 2).max(2);
        let shift = u32::BITS - stretches.ilog2();
        let mut starts = Vec::with_capacity(stretches + 1);
        for (at, arc) in arcs.iter().enumerate() {
            // This is the first one that ends in its stretch, or behind those before it that have none.
            while starts.len() <= (arc.end >> shift) as usize {
                starts.push(at as u32);
            }
        }
        starts.push(arcs.len() as u32);
        Self {
            arcs: arcs.into(),
            starts: starts.into(),
            shift,
            pairs,
        }
    }

    /// Whose the keys at this number on the circle are.
    #[inline(always)]
    pub fn owners(&self, number: u32) -> Owners {
        let stretch = (number >> self.shift) as usize;
        let start = self.starts[stretch] as usize;
        let first = self.arcs[start];
        let pair = match number <= first.end {
            true => first.pair,
            false => self.pair_behind(start, stretch, number),
        };
        self.pairs[pair as usize]
    }

    /// The pair where the number lies behind the first arc that ends in its stretch.
    #[inline(never)]
    fn pair_behind(&self, start: usize, stretch: usize, number: u32) -> u32 {
        let others = &self.arcs[start..self.starts[stretch + 1] as usize];
        let at = start + others.partition_point(|arc| arc.end < number);
        self.arcs[at].pair
    }

    /// All that arcs have for owners, each once.
    pub fn pairs(&self) -> &[Owners] {
        &self.pairs
    }

    /// The last number of each, and whose it is.
    pub fn each(&self) -> impl Iterator<Item = (u32, Owners)> + '_ {
        self.arcs.iter().map(|arc| (arc.end, self.pairs[arc.pair as usize]))
    }
}

/// Where two circles are laid over each other: the owners by each of them, of every arc.
pub fn each_of_both<'a>(before: &'a Arcs, after: &'a Arcs) -> impl Iterator<Item = (Owners, Owners)> + 'a {
    let (mut old, mut new) = (before.each().peekable(), after.each().peekable());
    std::iter::from_fn(move || {
        let (&(old_end, was), &(new_end, is)) = (old.peek()?, new.peek()?);
        if old_end <= new_end {
            old.next();
        }
        if new_end <= old_end {
            new.next();
        }
        Some((was, is))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(arcs: &[(u32, Owners)], number: u32) {
        let at = arcs.partition_point(|&(end, _)| end < number);
        assert_eq!(
            Arcs::new(arcs.iter().copied(), arcs.len()).owners(number),
            arcs[at].1,
            "{number} of {arcs:?}"
        );
    }

    /// In any place, all in one stretch, and with neighbours that have the same owners.
    fn some_arcs() -> impl Strategy<Value = Vec<(u32, Owners)>> {
        let end = prop_oneof![any::<u32>(), 0..0x8000_u32, Just(0), Just(u32::MAX - 1)];
        let owners = (0..3_usize, prop_oneof![Just(None), (3..5_usize).prop_map(Some)]);
        let ends = proptest::collection::btree_map(end, owners.clone(), 0..300);
        (ends, owners).prop_map(|(mut arcs, last)| {
            arcs.insert(u32::MAX, last);
            arcs.into_iter().collect()
        })
    }

    proptest! {
        #[test]
        fn every_number_has_the_owners_of_the_first_arc_that_does_not_end_before_it(
            arcs in some_arcs(), numbers: [u32; 8],
        ) {
            for (end, _) in arcs.clone() {
                for number in [end.wrapping_sub(1), end, end.wrapping_add(1)] {
                    check(&arcs, number);
                }
            }
            for number in numbers {
                check(&arcs, number);
                check(&arcs, number & 0xffff);
            }
        }

        #[test]
        fn two_circles_over_each_other_have_the_owners_of_each(before in some_arcs(), after in some_arcs()) {
            let (old, new) = (Arcs::new(before.iter().copied(), 0), Arcs::new(after.iter().copied(), 0));
            let mut expected: Vec<(Owners, Owners)> = Vec::new();
            let mut ends: Vec<u32> = old.each().chain(new.each()).map(|(end, _)| end).collect();
            ends.sort_unstable();
            ends.dedup();
            expected.extend(ends.iter().map(|&end| (old.owners(end), new.owners(end))));
            prop_assert_eq!(each_of_both(&old, &new).collect::<Vec<_>>(), expected);
        }
    }
}
