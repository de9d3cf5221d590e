//! The board: one small item on every server, by which the magents that use it find each other.
//!
//! Each of them writes its line there some ten times a second, and reads the others'. So it knows within moments who else is there,
//! and that is its look at the server's health as well, whether clients ask for anything or not. The item expires by itself, is
//! written anew where it was evicted or flushed, and has room for a few magents; what is no line of a board in it is thrown away.
//!
//! ```text
//!  id <the server's number, 16 hexadecimal digits>
//!  <the magent's number, 16 hexadecimal digits> <its clock> <a server's number>:<milliseconds> ... <a server's number>^<rank> ...
//! ```
//! The first line tells servers apart that say the same of themselves, being started in the same second and with the same process
//! number, as by two machines that boot together. Whoever finds no board makes up a number, or writes the one that it knows.
//! The clock is in milliseconds since the magent was started, and never the same twice: so a line that nobody writes any more is told from one
//! that is kept, and when it was written is known to all who have heard its magent.
//! Whose line names servers cannot reach them, or could not until so many milliseconds before it was written: what it wrote meanwhile is on
//! their partners alone (`parted`). The number 0 stands for any: one that it does not know, or that the line has no room for.
//! A rank is that of a server that was lost, and decides nothing since; see `heirs`.
//! Whoever changes the item does so by a `cas`, so that nobody's line is lost; who comes too late tries again at its next turn.

use crate::protocol::number::Decimal;
use crate::protocol::server::answer::unsigned;

/// The key of the item, on every server: no client's. It is not copied from one server to another.
pub const BOARD_KEY: &[u8] = b"magent:board";
/// How long the item stays when nobody writes it any more.
pub const BOARD_EXPTIME_S: i64 = 60;
/// How often a magent reads a board, and writes its line.
pub const BOARD_PAUSE_MS: u64 = 100;
/// Within this every magent has read what another has written.
pub const NOTICED_MS: u64 = 150;
/// A magent whose line has not changed for so long is not there any more.
const GONE_MS: u64 = 3000;
/// Who is heard again after this was kept from it.
const UNHEARD_MS: u64 = 400;
/// Magents that one board has room for.
const LINES_MAX: usize = 16;
/// Servers that a line names as out of reach, and with a rank.
const WITHOUT_MAX: usize = 8;
pub const RANKS_MAX: usize = 8;
/// Stands for any server.
const ANY: u64 = 0;

/// Another magent, or what one has left behind.
#[derive(Clone, Copy, Debug)]
struct Other {
    number: u64,
    count: u64,
    /// When its clock was seen to go on; it has been, since this magent knows it.
    heard_ms: u64,
    goes_on: bool,
    /// What is to be added to its clock for this magent's.
    behind_ms: i64,
    /// When its line was on some board.
    seen_ms: u64,
}

impl Other {
    fn is_there(&self, now_ms: u64) -> bool {
        self.heard_ms + GONE_MS > now_ms
    }
}

/// That another magent is, or was, without a server, as a board says; the times by this magent's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// When it was written.
    pub written_ms: i64,
    /// It was without it at this time.
    pub until_ms: i64,
    /// And is not any more.
    pub is_over: bool,
    /// It has been heard to go on; else it may be gone, and the time is a guess.
    pub is_known: bool,
}

/// What is known of the other magents, and this one's own line.
#[derive(Debug)]
pub struct Board {
    number: u64,
    count: u64,
    others: Vec<Other>,
    was_read: bool,
}

