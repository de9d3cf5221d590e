//! The load: clients that write to keys of their own in every way, read everybody's, and know what they must be told.

use super::checker::{Content, History, Item, Outcome, Read, Write};
use super::connection::{Connection, Entrance, Reply};
use super::stage::Stage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const WRITERS: usize = 4;
/// Of each writer.
pub const KEYS: usize = 400;
/// Keys of each writer that get half of all requests; the others rest most of the time.
pub const HOT_KEYS: usize = 8;
/// Between two requests of a client: it is faults that are to be met, not the limits of the machine.
const PACE: Duration = Duration::from_millis(2);

pub fn key(writer: usize, n: usize) -> Arc<str> {
    let kind = if is_number(n) { "number" } else { "text" };
    format!("{writer}:{kind}{n}").into()
}

fn is_number(n: usize) -> bool {
    n % 4 == 3
}

/// What a key's writer knows of it.
#[derive(Clone, Debug)]
pub struct Held {
    /// Flags and value.
    pub item: Option<(u32, String)>,
    pub expires: Option<Instant>,
    /// False after a write whose outcome nobody knows: then it is set anew.
    pub is_known: bool,
    /// Rises with each value that is written.
    number: u64,
}

impl Held {
    const NOTHING: Held = Held {
        item: None,
        expires: None,
        is_known: true,
        number: 0,
    };

    fn content(&self) -> Item {
        let (flags, value) = self.item.as_ref()?;
        Some(Content::of(*flags, value.as_bytes()))
    }
}

/// A write, the answer that a memcached gives to it, and what the key holds then if that is something else than before.
struct Plan {
    request: String,
    answer: String,
    becomes: Option<Held>,
}

/// Pseudo-random numbers, the same ones in each run.
struct Random(u64);

impl Random {
    /// One below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    /// A writer's key.
    fn key(&mut self) -> usize {
        match self.below(2) {
            0 => self.below(HOT_KEYS),
            _ => self.below(KEYS),
        }
    }
}

pub struct Client<'a> {
    stage: &'a Stage,
    entrance: &'a Entrance,
    connection: Connection,
    me: usize,
    name: Arc<str>,
    /// Everybody's keys, by writer.
    keys: Vec<Vec<Arc<str>>>,
    mine: Vec<Held>,
    random: Random,
    history: History,
}

