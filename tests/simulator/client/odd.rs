//! What clients say beside requests for keys: lines that memcached refuses, questions about servers and connections, and what
//! ends a connection.
//!
//! What is right to be told is what memcached says: the model of it is asked. Where magent promises something else, because it
//! is no single server or must not take a value for commands, that stands here.

use super::{Asked, Client, Kind, Scene};
use crate::memcached::{Memcached, Version};
use crate::trace::Readable;

/// What is right to hear.
pub enum Expected {
    /// These bytes.
    Words(Vec<u8>),
    /// Lines of statistics and their end; or that too many ask, where the servers have to be asked and few may.
    Statistics { may_be_too_many: bool },
    /// Nothing more, but the end. Where the client said nothing behind what ends the connection, all before it is answered.
    End { is_clean: bool },
}

/// What is answered as memcached 1.6.18 does. `LONG` stands for a key that is too long, `KEY` for one of the client's.
const AS_MEMCACHED: [&str; 34] = [
    "get\r\n",
    "gets\r\n",
    "get LONG\r\n",
    "gat 10\r\n",
    "gats 0\r\n",
    "gat x KEY\r\n",
    "touch KEY x\r\n",
    "touch KEY\r\n",
    "touch LONG 1\r\n",
    "incr KEY x\r\n",
    "incr KEY\r\n",
    "incr LONG 1\r\n",
    "decr KEY -1\r\n",
    "delete KEY 5\r\n",
    "delete\r\n",
    "delete LONG\r\n",
    "verbosity 0\r\n",
    "verbosity 1\r\n",
    "verbosity x\r\n",
    "verbosity\r\n",
    "flush_all 1 2 3 4\r\n",
    "flush_all x\r\n",
    "stats nonsense\r\n",
    "nonsense\r\n",
    "\r\n",
    "  \r\n",
    "a\r\n",
    "some more of it\r\n",
    "set KEY 0 0 3\r\nabcde\r\n",
    "add KEY 0 0 3\r\nabcd\r\n",
    "append KEY 0 0 3\r\nabc\r\r\n",
    "cas KEY 0 0 3 1\r\nabc?\n",
    "lru_crawler\r\n",
    "cache_memlimit 64\r\n",
];
/// What magent answers itself, and how, whatever version the servers are.
const OWN: [(&str, &str); 9] = [
    ("stats reset\r\n", "RESET\r\n"),
    ("stats cachedump 1 10\r\n", "END\r\n"),
    ("stats cachedump\r\n", "CLIENT_ERROR bad command line\r\n"),
    ("stats cachedump 64 1\r\n", "CLIENT_ERROR Illegal slab id\r\n"),
    (
        "cache_memlimit 4\r\n",
        "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\n",
    ),
    ("cache_memlimit 64 noreply\r\n", ""),
    // Nobody's keys are listed, and a tool that asks has to hear an end.
    ("lru_crawler metadump all\r\n", "END\r\n"),
    ("lru_crawler metadump x\r\n", "BADCLASS invalid class id\r\n"),
    ("lru_crawler enable\r\n", "ERROR\r\n"),
];
/// The same in front of servers of 1.6.18.
const OWN_OF_OLD: [(&str, &str); 5] = [
    ("stats cachedump x y\r\n", "CLIENT_ERROR bad command line format\r\n"),
    ("cache_memlimit\r\n", "ERROR\r\n"),
    ("lru_crawler mgdump all\r\n", "ERROR\r\n"),
    ("me\r\n", "CLIENT_ERROR bad command line format\r\n"),
    ("mn\r\n", "MN\r\n"),
];
/// The same in front of servers of 1.6.45, which find the end of a value whose line they refuse.
const OWN_OF_NEW: [(&str, &str); 4] = [
    ("lru_crawler mgdump all\r\n", "EN\r\n"),
    (
        "set LONG 0 0 20000\r\nBULK\r\n",
        "CLIENT_ERROR bad command line format\r\n",
    ),
    ("set KEY x 0 5\r\nhello\r\n", "CLIENT_ERROR bad command line format\r\n"),
    (
        "set LONG 0 0 5\r\nhello\r\n",
        "CLIENT_ERROR bad command line format\r\n",
    ),
];
/// Where a value may follow that nobody could tell from commands; said before the end.
const LAST_OF_OLD: [(&str, &str); 4] = [
    ("SET KEY 0 0 5\r\n", "ERROR\r\n"),
    ("set KEY\r\n", "ERROR\r\n"),
    ("add KEY 0 0\r\n", "ERROR\r\n"),
    ("set LONG 0 0 5\r\n", "CLIENT_ERROR bad command line format\r\n"),
];
/// Topics of statistics, and whether the servers are asked.
const STATISTICS: [(&str, bool); 9] = [
    ("stats\r\n", true),
    ("stats settings\r\n", true),
    ("stats items\r\n", true),
    ("stats slabs\r\n", true),
    ("stats sizes\r\n", true),
    ("stats conns\r\n", false),
    ("stats servers\r\n", false),
    ("stats latency\r\n", false),
    ("stats hot\r\n", false),
];
/// A key that is longer than memcached's longest (250 bytes).
const LONG_KEY_BYTES: usize = 251;
/// More than memcached reads of a line that is no retrieval (2 KiB).
const LONG_LINE_BYTES: usize = 2100;

