//! The topics as they must be before anything is published or consumed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
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
/// How long one that is repeated waits for a broker. The client goes on connecting meanwhile.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long new topics may take to appear.
const APPEARANCE: Duration = Duration::from_secs(15);

/// Why the topics are not as they must be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TopicsError {
    #[error("the settings of the connection to Kafka are not accepted")]
    Settings(#[source] KafkaError),
    #[error("the broker cannot be asked about its topics")]
    Broker(#[source] KafkaError),
    #[error("the broker does not answer: {reason}")]
    Silent { reason: String },
    #[error(
        "the broker refuses the login ({reason}); make sure that KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and \
         KAFKA_SASL_MECHANISM are what it expects"
    )]
    Login { reason: String },
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
            Self::Broker(_) | Self::Silent { .. } | Self::NotShown { .. } => true,
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
            Self::Settings(_) | Self::Login { .. } | Self::TooFewPartitions { .. } | Self::Cancelled => false,
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
    let wanted = declared(topics);
    Cluster::new(connection, REQUEST)?.ensure(&wanted).await
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
    Cluster::new(connection, REQUEST)?.ensure(&[wanted]).await
}

fn declared(topics: &[Topic]) -> Vec<Wanted> {
    let wanted = topics.iter().map(|topic| Wanted {
        name: topic.name().to_owned(),
        partitions: topic.partitions(),
        retention: topic.retention(),
    });
    wanted.collect()
}

/// Like [`ensure`], again and again while the broker is away. Every attempt that fails is one line
/// in the log that says what is missing.
pub async fn ensure_with_retry(
    connection: &Connection,
    topics: &[Topic],
    cancel: &CancellationToken,
) -> Result<(), TopicsError> {
    let (cluster, wanted) = (Cluster::new(connection, ATTEMPT)?, declared(topics));
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let attempt = cancel
            .run_until_cancelled(cluster.ensure(&wanted))
            .await
            .ok_or(TopicsError::Cancelled)?;
        match attempt {
            Err(error) if error.is_temporary() => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(cause, "waiting for kafka ({}): {error}", connection.brokers);
            }
            settled => return settled,
        }
        cancel
            .run_until_cancelled(sleep(backoff.next()))
            .await
            .ok_or(TopicsError::Cancelled)?;
    }
}

/// The brokers, and the client that asks them. It keeps its connections from one attempt to the next.
struct Cluster<'a> {
    connection: &'a Connection,
    client: Arc<BaseConsumer<Complaints>>,
    /// How long a question may take.
    deadline: Duration,
}

impl<'a> Cluster<'a> {
    fn new(connection: &'a Connection, deadline: Duration) -> Result<Self, TopicsError> {
        let client = connection
            .client_config("topics")
            .create_with_context(Complaints::default())
            .map_err(TopicsError::Settings)?;
        Ok(Self {
            connection,
            client: Arc::new(client),
            deadline,
        })
    }

    async fn ensure(&self, wanted: &[Wanted]) -> Result<(), TopicsError> {
        let present = self.partitions_with_leader().await?;
        let missing: Vec<_> = wanted
            .iter()
            .filter(|topic| !present.contains_key(&topic.name))
            .collect();
        if !missing.is_empty() {
            create(self.connection, &missing).await?;
        }

        let deadline = Instant::now() + APPEARANCE;
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
        loop {
            let present = self.partitions_with_leader().await?;
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

    async fn partitions_with_leader(&self) -> Result<HashMap<String, Shown>, TopicsError> {
        let (client, deadline) = (self.client.clone(), self.deadline);
        let asked = tokio::task::spawn_blocking(move || {
            let asked = client.fetch_metadata(None, deadline);
            // Nobody else takes what this client has to say. A call takes one thing, and does not tell
            // whether there are more.
            for _ in 0..100 {
                client.poll(Duration::ZERO);
            }
            let mut complaint = client.context().last();
            match asked {
                Ok(metadata) => {
                    *complaint = None;
                    Ok(metadata)
                }
                // What stays the same is not complained of again and again.
                Err(error) => Err(complaint.clone().unwrap_or(TopicsError::Broker(error))),
            }
        });
        let metadata = asked.await.map_err(|_| TopicsError::Broker(KafkaError::Canceled))??;
        Ok(shown(&metadata))
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        // Ending the client joins a thread of it.
        let client = self.client.clone();
        tokio::task::spawn_blocking(move || drop(client));
    }
}

/// What a client complained of last: why an attempt failed, which its own error does not tell.
#[derive(Debug, Default)]
struct Complaints(Mutex<Option<TopicsError>>);

impl Complaints {
    fn last(&self) -> MutexGuard<'_, Option<TopicsError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Complaints {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(client = "topics", facility, "{message}");
        // Of some failures there is nothing but a line of the log; which thread wrote it is in front of it.
        if facility == "FAIL" {
            let reason = message
                .split_once("]: ")
                .map_or(message, |(_, reason)| reason)
                .to_owned();
            self.last().get_or_insert(TopicsError::Silent { reason });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = reason.to_owned();
        let complaint = match error.rdkafka_error_code() {
            // Says no more than that each of the others failed.
            Some(RDKafkaErrorCode::AllBrokersDown) => return,
            // A login that could not be finished ends in the same way, for a reason that is the client's own.
            Some(RDKafkaErrorCode::Authentication) if !reason.contains("Local: ") => TopicsError::Login { reason },
            _ => TopicsError::Silent { reason },
        };
        *self.last() = Some(complaint);
    }
}

impl ConsumerContext for Complaints {}

async fn create(connection: &Connection, missing: &[&Wanted]) -> Result<(), TopicsError> {
    let admin: AdminClient<ClientLog> = connection
        .client_config("admin")
        .create_with_context(ClientLog::new("admin"))
        .map_err(TopicsError::Settings)?;
    let created = create_with(&admin, missing).await;
    // Ending the client joins a thread of it.
    tokio::task::spawn_blocking(move || drop(admin));
    created
}

async fn create_with(admin: &AdminClient<ClientLog>, missing: &[&Wanted]) -> Result<(), TopicsError> {
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
