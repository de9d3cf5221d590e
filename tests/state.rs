//! What servers miss outlives the magent that knows it.

mod common;

use common::{Client, Magent, Memcached, Port, eventually, hit, scratch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const TIMEOUT: &str = "--timeout=300";

/// A magent on this port, which its journal is named after.
fn magent(port: &Port, primary: &Memcached, backup: &Memcached, more: &[&str]) -> Magent {
    let (name, number) = (format!("127.0.0.1:{port}"), port.to_string());
    let own = ["-D", "-l", "127.0.0.1", "-p", &number, TIMEOUT];
    let servers = ["-s", &primary.name, "-b", &backup.name];
    Magent::start_exactly(&[&own[..], &servers, more].concat(), &name, Port::free())
}

/// A server whose magent is gone, which has missed something.
struct Missed {
    primary: Memcached,
    backup: Memcached,
    state: String,
    port: Port,
}

impl Missed {
    /// The primary hangs while keys are written; then magent is killed.
    fn new(directory: &Path) -> Self {
        let (primary, backup) = (Memcached::start(), Memcached::start());
        let state = format!("--state-dir={}", directory.display());
        let port = Port::free();
        let mut magent = magent(&port, &primary, &backup, &[&state, "--board=off"]);
        let mut client = magent.client();
        for key in ["written", "deleted", "counted", "kept"] {
            client.check(format!("set {key} 0 0 1\r\n1\r\n"), "STORED\r\n");
        }
        is_whole(&magent, &primary);
        primary.stop();
        client.check("set written 0 0 3\r\nnew\r\n", "STORED\r\n");
        client.check("delete deleted\r\nincr counted 1\r\n", "DELETED\r\n2\r\n");
        eventually("it is written down", || {
            let text = journal(directory);
            ["written", "deleted", "counted"].iter().all(|key| text.contains(key))
        });
        magent.signal(libc::SIGKILL);
        magent.wait();
        Self {
            primary,
            backup,
            state,
            port,
        }
    }

    fn magent(&self) -> Magent {
        magent(&self.port, &self.primary, &self.backup, &[&self.state, "--board=off"])
    }
}

fn is_whole(magent: &Magent, server: &Memcached) {
    eventually("it has all that it should have", || {
        magent.server_stat(server, "state") == "up"
    });
}

/// Those that are whole: one that is being written anew has another ending, and is nobody's when its magent is killed over it.
fn journals(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "journal"))
        .collect()
}

/// All that stands in journals.
fn journal(directory: &Path) -> String {
    let read = |path: &PathBuf| String::from_utf8(fs::read(path).unwrap_or_default()).expect("text");
    journals(directory).iter().map(read).collect()
}

/// What is read, from magent and from its servers, is what was written last.
fn nothing_is_old(magent: &Magent, missed: &Missed) {
    is_whole(magent, &missed.primary);
    let now = [
        ("written", hit("written", 0, "new")),
        ("deleted", "END\r\n".to_owned()),
        ("counted", hit("counted", 0, "2")),
        ("kept", hit("kept", 0, "1")),
    ];
    for (key, reply) in now {
        let request = format!("get {key}\r\n");
        magent.client().check(&request, &reply);
        assert_eq!(missed.primary.ask(&request), reply, "on the primary");
        assert_eq!(missed.backup.ask(&request), reply, "on the backup");
    }
}

#[test]
fn what_was_missed_is_known_to_the_next_magent() {
    for returns_before in [true, false] {
        let files = scratch();
        let directory = files.path("");
        let missed = Missed::new(directory.as_ref());
        if returns_before {
            missed.primary.cont();
        }
        let magent = missed.magent();
        if !returns_before {
            magent.settle();
            missed.primary.cont();
        }
        nothing_is_old(&magent, &missed);
        let log = magent.log();
        assert!(log.contains("has missed writes of 3 keys, by the journal"), "{log}");
        // It has kept what it had otherwise.
        assert!(!log.contains("flushed") && !log.contains("is being filled"), "{log}");
        eventually("it is not written down any more", || {
            let text = journal(directory.as_ref());
            !text.contains("written") && text.contains(&missed.primary.name)
        });
        assert_eq!(
            journals(directory.as_ref()).len(),
            1,
            "that of the one that was killed is gone"
        );
    }
}

