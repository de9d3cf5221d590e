//! What the ledger is compared with: it keeps all there was, every write that was ever missed, one by one, and everything that was
//! ever said to be lacking, and works out what to believe from that.

use super::super::*;

pub const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

/// A write that a server missed, and when it last became something else.
#[derive(Clone, Debug)]
pub struct Note {
    pub server: usize,
    pub key: usize,
    pub write: Number,
    pub delivered: bool,
    pub ack: Ack,
    /// Made up for, or of a time before the server returned.
    pub over: bool,
}

impl Note {
    /// Whether the server has run it, or will, and is left with what its partner has.
    pub fn is_run_alike(&self) -> bool {
        self.delivered && (self.ack.alike || self.ack.fate != Fate::Acked)
    }
}

/// What was said to be lacking, of one server from the other, in the order in which it was said.
#[derive(Clone, Debug)]
pub enum Said {
    Lacks(usize),
    Has(usize),
    All(fn() -> Lacking),
    Filled(fn() -> Lacking),
    /// Nothing any more: what the partner had is lost.
    Forgotten,
}

#[derive(Default)]
pub struct Model {
    pub notes: Vec<Note>,
    /// By server and key: whether its partner, and it, have stored what failed over.
    pub verdicts: [[(Option<bool>, Option<bool>); 3]; 2],
    pub said: [Vec<Said>; 2],
    pub away: [bool; 2],
    pub drained: [bool; 2],
    pub gone: [bool; 2],
    pub confirmed: [bool; 2],
    pub settling: [bool; 2],
    pub returned: [Number; 2],
    pub broken: [u32; 2],
}

impl Model {
    pub fn notes(&self, server: usize, key: usize) -> impl Iterator<Item = &Note> {
        let of_it = move |note: &&Note| note.server == server && note.key == key && !note.over;
        self.notes.iter().filter(of_it)
    }

    pub fn note(&mut self, server: usize, key: usize, write: Number, delivered: bool, ack: Ack) {
        let note = Note {
            server,
            key,
            write,
            delivered,
            ack,
            over: false,
        };
        self.make_up_for(&note);
        self.notes.push(note);
    }

    /// What was not delivered before one that was, and leaves nothing of what was there, does not matter any more.
    fn make_up_for(&mut self, whole: &Note) {
        let is_whole = whole.ack.whole && whole.ack.fate == Fate::Acked && whole.is_run_alike();
        let is_behind = |note: &Note| note.ack.fate == Fate::Acked && !note.is_run_alike() && note.write > whole.write;
        if !is_whole || self.notes(whole.server, whole.key).any(is_behind) {
            return;
        }
        for note in &mut self.notes {
            let same = note.server == whole.server && note.key == whole.key;
            note.over |= same && !note.is_run_alike() && note.ack.fate != Fate::InDoubt;
        }
    }

    pub fn settle(&mut self, server: usize, key: usize, write: Number, delivered: bool, ack: Ack) -> bool {
        let of_class = |note: &Note| match delivered {
            true => note.is_run_alike(),
            false => !note.is_run_alike(),
        };
        if !self.notes(server, key).any(of_class) {
            return false;
        }
        let in_doubt = self.notes.iter_mut().find(|note| {
            let same = note.server == server && note.key == key && !note.over;
            same && note.delivered == delivered && note.ack.fate == Fate::InDoubt
        });
        if let Some(note) = in_doubt {
            note.over = true;
        }
        self.note(server, key, write, delivered, ack);
        true
    }

    /// A write that was in doubt was none.
    pub fn take_back(&mut self, server: usize, key: usize, delivered: bool) {
        let in_doubt = self.notes.iter_mut().find(|note| {
            let same = note.server == server && note.key == key && !note.over;
            same && note.delivered == delivered && note.ack.fate == Fate::InDoubt
        });
        if let Some(note) = in_doubt {
            note.over = true;
        }
        if self.notes(server, key).next().is_none() {
            self.verdicts[server][key] = Default::default();
        }
    }

    /// All that the partner was asked is acknowledged; what it was never asked, and this server has run, is not.
    pub fn settle_all(&mut self, server: usize, key: usize, number: Number) {
        let never_asked = |note: &Note| note.is_run_alike() && note.ack.fate == Fate::Unacked;
        let known: Vec<bool> = self.notes(server, key).map(Note::is_run_alike).collect();
        for note in &mut self.notes {
            let same = note.server == server && note.key == key;
            note.over |= same && !never_asked(note);
        }
        for delivered in [true, false] {
            if known.contains(&delivered) {
                self.note(server, key, number, delivered, Ack::ACKED);
            }
        }
    }

    pub fn lacking(&self, server: usize) -> Option<Lacking> {
        let mut lacking = None;
        for said in &self.said[server] {
            lacking = match (lacking, said) {
                (_, Said::Forgotten) => None,
                (None, Said::Has(_) | Said::Filled(_)) => None,
                (None, Said::Lacks(key)) => Some(keys_of([*key])),
                (Some(Lacking::Keys(keys)), Said::Lacks(key)) => Some(keys_of(numbers(&keys).chain([*key]))),
                (Some(Lacking::Keys(keys)), Said::Has(key)) => Some(keys_of(numbers(&keys).filter(|k| k != key))),
                (Some(Lacking::Unverified { .. }), Said::Lacks(_)) => Some(Lacking::Everything),
                (lacking, Said::Lacks(_) | Said::Has(_)) => lacking,
                (Some(Lacking::Suspect), Said::All(all)) if all() == Lacking::Everything => Some(Lacking::Suspect),
                (_, Said::All(all) | Said::Filled(all)) => Some(all()),
            };
        }
        lacking
    }

