//! How a relay learns that there is something to publish.
//!
//! In the process that wrote, at once after the commit. In other processes, on PostgreSQL, by a
//! `NOTIFY`, of which there is at most one every few milliseconds however much is written, and which is
//! never part of a write: a commit that carries a `NOTIFY` takes a lock that all of them share.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Db;

const CHANNEL: &str = "tidings_outbox";
/// Between two notifications at least.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two tries to listen again.
const RETRY: Duration = Duration::from_secs(1);

/// Signals that the outbox has new rows.
#[derive(Debug)]
pub(crate) struct Wake {
    relay: Notify,
    others: watch::Sender<()>,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            relay: Notify::new(),
            others: watch::Sender::new(()),
        }
    }
}

impl Wake {
    pub(crate) fn written(&self) {
        self.relay.notify_one();
        self.others.send_replace(());
    }

    pub(crate) async fn notified(&self) {
        self.relay.notified().await;
    }
}

/// Passes signals between the processes that share a PostgreSQL, until cancelled. On SQLite there are
/// no others, and this ends at once.
pub async fn exchange(db: Db, cancel: CancellationToken) {
    if db.read().get_database_backend() != DbBackend::Postgres {
        return;
    }
    let own = Uuid::new_v4().to_string();
    let both = async { tokio::join!(tell(&db, &own), listen(&db, &own)) };
    cancel.run_until_cancelled(both).await;
}

async fn tell(db: &Db, own: &str) {
    let mut written = db.outbox().others.subscribe();
    while written.changed().await.is_ok() {
        let notify = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_notify($1, $2)",
            [CHANNEL.into(), own.into()],
        );
        // One that is lost costs the others a second: they look by themselves that often.
        if let Err(error) = db.read().execute_raw(notify).await {
            tracing::debug!(%error, "other relays could not be notified");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(db: &Db, own: &str) {
    loop {
        if let Err(error) = hear(db, own).await {
            tracing::debug!(%error, "not listening to other writers for now");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear(db: &Db, own: &str) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(db.read().get_postgres_connection_pool()).await?;
    listener.listen(CHANNEL).await?;
    loop {
        if listener.recv().await?.payload() != own {
            db.outbox().relay.notify_one();
        }
    }
}
