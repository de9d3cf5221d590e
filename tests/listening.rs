//! Where magent listens: ports and unix sockets, whose they are, and how a reload changes them.

mod common;

use common::{Client, Configured, Ended, Magent, Memcached, Port, eventually, is_root, masters, mode_of, run, scratch};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A server's address where nobody listens: what a magent needs that is not to be asked for keys.
const NOBODY_THERE: &str = "127.0.0.1:1";

/// A magent that listens on a unix socket alone.
fn on_socket(path: &str, arguments: &[&str]) -> Magent {
    let arguments = [&["-D", "-p", "0", "-s", NOBODY_THERE, "-f", path], arguments].concat();
    Magent::start_exactly(&arguments, &format!("unix:{path}"), Port::free())
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_with_its_process() {
    let files = scratch();
    let path = files.path("magent.sock");
    for (option, mode) in [
        (None, 0o700),
        (Some("--socket-mode=666"), 0o666),
        (Some("--socket-mode=0660"), 0o660),
    ] {
        let mut magent = on_socket(&path, option.as_slice());
        magent.client().check("here?\r\n", "ERROR\r\n");
        assert_eq!(mode_of(&path), mode);
        assert_eq!(magent.terminate().code(), Some(0));
        assert!(!Path::new(&path).exists(), "the socket is removed");
    }
}

#[test]
fn a_unix_socket_is_listened_on_besides_the_port() {
    let (files, server) = (scratch(), Memcached::start());
    let path = files.path("magent.sock");
    let magent = Magent::before(&[&server], &[], &["--socket", &path]);
    magent.client().check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    Client::connect(&format!("unix:{path}")).check("get key\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n");
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let files = scratch();
    let path = files.path("magent.sock");
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(Path::new(&path).exists(), "left behind");
    on_socket(&path, &[]).client().check("here?\r\n", "ERROR\r\n");
}

#[test]
fn a_unix_socket_in_use_is_refused() {
    let files = scratch();
    let path = files.path("magent.sock");
    let magent = on_socket(&path, &[]);
    let ended = run(&["-D", "-p", "0", "-s", NOBODY_THERE, "-f", &path]);
    // Exactly the system's text follows.
    let error = format!("magent: cannot listen on unix:{path}: ");
    assert_eq!((ended.status, ended.errors.lines().count()), (Some(1), 1));
    assert!(ended.errors.starts_with(&error), "{}", ended.errors);
    assert!(ended.errors.contains("in use"), "{}", ended.errors);
    magent.client().check("here?\r\n", "ERROR\r\n");
}

#[test]
fn a_file_that_is_no_socket_is_not_touched() {
    let files = scratch();
    let (path, link) = (files.path("precious"), files.path("link"));
    fs::write(&path, "data").expect("a file");
    symlink(&path, &link).expect("a link");
    for path in [&path, &link] {
        let ended = run(&["-D", "-p", "0", "-s", NOBODY_THERE, "-f", path]);
        let error = format!("cannot listen on unix:{path}: it exists and is not a socket");
        assert_eq!(ended, Ended::refusing(&error));
    }
    assert_eq!(fs::read_to_string(&path).ok().as_deref(), Some("data"));
    assert!(fs::symlink_metadata(&link).expect("the link").file_type().is_symlink());
    assert!(!fs::metadata(&path).expect("the file").file_type().is_socket());
}

#[test]
fn listening_addresses_change_while_clients_stay() {
    let server = Memcached::start();
    let magent = Configured::start(&masters(&[&server]));
    let (mut client, port) = (magent.magent.client(), magent.magent.port);
    client.check("set key 0 0 1\r\nx\r\n", "STORED\r\n");
    let elsewhere = format!("127.0.0.2:{port}");
    assert!(Client::try_connect(&elsewhere).is_err());
    let lines = masters(&[&server]);
    // The same port on every address.
    magent.reload_all(&format!("{}listen = 0.0.0.0\n{lines}", magent.common));
    let mut other = Client::connect(&elsewhere);
    other.check("get key\r\n", "VALUE key 0 1\r\nx\r\nEND\r\n");
    Client::connect(&magent.magent.name).check("get key\r\n", "VALUE key 0 1\r\nx\r\nEND\r\n");
    // And back.
    magent.reload(&lines);
    assert!(Client::try_connect(&elsewhere).is_err());
    Client::connect(&magent.magent.name).check("get key\r\n", "VALUE key 0 1\r\nx\r\nEND\r\n");
    // Another port.
    let new_port = Port::free();
    let common = magent
        .common
        .replace(&format!("port = {port}"), &format!("port = {new_port}"));
    magent.reload_all(&format!("{common}listen = 127.0.0.1\n{lines}"));
    assert!(Client::try_connect(&magent.magent.name).is_err());
    Client::connect(&format!("127.0.0.1:{new_port}")).check("get key\r\n", "VALUE key 0 1\r\nx\r\nEND\r\n");
    // A unix socket alone, then with another mode.
    let files = scratch();
    let path = files.path("magent.sock");
    for mode in [0o600, 0o666] {
        magent.reload_all(&format!(
            "[General]\nport = 0\nsocket = {path}\nsocket-mode = {mode:o}\n{lines}"
        ));
        assert!(Client::try_connect(&format!("127.0.0.1:{new_port}")).is_err());
        Client::connect(&format!("unix:{path}")).check("get key\r\n", "VALUE key 0 1\r\nx\r\nEND\r\n");
        assert_eq!(
            fs::metadata(&path).expect("a socket").permissions().mode() & 0o777,
            mode
        );
    }
    magent.reload(&lines);
    assert!(!Path::new(&path).exists(), "the socket is removed");
    for client in [&mut client, &mut other] {
        client.check("get key\r\n", "VALUE key 0 1\r\nx\r\nEND\r\n");
    }
}

/// Nobody's own number, to whom magent changes where the test is root's.
const NOBODY: u32 = 65534;

/// The line that makes magent run as nobody, where it may.
fn as_nobody() -> &'static str {
    if is_root() { "user = nobody\n" } else { "" }
}

