use super::*;
use crate::protocol::reply::Reply;
use crate::protocol::server::answer;
use crate::protocol::server::encode::{Words, encode};
use crate::proxy::fleet::marks::Marks;
use crate::proxy::handoff::Waiting;

mod compare;
mod even;
mod explore;
mod removal;

const FROM: usize = 0;
const TO: usize = 1;
const NOW_S: i64 = 1_800_000_000;
const KEY: &[u8] = b"k";

/// Unique 5 is of before they were parted on both servers, and 6 of meanwhile.
const PARTED: Marks = Marks {
    stored: None,
    from_above: 5,
    to_above: 5,
    to_is_own: false,
    late: None,
    from_is_senior: true,
};

fn both_up() -> Pair {
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

fn fill_of(manner: Manner) -> Fill {
    Fill {
        resync: 1,
        manner,
        listed_exptime: None,
        size: 100,
        unique: Some(9),
    }
}

fn fill(manner: Manner) -> Why {
    Why::Fill(fill_of(manner))
}

fn heal() -> Why {
    Why::Heal(Some(Waiting {
        write: 7,
        reply: None,
        instead: None,
        otherwise: None,
        is_turned: false,
    }))
}

/// All reasons for a repair, with their names in the tables.
fn why(name: &str) -> Why {
    match name {
        "read" => Why::Read,
        "heal" | "accompanied heal" => heal(),
        "heal for nobody" => Why::Heal(None),
        "differ" => Why::Differ([5, 6]),
        "differ from another item" => Why::Differ([4, 6]),
        "left" => Why::Left(5),
        "left of another item" => Why::Left(6),
        "deleted" => Why::Deleted(9),
        "add" => fill(Manner::Add),
        "add if lacking" => fill(Manner::AddIfLacking),
        "overwrite" => fill(Manner::Overwrite),
        "even out" => Why::Fill(Fill {
            unique: None,
            ..fill_of(Manner::EvenOut)
        }),
        "even out listed" => fill(Manner::EvenOut),
        "verify" => fill(Manner::Verify),
        "remove" => fill(Manner::Remove),
        "listed" => Why::Fill(Fill {
            resync: 1,
            manner: Manner::Add,
            listed_exptime: Some(NOW_S + 100),
            size: 100,
            unique: None,
        }),
        other => panic!("no reason is called {other}"),
    }
}

const WHYS: [&str; 16] = [
    "read",
    "differ",
    "left",
    "left of another item",
    "deleted",
    "heal",
    "accompanied heal",
    "heal for nobody",
    "add",
    "add if lacking",
    "overwrite",
    "even out",
    "even out listed",
    "verify",
    "remove",
    "listed",
];

/// What a server says, by its name in the tables.
fn said(name: &str) -> &'static [u8] {
    match name {
        "hit" => b"HD t30 kk\r\n",
        "old hit" => b"OK t30 kk\r\n",
        "unique 5" => b"HD c5 kk\r\n",
        "unique 6" => b"HD c6 kk\r\n",
        "miss" => b"EN\r\n",
        "end" => b"END\r\n",
        "stored" => b"STORED\r\n",
        "not stored" => b"NOT_STORED\r\n",
        "deleted" => b"DELETED\r\n",
        "not found" => b"NOT_FOUND\r\n",
        "exists" => b"EX\r\n",
        "unknown" => b"ERROR\r\n",
        "no memory" => b"SERVER_ERROR out of memory\r\n",
        "value" => b"VA 2 t30 f4 c5 kk\r\n",
        "value for ever" => b"VA 2 t-1 f4 c5 kk\r\n",
        "dying value" => b"VA 2 t0 f4 c5 kk\r\n",
        "value without unique" => b"VA 2 t30 f4 kk\r\n",
        "plain value" => b"VALUE k 4 2\r\n",
        other => panic!("no answer is called {other}"),
    }
}

/// A repair, and the world that it is in.
struct Stage {
    repair: Repair,
    pair: Pair,
    decides: bool,
    /// For what the server that is asked next was asked last.
    purpose: Purpose,
}

