//! How it is said that books do not agree; see [`Proxy::check`](crate::proxy::Proxy::check).

use crate::buffer::Chain;
use crate::proxy::upstream::link::Outgoing;
use std::fmt::Debug;

/// What was found to be wrong.
pub type Wrong = Result<(), String>;

pub fn equal<T: PartialEq + Debug>(what: &str, counted: T, found: T) -> Wrong {
    match counted == found {
        true => Ok(()),
        false => Err(format!("{what}: counted as {counted:?}, there are {found:?}")),
    }
}

pub fn holds(what: &str, holds: bool) -> Wrong {
    match holds {
        true => Ok(()),
        false => Err(what.to_owned()),
    }
}

/// A connection is blocked where its socket did not take all, and only there.
pub fn is_flushed(output: &Chain, outgoing: Outgoing) -> bool {
    match outgoing {
        Outgoing::Idle => output.is_empty(),
        Outgoing::Dirty => false,
        Outgoing::Blocked | Outgoing::Severed => true,
    }
}