#[test]
fn a_unix_socket_stays_where_it_could_not_be_made_again() {
    let (server, files) = (Memcached::start(), scratch());
    let folder = files.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let path = format!("{folder}/magent.sock");
    let lines = |mode: &str| {
        format!(
            "{}{}socket = {path}\nsocket-mode = {mode}\n",
            masters(&[&server]),
            as_nobody()
        )
    };
    let magent = Configured::start(&lines("600"));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("our folder");
    let before = fs::metadata(&path).expect("a socket").ino();
    magent.reload(&lines("666"));
    Client::connect(&format!("unix:{path}")).check("here?\r\n", "ERROR\r\n");
    assert_eq!(
        (fs::metadata(&path).expect("a socket").ino(), mode_of(&path)),
        (before, 0o666)
    );
    // Another one cannot be made there, and so the old one stays.
    let elsewhere = lines("666").replace("magent.sock", "other.sock");
    let text = format!("{}listen = 127.0.0.1\n{elsewhere}", magent.common);
    let error = format!("cannot listen on unix:{folder}/other.sock: Permission denied");
    assert_eq!(magent.reload_in_vain(&text), error);
    Client::connect(&format!("unix:{path}")).check("here?\r\n", "ERROR\r\n");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our folder");
}

#[test]
fn a_privileged_port_stays_listened_on() {
    if !is_root() {
        return; // there is nothing to be lost
    }
    let server = Memcached::start();
    // On an address that nothing else uses.
    let place = "127.66.112.12:801";
    let file = |port: u16, more: &str| {
        format!(
            "[General]\nlisten = 127.66.112.12\nport = {port}\n{}user = nobody\n{more}",
            masters(&[&server])
        )
    };
    let magent = Configured::start_file(&file(801, ""), place);
    let mut client = Client::connect(place);
    magent.reload_all(&file(801, "reuse-port = yes\n"));
    Client::connect(place).check("here?\r\n", "ERROR\r\n");
    let error = "cannot listen on 127.66.112.12:802: Permission denied";
    assert_eq!(magent.reload_in_vain(&file(802, "maxconns = 7\n")), error);
    Client::connect(place).check("here?\r\n", "ERROR\r\n");
    let settings = client.ask("stats settings\r\n");
    assert!(settings.contains("maxconns 4096\r\n"), "{settings:?}");
}

#[test]
fn a_reload_can_change_whether_a_port_is_shared() {
    let server = Memcached::start();
    let magent = Configured::start(&masters(&[&server]));
    let number = magent.magent.port.to_string();
    let second = [
        "-D",
        "-s",
        NOBODY_THERE,
        "-l",
        "127.0.0.1",
        "-p",
        &number,
        "--reuse-port",
    ];
    let in_use = format!("cannot listen on {}: Address already in use", magent.magent.name);
    assert_eq!(run(&second), Ended::refusing(&in_use));
    magent.reload(&format!("{}reuse-port = yes\n", masters(&[&server])));
    let mut second = Magent::start_exactly(&second, &magent.magent.name, Port::free());
    assert_eq!(second.terminate().code(), Some(0));
    Client::connect(&magent.magent.name).check("here?\r\n", "ERROR\r\n");
}

#[test]
fn a_port_that_root_has_bound_moves_to_another_address_of_the_machine() {
    let server = Memcached::start();
    let lines = format!("{}{}", masters(&[&server]), as_nobody());
    let magent = Configured::start(&lines);
    for address in ["0.0.0.0", "127.0.0.1", "127.0.0.2"] {
        magent.reload_all(&format!("{}listen = {address}\n{lines}", magent.common));
        let place = match address {
            "0.0.0.0" => &magent.magent.name,
            address => &format!("{address}:{}", magent.magent.port),
        };
        Client::connect(place).check("here?\r\n", "ERROR\r\n");
    }
}