    pub fn lacks(&self, server: usize, key: usize) -> u8 {
        match self.lacking(server) {
            None => 0,
            Some(Lacking::Keys(keys)) => 2 * u8::from(keys.contains(KEYS[key])),
            Some(_) => 1,
        }
    }

    pub fn believe(&self, key: usize) -> Belief {
        let rank = |server: usize| {
            let doubt = match (self.confirmed[server], self.settling[server]) {
                (false, _) => 2,
                (true, settling) => u8::from(settling),
            };
            (self.lacks(server, key), doubt)
        };
        match self.away {
            [true, true] => Belief::Unknown(0),
            [false, false] if rank(0) < rank(1) => Belief::One(0),
            [false, false] if rank(0) > rank(1) => Belief::One(1),
            [false, false] => Belief::Either,
            [one_away, _] => {
                let here = usize::from(one_away);
                let filled = self.lacking(here) == Some(Lacking::Unverified { complete: true });
                match filled || self.lacks(here, key) == 0 || self.gone[1 - here] {
                    true => Belief::One(here),
                    false => Belief::Unknown(1 - here),
                }
            }
        }
    }

    /// Whether what a server has run, with what its partner acknowledged, leaves it with the truth; None if nothing was missed.
    fn fate(&self, server: usize, key: usize, drained: bool) -> Option<Fate> {
        let worst = self.notes(server, key).map(|note| note.ack.fate).max();
        let acked_delivered = |note: &Note| note.is_run_alike() && note.ack.fate == Fate::Acked;
        let parted = matches!(self.verdicts[server][key], (Some(there), Some(here)) if there != here);
        if !drained {
            return worst;
        }
        if parted {
            return Some(Fate::Acked);
        }
        if !self.notes(server, key).any(acked_delivered) {
            return worst;
        }
        let not_run = self.notes(server, key).filter(|note| !note.is_run_alike());
        let not_run = not_run.map(|note| note.ack.fate).max();
        let alone_has = |note: &Note| note.is_run_alike() && note.ack.fate != Fate::Acked;
        let more = self.notes(server, key).any(alone_has).then_some(Fate::Unacked);
        not_run.max(more)
    }

    pub fn returns(&mut self, server: usize, number: Number) -> Vec<usize> {
        let partner = 1 - server;
        let mut rid = Vec::new();
        for key in 0..KEYS.len() {
            if self.notes(server, key).next().is_none() {
                continue;
            }
            let filled = |server: usize| self.lacking(server) == Some(Lacking::Unverified { complete: true });
            let speaks = !self.away[partner] && (self.lacks(partner, key) == 0 || filled(partner));
            let fate = self.fate(server, key, !speaks && self.drained[server]);
            let whole = match (fate, self.lacking(server)) {
                (None, lacking) => lacking != Some(Lacking::Suspect),
                (Some(_), Some(Lacking::Unverified { .. })) => true,
                (Some(_), _) => self.lacks(server, key) == 0,
            };
            let truth = fate.is_none() || fate != Some(Fate::Acked) && !speaks;
            match truth && whole {
                true if fate.is_some() && self.away[partner] => self.note(partner, key, number, false, Ack::ACKED),
                true => {}
                false => {
                    self.has(partner, key);
                    rid.push(key);
                }
            }
        }
        for &key in &rid {
            self.said[server].push(Said::Lacks(key));
        }
        for note in self.notes.iter_mut().filter(|note| note.server == server) {
            note.over = true;
        }
        self.verdicts[server] = Default::default();
        rid
    }

    /// A server has, or its partner has no more, what it lacked. Once it has settled nothing is nothing.
    fn has(&mut self, server: usize, key: usize) {
        self.said[server].push(Said::Has(key));
        self.forget_if_over(server);
    }

    pub fn forget_if_over(&mut self, server: usize) {
        if !self.settling[server] && self.lacking(server).is_some_and(|lacking| lacking.is_over()) {
            self.said[server].push(Said::Forgotten);
        }
    }

    pub fn is_up_again(&mut self, server: usize, number: Number) {
        let partner = 1 - server;
        for key in 0..KEYS.len() {
            let open = self.notes(partner, key).any(|note| note.ack.fate != Fate::Acked);
            if open && self.lacks(server, key) == 0 {
                self.note(partner, key, number, false, Ack::ACKED);
            }
        }
        self.away[server] = false;
        self.returned[server] = number;
    }
}

fn keys_of(keys: impl IntoIterator<Item = usize>) -> Lacking {
    let mut set = lacking::KeySet::default();
    keys.into_iter().for_each(|key| set.insert(KEYS[key].into()));
    Lacking::Keys(set)
}

fn numbers(keys: &lacking::KeySet) -> impl Iterator<Item = usize> {
    keys.iter()
        .map(|key| KEYS.iter().position(|known| *known == key).unwrap())
}
