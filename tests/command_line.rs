//! The command line, start-up errors, the daemon, listening and ending, on the real binary.

mod common;

use common::{Client, Daemon, Ended, Magent, Memcached, PATIENCE, PATIENT, Port, Process, Two, eventually, is_root};
use common::{mode_of, run, run_command, scratch};
use magent::config::{Kind, OPTIONS};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A server's address where nobody listens: what a magent needs that is not to be asked for keys.
const NOBODY_THERE: &str = "127.0.0.1:1";

/// A magent in the background, by the pid file it writes. It is ended with the test.
fn in_background(pid_file: &str, arguments: &[&str]) -> Daemon {
    let mut command = Command::new(Magent::program());
    background(command.args(["-P", pid_file]).args(arguments), pid_file)
}

fn background(command: &mut Command, pid_file: &str) -> Daemon {
    assert_eq!(run_command(command), Ended::saying(""), "the first process");
    let mut daemon = None;
    eventually("the pid file names a daemon", || {
        daemon = Daemon::of(Path::new(pid_file)).filter(Daemon::is_alive);
        daemon.is_some()
    });
    daemon.expect("waited for")
}

/// The numbers of an account of /etc/passwd: the user's, and the login group's.
fn account(name: &str) -> (u32, u32) {
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let prefix = format!("{name}:");
    let line = passwd.lines().find(|line| line.starts_with(&prefix));
    let fields: Vec<&str> = line.expect("an account that every system has").split(':').collect();
    (
        fields[2].parse().expect("a number"),
        fields[3].parse().expect("a number"),
    )
}

#[test]
fn the_help_shows_every_option_and_fits_a_terminal() {
    for option in ["-h", "--help"] {
        let ended = run(&[option]);
        assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""));
        for line in ended.output.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for option in &OPTIONS {
            let (long, short) = (format!("--{}", option.name), format!("  -{}, ", option.short));
            let shown = |line: &str| {
                let named = line.split([' ', '=']).any(|word| word == long);
                named && (option.short.is_empty() || line.starts_with(&short))
            };
            assert!(ended.output.lines().any(shown), "{long} is not in the help");
        }
    }
}

#[test]
fn the_version_is_shown() {
    for option in ["-V", "--version"] {
        assert_eq!(run(&[option]), Ended::saying("magent 0.8.0\n"));
    }
}

#[test]
fn a_configuration_is_tested_without_running() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = busy.local_addr().expect("an address").port().to_string();
    for option in ["-t", "--test"] {
        let ended = run(&[option, "-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &port]);
        assert_eq!(ended, Ended::saying("magent: the configuration is ok\n"));
        let ended = run(&[option, "-s", NOBODY_THERE, "-n", "0"]);
        assert_eq!(ended, Ended::refusing("-n 0: not a number from 1 to 1000000"));
    }
}

/// A value that an option takes.
fn sample(name: &str) -> &'static str {
    match name {
        "server" | "backup" => "127.0.0.1:2",
        "listen" => "127.0.0.1",
        "socket" | "pidfile" => "/tmp/a-file",
        "logdir" | "state-dir" => "/tmp",
        "socket-mode" => "660",
        "ack" => "primary",
        "miss" => "cold",
        "board" => "off",
        "max-item-size" | "max-memory" => "2m",
        "port" | "maxconns" | "maxidle" | "timeout" | "hedge" | "slow" | "status" => "100",
        "distribution" => "ketama",
        "hash" => "md5",
        "hash-tag" => "{}",
        // Numbers, because names differ between systems; anybody may remain who he is.
        "user" | "group" if is_root() => "1",
        "user" => own_account().0,
        "group" => own_account().1,
        _ => panic!("{name}: say which value it takes"),
    }
}

/// The user and group that run this test.
fn own_account() -> (&'static str, &'static str) {
    let own = fs::metadata("/proc/self").expect("/proc");
    (
        own.uid().to_string().leak() as &str,
        own.gid().to_string().leak() as &str,
    )
}

#[test]
fn every_option_has_its_long_and_its_short_form() {
    for option in OPTIONS.iter().filter(|option| option.kind != Kind::Action) {
        let takes_value = matches!(option.kind, Kind::Value | Kind::List);
        let value = if takes_value { sample(option.name) } else { "" };
        let long = format!("--{}", option.name);
        let mut forms = match takes_value {
            true => vec![vec![long.clone(), value.to_owned()], vec![format!("{long}={value}")]],
            false => vec![vec![long]],
        };
        if !option.short.is_empty() {
            let short = format!("-{}", option.short);
            if takes_value {
                forms.push(vec![format!("{short}{value}")]);
                forms.push(vec![short, value.to_owned()]);
            } else {
                forms.push(vec![short]);
            }
        }
        for form in forms {
            let form: Vec<&str> = form.iter().map(String::as_str).collect();
            let ended = run(&[&["-t", "-s", NOBODY_THERE], &form[..]].concat());
            assert_eq!(ended, Ended::saying("magent: the configuration is ok\n"), "{form:?}");
        }
    }
}

