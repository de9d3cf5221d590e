//! The list of a server's keys: `lru_crawler metadump`, on a connection of its own, as memcached demands. By the hash
//! table (`hash`) it is complete; a memcached that does not know that (before 1.6.9) lists by its LRUs (`all`), where
//! items that were read a moment ago are left out.
//!
//! ```text
//!   Due ----- asked for, on a link of its own -----> Coming ----- its end -----> Ended
//!    ^                                                 |
//!    +---- it broke off, stands still or is busy ------+
//! ```
//! The list is read as fast as it comes: a memcached that waits for its reader holds locks (before 1.6.19), or loses its
//! place after a second and mixes up its lines (since). What does not fit is left for another time; see `resync`.
//!
//! Before 1.5.4 nothing marks the end. There, when nothing comes any more, the version is asked for: the connection is
//! only listened to again when the list is over. Before 1.4.34 a memcached whose reader leaves in the middle crashes, so
//! a list that nobody wants any more is read to its end all the same.
//!
//! A listing is told what comes and what time it is, and says what is to be done; its link is opened, read and closed by
//! others, see `list_link`.

use crate::protocol::find_newline;
use crate::protocol::server::list::{Entry, Line, understand};

/// Another list is being made, for another magent perhaps: it is asked for again after this.
const BUSY_PAUSE_MS: u64 = 500;
/// After so long without a line a list whose end is not marked may be over.
const END_PAUSE_MS: u64 = 200;
/// The shortest pause between two questions whether a server whose list stands still is there.
const LIFE_PAUSE_MIN_MS: u64 = 100;
/// A list that does not go on for so long is begun anew.
const SILENT_MAX_MS: u64 = 10_000;
/// Longest line: a key with every byte encoded, and numbers.
const LINE_BYTES_MAX: usize = 2048;

pub struct Listing {
    state: State,
    /// The beginning of a line.
    text: Vec<u8>,
}

enum State {
    /// To be asked for then.
    Due {
        at_ms: u64,
    },
    Coming(Coming),
    Ended,
}

/// A list that comes.
struct Coming {
    link: usize,
    /// The link's socket may have more to read.
    readable: bool,
    progress_ms: u64,
    /// Whether it was asked if that was all.
    asked: bool,
    /// Before this the server is not asked whether it is still there.
    ask_life_at_ms: u64,
}

/// What bytes of a list came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    More,
    End,
    /// The server cannot list its keys now.
    Later,
    /// It cannot list them, or not in this way.
    Refused,
}

/// What is to be done for a list, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Errand {
    /// It is to be asked for.
    Open,
    /// Something is to be asked behind the list, which is answered when that is over.
    AskEnd {
        link: usize,
    },
    /// The server is to be asked whether it is still there.
    AskLife,
    Close {
        link: usize,
    },
    /// It is to be looked at again by then.
    Wake {
        at_ms: u64,
    },
}

/// What is known of the server whose list is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub timeout_ms: u64,
    /// Nothing is left of what was read.
    pub hungry: bool,
    /// The server's version marks the end of a list.
    pub ends_lists: bool,
}

impl Default for Listing {
    /// One that is due.
    fn default() -> Self {
        Self {
            state: State::Due { at_ms: 0 },
            text: Vec::new(),
        }
    }
}

impl Listing {
    /// It was asked for on this link. Returns when it is to be looked at.
    pub fn begins(&mut self, link: usize, now_ms: u64) -> u64 {
        self.text.clear();
        self.state = State::Coming(Coming {
            link,
            readable: false,
            progress_ms: now_ms,
            asked: false,
            ask_life_at_ms: 0,
        });
        now_ms + END_PAUSE_MS
    }

    fn coming(&self) -> Option<&Coming> {
        match &self.state {
            State::Coming(coming) => Some(coming),
            State::Due { .. } | State::Ended => None,
        }
    }

    fn coming_mut(&mut self) -> Option<&mut Coming> {
        match &mut self.state {
            State::Coming(coming) => Some(coming),
            State::Due { .. } | State::Ended => None,
        }
    }

    /// The link that it comes on.
    pub fn link(&self) -> Option<usize> {
        self.coming().map(|coming| coming.link)
    }

