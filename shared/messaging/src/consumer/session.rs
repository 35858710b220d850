//! The client's side of a consumer: gathers records, commits offsets, stays in the group.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::assignment::Assignment;
use super::batch::{Batch, raw};
use super::{ConsumerConfig, ConsumerError};
use crate::Connection;
use crate::connection::ClientLog;

/// How long a handler may run before the partitions are paused and the client is polled beside it.
const GRACE: Duration = Duration::from_millis(500);
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
    linger: Duration,
    /// What has come and is not handed out yet.
    gathered: Batch,
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
            // Offsets are stored when their records are settled. The client commits what is stored, once
            // a second, before a partition is handed over, and when the group is left.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("session.timeout.ms", "6000")
            // Members learn with a heartbeat that others come or go.
            .set("heartbeat.interval.ms", "2000")
            // The broker answers as soon as there is something; this is for when there is nothing. A
            // partition that was assigned or resumed meanwhile waits for this request to end.
            .set("fetch.wait.max.ms", "1000")
            // What is fetched ahead: enough for the largest batches, little enough for a small process.
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.queue.backoff.ms", "5")
            .set("statistics.interval.ms", "5000");
        let member = Member {
            log: ClientLog::new(&config.group),
            group: config.group.clone(),
            assignment: Assignment::default(),
        };
        let consumer: StreamConsumer<Member> = client.create_with_context(member)?;
        let topics: Vec<_> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Self {
            consumer,
            group: config.group.clone(),
            max_batch: config.max_batch.max(1),
            linger: config.linger,
            gathered: Batch::default(),
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
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Stop::Cancelled),
                received = self.consumer.recv() => {
                    let (consumer, gathered) = (&self.consumer, &mut self.gathered);
                    take(consumer, gathered, &self.group, received)?;
                }
            }
        }
        self.take_arrived()?;
        if !self.linger.is_zero() && self.gathered.len() < self.max_batch {
            // Asleep, not woken by each record that comes. One that is to stop hands out what it has.
            self.cancel.run_until_cancelled(sleep(self.linger)).await;
            self.take_arrived()?;
        }
        Ok(std::mem::take(&mut self.gathered))
    }

    fn take_arrived(&mut self) -> Result<(), Stop> {
        let mut arrived = self.consumer.stream();
        while self.gathered.len() < self.max_batch
            && let Some(Some(received)) = arrived.next().now_or_never()
        {
            take(&self.consumer, &mut self.gathered, &self.group, received)?;
        }
        Ok(())
    }

    /// Notes that a batch is settled. Its offsets are committed soon.
    pub(super) fn done(&self, batch: &Batch) {
        let mut offsets = TopicPartitionList::new();
        for (origin, end) in batch.ends().filter(|(origin, _)| self.assignment().is_current(origin)) {
            // Fails only for offsets that do not exist.
            let _ = offsets.add_partition_offset(&origin.topic, origin.partition, Offset::Offset(end));
        }
        // The client stores no offsets of partitions that it has lost.
        if offsets.count() > 0
            && let Err(error) = self.consumer.store_offsets(&offsets)
        {
            tracing::debug!(%error, "offsets not stored, some records will be handed out again");
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
            Rebalance::Revoke(partitions) => self.revoked(partitions),
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

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "offsets not committed yet");
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

    fn revoked(&self, partitions: &TopicPartitionList) {
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
