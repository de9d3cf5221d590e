//! `--status`: who asks by HTTP is told how it goes, and clients do not notice.

mod common;

use common::{Configured, Magent, Memcached, Port, Two, eventually, masters, run, run_command, scratch};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

/// A magent with a status port.
struct Watched<T> {
    it: T,
    port: Port,
}

fn watched<T>(start: impl FnOnce(&str) -> T) -> Watched<T> {
    let port = Port::free();
    let it = start(&format!("--status={port}"));
    Watched { it, port }
}

impl<T> Watched<T> {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port.number)).expect("somebody listens");
        stream.set_read_timeout(Some(common::PATIENCE)).expect("a time");
        stream
    }

    /// What it answers to these bytes, to the end.
    fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).expect("the bytes can be sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("text, and its end");
        reply
    }

    /// The status and the body of a page.
    fn get(&self, path: &str) -> (u16, String) {
        let reply = self.say(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"));
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        let length = format!("\r\nContent-Length: {}\r\n", body.len());
        assert!(
            head.contains(&length) && head.contains("\r\nConnection: close\r\n"),
            "{head}"
        );
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    fn wait_for(&self, path: &str, status: u16, part: &str) {
        eventually(&format!("{path} says {status}, {part:?}"), || {
            let (now, body) = self.get(path);
            now == status && body.contains(part)
        });
    }
}

#[test]
fn health_is_ok_as_long_as_every_key_has_a_live_copy() {
    let mut two = watched(|status| Two::start(&[status]));
    two.wait_for("/health", 200, "ok\n");
    two.wait_for("/ready", 200, "ok\n");
    two.it.client().check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    two.it.backup.kill();
    two.wait_for("/", 200, "Some keys have one copy only");
    assert_eq!(two.get("/health"), (200, "ok\n".to_owned()));
    assert!(two.get("/").1.contains(&two.it.backup.name));
    two.it.primary.kill();
    let both = format!(
        "keys without a live copy: {} is down, its partner {} is down\n",
        two.it.primary.name, two.it.backup.name
    );
    two.wait_for("/health", 503, &both);
    two.wait_for("/ready", 503, "no server is up\n");
    two.wait_for("/", 200, "Keys without a live copy");
    two.it.primary.restart();
    two.it.backup.restart();
    two.wait_for("/health", 200, "ok\n");
    two.wait_for("/", 200, "<h2>Healthy</h2>");
}

#[test]
fn without_backups_every_server_is_needed() {
    let (one, mut other) = (Memcached::start(), Memcached::start());
    let magent = watched(|status| Magent::before(&[&one, &other], &[], &[status]));
    magent.wait_for("/health", 200, "ok\n");
    other.kill();
    let reason = format!("{} is down and its keys have no backup\n", other.name);
    magent.wait_for("/health", 503, &reason);
    magent.wait_for("/ready", 200, "ok\n");
}

#[test]
fn a_server_that_is_filled_is_shown_with_what_it_got() {
    let mut two = watched(|status| Two::start(&[status]));
    let mut client = two.it.client();
    for first in (0..20_000).step_by(500) {
        let sets = (first..first + 500).map(|key| format!("set key{key} 0 0 5\r\nvalue\r\n"));
        client.send(sets.collect::<String>());
        client.expect("STORED\r\n".repeat(500));
    }
    two.it.backup.restart();
    two.wait_for("/", 200, "may lack items");
    two.wait_for(
        "/metrics",
        200,
        &format!(
            "magent_server_filled_items_total{{server=\"{}\"}} 20000\n",
            two.it.backup.name
        ),
    );
    two.wait_for("/", 200, "has been filled with what");
    two.wait_for("/", 200, "<h2>Healthy</h2>");
}

#[test]
fn only_get_and_head_of_what_is_there_are_answered() {
    let magent = watched(|status| Magent::start(&["-s", "127.0.0.1:1", status]));
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "405 Method Not Allowed",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("get key\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\x02\x00\x01\x00\n", "400 Bad Request"),
        ("GET / HTTP/3\r\n\r\n", "505 HTTP Version Not Supported"),
    ] {
        let reply = magent.say(request);
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{request:?} is answered {reply:?}"
        );
        assert_eq!(
            reply.contains("\r\nAllow: GET, HEAD\r\n"),
            status.starts_with("405"),
            "{reply}"
        );
    }
    let long = "a".repeat(7000);
    let headers = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    assert!(magent.say(headers).starts_with("HTTP/1.1 431 "));
    assert!(
        magent
            .say(format!("GET /{long} HTTP/1.1\r\n\r\n"))
            .starts_with("HTTP/1.1 414 ")
    );
    let refused = magent.say("HEAD / HTTP/1.1\r\n\r\n");
    assert!(
        refused.starts_with("HTTP/1.1 400 ") && refused.ends_with("\r\n\r\n"),
        "{refused:?}"
    );
    let [get, head] = ["GET", "HEAD"].map(|method| magent.say(format!("{method} /ready HTTP/1.0\r\n\r\n")));
    let (get_head, body) = get.split_once("\r\n\r\n").expect("a head");
    let without_date = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with("Date"))
            .collect::<String>()
    };
    assert_eq!(without_date(head.trim_end()), without_date(get_head));
    assert!(head.ends_with("\r\n\r\n") && body.ends_with('\n'));
}

