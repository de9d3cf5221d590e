//! Random commands, most of them good ones.

use super::pair::Pair;
use super::random::Random;

/// What memcached reads at once, less the last command: how commands are batched shows in a few replies.
const BATCH_BYTES_MAX: usize = 8 << 10;

const KEYS: &str = "a|b|n|number:1|od%d/\u{e9}\t~k|a_key_that_is_rather_long_and_still_far_from_the_limit_of_250_bytes";
/// None is a number of 64 bits, nor do deltas make one: memcached looks for a minus sign behind those, in memory that
/// other items left, so that it counts on some days and on others does not.
const VALUES: &str = "|0|1|9|10|99|1000|99999999|18446744073709551616| 7|7 x|x|some text|two\r\nlines|5\0x";
/// A few seconds make no difference to any, or all: [`super::pair`] takes care of that.
const EXPTIMES: &str = "0|0|0|0|1000|2000|100000|-1|4294967896|4000000000000|x|1000\t";
const DELTAS: &str = "1|1|2|9|91|999999|18446744073709551616|-1|x";
const ODD_LINES: &str = "|x|get|get |gets|gat|gat 0|gat x a|set a 0 0|cas a 0 0 1|incr a|touch a|delete|delete a b c d|\
    verbosity|flush_all 0 0 0|GET a|getx a|mx a|  get  a   b |version  x|get a\0 b|stats nonsense|lru_crawler|bget a b";
const BAD_FLAGS: &str = " !| Z| \u{e9}| v v| C| T| Nx| F| Fx| J| D-1| M| MXX";

pub struct Generator {
    random: Random,
    /// With commands that show how they were batched: those that hold an item, and those that lose earlier replies.
    shows_batches: bool,
}

impl Generator {
    pub fn new(seed: u64, shows_batches: bool) -> Self {
        Self {
            random: Random::new(seed),
            shows_batches,
        }
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.random.one_in(times)
    }

    /// Commands to send at once. Once in a while so many that memcached does not run them in one turn.
    pub fn batch(&mut self, pair: &Pair) -> Vec<u8> {
        let count = if self.one_in(20) { 50 } else { 1 + self.below(12) };
        let mut batch = Vec::new();
        for _ in 0..count {
            let command = self.command(pair);
            if batch.len() + command.len() < BATCH_BYTES_MAX {
                batch.extend(command.into_bytes());
            }
        }
        batch
    }

    fn command(&mut self, pair: &Pair) -> String {
        match self.below(if self.shows_batches { 30 } else { 20 }) {
            0..=2 => self.get(),
            3..=7 => self.store(pair),
            8..=10 => format!(
                "{} {} {}{}\r\n",
                self.of("incr|decr"),
                self.key(),
                self.of(DELTAS),
                self.noreply()
            ),
            11 => format!("touch {} {}{}\r\n", self.key(), self.of(EXPTIMES), self.noreply()),
            12 => format!(
                "{} {} {} {}\r\n",
                self.of("gat|gats"),
                self.of(EXPTIMES),
                self.of(KEYS),
                self.of(KEYS)
            ),
            13..=15 => format!("delete {}{}{}\r\n", self.key(), self.of("|||||| 0| 1"), self.noreply()),
            16 if self.one_in(4) => format!("flush_all{}{}\r\n", self.of("| 0| -1| x| 0 0"), self.noreply()),
            17 => format!("verbosity{}{}\r\n", self.of("| 0| 1| x"), self.noreply()),
            18 => format!("{}{}", self.of(ODD_LINES), self.of("\r\n|\r\n|\n")),
            19 if self.shows_batches && self.one_in(20) => format!("{}\r\n", self.of("quit|GET / HTTP/1.1")),
            20..=23 => self.meta_get(),
            24 | 25 => self.meta_store(pair),
            26 => self.meta_delete(pair),
            27 | 28 => self.meta_count(pair),
            29 => "mn\r\n".to_owned(),
            _ => "version\r\n".to_owned(),
        }
    }

    /// One of these.
    fn of(&mut self, choices: &'static str) -> &'static str {
        let choices: Vec<_> = choices.split('|').collect();
        choices[self.below(choices.len())]
    }

    fn key(&mut self) -> String {
        match self.below(60) {
            0 => "k".repeat(250),
            1 => "k".repeat(251),
            _ => self.of(KEYS).to_owned(),
        }
    }

    fn noreply(&mut self) -> &'static str {
        self.of("|||| noreply| norepl")
    }

