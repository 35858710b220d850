//! The audit log: every event of Tidings, once, in a chain that shows any later change.
//!
//! [`run`] reads all topics and appends one record per event ([`chain`] says what a record is and what
//! it proves); [`verify()`] walks the chain and names the first record that is not what was recorded;
//! [`head`] answers where the chain ends, for whoever wants to note that elsewhere.

pub mod chain;
mod consumer;
mod entry;
mod report;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidings_domain::Clock;
use tidings_events::TOPICS;
use tidings_messaging::{Connection, ConsumerConfig, ConsumerError, consumer as messaging};
use tidings_storage::{Db, audit};
use tokio_util::sync::CancellationToken;

use self::consumer::Recorder;
pub use self::report::{Broken, Problem, Progress, Report};
pub use self::verify::{VerifyError, verify};

/// The consumer group. Its offsets say how far the log has come.
pub const GROUP: &str = "audit";

/// Nobody waits for a record, so it is worth gathering some: all that are appended in one transaction
/// cost hardly more than one.
const LINGER: Duration = Duration::from_millis(50);

/// What the service works with.
#[derive(Debug)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub connection: Connection,
}

/// Why the service ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the end of the audit log cannot be read")]
    Head(#[source] tidings_storage::Error),
    #[error("the audit service's consumer ended")]
    Consumer(#[from] ConsumerError),
}

/// Where the chain ends. Whoever keeps this elsewhere can prove later that nothing before it was
/// changed or removed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The last record's number; 0 before the first.
    pub seq: i64,
    /// The last record's hash; 64 zeros before the first.
    pub hash: String,
}

impl From<audit::Head> for Head {
    fn from(audit::Head { seq, hash }: audit::Head) -> Self {
        Self { seq, hash }
    }
}

/// Records events until cancelled. The topics must exist.
///
/// Any number of instances can run at once: they share the partitions, and take turns at the chain.
pub async fn run(parts: Parts, cancel: CancellationToken) -> Result<(), Error> {
    let Parts { db, clock, connection } = parts;
    consumer::begin_counting();
    match head(&db).await {
        Ok(head) => consumer::show(&head),
        // The consumer waits for the database.
        Err(error) if error.is_unavailable() => {}
        Err(error) => return Err(Error::Head(error)),
    }
    let config = ConsumerConfig {
        max_batch: db.rows_per_write(),
        linger: LINGER,
        ..ConsumerConfig::new(GROUP, TOPICS)
    };
    Ok(messaging::run(config, Recorder::new(db, clock), &connection, cancel).await?)
}

/// Where the chain ends now.
pub async fn head(db: &Db) -> Result<Head, tidings_storage::Error> {
    Ok(audit::head(db.read()).await?.into())
}
