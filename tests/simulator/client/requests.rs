//! What a client thinks of.

use super::owed::BESIDE_BYTES;
use super::replies::PIPELINE_MAX;
use super::{Ahead, Asked, Client, Expected, Kind, Part, Scene};
use crate::memcached::Version;
use crate::model::{Operation, Seen, Verb};
use crate::plan::Class;

/// How often a value is one that is refused, where such are.
const REFUSED_ONE_IN: u64 = 5;
/// Keys of a gat that has several.
const WIDE_TOUCH_MAX: usize = 4;
/// Operations in progress on one key, with which clients begin no more.
const IN_PROGRESS_MAX: usize = 5;
/// With no more of others' than this, a connection may have so many of its own.
const OTHERS_IN_PROGRESS_MAX: usize = 1;
const OWN_IN_PROGRESS_MAX: usize = 6;

impl Client {
    fn operation(&self, scene: &Scene<'_>, verb: Verb) -> Operation {
        Operation {
            verb,
            value: 0,
            flags: 0,
            exptime: 0,
            delta: 0,
            unique: 0,
            unique_seen: Seen::default(),
            asked_ms: scene.network.now_ms(),
            too_large: false,
            repeats: false,
        }
    }

    pub(super) fn think_of_one(&mut self, scene: &mut Scene<'_>, bytes: &mut Vec<u8>) {
        let plan = scene.plan;
        // Where very much happens at once on one key, nobody can tell what its replies should be.
        let open = |&key: &usize| !plan.keys[key].ballast && self.may_ask(scene, key);
        let working: Vec<usize> = (0..plan.keys.len()).filter(open).collect();
        if working.is_empty() {
            return;
        }
        let key = *scene.network.random.pick(&working);
        let manners = &plan.manners;
        let crowded = working.len() < plan.keys.iter().filter(|key| !key.ballast).count();
        if !crowded && scene.network.random.one_in(manners.flush_one_in) {
            return self.flush(scene, bytes);
        }
        let groups: Vec<(u32, u32)> = (0..).zip(manners.weights).collect();
        let group = match plan.keys[key].writer == self.magent || !plan.class.is_shared() {
            true => scene.network.random.weighted(&groups),
            false => 0,
        };
        match group {
            0 => self.read(scene, key, &working, bytes),
            1 => {
                let append = if plan.keys[key].numeric { 0 } else { 2 };
                let verb = scene.network.random.weighted(&[
                    (Verb::Set, 6),
                    (Verb::Delete, 2),
                    (Verb::Append, append),
                    (Verb::Prepend, append),
                ]);
                self.write(scene, key, verb, bytes);
            }
            2 => {
                let cas = u32::from(plan.class != Class::Alone) * 3;
                let verb = scene
                    .network
                    .random
                    .weighted(&[(Verb::Add, 2), (Verb::Replace, 2), (Verb::Cas, cas)]);
                match verb == Verb::Cas && self.uniques[key].is_none() {
                    true => self.retrieve(scene, "gets", 0, &[key], bytes),
                    false => self.write(scene, key, verb, bytes),
                }
            }
            3 => {
                let verb = *scene.network.random.pick(&[Verb::Incr, Verb::Incr, Verb::Decr]);
                self.write(scene, key, verb, bytes);
            }
            _ => match scene.network.random.below(3) {
                0 if manners.get_and_touch => {
                    let exptime = match self.exptime(scene, 2) {
                        // Cut off, it may have taken away what it would have shown: the one write that is done twice.
                        -1 if !matches!(plan.class, Class::Calm | Class::Alone) => 3,
                        exptime => exptime,
                    };
                    let name = *scene.network.random.pick(&["gat", "gats"]);
                    let mut keys = vec![key];
                    if scene.network.random.one_in(plan.more.wide_touch_one_in) {
                        let others = working.iter().filter(|&&other| other != key);
                        keys.extend(others.take(WIDE_TOUCH_MAX - 1));
                    }
                    self.retrieve(scene, name, exptime, &keys, bytes);
                }
                _ => self.write(scene, key, Verb::Touch, bytes),
            },
        }
    }

    /// Whether not too much is in progress on a key. One connection may ask for a good deal, because its requests happen in
    /// their order.
    fn may_ask(&self, scene: &Scene<'_>, key: usize) -> bool {
        let (all, others) = scene.checker.in_progress(key, self.lifetime);
        let deep = scene.plan.manners.pipeline_max > PIPELINE_MAX;
        all < IN_PROGRESS_MAX || deep && others <= OTHERS_IN_PROGRESS_MAX && all < OWN_IN_PROGRESS_MAX
    }

