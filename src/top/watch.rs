//! The last samples, what was seen to change, and whether the magent answers.

use super::sample::{Sample, Topic, Two};

/// What is known of a magent that is watched.
pub struct Watch {
    /// Where it is, as it is shown.
    pub name: String,
    now: Option<Sample>,
    before: Option<Sample>,
    /// Each server with its state, and since when if it was seen to change.
    states: Vec<(String, String, Option<u64>)>,
    /// Why it does not answer, and since when.
    trouble: Option<(String, u64)>,
}

impl Watch {
    pub fn new(name: String) -> Self {
        Self {
            name,
            now: None,
            before: None,
            states: Vec::new(),
            trouble: None,
        }
    }

    /// It has answered.
    pub fn take(&mut self, sample: Sample) {
        let states = sample.servers().map(|(server, state)| {
            let known = self.states.iter().find(|(name, _, _)| name == server);
            let since_ms = match known {
                Some((_, old, since_ms)) if old == state => *since_ms,
                Some(_) => Some(sample.at_ms),
                // What was there when it was first looked at, or came with a new configuration.
                None => None,
            };
            (server.to_owned(), state.to_owned(), since_ms)
        });
        self.states = states.collect();
        let same = |now: &Sample| now.text(Topic::General, "pid") == sample.text(Topic::General, "pid");
        self.before = self.now.take().filter(same);
        self.now = Some(sample);
        self.trouble = None;
    }

    /// It does not answer.
    pub fn lost(&mut self, why: String, now_ms: u64) {
        let since_ms = self.trouble.take().map_or(now_ms, |(_, since_ms)| since_ms);
        self.trouble = Some((why, since_ms));
    }

    /// The last two samples, once there is one.
    pub fn two(&self) -> Option<Two<'_>> {
        Some(Two {
            now: self.now.as_ref()?,
            before: self.before.as_ref(),
        })
    }

    /// For how many milliseconds a server has been in its state, if it was seen to enter it.
    pub fn state_for_ms(&self, server: &str, now_ms: u64) -> Option<u64> {
        let (_, _, since_ms) = self.states.iter().find(|(name, _, _)| name == server)?;
        Some(now_ms.saturating_sub((*since_ms)?))
    }

    /// Why it does not answer, and for how many milliseconds.
    pub fn trouble(&self, now_ms: u64) -> Option<(&str, u64)> {
        let (why, since_ms) = self.trouble.as_ref()?;
        Some((why, now_ms.saturating_sub(*since_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::sample;
    use super::*;

    fn state(at_ms: u64, pid: &str, state: &str) -> Sample {
        sample(at_ms, [&format!("pid {pid}"), &format!("a:1:state {state}"), "", ""])
    }

    #[test]
    fn a_state_that_was_seen_to_change_has_an_age() {
        let mut watch = Watch::new(String::new());
        watch.take(state(0, "1", "up"));
        watch.take(state(1000, "1", "up"));
        assert_eq!(watch.state_for_ms("a:1", 1000), None);
        watch.take(state(2000, "1", "down"));
        watch.take(state(3000, "1", "down"));
        assert_eq!(watch.state_for_ms("a:1", 3500), Some(1500));
        assert_eq!(watch.state_for_ms("b:1", 3500), None);
    }

    #[test]
    fn what_another_process_has_counted_is_no_sample_before() {
        let mut watch = Watch::new(String::new());
        watch.take(state(0, "1", "up"));
        assert!(watch.two().expect("one").before.is_none());
        watch.take(state(1000, "1", "up"));
        assert!(watch.two().expect("two").before.is_some());
        watch.take(state(2000, "2", "up"));
        assert!(watch.two().expect("one").before.is_none());
    }

    #[test]
    fn a_magent_that_is_gone_is_gone_since_it_was_first_missed() {
        let mut watch = Watch::new(String::new());
        watch.lost("Connection reset".to_owned(), 1000);
        watch.lost("Connection refused".to_owned(), 2000);
        assert_eq!(watch.trouble(5000), Some(("Connection refused", 4000)));
        watch.take(state(6000, "1", "up"));
        assert_eq!(watch.trouble(6000), None);
    }
}
