//! The harness: real memcacheds and magents on loopback ports, and a client that shows what it got and what it wanted.
//!
//! Nothing here waits for a time: [`eventually`] waits for a condition, reads have a deadline so that a test fails
//! rather than hangs. Everything that is started is ended when it goes out of scope, and by the kernel if the test dies.
//!
//! The memcacheds are those that `MEMCACHED=path` names, else the machine's own; each run of a test file says which.

#![allow(dead_code, unused_imports)] // each test file uses its part

mod client;
mod configured;
mod ended;
mod fake;
mod hosts;
mod memcached;
mod network;
pub mod packets;
mod port;
mod process;

pub use client::{Bytes, Client, assert_same};
pub use configured::{Configured, NOT_RELOADED, RELOADED, masters, names};
pub use ended::{Ended, run, run_command};
pub use fake::Fake;
pub use hosts::Hosts;
pub use memcached::{Memcached, Version};
pub use network::{Host, Network};
pub use port::Port;
pub use process::{Daemon, Process, Said, Scratch, is_root, mode_of, open_many_files, scratch, stay_on_one_processor};

use std::ops::Deref;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Much longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The timeout of a magent whose test is not about timeouts: a busy machine must not look like a dead server.
const TIMEOUT_NOT_TESTED: &str = "--timeout=8000";
/// What magent says when it has no server for a key.
pub const NO_SERVER: &str = "SERVER_ERROR no server available\r\n";

/// The reply to a get of one key that is there.
pub fn hit(key: &str, flags: u32, value: &str) -> String {
    format!("VALUE {key} {flags} {}\r\n{value}\r\nEND\r\n", value.len())
}

/// The reply to a get of what is not there.
pub const MISS: &str = "END\r\n";
/// A magent with this waits for a server much longer than a test does.
pub const PATIENT: &str = "--timeout=60000";

/// Waits until `condition` holds; fails the test, saying `what`, if it does not come to hold.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// The same, for what takes longer.
pub fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A magent in the foreground on a free port of 127.0.0.1.
pub struct Magent {
    /// Where it listens, as clients name it.
    pub name: String,
    pub port: u16,
    process: Process,
    said: Said,
    _port: Port,
}

impl Magent {
    /// Starts one with these arguments and waits until it accepts connections.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_by(Command::new(Self::program()), arguments)
    }

    /// One in front of these primaries and backups.
    pub fn before(primaries: &[&Memcached], backups: &[&Memcached], arguments: &[&str]) -> Self {
        let names = |servers: &[&Memcached]| servers.iter().map(|server| server.name.clone()).collect();
        let (primaries, backups): (Vec<_>, Vec<_>) = (names(primaries), names(backups));
        let primaries = primaries.iter().flat_map(|name| ["-s", name.as_str()]);
        let backups = backups.iter().flat_map(|name| ["-b", name.as_str()]);
        let all: Vec<&str> = primaries.chain(backups).chain(arguments.iter().copied()).collect();
        Self::start(&all)
    }

    /// One on a machine of its own, with its own defaults.
    pub fn on(host: &Host, arguments: &[&str]) -> Self {
        let name = format!("{}:11211", host.ip);
        let own = ["-D", "-l", host.ip, "-p", "11211"];
        let arguments: Vec<&str> = own.iter().chain(arguments).copied().collect();
        host.inside(|| Self::start_exactly(&arguments, &name, Port::free()))
    }

    /// Starts it by a command that has been prepared for that.
    pub fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        let port = Port::free();
        let name = format!("127.0.0.1:{port}");
        command.args(["-D", "-l", "127.0.0.1", "-p", &port.to_string()]);
        if !arguments.iter().any(|argument| argument.starts_with("--timeout")) {
            command.arg(TIMEOUT_NOT_TESTED);
        }
        // What servers are sent is what the test has asked for.
        if !arguments.iter().any(|argument| argument.starts_with("--board")) {
            command.arg("--board=off");
        }
        command.args(arguments);
        Self::launch(command, name, port)
    }

    /// One with exactly these arguments, which make it listen on `name`, stay in the foreground and log to the terminal.
    pub fn start_exactly(arguments: &[&str], name: &str, port: Port) -> Self {
        let mut command = Command::new(Self::program());
        command.args(arguments);
        Self::launch(command, name.to_owned(), port)
    }

    /// By a command that makes it listen on `name`, stay in the foreground and log to the terminal.
    pub fn launch(mut command: Command, name: String, port: Port) -> Self {
        let said = Said::new();
        let mut magent = Self {
            name,
            port: port.number,
            process: Process::spawn(command.stderr(said.stderr())),
            said,
            _port: port,
        };
        // Connecting to find out would count as a connection; the log tells as well.
        let listening = format!("listening on {}", magent.name);
        eventually("magent listens", || {
            assert_eq!(magent.process.exited(), None, "magent did not start: {}", magent.log());
            magent.log().contains(&listening)
        });
        magent
    }

    /// The path of the binary under test.
    pub fn program() -> &'static str {
        env!("CARGO_BIN_EXE_magent")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.name)
    }

    /// What it answers to `request` on a connection of its own.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Bytes {
        self.client().ask(request)
    }

    /// What it has written to its standard error so far.
    pub fn log(&self) -> String {
        self.said.text()
    }

    /// The value of `STAT name` in its `stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let value = self.client().stat("stats", name);
        value.parse().expect("a number")
    }

    /// A line of `stats servers`.
    pub fn server_stat(&self, server: &Memcached, name: &str) -> String {
        self.client().stat("stats servers", &format!("{}:{name}", server.name))
    }

    /// Waits until magent thinks so of a server: `up`, `up, cold`, `down`, `rejoining`. `up` is either of the two.
    pub fn wait_for(&self, server: &Memcached, state: &str) {
        eventually(&format!("{} is {state}", server.name), || {
            let now = self.server_stat(server, "state");
            now == state || (state == "up" && now == "up, cold")
        });
    }

    /// Waits until magent has read what clients have sent: it takes what came first before what comes now.
    pub fn settle(&self) {
        self.client().check("settled?\r\n", "ERROR\r\n");
    }

    /// SIGTERM, and what it exits with.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Waits for it to exit by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }
}

impl Drop for Magent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("magent on {} said:\n{}", self.name, self.log());
        }
    }
}

impl Deref for Magent {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// A primary and a backup with a magent before them.
pub struct Two {
    pub primary: Memcached,
    pub backup: Memcached,
    pub magent: Magent,
}

impl Two {
    pub fn start(arguments: &[&str]) -> Self {
        let (primary, backup) = (Memcached::start(), Memcached::start());
        let magent = Magent::before(&[&primary], &[&backup], arguments);
        magent.settle(); // it knows both servers before a test stops one of them
        Self {
            primary,
            backup,
            magent,
        }
    }

    pub fn client(&self) -> Client {
        self.magent.client()
    }

    /// Asserts that each of the two servers, asked directly, answers `request` with `reply`.
    pub fn both_say(&self, request: &str, reply: &str) {
        assert_eq!(self.primary.ask(request), reply, "the primary on {request:?}");
        assert_eq!(self.backup.ask(request), reply, "the backup on {request:?}");
    }
}
