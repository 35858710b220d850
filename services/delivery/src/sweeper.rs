//! Looks for what was forgotten.
//!
//! A message that has been queued for [`AGE`], whose event was published, and that nobody has planned a
//! delivery for should not exist. If it does, its event is published again under the id it has, so that
//! every consumer gets another chance and none acts twice. That is reported as the defect it is.
//!
//! What the consumers have not come to yet looks the same: they may be behind, or the broker away. So what
//! is found counts only once the group has come past everything that lay on the topics by then, and is
//! looked at again after that.
//!
//! What has had its time is cleared away on the same rounds: what was owed to endpoints that are deleted,
//! deliveries that have ended, and events, that are kept no longer.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tidings_domain::{EventId, MessageId};
use tidings_events::TOPICS;
use tidings_messaging::{Connection, has_come_to_now};
use tidings_storage::{Db, deliveries, events, messages, outbox};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::GROUP;
use crate::sender::Sender;

/// How long a message must have been queued before it counts as forgotten.
const AGE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(60);
/// Messages looked at in one query, and queries in one pass.
const PAGE: u64 = 500;
const PAGES: usize = 20;

/// What one pass came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// The events that are published again.
    pub published: Vec<EventId>,
    /// Where to go on, if there is more to look at.
    pub next: Option<MessageId>,
}

/// Publishes again what was forgotten among the messages after `from`, looking at a bounded number. Waits
/// for the consumers no longer than `patience`; then the pass came to nothing, and is to be made again.
pub async fn sweep(
    db: &Db,
    connection: &Connection,
    from: Option<MessageId>,
    patience: Duration,
) -> Result<Swept, tidings_storage::Error> {
    let (suspects, next) = suspects(db, from).await?;
    if !suspects.is_empty() && !has_come_to_now(connection, GROUP, TOPICS, patience).await {
        tracing::debug!(suspects = suspects.len(), "nobody can say yet what was forgotten");
        return Ok(Swept {
            published: Vec::new(),
            next: from,
        });
    }
    let mut published = Vec::new();
    for some in suspects.chunks(PAGE as usize) {
        let forgotten = messages::unattended(db.read(), some).await?;
        if forgotten.is_empty() {
            continue;
        }
        let again = forgotten.clone();
        db.write(move |tx| Box::pin(async move { outbox::enqueue_again(tx, &again).await }))
            .await?;
        for event_id in &forgotten {
            tracing::error!(%event_id, "a queued message had no delivery, its event is published again");
        }
        metrics::counter!("tidings_swept_total").increment(forgotten.len() as u64);
        published.extend(forgotten);
    }
    Ok(Swept { published, next })
}

/// What may have been forgotten, and where to go on.
async fn suspects(
    db: &Db,
    from: Option<MessageId>,
) -> Result<(Vec<EventId>, Option<MessageId>), tidings_storage::Error> {
    let (mut suspects, mut next) = (Vec::new(), from);
    for _ in 0..PAGES {
        let (last, some) = messages::forgotten(db.read(), AGE, next, PAGE).await?;
        suspects.extend(some);
        next = last;
        if last.is_none() {
            break;
        }
    }
    Ok((suspects, next))
}

/// Sweeps every minute until stopped.
pub(crate) async fn run(sender: Arc<Sender>, connection: Connection, stop: CancellationToken) {
    let mut timer = interval_at(Instant::now() + EVERY, EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut from = None;
    note_cleared(sender.clock.now());
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        if let Err(error) = clear_away(&sender, &stop).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "clearing away failed");
        }
        let sweeping = stop.run_until_cancelled(sweep(&sender.db, &connection, from, EVERY));
        match sweeping.await {
            Some(Ok(swept)) => from = swept.next,
            Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "sweeping failed"),
            None => break,
        }
    }
}

async fn clear_away(sender: &Sender, stop: &CancellationToken) -> Result<(), tidings_storage::Error> {
    let (now, some) = (sender.clock.now(), sender.db.rows_per_write() as u64);
    let mut orphans_left = true;
    while orphans_left && !stop.is_cancelled() {
        let canceling = sender
            .db
            .write::<_, tidings_storage::Error, _>(move |tx| Box::pin(deliveries::cancel_orphans(tx, some)));
        let canceled = canceling.await?;
        metrics::counter!("tidings_deliveries_total", "result" => "canceled").increment(canceled);
        orphans_left = canceled == some;
    }
    let (mut events_left, mut deliveries_left) = (true, true);
    while (events_left || deliveries_left) && !stop.is_cancelled() {
        let expired = sender.db.write::<_, tidings_storage::Error, _>(move |tx| {
            Box::pin(async move {
                let deliveries = deliveries::expire(tx, now, some).await?;
                Ok((events::expire(tx, now, some).await?, deliveries))
            })
        });
        let (events, deliveries) = expired.await?;
        metrics::counter!("tidings_cleared_total", "what" => "events").increment(events);
        metrics::counter!("tidings_cleared_total", "what" => "deliveries").increment(deliveries);
        (events_left, deliveries_left) = (events == some, deliveries == some);
    }
    if !events_left && !deliveries_left {
        note_cleared(now);
    }
    Ok(())
}

/// Since when nothing has been kept for longer than it should; at first, since when this process looks.
fn note_cleared(at: DateTime<Utc>) {
    for what in ["events", "deliveries"] {
        metrics::gauge!("tidings_cleared_timestamp_seconds", "what" => what).set(at.timestamp() as f64);
    }
}
