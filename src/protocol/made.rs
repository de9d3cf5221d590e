//! What a request makes where there is nothing that it could change: the initial value of a count, what was to be appended.
//!
//! ```text
//! asked --nothing there--> adding --stored--> made
//!   ^                        |
//!   +---somebody was faster--+
//! ```
//! An add is decided by one server for all, so that two who make it at the same moment make it once.

use super::number::Decimal;
use super::reply::Status;
use super::request::{Options, Request};
use super::verb::Verb;

/// So often an item that is to be made, and that somebody else has made meanwhile, is changed, and made anew if it is gone again.
const ROUNDS_MAX: u8 = 4;

/// What is made, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    verb: Verb,
    key: Box<[u8]>,
    delta: u64,
    /// The number that it begins with, of a count.
    pub number: u64,
    value: Box<[u8]>,
    flags: u32,
    exptime: i64,
    options: Options,
    /// It has been asked for: what comes back is not of what was asked first.
    is_asked: bool,
    rounds: u8,
}

impl Made {
    /// What a count by `delta` begins with.
    pub fn count(verb: Verb, key: &[u8], (delta, number): (u64, u64), exptime: i64, options: Options) -> Self {
        Self {
            verb,
            key: key.into(),
            delta,
            number,
            value: Decimal::new(number).as_bytes().into(),
            flags: 0,
            exptime,
            options,
            is_asked: false,
            rounds: 0,
        }
    }

    /// What is appended, or prepended, stored as it is; who keeps its value puts that into what is to be asked.
    pub fn what_is_padded(verb: Verb, key: &[u8], (flags, exptime): (u32, i64), options: Options) -> Self {
        Self {
            flags,
            value: Box::default(),
            ..Self::count(verb, key, (0, 0), exptime, options)
        }
    }

    /// What is to be asked next, where this is what was said; None if nothing is.
    pub fn follow(&mut self, said: Status) -> Option<Request<'_>> {
        let (is_absent, is_there) = (Status::NotFound, Status::NotStored);
        let goes_on = match self.is_asked {
            true => said == is_there,
            // An append says NOT_STORED.
            false => said == is_absent || said == is_there,
        };
        if !goes_on || self.rounds >= ROUNDS_MAX {
            return None;
        }
        self.rounds += 1;
        self.is_asked = !self.is_asked;
        let (verb, value): (_, &[u8]) = match self.is_asked {
            true => (Verb::Add, &self.value),
            false if self.verb.is_storage() => (self.verb, &self.value),
            false => (self.verb, b""),
        };
        let adds = self.is_asked;
        Some(Request {
            flags: if adds { self.flags } else { 0 },
            exptime: if adds { self.exptime } else { 0 },
            value_len: value.len(),
            value,
            number: if adds { 0 } else { self.delta },
            options: self.options,
            ..Request::new(verb, &self.key)
        })
    }

    /// Whether this says that it was made.
    pub fn is_made(&self, said: Status) -> bool {
        self.is_asked && said == Status::Stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_made_and_what_somebody_has_made_is_changed() {
        let mut made = Made::count(Verb::Decr, b"k", (3, 40), 9, Options::UNIQUE);
        assert_eq!(made.follow(Status::Number), None);
        let add = made.follow(Status::NotFound).expect("an add");
        assert_eq!(
            (add.verb, add.key, add.value, add.exptime),
            (Verb::Add, &b"k"[..], &b"40"[..], 9)
        );
        let again = made.follow(Status::NotStored).expect("a count");
        assert_eq!((again.verb, again.number, again.value_len), (Verb::Decr, 3, 0));
        assert!(!made.is_made(Status::Stored));
        assert!(made.follow(Status::NotFound).is_some());
        assert!(made.is_made(Status::Stored) && made.follow(Status::Stored).is_none());
        assert!(made.follow(Status::NotStored).is_some());
        assert_eq!(made.follow(Status::NotFound), None, "it does not go on for ever");
    }

    #[test]
    fn what_is_appended_is_stored_where_there_is_nothing() {
        let mut made = Made::what_is_padded(Verb::Append, b"k", (7, 5), Options::default());
        let add = made.follow(Status::NotStored).expect("an add");
        assert_eq!((add.verb, add.flags, add.exptime), (Verb::Add, 7, 5));
        let again = made.follow(Status::NotStored).expect("an append");
        assert_eq!((again.verb, again.flags, again.exptime), (Verb::Append, 0, 0));
    }
}
