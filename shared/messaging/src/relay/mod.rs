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
//! The size of a batch and all pauses. One removal runs beside the reading and publishing of what
//! comes next; more may run side by side as long as what is published and not yet removed is passed
//! over when the outbox is read, and every failure ends the producer. What to pass over is noted
//! *before* reading: a removal that ends meanwhile must not bring an entry back. The term of leases
//! is the outbox's; what they are trusted for must end earlier.
//!
//! Partitions are chosen with `murmur2_random`, as Java's client does, so that other producers of
//! the same topics agree on where a key belongs.

mod client;
mod leases;
mod parked;
mod producer;
mod removal;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rdkafka::error::KafkaError;
use tidings_events::{Outbox, OutboxEntry};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::leases::{Held, Leases};
use self::parked::Parked;
use self::producer::{Failure, Publisher, Sending};
use self::removal::{Removal, Removed};
use crate::Connection;
use crate::backoff::{Backoff, Outage};

/// How many entries are read at a time.
const BATCH: u64 = 1000;
/// How many published entries may wait for their removal before no more are read.
const UNREMOVED: usize = 2000;
/// How many of them are removed without delay, and how long fewer may wait for more: a removal costs the
/// database a transaction, however many it removes. What waits is published again after a crash.
const REMOVE_AT_ONCE: usize = 100;
const REMOVE_AFTER: Duration = Duration::from_millis(25);
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
    // Before they count: a rate begins with the second value that was seen.
    metrics::counter!("tidings_relay_published_total").increment(0);
    metrics::counter!("tidings_relay_errors_total").increment(0);
    let (outbox, leases) = (Arc::new(outbox), Leases::new());
    let mut relay = Relay {
        outbox: outbox.clone(),
        leases: &leases,
        publisher: Publisher::new(connection).map_err(RelayError::Settings)?,
        published: Vec::new(),
        removal: Removal::default(),
        gather_until: Instant::now(),
        retry_from: Instant::now(),
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
        never = leases.keep(&*outbox) => match never {},
        worked = relay.work() => worked?,
    }
    // Now that no more leases are asked for: one that came after they were given back would keep others out.
    relay.finish().await;
    Ok(())
}

struct Relay<'a, O: Outbox> {
    outbox: Arc<O>,
    leases: &'a Leases,
    publisher: Publisher,
    /// Acknowledged by the broker, and not being removed yet.
    published: Vec<OutboxEntry>,
    removal: Removal<O>,
    /// Until when few of them may wait for more.
    gather_until: Instant,
    /// Until when none are removed, after a removal that failed.
    retry_from: Instant,
    parked: Parked,
    database: Outage,
    broker: Outage,
    cancel: CancellationToken,
}

/// What is known after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing is left that is known of.
    Wait,
    /// There is more, or something went wrong and is to be tried again.
    Look,
    /// As before, but a lease was lost.
    Renew,
}

