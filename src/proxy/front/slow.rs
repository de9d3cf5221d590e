//! What the log tells of requests that take long: ten of them a second, and how many more there were.

use crate::protocol::{KEY_BYTES_MAX, name};
use crate::proxy::context::Context;
use crate::proxy::net::{Level, Net, Time};
use crate::proxy::timers::Timer;
use crate::words::Shown;
use std::fmt::Display;

/// Lines of a second.
const LINES_MAX: u32 = 10;
/// Requests of a second of which it is noted where they wait: most of those that come to be told of are answered in the same second.
const NOTED_MAX: u32 = 64;
/// Servers that a line names.
const SERVERS_SHOWN: usize = 4;

/// A key as its clients name it, in one word of a line.
pub fn shown(name: &[u8]) -> String {
    Shown(name::key(name, &mut [0; KEY_BYTES_MAX])).to_string()
}

/// What is known of a request that takes long.
pub struct Late {
    /// Its own time: that of an earlier one with the same number says nothing.
    pub since_us: u32,
    /// The key, or the first of those that a server was asked for together, as it is shown.
    pub key: String,
    /// The servers that it has waited for.
    servers: Vec<usize>,
    pub names: String,
}

/// What has been told in this second.
#[derive(Default)]
pub struct SlowLog {
    /// On the clock of [`Net::now`].
    second: u64,
    told: u32,
    untold: u64,
    /// The same of what is noted: the second, and how many in it.
    noted_in: u64,
    noted: u32,
}

impl SlowLog {
    /// Tells how many were not told of, if that was in an earlier second; else that is to be done then.
    pub fn tick<N: Net>(&mut self, cx: &mut Context<N>) {
        let second = cx.now.ms() / 1000;
        if second > self.second {
            if self.untold > 0 {
                let untold = self.untold;
                cx.log.say(
                    Level::Warning,
                    format_args!("{untold} more slow requests were not logged"),
                );
            }
            *self = Self {
                second,
                noted_in: self.noted_in,
                noted: self.noted,
                ..Self::default()
            };
        } else if self.untold > 0 {
            cx.timers.set(Timer::Slow, (self.second + 1) * 1000);
        }
    }

    /// Whether it may be noted of one more request where it waits: where thousands do, few are told of.
    pub fn may_note(&mut self, now: Time) -> bool {
        let second = now.ms() / 1000;
        if self.noted_in != second {
            (self.noted_in, self.noted) = (second, 0);
        }
        self.noted += 1;
        self.noted <= NOTED_MAX
    }

    /// Whether one more may be told of; if not it is counted.
    pub fn may_tell<N: Net>(&mut self, cx: &mut Context<N>) -> bool {
        self.tick(cx);
        if self.told < LINES_MAX {
            self.told += 1;
            return true;
        }
        self.untold += 1;
        self.tick(cx);
        false
    }
}

impl Late {
    pub fn new(since_us: u32) -> Self {
        Self {
            since_us,
            key: String::new(),
            servers: Vec::new(),
            names: String::new(),
        }
    }

    /// Notes a server that it has waited for.
    pub fn add_server(&mut self, server: usize, name: &impl Display) {
        if self.servers.contains(&server) {
            return;
        }
        match self.servers.len() {
            0 => self.names = name.to_string(),
            1..SERVERS_SHOWN => self.names += &format!(", {name}"),
            SERVERS_SHOWN => self.names += ", ...",
            _ => {}
        }
        self.servers.push(server);
    }
}
