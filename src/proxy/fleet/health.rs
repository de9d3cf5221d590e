//! Going down, being looked for, and coming back.

use crate::protocol::reply::Fault;
use crate::protocol::request::Request;
use crate::protocol::server::answer::{Garbage, Response, Status};
use crate::protocol::server::question::Question;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::heirs::How;
use crate::proxy::fleet::ledger::{Event, Lacking, Range, Rid};
use crate::proxy::fleet::server::{Away, Cause, Health, Known, Own, PROBE_PAUSE_MAX_MS, PROBE_PAUSE_MIN_MS, Rejoining};
use crate::proxy::fleet::silence::Silent;
use crate::proxy::handoff::Handoff;
use crate::proxy::net::{Level, Net};
use crate::proxy::permit::PastGate;
use crate::proxy::servers::Servers;
use crate::proxy::settings::Settings;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::{Leg, Purpose};
use crate::proxy::upstream::message::Message;
use crate::words::Reason;
use std::fmt;
use std::io::{self, ErrorKind};

/// How long a server that answers on a new connection is waited for to answer on the old one, before that is given up. A
/// server that wakes up gets to all its connections within moments.
const DRAIN_MAX_MS: u64 = 2000;
/// After so long without an answer a server's items are taken to be lost.
const GIVEN_UP_MS: u64 = 10_000;
/// How often a server that returns looks whether its partners have answered.
const COMPARE_PAUSE_MS: u64 = 2;
/// How often a retired server is looked at until it is drained.
const DRAIN_PAUSE_MS: u64 = 20;

impl<N: Net> Servers<N> {
    /// A server cannot be used any more, for the reason given: its link is closed, and all that waited on it fails over
    /// at once.
    pub fn server_down(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        if !self.leaves(index, How::Broken, &reason.to_string()) {
            self.is_lost(index, reason);
        }
    }

    /// The same where others need not be told first, or have been.
    pub fn is_lost(&mut self, index: usize, reason: fmt::Arguments<'_>) {
        let cut_off = self.upstream.close(&mut self.cx.net, index);
        self.fleet.ledger.record(Event::Down {
            server: index,
            drains: false,
        });
        self.mark_down(index, cut_off, Cause::Server, reason);
    }

    /// A link could not be opened. Where magent itself lacks what that takes, the server is out of its reach all the same:
    /// it misses writes, and must not be read from before they are made up for. But it has not failed, and it is looked
    /// for again soon, however long that goes on.
    pub fn link_refused(&mut self, index: usize, error: &io::Error) {
        let reason = Reason(error);
        if error.kind() != ErrorKind::QuotaExceeded {
            self.server_down(index, format_args!("cannot connect: {reason}"));
            return self.note_gone(index, error);
        }
        let cut_off = self.upstream.close(&mut self.cx.net, index);
        self.fleet.ledger.record(Event::Down {
            server: index,
            drains: false,
        });
        self.mark_down(
            index,
            cut_off,
            Cause::Magent,
            format_args!("magent cannot open a connection: {reason}"),
        );
    }

    /// Where nobody listens any more the process of a server that is down has ended, and what it held is lost.
    pub fn note_gone(&mut self, index: usize, error: &io::Error) {
        let nobody_listens = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
        if nobody_listens {
            if self.is_gone(index) {
                self.let_go();
            }
            self.fleet.ledger.record(Event::Gone(index));
        }
    }

    pub fn mark_down(&mut self, index: usize, cut_off: usize, cause: Cause, reason: fmt::Arguments<'_>) {
        // What it misses of this magent's it is rid of by name.
        let are_others = self.fleet.others.count(self.cx.now.ms()) > 0;
        let server = &mut self.fleet.servers[index];
        if are_others {
            server.own = Own::Doubtful;
        }
        let away = match server.health {
            Health::Down { .. } | Health::Retired => return,
            Health::Up => {
                server.counters.failures += u64::from(cause == Cause::Server);
                let name = &server.name;
                self.cx.log.say(
                    Level::Warning,
                    format_args!("server {name} is down: {reason}; requests failed over: {cut_off}"),
                );
                let is_uneven = !self.fleet.ledger.account(index).lacks_nothing_more();
                server.contact.is_lost(is_uneven);
                Away {
                    since_ms: self.cx.now.ms(),
                    pause_ms: PROBE_PAUSE_MIN_MS,
                    tag: server.tag,
                }
            }
            Health::Rejoining { away, .. } => Away {
                pause_ms: match cause {
                    Cause::Server => (2 * away.pause_ms).min(PROBE_PAUSE_MAX_MS),
                    Cause::Magent => PROBE_PAUSE_MIN_MS,
                },
                ..away
            },
        };
        let probe_at_ms = self.cx.now.ms() + away.pause_ms + self.fleet.others.out_of_step_ms(away.pause_ms);
        self.fleet.servers[index].health = Health::Down {
            cause,
            probe_at_ms,
            away,
        };
        self.cx.timers.set(Timer::Probe, probe_at_ms);
        self.cx.hand_on(Handoff::BreakOff(index, "server is down"));
        self.post_soon();
        self.is_not_told(index);
        self.end_start();
    }

