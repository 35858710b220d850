//! The commands beside those that run services.

pub(crate) mod audit;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod endpoints;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod receive;
