//! How a client takes what comes, at its own pace.

use super::{Client, Scene};
use crate::net::{Event, Name};
use crate::newer_faults::had_arrived;
use crate::pipe::{End, Us};
use crate::trace::Readable;

const OUT_OF_CONNECTION: &[u8] = b"SERVER_ERROR OUT OF CONNECTION\r\n";

/// How slowly a client reads, until it hurries up.
#[derive(Clone, Copy)]
pub struct Slowness {
    bytes: usize,
    pause_us: Us,
    until_us: Us,
    /// It reads no more before this.
    next_us: Us,
}

impl Slowness {
    pub fn draw(scene: &mut Scene<'_>) -> Option<Self> {
        let network = &mut *scene.network;
        network.random.one_in(scene.plan.more.slow_one_in).then(|| Self {
            bytes: *network.random.pick(&[200, 1_000, 10_000]),
            pause_us: network.random.between(500, 20_000),
            until_us: network.now + network.random.between(50_000, 2_000_000),
            next_us: 0,
        })
    }
}

impl Client {
    /// Something has arrived on its connection.
    pub fn hear(&mut self, scene: &mut Scene<'_>, name: Name) -> Result<(), String> {
        if self.connection != Some(name) {
            return Ok(());
        }
        let mut heard = Vec::new();
        let Some(end) = self.take(scene, name, &mut heard) else {
            return Ok(());
        };
        match &mut self.tongue {
            None => self.input.append(&mut heard),
            Some(tongue) => {
                let result = tongue.hear(&heard, &mut self.input);
                result.map_err(|wrong| format!("client {} {wrong}", self.index))?;
            }
        }
        let mut told_all = false;
        while !self.input.is_empty() {
            if self.may_be_told_off(scene) && OUT_OF_CONNECTION.starts_with(&self.input) {
                if self.input.len() < OUT_OF_CONNECTION.len() && end.is_none() {
                    return Ok(());
                }
                self.check_crowd(scene, name)?;
                self.ask_again(scene, name);
                return Ok(());
            }
            let Some(at) = self.asked.iter().position(|asked| !asked.noreply) else {
                return Err(format!(
                    "client {} was told something that it did not ask: {}",
                    self.index,
                    Readable(&self.input)
                ));
            };
            let Some(used) = self.take_reply(scene, at)? else {
                break;
            };
            self.was_told = true;
            self.input.drain(..used);
            told_all = self.asked.is_empty() || self.asked.iter().all(|asked| asked.noreply);
            if told_all {
                scene.owed.pay(self.index);
            }
        }
        if end.is_some() {
            let since_told = self.connected_us <= scene.told_to_end_us[self.magent];
            let is_answered = self
                .has_said_the_last()
                .or_else(|wrong| match scene.plan.class.is_strict() {
                    true => Err(wrong),
                    false => Ok(true),
                })?;
            let promised = scene.plan.class.is_strict() && (scene.listening[self.magent] || since_told);
            if promised && self.is_waiting() && !is_answered {
                self.check_end(scene, name)?;
            }
            scene
                .network
                .note(format_args!("client {}", self.index), format_args!("is cut off"));
            scene.network.peer_close(name, End::Closed);
            self.forget_connection(scene);
            told_all = true;
        }
        if told_all && !self.leaves && !self.rests {
            self.think(scene);
        }
        Ok(())
    }

    /// Takes what has come, or some of it, `into` this. None if it reads nothing now; else how the stream has ended, if that has come.
    fn take(&mut self, scene: &mut Scene<'_>, name: Name, into: &mut Vec<u8>) -> Option<Option<End>> {
        let now = scene.network.now;
        let Some(slowness) = self.slowness.as_mut().filter(|slowness| now < slowness.until_us) else {
            return Some(scene.network.peer_take(name, into));
        };
        if now < slowness.next_us {
            return None;
        }
        slowness.next_us = now + slowness.pause_us;
        scene.network.at(slowness.next_us, Event::Resume(name));
        Some(scene.network.peer_take_some(name, slowness.bytes, into))
    }

    /// Whether it may be one client too many. That is told before anything else.
    fn may_be_told_off(&self, scene: &Scene<'_>) -> bool {
        scene.plan.more.turns_away && !self.was_told
    }

    /// That there are too many has to be true.
    fn check_crowd(&self, scene: &mut Scene<'_>, name: Name) -> Result<(), String> {
        let others = scene.network.connection(name).map_or(0, |connection| connection.others);
        match others < scene.plan.settings[self.magent].clients_max {
            true => Err(format!(
                "client {} was told that there are too many, and there were {others} others",
                self.index
            )),
            false => Ok(()),
        }
    }

    /// Its connection was closed while it waited: whether it may be.
    fn check_end(&self, scene: &mut Scene<'_>, name: Name) -> Result<(), String> {
        if scene.plan.more.sheds && scene.owed.is_much(self.index, &scene.plan.settings[self.magent]) {
            return Ok(());
        }
        if scene
            .network
            .connection(name)
            .is_some_and(|connection| connection.is_unwatched)
        {
            return Ok(());
        }
        if self.may_be_told_off(scene) {
            // The reset may have overtaken the line.
            return self.check_crowd(scene, name);
        }
        let told_to_end_us = scene.told_to_end_us[self.magent];
        if self.connected_us <= told_to_end_us {
            let mut unanswered = self.asked.iter().filter(|asked| !asked.noreply);
            let in_time = unanswered.any(|asked| had_arrived(asked.asked_us, told_to_end_us));
            return match in_time && self.slowness.is_none() {
                true => Err(format!(
                    "client {} was not answered what it had asked before magent was told to end",
                    self.index
                )),
                false => Ok(()),
            };
        }
        Err(format!(
            "client {}: its connection was closed while it waited",
            self.index
        ))
    }

    /// Asks for something else, on another connection.
    fn ask_again(&mut self, scene: &mut Scene<'_>, name: Name) {
        scene.network.peer_close(name, End::Closed);
        self.forget_connection(scene);
        if !self.rests {
            self.think(scene);
        }
    }
}
