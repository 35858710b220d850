//! The runtime against real sockets, signals and processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod child;
mod http_client;
mod ops;
mod rebinding;
mod receiver;
mod signals;
mod supervisor;
mod telemetry;
