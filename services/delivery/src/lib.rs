//! The delivery service: tells webhook endpoints what happened.
//!
//! An event comes off its topic ([`planner`]) and becomes one delivery for each endpoint that is owed
//! it. A delivery is attempted ([`sender`], [`attempt`]) until the endpoint acknowledges it or the
//! schedule is spent, and what came of each attempt is written down ([`settler`]). What was not
//! attempted at once, and every retry, waits in the database until it is due ([`claimer`]).
//!
//! # What is guaranteed
//!
//! - An event has one delivery per endpoint, however often its record is read.
//! - A delivery that was planned is attempted until it is delivered or has failed, by this process or,
//!   when this one dies, by another as soon as the lease has run out.
//! - Of the attempts under one lease one is recorded; one made under a lease that was lost meanwhile
//!   changes nothing. A message leaves `queued` once, and in the transaction that records the attempt
//!   which decided it, together with its event.
//! - A slow, hanging or hostile endpoint uses up slots of its own and a share of the common ones, and
//!   never the last ones of another endpoint ([`slots`]).
//! - No transaction is open while a receiver is waited for.
//!
//! # What is not
//!
//! - A receiver can get a delivery twice: after a crash between an attempt and its record, or when the
//!   record could not be written before the lease ran out. Both carry the same `webhook-id`.
//! - Deliveries are not in order; `ce-sequence` tells a receiver which of two events is the later.
//!
//! # What may be changed safely
//!
//! Numbers of slots, sizes of groups and all pauses. The attempt's deadline must stay below the lease
//! ([`run`] refuses it otherwise), and a lease must be taken before its delivery is attempted.

mod attempt;
mod claimer;
mod directory;
pub mod endpoints;
mod planner;
mod sender;
mod settler;
mod slots;
mod sweeper;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Clock, RetrySchedule};
use tidings_events::TOPICS;
use tidings_messaging::{Connection, ConsumerConfig, ConsumerError, consumer};
use tidings_runtime::http_client::OutwardClient;
use tidings_storage::{Db, deliveries, outbox};
use tidings_vault::Vault;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::planner::Planner;
use crate::sender::Sender;

pub use crate::planner::{ReplayError, replay};
pub use crate::sweeper::{Swept, sweep};

/// The consumer group, and the name of this consumer among the dead letters.
pub const GROUP: &str = "delivery";

/// Records that are planned in one transaction, at most. On SQLite nobody else can write meanwhile.
const BATCH: usize = 200;

/// What the service works with.
#[derive(Debug)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub connection: Connection,
    pub client: OutwardClient,
    /// Opens the endpoints' secrets.
    pub vault: Vault,
    pub schedule: RetrySchedule,
    /// How long one attempt may take in all. Shorter than [`deliveries::LEASE`].
    pub attempt_timeout: Duration,
}

/// Why the service ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("an attempt may take {0:?}, which is not shorter than the lease it is made under")]
    AttemptTimeout(Duration),
    #[error("events are no longer consumed")]
    Consumer(#[source] ConsumerError),
}

/// Delivers until cancelled.
///
/// Then nothing new is begun; attempts under way are finished and recorded. That takes as long as an
/// attempt may take, and a few seconds more if the database is away.
pub async fn run(parts: Parts, cancel: CancellationToken) -> Result<(), Error> {
    if parts.attempt_timeout >= deliveries::LEASE {
        return Err(Error::AttemptTimeout(parts.attempt_timeout));
    }
    // Before they count: a rate begins with the second value that was seen.
    for result in ["delivered", "failed", "retried", "canceled"] {
        metrics::counter!("tidings_deliveries_total", "result" => result).increment(0);
    }
    metrics::counter!("tidings_swept_total").increment(0);
    let stop = cancel.child_token();
    let settled = CancellationToken::new();
    let (outcomes, waiting) = mpsc::channel(settler::QUEUE);
    let connection = parts.connection.clone();
    let sender = Arc::new(Sender::new(parts, outcomes, stop.clone()));

    let mut config = ConsumerConfig::new(GROUP, TOPICS);
    config.max_batch = BATCH;
    let consuming = async {
        let ended = consumer::run(config, Planner::new(sender.clone()), &connection, stop.clone()).await;
        stop.cancel();
        ended
    };
    let sending = async {
        let (ended, (), ()) = tokio::join!(
            consuming,
            claimer::run(sender.clone(), stop.clone()),
            sweeper::run(sender.clone(), connection.clone(), stop.clone()),
        );
        sender.finish().await;
        settled.cancel();
        ended
    };
    let (ended, ()) = tokio::join!(sending, settler::run(sender.clone(), waiting, settled.clone()));
    ended.map_err(Error::Consumer)
}

/// Ends all leases, so that what a process before this one had under way is sent at once, and what it
/// had not published is published at once.
///
/// Only for the one process of the embedded stack, before [`run`]: whoever held the leases is gone.
pub async fn clear_leases(db: &Db) -> Result<u64, tidings_storage::Error> {
    db.write(|tx| {
        Box::pin(async move {
            outbox::clear_leases(tx).await?;
            deliveries::clear_leases(tx).await
        })
    })
    .await
}