/// All that `stats settings` says, and where magent listens, of a magent with these options.
fn settings_with(arguments: &[&str]) -> String {
    let port = Port::free();
    let (number, name) = (port.to_string(), format!("0.0.0.0:{port}"));
    let arguments = [&["-D", "-p", &number, "-s", NOBODY_THERE], arguments].concat();
    let magent = Magent::start_exactly(&arguments, &name, port);
    String::from_utf8(magent.ask("stats settings\r\n").0).expect("text")
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    assert_eq!(
        settings_with(&[]),
        "STAT maxconns 4096\r\nSTAT max_idle_links 20\r\nSTAT item_size_max 1048576\r\nSTAT max_memory 67108864\r\n\
         STAT timeout_ms 500\r\nSTAT adaptive_timeout yes\r\nSTAT hedge auto\r\nSTAT slow_ms 100\r\nSTAT distribution modulo\r\nSTAT hash djb\r\nSTAT hash_tag none\r\nSTAT ack all\r\nSTAT miss partner\r\n\
         STAT board on\r\nEND\r\n"
    );
}

#[test]
fn both_forms_of_an_option_have_the_same_effect() {
    let others = [
        "--timeout=1234",
        "--hedge=12",
        "--slow=34",
        "--ack=primary",
        "--miss=cold",
        "--board=off",
        "--max-item-size=2m",
        "--max-memory=3072k",
    ];
    let expected = "STAT maxconns 77\r\nSTAT max_idle_links 3\r\nSTAT item_size_max 2097152\r\n\
                    STAT max_memory 3145728\r\nSTAT timeout_ms 1234\r\nSTAT adaptive_timeout no\r\nSTAT hedge 12\r\nSTAT slow_ms 34\r\nSTAT distribution ketama\r\nSTAT hash md5\r\nSTAT hash_tag none\r\nSTAT ack primary\r\n\
                    STAT miss cold\r\nSTAT board off\r\nEND\r\n";
    let short = ["-n", "77", "-i", "3", "-k"];
    let long = ["--maxconns=77", "--maxidle", "3", "--ketama"];
    assert_eq!(settings_with(&[&short[..], &others].concat()), expected);
    assert_eq!(settings_with(&[&long[..], &others].concat()), expected);
}

#[test]
fn ports_left_out_are_11211() {
    let magent = Magent::start(&["-s", "127.0.0.9"]);
    let servers = magent.ask("stats servers\r\n");
    assert!(servers.contains("STAT 127.0.0.9:11211:state "), "{servers:?}");
    // Whether the port is free or somebody's, magent says which one it tries.
    let files = scratch();
    let log = files.path("magent.log");
    let mut command = Command::new(Magent::program());
    command.args(["-D", "-l", "127.66.112.11", "-s", NOBODY_THERE]);
    let mut process = Process::spawn(command.stderr(File::create(&log).expect("a file")));
    eventually("magent tells where it listens", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("listen on 127.66.112.11:11211: Address already in use"))
            || fs::read_to_string(&log).is_ok_and(|log| log.contains("listening on 127.66.112.11:11211\n"))
    });
    process.signal(libc::SIGTERM);
    process.wait();
}

#[test]
fn the_default_address_is_every_address() {
    let port = Port::free();
    let (number, name) = (port.to_string(), format!("0.0.0.0:{port}"));
    let _magent = Magent::start_exactly(&["-D", "-p", &number, "-s", NOBODY_THERE], &name, port);
    for address in ["127.0.0.1", "127.0.0.77"] {
        Client::connect(&format!("{address}:{number}")).check("here?\r\n", "ERROR\r\n");
    }
}

#[test]
fn several_primaries_and_backups_can_be_given_in_both_forms() {
    let names = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"];
    let magent = Magent::start(&[
        "-s", names[0], "--server", names[1], "-b", names[2], "--backup", names[3],
    ]);
    assert_eq!(magent.stat("servers"), 4);
    let servers = magent.ask("stats servers\r\n");
    for name in names {
        assert!(servers.contains(&format!("STAT {name}:state ")), "{servers:?}");
    }
}

#[test]
fn several_servers_may_stand_in_one_option() {
    let magent = Magent::start(&[
        "-s",
        "127.0.0.1:1,127.0.0.1:2",
        "-s",
        "127.0.0.1:3",
        "-b",
        "127.0.0.1:4, 127.0.0.1:5",
    ]);
    assert_eq!(magent.stat("servers"), 5);
    let servers = magent.ask("stats servers\r\n");
    for number in 1..=5 {
        let line = format!("STAT 127.0.0.1:{number}:state ");
        assert!(servers.contains(&line), "{line} in {servers:?}");
    }
    let twice = "-b 127.0.0.1:2: this server is listed twice";
    assert_eq!(
        run(&["-s", NOBODY_THERE, "-b", "127.0.0.1:2,127.0.0.1:2"]),
        Ended::refusing(twice)
    );
}

