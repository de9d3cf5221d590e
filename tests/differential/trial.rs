//! Whether a stream is answered alike, and the smallest one that is not.

use super::allowed::{Allowed, MASKS, candidates};
use super::asked::Masked;
use super::lines_allowed::{has_long_line, has_unique_in_value};
use super::packets;
use super::stream::{Stream, needs_replies};
use super::world::{End, Truth, World};
use std::time::{Duration, Instant};

/// How often a difference is looked for again before it counts: a second that began in between is nobody's fault.
const AGAIN: usize = 8;
/// How often it has to be seen then.
const ENOUGH: usize = 2;
/// The same of replies of a connection that magent has closed: who still sends then is reset, and may lose some, by memcached
/// and by magent, but not nearly each time.
const ENOUGH_WHERE_CLOSED: usize = 6;
/// Streams that are tried to make one smaller.
const TRIES_TO_SHRINK: usize = 400;
/// A stream that asks for much memory, or waits for lost replies, is left as it is by then.
const TIME_TO_SHRINK: Duration = Duration::from_secs(30);

/// Digits of the greatest unique.
const UNIQUE_DIGITS_MAX: usize = 20;

/// What became of a stream.
pub enum Verdict {
    Same,
    /// Different, as an entry of the list allows.
    Allowed(Allowed),
    Differs(String),
}

pub fn judge(world: &mut World, stream: &Stream) -> Verdict {
    let asked = world.asked(stream);
    let truth = world.ask_bare(stream, &asked);
    let (mut seen, sent) = (world.ask_magent(stream, &asked, &truth), truth.sent);
    let Some(mut difference) = world.compare(&truth, &mut seen, true) else {
        return Verdict::Same;
    };
    // What memcached would have answered behind a line that it gave up at nobody can know.
    let has_long_line = !stream.is_binary() && has_long_line(stream);
    let gave_up = |truth: &Truth, replies: &[u8]| {
        has_long_line && truth.end == End::Closed && replies.starts_with(&truth.replies)
    };
    if gave_up(&truth, &seen.replies) {
        return Verdict::Allowed(Allowed::LongLine);
    }
    // One that ends with the connection is none where it goes on.
    let mut candidates = candidates(stream);
    candidates.retain(|candidate| candidate.closes.is_none() || seen.closed);
    for candidate in candidates {
        let truth = world.ask_bare(&candidate.stream, &asked).sending(sent, &asked);
        if gave_up(&truth, &seen.replies) {
            return Verdict::Allowed(Allowed::LongLine);
        }
        // It still skips a value that is longer than all that there was.
        let awaits = matches!(truth.end, End::Open(sent) if sent > 1) && truth.replies.starts_with(&seen.replies);
        if candidate.allowed == Allowed::SkippedValue && awaits && !seen.closed {
            return Verdict::Allowed(Allowed::SkippedValue);
        }
        // So does magent of a packet, where memcached closed the connection before it was sent as much.
        let awaits = asked.is_binary && truth.sent > sent && truth.replies.starts_with(&seen.replies);
        if awaits && !seen.closed {
            return Verdict::Allowed(candidate.allowed);
        }
        for (allowed, truth) in candidate.outcomes(&asked, truth) {
            match world.compare(&truth, &mut seen, false) {
                None => return Verdict::Allowed(allowed),
                Some(other) if !other.starts_with("replies") => {
                    difference += &format!("\n      ({allowed:?}, but {other})");
                }
                Some(_) => {}
            }
        }
    }
    // Magent's uniques are longer than memcached's. Once more, with all equally long.
    if world.unique_digits < UNIQUE_DIGITS_MAX && !stream.is_binary() && has_unique_in_value(stream) {
        let digits = std::mem::replace(&mut world.unique_digits, UNIQUE_DIGITS_MAX);
        let verdict = judge(world, stream);
        world.unique_digits = digits;
        return verdict;
    }
    // Once more without what is not the same each time.
    if world.masked == Masked::default() {
        for (allowed, masked) in MASKS {
            world.masked = masked;
            let verdict = judge(world, stream);
            world.masked = Masked::default();
            if !matches!(verdict, Verdict::Differs(_)) {
                return Verdict::Allowed(allowed);
            }
        }
    }
    world.was_closed_on = seen.closed;
    Verdict::Differs(difference)
}

impl World {
    /// Prints what becomes of a stream, and of what it might be allowed to become.
    pub fn tell(&mut self, stream: &Stream) {
        let asked = self.asked(stream);
        let truth = self.ask_bare(stream, &asked);
        let mut seen = self.ask_magent(stream, &asked, &truth);
        println!("    memcached: {:?} \"{}\"", truth.end, truth.replies.escape_ascii());
        println!("    magent: closed {} \"{}\"", seen.closed, seen.replies.escape_ascii());
        println!("    {:?}", self.compare(&truth, &mut seen, true));
        for candidate in candidates(stream) {
            let truth = self.ask_bare(&candidate.stream, &asked).sending(truth.sent, &asked);
            println!("    {:?} {} -> {:?}", candidate.allowed, candidate.stream, truth.end);
            for (allowed, truth) in candidate.outcomes(&asked, truth) {
                println!("        {allowed:?} {:?}", self.compare(&truth, &mut seen, false));
            }
        }
    }
}

