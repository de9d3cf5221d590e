//! What a repair tells a server: values that become requests where the key is at hand.

use crate::protocol::request::{Options, Request};
use crate::protocol::verb::Verb;

/// What a server is told about the key.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Whether the item is there.
    Look,
    /// Its unique.
    LookForUnique,
    /// The item, with its flags, remaining time and unique.
    Fetch,
    /// The same, of a server without meta commands.
    FetchPlain,
    /// `unique` is what a cas demands, 0 otherwise.
    Store {
        verb: Verb,
        unique: u64,
        flags: u32,
        exptime: i64,
        value: &'a [u8],
    },
    /// To remove the item; with a unique, only the one that has it.
    Remove(Option<u64>),
}

impl<'a> Command<'a> {
    /// The same as a request for this key.
    pub fn request(&self, key: &'a [u8]) -> Request<'a> {
        let mut options = Options::default();
        match *self {
            Command::Look => {
                (options.ttl, options.unique) = (true, true);
                Request::look(key, options)
            }
            Command::LookForUnique => {
                options.unique = true;
                Request::look(key, options)
            }
            Command::Fetch => {
                (options.ttl, options.flags, options.unique, options.value) = (true, true, true, true);
                Request::look(key, options)
            }
            Command::FetchPlain => Request::new(Verb::Get, key),
            Command::Store {
                verb,
                unique,
                flags,
                exptime,
                value,
            } => Request {
                number: unique,
                flags,
                exptime,
                value,
                ..Request::new(verb, key)
            },
            Command::Remove(None) => Request::new(Verb::Delete, key),
            Command::Remove(Some(unique)) => Request {
                number: unique,
                ..Request::new(Verb::MetaDelete, key)
            },
        }
    }
}
