//! `magent --compare`: whether both servers of each key have the same of it.
//!
//! Each server lists its keys, and both servers of a key are asked what they have: so many keys at a time, on connections of its own
//! and waiting for each answer, for nobody else is served meanwhile. What differs may just be on its way, as others go on writing:
//! it is looked at again, and only what is never found the same counts.

use super::stream::Stream;
use crate::protocol::LINE_END;
use crate::protocol::keys::KeyList;
use crate::protocol::reply::Fault;
use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::{Response, Status, parse};
use crate::protocol::server::encode::{Words, encode};
use crate::protocol::server::list::{Line, ListBy, understand};
use crate::protocol::server::shown;
use crate::protocol::verb::Verb;
use crate::proxy::Holders;
use crate::proxy::settings::{ServerName, Settings};
use crate::words::Reason;
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::Hasher;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;
use std::time::Duration;

/// Keys that a server is asked for at a time.
const KEYS_AT_ONCE: usize = 100;
/// How often what differs is looked at again, and after how long each time. Copying a key takes less.
const AGAIN: usize = 4;
const AGAIN_PAUSE: Duration = Duration::from_millis(250);
/// A server is waited for so long, or for the timeout if that is longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server makes but one list at a time, so it is asked for one as often, and after such pauses.
const LIST_PAUSE: Duration = Duration::from_millis(500);
const LIST_TRIES: usize = 20;
/// Two exptimes that differ by no more are the same: memcached counts whole seconds, each by its own clock.
const SECONDS_APART: u64 = 2;
/// Differences that are named, of each kind and pair; all are counted.
const NAMED_MAX: usize = 10;

/// What a server has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    flags: Option<u32>,
    bytes: usize,
    hash: u64,
    /// Seconds that it has left, -1 for ever; None where the server does not tell.
    left_s: Option<i64>,
}

/// What was found of the keys of two servers.
#[derive(Default)]
struct Found {
    same: u64,
    different: Vec<Box<[u8]>>,
    /// On the primary, and on the backup.
    missing: [Vec<Box<[u8]>>; 2],
}

/// Compares all keys that have two servers, and returns what is to be said of each pair, and of how many keys the two differ. An error
/// is one line: a server that cannot be asked, or settings by which no key has a second copy.
pub fn compare(settings: &Settings) -> Result<(String, u64), String> {
    let holders = Holders::new(settings);
    let names: Vec<&ServerName> = holders.servers().collect();
    if settings.backups.is_empty() {
        return Err("--compare: without backups (-b) no key has a second copy".to_owned());
    }
    let mut servers = Vec::new();
    for name in &names {
        servers.push(Asked::connect(name, settings.timeout_ms).map_err(|error| at(name, &error))?);
    }
    let mut pairs: BTreeMap<(usize, usize), Found> = BTreeMap::new();
    for (server, name) in names.iter().enumerate() {
        let keys = list(name, settings.timeout_ms).map_err(|error| at(name, &error))?;
        let mut of_pair: BTreeMap<(usize, usize), Vec<Box<[u8]>>> = BTreeMap::new();
        for key in keys.into_iter().filter(|key| !Holders::is_board(key)) {
            if let (primary, Some(backup)) = holders.owners(&key) {
                if primary == server || backup == server {
                    of_pair.entry((primary, backup)).or_default().push(key);
                }
            }
        }
        for (pair, keys) in of_pair {
            let found = pairs.entry(pair).or_default();
            for keys in keys.chunks(KEYS_AT_ONCE) {
                look(&mut servers, &names, pair, (server == pair.0, keys), found)?;
            }
        }
    }
    if pairs.is_empty() {
        return Ok((
            "no server has an item of which there are to be two copies\n".to_owned(),
            0,
        ));
    }
    let mut text = String::new();
    let mut different = 0;
    for ((primary, backup), found) in &pairs {
        different += found.describe(&mut text, [names[*primary], names[*backup]]);
    }
    Ok((text, different))
}

