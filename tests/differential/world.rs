//! A bare memcached, and a magent with memcacheds of the same version behind it; both are sent the same.

use super::allowed::corrected;
use super::asked::{Asked, Masked};
use super::common::{Client, Magent};
use super::conversation::{Conversation, LARGE};
use super::readers::Readers;
use super::replies::Normal;
use super::server::{Contents, Server, difference};
use super::stream::{Stream, needs_replies};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Which of three memcacheds are primaries, and which backups.
pub struct Layout {
    pub name: &'static str,
    primaries: &'static [usize],
    backups: &'static [usize],
}

pub const LAYOUTS: [Layout; 5] = [
    Layout {
        name: "1+1",
        primaries: &[0],
        backups: &[1],
    },
    Layout {
        name: "2+0",
        primaries: &[0, 1],
        backups: &[],
    },
    Layout {
        name: "crossed",
        primaries: &[0, 1],
        backups: &[1, 0],
    },
    Layout {
        name: "1+2",
        primaries: &[0],
        backups: &[1, 2],
    },
    Layout {
        name: "2+1",
        primaries: &[0, 1],
        backups: &[2],
    },
];

/// How many more of what is sent last are sent, at a time, where a value was announced that is longer than what came.
const MORE: [usize; 3] = [2, 30, 500];

/// How a bare memcached takes a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It goes on to answer. The number is how often the last line had to be sent.
    Open(usize),
    Closed,
    /// It awaits a value that is longer than all that there is.
    Awaits(usize),
}

#[derive(Clone)]
pub struct Truth {
    pub replies: Vec<u8>,
    /// How long the replies were when this piece was sent, if it needs them.
    pub lengths: Vec<usize>,
    /// How many bytes had come by then.
    pub sizes: Vec<usize>,
    pub end: End,
    /// How often the last line was sent.
    pub sent: usize,
    pub contents: Contents,
    pub asked: Asked,
}

impl Truth {
    /// The same, if the last line had been sent as often as somebody else was sent it.
    pub fn sending(mut self, sent: usize, asked: &Asked) -> Self {
        if let (End::Open(_), more @ 1..) = (&self.end, sent.saturating_sub(self.sent)) {
            self.replies.extend(asked.last_replies(more));
            (self.end, self.sent) = (End::Open(sent), sent);
        }
        self
    }

    /// The same, with more said in the end.
    pub fn saying(&self, words: &[u8]) -> Self {
        let mut truth = self.clone();
        truth.replies.extend_from_slice(words);
        truth
    }
}

/// What a client of magent saw, and what lies behind it.
pub struct Seen {
    pub replies: Vec<u8>,
    /// The connection was closed by magent.
    pub closed: bool,
    /// What is wrong behind it: items that the two copies do not agree on.
    torn: Option<String>,
    contents: Contents,
}

pub struct World {
    pub version: String,
    pub layout: &'static Layout,
    bare: Server,
    servers: Vec<Server>,
    magent: Magent,
    bell: Client,
    readers: Readers,
    pub patience: Duration,
    /// Digits that a unique is written with at least.
    pub unique_digits: usize,
    /// What of replies is not looked at.
    pub masked: Masked,
    /// magent closed the connection on which a difference was seen last.
    pub was_closed_on: bool,
}

impl World {
    pub fn new(version: &str, program: &PathBuf, layout: &'static Layout) -> Self {
        // One thread, and no end to the requests in a row: so a reply on one connection tells that another is through.
        // With no thread that moves items about: since 1.6.25 a flush passes over what that has locked, one in a thousand.
        let exact = ["-o", "no_lru_maintainer"];
        let bare = Server::start(program, &[["-t", "1", "-R", "1000000"].as_slice(), &exact].concat());
        let count = 1 + layout.primaries.iter().chain(layout.backups).max().expect("a server");
        let servers: Vec<Server> = (0..count).map(|_| Server::start(program, &["-t", "1"])).collect();
        let named = |option, list: &[usize]| {
            let names = list.iter().map(|&server| [option, servers[server].name.as_str()]);
            names.collect::<Vec<_>>().concat()
        };
        let arguments = [named("-s", layout.primaries), named("-b", layout.backups)].concat();
        let magent = Magent::start(&arguments);
        magent.settle();
        Self {
            version: version.to_owned(),
            layout,
            bare,
            bell: magent.client(),
            readers: Readers::connect(&magent.name),
            servers,
            magent,
            patience: Duration::from_secs(3),
            unique_digits: 1,
            masked: Masked::default(),
            was_closed_on: false,
        }
    }