#[test]
fn an_option_given_twice_counts_as_given_last() {
    let twice = [
        "-n",
        "5",
        "-n",
        "77",
        "-i",
        "4",
        "--maxidle=3",
        "-k",
        "-k",
        "--timeout=99",
        "--timeout=1234",
        "--ack=all",
        "--ack=primary",
        "--miss=partner",
        "--miss=cold",
        "--max-item-size=3m",
        "--max-item-size=2m",
        "--max-memory=9m",
        "--max-memory=3m",
        "-D",
        "-D",
    ];
    let once = [
        "-n",
        "77",
        "-i",
        "3",
        "-k",
        "--timeout=1234",
        "--ack=primary",
        "--miss=cold",
        "--max-item-size=2m",
        "--max-memory=3m",
    ];
    assert_eq!(settings_with(&twice), settings_with(&once));
    let files = scratch();
    let (first, last) = (files.path("first"), files.path("last"));
    fs::write(&first, "nonsense").expect("a file");
    fs::write(&last, "[General]\nmaxconns = 78\n").expect("a file");
    assert!(settings_with(&["-c", &first, "-c", &last]).starts_with("STAT maxconns 78\r\n"));
    assert_eq!(run(&["-V", "-V"]), Ended::saying("magent 0.8.0\n"));
}

#[test]
fn keys_without_a_second_copy_are_warned_of() {
    let one = ["-s", "127.0.0.1:1", "-b", "127.0.0.1:1"];
    let two = ["-s", "127.0.0.1:2", "-s", "127.0.0.1:1", "-b", "127.0.0.1:1"];
    let enough = ["-s", "127.0.0.1:1", "-b", "127.0.0.1:2", "-b", "127.0.0.1:1"];
    let none = "127.0.0.1:1 is the only primary and the only backup: no key has a second copy\n";
    let some = "127.0.0.1:1 is a primary and the only backup: the keys of this primary have no second copy\n";
    for (arguments, warning) in [(&one[..], none), (&two, some), (&enough, "")] {
        let tested = run(&[&["-t"], arguments].concat());
        let errors = if warning.is_empty() {
            String::new()
        } else {
            format!("magent: {warning}")
        };
        assert_eq!((tested.status, tested.errors), (Some(0), errors), "{arguments:?}");
        let magent = Magent::start(arguments);
        // It is there to be read once it answers.
        magent.client().ask("version\r\n");
        eventually("the log has the warning", || magent.log().contains(warning));
        assert_eq!(magent.log().contains("second copy"), !warning.is_empty());
    }
}

