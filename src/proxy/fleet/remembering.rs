//! Writing down what servers miss, and beginning with what another magent has written down; see [`journal`](super::journal).
//!
//! The journal has the keys of which a server missed a write that its partner has acknowledged, until it has been given them; what nobody
//! has acknowledged no client relies on. Where the keys are too many, or it was emptied, it says so in one line. It is written anew where
//! servers are named or forgotten, where nothing is missing any more, and where it has grown to several times what there is to say.
//!
//! A magent that begins with it treats a server of which something stands there as one that was away and returns: it is rid of those keys, or
//! is made like its partner, before anybody reads from it. One of which the journal says that it has all is not suspect
//! (see `past`), though it may be away just then. And one that is in the life which stands there has all that it had; in another one it has been
//! started anew, as if this magent had been there.

use crate::proxy::fleet::introduction::Life;
use crate::proxy::fleet::journal::{Journal, Line, Memory, Remembered};
use crate::proxy::fleet::ledger::news::Lost;
use crate::proxy::fleet::ledger::{Ack, Event, Lacking, Range};
use crate::proxy::fleet::server::{Away, Health, Known, Own, PROBE_PAUSE_MIN_MS, Rejoining, Server};
use crate::proxy::net::{Level, Net, Writing};
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;

/// It is written anew when it has this many bytes more than when it last was, and twice as many.
const GROWTH_MIN_BYTES: usize = 256 << 10;
/// After it could not be written, the next try is no sooner.
const AGAIN_MS: u64 = 10_000;

impl<N: Net> Servers<N> {
    /// Begins a journal, with what is remembered from before. To be called before the servers are looked for.
    pub fn keep_journal(&mut self, remembered: &Remembered, boot: String) {
        self.fleet.ledger.keep_news();
        self.fleet.journal = Some(Journal {
            boot,
            ..Journal::default()
        });
        self.remember(remembered);
        self.write_journal_anew();
    }

    /// Takes over what another magent has written down.
    pub fn remember(&mut self, remembered: &Remembered) {
        let find = |name: &str| {
            let mut servers = self.fleet.servers.iter();
            servers.position(|server| server.name.to_string() == name)
        };
        let known: Vec<(usize, &Memory)> = remembered
            .servers
            .iter()
            .filter_map(|memory| Some((find(&memory.name)?, memory)))
            .collect();
        let is_filled = |index: usize| known.iter().any(|&(other, memory)| other == index && memory.fill);
        for &(index, memory) in &known {
            // Of two of which each may lack what the other has, their ages tell, which are looked at where a server is seen first (R62).
            let is_weighed = memory.fill && self.fleet.partners(index).into_iter().any(is_filled);
            let server = &mut self.fleet.servers[index];
            server.is_remembered = memory.is_all;
            if let (true, Some(life), Known::Nothing) = (memory.is_all && !is_weighed, memory.life, server.life) {
                server.life = Known::Life(life);
            }
            if !memory.keys.is_empty() || memory.fill || memory.anything {
                self.has_missed(index, memory);
            }
        }
        for &(index, memory) in known.iter().filter(|(_, memory)| memory.fill || memory.anything) {
            self.may_lack_anything(index, memory.anything, &known);
        }
    }

    fn has_missed(&mut self, index: usize, memory: &Memory) {
        self.fleet.servers[index].own = Own::Doubtful;
        let reason = "it has missed what another magent wrote";
        match self.fleet.is_up(index) && self.fleet.is_confirmed(index) {
            true => self.is_lost(index, format_args!("{reason}")),
            false if self.fleet.is_up(index) => self.is_away_at_start(index),
            false => {}
        }
        for key in &memory.keys {
            self.fleet.ledger.record(Event::Missed {
                key,
                server: index,
                delivered: false,
                ack: Ack::ACKED,
            });
        }
        let (name, keys) = (&self.fleet.servers[index].name, memory.keys.len());
        let more = if memory.fill || memory.anything {
            ", or more"
        } else {
            ""
        };
        self.cx.log.say(
            Level::Notice,
            format_args!("server {name} has missed writes of {keys} keys{more}, by the journal"),
        );
    }

