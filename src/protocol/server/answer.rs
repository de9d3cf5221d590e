//! What a server answers, in the text protocol and in as much of the meta protocol as repair needs.
//!
//! One shape for every command: a status, the words behind it, and the length of the data block that follows, if any.
//! Nothing here knows which command the answer belongs to: see [`question`](super::question).
//!
//! What a memcached would not write is garbage, in the numbers too: who takes `-0` or `+5` for a length and is wrong takes
//! a value for answers, or answers for a value.

pub use crate::protocol::reply::Status;
use crate::protocol::reply::{Fault, Reply};
use crate::protocol::{KEY_BYTES_MAX, LINE_END, find_byte, find_newline};

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
    let Some(newline) = find_newline(bytes) else {
        let len_max = match bytes.starts_with(b"VALUE ") {
            true => VALUE_LINE_BYTES_MAX,
            false => RESPONSE_LINE_BYTES_MAX,
        };
        return (bytes.len() > len_max).then_some(Err(Garbage));
    };
    let line = bytes[..newline].strip_suffix(b"\r").ok_or(Garbage);
    Some(line.and_then(parse_line).map(|response| (newline + 1, response)))
}

fn parse_line(line: &[u8]) -> Result<Response<'_>, Garbage> {
    let mut response = Response {
        status: Status::End,
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
    };
    // The one that there are most of.
    if let Some(text) = line.strip_prefix(b"VALUE ") {
        return value(response, text);
    }
    if line == b"END" {
        return Ok(response);
    }
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

/// `text` is what stands behind `VALUE `.
fn value<'a>(mut response: Response<'a>, text: &'a [u8]) -> Result<Response<'a>, Garbage> {
    let key_len = find_byte(text, b' ').ok_or(Garbage)?;
    if !(1..=KEY_BYTES_MAX).contains(&key_len) {
        return Err(Garbage);
    }
    let (key, text) = text.split_at(key_len);
    let (flags, text) = number(text).ok_or(Garbage)?;
    let (len, text) = number(text).filter(|&(len, _)| len <= VALUE_BYTES_MAX).ok_or(Garbage)?;
    response.status = Status::Value;
    response.key = key;
    response.flags = Some(u32::try_from(flags).map_err(|_| Garbage)?);
    response.value_len = Some(usize::try_from(len).map_err(|_| Garbage)?);
    if !text.is_empty() {
        let (unique, text) = number(text).ok_or(Garbage)?;
        response.unique = Some(unique);
        if !text.is_empty() {
            return Err(Garbage);
        }
    }
    Ok(response)
}

/// The number behind a space, and what stands behind the number.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    digits(text.strip_prefix(b" ")?)
}

/// A word that is a number as a server writes it, digits and no more of them than it takes; and what stands behind it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    let mut count = 0;
    while let Some(&byte @ b'0'..=b'9') = text.get(count) {
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        count += 1;
    }
    let (digits, rest) = text.split_at(count);
    let shortest = count == 1 || digits.first().is_some_and(|&first| first != b'0');
    (shortest && matches!(rest, [] | [b' ', ..])).then_some((value, rest))
}

fn meta_value(mut response: Response<'_>) -> Result<Response<'_>, Garbage> {
    let len = response.line.split(|&byte| byte == b' ').nth(1);
    response.value_len = Some(len.and_then(value_len).ok_or(Garbage)?);
    meta_flags(response, Status::MetaValue)
}

/// Reads what a meta command tells of an item. What is told of it goes into commands to another server.
fn meta_flags(mut response: Response<'_>, status: Status) -> Result<Response<'_>, Garbage> {
    response.status = status;
    response.key = response.meta_flag(b'k').unwrap_or(&[]);
    if let Some(word) = response.meta_flag(b'f') {
        response.flags = Some(flags(word).ok_or(Garbage)?);
    }
    if let Some(word) = response.meta_flag(b'c') {
        response.unique = Some(unsigned(word).ok_or(Garbage)?);
    }
    if let Some(word) = response.meta_flag(b't') {
        response.ttl_s = Some(signed(word).filter(|&ttl_s| ttl_s >= -1).ok_or(Garbage)?);
    }
    response.size = response.meta_flag(b's').and_then(unsigned);
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
    digits(word).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}

/// The same, perhaps below zero.
pub fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits).filter(|&value| value > 0)?),
        None => i64::try_from(unsigned(word)?).ok(),
    }
}

impl<'a> Response<'a> {
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
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_is_known() {
        for (text, status) in [
            (&b"END\r\n"[..], Status::End),
            (b"STORED\r\n", Status::Stored),
            (b"NOT_STORED\r\n", Status::NotStored),
            (b"EXISTS\r\n", Status::Exists),
            (b"EX\r\n", Status::Exists),
            (b"NF \r\n", Status::NotFound),
            (b"NOT_FOUND\r\n", Status::NotFound),
            (b"DELETED\r\n", Status::Deleted),
            (b"TOUCHED\r\n", Status::Touched),
            (b"OK\r\n", Status::Ok),
            (b"42\r\n", Status::Number),
            (b"VERSION 1.6.18\r\n", Status::Version),
            (b"EN\r\n", Status::MetaMiss),
            (b"HD\r\n", Status::MetaHit),
            (b"ME k exp=-1\r\n", Status::MetaDebug),
            (b"STAT pid 7\r\n", Status::Stat),
            (b"ERROR\r\n", Status::Error),
            (b"SERVER_ERROR out of memory storing object\r\n", Status::Error),
            (b"CLIENT_ERROR bad data chunk\r\n", Status::Error),
        ] {
            let (len, response) = parse(text).unwrap().unwrap();
            assert_eq!((len, response.status, response.value_len), (text.len(), status, None));
        }
    }