    /// Begins a link with a question that every memcached answers at once, and that tells which life it is in.
    /// On a link that is open already it is in the life that it was in.
    pub fn look_for(&mut self, index: usize) {
        if !self.upstream.is_linked(index) {
            self.fleet.ledger.record(Event::Asked(index));
        }
        self.ask_for_life(index);
    }

    /// Asks a server which life it is in; one that does not answer is down.
    pub fn ask_for_life(&mut self, index: usize) {
        self.ask(index, Purpose::Probe, 0, Request::new(Verb::Stats, b""));
    }

    pub fn probe_answered(&mut self, index: usize, leg: &Leg, status: Status) -> Result<(), Garbage> {
        if status != Status::End {
            return Err(Garbage); // too many connections, or no memcached at all
        }
        let reborn = self.introduced(index, leg.sent_ms);
        self.end_start();
        self.read_board(index);
        self.cx.hand_on(Handoff::Lacking);
        let until_ms = self.cx.now.ms() + DRAIN_MAX_MS;
        if reborn && self.fleet.is_up(index) {
            let name = &self.fleet.servers[index].name;
            self.cx.log.say(
                Level::Warning,
                format_args!("server {name} was restarted, and is empty"),
            );
        }
        if reborn {
            self.give_up_quarantine(index); // nobody is left who could run what was delivered
        }
        if self.upstream.take_may_still_run(index) && !reborn {
            self.look_again(index);
            return Ok(());
        }
        if let Health::Rejoining { step, .. } = &mut self.fleet.servers[index].health {
            *step = Rejoining::Draining { until_ms };
            if self.upstream.is_in_quarantine(index) {
                self.cx.timers.set(Timer::Drain, until_ms);
            } else {
                self.rejoin(index);
            }
        }
        Ok(())
    }

    /// Puts off the return of a server to the next answer.
    fn look_again(&mut self, index: usize) {
        let health = &mut self.fleet.servers[index].health;
        if let Health::Rejoining { away, .. } = *health {
            let probe_at_ms = self.cx.now.ms() + PROBE_PAUSE_MIN_MS;
            *health = Health::Down {
                cause: Cause::Server,
                probe_at_ms,
                away,
            };
            self.cx.timers.set(Timer::Probe, probe_at_ms);
        }
    }

    /// A server is there again. What it missed is deleted on it before anybody reads from it: the deletions go out on
    /// the link that clients' commands use, so order does the rest. Where it was parted from the partner, nothing is: each key is made
    /// what was written last (`parted`), and is read from the partner until then.
    pub fn rejoin(&mut self, index: usize) {
        if self.waits_for_board(index) || self.waits_for_partners(index) {
            return;
        }
        self.watch_what_was_under_way(index);
        let removed = match self.fleet.rid(index) {
            Rid::TooMany if self.fleet.was_parted_from_all(index) => {
                self.suspect_what_is_parted(index);
                0
            }
            Rid::TooMany | Rid::Everything => {
                self.delayed_flush_forgotten(index);
                self.forget_all(&PastGate::Returning, index);
                let name = &self.fleet.servers[index].name;
                self.cx.log.say(
                    Level::Notice,
                    format_args!("server {name} answers again; it is flushed, because it may hold what is old"),
                );
                0
            }
            Rid::Keys(keys) => {
                let (evened_out, removed): (Vec<_>, Vec<_>) =
                    keys.iter().partition(|key| self.fleet.was_parted(index, key));
                for key in &removed {
                    let removal = Request::new(Verb::Delete, key);
                    self.change(&PastGate::Returning, index, Purpose::Forget, 0, Message::from(&removal));
                }
                self.tell_parted(index, Some(evened_out.len()));
                removed.len()
            }
        };
        self.settle_later(index);
        let server = &mut self.fleet.servers[index];
        if let Health::Rejoining { away, .. } = server.health {
            let (name, away_ms) = (&server.name, self.cx.now.ms() - away.since_ms);
            let (s, ms) = (away_ms / 1000, away_ms % 1000);
            let lost_memory = away.tag != 0 && away.tag != server.tag;
            let kept = if lost_memory || self.fleet.ledger.account(index).lacks_more_than_keys() {
                "may lack items"
            } else {
                "kept its items"
            };
            self.cx.log.say(
                Level::Notice,
                format_args!(
                    "server {name} is up again after {s}.{ms:03} s and {kept}; keys written without it and removed from it: {removed}"
                ),
            );
            self.fleet.returned(index, self.cx.now.ms());
            self.post_soon();
        }
    }

