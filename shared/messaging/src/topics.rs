//! The topics as they must be before anything is published or consumed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tidings_events::Topic;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::Connection;
use crate::backoff::Backoff;
use crate::connection::ClientLog;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long new topics may take to appear.
const APPEARANCE: Duration = Duration::from_secs(15);

/// Why the topics are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    #[error("the settings of the connection to Kafka are not accepted")]
    Settings(#[source] KafkaError),
    #[error("the broker cannot be asked about its topics")]
    Broker(#[source] KafkaError),
    #[error("topic {topic} cannot be created: {reason}")]
    Refused { topic: String, reason: RDKafkaErrorCode },
    /// More partitions than expected do no harm. Fewer are refused, because adding some later moves
    /// keys to other partitions and breaks their order.
    #[error(
        "topic {topic} has {found} of {expected} partitions; drain and delete it so that it can be created anew, \
         or add the missing partitions while nothing is published"
    )]
    TooFewPartitions {
        topic: String,
        found: usize,
        expected: usize,
    },
    #[error("the broker has not shown a leader for {} in time", .topics.join(", "))]
    NotShown { topics: Vec<String> },
    #[error("stopped while waiting for the topics")]
    Cancelled,
}

impl TopicsError {
    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Broker(_) | Self::NotShown { .. } => true,
            Self::Refused { reason, .. } => matches!(
                reason,
                RDKafkaErrorCode::NotController
                    | RDKafkaErrorCode::RequestTimedOut
                    | RDKafkaErrorCode::OperationTimedOut
                    // A cluster that is still starting has too few brokers for its own defaults.
                    | RDKafkaErrorCode::InvalidReplicationFactor
                    | RDKafkaErrorCode::BrokerNotAvailable
                    | RDKafkaErrorCode::BrokerTransportFailure
            ),
            Self::Settings(_) | Self::TooFewPartitions { .. } | Self::Cancelled => false,
        }
    }
}

/// A topic as it should be.
struct Wanted {
    name: String,
    partitions: i32,
    retention: Duration,
}

/// Creates the topics that are missing and checks those that exist. Afterwards the broker shows all
/// of them, with a leader for each partition.
pub async fn ensure(connection: &Connection, topics: &[Topic]) -> Result<(), TopicsError> {
    let wanted: Vec<_> = topics
        .iter()
        .map(|topic| Wanted {
            name: topic.name().to_owned(),
            partitions: topic.partitions(),
            retention: topic.retention(),
        })
        .collect();
    ensure_wanted(connection, &wanted).await
}

/// Like [`ensure`], for a topic that is not one of the declared ones.
pub async fn ensure_named(
    connection: &Connection,
    name: &str,
    partitions: i32,
    retention: Duration,
) -> Result<(), TopicsError> {
    let wanted = Wanted {
        name: name.to_owned(),
        partitions,
        retention,
    };
    ensure_wanted(connection, &[wanted]).await
}

/// Like [`ensure`], again and again while the broker is away. Every attempt that fails is one line
/// in the log that says what is missing.
pub async fn ensure_with_retry(
    connection: &Connection,
    topics: &[Topic],
    cancel: &CancellationToken,
) -> Result<(), TopicsError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let attempt = cancel
            .run_until_cancelled(ensure(connection, topics))
            .await
            .ok_or(TopicsError::Cancelled)?;
        match attempt {
            Err(error) if error.is_temporary() => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(
                    brokers = connection.brokers,
                    cause = source,
                    "waiting for kafka: {error}"
                );
            }
            settled => return settled,
        }
        cancel
            .run_until_cancelled(sleep(backoff.next()))
            .await
            .ok_or(TopicsError::Cancelled)?;
    }
}

async fn ensure_wanted(connection: &Connection, wanted: &[Wanted]) -> Result<(), TopicsError> {
    let admin: AdminClient<ClientLog> = connection
        .client_config("admin")
        .create_with_context(ClientLog::new("admin"))
        .map_err(TopicsError::Settings)?;
    let admin = Arc::new(admin);
    let ensured = create_and_wait(&admin, wanted).await;
    // Ending the client joins a thread of it.
    tokio::task::spawn_blocking(move || drop(admin));
    ensured
}

async fn create_and_wait(admin: &Arc<AdminClient<ClientLog>>, wanted: &[Wanted]) -> Result<(), TopicsError> {
    let present = partitions_with_leader(admin).await?;
    let missing: Vec<_> = wanted
        .iter()
        .filter(|topic| !present.contains_key(&topic.name))
        .collect();
    if !missing.is_empty() {
        create(admin, &missing).await?;
    }

    let deadline = Instant::now() + APPEARANCE;
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
    loop {
        let present = partitions_with_leader(admin).await?;
        let mut waiting = Vec::new();
        for topic in wanted {
            let expected = usize::try_from(topic.partitions).unwrap_or_default();
            match present.get(&topic.name) {
                Some(shown) if shown.total > 0 && shown.total < expected => {
                    return Err(TopicsError::TooFewPartitions {
                        topic: topic.name.clone(),
                        found: shown.total,
                        expected,
                    });
                }
                Some(shown) if shown.led >= expected => {}
                _ => waiting.push(topic.name.clone()),
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(TopicsError::NotShown { topics: waiting });
        }
        sleep(backoff.next()).await;
    }
}

async fn create(admin: &AdminClient<ClientLog>, missing: &[&Wanted]) -> Result<(), TopicsError> {
    let retentions: Vec<_> = missing
        .iter()
        .map(|topic| topic.retention.as_millis().to_string())
        .collect();
    let new: Vec<_> = missing
        .iter()
        .zip(&retentions)
        .map(|(topic, retention)| {
            // -1 leaves the number of replicas to the cluster.
            NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1)).set("retention.ms", retention)
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST));
    for created in admin.create_topics(&new, &options).await.map_err(TopicsError::Broker)? {
        match created {
            Ok(topic) => tracing::info!(topic, "topic created"),
            // Another process was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, reason)) => return Err(TopicsError::Refused { topic, reason }),
        }
    }
    Ok(())
}

struct Shown {
    total: usize,
    led: usize,
}

async fn partitions_with_leader(admin: &Arc<AdminClient<ClientLog>>) -> Result<HashMap<String, Shown>, TopicsError> {
    let admin = admin.clone();
    let metadata = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, REQUEST))
        .await
        .map_err(|_| TopicsError::Broker(KafkaError::Canceled))?
        .map_err(TopicsError::Broker)?;
    Ok(shown(&metadata))
}

fn shown(metadata: &Metadata) -> HashMap<String, Shown> {
    metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| {
            let partitions = topic.partitions();
            let led = partitions.iter().filter(|partition| partition.leader() >= 0).count();
            let total = partitions.len();
            (topic.name().to_owned(), Shown { total, led })
        })
        .collect()
}
