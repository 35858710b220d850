use std::time::Duration;

use uuid::Uuid;

/// Pauses that double from the shortest to the longest.
///
/// Each is drawn between half of its length and all of it, so that those who failed together do not
/// try again together.
#[derive(Debug)]
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        // The low half of a random UUID; its first two bits are fixed and shifted out.
        let (_, random) = Uuid::new_v4().as_u64_pair();
        full / 2 + (full / 2).mul_f64((random << 2) as f64 / u64::MAX as f64)
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.shortest;
    }
}

/// Something that fails for a while and then works again: one line when it starts, one when it ends.
#[derive(Debug)]
pub(crate) struct Outage {
    what: &'static str,
    backoff: Backoff,
    failures: u64,
}

impl Outage {
    pub(crate) const fn new(what: &'static str, backoff: Backoff) -> Self {
        Self {
            what,
            backoff,
            failures: 0,
        }
    }

    /// Answers how long to wait before the next attempt.
    pub(crate) fn failed(&mut self, error: &(dyn std::error::Error + 'static)) -> Duration {
        if self.failures == 0 {
            tracing::warn!(error, "{} failed, trying again until it works", self.what);
        } else {
            tracing::debug!(error, failures = self.failures, "{} failed again", self.what);
        }
        self.failures += 1;
        self.backoff.next()
    }

    pub(crate) fn worked(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "{} works again", self.what);
            self.failures = 0;
            self.backoff.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for full in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let pause = backoff.next().as_millis();
            assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
