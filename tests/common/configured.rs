//! A magent with a configuration file, which is changed while it runs.

use super::{Magent, Memcached, Port, Scratch, eventually, scratch};
use std::fs;
use std::process::Command;

/// What the log says of a reload, and of one that is refused.
pub const RELOADED: &str = "the configuration has been read again";
pub const NOT_RELOADED: &str = "the configuration is not changed, because of an error: ";

/// A magent that takes its settings from a file, on a free port of 127.0.0.1.
pub struct Configured {
    pub magent: Magent,
    pub file: String,
    /// What every file says, unless it is overridden.
    pub common: String,
    _files: Scratch,
}

impl Configured {
    pub fn start(lines: &str) -> Self {
        Self::start_with(lines, &[])
    }

    /// One whose file says exactly this, which makes it listen on `name`.
    pub fn start_file(text: &str, name: &str) -> Self {
        let files = scratch();
        let file = files.path("magent.conf");
        fs::write(&file, text).expect("a file");
        Self {
            magent: Magent::start_exactly(&["-D", "-c", &file], name, Port::free()),
            file,
            common: String::new(),
            _files: files,
        }
    }

    pub fn start_with(lines: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(Magent::program());
        command.args(arguments);
        Self::start_by(command, lines)
    }

    /// One that is started by a command that has been prepared for that.
    pub fn start_by(mut command: Command, lines: &str) -> Self {
        let (files, port) = (scratch(), Port::free());
        let name = format!("127.0.0.1:{port}");
        let common = format!("[General]\nport = {port}\ntimeout = 8000\n");
        let file = files.path("magent.conf");
        fs::write(&file, format!("{common}listen = 127.0.0.1\n{lines}\n")).expect("a file");
        command.args(["-D", "-c", &file]);
        let magent = Magent::launch(command, name, port);
        Self {
            magent,
            file,
            common,
            _files: files,
        }
    }

    /// How often the log says this.
    pub fn said(&self, what: &str) -> usize {
        self.magent.log().matches(what).count()
    }

    /// SIGHUP, and waits until the log says that it has had this end.
    pub fn hang_up(&self, end: &str) {
        let before = self.said(end);
        self.magent.signal(libc::SIGHUP);
        eventually(&format!("the log says once more: {end}"), || self.said(end) > before);
    }

    /// Lets magent take over these lines.
    pub fn reload(&self, lines: &str) {
        self.reload_all(&format!("{}listen = 127.0.0.1\n{lines}\n", self.common));
    }

    pub fn reload_all(&self, text: &str) {
        fs::write(&self.file, text).expect("a file");
        self.hang_up(RELOADED);
    }

    /// Lets magent refuse this file; the line of the log that says why.
    pub fn reload_in_vain(&self, text: &str) -> String {
        fs::write(&self.file, text).expect("a file");
        self.hang_up(NOT_RELOADED);
        let log = self.magent.log();
        let why = log
            .lines()
            .filter_map(|line| line.split(NOT_RELOADED).nth(1))
            .next_back();
        why.expect("waited for").to_owned()
    }

    pub fn settings(&self) -> String {
        String::from_utf8(self.magent.ask("stats settings\r\n").0).expect("text")
    }
}

/// `masters = ...`
pub fn masters(servers: &[&Memcached]) -> String {
    format!("masters = {}\n", names(servers))
}

pub fn names(servers: &[&Memcached]) -> String {
    let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    names.join(", ")
}