    /// A server is looked for as one that was away.
    fn is_away_at_start(&mut self, index: usize) {
        let now_ms = self.cx.now.ms();
        let (server, drains) = (index, false);
        self.fleet.ledger.record(Event::Down { server, drains });
        let server = &mut self.fleet.servers[index];
        server.contact.was_lost_before(now_ms);
        server.health = Health::Rejoining {
            step: Rejoining::Probing,
            away: Away {
                since_ms: now_ms,
                pause_ms: PROBE_PAUSE_MIN_MS,
                tag: server.tag,
            },
        };
    }

    /// A server may lack anything, and what it has may be old. It is not made like a partner that lacks some keys as well, which could
    /// take away what is there once: it is given what it does not have. Of two that may lack anything both would be asked first; which of
    /// them is given what the other has, their ages tell, as without a journal. One that may be old is flushed where its partner cannot say
    /// what is (R57).
    fn may_lack_anything(&mut self, index: usize, is_old: bool, known: &[(usize, &Memory)]) {
        for from in self.fleet.partners(index) {
            let partner = known.iter().find(|(other, _)| *other == from).map(|(_, memory)| memory);
            match partner {
                Some(memory) if memory.anything => continue,
                Some(memory) if memory.fill => {
                    if is_old {
                        self.fleet.ledger.record(Event::FlushMissed(index));
                    }
                    continue;
                }
                _ => {}
            }
            let lacks_keys = partner.is_some_and(|memory| !memory.keys.is_empty());
            self.fleet.ledger.record(Event::Lacks {
                server: index,
                from,
                what: match is_old && !lacks_keys {
                    true => Lacking::Suspect,
                    false => Lacking::Everything,
                },
                of: Range::All,
            });
        }
    }

    /// Writes down what has changed since this was last called.
    pub fn write_journal(&mut self) {
        if self.fleet.journal.is_some() {
            self.write_news();
        }
    }

    #[inline(never)]
    fn write_news(&mut self) {
        let news = self.fleet.ledger.take_news();
        let Some(journal) = &mut self.fleet.journal else {
            return;
        };
        let ledger = &self.fleet.ledger;
        if journal.failed_ms.is_some() {
            return; // all of it is written when it can be
        }
        let mut text = Vec::new();
        for (server, became, key) in news {
            journal.tell_key(server, became, &key, &mut text);
        }
        let mut is_less = false;
        for server in 0..journal.told.len() {
            is_less |= journal.tell_lost(server, ledger.lost(server), &mut text);
        }
        for (index, life) in journal.lives.iter_mut().enumerate() {
            let now = life_of(&self.fleet.servers[index]);
            if let (Some((number, _)), Some(now)) = (journal.told[index], now.filter(|_| now != *life)) {
                Line::Life(number, now).write(&mut text);
                *life = Some(now);
            }
        }
        journal.bytes += text.len();
        let nothing = |told: &Option<(usize, Lost)>| told.is_none_or(|(_, told)| told == Lost::Nothing);
        let has_grown = journal.bytes > 2 * journal.bytes_anew + GROWTH_MIN_BYTES;
        if has_grown || is_less || !text.is_empty() && journal.told.iter().all(nothing) {
            self.write_journal_anew();
        } else if !text.is_empty() {
            self.cx.net.write_journal(Writing::More(text));
        }
    }

    /// Writes all of it anew.
    pub fn write_journal_anew(&mut self) {
        self.fleet.ledger.take_news(); // all of it
        let fleet = &self.fleet;
        let numbers = fleet.in_use().into_iter().enumerate();
        let mut told = vec![None; fleet.servers.len()];
        numbers.for_each(|(number, server)| told[server] = Some((number, fleet.ledger.lost(server))));
        let lives = fleet.servers.iter().map(life_of).collect();
        let Some(text) = self.whole_journal() else {
            return;
        };
        if let Some(journal) = &mut self.fleet.journal {
            (journal.told, journal.lives) = (told, lives);
            (journal.bytes, journal.bytes_anew) = (text.len(), text.len());
            journal.failed_ms = None;
            journal.begun += 1;
            self.cx.net.write_journal(Writing::Anew(text));
        }
    }

