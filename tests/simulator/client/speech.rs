//! The tongue of a client that speaks the binary protocol: what it thinks of in lines is said in packets, and what it is told in packets is
//! heard in lines, so that the rest of it, and the checker, are the same.
//!
//! A retrieval is a quiet packet a key and a noop; what needs no reply is quiet, and what is told of it, which can only be an error, is not
//! passed on.

use std::collections::VecDeque;

const HEADER_BYTES: usize = 24;
const GET_KEY_QUIETLY: u8 = 0x0d;
const TOUCH_AND_GET_KEY_QUIETLY: u8 = 0x24;
const NOOP: u8 = 0x0a;
/// Makes nothing where there is nothing to count.
const MAKE_NOTHING: u32 = u32::MAX;

/// One connection's tongue.
#[derive(Default)]
pub struct Speech {
    spoken: VecDeque<Spoken>,
    serial: u32,
    /// The beginning of a packet.
    unread: Vec<u8>,
}

/// A request that has not been answered.
struct Spoken {
    opaque: u32,
    verb: String,
    quiet: bool,
    /// What a retrieval was told in place of its end.
    error: Option<String>,
}

/// A packet that has come.
struct Heard<'a> {
    opcode: u8,
    status: u16,
    opaque: u32,
    unique: u64,
    extras: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Heard<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let header = bytes.get(..HEADER_BYTES)?;
        let number = |at: usize, len: usize| {
            header[at..at + len]
                .iter()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        let (key_len, extras_len, body_len) = (number(2, 2) as usize, number(4, 1) as usize, number(8, 4) as usize);
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + body_len)?;
        let (extras, rest) = body.split_at(extras_len);
        let (key, value) = rest.split_at(key_len);
        let heard = Self {
            opcode: header[1],
            status: number(6, 2) as u16,
            opaque: number(12, 4) as u32,
            unique: number(16, 8),
            extras,
            key,
            value,
        };
        Some((heard, HEADER_BYTES + body_len))
    }
}

/// The request that a text begins with, if it is whole: its line, its value, and how long it is.
pub fn request_at(text: &[u8]) -> Option<(&str, &[u8], usize)> {
    let end = text.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&text[..end]).expect("what the client thinks of is text");
    let words: Vec<&str> = line.split(' ').collect();
    let behind = end + 2;
    if !matches!(words[0], "set" | "add" | "replace" | "append" | "prepend" | "cas") {
        return Some((line, b"", behind));
    }
    let len: usize = words[4].parse().expect("a length");
    let block = text.get(behind..behind + len + 2)?;
    Some((line, &block[..len], behind + block.len()))
}

impl Speech {
    /// Puts lines into packets. What is not a whole request at the end is not said.
    pub fn say(&mut self, mut text: &[u8]) -> Vec<u8> {
        let mut packets = Vec::new();
        while let Some((words, value, used)) = request_at(text) {
            let words: Vec<&str> = words.split(' ').collect();
            self.say_one(&words, value, &mut packets);
            text = &text[used..];
        }
        packets
    }

