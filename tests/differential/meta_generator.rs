//! Random meta commands, which stand among those of the text protocol.

use super::generator::Generator;
use super::keys::encoded;

/// Keys that only a meta command can name, and some that any can.
const KEYS_IN_BASE64: &str = "a|b|n|a c| |\u{e9}t\u{e9}|k\x01";
const EXPTIMES: &str = "0|0|0|1000|1000|100000|2592000|2592001|-1|2147483647";
/// Those of what is there for a while. Known faults: the unique of what an `mg` with N has made, and what has expired at once, is told
/// as 0; what an `ma` with N has made so is not there for its T.
const LATE_EXPTIMES: &str = "0|1000|100000|2592000|2147483647";
/// None that is near to what is left of one of those.
const RECACHES: &str = "0|30|500|5000|200000|3000000|-1";
const FLAGS: &str = "0|1|7|65535|4294967295";
const NUMBERS: &str = "0|1|2|9|91|1000|999999|9000000000000000000";
/// In how many commands there is one that has what magent refuses: a unique to be given, or to be found by a count or an append.
pub const REFUSED_IN: u64 = 12;
/// What is in base64, nearly.
const ODD_BASE64: &str = "Zm9|====|Z|Zm9v=|Zm9v Zm9v|Zm-v|Zm9vYg=a|/w==|8J+RjQ==|YQ|YR==";

impl Generator {
    /// A meta command that memcached takes, or may take.
    pub fn meta(&mut self) -> Vec<u8> {
        let (key, is_base64) = self.meta_key();
        let name = self.of("mg|mg|mg|mg|ms|ms|ms|ms|md|ma|ma|mn");
        let mut flags = match name {
            "mg" => self.flags("v|v|v|t|f|c|s|h|l|k|O|q|u|T|N|R|C|E|P|L|b"),
            "ms" => self.flags("c|k|O|q|T|T|F|F|I|M|M|N|s|C|E|b"),
            "md" => self.flags("k|O|q|T|I|I|x|F|C|E|b"),
            "ma" => self.flags("v|v|t|c|k|O|q|N|N|J|D|M|T|C|E|b"),
            _ if self.one_in(8) => return format!("me {key}\r\n").into_bytes(),
            _ => return b"mn\r\n".to_vec(),
        };
        // Each once; `b` says what the key is. What magent refuses is not in every stream: such a one is compared only as if it were
        // without.
        let is_refused = self.one_in(REFUSED_IN);
        flags.retain(|&letter| letter != 'b' && (is_refused || letter != 'E' && (letter != 'C' || name != "ma")));
        if is_base64 {
            let at = self.below(flags.len() + 1);
            flags.insert(at, 'b');
        }
        // Whose a unique is has to be told.
        if flags.contains(&'c') && !flags.contains(&'k') && !flags.contains(&'O') {
            flags.push('O');
        }
        let words: Vec<String> = flags
            .iter()
            .map(|&letter| self.flag(name, letter, &key, &flags))
            .collect();
        let flags: String = words.iter().map(|word| format!(" {word}")).collect();
        match name {
            "ms" => {
                let value = self.meta_value(words.iter().all(|word| !word.starts_with(['M', 'C'])));
                let len = super::stream::expand(value.as_bytes(), |_, _| "").len();
                format!("ms {key} {len}{flags}\r\n{value}\r\n")
            }
            _ => format!("{name} {key}{flags}\r\n"),
        }
        .into_bytes()
    }

    fn meta_key(&mut self) -> (String, bool) {
        if self.one_in(60) {
            return (self.of(ODD_BASE64).to_owned(), true);
        }
        if self.one_in(5) {
            let key = encoded(self.of(KEYS_IN_BASE64).as_bytes());
            return (String::from_utf8_lossy(&key).into_owned(), true);
        }
        (self.key(), false)
    }

    /// Some of these letters, none twice.
    fn flags(&mut self, of: &'static str) -> Vec<char> {
        let count = self.below(6);
        let mut letters = Vec::new();
        for _ in 0..count {
            let letter = self.of(of).chars().next().expect("a letter");
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
        letters
    }

    fn flag(&mut self, name: &str, letter: char, key: &str, others: &[char]) -> String {
        let (knows_unique, has_unique) = (others.contains(&'c'), others.contains(&'C'));
        let argument = match letter {
            'O' => {
                self.opaques += 1;
                format!("{}{}", self.of("||x-|aaaaaaaaaaaaaaaaaaaaaaa"), self.opaques)
            }
            'N' if knows_unique || name == "ma" => self.of(LATE_EXPTIMES).to_owned(),
            // Where the number becomes longer, memcached gives its time to what was there before.
            'T' if name == "ma" => self.of(LATE_EXPTIMES).to_owned(),
            'T' | 'N' => self.of(EXPTIMES).to_owned(),
            'R' => self.of(RECACHES).to_owned(),
            'F' => self.of(FLAGS).to_owned(),
            'J' | 'D' => self.of(NUMBERS).to_owned(),
            'M' if name == "ma" => self.of("I|D|+|-|I|D|i|d").to_owned(),
            'M' if has_unique => self.of("E|R|S|E|R|S|e|r|s|a|A").to_owned(),
            'M' => self.of("E|R|S|A|P|A|P|e|r|s|a|p").to_owned(),
            'C' => match self.below(6) {
                0 => "1".to_owned(),
                1 => u64::MAX.to_string(),
                2 => format!("<old {key}>"),
                _ => format!("<cas {key}>"),
            },
            'E' => self.of("1|77|5000000000|18446744073709551615").to_owned(),
            'P' | 'L' => self.of("|1|x").to_owned(),
            _ => String::new(),
        };
        format!("{letter}{argument}")
    }

    /// A known fault: what a server refuses as too large, and magent does not, takes away what was there only if it `sets`.
    fn meta_value(&mut self, sets: bool) -> String {
        match self.below(40) {
            0 => "v".repeat(self.below(3000)),
            1 if !sets && self.one_in(10) => self.of("<x*600000>|<x*1048577>").to_owned(),
            1 if self.one_in(10) => self.of("<x*600000>|<x*1048400>|<x*1048570>|<x*1048577>").to_owned(),
            _ => self.of(super::generator::VALUES).to_owned(),
        }
    }
}
