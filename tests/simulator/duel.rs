//! Clients of several magents that change the same keys at the same moment, each with one request at a time. What they are told is
//! judged by what anybody may expect of one memcached: a lock has one holder, every count is told to one, a unique is good once, and
//! in the end both servers have what one of the last has written.

use super::client::Scene;
use super::net::{Event, Name};
use super::parted::Sides;
use super::pipe::{End, Us};
use super::random::Random;
use super::simulation::{Broken, Simulation};
use std::collections::{HashMap, HashSet};

/// Keys of each kind.
pub const KEYS: usize = 3;

/// What a duelist has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Lock(usize),
    Unlock(usize),
    Count(usize),
    Set(usize, u64),
    Delete(usize),
    Touch(usize),
    Look(usize),
    Swap(usize, u64, u64),
}

impl Ask {
    fn line(self) -> String {
        match self {
            Ask::Lock(key) => format!("add lock{key} 0 0 1\r\nx\r\n"),
            Ask::Unlock(key) => format!("delete lock{key}\r\n"),
            Ask::Count(key) => format!("incr count{key} 1\r\n"),
            Ask::Set(key, value) => format!("set register{key} 0 0 {}\r\n{value}\r\n", value.to_string().len()),
            Ask::Delete(key) => format!("delete register{key}\r\n"),
            Ask::Touch(key) => format!("touch register{key} 0\r\n"),
            Ask::Look(key) => format!("gets swap{key}\r\n"),
            Ask::Swap(key, unique, value) => {
                format!("cas swap{key} 0 0 {} {unique}\r\n{value}\r\n", value.to_string().len())
            }
        }
    }
}

/// A write to a register: its value, none of a deletion, and when it was asked for and answered.
struct Written {
    value: Option<u64>,
    asked_us: Us,
    answered_us: Option<Us>,
}

/// What is known of all keys.
#[derive(Default)]
pub struct Duel {
    /// By lock: who has it, and has not begun to give it back.
    holders: [Option<usize>; KEYS],
    /// By lock: somebody's answer did not come, so that nobody knows.
    unknown: [bool; KEYS],
    /// By counter: what was told, and whether a server ended while that was under way; and how many answers did not come.
    counted: [HashMap<u64, bool>; KEYS],
    told: [u64; KEYS],
    uncounted: [u64; KEYS],
    registers: [Vec<Written>; KEYS],
    /// By key: the uniques by which somebody has stored.
    spent: [HashSet<u64>; KEYS],
    values: u64,
    /// When the last fault began.
    pub fault_us: Option<Us>,
    /// By magent: when it last found out that it has lost a server.
    lost_us: Vec<Option<Us>>,
    /// What the two sides of a cut did, where that is what it is about.
    pub sides: Option<Sides>,
    /// The first promise that was broken.
    broken: Option<Broken>,
}

pub struct Duelist {
    index: usize,
    number: usize,
    pub magent: usize,
    connection: Option<Name>,
    input: Vec<u8>,
    asked: Option<(Ask, Us)>,
    held: Option<usize>,
    seen: Option<(usize, u64)>,
    pub rests: bool,
}