/// A magent on another port before the same servers, and none that has other ones.
#[test]
fn what_was_missed_is_known_wherever_the_next_magent_listens() {
    let files = scratch();
    let directory = files.path("");
    let (first, stranger) = (Port::free(), Port::free());
    let other = Memcached::start();
    let state = format!("--state-dir={directory}");
    let beside = Memcached::start();
    let neighbour = magent(&stranger, &other, &beside, &[&state]);
    eventually("it is there", || journal(directory.as_ref()).contains(&other.name));
    drop(neighbour);
    let missed = {
        // That one has left that nothing was missed.
        let missed = Missed::new(directory.as_ref());
        missed.primary.cont();
        let magent = missed.magent();
        nothing_is_old(&magent, &missed);
        missed
    };
    let elsewhere = magent(&first, &missed.primary, &missed.backup, &[&state, "--board=off"]);
    is_whole(&elsewhere, &missed.primary);
    missed.primary.stop();
    elsewhere.client().check("set kept 0 0 1\r\n1\r\n", "STORED\r\n"); // it was sent, and is not one that was missed
    elsewhere.wait_for(&missed.primary, "down");
    elsewhere.client().check("set written 0 0 5\r\nnewer\r\n", "STORED\r\n");
    eventually("it is written down", || {
        journal(directory.as_ref()).contains(" written")
    });
    elsewhere.signal(libc::SIGKILL);
    drop(elsewhere);
    let magent = missed.magent();
    magent.settle();
    missed.primary.cont();
    is_whole(&magent, &missed.primary);
    eventually("the next one is rid of what is old", || {
        missed.primary.ask("get written\r\n") == hit("written", 0, "newer")
    });
    magent.client().check("get written\r\n", hit("written", 0, "newer"));
    let of = |name: &str| {
        let left = journals(directory.as_ref());
        let says = |path: &&PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(name));
        left.iter().filter(says).count()
    };
    eventually("what was read is taken away, and nobody else's", || {
        (of(&missed.primary.name), of(&other.name)) == (1, 1)
    });
}

/// A magent that takes over the port of one that runs. The primary hangs; of its missed writes the new one knows that of `k`, not that of `later`.
struct TakenOver {
    primary: Memcached,
    _backup: Memcached,
    old: Magent,
    client: Client,
    new: Magent,
}

impl TakenOver {
    fn new(directory: &Path) -> Self {
        let (primary, backup) = (Memcached::start(), Memcached::start());
        let state = format!("--state-dir={}", directory.display());
        let port = Port::free();
        let start = || magent(&port, &primary, &backup, &[&state, "--board=off", "--reuse-port"]);
        let old = start();
        let mut client = old.client();
        let store = "set k 0 0 3\r\nold\r\nset later 0 0 3\r\nold\r\n";
        client.check(store, "STORED\r\nSTORED\r\n");
        is_whole(&old, &primary);
        primary.stop();
        client.check("set k 0 0 3\r\nnew\r\n", "STORED\r\n");
        eventually("it is written down", || journal(directory).contains(" k"));
        let new = start();
        eventually("it is known", || {
            new.log().contains("has missed writes of 1 keys, by the journal")
        });
        client.check("set later 0 0 3\r\nnew\r\n", "STORED\r\n");
        eventually("it is written down", || journal(directory).contains(" later"));
        Self {
            primary,
            _backup: backup,
            old,
            client,
            new,
        }
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.primary.ask(format!("get {key}\r\n")) == hit(key, 0, value)
    }
}