/// The difference that a stream makes, if it makes it more than once.
pub fn confirmed(world: &mut World, stream: &Stream) -> Option<String> {
    let mut seen = 0;
    for _ in 0..AGAIN {
        if let Verdict::Differs(difference) = judge(world, stream) {
            seen += 1;
            let may_be_lost = world.was_closed_on && difference.starts_with("replies");
            if seen >= if may_be_lost { ENOUGH_WHERE_CLOSED } else { ENOUGH } {
                return Some(difference);
            }
        }
    }
    None
}

/// The smallest stream found that still differs: pieces joined, lines dropped, bytes dropped.
pub fn shrunk(world: &mut World, stream: &Stream) -> Stream {
    let patience = std::mem::replace(&mut world.patience, Duration::from_millis(150));
    let mut shrink = Shrink {
        world,
        best: stream.clone(),
        left: TRIES_TO_SHRINK,
        until: Instant::now() + TIME_TO_SHRINK,
    };
    shrink.run();
    let best = shrink.best;
    world.patience = patience;
    best
}

struct Shrink<'a> {
    world: &'a mut World,
    best: Stream,
    left: usize,
    until: Instant,
}

impl Shrink<'_> {
    /// Takes the smaller stream if it differs as well.
    fn take(&mut self, smaller: Stream) -> bool {
        if self.left == 0 || Instant::now() > self.until || smaller == self.best {
            return false;
        }
        self.left -= 1;
        let differs = |world: &mut World| matches!(judge(world, &smaller), Verdict::Differs(_));
        let differs = differs(self.world) && differs(self.world);
        if differs {
            self.best = smaller;
        }
        differs
    }

    fn run(&mut self) {
        // Uniques that are asked for in the same piece would be unknown.
        if !needs_replies(&self.best.bytes()) {
            self.take(Stream(vec![self.best.bytes()]));
        }
        self.take(self.best.by_units());
        loop {
            let before = self.best.clone();
            self.drop_parts(|stream| stream.0.clone(), Stream);
            if self.best.is_binary() {
                self.simplify_packets();
            }
            if self.best.0.len() == 1 {
                self.drop_parts(Stream::units, |units| Stream(vec![units.concat()]));
                if !self.is_of_whole_packets() {
                    self.drop_parts(
                        |stream| stream.bytes().into_iter().map(|byte| vec![byte]).collect(),
                        |bytes| Stream(vec![bytes.concat()]),
                    );
                }
            } else if !self.is_of_whole_packets() {
                self.drop_bytes_of_pieces();
            }
            if self.best == before || self.left == 0 {
                return;
            }
        }
    }

    /// Of those no bytes are dropped: all that is behind would mean another thing.
    fn is_of_whole_packets(&self) -> bool {
        self.best.is_binary() && self.best.units().iter().all(|unit| packets::is_whole(unit))
    }

    /// Makes packets plainer one by one, and leaves them whole.
    fn simplify_packets(&mut self) {
        for at in 0..self.best.units().len() {
            for plainer in packets::plainer(&self.best.units()[at]) {
                let mut smaller = self.best.units();
                smaller[at] = plainer;
                self.take(match self.best.0.len() {
                    1 => Stream(vec![smaller.concat()]),
                    _ => Stream(smaller),
                });
            }
        }
    }

    /// Drops runs of parts, long ones first.
    fn drop_parts(&mut self, parts: impl Fn(&Stream) -> Vec<Vec<u8>>, whole: impl Fn(Vec<Vec<u8>>) -> Stream) {
        let mut run = parts(&self.best).len() / 2;
        while run > 0 {
            let mut at = 0;
            loop {
                let mut kept = parts(&self.best);
                if at >= kept.len() {
                    break;
                }
                kept.drain(at..kept.len().min(at + run));
                if !self.take(whole(kept)) {
                    at += run;
                }
            }
            run /= 2;
        }
    }

    fn drop_bytes_of_pieces(&mut self) {
        for piece in 0..self.best.0.len() {
            let mut run = self.best.0[piece].len() / 2;
            while run > 0 {
                let mut at = 0;
                while at < self.best.0[piece].len() {
                    let mut smaller = self.best.clone();
                    let end = smaller.0[piece].len().min(at + run);
                    smaller.0[piece].drain(at..end);
                    if !self.take(smaller) {
                        at += run;
                    }
                }
                run /= 2;
            }
        }
    }
}
