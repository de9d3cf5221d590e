//! Where it is played: a load on magents, faults meanwhile, and the history of it all.

use super::checker::{History, Verdict};
use super::connection::{Connection, Entrance};
use super::load::{Client, Held, KEYS, WRITERS, key, record};
use crate::common::{Host, Magent, Memcached};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// magent's own default. The tests are about it.
pub const TIMEOUT: &str = "--timeout=500";
/// How long a request may take: the timeout, and time to notice and to ask the other server.
const WAIT_MAX: Duration = Duration::from_millis(600);
/// How long a server may take to be as good as before. It is filled first, and other magents are given time to notice.
const LONG_PATIENCE: Duration = Duration::from_secs(20);

/// What a scenario did, or what it waited for in vain.
pub type Step = Result<(), String>;

pub struct Stage {
    start: Instant,
    pub entrances: Vec<Entrance>,
    /// Servers that have every item at the end.
    copies: Vec<String>,
    requests: AtomicUsize,
    /// Rises when a fault begins, and when all is well again: odd while there is one.
    faults: AtomicUsize,
    is_over: AtomicBool,
    timeline: Mutex<String>,
}

/// What was played.
pub struct Played {
    pub verdict: Verdict,
    /// What each key holds at the end.
    pub held: BTreeMap<Arc<str>, Held>,
    /// The longest time by which the machine overslept.
    machine_stall: Duration,
    timeline: String,
}

impl Stage {
    /// Clients are before all of these magents. At the end, what is on each of `copies` is checked, too.
    pub fn new(magents: &[&Magent], copies: &[&Memcached]) -> Self {
        Self {
            start: Instant::now(),
            entrances: magents.iter().map(|magent| Entrance::new(&magent.name)).collect(),
            copies: copies.iter().map(|server| server.name.clone()).collect(),
            requests: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            timeline: Mutex::default(),
        }
    }

    /// The clients of each magent are on the same machine as that.
    pub fn on(mut self, hosts: &[Arc<Host>]) -> Self {
        let entrances = self.entrances.iter().zip(hosts);
        self.entrances = entrances
            .map(|(entrance, host)| Entrance::on(host, &entrance.name()))
            .collect();
        self
    }

    /// Plays a scenario under load, reads everything once more, and checks the history.
    pub fn play(&self, scenario: impl FnOnce() -> Step) -> Played {
        let (mut history, mut held) = (History::default(), BTreeMap::new());
        let filled = AtomicUsize::new(0);
        let (result, machine_stall) = thread::scope(|scope| {
            let over = Over(self); // also if the scenario panics, or this would wait for ever
            let machine = scope.spawn(|| self.longest_oversleep());
            let spawn = |me: usize| {
                let mut client = Client::new(self, &self.entrances[me % self.entrances.len()], me);
                let filled = &filled;
                scope.spawn(move || {
                    client.fill();
                    filled.fetch_add(1, Ordering::Relaxed);
                    client.work()
                })
            };
            let clients: Vec<_> = (0..WRITERS).map(spawn).collect();
            let all_filled = || filled.load(Ordering::Relaxed) == WRITERS;
            let result = self
                .until("the servers are filled", all_filled)
                .and_then(|()| self.work_on(400))
                .and_then(|()| scenario());
            drop(over);
            for client in clients {
                let (did, holds) = client.join().expect("a client that got to its end");
                history.merge(did);
                held.extend(holds);
            }
            (result, machine.join().expect("a thread that sleeps"))
        });
        match result {
            Ok(()) => self.copies.iter().for_each(|name| self.read_all(name, &mut history)),
            Err(error) => history.errors.push((self.now(), error)),
        }
        for entrance in &self.entrances {
            self.read_all(&entrance.name(), &mut history);
        }
        Played {
            verdict: history.check(),
            held,
            machine_stall,
            timeline: std::mem::take(&mut self.timeline.lock().unwrap()),
        }
    }

    /// Reads every key of every client.
    fn read_all(&self, name: &str, history: &mut History) {
        const KEYS_IN_A_GET: usize = 50;
        let reader: Arc<str> = format!("whoever read from {name} at the end").into();
        let mut connection = Connection::to(name, 0).expect("it accepts connections");
        let keys: Vec<_> = (0..WRITERS).flat_map(|me| (0..KEYS).map(move |n| key(me, n))).collect();
        for keys in keys.chunks(KEYS_IN_A_GET) {
            let begin = self.now();
            let reply = match connection.ask(&format!("get {}\r\n", keys.join(" "))) {
                Ok(reply) => reply,
                Err(error) => return history.errors.push((self.now(), format!("{reader}: {error}"))),
            };
            let end = self.now();
            if reply.is_error() {
                history.errors.push((end, format!("{reader}: {}", reply.line)));
            }
            history.waited(end - begin, || reader.to_string());
            record(history, &reader, keys, &reply, begin, end);
        }
    }

