//! `magent --top`: what a magent is doing, on a terminal and as plain text.

mod common;

use common::{Ended, Magent, Memcached, PATIENCE, Process, Two, eventually, run, run_command, scratch};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

/// Its standard output is a file, which is no terminal.
fn once(magent: &Magent) -> Ended {
    run(&[&format!("--top={}", magent.name), "--once"])
}

fn line_of<'a>(text: &'a str, beginning: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(beginning));
    line.unwrap_or_else(|| panic!("no line begins with {beginning:?}: {text}"))
}

#[test]
fn once_shows_each_server_and_which_of_them_is_down() {
    let mut two = Two::start(&[]);
    two.magent.wait_for(&two.primary, "up");
    two.magent.wait_for(&two.backup, "up");
    let ended = once(&two.magent);
    assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""));
    assert!(!ended.output.contains('\x1b'), "{}", ended.output);
    assert!(
        line_of(&ended.output, "magent ").contains(&format!(" on {},", two.magent.name)),
        "{}",
        ended.output
    );
    for server in [&two.primary, &two.backup] {
        assert!(
            line_of(&ended.output, &server.name).contains("  up"),
            "{}",
            ended.output
        );
    }
    two.backup.kill();
    two.client().check("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    two.magent.wait_for(&two.backup, "down");
    let ended = once(&two.magent);
    let verdict = format!("1 of 2 servers up; down: {}", two.backup.name);
    assert_eq!(
        ended.output.lines().nth(1).map(|line| line.starts_with(&verdict)),
        Some(true)
    );
    let words: Vec<&str> = line_of(&ended.output, &two.backup.name).split_whitespace().collect();
    assert_eq!(words[1], "down");
    let headings: Vec<&str> = line_of(&ended.output, "server ").split_whitespace().collect();
    let missed = headings
        .iter()
        .position(|&heading| heading == "missed")
        .expect("a column");
    assert_eq!(words[missed], "1", "{}", ended.output);
}

#[test]
fn where_magent_is_found_its_own_options_tell() {
    let files = scratch();
    let (server, socket) = (Memcached::start(), files.path("socket"));
    let magent = Magent::before(&[&server], &[], &["-f", &socket]);
    let port = magent.port.to_string();
    let file = files.path("magent.conf");
    fs::write(&file, format!("[General]\nserver = {}\nport = {port}\n", server.name)).expect("a file");
    let by_port = format!(" on 127.0.0.1:{port},");
    let by_socket = format!(" on unix:{socket},");
    for (arguments, place) in [
        (&["--top", "-p", &port][..], &by_port),
        (&["--top", "-c", &file], &by_port),
        (&["--top", "-l", "127.0.0.1", "-p", &port, "-s", &server.name], &by_port),
        (&[&format!("--top={port}")], &by_port),
        (&[&format!("--top=localhost:{port}")], &format!(" on localhost:{port},")),
        (&["--top", "-p", "0", "-f", &socket], &by_socket),
        // Nobody listens on that port.
        (&["--top", "-p", "1", "-f", &socket], &by_socket),
        (&[&format!("--top=unix:{socket}")], &by_socket),
    ] {
        let ended = run(&[arguments, &["--once"]].concat());
        assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(
            line_of(&ended.output, "magent ").contains(place.as_str()),
            "{arguments:?}: {}",
            ended.output
        );
    }
}

#[test]
fn without_a_terminal_it_is_as_with_once() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let ended = run(&["--top", "-p", &magent.port.to_string()]);
    assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""));
    assert!(!ended.output.contains('\x1b'), "{}", ended.output);
    line_of(&ended.output, &server.name);
}

#[test]
fn what_cannot_be_shown_is_told_in_a_line() {
    let (absent, memcached) = (Memcached::absent(), Memcached::start());
    for arguments in [&["--once"][..], &[]] {
        let top = |place: &str| run(&[arguments, &[&format!("--top={place}")]].concat());
        assert_eq!(
            top(&absent.name),
            Ended::refusing(&format!("--top: {}: Connection refused", absent.name))
        );
        assert_eq!(
            top(&memcached.name),
            Ended::refusing(&format!("--top: {}: what answers there is no magent", memcached.name))
        );
    }
    assert_eq!(
        run(&["--top=10.0.0.1:99999"]),
        Ended::refusing("--top 10.0.0.1:99999: port out of range (1-65535)")
    );
    assert_eq!(
        run(&["--once", "-s", &memcached.name]),
        Ended::refusing("--once: only with --top; see magent -h")
    );
}