impl Stage {
    fn new(name: &str) -> Self {
        let accompanied = name == "accompanied heal";
        Self {
            repair: Repair::new(FROM, TO, KEY, why(name), accompanied),
            pair: both_up(),
            decides: true,
            purpose: Purpose::RepairFetch,
        }
    }

    /// Lets something happen. Returns what the repair wants then.
    fn happens(&mut self, event: &str) -> Vec<Action<'static>> {
        let pair = &mut self.pair;
        match event {
            "source down" => (pair.from.is_up, pair.source_is_still) = (false, false),
            "source restarted" => pair.source_is_still = false,
            "source old" => pair.from.has_meta = false,
            "source doubtful" => pair.source_is_doubtful = true,
            "source ahead" => pair.from.ahead_s = 1000,
            "target down" => pair.to.is_up = false,
            "target old" => pair.to.has_meta = false,
            "target decides" => self.decides = false,
            "flushed" => pair.flushes += 1,
            "parted" => pair.marks = Some(PARTED),
            "source junior" => {
                pair.from_is_senior = false;
                pair.marks = pair.marks.map(|marks| Marks {
                    from_is_senior: false,
                    ..marks
                });
            }
            _ => {
                // But for a heal, it is found to be right when the copy begins.
                if event == "begin" && !self.repair.why.heals() {
                    self.pair.source_is_still = self.pair.from.is_up;
                }
                let pair = self.pair;
                let actions = match event {
                    "begin" => self.repair.begin(&pair, self.decides),
                    "too large" => self.repair.too_large(&pair),
                    "lost" => self.repair.lost(false, &pair),
                    "hung" => self.repair.lost(true, &pair),
                    answer => {
                        let (_, response) = answer::parse(said(answer)).expect("a line").expect("an answer");
                        match response.value_len {
                            Some(_) => self.repair.value(&response, b"xy\r\n", &pair, NOW_S),
                            None => self.repair.answer(self.purpose, &response, &pair),
                        }
                    }
                };
                for action in &actions {
                    if let Action::Send { purpose, .. } = action {
                        self.purpose = *purpose;
                    }
                }
                return actions;
            }
        }
        Vec::new()
    }
}

fn as_sent(command: &Command<'_>) -> Vec<u8> {
    encode(&command.request(KEY), &mut Words::default()).parts().concat()
}