#[test]
fn a_socket_that_another_process_put_in_place_is_not_removed() {
    let files = scratch();
    let path = files.path("magent.sock");
    let mut magent = on_socket(&path, &[]);
    fs::remove_file(&path).expect("magent's socket");
    let other = UnixListener::bind(&path).expect("a socket of ours");
    assert_eq!(magent.terminate().code(), Some(0));
    Client::connect(&format!("unix:{path}"));
    other.accept().expect("who connected");
}

#[test]
fn a_reload_does_not_take_the_socket_that_another_process_put_in_place() {
    let (server, files) = (Memcached::start(), scratch());
    let path = files.path("magent.sock");
    let lines = format!("{}socket = {path}\n", masters(&[&server]));
    let magent = Configured::start(&lines);
    fs::remove_file(&path).expect("magent's socket");
    let other = UnixListener::bind(&path).expect("a socket of ours");
    let text = format!("{}listen = 127.0.0.1\n{lines}", magent.common);
    let error = magent.reload_in_vain(&text);
    assert!(error.starts_with(&format!("cannot listen on unix:{path}: ")), "{error}");
    drop(other);
    // That one is dead.
    magent.reload(&lines);
    Client::connect(&format!("unix:{path}")).check("here?\r\n", "ERROR\r\n");
}

#[test]
fn a_socket_whose_queue_is_full_does_not_hold_magent_up() {
    let (server, files) = (Memcached::start(), scratch());
    let path = files.path("full.sock");
    let full = UnixListener::bind(&path).expect("a socket");
    // SAFETY: the descriptor is open; listening again sets how many may wait.
    assert_eq!(unsafe { libc::listen(full.as_raw_fd(), 1) }, 0);
    let mut waiting = Vec::new();
    eventually("its queue is full", || {
        let socket = mio::net::UnixStream::connect(&path);
        socket.map(|socket| waiting.push(socket)).is_err()
    });
    let magent = Configured::start(&masters(&[&server]));
    let text = format!(
        "{}listen = 127.0.0.1\n{}socket = {path}\n",
        magent.common,
        masters(&[&server])
    );
    let error = magent.reload_in_vain(&text);
    assert!(error.contains("in use"), "{error}");
    Client::connect(&magent.magent.name).check("here?\r\n", "ERROR\r\n");
}

#[test]
fn root_makes_the_socket_and_the_log_as_the_user_who_serves() {
    if !is_root() {
        return; // nobody is to be given anything
    }
    // Directories of that user, of root, and of root and a group.
    for (owner, group, mode) in [(NOBODY, NOBODY, 0o700), (0, 0, 0o755), (0, 1, 0o2775)] {
        let files = scratch();
        let folder = files.path("folder");
        fs::create_dir(&folder).expect("a folder");
        chown(&folder, Some(owner), Some(group)).expect("root may");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("root may");
        let path = format!("{folder}/magent.sock");
        let mut magent = on_socket(&path, &["-u", "nobody", "--socket-mode=620"]);
        let found = fs::metadata(&path).expect("a socket");
        assert_eq!((found.uid(), mode_of(&path)), (NOBODY, 0o620), "{mode:o}");
        assert_eq!(magent.terminate().code(), Some(0));
        let may_remove = owner == NOBODY;
        assert_eq!(Path::new(&path).exists(), !may_remove, "{mode:o}");
    }
}

#[test]
fn root_gives_away_and_changes_no_file_that_the_user_put_in_place() {
    if !is_root() {
        return; // nobody is to be given anything
    }
    let files = scratch();
    let folder = files.path("folder");
    fs::create_dir(&folder).expect("a folder");
    // A file of root's that its owner may move, but not read.
    for (name, option) in [
        ("magent.log", ["--logdir", &folder]),
        ("magent.pid", ["-P", &format!("{folder}/magent.pid")]),
    ] {
        let path = format!("{folder}/{name}");
        fs::write(&path, "root's").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("root may");
        chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may");
        let arguments = [
            "-D",
            "-s",
            NOBODY_THERE,
            "-l",
            "127.0.0.1",
            "-p",
            "0",
            "-f",
            &files.path("s"),
            "-u",
            "nobody",
        ];
        let ended = run(&[&arguments[..], &option].concat());
        let error = format!("{} {}: Permission denied", option[0], option[1]);
        assert_eq!(ended, Ended::refusing(&error));
        assert_eq!(fs::read_to_string(&path).expect("a file"), "root's");
        let found = fs::metadata(&path).expect("a file");
        assert_eq!((found.uid(), mode_of(&path)), (0, 0o600));
    }
}
