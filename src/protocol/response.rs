//! What a server answers, in the text protocol and in as much of the meta protocol as repair needs.
//!
//! One shape for every command: a status, the words behind it, and the length of the data block that follows, if any.
//! Nothing here knows which command the answer belongs to; that is the business of the link's queue.

use super::find_newline;
use super::number::unsigned;

/// Longest status line that a server sends: VALUE, a key, three numbers. A longer one is garbage.
pub const RESPONSE_LINE_BYTES_MAX: usize = 2048;

/// The first word of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `VALUE <key> <flags> <bytes> [<cas unique>]`, a data block follows.
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
    /// The new value of incr and decr.
    Number,
    Version,
    /// `VA <bytes> <flags>*`, a data block follows.
    MetaValue,
    /// `EN`: a meta miss.
    MetaMiss,
    /// `HD`: a meta hit of which no value was asked for.
    MetaHit,
    /// `STAT <name> <value>`; more of them or END follow.
    Stat,
    /// `ERROR`, `CLIENT_ERROR ...`, `SERVER_ERROR ...`.
    Error,
}

/// One answer line, understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    pub status: Status,
    /// The line without its end.
    pub line: &'a [u8],
    /// The key of a VALUE.
    pub key: &'a [u8],
    /// Bytes of the data block behind the line, its line end not counted; None when there is no block.
    pub value_len: Option<usize>,
}

/// The server said something that is no answer: the connection cannot be trusted any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbage;

/// Reads the first line of `bytes`. None while it has not ended; else its length with the line end, and the answer.
pub fn parse(bytes: &[u8]) -> Option<Result<(usize, Response<'_>), Garbage>> {
    let Some(newline) = find_newline(bytes) else {
        return (bytes.len() > RESPONSE_LINE_BYTES_MAX).then_some(Err(Garbage));
    };
    let line = match &bytes[..newline] {
        [before @ .., b'\r'] => before,
        line => line,
    };
    Some(parse_line(line).map(|response| (newline + 1, response)))
}

fn parse_line(line: &[u8]) -> Result<Response<'_>, Garbage> {
    let word_len = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let mut response = Response {
        status: Status::End,
        line,
        key: &[],
        value_len: None,
    };
    response.status = match &line[..word_len] {
        b"VALUE" => return value(response),
        b"END" => Status::End,
        b"STORED" => Status::Stored,
        b"NOT_STORED" => Status::NotStored,
        b"EXISTS" | b"EX" => Status::Exists,
        b"NOT_FOUND" | b"NF" => Status::NotFound,
        b"DELETED" => Status::Deleted,
        b"TOUCHED" => Status::Touched,
        b"OK" => Status::Ok,
        b"VERSION" => Status::Version,
        b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" | b"MEMLIMIT_ADJUST_FAILED" => Status::Error,
        b"EN" => Status::MetaMiss,
        b"HD" => Status::MetaHit,
        b"STAT" => Status::Stat,
        b"VA" => return meta_value(response),
        digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => Status::Number,
        _ => return Err(Garbage),
    };
    Ok(response)
}

fn value(mut response: Response<'_>) -> Result<Response<'_>, Garbage> {
    let mut words = response.line.split(|&byte| byte == b' ').skip(1);
    response.status = Status::Value;
    response.key = words.next().ok_or(Garbage)?;
    let _flags = words.next().and_then(unsigned).ok_or(Garbage)?;
    let len = words.next().and_then(unsigned).ok_or(Garbage)?;
    response.value_len = Some(usize::try_from(len).map_err(|_| Garbage)?);
    Ok(response)
}

fn meta_value(mut response: Response<'_>) -> Result<Response<'_>, Garbage> {
    let mut words = response.line.split(|&byte| byte == b' ').skip(1);
    let len = words.next().and_then(unsigned).ok_or(Garbage)?;
    response.status = Status::MetaValue;
    response.value_len = Some(usize::try_from(len).map_err(|_| Garbage)?);
    Ok(response)
}

impl Response<'_> {
    /// The value of a meta return flag (`t-1` gives `-1` for `t`), if the server sent it.
    pub fn meta_flag(&self, flag: u8) -> Option<&[u8]> {
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
            (b"NF\r\n", Status::NotFound),
            (b"NOT_FOUND\r\n", Status::NotFound),
            (b"DELETED\r\n", Status::Deleted),
            (b"TOUCHED\r\n", Status::Touched),
            (b"OK\r\n", Status::Ok),
            (b"42\r\n", Status::Number),
            (b"42 \r\n", Status::Number),
            (b"VERSION 1.6.18\r\n", Status::Version),
            (b"EN\r\n", Status::MetaMiss),
            (b"HD\r\n", Status::MetaHit),
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
            (response.meta_flag(b't'), response.meta_flag(b'f')),
            (Some(&b"-1"[..]), Some(&b"7"[..]))
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
    fn garbage_is_told_from_an_unfinished_line() {
        assert_eq!(parse(b"VALU"), None);
        assert_eq!(parse(b"HTTP/1.1 400 Bad Request\r\n"), Some(Err(Garbage)));
        assert_eq!(parse(b"VALUE k x 5\r\n"), Some(Err(Garbage)));
        assert_eq!(parse(b"VALUE k 0\r\n"), Some(Err(Garbage)));
        assert_eq!(parse(&[b'x'; 4000]), Some(Err(Garbage)));
    }
}
