//! What is written down of servers that miss writes, so that a magent that is killed, and started anew, knows it.
//!
//! ```text
//! 4f1c09be magent 1 6b0c...      the format, and which start of the machine it was written in
//! 9a2b71c3 s 192.168.36.54:11211 a server; they are counted from 0
//! 5ee0a1b2 l 0 712 1764403200    server 0 is process 712, started in that second by its clock
//! 02d1e5f7 m 0 user%201          server 0 has missed a write of this key, which its partner has acknowledged
//! 51b7aa02 c 0 user%201          server 0 has been given that key
//! 80d3f1c6 f 1                   server 1 may lack anything, but what it has is right
//! 77ab0c14 a 1                   server 1 may lack anything, and what it has may be old
//! e3b1aa90 w 0                   server 0 has all that its partners have: what stands above of it is void
//! 11c2d3e4 e                     magent has ended in good order
//! ```
//! In front of each line stands its checksum. Bytes of a key that are no letters of a word are written as in a URL.

use crate::proxy::fleet::introduction::Life;
use crate::proxy::fleet::ledger::news::{Became, Lost};
use std::collections::BTreeSet;
use std::str::FromStr;

/// The format.
const VERSION: &str = "1";

/// What stands in the journal.
#[derive(Default)]
pub struct Journal {
    /// Of each server, by its index, its number there and what was last said of it; None if it is not named there.
    pub told: Vec<Option<(usize, Lost)>>,
    /// By its index, too: in which life it is.
    pub lives: Vec<Option<Life>>,
    pub bytes: usize,
    pub bytes_anew: usize,
    /// How often it has been begun anew.
    pub begun: u64,
    /// It could not be written, then; and has not been since.
    pub failed_ms: Option<u64>,
    pub is_failing: bool,
    /// Which start of the machine this is.
    pub boot: String,
}

impl Journal {
    /// Says what has become of a key, where that is not part of more.
    pub fn tell_key(&mut self, server: usize, became: Became, key: &[u8], text: &mut Vec<u8>) {
        let Some(Some((number, told))) = self.told.get_mut(server) else {
            return;
        };
        match (became, *told) {
            (_, Lost::Much) | (Became::Copied, Lost::Nothing) => {}
            (Became::Copied, _) => Line::Copied(*number, key).write(text),
            (Became::Missed, lost) => {
                Line::Missed(*number, key).write(text);
                *told = if lost == Lost::Nothing { Lost::Keys } else { lost };
            }
        }
    }

    /// Says how much is missing of a server, if that is not what was said last. Returns whether all is to be written anew, for it is less.
    pub fn tell_lost(&mut self, server: usize, lost: Lost, text: &mut Vec<u8>) -> bool {
        let Some(Some((number, told))) = self.told.get_mut(server) else {
            return false;
        };
        match (*told, lost) {
            (before, now) if before == now => return false,
            (Lost::Nothing, Lost::Keys) => return false, // they are told one by one
            (_, Lost::Keys) => return true,
            _ => {}
        }
        *told = lost;
        let line = match lost {
            Lost::Nothing | Lost::Keys => Line::Whole(*number),
            Lost::Fill => Line::Fill(*number),
            Lost::Much => Line::Anything(*number),
        };
        line.write(text);
        false
    }
}

