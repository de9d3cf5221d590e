//! What a client is told.

use super::{Asked, Client, Kind, Scene, Value, lose};
use crate::checker::Reply;
use crate::model::{Answer, Seen};
use crate::pipe::{HICCUP_MAX_US, Us};
use crate::plan::{Class, KeyPlan};
use crate::trace::Readable;

const ERRORS: [&[u8]; 3] = [b"SERVER_ERROR", b"ERROR", b"CLIENT_ERROR"];
const NOT_A_NUMBER: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value";

/// More than this is a deep pipeline.
pub(super) const PIPELINE_MAX: u64 = 4;

const OUT_OF_MEMORY: &[u8] = b"SERVER_ERROR out of memory";
const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache";

/// A reply that is all there: its length, its last line, and the values before that.
struct Told {
    used: usize,
    line: Vec<u8>,
    values: Vec<Value>,
}

impl Client {
    /// Takes the reply to the request at this place in the queue off the input; None while it is not all there.
    pub(super) fn take_reply(&mut self, scene: &mut Scene<'_>, at: usize) -> Result<Option<usize>, String> {
        let Some(Told { used, line, values }) = self.hear_reply(scene, at)? else {
            return Ok(None);
        };
        let now = scene.network.now;
        scene.network.trace.mix(now, &self.input[..used]);
        if scene.network.trace.is_on() {
            let reply = Readable(&self.input[..used]);
            scene
                .network
                .note(format_args!("client {}", self.index), format_args!("  <- {reply}"));
        }
        // Replies come in order: what needed none is done too.
        for asked in self.asked.drain(..at).collect::<Vec<_>>() {
            for part in &asked.parts {
                match scene.may_be_refused(&scene.plan.keys[part.key], asked.asked_us) {
                    true => scene.checker.lose(part.key, part.id),
                    false => scene.checker.end(part.key, part.id, Reply::Answer(Answer::Any))?,
                }
            }
        }
        let Some(asked) = self.asked.pop_front() else {
            return Ok(Some(used));
        };
        self.check_patience(scene, &asked)?;
        match asked.kind {
            Kind::Version if line.starts_with(b"VERSION ") || ERRORS.iter().any(|error| line.starts_with(error)) => {}
            Kind::Version => {
                return Err(format!(
                    "client {} asked for the version and was told {}",
                    self.index,
                    Readable(&line)
                ));
            }
            Kind::Retrieval => self.retrieved(scene, &asked, &values, &line)?,
            Kind::Line => self.told(scene, &asked, &line)?,
            Kind::Odd(_) => {}
        }
        Ok(Some(used))
    }

    /// What has come of the reply to the request at this place in the queue; None while it is not all there.
    fn hear_reply(&self, scene: &mut Scene<'_>, at: usize) -> Result<Option<Told>, String> {
        if let Kind::Odd(expected) = &self.asked[at].kind {
            let used = expected.take(&self.input);
            let used = used.map_err(|wrong| format!("client {} {wrong}", self.index))?;
            return Ok(used.map(|used| Told {
                used,
                line: Vec::new(),
                values: Vec::new(),
            }));
        }
        let mut values = Vec::new();
        let mut used = 0;
        let line = loop {
            let rest = &self.input[used..];
            let Some(newline) = rest.iter().position(|&byte| byte == b'\n') else {
                return Ok(None);
            };
            let line = rest[..newline].strip_suffix(b"\r").unwrap_or(&rest[..newline]);
            used += newline + 1;
            if !matches!(self.asked[at].kind, Kind::Retrieval) || !line.starts_with(b"VALUE ") {
                break line.to_vec();
            }
            let (value, len) = self.value_line(scene, at, line, &self.input[used..])?;
            let Some(value) = value else {
                return Ok(None);
            };
            values.push(value);
            used += len;
        };
        Ok(Some(Told { used, line, values }))
    }