    /// What there is to know to read the replies to a stream, and to what stands in for it.
    pub fn asked(&self, stream: &Stream) -> Asked {
        let mut asked = Asked::of(stream);
        asked.masked = self.masked;
        asked
    }

    /// Waits until magent has read what came on other connections.
    fn ring_magent(&mut self) {
        self.bell.check("settled?\r\n", "ERROR\r\n");
    }

    /// What the bare memcached says, and holds afterwards.
    pub fn ask_bare(&mut self, stream: &Stream, asked: &Asked) -> Truth {
        self.bare.empty(flushes(stream));
        let digits = self.unique_digits;
        let mut conversation = self.bare.open(asked.clone());
        let (mut lengths, mut sizes) = (Vec::new(), Vec::new());
        for piece in &stream.0 {
            conversation.drain();
            let mut normal = Normal::default();
            if needs_replies(piece) {
                self.ring_late();
                conversation.drain();
                normal = conversation.normal();
            }
            lengths.push(corrected(&normal.bytes).len());
            sizes.push(conversation.raw.len());
            let bytes = stream.expand(piece, digits, |key, old| normal.unique(key, old));
            conversation.send(&bytes, self.patience);
            self.bare.ring();
            if bytes.len() >= LARGE {
                self.ring_late();
            }
        }
        let (end, sent) = self.find_end(&mut conversation);
        if matches!(end, End::Awaits(_)) {
            conversation.shutdown();
            conversation.read_to_the_end(self.patience);
        }
        Truth {
            replies: corrected(&conversation.normal().bytes),
            lengths,
            sizes,
            end,
            sent,
            contents: self.bare.contents(),
            asked: conversation.asked,
        }
    }

    /// Once more, and a little later: a kernel that is busy may deliver what was sent first last.
    fn ring_late(&mut self) {
        std::thread::sleep(Duration::from_millis(2));
        self.bare.ring();
    }

    fn find_end(&mut self, conversation: &mut Conversation) -> (End, usize) {
        let mut sent = 0;
        for more in [&[1][..], &MORE].concat() {
            conversation.drain();
            let before = conversation.raw.len();
            let last = conversation.asked.last().repeat(more);
            conversation.send(&last, self.patience);
            sent += more;
            self.bare.ring();
            for _ in 0..2 {
                conversation.drain();
                if conversation.ended {
                    return (End::Closed, sent);
                }
                if conversation.raw.len() > before && conversation.is_answered() {
                    return (End::Open(sent), sent);
                }
                self.ring_late();
            }
        }
        (End::Awaits(sent), sent)
    }

    /// What a client of magent sees that sends the same, and what is behind magent afterwards.
    pub fn ask_magent(&mut self, stream: &Stream, asked: &Asked, truth: &Truth) -> Seen {
        self.servers.iter_mut().for_each(|server| server.empty(flushes(stream)));
        let mut conversation = Conversation::open(&self.magent.name, asked.clone());
        let (patience, digits) = (self.patience, self.unique_digits);
        for ((piece, &length), &size) in stream.0.iter().zip(&truth.lengths).zip(&truth.sizes) {
            conversation.read_large(size, patience);
            let normal = match needs_replies(piece) {
                true => conversation.read_like(&truth.replies[..length.min(truth.replies.len())], patience),
                false => Normal::default(),
            };
            conversation.send(
                &stream.expand(piece, digits, |key, old| normal.unique(key, old)),
                patience,
            );
            self.ring_magent();
        }
        let last = asked.last().repeat(truth.sent);
        let last_replies = asked.last_replies(truth.sent);
        conversation.send(&last, patience);
        let normal = match truth.end {
            End::Open(_) | End::Awaits(_) => conversation.read_bytes(truth.replies.len(), &last_replies, patience),
            End::Closed => conversation.read_bytes(usize::MAX, &last_replies, patience),
        };
        let is_through = normal.bytes.ends_with(&last_replies);
        if !is_through && (normal.bytes != truth.replies || matches!(truth.end, End::Awaits(_))) {
            // It may be about to close the connection. Where it is not, nobody can tell but by waiting.
            conversation.read_to_the_end(Duration::from_millis(100));
        }
        let closed = conversation.ended;
        conversation.shutdown();
        conversation.read_to_the_end(patience);
        let (contents, torn) = self.contents();
        Seen {
            replies: conversation.normal().bytes,
            closed,
            torn,
            contents,
        }
    }