/// What is said in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Begin { boot: &'a str },
    Server(&'a str),
    Life(usize, Life),
    Missed(usize, &'a [u8]),
    Copied(usize, &'a [u8]),
    Fill(usize),
    Anything(usize),
    Whole(usize),
    End,
}

impl Line<'_> {
    /// Puts it behind `text`.
    pub fn write(self, text: &mut Vec<u8>) {
        let mut body = Vec::new();
        let words: [&str; 2] = match self {
            Line::Begin { boot } => ["magent 1 ", boot],
            Line::Server(name) => ["s ", name],
            Line::Life(server, Life { pid, started_s }) => ["l ", &format!("{server} {pid} {started_s}")],
            Line::Missed(server, _) => ["m ", &server.to_string()],
            Line::Copied(server, _) => ["c ", &server.to_string()],
            Line::Fill(server) => ["f ", &server.to_string()],
            Line::Anything(server) => ["a ", &server.to_string()],
            Line::Whole(server) => ["w ", &server.to_string()],
            Line::End => ["e", ""],
        };
        words.iter().for_each(|word| body.extend_from_slice(word.as_bytes()));
        if let Line::Missed(_, key) | Line::Copied(_, key) = self {
            body.push(b' ');
            escape(key, &mut body);
        }
        text.extend_from_slice(format!("{:08x} ", check(&body)).as_bytes());
        text.append(&mut body);
        text.push(b'\n');
    }
}

fn check(body: &[u8]) -> u32 {
    let [a, b, c, d, ..] = md5::compute(body).0;
    u32::from_be_bytes([a, b, c, d])
}

fn escape(key: &[u8], text: &mut Vec<u8>) {
    for &byte in key {
        match byte {
            b'%' | ..=b' ' | 0x7f => text.extend_from_slice(format!("%{byte:02x}").as_bytes()),
            _ => text.push(byte),
        }
    }
}

fn unescape(text: &[u8]) -> Option<Box<[u8]>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        key.push(match byte {
            b'%' => {
                let digits = [*rest.next()?, *rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            _ => byte,
        });
    }
    Some(key.into())
}

/// What is remembered of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub name: String,
    /// In which it was.
    pub life: Option<Life>,
    /// Of which it has missed a write.
    pub keys: BTreeSet<Box<[u8]>>,
    /// It may lack anything beside; and what it has may be old.
    pub fill: bool,
    pub anything: bool,
    /// Nothing else can have been missed.
    pub is_all: bool,
}

/// What is remembered of servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub servers: Vec<Memory>,
}

impl Remembered {
    /// Reads a journal. What was written last may be missing where it did not come to its end and the machine was started anew
    /// since, or where it is damaged: then more may have been missed than stands there. `boot`: which start of the machine this is.
    /// Returns also whether it is damaged.
    pub fn read(text: &[u8], boot: &str) -> (Self, bool) {
        let mut remembered = Self::default();
        let (mut ended, mut same_boot) = (false, false);
        let mut lines = text.split(|&byte| byte == b'\n');
        // Behind the last line's end there is nothing.
        let mut is_damaged = lines.next_back() != Some(b"");
        for (number, line) in lines.enumerate() {
            let taken = match split(line) {
                Some([b"magent", rest]) if number == 0 => split_at_blank(rest)
                    .filter(|[version, _]| *version == VERSION.as_bytes())
                    .map(|[_, written_in]| same_boot = !boot.is_empty() && written_in == boot.as_bytes()),
                Some(words) if number > 0 => remembered.take(words, &mut ended),
                _ => None,
            };
            if taken.is_none() {
                is_damaged = true;
                break;
            }
        }
        let is_all = (ended || same_boot) && !is_damaged;
        for server in &mut remembered.servers {
            server.is_all = is_all;
            server.anything |= !is_all && !server.keys.is_empty();
        }
        (remembered, is_damaged)
    }

    fn take(&mut self, [word, rest]: [&[u8]; 2], ended: &mut bool) -> Option<()> {
        *ended = word == b"e";
        match word {
            b"s" => self.servers.push(Memory {
                name: std::str::from_utf8(rest).ok()?.to_owned(),
                ..Memory::default()
            }),
            b"l" => {
                let [server, life] = split_at_blank(rest)?;
                let [pid, started_s] = split_at_blank(life)?;
                self.server(server)?.life = Some(Life {
                    pid: number(pid)?,
                    started_s: number(started_s)?,
                });
            }
            b"m" => {
                let [server, key] = split_at_blank(rest)?;
                let key = unescape(key)?;
                // What its partner has missed before is made up for: it has acknowledged this (R43).
                self.servers.iter_mut().for_each(|server| _ = server.keys.remove(&key));
                self.server(server)?.keys.insert(key);
            }
            b"c" => {
                let [server, key] = split_at_blank(rest)?;
                self.server(server)?.keys.remove(&unescape(key)?);
            }
            b"f" => {
                let server = self.server(rest)?;
                (server.fill, server.anything) = (true, false);
            }
            b"a" => self.server(rest)?.anything = true,
            b"w" => {
                let server = self.server(rest)?;
                server.keys.clear();
                (server.fill, server.anything) = (false, false);
            }
            b"e" => {}
            _ => return None,
        }
        Some(())
    }

