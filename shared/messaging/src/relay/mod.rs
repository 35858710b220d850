//! The relay: publishes what stands in the outbox.
//!
//! # What is guaranteed
//!
//! - An entry is removed only after all in-sync replicas have acknowledged its record. Nothing is
//!   dropped: an entry whose record the broker refuses stays, is reported and tried again.
//! - The records of one aggregate are published in the order of their events. They have one key and
//!   so one partition; one idempotent producer sends them in the order in which the outbox hands
//!   them out, and a failure ends that producer before anything later can overtake.
//! - A shard is published by whoever holds its lease. Leases are renewed while the relay waits for
//!   the broker or the database, and a relay that could not renew in time knows that it holds none.
//!
//! # What is not
//!
//! - A record can appear twice, under the same `ce_id`: after a crash between publishing and
//!   removal, after an error whose outcome is unknown, or when a relay that lost a lease had
//!   something under way. Among the copies the first of each still come in order.
//! - There is no order between aggregates. Entries may even become visible out of the order of their
//!   ids, so the relay keeps no position: it reads the oldest entries that are there, every time.
//!
//! # What may be changed safely
//!
//! The size of a batch and all pauses. The removal of one batch runs beside the publishing of the
//! next; more may run side by side as long as no entry is published twice by one producer and every
//! failure ends that producer. The term of leases is the outbox's; [`leases`] must give up earlier.
//!
//! Partitions are chosen with `murmur2_random`, as Java's client does, so that other producers of
//! the same topics agree on where a key belongs.

mod leases;
mod parked;
mod producer;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use rdkafka::error::KafkaError;
use tidings_events::{Outbox, OutboxEntry};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::leases::{Held, Leases};
use self::parked::Parked;
use self::producer::{Failure, Publisher, Sending};
use crate::Connection;
use crate::backoff::{Backoff, Outage};

/// How many entries are read at a time.
const BATCH: u64 = 1000;
/// How often the outbox is looked at although nobody said that something was written.
const BACKSTOP: Duration = Duration::from_secs(1);
/// How long a relay that stops waits for what is under way.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("the producer's settings are not accepted")]
    Settings(#[source] KafkaError),
}

/// Publishes until cancelled. What is under way then is finished within five seconds, and the
/// leases are given back.
///
/// Neither a broker nor a database that is away ends it.
pub async fn run<O: Outbox>(outbox: O, connection: &Connection, cancel: CancellationToken) -> Result<(), RelayError> {
    let leases = Leases::new();
    let relay = Relay {
        outbox: &outbox,
        leases: &leases,
        publisher: Publisher::new(connection).map_err(RelayError::Settings)?,
        published: Vec::new(),
        parked: Parked::default(),
        database: Outage::new(
            "reading the outbox",
            Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
        ),
        broker: Outage::new(
            "publishing",
            Backoff::new(Duration::from_millis(50), Duration::from_secs(5)),
        ),
        cancel,
    };
    tokio::select! {
        never = leases.keep(&outbox) => match never {},
        worked = relay.work() => worked,
    }
}

struct Relay<'a, O: Outbox> {
    outbox: &'a O,
    leases: &'a Leases,
    publisher: Publisher,
    /// Acknowledged by the broker and not removed yet.
    published: Vec<OutboxEntry>,
    parked: Parked,
    database: Outage,
    broker: Outage,
    cancel: CancellationToken,
}

/// What came of a round.
struct Round {
    /// Something did not go well, or was left out: look again without waiting to be woken.
    again: bool,
}

/// What was read.
struct Found {
    batch: Vec<OutboxEntry>,
    /// There may be more.
    full: bool,
}

