//! One memcached as it is promised, one key at a time: what an operation may answer, and what the key holds then.

use std::collections::HashMap;
use std::rc::Rc;

/// How far the moment that an item expires may be off: servers count whole seconds, each from its own start.
pub const EXPIRY_SLACK_MS: u64 = 2000;

/// A value, by its number in [`Values`].
pub type ValueId = u32;
/// Which write made an item: the number of the operation.
pub type Version = u32;

/// All values ever seen, each once, so that the rest deals in numbers.
#[derive(Default)]
pub struct Values {
    list: Vec<Rc<[u8]>>,
    known: HashMap<Rc<[u8]>, ValueId>,
}

impl Values {
    pub fn id(&mut self, bytes: &[u8]) -> ValueId {
        if let Some(&id) = self.known.get(bytes) {
            return id;
        }
        let shared: Rc<[u8]> = bytes.into();
        self.list.push(Rc::clone(&shared));
        self.known.insert(shared, self.list.len() as ValueId - 1);
        self.list.len() as ValueId - 1
    }

    /// How many bytes a value has; none where the verb has no use for one.
    pub fn len_of(&self, id: ValueId) -> usize {
        self.list.get(id as usize).map_or(0, |value| value.len())
    }

    pub fn bytes(&self, id: ValueId) -> &Rc<[u8]> {
        &self.list[id as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    /// Whether it also shows the unique makes no difference here.
    GetAndTouch,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Incr,
    Decr,
    Touch,
    Delete,
    FlushAll,
    /// Nobody asked for it: the last copy may have been lost.
    Vanish,
}

impl Verb {
    pub fn changes(self) -> bool {
        self != Verb::Get
    }

    /// Whether a server may need memory for it.
    pub fn stores(self) -> bool {
        matches!(
            self,
            Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Cas | Verb::Incr | Verb::Decr
        )
    }

    /// Whether it changes the exptime and nothing else.
    pub fn touches(self) -> bool {
        matches!(self, Verb::Touch | Verb::GetAndTouch)
    }
}

/// How a unique was come by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// When the gets that showed it was asked.
    pub asked_ms: u64,
    /// The key was being written meanwhile, so that it may have come from the backup though the primary is well.
    pub raced: bool,
}

/// One operation on one key. Fields that the verb has no use for are 0.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub verb: Verb,
    pub value: ValueId,
    pub flags: u32,
    pub exptime: i64,
    pub delta: u64,
    pub unique: u64,
    pub unique_seen: Seen,
    pub asked_ms: u64,
    /// No server takes a value of this size.
    pub too_large: bool,
    /// It may happen more than once until it is answered.
    pub repeats: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub value: ValueId,
    pub flags: u32,
    pub version: Version,
    /// It may be gone from here on, and is gone after that; `u64::MAX` for never.
    pub expires_from_ms: u64,
    pub expires_until_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is promised: a magent died in the middle of a write.
    Unknown,
    Absent,
    Present(Item),
}

/// What an operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is promised, or nobody was told.
    Any,
    Hit {
        value: ValueId,
        flags: u32,
        version: Version,
    },
    Miss,
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Touched,
    Number(u64),
    NotANumber,
    Done,
    TooLarge,
    NoMemory,
}

/// What is true of the world beside the key's state.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    pub now_ms: u64,
    /// Servers drop items when they like.
    pub evicts: bool,
    /// Servers may have no memory for what is stored.
    pub refuses: bool,
    /// How much later than it was acknowledged a server that hung may do something, and count its exptime from then.
    pub late_ms: u64,
    /// When last a server was away, or not whole again after having been.
    pub disturbed_ms: u64,
    /// The version that the unique of a cas was read with.
    pub unique_version: Option<Version>,
}

/// All that an operation may do to a key in this state.
pub fn outcomes(
    operation: &Operation,
    version: Version,
    state: State,
    around: &Circumstances,
    values: &mut Values,
    mut each: impl FnMut(State, Answer),
) {
    if operation.too_large {
        // What a set was to replace is not to be read as new.
        let after = if operation.verb == Verb::Set {
            State::Absent
        } else {
            state
        };
        return each(after, Answer::TooLarge);
    }
    if around.refuses && operation.verb.stores() {
        let after = if operation.verb == Verb::Set {
            State::Absent
        } else {
            state
        };
        each(after, Answer::NoMemory);
    }
    match state {
        State::Unknown => on_unknown(operation, version, around, each),
        State::Absent => on_absent(operation, version, around, each),
        State::Present(item) => {
            let may_be_gone = around.now_ms >= item.expires_from_ms || around.evicts;
            if operation.asked_ms <= item.expires_until_ms {
                on_present(operation, version, item, around, values, &mut each);
            }
            if may_be_gone || operation.asked_ms > item.expires_until_ms {
                let gone = operation.asked_ms > item.expires_until_ms;
                on_absent(operation, version, around, |after, answer| match after {
                    // The other copy may live a little longer.
                    State::Absent if !gone && !matches!(operation.verb, Verb::Delete | Verb::FlushAll) => {
                        each(state, answer);
                    }
                    _ => each(after, answer),
                });
            }
        }
    }
}

