//! What is said to systemd's journal. The rest of systemd is in tests/packages/systemd.

mod common;

use common::{Magent, eventually, scratch};
use std::fs;
use std::process::Command;

/// Starts magent with the standard error that it is given, and tells it, as systemd does, that this is the journal.
const JOURNAL: &str = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@""#;
/// As above, of another stream: systemd gave it to a parent, which has redirected it since.
const REDIRECTED: &str = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /dev/null) exec "$@""#;

fn under(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", Magent::program()]);
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("a shell");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn lines_for_the_journal_have_a_priority_and_not_the_name() {
    let files = scratch();
    let file = files.path("magent.conf");
    fs::write(&file, "[General]\nserver = 127.0.0.1:1\nbackup = 127.0.0.1:1\n").expect("a file");
    let magent = Magent::start_by(under(JOURNAL), &["-c", &file]);
    let log = magent.log();
    let listening = format!("<5>listening on {}\n<4>127.0.0.1:1 is ", magent.name);
    assert!(log.starts_with(&listening), "a notice and a warning: {log}");
    fs::write(&file, "an error\n").expect("a file");
    magent.signal(libc::SIGHUP);
    eventually("the error is said", || {
        magent.log().contains("\n<3>the configuration is not")
    });
    for line in magent.log().lines() {
        assert!(line.starts_with('<') && line.as_bytes()[2] == b'>', "{line}");
        assert!(!line.contains("magent:"), "{line}");
    }
}

#[test]
fn a_start_that_fails_is_an_error_in_the_journal_and_is_said_once() {
    let mut command = under(JOURNAL);
    let error = "<3>-u nobody-of-that-name: no such user\n".to_owned();
    command.args(["-D", "-s", "127.0.0.1:1", "-u", "nobody-of-that-name"]);
    assert_eq!(output(&mut command), (Some(1), String::new(), error));
}

#[test]
fn a_test_of_the_configuration_says_to_the_journal_what_a_start_would() {
    let both = format!("exec 2>&1; {JOURNAL}");
    let mut command = under(&both);
    command.args(["-t", "-s", "127.0.0.1:1"]);
    let said = "the configuration is ok\n".to_owned();
    assert_eq!(output(&mut command), (Some(0), said, String::new()));
}

#[test]
fn standard_error_that_is_no_longer_the_journal_is_for_people() {
    let magent = Magent::start_by(under(REDIRECTED), &["-s", "127.0.0.1:1"]);
    let listening = format!("magent: listening on {}\n", magent.name);
    assert!(magent.log().starts_with(&listening), "{}", magent.log());
}
