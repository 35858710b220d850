use tidings_domain::{AttemptResult, EndpointId, RetrySchedule};
use tidings_storage::deliveries::Verdict;

/// What is to become of a delivery after its attempt number `made`.
pub(crate) fn after(made: usize, result: &AttemptResult, endpoint: &EndpointId, schedule: &RetrySchedule) -> Verdict {
    if result.acknowledged() {
        return Verdict::Delivered;
    }
    if result.gone() && !endpoint.is_default() {
        return Verdict::Failed;
    }
    let asked = match result {
        AttemptResult::Answered { retry_after, .. } => *retry_after,
        AttemptResult::Unanswered { .. } => None,
    };
    match schedule.pause_after(made, asked) {
        Some(pause) => Verdict::Retry(pause),
        None => Verdict::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    }

    #[test]
    fn whoever_is_gone_is_not_asked_again_unless_it_is_the_default() {
        assert_eq!(decide(1, &answered(410, None), "another"), Verdict::Failed);
        assert!((9..=11).contains(&pause(1, &answered(410, None))));
    }
}