impl Duelist {
    pub fn new(index: usize, number: usize, magent: usize) -> Self {
        Self {
            index,
            number,
            magent,
            connection: None,
            input: Vec::new(),
            asked: None,
            held: None,
            seen: None,
            rests: true,
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    pub fn begin(&mut self, scene: &mut Scene<'_>) {
        self.rests = false;
        self.come_back(scene);
    }

    fn come_back(&mut self, scene: &mut Scene<'_>) {
        let pause_us = scene.network.random.skewed(50, 10_000);
        scene
            .network
            .at(scene.network.now + pause_us, Event::Client(self.index));
    }

    pub fn act(&mut self, scene: &mut Scene<'_>, duel: &mut Duel) {
        if self.rests || self.asked.is_some() {
            return;
        }
        if !scene.listening[self.magent] {
            return self.come_back(scene);
        }
        let ask = self.choose(scene, duel);
        let (magent, index) = (self.magent, self.index);
        let name = *self
            .connection
            .get_or_insert_with(|| scene.network.open_client(magent, index));
        // Where two have changed a key at the same moment its copies are compared and made alike.
        scene.network.meters[magent].named(scene.network.now, 3);
        scene.network.peer_send(name, ask.line().as_bytes());
        self.asked = Some((ask, scene.network.now));
    }

    fn choose(&mut self, scene: &mut Scene<'_>, duel: &mut Duel) -> Ask {
        let random = &mut scene.network.random;
        if duel.sides.is_some() {
            return duel.choose_register(random);
        }
        if let Some(key) = self.held.take() {
            duel.holders[key] = None;
            return Ask::Unlock(key);
        }
        if let Some((key, unique)) = self.seen.take() {
            duel.values += 1;
            return Ask::Swap(key, unique, duel.values);
        }
        let key = random.below(KEYS as u64) as usize;
        match random.below(6) {
            0 | 1 => Ask::Lock(key),
            2 => Ask::Count(key),
            3 => Ask::Look(key),
            4 if random.one_in(2) => Ask::Delete(key),
            _ => {
                duel.values += 1;
                Ask::Set(key, duel.values)
            }
        }
    }

    pub fn hear(&mut self, scene: &mut Scene<'_>, name: Name, duel: &mut Duel) {
        if self.connection != Some(name) {
            return;
        }
        let end = scene.network.peer_take(name, &mut self.input);
        duel.lost_us.clone_from(&scene.network.lost_us);
        if let Some((ask, asked_us)) = self.asked {
            let whole = match ask {
                Ask::Look(_) => self.input.ends_with(b"END\r\n") || self.input.ends_with(b"available\r\n"),
                _ => self.input.ends_with(b"\r\n"),
            };
            if whole {
                let said = String::from_utf8_lossy(&std::mem::take(&mut self.input))
                    .trim_end()
                    .to_owned();
                self.asked = None;
                let number = self.number;
                let what = format_args!("  {ask:?}: {said}");
                scene.network.note(format_args!("duelist {number}"), what);
                self.learn(ask, asked_us, &said, scene.network.now, duel);
                self.come_back(scene);
            }
        }
        if end.is_some() {
            scene.network.peer_close(name, End::Closed);
            self.lose(scene, duel);
        }
    }

    /// The connection is gone, and no answer comes any more.
    pub fn lose(&mut self, scene: &mut Scene<'_>, duel: &mut Duel) {
        (self.connection, self.seen) = (None, None);
        self.input.clear();
        if let Some((ask, asked_us)) = self.asked.take() {
            self.learn(ask, asked_us, "SERVER_ERROR", scene.network.now, duel);
            self.come_back(scene);
        }
    }

    fn learn(&mut self, ask: Ask, asked_us: Us, said: &str, now: Us, duel: &mut Duel) {
        if let Some(sides) = &mut duel.sides {
            let lost_us = duel.lost_us[self.magent];
            if let Err(broken) = sides.learn(self.magent, ask, said, (asked_us, now), lost_us) {
                duel.fail(broken);
            }
            return;
        }
        let failed = said.starts_with("SERVER_ERROR");
        match ask {
            Ask::Lock(key) | Ask::Unlock(key) if failed => duel.unknown[key] = true,
            Ask::Lock(key) if said == "STORED" => {
                if let Some(holder) = duel.holders[key].filter(|_| !duel.unknown[key]) {
                    duel.fail(format!(
                        "lock{key} was given to duelist {}, while {holder} had it",
                        self.number
                    ));
                }
                duel.holders[key] = Some(self.number);
                self.held = Some(key);
            }
            // It was on its way to both servers when the one that decides ended, and may have come to the other after that had given the
            // lock to somebody.
            Ask::Unlock(key) if duel.was_under_way(asked_us) => duel.holders[key] = None,
            Ask::Lock(_) | Ask::Unlock(_) => {}
            Ask::Count(key) if failed => duel.uncounted[key] += 1,
            Ask::Count(key) => match said.parse() {
                Ok(number) if duel.is_new(key, number, asked_us) => {}
                _ => duel.fail(format!(
                    "count{key}: {said} was told to duelist {}, not for the first time",
                    self.number
                )),
            },
            Ask::Set(key, value) => duel.write(key, Some(value), asked_us, (!failed).then_some(now)),
            Ask::Delete(key) => duel.write(key, None, asked_us, (!failed).then_some(now)),
            Ask::Look(key) => {
                let unique = said.lines().next().and_then(|line| line.split(' ').nth(4));
                self.seen = unique.and_then(|unique| Some((key, unique.parse().ok()?)));
                if self.seen.is_none() && !failed {
                    duel.fail(format!("swap{key} is gone: {said}"));
                }
            }
            Ask::Swap(key, unique, _) if said == "STORED" => {
                if !duel.spent[key].insert(unique) {
                    duel.fail(format!("swap{key}: two have stored by the unique {unique}"));
                }
            }
            Ask::Swap(..) | Ask::Touch(_) => {}
        }
    }
}

impl Duel {
    fn choose_register(&mut self, random: &mut Random) -> Ask {
        let key = random.below(KEYS as u64) as usize;
        match random.below(8) {
            0 => Ask::Delete(key),
            1 => Ask::Touch(key),
            _ => {
                self.values += 1;
                Ask::Set(key, self.values)
            }
        }
    }

    fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    /// Whether a count may be told. Of two that were on their way to both servers when the one that decides ended, one may have been
    /// told by that, and the other by its partner, to which they came in another order: so those may be told the same.
    fn is_new(&mut self, key: usize, number: u64, asked_us: Us) -> bool {
        let under_way = self.was_under_way(asked_us);
        self.told[key] += 1;
        let before = self.counted[key].insert(number, under_way);
        before.is_none_or(|before| before || under_way)
    }

    /// Whether the last fault began, or a magent found out of it, while something was under way that was asked for then, and is answered
    /// now.
    fn was_under_way(&self, asked_us: Us) -> bool {
        let lost_us = self.lost_us.iter().copied().max().flatten();
        self.fault_us.max(lost_us).is_some_and(|fault_us| asked_us <= fault_us)
    }

    fn write(&mut self, key: usize, value: Option<u64>, asked_us: Us, answered_us: Option<Us>) {
        self.registers[key].push(Written {
            value,
            asked_us,
            answered_us,
        });
    }

    /// What a register may hold when all is quiet: what was written by somebody whom nobody has followed.
    fn may_hold(&self, key: usize, held: Option<u64>) -> bool {
        let all = &self.registers[key];
        let is_last = |one: &Written| {
            let follows = |other: &Written| {
                other.answered_us.is_some() && one.answered_us.is_some_and(|end| end < other.asked_us)
            };
            !all.iter().any(follows)
        };
        let nobody = all.iter().all(|one| one.answered_us.is_none());
        all.iter().any(|one| one.value == held && is_last(one)) || nobody && held.is_none()
    }

    /// What was broken so far.
    pub fn verdict(&mut self) -> Result<(), Broken> {
        self.broken.take().map_or(Ok(()), Err)
    }
}

impl Simulation {
    /// Before the duelists begin: what is counted and swapped is there.
    pub fn lay_out_duel(&mut self) {
        for key in 0..KEYS {
            for name in [format!("count{key}"), format!("swap{key}")] {
                let line = format!("set {name} 0 0 1\r\n0\r\n");
                self.tell_servers(&line);
            }
        }
    }

    fn tell_servers(&mut self, line: &str) {
        for server in &mut self.servers {
            let now_ms = server.clock_ms(&self.network.borrow());
            if let Some(memcached) = &mut server.memcached {
                let connection = memcached.connect();
                memcached.input(connection, line.as_bytes(), now_ms, &mut Vec::new());
                memcached.disconnect(connection);
            }
        }
    }

    /// The value of an item in a server's memory.
    pub fn item_on(&self, server: usize, name: &str) -> Option<String> {
        let server = &self.servers[server];
        let now_ms = server.clock_ms(&self.network.borrow());
        let item = server.memcached.as_ref()?.peek(name.as_bytes(), now_ms)?;
        Some(String::from_utf8_lossy(&item.value).into_owned())
    }

    /// All is quiet: both servers have the same of every key, and what they may have.
    pub fn end_duel(&mut self) -> Result<(), Broken> {
        self.duel.verdict()?;
        for key in 0..KEYS {
            for kind in ["lock", "count", "register", "swap"] {
                let name = format!("{kind}{key}");
                let [one, other] = [0, 1].map(|server| self.item_on(server, &name));
                if one != other {
                    return Err(format!("{name} is {one:?} on s0, and {other:?} on s1"));
                }
                let number = one.as_deref().and_then(|text| text.trim_end().parse::<u64>().ok());
                let told = self.duel.told[key];
                let (least, most) = (told, told + self.duel.uncounted[key]);
                match kind {
                    "count" if !number.is_some_and(|number| (least..=most).contains(&number)) => {
                        return Err(format!("{name} is {one:?}, and {least} to {most} have counted"));
                    }
                    "register" if !self.duel.may_hold(key, number) => {
                        return Err(format!("{name} is {one:?}, which is not what was written last"));
                    }
                    "swap" if number.is_none() => return Err(format!("{name} is gone")),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
