//! Host names: looked up by a thread of their own, because the C library blocks, for many seconds where a name server is
//! silent. The answers are events of the loop.

use super::Mailbox;
use crate::proxy::net::Address;
use crate::proxy::settings::{ServerName, Settings};
use crate::words::Reason;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What the C library puts in front of the reason.
const PREFIX: &str = "failed to lookup address information: ";

/// The addresses of a host, at least one, or why there are none.
type Answer = Result<Vec<IpAddr>, String>;

/// What is known of a host.
#[derive(Default)]
struct Host {
    /// The address in use; the last one while the name cannot be looked up.
    ip: Option<IpAddr>,
    /// An answer is still to come, so that no host is asked for twice at a time.
    asked: bool,
    /// Why it could not be found the last time.
    error: Option<String>,
}

/// The names of servers, and the thread that looks them up, one after the other.
pub struct Names {
    /// Called after each answer.
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Where the thread takes its questions from; None before the first one. Without names there is no thread: beside one
    /// the C library guards every call of a system that may wait, and costs each request a hundred instructions.
    questions: Option<Mailbox<String>>,
    answers: Mailbox<(String, Answer)>,
    hosts: HashMap<String, Host>,
}

impl Names {
    /// Looks nothing up yet; `wake` is called after each answer.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            wake: Arc::new(wake),
            questions: None,
            answers: Mailbox::new(),
            hosts: HashMap::new(),
        }
    }

    /// Begins the thread. Signals that are blocked now stay so there, and the thread is not there in a process that is
    /// forked later: the background comes first.
    fn begin(&self) -> io::Result<Mailbox<String>> {
        let questions = Mailbox::<String>::new();
        let (asked, answers, wake) = (questions.clone(), self.answers.clone(), Arc::clone(&self.wake));
        thread::Builder::new().name("names".to_owned()).spawn(move || {
            loop {
                let host = asked.take();
                let answer = look_up(&host);
                answers.put((host, answer));
                wake();
            }
        })?;
        Ok(questions)
    }

    /// Asks for a host, unless the answer is still to come.
    pub fn ask(&mut self, host: &str) {
        if self.hosts.get(host).is_some_and(|known| known.asked) {
            return;
        }
        if self.questions.is_none() {
            self.questions = self.begin().ok();
        }
        match &self.questions {
            Some(questions) => questions.put(host.to_owned()),
            None => {
                // No thread to be had: that is an answer, too, and it is tried again like a name that is not known.
                let answer = Err("no thread can be begun".to_owned());
                self.answers.put((host.to_owned(), answer));
            }
        }
        self.hosts.entry(host.to_owned()).or_default().asked = true;
    }

    /// Asks for all names of servers in these settings.
    pub fn ask_for_servers(&mut self, settings: &Settings) {
        for server in settings.servers().filter(|server| server.is_by_name()) {
            self.ask(&server.host);
        }
    }

    /// Whether all names of servers in these settings are answered.
    pub fn are_answered(&self, settings: &Settings) -> bool {
        let waits = |server: &ServerName| self.hosts.get(&server.host).is_some_and(|host| host.asked);
        !settings.servers().any(waits)
    }

    /// Waits for those answers, but no longer than this.
    pub fn wait(&mut self, settings: &Settings, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.are_answered(settings) {
            let left = until.saturating_duration_since(Instant::now());
            let Some((host, answer)) = self.answers.take_within(left) else {
                return;
            };
            self.note(&host, &answer);
        }
    }

    /// The next answer, if there is one: the host, its addresses, and what is to be said about it.
    pub fn take(&mut self) -> Option<(String, Vec<IpAddr>, Option<String>)> {
        let (host, answer) = self.answers.try_take()?;
        let warning = self.note(&host, &answer);
        Some((host, answer.unwrap_or_default(), warning))
    }

    /// Returns what is to be said, if it is new.
    fn note(&mut self, host: &str, answer: &Answer) -> Option<String> {
        let known = self.hosts.entry(host.to_owned()).or_default();
        known.asked = false;
        match answer {
            Ok(found) => {
                known.error = None;
                if known.ip.is_none_or(|ip| !found.contains(&ip)) {
                    known.ip = preferred(found);
                }
                None
            }
            Err(error) if known.error.as_ref() == Some(error) => None,
            Err(error) => {
                known.error = Some(error.clone());
                Some(format!("cannot find host '{host}': {error}; it is looked up again"))
            }
        }
    }

    /// Writes what is known of the names into these settings. Returns a line for each that is not known yet.
    pub fn fill_in(&self, settings: &mut Settings) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for server in settings.servers_mut().filter(|server| server.is_by_name()) {
            let host = self.hosts.get(&server.host);
            if let Some(ip) = host.and_then(|host| host.ip) {
                server.address = Address::Tcp(SocketAddr::new(ip, server.port));
                continue;
            }
            let error = host.and_then(|host| host.error.as_deref());
            let why = error.unwrap_or("no answer in time");
            let warning = format!("cannot find host '{}': {why}; it is looked up again", server.host);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }
}

