//! What is asked for, whoever asks and in whatever protocol.
//!
//! A [`Request`] borrows the bytes that it was read from. Where it outlives them, [`Kept`] says where its parts stand in the
//! piece of memory that was made of them, so that nothing is read, or copied, a second time.

use super::KEY_BYTES_MAX;
use super::keys::{KeyList, Keys};
use super::verb::Verb;

/// What a meta get is to tell, and whether a value comes with it. Of what is stored or counted `unique` alone is told, where the client
/// wants to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub ttl: bool,
    /// Of one that sets the exptime: as it was before.
    pub ttl_before: bool,
    pub flags: bool,
    pub unique: bool,
    pub size: bool,
    pub value: bool,
    /// Whether it was fetched before, and how long ago in seconds.
    pub hit: bool,
    pub last_access: bool,
    /// It does not count as a fetch.
    pub no_update: bool,
    /// With less than `number` seconds left somebody is told to store it anew, which is looked at before an exptime is set or after that.
    pub recaches: bool,
    pub recaches_first: bool,
    /// What is made stale is given the exptime.
    pub sets_exptime: bool,
}

impl Options {
    /// Nothing is told.
    pub const NONE: Self = Self {
        ttl: false,
        ttl_before: false,
        flags: false,
        unique: false,
        size: false,
        value: false,
        hit: false,
        last_access: false,
        no_update: false,
        recaches: false,
        recaches_first: false,
        sets_exptime: false,
    };
    /// The unique is told, and nothing else.
    pub const UNIQUE: Self = Self {
        unique: true,
        ..Self::NONE
    };
}

/// One request, understood. Fields that the verb has no use for are empty or zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub verb: Verb,
    pub options: Options,
    /// Nothing is to be said to it; see [`Form`](super::form::Form), which outlives it.
    pub noreply: bool,
    /// The key, the first one of a retrieval; for stats the first argument, for a list of keys its form.
    pub key: &'a [u8],
    /// All keys of a retrieval, all arguments of stats.
    pub keys: Keys<'a>,
    /// Keys of a retrieval; else 0.
    pub key_count: usize,
    /// Opaque 32 bits that belong to the item.
    pub flags: u32,
    /// Seconds: relative up to 30 days, a unix time above, negative for already expired, 0 for never (`protocol.txt`).
    /// For flush_all the delay, -1 without one.
    pub exptime: i64,
    /// Bytes of the item's value.
    pub value_len: usize,
    /// The value itself, once it has come.
    pub value: &'a [u8],
    /// cas unique, incr and decr delta, verbosity level, megabytes; of a meta delete the unique that the item must have, and of one that
    /// makes stale, unless it is 0; of a meta get seconds.
    pub number: u64,
    /// The client's own line, without noreply and its end, where every server reads it as it is meant. That it is sent on as
    /// it is saves writing it anew, and means nothing more.
    pub verbatim: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// A request for one key.
    pub fn new(verb: Verb, key: &'a [u8]) -> Self {
        Self {
            verb,
            options: Options::default(),
            noreply: false,
            key,
            keys: Keys::of(&[]),
            key_count: usize::from(verb.is_retrieval()),
            flags: 0,
            exptime: 0,
            value_len: 0,
            value: &[],
            number: 0,
            verbatim: None,
        }
    }

    /// A flush_all without a delay.
    pub fn flush() -> Self {
        Self::new(Verb::FlushAll, b"").expiring(-1)
    }

    /// A meta get that tells its key and what else `options` say.
    pub fn look(key: &'a [u8], options: Options) -> Self {
        Self {
            options,
            ..Self::new(Verb::MetaGet, key)
        }
    }

    /// A retrieval of `count` keys, at least one.
    pub fn retrieval(manner: Manner, list: &'a KeyList, count: usize) -> Self {
        let keys = list.keys();
        Self {
            keys,
            key_count: count,
            options: manner.options,
            exptime: manner.exptime,
            number: manner.number,
            ..Self::new(manner.verb, keys.clone().next().unwrap_or(&[]))
        }
    }

    /// What a retrieval asks for of each of its keys.
    pub fn manner(&self) -> Manner {
        Manner {
            verb: self.verb,
            options: self.options,
            exptime: self.exptime,
            number: self.number,
        }
    }

    /// The same with another exptime.
    pub fn expiring(self, exptime: i64) -> Self {
        Self {
            exptime,
            verbatim: self.verbatim.filter(|_| exptime == self.exptime),
            ..self
        }
    }

    /// The same, to be written anew.
    pub fn anew(self) -> Self {
        Self { verbatim: None, ..self }
    }

    /// The same storage command, or count, to a server that is to tell the unique of what it stores, or is not to.
    pub fn telling_unique(self, tells: bool) -> Self {
        Self {
            options: Options {
                unique: tells,
                ..self.options
            },
            verbatim: self.verbatim.filter(|_| tells == self.options.unique),
            ..self
        }
    }

    /// The keys of a retrieval, the one key of anything else.
    pub fn keys_concerned(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (only, many) = match self.key_count {
            2.. => (None, self.keys),
            _ => (Some(self.key).filter(|key| !key.is_empty()), Keys::of(&[])),
        };
        only.into_iter().chain(many)
    }

    /// What of a storage command is kept, in two parts, in front of a value that is still to come.
    pub fn head(&self) -> [&'a [u8]; 2] {
        match self.verbatim {
            Some(line) => [line, super::LINE_END],
            None => [self.key, b""],
        }
    }

    /// Where its parts are in a piece that begins with its [`head`](Self::head) and goes on with the value.
    pub fn kept_behind_head(&self) -> Kept {
        let [first, second] = self.head();
        let behind = first.len() + second.len();
        Kept {
            key: Span::of(self.key, first),
            value: Span::new(behind, self.value_len),
            verbatim: self.verbatim.map_or(Span::default(), |line| Span::new(0, line.len())),
            ..Kept::without_parts(self)
        }
    }
}

