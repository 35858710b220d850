//! The events of Tidings: what happened, under which name, and how it looks on Kafka.
//!
//! Every successful change of a resource is one event, or several. An event is declared once, in
//! [`registry`]; its topic, type, action and payload follow from that everywhere. Payloads are the
//! resources as the published contracts show them ([`data`]), so a consumer reads the same JSON as
//! a client of the API. No payload carries a password, a secret or a key.
//!
//! On Kafka a record follows CloudEvents 1.0 in binary content mode ([`EventRecord`]). The files in
//! `golden/` pin every type: a change that breaks one needs a new type, an added field does not.

pub mod data;
mod outbox;
mod record;
mod registry;
pub mod rules;
pub mod span;
mod topic;

pub use outbox::{Granted, Outbox, OutboxEntry, ShardLease};
pub use record::{DecodeError, EventRecord, Origin, RawRecord};
pub use registry::{
    Action, ApiKeyCreated, ApiKeyRevoked, ContactCreated, ContactDeleted, ContactUpdated, Event, EventType,
    GuidCreated, GuidDeleted, GuidExpired, GuidUpdated, MessageDelivered, MessageFailed, MessageQueued,
    NotificationFailed, NotificationRequested, NotificationSent, OrderPlaced, REGISTRY, Resource, UserCreated,
    UserDeleted, UserUpdated, WebhookEndpointCreated, WebhookEndpointDeleted, WebhookEndpointDisabled,
    WebhookEndpointUpdated,
};
pub use topic::{TOPICS, Topic};
