//! `magent --compare`: what differs on the two servers of each key is counted and named.

mod common;

use common::{Ended, Memcached, Two, Version, run, scratch};

fn compared(primaries: &[&Memcached], backups: &[&Memcached]) -> Ended {
    // Nobody listens, so it does not matter that a server may be where magent would.
    let port = primaries[0].name.rsplit(':').next().expect("a port");
    let mut arguments = vec!["--compare", "-p", port];
    for server in primaries {
        arguments.extend(["-s", &server.name]);
    }
    for server in backups {
        arguments.extend(["-b", &server.name]);
    }
    run(&arguments)
}

#[test]
fn what_magent_has_written_is_the_same() {
    let two = Two::start(&[]);
    let mut client = two.client();
    for n in 0..300 {
        let exptime = if n % 3 == 0 { 1000 } else { 0 };
        client.check(format!("set key{n} {n} {exptime} 3\r\n{n:03}\r\n"), "STORED\r\n");
    }
    client.check("incr key7 1\r\n", "8\r\n");
    let (primary, backup) = (&two.primary.name, &two.backup.name);
    let all_same = format!(
        "{primary} and {backup}: 300 items are the same, 0 differ, 0 are missing on {primary}, 0 on {backup}\n"
    );
    assert_eq!(compared(&[&two.primary], &[&two.backup]), Ended::saying(&all_same));
}

#[test]
fn what_differs_is_counted_and_named() {
    let [one, other, third] = [(); 3].map(|()| Memcached::start());
    for server in [&one, &other, &third] {
        for n in 0..30 {
            server.ask(format!("set key{n} 0 0 1\r\nx\r\n"));
        }
    }
    // With one primary and two backups each key has a place that the test need not know.
    one.ask("set flags 1 0 1\r\nx\r\n");
    for backup in [&other, &third] {
        backup.ask("set flags 2 0 1\r\nx\r\n");
        backup.ask("set only.on.backups 0 0 1\r\nx\r\n");
    }
    one.ask("set only.on.primary 0 0 1\r\nx\r\n");
    one.ask("set key3 0 0 1\r\ny\r\n");
    one.ask("set key4 0 1000 1\r\nx\r\n");
    let ended = compared(&[&one], &[&other, &third]);
    let sum = |word: usize| -> u64 {
        let lines = ended.output.lines().filter(|line| line.contains(" items are the same"));
        lines
            .filter_map(|line| line.split(' ').filter_map(|word| word.parse::<u64>().ok()).nth(word))
            .sum()
    };
    // Only meta commands tell exptimes.
    let exptimes = u64::from(Memcached::version() >= Version(1, 6, 0));
    assert_eq!(
        [sum(0), sum(1), sum(2), sum(3)],
        [29 - exptimes, 2 + exptimes, 1, 1],
        "{}",
        ended.output
    );
    let shown = |line: String| {
        assert!(
            ended.output.lines().any(|shown| shown == line),
            "{line:?} in {}",
            ended.output
        )
    };
    shown("  differs: flags".to_owned());
    shown("  differs: key3".to_owned());
    shown(format!("  missing on {}: only.on.backups", one.name));
    assert!(ended.output.contains(": only.on.primary\n"));
    let differences = 4 + exptimes;
    assert_eq!(ended.status, Some(1));
    assert_eq!(
        ended.errors,
        format!("magent: items that are not the same on both servers: {differences}\n")
    );
}

#[test]
fn where_nothing_is_there_that_is_told() {
    let two = Two::start(&[]);
    assert_eq!(
        compared(&[&two.primary], &[&two.backup]),
        Ended::saying("no server has an item of which there are to be two copies\n")
    );
}

#[test]
fn what_cannot_be_compared_is_told() {
    let (there, absent) = (Memcached::start(), Memcached::absent());
    assert_eq!(
        compared(&[&there], &[]),
        Ended::refusing("--compare: without backups (-b) no key has a second copy")
    );
    let name = &absent.name;
    assert_eq!(
        compared(&[&there], &[&absent]),
        Ended::refusing(&format!("--compare: server {name}: Connection refused"))
    );
}

#[test]
fn servers_are_found_wherever_they_are() {
    let files = scratch();
    let path = files.path("socket");
    let (one, other) = (Memcached::start_unix(&path), Memcached::start());
    for server in [&one, &other] {
        server.ask("set k 1 0 1\r\nx\r\n");
    }
    let named = format!("localhost:{}", other.name.rsplit(':').next().expect("a port"));
    let ended = run(&["--compare", "-s", &one.name, "-b", &named]);
    let (primary, backup) = (&one.name, &named);
    assert_eq!(
        ended,
        Ended::saying(&format!(
            "{primary} and {backup}: 1 items are the same, 0 differ, 0 are missing on {primary}, 0 on {backup}\n"
        ))
    );
    let ended = run(&["--compare", "-s", &one.name, "-b", "nowhere.invalid"]);
    assert_eq!(
        ended,
        Ended::refusing("--compare: server nowhere.invalid:11211: its host name is not found")
    );
}
