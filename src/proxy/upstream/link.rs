//! One connection to a server, shared by all clients: what is to be sent, and who waits for which answer.

use crate::buffer::{Chain, Gather, Pool};
use crate::protocol::keys::Keys;
use crate::protocol::server::answer::{Response, Status};
use crate::protocol::server::encode::{Words, encode};
use crate::protocol::server::question::Question;
use crate::proxy::net::{Net, Time};
use crate::proxy::upstream::message::{Message, Sent};
pub use crate::proxy::upstream::purpose::{Ask, Purpose, Side};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};

/// How often in a row magent's own lateness is an excuse for a server that does not answer (R20).
const EXCUSES_MAX: u32 = 3;

/// The part of a transaction that was sent to one server.
pub struct Leg {
    /// The transaction's index, or the repair's; of no meaning for the server's own legs (Probe, Forget).
    pub transaction: usize,
    pub purpose: Purpose,
    /// What was sent.
    pub sent: Sent,
    pub sent_ms: u64,
    /// The same in microseconds, the lower 32 bits: no answer takes as long as an hour.
    sent_us: u32,
    /// It lay in the server's socket when that fell silent: the server may still do it.
    pub delivered: bool,
    /// How far the link's output had been filled when this leg was on it, in bytes since the link was opened.
    pub end: u64,
    /// Of a retrieval: keys in the request, values that came, keys passed over or answered, how many bytes of the keys the
    /// others take, and where among the retrieval's slots its own begin.
    pub keys: u32,
    pub hits: u32,
    pub passed: u32,
    left: u32,
    pub slots_start: usize,
    /// Of a large portion of a retrieval: the bytes that its values were foreseen to come to, else 0.
    pub foreseen_bytes: usize,
}

/// What a value that came is a part of: what there is to know of the leg that it answers.
#[derive(Clone, Copy)]
pub struct Part {
    pub transaction: usize,
    pub purpose: Purpose,
    /// Keys in the leg's request.
    pub keys: u32,
    /// Where among the retrieval's slots this value's own is.
    pub slot: usize,
    /// Keys that were asked for before this one and did not come, and how many bytes of the keys they and all others after
    /// them take.
    pub skipped: u32,
    skipped_from: u32,
    /// Nothing more comes to the leg.
    pub is_last: bool,
}

impl Leg {
    /// A leg that nothing has been answered of.
    pub fn new(transaction: usize, purpose: Purpose, sent: Sent, keys: u32, now: Time, end: u64) -> Self {
        Self {
            transaction,
            purpose,
            left: sent.asked.key.len() as u32,
            sent,
            sent_ms: now.ms(),
            sent_us: now.low_us(),
            delivered: false,
            end,
            keys,
            hits: 0,
            passed: 0,
            slots_start: 0,
            foreseen_bytes: 0,
        }
    }

    /// All keys that it asks for.
    pub fn all_keys(&self) -> Keys<'_> {
        Keys::of(self.sent.key())
    }

    /// Of several keys those for which no value has come and none can come before another's.
    pub fn keys_left(&self) -> Keys<'_> {
        let all = self.sent.key();
        Keys::of(&all[all.len() - self.left as usize..])
    }

    /// How long it took to be answered, in microseconds.
    #[inline]
    pub fn took_us(&self, now: Time) -> u32 {
        now.low_us().wrapping_sub(self.sent_us)
    }

    /// What the value that was taken last is a part of.
    fn part(&self, skipped: u32, skipped_from: u32) -> Part {
        Part {
            transaction: self.transaction,
            purpose: self.purpose,
            keys: self.keys,
            slot: self.slots_start + (self.passed as usize).saturating_sub(1),
            skipped,
            skipped_from,
            is_last: false,
        }
    }

    /// The keys before a value that did not come, each with its place among the retrieval's slots.
    pub fn skipped_before<'a>(&'a self, part: &Part) -> impl Iterator<Item = (&'a [u8], usize)> {
        let all = self.sent.key();
        let skipped = part.skipped as usize;
        let from = all.len() - part.skipped_from as usize;
        Keys::of(&all[from..]).take(skipped).zip(part.slot - skipped..)
    }

    /// A leg in this one's place that nobody waits for. Of a write that fails over it matters whether it stores here, too:
    /// it may be answered differently elsewhere.
    pub fn as_given_up(&self) -> Leg {
        let fails_over = self.purpose == Purpose::Decide;
        Leg {
            purpose: Purpose::GivenUp { fails_over },
            sent: self.sent.clone(),
            ..*self
        }
    }

    /// Takes a value of `key`: what is left are the keys behind that one. The keys before it were asked for and did not
    /// come. None, and nothing is changed, if none of the keys for which a value may still come is this one.
    pub fn take_value(&mut self, key: &[u8]) -> Option<Part> {
        if self.keys <= 1 {
            if self.hits > 0 || self.sent.key() != key {
                return None;
            }
            self.hits = 1;
            return Some(self.part(0, 0));
        }
        let before = self.left;
        let mut keys = self.keys_left();
        // Mostly it is the next one.
        let skipped = match keys.pass(key) {
            true => 0,
            false => keys.by_ref().position(|candidate| candidate == key)? as u32,
        };
        self.left = keys.rest().len() as u32;
        self.hits += 1;
        self.passed += skipped + 1;
        Some(self.part(skipped, before))
    }

    /// Whether the key that a server says it looked at is the one that it was to look at. Before memcached 1.6.10 it does not
    /// say of what it does not have.
    fn is_looked_at(&self, response: &Response<'_>) -> bool {
        match response.key {
            b"" => matches!(response.status, Status::MetaMiss | Status::Error),
            key => self.sent.key() == key,
        }
    }
}

