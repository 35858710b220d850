use std::time::Duration;

use tidings_domain::{AttemptResult, EndpointId, RetrySchedule};
use tidings_storage::deliveries::Verdict;
use uuid::Uuid;

/// A receiver cannot ask for a longer pause than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What is to become of a delivery after its attempt number `made`.
///
/// A receiver's `Retry-After` can make the pause longer than the schedule has it, up to the schedule's
/// own longest delay: the schedule says for how long a delivery is tried, not the receiver.
pub(crate) fn after(made: usize, result: &AttemptResult, endpoint: &EndpointId, schedule: &RetrySchedule) -> Verdict {
    if result.acknowledged() {
        return Verdict::Delivered;
    }
    if result.gone() && !endpoint.is_default() {
        return Verdict::Failed;
    }
    let Some(delay) = schedule.delay_after(made, jitter()) else {
        return Verdict::Failed;
    };
    let asked = match result {
        AttemptResult::Answered { retry_after, .. } => retry_after.unwrap_or_default(),
        AttemptResult::Unanswered { .. } => Duration::ZERO,
    };
    Verdict::Retry(delay.max(asked.min(longest(schedule))))
}

fn longest(schedule: &RetrySchedule) -> Duration {
    let delays = (0..schedule.attempts()).filter_map(|made| schedule.delay_after(made, 0.5));
    delays.max().unwrap_or_default().min(LONGEST_PAUSE)
}

/// Between 0 and 1.
fn jitter() -> f64 {
    // The low half of a random UUID; its first two bits are fixed and shifted out.
    let (_, random) = Uuid::new_v4().as_u64_pair();
    (random << 2) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> AttemptResult {
        AttemptResult::Answered {
            status,
            body: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn decide(made: usize, result: &AttemptResult, endpoint: &str) -> Verdict {
        let schedule = "0s,10s,100s".parse().unwrap();
        after(made, result, &EndpointId::from(endpoint.to_owned()), &schedule)
    }

    fn pause(made: usize, result: &AttemptResult) -> u64 {
        match decide(made, result, "default") {
            Verdict::Retry(pause) => pause.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_schedule_decides_until_it_is_spent() {
        assert_eq!(decide(1, &answered(204, None), "default"), Verdict::Delivered);
        assert!((9..=11).contains(&pause(1, &answered(500, None))));
        assert!((90..=110).contains(&pause(2, &answered(302, None))));
        assert_eq!(decide(3, &answered(500, None), "default"), Verdict::Failed);
        let unanswered = AttemptResult::Unanswered { error: "reset".into() };
        assert!((9..=11).contains(&pause(1, &unanswered)));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_within_limits() {
        assert_eq!(pause(1, &answered(429, Some(50))), 50);
        assert!((9..=11).contains(&pause(1, &answered(429, Some(1)))));
        assert_eq!(pause(1, &answered(503, Some(100_000))), 100);
        let rare = "0s,10h".parse().unwrap();
        let asked = answered(503, Some(100_000));
        assert_eq!(
            after(0, &asked, &EndpointId::default_endpoint(), &rare),
            Verdict::Retry(LONGEST_PAUSE)
        );
    }

    #[test]
    fn whoever_is_gone_is_not_asked_again_unless_it_is_the_default() {
        assert_eq!(decide(1, &answered(410, None), "another"), Verdict::Failed);
        assert!((9..=11).contains(&pause(1, &answered(410, None))));
    }
}
