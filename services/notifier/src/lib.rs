//! The notification service: tells users what concerns them, by email, SMS and the like.
//!
//! An event comes off its topic ([`planner`]); the rules (`tidings_events::rules`) say whether a user is told
//! about it, how, and in which words ([`templates`]). That makes a notification, as does whoever calls
//! `tidings_storage::notifications::notify` elsewhere. Notifications wait in the database until they are due,
//! and are handed to the provider of their channel ([`worker`], [`channels`]), again and again if need be.
//!
//! # What is guaranteed
//!
//! - For an event there is one notification per rule and channel, however often its record is read.
//! - A notification is attempted until its provider takes it, refuses it for good, the schedule is spent, or
//!   it is too old to be of use: by this process or, when this one dies, by another as soon as the lease has
//!   run out. It ends once, in the transaction that records what decided it, together with its event.
//! - A provider that is slow or hangs delays no other channel.
//! - No transaction is open while a provider is waited for.
//!
//! # What is not
//!
//! - A provider can be handed a notification twice: after a crash between an attempt and its record. It
//!   gets the same id both times, as `Idempotency-Key` or `Message-ID`, and can tell.
//! - Notifications to one user are not in order.
//!
//! # What may be changed safely
//!
//! Numbers of slots and all pauses. The attempt's deadline must stay below the lease ([`run`] refuses it
//! otherwise), and a lease must be taken before a notification is attempted.

pub mod channels;
mod planner;
mod sweeper;
mod templates;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tidings_domain::{ChannelName, Clock, RetrySchedule};
use tidings_events::Topic;
use tidings_messaging::{Connection, ConsumerConfig, ConsumerError, consumer};
use tidings_runtime::agenda::Agenda;
use tidings_storage::{Db, notifications};
use tokio_util::sync::CancellationToken;

use crate::channels::Channels;
use crate::planner::Planner;
use crate::templates::Templates;

pub use crate::planner::{ReplayError, replay};
pub use crate::sweeper::{Swept, clear_away, sweep};
pub use crate::templates::TemplateError;

/// The consumer group, and the name of this consumer among the dead letters.
pub const GROUP: &str = "notifier";

/// What has to do with telling users.
const TOPICS: &[Topic] = &[Topic::Orders, Topic::Notifications];

/// What the service works with.
#[derive(Debug)]
pub struct Parts {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub connection: Connection,
    /// A channel that is not here is one whose provider is not known yet: what is to go out by it waits for as
    /// long as attempts are made.
    pub channels: Channels,
    pub schedule: RetrySchedule,
    /// How long one attempt may take in all. Shorter than [`notifications::LEASE`].
    pub attempt_timeout: Duration,
}

/// Why the service ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("an attempt may take {0:?}, which is not shorter than the lease it is made under")]
    AttemptTimeout(Duration),
    #[error(transparent)]
    Templates(#[from] TemplateError),
    #[error("events are no longer consumed")]
    Consumer(#[source] ConsumerError),
}

/// What all of the service's tasks share.
#[derive(Debug)]
struct Desk {
    db: Db,
    clock: Arc<dyn Clock>,
    channels: Channels,
    schedule: RetrySchedule,
    attempt_timeout: Duration,
    templates: Templates,
    agendas: BTreeMap<ChannelName, Agenda>,
}

impl Desk {
    /// Something is due by this channel after this time.
    fn note(&self, channel: ChannelName, after: Duration) {
        if let Some(agenda) = self.agendas.get(&channel) {
            agenda.note(after);
        }
    }
}

/// Tells users what concerns them until cancelled.
///
/// Then nothing new is begun; attempts under way are finished and recorded. That takes as long as an
/// attempt may take, and a few seconds more if the database is away.
pub async fn run(parts: Parts, cancel: CancellationToken) -> Result<(), Error> {
    if parts.attempt_timeout >= notifications::LEASE {
        return Err(Error::AttemptTimeout(parts.attempt_timeout));
    }
    // Before they count: a rate begins with the second value that was seen.
    for channel in ChannelName::ALL {
        for result in ["sent", "failed", "retried"] {
            let labels = [("channel", channel.as_str()), ("result", result)];
            metrics::counter!("tidings_notifications_total", &labels).increment(0);
        }
    }
    metrics::counter!("tidings_swept_total").increment(0);
    let (stop, connection) = (cancel.child_token(), parts.connection);
    let desk = Arc::new(Desk {
        db: parts.db,
        clock: parts.clock,
        channels: parts.channels,
        schedule: parts.schedule,
        attempt_timeout: parts.attempt_timeout,
        templates: Templates::new()?,
        agendas: ChannelName::ALL.iter().map(|name| (*name, Agenda::default())).collect(),
    });
    let mut config = ConsumerConfig::new(GROUP, TOPICS);
    config.max_batch = desk.db.rows_per_write();
    let consuming = async {
        let ended = consumer::run(config, Planner::new(desk.clone()), &connection, stop.clone()).await;
        stop.cancel();
        ended
    };
    let workers = desk.agendas.keys().map(|name| worker::run(&desk, *name, &stop));
    let (ended, _, ()) = tokio::join!(consuming, join_all(workers), sweeper::run(&desk, &connection, &stop));
    ended.map_err(Error::Consumer)
}

/// Ends all leases, so that what a process before this one had under way is sent at once.
///
/// Only for the one process of the embedded stack, before [`run`]: whoever held the leases is gone.
pub async fn clear_leases(db: &Db) -> Result<u64, tidings_storage::Error> {
    db.write(|tx| Box::pin(notifications::clear_leases(tx))).await
}
