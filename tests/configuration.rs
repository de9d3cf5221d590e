//! The configuration file, reloading it while clients are served, log files, and what systemd is told.

mod common;

use common::{Client, Configured, Daemon, Magent, Memcached, NOT_RELOADED, PATIENCE, Port, Process, RELOADED, Said};
use common::{eventually, is_root, masters, names, scratch};
use magent::config::{Kind, OPTIONS, Spec};
use magent::sys;
use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A server's address where nobody listens: what a magent needs that is not to be asked for keys.
const NOBODY_THERE: &str = "127.0.0.1:1";

/// Runs a magent that ends by itself; its exit status, and all that it wrote.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    run_command(Command::new(Magent::program()).args(arguments))
}

fn run_command(command: &mut Command) -> (Option<i32>, String) {
    let files = scratch();
    let path = files.path("said");
    let said = fs::File::create(&path).expect("a file");
    command.stdout(said.try_clone().expect("a file"));
    let status = Process::spawn(command.stderr(said)).wait();
    (status.code(), fs::read_to_string(&path).expect("text"))
}

/// Keys enough for every server of a small farm to have several.
fn keys() -> impl Iterator<Item = String> {
    (0..40).map(|i| format!("key-{i}"))
}

/// The keys that this server has.
fn keys_on(server: &mut Client) -> Vec<String> {
    keys()
        .filter(|key| server.ask(format!("get {key}\r\n")).starts_with("VALUE"))
        .collect()
}

#[test]
fn the_file_of_0_7_works_unchanged() {
    let (files, port) = (scratch(), Port::free());
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let [one, two, backup] = servers.each_ref().map(|server| server.name.as_str());
    let file = files.path("magent.conf");
    let logs = files.path(".");
    let text = format!(
        "# magent 0.7\n[General]\n\nmaxidle=20\n  maxconns = 4000  # clients\nport = {port}\nuseketama=1\n\
         daemon_mode=1\nverbose_mode=1\nlogdir = {logs}\nhost_ip=127.0.0.1\n\n\
         # servers\nmasters={one},{two}\nbackups = {backup} \n"
    );
    fs::write(&file, text).expect("a file");
    // The timeout is the test's, for a busy machine.
    let ended = run(&["-c", &file, "--timeout=8000"]);
    assert_eq!(ended, (Some(0), String::new()), "the first process");
    let mut client = None;
    let name = format!("127.0.0.1:{port}");
    eventually("the daemon listens", || {
        client = Client::try_connect(&name).ok();
        client.is_some()
    });
    let mut client = client.expect("waited for");
    let id = client.stat("stats", "pid").parse().expect("a number");
    let daemon = Daemon { id };
    let settings = client.ask("stats settings\r\n");
    for line in ["max_idle_links 20", "maxconns 4000", "distribution ketama"] {
        assert!(settings.contains(&format!("STAT {line}\r\n")), "{line} in {settings:?}");
    }
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let on = servers.each_ref().map(|server| keys_on(&mut server.client()).len());
    assert!(on[0] > 0 && on[1] > 0 && on[0] + on[1] == 40, "primaries: {on:?}");
    assert_eq!(on[2], 40, "the backup");
    // verbose_mode is for the log, and does not keep a daemon in the foreground.
    let log = fs::read_to_string(files.path("magent.log")).expect("a log");
    assert!(log.contains(&format!("magent[{id}]: client 0: connected")), "{log}");
    daemon.signal(libc::SIGTERM);
    eventually("the daemon ends", || !daemon.is_alive());
}

/// A value that a key takes, and the keys' line.
fn line_for(option: &Spec, key: &str) -> String {
    let own = fs::metadata("/proc/self").expect("/proc");
    let value = match option.name {
        "server" | "backup" => "127.0.0.1:2, 127.0.0.1:3",
        "listen" => "127.0.0.1",
        "socket" | "pidfile" => "/tmp/a-file",
        "logdir" | "state-dir" => "/tmp",
        "socket-mode" => "660",
        "ack" => "primary",
        "miss" => "cold",
        "board" => "off",
        "max-item-size" | "max-memory" => "2m",
        "port" | "maxconns" | "maxidle" | "timeout" | "hedge" | "slow" => "100",
        "status" => "101", // that of clients is another
        "distribution" => "ketama",
        "hash" => "md5",
        "hash-tag" => "{}",
        "verbose" => "2",
        "ketama" | "reuse-port" | "foreground" => "yes",
        "user" => return format!("{key} = {}\n", own.uid()),
        "group" => return format!("{key} = {}\n", own.gid()),
        name => panic!("{name}: say which value it takes"),
    };
    format!("{key} = {value}\n")
}