fn at(name: &ServerName, error: &io::Error) -> String {
    format!("--compare: server {name}: {}", Reason(error))
}

/// Asks both servers of a pair for keys that one of them has listed: the primary, if `by_primary`. What both have is counted then.
fn look(
    servers: &mut [Asked],
    names: &[&ServerName],
    (primary, backup): (usize, usize),
    (by_primary, keys): (bool, &[Box<[u8]>]),
    found: &mut Found,
) -> Result<(), String> {
    let mut keys: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
    for round in 0..=AGAIN {
        let mut items = [Vec::new(), Vec::new()];
        for (items, server) in items.iter_mut().zip([primary, backup]) {
            *items = servers[server]
                .items(&keys)
                .map_err(|error| at(names[server], &error))?;
        }
        let last = round == AGAIN;
        let mut again = Vec::new();
        for (at, &key) in keys.iter().enumerate() {
            match (items[0][at], items[1][at]) {
                (None, None) => {}
                (Some(one), Some(other)) if is_same(one, other) => found.same += u64::from(by_primary),
                _ if !last => again.push(key),
                // What both have the other list names as well.
                (Some(_), Some(_)) if by_primary => found.different.push(key.into()),
                (Some(_), Some(_)) => {}
                (None, Some(_)) => found.missing[0].push(key.into()),
                (Some(_), None) => found.missing[1].push(key.into()),
            }
        }
        keys = again;
        if keys.is_empty() {
            break;
        }
        thread::sleep(AGAIN_PAUSE);
    }
    Ok(())
}

fn is_same(one: Item, other: Item) -> bool {
    let expires_alike = match (one.left_s, other.left_s) {
        (Some(-1), left_s) | (left_s, Some(-1)) => left_s.is_none_or(|left_s| left_s == -1),
        (Some(one_s), Some(other_s)) => one_s.abs_diff(other_s) <= SECONDS_APART,
        _ => true,
    };
    (one.flags, one.bytes, one.hash) == (other.flags, other.bytes, other.hash) && expires_alike
}

impl Found {
    /// Adds what was found to a text. Returns how many keys differ.
    fn describe(&self, text: &mut String, [primary, backup]: [&ServerName; 2]) -> u64 {
        let [not_on_primary, not_on_backup] = &self.missing;
        let _ = writeln!(
            text,
            "{primary} and {backup}: {} items are the same, {} differ, {} are missing on {primary}, {} on {backup}",
            self.same,
            self.different.len(),
            not_on_primary.len(),
            not_on_backup.len(),
        );
        let missing_on = |name| format!("missing on {name}");
        let lists = [
            ("differs".to_owned(), &self.different),
            (missing_on(primary), not_on_primary),
            (missing_on(backup), not_on_backup),
        ];
        for (what, keys) in &lists {
            for key in keys.iter().take(NAMED_MAX) {
                let _ = writeln!(text, "  {what}: {}", key.escape_ascii());
            }
            if keys.len() > NAMED_MAX {
                let _ = writeln!(text, "  {what}: {} more", keys.len() - NAMED_MAX);
            }
        }
        lists.iter().map(|(_, keys)| keys.len() as u64).sum()
    }
}

/// The keys that a server has.
fn list(name: &ServerName, timeout_ms: u64) -> io::Result<Vec<Box<[u8]>>> {
    for _ in 0..LIST_TRIES {
        for by in [ListBy::Hash, ListBy::Lru] {
            match list_by(name, timeout_ms, by)? {
                Listed::Keys(keys) => return Ok(keys),
                Listed::Later => break,
                Listed::Unknown => {}
            }
        }
        thread::sleep(LIST_PAUSE);
    }
    Err(io::Error::other(
        "it does not list its keys (memcached 1.4.34 and later do)",
    ))
}

enum Listed {
    Keys(Vec<Box<[u8]>>),
    /// It is busy with another list.
    Later,
    Unknown,
}