    /// How much longer than it wanted to this thread slept: the machine's own stalls, for which nobody is to be blamed.
    fn longest_oversleep(&self) -> Duration {
        const NAP: Duration = Duration::from_millis(1);
        let mut longest = Duration::ZERO;
        while !self.is_over() {
            let start = Instant::now();
            thread::sleep(NAP);
            longest = longest.max(start.elapsed() - NAP);
        }
        longest
    }

    /// Since the start of the history.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub fn faults(&self) -> usize {
        self.faults.load(Ordering::SeqCst)
    }

    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, what: impl fmt::Display) {
        let line = format!("  {:?}: {what}\n", self.now());
        *self.timeline.lock().unwrap() += &line;
    }

    /// Waits until `condition` holds.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Step {
        let deadline = Instant::now() + LONG_PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                return Err(format!("waited {LONG_PATIENCE:?} in vain until {what}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.note(what);
        Ok(())
    }

    /// Waits until the clients have made so many requests more.
    pub fn work_on(&self, requests: usize) -> Step {
        let goal = self.requests.load(Ordering::Relaxed) + requests;
        let done = || self.requests.load(Ordering::Relaxed) >= goal;
        self.until(&format!("{requests} requests more were made"), done)
    }

    /// Waits until every server is up, and not cold, in the eyes of these magents.
    pub fn until_up(&self, magents: &[&Magent]) -> Step {
        let mut states = Vec::new();
        let all_up = || {
            states = magents.iter().flat_map(|magent| states_of(magent)).collect();
            states.iter().all(|state| state.ends_with(":state up"))
        };
        self.until("all servers are up", all_up)
            .map_err(|error| format!("{error}: {states:?}"))
    }

    /// Something that is no longer as it was, until the end of `action`: meanwhile, uniques may lose their worth.
    pub fn fault(&self, what: &str, action: impl FnOnce() -> Step) -> Step {
        self.faults.fetch_add(1, Ordering::SeqCst);
        self.note(what);
        let result = action();
        self.faults.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// A fault of a server that all of these magents notice, until all servers are as good as before.
    pub fn failure(
        &self,
        what: &str,
        server: &mut Memcached,
        magents: &[&Magent],
        action: impl FnOnce(&mut Memcached) -> Step,
    ) -> Step {
        let failures = |server: &Memcached| -> Vec<u64> {
            let one = |magent: &&Magent| magent.server_stat(server, "failures").parse().expect("a number");
            magents.iter().map(one).collect()
        };
        self.fault(&format!("{what} {}", server.name), || {
            let before = failures(server);
            action(server)?;
            let noticed = || failures(server).iter().zip(&before).all(|(now, before)| now > before);
            self.until("it was noticed", noticed)?;
            self.until_up(magents)
        })?;
        self.work_on(400)
    }
}

/// The lines of `stats servers` that say which state a server is in.
fn states_of(magent: &Magent) -> Vec<String> {
    let reply = magent.ask("stats servers\r\n");
    let text = String::from_utf8_lossy(&reply.0);
    let states = text.lines().filter(|line| line.contains(":state "));
    states.map(str::to_owned).collect()
}

/// Sends the clients home when it goes out of scope.
struct Over<'a>(&'a Stage);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Played {
    /// Fails unless no client could have told that anything happened, except that it waited once in a while.
    #[track_caller]
    pub fn assert_flawless(&self, magents: &[&Magent]) {
        self.assert_flawless_within(WAIT_MAX, magents);
    }

    /// The same, where each wait may be this long.
    #[track_caller]
    pub fn assert_flawless_within(&self, wait_max: Duration, magents: &[&Magent]) {
        let logs: String = magents.iter().map(|magent| magent.log()).collect();
        let context = format!(
            "  the machine stood still for {:?}\n{}{logs}",
            self.machine_stall, self.timeline
        );
        let verdict = &self.verdict;
        verdict.assert_flawless(wait_max + self.machine_stall, &context);
        println!("{verdict}\n{context}");
    }
}
