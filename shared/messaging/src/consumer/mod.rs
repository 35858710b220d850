//! Consumers: hand records to a handler until each of them has taken effect.
//!
//! # What is guaranteed
//!
//! - An offset is committed only after the handler said that the record has taken effect, or after
//!   it has set the record aside. A consumer that dies hands the records since its last commit to
//!   whoever takes over.
//! - The records of one partition are handed out in their order, and the next ones only after the
//!   ones before have been settled.
//! - Infrastructure is not poison: [`HandleError::Retry`] is obeyed for as long as it takes, with
//!   the partitions paused and the client still polled, so that the member stays in its group.
//! - Only a record that the handler rejects *by itself* is set aside; a rejected batch is handed out
//!   again record by record. Too many of them stop the consumer before it drains a topic.
//! - Records that were deleted before they were read are counted and reported, never skipped in silence.
//!
//! # What is not
//!
//! - A record can be handed out twice: after a crash, after a rebalance, and when one of its batch was
//!   rejected or asked to be retried. Effects must be idempotent, by `ce_id`.
//!
//! # What may be changed safely
//!
//! Sizes, pauses and how often offsets are committed. The assignor is `cooperative-sticky`, so that
//! members keep what they have while others come and go; changing it in a group that runs needs two
//! deployments. A batch remembers under which assignment its records came, and both handing out and
//! committing check that the assignment still holds; keep that.
//!
//! # How it runs
//!
//! Each consumer has a thread of its own, on which its handler is polled, too: what Kafka's client is
//! asked in the middle of a rebalance, and leaving the group, block that thread and nobody else's.
//! Arrival of a record wakes the thread, nothing polls on a timer.

mod assignment;
mod batch;
mod flood;
mod session;
mod worker;

use std::error::Error;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tidings_events::{RawRecord, Topic};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub(crate) use self::batch::raw;
use self::worker::Worker;
use crate::{Connection, apart};

/// Who consumes what.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The group whose members share the partitions, and under which positions are kept.
    pub group: String,
    pub topics: Vec<String>,
    /// How many records are handed out at a time, at most.
    pub max_batch: usize,
    /// How long more records are waited for once one has come. Zero for effects that are waited for;
    /// what only has to happen soon costs less in larger batches.
    pub linger: Duration,
    /// How many records may be set aside in a row before the consumer stops.
    pub flood: usize,
}

impl ConsumerConfig {
    pub fn new(group: &str, topics: &[Topic]) -> Self {
        Self::of_topics(group, topics.iter().map(|topic| topic.name()))
    }

    /// For topics that are not among the declared ones.
    pub fn of_topics<T: Into<String>>(group: &str, topics: impl IntoIterator<Item = T>) -> Self {
        Self {
            group: group.to_owned(),
            topics: topics.into_iter().map(Into::into).collect(),
            max_batch: 500,
            linger: Duration::ZERO,
            flood: 100,
        }
    }
}

/// What is done with records.
pub trait Handler: Send + Sync + 'static {
    /// Lets all of these records take effect, or none of them. They are in order per partition.
    /// What it has seen before must change nothing.
    fn handle(&self, records: &[RawRecord]) -> impl Future<Output = Result<(), HandleError>> + Send;

    /// Keeps a record that [`handle`](Self::handle) rejected where a person can see it. It must not
    /// be rejected again. Never called for handlers that reject nothing.
    fn set_aside(&self, record: &RawRecord, reason: &str) -> impl Future<Output = Result<(), HandleError>> + Send;
}

/// Why records did not take effect, by what is to be done about it.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Something the handler needs is away: the same records again, until it works.
    #[error("to be tried again")]
    Retry(#[source] Box<dyn Error + Send + Sync>),
    /// A record cannot be handled, and never will be. Which one need not be known.
    #[error("rejected: {0}")]
    Reject(String),
    /// Nothing can be handled; the consumer ends and the records stay.
    #[error("cannot go on")]
    Fatal(#[source] Box<dyn Error + Send + Sync>),
}

impl HandleError {
    pub fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Retry(error.into())
    }

    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    pub fn fatal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fatal(error.into())
    }
}

/// Why a consumer ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    #[error("the consumer's settings are not accepted")]
    Settings(#[source] KafkaError),
    #[error("kafka's client has given up")]
    Client(#[source] KafkaError),
    #[error("the handler cannot go on")]
    Handler(#[source] Box<dyn Error + Send + Sync>),
    #[error("a record could be neither handled nor set aside: {0}")]
    NotSetAside(String),
    /// Most likely it is the handler that is broken, not the records.
    #[error("{group} would set aside too many records ({count} of the last {of}), the last one because of: {reason}")]
    Flood {
        group: String,
        count: usize,
        of: usize,
        reason: String,
    },
    #[error("the consumer's thread cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("the consumer's thread has panicked")]
    Panicked,
}

/// Consumes until cancelled, as a member of a durable group that starts at the beginning of its topics.
///
/// A handler that runs when `cancel` comes may finish, for at most ten seconds; then what is settled
/// is committed and the group is left, for at most five. Dropping the future ends the consumer in the
/// same way, unseen.
pub async fn run<H: Handler>(
    config: ConsumerConfig,
    handler: H,
    connection: &Connection,
    cancel: CancellationToken,
) -> Result<(), ConsumerError> {
    let cancel = cancel.child_token();
    let _ended_with_this = cancel.clone().drop_guard();
    let (connection, name) = (connection.clone(), config.group.clone());
    let span = tracing::info_span!("consumer", group = config.group);
    let consuming = move || {
        let work = async move {
            match Worker::start(config, handler, &connection, cancel) {
                Ok(mut worker) => (worker.work().await, Some(worker)),
                Err(error) => (Err(error), None),
            }
        };
        work.instrument(span)
    };
    let ended = apart::run(&name, consuming).await.map_err(ConsumerError::Thread)?;
    if !ended.left {
        tracing::warn!("the group cannot be left in time, some records may be handed out again");
    }
    ended.output.unwrap_or(Err(ConsumerError::Panicked))
}