    fn say_one(&mut self, words: &[&str], value: &[u8], packets: &mut Vec<u8>) {
        self.serial += 1;
        let opaque = self.serial;
        let quiet = words.last() == Some(&"noreply");
        self.spoken.push_back(Spoken {
            opaque,
            verb: words[0].to_owned(),
            quiet,
            error: None,
        });
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let exptime = |at: usize| (number(at) as u32).to_be_bytes();
        let mut say = |opcode: u8, extras: &[u8], key: &str, value: &[u8], unique: u64| {
            packets.extend([0x80, opcode]);
            packets.extend((key.len() as u16).to_be_bytes());
            packets.extend([extras.len() as u8, 0, 0, 0]);
            packets.extend(((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
            packets.extend(opaque.to_be_bytes());
            packets.extend(unique.to_be_bytes());
            [extras, key.as_bytes(), value]
                .iter()
                .for_each(|part| packets.extend_from_slice(part));
        };
        let loud_or_quiet = |loud: u8, silent: u8| if quiet { silent } else { loud };
        match words[0] {
            "get" | "gets" => {
                words[1..].iter().for_each(|key| say(GET_KEY_QUIETLY, b"", key, b"", 0));
                say(NOOP, b"", "", b"", 0);
            }
            "gat" | "gats" => {
                let extras = exptime(1);
                words[2..]
                    .iter()
                    .for_each(|key| say(TOUCH_AND_GET_KEY_QUIETLY, &extras, key, b"", 0));
                say(NOOP, b"", "", b"", 0);
            }
            "set" | "add" | "replace" | "cas" => {
                let extras = [(number(2) as u32).to_be_bytes(), exptime(3)].concat();
                let opcode = match words[0] {
                    "add" => loud_or_quiet(0x02, 0x12),
                    "replace" => loud_or_quiet(0x03, 0x13),
                    _ => loud_or_quiet(0x01, 0x11),
                };
                let unique = if words[0] == "cas" { number(5) } else { 0 };
                say(opcode, &extras, words[1], value, unique);
            }
            "append" => say(loud_or_quiet(0x0e, 0x19), b"", words[1], value, 0),
            "prepend" => say(loud_or_quiet(0x0f, 0x1a), b"", words[1], value, 0),
            "incr" | "decr" => {
                let extras = [&number(2).to_be_bytes()[..], &[0; 8], &MAKE_NOTHING.to_be_bytes()].concat();
                let opcode = match words[0] {
                    "incr" => loud_or_quiet(0x05, 0x15),
                    _ => loud_or_quiet(0x06, 0x16),
                };
                say(opcode, &extras, words[1], b"", 0);
            }
            // There is no quiet one: what is told is not passed on.
            "touch" => say(0x1c, &exptime(2), words[1], b"", 0),
            "delete" => say(loud_or_quiet(0x04, 0x14), b"", words[1], b"", 0),
            "flush_all" => {
                let delay = words.get(1).filter(|word| **word != "noreply").map(|_| exptime(1));
                say(
                    loud_or_quiet(0x08, 0x18),
                    delay.as_ref().map_or(b"", |delay| delay),
                    "",
                    b"",
                    0,
                );
            }
            "version" => say(0x0b, b"", "", b"", 0),
            other => panic!("{other} cannot be said in packets"),
        }
    }

    /// Puts what has come into lines.
    pub fn hear(&mut self, bytes: &[u8], lines: &mut Vec<u8>) -> Result<(), String> {
        self.unread.extend_from_slice(bytes);
        // One client too many is told so before it has said anything.
        if self.unread.first().is_some_and(|&magic| magic != 0x81) {
            lines.append(&mut self.unread);
            return Ok(());
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((heard, len)) = Heard::read(rest) {
            if rest[0] != 0x81 {
                return Err(format!("was told what is no packet: {}", rest.escape_ascii()));
            }
            self.take(&heard, lines)?;
            rest = &rest[len..];
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    fn take(&mut self, heard: &Heard<'_>, lines: &mut Vec<u8>) -> Result<(), String> {
        // What was quiet before it is done.
        while self
            .spoken
            .front()
            .is_some_and(|spoken| spoken.quiet && spoken.opaque != heard.opaque)
        {
            self.spoken.pop_front();
        }
        let Some(spoken) = self.spoken.front_mut().filter(|spoken| spoken.opaque == heard.opaque) else {
            return Err(format!("was told something out of order, opcode {:#04x}", heard.opcode));
        };
        let is_retrieval = matches!(spoken.verb.as_str(), "get" | "gets" | "gat" | "gats");
        if is_retrieval && heard.opcode != NOOP {
            match heard.status {
                0 => lines.extend(value_lines(&spoken.verb, heard)),
                _ => spoken.error = Some(line_of(&spoken.verb, heard)),
            }
            return Ok(());
        }
        if let Some(spoken) = self.spoken.pop_front().filter(|spoken| !spoken.quiet) {
            let line = match is_retrieval {
                true => spoken.error.unwrap_or("END".to_owned()),
                false => line_of(&spoken.verb, heard),
            };
            lines.extend(line.as_bytes());
            lines.extend(b"\r\n");
        }
        Ok(())
    }
}

fn value_lines(verb: &str, heard: &Heard<'_>) -> Vec<u8> {
    let flags = heard.extras.iter().fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte));
    let unique = match verb {
        "gets" | "gats" => format!(" {}", heard.unique),
        _ => String::new(),
    };
    let key = String::from_utf8_lossy(heard.key);
    let line = format!("VALUE {key} {flags} {}{unique}\r\n", heard.value.len());
    [line.as_bytes(), heard.value, b"\r\n"].concat()
}

/// What a text client would have been told.
fn line_of(verb: &str, heard: &Heard<'_>) -> String {
    let body = String::from_utf8_lossy(heard.value);
    let done = || match verb {
        "incr" | "decr" => {
            let number = heard.value.iter().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
            number.to_string()
        }
        "delete" => "DELETED".to_owned(),
        "touch" => "TOUCHED".to_owned(),
        "flush_all" => "OK".to_owned(),
        "version" => format!("VERSION {body}"),
        _ => "STORED".to_owned(),
    };
    match (heard.status, verb) {
        (0, _) => done(),
        (1, "replace") | (2, "add") | (5, _) => "NOT_STORED".to_owned(),
        (1, _) => "NOT_FOUND".to_owned(),
        (2, _) => "EXISTS".to_owned(),
        (3, _) => "SERVER_ERROR object too large for cache".to_owned(),
        (6, _) => "CLIENT_ERROR cannot increment or decrement non-numeric value".to_owned(),
        (0x82 | 0x86, _) => format!("SERVER_ERROR {body}"),
        (status, _) => format!("ERROR {status} {body}"),
    }
}
