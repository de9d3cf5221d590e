//! How many reads may be asked for twice.

/// One read in so many may be asked for a second time where its server answers others.
const READS_PER_HEDGE: u64 = 20;
/// As many at a time.
const HEDGES_MAX: u64 = 100;

/// How many reads may be asked for a second time though their server is not silent: it would be overload's own cause.
#[derive(Default)]
pub struct Budget {
    hedges: u64,
    /// Requests to the server, when that was found.
    requests: u64,
}

impl Budget {
    /// Adds what so many requests to a server allow.
    pub fn follow(&mut self, requests: u64) {
        let more = requests.saturating_sub(self.requests) / READS_PER_HEDGE;
        // Settled anew where the requests are counted anew.
        if more > 0 || requests < self.requests {
            self.requests = requests;
        }
        self.hedges = (self.hedges + more).min(HEDGES_MAX);
    }

    /// Takes one of them, if there are any.
    pub fn take(&mut self) -> bool {
        let has_any = self.hedges > 0;
        self.hedges -= u64::from(has_any);
        has_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_twenty_may_be_asked_again() {
        let mut budget = Budget::default();
        let mut taken = 0;
        for requests in 0..=1000 {
            budget.follow(requests);
            taken += u64::from(budget.take());
        }
        assert_eq!(taken, 1000 / READS_PER_HEDGE);
        budget.follow(1_000_000);
        assert_eq!((0..1000).filter(|_| budget.take()).count() as u64, HEDGES_MAX);
        budget.follow(0); // counted anew
        budget.follow(READS_PER_HEDGE);
        assert!(budget.take() && !budget.take());
    }
}
