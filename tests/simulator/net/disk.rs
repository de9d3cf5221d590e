//! A magent's disk, where it writes down what servers miss. At times it is full.

use crate::pipe::Us;
use magent::proxy::control::Journal;
use magent::proxy::net::Writing;
use std::collections::VecDeque;
use std::ops::Range;

/// How long it takes at most until a magent is told what has become of what it wrote.
const TOLD_MAX_US: Us = 30_000;

/// How long others fill a disk, and how long they do not.
const CONTENDED_US: Us = 5_000;

#[derive(Default)]
pub struct Disk {
    /// What is written there; nothing if there is no journal.
    pub text: Vec<u8>,
    /// When nothing can be written; of that time others take away now and then what fills it, if they do.
    pub full: Range<Us>,
    pub is_contended: bool,
    begun: u64,
    told: VecDeque<(Us, Journal)>,
}

impl Disk {
    /// As the process's thread does it: what cannot be written whole is removed. Returns when something is told of it.
    pub fn write(&mut self, what: Writing, now: Us) -> Option<Us> {
        let has_room = self.is_contended && now / CONTENDED_US % 2 == 0;
        let is_full = self.full.contains(&now) && !has_room;
        self.begun += u64::from(matches!(what, Writing::Anew(_)));
        let told = match what {
            Writing::More(_) if self.text.is_empty() => return None,
            Writing::More(_) | Writing::Anew(_) if is_full => {
                self.text.clear();
                Journal::Failed {
                    begun: self.begun,
                    reason: "no space left".to_owned(),
                }
            }
            Writing::More(text) => {
                self.text.extend_from_slice(&text);
                return None;
            }
            Writing::Anew(text) => {
                self.text = text;
                Journal::Written
            }
        };
        let last = self.told.back().map_or(0, |&(time, _)| time);
        let time = (now + 1 + now % TOLD_MAX_US).max(last);
        self.told.push_back((time, told));
        Some(time)
    }

    /// What a magent is told by now.
    pub fn tell(&mut self, now: Us) -> Option<Journal> {
        self.told.front().filter(|&&(time, _)| time <= now)?;
        self.told.pop_front().map(|(_, told)| told)
    }

    /// Its magent has died, and is told nothing more.
    pub fn forget(&mut self) {
        (self.begun, self.told) = (0, VecDeque::new());
    }
}
