use super::*;
use crate::protocol::reply::Reply;
use crate::protocol::server::answer;
use crate::protocol::server::list::Entry;
use crate::proxy::copier::repair::{Fill, Manner, Party};
use crate::proxy::copier::resync::Next;
use crate::proxy::fleet::ledger::Ledger;
use crate::proxy::handoff::Waiting;
use crate::proxy::replicate::gate::{Access, Entry as Entrance, Gate, Who};

fn receipt() -> Receipt {
    let mut ledger = Ledger::new(&Limits::DEFAULT);
    let server = ledger.add_server();
    ledger.receipt(server)
}

fn pair() -> Pair {
    let party = Party {
        is_up: true,
        has_meta: true,
        ahead_s: 0,
    };
    Pair {
        from: party,
        to: party,
        source_is_still: true,
        source_is_doubtful: false,
        flushes: 0,
        flush_is_near: false,
        from_is_senior: true,
        marks: None,
    }
}

/// A copier, and the gate that its repairs go through.
struct World {
    copier: Copier,
    gate: Gate,
}

#[cfg(debug_assertions)]
impl Drop for World {
    fn drop(&mut self) {
        self.copier.leave_behind(&mut self.gate);
    }
}

impl World {
    fn new() -> Self {
        Self {
            copier: Copier::default(),
            gate: Gate::new(&Limits::DEFAULT),
        }
    }

    fn enter(&mut self, why: Why) -> usize {
        self.copier.enter(Repair::new(0, 1, b"k", why, false), receipt())
    }

    fn begin(&mut self, id: usize, pair: &Pair) -> Vec<Wish<'static>> {
        match self.gate.enter(self.copier.key(id), 0, Access::Alone, Who::Repair(id)) {
            Entrance::Go(pass) => self.copier.let_in(id, pass, receipt()),
            Entrance::Wait => panic!("somebody has the key"),
        }
        self.copier.begin(id, pair, true)
    }

    /// The server that is copied to has said what is there, where that is to be replaced.
    fn looked(&mut self, id: usize) {
        let fetch = self.answered(id, Purpose::RepairCheck, b"HD c6 kk\r\n");
        assert!(matches!(fetch[..], [Wish::Send { server: 0, .. }]));
    }

    fn answered(&mut self, id: usize, purpose: Purpose, line: &[u8]) -> Vec<Wish<'static>> {
        let (_, response) = answer::parse(line).expect("a line").expect("an answer");
        self.copier.answer(id, purpose, &response, &pair())
    }

    /// What is wanted before the key is left, which is last.
    fn until_left<'a>(&mut self, mut wishes: Vec<Wish<'a>>) -> Vec<Wish<'a>> {
        let Some(Wish::Leave(pass)) = wishes.pop() else {
            panic!("the key is not left behind {wishes:?}");
        };
        assert!(pass.key().is_some_and(|key| **key == *b"k"));
        self.gate.abandon(pass);
        assert!(!self.gate.is_held(b"k"));
        wishes
    }
}

fn waiting() -> Waiting {
    Waiting {
        write: 7,
        reply: None,
        instead: None,
        otherwise: None,
        is_turned: false,
    }
}

#[test]
fn a_write_is_told_that_it_was_healed_and_then_its_key_is_free() {
    let mut world = World::new();
    let id = world.enter(Why::Heal(Some(waiting())));
    assert!(matches!(world.begin(id, &pair())[..], [Wish::Send { repair, server: 1, .. }] if repair == id));
    world.looked(id);
    let removal = world.answered(id, Purpose::RepairFetch, b"EN\r\n");
    assert!(matches!(removal[..], [Wish::Send { server: 1, .. }]));
    assert!(!world.copier.is_idle() && world.gate.is_held(b"k"));
    let look = world.answered(id, Purpose::RepairStore, b"NF\r\n");
    assert!(matches!(look[..], [Wish::Send { server: 0, .. }]));
    let end = world.answered(id, Purpose::RepairCheck, b"EN\r\n");
    assert!(matches!(&world.until_left(end)[..], [Wish::Healed(healed)] if *healed == waiting()));
    assert!(world.copier.is_idle() && world.copier.single == 0);
}

