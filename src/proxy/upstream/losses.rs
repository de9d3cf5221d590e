//! Packets to a server that were lost on their way, and when that was noticed: where they are it is the network that lets somebody
//! wait, for the kernel sends them again after ever longer pauses. An answer that is lost shows nothing here, but where answers are, so is some
//! of what was asked.

/// How often it is looked, where nobody asks.
const PAUSE_MS: u64 = 1000;
/// How long a network is taken to lose more where it has lost something.
const LATELY_MS: u64 = 10_000;

/// What was lost on the way to one server.
#[derive(Default)]
pub struct Losses {
    /// On the link that is open.
    packets: u32,
    looked_ms: u64,
    noticed_ms: Option<u64>,
}

impl Losses {
    pub fn link_opened(&mut self) {
        self.packets = 0;
    }

    pub fn noticed(&mut self, now_ms: u64) {
        self.noticed_ms = Some(now_ms);
    }

    /// Whether it was not looked for a while.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.looked_ms + PAUSE_MS <= now_ms
    }

    /// So many packets have been lost on the link since it was opened.
    pub fn are(&mut self, packets: u32, now_ms: u64) {
        self.looked_ms = now_ms;
        if packets > std::mem::replace(&mut self.packets, packets) {
            self.noticed(now_ms);
        }
    }

    /// Whether any were lost lately.
    pub fn is_any(&self, now_ms: u64) -> bool {
        self.noticed_ms
            .is_some_and(|noticed_ms| now_ms < noticed_ms + LATELY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_remembered_for_a_while() {
        let mut losses = Losses::default();
        losses.are(0, 1000);
        assert!(!losses.is_due(1999) && losses.is_due(2000) && !losses.is_any(2000));
        losses.are(2, 2000);
        losses.are(2, 3000);
        assert!(losses.is_any(2000 + LATELY_MS - 1) && !losses.is_any(2000 + LATELY_MS));
        losses.link_opened();
        losses.are(1, 20_000);
        assert!(losses.is_any(20_000));
    }
}
