//! What the tests stand on: real databases, real receivers, whole stacks.
//!
//! Nothing here sleeps for a guessed time: [`eventually`] waits for a condition and says what it still
//! saw when it gave up. `TIDINGS_TEST_BACKENDS` adds real parts to the embedded ones ([`backends`]).

// A harness that cannot go on ends its test, and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub mod backends;
#[cfg(feature = "containers")]
mod containers;
mod database;
mod eventually;
mod ground;
mod kafka;
mod newer_schema;
mod process;
mod provider;
mod real_parts;
mod receiver;
mod stack;

pub use database::{Outage, TestDatabase, databases};
pub use eventually::{PATIENCE, eventually, eventually_within};
pub use ground::{Ground, Running};
pub use kafka::TestKafka;
pub use process::{Output, TestProcess};
pub use provider::ProviderSink;
pub use real_parts::{RealPart, RealParts};
pub use receiver::{Behavior, Received, WebhookReceiver};
pub use stack::{ExternalParts, TestStack};
