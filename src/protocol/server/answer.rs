//! What a server answers, in the text protocol and in as much of the meta protocol as repair needs.
//!
//! One shape for every command: a status, the words behind it, and the length of the data block that follows, if any.
//! Nothing here knows which command the answer belongs to: see [`question`](super::question).
//!
//! What a memcached would not write is garbage, in the numbers too: who takes `-0` or `+5` for a length and is wrong takes
//! a value for answers, or answers for a value.

use crate::protocol::number::{leading_plain, plain_behind_space};
pub use crate::protocol::reply::Status;
use crate::protocol::reply::{Fault, Reply};
use crate::protocol::{KEY_BYTES_MAX, LINE_END, find_blank_or_control, find_newline};

/// Longest status line that a server sends: an error, or a line of `stats`. A longer one is garbage.
pub const RESPONSE_LINE_BYTES_MAX: usize = 2048;
/// Longest line of a VALUE: a key, flags, length and unique.
const VALUE_LINE_BYTES_MAX: usize =
    "VALUE ".len() + KEY_BYTES_MAX + " 4294967295 1073741824 18446744073709551615\r\n".len();
/// Longest value: memcached's `-I` may not be set higher.
const VALUE_BYTES_MAX: u64 = 1 << 30;

/// One answer line, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    pub status: Status,
    /// The line without its end.
    pub line: &'a [u8],
    /// Of an error.
    pub fault: Fault,
    /// The new value of incr and decr.
    pub number: u64,
    /// What an error says behind its word, which version it is, the value of a statistic.
    pub message: &'a [u8],
    /// The key of a VALUE, or of a VA or HD where that was asked for; the name of a statistic.
    pub key: &'a [u8],
    /// The flags and the cas unique of an item, and the seconds until it expires (-1 for never), where they are told.
    pub flags: Option<u32>,
    pub unique: Option<u64>,
    pub ttl_s: Option<i64>,
    /// Bytes of an item's value, where they were asked for.
    pub size: Option<u64>,
    /// Bytes of the data block behind the line, its line end not counted; None when there is no block.
    pub value_len: Option<usize>,
}

/// What a server tells of an item without being asked: that somebody else is to store it anew, that it is stale, that who asks is to
/// store it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks(pub u64);

impl Marks {
    /// In the order in which they are told.
    const ALL: [u8; 3] = *b"ZXW";

    /// Their letters.
    pub fn letters(self) -> impl Iterator<Item = u8> {
        let is_set = move |&(bit, _): &(usize, u8)| self.0 >> bit & 1 == 1;
        Self::ALL
            .into_iter()
            .enumerate()
            .filter(is_set)
            .map(|(_, letter)| letter)
    }

    pub fn is_stale(self) -> bool {
        self.letters().any(|mark| mark == b'X')
    }

    /// Whether they are of an item that has just been made.
    pub fn are_of_new(self) -> bool {
        self.has_won() && !self.is_stale()
    }

    /// Whether who asks is to store it anew.
    pub fn has_won(self) -> bool {
        self.letters().any(|mark| mark == b'W')
    }

    /// Whether a copy of an item of so many bytes would not say what they say: that it is stale, or, where it is empty, that it holds the
    /// place of what somebody is about to store.
    pub fn forbid_a_copy(self, bytes: usize) -> bool {
        bytes == 0 && self.0 != 0 || self.is_stale()
    }
}

/// The server said something that is no answer: the connection cannot be trusted any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbage;

/// Reads the first line of `bytes`. None while it has not ended; else its length with the line end, and the answer.
pub fn parse(bytes: &[u8]) -> Option<Result<(usize, Response<'_>), Garbage>> {
    // Those that there are most of are read in one pass.
    if let Some(text) = bytes.strip_prefix(b"VALUE ") {
        return match value(bytes, text) {
            Some(value) => Some(Ok(value)),
            None => (find_newline(bytes).is_some() || bytes.len() > VALUE_LINE_BYTES_MAX).then_some(Err(Garbage)),
        };
    }
    for (line, status) in [(&b"END\r\n"[..], Status::End), (b"STORED\r\n", Status::Stored)] {
        if bytes.starts_with(line) {
            let response = Response::new(status, &bytes[..line.len() - LINE_END.len()]);
            return Some(Ok((line.len(), response)));
        }
    }
    stored_with_unique(bytes).map(Ok).or_else(|| parse_any(bytes))
}

/// The same for any line that is no VALUE.
#[inline(never)]
fn parse_any(bytes: &[u8]) -> Option<Result<(usize, Response<'_>), Garbage>> {
    let Some(newline) = find_newline(bytes) else {
        return (bytes.len() > RESPONSE_LINE_BYTES_MAX).then_some(Err(Garbage));
    };
    let line = bytes[..newline].strip_suffix(b"\r").ok_or(Garbage);
    Some(line.and_then(parse_line).map(|response| (newline + 1, response)))
}

