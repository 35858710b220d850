//! The HTTP face of Tidings.
//!
//! A request passes three layers, each of which knows only the next:
//!
//! 1. [`contracts`] and [`v2`]: paths, extraction, answers and errors of the published contracts and of our own API. No rule lives here and
//!    no transaction is opened.
//! 2. [`application`]: one file of use cases per resource. A use case parses what it is given into domain
//!    types, and makes its changes with their events in one transaction.
//! 3. `tidings-storage`: the rows.
//!
//! In front of all of them stands [`access`], which decides who gets in.
//!
//! What use cases need from the outside stands beside them: [`location`] knows in which country an address
//! is, [`guid_cache`] what need not be asked of the database.
//!
//! In development [`sandbox`] stands in for the providers of email and SMS, and knows none of these layers.
//!
//! [`Gateway`] puts them behind a port, [`observe`] gives every request its correlation and writes it down.

mod access;
mod application;
mod contracts;
pub mod guid_cache;
pub mod location;
mod observe;
mod sandbox;
mod server;
mod v2;

pub use access::Limits;
pub use application::api_keys as keys;
pub use sandbox::SandboxTokens;
pub use server::{BindError, Gateway, Parts};