/// It hears of the rest when the old one has ended.
#[test]
fn who_takes_a_port_over_knows_it_too() {
    let files = scratch();
    let mut all = TakenOver::new(files.path("").as_ref());
    all.client.send("quit\r\n");
    all.old.terminate();
    eventually("all is known", || {
        all.new.log().contains("has missed writes of 2 keys, by the journal")
    });
    all.primary.cont();
    is_whole(&all.new, &all.primary);
    assert!(all.has("k", "new") && all.has("later", "new"));
}

/// The new one takes the server for whole when it hears what the old one alone has known.
#[test]
fn who_takes_a_port_over_hears_of_what_a_server_that_is_up_has_missed() {
    let files = scratch();
    let mut all = TakenOver::new(files.path("").as_ref());
    // The old one does not find that the server is back.
    all.old.stop();
    all.primary.cont();
    eventually("the new one does", || {
        all.new.log().contains("is up again") && all.has("k", "new")
    });
    assert!(all.has("later", "old"));
    all.old.signal(libc::SIGKILL);
    all.old.wait();
    eventually("it is rid of what is old", || all.has("later", "new"));
    is_whole(&all.new, &all.primary);
    let log = all.new.log();
    assert!(log.contains("it has missed what another magent wrote"), "{log}");
    all.new.client().check("get later\r\n", hit("later", 0, "new"));
}

#[test]
fn of_a_journal_that_is_damaged_more_is_suspected_than_stands_there() {
    let files = scratch();
    let directory = files.path("");
    let missed = Missed::new(directory.as_ref());
    let path = &journals(directory.as_ref())[0];
    let mut text = fs::read(path).expect("a journal");
    let last = text.len() - 2;
    text[last] ^= 1;
    fs::write(path, text).expect("a journal");
    let magent = missed.magent();
    let log = magent.log();
    assert!(log.contains("the journal is damaged"), "{log}");
    missed.primary.cont();
    nothing_is_old(&magent, &missed);
}

/// One that has all is not suspect, though it is away when magent begins.
#[test]
fn a_server_that_had_missed_nothing_keeps_its_items() {
    let files = scratch();
    let state = format!("--state-dir={}", files.path(""));
    let (primary, backup) = (Memcached::start(), Memcached::start());
    let port = Port::free();
    let start = || magent(&port, &primary, &backup, &[&state, "--board=off"]);
    let mut magent = start();
    magent.client().check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    is_whole(&magent, &primary);
    magent.terminate();
    assert!(
        journal(files.path("").as_ref()).ends_with(" e\n"),
        "it has ended in good order"
    );
    primary.stop();
    let magent = start();
    magent.client().check("get k\r\n", hit("k", 0, "x"));
    primary.cont();
    is_whole(&magent, &primary);
    let log = magent.log();
    assert!(
        log.contains("kept its items") && !log.contains("may hold what is old"),
        "{log}"
    );
}

/// The board of a server that hangs tells what was so when that began: that somebody had been without its partner is over.
#[test]
fn what_stands_on_an_old_board_is_not_taken_for_a_cut_of_the_network() {
    let files = scratch();
    let (directory, port) = (files.path(""), Port::free());
    let (primary, backup) = (Memcached::start(), Memcached::start());
    let state = format!("--state-dir={directory}");
    let start = || magent(&port, &primary, &backup, &[&state]);
    let mut first = start();
    let mut client = first.client();
    client.check(
        "set deleted 0 0 1\r\nx\r\nset written 0 0 3\r\nold\r\n",
        "STORED\r\nSTORED\r\n",
    );
    is_whole(&first, &primary);
    primary.stop();
    client.check("set else 0 0 1\r\nx\r\n", "STORED\r\n");
    primary.cont();
    is_whole(&first, &primary);
    backup.stop();
    client.check("delete deleted\r\n", "DELETED\r\n");
    client.check("set written 0 0 3\r\nnew\r\n", "STORED\r\n");
    eventually("it is written down", || {
        journal(directory.as_ref()).matches(" m 1 ").count() == 2
    });
    first.signal(libc::SIGKILL);
    first.wait();
    let second = start();
    sleep(Duration::from_secs(4)); // it has been away for longer than that is past
    backup.cont();
    is_whole(&second, &backup);
    for server in [&primary, &backup] {
        assert_eq!(server.ask("get deleted\r\n"), "END\r\n");
        assert_eq!(server.ask("get written\r\n"), hit("written", 0, "new"));
    }
    assert!(!second.log().contains("by another magent"), "{}", second.log());
}