#[test]
fn there_is_a_key_for_every_option() {
    let files = scratch();
    let file = files.path("magent.conf");
    let test = |lines: &str, what: &str| {
        fs::write(&file, format!("[General]\n{lines}")).expect("a file");
        let ended = run(&["-t", "-c", &file]);
        assert_eq!(
            ended,
            (Some(0), "magent: the configuration is ok\n".to_owned()),
            "{what}"
        );
    };
    let mut all = String::new();
    for option in OPTIONS.iter().filter(|option| option.kind != Kind::Action) {
        let masters = if option.name == "server" {
            ""
        } else {
            "masters = 127.0.0.1:1\n"
        };
        for key in [option.name, option.old_key].into_iter().filter(|key| !key.is_empty()) {
            test(&format!("{masters}{}", line_for(option, key)), key);
        }
        all += &line_for(option, option.name);
    }
    test(&all, "all keys at once");
    test("masters = 127.0.0.1:1\ndaemon_mode = 0\n", "daemon_mode");
}

#[test]
fn keys_have_the_effect_of_their_options() {
    let magent = Configured::start_with(
        "server = 127.0.0.1:1\nbackup = 127.0.0.1:2\nmaxconns = 77\nmaxidle = 3\nmax-item-size = 2m\n\
         max-memory = 3072k\nhedge = 0\nslow = 56\nketama = yes\nack = primary\nmiss = cold\nboard = off\nverbose = 1\n",
        &[],
    );
    assert_eq!(
        magent.settings(),
        "STAT maxconns 77\r\nSTAT max_idle_links 3\r\nSTAT item_size_max 2097152\r\nSTAT max_memory 3145728\r\n\
         STAT timeout_ms 8000\r\nSTAT adaptive_timeout no\r\nSTAT hedge 0\r\nSTAT slow_ms 56\r\nSTAT distribution ketama\r\nSTAT hash md5\r\nSTAT hash_tag none\r\nSTAT ack primary\r\nSTAT miss cold\r\n\
         STAT board off\r\nEND\r\n"
    );
    let servers = magent.magent.ask("stats servers\r\n");
    for server in ["127.0.0.1:1", "127.0.0.1:2"] {
        assert!(servers.contains(&format!("STAT {server}:state ")), "{servers:?}");
    }
    eventually("a client is told of", || magent.said("client 0: connected") > 0);
}

#[test]
fn options_win_over_the_file() {
    let lines = "masters = 127.0.0.1:1\nbackups = 127.0.0.1:2\nmaxconns = 5\nack = all\nmax-item-size = 2m\n";
    let options = ["-s", "127.0.0.1:3", "-n", "6", "--ack=primary", "--timeout=700"];
    let magent = Configured::start_with(lines, &options);
    let settings = magent.settings();
    for line in ["maxconns 6", "ack primary", "timeout_ms 700", "item_size_max 2097152"] {
        assert!(settings.contains(&format!("STAT {line}\r\n")), "{line} in {settings}");
    }
    let servers = magent.magent.ask("stats servers\r\n");
    let named = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|name| servers.contains(&format!("{name}:state")));
    assert_eq!(named, [false, true, true], "{servers:?}");
    // After a reload as well.
    magent.reload("masters = 127.0.0.1:1\nmaxconns = 7\nmax-item-size = 3m\n");
    let settings = magent.settings();
    for line in ["maxconns 6", "ack primary", "timeout_ms 700", "item_size_max 3145728"] {
        assert!(settings.contains(&format!("STAT {line}\r\n")), "{line} in {settings}");
    }
}

