//! What stands in the database and in no process, and what a process works with, as metrics. The former is the same
//! whichever process shows it.

use std::sync::Arc;
use std::time::Duration;

use tidings_runtime::health::{DEADLINE, Health};
use tidings_storage::{Db, Result, dead_letters, outbox};
use tokio::sync::SetOnce;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Role;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);

/// What is looked at.
pub(super) struct Gauges {
    pub(super) db: Arc<SetOnce<Db>>,
    pub(super) health: Health,
    /// Cancelled once the topics exist.
    pub(super) topics: CancellationToken,
    pub(super) roles: Vec<Role>,
}

impl Gauges {
    /// Shows how it is until cancelled. While the database is away, what was seen last in it stays.
    pub(super) async fn keep(&self, cancel: &CancellationToken) {
        while cancel.run_until_cancelled(self.look()).await.is_some() {
            if cancel.run_until_cancelled(sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self) {
        for (dependency, up) in [
            ("database", self.reaches_database().await),
            ("broker", self.reaches_broker().await),
        ] {
            metrics::gauge!("tidings_dependency_up", "dependency" => dependency).set(f64::from(u8::from(up)));
        }
        let Some(db) = self.db.get() else { return };
        if let Some(connections) = db.connections() {
            let busy = connections.open.saturating_sub(connections.idle);
            metrics::gauge!("tidings_database_connections_busy").set(busy);
            metrics::gauge!("tidings_database_connections_limit").set(connections.limit);
            metrics::gauge!("tidings_database_waiting").set(connections.waiting);
        }
        if let Err(error) = self.look_into(db).await {
            tracing::debug!(%error, "what stands in the database cannot be counted for now");
        }
    }

    /// Not by its check, which counts what is to be done: that takes its time just when there is much.
    async fn reaches_database(&self) -> bool {
        match self.db.get() {
            Some(db) => timeout(DEADLINE, db.ping())
                .await
                .is_ok_and(|answered| answered.is_ok()),
            None => false,
        }
    }

    /// Until the topics were found or made, who waits for them asks and says in the log how it is.
    async fn reaches_broker(&self) -> bool {
        self.topics.is_cancelled()
            && self
                .health
                .ready_as_to("broker")
                .await
                .is_some_and(|broker| broker.is_ready())
    }

    async fn look_into(&self, db: &Db) -> Result<()> {
        if self.roles.contains(&Role::Audit) {
            // Whichever process appends, and even if none does: what falls back must be seen.
            metrics::gauge!("tidings_audit_head_seq").set(tidings_audit::head(db).await?.seq as f64);
        }
        if self.roles.iter().any(|role| *role != Role::Audit) {
            metrics::gauge!("tidings_outbox_depth").set(outbox::depth(db.read()).await? as f64);
            metrics::gauge!("tidings_outbox_age_seconds").set(outbox::age(db.read()).await?);
            metrics::gauge!("tidings_dead_letters").set(dead_letters::count(db.read()).await? as f64);
        }
        Ok(())
    }
}