/// What has arrived from the server and is not yet an answer.
#[derive(Default)]
pub enum Arriving {
    #[default]
    Nothing,
    /// A line without its end.
    Line(Gather),
    /// A value that is `missing` bytes short; the line is in front of it.
    Value { gather: Gather, missing: usize },
    /// A value above the item limit, thrown away; bytes still to come.
    Oversized { missing: usize },
}

/// The state of a connection's outgoing side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Nothing to write.
    Idle,
    /// On the list of what is written after this batch of events.
    Dirty,
    /// The socket took less than it was given: an event will say when it takes more.
    Blocked,
    /// The connection is broken, and what is to be written is kept until it is given up.
    Severed,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Requests,
    /// The server fell silent on it; see `quarantine`.
    Quarantine,
    /// The server lists its keys on it; see `lists`.
    Lists,
}

pub struct Link<N: Net> {
    pub socket: N::Socket,
    pub server: usize,
    pub output: Chain,
    pub outgoing: Outgoing,
    pub used_for: Use,
    /// In the order sent, which is the order of the answers.
    pub pending: VecDeque<Leg>,
    pub arriving: Arriving,
    /// Bytes put on `output` since the link was opened.
    pub queued: u64,
    /// When something last came from the server, or more of the oldest leg's request could be written.
    progress_ms: u64,
    /// When what was answered last had been asked, until that is counted; 0 then.
    answered_sent_ms: u64,
    /// All that was sent by then has been looked at for reads that are late; see `hedge`.
    pub looked_at_ms: u64,
    /// Time since then in which magent itself did not run, and how often that was.
    excused_ms: u64,
    excuses: u32,
}

impl<N: Net> Link<N> {
    pub fn new(socket: N::Socket, server: usize, used_for: Use) -> Self {
        Self {
            socket,
            server,
            output: Chain::new(),
            outgoing: Outgoing::Idle,
            used_for,
            pending: VecDeque::new(),
            arriving: Arriving::Nothing,
            queued: 0,
            progress_ms: 0,
            answered_sent_ms: 0,
            looked_at_ms: 0,
            excused_ms: 0,
            excuses: 0,
        }
    }

    /// Puts a request on the way out. Returns it as it was sent, and where the output ends behind it.
    pub fn put(&mut self, pool: &Pool, message: Message<'_>) -> (Sent, u64) {
        let sent = match message.sent_before() {
            Some(sent) => {
                self.output.push_slice(pool, &sent.piece);
                sent.clone()
            }
            None => self.put_anew(pool, message),
        };
        self.queued += u64::from(sent.asked.len);
        (sent, self.queued)
    }

    fn put_anew(&mut self, pool: &Pool, message: Message<'_>) -> Sent {
        let mut words = Words::default();
        let encoded = encode(message.request, &mut words);
        let asked = encoded.asked();
        let whole = message.piece().filter(|piece| encoded.is_all_of(piece.bytes()));
        let (piece, is_whole) = match (whole, message.large_value()) {
            (Some(piece), _) => {
                self.output.push_slice(pool, piece);
                (piece.clone(), true)
            }
            (None, Some(value)) => {
                let head = self.output.push_whole(pool, encoded.head());
                self.output.push_slice(pool, &value);
                self.output.push(pool, encoded.tail());
                (head, false)
            }
            (None, None) => (self.output.push_whole(pool, encoded.parts()), true),
        };
        Sent { piece, asked, is_whole }
    }

    /// Bytes that have been written since the link was opened.
    pub fn written(&self) -> u64 {
        self.queued - self.output.len() as u64
    }

