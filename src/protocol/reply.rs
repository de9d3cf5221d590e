//! What is said to a request, in no protocol's form.
//!
//! A [`Reply`] is what is said without an item, and outlives the bytes that it was read from. Items pass through magent as
//! they come; see [`Response`](super::server::answer::Response).

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// An item: `VALUE <key> <flags> <bytes> [<cas unique>]`, a data block follows.
    Value,
    /// `END`: no more values.
    End,
    Stored,
    NotStored,
    Exists,
    NotFound,
    Deleted,
    Touched,
    Ok,
    /// Statistics begin anew.
    Reset,
    /// The connection ends, at its client's wish.
    Bye,
    /// The new value of incr and decr.
    Number,
    Version,
    /// `VA <bytes> <flags>*`, a data block follows.
    MetaValue,
    /// `EN`: a meta miss.
    MetaMiss,
    /// `HD`: a meta hit of which no value was asked for.
    MetaHit,
    /// `ME <key> <name>=<value>*`: what a server says of an item to who looks for a fault.
    MetaDebug,
    /// `STAT <name> <value>`; more of them or END follow.
    Stat,
    /// It went wrong; see [`Fault`].
    Error,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It is no error.
    #[default]
    None,
    /// `ERROR`: no command that is known.
    Unknown,
    /// `CLIENT_ERROR`: nothing was changed.
    Client,
    /// `SERVER_ERROR`: what is left behind is not known.
    Server,
    /// Some commands have errors of their own, which are all in the message.
    Other,
}

/// A text that is kept: short ones, which nearly all are, without allocation.
#[derive(Clone, Debug)]
enum Text {
    Static(&'static [u8]),
    Short(u8, [u8; 30]),
    Long(Box<[u8]>),
}

impl Text {
    fn new(text: &[u8]) -> Self {
        if text.is_empty() {
            return Text::Static(b"");
        }
        let mut short = [0; 30];
        match short.get_mut(..text.len()) {
            Some(room) => {
                room.copy_from_slice(text);
                Text::Short(text.len() as u8, short)
            }
            None => Text::Long(text.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Text::Static(bytes) => bytes,
            Text::Short(len, bytes) => &bytes[..usize::from(*len)],
            Text::Long(bytes) => bytes,
        }
    }
}

/// What is said to a request, but for items.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: Status,
    pub fault: Fault,
    /// Of a [`Status::Number`]; of a [`Status::Stored`] the server's own unique, 0 if it has not told.
    pub number: u64,
    /// The unique of what is there now, as clients see it; 0 if it is not known. Two replies may be equal without.
    pub unique: u64,
    message: Text,
}

impl PartialEq for Reply {
    fn eq(&self, other: &Self) -> bool {
        let all = |reply: &Self| (reply.status, reply.fault, reply.number);
        all(self) == all(other) && self.message() == other.message()
    }
}

impl Eq for Reply {}

impl Reply {
    /// One that needs no words.
    pub const fn plain(status: Status) -> Self {
        Self {
            status,
            fault: Fault::None,
            number: 0,
            unique: 0,
            message: Text::Static(b""),
        }
    }

    /// An error of magent's own.
    pub const fn error(fault: Fault, message: &'static [u8]) -> Self {
        Self {
            status: Status::Error,
            fault,
            number: 0,
            unique: 0,
            message: Text::Static(message),
        }
    }

    pub fn new(status: Status, fault: Fault, number: u64, message: &[u8]) -> Self {
        Self {
            status,
            fault,
            number,
            unique: 0,
            message: Text::new(message),
        }
    }

    /// The same, where the unique of what is there now is this.
    pub fn with_unique(self, unique: u64) -> Self {
        Self { unique, ..self }
    }

    /// What an error says, or which version it is; with what separates it from the word before.
    pub fn message(&self) -> &[u8] {
        self.message.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_keeps_its_message_however_long() {
        for len in [0, 1, 29, 30, 31, 500] {
            let message = vec![b'x'; len];
            let reply = Reply::new(Status::Error, Fault::Server, 0, &message);
            assert_eq!(reply.message(), message);
            assert_eq!(reply.clone(), reply);
            let longer = Reply::new(Status::Error, Fault::Server, 0, &[&message[..], b"y"].concat());
            assert_ne!(longer, reply);
        }
        assert_eq!(
            Reply::error(Fault::Client, b" x"),
            Reply::new(Status::Error, Fault::Client, 0, b" x")
        );
    }
}
