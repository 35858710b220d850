//! What "ready" means: the database answers and has the schema of this version, the broker answers, and
//! the topics exist. Never that a receiver does, for that is its owner's affair.

use anyhow::Result;
use tidings_events::TOPICS;
use tidings_messaging::Probe;
use tidings_runtime::health::{CheckDetail, Health};
use tidings_storage::{Db, deliveries, outbox};

use super::Parts;

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
            let backlog = deliveries::backlog(db.read())
                .await
                .map_err(|error| error.to_string())?;
            let unpublished = outbox::depth(db.read()).await.map_err(|error| error.to_string())?;
            Ok(CheckDetail::default()
                .number("delivery_lag_seconds", backlog.lag_seconds)
                .number("deliveries_pending", backlog.pending as f64)
                .number("events_unpublished", unpublished as f64))
        })
    });
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
