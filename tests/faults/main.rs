//! Tidings as separate processes, on a PostgreSQL and an Apache Kafka of a run's own: sharing their work,
//! restarted one after the other, and killed again and again. Load is put on them all the while, and at
//! the end of each run the books are balanced ([`ledger`]).
//!
//! Runs where real parts are wanted and `TEST_REAL_PARTS` names the script that starts them. What is to
//! fail, and for how long, is made up from a seed: `TEST_FAULT_SEED` (by default a new one), which a run
//! prints. `TEST_FAULT_KILLS` is how many kills a run has, `TEST_FAULT_OUTAGE` how many seconds Kafka,
//! and then PostgreSQL, stay away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod cluster;
mod killing;
mod ledger;
mod load;
mod plan;
mod receiver;
mod rolling;
mod separate;
mod strikes;

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// The program under test.
const TIDINGS: &str = env!("CARGO_BIN_EXE_tidings");

/// The key that all requests have.
const API_KEY: &str = "there-is-no-key";

/// A run has eight processes, some of them large, and measures how long things take: one at a time.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A number that a run is told by its environment.
fn number<T: std::str::FromStr>(variable: &str, otherwise: impl FnOnce() -> T) -> T {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is {text}, which is no number")),
        Err(_) => otherwise(),
    }
}

/// How soon everything must be quiet after the last fault. The leases of a delivery service that was
/// killed last a minute.
const QUIET: Duration = Duration::from_secs(180);