#[test]
fn what_may_have_been_flushed_on_one_of_two_servers_is_not_copied_to_it() {
    let mut world = World::new();
    let id = world.enter(Why::Heal(Some(waiting())));
    world.begin(id, &pair());
    world.looked(id);
    let (_, response) = answer::parse(b"VA 1 t9 f0 c5 kk\r\n")
        .expect("a line")
        .expect("an answer");
    let mut flushing = pair();
    flushing.flush_is_near = true;
    let end = world.copier.value(id, &response, b"x\r\n", &flushing, 0);
    assert!(matches!(&world.until_left(end)[..], [Wish::Healed(healed)] if *healed == waiting()));
}

#[test]
fn what_is_on_its_way_when_a_repair_is_let_in_may_be_what_is_there() {
    for accompanied in [false, true] {
        let mut world = World::new();
        let id = world.enter(Why::Heal(Some(waiting())));
        let write = match world.gate.enter(b"k", 0, Access::Both, Who::Request(8)) {
            Entrance::Go(pass) => pass,
            Entrance::Wait => panic!("nobody is there"),
        };
        let write = match accompanied {
            true => Some(write),
            false => {
                world.gate.abandon(write);
                None
            }
        };
        let mut restarted = pair();
        restarted.source_is_still = false;
        let wishes = world.begin(id, &restarted);
        match accompanied {
            true => assert!(matches!(world.until_left(wishes)[..], [Wish::Healed(_)])),
            false => assert!(matches!(wishes[..], [Wish::Send { server: 1, .. }])),
        }
        write.into_iter().for_each(|pass| world.gate.abandon(pass));
    }
}

#[test]
fn what_a_repair_has_taken_away_is_no_reply_to_a_write_behind_it() {
    for takes_away in [false, true] {
        let mut world = World::new();
        let mut number = Reply::plain(Status::Number);
        number.number = 119;
        let id = world.enter(Why::Heal(Some(waiting())));
        let behind = world.enter(Why::Heal(Some(Waiting {
            write: 8,
            reply: Some(Reply::plain(Status::NotFound)),
            instead: Some(number.clone()),
            otherwise: Some(number.clone()),
            is_turned: false,
        })));
        world.copier.repairs[behind].repair.accompanied = true;
        let mut restarted = pair();
        restarted.source_is_still = false;
        world.begin(id, &pair());
        world.looked(id);
        let wishes = match takes_away {
            true => {
                world.answered(id, Purpose::RepairFetch, b"EN\r\n");
                world.answered(id, Purpose::RepairStore, b"HD\r\n");
                world.answered(id, Purpose::RepairCheck, b"EN\r\n")
            }
            false => {
                world.copier.repairs[id].repair.accompanied = true;
                world.copier.lost(id, false, &restarted)
            }
        };
        world.until_left(wishes);
        let wishes = world.begin(behind, &restarted);
        let [Wish::Healed(healed)] = &world.until_left(wishes)[..] else {
            panic!("nobody is told");
        };
        let told = match takes_away {
            true => Reply::plain(Status::NotFound),
            false => number,
        };
        assert_eq!(healed.reply.as_ref(), Some(&told));
    }
}

/// Two writes that were decided by one server and then by the other: what the first heal removes is what the second was to copy.
#[test]
fn what_a_repair_has_taken_away_is_no_reply_to_a_write_that_was_to_be_healed_from_there() {
    let mut world = World::new();
    let id = world.enter(Why::Heal(Some(waiting())));
    let behind = world.enter(Why::Heal(Some(Waiting {
        write: 8,
        reply: Some(Reply::plain(Status::Number)),
        instead: None,
        otherwise: Some(Reply::plain(Status::NotFound)),
        is_turned: false,
    })));
    let repair = &mut world.copier.repairs[behind].repair;
    std::mem::swap(&mut repair.from, &mut repair.to);
    let gone = |world: &mut World, id| {
        let mut old = pair();
        old.to.has_meta = false;
        world.begin(id, &old);
        world.answered(id, Purpose::RepairFetch, b"EN\r\n");
        world.answered(id, Purpose::RepairStore, b"DELETED\r\n");
        world.answered(id, Purpose::RepairCheck, b"EN\r\n")
    };
    let wishes = gone(&mut world, id);
    world.until_left(wishes);
    let wishes = gone(&mut world, behind);
    let [Wish::Healed(healed)] = &world.until_left(wishes)[..] else {
        panic!("nobody is told");
    };
    assert_eq!(healed.reply, Some(Reply::plain(Status::NotFound)));
}

