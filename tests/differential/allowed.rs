//! Where a client may see another thing from magent than from memcached: this list, and nothing else.
//!
//! Each is checked against a bare memcached too: it is sent what magent makes of the stream, and answers what magent's
//! client has to see.

use super::asked::{Asked, Masked};
use super::lines_allowed;
use super::packets_allowed;
use super::stream::Stream;
use super::world::{End, Truth};

/// What a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allowed {
    /// What memcached answers to a line at a time, where what it answers, or computes, depends on how the bytes are split:
    /// it loses replies when it closes a connection, and pads a number that has become shorter unless a reply holds it.
    AsWithoutPipelining,
    /// A value that is too large, or whose line is refused, is refused before all of it is there.
    RefusedEarly,
    /// The flag E of meta commands is refused: magent gives uniques itself.
    NoGivenUnique,
    /// An `ms` with I and a unique that is older than what is there stores nothing, where memcached stores it as stale.
    NoStaleStore,
    /// A refused line that has, or may have, a value behind it closes the connection, after the error, where memcached runs
    /// the value as commands.
    ClosedBeforeValue,
    /// A storage command behind blanks, which memcached since 1.6.40 refuses, is refused with its value, where memcached
    /// runs the value as commands.
    SkippedValue,
    /// A line that begins or ends like a web browser's request closes the connection. Memcacheds differ in what of it they
    /// want to see.
    ClosedForBrowser,
    /// A NUL in a key is refused, where memcached since 1.6.40 takes it; a meta command with too long an opaque does nothing, where
    /// memcached has done it before it sees that; and a gat with a key that is too long touches
    /// nothing, where memcached has touched the keys before it.
    RefusedWhole,
    /// A line that is longer than 2048 bytes, and no get, is answered if magent reads it at once, and a gat in any case,
    /// where memcached closes the connection if it has not read it to its end at once.
    LongLine,
    /// A value of nearly 1 MiB, too large for an item, and with a wrong end: it is refused for that end.
    WrongEndOfTooLarge,
    /// What only begins a word that `stats` knows is none of them: ERROR. Since 1.6.40 memcached takes it for that word, and
    /// resets its counters at `stats r`.
    StatsByWord,
    /// A packet of an unknown operation that has a key or extras is passed over, where memcached passes over as many bytes
    /// more, which are of the next packet.
    UnknownWithKey,
    /// A key of the binary protocol, or in base64, that a text command cannot name is refused if it has more than 186 bytes:
    /// its name on the servers would be too long.
    NoNameForKey,
    /// An item has not been fetched where it is looked at with the flag h: the other copy was, when this one was slow to answer.
    HitElsewhere,
    /// The unique of what was stored is not told, but by a plain set, where the value is long or a server has refused one for want of
    /// room: what memcached refuses in the form that tells it takes away the item that is there.
    NoUniqueTold,
    /// Blanks are in the middle of a value, where a number was made shorter before something was appended: or they are not, where a
    /// reply held the item.
    PaddedElsewhere,
    /// An append or a count with a unique, in the binary protocol or by the flag C, is refused, where memcached does it to the
    /// item of that unique alone: servers cannot be asked that.
    NoUniqueOfCount,
    /// A fault of magent's that is known: what there is of them is told where they are looked for.
    KnownFault,
}

/// What is allowed of replies wherever it is in them, each with all before it.
pub const MASKS: [(Allowed, Masked); 3] = [
    (
        Allowed::HitElsewhere,
        Masked {
            hits: true,
            stored: false,
            blanks: false,
        },
    ),
    (
        Allowed::NoUniqueTold,
        Masked {
            hits: true,
            stored: true,
            blanks: false,
        },
    ),
    (
        Allowed::PaddedElsewhere,
        Masked {
            hits: true,
            stored: true,
            blanks: true,
        },
    ),
];

pub const ALL: [Allowed; 18] = [
    Allowed::KnownFault,
    Allowed::AsWithoutPipelining,
    Allowed::RefusedEarly,
    Allowed::NoGivenUnique,
    Allowed::NoStaleStore,
    Allowed::ClosedBeforeValue,
    Allowed::SkippedValue,
    Allowed::ClosedForBrowser,
    Allowed::RefusedWhole,
    Allowed::LongLine,
    Allowed::WrongEndOfTooLarge,
    Allowed::StatsByWord,
    Allowed::UnknownWithKey,
    Allowed::NoNameForKey,
    Allowed::HitElsewhere,
    Allowed::NoUniqueTold,
    Allowed::PaddedElsewhere,
    Allowed::NoUniqueOfCount,
];