/// Reads the line that `bytes` begin with if it is `HD` with a unique and nothing else.
#[inline]
fn stored_with_unique(bytes: &[u8]) -> Option<(usize, Response<'_>)> {
    let (unique, text) = leading_plain(bytes.strip_prefix(b"HD c")?)?;
    let line_len = bytes.len() - text.strip_prefix(LINE_END)?.len();
    let response = Response {
        unique: Some(unique),
        ..Response::new(Status::MetaHit, &bytes[..line_len - LINE_END.len()])
    };
    Some((line_len, response))
}

fn parse_line(line: &[u8]) -> Result<Response<'_>, Garbage> {
    let mut response = Response::new(Status::End, line);
    let word_len = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let (word, alone) = (&line[..word_len], word_len == line.len());
    response.status = match word {
        b"END" if alone => Status::End,
        b"STORED" if alone => Status::Stored,
        b"NOT_STORED" if alone => Status::NotStored,
        b"NS" => Status::NotStored,
        b"EXISTS" if alone => Status::Exists,
        b"EX" => Status::Exists,
        b"NOT_FOUND" if alone => Status::NotFound,
        b"NF" => Status::NotFound,
        b"DELETED" if alone => Status::Deleted,
        b"TOUCHED" if alone => Status::Touched,
        b"OK" => return meta_flags(response, Status::Ok),
        b"VERSION" => Status::Version,
        b"ERROR" => response.failed(Fault::Unknown),
        b"CLIENT_ERROR" => response.failed(Fault::Client),
        b"SERVER_ERROR" => response.failed(Fault::Server),
        b"MEMLIMIT_ADJUST_FAILED" => response.failed(Fault::Other),
        b"EN" => Status::MetaMiss,
        b"HD" => return meta_flags(response, Status::MetaHit),
        b"STAT" => return Ok(statistic(response)),
        b"ME" => return Ok(debugging(response)),
        b"VA" => return meta_value(response),
        digits => {
            response.number = unsigned(digits).filter(|_| alone).ok_or(Garbage)?;
            Status::Number
        }
    };
    if matches!(response.status, Status::Error | Status::Version) {
        response.message = match response.fault {
            Fault::Other => line,
            _ => &line[word_len..],
        };
    }
    Ok(response)
}

/// `STAT <name> <value>`.
fn statistic(mut response: Response<'_>) -> Response<'_> {
    response.status = Status::Stat;
    let mut words = response.line.splitn(3, |&byte| byte == b' ').skip(1);
    response.key = words.next().unwrap_or(&[]);
    response.message = words.next().unwrap_or(&[]);
    response
}

/// `ME <key> <name>=<value>*`.
fn debugging(mut response: Response<'_>) -> Response<'_> {
    response.status = Status::MetaDebug;
    response.key = response.line.split(|&byte| byte == b' ').nth(1).unwrap_or(&[]);
    response
}

/// Reads the line that `bytes` begin with, `text` of it behind `VALUE `. None if a memcached would not write it, or if it has not ended.
#[inline]
fn value<'a>(bytes: &'a [u8], text: &'a [u8]) -> Option<(usize, Response<'a>)> {
    let (key, text) = text.split_at(key_len(text)?);
    let (flags, text) = plain_behind_space(text)?;
    let (len, text) = plain_behind_space(text)?;
    let (unique, text) = match text {
        [b' ', ..] => plain_behind_space(text).map(|(unique, text)| (Some(unique), text))?,
        _ => (None, text),
    };
    let behind = text.strip_prefix(LINE_END)?;
    if len > VALUE_BYTES_MAX || !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return None;
    }
    let line_len = bytes.len() - behind.len();
    let response = Response {
        key,
        flags: Some(u32::try_from(flags).ok()?),
        unique,
        value_len: Some(usize::try_from(len).ok()?),
        ..Response::new(Status::Value, &bytes[..line_len - LINE_END.len()])
    };
    Some((line_len, response))
}

/// How long the key is that `text` begins with: as far as a blank. None if the line ends before, or has not come that far.
#[inline]
fn key_len(text: &[u8]) -> Option<usize> {
    let mut len = 0;
    loop {
        len += find_blank_or_control(&text[len..])?;
        match text[len] {
            b' ' => return Some(len),
            b'\n' => return None,
            // Any other control character is a part of the key.
            _ => len += 1,
        }
    }
}

