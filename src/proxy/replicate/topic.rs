//! What servers say to a `stats`, added up name by name.

use std::collections::HashMap;

/// Which `stats` the servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    General,
    Items,
    Slabs,
    Sizes,
    Settings,
}

impl Topic {
    /// The topic of an argument to `stats`; None if magent answers that alone, or not at all.
    pub fn of(argument: &[u8]) -> Option<Self> {
        Some(match argument {
            b"" => Topic::General,
            b"items" => Topic::Items,
            b"slabs" => Topic::Slabs,
            b"sizes" => Topic::Sizes,
            b"settings" => Topic::Settings,
            _ => return None,
        })
    }

    pub fn argument(self) -> &'static [u8] {
        match self {
            Topic::General => b"",
            Topic::Items => b"items",
            Topic::Slabs => b"slabs",
            Topic::Sizes => b"sizes",
            Topic::Settings => b"settings",
        }
    }

    /// Names whose values magent has to give whatever the servers say, because tools divide by them or expect them.
    fn expected(self) -> &'static [&'static str] {
        match self {
            Topic::General => &["curr_items", "bytes", "evictions", "limit_maxbytes"],
            Topic::Slabs => &["active_slabs", "total_malloced"],
            Topic::Items | Topic::Sizes | Topic::Settings => &[],
        }
    }

    /// Whether a server's line is about the server's process rather than about what it stores.
    fn is_private(self, name: &str) -> bool {
        const PROCESS: [&str; 4] = ["response_obj_", "read_buf_", "auth_", "rusage_"];
        const GENERAL: [&str; 16] = [
            "pid",
            "uptime",
            "time",
            "version",
            "libevent",
            "pointer_size",
            "max_connections",
            "curr_connections",
            "total_connections",
            "rejected_connections",
            "connection_structures",
            "reserved_fds",
            "listen_disabled_num",
            "time_in_listen_disabled_us",
            "conn_yields",
            "cmd_meta",
        ];
        const SETTINGS: [&str; 6] = ["tcpport", "udpport", "inter", "domain_socket", "umask", "oldest"];
        match self {
            Topic::General => GENERAL.contains(&name) || PROCESS.iter().any(|prefix| name.starts_with(prefix)),
            Topic::Settings => SETTINGS.contains(&name),
            Topic::Items | Topic::Slabs | Topic::Sizes => false,
        }
    }
}

/// A `stats` request that the servers are being asked about.
pub struct Survey {
    pub topic: Topic,
    pub until_ms: u64,
    lines_max: usize,
    /// In the order in which they were first said.
    pub lines: Vec<(Box<str>, Box<str>)>,
    /// Where each name stands in `lines`.
    places: HashMap<Box<str>, usize>,
}

impl Survey {
    pub fn new(topic: Topic, until_ms: u64, lines_max: usize) -> Self {
        let mut survey = Self {
            topic,
            until_ms,
            lines_max,
            lines: Vec::new(),
            places: HashMap::new(),
        };
        for name in topic.expected() {
            survey.say(name, "0");
        }
        survey
    }

    /// Takes what a server says; what is no text, or more than there is room for, is left out.
    pub fn take(&mut self, name: &[u8], value: &[u8]) {
        let [Ok(name), Ok(value)] = [name, value].map(std::str::from_utf8) else {
            return;
        };
        if !self.topic.is_private(name) {
            self.say(name, value);
        }
    }

    fn say(&mut self, name: &str, value: &str) {
        if let Some(&place) = self.places.get(name) {
            let known = &mut self.lines[place].1;
            if let Some(both) = combine(self.topic, name, known, value) {
                *known = both.to_string().into();
            }
        } else if self.lines.len() < self.lines_max {
            self.places.insert(name.into(), self.lines.len());
            self.lines.push((name.into(), value.into()));
        }
    }
}

/// What two servers' values of one name come to: their sum, or the greater where a sum means nothing. None keeps what the
/// first one said: words, and settings, which are the same on all servers of a farm that is set up well.
fn combine(topic: Topic, name: &str, one: &str, other: &str) -> Option<u64> {
    let (one, other): (u64, u64) = (one.parse().ok()?, other.parse().ok()?);
    if topic == Topic::Settings && name != "maxbytes" {
        return None;
    }
    const GREATER: [&str; 9] = [
        "chunk_size",
        "chunks_per_page",
        "active_slabs",
        "evicted_time",
        "hash_power_level",
        "hash_is_expanding",
        "lru_crawler_running",
        "slab_reassign_running",
        "accepting_conns",
    ];
    let last = name.rsplit(':').next().unwrap_or(name);
    let greater = GREATER.contains(&last) || last == "age" || last.starts_with("age_");
    Some(if greater {
        one.max(other)
    } else {
        one.saturating_add(other)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined(topic: Topic, servers: &[&[&str]]) -> Vec<String> {
        let mut survey = Survey::new(topic, 0, 100);
        for line in servers.iter().copied().flatten() {
            let (name, value) = line.split_once(' ').expect("a name and a value");
            survey.take(name.as_bytes(), value.as_bytes());
        }
        let lines = survey.lines.iter();
        lines.map(|(name, value)| format!("{name} {value}")).collect()
    }

    #[test]
    fn what_servers_store_is_added_up_and_what_cannot_be_added_is_the_greater() {
        let one = ["items:1:number 5", "items:1:age 30", "items:1:evicted 1"];
        let two = ["items:1:number 7", "items:1:age 20", "items:9:number 1"];
        assert_eq!(
            combined(Topic::Items, &[&one, &two]),
            [
                "items:1:number 12",
                "items:1:age 30",
                "items:1:evicted 1",
                "items:9:number 1"
            ]
        );
        let one = [
            "1:chunk_size 96",
            "1:used_chunks 3",
            "active_slabs 1",
            "total_malloced 10",
        ];
        assert_eq!(
            combined(Topic::Slabs, &[&one, &one]),
            [
                "active_slabs 1",
                "total_malloced 20",
                "1:chunk_size 96",
                "1:used_chunks 6"
            ]
        );
    }

    #[test]
    fn what_concerns_a_servers_process_is_left_out() {
        let server = [
            "pid 7",
            "curr_items 2",
            "rusage_user 0.1",
            "limit_maxbytes 64",
            "read_buf_oom 0",
        ];
        assert_eq!(
            combined(Topic::General, &[&server, &server]),
            ["curr_items 4", "bytes 0", "evictions 0", "limit_maxbytes 128"]
        );
    }

    #[test]
    fn settings_are_those_of_one_server_but_for_the_memory() {
        let server = ["maxbytes 64", "tcpport 1", "growth_factor 1.25", "hot_lru_pct 20"];
        assert_eq!(
            combined(Topic::Settings, &[&server, &server]),
            ["maxbytes 128", "growth_factor 1.25", "hot_lru_pct 20"]
        );
    }

    #[test]
    fn numbers_and_names_that_a_server_makes_up_are_bounded() {
        let lines = [format!("bytes {}", u64::MAX), format!("bytes {}", u64::MAX)];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(combined(Topic::General, &[&lines]).contains(&format!("bytes {}", u64::MAX)));
        let mut survey = Survey::new(Topic::Sizes, 0, 100);
        for size in 0..200 {
            survey.take(size.to_string().as_bytes(), b"1");
        }
        assert_eq!(survey.lines.len(), 100);
        let mut survey = Survey::new(Topic::Sizes, 0, 10);
        survey.take(b"\xff", b"1");
        assert!(survey.lines.is_empty());
    }
}