/// The item that a storing operation leaves; none if it has expired already.
fn stored(operation: &Operation, version: Version, around: &Circumstances) -> State {
    let item = Item {
        value: operation.value,
        flags: operation.flags,
        version,
        expires_from_ms: u64::MAX,
        expires_until_ms: u64::MAX,
    };
    with_exptime(item, operation, around)
}

fn with_exptime(item: Item, operation: &Operation, around: &Circumstances) -> State {
    let Ok(exptime_ms) = u64::try_from(operation.exptime * 1000) else {
        return State::Absent;
    };
    let (expires_from_ms, expires_until_ms) = match exptime_ms {
        0 => (u64::MAX, u64::MAX),
        _ => (
            (operation.asked_ms + exptime_ms).saturating_sub(EXPIRY_SLACK_MS),
            around.now_ms + exptime_ms + EXPIRY_SLACK_MS + around.late_ms,
        ),
    };
    State::Present(Item {
        expires_from_ms,
        expires_until_ms,
        ..item
    })
}

fn on_unknown(operation: &Operation, version: Version, around: &Circumstances, mut each: impl FnMut(State, Answer)) {
    let new = stored(operation, version, around);
    match operation.verb {
        Verb::Set => each(new, Answer::Stored),
        Verb::Delete => each(State::Absent, Answer::Any),
        Verb::FlushAll => each(State::Absent, Answer::Done),
        Verb::Vanish => each(State::Unknown, Answer::Done),
        Verb::Add | Verb::Replace => {
            each(new, Answer::Stored);
            each(State::Unknown, Answer::NotStored);
        }
        Verb::Cas => {
            each(new, Answer::Stored);
            each(State::Unknown, Answer::Exists);
            each(State::Unknown, Answer::NotFound);
        }
        _ => each(State::Unknown, Answer::Any),
    }
}

fn on_absent(operation: &Operation, version: Version, around: &Circumstances, mut each: impl FnMut(State, Answer)) {
    let answer = match operation.verb {
        Verb::Set | Verb::Add => return each(stored(operation, version, around), Answer::Stored),
        Verb::Get | Verb::GetAndTouch => Answer::Miss,
        Verb::Replace | Verb::Append | Verb::Prepend => Answer::NotStored,
        Verb::Incr | Verb::Decr | Verb::Touch | Verb::Delete => Answer::NotFound,
        Verb::Cas => {
            if may_be_spurious(operation, around) {
                each(State::Absent, Answer::Exists);
            }
            Answer::NotFound
        }
        Verb::FlushAll | Verb::Vanish => Answer::Done,
    };
    each(State::Absent, answer);
}

/// Whether a cas may be answered EXISTS because its unique came from another server, or another life of one.
fn may_be_spurious(operation: &Operation, around: &Circumstances) -> bool {
    let seen = &operation.unique_seen;
    around.evicts || seen.raced || around.disturbed_ms >= seen.asked_ms
}

fn on_present(
    operation: &Operation,
    version: Version,
    item: Item,
    around: &Circumstances,
    values: &mut Values,
    each: &mut impl FnMut(State, Answer),
) {
    let same = State::Present(item);
    let hit = Answer::Hit {
        value: item.value,
        flags: item.flags,
        version: item.version,
    };
    match operation.verb {
        Verb::Get => each(same, hit),
        Verb::GetAndTouch => each(with_exptime(item, operation, around), hit),
        Verb::Touch => each(with_exptime(item, operation, around), Answer::Touched),
        Verb::Set | Verb::Replace => each(stored(operation, version, around), Answer::Stored),
        Verb::Add => each(same, Answer::NotStored),
        Verb::Append | Verb::Prepend => {
            let (old, new) = (
                Rc::clone(values.bytes(item.value)),
                Rc::clone(values.bytes(operation.value)),
            );
            let whole = match operation.verb {
                Verb::Append => [&*old, &*new].concat(),
                _ => [&*new, &*old].concat(),
            };
            let value = values.id(&whole);
            each(State::Present(Item { value, version, ..item }), Answer::Stored);
        }
        Verb::Incr | Verb::Decr => {
            let text = std::str::from_utf8(values.bytes(item.value));
            let Some(number) = text.ok().and_then(|text| text.parse::<u64>().ok()) else {
                return each(same, Answer::NotANumber);
            };
            let number = match operation.verb {
                Verb::Incr => number.wrapping_add(operation.delta),
                _ => number.saturating_sub(operation.delta),
            };
            let value = values.id(number.to_string().as_bytes());
            each(State::Present(Item { value, version, ..item }), Answer::Number(number));
        }
        Verb::Cas => {
            let is_current = around.unique_version == Some(item.version);
            if is_current {
                each(stored(operation, version, around), Answer::Stored);
            }
            if !is_current || may_be_spurious(operation, around) {
                each(same, Answer::Exists);
            }
        }
        Verb::Delete => each(State::Absent, Answer::Deleted),
        Verb::FlushAll | Verb::Vanish => each(State::Absent, Answer::Done),
    }
}
