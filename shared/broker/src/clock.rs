//! The wall clock.
//!
//! Records and positions age while the broker is not running, so their age is told by the time of day.
//! Everything that happens within one run is timed by the monotonic clock instead.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the broker reads the wall clock"
)]
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
