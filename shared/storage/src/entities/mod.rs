//! The tables as SeaORM sees them. Nothing outside this crate does.

pub(crate) mod api_key;
pub(crate) mod audit_head;
pub(crate) mod audit_record;
pub(crate) mod contact;
pub(crate) mod dead_letter;
pub(crate) mod delivery;
pub(crate) mod delivery_attempt;
pub(crate) mod event;
pub(crate) mod guid;
pub(crate) mod idempotency_key;
pub(crate) mod message;
pub(crate) mod notification;
pub(crate) mod order;
pub(crate) mod outbox;
pub(crate) mod relay;
pub(crate) mod relay_lease;
pub(crate) mod user;
pub(crate) mod webhook_endpoint;