/// What is wrong about distributions, weights and names.
fn refuse_distributions(refuse: &mut impl FnMut(&[&'static str], &str)) {
    let ways = "modulo, ketama, libmemcached-modula, libmemcached-ketama, libmemcached-ketama-weighted, twemproxy-modula, \
                twemproxy-ketama";
    refuse(
        &["--distribution=md5"],
        &format!("--distribution md5: not one of: {ways}"),
    );
    let hashes = "djb, md5, one_at_a_time, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32";
    refuse(
        &["--distribution=twemproxy-ketama", "--hash=murmur"],
        &format!("--hash murmur: not one of: {hashes}"),
    );
    refuse(
        &["-k", "--distribution=modulo"],
        "--distribution modulo: contradicts -k",
    );
    for tag in ["{", "{}}", "é", "{ "] {
        refuse(
            &["--hash-tag", tag],
            &format!("--hash-tag {tag}: not two characters of ASCII, as in {{}}"),
        );
    }
    refuse(
        &["-s", "10.0.0.1:1:0"],
        "-s 10.0.0.1:1:0: weight is not a number from 1 to 1000000",
    );
    refuse(
        &["-s", "10.0.0.1:1:1 one"],
        "-s 10.0.0.1:1:1 one: a name behind the weight goes with twemproxy's distributions only",
    );
    refuse(
        &[
            "--distribution=twemproxy-ketama",
            "-s",
            "10.0.0.1:1:1 one",
            "-s",
            "10.0.0.2:1:1 one",
        ],
        "-s 10.0.0.2:1:1 one: another server has this name",
    );
    refuse(
        &["-k", "-b", "10.0.0.1:1:100", "-b", "10.0.0.1:2:101"],
        "-b 10.0.0.1:2:101: the weights of a farm add up to 200 at most by ketama",
    );
    refuse(
        &["-s", "10.0.0.1:1:1000"],
        "-s 10.0.0.1:1:1000: the weights of a farm add up to 1000 at most by modulo",
    );
}

#[test]
fn a_bad_command_line_is_refused_in_one_line() {
    let server = ["-s", NOBODY_THERE];
    let account_refused = "only root can run magent as somebody else";
    let mut cases: Vec<(Vec<&str>, String)> = Vec::new();
    let mut refuse = |arguments: &[&'static str], error: &str| {
        cases.push(([&server[..], arguments].concat(), error.to_owned()));
    };
    refuse(&["-p", "0"], "nothing to listen on: -p is 0 and there is no -f");
    refuse(
        &["-s", "10.0.0.1:99999"],
        "-s 10.0.0.1:99999: port out of range (1-65535)",
    );
    refuse(&["--server=10.0.0.1:0"], "-s 10.0.0.1:0: port out of range (1-65535)");
    refuse(&["-b", "10.0.0.1:x"], "-b 10.0.0.1:x: port is not a number (1-65535)");
    refuse(
        &["-s", "10.0.0.1 :1"],
        "-s 10.0.0.1 :1: not an address (ip, host:port, [ipv6]:port or unix:/path)",
    );
    refuse(
        &["-s", ""],
        "-s: not an address (ip, host:port, [ipv6]:port or unix:/path)",
    );
    refuse(&["-s", "[::1"], "-s [::1: missing ] behind the address");
    refuse(
        &["-b", "unix:relative"],
        "-b unix:relative: a unix socket needs a full path (unix:/path)",
    );
    refuse(&["-s", NOBODY_THERE], "-s 127.0.0.1:1: this server is listed twice");
    refuse(
        &["-b", "127.0.0.1:7", "-b", "127.0.0.1:7"],
        "-b 127.0.0.1:7: this server is listed twice",
    );
    refuse(&["-p", "65536"], "-p 65536: not a number from 0 to 65535");
    refuse(&["-p", "x"], "-p x: not a number from 0 to 65535");
    refuse(&["-p", "-1"], "-p -1: not a number from 0 to 65535");
    refuse(&["-n", "0"], "-n 0: not a number from 1 to 1000000");
    refuse(&["-n", "1000001"], "-n 1000001: not a number from 1 to 1000000");
    refuse(&["-i", "0"], "-i 0: not a number from 1 to 1000");
    refuse(&["-i", "many"], "-i many: not a number from 1 to 1000");
    refuse(
        &["--timeout=9"],
        "--timeout 9: neither auto nor a number from 10 to 600000",
    );
    refuse(
        &["--timeout=0.5"],
        "--timeout 0.5: neither auto nor a number from 10 to 600000",
    );
    refuse(
        &["--hedge=never"],
        "--hedge never: neither auto nor a number from 0 to 600000",
    );
    refuse(&["--slow=600001"], "--slow 600001: not a number from 0 to 600000");
    refuse(&["--ack=backup"], "--ack backup: not one of: all, primary");
    refuse(&["--miss=hot"], "--miss hot: not one of: partner, cold");
    refuse(
        &["--max-item-size=1023"],
        "--max-item-size 1023: not a size from 1k to 1024m (in bytes, or with k or m behind the number)",
    );
    refuse(
        &["--max-memory=1g"],
        "--max-memory 1g: not a size from 1m to 1048576m (in bytes, or with k or m behind the number)",
    );
    refuse(&["-f", ""], "-f: not a path of 1 to 107 bytes");
    refuse(
        &["-f", "/tmp/s", "--socket-mode=888"],
        "--socket-mode 888: not an octal mode from 0 to 777",
    );
    refuse(&["-u", "no-such-user"], "-u no-such-user: no such user");
    refuse(&["-g", "no-such-group"], "-g no-such-group: no such group");
    refuse(&["-z"], "-z: no such option; see magent -h");
    refuse(&["--no-such"], "--no-such: no such option; see magent -h");
    refuse(&["-b"], "-b needs a value; see magent -h");
    refuse(&["--port"], "--port needs a value; see magent -h");
    refuse(&["--ketama=yes"], "--ketama takes no value; see magent -h");
    refuse_distributions(&mut refuse);
    refuse(
        &["-b", "10.0.0.1:1,"],
        "-b: not an address (ip, host:port, [ipv6]:port or unix:/path)",
    );
    refuse(&["stray"], "unexpected argument 'stray'; see magent -h");
    refuse(&["-c", "/no/such/file"], "-c /no/such/file: No such file or directory");
    if !is_root() {
        refuse(&["-u", "0"], &format!("-u 0: {account_refused}"));
    }
    cases.push((
        vec![],
        "no primary server: at least one -s is needed, or the key server in the file of -c; see magent -h".to_owned(),
    ));
    for (arguments, error) in cases {
        // In the foreground, so that one that is not refused does not survive the test.
        let ended = run(&[&["-D"], &arguments[..]].concat());
        assert_eq!(ended, Ended::refusing(&error), "{arguments:?}");
    }
}

#[test]
fn only_root_can_run_magent_as_somebody_else() {
    let files = scratch();
    let program = files.path("magent");
    fs::copy(Magent::program(), &program).expect("a copy that everybody may run");
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=1", "--regid=1", "--clear-groups"]);
    }
    command.args([&program, "-D", "-s", NOBODY_THERE, "-u", "0"]);
    assert_eq!(
        run_command(&mut command),
        Ended::refusing("-u 0: only root can run magent as somebody else")
    );
}

#[test]
fn a_port_in_use_is_said_before_the_background() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = busy.local_addr().expect("an address");
    let ended = run(&["-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &address.port().to_string()]);
    let error = format!("cannot listen on {address}: Address already in use");
    assert_eq!(ended, Ended::refusing(&error));
}

#[test]
fn files_that_cannot_be_written_are_said_before_the_background() {
    let port = Port::free().to_string();
    let start = ["-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &port];
    for (option, path, why) in [
        ("-P", "/no/such/magent.pid", "No such file or directory"),
        ("-P", "/", "Is a directory"),
        ("--logdir", "/no/such", "No such file or directory"),
        ("--logdir", "/dev/null", "Not a directory"),
        // Even root cannot write there.
        ("--logdir", "/proc/self", "No such file or directory"),
    ] {
        let ended = run(&[&start[..], &[option, path]].concat());
        assert_eq!(ended, Ended::refusing(&format!("{option} {path}: {why}")));
    }
}

#[test]
fn magent_goes_to_the_background_by_itself() {
    let (files, server, port) = (scratch(), Memcached::start(), Port::free());
    let pid_file = files.path("magent.pid");
    fs::write(&pid_file, "4194305\n").expect("a stale pid file");
    fs::set_permissions(&pid_file, fs::Permissions::from_mode(0o600)).expect("our file");
    let number = port.to_string();
    let daemon = in_background(&pid_file, &["-s", &server.name, "-l", "127.0.0.1", "-p", &number]);
    // The listeners are up before the pid file is there.
    let mut client = Client::connect(&format!("127.0.0.1:{number}"));
    client.check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    assert_eq!(client.stat("stats", "pid"), daemon.id.to_string());
    let link = |name: &str| fs::read_link(format!("/proc/{}/{name}", daemon.id)).expect("a process that runs");
    assert_eq!(link("cwd"), Path::new("/"));
    assert_eq!(mode_of(&pid_file), 0o644, "everybody may read it");
    for standard in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(standard), Path::new("/dev/null"));
    }
    assert_eq!(daemon.status("Umask"), "0027");
    let session = |id: u32| -> u32 {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("a process that runs");
        let fields = stat.rsplit(") ").next().expect("fields");
        fields.split(' ').nth(3).expect("a session").parse().expect("a number")
    };
    assert_ne!(session(daemon.id), session(std::process::id()), "a session of its own");
    assert_ne!(
        session(daemon.id),
        daemon.id,
        "and not its leader, so it never gets a terminal"
    );
    daemon.signal(libc::SIGTERM);
    eventually("the daemon ends", || !daemon.is_alive());
    assert!(!Path::new(&pid_file).exists(), "the pid file is removed");
    client.expect_closed();
}

#[test]
fn relative_paths_are_relative_to_where_magent_was_started() {
    let (files, port) = (scratch(), Port::free());
    let number = port.to_string();
    let mut command = Command::new(Magent::program());
    command.args(["-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &number]);
    command.args(["-P", "magent.pid", "-f", "magent.sock", "--logdir", "."]);
    let daemon = background(command.current_dir(files.path(".")), &files.path("magent.pid"));
    Client::connect(&format!("unix:{}", files.path("magent.sock"))).check("here?\r\n", "ERROR\r\n");
    let log = fs::read_to_string(files.path("magent.log")).expect("a log");
    assert!(log.contains(&format!("listening on 127.0.0.1:{number}")), "{log}");
    daemon.signal(libc::SIGTERM);
    eventually("the daemon ends", || !daemon.is_alive());
    for name in ["magent.pid", "magent.sock"] {
        assert!(!Path::new(&files.path(name)).exists(), "{name} is removed");
    }
}

#[test]
fn a_second_start_fails_and_disturbs_nothing() {
    let (files, port) = (scratch(), Port::free());
    let pid_file = files.path("magent.pid");
    let number = port.to_string();
    let arguments = ["-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &number];
    let daemon = in_background(&pid_file, &arguments);
    let second = run(&[&["-P", &pid_file], &arguments[..]].concat());
    let error = format!("cannot listen on 127.0.0.1:{number}: Address already in use");
    assert_eq!(second, Ended::refusing(&error));
    let written = fs::read_to_string(&pid_file).expect("the pid file is still there");
    assert_eq!(written, format!("{}\n", daemon.id));
}

#[test]
fn the_pid_file_of_a_successor_is_not_removed() {
    let files = scratch();
    let pid_file = files.path("magent.pid");
    let mut magent = Magent::start(&["-s", NOBODY_THERE, "--pidfile", &pid_file]);
    eventually("the pid file is there", || {
        fs::read_to_string(&pid_file).is_ok_and(|text| text == format!("{}\n", magent.id()))
    });
    fs::write(&pid_file, "4194305\n").expect("a successor's pid file");
    assert_eq!(magent.terminate().code(), Some(0));
    assert_eq!(fs::read_to_string(&pid_file).ok().as_deref(), Some("4194305\n"));
}

/// The lines of a log that tell of requests, without the number of the client.
fn asked(magent: &Magent) -> Vec<String> {
    let log = magent.log();
    let requests = log.lines().filter_map(|line| line.split_once(": asks "));
    requests.map(|(_, request)| request.to_owned()).collect()
}

#[test]
fn v_given_twice_tells_of_requests_without_their_values() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &["-vv"]);
    let mut client = magent.client();
    client.check("set k 0 0 5\r\nvalue\r\n", "STORED\r\n");
    client.check("get k a\u{e9}\r\n", "VALUE k 0 5\r\nvalue\r\nEND\r\n");
    client.check("nonsense\r\n", "ERROR\r\n");
    let expected = ["set k 0 0 5", r"get k a\xc3\xa9", "nonsense"];
    eventually("it tells of requests", || {
        asked(&magent).ends_with(&expected.map(str::to_owned))
    });
}

#[test]
fn a_client_cannot_have_requests_told_of() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    client.check("verbosity 9\r\n", "OK\r\n");
    client.check("get k\r\n", "END\r\n");
    drop(client);
    eventually("it tells of clients", || magent.log().contains(": closed"));
    assert_eq!(asked(&magent), [""; 0]);
}

#[test]
fn d_and_v_stay_in_the_foreground() {
    for option in ["-D", "--foreground", "-v", "-vv", "--verbose"] {
        let port = Port::free();
        let (number, name) = (port.to_string(), format!("127.0.0.1:{port}"));
        let arguments = [option, "-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &number];
        let magent = Magent::start_exactly(&arguments, &name, port);
        let mut client = magent.client();
        // The process that answers is the one that was started.
        assert_eq!(client.stat("stats", "pid"), magent.id().to_string(), "{option}");
        if option.contains('v') {
            eventually("it tells of clients", || {
                magent.log().contains("client 0: connected from 127.0.0.1:")
            });
        } else {
            assert!(!magent.log().contains("connected"), "{}", magent.log());
        }
    }
}

/// The user, group and further groups that a magent with these options runs as; the first two four times, as the
/// kernel shows them.
fn identity_with(arguments: &[&str]) -> [String; 3] {
    let magent = Magent::start(&[&["-s", NOBODY_THERE], arguments].concat());
    // It answers when it has become somebody else.
    magent.settle();
    let status = fs::read_to_string(format!("/proc/{}/status", magent.id())).expect("a process that runs");
    ["Uid:", "Gid:", "Groups:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a line of it")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    })
}

