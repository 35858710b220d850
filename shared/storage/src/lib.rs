//! Everything Tidings keeps, on PostgreSQL or SQLite.
//!
//! One module per subject, each with plain functions: those that read take any connection, those that
//! write take a [`Tx`], which only [`Db::write`] hands out. Rows stay in here; domain types go in and out.
//!
//! Leases and due times are on the database's clock ([`clock`]), so that processes whose clocks differ
//! agree on them.

pub mod api_keys;
pub mod audit;
mod backlog;
mod bulk;
mod clock;
pub mod contacts;
mod db;
pub mod dead_letters;
pub mod deliveries;
pub mod endpoints;
mod entities;
mod error;
pub mod events;
pub mod guids;
pub mod idempotency;
pub mod messages;
pub mod notifications;
pub mod orders;
pub mod outbox;
mod place;
pub mod users;

pub use backlog::Backlog;
pub use db::{Connections, Db, Location, Turn, Tx};
pub use error::{Error, may_open_later, why_not_open};
pub use place::Place;
/// What the reading functions take: [`Db::read`], or a transaction's [`Tx::conn`].
pub use sea_orm::ConnectionTrait;

pub type Result<T, E = Error> = std::result::Result<T, E>;
