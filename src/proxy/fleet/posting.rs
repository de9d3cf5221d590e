//! Reading and writing the boards of all servers; see [`board`](crate::proxy::fleet::board).

use crate::protocol::reply::Status;
use crate::protocol::request::{Options, Request};
use crate::protocol::server::answer::Response;
use crate::protocol::verb::Verb;
use crate::proxy::fleet::board::{self, BOARD_EXPTIME_S, BOARD_KEY, BOARD_PAUSE_MS, NOTICED_MS};
use crate::proxy::fleet::server::{Board, Health, Known, Rejoining};
use crate::proxy::handoff::Handoff;
use crate::proxy::net::Net;
use crate::proxy::permit::PastGate;
use crate::proxy::servers::Servers;
use crate::proxy::timers::Timer;
use crate::proxy::upstream::link::Purpose;
use crate::proxy::upstream::message::Message;

/// So often the board of a server that returns is asked for again, until those who have a line there are known to be there.
const LOOKS_MAX: u8 = 3;

impl<N: Net> Servers<N> {
    /// Reads the boards of all servers that can tell what is there, if it is time.
    pub fn read_boards(&mut self) {
        let Some(mut due_ms) = self.fleet.others.due_ms else {
            return;
        };
        let now_ms = self.cx.now.ms();
        if due_ms <= now_ms {
            let servers = self.fleet.in_use();
            servers.into_iter().for_each(|server| self.read_board(server));
            due_ms = now_ms + BOARD_PAUSE_MS;
            self.fleet.others.due_ms = Some(due_ms);
            if self.fleet.others.forget_missed(now_ms) {
                self.cx.hand_on(Handoff::Lacking);
            }
            self.fleet.note_others(now_ms);
        }
        self.cx.timers.set(Timer::Board, due_ms);
        self.let_go();
        self.end_start();
    }

    /// Whether this magent's line stands where it can, and those who were there before have had the time to read it: only then do they
    /// look at what they write once more. And whether it has understood what stands there: who is without which server.
    pub fn is_noticed(&mut self) -> bool {
        let (fleet, now_ms) = (&self.fleet, self.cx.now.ms());
        let others = &fleet.others;
        let posted = |&server: &usize| !fleet.has_board(server) || others.understood.contains(&server);
        let is_noticed = fleet.in_use().iter().all(posted) && others.noticed_ms <= now_ms;
        // A server that does not keep its board is not waited for.
        let until_ms = self.cx.started_ms + self.cx.settings.timeout_ms + NOTICED_MS;
        if others.due_ms.is_none() || is_noticed || until_ms <= now_ms {
            return true;
        }
        // What is posted meanwhile is looked at when it is.
        let look_ms = match others.noticed_ms > now_ms {
            true => others.noticed_ms.min(until_ms),
            false => until_ms,
        };
        self.cx.timers.set(Timer::Board, look_ms);
        false
    }

    /// A board has this magent's line, or somebody else was faster, or the server refuses it.
    pub fn posted(&mut self, server: usize, status: Status, version: usize) {
        self.has_told(server, status, version);
        match status {
            Status::NotStored | Status::Exists | Status::NotFound if self.fleet.is_starting => self.read_board(server),
            Status::NotStored | Status::Exists | Status::NotFound => {}
            _ if self.fleet.others.on.insert(server) => {
                let now_ms = self.cx.now.ms();
                if self.fleet.others.count(now_ms) > 0 {
                    self.fleet.others.noticed_ms = now_ms + NOTICED_MS;
                }
                self.read_board(server);
            }
            _ => {}
        }
    }

    /// Reads the board of a server, if that is there and can tell what is on it.
    pub fn read_board(&mut self, server: usize) {
        if self.fleet.has_board(server) && self.fleet.others.due_ms.is_some() {
            self.ask_for_board(server);
        }
    }

    fn ask_for_board(&mut self, server: usize) {
        let item = Options {
            ttl: true,
            flags: true,
            unique: true,
            value: true,
            ..Options::default()
        };
        self.fleet.is_asked(server, self.cx.now.ms());
        self.ask(server, Purpose::Board, 0, Request::look(BOARD_KEY, item));
    }

    /// Has this magent's line written on all boards at once: there is news.
    pub fn post_soon(&mut self) {
        if let Some(due_ms) = &mut self.fleet.others.due_ms {
            *due_ms = self.cx.now.ms();
            self.cx.timers.set(Timer::Board, *due_ms);
        }
    }

    /// Whether a server that returns has still to tell what is on its board.
    pub fn waits_for_board(&mut self, index: usize) -> bool {
        let reads = self.fleet.others.due_ms.is_some() && self.fleet.has_meta(index) && self.fleet.is_confirmed(index);
        let now_ms = self.cx.now.ms();
        let Health::Rejoining { step, .. } = &mut self.fleet.servers[index].health else {
            return false;
        };
        let next = match *step {
            Rejoining::Reading(Board::Noticed { until_ms, looks }) if until_ms <= now_ms => Board::AskedAgain { looks },
            Rejoining::Reading(Board::Noticed { until_ms, .. }) => {
                self.cx.timers.set(Timer::Compare, until_ms);
                return true;
            }
            Rejoining::Reading(Board::Asked | Board::AskedAgain { .. }) => return true,
            Rejoining::Reading(Board::Read) | Rejoining::Comparing { .. } => return false,
            _ if reads => Board::Asked,
            _ => return false,
        };
        *step = Rejoining::Reading(next);
        self.ask_for_board(index);
        true
    }