fn list_by(name: &ServerName, timeout_ms: u64, by: ListBy) -> io::Result<Listed> {
    let mut server = Asked::connect(name, timeout_ms)?;
    server.stream.get_mut().write_all(by.command())?;
    let mut keys = Vec::new();
    loop {
        match understand(server.line()?.trim_ascii_end()) {
            Some(Line::Key(entry)) => keys.extend(entry.map(|entry| entry.key)),
            Some(Line::End) => return Ok(Listed::Keys(keys)),
            Some(Line::Later) => return Ok(Listed::Later),
            None => return Ok(Listed::Unknown),
        }
    }
}

/// A server, on a connection that is waited for.
struct Asked {
    stream: BufReader<Stream>,
    /// It knows meta commands, as far as is known.
    has_meta: bool,
    value: Vec<u8>,
}

impl Asked {
    fn connect(name: &ServerName, timeout_ms: u64) -> io::Result<Self> {
        let patience = Duration::from_millis(timeout_ms);
        let stream = Stream::connect(&name.address, patience, patience.max(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            has_meta: true,
            value: Vec::new(),
        })
    }

    /// What it has of these keys, in their order.
    fn items(&mut self, keys: &[&[u8]]) -> io::Result<Vec<Option<Item>>> {
        if self.has_meta {
            if let Some(items) = self.items_by_meta(keys)? {
                return Ok(items);
            }
            self.has_meta = false; // before 1.6
        }
        let mut list = KeyList::default();
        keys.iter().for_each(|key| list.push(key));
        let manner = Request::new(Verb::Get, b"").manner();
        self.ask(&[Request::retrieval(manner, &list, keys.len())])?;
        let mut items = vec![None; keys.len()];
        loop {
            let line = self.line()?;
            let response = answer(&line)?;
            let item = match (response.status, response.value_len) {
                (Status::End, _) => return Ok(items),
                (Status::Value, Some(_)) => self.item(&response)?,
                _ => return Err(strange(&line)),
            };
            if let Some(at) = keys.iter().position(|&asked| asked == response.key) {
                items[at] = Some(item);
            }
        }
    }

    /// The same by meta commands, which tell the exptime. None if it does not know them.
    fn items_by_meta(&mut self, keys: &[&[u8]]) -> io::Result<Option<Vec<Option<Item>>>> {
        let options = Options {
            flags: true,
            ttl: true,
            value: true,
            ..Options::default()
        };
        let requests: Vec<_> = keys.iter().map(|key| Request::look(key, options)).collect();
        self.ask(&requests)?;
        let mut items = Vec::with_capacity(keys.len());
        let mut is_known = true;
        for _ in keys {
            let line = self.line()?;
            let response = answer(&line)?;
            match (response.status, response.fault) {
                (Status::MetaMiss, _) => items.push(None),
                (Status::MetaValue, _) => items.push(Some(self.item(&response)?)),
                (Status::Error, Fault::Unknown) => is_known = false,
                _ => return Err(strange(&line)),
            }
        }
        Ok(is_known.then_some(items))
    }

    fn ask(&mut self, requests: &[Request<'_>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for request in requests {
            let mut words = Words::default();
            for part in encode(request, &mut words).parts() {
                bytes.extend_from_slice(part);
            }
        }
        self.stream.get_mut().write_all(&bytes)
    }

    /// The item of which this is the line.
    fn item(&mut self, response: &Response<'_>) -> io::Result<Item> {
        let bytes = response.value_len.unwrap_or(0);
        self.value.resize(bytes + LINE_END.len(), 0);
        self.stream.read_exact(&mut self.value)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.value);
        Ok(Item {
            flags: response.flags,
            bytes,
            hash: hasher.finish(),
            left_s: response.ttl_s,
        })
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}

fn answer(line: &[u8]) -> io::Result<Response<'_>> {
    match parse(line) {
        Some(Ok((_, response))) => Ok(response),
        Some(Err(_)) | None => Err(strange(line)),
    }
}

fn strange(line: &[u8]) -> io::Error {
    io::Error::other(format!("it answers \"{}\"", shown(line)))
}