#[test]
fn the_user_and_group_are_taken_by_name_and_by_number() {
    let four = |id: u32| format!("{id} {id} {id} {id}");
    if !is_root() {
        // Only root can become somebody else; anybody may say who he is.
        let (user, group) = own_account();
        let [uid, gid, _] = identity_with(&["-u", user, "-g", group]);
        assert_eq!(uid, four(user.parse().expect("a number")));
        assert_eq!(gid, four(group.parse().expect("a number")));
        return;
    }
    let (nobody, nobodys_group) = account("nobody");
    let (_, daemons_group) = account("daemon");
    assert_eq!(
        identity_with(&["-u", "nobody"]),
        [four(nobody), four(nobodys_group), nobodys_group.to_string()]
    );
    assert_eq!(
        identity_with(&["--user", &nobody.to_string(), "--group", &daemons_group.to_string()]),
        [four(nobody), four(daemons_group), daemons_group.to_string()]
    );
    assert_eq!(
        identity_with(&["-u", "nobody", "-g", "daemon"]),
        [four(nobody), four(daemons_group), daemons_group.to_string()]
    );
    // Numbers without a name.
    assert_eq!(
        identity_with(&["-u", "54321", "-g", "54322"]),
        [four(54321), four(54322), String::new()]
    );
    let [uid, gid, _] = identity_with(&["-g", "daemon"]);
    assert_eq!([uid, gid], [four(0), four(daemons_group)]);
}

