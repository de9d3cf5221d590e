//! Random streams: valid ones, nearly valid ones, garbage. Those of the text protocol are here.

use super::random::Random;
use super::stream::{Stream, needs_replies};

const KEYS: &str = "a|b|c|n|n|user:1|noreply|0|-1|k\x01|\x7f|\u{1}\u{2}|\u{e9}t\u{e9}|%41|key=a|KEY";
/// No number from 2^63 on: to tell it from a negative one, memcached up to 1.6.18 or later looks for a minus in what lies behind
/// the item in its memory, too (`safe_strtoull`), and what it answers to incr depends on that.
pub const VALUES: &str = "|0|1|9|10|99|1000|999999999999999999|x|plain text|two\r\nlines| 7|7 |-1|5\0x|END|STORED|a\r\nb\r\n|\
    \r\nflush_all|x\r\nflush_all\r\nset evil 0 0 1\r\nz|get a\r\nget b\r\n|VALUE a 0 1\r\nx\r\nEND";
/// None that a second or two could make a difference for.
const EXPTIMES: &str = "0|0|0|0|1000|100000|2592000|2592001|-1|4000000000|2147483647";
const DELTAS: &str = "1|1|2|9|91|999999|9000000000000000000";
/// At the edges of every type that a memcached ever read a number into, and what is no number.
const NUMBERS: &str = "0|1|5|-1|-0|+5|007|5x|x|0x5|1e3|5.0|\t5|5\t9|2147483647|2147483648|-2147483648|-2147483649|\
    4294967295|4294967296|4294967297|9223372036854775807|9223372036854775808|-9223372036854775808|\
    18446744073709551615|18446744073709551616|99999999999999999999999|-|+|''|2147483645|2147483646|1000|\
    000000000000000000000000000000000000000000000000001";
const FLAGS: &str = "0|0|0|1|7|65535|4294967295";
const WORDS: &str = "get|gets|gat|gats|set|add|replace|append|prepend|cas|incr|decr|touch|delete|flush_all|version|\
    noreply|NOREPLY|a|b|0|1|-1|bget|verbosity|GET|Set|quit|stats|nonsense";
const HTTP: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n|POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nset a 0 0 1\r\nz\r\n|\
    get / HTTP/1.0\r\n|x HTTP/1.1\r\n|get HTTP/1\r\n|HTTP/1.1 200 OK\r\n|PUT /x HTTP/2\r\n|set HTTP/ 0 0 1\r\nz\r\n|\
    Host: 127.0.0.1\r\n";
const LINE_ENDS: &str = "\r\n|\r\n|\r\n|\r\n|\r\n|\r\n|\r\n|\n|\r\r\n|\r|\n\n";

/// What a stream is made of. The kinds take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
    /// Meta commands among those of the text protocol.
    Meta,
}

pub const KINDS: [Kind; 3] = [Kind::Text, Kind::Binary, Kind::Meta];
/// Which seeds are of which kind: a number that shares no divisor with the counts of versions and of layouts, so that every kind meets
/// each of them.
const TURNS: [Kind; 7] = [
    Kind::Text,
    Kind::Binary,
    Kind::Meta,
    Kind::Meta,
    Kind::Binary,
    Kind::Meta,
    Kind::Text,
];