// ---- on a terminal ----

/// A magent that shows another one on a terminal of its own.
struct Shown {
    /// The end of the terminal where somebody sits.
    terminal: File,
    /// Kept, so that its settings can be looked at when nobody else has it any more.
    other_end: OwnedFd,
    child: Child,
    seen: Vec<u8>,
}

impl Shown {
    fn start(arguments: &[&str]) -> Self {
        let (mut terminal, mut other_end) = (-1, -1);
        let size = window(100, 40);
        // SAFETY: both descriptors are written where there is room for them, and are nobody else's; the size is whole.
        let (terminal, other_end) = unsafe {
            let no_name = std::ptr::null_mut();
            let result = libc::openpty(
                &raw mut terminal,
                &raw mut other_end,
                no_name,
                std::ptr::null(),
                &raw const size,
            );
            assert_eq!(result, 0, "a terminal: {}", std::io::Error::last_os_error());
            (File::from_raw_fd(terminal), OwnedFd::from_raw_fd(other_end))
        };
        // SAFETY: the descriptor is open; reading must not wait for ever.
        unsafe { libc::fcntl(terminal.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let mut command = Command::new(Magent::program());
        command.args(arguments).env("TERM", "xterm").env("NO_COLOR", "1");
        let end = || other_end.try_clone().expect("another descriptor");
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: these calls are safe between fork and exec. With a session of its own the terminal is its own, too.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setsid();
                libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("magent");
        Self {
            terminal,
            other_end,
            child,
            seen: Vec::new(),
        }
    }

    /// Reads what has come, and returns all that has come so far.
    fn seen(&mut self) -> String {
        let mut bytes = [0; 4096];
        loop {
            match self.terminal.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => self.seen.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("the terminal cannot be read: {error}"),
            }
        }
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// The lines of the last screen that was surely drawn in full, without escape codes.
    fn screen(&mut self) -> Vec<String> {
        let seen = self.seen();
        // The last one may not have come in full yet; another one follows within a second.
        let Some(last) = seen
            .split("\x1b[H")
            .skip(1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .nth(1)
        else {
            return Vec::new();
        };
        let mut text = String::new();
        for (at, piece) in last.split('\x1b').enumerate() {
            let behind = piece
                .find(|c: char| c.is_ascii_alphabetic())
                .map_or("", |end| &piece[end + 1..]);
            text.push_str(if at == 0 { piece } else { behind });
        }
        text.split("\r\n").map(|line| line.trim_end().to_owned()).collect()
    }

    fn wait_for(&mut self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let mut screen = Vec::new();
        let mut look = || {
            screen = self.screen();
            condition(&screen)
        };
        let deadline = std::time::Instant::now() + PATIENCE;
        while !look() {
            assert!(std::time::Instant::now() < deadline, "waited in vain until {what}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.terminal.write_all(keys).expect("keys can be pressed");
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = window(columns, rows);
        // SAFETY: the descriptor is open, and the size is whole.
        let result = unsafe { libc::ioctl(self.terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(result, 0);
    }

    fn settings(&self) -> Vec<u32> {
        // SAFETY: the struct is plain data, and no more than one of it is written.
        let found = unsafe {
            let mut found: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.other_end.as_raw_fd(), &raw mut found), 0);
            found
        };
        vec![found.c_iflag, found.c_oflag, found.c_cflag, found.c_lflag]
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("magent --top ends", || {
            self.seen(); // a terminal that nobody reads holds up who writes to it
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        status.expect("waited for")
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn window(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn has(screen: &[String], part: &str) -> bool {
    screen.iter().any(|line| line.contains(part))
}

#[test]
fn a_terminal_shows_what_happens_in_the_room_that_there_is() {
    let mut two = Two::start(&[]);
    let mut shown = Shown::start(&[&format!("--top={}", two.magent.name)]);
    shown.wait_for("both servers are shown, with rates", |screen| {
        has(screen, "2 servers, all up") && has(screen, "requests/s")
    });
    two.backup.kill();
    let verdict = format!("1 of 2 servers up; down: {}", two.backup.name);
    shown.wait_for("one server is down", |screen| has(screen, &verdict));
    shown.resize(32, 6);
    shown.wait_for("all fits the smaller window", |screen| {
        screen.len() == 6 && screen.iter().all(|line| line.chars().count() <= 32)
    });
    shown.resize(120, 50);
    shown.wait_for("there is more again", |screen| {
        has(screen, "hit rate") && has(screen, "delete")
    });
    shown.press(b"q");
    assert!(shown.wait().success());
}

#[test]
fn a_terminal_is_given_back_as_it_was_however_it_ends() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    type End<'a> = &'a dyn Fn(&mut Shown);
    let ways: [(&str, End<'_>); 5] = [
        ("q", &|shown| shown.press(b"q")),
        ("Ctrl-C", &|shown| shown.press(b"\x03")),
        ("the end of input", &|shown| shown.press(b"\x04")),
        ("SIGTERM", &|shown| signal(shown, libc::SIGTERM)),
        ("SIGHUP", &|shown| signal(shown, libc::SIGHUP)),
    ];
    for (way, end) in ways {
        let mut shown = Shown::start(&["--top", "-p", &magent.port.to_string()]);
        let before = shown.settings();
        shown.wait_for("it is shown", |screen| has(screen, &server.name));
        assert_ne!(shown.settings(), before, "it is raw meanwhile");
        end(&mut shown);
        assert!(shown.wait().success(), "{way}");
        assert_eq!(shown.settings(), before, "{way}");
        let seen = shown.seen();
        let (enter, leave) = (seen.find("\x1b[?1049h"), seen.rfind("\x1b[?25h\x1b[?1049l"));
        assert!(enter.is_some() && enter < leave, "{way}: {seen:?}");
        assert!(!seen.contains("\x1b[31m"), "NO_COLOR is set");
    }
}

#[test]
fn a_terminal_is_given_back_while_it_is_stopped_from_outside() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut shown = Shown::start(&["--top", "-p", &magent.port.to_string()]);
    let before = shown.settings();
    shown.wait_for("it is shown", |screen| has(screen, &server.name));
    let stat = format!("/proc/{}/stat", shown.child.id());
    signal(&shown, libc::SIGTSTP);
    eventually("it is stopped", || {
        fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
    });
    assert_eq!(shown.settings(), before);
    signal(&shown, libc::SIGCONT);
    eventually("it is raw again", || shown.settings() != before);
    shown.press(b"q");
    assert!(shown.wait().success());
    assert_eq!(shown.settings(), before);
}

fn signal(shown: &Shown, signal: i32) {
    // SAFETY: it is a child of ours, which nobody has waited for.
    assert_eq!(unsafe { libc::kill(shown.child.id() as i32, signal) }, 0);
}

#[test]
fn a_magent_that_goes_and_comes_back_is_told_of_and_found_again() {
    let server = Memcached::start();
    let mut magent = Magent::before(&[&server], &[], &[]);
    let name = magent.name.clone();
    let mut shown = Shown::start(&[&format!("--top={name}")]);
    shown.wait_for("it is shown", |screen| has(screen, "1 server, up"));
    magent.terminate();
    shown.wait_for("it is missed", |screen| {
        has(screen, "magent does not answer: ") && has(screen, "Connection refused") && has(screen, &server.name)
    });
    let (_, port) = name.rsplit_once(':').expect("a port");
    let mut command = Command::new(Magent::program());
    command.args(["-D", "-l", "127.0.0.1", "-p", port, "-s", &server.name]);
    let _again = Process::spawn(&mut command);
    shown.wait_for("it is found again", |screen| has(screen, "1 server, up"));
    shown.press(b"q");
    assert!(shown.wait().success());
}

#[test]
fn a_terminal_that_cannot_be_drawn_on_gets_plain_text() {
    let server = Memcached::start();
    let magent = Magent::before(&[&server], &[], &[]);
    let mut command = Command::new(Magent::program());
    let ended = run_command(
        command
            .args(["--top", "-p", &magent.port.to_string()])
            .env("TERM", "dumb"),
    );
    assert_eq!(ended.status, Some(0));
    assert!(!ended.output.contains('\x1b'));
}
