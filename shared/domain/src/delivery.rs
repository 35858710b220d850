use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use uuid::Uuid;

use crate::Invalid;

/// Nobody can ask for a longer pause than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// One attempt to deliver something, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The first attempt is 1.
    pub number: i32,
    pub started_at: DateTime<Utc>,
    pub duration: Duration,
    pub result: AttemptResult,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// The receiver answered; the body may be cut.
    Answered {
        status: u16,
        body: String,
        retry_after: Option<Duration>,
    },
    /// No answer came: refused, reset, not allowed, or out of time.
    Unanswered { error: String },
}

impl AttemptResult {
    pub fn acknowledged(&self) -> bool {
        matches!(self, Self::Answered { status: 200..=299, .. })
    }

    /// The receiver says that it will never want anything again.
    pub fn gone(&self) -> bool {
        matches!(self, Self::Answered { status: 410, .. })
    }
}

impl fmt::Display for AttemptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, .. } => write!(f, "answered {status}"),
            Self::Unanswered { error } => f.write_str(error),
        }
    }
}

/// How long to wait before each attempt. The number of entries is the number of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule(Vec<Duration>);

impl RetrySchedule {
    /// The delay before the attempt that follows `made` attempts, or `None` if those were all.
    /// `jitter` between 0 and 1 spreads it over ±10 %, so that what failed together does not return together.
    pub fn delay_after(&self, made: usize, jitter: f64) -> Option<Duration> {
        self.0
            .get(made)
            .map(|delay| delay.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)))
    }

    /// How long to wait after `made` attempts that failed, or `None` if those were all. Whoever was asked
    /// can make the pause longer than it stands here (`Retry-After`), up to the longest that stands here: the
    /// schedule says for how long something is tried, not the other side.
    pub fn pause_after(&self, made: usize, asked: Option<Duration>) -> Option<Duration> {
        let longest = self.0.iter().max().copied().unwrap_or_default().min(LONGEST_PAUSE);
        let delay = self.delay_after(made, jitter())?;
        Some(delay.max(asked.unwrap_or_default().min(longest)))
    }

    pub fn attempts(&self) -> usize {
        self.0.len()
    }
}

/// Between 0 and 1.
fn jitter() -> f64 {
    // The low half of a random UUID; its first two bits are fixed and shifted out.
    let (_, random) = Uuid::new_v4().as_u64_pair();
    (random << 2) as f64 / u64::MAX as f64
}

/// Reads durations separated by commas, such as `0s,1s,3s`.
impl FromStr for RetrySchedule {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let delay = |entry: &str| {
            humantime::parse_duration(entry.trim()).map_err(|error| {
                Invalid::new(format!(
                    "`{}` is not a duration such as 5s or 2h: {error}",
                    entry.trim()
                ))
            })
        };
        let delays = text.split(',').map(delay).collect::<Result<Vec<_>, _>>()?;
        if delays.first() != Some(&Duration::ZERO) {
            return Err(Invalid::new(
                "the first delay must be 0s: the first attempt is made at once",
            ));
        }
        Ok(Self(delays))
    }
}

impl fmt::Display for RetrySchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delays: Vec<_> = self
            .0
            .iter()
            .map(|delay| humantime::format_duration(*delay).to_string())
            .collect();
        f.write_str(&delays.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_counts_its_attempts_and_spreads_them() {
        let schedule: RetrySchedule = "0s, 10s,1m".parse().unwrap();
        assert_eq!(schedule.attempts(), 3);
        assert_eq!(schedule.delay_after(0, 0.5), Some(Duration::ZERO));
        assert_eq!(schedule.delay_after(1, 0.0), Some(Duration::from_secs(9)));
        assert_eq!(schedule.delay_after(1, 1.0), Some(Duration::from_secs(11)));
        assert_eq!(schedule.delay_after(3, 0.5), None);
        for bad in ["", "1s", "0s,,1s", "0s,soon"] {
            assert!(bad.parse::<RetrySchedule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_longer_pause_may_be_asked_for_within_limits() {
        let schedule: RetrySchedule = "0s,10s,100s".parse().unwrap();
        let pause = |made, asked: u64| schedule.pause_after(made, Some(Duration::from_secs(asked))).unwrap();
        assert_eq!(pause(1, 50).as_secs(), 50);
        assert!((9..=11).contains(&pause(1, 1).as_secs()));
        assert_eq!(pause(1, 100_000).as_secs(), 100);
        assert!((9..=11).contains(&schedule.pause_after(1, None).unwrap().as_secs()));
        assert_eq!(schedule.pause_after(3, Some(Duration::ZERO)), None);
        let rare: RetrySchedule = "0s,10h".parse().unwrap();
        let pause = rare.pause_after(0, Some(Duration::from_secs(100_000)));
        assert_eq!(pause, Some(LONGEST_PAUSE));
    }

    #[test]
    fn only_a_2xx_acknowledges() {
        let answered = |status| AttemptResult::Answered {
            status,
            body: String::new(),
            retry_after: None,
        };
        assert!(answered(204).acknowledged());
        assert!(!answered(301).acknowledged() && !answered(410).acknowledged());
        assert!(answered(410).gone());
        assert!(
            !AttemptResult::Unanswered {
                error: "timed out".into()
            }
            .acknowledged()
        );
    }
}