#[test]
fn what_needs_root_is_done_before_root_is_given_up() {
    // As somebody else only root can try it; who is not root has nothing to give up.
    let (user, group) = own_account();
    let (user, group) = if is_root() { ("1", "1") } else { (user, group) };
    let files = scratch();
    let (socket, pid_file) = (files.path("magent.sock"), files.path("magent.pid"));
    let logs = files.path("logs");
    fs::create_dir(&logs).expect("a directory");
    let options = ["-u", user, "-g", group, "-f", &socket, "--logdir", &logs];
    let port = Port::free();
    let number = port.to_string();
    let arguments = [&["-s", NOBODY_THERE, "-l", "127.0.0.1", "-p", &number], &options[..]].concat();
    let daemon = in_background(&pid_file, &arguments);
    Client::connect(&format!("unix:{socket}")).check("here?\r\n", "ERROR\r\n");
    assert_eq!(daemon.status("Uid").split(' ').next(), Some(user));
    for path in [&socket, &format!("{logs}/magent.log")] {
        let metadata = fs::metadata(path).expect("a file");
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (user.parse().unwrap(), group.parse().unwrap()),
            "{path}"
        );
    }
}

#[test]
fn servers_are_reached_over_unix_sockets_ipv6_and_host_names() {
    let files = scratch();
    let unix = Memcached::start_unix(&files.path("memcached.sock"));
    let plain = Memcached::start();
    let by_name = plain.name.replace("127.0.0.1", "localhost");
    let mut ways = vec![(&unix, unix.name.clone()), (&plain, by_name)];
    let v6 = TcpListener::bind("[::1]:0").is_ok().then(Memcached::start_v6);
    ways.extend(v6.as_ref().map(|server| (server, server.name.clone())));
    for (server, name) in ways {
        let magent = Magent::start(&["-s", &name]);
        magent.client().check("set key 7 0 5\r\nvalue\r\n", "STORED\r\n");
        magent
            .client()
            .check("get key\r\n", "VALUE key 7 5\r\nvalue\r\nEND\r\n");
        assert_eq!(server.ask("get key\r\n"), "VALUE key 7 5\r\nvalue\r\nEND\r\n", "{name}");
        let servers = magent.ask("stats servers\r\n");
        assert!(servers.contains(&format!("STAT {name}:state up\r\n")), "{servers:?}");
    }
}