#[test]
fn a_directory_that_is_not_there_is_refused() {
    let files = scratch();
    let missing = files.path("missing");
    let run = Command::new(Magent::program())
        .args([
            "-s",
            "127.0.0.1:1",
            "-D",
            "-p",
            "0",
            "-f",
            &files.path("socket"),
            "--state-dir",
            &missing,
        ])
        .output()
        .expect("magent");
    assert_eq!(run.status.code(), Some(1));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(
        said,
        format!("magent: --state-dir {missing}: No such file or directory\n")
    );
}

/// Whether this test may have a file system of its own.
fn may_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    let may = tried.is_ok_and(|tried| tried.status.success());
    if !may {
        println!("LEFT OUT: a full disk, for there may be no mounts here");
    }
    may
}

#[test]
fn where_the_disk_is_full_it_goes_on_and_nobody_believes_what_stands_there() {
    const KEYS: usize = 2000;
    if !may_mount() {
        return;
    }
    let files = scratch();
    let directory = files.path("");
    let (primary, backup) = (Memcached::start(), Memcached::start());
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size=64k none {directory} && exec \"$@\"");
    command.args(["-m", "sh", "-c", &mount, "sh", Magent::program()]);
    let state = format!("--state-dir={directory}");
    let magent = Magent::start_by(command, &["-s", &primary.name, "-b", &backup.name, TIMEOUT, &state]);
    is_whole(&magent, &primary);
    primary.stop();
    let mut client = magent.client();
    for number in 0..KEYS {
        client.check(
            format!("set key_of_many_letters_{number:0100} 0 0 1\r\nx\r\n"),
            "STORED\r\n",
        );
    }
    eventually("it says so", || {
        magent
            .log()
            .contains("No space left on device; what servers miss is forgotten when magent is killed")
    });
    let inside = format!("/proc/{}/root{directory}", magent.id());
    assert_eq!(journals(inside.as_ref()), Vec::<PathBuf>::new());
    primary.cont();
    is_whole(&magent, &primary);
    assert_eq!(magent.log().matches("No space left").count(), 1);
    sleep(Duration::from_secs(5)); // it is tried again after 10
    eventually("it is written again", || {
        magent.log().contains("the journal is written again")
    });
    assert_eq!(journals(inside.as_ref()).len(), 1);
}

#[test]
fn what_a_server_has_alone_since_before_outlives_a_magent_that_ends() {
    let files = scratch();
    let state = format!("--state-dir={}", files.path("."));
    let older = Memcached::start();
    older.ask("set of_older 0 0 1\r\n1\r\n");
    sleep(Duration::from_secs(4)); // ages are told in seconds, give or take one
    let younger = Memcached::start();
    younger.ask("set of_younger 0 0 1\r\n2\r\n");
    let port = Port::free();
    let done = format!("server {} has all that its partners have", younger.name);
    for _ in 0..2 {
        let mut magent = magent(&port, &older, &younger, &[&state]);
        eventually("the younger server is filled and looked through", || {
            magent.log().contains(&done)
        });
        assert_eq!(
            younger.ask("get of_younger\r\n"),
            hit("of_younger", 0, "2"),
            "{}",
            magent.log()
        );
        magent.terminate();
    }
}