    /// Whether there may be something to be read now.
    pub fn may_go_on(&self) -> bool {
        self.coming().is_some_and(|coming| coming.readable)
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// There may be more to read on a link. False if that is not this list's.
    pub fn readable(&mut self, link: usize) -> bool {
        let coming = self.coming_mut().filter(|coming| coming.link == link);
        coming.map(|coming| coming.readable = true).is_some()
    }

    /// Some of it is read now: the link to read from.
    pub fn reads(&mut self, now_ms: u64) -> Option<usize> {
        let coming = self.coming_mut()?;
        coming.progress_ms = now_ms;
        Some(coming.link)
    }

    /// There is no more to be read until an event says so.
    pub fn drained(&mut self) {
        if let Some(coming) = self.coming_mut() {
            coming.readable = false;
        }
    }

    /// Takes bytes of the list. Returns the keys, in order, and what it came to.
    pub fn take(&mut self, bytes: &[u8]) -> (Vec<Entry>, Heard) {
        self.text.extend_from_slice(bytes);
        let mut entries = Vec::new();
        let mut at = 0;
        let mut heard = Heard::More;
        while let Some(newline) = find_newline(&self.text[at..]) {
            let line = self.text[at..at + newline].trim_ascii_end();
            at += newline + 1;
            heard = match understand(line) {
                Some(Line::Key(entry)) => {
                    entries.extend(entry);
                    continue;
                }
                Some(Line::End) => Heard::End,
                Some(Line::Later) => Heard::Later,
                None => Heard::Refused,
            };
            break;
        }
        self.text.drain(..at);
        if heard == Heard::More && self.text.len() > LINE_BYTES_MAX {
            heard = Heard::Refused;
        }
        (entries, heard)
    }

    /// The list is complete. Returns the link to be closed.
    pub fn ends(&mut self) -> Option<usize> {
        let link = self.link();
        self.state = State::Ended;
        link
    }

    /// It is asked for once more, in another way. Returns the link to be closed.
    pub fn again(&mut self) -> Option<usize> {
        let link = self.link();
        self.state = State::Due { at_ms: 0 };
        link
    }

    /// The list broke off, or was refused for now.
    pub fn later(&mut self, now_ms: u64) -> Vec<Errand> {
        let at_ms = now_ms + BUSY_PAUSE_MS;
        let close = self.link().map(|link| Errand::Close { link });
        self.state = State::Due { at_ms };
        close.into_iter().chain([Errand::Wake { at_ms }]).collect()
    }

    /// Asks for a list that is due, and does not wait for ever for one that does not go on.
    pub fn tick(&mut self, now_ms: u64, patience: &Patience) -> Vec<Errand> {
        let coming = match &mut self.state {
            State::Ended => return Vec::new(),
            State::Due { at_ms } if *at_ms <= now_ms => return vec![Errand::Open],
            State::Due { at_ms } => return vec![Errand::Wake { at_ms: *at_ms }],
            State::Coming(coming) => coming,
        };
        if !patience.hungry {
            coming.progress_ms = now_ms;
            let at_ms = now_ms + END_PAUSE_MS;
            return vec![Errand::Wake { at_ms }];
        }
        let silent_ms = now_ms - coming.progress_ms;
        if silent_ms >= SILENT_MAX_MS {
            return self.later(now_ms);
        }
        let mut errands = Vec::new();
        if !coming.asked && !patience.ends_lists {
            let at_ms = coming.progress_ms + END_PAUSE_MS;
            if at_ms <= now_ms {
                coming.asked = true;
                errands.push(Errand::AskEnd { link: coming.link });
            } else {
                errands.push(Errand::Wake { at_ms });
            }
        }
        // Is the server still there? If not, that ends the resync. Ticks come as often as clients ask for something.
        let life_pause_ms = patience.timeout_ms.max(LIFE_PAUSE_MIN_MS);
        if silent_ms >= patience.timeout_ms && coming.ask_life_at_ms <= now_ms {
            coming.ask_life_at_ms = now_ms + life_pause_ms;
            errands.push(Errand::AskLife);
        }
        let at_ms = now_ms + life_pause_ms;
        errands.push(Errand::Wake { at_ms });
        errands
    }

    /// The list is left, perhaps in the middle; `safely`: its server does not mind. What is neither closed nor asked is read
    /// to its end.
    pub fn leave(self, safely: bool) -> Option<Errand> {
        match self.state {
            State::Coming(Coming { link, .. }) if safely => Some(Errand::Close { link }),
            State::Coming(Coming { link, asked: false, .. }) => Some(Errand::AskEnd { link }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: usize = 5;

    fn patience() -> Patience {
        Patience {
            timeout_ms: 500,
            hungry: true,
            ends_lists: true,
        }
    }

    fn coming_since(now_ms: u64) -> Listing {
        let mut listing = Listing::default();
        assert_eq!(listing.begins(LINK, now_ms), now_ms + END_PAUSE_MS);
        listing
    }

    fn keys(entries: &[Entry]) -> Vec<&[u8]> {
        entries.iter().map(|entry| &*entry.key).collect()
    }

    #[test]
    fn a_list_is_asked_for_when_it_is_due() {
        let mut listing = Listing::default();
        assert_eq!(listing.tick(1000, &patience()), [Errand::Open]);
        assert_eq!(listing.later(1000), [Errand::Wake { at_ms: 1500 }]);
        assert_eq!(listing.tick(1499, &patience()), [Errand::Wake { at_ms: 1500 }]);
        assert_eq!(listing.tick(1500, &patience()), [Errand::Open]);
        assert!(!listing.may_go_on() && !listing.has_ended() && listing.link().is_none());
    }

    #[test]
    fn a_list_is_read_while_its_own_link_has_more() {
        let mut listing = coming_since(0);
        assert!(!listing.may_go_on());
        assert!(!listing.readable(LINK + 1), "the link of a list that nobody wants");
        assert!(!listing.may_go_on());
        assert!(listing.readable(LINK) && listing.may_go_on());
        assert_eq!(listing.reads(10), Some(LINK));
        assert!(listing.may_go_on(), "until a read says that it is not");
        listing.drained();
        assert!(!listing.may_go_on());
        assert_eq!(listing.ends(), Some(LINK));
        assert!(listing.has_ended() && !listing.readable(LINK) && listing.reads(20).is_none());
        assert_eq!(listing.tick(100_000, &patience()), []);
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"OK\r\nkey=a exp=-1\r\nkey=%20 exp=-1\r\nkey=b exp=-1\r\nEND\r\nkey=c exp=-1\r\n";
        for cut in 0..text.len() {
            let mut listing = coming_since(0);
            let (mut entries, mut heard) = listing.take(&text[..cut]);
            if heard == Heard::More {
                let (more, end) = listing.take(&text[cut..]);
                entries.extend(more);
                heard = end;
            }
            assert_eq!((keys(&entries), heard), (vec![&b"a"[..], b"b"], Heard::End), "{cut}");
        }
    }

    #[test]
    fn what_comes_in_place_of_a_list_says_what_to_do() {
        for (text, heard) in [
            (&b"key=a exp=-1\r\nke"[..], Heard::More),
            (b"BUSY currently processing crawler request\r\n", Heard::Later),
            (b"key=a exp=-1\r\nSERVER_ERROR out of memory\r\n", Heard::Later),
            (b"ERROR\r\n", Heard::Refused),
            (b"key=a exp=-1\r\nkey=%\r\n", Heard::Refused),
            (&[b'x'; LINE_BYTES_MAX], Heard::More),
            (&[b'x'; LINE_BYTES_MAX + 1], Heard::Refused),
        ] {
            let mut listing = coming_since(0);
            let (entries, came) = listing.take(text);
            assert_eq!(came, heard, "{}", text.escape_ascii());
            assert_eq!(entries.len(), usize::from(text.starts_with(b"key=a")));
        }
        // Half a line of the list before is no beginning of this one.
        let mut listing = coming_since(0);
        listing.take(b"key=a ex");
        assert_eq!(listing.later(0)[0], Errand::Close { link: LINK });
        listing.begins(LINK, 600);
        assert_eq!(listing.take(b"END\r\n"), (Vec::new(), Heard::End));
    }

    #[test]
    fn a_list_that_stands_still_costs_a_question_a_timeout_and_is_begun_anew_at_last() {
        let mut listing = coming_since(1000);
        assert_eq!(listing.tick(1100, &patience()), [Errand::Wake { at_ms: 1600 }]);
        let question = [Errand::AskLife, Errand::Wake { at_ms: 2000 }];
        assert_eq!(listing.tick(1500, &patience()), question);
        assert_eq!(listing.tick(1501, &patience()), [Errand::Wake { at_ms: 2001 }]);
        assert!(listing.tick(2000, &patience()).contains(&Errand::AskLife));
        // It goes on.
        listing.reads(2100);
        assert!(!listing.tick(2200, &patience()).contains(&Errand::AskLife));
        let anew = [Errand::Close { link: LINK }, Errand::Wake { at_ms: 12_600 }];
        assert_eq!(listing.tick(12_100, &patience()), anew);
        assert_eq!(listing.tick(12_600, &patience()), [Errand::Open]);
    }

    #[test]
    fn a_list_that_waits_for_the_copies_does_not_stand_still() {
        let mut listing = coming_since(0);
        let busy = Patience {
            hungry: false,
            ..patience()
        };
        assert_eq!(listing.tick(60_000, &busy), [Errand::Wake { at_ms: 60_200 }]);
        assert_eq!(listing.tick(60_100, &patience()), [Errand::Wake { at_ms: 60_600 }]);
    }

    #[test]
    fn a_list_whose_end_is_not_marked_is_asked_for_it_once() {
        let mut listing = coming_since(0);
        let old = Patience {
            ends_lists: false,
            ..patience()
        };
        let wakes = [Errand::Wake { at_ms: 200 }, Errand::Wake { at_ms: 600 }];
        assert_eq!(listing.tick(100, &old), wakes);
        let asks = [Errand::AskEnd { link: LINK }, Errand::Wake { at_ms: 700 }];
        assert_eq!(listing.tick(200, &old), asks);
        assert_eq!(listing.tick(300, &old), [Errand::Wake { at_ms: 800 }]);
        assert_eq!(listing.leave(false), None, "what was asked for is awaited");
    }

    #[test]
    fn a_list_is_left_as_its_server_bears_it() {
        assert_eq!(coming_since(0).leave(true), Some(Errand::Close { link: LINK }));
        assert_eq!(coming_since(0).leave(false), Some(Errand::AskEnd { link: LINK }));
        let mut ended = coming_since(0);
        ended.ends();
        assert_eq!(ended.leave(false), None);
        assert_eq!(Listing::default().leave(true), None);
        assert_eq!(coming_since(0).again(), Some(LINK));
    }
}