impl Client {
    /// Says something that concerns no key. Returns whether that ends the connection.
    pub(super) fn say_something_odd(&mut self, scene: &mut Scene<'_>, bytes: &mut Vec<u8>) -> bool {
        let is_new = scene.plan.more.versions.first() >= Some(&Version::PARSES_ANEW);
        let random = &mut scene.network.random;
        match random.below(10) {
            0..=2 if !is_new => {
                let line = *random.pick(&AS_MEMCACHED);
                let line = fill_in(scene, line);
                let said = memcached_says(line.as_bytes());
                bytes.extend_from_slice(line.as_bytes());
                self.expect(scene, Expected::Words(said));
            }
            0..=5 => {
                let special = if is_new { &OWN_OF_NEW[..] } else { &OWN_OF_OLD };
                let list = if random.one_in(2) { &OWN[..] } else { special };
                let &(line, said) = random.pick(list);
                bytes.extend_from_slice(fill_in(scene, line).as_bytes());
                if !said.is_empty() {
                    self.expect(scene, Expected::Words(said.into()));
                }
            }
            6..=8 => {
                let &(line, may_be_too_many) = random.pick(&STATISTICS);
                bytes.extend_from_slice(line.as_bytes());
                self.expect(scene, Expected::Statistics { may_be_too_many });
            }
            _ => {
                self.say_the_last(scene, bytes, is_new);
                return true;
            }
        }
        false
    }

    /// Says what ends the connection.
    fn say_the_last(&mut self, scene: &mut Scene<'_>, bytes: &mut Vec<u8>, is_new: bool) {
        let is_first = !self.has_asked && bytes.is_empty();
        let random = &mut scene.network.random;
        let is_clean = match random.below(6) {
            0 if is_first => {
                // A quiet quit in the binary protocol.
                bytes.extend_from_slice(b"\x80\x17");
                bytes.resize(24, 0);
                true
            }
            0 | 1 => {
                bytes.resize(bytes.len() + LONG_LINE_BYTES, b'x');
                false
            }
            2 => {
                bytes.extend_from_slice(b"GET / HTTP/1.1\r\nHost: magent\r\n\r\n");
                false
            }
            3 if !is_new => {
                let &(line, said) = random.pick(&LAST_OF_OLD);
                bytes.extend_from_slice(fill_in(scene, line).as_bytes());
                self.expect(scene, Expected::Words(said.into()));
                true
            }
            4 => {
                bytes.extend_from_slice(b"quit\r\nversion\r\n");
                false
            }
            _ => {
                bytes.extend_from_slice(b"quit\r\n");
                true
            }
        };
        self.expect(scene, Expected::End { is_clean });
    }

    /// Says that it will say nothing more, and still wants to be told. Nothing changes where not all is sent that it had to say.
    pub(super) fn shut(&mut self, scene: &mut Scene<'_>) {
        let Some(name) = self.connection else {
            return;
        };
        if scene.network.peer_shut(name) {
            self.expect(scene, Expected::End { is_clean: true });
        }
    }

    fn expect(&mut self, scene: &Scene<'_>, expected: Expected) {
        self.expect_one(scene, Kind::Odd(expected));
    }

    /// Whether its connection ends because it said so; not if it has not been told what it asked before that.
    pub(super) fn has_said_the_last(&self) -> Result<bool, String> {
        let Some(at) = self.asked.iter().position(Asked::is_end) else {
            return Ok(false);
        };
        let is_clean = matches!(self.asked[at].kind, Kind::Odd(Expected::End { is_clean: true }));
        match is_clean && self.asked.iter().take(at).any(|asked| !asked.noreply) {
            true => Err(format!(
                "client {} was not told all that it had asked before its connection was to end",
                self.index
            )),
            false => Ok(true),
        }
    }
}

impl Asked {
    /// Whether the connection ends by it.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.kind, Kind::Odd(Expected::End { .. }))
    }
}

impl Expected {
    /// How many bytes of the input are the reply; None while it is not all there.
    pub fn take(&self, input: &[u8]) -> Result<Option<usize>, String> {
        let wrong = || Err(format!("was told {}", Readable(input)));
        match self {
            Expected::Words(words) if input.starts_with(words) => Ok(Some(words.len())),
            Expected::Words(words) if words.starts_with(input) => Ok(None),
            Expected::Words(_) | Expected::End { .. } => wrong(),
            Expected::Statistics { may_be_too_many } => {
                let mut used = 0;
                loop {
                    let Some(newline) = input[used..].iter().position(|&byte| byte == b'\n') else {
                        return Ok(None);
                    };
                    let line = &input[used..=used + newline];
                    let is_first = used == 0;
                    used += newline + 1;
                    match line {
                        b"END\r\n" => return Ok(Some(used)),
                        b"SERVER_ERROR too many stats requests at a time\r\n" if is_first && *may_be_too_many => {
                            return Ok(Some(used));
                        }
                        _ if is_statistic(line) => {}
                        _ => return wrong(),
                    }
                }
            }
        }
    }
}

/// A line with a key for `KEY`, one that is too long for `LONG`, and a value of 20,000 bytes for `BULK`.
fn fill_in(scene: &Scene<'_>, line: &str) -> String {
    let (long, bulk) = ("k".repeat(LONG_KEY_BYTES), "x".repeat(20_000));
    line.replace("LONG", &long)
        .replace("BULK", &bulk)
        .replace("KEY", &scene.plan.keys[0].name)
}

/// `STAT <name> <value>`.
fn is_statistic(line: &[u8]) -> bool {
    let text = std::str::from_utf8(line).ok();
    let named = text.and_then(|text| text.strip_prefix("STAT ")?.strip_suffix("\r\n")?.split_once(' '));
    named.is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
}

/// What a memcached says to a line that changes nothing.
fn memcached_says(line: &[u8]) -> Vec<u8> {
    let mut memcached = Memcached::new(1, 0);
    let connection = memcached.connect();
    let mut said = Vec::new();
    memcached.input(connection, line, 0, &mut said);
    said
}