fn meta_value(mut response: Response<'_>) -> Result<Response<'_>, Garbage> {
    let len = response.line.split(|&byte| byte == b' ').nth(1);
    response.value_len = Some(len.and_then(value_len).ok_or(Garbage)?);
    meta_flags(response, Status::MetaValue)
}

/// Reads what a meta command tells of an item. What is told of it goes into commands to another server.
fn meta_flags(mut response: Response<'_>, status: Status) -> Result<Response<'_>, Garbage> {
    response.status = status;
    let (mut key, mut size) = (None, None);
    // What is told twice is what it was told first.
    for word in response.line.split(|&byte| byte == b' ').skip(1) {
        match word {
            [b'k', text @ ..] => key = key.or(Some(text)),
            [b's', text @ ..] => size = size.or(Some(unsigned(text))),
            [b'f', text @ ..] if response.flags.is_none() => response.flags = Some(flags(text).ok_or(Garbage)?),
            [b'c', text @ ..] if response.unique.is_none() => response.unique = Some(unsigned(text).ok_or(Garbage)?),
            [b't', text @ ..] if response.ttl_s.is_none() => {
                response.ttl_s = Some(signed(text).filter(|&ttl_s| ttl_s >= -1).ok_or(Garbage)?);
            }
            _ => {}
        }
    }
    response.key = key.unwrap_or(&[]);
    response.size = size.flatten();
    Ok(response)
}

fn value_len(word: &[u8]) -> Option<usize> {
    let len = unsigned(word).filter(|&len| len <= VALUE_BYTES_MAX)?;
    usize::try_from(len).ok()
}

/// The flags of an item, as a server writes them.
pub fn flags(word: &[u8]) -> Option<u32> {
    unsigned(word).and_then(|flags| u32::try_from(flags).ok())
}

/// A number as a server writes it.
pub fn unsigned(word: &[u8]) -> Option<u64> {
    match leading_plain(word) {
        Some((value, [])) => Some(value),
        _ => None,
    }
}

/// The same, perhaps below zero.
pub fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits).filter(|&value| value > 0)?),
        None => i64::try_from(unsigned(word)?).ok(),
    }
}

impl<'a> Response<'a> {
    /// One that tells no more than what it is.
    #[inline]
    fn new(status: Status, line: &'a [u8]) -> Self {
        Self {
            status,
            line,
            fault: Fault::None,
            number: 0,
            message: &[],
            key: &[],
            flags: None,
            unique: None,
            ttl_s: None,
            size: None,
            value_len: None,
        }
    }

    /// The same without an item, to be kept.
    pub fn reply(&self) -> Reply {
        Reply::new(self.status, self.fault, self.number, self.message)
    }

    /// The same of a write: an item whose unique is told has been stored, or counted; else it has been removed. `marks`: or it was marked,
    /// with these [`Marks`] now.
    pub fn reply_to_write(&self, marks: bool) -> Reply {
        let unique = self.unique.unwrap_or(0);
        match (self.status, self.unique) {
            (Status::MetaHit | Status::Ok, None) if marks => {
                Reply::new(Status::Touched, self.fault, self.marks().0, b"")
            }
            (Status::MetaMiss, _) if marks => Reply::plain(Status::NotFound),
            (Status::MetaHit, Some(unique)) => Reply::new(Status::Stored, self.fault, unique, b"").with_unique(unique),
            (Status::MetaHit | Status::Ok, None) => Reply::plain(Status::Deleted),
            _ => self.reply().with_unique(unique),
        }
    }

    /// The same answer where the value behind it, with its line end, is the number that was counted to.
    pub fn counted(&self, value: &[u8]) -> Result<Response<'a>, Garbage> {
        let number = value.strip_suffix(LINE_END).and_then(unsigned).ok_or(Garbage)?;
        Ok(Response {
            status: Status::Number,
            number,
            value_len: None,
            ..*self
        })
    }

    fn failed(&mut self, fault: Fault) -> Status {
        self.fault = fault;
        Status::Error
    }

    /// What a meta command tells of an item under this letter, where that is a number.
    pub fn told(&self, letter: u8) -> Option<u64> {
        self.meta_flag(letter).and_then(unsigned)
    }

    /// What it tells of an item without being asked.
    pub fn marks(&self) -> Marks {
        let is_meta = matches!(self.status, Status::MetaValue | Status::MetaHit | Status::Ok);
        let words = self.line.split(|&byte| byte == b' ').skip(1).filter(|_| is_meta);
        let bits = words.filter_map(|word| match word {
            [mark] => Marks::ALL.iter().position(|known| known == mark),
            _ => None,
        });
        Marks(bits.fold(0, |bits, bit| bits | 1 << bit))
    }

    /// The value of a meta return flag (`t-1` gives `-1` for `t`), if the server sent it.
    fn meta_flag(&self, flag: u8) -> Option<&'a [u8]> {
        self.line
            .split(|&byte| byte == b' ')
            .skip(1)
            .find_map(|word| word.strip_prefix(&[flag]))
    }
}

#[cfg(test)]
mod tests;
