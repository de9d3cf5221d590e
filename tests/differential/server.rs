//! The memcacheds of a world: one of them bare, the others behind magent; and what they hold.

use super::allowed::end_of_life;
use super::asked::Asked;
use super::common::{Client, Memcached, Port, Process, eventually};
use super::conversation::Conversation;
use super::keys::{encoded, key_of, named};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many versions users have.
const VERSIONS: usize = 3;

/// Who is met: the machine's own memcached, and those that `make memcacheds` put below target; or the one that MEMCACHED
/// names.
pub fn programs() -> Vec<(String, PathBuf)> {
    if std::env::var("MEMCACHED").is_ok_and(|program| !program.is_empty()) {
        let program = PathBuf::from(Memcached::program());
        return vec![(version(&program), program)];
    }
    let mut programs = vec![PathBuf::from("memcached")];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/memcacheds");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let newer = entries.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    programs.extend(newer.map(|entry| entry.path().join("memcached")));
    programs.sort();
    if programs.len() < VERSIONS {
        // Not by a macro, whose words are kept back unless a test fails.
        let line = b"LEFT OUT: a memcached that users have is not below target/memcacheds; `make memcacheds` gets it\n";
        std::io::stderr().write_all(line).expect("a standard error");
    }
    programs
        .into_iter()
        .map(|program| (version(&program), program))
        .collect()
}

fn version(program: &PathBuf) -> String {
    let said = Command::new(program).arg("-V").output().expect("a memcached");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.trim().trim_start_matches("memcached ").to_owned()
}

pub struct Server {
    pub name: String,
    _process: Process,
    control: Client,
    emptied: i64,
    _port: Port,
}

/// Flags, value, and the unix time at which it ends, -1 for never.
pub type Item = (u32, Vec<u8>, i64);

/// What a server holds, that was emptied at a time and told things from then on.
#[derive(Clone, Default)]
pub struct Contents {
    pub items: BTreeMap<Vec<u8>, Item>,
    pub since: i64,
    /// Until it was asked.
    pub until: i64,
}

pub fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs() as i64
}

impl Server {
    pub fn start(program: &PathBuf, more: &[&str]) -> Self {
        let port = Port::free();
        let name = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args([
            "-l",
            "127.0.0.1",
            "-U",
            "0",
            "-p",
            &port.to_string(),
            "-u",
            "root",
            "-m",
            "200",
        ]);
        let mut process = Process::spawn(command.args(["-o", "hashpower=12"]).args(more).stderr(Stdio::null()));
        let mut control = None;
        eventually("memcached accepts connections", || {
            assert_eq!(process.exited(), None, "memcached did not start: {command:?}");
            control = Client::try_connect(&name).ok();
            control.is_some()
        });
        Self {
            name,
            _process: process,
            control: control.expect("waited for"),
            emptied: 0,
            _port: port,
        }
    }

    /// Away with everything, and with a flush that was put off. `thoroughly` where the items must not come back: another
    /// flush makes memcached forget the one before, and what nobody asked for meanwhile is there again.
    pub fn empty(&mut self, thoroughly: bool) {
        self.control.check("flush_all\r\n", "OK\r\n");
        let mut crawls = thoroughly;
        while crawls {
            crawls = self.control.ask("lru_crawler crawl all\r\n") != "OK\r\n";
            // Says BUSY, and tries again, until the crawler is through.
            self.expiries();
        }
        // 1.6.45 leaves an item there that was changed in place a few seconds before.
        for key in self.expiries().into_keys() {
            self.control.send([b"md ", &named(&key)[..], b"\r\n"].concat());
            let _ = self.control.line();
        }
        self.emptied = unix_now();
    }

    /// Waits until it has done what came on other connections before this; so it is with one thread, and no limit of
    /// requests in a row.
    pub fn ring(&mut self) {
        self.control.send("mn\r\n");
        self.control.expect("MN\r\n");
    }

    /// Opens a connection, and waits until its thread has it: else it might be read after one that rings later.
    pub fn open(&mut self, asked: Asked) -> Conversation {
        let connections = |control: &mut Client| control.stat("stats", "total_connections");
        let before = connections(&mut self.control);
        let conversation = Conversation::open(&self.name, asked);
        eventually("memcached has taken the connection", || {
            connections(&mut self.control) != before
        });
        conversation
    }

