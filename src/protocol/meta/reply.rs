//! Replies as clients of the meta commands get them.
//!
//! | said | line |
//! | --- | --- |
//! | an item, a number | `VA <bytes> <flags>*` and the value, where that was asked for, else `HD <flags>*` |
//! | an item, to `me` | `ME <key> <name>=<value>*`, as the server says it |
//! | done | `HD <flags>*` |
//! | no such item | `EN` of a get, else `NF` |
//! | nothing to replace, or an item where none was to be | `NS` |
//! | another unique | `EX` |
//! | that all before it is answered | `MN` |
//!
//! The flags are told in the order in which they were asked for. Quiet commands do not tell what is usual: a get that nothing is there,
//! the others that it is done.

use super::flags::Flags;
use super::told::{Told, add_marks, add_of};
use crate::protocol::LINE_END;
use crate::protocol::keys::Keys;
use crate::protocol::made::Made;
use crate::protocol::number::Decimal;
use crate::protocol::reply::{Reply, Status};
use crate::protocol::request::{Manner, Options, Request};
use crate::protocol::server::answer::{Marks, Response};
use crate::protocol::text;
use crate::protocol::verb::Verb;

/// Which of them it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Get,
    Store,
    Delete,
    Count,
    Debug,
    Noop,
}

/// What makes an item stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalidation {
    pub exptime: Option<i64>,
    /// The unique that it has to have.
    pub found: Option<u64>,
}

impl Invalidation {
    /// Whatever its unique is: that has been looked at.
    pub fn request(self, key: &[u8]) -> Request<'_> {
        Request {
            exptime: self.exptime.unwrap_or(0),
            options: Options {
                sets_exptime: self.exptime.is_some(),
                ..Options::default()
            },
            ..Request::new(Verb::MetaInvalidate, key)
        }
    }
}

/// What the reply to a meta command needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    command: Command,
    is_quiet: bool,
    value: bool,
    /// An item has been told.
    has_told: bool,
    told: Told,
    more: Option<Box<More>>,
}

/// What some commands need beside that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    /// With this unique the client has the value.
    unless: Option<u64>,
    /// Bytes that are stored, where that is known.
    size: Option<usize>,
    made: Option<Made>,
    /// That something was made is told, quiet or not.
    tells_made: bool,
    key: Box<[u8]>,
    /// An exptime that is given behind it.
    touch: Option<i64>,
    /// Not where it has just been made.
    touches_before_made: bool,
    /// For how long an empty item is made where there is none.
    make: Option<i64>,
    /// How it is made stale behind it, and the unique that was found.
    invalidation: Option<Invalidation>,
    found: Option<u64>,
    /// What is read behind that.
    reads: Option<Manner>,
    /// The time that is told is what was left before a new one is given.
    ttl_before: bool,
    /// And before it has one, where it is made.
    ttl_before_made: bool,
    /// What was said, where something is asked behind it.
    so_far: Option<Reply>,
}

impl More {
    fn read(&mut self) -> Option<Request<'_>> {
        let reads = self.reads.take()?;
        Some(Request {
            keys: Keys::of(&self.key),
            options: reads.options,
            exptime: reads.exptime,
            number: reads.number,
            ..Request::new(reads.verb, &self.key)
        })
    }
}

impl Meta {
    pub fn new(command: Command, flags: &Flags, told: Told) -> Self {
        Self {
            command,
            is_quiet: flags.is_quiet,
            value: flags.value,
            has_told: false,
            told,
            more: None,
        }
    }