pub struct Generator {
    pub random: Random,
    pub kind: Kind,
    /// How many of them are in the stream, whatever became of their bytes.
    pub commands: usize,
    /// How many opaques meta commands have had.
    pub opaques: usize,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            kind: TURNS[(seed % TURNS.len() as u64) as usize],
            commands: 0,
            opaques: 0,
        }
    }

    /// Any stream of the kind.
    pub fn stream(&mut self) -> Stream {
        let bytes = match self.kind {
            Kind::Text | Kind::Meta => self.lines(),
            Kind::Binary => self.packets(),
        };
        // What cannot be known before the replies are there is sent alone.
        if needs_replies(&bytes) {
            return Stream(vec![bytes]).by_units();
        }
        Stream::split(&bytes, &mut self.random)
    }

    fn lines(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = match self.below(10) {
            0 => 40 + self.below(60),
            1..=3 => 1 + self.below(3),
            _ if self.kind == Kind::Meta => 10 + self.below(60),
            _ => 2 + self.below(14),
        };
        self.commands = count;
        let style = self.below(10);
        for _ in 0..count {
            let command = match style {
                0..=3 => self.any(),
                4..=6 if self.one_in(3) => self.nearly(),
                4..=6 => self.any(),
                7 if self.one_in(4) => self.odd(),
                7 => self.any(),
                8 => self.nearly(),
                _ => match self.below(4) {
                    0 => self.garbage(),
                    1 => self.odd(),
                    2 => self.nearly(),
                    _ => self.any(),
                },
            };
            bytes.extend_from_slice(&command);
        }
        if style == 5 || style == 9 {
            self.damage(&mut bytes);
        }
        bytes
    }

    /// A command that memcached takes, of the kind.
    fn any(&mut self) -> Vec<u8> {
        match self.kind == Kind::Meta && !self.one_in(4) {
            true => self.meta(),
            false => self.command(),
        }
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.random.one_in(times)
    }

    pub fn of(&mut self, choices: &'static str) -> &'static str {
        let choices: Vec<_> = choices.split('|').collect();
        match *self.random.pick(&choices) {
            "''" => "",
            choice => choice,
        }
    }

    pub fn key(&mut self) -> String {
        match self.below(60) {
            0 => "k".repeat(250),
            1 => "k".repeat(251),
            2..=20 => self.of(KEYS).to_owned(),
            _ => self.of("a|b|n").to_owned(),
        }
    }

    fn noreply(&mut self) -> &'static str {
        self.of("||||| noreply")
    }

    /// A command that memcached takes.
    fn command(&mut self) -> Vec<u8> {
        let key = self.key();
        let text = match self.below(24) {
            0..=3 => format!("{} {key}\r\n", self.of("get|get|gets")),
            4 => format!("{} {key} {} {}\r\n", self.of("get|gets"), self.key(), self.key()),
            5 => format!("{} {} {key} {}\r\n", self.of("gat|gats"), self.of(EXPTIMES), self.key()),
            6..=12 => return self.store(),
            13..=15 => format!(
                "{} {key} {}{}\r\n",
                self.of("incr|decr"),
                self.of(DELTAS),
                self.noreply()
            ),
            16 => format!("touch {key} {}{}\r\n", self.of(EXPTIMES), self.noreply()),
            17..=19 => format!("delete {key}{}{}\r\n", self.of("|||| 0"), self.noreply()),
            // No delay: it makes memcached forget the flush before it, and items come back, or do not.
            20 if self.one_in(3) => format!("flush_all{}{}\r\n", self.of("| 0| -1"), self.noreply()),
            21 => format!(
                "gets {key}\r\ncas {key} 0 {} 1 <cas {key}>{}\r\nc\r\n",
                self.of(EXPTIMES),
                self.noreply()
            ),
            22 => self
                .of("version\r\n|verbosity 0\r\n|verbosity 1 noreply\r\n|\r\n|nonsense\r\n")
                .to_owned(),
            _ => format!("get {key}\r\n"),
        };
        text.into_bytes()
    }

    fn store(&mut self) -> Vec<u8> {
        let name = self.of("set|set|set|set|add|replace|append|prepend|cas");
        let value = match self.below(30) {
            0 => "v".repeat(self.below(3000)),
            _ => self.of(VALUES).to_owned(),
        };
        let key = self.key();
        let unique = match name {
            "cas" => match self.below(4) {
                0 => format!(" <old {key}>"),
                1 => " 0".to_owned(),
                _ => format!(" <cas {key}>"),
            },
            _ => String::new(),
        };
        let (flags, exptime, noreply) = (self.of(FLAGS), self.of(EXPTIMES), self.noreply());
        format!(
            "{name} {key} {flags} {exptime} {}{unique}{noreply}\r\n{value}\r\n",
            value.len()
        )
        .into_bytes()
    }

    /// A command that memcached refuses, or takes in spite of something.
    fn nearly(&mut self) -> Vec<u8> {
        // A storage command that is refused is mostly the end of the conversation: not too many of them.
        let command = match self.any() {
            command if command.iter().filter(|&&byte| byte == b'\n').count() > 1 && self.one_in(2) => self.any(),
            command => command,
        };
        let (line, value) = match command.iter().position(|&byte| byte == b'\n') {
            Some(end) => command.split_at(end + 1),
            None => (&command[..], &[][..]),
        };
        let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for _ in 0..1 + self.below(2) {
            let count = words.len();
            let at = self.below(count);
            match self.below(12) {
                0 => _ = words.remove(at),
                1 => words.insert(at, self.of(WORDS).to_owned()),
                2 => words[at] = self.of(WORDS).to_owned(),
                3 => words.push(self.of("noreply|0|x|").to_owned()),
                4 => words[at] += self.of("\x01|\t|\x0b|\r|x|\0|\x7f|\u{80}"),
                5 => words[at] = format!("{}{}", self.of(" |\t|  |\r"), words[at]),
                _ if self.kind == Kind::Meta && at > 1 && !words[at].starts_with(['T', 'N']) && self.one_in(2) => {
                    words[at] = words[at].chars().take(1).collect();
                    words[at] += self.of(NUMBERS);
                }
                6 => words[at] = "k".repeat(249 + self.below(4)),
                _ => words[at.max(1).min(count - 1)] = self.of(NUMBERS).to_owned(),
            }
            if words.is_empty() {
                break;
            }
        }
        let spacing = self.of(" | | | |  |   | \t");
        let (before, behind) = (self.of("||||||| |  |\t"), self.of("|||||| |   |\t"));
        let end = if self.one_in(60) {
            self.of("\0\r\n|\0 x\r\n")
        } else {
            self.of(LINE_ENDS)
        };
        let value = match self.below(8) {
            0 => &value[..value.len() / 2],
            _ => value,
        };
        [
            format!("{before}{}{behind}{end}", words.join(spacing)).as_bytes(),
            value,
        ]
        .concat()
    }

    /// What has its own place in memcached.
    fn odd(&mut self) -> Vec<u8> {
        let text = match self.below(13) {
            0 | 1 => self.of(HTTP).to_owned(),
            2 => {
                return [
                    self.random.pick(&[0x81_u8, 0xff, 0x00]).to_be_bytes().to_vec(),
                    self.garbage(),
                ]
                .concat();
            }
            3 => {
                let len = [1_048_577_usize, 1_048_577, 1_048_500, 1_048_400, 1_100_000, 600_000][self.below(6)];
                format!(
                    "{} {} 0 0 {len}{}\r\n<x*{len}>\r\n",
                    self.of("set|set|add|replace|append|prepend|cas"),
                    self.key(),
                    self.noreply()
                )
            }
            4 => format!(
                "{}<x*{}>{}\r\n",
                self.of("get |gets |x|set |gat 0 |stats |"),
                2000 + self.below(100),
                self.of(" a|")
            ),
            5 => {
                let count = 20 + self.below(400);
                let keys: Vec<String> = (0..count)
                    .map(|n| if self.one_in(9) { self.key() } else { format!("k{n}") })
                    .collect();
                format!("{} {}\r\n", self.of("get|gets|gat 0|gats 1000"), keys.join(" "))
            }
            6 => {
                let key_len = 30 + self.below(221);
                let keys: Vec<String> = (0..150).map(|n| format!("{n:0key_len$}")).collect();
                format!("{} {}\r\n", self.of("get|gat 0"), keys.join(" "))
            }
            7 if !self.one_in(3) => self.of("set a 0 0 8\r\nset a 0 0 x\r\n|get a b c a b c\r\n").to_owned(),
            7 => self
                .of("mg a v\r\n|mn\r\n|md a\r\n|ma n\r\n|ms a 2\r\nhi\r\n|ms a 9 T60\r\nflush_all\r\n|me a\r\n")
                .to_owned(),
            8 => self
                .of("quit\r\n|quit x\r\n|quit noreply\r\n|stats\r\n|stats nonsense\r\n")
                .to_owned(),
            9 => format!("set {} 0 0 {}\r\n", self.key(), self.of(NUMBERS)),
            10 => format!("set a 0 0 {}\r\n{}\r\n", self.of("1|2|3|4|5|6|7|8"), self.of(VALUES)),
            11 => "get a\r\n".repeat(30 + self.below(200)),
            _ => format!("{} {}\r\n", "nonsense".repeat(1 + self.below(300)), self.of(WORDS)),
        };
        text.into_bytes()
    }

    fn garbage(&mut self) -> Vec<u8> {
        let len = self.below(60);
        let plain = self.one_in(2);
        let mut bytes: Vec<u8> = (0..len)
            .map(|_| match plain {
                true => *self.random.pick(b" \r\n\0abcdegnst0123459\t"),
                false => self.random.next() as u8,
            })
            .collect();
        if self.one_in(2) {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// Bytes lost, doubled, changed.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(3) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => _ = bytes.remove(at),
                1 => bytes.insert(at, *self.random.pick(b" \r\n\0a01-\t\x80")),
                2 => bytes[at] = self.random.next() as u8,
                _ => bytes.truncate(at),
            }
        }
    }
}
