use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use tidings_events::span::{self, Span, SpanKind};
use tidings_events::{EventRecord, OutboxEntry};
use tokio::time::{Instant, timeout};

use super::client::{Acknowledgement, Client};
use crate::Connection;

/// How long a purged producer may take to give up its records.
const PURGE: Duration = Duration::from_secs(5);

/// A producer, and how to make the next one.
pub(super) struct Publisher {
    config: ClientConfig,
    client: Client,
}

impl Publisher {
    pub(super) fn new(connection: &Connection) -> Result<Self, KafkaError> {
        let mut config = connection.client_config("relay");
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A batch that fails for good stops the producer, so that nothing overtakes it.
            .set("enable.gapless.guarantee", "true")
            // A broker that is away is waited for, however long that takes.
            .set("message.timeout.ms", "0")
            .set("linger.ms", "0")
            .set("partitioner", "murmur2_random");
        let client = Client::new(&config)?;
        Ok(Self { config, client })
    }

    /// Hands records to the producer, in their order, up to the first that it does not take.
    pub(super) fn send(&self, batch: Vec<OutboxEntry>) -> Sending {
        let mut slots = Vec::with_capacity(batch.len());
        for entry in batch {
            let state = match self.client.send(&entry.record, headers(&entry.record)) {
                Ok(acknowledgement) => State::Waiting(acknowledgement),
                Err(error) => State::Failed(error),
            };
            let failed = matches!(state, State::Failed(_));
            slots.push(Slot {
                entry,
                sent: Instant::now(),
                state,
            });
            if failed {
                break;
            }
        }
        Sending { slots, settled: 0 }
    }

    /// Makes the producer give up what it has, and waits until that is settled. What was
    /// acknowledged in the meantime counts.
    pub(super) async fn abort(&self, sending: &mut Sending) {
        self.client.purge();
        let rest = async {
            for slot in &mut sending.slots {
                slot.settle().await;
            }
        };
        if timeout(PURGE, rest).await.is_err() {
            tracing::warn!("the producer does not give up its records");
        }
    }

    pub(super) fn replace(&mut self) -> Result<(), KafkaError> {
        self.client = Client::new(&self.config)?;
        Ok(())
    }
}

fn headers(record: &EventRecord) -> OwnedHeaders {
    let headers = record.headers();
    let start = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(start, |all, (key, value)| {
        all.insert(Header {
            key,
            value: Some(value),
        })
    })
}

/// Records on their way.
pub(super) struct Sending {
    slots: Vec<Slot>,
    /// How many from the front are settled.
    settled: usize,
}

struct Slot {
    entry: OutboxEntry,
    sent: Instant,
    state: State,
}

enum State {
    Waiting(Acknowledgement),
    Acknowledged,
    Failed(KafkaError),
}

impl Slot {
    async fn settle(&mut self) {
        if let State::Waiting(acknowledgement) = &mut self.state {
            self.state = match acknowledgement.await {
                Ok(Ok(())) => {
                    span::tell(|| published(&self.entry.record, self.sent.elapsed()));
                    State::Acknowledged
                }
                Ok(Err(error)) => State::Failed(error),
                Err(_) => State::Failed(KafkaError::Canceled),
            };
        }
    }
}

/// What publishing was, as a part of the trace of whoever made the event.
fn published(record: &EventRecord, took: Duration) -> Span {
    let parent = record.origin.traceparent;
    Span {
        name: format!("publish {}", record.topic),
        kind: SpanKind::Producer,
        context: parent.child(),
        parent: Some(parent),
        took,
        attributes: vec![
            ("messaging.system", "kafka".to_owned()),
            ("messaging.destination.name", record.topic.clone()),
            ("messaging.kafka.message.key", record.key.clone()),
            ("messaging.message.id", record.id.to_string()),
        ],
        error: None,
    }
}

/// The record on which a batch failed.
pub(super) struct Failure {
    pub(super) entry: OutboxEntry,
    pub(super) error: KafkaError,
}

impl Sending {
    /// Completes when all are acknowledged, or at the first that failed. May be dropped and called again.
    pub(super) async fn settled(&mut self) {
        while let Some(slot) = self.slots.get_mut(self.settled) {
            slot.settle().await;
            if matches!(slot.state, State::Failed(_)) {
                return;
            }
            self.settled += 1;
        }
    }

    pub(super) fn failure(&self) -> Option<&KafkaError> {
        self.slots.iter().find_map(|slot| match &slot.state {
            State::Failed(error) => Some(error),
            _ => None,
        })
    }

    /// What was acknowledged, and what failed first of its own accord.
    pub(super) fn into_outcome(self) -> (Vec<OutboxEntry>, Option<Failure>) {
        let mut acknowledged = Vec::with_capacity(self.slots.len());
        let mut failures = Vec::new();
        for Slot { entry, state, .. } in self.slots {
            match state {
                State::Acknowledged => acknowledged.push(entry),
                State::Failed(error) => failures.push(Failure { entry, error }),
                State::Waiting(_) => {}
            }
        }
        let own = failures
            .iter()
            .position(|failure| !is_consequence(&failure.error))
            .unwrap_or(0);
        (acknowledged, failures.into_iter().nth(own))
    }
}

/// Whether a record failed only because another did.
fn is_consequence(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        None | Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight | RDKafkaErrorCode::Fatal)
    )
}

/// Whether an error would meet this record again however healthy the broker is.
pub(super) fn is_about_the_record(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::PolicyViolation
        )
    )
}