    /// One whose line has nothing that the reply needs.
    pub fn plain(command: Command) -> Self {
        Self::new(command, &Flags::default(), Told::default())
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The value is left out if the item has this unique.
    pub fn unless(&mut self, unique: Option<u64>) {
        if unique.is_some() {
            self.more().unless = unique;
        }
    }

    /// So many bytes are stored.
    pub fn stores(&mut self, len: usize) {
        if self.tells_size() {
            self.more().size = Some(len);
        }
    }

    fn tells_size(&self) -> bool {
        self.told.has(b's')
    }

    /// An append, or prepend: how large the item is then is to be told.
    pub fn pads(&mut self, key: &[u8]) {
        if self.tells_size() && !self.is_quiet {
            let more = self.more();
            more.key = key.into();
            more.reads = Some(look(Options {
                size: true,
                ..Options::default()
            }));
        }
    }

    /// Something is made where there is nothing; `is_told`: that is told by a quiet command as well.
    pub fn makes(&mut self, made: Made, is_told: bool) {
        let more = self.more();
        (more.made, more.tells_made) = (Some(made), is_told);
    }

    /// A count: what is given or told of the number's time.
    pub fn counts(&mut self, key: &[u8], flags: &Flags) {
        let is_told = !flags.is_quiet || self.more.as_ref().is_some_and(|more| more.tells_made);
        let looks = flags.ttl && is_told;
        if flags.exptime.is_some() || looks {
            let more = self.more();
            more.key = key.into();
            (more.touch, more.touches_before_made) = (flags.exptime, flags.touches_before_made);
            (more.ttl_before, more.ttl_before_made) = (flags.ttl_before, flags.ttl_before_made);
            more.reads = looks.then_some(look(Options {
                ttl: true,
                ..Options::default()
            }));
        }
    }

    /// A get that makes an empty item for so long where there is none: how that is read then. `ttl_before`: of what it has made no time
    /// is told.
    pub fn makes_where_none(&mut self, key: &[u8], exptime: i64, reads: Manner, ttl_before: bool) {
        let more = self.more();
        more.key = key.into();
        (more.make, more.reads, more.ttl_before_made) = (Some(exptime), Some(reads), ttl_before);
    }

    /// A delete that makes stale, once the item's value is removed or its unique has been looked at, where that is to be.
    pub fn invalidates(&mut self, key: &[u8], invalidation: Invalidation) {
        let more = self.more();
        more.key = key.into();
        more.invalidation = Some(invalidation);
    }

    /// Whether the value that is stored may have to be stored again.
    pub fn keeps_value(&self) -> bool {
        self.command == Command::Store && self.more.as_ref().is_some_and(|more| more.made.is_some())
    }

    /// Whether its client has not asked for the item that is read.
    pub fn only_looks(&self) -> bool {
        !matches!(self.command, Command::Get | Command::Debug)
    }

    /// Whether a value is behind the line of what stores one.
    pub fn has_value_behind(&self) -> bool {
        self.command == Command::Store
    }

    /// Whether something may have to be asked when the answer has come.
    pub fn may_go_on(&self) -> bool {
        let goes_on = |more: &More| more.made.is_some() || more.touch.is_some() || more.reads.is_some();
        let goes_on = |more: &More| goes_on(more) || more.make.is_some() || more.invalidation.is_some();
        self.more.as_ref().is_some_and(|more| goes_on(more))
    }

    /// What is to be asked next, where this is what was said so far; None if that is the reply.
    #[inline(never)]
    pub fn follow(&mut self, said: &Reply) -> Option<Request<'_>> {
        if self.command == Command::Get {
            return self.follow_get(said);
        }
        let more = self.more.as_mut()?;
        if let Some(invalidation) = more.invalidation.take() {
            // Its value is removed, or its unique is known, or it is stale already.
            let is_right = said.status == Status::End && more.found.is_some() && more.found == invalidation.found;
            let goes_on = is_right || said.status == Status::Stored;
            return goes_on.then(|| invalidation.request(&more.key));
        }
        if more.so_far.is_none() {
            let mut said = said.clone();
            if let Some(made) = &mut more.made {
                if made.is_made(said.status) && self.command == Command::Count {
                    self.is_quiet &= !more.tells_made;
                    more.reads.take_if(|_| more.ttl_before_made);
                    more.touch.take_if(|_| more.touches_before_made);
                    said = Reply::new(Status::Number, said.fault, made.number, b"").with_unique(said.unique);
                }
            }
            if !matches!(said.status, Status::Number | Status::Stored | Status::Touched) {
                return more.made.as_mut()?.follow(said.status);
            }
            more.so_far = Some(said);
        }
        if said.status == Status::Error {
            return None;
        }
        let touches = !(more.ttl_before && more.reads.is_some());
        if let Some(exptime) = more.touch.take_if(|_| touches) {
            return Some(Request::new(Verb::Touch, &more.key).expiring(exptime));
        }
        more.read()
    }