/// A host's address, for a place to listen on: the answer is waited for, but no longer than this.
pub fn find_within(host: &str, patience: Duration) -> Result<IpAddr, String> {
    let answer = Mailbox::new();
    let (answered, name) = (answer.clone(), host.to_owned());
    let thread = thread::Builder::new().spawn(move || answered.put(look_up(&name)));
    let thread = thread.map_err(|error| format!("cannot find host '{host}': {}", Reason(&error)))?;
    let found = answer.take_within(patience);
    let found = found.unwrap_or_else(|| Err("no answer in time".to_owned()));
    let found = found.map_err(|why| format!("cannot find host '{host}': {why}"))?;
    // It is done; a process that is forked must not have it in the middle of anything.
    let _ = thread.join();
    preferred(&found).ok_or_else(|| format!("host '{host}' has no address"))
}

/// Asks the C library, which may take many seconds.
fn look_up(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        let reason = Reason(&error).to_string();
        reason.strip_prefix(PREFIX).unwrap_or(&reason).to_owned()
    })?;
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    match found.is_empty() {
        true => Err("it has no address".to_owned()),
        false => Ok(found),
    }
}

/// The address to use of several: IPv4 where there are both kinds.
pub fn preferred(found: &[IpAddr]) -> Option<IpAddr> {
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (Names, Mailbox<(String, Answer)>, Mailbox<String>) {
        let asked = Mailbox::new();
        let mut names = Names::new(|| ());
        names.questions = Some(asked.clone());
        let answered = names.answers.clone();
        (names, answered, asked)
    }

    #[test]
    fn a_host_is_asked_for_once_at_a_time() {
        let (mut names, answered, asked) = names();
        for _ in 0..3 {
            names.ask("one");
        }
        assert_eq!(asked.try_take().as_deref(), Some("one"));
        assert_eq!(asked.try_take(), None);
        answered.put(("one".to_owned(), Err("why".to_owned())));
        assert!(
            names
                .take()
                .is_some_and(|(_, found, warning)| found.is_empty() && warning.is_some())
        );
        names.ask("one");
        assert!(asked.try_take().is_some());
        // The same error is not told again.
        answered.put(("one".to_owned(), Err("why".to_owned())));
        assert!(names.take().is_some_and(|(_, _, warning)| warning.is_none()));
    }

    #[test]
    fn an_address_stays_in_use_while_the_name_still_has_it() {
        let (mut names, answered, _asked) = names();
        let ips = |text: &[&str]| text.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        for (found, used) in [
            (&["::1", "10.0.0.1", "10.0.0.2"][..], "10.0.0.1"),
            (&["10.0.0.2", "10.0.0.1"], "10.0.0.1"),
            (&["10.0.0.2"], "10.0.0.2"),
        ] {
            answered.put(("host".to_owned(), Ok(ips(found))));
            names.take();
            assert_eq!(names.hosts["host"].ip, Some(used.parse().unwrap()));
        }
        answered.put(("host".to_owned(), Err("silence".to_owned())));
        names.take();
        assert_eq!(
            names.hosts["host"].ip,
            Some("10.0.0.2".parse().unwrap()),
            "the last one known"
        );
    }
}
