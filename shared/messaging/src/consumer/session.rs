//! The client's side of a consumer: gathers records, commits offsets, stays in the group.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::assignment::Assignment;
use super::batch::{Batch, raw};
use super::{ConsumerConfig, ConsumerError};
use crate::Connection;
use crate::connection::ClientLog;

/// How long a handler may run before the partitions are paused and the client is polled beside it.
const GRACE: Duration = Duration::from_millis(200);
/// How long what is settled may stay uncommitted.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How soon a commit that failed is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// How long questions to the broker may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a handler may go on after the consumer was told to stop.
const FINISH: Duration = Duration::from_secs(10);

/// Why there is no next step.
#[derive(Debug)]
pub(super) enum Stop {
    Cancelled,
    Failed(ConsumerError),
}

pub(super) struct Session {
    consumer: StreamConsumer<Member>,
    group: String,
    max_batch: usize,
    /// What has come and is not handed out yet.
    gathered: Batch,
    commit_at: Option<Instant>,
    cancel: CancellationToken,
}

impl Session {
    pub(super) fn start(
        config: &ConsumerConfig,
        connection: &Connection,
        cancel: CancellationToken,
    ) -> KafkaResult<Self> {
        let mut client = connection.client_config(&config.group);
        client
            .set("group.id", &config.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "2000")
            // The broker answers as soon as there is something; this is for when there is nothing.
            .set("fetch.wait.max.ms", "250")
            // What is fetched ahead: enough for the largest batches, little enough for a small process.
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "5")
            .set("statistics.interval.ms", "5000");
        let member = Member {
            log: ClientLog::new(&config.group),
            group: config.group.clone(),
            assignment: Assignment::default(),
            not_committed: Arc::default(),
        };
        let consumer: StreamConsumer<Member> = client.create_with_context(member)?;
        let topics: Vec<_> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Self {
            consumer,
            group: config.group.clone(),
            max_batch: config.max_batch.max(1),
            gathered: Batch::default(),
            commit_at: None,
            cancel,
        })
    }

    pub(super) fn assignment(&self) -> &Assignment {
        &self.consumer.context().assignment
    }

    /// Waits for records and takes those that have arrived.
    pub(super) async fn next(&mut self) -> Result<Batch, Stop> {
        self.resume();
        self.gathered.retain_current(&self.consumer.context().assignment);
        while self.gathered.is_empty() {
            let not_committed = self.consumer.context().not_committed.clone();
            let commit_at = self.commit_at;
            let commit_due = async {
                match commit_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Stop::Cancelled),
                received = self.consumer.recv() => {
                    let (consumer, gathered) = (&self.consumer, &mut self.gathered);
                    take(consumer, gathered, &self.group, received)?;
                }
                () = not_committed.notified() => self.commit_at = Some(Instant::now() + COMMIT_AGAIN),
                () = commit_due => self.commit(),
            }
        }
        let mut arrived = self.consumer.stream();
        while self.gathered.len() < self.max_batch
            && let Some(Some(received)) = arrived.next().now_or_never()
        {
            take(&self.consumer, &mut self.gathered, &self.group, received)?;
        }
        Ok(std::mem::take(&mut self.gathered))
    }

    /// Notes that a batch is settled. Its offsets are committed soon.
    pub(super) fn done(&mut self, batch: &Batch) {
        for (origin, end) in batch.ends() {
            self.assignment().done(origin, end);
        }
        match self.commit_at {
            None => self.commit_at = Some(Instant::now() + COMMIT_EVERY),
            Some(at) if at <= Instant::now() => self.commit(),
            Some(_) => {}
        }
    }

    fn commit(&mut self) {
        self.commit_at = None;
        let offsets = self.assignment().uncommitted(|_| true);
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets not committed yet");
            self.commit_at = Some(Instant::now() + COMMIT_AGAIN);
        }
    }

    /// Runs something, and keeps the client polled if that takes long.
    pub(super) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::pin!(work);
        tokio::select! {
            biased;
            output = &mut work => return Ok(output),
            () = sleep(GRACE) => {}
        }
        self.pause();
        let cancel = self.cancel.clone();
        let patience = async {
            cancel.cancelled().await;
            sleep(FINISH).await;
        };
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return Ok(output),
                () = &mut patience => return Err(Stop::Cancelled),
                // A partition may be assigned just now and be faster than its pause.
                received = self.consumer.recv() => {
                    take(&self.consumer, &mut self.gathered, &self.group, received)?;
                }
            }
        }
    }

    /// Lets time pass, unless the consumer is to stop.
    pub(super) async fn rest(&mut self, pause: Duration) -> Result<(), Stop> {
        let cancel = self.cancel.clone();
        let slept = async move { cancel.run_until_cancelled(sleep(pause)).await };
        self.drive(slept).await?.ok_or(Stop::Cancelled)
    }

    fn pause(&self) {
        if self.assignment().is_paused() {
            return;
        }
        self.assignment().set_paused(true);
        if let Err(error) = self.consumer.assignment().and_then(|all| self.consumer.pause(&all)) {
            tracing::warn!(%error, "partitions not paused");
        }
    }

    fn resume(&self) {
        if !self.assignment().is_paused() {
            return;
        }
        self.assignment().set_paused(false);
        if let Err(error) = self.consumer.assignment().and_then(|all| self.consumer.resume(&all)) {
            tracing::warn!(%error, "partitions not resumed");
        }
    }

    /// Commits what is settled, for as long as the broker answers in time.
    pub(super) async fn finish(&mut self) {
        self.pause();
        self.commit();
        let confirmed = async {
            while self.assignment().uncommitted(|_| true).count() > 0 {
                // Confirmations come in while the client is polled; a record that comes is left.
                let _ = timeout(Duration::from_millis(5), self.consumer.recv()).await;
            }
        };
        if timeout(REQUEST, confirmed).await.is_err() {
            tracing::warn!("offsets not committed in time, some records will be handed out again");
        }
    }
}

