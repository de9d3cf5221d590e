//! Random streams of commands, good, nearly good and garbage, sent to a bare memcached of each version that users have, and
//! to magent with memcacheds of the same version behind it. What a client sees has to be the same, and what the servers hold.
//!
//! In the environment: STREAMS=n tries so many (`make differential STREAMS=20000`), SEED=n begins with that one, FOUND=n
//! goes on up to so many differences, KIND=Binary leaves out the others. What differs is made smaller and printed as a line for `corpus.txt`; with AS_IS=1 as it
//! is. STREAM='"get a\r\n" 1.6.18 1+1' or STREAM='#SEED 1.6.18 1+1' tells what becomes of one.

#[path = "differential/allowed.rs"]
mod allowed;
#[path = "differential/asked.rs"]
mod asked;
mod common;
#[path = "differential/conversation.rs"]
mod conversation;
#[path = "differential/generator.rs"]
mod generator;
#[path = "differential/keys.rs"]
mod keys;
#[path = "differential/lines_allowed.rs"]
mod lines_allowed;
#[path = "differential/meta_allowed.rs"]
mod meta_allowed;
#[path = "differential/meta_generator.rs"]
mod meta_generator;
#[path = "differential/packets.rs"]
mod packets;
#[path = "differential/packets_allowed.rs"]
mod packets_allowed;
#[path = "differential/packets_generator.rs"]
mod packets_generator;
#[allow(dead_code)] // the simulator uses all of it
#[path = "simulator/random.rs"]
mod random;
#[path = "differential/readers.rs"]
mod readers;
#[path = "differential/replies.rs"]
mod replies;
#[path = "differential/server.rs"]
mod server;
#[path = "differential/stream.rs"]
mod stream;
#[path = "differential/trial.rs"]
mod trial;
#[path = "differential/world.rs"]
mod world;

use allowed::{ALL, Allowed};
use generator::{Generator, KINDS, Kind};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use stream::Stream;
use trial::{Verdict, confirmed, judge, shrunk};
use world::{LAYOUTS, Layout, World};