#[test]
fn the_page_speaks_the_browsers_language() {
    let magent = watched(|status| Magent::start(&["-s", "127.0.0.1:1", status]));
    for (wanted, lang) in [("zh-CN,zh;q=0.9,en;q=0.5", "zh-CN"), ("de", "en")] {
        let page = magent.say(format!(
            "GET / HTTP/1.1\r\nHost: a\r\nAccept-Language: {wanted}\r\n\r\n"
        ));
        assert!(
            page.contains("\r\nContent-Security-Policy: default-src 'none'; style-src 'sha256-"),
            "{page}"
        );
        assert!(page.contains(&format!("<html lang={lang}>")), "{page}");
        for part in ["<script", "http://", "https://", "url("] {
            assert!(!page.contains(part), "{part} is in the page");
        }
    }
}

#[test]
fn the_page_lets_nothing_in() {
    let magent = watched(|status| Magent::start(&["-s", "127.0.0.1:1", status]));
    let page = magent.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (_, style) = page.split_once("<style>").expect("a style");
    let (style, _) = style.split_once("</style>").expect("its end");
    let hash =
        "import base64, hashlib, sys; print(base64.b64encode(hashlib.sha256(sys.argv[1].encode()).digest()).decode())";
    let hash = Command::new("python3")
        .args(["-c", hash, style])
        .output()
        .expect("python3");
    let hash = String::from_utf8(hash.stdout).expect("text");
    let expected = format!("default-src 'none'; style-src 'sha256-{}'", hash.trim());
    assert!(page.contains(&expected), "src/status/page.rs has to say: {expected}");
    assert!(!page.contains(" style="), "no other style is let in");
}

