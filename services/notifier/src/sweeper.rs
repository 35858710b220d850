//! Looks for orders that were forgotten.
//!
//! An order that was placed [`AGE`] ago, whose event was published, and that nobody has planned a notification
//! for should not exist. If it does, its event is published again under the id it has. That is reported as
//! the defect it is. What the consumers have not come to yet looks the same, so what is found counts only once
//! the group has come past everything that lay on its topics by then.
//!
//! An order that was taken care of stays so, and is not looked at again.
//!
//! On the same rounds notifications that were settled are cleared away when their time is over.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tidings_domain::{EventId, OrderId};
use tidings_messaging::{Connection, has_come_to_now};
use tidings_storage::notifications::{self, WORTH_SENDING};
use tidings_storage::{Db, Error, orders, outbox};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{Desk, GROUP, TOPICS};

/// How old an order must be to count as forgotten.
const AGE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(60);
/// Orders looked at in one query, and queries in one pass.
const PAGE: u64 = 500;
const PAGES: usize = 20;

/// What one pass came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// The events that are published again.
    pub published: Vec<EventId>,
    /// The last order up to which none need be looked at again.
    pub settled: Option<OrderId>,
}

/// Publishes again what was forgotten among the orders after `settled`, looking at a bounded number. Waits for
/// the consumers no longer than `patience`; then the pass came to nothing, and is to be made again.
pub async fn sweep(
    db: &Db,
    connection: &Connection,
    mut settled: Option<OrderId>,
    patience: Duration,
) -> Result<Swept, Error> {
    let (mut suspects, mut last, mut all_settled) = (Vec::new(), settled, true);
    for _ in 0..PAGES {
        let stretch = orders::look_through(db.read(), AGE, WORTH_SENDING, last, PAGE).await?;
        suspects.extend(stretch.forgotten);
        if all_settled {
            settled = stretch.settled.or(settled);
        }
        all_settled &= stretch.settled == stretch.last;
        match stretch.last {
            Some(_) => last = stretch.last,
            None => break,
        }
    }
    let mut published = Vec::new();
    if suspects.is_empty() {
        return Ok(Swept { published, settled });
    }
    if !has_come_to_now(connection, GROUP, TOPICS, patience).await {
        tracing::debug!(suspects = suspects.len(), "nobody can say yet what was forgotten");
        return Ok(Swept { published, settled });
    }
    for some in suspects.chunks(PAGE as usize) {
        let forgotten = orders::unattended(db.read(), some).await?;
        if forgotten.is_empty() {
            continue;
        }
        let again = forgotten.clone();
        db.write::<_, Error, _>(move |tx| Box::pin(async move { outbox::enqueue_again(tx, &again).await }))
            .await?;
        for event_id in &forgotten {
            tracing::error!(%event_id, "an order had no notification, its event is published again");
        }
        metrics::counter!("tidings_swept_total").increment(forgotten.len() as u64);
        published.extend(forgotten);
    }
    Ok(Swept { published, settled })
}

/// Sweeps every minute until stopped.
pub(crate) async fn run(desk: &Arc<Desk>, connection: &Connection, stop: &CancellationToken) {
    let mut timer = interval_at(Instant::now() + EVERY, EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settled = None;
    note_cleared(desk.clock.now());
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        match clear_away(&desk.db, desk.clock.now(), stop).await {
            Ok(0) => {}
            Ok(notifications) => tracing::debug!(notifications, "cleared away what is kept no longer"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "clearing away failed"),
        }
        match stop
            .run_until_cancelled(sweep(&desk.db, connection, settled, EVERY))
            .await
        {
            Some(Ok(swept)) => settled = swept.settled,
            Some(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "sweeping failed"),
            None => break,
        }
    }
}

/// Drops notifications that were settled and are kept no longer, some at a time; answers how many.
pub async fn clear_away(db: &Db, now: DateTime<Utc>, stop: &CancellationToken) -> Result<u64, Error> {
    let (mut cleared, some) = (0, db.rows_per_write() as u64);
    while !stop.is_cancelled() {
        let expiring = db.write::<_, Error, _>(move |tx| Box::pin(notifications::expire(tx, now, some)));
        let expired = expiring.await?;
        metrics::counter!("tidings_cleared_total", "what" => "notifications").increment(expired);
        cleared += expired;
        if expired < some {
            note_cleared(now);
            break;
        }
    }
    Ok(cleared)
}

/// Since when nothing has been kept for longer than it should; at first, since when this process looks.
fn note_cleared(at: DateTime<Utc>) {
    metrics::gauge!("tidings_cleared_timestamp_seconds", "what" => "notifications").set(at.timestamp() as f64);
}
