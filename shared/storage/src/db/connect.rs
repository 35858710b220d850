use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use secrecy::{ExposeSecret, SecretString};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use super::group::GroupWriter;
use super::{Db, Writer};
use crate::{Result, outbox};

/// Connections to PostgreSQL at most. More would only queue inside the server.
const POSTGRES_CONNECTIONS: u32 = 24;
/// Readers of SQLite beside its one writer.
const SQLITE_READERS: u32 = 4;
/// How long a request waits for a connection before it is told to come back.
const ACQUIRE: Duration = Duration::from_secs(2);
/// After this PostgreSQL itself ends a statement, so that none outlives the request that sent it for long.
const STATEMENT: &str = "10s";

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file, created if it does not exist.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(SecretString),
}

impl Db {
    /// Connects, and brings the schema to the state that `prepare` leaves it in.
    pub async fn open<E, F>(location: &Location, prepare: F) -> Result<Self, E>
    where
        E: From<DbErr>,
        F: AsyncFnOnce(&DatabaseConnection) -> Result<(), E>,
    {
        let wake = Arc::new(outbox::Wake::default());
        let (read, writer) = match location {
            Location::Postgres(url) => {
                let pool = postgres(url).await?;
                prepare(&pool).await?;
                (pool.clone(), Writer::Own(pool))
            }
            Location::Sqlite(path) => {
                let writing = sqlite(path, 1, false).await?;
                prepare(&writing).await?;
                let reading = sqlite(path, SQLITE_READERS, true).await?;
                (reading, Writer::Grouped(GroupWriter::start(writing, wake.clone())))
            }
        };
        Ok(Self {
            read,
            writer,
            outbox: wake,
        })
    }
}

async fn postgres(url: &SecretString) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url.expose_secret());
    options
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(|options| {
            options
                .application_name("tidings")
                .options([("statement_timeout", STATEMENT), ("lock_timeout", STATEMENT)])
        });
    Database::connect(options).await
}

async fn sqlite(path: &std::path::Path, connections: u32, read_only: bool) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    let path = path.to_owned();
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |options| {
            options
                .filename(&path)
                .in_memory(false)
                .shared_cache(false)
                .create_if_missing(!read_only)
                .read_only(read_only)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                // Keeps the write-ahead log from staying as large as its largest burst.
                .pragma("journal_size_limit", "67108864")
        })
        .map_sqlx_sqlite_pool_opts(|pool| pool.idle_timeout(None).max_lifetime(None));
    Database::connect(options).await
}
