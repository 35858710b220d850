//! What stands in the database and in no process, as metrics: each process that watches shows the same.

use std::time::Duration;

use tidings_storage::{Db, Result, dead_letters, outbox};
use tokio_util::sync::CancellationToken;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);

/// Shows how it is until cancelled. While the database is away, what was seen last stays.
pub(super) async fn keep(db: &Db, cancel: &CancellationToken) {
    loop {
        if let Err(error) = look(db).await {
            tracing::debug!(%error, "the outbox and the dead letters cannot be counted for now");
        }
        if cancel.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn look(db: &Db) -> Result<()> {
    metrics::gauge!("tidings_outbox_depth").set(outbox::depth(db.read()).await? as f64);
    metrics::gauge!("tidings_outbox_age_seconds").set(outbox::age(db.read()).await?);
    metrics::gauge!("tidings_dead_letters").set(dead_letters::count(db.read()).await? as f64);
    Ok(())
}
