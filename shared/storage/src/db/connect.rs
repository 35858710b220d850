use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr, SqlxError};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use super::group::GroupWriter;
use super::turns::Turns;
use super::{Db, Writer};
use crate::{Result, outbox};

/// Connections to PostgreSQL at most. More would only queue inside the server.
const POSTGRES_CONNECTIONS: u32 = 24;
/// Connections to PostgreSQL that those who write have to share; the others are for single queries.
const POSTGRES_TURNS: usize = 20;
/// Readers of SQLite beside its one writer.
const SQLITE_READERS: u32 = 4;
/// How long a request waits for a connection before it is told to come back.
const ACQUIRE: Duration = Duration::from_secs(2);
/// How long a server may take to let the first one in. Those that start may be slow.
const FIRST: Duration = Duration::from_secs(5);
/// A connection that nobody has used for so long is asked whether it is still there before it is used. After
/// a restart of the server few requests then meet one that is not.
const STALE: Duration = Duration::from_secs(1);
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
        let (read, writer, turns) = match location {
            Location::Postgres(url) => {
                let pool = postgres(url).await?;
                prepare(&pool).await?;
                let turns = Turns::new(pool.get_postgres_connection_pool().clone(), POSTGRES_TURNS, ACQUIRE);
                (pool.clone(), Writer::Own(pool), Some(Arc::new(turns)))
            }
            Location::Sqlite(path) => {
                let writing = sqlite(path, 1, false).await?;
                prepare(&writing).await?;
                let reading = sqlite(path, SQLITE_READERS, true).await?;
                let writer = GroupWriter::start(writing, wake.clone())?;
                (reading, Writer::Grouped(writer), None)
            }
        };
        Ok(Self {
            read,
            writer,
            turns,
            outbox: wake,
        })
    }
}

async fn postgres(url: &SecretString) -> Result<DatabaseConnection, DbErr> {
    knock(url).await?;
    let mut options = ConnectOptions::new(url.expose_secret());
    options
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        .connect_timeout(ACQUIRE)
        .test_before_acquire_if_idle_for(STALE)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(session);
    Database::connect(options).await
}

fn session(options: PgConnectOptions) -> PgConnectOptions {
    options
        .application_name("tidings")
        .options([("statement_timeout", STATEMENT), ("lock_timeout", STATEMENT)])
}

/// Connects once, for the reason why that does not work. A pool tries by itself until its time is over, and
/// then knows nothing but that.
async fn knock(url: &SecretString) -> Result<(), DbErr> {
    let failed = |error: SqlxError| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)));
    let options = session(url.expose_secret().parse().map_err(failed)?);
    let connecting = tokio::time::timeout(FIRST, PgConnection::connect_with(&options));
    let connection = connecting.await.unwrap_or_else(|_| {
        let silence = format!("no answer within {FIRST:?}");
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, silence).into())
    });
    let closed = connection.map_err(failed)?.close().await;
    closed.map_err(failed)
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
                // In pages. The default of 1,000 has the writer move what it wrote into the database file several
                // times a second under load.
                .pragma("wal_autocheckpoint", "8000")
                // Keeps the write-ahead log from staying as large as its largest burst.
                .pragma("journal_size_limit", "67108864")
        })
        .map_sqlx_sqlite_pool_opts(|pool| pool.idle_timeout(None).max_lifetime(None));
    Database::connect(options).await
}
