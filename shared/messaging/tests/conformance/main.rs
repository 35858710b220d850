//! What holds for every broker: the embedded one always, and where `TIDINGS_TEST_BACKENDS` lists
//! `external`, the one at `TEST_KAFKA_BROKERS` and those that `TEST_REAL_PARTS` can start.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broker;
mod consuming;
mod metering;
mod milestone;
mod outage;
mod outbox;
mod poison;
mod publishing;
mod recorder;
mod sharing;
mod tail;
mod topics;

use std::time::{Duration, Instant};

/// Waits for something that must come true. The deadline is for a machine that is busy with other tests.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for something to end that must end.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .unwrap_or_else(|_| panic!("did not end: {what}"))
}