impl<O: Outbox> Relay<'_, O> {
    async fn work(mut self) -> Result<(), RelayError> {
        let mut look = true;
        while !self.cancel.is_cancelled() {
            if !look && self.published.is_empty() {
                self.wait().await;
                look = true;
                continue;
            }
            let held = self.leases.held();
            self.published.retain(|entry| held.covers(entry));
            let found = if look {
                match self.find(&held).await {
                    Ok(found) => found,
                    Err(error) => {
                        let pause = self.database.failed(&error);
                        self.pause(pause).await;
                        continue;
                    }
                }
            } else {
                // Removing what was published comes first when nothing new is known of.
                Found {
                    batch: Vec::new(),
                    full: false,
                }
            };
            let Found { batch, full } = found;
            let round = self.publish_and_remove(batch, &held).await?;
            look = full || round.again || self.outbox.written().now_or_never().is_some();
        }
        self.finish().await;
        Ok(())
    }

    /// Sleeps until there may be something to publish.
    async fn wait(&self) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.outbox.written() => {}
            () = self.leases.changed() => {}
            () = sleep(BACKSTOP) => {}
        }
    }

    async fn pause(&self, pause: Duration) {
        self.cancel.run_until_cancelled(sleep(pause)).await;
    }

    /// Reads what is to be published now.
    async fn find(&mut self, held: &Held) -> Result<Found, O::Error> {
        if held.leases.is_empty() {
            return Ok(Found {
                batch: Vec::new(),
                full: false,
            });
        }
        // What is passed over must not take up the room of what could be published.
        let limit = BATCH + self.published.len() as u64 + self.parked.entries();
        let mut entries = self.outbox.pending(&held.leases, limit).await?;
        self.database.worked();
        let full = entries.len() as u64 >= limit;
        let published: HashSet<i64> = self.published.iter().map(|entry| entry.id).collect();
        entries.retain(|entry| !published.contains(&entry.id));
        let batch = self.parked.sort_out(entries, full);
        Ok(Found { batch, full })
    }

    /// Publishes a batch, and meanwhile removes what was published before it.
    async fn publish_and_remove(&mut self, batch: Vec<OutboxEntry>, held: &Held) -> Result<Round, RelayError> {
        let removing = std::mem::take(&mut self.published);
        if batch.is_empty() && removing.is_empty() {
            return Ok(Round { again: false });
        }
        let (sending_any, removing_any) = (!batch.is_empty(), !removing.is_empty());
        let needed = held.needed_for(&batch);
        let mut sending = self.publisher.send(batch);
        let (mut settled, mut removed, mut deposed) = (!sending_any, None, false);
        {
            let removal = self.outbox.remove(&held.leases, &removing);
            let overdue = async {
                self.cancel.cancelled().await;
                sleep(DRAIN).await;
            };
            tokio::pin!(removal, overdue);
            while !settled || (removing_any && removed.is_none()) {
                let mut abort = false;
                tokio::select! {
                    answer = &mut removal, if removing_any && removed.is_none() => {
                        deposed |= matches!(answer, Ok(count) if count < removing.len() as u64);
                        abort = deposed && !settled;
                        removed = Some(answer);
                    }
                    () = sending.settled(), if !settled => settled = true,
                    () = self.leases.lost(&needed), if !settled => {
                        deposed = true;
                        abort = true;
                    }
                    () = &mut overdue => {
                        self.publisher.abort(&mut sending).await;
                        break;
                    }
                }
                if abort {
                    self.publisher.abort(&mut sending).await;
                    settled = true;
                }
            }
        }

        let mut again = deposed;
        match removed {
            Some(Ok(_)) => self.database.worked(),
            Some(Err(error)) => {
                let pause = self.database.failed(&error);
                self.published = removing;
                self.pause(pause).await;
                again = true;
            }
            None => self.published = removing,
        }
        again |= self.take_outcome(sending, deposed).await?;
        if deposed {
            tracing::warn!("a lease was lost, looking again under fresh ones");
            self.cancel.run_until_cancelled(self.leases.renewed()).await;
        }
        Ok(Round { again })
    }

    /// Keeps what was acknowledged and sees to what was not. Answers whether to look again.
    async fn take_outcome(&mut self, mut sending: Sending, deposed: bool) -> Result<bool, RelayError> {
        if sending.is_empty() {
            return Ok(false);
        }
        if sending.failure().is_some() || deposed {
            self.publisher.abort(&mut sending).await;
            // What an old producer still has under way must never mix with what comes after it.
            self.publisher.replace().map_err(RelayError::Settings)?;
        }
        let (acknowledged, failure) = sending.into_outcome();
        metrics::histogram!("tidings_relay_batch_size").record(acknowledged.len() as f64);
        metrics::counter!("tidings_relay_published_total").increment(acknowledged.len() as u64);
        for entry in &acknowledged {
            self.parked.release(entry);
        }
        if !acknowledged.is_empty() {
            self.broker.worked();
        }
        self.published.extend(acknowledged);
        match failure {
            None => Ok(deposed || self.parked.any_due()),
            Some(_) if deposed || self.cancel.is_cancelled() => Ok(true),
            Some(Failure { entry, error }) => {
                metrics::counter!("tidings_relay_errors_total").increment(1);
                if producer::is_about_the_record(&error) {
                    self.parked.park(&entry, &error);
                } else {
                    let pause = self.broker.failed(&error);
                    self.pause(pause).await;
                }
                Ok(true)
            }
        }
    }

    /// Removes what was published last, and gives the leases back.
    async fn finish(mut self) {
        let held = self.leases.held();
        self.published.retain(|entry| held.covers(entry));
        let farewell = async {
            if !self.published.is_empty()
                && let Err(error) = self.outbox.remove(&held.leases, &self.published).await
            {
                let entries = self.published.len();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    entries,
                    "published entries remain and will be published again"
                );
            }
            if let Err(error) = self.outbox.release(&held.leases).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "leases not given back, they will run out"
                );
            }
        };
        if timeout(DRAIN, farewell).await.is_err() {
            tracing::warn!("the database does not answer, leases will run out");
        }
        metrics::gauge!("tidings_relay_leases").set(0.0);
    }
}
