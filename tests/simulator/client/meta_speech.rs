//! The tongue of a client that speaks in meta commands: what it thinks of in lines of the text protocol is said in these, and what it is told
//! is heard in those, so that the rest of it, and the checker, are the same.
//!
//! A retrieval is a quiet `mg` a key and an `mn`; what needs no reply is quiet, and an `mn` is behind it: what is told of it before that, which
//! can only be that it was not done, is not passed on. What has no meta command is said as it is.

use super::speech::request_at;
use std::collections::VecDeque;

/// What one client too many is told.
const TOLD_OFF: &[u8] = b"SERVER_ERROR OUT OF CONNECTION";

/// What is refused for its size is larger, and nothing but `#`.
const LARGEST_BYTES: usize = 10_000;

/// One connection's tongue.
#[derive(Default)]
pub struct MetaSpeech {
    spoken: VecDeque<Spoken>,
    /// What has come and is not a whole reply.
    unread: Vec<u8>,
}

/// A request that has not been answered.
struct Spoken {
    verb: String,
    /// An `mn` is behind it.
    is_marked: bool,
    /// What a retrieval was told in place of its end.
    error: Option<String>,
}

/// A line that has come, and the value behind it.
struct Heard<'a> {
    words: Vec<&'a str>,
    line: &'a str,
    value: &'a [u8],
}

impl<'a> Heard<'a> {
    fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..end]).unwrap_or("what is no text");
        let words: Vec<&str> = line.split(' ').collect();
        let mut used = end + 2;
        let mut value: &[u8] = b"";
        if words[0] == "VA" {
            let len: usize = words.get(1)?.parse().ok()?;
            value = bytes.get(used..used + len + 2)?.strip_suffix(b"\r\n")?;
            used += len + 2;
        }
        Some((Self { words, line, value }, used))
    }

    /// What is told under this letter.
    fn told(&self, letter: char) -> &'a str {
        let behind_len = if self.words[0] == "VA" { 2 } else { 1 };
        let mut words = self.words[behind_len..].iter();
        words.find_map(|word| word.strip_prefix(letter)).unwrap_or("")
    }
}

impl MetaSpeech {
    /// Puts lines into meta commands. What is not a whole request at the end is not said.
    pub fn say(&mut self, mut text: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some((words, value, used)) = request_at(text) {
            let words: Vec<&str> = words.split(' ').collect();
            self.say_one(&words, value, &text[..used], &mut said);
            text = &text[used..];
        }
        said
    }

    fn say_one(&mut self, words: &[&str], value: &[u8], as_it_is: &[u8], said: &mut Vec<u8>) {
        let noreply = words.last() == Some(&"noreply");
        let quiet = if noreply { " q" } else { "" };
        let (key, at) = (words.get(1).copied().unwrap_or(""), |at: usize| words[at]);
        let store = |mode: &str| {
            let (flags, exptime, len) = (at(2), at(3), value.len());
            let line = format!("ms {key} {len} F{flags} T{exptime}{mode}{quiet}\r\n");
            [line.as_bytes(), value, b"\r\n"].concat()
        };
        let pad = |mode: &str| {
            let line = format!("ms {key} {} {mode} s{quiet}\r\n", value.len());
            [line.as_bytes(), value, b"\r\n"].concat()
        };
        let get = |keys: &[&str], told: &str| {
            let each = keys.iter().map(|key| format!("mg {key} v f k q{told}\r\n"));
            each.collect::<String>().into_bytes()
        };
        // What is too large takes away what was there, if it is said by a meta command, whatever was to be done with it.
        let is_too_large = value.len() > LARGEST_BYTES && value.iter().all(|&byte| byte == b'#');
        let verb = if is_too_large { "" } else { words[0] };
        let command = match verb {
            "get" => get(&words[1..], ""),
            "gets" => get(&words[1..], " c"),
            "gat" => get(&words[2..], &format!(" T{key}")),
            "gats" => get(&words[2..], &format!(" c T{key}")),
            "set" => store(""),
            "add" => store(" ME"),
            "replace" => store(" MR"),
            "cas" => store(&format!(" C{}", at(5))),
            "append" => pad("MA"),
            "prepend" => pad("MP"),
            // Of what it has counted it wants to know more, for which magent asks once more.
            "incr" => format!("ma {key} D{} v t{quiet}\r\n", at(2)).into_bytes(),
            "decr" => format!("ma {key} MD D{} v t{quiet}\r\n", at(2)).into_bytes(),
            "touch" => format!("mg {key} T{}{quiet}\r\n", at(2)).into_bytes(),
            "delete" => format!("md {key}{quiet}\r\n").into_bytes(),
            _ => {
                // It may be in the middle of others.
                said.extend_from_slice(as_it_is);
                if !noreply {
                    self.note(words[0], false);
                }
                return;
            }
        };
        said.extend(command);
        let is_marked = noreply || words[0].starts_with('g');
        if is_marked {
            said.extend_from_slice(b"mn\r\n");
        }
        self.note(if noreply { "" } else { words[0] }, is_marked);
    }

