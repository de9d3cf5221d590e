//! Rust's crate memcache for ../../matrix. usage: adapter CLIENT PORT; ../../README.md has what is read and answered.

use memcache::{Client, CommandError, MemcacheError};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};

fn words(kind: &str, rest: &[&str]) -> String {
    let mut line = kind.to_string();
    for word in rest {
        line.push('\t');
        word.bytes().for_each(|byte| line.push_str(&format!("{byte:02x}")));
    }
    line
}

fn text(hex: &str) -> String {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    String::from_utf8((0..hex.len()).step_by(2).map(digit).collect()).unwrap()
}

/// A refusal is an error there, and a no here.
fn said(result: Result<(), MemcacheError>) -> Result<String, MemcacheError> {
    match result {
        Ok(()) => Ok("yes".into()),
        Err(MemcacheError::CommandError(CommandError::KeyExists | CommandError::KeyNotFound)) => Ok("no".into()),
        Err(error) => Err(error),
    }
}

fn yes(done: bool) -> String {
    if done { "yes" } else { "no" }.into()
}

fn value(found: Option<String>) -> String {
    found.map_or("none".into(), |found| words("value", &[&found]))
}

fn number(count: Result<u64, MemcacheError>) -> Result<String, MemcacheError> {
    match count {
        Err(MemcacheError::CommandError(CommandError::KeyNotFound)) => Ok("none".into()),
        count => Ok(words("number", &[&count?.to_string()])),
    }
}

fn carry_out(client: &Client, unique: &mut u64, name: &str, a: &[String]) -> Result<String, MemcacheError> {
    let (key, second) = (a.first().map_or("", |a| a), a.get(1).map_or("", |a| a));
    Ok(match name {
        "set" => said(client.set(key, second, a[2].parse().unwrap()))?,
        "add" => said(client.add(key, second, 0))?,
        "replace" => said(client.replace(key, second, 0))?,
        "append" => said(client.append(key, second))?,
        "prepend" => said(client.prepend(key, second))?,
        "get" => value(client.get(key)?),
        "getmulti" => {
            let keys: Vec<&str> = a.iter().map(String::as_str).collect();
            let found: HashMap<String, String> = client.gets(&keys)?;
            let sorted: BTreeMap<_, _> = found.iter().collect();
            let pairs: Vec<&str> = sorted.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]).collect();
            words("values", &pairs)
        }
        "gets" => {
            let found: HashMap<String, (Vec<u8>, u32, Option<u64>)> = client.gets(&[key])?;
            let found = found.get(key);
            *unique = found.and_then(|found| found.2).unwrap_or(0);
            value(found.map(|found| String::from_utf8_lossy(&found.0).into()))
        }
        "cas" => yes(client.cas(key, second, 0, *unique)?),
        "incr" => number(client.increment(key, second.parse().unwrap()))?,
        "decr" => number(client.decrement(key, second.parse().unwrap()))?,
        "delete" => yes(client.delete(key)?),
        "touch" => yes(client.touch(key, second.parse().unwrap())?),
        "flush" => said(client.flush())?,
        "stats" => {
            let stats = client.stats()?;
            let names: Vec<&str> = stats[0].1.keys().map(String::as_str).collect();
            words("names", &names)
        }
        "version" => words("value", &[&client.version()?[0].1]),
        _ => "lacks".into(),
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let protocol = if arguments[1].ends_with("-binary") { "binary" } else { "ascii" };
    let client = memcache::connect(format!("memcache://127.0.0.1:{}?timeout=10&protocol={protocol}", arguments[2])).unwrap();
    let mut unique = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut fields = line.split('\t');
        let name = fields.next().unwrap();
        let given: Vec<String> = fields.map(text).collect();
        let reply = carry_out(&client, &mut unique, name, &given).unwrap_or_else(|error| words("error", &[&error.to_string()]));
        let mut output = std::io::stdout();
        writeln!(output, "{reply}").unwrap();
        output.flush().unwrap();
    }
}