/// What a retrieval asks for of each of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub verb: Verb,
    pub options: Options,
    pub exptime: i64,
    pub number: u64,
}

impl Manner {
    /// Whether nothing is told that is another on the other copy: a unique, when it was read, and who is to store it anew, are of one server.
    pub fn is_of_either_copy(&self) -> bool {
        let Options {
            unique,
            hit,
            last_access,
            recaches,
            ..
        } = self.options;
        let is_of_one = unique || hit || last_access || recaches;
        self.verb == Verb::Get || self.verb == Verb::MetaGet && !is_of_one
    }
}

/// A part of a piece of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// No piece that magent keeps has more than 32 bits count.
    pub fn new(start: usize, len: usize) -> Self {
        let (start, len) = (start as u32, len as u32);
        Self { start, len }
    }

    /// Where `part` stands in `whole`, which it is a part of.
    pub fn of(part: &[u8], whole: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default();
        }
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        assert!(
            start <= whole.len() && part.len() <= whole.len() - start,
            "a part lies inside its piece"
        );
        Self::new(start, part.len())
    }

    pub fn start(self) -> usize {
        self.start as usize
    }

    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    pub fn len(self) -> usize {
        self.len as usize
    }

    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The part itself.
    pub fn in_piece(self, piece: &[u8]) -> &[u8] {
        &piece[self.start()..self.end()]
    }
}

/// A request that is kept beside the piece of memory in which its key and value stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    verb: Verb,
    options: Options,
    flags: u32,
    exptime: i64,
    number: u64,
    key_count: u32,
    key: Span,
    keys: Span,
    value: Span,
    verbatim: Span,
}

impl Kept {
    /// A request whose parts all stand in `piece`.
    pub fn of(request: &Request<'_>, piece: &[u8]) -> Self {
        Self {
            key: Span::of(request.key, piece),
            keys: Span::of(request.keys.rest(), piece),
            value: Span::of(request.value, piece),
            verbatim: request.verbatim.map_or(Span::default(), |line| Span::of(line, piece)),
            ..Self::without_parts(request)
        }
    }

    /// A request that stands in a piece as it was written for a server: with its key, or all its keys, there, its value
    /// there, and behind a line of that length.
    pub(super) fn as_written(request: &Request<'_>, key: Span, value: Span, line_len: usize) -> Self {
        let keys = key;
        let (key, line) = match request.key_count {
            // A retrieval that is split is never sent as it is.
            2.. => {
                let first = Span::of(request.key, request.keys.rest());
                (Span::new(keys.start() + first.start(), first.len()), Span::default())
            }
            _ => (key, Span::new(0, line_len)),
        };
        Self {
            key,
            keys,
            value,
            verbatim: line,
            ..Self::without_parts(request)
        }
    }

    fn without_parts(request: &Request<'_>) -> Self {
        let none = Span::default();
        Self {
            verb: request.verb,
            options: request.options,
            flags: request.flags,
            exptime: request.exptime,
            number: request.number,
            key_count: request.key_count as u32,
            key: none,
            keys: none,
            value: none,
            verbatim: none,
        }
    }

    /// The request again. `piece` is the one that it stands in.
    pub fn request<'a>(&self, piece: &'a [u8]) -> Request<'a> {
        Request {
            verb: self.verb,
            options: self.options,
            noreply: false,
            key: self.key.in_piece(piece),
            keys: Keys::of(self.keys.in_piece(piece)),
            key_count: self.key_count as usize,
            flags: self.flags,
            exptime: self.exptime,
            value_len: self.value.len(),
            value: self.value.in_piece(piece),
            number: self.number,
            verbatim: Some(self.verbatim.in_piece(piece)).filter(|line| !line.is_empty()),
        }
    }

    pub fn key<'a>(&self, piece: &'a [u8]) -> &'a [u8] {
        self.key.in_piece(piece)
    }
}

const _: () = assert!(KEY_BYTES_MAX < u32::MAX as usize && size_of::<Kept>() <= 72);