/// For each version; make check meets three, with some 100,000 commands in all.
const STREAMS_A_VERSION: u64 = 570;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `play` in a thread of its own for each of these versions.
fn with_each(programs: &[(String, PathBuf)], play: impl Fn(usize, &str, &PathBuf) + Sync) {
    println!(
        "memcached {}",
        programs
            .iter()
            .map(|(version, _)| version.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    );
    std::thread::scope(|scope| {
        for (n, (version, program)) in programs.iter().enumerate() {
            let play = &play;
            scope.spawn(move || play(n, version, program));
        }
    });
}

/// Streams that are tried, and what was found, for the one who reads it.
#[derive(Default)]
struct Search {
    first: u64,
    count: u64,
    /// So many that differ are enough.
    most: usize,
    tried: AtomicU64,
    /// Of each kind.
    commands: [AtomicUsize; KINDS.len()],
    texts: Mutex<Vec<String>>,
    allowed: Mutex<HashMap<Allowed, u64>>,
    /// Seen once and not again.
    fleeting: AtomicU64,
}

impl Search {
    /// Tries one share of the seeds, of so many. A seed means the same however fast each version is.
    fn run(&self, (share, shares): (u64, u64), version: &str, program: &PathBuf) {
        let new_world = |layout| World::new(version, program, layout);
        let mut worlds: Vec<World> = LAYOUTS.iter().map(new_world).collect();
        let kind = std::env::var("KIND").ok();
        for n in (0..self.count).filter(|n| n % shares == share) {
            if self.texts.lock().expect("no panic").len() >= self.most {
                return;
            }
            let seed = self.first + n;
            let mut generator = Generator::new(seed);
            let name = format!("{:?}", generator.kind);
            if kind.as_ref().is_some_and(|kind| *kind != name) {
                continue;
            }
            let stream = generator.stream();
            self.tried.fetch_add(1, Ordering::Relaxed);
            self.commands[generator.kind as usize].fetch_add(generator.commands, Ordering::Relaxed);
            let at = (n / shares) as usize % worlds.len();
            self.look_at(&mut worlds[at], seed, &stream);
            if stream.is_large() {
                worlds[at] = new_world(&LAYOUTS[at]);
            }
        }
    }

    fn look_at(&self, world: &mut World, seed: u64, stream: &Stream) {
        let once = match judge(world, stream) {
            Verdict::Same => return,
            Verdict::Allowed(which) => {
                *self.allowed.lock().expect("no panic").entry(which).or_default() += 1;
                return;
            }
            Verdict::Differs(once) => once,
        };
        let Some(what) = confirmed(world, stream) else {
            println!("  SEED={seed} {} {}, once: {once}", world.version, world.layout.name);
            self.fleeting.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let text = match number("AS_IS") {
            Some(_) => format!(
                "  SEED={seed} {} {}: {what}\n    {stream}",
                world.version, world.layout.name
            ),
            None => report(world, seed, stream),
        };
        println!("{text}");
        self.texts.lock().expect("no panic").push(text);
    }

    fn tell(&self, seconds: f64) {
        let tried = self.tried.load(Ordering::Relaxed);
        println!(
            "{tried} streams from {} on, {seconds:.1} s, {:.0} a second",
            self.first,
            tried as f64 / seconds
        );
        let commands = |kind: &Kind| self.commands[*kind as usize].load(Ordering::Relaxed);
        for kind in &KINDS {
            println!("{:>6} commands: {kind:?}", commands(kind));
        }
        println!("{:>6} commands in all", KINDS.iter().map(commands).sum::<usize>());
        let allowed = self.allowed.lock().expect("no panic");
        for which in ALL {
            println!("{:>6} allowed: {which:?}", allowed.get(&which).unwrap_or(&0));
        }
        println!(
            "{:>6} differed once, and not again",
            self.fleeting.load(Ordering::Relaxed)
        );
    }
}

#[test]
fn random_streams_are_answered_as_memcached_answers_them() {
    if let Ok(text) = std::env::var("STREAM") {
        return tell(&text);
    }
    let mut programs = server::programs();
    let count = number("STREAMS").unwrap_or(STREAMS_A_VERSION * programs.len() as u64);
    // With one version alone two of it: waiting is most of what is done.
    if let [program] = &programs[..] {
        programs.push(program.clone());
    }
    let search = Search {
        first: number("SEED").unwrap_or(1),
        count,
        most: number("FOUND").unwrap_or(5) as usize,
        ..Search::default()
    };
    let started = Instant::now();
    let shares = programs.len() as u64;
    with_each(&programs, |share, version, program| {
        search.run((share as u64, shares), version, program);
    });
    search.tell(started.elapsed().as_secs_f64());
    let texts = search.texts.into_inner().expect("no panic");
    assert!(
        texts.is_empty(),
        "{} streams differ:\n{}",
        texts.len(),
        texts.join("\n")
    );
    // Chance and the clock do that to a few in ten thousand; more is a fault that comes and goes.
    let (fleeting, tried) = (search.fleeting.into_inner(), search.tried.into_inner());
    assert!(fleeting * 200 <= tried.max(200), "{fleeting} streams differed once");
}

fn report(world: &mut World, seed: u64, stream: &Stream) -> String {
    println!(
        "SEED={seed} differs, it is made smaller: memcached {}, layout {}",
        world.version, world.layout.name
    );
    let small = shrunk(world, stream);
    let (stream, what) = match confirmed(world, &small) {
        Some(what) => (&small, what),
        None => (
            stream,
            "the smaller stream came out as one that does not differ".to_owned(),
        ),
    };
    format!(
        "  SEED={seed} memcached {}, layout {}: {what}\n    {stream}",
        world.version, world.layout.name
    )
}

#[test]
fn streams_that_once_differed_are_answered_alike() {
    let lines = include_str!("differential/corpus.txt").lines();
    let streams: Vec<Stream> = lines.filter(|line| !line.starts_with('#')).map(Stream::read).collect();
    let findings = Mutex::new(Vec::new());
    with_each(&server::programs(), |_, version, program| {
        for layout in &LAYOUTS {
            let mut world = World::new(version, program, layout);
            for stream in &streams {
                if let Verdict::Differs(_) = judge(&mut world, stream) {
                    if let Some(what) = confirmed(&mut world, stream) {
                        let text = format!("memcached {version}, layout {}: {what}\n    {stream}", layout.name);
                        findings.lock().expect("no panic").push(text);
                    }
                }
            }
        }
    });
    let findings = findings.into_inner().expect("no panic");
    assert!(
        findings.is_empty(),
        "{} differences:\n{}",
        findings.len(),
        findings.join("\n")
    );
}

/// Tells what becomes of one stream, with every version and layout that it names: STREAM='"get a\r\n" 1.6.18 1+1', or
/// STREAM='#SEED 1.6.18 1+1'.
fn tell(text: &str) {
    let seed = text
        .strip_prefix('#')
        .and_then(|seed| seed.split(' ').next()?.parse().ok());
    let stream = seed.map_or_else(|| Stream::read(text), |seed| Generator::new(seed).stream());
    with_each(&server::programs(), |_, version, program| {
        let named = |layout: &&Layout| text.contains(version) && text.ends_with(layout.name);
        for layout in LAYOUTS.iter().filter(named) {
            let mut world = World::new(version, program, layout);
            println!("memcached {version}, layout {}", layout.name);
            world.tell(&stream);
        }
    });
}