/// More of them than there is room for, each in the middle of its request.
#[test]
fn who_asks_slowly_is_in_nobodys_way() {
    let two = watched(|status| Two::start(&[status]));
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..50 {
        let mut stream = two.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").expect("room");
        slow.push(stream);
    }
    two.wait_for("/health", 200, "ok\n");
    two.it.client().check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    two.it
        .client()
        .check("get key\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n");
    // One that nobody comes after is told in the end that it was too slow.
    let mut last = two.connect();
    last.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").expect("room");
    let mut reply = String::new();
    last.read_to_string(&mut reply).expect("text, and its end");
    assert!(reply.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{reply:?}");
}

#[test]
fn many_who_ask_at_once_are_all_answered() {
    let two = watched(|status| Two::start(&[status]));
    two.wait_for("/health", 200, "ok\n");
    let silent: Vec<TcpStream> = (0..20).map(|_| two.connect()).collect();
    let ask = || {
        let mut stream = two.connect();
        let request = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n";
        stream.write_all(request).expect("the bytes can be sent");
        stream
    };
    let asking: Vec<TcpStream> = (0..100).map(|_| ask()).collect();
    for mut stream in asking {
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("text, and its end");
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
    drop(silent);
}

/// As with the port of clients: the one that ends and the one that begins are there together for a moment.
#[test]
fn a_magent_that_takes_over_takes_the_port_over() {
    let server = Memcached::start();
    let (port, status) = (Port::free().to_string(), Port::free());
    let option = format!("--status={status}");
    let arguments = [
        "-D",
        "-l",
        "127.0.0.1",
        "-p",
        &port,
        "--reuse-port",
        &option,
        "-s",
        &server.name,
    ];
    let name = format!("127.0.0.1:{port}");
    let mut first = Magent::start_exactly(&arguments, &name, Port::free());
    let second = Magent::start_exactly(&arguments, &name, Port::free());
    first.terminate();
    let watched = Watched {
        it: second,
        port: status,
    };
    watched.wait_for("/ready", 200, "ok\n");
}

#[test]
fn who_does_not_take_his_reply_is_given_up() {
    let two = watched(|status| Two::start(&[status]));
    let open = || {
        fs::read_dir(format!("/proc/{}/fd", two.it.magent.id()))
            .expect("a process")
            .count()
    };
    two.get("/health");
    let before = open();
    let streams: Vec<TcpStream> = (0..16).map(|_| two.connect()).collect();
    for mut stream in &streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("room");
    }
    eventually("they are there", || open() > before);
    eventually("they are given up", || open() <= before);
    two.wait_for("/health", 200, "ok\n");
    drop(streams);
}

#[test]
fn garbage_and_breaking_off_do_no_harm() {
    let two = watched(|status| Two::start(&[status]));
    let clients = two.it.magent.stat("total_connections");
    for length in [0, 1, 100, 5000, 100_000] {
        let mut stream = two.connect();
        let garbage: Vec<u8> = (0..length).map(|index: usize| (index * 31 % 251) as u8).collect();
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(Shutdown::Both);
    }
    two.wait_for("/health", 200, "ok\n");
    // The one that asks for this.
    assert_eq!(
        two.it.magent.stat("total_connections"),
        clients + 1,
        "none of them was a client"
    );
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_option() {
    let magent = watched(|status| Magent::start(&["-s", "127.0.0.1:1", status]));
    let status = format!("--status={}", magent.port);
    let free = Port::free();
    let ended = run(&["-s", "127.0.0.1:1", "-l", "127.0.0.1", "-p", &free.to_string(), &status]);
    let expected = format!(
        "magent: cannot listen on http://127.0.0.1:{} (--status): Address already in use\n",
        magent.port
    );
    assert_eq!(ended.errors, expected);
    let ended = run(&["-s", "127.0.0.1:1", "--status=localhost:1"]);
    let expected = "magent: --status localhost:1: not a port (1-65535), ip:port or [ipv6]:port\n";
    assert_eq!(ended.errors, expected);
    // Nor is it a server.
    let server = format!("127.0.0.1:{}", magent.port);
    let ended = run(&["-t", "-s", &server, &status]);
    assert_eq!(
        ended.errors,
        format!("magent: server {server} is where magent itself listens\n")
    );
}

#[test]
fn a_port_for_clients_is_no_status_port() {
    let ended = run(&[
        "-t",
        "-p",
        "33193",
        "-l",
        "127.0.0.1",
        "--status=33193",
        "-s",
        "10.0.0.1",
    ]);
    assert_eq!(ended.status, Some(1));
    assert_eq!(
        ended.errors,
        "magent: --status 33193: clients are listened for at 127.0.0.1:33193, so it needs another port\n"
    );
}

#[test]
fn a_reload_moves_the_port() {
    let server = Memcached::start();
    let (one, other) = (Port::free(), Port::free());
    let text = |port: &Port| masters(&[&server]) + &format!("status = {port}\n");
    let magent = Configured::start(&text(&one));
    let says_ok = |port: &Port| {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port.number)) else {
            return false;
        };
        let _ = stream.write_all(b"GET /health HTTP/1.0\r\n\r\n");
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply.ends_with("\r\n\r\nok\n")
    };
    eventually("it answers", || says_ok(&one));
    magent.reload(&text(&other));
    assert!(says_ok(&other) && TcpStream::connect(("127.0.0.1", one.number)).is_err());
    magent.reload(&masters(&[&server]));
    assert!(TcpStream::connect(("127.0.0.1", other.number)).is_err());
}

// ---- what monitoring reads ----

const PROMETHEUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/examples/prometheus");

