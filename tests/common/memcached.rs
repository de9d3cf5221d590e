//! Real memcacheds, of the one version that this run of the tests is about.

use super::{Bytes, Client, Host, Port, Process, eventually};
use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// A version of memcached. They are ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// What a program says of itself.
    fn of(program: &str) -> Self {
        let said = Command::new(program).arg("-V").output();
        let said = said.unwrap_or_else(|error| panic!("cannot run {program} (MEMCACHED names another): {error}"));
        let said = String::from_utf8_lossy(&said.stdout);
        let mut numbers = said
            .trim()
            .trim_start_matches("memcached ")
            .splitn(3, '.')
            .map(|number| {
                number
                    .split(|letter: char| !letter.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            });
        let mut next = || numbers.next().flatten();
        match (next(), next(), next()) {
            (Some(major), Some(minor), Some(patch)) => Self(major, minor, patch),
            _ => panic!("{program} -V says {said:?}"),
        }
    }

    /// What a server of this version answers to `version`.
    pub fn reply(self) -> String {
        format!("VERSION {self}\r\n")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A real memcached. It keeps its address when it is killed and restarted.
pub struct Memcached {
    /// As on magent's command line.
    pub name: String,
    arguments: Vec<String>,
    process: Option<Process>,
    _port: Option<Port>,
}

impl Memcached {
    /// One on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::absent();
        server
            .arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        server.restart();
        server
    }

    /// One that is not running yet: `restart` starts it.
    pub fn absent() -> Self {
        let port = Port::free();
        let arguments = ["-l", "127.0.0.1", "-U", "0", "-p", &port.to_string()];
        Self::of(format!("127.0.0.1:{port}"), &arguments, Some(port))
    }

    /// One on ::1.
    pub fn start_v6() -> Self {
        let port = Port::free();
        let arguments = ["-l", "::1", "-U", "0", "-p", &port.to_string()];
        let mut server = Self::of(format!("[::1]:{port}"), &arguments, Some(port));
        server.restart();
        server
    }

    /// One on a machine of its own.
    pub fn on(host: &Host) -> Self {
        let name = format!("{}:11311", host.ip);
        let mut server = Self::of(name, &["-l", host.ip, "-U", "0", "-p", "11311"], None);
        host.inside(|| server.restart());
        server
    }

    /// One on a unix socket.
    pub fn start_unix(path: &str) -> Self {
        let mut server = Self::of(format!("unix:{path}"), &["-s", path], None);
        server.restart();
        server
    }

    /// One that runs on the same port of another address of this machine.
    pub fn at(&self, ip: &str) -> Self {
        let (_, port) = self.name.rsplit_once(':').expect("a port");
        let mut server = Self::of(format!("{ip}:{port}"), &["-l", ip, "-U", "0", "-p", port], None);
        server.restart();
        server
    }

    fn of(name: String, arguments: &[&str], port: Option<Port>) -> Self {
        let everywhere = ["-u", "root", "-m", "64", "-t", "2"];
        let arguments = everywhere.iter().chain(arguments);
        Self {
            name,
            arguments: arguments.map(|argument| (*argument).to_owned()).collect(),
            process: None,
            _port: port,
        }
    }

    /// The path or the name of the program.
    pub fn program() -> &'static str {
        static PROGRAM: LazyLock<String> = LazyLock::new(|| match std::env::var("MEMCACHED") {
            Ok(program) if !program.is_empty() => program,
            _ => "memcached".to_owned(),
        });
        &PROGRAM
    }

    /// What all of them are, in this run of the tests: for outcomes that differ between versions.
    pub fn version() -> Version {
        static VERSION: LazyLock<Version> = LazyLock::new(|| {
            let version = Version::of(Memcached::program());
            // Not by a macro, whose words are kept back unless a test fails.
            let line = format!("with memcached {version} ({})\n", Memcached::program());
            std::io::stderr().write_all(line.as_bytes()).expect("a standard error");
            version
        });
        *VERSION
    }

    /// Starts it, or kills it and starts it anew, empty.
    pub fn restart(&mut self) {
        self.process = None;
        // Shown only where a test fails; the line of `version` is shown once, whatever becomes of the tests.
        println!("memcached {} on {}", Self::version(), self.name);
        let mut command = Command::new(Self::program());
        command.args(&self.arguments).stderr(Stdio::null());
        let mut process = Process::spawn(&mut command);
        eventually("memcached accepts connections", || {
            assert_eq!(process.exited(), None, "memcached {:?} did not start", self.arguments);
            Client::try_connect(&self.name).is_ok()
        });
        self.process = Some(process);
    }

    /// SIGKILL: its connections are reset, its items are gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGUSR1: one with a memory file (`-e`) ends so that it has its items when it is restarted. It takes no file back
    /// that was left in the same second.
    pub fn end_and_keep(&mut self) {
        let mut process = self.process.take().expect("a memcached that runs");
        process.signal(libc::SIGUSR1);
        process.wait();
        let now_s = || std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
        let ended_s = now_s();
        eventually("another second", || now_s() > ended_s + 1);
    }

    /// SIGSTOP: it hangs; the kernel goes on accepting connections for it.
    pub fn stop(&self) {
        self.process().stop();
    }

    /// SIGCONT: it goes on, with all that it had.
    pub fn cont(&self) {
        self.process().signal(libc::SIGCONT);
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a memcached that runs")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.name)
    }

    /// What it answers to `request`, asked directly.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Bytes {
        self.client().ask(request)
    }

    /// The value of `STAT name` in its `stats`.
    pub fn stat(&self, name: &str) -> u64 {
        let value = self.client().stat("stats", name);
        value.parse().expect("a number")
    }
}