    /// Whether a partner that is taken to be up, and may have done what this server missed, has left unanswered what it was
    /// asked before, or now: whether it is there. It may be gone as well: then this server's copy is the one that is left (R2, R13).
    fn waits_for_partners(&mut self, index: usize) -> bool {
        let now_ms = self.cx.now.ms();
        let Health::Rejoining { step, .. } = &mut self.fleet.servers[index].health else {
            return false;
        };
        let (asked_ms, begins) = match *step {
            Rejoining::Comparing { asked_ms } => (asked_ms, false),
            _ => (now_ms, true),
        };
        *step = Rejoining::Comparing { asked_ms };
        if begins {
            if !self.fleet.ledger.waits_for_partners(index) {
                return false;
            }
            for partner in self.fleet.partners(index) {
                if self.fleet.is_up(partner) {
                    self.ask_for_life(partner);
                }
            }
        }
        let silent = |&partner: &usize| self.fleet.is_up(partner) && self.upstream.is_asked_before(partner, asked_ms);
        let waits = self.upstream.has_lost() || self.fleet.partners(index).iter().any(silent);
        if waits {
            self.cx.timers.set(Timer::Compare, now_ms + COMPARE_PAUSE_MS);
        }
        waits
    }

    /// A removal of what was missed is done.
    pub fn forget_answered(&mut self, index: usize, leg: &Leg, status: Status) -> Result<(), Garbage> {
        if status == Status::Error {
            self.forget_lost(index, leg);
            return Err(Garbage); // it cannot be told to forget, so it cannot be used
        }
        Ok(())
    }

    /// A removal did not come through: it is to be done when the server returns once more.
    pub fn forget_lost(&mut self, index: usize, leg: &Leg) {
        self.fleet.ledger.record(match leg.sent.asked.question {
            Question::Delete => Event::NotRid {
                server: index,
                key: leg.sent.key(),
                delivered: leg.delivered,
            },
            _ => Event::FlushMissed(index),
        });
    }

