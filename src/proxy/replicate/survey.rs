//! `stats` about the farm: what the servers say of themselves, added up under memcached's names.
//!
//! Each server that is up is asked the same `stats`, and the lines that come back are combined name by name (see [`topic`](crate::proxy::replicate::topic)).
//! magent's own lines go first and win over the servers' lines of the same name: its clients, their commands and its times are
//! what a client sees of the farm, while items, bytes and evictions are the servers'. A server that does not answer at once
//! is left out: monitoring is wanted most while something hangs.

use crate::protocol::request::Request;
use crate::protocol::verb::Verb;
use crate::proxy::handoff::Handoff;
use crate::proxy::limits::Limits;
use crate::proxy::net::Net;
use crate::proxy::replicate::Replicate;
use crate::proxy::replicate::topic::{Survey, Topic};
use crate::proxy::replicate::transaction::Work;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;

/// How long a client's `stats` waits for servers.
const PATIENCE_MS: u64 = 100;
impl Replicate {
    /// Whether as many surveys are in progress as there may be.
    pub fn has_surveys_enough(&self, limits: &Limits) -> bool {
        self.surveys.len() >= limits.surveys
    }

    /// Asks all servers that are up; the reply comes once each has said all that it says, is lost, or is silent for too long.
    pub fn start_survey<N: Net>(&mut self, servers: &mut Servers<N>, id: usize, topic: Topic) {
        let until_ms = servers.cx.now.ms() + PATIENCE_MS;
        servers.cx.timers.set(Timer::Survey, until_ms);
        self.surveys.push(id);
        let survey = Survey::new(topic, until_ms, servers.cx.settings.limits.survey_lines);
        self.transactions[id].work = Work::Survey(Box::new(survey));
        for server in servers.fleet.in_use() {
            if servers.fleet.is_up(server) {
                let question = Request::new(Verb::Stats, topic.argument());
                self.ask(servers, (server, Purpose::Survey), id, question);
            }
        }
        self.survey_step(servers, id);
    }

    /// A line of a server's answer; the leg stays until its end.
    pub fn survey_line(&mut self, id: usize, name: &[u8], value: &[u8]) {
        if let Work::Survey(survey) = &mut self.transactions[id].work {
            survey.take(name, value);
        }
    }

    /// A server has said all that it says, refused, or is lost: what the others say stands.
    pub fn survey_step<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        if self.transactions[id].legs > 0 {
            return;
        }
        match self.transactions[id].work {
            Work::Survey(_) => self.end_survey(servers, id),
            _ => self.end_if_over(id), // answered without this server
        }
    }

    fn end_survey<N: Net>(&mut self, servers: &mut Servers<N>, id: usize) {
        let work = std::mem::replace(&mut self.transactions[id].work, Work::Answered);
        if let Work::Survey(survey) = work {
            self.transactions[id].is_answered = true;
            if self.transactions[id].client.is_some() {
                return servers.cx.hand_on(Handoff::Surveyed(id, survey));
            }
            self.survey_told(id);
            self.end_if_over(id);
        }
    }

    /// The client has been told what a survey found.
    pub fn survey_told(&mut self, id: usize) {
        self.surveys.retain(|&other| other != id);
    }

    /// Answers without the servers that are silent.
    pub fn surveys_tick<N: Net>(&mut self, servers: &mut Servers<N>) {
        for id in self.surveys.clone() {
            let Work::Survey(survey) = &self.transactions[id].work else {
                continue;
            };
            if survey.until_ms <= servers.cx.now.ms() {
                self.end_survey(servers, id);
            } else {
                servers.cx.timers.set(Timer::Survey, survey.until_ms);
            }
        }
    }
}
