//! Replies as text clients get them.

use crate::protocol::LINE_END;
use crate::protocol::number::Decimal;
use crate::protocol::reply::{Fault, Reply, Status};
use crate::protocol::server::answer::Response;

/// Writes a reply, part by part.
pub fn encode(reply: &Reply, mut add: impl FnMut(&[u8])) {
    let word: &[u8] = match reply.status {
        Status::Stored => return add(b"STORED\r\n"),
        Status::Bye => return,
        Status::End => return add(b"END\r\n"),
        Status::Number => {
            add(Decimal::new(reply.number).as_bytes());
            return add(LINE_END);
        }
        Status::NotStored => b"NOT_STORED",
        Status::Exists => b"EXISTS",
        Status::NotFound => b"NOT_FOUND",
        Status::Deleted => b"DELETED",
        Status::Touched => b"TOUCHED",
        Status::Ok => b"OK",
        Status::Reset => b"RESET",
        Status::Version => b"VERSION",
        Status::MetaMiss => b"EN",
        Status::MetaHit => b"HD",
        Status::MetaDebug => b"ME",
        Status::Error => match reply.fault {
            Fault::Unknown => b"ERROR",
            Fault::Client => b"CLIENT_ERROR",
            Fault::Server => b"SERVER_ERROR",
            Fault::Other | Fault::None => b"",
        },
        // Items and statistics are no replies of one line.
        Status::Value | Status::MetaValue | Status::Stat => b"",
    };
    add(word);
    add(reply.message());
    add(LINE_END);
}

/// A reply as a line with its end.
pub fn line(reply: &Reply) -> Vec<u8> {
    let mut line = Vec::new();
    encode(reply, |part| line.extend_from_slice(part));
    line
}

/// The line in front of an item's value, with its end.
pub fn value_line(item: &Response<'_>, unique: Option<u64>, value_len: usize) -> Vec<u8> {
    let mut line = [b"VALUE ", item.key].concat();
    let flags = Some(item.flags.unwrap_or(0).into());
    for number in [flags, Some(value_len as u64), unique].into_iter().flatten() {
        line.push(b' ');
        line.extend_from_slice(Decimal::new(number).as_bytes());
    }
    line.extend_from_slice(LINE_END);
    line
}

/// Adds one of the lines that `stats` is answered by. After the last comes [`Status::End`].
pub fn add_statistic(lines: &mut Vec<u8>, name: &str, value: &str) {
    for part in ["STAT ", name, " ", value, "\r\n"] {
        lines.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::server::answer::parse;

    #[test]
    fn what_a_server_says_is_said_again_as_it_was() {
        for text in [
            "STORED",
            "END",
            "42",
            "18446744073709551615",
            "NOT_STORED",
            "EXISTS",
            "NOT_FOUND",
            "DELETED",
            "TOUCHED",
            "OK",
            "VERSION 1.6.18",
            "ERROR",
            "ERROR Too many open connections",
            "CLIENT_ERROR cannot increment or decrement non-numeric value",
            "SERVER_ERROR",
            "SERVER_ERROR out of memory storing object",
            "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes",
        ] {
            let text = format!("{text}\r\n");
            let (_, response) = parse(text.as_bytes()).expect("a line").expect("an answer");
            assert_eq!(
                line(&response.reply()).escape_ascii().to_string(),
                text.as_bytes().escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn an_items_line_is_written_as_it_came_and_with_another_unique() {
        let text = b"VALUE k 4294967295 5 7\r\n";
        let (_, item) = parse(text).expect("a line").expect("an answer");
        assert_eq!(value_line(&item, item.unique, 5), text);
        assert_eq!(
            value_line(&item, Some(u64::MAX), 5),
            b"VALUE k 4294967295 5 18446744073709551615\r\n"
        );
        assert_eq!(value_line(&item, None, 5), b"VALUE k 4294967295 5\r\n");
    }
}
