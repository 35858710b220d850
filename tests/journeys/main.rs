//! What a user of Tidings lives through, with the real program, real HTTP and real Kafka.
//!
//! Each test has a stack of its own, in a process of its own. On the embedded parts always; on
//! PostgreSQL too where there is one; with clients of other makers where they are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
mod contracts;
mod crashes;
mod delivery;
mod foreign;
mod refusals;
mod topic;
mod visibility;

use tidings_testkit::{TestStack, backends};

/// The program under test.
const TIDINGS: &str = env!("CARGO_BIN_EXE_tidings");

/// A stack on each backend that is wanted.
async fn stacks(webhook_url: &str, settings: &[(&str, &str)]) -> Vec<TestStack> {
    let mut stacks = vec![TestStack::start(TIDINGS, webhook_url, settings).await];
    if let Some(admin) = backends::postgres() {
        stacks.push(TestStack::start_on_postgres(TIDINGS, webhook_url, settings, &admin).await);
    }
    stacks
}
