//! A memcached and a model of it, sent the same.

use super::common::{Bytes, Client, Memcached as Real, assert_same, eventually};
use super::memcached::Memcached as Model;
use std::time::{SystemTime, UNIX_EPOCH};

/// Of the statistics that the model has, those that count commands and items.
const COUNTERS: [&str; 8] = [
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "get_hits",
    "get_misses",
    "total_items",
    "evictions",
];

fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    u64::try_from(now.as_millis()).expect("a time of this age")
}

/// A real memcached and a model of it, both new, and their connections.
pub struct Pair {
    pub real: Real,
    pub model: Model,
    /// The model's time stands still, unless a test moves it.
    pub now_ms: u64,
    pub lanes: Vec<Lane>,
    batches: usize,
    /// What the test is about, and what was sent last, for the one who reads why it failed.
    title: String,
    sent: String,
}

/// A connection to each.
pub struct Lane {
    pub client: Client,
    pub connection: usize,
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}, batch {}: {}", self.title, self.batches, self.sent);
        }
    }
}

impl Pair {
    pub fn new(title: impl Into<String>) -> Self {
        let now_ms = now_ms();
        let mut pair = Self {
            // incr shows when something else holds the item. So there is no thread that moves items between LRU
            // lists, and one thread only for all connections, which is done with one before it reads another.
            real: Real::start_with(&["-o", "no_lru_maintainer", "-t", "1"]),
            model: Model::new(1, now_ms),
            now_ms,
            lanes: Vec::new(),
            batches: 0,
            title: title.into(),
            sent: String::new(),
        };
        pair.open();
        pair
    }

    pub fn open(&mut self) {
        let lane = self.connect();
        self.lanes.push(lane);
    }

    fn connect(&mut self) -> Lane {
        Lane {
            client: self.real.client(),
            connection: self.model.connect(),
        }
    }

    /// Sends this to both on the first connection, and fails unless they answer alike.
    #[track_caller]
    pub fn check(&mut self, commands: impl AsRef<[u8]>) -> String {
        self.check_on(0, commands.as_ref(), |all| vec![all.len()])
    }

    /// As [`Self::check`], on any connection, and with what the model is sent cut into pieces of these lengths.
    #[track_caller]
    pub fn check_on(&mut self, lane: usize, commands: &[u8], pieces: impl FnOnce(&[u8]) -> Vec<usize>) -> String {
        self.batches += 1;
        self.sent = commands.escape_ascii().to_string();
        // The reply to this is the end of the replies. A value that was announced too long eats the empty line.
        let last = format!("\r\nmg nobody k O{}\r\n", self.batches);
        let end = format!("EN knobody O{}\r\n", self.batches);
        let all = [commands, last.as_bytes()].concat();

        let Lane { client, connection } = &mut self.lanes[lane];
        let (mut expected, mut rest, mut stays) = (Vec::new(), &all[..], true);
        for len in pieces(&all) {
            let (piece, behind) = rest.split_at(len);
            stays = stays && self.model.input(*connection, piece, self.now_ms, &mut expected);
            rest = behind;
        }
        client.send(&all);
        let mut actual = Vec::new();
        if stays {
            while !actual.ends_with(end.as_bytes()) {
                actual.extend(client.line().0);
            }
        } else {
            actual = client.rest().0;
            self.lanes[lane] = self.connect();
        }
        assert_same(&self.title, &normal(&actual), &normal(&expected));
        actual.truncate(actual.len() - if stays { end.len() } else { 0 });
        String::from_utf8_lossy(&actual).into_owned()
    }

    /// What the model says to this on its own.
    pub fn model_says(&mut self, lane: usize, bytes: impl AsRef<[u8]>) -> Bytes {
        let mut out = Vec::new();
        let connection = self.lanes[lane].connection;
        assert!(self.model.input(connection, bytes.as_ref(), self.now_ms, &mut out));
        Bytes(out)
    }

    /// Fails unless both have counted the same.
    pub fn check_counters(&mut self) {
        self.sent = "stats".to_owned();
        for name in COUNTERS {
            let expected = self.lanes[0].client.stat("stats", name);
            let line = format!("STAT {name} {expected}\r\n");
            let actual = self.model_says(0, "stats\r\n");
            assert!(actual.contains(&line), "{}: {line} {actual:?}", self.title);
        }
    }

    /// Fails unless both list the same items.
    #[track_caller]
    pub fn check_list(&mut self, what: &str) {
        self.sent = format!("lru_crawler metadump {what}");
        let request = format!("{}\r\n", self.sent);
        let mut actual = Vec::new();
        eventually("the crawler is free", || {
            let mut client = self.real.client();
            client.send(&request);
            let mut line = client.line().0;
            if line.starts_with(b"BUSY") {
                return false;
            }
            while line != b"END\r\n" {
                actual.push(line);
                line = client.line().0;
            }
            true
        });
        let mut expected = Vec::new();
        let now_s = i64::try_from(self.now_ms / 1000).expect("a time of this age");
        let connection = self.model.connect();
        assert!(
            self.model
                .input(connection, request.as_bytes(), self.now_ms, &mut expected)
        );
        self.model.disconnect(connection);
        let expected = expected.strip_suffix(b"END\r\n").expect("an end");
        let mut expected: Vec<_> = expected
            .split_inclusive(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        for lines in [&mut actual, &mut expected] {
            lines.iter_mut().for_each(|line| *line = normal_listed(line, now_s));
            lines.sort();
        }
        assert_same(&self.title, &actual.concat(), &expected.concat());
    }
}

/// The same for replies that only a clock makes different: how long an item lives, when it was read last.
fn normal(replies: &[u8]) -> Vec<u8> {
    let lines = replies.split_inclusive(|&byte| byte == b'\n').map(|line| {
        if !line.starts_with(b"HD ") && !line.starts_with(b"VA ") {
            return line.to_vec();
        }
        let words = line.trim_ascii_end().split(|&byte| byte == b' ');
        words
            .map(|word| [&normal_flag(word), &b" "[..]].concat())
            .collect::<Vec<_>>()
            .concat()
    });
    lines.collect::<Vec<_>>().concat()
}

fn normal_flag(word: &[u8]) -> Vec<u8> {
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    match (word.first(), word.get(1..).and_then(number)) {
        // The tests use no exptime for which a few seconds make a difference here.
        (Some(b't'), Some(ttl_s)) => format!("t about {}", (ttl_s + 50) / 100).into_bytes(),
        (Some(b'l'), Some(_)) => b"l".to_vec(),
        _ => word.to_vec(),
    }
}

/// The same for lines of a metadump that differ only by the clock and by the sizes of slabs.
fn normal_listed(line: &[u8], now_s: i64) -> Vec<u8> {
    let text = std::str::from_utf8(line).expect("keys are encoded");
    let words = text.split(' ').map(|word| match word.split_once('=') {
        Some((name @ ("la" | "cls"), _)) => name.to_owned(),
        Some(("exp", exp)) if exp != "-1" => {
            let ttl_s = exp.parse::<i64>().expect("a number") - now_s;
            format!("exp in about {}", (ttl_s + 50) / 100)
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").into_bytes()
}