/// A magent that has seen everything once, and its metrics.
fn metrics() -> String {
    let (mut primary, backup) = (Memcached::start(), Memcached::start());
    let magent = watched(|status| Magent::before(&[&primary], &[&backup], &[status]));
    magent.it.client().check("set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    magent
        .it
        .client()
        .check("get key none\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n");
    primary.restart();
    magent.wait_for("/", 200, "is up again");
    magent.get("/metrics").1
}

/// Runs promtool on these files, or on this text.
fn promtool(arguments: &[&str], text: &str) -> (bool, String) {
    let files = scratch();
    let file = files.path("text");
    fs::write(&file, text).expect("a file");
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(PROMETHEUS);
    let output = command.stdin(fs::File::open(&file).expect("a file")).output();
    let output = output.expect("promtool, which `make deps` installs (Debian's package prometheus)");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let metrics = metrics();
    assert_eq!(
        promtool(&["check", "metrics"], &metrics),
        (true, String::new()),
        "{metrics}"
    );
    let resident = "\nprocess_resident_memory_bytes ";
    let resident = metrics
        .split(resident)
        .nth(1)
        .and_then(|rest| rest.lines().next()?.parse::<u64>().ok());
    assert!((500_000..50_000_000).contains(&resident.unwrap_or(0)), "{metrics}");
    for line in [
        "magent_lookups_total{command=\"get\",result=\"hit\"} 1\n",
        "magent_lookups_total{command=\"get\",result=\"miss\"} 1\n",
        "magent_commands_total{command=\"set\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn the_alert_rules_are_right_and_sound_when_they_should() {
    for arguments in [
        &["check", "rules", "magent.rules.yml"][..],
        &["test", "rules", "magent.rules.test.yml"],
        &["check", "config", "--syntax-only", "prometheus.yml"],
    ] {
        let (is_right, said) = promtool(arguments, "");
        assert!(is_right, "{arguments:?}: {said}");
    }
}

/// The names of metrics in a text: words that begin with `magent_` or `process_`.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with("magent_") || word.starts_with("process_"));
    words.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_rules_ask_for_what_there_is() {
    let metrics = metrics();
    let existing = names(&metrics);
    for file in ["magent.rules.yml", "magent.dashboard.json"] {
        let text = fs::read_to_string(format!("{PROMETHEUS}/{file}")).expect("a file");
        let asked = names(&text);
        assert!(asked.len() >= 5, "{file} asks for {asked:?}");
        let unknown: Vec<_> = asked.difference(&existing).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
    let dashboard = fs::read_to_string(format!("{PROMETHEUS}/magent.dashboard.json")).expect("a file");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 8));
}

#[test]
fn a_real_prometheus_scrapes_it() {
    let two = watched(|status| Two::start(&[status]));
    let files = scratch();
    let port = Port::free();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: magent\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        two.port
    );
    fs::write(files.path("prometheus.yml"), config).expect("a file");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", files.path("prometheus.yml")));
    command.arg(format!("--storage.tsdb.path={}", files.path("data")));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    let _prometheus = common::Process::spawn(&mut command);
    let ask = |query: &str| -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port.number)) else {
            return String::new();
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        let request = format!("GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n");
        let mut reply = String::new();
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut reply);
        reply
    };
    eventually("Prometheus has read it", || {
        ask("sum(magent_server_up)").contains(",\"2\"]")
    });
    assert!(ask("magent_build_info").contains(env!("CARGO_PKG_VERSION")));
    assert!(ask("count(magent_request_duration_seconds_bucket)").contains(",\"78\"]"));
}

// ---- the example ----

#[test]
fn the_keepalived_example_asks_for_health() {
    let mut two = watched(|status| Two::start(&[status]));
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/examples/keepalived/check-magent"
    );
    let script = fs::read_to_string(script)
        .expect("the example")
        .replace("9150", &two.port.to_string());
    let files = scratch();
    let path = files.path("check-magent");
    fs::write(&path, script).expect("a file");
    let is_well = || run_command(Command::new("sh").arg(&path)).status == Some(0);
    eventually("it is well", is_well);
    two.it.backup.kill();
    two.wait_for("/", 200, "one copy only");
    assert!(is_well());
    two.it.primary.kill();
    two.wait_for("/health", 503, "keys without");
    assert!(!is_well());
}
