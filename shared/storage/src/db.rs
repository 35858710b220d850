//! The connection to the database, and the one way to write to it.
//!
//! [`Db::write`] runs a closure in a transaction. On PostgreSQL each gets its own. On SQLite, which has
//! one writer, those that wait share a transaction and its flush to the disk ([`group`]); each runs
//! within a savepoint, so one that fails takes nothing of the others with it.
//!
//! What holds on both: after `Ok` everything the closure wrote is durable, after an error nothing of it
//! is, unless the error is [`Error::Unavailable`] at the commit itself, which may have been carried out.

mod connect;
mod group;
mod turns;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, TransactionTrait};

pub use self::connect::Location;
use self::group::GroupWriter;
use self::turns::Turns;
pub use self::turns::{Connections, Turn};
use crate::{Error, Result, outbox};

/// A write that takes longer than this is given up, so that no request hangs on a database that is away.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A database that is open. Clones share it.
#[derive(Clone)]
pub struct Db {
    read: DatabaseConnection,
    writer: Writer,
    /// On PostgreSQL.
    turns: Option<Arc<Turns>>,
    outbox: Arc<outbox::Wake>,
}

#[derive(Clone)]
enum Writer {
    /// Each write on a connection of the pool.
    Own(DatabaseConnection),
    /// All writes on one connection, grouped.
    Grouped(GroupWriter),
}

/// A transaction under way.
#[derive(Debug)]
pub struct Tx<'a> {
    transaction: &'a DatabaseTransaction,
    /// Whether the relay has something to do once this is committed.
    wrote_events: AtomicBool,
}

impl<'a> Tx<'a> {
    fn new(transaction: &'a DatabaseTransaction) -> Self {
        Self {
            transaction,
            wrote_events: AtomicBool::new(false),
        }
    }

    /// For queries that belong to the transaction.
    pub fn conn(&self) -> &'a DatabaseTransaction {
        self.transaction
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    pub(crate) fn note_events(&self) {
        self.wrote_events.store(true, Ordering::Relaxed);
    }
}

impl Db {
    /// Waits until there is a connection for whoever asks, to be held until the work with it is done.
    /// [`write`](Self::write) does this by itself. Readers should if many of them come at the same time.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if that takes too long.
    pub async fn turn(&self) -> Result<Turn<'_>> {
        match &self.turns {
            Some(turns) => turns.wait().await,
            None => Ok(Turn::FREE),
        }
    }

    /// How the connections are used. `None` on SQLite, where nobody waits for one.
    pub fn connections(&self) -> Option<Connections> {
        self.turns.as_ref().map(|turns| turns.connections())
    }

    /// For queries outside of a transaction.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Runs `work` in a transaction, which is committed if it succeeds and rolled back if not.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx<'t>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let deadline = tokio::time::timeout(WRITE_DEADLINE, self.run(work));
        deadline
            .await
            .unwrap_or_else(|_| Err(Error::given_up("a write").into()))
    }

    async fn run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx<'t>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let pool = match &self.writer {
            Writer::Own(pool) => pool,
            Writer::Grouped(writer) => return writer.write(work).await,
        };
        let _turn = self.turn().await?;
        let transaction = pool.begin().await.map_err(Error::from)?;
        let tx = Tx::new(&transaction);
        let result = work(&tx).await;
        let wrote_events = tx.wrote_events.into_inner();
        if result.is_ok() {
            transaction.commit().await.map_err(Error::from)?;
            if wrote_events {
                self.outbox.written();
            }
        } else if let Err(error) = transaction.rollback().await {
            // The connection is gone, and with it the transaction.
            tracing::debug!(%error, "a failed transaction could not be rolled back");
        }
        result
    }

    /// How many rows a consumer writes in one transaction at most. On SQLite a longer one would keep
    /// everyone else from writing.
    pub fn rows_per_write(&self) -> usize {
        match self.writer {
            Writer::Own(_) => 1_000,
            Writer::Grouped(_) => 200,
        }
    }

    pub(crate) fn outbox(&self) -> &Arc<outbox::Wake> {
        &self.outbox
    }

    /// Completes once the database answers.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.read.ping().await?)
    }

    /// Finishes the writes under way and closes all connections.
    pub async fn close(self) {
        match self.writer {
            Writer::Own(_) => {}
            Writer::Grouped(writer) => writer.close().await,
        }
        if let Err(error) = self.read.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("backend", &self.read.get_database_backend())
            .finish_non_exhaustive()
    }
}