#[test]
fn clients_are_listened_for_by_ipv6_and_host_name() {
    let mut ways = vec![("localhost", "127.0.0.1")];
    if TcpListener::bind("[::1]:0").is_ok() {
        ways.extend([("::1", "[::1]"), ("[::1]", "[::1]")]);
    }
    for (given, address) in ways {
        let port = Port::free();
        let (number, name) = (port.to_string(), format!("{address}:{port}"));
        let magent = Magent::start_exactly(
            &["-D", "-s", NOBODY_THERE, "--listen", given, "--port", &number],
            &name,
            port,
        );
        magent.client().check("here?\r\n", "ERROR\r\n");
    }
}

/// Waits until a request waits for an answer of this server.
fn wait_until_pending(magent: &Magent, server: &Memcached) {
    eventually("a request is pending", || magent.server_stat(server, "pending") != "0");
}

fn tell_to_end(magent: &Magent, signal: i32) {
    magent.signal(signal);
    eventually("magent has heard it", || magent.log().contains("told to end"));
}

#[test]
fn sigterm_and_sigint_finish_what_is_in_flight_and_exit_0() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let server = Memcached::start();
        let mut magent = Magent::before(&[&server], &[], &[]);
        let (mut idle, mut client) = (magent.client(), magent.client());
        idle.check("version\r\n", Memcached::version().reply());
        client.check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
        server.stop();
        client.send("get key\r\nincr key 1\r\nset other 0 0 1\r\nx\r\nversion\r\nget other key\r\n");
        wait_until_pending(&magent, &server);
        magent.settle();
        tell_to_end(&magent, signal);
        idle.expect_closed();
        assert!(Client::try_connect(&magent.name).is_err(), "no new clients");
        server.cont();
        client.expect("VALUE key 0 5\r\nvalue\r\nEND\r\n");
        client.expect("CLIENT_ERROR cannot increment or decrement non-numeric value\r\nSTORED\r\n");
        client.expect(Memcached::version().reply());
        client.expect("VALUE other 0 1\r\nx\r\nVALUE key 0 5\r\nvalue\r\nEND\r\n");
        client.expect_closed();
        assert_eq!(magent.wait().code(), Some(0));
    }
}

#[test]
fn sigterm_lets_what_is_in_flight_fail_over() {
    let two = Two::start(&["--timeout=300"]);
    let mut magent = two.magent;
    let mut client = magent.client();
    client.check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    two.primary.stop();
    client.send("get key\r\n");
    magent.settle();
    tell_to_end(&magent, libc::SIGTERM);
    client.expect("VALUE key 0 5\r\nvalue\r\nEND\r\n");
    client.expect_closed();
    assert_eq!(magent.wait().code(), Some(0));
}

/// More than a client may have in flight, so that some of it has not even been read when magent is told to end.
#[test]
fn sigterm_answers_all_of_a_long_pipeline() {
    const REQUESTS: usize = 30_000;
    let server = Memcached::start();
    let mut magent = Magent::before(&[&server], &[], &[]);
    let mut client = magent.client();
    client.check("set key 0 0 1\r\nx\r\n", "STORED\r\n");
    server.stop();
    client.send("get key\r\n".repeat(REQUESTS));
    wait_until_pending(&magent, &server);
    tell_to_end(&magent, libc::SIGTERM);
    server.cont();
    client.expect("VALUE key 0 1\r\nx\r\nEND\r\n".repeat(REQUESTS));
    client.expect_closed();
    assert_eq!(magent.wait().code(), Some(0));
}

#[test]
fn a_client_that_has_asked_nothing_holds_up_the_end_for_a_moment_only() {
    let server = Memcached::start();
    let mut magent = Magent::before(&[&server], &[], &[]);
    let mut silent = magent.client();
    magent.settle();
    let told = Instant::now();
    assert_eq!(magent.terminate().code(), Some(0));
    // Clients that do not take their replies have five seconds.
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    silent.expect_closed();
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let server = Memcached::start();
    let mut magent = Magent::before(&[&server], &[], &["--timeout=600000"]);
    let mut client = magent.client();
    server.stop();
    client.send("get key\r\n");
    wait_until_pending(&magent, &server);
    tell_to_end(&magent, libc::SIGTERM);
    assert!(client.is_quiet(), "neither answered nor closed");
    let told = Instant::now();
    assert_eq!(magent.terminate().code(), Some(0));
    // Without it, five seconds.
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    client.expect_closed();
}