impl Board {
    /// `number` is this magent's own.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            count: 0,
            others: Vec::new(),
            was_read: false,
        }
    }

    /// Takes what is written on a board. Returns whether somebody is heard there who was not heard for a while, or never.
    pub fn read(&mut self, text: &[u8], now_ms: u64) -> bool {
        self.was_read = true;
        let mut is_news = false;
        for Line { number, count, .. } in lines(text).filter(|line| line.number != self.number) {
            let known = self.others.iter().position(|other| other.number == number);
            match known {
                Some(at) => {
                    let other = &mut self.others[at];
                    other.seen_ms = now_ms;
                    if count > other.count {
                        is_news |= other.heard_ms + UNHEARD_MS < now_ms;
                        // What one that is gone has left on two boards differs a little, too.
                        let (by_ms, in_ms) = (count - other.count, now_ms - other.heard_ms);
                        other.goes_on |= by_ms >= BOARD_PAUSE_MS / 2 && 2 * by_ms >= in_ms;
                        (other.count, other.heard_ms) = (count, now_ms);
                        // What is read late looks as if the clock were slow; one that is follows.
                        other.behind_ms = (other.behind_ms + 1).min(now_ms as i64 - count as i64);
                    }
                }
                None if self.others.len() < LINES_MAX => {
                    is_news = true;
                    self.others.push(Other {
                        number,
                        count,
                        heard_ms: now_ms,
                        goes_on: false,
                        behind_ms: now_ms as i64 - count as i64,
                        seen_ms: now_ms,
                    });
                }
                None => {}
            }
        }
        self.others.retain(|other| other.seen_ms + GONE_MS > now_ms);
        is_news
    }

    /// What is to be written there: the server's number, which is `known` or made up, this magent's line, and those of the others that
    /// are on this board and still there.
    pub fn written(
        &mut self,
        text: &[u8],
        known: Option<u64>,
        without: &[Without],
        ranks: &[Rank],
        now_ms: u64,
    ) -> Vec<u8> {
        self.count = now_ms.max(self.count + 1);
        let id = id(text).or(known).unwrap_or_else(|| self.made_up());
        let is_there = |line: &Line| {
            let other = self.others.iter().find(|other| other.number == line.number);
            other.is_some_and(|other| other.is_there(now_ms))
        };
        let mut written = format!("id {id:016x}\n").into_bytes();
        for line in lines(text).filter(is_there).take(LINES_MAX - 1) {
            written.extend_from_slice(line.text);
            written.push(b'\n');
        }
        written.extend_from_slice(format!("{:016x} ", self.number).as_bytes());
        written.extend_from_slice(Decimal::new(self.count).as_bytes());
        let names = match without.len() <= WITHOUT_MAX {
            true => without,
            false => &[Without { id: None, ago_ms: 0 }],
        };
        for Without { id, ago_ms } in names {
            written.extend_from_slice(format!(" {:016x}:{ago_ms}", id.unwrap_or(ANY)).as_bytes());
        }
        for Rank { id, rank } in ranks.iter().take(RANKS_MAX) {
            written.extend_from_slice(format!(" {id:016x}^{rank}").as_bytes());
        }
        written.push(b'\n');
        written
    }

    /// Whether another magent has a line there.
    pub fn tells_of_others(&self, text: &[u8]) -> bool {
        lines(text).any(|line| line.number != self.number)
    }

    /// What others say there of the server of this number, or may say, that they are or were without it.
    pub fn absences<'a>(&'a self, text: &'a [u8], id: Option<u64>) -> impl Iterator<Item = Absence> + 'a {
        let known = |line: Line<'a>| Some((self.others.iter().find(|other| other.number == line.number)?, line));
        let is_named = move |without: &Without| id.is_none() || without.id.is_none() || without.id == id;
        lines(text).filter_map(known).flat_map(move |(other, line)| {
            let written_ms = line.count as i64 + other.behind_ms;
            line.without().filter(is_named).map(move |without| Absence {
                written_ms,
                until_ms: written_ms - without.ago_ms as i64,
                is_over: without.ago_ms > 0,
                is_known: other.goes_on,
            })
        })
    }

    /// A number that no other magent makes up.
    fn made_up(&self) -> u64 {
        self.number.rotate_left(32) ^ self.count
    }

    /// Whether any board has been read.
    pub fn was_read(&self) -> bool {
        self.was_read
    }

    /// Other magents that are there.
    pub fn others(&self, now_ms: u64) -> usize {
        self.others.iter().filter(|other| other.is_there(now_ms)).count()
    }
}

/// The server's number, if it is on its board.
pub fn id(text: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    hexadecimal(line.strip_prefix(b"id ")?)
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// A server that a magent cannot reach, or could not until so many milliseconds ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Without {
    /// None if its number is not known.
    pub id: Option<u64>,
    /// 0 as long as it cannot.
    pub ago_ms: u64,
}

