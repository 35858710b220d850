use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::Invalid;

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

    pub fn attempts(&self) -> usize {
        self.0.len()
    }
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