    /// What the servers behind magent hold together, and what they do not agree on.
    fn contents(&mut self) -> (Contents, Option<String>) {
        let each: Vec<Contents> = self.servers.iter_mut().map(Server::contents).collect();
        let (mut all, mut torn) = (Contents::default(), None);
        for farm in [self.layout.primaries, self.layout.backups] {
            let mut held = Contents::default();
            for &server in farm {
                held.items.extend(each[server].items.clone());
                (held.since, held.until) = (each[server].since, each[server].until);
            }
            if farm == self.layout.primaries {
                all = held;
            } else if let Some(what) = difference(&all, &held, &Asked::default()).filter(|_| !farm.is_empty()) {
                torn = torn.or(Some(format!("the two copies of {what}")));
            }
        }
        let copies = if self.layout.backups.is_empty() { 1 } else { 2 };
        let count: usize = each.iter().map(|server| server.items.len()).sum();
        if torn.is_none() && count != copies * all.items.len() {
            torn = Some(format!("{count} items for {} keys", all.items.len()));
        }
        (all, torn)
    }

    /// None if the client saw what it should, and the servers hold it; else what is different, in words.
    /// What is still on its way to the servers is waited for, long if `waits`.
    pub fn compare(&mut self, truth: &Truth, seen: &mut Seen, waits: bool) -> Option<String> {
        if seen.replies != truth.replies {
            let same = seen
                .replies
                .iter()
                .zip(&truth.replies)
                .take_while(|(a, b)| a == b)
                .count();
            let around = |bytes: &[u8]| {
                let part = &bytes[same.saturating_sub(60)..bytes.len().min(same + 100)];
                format!("{} bytes, ...{}", bytes.len(), part.escape_ascii())
            };
            return Some(format!(
                "replies differ from byte {same} on\n      memcached: {}\n      magent:    {}",
                around(&truth.replies),
                around(&seen.replies)
            ));
        }
        if seen.closed != (truth.end == End::Closed) {
            return Some(format!(
                "memcached: {:?}, magent has closed: {}",
                truth.end, seen.closed
            ));
        }
        let difference = self.compare_contents(truth, seen, waits);
        difference.or_else(|| self.readers.difference(&seen.contents).filter(|_| waits))
    }

    fn compare_contents(&mut self, truth: &Truth, seen: &mut Seen, waits: bool) -> Option<String> {
        let patience = if waits { self.patience } else { self.patience / 10 };
        let deadline = Instant::now() + patience;
        loop {
            let difference = difference(&truth.contents, &seen.contents, &truth.asked);
            let difference = difference.map(|what| format!("memcached and magent hold {what}"));
            let difference = difference.or_else(|| seen.torn.clone());
            if difference.is_none() || Instant::now() > deadline {
                return difference;
            }
            std::thread::sleep(Duration::from_millis(10));
            (seen.contents, seen.torn) = self.contents();
        }
    }
}

/// Whether a flush is in a stream.
fn flushes(stream: &Stream) -> bool {
    const FLUSHES: [u8; 2] = [0x08, 0x18];
    match stream.is_binary() {
        true => stream
            .units()
            .iter()
            .any(|packet| packet.get(1).is_some_and(|opcode| FLUSHES.contains(opcode))),
        false => stream.bytes().windows(5).any(|word| word == b"flush"),
    }
}
