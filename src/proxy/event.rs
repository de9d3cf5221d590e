//! What an owner tells the conductor when it is asked what happened.

use crate::proxy::upstream::link::Leg;
use std::io;

/// Something that happened in one room and concerns others.
pub enum Event {
    /// A link to a server could not be opened.
    Unreachable(usize, io::Error),
    /// A leg was cut off: its link to this server died before the answer came.
    Lost(usize, Leg),
}
