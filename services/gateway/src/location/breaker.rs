use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Keeps questions from a service that does not answer.
///
/// After some failures in a row it is open: nobody gets through for a while. Then one caller does, and
/// what becomes of that one decides for all.
///
/// The crates for this (`failsafe`, `recloser`) let everybody through as soon as the while is over, and
/// each of them would wait for the whole deadline of a service that still hangs. That is the very thing
/// that a breaker in front of sign-ups is to prevent.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One caller is trying.
    Probing,
}

impl Breaker {
    pub(super) fn new(failures: u32, pause: Duration) -> Self {
        metrics::gauge!("tidings_geoip_breaker_open").set(0.0);
        Self {
            failures,
            pause,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Lets a caller through, who then says how it went; `None` if nobody is let through.
    pub(super) fn pass(&self) -> Option<Pass<'_>> {
        self.change(|state| match *state {
            State::Closed { .. } => Some(false),
            State::Open { until } if until <= Instant::now() => {
                *state = State::Probing;
                Some(true)
            }
            State::Open { .. } | State::Probing => None,
        })
        .map(|probe| Pass {
            breaker: self,
            probe,
            settled: false,
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        let open = !matches!(*state, State::Closed { .. });
        metrics::gauge!("tidings_geoip_breaker_open").set(f64::from(u8::from(open)));
        result
    }
}

/// A caller on the way.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
    settled: bool,
}

impl Pass<'_> {
    pub(super) fn succeeded(mut self) {
        self.settled = true;
        let probe = self.probe;
        self.breaker.change(|state| match state {
            State::Closed { failures } => *failures = 0,
            State::Probing if probe => *state = State::Closed { failures: 0 },
            // From before it opened: what failed since then is newer.
            State::Open { .. } | State::Probing => {}
        });
    }

    /// Answers whether this opened the breaker.
    pub(super) fn failed(mut self) -> bool {
        self.settled = true;
        let (probe, limit) = (self.probe, self.breaker.failures);
        let until = Instant::now() + self.breaker.pause;
        self.breaker.change(|state| match state {
            State::Closed { failures } if *failures + 1 < limit => {
                *failures += 1;
                false
            }
            State::Closed { .. } => {
                *state = State::Open { until };
                true
            }
            State::Probing if probe => {
                *state = State::Open { until };
                false
            }
            State::Open { .. } | State::Probing => false,
        })
    }
}

/// A caller who gave up says nothing about the service, and leaves the try to the next.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.probe && !self.settled {
            let until = Instant::now();
            self.breaker.change(|state| *state = State::Open { until });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn fail(breaker: &Breaker) -> bool {
        breaker.pass().unwrap().failed()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let breaker = Breaker::new(3, PAUSE);
        assert!(!fail(&breaker) && !fail(&breaker));
        breaker.pass().unwrap().succeeded();
        assert!(!fail(&breaker) && !fail(&breaker));
        assert!(fail(&breaker), "three in a row");
        assert!(breaker.pass().is_none());
        tokio::time::advance(PAUSE - Duration::from_millis(1)).await;
        assert!(breaker.pass().is_none());
        tokio::time::advance(Duration::from_millis(1)).await;

        let probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_none(), "one at a time");
        assert!(!probe.failed());
        assert!(breaker.pass().is_none(), "and then the whole pause again");
        tokio::time::advance(PAUSE).await;
        breaker.pass().unwrap().succeeded();
        assert!(!fail(&breaker) && !fail(&breaker), "it begins to count anew");
        assert!(breaker.pass().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_on_the_way_when_it_opened_changes_nothing() {
        let breaker = Breaker::new(1, PAUSE);
        let (one, other, third) = (
            breaker.pass().unwrap(),
            breaker.pass().unwrap(),
            breaker.pass().unwrap(),
        );
        assert!(one.failed());
        other.succeeded();
        assert!(breaker.pass().is_none());
        tokio::time::advance(PAUSE).await;
        let probe = breaker.pass().unwrap();
        assert!(!third.failed());
        probe.succeeded();
        assert!(breaker.pass().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_try_to_the_next() {
        let breaker = Breaker::new(1, PAUSE);
        fail(&breaker);
        tokio::time::advance(PAUSE).await;
        drop(breaker.pass().unwrap());
        breaker.pass().unwrap().succeeded();
        drop(breaker.pass().unwrap());
        assert!(breaker.pass().is_some());
    }
}