    /// What the journal is that is begun now; None where none is kept.
    pub fn whole_journal(&self) -> Option<Vec<u8>> {
        let (fleet, journal) = (&self.fleet, self.fleet.journal.as_ref()?);
        let mut text = Vec::new();
        Line::Begin { boot: &journal.boot }.write(&mut text);
        let in_use = fleet.in_use();
        for &server in &in_use {
            Line::Server(&fleet.servers[server].name.to_string()).write(&mut text);
        }
        for (number, &server) in in_use.iter().enumerate() {
            if let Some(life) = life_of(&fleet.servers[server]) {
                Line::Life(number, life).write(&mut text);
            }
            match fleet.ledger.lost(server) {
                Lost::Nothing => {}
                Lost::Much => Line::Anything(number).write(&mut text),
                lost => {
                    if lost == Lost::Fill {
                        Line::Fill(number).write(&mut text);
                    }
                    let keys = fleet.ledger.lacking_keys(server);
                    keys.for_each(|key| Line::Missed(number, key).write(&mut text));
                }
            }
        }
        // Behind what servers lack that are back: of a key of which both is so, this is what was last.
        for (number, &server) in in_use.iter().enumerate() {
            if let Lost::Keys | Lost::Fill = fleet.ledger.lost(server) {
                let keys = fleet.ledger.missed_keys(server);
                keys.for_each(|key| Line::Missed(number, key).write(&mut text));
            }
        }
        Some(text)
    }

    /// Tries again to write a journal that could not be written, if it is time.
    pub fn journal_tick(&mut self) {
        let failed_ms = self.fleet.journal.as_ref().and_then(|journal| journal.failed_ms);
        match failed_ms {
            Some(failed_ms) if failed_ms + AGAIN_MS <= self.cx.now.ms() => self.write_journal_anew(),
            Some(failed_ms) => self.cx.timers.set(Timer::Journal, failed_ms + AGAIN_MS),
            None => {}
        }
    }

    /// magent ends in good order: what stands in the journal is all.
    pub fn end_journal(&mut self) {
        self.write_journal();
        if self
            .fleet
            .journal
            .take()
            .is_some_and(|journal| journal.failed_ms.is_none())
        {
            let mut text = Vec::new();
            Line::End.write(&mut text);
            self.cx.net.write_journal(Writing::More(text));
        }
    }

    /// The journal that was begun anew for the so-manieth time could not be written, for this reason. Of one that has been begun since
    /// it is told what becomes of it.
    pub fn journal_failed(&mut self, begun: u64, reason: &str) {
        let now_ms = self.cx.now.ms();
        let Some(journal) = self.fleet.journal.as_mut().filter(|journal| journal.begun == begun) else {
            return;
        };
        journal.failed_ms = Some(now_ms);
        self.cx.timers.set(Timer::Journal, now_ms + AGAIN_MS);
        if !std::mem::replace(&mut journal.is_failing, true) {
            self.cx.log.say(
                Level::Error,
                format_args!("{reason}; what servers miss is forgotten when magent is killed"),
            );
        }
    }

    /// The journal was written anew.
    pub fn journal_written(&mut self) {
        let journal = self.fleet.journal.as_mut();
        if journal.is_some_and(|journal| std::mem::take(&mut journal.is_failing)) {
            self.cx
                .log
                .say(Level::Notice, format_args!("the journal is written again"));
        }
    }
}

/// The life in which a server is, as far as is known.
fn life_of(server: &Server) -> Option<Life> {
    match server.life {
        Known::Life(life) => Some(life),
        Known::Nothing | Known::Newcomer => None,
    }
}
