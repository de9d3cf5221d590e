//! A magent's process: who wants to come in, what it is told to do.

use super::window::{SimulatedNet, Socket};
use crate::pipe::Us;
use magent::proxy::control::{Accepted, Control, Found, Journal, Order, Reloaded, State};
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
    /// What goes wrong when it is right.
    pub failure: Failure,
    pub verbosity: u32,
}

/// What goes wrong with a configuration that is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failure {
    #[default]
    None,
    /// There is no thread to read it.
    Thread,
    /// Somebody else listens there.
    Listen,
    /// Names turn out to be of one server.
    Check,
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
    /// Clients go before they are let in, and the log's disk is full, now and then.
    pub is_odd: bool,
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

    fn failure(&self) -> Failure {
        self.written.as_ref().map_or(Failure::None, |written| written.failure)
    }
}

impl Control for SimulatedNet {
    type Listen = ();

    fn accept(&mut self) -> Accepted<Socket> {
        let network = &mut *self.network.borrow_mut();
        let port = &mut network.ports[self.magent];
        if port.process.is_exhausted {
            return Accepted::Exhausted("cannot accept: too many open files".to_owned());
        }
        if port.process.is_odd && network.random.one_in(4) {
            // Whoever was there is gone, or another process that shares the port has taken him.
            return match network.random.one_in(2) {
                true => Accepted::Gone,
                false => Accepted::Nobody,
            };
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
        let process = &mut self.network.borrow_mut().ports[self.magent].process;
        if process.failure() == Failure::Listen {
            return Err("cannot listen on 0.0.0.0:11211: in use".to_owned());
        }
        process.has_changed = true;
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
        if process.failure() == Failure::Thread {
            return Err(io::ErrorKind::WouldBlock.into());
        }
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
                verbosity: written.verbosity,
                warnings: Vec::new(),
            }),
        })
    }

    fn check(&mut self, settings: &Settings, _listen: &[()]) -> Result<Vec<String>, String> {
        for farm in [&settings.primaries, &settings.backups] {
            for (index, server) in farm.iter().enumerate() {
                if farm[..index].iter().any(|other| other.is_same(server)) {
                    return Err(format!("server {server} is listed twice"));
                }
            }
        }
        match self.network.borrow().ports[self.magent].process.failure() {
            Failure::Check => Err("-s alpha: is beta".to_owned()),
            _ => Ok(Vec::new()),
        }
    }

    fn look_up(&mut self, host: &str) {
        let network = &mut *self.network.borrow_mut();
        let now = network.now;
        if let Some(time) = network.hosts.look_up(self.magent, host, now, &mut network.random) {
            network.turn_by(self.magent, time);
        }
    }

    fn names_are_answered(&self, settings: &Settings) -> bool {
        let network = self.network.borrow();
        let mut servers = settings.servers();
        !servers.any(|server| network.hosts.is_awaited(self.magent, &server.host))
    }

    fn fill_names_in(&mut self, settings: &mut Settings) -> Vec<String> {
        self.network.borrow().hosts.fill_in(settings)
    }

    fn take_name(&mut self) -> Option<Found> {
        let network = &mut *self.network.borrow_mut();
        network.hosts.take(self.magent, network.now)
    }

    fn take_journal(&mut self) -> Option<Journal> {
        let network = &mut *self.network.borrow_mut();
        let told = network.disks[self.magent].tell(network.now);
        network.meters[self.magent].worked |= told.is_some();
        told
    }

    fn reopen_log(&mut self) -> io::Result<()> {
        let network = &mut *self.network.borrow_mut();
        match network.random.one_in(2) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn tell(&mut self, _state: State) {}
}
