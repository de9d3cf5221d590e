//! The other magents, as far as this one knows of them, and what it has told them of itself; see `board` and `posting`.

use crate::proxy::fleet::board::Board;
use crate::proxy::settings::Settings;
use std::collections::BTreeSet;

/// What others say of a server that they are without holds for so long: boards are read ten times a second.
pub const SAID_MS: u64 = 400;
/// So long after they have found it again they may still have to remove from it what it missed.
pub const FOUND_MS: u64 = 2000;
/// They are waited for no longer: who cannot reach a server for good is not to keep it from being copied from.
const MISSED_MAX_MS: u64 = 10_000;

/// That others are without a server, or were a moment ago.
struct Missed {
    server: usize,
    since_ms: u64,
    said_ms: u64,
}

pub struct Others {
    pub board: Board,
    /// When the boards are to be read; None if nobody else is to be found.
    pub due_ms: Option<u64>,
    /// Servers on whose boards this magent has written its line since it was started.
    pub on: BTreeSet<usize>,
    /// Those of them whose boards have been read since then, with the numbers of all servers known, by which boards name them.
    pub understood: BTreeSet<usize>,
    /// Others have read that by then.
    pub noticed_ms: u64,
    /// Some have been found. Behind a cut they are there, though they are not heard.
    were_found: bool,
    /// There are some, or it is not known whether there are any.
    may_be_there: bool,
    /// Servers that others are without.
    missed: Vec<Missed>,
    /// What pauses are made different by from those of others; never 0.
    step: u64,
}

impl Others {
    /// `identity`: a number that no other magent has.
    pub fn new(identity: u64, settings: &Settings) -> Self {
        let mut others = Self {
            board: Board::new(identity),
            due_ms: None,
            on: BTreeSet::new(),
            understood: BTreeSet::new(),
            noticed_ms: 0,
            were_found: false,
            may_be_there: false,
            missed: Vec::new(),
            step: identity | 1,
        };
        others.reconfigure(settings);
        others
    }

    /// By new settings they are to be found, or not.
    pub fn reconfigure(&mut self, settings: &Settings) {
        let finds = settings.board && !settings.backups.is_empty();
        if finds != self.due_ms.is_some() {
            self.due_ms = finds.then_some(0);
            self.may_be_there = finds;
        }
    }

    /// Notes whether there are others. As long as no board has been read there may be; and those that were found are there as long as a
    /// server is away, or says nothing, for it may be that they can only be reached by way of that.
    pub fn note(&mut self, now_ms: u64, is_any_away: bool) {
        let are_heard = self.board.others(now_ms) > 0;
        self.were_found = are_heard || self.were_found && is_any_away;
        self.may_be_there = self.due_ms.is_some() && (!self.board.was_read() || self.were_found);
    }

    /// A board says that others are without a server, or were until a moment ago. Returns whether that is news.
    pub fn miss(&mut self, server: usize, now_ms: u64) -> bool {
        match self.missed.iter_mut().find(|missed| missed.server == server) {
            Some(missed) => {
                missed.said_ms = now_ms;
                false
            }
            None => {
                self.missed.push(Missed {
                    server,
                    since_ms: now_ms,
                    said_ms: now_ms,
                });
                true
            }
        }
    }

    /// Forgets what others have not said again. Returns whether there was anything, or a server is not waited for any more.
    pub fn forget_missed(&mut self, now_ms: u64) -> bool {
        let before = self.missed.len();
        self.missed.retain(|missed| now_ms < missed.said_ms + SAID_MS);
        let is_over = |missed: &Missed| missed.since_ms + MISSED_MAX_MS <= now_ms;
        self.missed.len() < before || self.missed.iter().any(is_over)
    }

    /// Whether others are without a server.
    pub fn are_missing(&self, server: usize, now_ms: u64) -> bool {
        let is_it = |missed: &&Missed| missed.server == server;
        let missed = self.missed.iter().find(is_it);
        missed.is_some_and(|missed| now_ms < missed.since_ms + MISSED_MAX_MS)
    }

    /// Whether others are without this server, as far as is known, and not without its partner.
    #[inline]
    pub fn say_they_miss(&self, server: usize, partner: usize) -> bool {
        let is_missed = |server| self.missed.iter().any(|missed| missed.server == server);
        !self.missed.is_empty() && is_missed(server) && !is_missed(partner)
    }

    /// By how much a pause is to be longer, up to a quarter of it, so that several magents that lost a server together do not all come
    /// back to it in the same moment.
    pub fn out_of_step_ms(&mut self, pause_ms: u64) -> u64 {
        if self.due_ms.is_none() {
            return 0;
        }
        // Marsaglia's xorshift64, from a number that no other magent has.
        self.step ^= self.step << 13;
        self.step ^= self.step >> 7;
        self.step ^= self.step << 17;
        self.step % (pause_ms / 4 + 1)
    }

    /// How many there are.
    pub fn count(&self, now_ms: u64) -> usize {
        self.board.others(now_ms)
    }

    /// Whether other magents use the same servers, or may.
    #[inline]
    pub fn are_there(&self) -> bool {
        self.may_be_there
    }
}