    fn read(&mut self, scene: &mut Scene<'_>, key: usize, working: &[usize], bytes: &mut Vec<u8>) {
        let mut keys = vec![key];
        if scene.network.random.one_in(3) {
            for _ in 0..scene.network.random.between(1, scene.plan.manners.get_keys_max - 1) {
                let key = *scene.network.random.pick(working);
                // Of one key asked for twice, memcached may say two things; the checker takes one word for it.
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        let name = *scene.network.random.pick(&["get", "get", "gets"]);
        self.retrieve(scene, name, 0, &keys, bytes);
    }

    /// Asks for these keys. For gat and gats `exptime` is what they set.
    pub fn retrieve(&mut self, scene: &mut Scene<'_>, name: &str, exptime: i64, keys: &[usize], bytes: &mut Vec<u8>) {
        let touches = name.starts_with("gat");
        bytes.extend_from_slice(name.as_bytes());
        if touches {
            bytes.extend_from_slice(format!(" {}", self.said_as(scene, exptime)).as_bytes());
        }
        let verb = if touches { Verb::GetAndTouch } else { Verb::Get };
        let operation = Operation {
            exptime,
            ..self.operation(scene, verb)
        };
        let mut parts = Vec::new();
        for &key in keys {
            let plan = &scene.plan.keys[key];
            bytes.push(b' ');
            bytes.extend_from_slice(plan.name.as_bytes());
            let watches = scene.plan.class.is_shared() && plan.writer != self.magent;
            let id = match watches {
                true => scene.checker.watch(key),
                false => scene.checker.begin(key, self.lifetime, operation),
            };
            parts.push(Part { key, id, watches });
        }
        bytes.extend_from_slice(b"\r\n");
        let more_portions = self.more_portions(scene, keys.len());
        self.asked.push_back(Asked {
            kind: Kind::Retrieval,
            parts,
            noreply: false,
            changes: touches,
            asked_us: scene.network.now,
            more_portions,
            ahead: self.ahead(keys.len(), more_portions),
        });
    }

    /// How often, beyond the first time, magent asks for so many keys of as large values as any key may have had.
    fn more_portions(&self, scene: &Scene<'_>, keys: usize) -> u64 {
        let limits = &scene.plan.settings[self.magent].limits;
        let most = limits.portion_keys.min(limits.requests_in_flight);
        if keys <= most {
            return 0;
        }
        let value_bytes = BESIDE_BYTES + scene.checker.largest_bytes_of_all();
        let portion = (limits.portion_bytes / value_bytes).clamp(1, most);
        (keys.div_ceil(portion) - 1) as u64
    }

    /// What is before a request for so many keys, in so many portions more than one.
    pub(super) fn ahead(&self, keys: usize, more_portions: u64) -> Ahead {
        let before = self.asked.iter();
        let keys_before: usize = before.clone().map(|asked| asked.parts.len().max(1)).sum();
        Ahead {
            keys: (keys_before + keys - 1) as u64,
            portions: before.map(|asked| asked.more_portions).sum::<u64>() + more_portions,
        }
    }

    fn exptime(&self, scene: &mut Scene<'_>, one_in: u64) -> i64 {
        match scene.network.random.one_in(one_in) {
            // A packet has no number below zero.
            true if scene.network.random.one_in(8) && !scene.plan.tongues => -1,
            true => scene.network.random.between(3, 9) as i64,
            false => 0,
        }
    }

    /// What is said for an exptime: the date that it is, now and then, where servers' clocks differ.
    fn said_as(&self, scene: &mut Scene<'_>, exptime: i64) -> i64 {
        let dates = scene.plan.more.clocks_jump || scene.plan.clocks_ahead_s.iter().any(|&ahead_s| ahead_s != 0);
        match exptime > 0 && dates && scene.network.random.one_in(2) {
            true => exptime + scene.network.unix_s_of(self.magent),
            false => exptime,
        }
    }

    /// A value, and whether it is one that is refused.
    fn value(&mut self, scene: &mut Scene<'_>, key: usize, verb: Verb) -> (Vec<u8>, bool) {
        let appends = matches!(verb, Verb::Append | Verb::Prepend);
        match scene.plan.refused_bytes {
            Some(len) if !appends && scene.network.random.one_in(REFUSED_ONE_IN) => (vec![b'#'; len], true),
            // Nothing that is only too large together with what is there.
            Some(_) if appends => (format!("<{}>", self.index).into_bytes(), false),
            _ => (self.small_value(scene, key), false),
        }
    }

    fn small_value(&mut self, scene: &mut Scene<'_>, key: usize) -> Vec<u8> {
        self.serial += 1;
        if scene.plan.keys[key].numeric {
            return scene.network.random.below(200).to_string().into_bytes();
        }
        let mut value = format!("<{}.{}>", self.index, self.serial).into_bytes();
        if scene.network.random.one_in(scene.plan.manners.large_one_in) {
            // What a small socket takes a hundred turns for would only test patience.
            let len = (*scene.network.random.pick(&[300, 3_000, 5_000, 40_000])).min(8 * scene.plan.capacity as u64);
            value.resize(scene.network.random.between(len / 2, len) as usize, b'.');
        }
        value
    }

    pub fn write(&mut self, scene: &mut Scene<'_>, key: usize, verb: Verb, bytes: &mut Vec<u8>) {
        let name = scene.plan.keys[key].name.clone();
        let noreply = scene.network.random.one_in(scene.plan.manners.noreply_one_in);
        let quiet = if noreply { " noreply" } else { "" };
        let mut operation = self.operation(scene, verb);
        let mut data = None;
        let line = match verb {
            Verb::Delete => format!("delete {name}{quiet}\r\n"),
            Verb::Touch => {
                operation.exptime = self.exptime(scene, 2);
                format!("touch {name} {}{quiet}\r\n", self.said_as(scene, operation.exptime))
            }
            Verb::Incr | Verb::Decr => {
                operation.delta = scene.network.random.between(1, 60);
                let word = if verb == Verb::Incr { "incr" } else { "decr" };
                format!("{word} {name} {}{quiet}\r\n", operation.delta)
            }
            _ => {
                let (value, too_large) = self.value(scene, key, verb);
                operation.too_large = too_large;
                operation.value = scene.checker.values.id(&value);
                operation.flags = scene.network.random.below(1000) as u32;
                operation.exptime = self.exptime(scene, scene.plan.manners.ttl_one_in);
                let (word, unique) = match (verb, self.uniques[key]) {
                    (Verb::Cas, Some((unique, seen))) => {
                        (operation.unique, operation.unique_seen) = (unique, seen);
                        ("cas", format!(" {unique}"))
                    }
                    (Verb::Add, _) => ("add", String::new()),
                    (Verb::Replace, _) => ("replace", String::new()),
                    (Verb::Append, _) => ("append", String::new()),
                    (Verb::Prepend, _) => ("prepend", String::new()),
                    _ => ("set", String::new()),
                };
                let (flags, exptime, len) = (operation.flags, self.said_as(scene, operation.exptime), value.len());
                data = Some(value);
                format!("{word} {name} {flags} {exptime} {len}{unique}{quiet}\r\n")
            }
        };
        bytes.extend_from_slice(line.as_bytes());
        if let Some(data) = data {
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
        }
        let id = scene.checker.begin(key, self.lifetime, operation);
        self.expect_line(
            scene,
            vec![Part {
                key,
                id,
                watches: false,
            }],
            noreply,
        );
    }

    fn flush(&mut self, scene: &mut Scene<'_>, bytes: &mut Vec<u8>) {
        let noreply = scene.network.random.one_in(scene.plan.manners.noreply_one_in);
        bytes.extend_from_slice(if noreply {
            b"flush_all noreply\r\n"
        } else {
            b"flush_all\r\n"
        });
        // It is done once more when a list has been read to its end, which such a memcached passes over.
        let passes_over = |version: &Version| *version >= Version::FLUSHES_IN_PASSING;
        let operation = Operation {
            repeats: scene.plan.more.versions.iter().any(passes_over),
            ..self.operation(scene, Verb::FlushAll)
        };
        let mut parts = Vec::new();
        for key in 0..scene.plan.keys.len() {
            let id = scene.checker.begin(key, self.lifetime, operation);
            parts.push(Part {
                key,
                id,
                watches: false,
            });
        }
        self.expect_line(scene, parts, noreply);
    }

    /// Asks that all be gone so many seconds later. What that does is the schedule's to tell.
    /// Returns whether it could.
    pub fn flush_later(&mut self, scene: &mut Scene<'_>, delay_s: u64) -> bool {
        let waits = self.asked.iter().any(|asked| !asked.noreply);
        // Who leaves may be in the middle of a request.
        if waits || self.leaves || !self.send(scene, format!("flush_all {delay_s}\r\n").as_bytes()) {
            return false;
        }
        self.expect_one(scene, Kind::Odd(Expected::Words(b"OK\r\n".into())));
        true
    }

    fn expect_line(&mut self, scene: &Scene<'_>, parts: Vec<Part>, noreply: bool) {
        self.asked.push_back(Asked {
            kind: Kind::Line,
            parts,
            noreply,
            changes: true,
            asked_us: scene.network.now,
            more_portions: 0,
            ahead: self.ahead(1, 0),
        });
    }
}
