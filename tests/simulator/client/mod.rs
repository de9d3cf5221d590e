//! A client: thinks of requests, sends them, and hands what it is told to the checker.

mod hearing;
mod meta_speech;
mod odd;
mod owed;
mod replies;
mod requests;
mod speech;
mod tongue;

pub use owed::Owed;
pub use replies::normal;

use super::checker::Checker;
use super::model::{Answer, Seen, Version};
use super::net::{Event, Name, Network};
use super::pipe::{End, Us};
use super::plan::{KeyPlan, Plan};
use super::trace::Readable;
use hearing::Slowness;
use meta_speech::MetaSpeech;
use odd::Expected;
use replies::PIPELINE_MAX;
use speech::Speech;
use std::collections::VecDeque;
use tongue::Tongue;

/// What a client, or anything else that happens, may touch.
pub struct Scene<'a> {
    pub network: &'a mut Network,
    pub checker: &'a mut Checker,
    pub plan: &'a Plan,
    /// By server: until when it was away or not whole, in ms; `u64::MAX` while it is.
    pub impaired_ms: &'a [u64],
    /// By magent: whether it runs.
    pub listening: &'a [bool],
    /// What was asked before this may have waited longer than promised.
    pub excused_until_us: Us,
    /// Nothing is going on but that servers are waited for: clients take their time.
    pub at_leisure: bool,
    /// By magent: when last it was told to end.
    pub told_to_end_us: &'a [Us],
    pub owed: &'a mut Owed,
    /// By server: until when it had no memory.
    pub full_until_us: &'a [Us],
    /// By server: until when it said what is no answer.
    pub babbled_until_us: &'a [Us],
    /// A promise that was broken by something that cannot return it.
    pub slowest_us: &'a mut Us,
}

impl Scene<'_> {
    /// Whether a request that was asked at this time may be refused: no server of the key was whole all the while.
    fn may_be_refused(&self, key: &KeyPlan, asked_us: Us) -> bool {
        if self.plan.class.is_strict() {
            return false;
        }
        // A magent that did not run may take it that its servers did not.
        let stalled = asked_us < self.excused_until_us;
        stalled
            || key
                .servers
                .iter()
                .all(|&server| self.impaired_ms[server] >= asked_us / 1000)
    }
}

/// A key of a request.
struct Part {
    key: usize,
    id: Version,
    /// The magent is not the one that writes the key.
    watches: bool,
}

enum Kind {
    Retrieval,
    Line,
    Version,
    /// It concerns no key.
    Odd(Expected),
}

struct Asked {
    kind: Kind,
    parts: Vec<Part>,
    noreply: bool,
    changes: bool,
    asked_us: Us,
    /// How often, beyond the first time, magent asks servers for it where it is a retrieval of many keys.
    more_portions: u64,
    ahead: Ahead,
}

/// What magent may have to do one after the other before a request is answered.
#[derive(Clone, Copy)]
struct Ahead {
    /// The keys of what was asked on its connection and not answered when it was, and its own but the last.
    keys: u64,
    /// The further portions of all that.
    portions: u64,
}

/// A value that came: key, flags, unique.
struct Value {
    key: usize,
    answer: Answer,
    unique: Option<u64>,
}

pub struct Client {
    index: usize,
    pub magent: usize,
    connection: Option<Name>,
    connected_us: Us,
    /// Numbers the connections of all clients, for the checker.
    lifetime: u32,
    asked: VecDeque<Asked>,
    /// Lines that have come, and those that packets have been put into.
    input: Vec<u8>,
    /// Where it speaks another protocol on this connection.
    tongue: Option<Tongue>,
    /// By key: the last unique seen.
    uniques: Vec<Option<(u64, Seen)>>,
    serial: u64,
    next_at: Option<Us>,
    leaves: bool,
    /// How it reads, if it takes its time.
    slowness: Option<Slowness>,
    /// It said something on this connection.
    has_asked: bool,
    /// It was told something on this connection.
    was_told: bool,
    /// No more requests of its own accord.
    pub rests: bool,
}

/// How long a client thinks at least where only time has to pass, or there is nothing that it may ask for.
const LEISURE_MIN_US: Us = 20_000;
const LEISURE_MAX_US: Us = 80_000;
/// With so many operations of a key that nobody was told the outcome of, clients wait for their replies.
const LOST_MAX: usize = 2;

