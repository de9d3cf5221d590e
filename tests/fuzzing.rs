//! What the fuzzer has found worth keeping, and thousands of changes of it, without the fuzzer: see tests/fuzz.
//!
//! In the environment: INPUT=path replays one input, with TOLD=1 it tells what happens; MUTATIONS=n tries so many changes.

#[path = "fuzz/entry/mod.rs"]
mod entry;
#[allow(dead_code)] // the simulator uses all of it
#[path = "simulator/random.rs"]
mod random;

use random::Random;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

/// Changes of the corpus that are tried for each target.
const MUTATIONS: u64 = 2000;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    if let Ok(input) = std::env::var("INPUT") {
        let bytes = std::fs::read(&input).expect("an input");
        return vec![(input.into(), bytes)];
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder).expect("a corpus").flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is empty");
    files
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).expect("a file of the corpus")))
        .collect()
}

/// The same with some bytes changed, lost, doubled, or taken from another.
fn mutated(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.between(1, 6) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => {
                let end = bytes.len().min(at + random.between(1, 8) as usize);
                bytes.drain(at..end);
            }
            3 => bytes.insert(at, random.next() as u8),
            _ => {
                let start = random.below(other.len() as u64 + 1) as usize;
                let end = other.len().min(start + random.between(1, 40) as usize);
                bytes.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    bytes
}

fn play(what: &str, run: fn(&[u8]), bytes: &[u8]) {
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(bytes)));
    if let Err(cause) = result {
        let path = std::env::temp_dir().join(format!("magent-fuzz-{}", std::process::id()));
        let kept = std::fs::write(&path, bytes).map(|()| path.display().to_string());
        let cause = cause.downcast_ref::<String>().cloned();
        panic!(
            "{what}: {}\nthe input, {:?}: {}",
            cause.unwrap_or_default(),
            kept,
            bytes.escape_ascii()
        );
    }
}

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = corpus(target);
    for (path, bytes) in &corpus {
        play(&path.display().to_string(), run, bytes);
    }
    if std::env::var_os("INPUT").is_some() {
        return;
    }
    let count = std::env::var("MUTATIONS").ok().and_then(|count| count.parse().ok());
    for seed in 0..count.unwrap_or(MUTATIONS) {
        let mut random = Random::new(seed);
        let (_, bytes) = random.pick(&corpus);
        let (_, other) = random.pick(&corpus);
        let bytes = mutated(&mut random, bytes, other);
        play(&format!("{target}, change {seed}"), run, &bytes);
    }
}

#[test]
fn the_proxy_keeps_its_promises_whatever_clients_and_servers_do() {
    replay("proxy", entry::proxy);
}

#[test]
fn requests_mean_the_same_in_any_pieces() {
    replay("request", entry::request);
}

#[test]
fn answers_mean_the_same_in_any_pieces() {
    replay("response", entry::response);
}
