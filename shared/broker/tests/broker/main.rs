//! The broker as its clients see it: over sockets, by raw requests and by clients in wide use.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod admin;
mod durability;
mod faults;
mod foreign;
mod groups;
mod records;
mod support;
mod upkeep;
mod versions;
mod wire;