impl Client {
    pub fn new(index: usize, magent: usize, keys: usize) -> Self {
        Self {
            index,
            magent,
            connection: None,
            connected_us: 0,
            lifetime: index as u32,
            asked: VecDeque::new(),
            input: Vec::new(),
            tongue: None,
            uniques: vec![None; keys],
            serial: 0,
            next_at: None,
            leaves: false,
            slowness: None,
            has_asked: false,
            was_told: false,
            rests: true,
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    pub fn wake(&mut self, scene: &mut Scene<'_>, delay: Us) {
        let time = scene.network.now + delay;
        self.next_at = Some(time);
        scene.network.at(time, Event::Client(self.index));
    }

    fn think(&mut self, scene: &mut Scene<'_>) {
        let manners = &scene.plan.manners;
        let mut delay = scene.network.random.between(manners.think_min_us, manners.think_max_us);
        if scene.at_leisure {
            delay = delay.max(scene.network.random.between(LEISURE_MIN_US, LEISURE_MAX_US));
        }
        self.wake(scene, delay);
    }

    /// Its time has come.
    pub fn act(&mut self, scene: &mut Scene<'_>) {
        if self.next_at != Some(scene.network.now) {
            return;
        }
        self.next_at = None;
        if self.leaves {
            self.leave(scene);
            return self.think(scene);
        }
        if self.rests || self.asked.iter().any(|asked| !asked.noreply) {
            return;
        }
        if !self.connect(scene) {
            let delay = scene.network.random.between(5_000, 50_000);
            return self.wake(scene, delay);
        }
        let manners = &scene.plan.manners;
        let count = match scene.network.random.one_in(manners.pipeline_one_in) {
            true => scene.network.random.between(2, manners.pipeline_max),
            false => 1,
        };
        let mut bytes = Vec::new();
        let mut ends = false;
        for _ in 0..count {
            match scene.network.random.one_in(scene.plan.more.odd_one_in) {
                true => ends |= self.say_something_odd(scene, &mut bytes),
                false => self.think_of_one(scene, &mut bytes),
            }
            if ends {
                break;
            }
        }
        if bytes.is_empty() {
            // Every key has too much in progress already.
            let delay = scene.network.random.between(LEISURE_MIN_US, LEISURE_MAX_US);
            return self.wake(scene, delay);
        }
        // Too much that nobody was told makes anything possible.
        let unknown = self.asked.iter().flat_map(|asked| &asked.parts);
        let much_unknown = unknown.map(|part| scene.checker.lost(part.key)).max().unwrap_or(0) >= LOST_MAX;
        let leaves = scene.network.random.one_in(manners.leave_one_in) && !much_unknown;
        if leaves && scene.network.random.one_in(2) {
            // In the middle of a request.
            let kept = scene.network.random.below(bytes.len() as u64 + 1);
            bytes.truncate(kept as usize);
        }
        self.say(scene, &bytes);
        if leaves {
            self.leaves = true;
            let delay = scene.network.random.between(0, 5_000);
            self.wake(scene, delay);
        } else if !ends && scene.network.random.one_in(scene.plan.more.shut_one_in) {
            self.shut(scene);
        } else if self.asked.iter().all(|asked| asked.noreply) {
            self.think(scene);
        }
    }

    /// Whether it is connected, or is now.
    fn connect(&mut self, scene: &mut Scene<'_>) -> bool {
        if self.connection.is_none() {
            if !scene.listening[self.magent] {
                return false;
            }
            self.connection = Some(scene.network.open_client(self.magent, self.index));
            self.lifetime += 1000;
            (self.has_asked, self.was_told) = (false, false);
            self.connected_us = scene.network.now;
            self.slowness = Slowness::draw(scene);
            self.tongue = self.draw_tongue(scene);
        }
        true
    }

    /// Which protocol it speaks on the connection that it has begun: packets and meta commands by turns on every other one, where clients do.
    /// Neither where they say what no packet can, nor where it matters how many keys are asked for at once, or how many bytes that takes.
    fn draw_tongue(&self, scene: &Scene<'_>) -> Option<Tongue> {
        let more = &scene.plan.more;
        let is_plain = more.odd_one_in == 0 && more.shut_one_in == 0 && !more.sheds;
        let is_shallow = scene.plan.manners.pipeline_max <= PIPELINE_MAX;
        // A memcached without the meta commands or gat says that it is older than those of most classes say.
        let are_new = scene.plan.manners.get_and_touch && !scene.plan.has_meta.contains(&false);
        let is_its_turn = (self.lifetime / 1000 + self.lifetime) % 2 == 0;
        let speaks = scene.plan.tongues && is_plain && is_shallow && are_new && is_its_turn;
        speaks.then(|| match (self.lifetime / 2000 + self.lifetime / 2) % 2 {
            0 => Tongue::Packets(Speech::default()),
            _ => Tongue::Meta(MetaSpeech::default()),
        })
    }

    fn say(&mut self, scene: &mut Scene<'_>, bytes: &[u8]) {
        let now = scene.network.now;
        self.has_asked = true;
        scene.network.trace.mix(now, bytes);
        if scene.network.trace.is_on() {
            scene.network.note(
                format_args!("client {}", self.index),
                format_args!("{}", Readable(bytes)),
            );
        }
        let said = self.tongue.as_mut().map(|tongue| tongue.say(bytes));
        if let Some(name) = self.connection {
            scene.network.peer_send(name, said.as_deref().unwrap_or(bytes));
        }
        let named = self.asked.iter().rev().take_while(|asked| asked.asked_us == now);
        let keys: usize = named.map(|asked| asked.parts.len().max(1)).sum();
        scene.network.meters[self.magent].named(now, keys);
        self.note_owed(scene, bytes.len());
    }

    /// Ends its connection; what it was not told, it will not be.
    fn leave(&mut self, scene: &mut Scene<'_>) {
        self.leaves = false;
        if let Some(name) = self.connection {
            let end = *scene.network.random.pick(&[End::Closed, End::Closed, End::Reset]);
            scene
                .network
                .note(format_args!("client {}", self.index), format_args!("leaves"));
            scene.network.peer_close(name, end);
        }
        self.forget_connection(scene);
    }

    /// Ends its connection, and asks for more on another.
    pub fn ask_later(&mut self, scene: &mut Scene<'_>) {
        self.leave(scene);
        if !self.rests {
            self.think(scene);
        }
    }

    /// Ends its connection and begins another one, on which it thinks first.
    pub fn come_again(&mut self, scene: &mut Scene<'_>) {
        self.ask_later(scene);
        self.connect(scene);
    }

    /// Its magent has died. Adds the keys that it was changing to `touched`.
    pub fn cut_off(&mut self, scene: &mut Scene<'_>, touched: &mut Vec<usize>) {
        for asked in self.asked.iter().filter(|asked| asked.changes) {
            touched.extend(asked.parts.iter().map(|part| part.key));
        }
        if let Some(name) = self.connection {
            scene.network.peer_close(name, End::Closed);
        }
        self.leaves = false;
        self.forget_connection(scene);
        if !self.rests {
            self.think(scene);
        }
    }

    fn forget_connection(&mut self, scene: &mut Scene<'_>) {
        self.connection = None;
        self.tongue = None;
        scene.owed.pay(self.index);
        self.input.clear();
        for asked in std::mem::take(&mut self.asked) {
            lose(scene, &asked);
        }
    }

    /// What needs no reply and may have been refused has had its effect by now or never will; the client may not learn that
    /// for long, because it asks for nothing more.
    pub fn settle(&self, scene: &mut Scene<'_>, before_us: Us) {
        let over = |asked: &&Asked| asked.noreply && asked.asked_us < before_us;
        for asked in self.asked.iter().filter(over) {
            let keys = &scene.plan.keys;
            if asked
                .parts
                .iter()
                .any(|part| scene.may_be_refused(&keys[part.key], asked.asked_us))
            {
                lose(scene, asked);
            }
        }
    }

    /// Sends what was put together elsewhere.
    pub fn send(&mut self, scene: &mut Scene<'_>, bytes: &[u8]) -> bool {
        let connected = self.connect(scene);
        if connected {
            self.say(scene, bytes);
        }
        connected
    }

    /// Notes that it has asked for something that concerns no key.
    fn expect_one(&mut self, scene: &Scene<'_>, kind: Kind) {
        self.asked.push_back(Asked {
            kind,
            parts: Vec::new(),
            noreply: false,
            changes: false,
            asked_us: scene.network.now,
            more_portions: 0,
            ahead: self.ahead(1, 0),
        });
    }

    /// Asks something harmless, so that the end of what needs no reply is known.
    pub fn ask_version(&mut self, scene: &mut Scene<'_>) {
        let has_ended = self.asked.iter().any(Asked::is_end);
        if self.is_waiting() && self.connection.is_some() && !has_ended {
            self.expect_one(scene, Kind::Version);
            self.say(scene, b"version\r\n");
        }
    }
}

fn lose(scene: &mut Scene<'_>, asked: &Asked) {
    for part in &asked.parts {
        match part.watches {
            true => {
                let _ = scene.checker.end_watch(part.key, part.id, None);
            }
            false => scene.checker.lose(part.key, part.id),
        }
    }
}
