//! What magent asks of its process beyond connections: where clients come in, its configuration, names, orders.
//!
//! The reactor implements [`Control`] with listeners, threads and signals; the simulator with a plan. [`super::service`] is
//! the machine that uses it.

pub use super::fleet::journal::{Memory, Remembered};
use super::net::Net;
use super::settings::Settings;
use std::io;
use std::net::IpAddr;

/// What an administrator, or the system, may want of a running magent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Open the log again (SIGUSR1).
    ReopenLog,
    /// End; what has been asked is answered. Given twice: at once (SIGTERM, SIGINT).
    End,
}

/// What a service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Reloading,
    /// The configuration has been read again, or was found to be wrong and nothing is changed.
    Reloaded {
        changed: bool,
    },
    Ending,
}

/// What a new reading of the configuration changes in a running process.
pub struct Reloaded<L> {
    pub settings: Settings,
    pub listen: Vec<L>,
    pub verbosity: u32,
    /// What it cannot change, one line each.
    pub warnings: Vec<String>,
}

/// The answer to a try to accept.
pub enum Accepted<S> {
    Client(S),
    /// It was gone before it was accepted, or was none.
    Gone,
    /// Nobody waits, until the next event says so.
    Nobody,
    /// Something ran out, so that trying on at once would fail the same way; the line says where, and what.
    Exhausted(String),
}

/// A host name that was looked up.
pub struct Found {
    pub host: String,
    /// Empty if it could not be found.
    pub addresses: Vec<IpAddr>,
    /// What the log is to say about it, if that is new.
    pub warning: Option<String>,
}

/// What became of the journal of what servers miss.
#[derive(Debug)]
pub enum Journal {
    /// That which was begun anew for the so-manieth time, from 1, could not be written; the line says why.
    Failed { begun: u64, reason: String },
    /// It was written anew.
    Written,
    /// Another process has ended, and left this.
    Found(Remembered),
}

/// Listeners, the configuration, names, and what the process tells its manager. Nothing of it waits.
pub trait Control: Net {
    /// A place to listen on.
    type Listen;

    /// The next client that has connected.
    fn accept(&mut self) -> Accepted<Self::Socket>;

    /// Whether somebody may wait to be accepted.
    fn may_accept(&self) -> bool;

    /// Whether a descriptor was given back since this was last asked.
    fn take_freed(&mut self) -> bool;

    /// Listens on all of these and nowhere else, or, with an error of one line, on what it did before. Who had connected
    /// where it listens no more can still be accepted.
    fn listen_on(&mut self, wanted: &[Self::Listen]) -> Result<(), String>;

    /// Closes the listeners that no other process shares, and begins no connection on the others. Returns whether there are
    /// others: handshakes that have begun there can still be finished.
    fn stop_listening(&mut self) -> bool;

    /// Closes all listeners. Who had connected can still be accepted.
    fn close_listeners(&mut self);

    /// Begins to read the configuration again.
    fn read_configuration(&mut self) -> io::Result<()>;

    /// What was read, once; the error is one line.
    fn take_configuration(&mut self) -> Option<Result<Reloaded<Self::Listen>, String>>;

    /// What is wrong with settings whose names are filled in: the error is one line. Returns what is right but hardly meant.
    fn check(&mut self, settings: &Settings, listen: &[Self::Listen]) -> Result<Vec<String>, String>;

    /// Begins to look a host up, unless its answer is still to come.
    fn look_up(&mut self, host: &str);

    /// Whether all names of servers in these settings are answered.
    fn names_are_answered(&self, settings: &Settings) -> bool;

    /// Writes what is known of the names into these settings. Returns a line for each that is not known yet.
    fn fill_names_in(&mut self, settings: &mut Settings) -> Vec<String>;

    /// The next answer about a name.
    fn take_name(&mut self) -> Option<Found>;

    /// What has become of the journal since this was last asked.
    fn take_journal(&mut self) -> Option<Journal> {
        None
    }

    fn reopen_log(&mut self) -> io::Result<()>;

    /// Tells the service manager, and whoever looks at the pid file.
    fn tell(&mut self, state: State);
}
