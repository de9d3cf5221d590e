//! What a magent costs: wake-ups for nothing, and lines to servers, by the second of the virtual clock.

/// Turns of a second that nothing came to and that did nothing; where reads are hedged, beside one for each key that clients named
/// in that second and the two before: whether it has been answered is looked at. A server that returns looks every 2 ms whether its
/// partners have answered.
const VAIN_TURNS_MAX: u64 = 600;
/// Lines to servers in a second, whatever clients do.
const LINES_MAX: u64 = 2_000;
/// The same for each key that clients named in that second and the two before.
const LINES_A_KEY: u64 = 8;

#[derive(Default)]
pub struct Meter {
    second: u64,
    /// In this second, the one before and the one before that.
    named: [u64; 3],
    lines: u64,
    vain_turns: u64,
    /// Reads are hedged.
    pub hedges: bool,
    /// Something happened in this turn.
    pub worked: bool,
    /// The most there was in a second.
    pub vain_turns_most: u64,
    pub lines_most: u64,
    pub excess: Option<String>,
}

impl Meter {
    fn at(&mut self, now_us: u64) {
        let second = now_us / 1_000_000;
        if second == self.second {
            return;
        }
        let named: u64 = self.named.iter().sum();
        self.lines_most = self.lines_most.max(self.lines.saturating_sub(LINES_A_KEY * named));
        self.vain_turns_most = self.vain_turns_most.max(self.vain_turns);
        if self.lines > LINES_MAX + LINES_A_KEY * named {
            self.excess = Some(format!(
                "it asked servers {} things in a second in which clients had named {named} keys",
                self.lines
            ));
        }
        if self.vain_turns > VAIN_TURNS_MAX + if self.hedges { named } else { 0 } {
            self.excess = Some(format!("it woke up {} times in a second for nothing", self.vain_turns));
        }
        let between = second - self.second;
        self.named = match between {
            1 => [0, self.named[0], self.named[1]],
            2 => [0, 0, self.named[0]],
            _ => [0; 3],
        };
        (self.second, self.lines, self.vain_turns) = (second, 0, 0);
    }

    pub fn named(&mut self, now_us: u64, keys: usize) {
        self.at(now_us);
        self.named[0] += keys as u64;
    }

    pub fn said(&mut self, now_us: u64, bytes: &[u8]) {
        self.at(now_us);
        self.worked = true;
        self.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    }

    pub fn turned(&mut self, now_us: u64) {
        self.at(now_us);
        self.vain_turns += u64::from(!std::mem::take(&mut self.worked));
    }
}