#[test]
fn a_repair_keeps_its_number_until_all_its_questions_are_answered() {
    let mut world = World::new();
    // Behind the value of a plain get its end follows.
    let mut old = pair();
    old.from.has_meta = false;
    let id = world.enter(Why::Fill(Fill {
        resync: 1,
        manner: Manner::Add,
        listed_exptime: Some(0),
        size: 1,
        unique: None,
    }));
    world.begin(id, &old);
    let (_, response) = answer::parse(b"VALUE k 0 1\r\n").expect("a line").expect("an answer");
    world.copier.value(id, &response, b"x\r\n", &old, 0);
    let end = world.answered(id, Purpose::RepairStore, b"NOT_STORED\r\n");
    assert!(world.until_left(end).is_empty() && !world.copier.is_idle());
    let other = world.enter(Why::Read);
    assert_ne!(other, id);
    assert!(world.copier.lost(id, false, &pair()).is_empty());
    assert_eq!(world.copier.servers(other), (0, 1));
}

#[test]
fn a_copy_counts_for_what_it_was_made_for() {
    for why in [Why::Read, Why::Heal(None)] {
        let mut world = World::new();
        let looks = why != Why::Read;
        let id = world.enter(why);
        world.begin(id, &pair());
        if looks {
            world.looked(id);
        }
        let (_, response) = answer::parse(b"VA 1 t9 f0 kk\r\n").expect("a line").expect("an answer");
        world.copier.value(id, &response, b"x\r\n", &pair(), 0);
        let end = world.answered(id, Purpose::RepairStore, b"STORED\r\n");
        let wishes = world.until_left(end);
        assert!(matches!(
            wishes[..],
            [Wish::Copied {
                server: 1,
                bytes: 1,
                fills: false
            }]
        ));
    }
}

#[test]
fn repairs_that_may_be_left_undone_have_a_bound() {
    let mut world = World::new();
    let limits = Limits {
        repairs: 3,
        ..Limits::default()
    };
    for _ in 0..limits.repairs {
        assert!(world.copier.has_room(&limits));
        world.enter(Why::Read);
    }
    assert!(!world.copier.has_room(&limits));
    let mut down = pair();
    down.from.is_up = false;
    let end = world.begin(0, &down);
    assert!(world.until_left(end).is_empty() && world.copier.has_room(&limits));
}

#[test]
fn a_key_that_is_filled_is_struck_off_while_its_resync_goes_on() {
    let mut world = World::new();
    world.copier.want_resync();
    assert!(world.copier.takes_up() && !world.copier.takes_up());
    let enter = |world: &mut World| {
        let keys = [Entry::of(b"k")].into();
        let resync = world.copier.take_up(0, 1, Task::Keys(keys), 0, &Limits::DEFAULT);
        assert_eq!((resync.from, resync.to), (0, 1));
        let resync = world.copier.resync.as_mut().expect("it was begun");
        let Next::Copy { fill, .. } = resync.next(0, Limits::DEFAULT.resync_idle) else {
            panic!("a key");
        };
        world.enter(Why::Fill(fill))
    };
    let id = enter(&mut world);
    world.begin(id, &pair());
    assert!(world.copier.single == 0 && !world.copier.is_idle());
    let end = world.answered(id, Purpose::RepairFetch, b"EN\r\n");
    let wishes = world.until_left(end);
    assert!(matches!(&wishes[..], [Wish::Filled { server: 1, from: 0, key }] if **key == *b"k"));
    // One that was broken off knows nothing of its keys any more.
    let id = enter(&mut world);
    world.begin(id, &pair());
    assert!(world.copier.take_resync().is_some() && world.copier.takes_up());
    enter(&mut world);
    let end = world.answered(id, Purpose::RepairFetch, b"EN\r\n");
    assert!(world.until_left(end).is_empty());
}

#[test]
fn a_list_is_read_where_it_comes() {
    let mut copier = Copier::default();
    assert_eq!((copier.listed_server(), copier.list_begins(5, 0)), (None, None));
    copier.take_up(0, 1, Task::Suspect { parted: false }, 0, &Limits::DEFAULT);
    assert_eq!((copier.listed_server(), copier.list_link()), (Some(1), None));
    assert!(copier.list_begins(5, 0).is_some());
    assert_eq!(copier.list_link(), Some(5));
    assert!(!copier.may_read_list());
    assert!(copier.listing_mut().expect("a list").readable(5) && copier.may_read_list());
}