    fn server(&mut self, text: &[u8]) -> Option<&mut Memory> {
        let index: usize = number(text)?;
        self.servers.get_mut(index)
    }

    /// Whether it is of some of these servers, and of no others.
    pub fn is_about_no_others(&self, servers: &BTreeSet<String>) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|memory| servers.contains(&memory.name))
    }

    /// Servers that stand there may have missed more than is known: somebody else has written to them since.
    pub fn distrust(&mut self, others: &Self) {
        for memory in &mut self.servers {
            if others.servers.iter().any(|other| other.name == memory.name) {
                memory.is_all = false;
                memory.anything |= !memory.keys.is_empty();
            }
        }
    }

    /// Adds what another one remembers. Of a key that one has of a server and the other of its partner nobody can say which was last: it
    /// stays where it is, on both, rather than go from both.
    pub fn add(&mut self, mut more: Self) {
        for known in &mut self.servers {
            for memory in more.servers.iter_mut().filter(|memory| memory.name != known.name) {
                let both: Vec<_> = known.keys.intersection(&memory.keys).cloned().collect();
                for key in both {
                    known.keys.remove(&key);
                    memory.keys.remove(&key);
                }
            }
        }
        for memory in more.servers {
            match self.servers.iter_mut().find(|known| known.name == memory.name) {
                Some(known) => {
                    known.keys.extend(memory.keys);
                    known.fill |= memory.fill;
                    known.anything |= memory.anything;
                    known.is_all &= memory.is_all && known.life == memory.life;
                }
                None => self.servers.push(memory),
            }
        }
    }
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A line's word and what stands behind it, if its checksum is right.
fn split(line: &[u8]) -> Option<[&[u8]; 2]> {
    let [sum, body] = split_at_blank(line)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    let is_right = sum == check(body);
    is_right.then(|| split_at_blank(body).unwrap_or([body, b""]))
}