#[test]
fn an_error_is_one_line_with_file_and_line_number() {
    let files = scratch();
    let file = files.path("magent.conf");
    for (text, error) in [
        ("port = 1", "1: 'port = 1' stands before the section [General]"),
        (
            "\n# x\n[Genral]",
            "3: [Genral]: unknown section (only [General] is allowed)",
        ),
        ("[General]\nprot = 1", "2: prot: unknown key (see magent.conf(5))"),
        ("[General]\nhelp = yes", "2: help: unknown key (see magent.conf(5))"),
        ("[General]\nport", "2: 'port' is not of the form key = value"),
        ("[General]\n\n\nport = 1\nport = 2", "5: port: given twice"),
        (
            "[General]\nmasters = 127.0.0.1:1\nserver = 127.0.0.1:2",
            "3: server: given twice",
        ),
        ("[General]\nport =  # none", "2: port: a value is missing"),
        ("[General]\nport = x", "2: port x: not a number from 0 to 65535"),
        ("[General]\nport = 65536", "2: port 65536: not a number from 0 to 65535"),
        (
            "[General]\nmaxconns = 0",
            "2: maxconns 0: not a number from 1 to 1000000",
        ),
        (
            "[General]\nmaxidle = 1001",
            "2: maxidle 1001: not a number from 1 to 1000",
        ),
        (
            "[General]\ntimeout = 1s",
            "2: timeout 1s: neither auto nor a number from 10 to 600000",
        ),
        (
            "[General]\nuseketama = maybe",
            "2: useketama maybe: not one of: yes, no, 1, 0",
        ),
        (
            "[General]\nketama = no\ndistribution = ketama",
            "3: distribution ketama: contradicts FILE:2: ketama no",
        ),
        (
            "[General]\nbackups = 10.0.0.1:1:2, 10.0.0.2:1:x",
            "2: backups 10.0.0.2:1:x: weight is not a number from 1 to 1000000",
        ),
        (
            "[General]\nreuse-port = 2",
            "2: reuse-port 2: not one of: yes, no, 1, 0",
        ),
        (
            "[General]\ndaemon_mode = x",
            "2: daemon_mode x: not one of: yes, no, 1, 0",
        ),
        (
            "[General]\nverbose_mode = 10",
            "2: verbose_mode 10: not a number from 0 to 9",
        ),
        ("[General]\nack = both", "2: ack both: not one of: all, primary"),
        ("[General]\nmiss = hot", "2: miss hot: not one of: partner, cold"),
        (
            "[General]\nmax-memory = 1",
            "2: max-memory 1: not a size from 1m to 1048576m (in bytes, or with k or m behind the number)",
        ),
        (
            "[General]\nmasters = 10.0.0.1:1, 10.0.0.2:99999",
            "2: masters 10.0.0.2:99999: port out of range (1-65535)",
        ),
        (
            "[General]\nmasters = 10.0.0.1:1, 10.0.0.1:1",
            "2: masters 10.0.0.1:1: this server is listed twice",
        ),
        (
            "[General]\nbackups = 10.0.0.1:1 10.0.0.2:1",
            "2: backups 10.0.0.1:1 10.0.0.2:1: port is not a number (1-65535)",
        ),
        ("[General]\nuser = no-such-user", "2: user no-such-user: no such user"),
        (
            "[General]\ngroup = no-such-group",
            "2: group no-such-group: no such group",
        ),
        (
            "[General]\nsocket = /tmp/s\nsocket-mode = 1000",
            "3: socket-mode 1000: not an octal mode from 0 to 777",
        ),
    ] {
        let has_masters = text.contains("masters");
        let text = if has_masters {
            text.to_owned()
        } else {
            format!("{text}\nmasters = 10.0.0.1:1\n")
        };
        fs::write(&file, &text).expect("a file");
        let ended = run(&["-t", "-c", &file]);
        let error = error.replace("FILE", &file);
        assert_eq!(ended, (Some(1), format!("magent: {file}:{error}\n")), "{text}");
    }
    // To run with it is refused as well; what is there now is the last one of the list.
    let (status, said) = run(&["-c", &file]);
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        said.starts_with(&format!("magent: {file}:3: socket-mode 1000: ")),
        "{said}"
    );
}

#[test]
fn no_masters_is_an_error_that_names_the_file() {
    let files = scratch();
    let file = files.path("magent.conf");
    for (text, place) in [
        ("[General]\nport = 1\n", format!("{file}: ")),
        ("[General]\nmasters =\n", format!("{file}:2: ")),
    ] {
        fs::write(&file, text).expect("a file");
        let (status, said) = run(&["-D", "-c", &file]);
        assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains("no primary server"), "{said}");
        assert!(said.starts_with(&format!("magent: {place}")), "{said}");
    }
}

#[test]
fn paths_in_the_file_are_relative_to_where_magent_was_started() {
    let (files, port) = (scratch(), Port::free());
    let pid_file = files.path("magent.pid");
    let base = format!("[General]\nmasters = {NOBODY_THERE}\nlisten = 127.0.0.1\nport = {port}\n");
    let paths = "socket = magent.sock\npidfile = magent.pid\nlogdir = logs\n";
    fs::create_dir(files.path("logs")).expect("a directory");
    fs::write(files.path("magent.conf"), format!("{base}{paths}")).expect("a file");
    let mut command = Command::new(Magent::program());
    command.args(["-c", "magent.conf"]).current_dir(files.path("."));
    assert_eq!(run_command(&mut command), (Some(0), String::new()), "the first process");
    let mut daemon = None;
    eventually("the pid file names a daemon", || {
        daemon = Daemon::of(Path::new(&pid_file)).filter(Daemon::is_alive);
        daemon.is_some()
    });
    let daemon = daemon.expect("waited for");
    Client::connect(&format!("unix:{}", files.path("magent.sock"))).check("here?\r\n", "ERROR\r\n");
    // The file is found again though the daemon has moved to /.
    fs::write(files.path("magent.conf"), format!("{base}{paths}maxconns = 55\n")).expect("a file");
    daemon.signal(libc::SIGHUP);
    let log = files.path("logs/magent.log");
    eventually("it is reloaded", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains(RELOADED))
    });
    let settings = Client::connect(&format!("127.0.0.1:{port}")).ask("stats settings\r\n");
    assert!(settings.contains("STAT maxconns 55\r\n"), "{settings:?}");
    daemon.signal(libc::SIGTERM);
    eventually("the daemon ends", || !daemon.is_alive());
}