    fn check_patience(&self, scene: &mut Scene<'_>, asked: &Asked) -> Result<(), String> {
        let waited_us = scene.network.now - asked.asked_us;
        let excused = asked.asked_us < scene.excused_until_us || self.slowness.is_some();
        if !scene.plan.class.is_strict() || excused {
            return Ok(());
        }
        *scene.slowest_us = waited_us.max(*scene.slowest_us);
        let latency_us = 4 * scene.plan.weather.latency_max_us + 60_000;
        let settings = &scene.plan.settings[self.magent];
        let timeout_ms = settings.timeout_ms.max(scene.plan.more.timeout_most_ms);
        // Where packets are lost again soon after a server has returned, it is given more time.
        let timeout_ms = if settings.adaptive_timeout { 4 } else { 1 } * timeout_ms;
        if scene.plan.more.sheds && asked.asked_us < scene.owed.crowded_us + timeout_ms * 1000 {
            return Ok(()); // memory was short, and it may have waited for that
        }
        // What has waited for a server that a name does not lead to any more may then wait for the one that it leads to.
        let servers = 1 + u64::from(asked.asked_us < scene.plan.more.renamed_us);
        let limit_us = (servers * timeout_ms + 100) * 1000 + latency_us + self.in_turn_us(scene, asked);
        match waited_us > limit_us {
            true => Err(format!(
                "client {} waited {} ms for a reply, and {} ms are promised",
                self.index,
                waited_us / 1000,
                limit_us / 1000
            )),
            false => Ok(()),
        }
    }

    /// How much longer a request may take because of what is before it. What is asked of a server and then of its partner takes
    /// four of the network's latencies, with what packets are held up on average. So does each further portion of a retrieval of
    /// many keys, and in a deep pipeline each key, as each packet of a retrieval: bounds may be so small that it is asked for alone.
    fn in_turn_us(&self, scene: &Scene<'_>, asked: &Asked) -> Us {
        let weather = &scene.plan.weather;
        let held_up_us = HICCUP_MAX_US.checked_div(weather.hiccup_one_in).unwrap_or(0);
        let is_deep = scene.plan.manners.pipeline_max > PIPELINE_MAX;
        let in_turn = match is_deep || self.tongue.is_some() {
            true => asked.ahead.keys,
            false => asked.ahead.portions,
        };
        4 * in_turn * (weather.latency_max_us + held_up_us)
    }

    /// A VALUE line with the data block behind it; how long the block is.
    fn value_line(
        &self,
        scene: &mut Scene<'_>,
        at: usize,
        line: &[u8],
        block: &[u8],
    ) -> Result<(Option<Value>, usize), String> {
        let bad = || {
            format!(
                "client {} was told a value that it did not ask for: {}",
                self.index,
                Readable(line)
            )
        };
        let text = String::from_utf8_lossy(line).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let (Some(name), Some(flags), Some(len)) = (words.get(1), number(2), number(3)) else {
            return Err(bad());
        };
        let mut keys = self.asked[at].parts.iter().map(|part| part.key);
        let key = keys.find(|&key| scene.plan.keys[key].name == *name).ok_or_else(bad)?;
        let len = len as usize;
        let Some(data) = block.get(..len + 2) else {
            return Ok((None, 0));
        };
        if &data[len..] != b"\r\n" {
            return Err(bad());
        }
        let answer = Answer::Hit {
            value: scene.checker.values.id(normal(&scene.plan.keys[key], &data[..len])),
            flags: flags as u32,
            version: 0,
        };
        let unique = number(4);
        Ok((Some(Value { key, answer, unique }), len + 2))
    }

