//! Events on their way over Kafka: out of the outbox, and into whoever consumes them.
//!
//! Nothing else in Tidings knows Kafka's client. [`topics`] makes sure that the topics exist,
//! [`relay`] publishes what an [`Outbox`](tidings_events::Outbox) holds, [`consumer`] hands records
//! to a handler until each has taken effect, [`Milestone`] tells how far its group has come, and
//! [`Probe`] whether the broker answers.
//!
//! Delivery is at least once, on both sides. A record keeps its `ce_id` over repetitions, and
//! whoever handles it does so by that key.

mod backoff;
mod connection;
pub mod consumer;
mod milestone;
mod probe;
pub mod relay;
pub mod topics;

pub use connection::Connection;
pub use consumer::{ConsumerConfig, ConsumerError, HandleError, Handler};
pub use milestone::{Milestone, MilestoneError, has_come_to_now};
pub use probe::{Probe, ProbeError};
pub use relay::RelayError;
pub use topics::TopicsError;

/// What Kafka's client reports. Errors of this crate carry it as their source.
pub type KafkaError = rdkafka::error::KafkaError;