#[test]
fn a_log_that_logrotate_moves_is_opened_again() {
    let (files, port) = (scratch(), Port::free());
    let (log, moved) = (files.path("magent.log"), files.path("magent.log.1"));
    let (number, logs) = (port.to_string(), files.path("."));
    let mut command = Command::new(Magent::program());
    command.args([
        "-D",
        "-s",
        NOBODY_THERE,
        "-l",
        "127.0.0.1",
        "-p",
        &number,
        "--logdir",
        &logs,
    ]);
    let terminal = Said::new();
    let mut process = Process::spawn(command.stderr(terminal.stderr()));
    let says = |path: &str, what: &str| fs::read_to_string(path).is_ok_and(|text| text.contains(what));
    let listening = format!("magent[{}]: listening on 127.0.0.1:{port}\n", process.id());
    eventually("magent listens", || says(&log, &listening));
    assert_eq!(fs::metadata(&log).expect("a log").permissions().mode() & 0o777, 0o640);
    Client::connect(&format!("127.0.0.1:{port}")).check("here?\r\n", "ERROR\r\n");
    fs::rename(&log, &moved).expect("the log is moved");
    process.signal(libc::SIGHUP);
    eventually("it goes on where it was", || says(&moved, RELOADED));
    process.signal(libc::SIGUSR1);
    eventually("there is a new log", || Path::new(&log).exists());
    process.signal(libc::SIGHUP);
    eventually("it is written", || says(&log, RELOADED));
    assert!(!says(&log, "listening"), "what was said before is in the old one alone");
    // One that cannot be opened goes on being written where it was.
    fs::remove_file(&log).expect("the log is removed");
    fs::create_dir(&log).expect("a directory in its place");
    let fd = || fs::read_dir(format!("/proc/{}/fd", process.id())).expect("a process that runs");
    let deleted = fd()
        .flatten()
        .map(|fd| fd.path())
        .find(|fd| fs::read_link(fd).is_ok_and(|to| to.to_string_lossy().contains("magent.log (deleted)")))
        .expect("the old log is still open");
    process.signal(libc::SIGUSR1);
    eventually("it is said that this failed", || {
        let text = fs::read_to_string(&deleted).expect("the old log");
        text.contains("SIGUSR1: cannot open the log again: Is a directory")
    });
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait().code(), Some(0));
    assert!(terminal.text().is_empty(), "nothing on the terminal");
}

#[test]
fn a_daemon_logs_to_its_log_directory() {
    let (files, port) = (scratch(), Port::free());
    let (number, logs, pid_file) = (port.to_string(), files.path("."), files.path("magent.pid"));
    let arguments = [
        "-s",
        NOBODY_THERE,
        "-l",
        "127.0.0.1",
        "-p",
        &number,
        "--logdir",
        &logs,
        "-P",
        &pid_file,
    ];
    assert_eq!(run(&arguments), (Some(0), String::new()));
    let mut daemon = None;
    eventually("the pid file names a daemon", || {
        daemon = Daemon::of(Path::new(&pid_file)).filter(Daemon::is_alive);
        daemon.is_some()
    });
    let daemon = daemon.expect("waited for");
    let says = |what: &str| {
        let log = fs::read_to_string(files.path("magent.log")).expect("a log");
        log.contains(&format!("magent[{}]: {what}", daemon.id))
    };
    assert!(says(&format!("listening on 127.0.0.1:{port}\n")));
    eventually("it tells of a dead server", || {
        says("server 127.0.0.1:1 is down: Connection refused")
    });
    daemon.signal(libc::SIGTERM);
    eventually("the daemon ends", || !daemon.is_alive());
    assert!(says("told to end") && says("ended\n"));
}

#[test]
fn an_unchanged_server_keeps_its_link_and_counters() {
    let (old, new) = (Memcached::start(), Memcached::start());
    let magent = Configured::start(&masters(&[&old]));
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let mut direct = old.client();
    let connections = direct.stat("stats", "total_connections");
    let stat = |name: &str| magent.magent.server_stat(&old, name);
    assert_eq!(stat("links"), "1");
    let requests: u64 = stat("requests").parse().expect("a number");
    assert!(requests >= 40, "{requests}");
    magent.reload(&masters(&[&old, &new]));
    magent.reload(&format!("{}ketama = yes\n", masters(&[&new, &old])));
    magent.reload(&masters(&[&old]));
    client.check("get key-1\r\n", "VALUE key-1 0 1\r\nx\r\nEND\r\n");
    assert_eq!(stat("links"), "1");
    assert_eq!(
        stat("requests"),
        (requests + 1).to_string(),
        "nothing is forgotten, and nothing asked"
    );
    assert_eq!(direct.stat("stats", "total_connections"), connections);
    assert_eq!(stat("state"), "up");
}