    fn retrieved(&mut self, scene: &mut Scene<'_>, asked: &Asked, values: &[Value], line: &[u8]) -> Result<(), String> {
        let failed = line != b"END";
        if failed && !line.starts_with(b"SERVER_ERROR") {
            return Err(format!(
                "client {} was told {} to a retrieval",
                self.index,
                Readable(line)
            ));
        }
        let mut in_order = asked.parts.iter();
        if !values.iter().all(|value| in_order.any(|part| part.key == value.key)) {
            return Err(format!(
                "client {} was told values in another order than it asked for",
                self.index
            ));
        }
        let mut may_fail = line == TOO_LARGE && may_be_babble(scene, asked);
        for part in &asked.parts {
            let value = values.iter().find(|value| value.key == part.key);
            let reply = match value {
                // Without backups a unique is memcached's own, and a new process begins anew.
                Some(Value {
                    answer,
                    unique: Some(unique),
                    ..
                }) if scene.plan.class != Class::Alone => {
                    self.remember_unique(scene, part.key, *unique, asked.asked_us / 1000);
                    Some(Reply::WithUnique(*answer, *unique))
                }
                Some(Value { answer, .. }) => Some(Reply::Answer(*answer)),
                None if failed => {
                    may_fail |= scene.may_be_refused(&scene.plan.keys[part.key], asked.asked_us);
                    None
                }
                None => Some(Reply::Answer(Answer::Miss)),
            };
            match (part.watches, reply) {
                (true, reply) => scene.checker.end_watch(part.key, part.id, reply)?,
                (false, Some(reply)) => scene.checker.end(part.key, part.id, reply)?,
                (false, None) => scene.checker.lose(part.key, part.id),
            }
        }
        match failed && !may_fail {
            true => Err(format!(
                "client {} was refused a read, {}, though a copy was there",
                self.index,
                Readable(line)
            )),
            false => Ok(()),
        }
    }

    fn remember_unique(&mut self, scene: &mut Scene<'_>, key: usize, unique: u64, asked_ms: u64) {
        if scene.plan.class.is_shared() && scene.plan.keys[key].writer != self.magent {
            return;
        }
        scene.checker.hold_unique(key, unique);
        let raced = scene.checker.changed_since(key, asked_ms);
        if let Some((old, _)) = self.uniques[key].replace((unique, Seen { asked_ms, raced })) {
            scene.checker.release_unique(key, old);
        }
    }

    /// Whether one of the key's servers had no memory since this was asked.
    fn may_be_out_of_memory(&self, scene: &Scene<'_>, asked: &Asked) -> bool {
        let mut servers = asked.parts.iter().flat_map(|part| &scene.plan.keys[part.key].servers);
        servers.any(|&server| scene.full_until_us[server] >= asked.asked_us)
    }

    fn told(&mut self, scene: &mut Scene<'_>, asked: &Asked, line: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(line).into_owned();
        let answer = match line {
            b"STORED" => Answer::Stored,
            b"NOT_STORED" => Answer::NotStored,
            b"EXISTS" => Answer::Exists,
            b"NOT_FOUND" => Answer::NotFound,
            b"DELETED" => Answer::Deleted,
            b"TOUCHED" => Answer::Touched,
            b"OK" => Answer::Done,
            TOO_LARGE
                if asked
                    .parts
                    .iter()
                    .all(|part| scene.checker.is_too_large(part.key, part.id)) =>
            {
                Answer::TooLarge
            }
            NOT_A_NUMBER => Answer::NotANumber,
            _ if line.starts_with(OUT_OF_MEMORY) && self.may_be_out_of_memory(scene, asked) => Answer::NoMemory,
            _ => match text.parse() {
                Ok(number) => Answer::Number(number),
                Err(_) if line.starts_with(b"SERVER_ERROR") => {
                    let keys = &scene.plan.keys;
                    let legal = asked
                        .parts
                        .iter()
                        .any(|part| scene.may_be_refused(&keys[part.key], asked.asked_us));
                    lose(scene, asked);
                    return match legal {
                        true => Ok(()),
                        false => Err(format!(
                            "client {} was refused a write, {text}, though a copy was there",
                            self.index
                        )),
                    };
                }
                Err(_) => return Err(format!("client {} was told {text}", self.index)),
            },
        };
        for part in &asked.parts {
            scene.checker.end(part.key, part.id, Reply::Answer(answer))?;
        }
        Ok(())
    }
}

/// Whether one of the keys' servers talked nonsense since this was asked: it may have made up a large value.
fn may_be_babble(scene: &Scene<'_>, asked: &Asked) -> bool {
    let mut servers = asked.parts.iter().flat_map(|part| &scene.plan.keys[part.key].servers);
    servers.any(|&server| scene.babbled_until_us[server] >= asked.asked_us)
}

/// A value as the model knows it: memcached pads a number that has become shorter with spaces.
pub fn normal<'a>(key: &KeyPlan, value: &'a [u8]) -> &'a [u8] {
    match key.numeric {
        true => value.trim_ascii_end(),
        false => value,
    }
}