    /// The same of a get. Nothing was there: it is made; and it is read, unless it is known what was made.
    fn follow_get(&mut self, said: &Reply) -> Option<Request<'_>> {
        let is_absent = said.status == Status::End && !self.has_told;
        let more = self.more.as_mut()?;
        match said.status {
            Status::End if is_absent && more.so_far.is_none() => Some(Request {
                exptime: more.make.take()?,
                ..Request::new(Verb::MetaMake, &more.key)
            }),
            Status::Touched => {
                let is_new = Marks(said.number).are_of_new();
                more.so_far = Some(said.clone());
                more.reads
                    .take_if(|reads| is_new && !reads.options.unique && !reads.options.ttl);
                more.read()
            }
            _ => None,
        }
    }

    /// Writes a reply, or what ends one that has told an item, piece by piece.
    #[inline(never)]
    pub fn reply(&self, reply: &Reply, add: &mut dyn FnMut(&[u8])) {
        if self.has_told {
            return;
        }
        let gets = self.command == Command::Get;
        let so_far = self.more.as_ref().and_then(|more| more.so_far.as_ref());
        let reply = match so_far {
            // Of what came behind it an error is told; and of what was made, and is gone again, that it was made.
            Some(so_far) if gets && !Marks(so_far.number).are_of_new() => reply,
            Some(so_far) if reply.status != Status::Error => so_far,
            _ => reply,
        };
        let is_done = match (self.command, reply.status) {
            (Command::Noop, _) => return add(b"MN\r\n"),
            (Command::Get, status) => status == Status::Touched,
            (Command::Store, status) => status == Status::Stored,
            (Command::Delete, status) => matches!(status, Status::Deleted | Status::Stored | Status::Touched),
            (Command::Count, status) => status == Status::Number,
            (Command::Debug, _) => false,
        };
        let word: &[u8] = match reply.status {
            _ if is_done && self.is_quiet && !gets => return,
            _ if is_done => return self.done(reply, None, add),
            Status::End | Status::NotFound if gets && self.is_quiet => return,
            Status::End if self.command == Command::Delete => match self.more.as_ref().and_then(|more| more.found) {
                Some(_) => b"EX",
                None => b"NF",
            },
            Status::End => b"EN",
            Status::NotFound if gets => b"EN",
            Status::NotFound => b"NF",
            Status::NotStored if self.command == Command::Delete => b"NF",
            Status::NotStored => b"NS",
            Status::Exists => b"EX",
            _ => return text::reply::encode(reply, add),
        };
        let mut line = word.to_vec();
        self.told.add(&mut line, |letter, line| {
            let has_unique = letter == b'c' && self.command == Command::Store;
            if has_unique {
                line.push(b'0');
            }
            has_unique || letter == b's' && self.size(line)
        });
        line.extend_from_slice(LINE_END);
        add(&line);
    }

    /// Adds how many bytes are stored, if that is known.
    fn size(&self, line: &mut Vec<u8>) -> bool {
        let size = self.more.as_ref().and_then(|more| more.size);
        if let Some(size) = size {
            line.extend_from_slice(Decimal::new(size as u64).as_bytes());
        }
        size.is_some()
    }

    /// What was asked is done; `item`: and this is what was found of it then.
    fn done(&self, reply: &Reply, item: Option<&Response<'_>>, add: &mut dyn FnMut(&[u8])) {
        let number = Decimal::new(reply.number);
        // What a get has made is empty.
        let is_made = self.command == Command::Get;
        let value = if is_made { b"" } else { number.as_bytes() };
        let is_value = (is_made || self.command == Command::Count) && self.value;
        let mut line = match is_value {
            true => [b"VA ", Decimal::new(value.len() as u64).as_bytes()].concat(),
            false => b"HD".to_vec(),
        };
        self.told.add(&mut line, |letter, line| match (letter, item) {
            (b's' | b'f' | b'h' | b'l', _) if is_made => {
                line.push(b'0');
                true
            }
            (b'c', _) => {
                line.extend_from_slice(Decimal::new(reply.unique).as_bytes());
                true
            }
            (b's', None) => self.size(line),
            (b't' | b's', Some(item)) => add_of(item, letter, line),
            // It is gone since, or its server.
            (b't', None) => {
                line.extend_from_slice(b"-1");
                true
            }
            _ => false,
        });
        if is_made {
            add_marks(Marks(reply.number), &mut line);
        }
        line.extend_from_slice(LINE_END);
        add(&line);
        if is_value {
            add(value);
            add(LINE_END);
        }
    }

    /// An item: what comes in front of its value, and the part of `data` that follows. `data` is the value with its line end; empty if none
    /// came.
    #[inline(never)]
    pub fn item<'a>(&mut self, item: &Response<'_>, unique: Option<u64>, data: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
        if self.command == Command::Delete {
            self.more().found = unique;
            return (Vec::new(), b"");
        }
        self.has_told = true;
        if self.command == Command::Debug {
            return ([item.line, LINE_END].concat(), b"");
        }
        let more = self.more.as_ref();
        let so_far = more.and_then(|more| more.so_far.as_ref());
        if let Some(so_far) = so_far.filter(|_| self.command != Command::Get) {
            let mut line = Vec::new();
            if !self.is_quiet {
                self.done(so_far, Some(item), &mut |part| line.extend_from_slice(part));
            }
            return (line, b"");
        }
        let has_it = unique.is_some() && more.is_some_and(|more| more.unless == unique);
        let size = data.len().saturating_sub(LINE_END.len()) as u64;
        let shows = self.value && !has_it;
        let is_new = so_far.is_some_and(|so_far| Marks(so_far.number).are_of_new());
        let mut line = match shows {
            true => [b"VA ", Decimal::new(size).as_bytes()].concat(),
            false => b"HD".to_vec(),
        };
        self.told.add(&mut line, |letter, line| match (letter, unique) {
            (b'c', Some(unique)) => {
                line.extend_from_slice(Decimal::new(unique).as_bytes());
                true
            }
            (b't', _) if is_new && more.is_some_and(|more| more.ttl_before_made) => {
                line.extend_from_slice(b"-1");
                true
            }
            (b's', _) if item.size.is_none() => {
                line.extend_from_slice(Decimal::new(size).as_bytes());
                true
            }
            _ => add_of(item, letter, line),
        });
        add_marks(so_far.map_or(item.marks(), |so_far| Marks(so_far.number)), &mut line);
        line.extend_from_slice(LINE_END);
        (line, if shows { data } else { b"" })
    }
}

/// A look at an item. What it takes from one that is stale is given back to this one alone.
fn look(options: Options) -> Manner {
    Manner {
        verb: Verb::MetaGet,
        options: Options {
            unique: true,
            no_update: true,
            ..options
        },
        exptime: 0,
        number: 0,
    }
}