    /// Whether an answer may be the oldest leg's: of the right kind, and not there before the server can have read what it
    /// was asked. An error may be answered as soon as the line has begun.
    pub fn is_answer(&self, response: &Response<'_>) -> bool {
        let Some(leg) = self.pending.front() else {
            return false;
        };
        let sent = match response.status {
            Status::Error => leg.end < self.written() + u64::from(leg.sent.asked.len),
            _ => leg.end <= self.written(),
        };
        let question = leg.sent.asked.question;
        let tells_key = matches!(question, Question::MetaLook | Question::MetaDebug);
        sent && question.is_answered_by(response) && (!tells_key || leg.is_looked_at(response))
    }

    /// Whether an answer without a value is an item all the same: a retrieval asked for what is known of it alone.
    #[inline]
    pub fn is_item(&self, response: &Response<'_>) -> bool {
        // Before memcached 1.6.10 it was OK.
        matches!(response.status, Status::MetaHit | Status::Ok | Status::MetaDebug)
            && (self.pending.front()).is_some_and(|leg| matches!(leg.purpose, Purpose::Read(_)))
    }

    /// Whether the value that comes is what its oldest leg has counted to.
    #[inline]
    pub fn is_count(&self) -> bool {
        (self.pending.front()).is_some_and(|leg| leg.sent.asked.question == Question::MetaCount)
    }

    /// Since when its server has said nothing and somebody waits, magent's own delays taken off; None while nobody does.
    pub fn waits_since_ms(&self) -> Option<u64> {
        let oldest = self.pending.front().filter(|_| self.used_for != Use::Quarantine)?;
        Some(oldest.sent_ms.max(self.progress_ms) + self.excused_ms)
    }

    /// When its server last said something, or took what it had not.
    pub fn progress_ms(&self) -> u64 {
        self.progress_ms
    }

    /// Whether something that was asked by then is unanswered.
    pub fn asked_before(&self, asked_ms: u64) -> bool {
        self.pending.front().is_some_and(|oldest| oldest.sent_ms <= asked_ms)
    }

    /// Takes the oldest leg, whose answer is complete.
    pub fn take_oldest(&mut self) -> Option<Leg> {
        let leg = self.pending.pop_front()?;
        self.answered_sent_ms = leg.sent_ms;
        Some(leg)
    }

    /// When what was answered since this was last asked had been sent; of several, the last.
    pub fn take_answered_sent_ms(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.answered_sent_ms)).filter(|&sent_ms| sent_ms > 0)
    }

    /// Whether nothing has come for so long, and somebody waits.
    pub fn is_silent(&self, now_ms: u64, for_ms: u64) -> bool {
        self.waits_since_ms()
            .is_some_and(|since_ms| since_ms + for_ms <= now_ms)
    }

    /// Gives room back that many at once have taken, but for that of so many legs.
    pub fn give_back_room(&mut self, legs_kept: usize) {
        if self.pending.is_empty() && self.pending.capacity() > 4 * legs_kept {
            self.pending.shrink_to(legs_kept);
        }
    }

    /// Notes a sign of life.
    pub fn progressed(&mut self, now_ms: u64) {
        self.progress_ms = now_ms;
        (self.excused_ms, self.excuses) = (0, 0);
    }

    /// Gives a server that somebody waits for so much more time, a few times until it next says something: where magent
    /// is always late, a server that hangs must be found all the same.
    pub fn excuse(&mut self, more_ms: u64) {
        if !self.pending.is_empty() && self.excuses < EXCUSES_MAX {
            self.excuses += 1;
            self.excused_ms += more_ms;
        }
    }

    /// How many parts of clients' requests are still to be answered on it.
    pub fn clients_waiting(&self) -> usize {
        let asked = |leg: &&Leg| leg.purpose.has_transaction() || leg.purpose.is_repair();
        self.pending.iter().filter(asked).count()
    }

    /// Notes that bytes of the output were written at `now_ms` after having had to wait. That counts as a sign of life
    /// only while the oldest leg's own request is not out yet: a server that hangs goes on taking bytes until its
    /// socket is full.
    pub fn wrote_after_waiting(&mut self, now_ms: u64, count: usize) {
        let before = self.written() - count as u64;
        if self.pending.front().is_some_and(|leg| leg.end > before) {
            self.progressed(now_ms);
        }
    }
}

/// Writes as much of `chain` as the socket takes, and says how many bytes that were; what is left waits for an event.
pub fn write_out<N: Net>(net: &mut N, socket: &mut N::Socket, chain: &mut Chain) -> io::Result<usize> {
    let mut written = 0;
    while !chain.is_empty() {
        let (offered, result) = chain.with_io_slices(|pieces| {
            let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
            (offered, net.write(socket, pieces))
        });
        match result {
            Ok(count) => {
                chain.consume(count);
                written += count;
                // Short is full: no second call just to be told so.
                if count < offered {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