    fn note(&mut self, verb: &str, is_marked: bool) {
        self.spoken.push_back(Spoken {
            verb: verb.to_owned(),
            is_marked,
            error: None,
        });
    }

    /// Puts what has come into lines.
    pub fn hear(&mut self, bytes: &[u8], lines: &mut Vec<u8>) -> Result<(), String> {
        self.unread.extend_from_slice(bytes);
        // That may come before it has said anything.
        let is_whole = self.unread.len() >= TOLD_OFF.len();
        if is_whole && self.unread.starts_with(TOLD_OFF) || !is_whole && TOLD_OFF.starts_with(&self.unread) {
            if is_whole {
                lines.append(&mut self.unread);
            }
            return Ok(());
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((heard, len)) = Heard::read(rest) {
            self.take(&heard, lines)?;
            rest = &rest[len..];
        }
        self.unread = rest.to_vec();
        Ok(())
    }

    fn take(&mut self, heard: &Heard<'_>, lines: &mut Vec<u8>) -> Result<(), String> {
        let Some(spoken) = self.spoken.front_mut() else {
            return Err(format!("was told {}, which it did not ask for", heard.line));
        };
        let gets = spoken.verb.starts_with('g');
        let line = match heard.words[0] {
            "MN" if !spoken.is_marked => return Err("was told MN out of order".to_owned()),
            "MN" if gets => spoken.error.take().unwrap_or("END".to_owned()),
            "MN" => {
                self.spoken.pop_front();
                return Ok(());
            }
            "VA" if gets => {
                lines.extend(value_lines(&spoken.verb, heard));
                return Ok(());
            }
            _ if gets => {
                spoken.error = Some(line_of("", heard));
                return Ok(());
            }
            _ if spoken.is_marked => return Ok(()),
            _ => line_of(&spoken.verb, heard),
        };
        self.spoken.pop_front();
        lines.extend(line.as_bytes());
        lines.extend(b"\r\n");
        Ok(())
    }
}

fn value_lines(verb: &str, heard: &Heard<'_>) -> Vec<u8> {
    let unique = match verb {
        "gets" | "gats" => format!(" {}", heard.told('c')),
        _ => String::new(),
    };
    let (key, flags) = (heard.told('k'), heard.told('f'));
    let line = format!("VALUE {key} {flags} {}{unique}\r\n", heard.value.len());
    [line.as_bytes(), heard.value, b"\r\n"].concat()
}

/// What a text client would have been told.
fn line_of(verb: &str, heard: &Heard<'_>) -> String {
    match (heard.words[0], verb) {
        ("VA", "incr" | "decr") => String::from_utf8_lossy(heard.value).into_owned(),
        ("HD", "delete") => "DELETED".to_owned(),
        ("HD", "touch") => "TOUCHED".to_owned(),
        ("HD", _) => "STORED".to_owned(),
        ("NS", _) => "NOT_STORED".to_owned(),
        ("EX", _) => "EXISTS".to_owned(),
        ("NF", _) | ("EN", "touch") => "NOT_FOUND".to_owned(),
        _ => heard.line.to_owned(),
    }
}
