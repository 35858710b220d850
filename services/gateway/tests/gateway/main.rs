//! The gateway over real HTTP, on every database that is wanted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod bad_input;
mod contacts;
mod documents;
mod guids;
mod harness;
mod idempotency;
mod limits;
mod messages;
mod mmdb;
mod orders;
mod outages;
mod races;
mod routing;
mod sandbox;
mod service;
mod together;
mod tracing;
mod users;
mod v2;