#[test]
fn a_new_server_takes_its_keys_at_once() {
    let (old, new) = (Memcached::start(), Memcached::start());
    let magent = Configured::start(&masters(&[&old]));
    let mut client = magent.magent.client();
    client.check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    magent.reload(&masters(&[&old, &new]));
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let [on_old, on_new] = [&old, &new].map(|server| keys_on(&mut server.client()));
    assert!(!on_old.is_empty() && !on_new.is_empty(), "{on_old:?} {on_new:?}");
    assert_eq!(on_old.len() + on_new.len(), 40, "each key is on one of them");
    for key in keys() {
        client.check(format!("get {key}\r\n"), format!("VALUE {key} 0 1\r\nx\r\nEND\r\n"));
    }
}

#[test]
fn a_new_backup_gets_its_copies_at_once() {
    let (primary, backup) = (Memcached::start(), Memcached::start());
    let magent = Configured::start(&masters(&[&primary]));
    let mut client = magent.magent.client();
    client.check("set before 0 0 1\r\nx\r\n", "STORED\r\n");
    magent.reload(&format!("{}backups = {}\n", masters(&[&primary]), backup.name));
    client.check("set after 0 0 1\r\nx\r\n", "STORED\r\n");
    let copy = backup.ask("get after\r\n");
    assert_eq!(copy, "VALUE after 0 1\r\nx\r\nEND\r\n", "{}", magent.magent.log());
    eventually("it is filled with what was there before", || {
        backup.ask("get before\r\n") == "VALUE before 0 1\r\nx\r\nEND\r\n"
    });
    magent.reload(&masters(&[&primary]));
    client.check("set alone 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(backup.ask("get alone\r\n"), "END\r\n");
    client.check(
        "get before after\r\n",
        "VALUE before 0 1\r\nx\r\nVALUE after 0 1\r\nx\r\nEND\r\n",
    );
}

/// With one primary more nearly every other key has another primary than before; the backup has them all.
#[test]
fn a_server_that_a_reload_adds_is_filled_with_the_keys_that_are_its_now() {
    let (old, new, mut backup) = (Memcached::start(), Memcached::start(), Memcached::start());
    let backups = format!("backups = {}\n", backup.name);
    let magent = Configured::start(&(masters(&[&old]) + &backups));
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\n5\r\n"), "STORED\r\n");
    }
    magent.reload(&(masters(&[&old, &new]) + &backups));
    for key in keys() {
        client.check(format!("incr {key} 1\r\n"), "6\r\n");
    }
    eventually("it is filled", || magent.magent.server_stat(&new, "state") == "up");
    let [on_old, on_new] = [&old, &new].map(|server| keys_on(&mut server.client()));
    assert!(on_old.len() == 40 && !on_new.is_empty(), "{on_old:?} {on_new:?}");
    backup.kill();
    for key in keys() {
        client.check(format!("get {key}\r\n"), format!("VALUE {key} 0 1\r\n6\r\nEND\r\n"));
    }
}

/// Nearly every key may have another primary than before, though the servers are the same; the backup has them all.
#[test]
fn servers_are_filled_with_the_keys_that_are_theirs_after_a_change_of_the_distribution() {
    let (one, other, mut backup) = (Memcached::start(), Memcached::start(), Memcached::start());
    let farms = format!("{}backups = {}\n", masters(&[&one, &other]), backup.name);
    let magent = Configured::start(&farms);
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\n5\r\n"), "STORED\r\n");
    }
    let before = [&one, &other].map(|server| keys_on(&mut server.client()));
    magent.reload(&format!("{farms}distribution = libmemcached-ketama\n"));
    for key in keys() {
        client.check(format!("incr {key} 1\r\n"), "6\r\n");
    }
    let is_up = |server: &Memcached| magent.magent.server_stat(server, "state") == "up";
    eventually("they are filled", || is_up(&one) && is_up(&other));
    let after = [&one, &other].map(|server| keys_on(&mut server.client()));
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| after.len() > before.len()),
        "some moved"
    );
    backup.kill();
    for key in keys() {
        client.check(format!("get {key}\r\n"), format!("VALUE {key} 0 1\r\n6\r\nEND\r\n"));
    }
}

/// While the second primary was there, the first one kept what it had of the keys that had moved.
#[test]
fn keys_that_come_back_to_a_server_by_a_reload_come_with_their_present_values() {
    let (stays, goes, mut backup) = (Memcached::start(), Memcached::start(), Memcached::start());
    let backups = format!("backups = {}\n", backup.name);
    let one = masters(&[&stays]) + &backups;
    let magent = Configured::start(&one);
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
    magent.reload(&(masters(&[&stays, &goes]) + &backups));
    eventually("it is filled", || magent.magent.server_stat(&goes, "state") == "up");
    let (changed, deleted) = keys().partition::<Vec<_>, _>(|key| key.ends_with(['1', '3', '5', '7', '9']));
    for key in &changed {
        client.check(format!("set {key} 0 0 3\r\nnew\r\n"), "STORED\r\n");
    }
    for key in &deleted {
        client.check(format!("delete {key}\r\n"), "DELETED\r\n");
    }
    magent.reload(&one);
    let as_they_are = |client: &mut Client| {
        for key in &changed {
            client.check(format!("get {key}\r\n"), format!("VALUE {key} 0 3\r\nnew\r\nEND\r\n"));
        }
        for key in &deleted {
            client.check(format!("get {key}\r\n"), "END\r\n");
        }
    };
    as_they_are(&mut client);
    eventually("it is filled", || magent.magent.server_stat(&stays, "state") == "up");
    as_they_are(&mut client);
    backup.kill();
    as_they_are(&mut client);
}