/// Adds what was received to the records gathered so far.
fn take(
    consumer: &StreamConsumer<Member>,
    gathered: &mut Batch,
    group: &str,
    received: KafkaResult<BorrowedMessage<'_>>,
) -> Result<(), Stop> {
    let record = match received {
        Ok(message) => raw(&message),
        Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(Stop::Failed(ConsumerError::Client(error))),
        // The client goes on by itself, and has logged it.
        Err(_) => return Ok(()),
    };
    let assignment = &consumer.context().assignment;
    let Some(received) = assignment.receive(&record.topic, record.partition, record.offset) else {
        return Ok(());
    };
    if let Some(expected) = received.instead_of {
        let (topic, partition, found) = (&record.topic, record.partition, record.offset);
        // Offsets may be left out for other reasons; records are missed if the log starts later.
        let start = match consumer.fetch_watermarks(topic, partition, REQUEST) {
            Ok((start, _)) => start,
            Err(_) => found,
        };
        if found < expected {
            tracing::warn!(
                topic,
                partition,
                expected,
                found,
                "the log has been rewound or begun anew"
            );
        } else if start > expected {
            let missed = start.min(found) - expected;
            tracing::error!(
                topic,
                partition,
                expected,
                found,
                missed,
                "records were deleted before they were read"
            );
            metrics::counter!("tidings_consumer_records_missed_total", "group" => group.to_owned())
                .increment(missed.unsigned_abs());
        }
    }
    gathered.push(record, received.generation);
    Ok(())
}

/// What the client calls back.
struct Member {
    log: ClientLog,
    group: String,
    assignment: Assignment,
    not_committed: Arc<Notify>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let lag = self.assignment.lag(&statistics);
        metrics::gauge!("tidings_consumer_lag", "group" => self.group.clone()).set(lag as f64);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.assigned(consumer, partitions),
            Rebalance::Revoke(partitions) => self.revoked(consumer, partitions),
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && self.assignment.is_paused()
            && let Err(error) = consumer.pause(partitions)
        {
            tracing::warn!(%error, "new partitions not paused");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        match result {
            Ok(()) => self.assignment.committed(offsets),
            Err(error) => {
                tracing::debug!(%error, "offsets not committed yet");
                self.not_committed.notify_one();
            }
        }
    }
}

impl Member {
    fn assigned(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        if partitions.count() == 0 {
            return;
        }
        let committed = consumer
            .committed_offsets(partitions.clone(), REQUEST)
            .inspect_err(|error| tracing::debug!(%error, "cannot tell where the group has left off"));
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let left_off = committed
                .as_ref()
                .ok()
                .and_then(|list| list.find_partition(topic, partition));
            let left_off = match left_off.map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => Some(offset),
                _ => None,
            };
            tracing::debug!(topic, partition, left_off, "partition assigned");
            self.assignment.assign(topic, partition, left_off);
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        // What is lost may be somebody else's by now, who is further.
        if !consumer.assignment_lost() {
            let leaving = |topic: &str, partition| partitions.find_partition(topic, partition).is_some();
            let offsets = self
                .assignment
                .uncommitted(|origin| leaving(&origin.topic, origin.partition));
            if offsets.count() > 0
                && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
            {
                tracing::debug!(%error, "offsets not committed before partitions were revoked");
            }
        }
        for element in partitions.elements() {
            tracing::debug!(
                topic = element.topic(),
                partition = element.partition(),
                "partition revoked"
            );
            self.assignment.revoke(element.topic(), element.partition());
        }
    }
}
