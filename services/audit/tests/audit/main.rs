//! The audit log on real databases, fed by a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod consuming;
mod feed;
mod guards;
mod tampering;
