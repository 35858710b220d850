//! The delivery service between a real broker, real databases and real receivers on loopback.

// A harness that cannot go on ends its test, and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod budgets;
mod endpoints;
mod happy;
mod leases;
mod outages;
mod receivers;
mod retries;
mod stage;
mod sweeping;
