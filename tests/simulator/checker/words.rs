//! What the checker has to say, in words.

use super::{Pending, Reply};
use crate::model::{Answer, State, Values};
use crate::trace::Readable;
use std::fmt;

pub fn explanation(key: &str, ended: &Pending, reply: Reply, values: &Values) -> String {
    let (Reply::Answer(told) | Reply::WithUnique(told, _)) = reply;
    format!(
        "key {key}: a {:?} was told {}, which no single memcached could have said",
        ended.operation.verb,
        Told(told, values),
    )
}

pub struct Told<'a>(pub Answer, pub &'a Values);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Answer::Hit { value, flags, .. } => {
                write!(f, "{} flags {flags}", Readable(self.1.bytes(value)))
            }
            other => write!(f, "{other:?}"),
        }
    }
}

pub struct List<'a>(pub &'a [State], pub &'a Values);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, state) in self.0.iter().enumerate() {
            let or = if index == 0 { "" } else { " or " };
            match state {
                State::Unknown => write!(f, "{or}unknown")?,
                State::Absent => write!(f, "{or}absent")?,
                State::Present(item) => {
                    write!(f, "{or}{} flags {}", Readable(self.1.bytes(item.value)), item.flags)?;
                }
            }
        }
        Ok(())
    }
}
