//! The notification service between a real broker, real databases and real providers on loopback.

// A harness that cannot go on ends its test, and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod channels;
mod leases;
mod retries;
mod stage;
mod sweeping;
mod telling;
