//! What "ready" means: the database answers and has the schema of this version, the broker answers, and
//! the topics exist. Never that a receiver does, for that is its owner's affair.

use std::time::Duration;

use anyhow::Result;
use tidings_events::TOPICS;
use tidings_messaging::Probe;
use tidings_runtime::health::{CheckDetail, Health};
use tidings_storage::{Db, deliveries, outbox};
use tokio::time::timeout;

use super::Parts;

/// How long what there is to be done may be counted. Less than a check may take.
const COUNTING: Duration = Duration::from_millis(800);

/// What can be told from the start on. The database is not ready before it was opened.
pub(super) fn register(parts: &Parts) -> Result<()> {
    parts.health.register("database", || {
        Box::pin(async { Err("it was not reached yet; the log says why".to_owned()) })
    });
    let probe = std::sync::Arc::new(Probe::new(&parts.connection)?);
    parts.health.register("broker", move || {
        let probe = probe.clone();
        Box::pin(async move {
            probe.check(TOPICS).await.map_err(|error| error.to_string())?;
            Ok(CheckDetail::default())
        })
    });
    Ok(())
}

/// Tells from now on how the database is.
pub(super) fn register_database(health: &Health, db: &Db) {
    let db = db.clone();
    health.register("database", move || {
        let db = db.clone();
        Box::pin(async move {
            db.ping().await.map_err(|error| error.to_string())?;
            // A database in which there is much to count is there all the same.
            match timeout(COUNTING, count(&db)).await {
                Ok(counted) => counted.map_err(|error| error.to_string()),
                Err(_) => Ok(CheckDetail::text("too much to be done to be counted in time")),
            }
        })
    });
}

async fn count(db: &Db) -> Result<CheckDetail, tidings_storage::Error> {
    let backlog = deliveries::backlog(db.read()).await?;
    let unpublished = outbox::depth(db.read()).await?;
    Ok(CheckDetail::default()
        .number("delivery_lag_seconds", backlog.lag_seconds)
        .number("deliveries_pending", backlog.pending as f64)
        .number("events_unpublished", unpublished as f64))
}

/// Shows where the audit chain ends, for whoever wants to note that elsewhere.
pub(super) fn register_audit(health: &Health, db: &Db) {
    let db = db.clone();
    health.register("audit", move || {
        let db = db.clone();
        Box::pin(async move {
            let head = tidings_audit::head(&db).await.map_err(|error| error.to_string())?;
            Ok(CheckDetail::text(format!("head {} {}", head.seq, head.hash)))
        })
    });
}
