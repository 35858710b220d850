//! From a folder to a store: locking, creating, loading.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{Partition, Retention, Store, Topic, Topics, WAITING_KIB};
use crate::clock::now_ms;
use crate::config::{Config, Durability};
use crate::error::{Error, Result};
use crate::writer::Writer;

/// The format of the database that `schema.sql` describes.
const FORMAT: i64 = 1;
/// Fetches read concurrently with the writer, and with each other up to this many.
const READERS: u32 = 4;
/// Commands that may wait for the writer; beyond, connections wait, which slows their clients down.
const QUEUE: usize = 128;

impl Store {
    /// Opens the database, creating it if need be, and returns the writer to be run next to the store.
    pub async fn open(config: &Config) -> Result<(Self, Writer)> {
        let lock = lock(&config.data_dir)?;
        let path = config.data_dir.join("broker.db");
        let options = options(&path, config.durability);
        // A database gets this property before its first table or never, and readers may not ask for it.
        let mut connection = options
            .clone()
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .connect()
            .await
            .map_err(cannot_open(&path))?;
        let topics = match load(&mut connection, &path).await {
            Ok(topics) => Arc::new(RwLock::new(topics)),
            Err(error) => {
                // Nobody else waits for the thread behind it to be done with the file.
                let _ = connection.close().await;
                return Err(error);
            }
        };
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (wake, appended) = watch::channel(());
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.clone().read_only(true).create_if_missing(false));
        let room = Arc::new(Semaphore::new(WAITING_KIB as usize));
        let store = Self {
            readers,
            topics: topics.clone(),
            appended,
            commands,
            room,
            _lock: lock,
        };
        Ok((store, Writer::new(options, connection, inbox, topics, wake)))
    }
}

fn options(path: &Path, durability: Durability) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Normal => SqliteSynchronous::Normal,
        })
        .busy_timeout(Duration::from_secs(5))
        // Keeps the write-ahead log from staying as large as its largest burst.
        .pragma("journal_size_limit", "67108864")
        // A fetch stops reading when it has enough; a long row buffer would read on meanwhile.
        .row_buffer_size(4)
        .disable_statement_logging()
}

/// Makes sure that no other process gives out offsets of the same log. The lock goes with the process,
/// however that ends.
fn lock(data_dir: &Path) -> Result<File> {
    let failed = |source| Error::DataDir {
        path: data_dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(data_dir).map_err(failed)?;
    let file = File::create(data_dir.join("broker.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::DataDirInUse {
            path: data_dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn cannot_open(path: &Path) -> impl Fn(sqlx::Error) -> Error {
    move |source| Error::Database {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Makes sure that the format is the one known here, and reads what is kept in memory.
async fn load(connection: &mut SqliteConnection, path: &Path) -> Result<Topics> {
    let found = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await;
    match found.map_err(cannot_open(path))? {
        0 => create(connection).await.map_err(cannot_open(path))?,
        FORMAT => {}
        found => {
            return Err(Error::Newer {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
    }
    load_topics(connection).await.map_err(cannot_open(path))
}

async fn create(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(include_str!("../schema.sql")).execute(&mut *tx).await?;
    tx.commit().await
}

/// The end of a partition is not stored: it follows from its last batch, or from its start if
/// retention dropped them all.
async fn load_topics(connection: &mut SqliteConnection) -> sqlx::Result<Topics> {
    const TOPICS: &str = "SELECT name, retention_ms, retention_bytes FROM topics";
    const PARTITIONS: &str = "SELECT topic, id, log_start, max(log_start, coalesce((SELECT last_offset + 1 FROM batches \
         WHERE partition_id = p.id ORDER BY base_offset DESC LIMIT 1), 0)) FROM partitions p ORDER BY topic, idx";
    // Producers may outlive the data folder, or a power failure that took their ids back. Going on from
    // the clock makes sure that no other producer is given theirs.
    let skip = "UPDATE meta SET value = max(value, ?) WHERE key = 'next_producer_id' RETURNING value";
    let next_producer: i64 = sqlx::query_scalar(skip)
        .bind(now_ms())
        .fetch_one(&mut *connection)
        .await?;

    let mut partitions: BTreeMap<String, Vec<Arc<Partition>>> = BTreeMap::new();
    let rows = sqlx::query_as::<_, (String, i64, i64, i64)>(PARTITIONS)
        .fetch_all(&mut *connection)
        .await?;
    for (topic, id, start, end) in rows {
        partitions
            .entry(topic)
            .or_default()
            .push(Arc::new(Partition::new(id, start, end, next_producer)));
    }
    let rows = sqlx::query_as::<_, (String, Option<i64>, Option<i64>)>(TOPICS)
        .fetch_all(connection)
        .await?;
    let topic = |(name, ms, bytes): (String, _, _)| {
        let partitions = partitions.remove(&name).unwrap_or_default();
        (
            name,
            Arc::new(Topic {
                retention: Retention { ms, bytes },
                partitions,
            }),
        )
    };
    Ok(rows.into_iter().map(topic).collect())
}