#[test]
fn a_removed_server_is_drained_and_its_connection_closed() {
    let (stays, goes) = (Memcached::start(), Memcached::start());
    let magent = Configured::start(&masters(&[&stays, &goes]));
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let mut direct = goes.client();
    let key = keys_on(&mut direct).remove(0);
    let with_link: u32 = direct.stat("stats", "curr_connections").parse().expect("a number");
    goes.stop();
    client.send(format!("get {key}\r\n"));
    eventually("the request is with the server", || {
        magent.magent.server_stat(&goes, "pending") == "1"
    });
    magent.reload(&masters(&[&stays]));
    let servers = magent.magent.ask("stats servers\r\n");
    assert!(!servers.contains(&goes.name), "{servers:?}");
    // Others do not go there any more.
    magent.magent.client().check(format!("get {key}\r\n"), "END\r\n");
    assert!(client.is_quiet(), "it still waits");
    goes.cont();
    client.expect(format!("VALUE {key} 0 1\r\nx\r\nEND\r\n"));
    eventually("the link is closed", || {
        direct.stat("stats", "curr_connections") == (with_link - 1).to_string()
    });
    client.check(format!("get {key}\r\n"), "END\r\n");
}

#[test]
fn a_removed_server_that_hangs_is_waited_for_no_longer_than_the_timeout() {
    let (stays, goes) = (Memcached::start(), Memcached::start());
    let lines = |servers: &[&Memcached]| format!("{}maxconns = 100\n", masters(servers));
    let magent = Configured::start_with(&lines(&[&stays, &goes]), &["--timeout=500"]);
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    let key = keys_on(&mut goes.client()).remove(0);
    goes.stop();
    client.send(format!("get {key}\r\n"));
    magent.magent.settle();
    magent.reload(&lines(&[&stays]));
    client.expect(common::NO_SERVER);
    client.check(format!("get {key}\r\n"), "END\r\n");
    assert_eq!(magent.magent.stat("requests_in_flight"), 0);
}