#[test]
fn a_client_that_does_not_take_its_replies_does_not_keep_magent_from_ending() {
    let server = Memcached::start();
    let mut magent = Magent::before(&[&server], &[], &["--timeout=600000"]);
    let mut client = magent.client();
    server.stop();
    client.send("get key\r\n");
    wait_until_pending(&magent, &server);
    assert_eq!(magent.terminate().code(), Some(0));
}

#[test]
fn sigpipe_is_harmless() {
    let server = Memcached::start();
    let mut magent = Magent::before(&[&server], &[], &[]);
    magent.signal(libc::SIGPIPE);
    let value = vec![b'x'; 500_000];
    let mut client = magent.client();
    client.send([b"set key 0 0 500000\r\n", &value[..], b"\r\n"].concat());
    client.expect("STORED\r\n");
    for _ in 0..20 {
        // Gone before its replies can be written; what it has not read makes the connection be reset.
        let mut client = magent.client();
        client.send("get key\r\n".repeat(20));
        drop(client);
    }
    eventually("they are gone", || magent.stat("curr_connections") == 2);
    client.check("version\r\n", Memcached::version().reply());
    assert_eq!(magent.terminate().code(), Some(0));
}

#[test]
fn processes_can_share_a_port() {
    let server = Memcached::start();
    let port = Port::free();
    let (number, name) = (port.to_string(), format!("127.0.0.1:{port}"));
    let plain = ["-D", "-l", "127.0.0.1", "-p", &number, "-s", &server.name];
    let shared = [&plain[..], &["--reuse-port"]].concat();
    let one = Magent::start_exactly(&shared, &name, port);
    let other = Magent::start_exactly(&shared, &name, Port::free());
    let (mut of_one, mut of_other) = (0, 0);
    eventually("each has had clients", || {
        let pid = one.client().stat("stats", "pid");
        of_one += usize::from(pid == one.id().to_string());
        of_other += usize::from(pid == other.id().to_string());
        of_one > 0 && of_other > 0
    });
    // Who does not say so cannot take part.
    let error = format!("cannot listen on {name}: Address already in use");
    assert_eq!(run(&plain), Ended::refusing(&error));
}

#[test]
fn a_port_that_is_not_shared_cannot_be_joined() {
    let port = Port::free();
    let (number, name) = (port.to_string(), format!("127.0.0.1:{port}"));
    let plain = ["-D", "-l", "127.0.0.1", "-p", &number, "-s", NOBODY_THERE];
    let _one = Magent::start_exactly(&plain, &name, port);
    let error = format!("cannot listen on {name}: Address already in use");
    assert_eq!(run(&[&plain[..], &["--reuse-port"]].concat()), Ended::refusing(&error));
}

/// Connects anew for each request, until told to stop; returns what went wrong.
fn reconnect(name: &str, enough: &AtomicBool, served: &AtomicUsize) -> Vec<String> {
    use std::io::{Read, Write};
    let mut errors = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        let mut reply = Vec::new();
        let result = std::net::TcpStream::connect(name).and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"get key\r\nquit\r\n")?;
            stream.read_to_end(&mut reply)
        });
        match result {
            Ok(_) if reply == b"VALUE key 0 5\r\nvalue\r\nEND\r\n" => {
                served.fetch_add(1, Ordering::Relaxed);
            }
            result => errors.push(format!("{result:?} after {:?}", common::Bytes(reply))),
        }
    }
    errors
}

#[test]
fn a_new_process_takes_over_without_an_error() {
    const TAKEOVERS: usize = 10;
    let server = Memcached::start();
    server.client().check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    let port = Port::free();
    let (number, name) = (port.to_string(), format!("127.0.0.1:{port}"));
    let arguments = [
        "-D",
        "-l",
        "127.0.0.1",
        "-p",
        &number,
        "--reuse-port",
        PATIENT,
        "-s",
        &server.name,
    ];
    let mut magent = Magent::start_exactly(&arguments, &name, port);
    let (enough, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let errors: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| reconnect(&name, &enough, &served)))
            .collect();
        let take_over = || {
            for _ in 0..TAKEOVERS {
                let before = served.load(Ordering::Relaxed);
                eventually("clients are served", || served.load(Ordering::Relaxed) > before + 100);
                let new = Magent::start_exactly(&arguments, &name, Port::free());
                let mut old = std::mem::replace(&mut magent, new);
                assert_eq!(old.terminate().code(), Some(0));
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(take_over));
        enough.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        clients
            .into_iter()
            .flat_map(|client| client.join().expect("no panic"))
            .collect()
    });
    assert_eq!(
        errors,
        Vec::<String>::new(),
        "{} requests were served",
        served.into_inner()
    );
}