    #[test]
    fn values_tell_their_key_and_length() {
        let (len, response) = parse(b"VALUE k 7 5 99\r\nhello\r\nEND\r\n").unwrap().unwrap();
        assert_eq!(
            (len, response.status, response.key, response.value_len),
            (16, Status::Value, &b"k"[..], Some(5))
        );
        let (_, response) = parse(b"VA 5 t-1 f7\r\n").unwrap().unwrap();
        assert_eq!((response.status, response.value_len), (Status::MetaValue, Some(5)));
        assert_eq!(
            (response.ttl_s, response.flags, response.unique),
            (Some(-1), Some(7), None)
        );
    }

    #[test]
    fn meta_flags_are_found_with_and_without_a_value() {
        for line in [&b"HD c7\r\n"[..], b"VA 1 c7\r\n"] {
            let (_, response) = parse(line).unwrap().unwrap();
            assert_eq!(response.meta_flag(b'c'), Some(&b"7"[..]));
            assert_eq!(response.meta_flag(b't'), None);
        }
    }

    #[test]
    fn numbers_are_what_a_server_writes() {
        assert_eq!(
            (unsigned(b"0"), unsigned(b"18446744073709551615")),
            (Some(0), Some(u64::MAX))
        );
        assert_eq!((flags(b"4294967295"), flags(b"4294967296")), (Some(u32::MAX), None));
        for odd in [
            &b""[..],
            b"-0",
            b"+5",
            b"05",
            b"00",
            b"5 ",
            b"5x",
            b"-",
            b"18446744073709551616",
        ] {
            assert_eq!((unsigned(odd), signed(odd)), (None, None), "{}", odd.escape_ascii());
        }
        assert_eq!((unsigned(b"-5"), signed(b"-5")), (None, Some(-5)));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(
            (signed(b"9223372036854775808"), signed(b"-9223372036854775809")),
            (None, None)
        );
    }

    #[test]
    fn what_no_memcached_writes_is_garbage() {
        for text in [
            "VALUE k 0 -0",
            "VALUE k 0 +5",
            "VALUE k 0 05",
            "VALUE k 0 5 ",
            "VALUE k 0 5 7 8",
            "VALUE k 0 5 -7",
            "VALUE k -1 5",
            "VALUE k 4294967296 5",
            "VALUE  0 5",
            "VALUE k 0 1073741825",
            "VALUE k 0 18446744073709551616",
            "VA -0 t-1",
            "VA 5 t-2",
            "VA 5 t",
            "VA 5 t-1 f",
            "VA 5 t-1 f-1",
            "VA 5 t-1 f4294967296",
            "VA 5 t-1 f0\x0b0",
            "VA 5 c-1",
            "HD c07",
            "OK t9223372036854775808",
            "VA",
            "STORED k",
            "END 1",
            "DELETED ",
            " STORED",
            "42 ",
            "042",
            "-1",
            "18446744073709551616",
            "stored",
            "",
        ] {
            assert_eq!(parse(format!("{text}\r\n").as_bytes()), Some(Err(Garbage)), "{text:?}");
        }
        assert_eq!(parse(b"STORED\n"), Some(Err(Garbage)), "a line ends with both");
        let long = format!("VALUE {} 0 5\r\n", "k".repeat(KEY_BYTES_MAX + 1));
        assert_eq!(parse(long.as_bytes()), Some(Err(Garbage)));
        let longest = format!(
            "VALUE {} 4294967295 1073741824 {}\r\n",
            "k".repeat(KEY_BYTES_MAX),
            u64::MAX
        );
        assert_eq!(parse(&longest.as_bytes()[..longest.len() - 1]), None);
        assert!(parse(longest.as_bytes()).unwrap().is_ok());
        assert_eq!(
            parse(&[b"VALUE ", &[b'k'; VALUE_LINE_BYTES_MAX][..]].concat()),
            Some(Err(Garbage))
        );
    }

    #[test]
    fn garbage_is_told_from_an_unfinished_line() {
        assert_eq!(parse(b"VALU"), None);
        assert_eq!(parse(b"HTTP/1.1 400 Bad Request\r\n"), Some(Err(Garbage)));
        assert_eq!(parse(b"VALUE k x 5\r\n"), Some(Err(Garbage)));
        assert_eq!(parse(b"VALUE k 0\r\n"), Some(Err(Garbage)));
        assert_eq!(parse(&[b'x'; 4000]), Some(Err(Garbage)));
    }
}