    /// A leg of the fleet's own has been answered, or one that nobody waits for any more.
    pub fn answered(&mut self, index: usize, leg: &Leg, response: &Response<'_>) -> Result<(), Garbage> {
        match leg.purpose {
            Purpose::Probe => return self.probe_answered(index, leg, response.status),
            Purpose::Forget => return self.forget_answered(index, leg, response.status),
            Purpose::GivenUp { fails_over } => {
                // What a failure of its own has left behind is not known.
                if response.fault == Fault::Server {
                    self.fleet.ledger.record(Event::NotDrained(index));
                }
                let contact = &mut self.fleet.servers[index].contact;
                contact.answered_late(leg.sent.key(), response.status, response.unique);
                if fails_over {
                    self.fleet.ledger.record(Event::Ran {
                        server: index,
                        key: leg.sent.key(),
                        stored: response.status == Status::Stored,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A leg of the fleet's own was cut off.
    pub fn lost(&mut self, index: usize, leg: &Leg) {
        match leg.purpose {
            // What was said so far is not to be completed by another answer.
            Purpose::Probe => self.fleet.servers[index].introduction = Default::default(),
            Purpose::Forget => self.forget_lost(index, leg),
            _ => {}
        }
    }

    /// Does what is due of all servers, of which some are silent.
    pub fn tick(&mut self, silent: Silent) {
        for (server, after_ms) in silent {
            self.server_silent(server, after_ms);
        }
        for index in 0..self.fleet.servers.len() {
            self.server_tick(index);
        }
        self.journal_tick();
    }

    /// Does what is due of one server: looking for it, no longer waiting for it, or letting it count as settled.
    fn server_tick(&mut self, index: usize) {
        let now_ms = self.cx.now.ms();
        match self.fleet.servers[index].health {
            Health::Down { probe_at_ms, away, .. } if probe_at_ms <= now_ms => {
                self.fleet.servers[index].health = Health::Rejoining {
                    step: Rejoining::Probing,
                    away,
                };
                self.want_name(index, away.since_ms);
                self.look_for(index);
            }
            Health::Down {
                cause,
                probe_at_ms,
                away,
            } => {
                // Where nobody has answered for so long, nobody waits for what it may still hold.
                if cause == Cause::Server && away.since_ms + GIVEN_UP_MS <= now_ms {
                    self.fleet.ledger.record(Event::Gone(index));
                }
                self.cx.timers.set(Timer::Probe, probe_at_ms);
            }
            Health::Retired => self.drain(index),
            Health::Rejoining {
                step: Rejoining::Draining { until_ms },
                ..
            } if until_ms <= now_ms => {
                self.give_up_quarantine(index);
                self.upstream.note_may_still_run(index);
                self.look_again(index);
            }
            Health::Rejoining {
                step: Rejoining::Draining { until_ms },
                ..
            } => self.cx.timers.set(Timer::Drain, until_ms),
            Health::Rejoining {
                step: Rejoining::Reading(_) | Rejoining::Comparing { .. },
                ..
            } => self.rejoin(index),
            Health::Up | Health::Rejoining { .. } => {}
        }
        if self.fleet.ledger.account(index).is_settling() {
            match self.fleet.servers[index].settles_ms {
                settles_ms if settles_ms <= now_ms => self.settled(index),
                settles_ms => self.cx.timers.set(Timer::Settle, settles_ms),
            }
        }
    }

    /// Closes the link of a retired server once nobody waits on it.
    fn drain(&mut self, index: usize) {
        self.give_up_quarantine(index);
        if !self.upstream.close_if_idle(&mut self.cx.net, index) {
            self.cx.timers.set(Timer::Retire, self.cx.now.ms() + DRAIN_PAUSE_MS);
        }
    }

    /// Looks for all servers, so that those that are not there are known before anybody asks for them.
    pub fn start(&mut self) {
        for server in 0..self.fleet.servers.len() {
            self.look_for(server);
        }
    }

    /// Works by new settings from here on. Servers that are in both keep their links; a new server takes its keys at once,
    /// a removed one is drained.
    pub fn reconfigure(&mut self, settings: Settings) {
        let changes = self.fleet.reconfigure(&settings);
        self.upstream.reach(self.fleet.servers.len());
        self.learn_dialect();
        self.cx.settings = settings;
        for index in changes.added {
            self.is_named(index);
        }
        for server in &mut self.fleet.servers {
            server.list_again();
        }
        self.fleet.ledger.record(Event::MayList);
        for (index, partner) in changes.gained {
            let gained = self.fleet.keys_gained(index, &changes.before);
            self.fleet.servers[index].own = Own::Doubtful;
            self.fleet.ledger.record(Event::Lacks {
                server: index,
                from: partner,
                what: Lacking::Suspect,
                of: Range::Some(vec![gained]),
            });
            self.settle_later(index);
        }
        self.cx.timers.set(Timer::Retire, self.cx.now.ms());
        self.cx.hand_on(Handoff::Lacking);
        self.write_journal_anew();
    }

    /// The settings name a server for the first time, or again.
    fn is_named(&mut self, index: usize) {
        let server = &mut self.fleet.servers[index];
        if server.life == Known::Nothing {
            server.life = Known::Newcomer;
        }
        // It was one of ours and has missed all that was written since.
        let was_retired = server.health == Health::Retired;
        if was_retired {
            server.health = Health::Rejoining {
                step: Rejoining::Probing,
                away: Away {
                    since_ms: self.cx.now.ms(),
                    pause_ms: PROBE_PAUSE_MIN_MS,
                    tag: 0,
                },
            };
        }
        self.look_for(index);
        if was_retired {
            // Behind that question, so that its keys need not wait for the answer.
            self.rejoin(index);
        }
    }
}
