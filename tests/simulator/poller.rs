//! The administrator's eye: asks a magent how its servers are.

use super::client::Scene;
use super::net::{Event, Name};
use super::pipe::{End, Us};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Goes to every server, so that what happened to an idle connection comes out.
    Version,
    Servers,
    Statistics,
}

impl Question {
    fn line(self) -> &'static [u8] {
        match self {
            Question::Version => b"version\r\n",
            Question::Servers => b"stats servers\r\n",
            Question::Statistics => b"stats\r\n",
        }
    }

    /// How the last line of the answer ends.
    fn end(self) -> &'static [u8] {
        match self {
            Question::Version => b"\r\n",
            _ => b"END\r\n",
        }
    }
}

pub struct Poller {
    index: usize,
    pub magent: usize,
    connection: Option<Name>,
    input: Vec<u8>,
    asked: VecDeque<(Question, Us)>,
    /// When the last answer was asked for, and the servers in it with their states.
    pub told: Option<(Us, Vec<(String, String)>)>,
    /// The last answer to plain `stats`.
    pub statistics: Vec<(String, u64)>,
    /// 0 while it does not ask of its own accord.
    interval_us: Us,
}

impl Poller {
    pub fn new(index: usize, magent: usize) -> Self {
        Self {
            index,
            magent,
            connection: None,
            input: Vec::new(),
            asked: VecDeque::new(),
            told: None,
            statistics: Vec::new(),
            interval_us: 0,
        }
    }

    /// Asks again and again from now on.
    pub fn begin(&mut self, scene: &mut Scene<'_>, interval_us: Us) {
        if self.interval_us == 0 {
            scene.network.at(scene.network.now, Event::Client(self.index));
        }
        self.interval_us = interval_us;
    }

    pub fn end(&mut self) {
        self.interval_us = 0;
    }

    pub fn act(&mut self, scene: &mut Scene<'_>) {
        if self.interval_us == 0 {
            return;
        }
        if self.asked.is_empty() {
            self.ask(scene, Question::Servers);
        }
        scene
            .network
            .at(scene.network.now + self.interval_us, Event::Client(self.index));
    }

    pub fn ask(&mut self, scene: &mut Scene<'_>, question: Question) {
        if !scene.listening[self.magent] {
            return;
        }
        let (magent, index) = (self.magent, self.index);
        let name = *self
            .connection
            .get_or_insert_with(|| scene.network.open_client(magent, index));
        scene.network.peer_send(name, question.line());
        self.asked.push_back((question, scene.network.now));
    }

    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    pub fn hear(&mut self, scene: &mut Scene<'_>, name: Name) {
        if self.connection != Some(name) {
            return;
        }
        let end = scene.network.peer_take(name, &mut self.input);
        while let Some(&(question, asked_us)) = self.asked.front() {
            let end = question.end();
            let Some(at) = self.input.windows(end.len()).position(|part| part == end) else {
                break;
            };
            let answer: Vec<u8> = self.input.drain(..at + end.len()).collect();
            self.asked.pop_front();
            self.learn(question, asked_us, &String::from_utf8_lossy(&answer));
        }
        if end.is_some() {
            scene.network.peer_close(name, End::Closed);
            self.forget();
        }
    }

    fn learn(&mut self, question: Question, asked_us: Us, text: &str) {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
        match question {
            Question::Version => {}
            Question::Servers => {
                let states = lines.filter_map(|(name, state)| {
                    let server = name.strip_suffix(":state")?;
                    Some((server.to_owned(), state.to_owned()))
                });
                self.told = Some((asked_us, states.collect()));
            }
            Question::Statistics => {
                let numbers = lines.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
                self.statistics = numbers.collect();
            }
        }
    }

    pub fn forget(&mut self) {
        self.connection = None;
        self.asked.clear();
        self.input.clear();
        self.told = None;
    }

    /// Whether an answer to a question asked after `since` says that a server is up and whole.
    pub fn says_up(&self, server: &str, since: Us) -> bool {
        self.told.as_ref().is_some_and(|(asked_us, states)| {
            *asked_us >= since && states.iter().any(|(name, state)| name == server && state == "up")
        })
    }
}