impl<'a> Client<'a> {
    pub fn new(stage: &'a Stage, entrance: &'a Entrance, me: usize) -> Self {
        let keys = (0..WRITERS).map(|writer| (0..KEYS).map(|n| key(writer, n)).collect());
        Self {
            stage,
            entrance,
            connection: entrance.connect(),
            me,
            name: format!("client {me}").into(),
            keys: keys.collect(),
            mine: vec![Held::NOTHING; KEYS],
            random: Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(me as u64 + 1)),
            history: History::default(),
        }
    }

    /// Sets all of its keys.
    pub fn fill(&mut self) {
        for n in 0..KEYS {
            let plan = self.set(n);
            self.carry_out(n, plan);
        }
    }

    /// Reads and writes until the stage says that it is enough. Returns what it did and got, and what its keys hold.
    pub fn work(mut self) -> (History, BTreeMap<Arc<str>, Held>) {
        while !self.stage.is_over() {
            match self.random.below(20) {
                0..6 => self.get(1),
                6..10 => self.get(10),
                10..13 => self.check_and_set(),
                _ => {
                    let n = self.random.key();
                    let plan = self.plan(n);
                    self.carry_out(n, plan);
                }
            }
            self.stage.count_request();
            std::thread::sleep(PACE);
        }
        let held = self.keys.swap_remove(self.me).into_iter().zip(self.mine);
        (self.history, held.collect())
    }

    /// Reads some of everybody's keys with one get.
    fn get(&mut self, count: usize) {
        let keys: Vec<Arc<str>> = (0..count)
            .map(|_| Arc::clone(&self.keys[self.random.below(WRITERS)][self.random.key()]))
            .collect();
        self.read("get", &keys);
    }

    /// Reads keys and keeps in mind what it saw of them.
    fn read(&mut self, verb: &str, keys: &[Arc<str>]) -> Option<Reply> {
        let begin = self.stage.now();
        let reply = self.ask(&format!("{verb} {}\r\n", keys.join(" ")))?;
        let end = self.stage.now();
        record(&mut self.history, &self.name, keys, &reply, begin, end);
        Some(reply)
    }

    /// A whole reply, error replies included; none if the connection ended.
    fn ask(&mut self, request: &str) -> Option<Reply> {
        let begin = self.stage.now();
        let reply = self.connection.ask(request);
        let end = self.stage.now();
        let what = || {
            let line = request.lines().next().unwrap_or_default();
            format!("{} from {begin:?} on: {line:.80}", self.name)
        };
        if reply.is_err() && self.entrance.has_died(&self.connection) {
            self.connection = self.entrance.connect();
            return None;
        }
        self.history.waited(end - begin, what);
        match reply {
            Ok(reply) => {
                if reply.is_error() {
                    self.history.errors.push((end, format!("{}: {}", what(), reply.line)));
                }
                Some(reply)
            }
            Err(error) => {
                self.history.errors.push((end, format!("{}: {error}", what())));
                self.connection = self.entrance.connect();
                None
            }
        }
    }

    /// Sends a write and keeps in mind what became of it. `refusal` is an answer that it may also get.
    fn carry_out_or(&mut self, n: usize, plan: Plan, refusal: impl FnOnce(&Stage, &str) -> bool) {
        let begin = self.stage.now();
        let reply = self.ask(&plan.request);
        let end = self.stage.now();
        let outcome = match &reply {
            Some(reply) if reply.line == plan.answer => Outcome::Done,
            Some(reply) if refusal(self.stage, &reply.line) => Outcome::Refused,
            Some(reply) => {
                if !reply.is_error() {
                    let line = plan.request.lines().next().unwrap_or_default();
                    let (name, held) = (&self.name, self.mine[n].content());
                    let (got, want) = (&reply.line, &plan.answer);
                    let blame = format!("{name} from {begin:?} on: {line:.80}: {got}, not {want}; it held {held:?}");
                    self.history.wrong.push((end, blame));
                }
                Outcome::Unknown
            }
            None => Outcome::Unknown,
        };
        let held = &mut self.mine[n];
        if let Some(becomes) = plan.becomes {
            let leaves = becomes.content();
            // Refused or not, its number is used up.
            held.number = becomes.number;
            if leaves != held.content() || !held.is_known {
                let key = Arc::clone(&self.keys[self.me][n]);
                self.history.writes.entry(key).or_default().push(Write {
                    begin,
                    end,
                    leaves,
                    outcome,
                });
            }
            if outcome != Outcome::Refused {
                *held = becomes;
            }
        }
        held.is_known &= outcome != Outcome::Unknown;
    }

    fn carry_out(&mut self, n: usize, plan: Plan) {
        self.carry_out_or(n, plan, |_, _| false);
    }

    /// Reads one of its keys and replaces what it read. Only a fault in between may have taken the unique away.
    fn check_and_set(&mut self) {
        let n = self.random.key();
        let faults = self.stage.faults();
        let key = Arc::clone(&self.keys[self.me][n]);
        let Some(reply) = self.read("gets", &[key]) else {
            return;
        };
        let unique = reply.found.first().and_then(|found| found.unique.as_deref());
        let is_there = self.mine[n].is_known && self.mine[n].item.is_some();
        let (Some(unique), true) = (unique, is_there) else {
            return; // what it read instead is the checker's business
        };
        let plan = self.store("cas", n, "STORED", Some(unique));
        self.carry_out_or(n, plan, |stage, line| {
            line == "EXISTS" && (faults % 2 != 0 || stage.faults() != faults)
        });
    }

    /// Some write that makes sense for what the key holds.
    fn plan(&mut self, n: usize) -> Plan {
        const GROWTH_MAX: usize = 200;
        let held = &self.mine[n];
        let dice = self.random.below(16);
        match &held.item {
            _ if !held.is_known => self.set(n),
            None => match dice {
                0..6 => self.store("add", n, "STORED", None),
                6..10 => self.set(n),
                10 => self.unchanged(n, "delete", "NOT_FOUND"),
                11 => self.unchanged(n, "touch", "NOT_FOUND"),
                12 => self.store("replace", n, "NOT_STORED", None),
                _ if is_number(n) => self.unchanged(n, "incr", "NOT_FOUND"),
                _ => self.store("append", n, "NOT_STORED", None),
            },
            Some((_, value)) => match dice {
                0..3 => self.delete(n),
                3 => self.touch(n),
                4 => self.store("add", n, "NOT_STORED", None),
                5..7 => self.store("replace", n, "STORED", None),
                7..12 if is_number(n) => self.incr(n),
                7..12 if value.len() < padding(n) + GROWTH_MAX => self.append(n),
                _ => self.set(n),
            },
        }
    }

    fn set(&mut self, n: usize) -> Plan {
        self.store("set", n, "STORED", None)
    }

    /// A command that stores a value of its own, with the answer that it is to get.
    fn store(&mut self, verb: &str, n: usize, answer: &str, unique: Option<&str>) -> Plan {
        let key = &self.keys[self.me][n];
        let flags = self.random.below(1 << 20) as u32;
        let seconds = [0, 0, 1000, 50_000][self.random.below(4)];
        let number = self.mine[n].number + 10;
        let value = match is_number(n) {
            true => number.to_string(),
            false => format!("{number} {key} {}", "x".repeat(padding(n))),
        };
        let unique = unique.map_or(String::new(), |unique| format!(" {unique}"));
        let becomes = Held {
            item: Some((flags, value.clone())),
            expires: (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds)),
            is_known: true,
            number,
        };
        Plan {
            request: format!("{verb} {key} {flags} {seconds} {}{unique}\r\n{value}\r\n", value.len()),
            answer: answer.to_owned(),
            becomes: (answer == "STORED").then_some(becomes),
        }
    }

    fn append(&mut self, n: usize) -> Plan {
        let mut becomes = self.mine[n].clone();
        becomes.number += 1;
        let added = format!("+{}", becomes.number);
        if let Some((_, value)) = &mut becomes.item {
            *value += &added;
        }
        Plan {
            request: format!("append {} 0 0 {}\r\n{added}\r\n", self.keys[self.me][n], added.len()),
            answer: "STORED".to_owned(),
            becomes: Some(becomes),
        }
    }

    /// Adds what leads to a number that it never had.
    fn incr(&mut self, n: usize) -> Plan {
        let mut becomes = self.mine[n].clone();
        becomes.number += 1;
        let mut by = 0;
        if let Some((_, value)) = &mut becomes.item {
            by = becomes.number - value.parse::<u64>().expect("a number");
            *value = becomes.number.to_string();
        }
        Plan {
            request: format!("incr {} {by}\r\n", self.keys[self.me][n]),
            answer: becomes.number.to_string(),
            becomes: Some(becomes),
        }
    }

    fn delete(&mut self, n: usize) -> Plan {
        let mut plan = self.unchanged(n, "delete", "DELETED");
        plan.becomes = Some(Held {
            number: self.mine[n].number,
            ..Held::NOTHING
        });
        plan
    }

    fn touch(&mut self, n: usize) -> Plan {
        const SECONDS: u64 = 20_000;
        let mut becomes = self.mine[n].clone();
        becomes.expires = Some(Instant::now() + Duration::from_secs(SECONDS));
        Plan {
            request: format!("touch {} {SECONDS}\r\n", self.keys[self.me][n]),
            answer: "TOUCHED".to_owned(),
            becomes: Some(becomes),
        }
    }

    /// A command of one line that is to find the key as it is.
    fn unchanged(&self, n: usize, verb: &str, answer: &str) -> Plan {
        let key = &self.keys[self.me][n];
        let request = match verb {
            "delete" => format!("delete {key}\r\n"),
            _ => format!("{verb} {key} 1\r\n"),
        };
        Plan {
            request,
            answer: answer.to_owned(),
            becomes: None,
        }
    }
}

/// Bytes of padding in the values of a key: most are small, some go by magent's way for large ones.
fn padding(n: usize) -> usize {
    match n {
        _ if n % 64 == 5 => 40_000,
        _ if n % 16 == 2 => 3000,
        _ => n % 100,
    }
}

/// Keeps in mind what a reader saw of these keys. A key that an error hides was not seen.
pub fn record(
    history: &mut History,
    reader: &Arc<str>,
    keys: &[Arc<str>],
    reply: &Reply,
    begin: Duration,
    end: Duration,
) {
    for key in keys {
        let found = reply.found.iter().find(|found| *found.key == **key);
        if found.is_some() || !reply.is_error() {
            history.reads.push(Read {
                reader: Arc::clone(reader),
                key: Arc::clone(key),
                begin,
                end,
                seen: found.map(|found| Content::of(found.flags, &found.value)),
            });
        }
    }
}