    /// The cas unique that the item has, or one that it does not have.
    fn unique(&mut self, pair: &Pair, key: &str) -> u64 {
        let item = pair.model.peek(key.as_bytes(), pair.now_ms);
        let unique = item.map_or(1, |item| item.cas);
        let others = [0, unique.saturating_sub(1), unique + 1];
        if self.one_in(3) { others[self.below(3)] } else { unique }
    }

    /// A value, and the length to announce for it.
    fn value(&mut self) -> (String, String) {
        let value = if self.one_in(20) {
            "long ".repeat(400)
        } else {
            self.of(VALUES).to_owned()
        };
        let len = match self.below(60) {
            0 | 1 => (value.len() + 1).to_string(),
            2 | 3 => value.len().saturating_sub(1).to_string(),
            4 => self.of("-1|x|4294967297").to_owned(),
            _ => value.len().to_string(),
        };
        (value, len)
    }

    fn get(&mut self) -> String {
        let count = if self.one_in(10) { 40 } else { 1 + self.below(4) };
        let keys: Vec<_> = (0..count).map(|_| self.of(KEYS)).collect();
        let last = if self.shows_batches { self.key() } else { "a".to_owned() };
        format!("{} {} {last}\r\n", self.of("get|gets"), keys.join(" "))
    }

    fn store(&mut self, pair: &Pair) -> String {
        let name = self.of("set|set|set|add|replace|append|prepend|cas|cas");
        let (key, (value, len)) = (self.key(), self.value());
        let flags = self.of("0|0|1|4294967295|4294967296|x|-1| 7");
        let unique = if name == "cas" {
            format!(" {}", self.unique(pair, &key))
        } else {
            String::new()
        };
        let (exptime, noreply) = (self.of(EXPTIMES), self.noreply());
        format!("{name} {key} {flags} {exptime} {len}{unique}{noreply}\r\n{value}\r\n")
    }

    fn meta_get(&mut self) -> String {
        let flags = match self.below(3) {
            0 => " t f v".to_owned(),
            _ => self.flags("t|f|v|c|s|h|l|u|R1500"),
        };
        format!("mg {}{flags}\r\n", self.key())
    }

    fn meta_store(&mut self, pair: &Pair) -> String {
        let (key, (value, len)) = (self.key(), self.value());
        let (flags, unique) = (self.flags("ME|MA|MP|MR|MS|Mx|F7|I|c|c"), self.unique_flag(pair, &key));
        format!("ms {key} {len}{flags}{unique}\r\n{value}\r\n")
    }

    fn meta_delete(&mut self, pair: &Pair) -> String {
        let key = self.key();
        format!("md {key}{}{}\r\n", self.flags("I|I"), self.unique_flag(pair, &key))
    }

    fn meta_count(&mut self, pair: &Pair) -> String {
        let key = self.key();
        let flags = self.flags("MD|M+|MI|M-|Mx|J13|J0|D5|v|t|c");
        format!("ma {key}{flags}{}\r\n", self.unique_flag(pair, &key))
    }

    /// Some of these flags and of those that all meta commands take, in any order, or bad ones.
    fn flags(&mut self, choices: &'static str) -> String {
        let mut flags = String::new();
        for _ in 0..self.below(5) {
            let flag = match self.below(3) {
                0 => match self.below(5) {
                    0 => "k".to_owned(),
                    1 => "q".to_owned(),
                    2 => format!(
                        "O{}",
                        if self.one_in(20) {
                            "o".repeat(32)
                        } else {
                            "123".to_owned()
                        }
                    ),
                    3 => format!("T{}", self.of(EXPTIMES)),
                    _ => format!("N{}", self.of(EXPTIMES)),
                },
                _ => self.of(choices).to_owned(),
            };
            flags += &format!(" {flag}");
        }
        if self.one_in(30) {
            flags += self.of(BAD_FLAGS);
        }
        flags
    }

    fn unique_flag(&mut self, pair: &Pair, key: &str) -> String {
        if self.one_in(4) {
            format!(" C{}", self.unique(pair, key))
        } else {
            String::new()
        }
    }
}