/// memcached 1.6.45 ends an error of get with two line ends. Magent does not.
const DOUBLE_END: (&[u8], &[u8]) = (
    b"CLIENT_ERROR bad command line format\r\n\r\n",
    b"CLIENT_ERROR bad command line format\r\n",
);
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";
/// What may be said before all of a value is there.
pub const REFUSALS_OF_VALUE: [&str; 3] = [
    "CLIENT_ERROR bad command line format\r\n",
    "CLIENT_ERROR bad data chunk\r\n",
    TOO_LARGE,
];
/// The same of an `ms`.
const REFUSALS_OF_FLAGS: [&str; 5] = [
    "CLIENT_ERROR invalid flag\r\n",
    "CLIENT_ERROR duplicate flag\r\n",
    "CLIENT_ERROR bad token in command line format\r\n",
    "CLIENT_ERROR error decoding key\r\n",
    "CLIENT_ERROR invalid mode for ms M token\r\n",
];

/// What a bare memcached is sent, and what becomes of its answer.
pub struct Candidate {
    pub allowed: Allowed,
    pub stream: Stream,
    /// The connection is closed behind it, after one of these.
    pub closes: Option<Vec<Vec<u8>>>,
    /// What is said to what stands in for another thing, and what magent says to that.
    pub replies: Vec<(Vec<u8>, Vec<u8>)>,
}

/// All that magent might be allowed to make of a stream.
pub fn candidates(stream: &Stream) -> Vec<Candidate> {
    match stream.is_binary() {
        true => packets_allowed::candidates(stream),
        false => lines_allowed::candidates(stream),
    }
}

impl Candidate {
    /// What magent's client may see, by what the bare memcached answered to the stream of this.
    pub fn outcomes(&self, asked: &Asked, mut truth: Truth) -> Vec<(Allowed, Truth)> {
        for (from, to) in &self.replies {
            truth.replies = replaced(&truth.replies, from, to).unwrap_or(truth.replies);
        }
        self.outcomes_of(asked, truth)
    }

    fn outcomes_of(&self, asked: &Asked, mut truth: Truth) -> Vec<(Allowed, Truth)> {
        match (&self.closes, &truth.end) {
            (None, _) => self.outcomes_of_whole(asked, truth),
            (Some(words), &End::Open(sent)) => {
                // Without the answers to what was sent behind the cut to see how it ends.
                let len = asked.last_replies(sent).len();
                truth.replies.truncate(truth.replies.len().saturating_sub(len));
                truth.end = End::Closed;
                words.iter().map(|words| (self.allowed, truth.saying(words))).collect()
            }
            (Some(_), _) => Vec::new(),
        }
    }

    fn outcomes_of_whole(&self, asked: &Asked, truth: Truth) -> Vec<(Allowed, Truth)> {
        let mut outcomes = vec![(self.allowed, truth.clone())];
        let is_binary = asked.is_binary;
        if matches!(truth.end, End::Awaits(_)) {
            outcomes.extend(match is_binary {
                true => packets_allowed::refused_early(&self.stream, asked, &truth),
                false => {
                    let words = REFUSALS_OF_VALUE.iter().chain(&REFUSALS_OF_FLAGS);
                    words
                        .map(|words| (Allowed::RefusedEarly, truth.saying(words.as_bytes())))
                        .collect()
                }
            });
        }
        let replies = replaced(&truth.replies, TOO_LARGE.as_bytes(), b"CLIENT_ERROR bad data chunk\r\n");
        if let Some(replies) = replies.filter(|_| !is_binary) {
            outcomes.push((Allowed::WrongEndOfTooLarge, Truth { replies, ..truth }));
        }
        outcomes
    }
}

/// When an item ends, -1 for never. An exptime of the binary protocol that is no signed number is a date after 2038 to memcached,
/// and never to magent, which cannot say it in the text protocol.
pub fn end_of_life(seconds: i64) -> i64 {
    if seconds > i32::MAX.into() { -1 } else { seconds }
}

/// Whether this is what memcached says is left of the life of what a command has made with a time that was over: a little less than
/// nothing, as a number without a sign. Magent says -1.
pub fn is_over(seconds: u64) -> bool {
    seconds > u64::from(u32::MAX) - 1_000_000_000
}

/// The answers of a memcached as they would be without its slips.
pub fn corrected(replies: &[u8]) -> Vec<u8> {
    replaced(replies, DOUBLE_END.0, DOUBLE_END.1).unwrap_or_else(|| replies.to_vec())
}

/// The bytes with one thing in them replaced by another, wherever it is; None if it is nowhere.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    (rest.len() < bytes.len()).then_some(out)
}