impl Without {
    fn parse(word: &[u8]) -> Option<Self> {
        let (id, ago_ms) = word.split_at_checked(16)?;
        let (id, ago_ms) = (hexadecimal(id)?, unsigned(ago_ms.strip_prefix(b":")?)?);
        let id = Some(id).filter(|&id| id != ANY);
        Some(Self { id, ago_ms })
    }
}

/// A server that decides nothing of the keys that it holds together with one of a lower rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// Its number.
    pub id: u64,
    pub rank: u32,
}

impl Rank {
    fn parse(word: &[u8]) -> Option<Self> {
        let (id, rank) = word.split_at_checked(16)?;
        let (id, rank) = (hexadecimal(id)?, unsigned(rank.strip_prefix(b"^")?)?);
        Some(Self {
            id,
            rank: rank.try_into().ok()?,
        })
    }
}

/// The ranks that are written on a board, by whomever.
pub fn ranks(text: &[u8]) -> impl Iterator<Item = Rank> {
    lines(text).flat_map(|line| line.words().filter_map(Rank::parse))
}

/// A magent's line.
struct Line<'a> {
    number: u64,
    count: u64,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// None if it is no line of a board.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut words = text.split(|&byte| byte == b' ');
        let (number, count) = (hexadecimal(words.next()?)?, unsigned(words.next()?)?);
        let is_one = |word| Without::parse(word).is_some() || Rank::parse(word).is_some();
        let is_possible = words.clone().count() <= WITHOUT_MAX + RANKS_MAX && words.all(is_one);
        is_possible.then_some(Self { number, count, text })
    }

    /// What it says of servers.
    fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.text.split(|&byte| byte == b' ').skip(2)
    }

    /// The servers that it names as out of reach.
    fn without(&self) -> impl Iterator<Item = Without> + use<'a> {
        self.words().filter_map(Without::parse)
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let lines = text.split(|&byte| byte == b'\n').take(LINES_MAX + 1);
    lines.filter_map(Line::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_is_there_and_who_stands_still_is_gone() {
        let (mut one, mut other) = (Board::new(1), Board::new(2));
        let mut text = one.written(b"", Some(7), &[], &[], 0);
        assert_eq!(text, b"id 0000000000000007\n0000000000000001 1\n");
        other.read(&text, 0);
        text = other.written(&text, None, &[], &[], 0);
        assert_eq!(text, b"id 0000000000000007\n0000000000000001 1\n0000000000000002 1\n");
        one.read(&text, 0);
        assert_eq!((one.others(0), other.others(0)), (1, 1));
        let left_behind = text.clone();
        for now_ms in (0..10_000).step_by(100) {
            one.read(&text, now_ms);
            one.read(&left_behind, now_ms); // on another server, say
            text = one.written(&text, None, &[], &[], now_ms);
            other.read(&text, now_ms);
        }
        assert_eq!((one.others(10_000), other.others(10_000)), (0, 1));
        assert_eq!(
            text, b"id 0000000000000007\n0000000000000001 9900\n",
            "its line is taken away"
        );
    }

    #[test]
    fn a_server_has_one_number_whoever_makes_it_up() {
        let (mut one, mut other) = (Board::new(1), Board::new(2));
        let [first, second] = [&mut one, &mut other].map(|board| board.written(b"", None, &[], &[], 0));
        assert_ne!(id(&first), id(&second), "whose add comes first, that is it");
        assert_eq!(id(&other.written(&first, id(&second), &[], &[], 0)), id(&first));
        assert_eq!(
            id(&other.written(b"", id(&first), &[], &[], 0)),
            id(&first),
            "it was evicted"
        );
        for odd in [
            "",
            "id",
            "id 1\n",
            "id 000000000000000g\n",
            "0000000000000002 1\nid 0000000000000001\n",
        ] {
            assert_eq!(id(odd.as_bytes()), None, "{odd:?}");
        }
    }

    #[test]
    fn who_cannot_reach_a_server_says_so_on_the_other_boards() {
        let (mut one, mut other) = (Board::new(1), Board::new(2));
        let without = |id, ago_ms| Without { id, ago_ms };
        let text = one.written(b"", Some(7), &[without(Some(8), 0), without(None, 900)], &[], 0);
        assert_eq!(
            text,
            b"id 0000000000000007\n0000000000000001 1 0000000000000008:0 0000000000000000:900\n"
        );
        assert!(other.tells_of_others(&text) && !one.tells_of_others(&text));
        let said = |board: &Board, text: &[u8], id: Option<u64>| -> Vec<(i64, i64, bool)> {
            let said = board.absences(text, id);
            said.map(|said| (said.written_ms, said.until_ms, said.is_known))
                .collect()
        };
        assert_eq!(said(&other, &text, None), [], "nobody knows when that was");
        other.read(&text, 500);
        assert_eq!(said(&other, &text, Some(8)), [(500, 500, false), (500, -400, false)]);
        assert_eq!(said(&other, &text, Some(9)), [(500, -400, false)], "that may be it");
        assert_eq!(said(&one, &text, Some(8)), [], "it is its own line");
        let text = other.written(&text, None, &[], &[], 500);
        let expected = b"1 1 0000000000000008:0 0000000000000000:900\n0000000000000002 500\n";
        assert!(text.ends_with(expected), "others' lines stay");
        // The other's clock is 490 ms ahead, as far as it has been heard at once.
        let frozen = one.written(&text, None, &[without(Some(8), 0)], &[], 20);
        other.read(&frozen, 510);
        assert!(
            !said(&other, &frozen, Some(8))[0].2,
            "that it differs by little says nothing"
        );
        let late = one.written(&text, None, &[without(Some(8), 100)], &[], 300);
        other.read(&late, 850);
        assert_eq!(said(&other, &late, Some(8)), [(791, 691, true)]);
        assert_eq!(
            said(&other, &frozen, Some(8)),
            [(511, 511, true)],
            "it is as old as it was"
        );
        let text = one.written(&text, None, &[without(Some(8), 900); WITHOUT_MAX + 1], &[], 0);
        assert_eq!(said(&other, &text, Some(9)).len(), 1, "there is no room for all");
    }

    #[test]
    fn ranks_are_said_by_all_who_know_them() {
        let (mut one, mut other) = (Board::new(1), Board::new(2));
        let told = [Rank { id: 8, rank: 1 }, Rank { id: 9, rank: 12 }];
        let missed = [Without { id: Some(8), ago_ms: 0 }];
        let text = one.written(b"", Some(7), &missed, &told, 0);
        let line = b"0000000000000001 1 0000000000000008:0 0000000000000008^1 0000000000000009^12\n";
        assert!(text.ends_with(line), "{}", text.escape_ascii());
        assert_eq!(ranks(&text).collect::<Vec<_>>(), told);
        other.read(&text, 0);
        let text = other.written(&text, None, &[], &told[..1], 0);
        assert_eq!(ranks(&text).count(), 3, "others' lines stay");
        for odd in [
            "8^1",
            "0000000000000008^",
            "0000000000000008^x",
            "0000000000000008^4294967296",
        ] {
            let line = format!("0000000000000002 1 {odd}\n");
            assert_eq!(lines(line.as_bytes()).count(), 0, "{odd}");
        }
    }

    #[test]
    fn what_is_no_line_is_thrown_away_and_there_is_room_for_a_few() {
        let mut board = Board::new(1);
        for odd in [
            "",
            "x",
            "000000000000000g 1\n",
            "0000000000000002\n",
            "0000000000000002 -1\n",
            "0000000000000002 1 \n",
            "0000000000000002 1 2\n",
            "0000000000000002 1 0000000000000008\n",
            "0000000000000002 1 0000000000000008:x\n",
            "\n\n\u{ff}",
        ] {
            board.read(odd.as_bytes(), 0);
            assert_eq!(
                (
                    board.others(0),
                    lines(&board.written(odd.as_bytes(), None, &[], &[], 0)).count()
                ),
                (0, 1),
                "{odd:?}"
            );
        }
        let many: String = (2..100).map(|number| format!("{number:016x} 1\n")).collect();
        board.read(many.as_bytes(), 0);
        assert_eq!(board.others(0), LINES_MAX);
        assert_eq!(
            lines(&board.written(many.as_bytes(), None, &[], &[], 0)).count(),
            LINES_MAX
        );
    }
}
