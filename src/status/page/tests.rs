use crate::proxy::net::Level;
use crate::proxy::report::{Counters, Histogram, Kind, Lack, Latencies, Report, ServerReport, Statistics};
use crate::status::events::Events;
use crate::status::history::{EVERY_MS, History};
use crate::status::{View, answer};

/// A magent before so many servers, each a primary.
struct Scene {
    counters: Counters,
    answered: Histogram,
    statistics: Statistics,
    latencies: Latencies,
    states: Vec<(String, &'static str, Lack)>,
    lost: Vec<(usize, Option<usize>)>,
    history: History,
    events: Events,
}

impl Scene {
    fn new(states: &[(&str, &'static str)]) -> Self {
        let states = states
            .iter()
            .map(|&(name, state)| (name.to_owned(), state, Lack::Nothing));
        Self {
            counters: Counters::default(),
            answered: Histogram::default(),
            statistics: Statistics::default(),
            latencies: Latencies::default(),
            states: states.collect(),
            lost: Vec::new(),
            history: History::default(),
            events: Events::default(),
        }
    }

    fn report(&self) -> Report<'_> {
        let server = |(name, state, lacks): &(String, &'static str, Lack)| ServerReport {
            name: name.clone(),
            is_primary: true,
            is_backup: false,
            state,
            is_up: state.starts_with("up"),
            for_s: 0,
            pending: 0,
            counters: &self.counters,
            missed: 0,
            lacks: *lacks,
            filling: None,
            answered: &self.answered,
        };
        Report {
            uptime_s: 5,
            unix_time_s: 1_796_000_000,
            cpu_us: 1_500_000,
            resident_bytes: 0,
            is_starting: false,
            is_leaving: false,
            clients: 3,
            clients_max: 4096,
            requests: 0,
            memory: 0,
            memory_max: 64 << 20,
            other_magents: 0,
            has_backups: true,
            statistics: &self.statistics,
            latencies: &self.latencies,
            servers: self.states.iter().map(server).collect(),
            lost: self.lost.clone(),
        }
    }

    /// The reply to a GET, in this language.
    fn get(&self, path: &str, language: &str) -> String {
        self.ask(&self.report(), path, language)
    }

    fn ask(&self, report: &Report<'_>, path: &str, language: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Language: {language}\r\n\r\n");
        let view = View {
            report,
            history: &self.history,
            events: &self.events,
        };
        String::from_utf8(answer(request.as_bytes(), &view)).unwrap()
    }
}

#[test]
fn how_it_is_is_told_in_words() {
    let mut scene = Scene::new(&[("10.0.0.1:11211", "up"), ("10.0.0.2:11211", "up")]);
    assert!(scene.get("/", "en").contains("<h2>Healthy</h2>"));
    assert!(scene.get("/", "zh-CN").contains("<h2>正常</h2>"));
    scene.states[1].1 = "down";
    let page = scene.get("/", "en");
    assert!(
        page.contains("one copy only</h2><p>Every key is served. Not up, or not complete yet: 10.0.0.2:11211.</p>"),
        "{page}"
    );
    scene.lost.push((0, Some(1)));
    scene.states[0].1 = "down";
    let page = scene.get("/", "en");
    assert!(
        page.contains("Keys without a live copy</h2>") && page.contains("10.0.0.1:11211, 10.0.0.2:11211."),
        "{page}"
    );
}

#[test]
fn who_is_not_complete_is_told() {
    let mut scene = Scene::new(&[("10.0.0.1:11211", "up, cold"), ("10.0.0.2:11211", "up, cold")]);
    scene.states[0].2 = Lack::Keys(1234);
    scene.states[1].2 = Lack::Items;
    let page = scene.get("/", "en");
    assert!(
        page.contains("1,234 keys") && page.contains("what its partner has"),
        "{page}"
    );
}

#[test]
fn what_others_have_written_is_never_html() {
    let mut scene = Scene::new(&[("unix:/run/<i>\"'&", "up")]);
    scene.events.note(
        "<b>".to_owned(),
        Level::Error,
        "key \u{1b}<script>alert(1)</script>".to_owned(),
    );
    let page = scene.get("/", "en");
    for part in ["<i>", "<script", "\u{1b}", "<time><b>"] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    let metrics = Scene::new(&[("unix:/run/a\"b\\c\nd", "up")]).get("/metrics", "");
    assert!(
        metrics.contains("magent_server_up{server=\"unix:/run/a\\\"b\\\\c\\nd\"} 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_large_farm_makes_no_larger_page_than_a_list_of_those_that_are_not_well() {
    let names: Vec<String> = (0..1000).map(|number| format!("server{number}:11211")).collect();
    let mut states: Vec<(&str, &'static str)> = names.iter().map(|name| (name.as_str(), "up")).collect();
    states[999].1 = "down";
    let scene = Scene::new(&states);
    let page = scene.get("/", "en");
    assert_eq!(page.matches("scope=row role").count(), 64);
    assert!(page.contains("<th scope=row role=rowheader>server999:11211<") && page.contains("936 servers more"));
    assert!(page.len() < 64 << 10, "{}", page.len());
    let metrics = scene.get("/metrics", "");
    assert!(
        metrics.contains("\nmagent_servers 1000\n") && metrics.len() < 1 << 20,
        "{}",
        metrics.len()
    );
}

#[test]
fn the_past_is_drawn() {
    let mut scene = Scene::new(&[("10.0.0.1:11211", "up")]);
    let mut history = History::default();
    for second in 0..200 {
        scene.statistics.cmd_get += 500;
        scene.statistics.get_hits += 475;
        scene.statistics.get_misses += 25;
        scene.latencies.note(Kind::Get, 300);
        history.sample(second * EVERY_MS, &scene.report());
    }
    assert_eq!(history.samples().len(), 120);
    scene.history = history;
    let page = scene.get("/", "en");
    for part in [
        "<dd>100<",
        "<dd>95 %<",
        "class=\"area\"",
        "class=\"p99\"",
        "at most 100, now 100",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn load_balancers_are_told_in_one_line() {
    let mut scene = Scene::new(&[("10.0.0.1:11211", "down"), ("10.0.0.2:11211", "down")]);
    scene.lost = vec![(0, Some(1)), (1, None)];
    let health = scene.get("/health", "");
    assert!(health.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{health}");
    let line =
        "keys without a live copy: 10.0.0.1:11211 is down, its partner 10.0.0.2:11211 is down; and one pair more\n";
    assert!(health.ends_with(&format!("\r\n\r\n{line}")), "{health}");
    assert!(scene.get("/ready", "").ends_with("\r\n\r\nno server is up\n"));
    scene.states[0].1 = "up";
    assert!(scene.get("/ready", "").ends_with("\r\n\r\nok\n"));
    let mut report = scene.report();
    report.clients = report.clients_max;
    assert!(scene.ask(&report, "/ready", "").contains("503 Service Unavailable"));
    let starting = Report {
        is_starting: true,
        ..scene.report()
    };
    assert!(
        scene
            .ask(&starting, "/ready", "")
            .ends_with("magent does not know yet what the servers hold\n")
    );
    let leaving = Report {
        is_leaving: true,
        ..scene.report()
    };
    assert!(scene.ask(&leaving, "/ready", "").ends_with("magent was told to end\n"));
}
