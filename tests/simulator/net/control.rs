//! A magent's process: who wants to come in, what it is told to do.

use super::window::{SimulatedNet, Socket};
use crate::pipe::Us;
use magent::proxy::control::{Accepted, Control, Found, Order, Reloaded, State};
use magent::proxy::settings::Settings;
use std::io;
use std::mem;

/// How long it takes to read a file.
const READING_MAX_US: Us = 20_000;

/// What an administrator has written down for a magent.
#[derive(Clone)]
pub struct Written {
    pub settings: Settings,
    /// It cannot be had after all.
    pub is_wrong: bool,
}

/// What a magent's process is told, and what came of it.
#[derive(Default)]
pub struct Process {
    pub orders: Vec<Order>,
    /// What the next reading finds.
    pub written: Option<Written>,
    /// What is being read, and when it has been.
    reading: Option<(Us, Written)>,
    /// It works by what was written last.
    pub has_changed: bool,
    /// Its listeners are closed.
    pub is_closed: bool,
    /// Another process listens on the same port.
    pub shares_port: bool,
    pub freed: bool,
    /// It has no descriptors for anything more.
    pub is_exhausted: bool,
}

impl Process {
    /// When what is being read has been.
    pub fn read_us(&self) -> Option<Us> {
        self.reading.as_ref().map(|&(time, _)| time)
    }
}

impl Control for SimulatedNet {
    type Listen = ();

    fn accept(&mut self) -> Accepted<Socket> {
        let port = &mut self.network.borrow_mut().ports[self.magent];
        if port.process.is_exhausted {
            return Accepted::Exhausted("cannot accept: too many open files".to_owned());
        }
        match port.accepts.pop_front() {
            Some(name) => Accepted::Client(Socket(name)),
            None => Accepted::Nobody,
        }
    }

    fn may_accept(&self) -> bool {
        !self.network.borrow().ports[self.magent].accepts.is_empty()
    }

    fn take_freed(&mut self) -> bool {
        mem::take(&mut self.network.borrow_mut().ports[self.magent].process.freed)
    }

    fn listen_on(&mut self, _wanted: &[()]) -> Result<(), String> {
        self.network.borrow_mut().ports[self.magent].process.has_changed = true;
        Ok(())
    }

    fn stop_listening(&mut self) -> bool {
        let process = &mut self.network.borrow_mut().ports[self.magent].process;
        process.is_closed = !process.shares_port;
        process.shares_port
    }

    fn close_listeners(&mut self) {
        self.network.borrow_mut().ports[self.magent].process.is_closed = true;
    }

    fn read_configuration(&mut self) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        let time = network.now + network.random.skewed(0, READING_MAX_US);
        let process = &mut network.ports[self.magent].process;
        process.reading = process.written.clone().map(|written| (time, written));
        network.turn_by(self.magent, time);
        Ok(())
    }

    fn take_configuration(&mut self) -> Option<Result<Reloaded<()>, String>> {
        let network = &mut *self.network.borrow_mut();
        let now = network.now;
        let process = &mut network.ports[self.magent].process;
        let (_, written) = process.reading.take_if(|(time, _)| *time <= now)?;
        Some(match written.is_wrong {
            true => Err("-s 10.0.0.1:99999: port out of range (1-65535)".to_owned()),
            false => Ok(Reloaded {
                settings: written.settings,
                listen: vec![()],
                verbosity: 0,
                warnings: Vec::new(),
            }),
        })
    }

    fn check(&mut self, _settings: &Settings, _listen: &[()]) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn look_up(&mut self, _host: &str) {}

    fn names_are_answered(&self, _settings: &Settings) -> bool {
        true
    }

    fn fill_names_in(&mut self, _settings: &mut Settings) -> Vec<String> {
        Vec::new()
    }

    fn take_name(&mut self) -> Option<Found> {
        None
    }

    fn reopen_log(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn tell(&mut self, _state: State) {}
}
