//! Two hosts and a switch between them, in network namespaces of their own, whose cable can be cut.
//!
//! A namespace lives as long as a process in it that does nothing else, and is gone with the test, however that ends.

use super::{Process, eventually};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The addresses of the users' own layout.
const IPS: [&str; 2] = ["192.168.36.54", "192.168.36.189"];

/// A network namespace.
struct Namespace {
    holder: Process,
    file: File,
}

impl Namespace {
    fn new() -> Self {
        let holder = Process::spawn(Command::new("unshare").args(["--net", "sleep", "infinity"]));
        let path = format!("/proc/{}/ns/net", holder.id());
        let own = fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        eventually("there is a namespace", || {
            fs::read_link(&path).is_ok_and(|namespace| namespace != own)
        });
        let file = File::open(path).expect("a namespace");
        let namespace = Self { holder, file };
        namespace.inside(|| must("ip", &["link", "set", "lo", "up"]));
        namespace
    }

    /// What is done by this, and every process and thread that it starts, is in this network; the thread is then where it was before.
    fn inside<T>(&self, action: impl FnOnce() -> T) -> T {
        let own = File::open("/proc/thread-self/ns/net").expect("a namespace");
        enter(&self.file);
        let result = action();
        enter(&own);
        result
    }
}

/// Moves this thread.
fn enter(namespace: &File) {
    // SAFETY: setns takes two numbers.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
}

fn must(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}

/// A machine.
pub struct Host {
    pub ip: &'static str,
    namespace: Namespace,
}

impl Host {
    /// What is done by this, and every process and thread that it starts, is on this machine.
    pub fn inside<T>(&self, action: impl FnOnce() -> T) -> T {
        self.namespace.inside(action)
    }

    /// This thread is on this machine from now on.
    pub fn enter(&self) {
        enter(&self.namespace.file);
    }
}

/// Two machines, each with one cable to a switch.
pub struct Network {
    pub hosts: [Arc<Host>; 2],
    switch: Namespace,
}

impl Network {
    /// None, and a line that says so, where there may be no namespaces.
    pub fn new() -> Option<Self> {
        let may = Command::new("unshare")
            .args(["--net", "true"])
            .stderr(Stdio::null())
            .status();
        if !may.is_ok_and(|status| status.success()) {
            // Not by a macro, whose words are kept back unless a test fails.
            let line = b"LEFT OUT: two hosts: no network namespaces can be made here, which takes root\n";
            std::io::Write::write_all(&mut std::io::stderr(), line).expect("a standard error");
            return None;
        }
        let switch = Namespace::new();
        switch.inside(|| {
            must("ip", &["link", "add", "switch", "type", "bridge"]);
            must("ip", &["link", "set", "switch", "up"]);
            must(
                "nft",
                &["add table bridge cable; add chain bridge cable forwarded { type filter hook forward priority 0; }"],
            );
        });
        let hosts = [0, 1].map(|number| {
            let namespace = Namespace::new();
            let (port, pid) = (format!("port{number}"), namespace.holder.id().to_string());
            switch.inside(|| {
                must(
                    "ip",
                    &[
                        "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid,
                    ],
                );
                must("ip", &["link", "set", &port, "master", "switch"]);
                must("ip", &["link", "set", &port, "up"]);
            });
            let ip = IPS[number];
            namespace.inside(|| {
                must("ip", &["address", "add", &format!("{ip}/24"), "dev", "eth0"]);
                must("ip", &["link", "set", "eth0", "up"]);
            });
            Arc::new(Host { ip, namespace })
        });
        Some(Self { hosts, switch })
    }

    /// From now on the switch does this with what comes: an nft rule.
    fn rule(&self, rule: &str) {
        self.switch
            .inside(|| must("nft", &[&format!("flush chain bridge cable forwarded; {rule}")]));
    }

    /// Nothing comes through.
    pub fn cut(&self) {
        self.rule("add rule bridge cable forwarded drop");
    }

    /// Nothing that this host sends comes through.
    pub fn cut_from(&self, host: usize) {
        self.rule(&format!("add rule bridge cable forwarded iifname port{host} drop"));
    }

    /// Nothing that this host sends comes to servers of the other one.
    pub fn cut_to_servers(&self, host: usize) {
        self.rule(&format!(
            "add rule bridge cable forwarded iifname port{host} tcp dport 11311 drop"
        ));
    }

    /// So many of a hundred packets are lost, in either direction.
    pub fn lose(&self, percent: u32) {
        self.rule(&format!(
            "add rule bridge cable forwarded numgen random mod 100 < {percent} drop"
        ));
    }

    /// Everything comes through.
    pub fn mend(&self) {
        self.rule("");
    }
}
