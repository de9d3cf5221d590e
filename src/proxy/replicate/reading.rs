//! Retrievals in progress, which what their own client asks later must not overtake.
//!
//! Requests of one client are in flight together, and an earlier retrieval may have to ask the backup yet: a write behind it
//! that it could see must wait. Which of a client's many retrievals in flight have a key is looked up in a table of counts, for
//! a walk through them at each write would make a pipeline cost the square of its length.

/// What of a client is in progress.
#[derive(Clone, Copy)]
pub enum Reads<'a> {
    /// A retrieval of this key.
    Key(&'a [u8]),
    /// One of keys that are not told apart.
    Many,
    /// One of which keys have not been asked for.
    Unasked,
    /// One that has asked for keys where they are written and not read.
    Elsewhere,
}

/// How many kinds of these there are.
const CLASSES: usize = 4;

/// A retrieval in progress, to be ended with [`Readings::end`].
#[must_use = "what is over is not to be waited for"]
#[derive(Debug)]
pub struct Reading(Place);

#[cfg(debug_assertions)]
impl Drop for Reading {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a retrieval is still waited for");
    }
}

/// Where a retrieval is counted, and what tells it from others that are counted there.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u16,
    mark: u32,
    class: u8,
}

/// How many retrievals in progress have a slot by the hash of client and key, and the sum of their marks.
pub struct Readings {
    counts: Box<[[u32; 2]]>,
    /// How many are in progress of each class: of most of them none, nearly always.
    of_class: [u32; CLASSES],
}

impl Reads<'_> {
    /// What kind of thing it is.
    #[inline]
    fn class(&self) -> usize {
        match self {
            Reads::Elsewhere => 0,
            Reads::Key(_) => 1,
            Reads::Many => 2,
            Reads::Unasked => 3,
        }
    }
}

impl Readings {
    /// A table of so many counts, 1 to 65,536.
    pub fn new(counts: usize) -> Self {
        Self {
            counts: vec![[0; 2]; counts].into_boxed_slice(),
            of_class: [0; CLASSES],
        }
    }

    fn place(&self, client: usize, what: Reads<'_>) -> Place {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let key: &[u8] = match what {
            Reads::Key(key) => key,
            Reads::Many | Reads::Unasked | Reads::Elsewhere => b"",
        };
        let mut hash = ((client * CLASSES + what.class()) as u64).wrapping_mul(FACTOR);
        for part in key.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
            hash ^= hash >> 29;
        }
        Place {
            slot: ((hash >> 40) % self.counts.len() as u64) as u16,
            mark: hash as u32,
            class: what.class() as u8,
        }
    }

    pub fn begin(&mut self, client: usize, what: Reads<'_>) -> Reading {
        let place = self.place(client, what);
        self.of_class[usize::from(place.class)] += 1;
        let [count, marks] = &mut self.counts[usize::from(place.slot)];
        *count += 1;
        *marks = marks.wrapping_add(place.mark);
        Reading(place)
    }

    /// How many are in progress.
    pub fn total(&self) -> usize {
        let total = self
            .counts
            .iter()
            .fold(0_u32, |sum, &[count, _]| sum.wrapping_add(count));
        total as usize
    }

    pub fn end(&mut self, reading: Reading) {
        let place = reading.0;
        std::mem::forget(reading);
        self.of_class[usize::from(place.class)] -= 1;
        let [count, marks] = &mut self.counts[usize::from(place.slot)];
        *count -= 1;
        *marks = marks.wrapping_sub(place.mark);
    }

    /// Whether this is in progress. Where several retrievals share a count it is taken to be, which happens to one in some
    /// hundred while a thousand are in progress.
    #[inline]
    pub fn may_have(&self, client: usize, what: Reads<'_>) -> bool {
        self.of_class[what.class()] > 0 && self.is_counted(client, what)
    }

    fn is_counted(&self, client: usize, what: Reads<'_>) -> bool {
        let place = self.place(client, what);
        let [count, marks] = self.counts[usize::from(place.slot)];
        count > 1 || count == 1 && marks == place.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retrieval_is_found_as_long_as_it_is_counted() {
        let long = Reads::Key(b"a longer key than that");
        let mut readings = Readings::new(1 << 14);
        let [one, same, other] = [1, 1, 2].map(|client| readings.begin(client, long));
        let has = |readings: &Readings, client| readings.may_have(client, long);
        assert!(has(&readings, 1) && has(&readings, 2) && !has(&readings, 3));
        for what in [Reads::Key(b"another"), Reads::Many, Reads::Unasked] {
            assert!(!readings.may_have(1, what));
        }
        readings.end(one);
        assert!(has(&readings, 1));
        readings.end(same);
        assert!(!has(&readings, 1) && has(&readings, 2));
        readings.end(other);
        assert!(readings.counts.iter().all(|&count| count == [0, 0]));
    }

    #[test]
    fn retrievals_that_share_a_count_are_told_apart_while_one_is_there() {
        let mut readings = Readings::new(1 << 14);
        let taken = |readings: &Readings| {
            let clients = 2..100_000;
            clients.filter(|&client| readings.may_have(client, Reads::Many)).count()
        };
        let one = readings.begin(1, Reads::Many);
        assert_eq!(taken(&readings), 0);
        let same = readings.begin(1, Reads::Many);
        assert!((1..20).contains(&taken(&readings)));
        for reading in [one, same] {
            readings.end(reading);
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a retrieval is still waited for")]
    fn a_retrieval_is_ended() {
        drop(Readings::new(1 << 14).begin(1, Reads::Many));
    }
}