#[test]
fn a_server_that_comes_back_by_a_reload_serves_nothing_old() {
    let (stays, other) = (Memcached::start(), Memcached::start());
    let both = masters(&[&stays, &other]);
    let magent = Configured::start(&both);
    let mut client = magent.magent.client();
    for key in keys() {
        client.check(format!("set {key} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
    let moved = keys_on(&mut other.client());
    magent.reload(&masters(&[&stays]));
    for key in keys() {
        client.check(format!("set {key} 0 0 3\r\nnew\r\n"), "STORED\r\n");
    }
    magent.reload(&both);
    magent.magent.wait_for(&other, "up");
    for key in keys() {
        let value = format!("VALUE {key} 0 3\r\nnew\r\nEND\r\n");
        let reply = if moved.contains(&key) { "END\r\n" } else { &value };
        client.check(format!("get {key}\r\n"), reply);
    }
}

#[test]
fn timeouts_limits_and_verbosity_change_while_clients_stay() {
    let server = Memcached::start();
    let magent = Configured::start(&masters(&[&server]));
    let mut clients: Vec<Client> = (0..3).map(|_| magent.magent.client()).collect();
    for client in &mut clients {
        client.check("version\r\n", Memcached::version().reply());
    }
    assert_eq!(magent.said("connected"), 0);
    let common = magent.common.replace("8000", "700");
    let lines = "listen = 127.0.0.1\nmaxconns = 3\nmax-item-size = 1k\nverbose = 1\nack = primary\nmiss = cold\n\
                 max-memory = 3m\nhedge = 5\nslow = 7\nketama = 1\n";
    magent.reload_all(&format!("{common}{lines}{}", masters(&[&server])));
    let settings = clients[0].ask("stats settings\r\n");
    assert!(
        settings.starts_with(
            "STAT maxconns 3\r\nSTAT max_idle_links 20\r\nSTAT item_size_max 1024\r\nSTAT max_memory 3145728\r\n\
         STAT timeout_ms 700\r\nSTAT adaptive_timeout no\r\nSTAT hedge 5\r\nSTAT slow_ms 7\r\nSTAT distribution ketama\r\nSTAT hash md5\r\nSTAT hash_tag none\r\nSTAT ack primary\r\nSTAT miss cold\r\n"
        ),
        "{settings:?}"
    );
    let value = "x".repeat(1025);
    clients[1].check(
        format!("set key 0 0 1025\r\n{value}\r\n"),
        "SERVER_ERROR object too large for cache\r\n",
    );
    let mut refused = magent.magent.client();
    refused.expect("SERVER_ERROR OUT OF CONNECTION\r\n");
    refused.expect_closed();
    drop(clients.pop());
    eventually("a client is told of as it leaves", || magent.said("closed") > 0);
    // The new timeout is in force.
    server.stop();
    clients[0].check("get key\r\n", common::NO_SERVER);
    eventually("it is told why", || magent.said("no answer within 700 ms") > 0);
}

#[test]
fn an_error_in_the_new_file_leaves_everything_as_it_was() {
    let (server, other) = (Memcached::start(), Memcached::start());
    let magent = Configured::start(&format!("{}maxconns = 50\n", masters(&[&server])));
    let mut client = magent.magent.client();
    let before = magent.settings();
    let good = format!(
        "{}listen = 127.0.0.1\n{}maxconns = 60\n",
        magent.common,
        masters(&[&server, &other])
    );
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = busy.local_addr().expect("an address");
    let old_port = format!("port = {}", magent.magent.port);
    for (text, error) in [
        (
            format!("{good}prot = 1\n"),
            format!("{}:7: prot: unknown key (see magent.conf(5))", magent.file),
        ),
        (
            format!("{good}ack = x\n"),
            format!("{}:7: ack x: not one of: all, primary", magent.file),
        ),
        (
            good.replace(&old_port, &format!("port = {}", busy.port())),
            format!("cannot listen on {busy}: Address already in use"),
        ),
    ] {
        assert_eq!(magent.reload_in_vain(&text), error);
        client.check("set key 0 0 1\r\nx\r\n", "STORED\r\n");
        // The old address is listened on, and the old settings are in force.
        assert_eq!(magent.settings(), before);
        assert_eq!(magent.magent.stat("servers"), 1);
    }
    fs::remove_file(&magent.file).expect("the file is removed");
    magent.hang_up(NOT_RELOADED);
    assert!(
        magent.magent.log().contains("No such file or directory"),
        "{}",
        magent.magent.log()
    );
    assert_eq!(magent.settings(), before);
    // And a good one is still taken.
    magent.reload_all(&good);
    assert_eq!(magent.magent.stat("servers"), 2);
    client.check("here?\r\n", "ERROR\r\n");
}

#[test]
fn what_cannot_change_is_said() {
    let server = Memcached::start();
    let magent = Configured::start(&masters(&[&server]));
    let mut client = magent.magent.client();
    let files = scratch();
    let mut lines = format!(
        "{}pidfile = {}\nlogdir = {}\n",
        masters(&[&server]),
        files.path("magent.pid"),
        files.path(".")
    );
    let mut unchangeable = vec!["the pid file", "the log directory"];
    if is_root() {
        lines += "user = nobody\n";
        unchangeable.push("the user and group");
    }
    magent.reload(&lines);
    let log = magent.magent.log();
    for what in unchangeable {
        let line = format!("{what} cannot be changed while magent runs: restart it\n");
        assert!(log.contains(&line), "{what} in {log}");
    }
    assert!(!Path::new(&files.path("magent.pid")).exists());
    client.check("version\r\n", Memcached::version().reply());
}

#[test]
fn the_background_cannot_change_and_that_is_said() {
    let (files, port) = (scratch(), Port::free());
    let (file, name) = (files.path("magent.conf"), format!("127.0.0.1:{port}"));
    let base = format!("[General]\nport = {port}\nlisten = 127.0.0.1\nmasters = {NOBODY_THERE}\n");
    fs::write(&file, format!("{base}daemon_mode = 0\n")).expect("a file");
    let magent = Magent::start_exactly(&["-c", &file], &name, port);
    fs::write(&file, format!("{base}daemon_mode = 1\n")).expect("a file");
    magent.settle();
    magent.signal(libc::SIGHUP);
    eventually("it is reloaded", || magent.log().contains(RELOADED));
    let line = "the background cannot be changed while magent runs: restart it\n";
    assert!(magent.log().contains(line), "{}", magent.log());
    magent.settle();
}

/// Sets and gets keys until told to stop; the replies that neither a hit nor a miss explains.
fn load(name: &str, number: usize, enough: &AtomicBool, requests: &AtomicUsize) -> Vec<String> {
    let mut client = Client::connect(name);
    let mut errors = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        for i in 0..20 {
            let key = format!("key-{number}-{i}");
            let stored = client.ask(format!("set {key} 0 0 {}\r\n{key}\r\n", key.len()));
            if stored != "STORED\r\n" {
                errors.push(format!("set: {stored:?}"));
            }
            let got = client.ask(format!("get {key}\r\n"));
            if got != "END\r\n" && got != format!("VALUE {key} 0 {}\r\n{key}\r\nEND\r\n", key.len()) {
                errors.push(format!("get: {got:?}"));
            }
            requests.fetch_add(2, Ordering::Relaxed);
        }
    }
    errors
}

/// Reloads these files one after the other while clients send requests; what went wrong for them.
fn reload_under_load(lines: &[String]) -> Vec<String> {
    let magent = Configured::start(&lines[0]);
    let (enough, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let name = &magent.magent.name;
    let errors = std::thread::scope(|scope| {
        let (enough, requests) = (&enough, &requests);
        let clients: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || load(name, number, enough, requests)))
            .collect();
        for lines in lines.iter().skip(1) {
            let before = requests.load(Ordering::Relaxed);
            magent.reload(lines);
            eventually("requests are answered", || {
                requests.load(Ordering::Relaxed) > before + 400
            });
        }
        enough.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client that was not cut off"))
            .collect()
    });
    assert_eq!(magent.magent.stat("total_connections"), 5, "nobody had to reconnect");
    errors
}

#[test]
fn servers_are_added_and_removed_under_load_without_an_error() {
    let servers: Vec<Memcached> = (0..6).map(|_| Memcached::start()).collect();
    let [a, b, c, d, e, f] = &servers[..] else {
        unreachable!("six were started");
    };
    let files = [
        masters(&[a]),
        masters(&[a, b]),
        format!("{}ketama = 1\n", masters(&[a, b, c])),
        format!("{}backups = {}\n", masters(&[b, c]), names(&[d])),
        format!("{}backups = {}\n", masters(&[b, c, e]), names(&[d, f])),
        format!("{}maxconns = 100\nack = primary\n", masters(&[e, c])),
        format!("{}verbose = 1\n", masters(&[e])),
    ];
    assert_eq!(reload_under_load(&files), Vec::<String>::new());
}

#[test]
fn a_server_comes_back_under_load_without_an_error() {
    let servers = [Memcached::start(), Memcached::start()];
    let [stays, other] = &servers;
    let (one, both) = (masters(&[stays]), masters(&[stays, other]));
    let files: Vec<String> = (0..10).flat_map(|_| [both.clone(), one.clone()]).collect();
    assert_eq!(reload_under_load(&files), Vec::<String>::new());
}

/// What the service manager is told next.
fn told(manager: &UnixDatagram) -> String {
    let mut message = [0; 1000];
    let count = manager.recv(&mut message).expect("a message");
    String::from_utf8(message[..count].to_vec()).expect("text")
}

#[test]
fn the_time_of_the_pid_file_is_that_of_the_last_reload_that_was_taken_over() {
    let files = scratch();
    let (file, pid_file) = (files.path("magent.conf"), files.path("magent.pid"));
    let good = format!("[General]\nmasters = {NOBODY_THERE}\n");
    fs::write(&file, &good).expect("a file");
    let magent = Magent::start(&["-c", &file, "-P", &pid_file]);
    let time = || {
        fs::metadata(&pid_file)
            .and_then(|found| found.modified())
            .expect("a pid file")
    };
    let started = time();
    fs::write(&file, "an error\n").expect("a file");
    magent.signal(libc::SIGHUP);
    eventually("it is refused", || magent.log().contains("is not changed"));
    assert_eq!(time(), started);
    fs::write(&file, &good).expect("a file");
    magent.signal(libc::SIGHUP);
    eventually("it is taken over", || time() != started);
    let number = fs::read_to_string(&pid_file).expect("a pid file");
    assert_eq!(number, format!("{}\n", magent.stat("pid")));
}

#[test]
fn systemd_is_told_of_readiness_reloading_and_stopping() {
    let files = scratch();
    let path = files.path("notify");
    let hidden = format!("magent-test-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(&hidden).expect("a name");
    for (name, manager) in [
        (path.clone(), UnixDatagram::bind(&path)),
        (format!("@{hidden}"), UnixDatagram::bind_addr(&abstract_name)),
    ] {
        let manager = manager.expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let file = files.path("magent.conf");
        fs::write(&file, format!("[General]\nmasters = {NOBODY_THERE}\n")).expect("a file");
        let mut command = Command::new(Magent::program());
        command.env("NOTIFY_SOCKET", &name);
        let mut magent = Magent::start_by(command, &["-c", &file]);
        assert_eq!(told(&manager), "READY=1");
        for text in ["[General]\nmasters = 127.0.0.1:2\n", "[General]\nan error\n"] {
            fs::write(&file, text).expect("a file");
            let before = sys::monotonic_us();
            magent.signal(libc::SIGHUP);
            let reloading = told(&manager);
            let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            let time: u64 = time.expect(&reloading).parse().expect("a number");
            assert!((before..=sys::monotonic_us()).contains(&time), "{before} {time}");
            assert_eq!(told(&manager), "READY=1");
        }
        magent.signal(libc::SIGTERM);
        assert_eq!(told(&manager), "STOPPING=1");
        assert_eq!(magent.wait().code(), Some(0));
        manager.set_nonblocking(true).expect("a socket");
        assert!(manager.recv(&mut [0]).is_err(), "nothing else was told");
    }
}