fn in_words(actions: &[Action]) -> String {
    let words = actions.iter().map(|action| match action {
        Action::Send { server, command, .. } => {
            let request = as_sent(command).escape_ascii().to_string();
            format!("{server}: {}", request.replace("\\r\\n", "|").trim_end_matches('|'))
        }
        Action::HasNoMeta => "no meta".to_owned(),
        Action::Refused(reply) => format!("refused {:?}", reply.fault),
        Action::Missed { delivered: false } => "missed".to_owned(),
        Action::Missed { delivered: true } => "missed, delivered".to_owned(),
        Action::Suspect => "suspect".to_owned(),
        Action::Done { copied: None } => "done".to_owned(),
        Action::Differs => "they differ".to_owned(),
        Action::Alike { uniques: [one, copy] } => format!("alike {one} {copy}"),
        Action::Done { copied: Some(bytes) } => format!("{bytes} copied"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// What a repair wants after the last of these events.
fn after(name: &str, events: &str) -> String {
    let mut stage = Stage::new(name);
    let mut actions = Vec::new();
    for event in events.split(", ") {
        actions = stage.happens(event);
    }
    in_words(&actions)
}

/// Checks rows of a reason, what happens, and what is wanted then, all behind the same events.
fn check(before: &str, rows: &[(&str, &str, &str)]) {
    for (name, events, wanted) in rows {
        let events = match before.is_empty() {
            true => (*events).to_owned(),
            false => format!("{before}, {events}"),
        };
        assert_eq!(after(name, &events), *wanted, "{name}: {events}");
    }
}

const FETCH: &str = "0: mg k t f c k v";
const REMOVE: &str = "1: delete k";
const ADD: &str = "1: add k 4 30 2|xy";
/// What is to be replaced is looked at first.
const LOOK: &str = "1: mg k c k";
const REMOVE_6: &str = "1: md k C6";

#[test]
fn a_repair_begins_only_where_both_servers_are_there_and_the_source_is_believed() {
    check(
        "",
        &[
            ("read", "begin", FETCH),
            ("heal", "begin", LOOK),
            ("differ", "begin, unique 6, value", "1: cas k 4 30 2 6|xy"),
            ("differ", "begin, unique 5", "they differ, done"),
            (
                "differ from another item",
                "begin, unique 6, value",
                "they differ, done",
            ),
            ("heal for nobody", "begin", LOOK),
            ("add", "begin", FETCH),
            ("overwrite", "begin", LOOK),
            ("add if lacking", "begin", "1: mg k t c k"),
            ("add if lacking", "target old, begin", FETCH),
            ("verify", "begin", "0: mg k t c k"),
            ("remove", "begin", "0: mg k t c k"),
            ("listed", "source old, begin", "0: get k"),
            ("add", "source old, begin", "done"),
            ("heal", "source old, begin", LOOK),
            ("heal", "target old, begin", FETCH),
            ("heal", "source old, target old, begin", REMOVE),
            // The source is gone.
            ("read", "source down, begin", "done"),
            ("add", "source down, begin", "done"),
            ("overwrite", "source down, begin", "done"),
            ("verify", "source down, begin", "done"),
            ("remove", "source down, begin", "done"),
            ("heal", "source down, begin", REMOVE),
            ("heal", "source restarted, begin", REMOVE),
            ("accompanied heal", "source restarted, begin", "done"),
            ("heal for nobody", "source restarted, begin", "done"),
            ("read", "source restarted, begin", FETCH),
            // The target is gone.
            ("read", "target down, begin", "done"),
            ("add", "target down, begin", "done"),
            ("overwrite", "target down, begin", "done"),
            ("heal", "target down, begin", "missed, done"),
            ("heal for nobody", "target down, begin", "missed, done"),
            // The target's word is the truth.
            ("read", "target decides, begin", FETCH),
            ("add", "target decides, begin", FETCH),
            ("overwrite", "target decides, begin", "done"),
            ("verify", "target decides, begin", "done"),
            ("remove", "target decides, begin", "done"),
        ],
    );
}

#[test]
fn a_repair_that_checks_goes_by_what_is_there() {
    check(
        "begin",
        &[
            ("add if lacking", "hit", "done"),
            ("add if lacking", "old hit", "done"),
            ("add if lacking", "miss", FETCH),
            ("add if lacking", "unknown", FETCH),
            ("add if lacking", "no memory", FETCH),
            ("add if lacking", "lost", "done"),
            ("add if lacking", "hung", "done"),
            ("verify", "hit", "done"),
            ("verify", "old hit", "done"),
            ("verify", "miss", "suspect, done"),
            ("verify", "unknown", "done"),
            ("verify", "lost", "done"),
            ("verify", "hung", "done"),
            ("remove", "hit", "done"),
            ("remove", "old hit", "done"),
            ("remove", "miss", "1: md k C9"),
            ("remove", "target down, miss", "missed, done"),
            ("remove", "unknown", "done"),
            ("remove", "lost", "done"),
            ("remove", "hung", "done"),
        ],
    );
}

#[test]
fn a_value_that_was_fetched_is_stored_with_its_flags_and_remaining_time() {
    let unix_s = NOW_S + 100;
    check(
        "begin",
        &[
            ("read", "value", ADD),
            ("add", "value", ADD),
            ("read", "value for ever", "1: add k 4 0 2|xy"),
            ("read", "value without unique", "1: add k 4 30 2|xy"),
            ("read", "target old, value", "1: add k 4 30 2|xy"),
            ("read", "plain value", "done"),
            ("read", "dying value", "done"),
            ("read", "too large", "done"),
            ("read", "flushed, value", "done"),
            ("read", "target down, value", "done"),
        ],
    );
    let overwrites: [(&str, &str, [&str; 3]); 5] = [
        (
            "value",
            "",
            ["1: set k 4 30 2|xy", "1: cas k 4 30 2 6|xy", "1: add k 4 30 2|xy"],
        ),
        ("dying value", "", [REMOVE, REMOVE_6, "done"]),
        ("too large", "", [REMOVE, REMOVE_6, "done"]),
        ("value", "flushed, ", ["done"; 3]),
        ("value", "target down, ", ["missed, done", "missed, done", "done"]),
    ];
    for (event, meanwhile, wanted) in overwrites {
        let before = ["target old, begin", "begin, unique 6", "begin, miss"];
        for (before, wanted) in before.into_iter().zip(wanted) {
            let events = format!("{meanwhile}{event}");
            check(before, &[("heal", &events, wanted), ("overwrite", &events, wanted)]);
        }
    }
    let mut stage = Stage::new("listed");
    let _ = ["source old", "source ahead", "target old", "begin"].map(|event| stage.happens(event));
    stage.pair.to.ahead_s = 60;
    let actions = stage.happens("plain value");
    let exptime = unix_s - 1000 + 60;
    assert_eq!(in_words(&actions), format!("1: add k 4 {exptime} 2|xy"));
}

/// What is there may be another write's then, so the client is told what the server that has it answered.
#[test]
fn a_write_whose_copy_stays_is_told_what_is_true_of_that() {
    let replies = |name: &str, instead: Option<Status>, events: &[&str]| {
        let mut stage = Stage::new(name);
        stage.repair.why = Why::Heal(Some(Waiting {
            write: 7,
            reply: Some(Reply::plain(Status::NotStored)),
            instead: instead.map(Reply::plain),
            otherwise: instead.map(Reply::plain),
            is_turned: false,
        }));
        for event in events {
            stage.happens(event);
        }
        match stage.repair.why {
            Why::Heal(Some(Waiting { reply, .. })) => reply.map(|reply| reply.status),
            _ => None,
        }
    };
    for events in [&["source restarted", "begin"][..], &["begin", "unique 6", "lost"]] {
        let said = |name, instead| replies(name, instead, events);
        assert_eq!(said("accompanied heal", Some(Status::Stored)), Some(Status::Stored));
        assert_eq!(said("accompanied heal", None), Some(Status::NotStored));
        assert_eq!(said("heal", Some(Status::Stored)), Some(Status::NotStored));
    }
}

#[test]
fn a_copy_that_is_refused_leaves_nothing_old() {
    check(
        "begin, value",
        &[
            ("read", "stored", LOOK),
            ("add", "stored", LOOK),
            ("read", "not stored", "done"),
            ("add", "not stored", "done"),
            ("add", "no memory", "refused Server, done"),
            ("read", "lost", "done"),
            ("add", "hung", "done"),
        ],
    );
    check(
        "target old, begin, value",
        &[
            ("heal", "stored", "2 copied"),
            ("overwrite", "stored", "2 copied"),
            ("heal", "no memory", "refused Server, 1: delete k"),
            ("overwrite", "target down, no memory", "refused Server, missed, done"),
            ("heal", "lost", "missed, done"),
            ("heal", "hung", "missed, delivered, done"),
        ],
    );
    check(
        "begin, unique 6, value",
        &[
            ("heal", "stored", LOOK),
            // Somebody has put something else there.
            ("heal", "exists", LOOK),
            ("overwrite", "not found", LOOK),
            ("heal", "no memory", "refused Server, 1: md k C6"),
            ("overwrite", "hung", "missed, delivered, done"),
        ],
    );
    check("begin, value without unique", &[("read", "stored", "2 copied")]);
    let mut stage = Stage::new("listed");
    let _ = ["source old", "target old", "begin", "plain value"].map(|event| stage.happens(event));
    stage.purpose = Purpose::RepairFetch;
    assert_eq!(stage.happens("end"), [], "the end behind a value");
    stage.purpose = Purpose::RepairStore;
    assert_eq!(in_words(&stage.happens("stored")), "2 copied");
}

#[test]
fn what_comes_to_a_repair_that_is_over_changes_nothing() {
    let events = [
        "hit",
        "unique 6",
        "miss",
        "end",
        "stored",
        "value",
        "too large",
        "lost",
        "hung",
    ];
    for name in WHYS {
        for event in events {
            let mut stage = Stage::new(name);
            stage.happens("begin");
            let over = |stage: &mut Stage| {
                stage.happens("lost");
                stage.happens("lost");
            };
            over(&mut stage);
            assert!(stage.repair.is_over(), "{name}");
            assert_eq!(stage.happens(event), [], "{name}: {event}");
        }
    }
}