    /// The board of a server that returns was read, or cannot be (None). Others that have a line there may just have found out that they are
    /// without a partner; and whether they are there at all shows when their line is seen to change.
    fn returning_board_read(&mut self, index: usize, text: Option<&[u8]>) {
        let now_ms = self.cx.now.ms();
        let tells_of_others = text.is_some_and(|text| self.fleet.others.board.tells_of_others(text));
        let is_uncertain = text.is_some_and(|text| self.fleet.may_be_parted(index, text));
        let Health::Rejoining { step, .. } = &mut self.fleet.servers[index].health else {
            return;
        };
        let looks = match *step {
            Rejoining::Reading(Board::Asked) if tells_of_others => Some(1),
            Rejoining::Reading(Board::AskedAgain { looks }) if is_uncertain && looks < LOOKS_MAX => Some(looks + 1),
            _ => None,
        };
        match (*step, text) {
            (Rejoining::Reading(_), _) if looks.is_some() => {
                let (until_ms, looks) = (now_ms + NOTICED_MS, looks.unwrap_or_default());
                *step = Rejoining::Reading(Board::Noticed { until_ms, looks });
                self.cx.timers.set(Timer::Compare, until_ms);
            }
            (Rejoining::Reading(Board::Asked | Board::AskedAgain { .. }), text) => {
                *step = Rejoining::Reading(Board::Read);
                self.fleet.note_parted(index, text.unwrap_or_default());
                self.rejoin(index);
            }
            _ => {}
        }
    }

    /// A server does not tell what is on its board.
    pub fn board_unread(&mut self, server: usize) {
        self.returning_board_read(server, None);
    }

    /// A server has this number, by its board: so it is told from others that say the same of themselves, and its uniques are marked alike by
    /// every magent. It keeps the first one in each life.
    fn is_numbered(&mut self, index: usize, id: u64) {
        let server = &mut self.fleet.servers[index];
        let Known::Life(life) = server.life else {
            return;
        };
        if server.id.is_none() {
            server.id = Some(id);
            server.seniority.2 = id;
            let remembered = self.cx.settings.limits.tags_remembered;
            server.tag = self.fleet.tags.give_by_number(id, life, remembered);
            self.fleet.is_born(index, id);
            self.fleet.apply_rank(index);
            if self.fleet.is_starting && self.fleet.are_numbered() {
                let unread: Vec<_> = self.fleet.others.on.iter().copied().filter(|&on| on != index).collect();
                unread.into_iter().for_each(|on| self.read_board(on));
            }
        }
    }

    /// A board was read: it is understood if this magent's line stood there by then and the numbers of all servers are known, which may
    /// be what the start waits for.
    fn may_be_understood(&mut self, server: usize) {
        let others = &self.fleet.others;
        if others.on.contains(&server) && self.fleet.are_numbered() && self.fleet.others.understood.insert(server) {
            self.end_start();
        }
    }

    /// A board was read: `text` is what is on it, None if there is none.
    pub fn board_read(&mut self, server: usize, response: &Response<'_>, text: Option<&[u8]>) {
        let now_ms = self.cx.now.ms();
        let (text, is_new) = (text.unwrap_or_default(), text.is_none());
        let contact = &mut self.fleet.servers[server].contact;
        contact.is_heard();
        contact.saw(response.unique.unwrap_or_default());
        let without = self.fleet.missed(now_ms);
        if self.fleet.others.board.read(text, now_ms) && self.fleet.look_soon(now_ms) {
            self.cx.timers.set(Timer::Probe, now_ms);
        }
        self.fleet.note_others(now_ms);
        if let Some(id) = board::id(text) {
            self.is_numbered(server, id);
        }
        for missed in self.fleet.note_missed(text, now_ms) {
            self.cx.hand_on(Handoff::MissedByOthers(missed));
        }
        self.fleet.learn_ranks(text);
        let (ranks, version) = (self.fleet.ranks(), self.fleet.heirs.version());
        let board = &mut self.fleet.others.board;
        let written = board.written(text, self.fleet.servers[server].id, &without, &ranks, now_ms);
        self.may_be_understood(server);
        let post = Request {
            exptime: BOARD_EXPTIME_S,
            value: &written,
            number: response.unique.unwrap_or_default(),
            ..Request::new(if is_new { Verb::Add } else { Verb::Cas }, BOARD_KEY)
        };
        if self.fleet.is_up(server) {
            self.change(&PastGate::Board, server, Purpose::Post, version, Message::from(&post));
        }
        if self.fleet.note_found_again(server, text, now_ms) {
            self.cx.hand_on(Handoff::Lacking);
        }
        self.returning_board_read(server, Some(text));
    }
}
