//! What of the ledger is to be written down, so that another magent knows what servers have missed; see `fleet::journal`.

use super::{Fate, Lacking, Ledger, Missed};

/// How much is missing of a server, as far as it has to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Nothing,
    /// These keys alone, which are told one by one.
    Keys,
    /// Beside these keys it may lack anything, but what it has is right.
    Fill,
    /// It may lack anything, and what it has may be old.
    Much,
}

/// What is to be written down of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// The server has missed a write of it that its partner has acknowledged, or has been rid of it.
    Missed,
    /// It has been made there what it is on the partner.
    Copied,
}

/// A server, and what has become of a key of it.
pub type News = (usize, Became, Box<[u8]>);

impl Ledger {
    /// Remembers from now on which missed writes are acknowledged, until it is asked.
    pub fn keep_news(&mut self) {
        self.news.get_or_insert_default();
    }

    /// Whether anything has changed since this was last asked.
    #[inline]
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// What has become of keys, in that order. That one was missed is told once for each time that its server is away.
    pub fn take_news(&mut self) -> Vec<News> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes that a write of a key that this server has missed is acknowledged now, if it is.
    pub(super) fn note_news(&mut self, server: usize, key: &[u8]) {
        if let Some(news) = &mut self.news {
            if self.servers[server].missed.is_news(key) {
                news.push((server, Became::Missed, key.into()));
            }
        }
    }

    /// Notes that a server lacks a key of a partner's. That is to be written down though nobody has acknowledged what it missed: it is rid of
    /// what it had before, which may have been (R64). It is not where it is to be filled anyway, nor where the partner has missed what this
    /// one acknowledged: by what is written last the partner would have it.
    pub(super) fn tell_lacking(&mut self, server: usize, from: usize, key: &[u8]) {
        let lack = self.servers[server].lack(from);
        let is_one_of_some = lack.is_some_and(|lack| matches!(&lack.what, Lacking::Keys(keys) if keys.contains(key)));
        let Some(news) = self.news.as_mut().filter(|_| is_one_of_some) else {
            return;
        };
        let missed = self.servers[from].missed.of(key);
        if missed.is_none_or(|writes| writes.fate() != Some(Fate::Acked)) {
            news.push((server, Became::Missed, key.into()));
        }
    }

    /// Notes that a key that a server lacked has been dealt with.
    pub(super) fn copied(&mut self, server: usize, from: usize, key: &[u8]) {
        self.servers[server].copied(from, key);
        if let Some(news) = &mut self.news {
            news.push((server, Became::Copied, key.into()));
        }
    }

    /// How much is missing of a server.
    pub fn lost(&self, server: usize) -> Lost {
        let account = &self.servers[server];
        match account.missed {
            Missed::TooMany | Missed::Everything => Lost::Much,
            _ if account.lacks.iter().any(|lack| lack.what == Lacking::Suspect) => Lost::Much,
            _ if account.lacks.iter().any(|lack| lack.what.is_to_be_filled()) => Lost::Fill,
            _ if account.is_up() && account.is_whole() => Lost::Nothing,
            _ => Lost::Keys,
        }
    }

    /// Keys that a server, which has been back since, has still to be given.
    pub fn lacking_keys(&self, server: usize) -> impl Iterator<Item = &[u8]> {
        let lacking = self.servers[server].lacks.iter().filter_map(|lack| match &lack.what {
            Lacking::Keys(keys) => Some(keys.iter()),
            _ => None,
        });
        lacking.flatten()
    }

    /// Keys of which a server that is away has missed a write that its partner has acknowledged.
    pub fn missed_keys(&self, server: usize) -> impl Iterator<Item = &[u8]> {
        self.servers[server].missed.acked()
    }
}

impl Missed {
    /// Whether a missed write of a key is acknowledged, and that was not said before.
    fn is_news(&mut self, key: &[u8]) -> bool {
        let is_acked = |writes: &&mut super::missed::Writes| writes.fate() == Some(Fate::Acked);
        let writes = self.of(key).filter(is_acked);
        writes.is_some_and(|writes| !std::mem::replace(&mut writes.is_told, true))
    }

    /// Keys of which an acknowledged write was missed.
    fn acked(&self) -> impl Iterator<Item = &[u8]> {
        let keys = match self {
            Missed::Keys { keys, .. } => Some(keys),
            _ => None,
        };
        let keys = keys.into_iter().flatten();
        keys.filter(|(_, writes)| writes.fate() == Some(Fate::Acked))
            .map(|(key, _)| &**key)
    }
}