    /// Every item that is there.
    pub fn contents(&mut self) -> Contents {
        let expiries = self.expiries();
        let mut request = Vec::new();
        for key in expiries.keys() {
            request.extend_from_slice(&[b"mg ", &named(key)[..], b" f v\r\n"].concat());
        }
        request.extend_from_slice(b"mn\r\n");
        self.control.send(&request);
        let mut items = BTreeMap::new();
        for (key, exptime) in expiries {
            let line = self.control.line();
            let mut words = line.0.trim_ascii_end().split(|&byte| byte == b' ');
            if words.next() != Some(b"VA") {
                continue;
            }
            let mut number = |start: usize| -> usize {
                let word = words.next().expect("a number");
                std::str::from_utf8(&word[start..])
                    .ok()
                    .and_then(|word| word.parse().ok())
                    .expect("a number")
            };
            let (len, flags) = (number(0), number(1));
            let mut value = self.control.rest_or(len + 2).0;
            value.truncate(len);
            items.insert(meant(key), (flags as u32, value, exptime));
        }
        self.control.expect("MN\r\n");
        Contents {
            items,
            since: self.emptied,
            until: unix_now(),
        }
    }

    /// The keys, with the ends of their lives.
    fn expiries(&mut self) -> BTreeMap<Vec<u8>, i64> {
        let mut expiries = BTreeMap::new();
        loop {
            self.control.send("lru_crawler metadump hash\r\n");
            let mut line = self.control.line();
            if line.starts_with("BUSY") {
                continue;
            }
            while line != "END\r\n" {
                let text = String::from_utf8_lossy(&line.0).into_owned();
                let mut words = text.split(' ');
                if let (Some(key), Some(exp)) = (
                    words.next().and_then(|word| word.strip_prefix("key=")),
                    words.next().and_then(|word| word.strip_prefix("exp=")),
                ) {
                    expiries.insert(decoded(key), end_of_life(exp.parse().expect("a time")));
                }
                line = self.control.line();
            }
            return expiries;
        }
    }
}

/// The key that is meant by the name of one that a text command cannot name, which magent gives it.
fn meant(name: Vec<u8>) -> Vec<u8> {
    const MARK: u8 = 0x1f;
    match name.split_first() {
        Some((&MARK, text)) if encoded(&key_of(text, true)) == text => key_of(text, true),
        _ => name,
    }
}

/// A key as a list writes it: `%` and two digits for what is odd.
fn decoded(key: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), key.as_bytes());
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &behind[2..];
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

/// What is different, in words; none if nothing is. Times may be two seconds apart: a second may begin between two writes,
/// and another in a copy. A life that was given in seconds began at some time while the server was told things.
pub fn difference(one: &Contents, other: &Contents, asked: &Asked) -> Option<String> {
    let keys: std::collections::BTreeSet<_> = one.items.keys().chain(other.items.keys()).collect();
    let near = |a: i64, b: i64| (a - b).abs() <= 2;
    let took = (one.until - one.since).max(other.until - other.since);
    for key in keys {
        let (a, b) = (one.items.get(key), other.items.get(key));
        let same = match (a, b) {
            (Some(a), Some(b)) => {
                let ends_alike = near(a.2, b.2) || (a.2 - one.since - b.2 + other.since).abs() <= 2 + took;
                let values_alike = asked.tight(&a.1) == asked.tight(&b.1);
                let ends_alike = (a.2 < 0) == (b.2 < 0) && ends_alike;
                a.0 == b.0 && values_alike && (asked.retimes || ends_alike)
            }
            _ => false,
        };
        if !same {
            return Some(format!("{}: {} and {}", key.escape_ascii(), shown(a), shown(b)));
        }
    }
    None
}

fn shown(item: Option<&Item>) -> String {
    match item {
        None => "nothing".to_owned(),
        Some((flags, value, exptime)) => {
            let start = &value[..value.len().min(60)];
            format!(
                "\"{}\" ({} bytes, flags {flags}, until {exptime})",
                start.escape_ascii(),
                value.len()
            )
        }
    }
}