fn split_at_blank(text: &[u8]) -> Option<[&[u8]; 2]> {
    let blank = text.iter().position(|&byte| byte == b' ')?;
    Some([&text[..blank], &text[blank + 1..]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[Line<'_>]) -> Vec<u8> {
        let mut text = Vec::new();
        lines.iter().for_each(|line| line.write(&mut text));
        text
    }

    const BEGIN: [Line<'static>; 3] = [Line::Begin { boot: "one" }, Line::Server("a:1"), Line::Server("b:2")];

    fn of(server: usize, remembered: &Remembered) -> (Vec<&[u8]>, bool, bool) {
        let memory = &remembered.servers[server];
        let keys = memory.keys.iter().map(|key| &**key).collect();
        (keys, memory.anything, memory.is_all)
    }

    #[test]
    fn what_is_written_is_read() {
        let odd: Vec<u8> = (0..=255).collect();
        let life = Life { pid: 7, started_s: -8 };
        let lines = [
            Line::Life(1, life),
            Line::Missed(0, b"key"),
            Line::Missed(0, &odd),
            Line::Anything(1),
        ];
        let (read, damaged) = Remembered::read(&text(&[&BEGIN[..], &lines].concat()), "one");
        assert!(!damaged);
        assert_eq!(read.servers[1].name, "b:2");
        assert_eq!([0, 1].map(|server| read.servers[server].life), [None, Some(life)]);
        assert_eq!(of(0, &read), (vec![&odd[..], b"key"], false, true));
        assert_eq!(of(1, &read), (vec![], true, true));
    }

    #[test]
    fn what_was_filled_has_missed_nothing() {
        let lines = [
            Line::Missed(0, b"old"),
            Line::Anything(0),
            Line::Whole(0),
            Line::Missed(0, b"new"),
        ];
        let (read, _) = Remembered::read(&text(&[&BEGIN[..], &lines].concat()), "one");
        assert_eq!(of(0, &read), (vec![&b"new"[..]], false, true));
    }

    #[test]
    fn r43_what_was_copied_is_there_and_who_acknowledges_a_key_has_it() {
        let lines = [
            Line::Missed(0, b"copied"),
            Line::Missed(0, b"kept"),
            Line::Copied(0, b"copied"),
            Line::Missed(0, b"turned"),
            Line::Missed(1, b"turned"),
        ];
        let (read, _) = Remembered::read(&text(&[&BEGIN[..], &lines].concat()), "one");
        assert_eq!(of(0, &read), (vec![&b"kept"[..]], false, true));
        assert_eq!(of(1, &read), (vec![&b"turned"[..]], false, true));
    }

    #[test]
    fn what_was_not_ended_before_the_machine_was_started_anew_is_not_all() {
        let missed = [&BEGIN[..], &[Line::Missed(0, b"key")]].concat();
        let ended = [&missed[..], &[Line::End]].concat();
        for (lines, boot, is_all) in [(&missed, "one", true), (&missed, "two", false), (&ended, "two", true)] {
            let (read, damaged) = Remembered::read(&text(lines), boot);
            assert!(!damaged);
            assert_eq!(of(0, &read), (vec![&b"key"[..]], !is_all, is_all), "{boot}");
            assert_eq!(of(1, &read), (vec![], false, is_all), "{boot}");
        }
    }

    #[test]
    fn a_byte_that_is_wrong_or_missing_is_found() {
        let mut unknown = text(&BEGIN);
        unknown.extend_from_slice(format!("{:08x} z 0\n", check(b"z 0")).as_bytes());
        assert!(Remembered::read(&unknown, "one").1);
        let whole = text(&[&BEGIN[..], &[Line::Missed(0, b"key"), Line::End]].concat());
        for place in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[place] ^= 1;
            let (read, damaged) = Remembered::read(&wrong, "one");
            assert!(damaged && read.servers.iter().all(|server| !server.is_all), "{place}");
            let at_line_end = place == 0 || whole[place - 1] == b'\n';
            let (read, damaged) = Remembered::read(&whole[..place], "two");
            assert!(read.servers.iter().all(|server| !server.is_all), "{place}");
            assert_eq!(damaged, !at_line_end, "{place}");
        }
    }

    #[test]
    fn one_that_others_have_written_since_is_not_all() {
        let (mut one, _) = Remembered::read(&text(&[&BEGIN[..], &[Line::Missed(0, b"k")]].concat()), "one");
        let named = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
        let (first, second) = (one.servers[0].name.clone(), one.servers[1].name.clone());
        assert!(one.is_about_no_others(&named(&[&first, &second, "c:3"])));
        assert!(
            !one.is_about_no_others(&named(&[&first])) && !Remembered::default().is_about_no_others(&named(&[&first]))
        );
        let lines = [Line::Begin { boot: "one" }, Line::Server(&second), Line::Server("c:3")];
        one.distrust(&Remembered::read(&text(&lines), "one").0);
        assert_eq!(
            (of(0, &one), of(1, &one)),
            ((vec![&b"k"[..]], false, true), (vec![], false, false))
        );
        let lines = [Line::Begin { boot: "one" }, Line::Server(&first)];
        one.distrust(&Remembered::read(&text(&lines), "one").0);
        assert_eq!(of(0, &one), (vec![&b"k"[..]], true, false), "more may have been missed");
    }

    #[test]
    fn several_journals_are_one() {
        let (mut one, _) = Remembered::read(&text(&[&BEGIN[..], &[Line::Missed(0, b"k")]].concat()), "one");
        let other = [Line::Begin { boot: "old" }, Line::Server("b:2"), Line::Missed(0, b"l")];
        one.add(Remembered::read(&text(&other), "one").0);
        assert_eq!(of(0, &one), (vec![&b"k"[..]], false, true));
        assert_eq!(of(1, &one), (vec![&b"l"[..]], true, false));
        let (mut one, _) = Remembered::read(&text(&[&BEGIN[..], &[Line::Missed(0, b"k")]].concat()), "one");
        let lines = [Line::Missed(1, b"k"), Line::Missed(0, b"l")];
        one.add(Remembered::read(&text(&[&BEGIN[..], &lines].concat()), "one").0);
        assert_eq!(of(0, &one), (vec![&b"l"[..]], false, true));
        assert_eq!(of(1, &one), (vec![], false, true), "nobody knows who missed it last");
    }
}