impl<O: Outbox> Relay<'_, O> {
    async fn work(&mut self) -> Result<(), RelayError> {
        let mut next = Next::Look;
        while !self.cancel.is_cancelled() {
            if next == Next::Renew {
                tracing::warn!("a lease was lost, looking again under fresh ones");
                self.cancel.run_until_cancelled(self.leases.renewed()).await;
            }
            self.remove_published();
            self.give_back_surplus().await;
            next = if next == Next::Wait || self.published.len() > UNREMOVED {
                self.wait(next).await
            } else {
                self.advance().await?
            };
        }
        Ok(())
    }

    /// Removes what was published, unless a removal is under way or not due yet.
    fn remove_published(&mut self) {
        let held = self.leases.held();
        if self.removal_due(&held).is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.published.retain(|entry| held.covers(entry));
        self.removal.start(
            &self.outbox,
            held.all().copied().collect(),
            std::mem::take(&mut self.published),
        );
    }

    /// Gives back what is more than this relay's share, as soon as nothing of it waits to be removed. Between
    /// two steps nothing is being published.
    async fn give_back_surplus(&self) {
        let mut surplus = self.leases.held().granted.surplus;
        surplus.retain(|lease| {
            let unremoved = self.published.iter().any(|entry| entry.shard == lease.shard);
            !unremoved && !self.removal.concerns(lease.shard)
        });
        if surplus.is_empty() {
            return;
        }
        match self.outbox.give_back(&surplus).await {
            Ok(()) => self.leases.gave_back(&surplus),
            // It stays with this relay for the time being, and is tried again with the next step.
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "surplus leases not given back"
            ),
        }
    }

    fn removal_due(&self, held: &Held) -> Option<Instant> {
        // Without leases perhaps only the database is away. What is not taken over by then can still be removed.
        if self.removal.is_under_way() || self.published.is_empty() || held.granted.leases.is_empty() {
            return None;
        }
        let at_once = self.published.len() >= REMOVE_AT_ONCE || !held.granted.surplus.is_empty();
        Some(if at_once {
            self.retry_from
        } else {
            self.retry_from.max(self.gather_until)
        })
    }

    /// Sleeps until there may be something to publish, or something is to be done about a removal.
    async fn wait(&mut self, before: Next) -> Next {
        // Whoever has more to read waits for room only.
        let idle = before == Next::Wait;
        let removal_due = self.removal_due(&self.leases.held());
        tokio::select! {
            () = self.cancel.cancelled() => before,
            removed = self.removal.ended() => match self.is_short(removed) {
                true => Next::Renew,
                false => before,
            },
            () = self.outbox.written(), if idle => Next::Look,
            () = self.leases.changed() => Next::Look,
            () = sleep_until(removal_due.unwrap_or_else(Instant::now)), if removal_due.is_some() => before,
            () = sleep(BACKSTOP) => Next::Look,
        }
    }

    /// Notes how a removal has ended. Answers whether it shows that a lease was lost.
    fn is_short(&mut self, removed: Removed<O::Error>) -> bool {
        match removed {
            Removed::All => self.database.worked(),
            Removed::Short => return true,
            Removed::Failed(entries, error) => {
                self.published.extend(entries);
                self.retry_from = Instant::now() + self.database.failed(&error);
            }
        }
        false
    }

    async fn pause(&self, pause: Duration) {
        self.cancel.run_until_cancelled(sleep(pause)).await;
    }

    /// Reads and publishes a batch.
    async fn advance(&mut self) -> Result<Next, RelayError> {
        let held = self.leases.held();
        if held.granted.leases.is_empty() {
            return Ok(Next::Wait);
        }
        // What is passed over must not take up the room of what could be published.
        let mut pass_over = self.removal.ids();
        pass_over.extend(self.published.iter().map(|entry| entry.id));
        let limit = BATCH + pass_over.len() as u64 + self.parked.entries();
        let mut entries = match self.outbox.pending(&held.granted.leases, limit).await {
            Ok(entries) => entries,
            Err(error) => {
                let pause = self.database.failed(&error);
                self.pause(pause).await;
                return Ok(Next::Look);
            }
        };
        self.database.worked();
        let full = entries.len() as u64 >= limit;
        entries.retain(|entry| !pass_over.contains(&entry.id));
        let batch = self.parked.sort_out(entries, full);
        let next = if batch.is_empty() {
            Next::Wait
        } else {
            self.publish(batch, &held).await?
        };
        let more = full || self.outbox.written().now_or_never().is_some();
        Ok(if next == Next::Wait && more { Next::Look } else { next })
    }

    /// Publishes a batch and waits for its acknowledgements.
    async fn publish(&mut self, batch: Vec<OutboxEntry>, held: &Held) -> Result<Next, RelayError> {
        let needed = held.needed_for(&batch);
        let mut sending = self.publisher.send(batch);
        let mut next = Next::Wait;
        let cancel = self.cancel.clone();
        let overdue = async {
            cancel.cancelled().await;
            sleep(DRAIN).await;
        };
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                () = sending.settled() => break,
                removed = self.removal.ended() => match self.is_short(removed) {
                    true => next = Next::Renew,
                    false => continue,
                },
                () = self.leases.lost(&needed) => next = Next::Renew,
                () = &mut overdue => {}
            }
            self.publisher.abort(&mut sending).await;
            break;
        }
        self.take_outcome(sending, next).await
    }

    /// Keeps what was acknowledged and sees to what was not.
    async fn take_outcome(&mut self, mut sending: Sending, next: Next) -> Result<Next, RelayError> {
        if sending.failure().is_some() || next == Next::Renew {
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
        if self.published.is_empty() {
            self.gather_until = Instant::now() + REMOVE_AFTER;
        }
        self.published.extend(acknowledged);
        match failure {
            Some(Failure { entry, error }) if next == Next::Wait && !self.cancel.is_cancelled() => {
                metrics::counter!("tidings_relay_errors_total").increment(1);
                if producer::is_about_the_record(&error) {
                    self.parked.park(&entry, &error);
                } else {
                    let pause = self.broker.failed(&error);
                    self.pause(pause).await;
                }
                Ok(Next::Look)
            }
            None if next == Next::Wait && self.parked.any_due() => Ok(Next::Look),
            _ => Ok(next),
        }
    }

    /// Removes what was published last, and gives the leases back.
    async fn finish(mut self) {
        let farewell = async {
            // One that is under way, and one for what was published after it began.
            for _ in 0..2 {
                self.gather_until = Instant::now();
                self.retry_from = Instant::now();
                self.remove_published();
                if self.removal.is_under_way()
                    && let Removed::Failed(entries, error) = self.removal.ended().await
                {
                    let entries = entries.len();
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        entries,
                        "published entries remain and will be published again"
                    );
                }
            }
            if let Err(error) = self.outbox.release().await {
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
