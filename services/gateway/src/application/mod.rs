//! The use cases.
//!
//! Guaranteed: a use case that changes something does so in one transaction together with its events; if it
//! answers an error other than an unavailable database, nothing was changed and nothing will be published.
//! Once begun it runs to its end, whether or not its client stays.
//!
//! Not guaranteed: that an unavailable database did nothing, if it went away during the commit. This is
//! what [`idempotency`] is for.
//!
//! May be changed safely: how a use case is carried out, as long as all of it goes through
//! [`Application::read`] and [`Application::write`].

pub mod api_keys;
pub(crate) mod contacts;
pub(crate) mod guids;
pub(crate) mod idempotency;
mod intake;
pub(crate) mod messages;
pub(crate) mod notifications;
pub(crate) mod orders;
mod passwords;
pub(crate) mod users;

use std::future::{Future, pending};
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tidings_domain::{Clock, Country};
use tidings_storage::{Db, Error, Tx};
use tokio::runtime::Handle;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::api_keys::Ring;
use self::guids::Alarm;
use self::idempotency::InFlight;
use self::intake::Intake;
use self::passwords::Passwords;
use crate::guid_cache::GuidCache;
use crate::location::{GeoLocator, Unlocated};

/// How often answers that have been kept long enough are dropped.
const EXPIRY: Duration = Duration::from_secs(60);

/// How long a query may take, as long as a write may. Then whoever asked is told to come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the use cases work with. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Application {
    db: Arc<SetOnce<Db>>,
    clock: Arc<dyn Clock>,
    guids: GuidCache,
    guid_alarm: Arc<Alarm>,
    in_flight: InFlight,
    intake: Intake,
    keys: Ring,
    locator: Arc<dyn GeoLocator>,
    passwords: Passwords,
    runtime: Handle,
    tasks: TaskTracker,
}

/// One page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// The first is 1.
    pub(crate) number: u64,
    pub(crate) size: u64,
}

impl Page {
    /// How many entries come before it, as far as the databases can count.
    fn offset(self) -> u64 {
        (self.number.saturating_sub(1))
            .saturating_mul(self.size)
            .min(i64::MAX.unsigned_abs())
    }
}

impl Application {
    /// Must be called within the runtime on which the use cases are to run.
    pub(crate) fn new(
        db: Arc<SetOnce<Db>>,
        clock: Arc<dyn Clock>,
        locator: Arc<dyn GeoLocator>,
        guids: GuidCache,
        configured_key: &SecretString,
    ) -> Self {
        Self {
            db,
            intake: Intake::start(&clock),
            clock,
            guids,
            guid_alarm: Arc::default(),
            in_flight: InFlight::default(),
            keys: Ring::new(configured_key),
            locator,
            passwords: Passwords::new(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The database, if the process has reached it and may work on it.
    fn db(&self) -> Result<Db, Error> {
        self.db.get().cloned().ok_or_else(Error::not_open_yet)
    }

    /// Finds out in which country an address is.
    async fn locate(&self, address: IpAddr) -> Result<Country, Unlocated> {
        let locator = self.locator.clone();
        self.carry_out(async move { locator.locate(address).await }).await
    }

    /// Runs a query.
    async fn read<T, E, F>(&self, query: impl FnOnce(Db) -> F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let db = self.db()?;
        let query = query(db.clone());
        self.carry_out(async move {
            let query = async {
                let _turn = db.turn().await?;
                query.await
            };
            let done = tokio::time::timeout(PATIENCE, query).await;
            done.unwrap_or_else(|_| Err(Error::given_up("a query").into()))
        })
        .await
    }

    /// Runs `work` in a transaction.
    async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx<'t>) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let db = self.db()?;
        self.carry_out(async move { db.write(work).await }).await
    }

    /// Runs work on the runtime of the process instead of the caller's, for two reasons. A connection to
    /// the database lives as long as the runtime that opened it, and those of the HTTP workers end before
    /// the other users of the pool do. And work that was begun must not end halfway because its client hung up.
    async fn carry_out<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        use tracing::Instrument;
        let work = self.tasks.track_future(work.in_current_span());
        match self.runtime.spawn(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Only a runtime that is ending cancels its tasks, and then nobody is left to be answered.
                Err(_) => pending().await,
            },
        }
    }

    /// Completes when nothing is under way, or after `limit`.
    pub(crate) async fn finished(&self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!("stopped with requests under way");
        }
    }

    /// Drops answers kept for repeated requests when their time is over, until cancelled.
    pub(crate) async fn expire_answers(self, cancel: CancellationToken) {
        if cancel.run_until_cancelled(self.db.wait()).await.is_none() {
            return;
        }
        let mut timer = tokio::time::interval(EXPIRY);
        note_cleared(self.clock.now());
        while cancel.run_until_cancelled(timer.tick()).await.is_some() {
            match self.expire_all_answers(&cancel).await {
                Ok(0) => {}
                Ok(answers) => tracing::debug!(answers, "expired answers of repeated requests"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old answers could not be dropped"
                ),
            }
        }
    }

    /// Some at a time, so that nobody else waits long and none of it takes longer than a write may.
    async fn expire_all_answers(&self, cancel: &CancellationToken) -> Result<u64, Error> {
        let (now, some) = (self.clock.now(), self.db()?.rows_per_write() as u64);
        let mut expired = 0;
        while !cancel.is_cancelled() {
            let dropped = self
                .write::<_, Error, _>(move |tx| Box::pin(tidings_storage::idempotency::expire(tx, now, some)))
                .await?;
            metrics::counter!("tidings_cleared_total", "what" => "answers").increment(dropped);
            expired += dropped;
            if dropped < some {
                note_cleared(now);
                break;
            }
        }
        Ok(expired)
    }
}

/// Since when no answer has been kept for longer than it should; at first, since when this process looks.
fn note_cleared(at: DateTime<Utc>) {
    metrics::gauge!("tidings_cleared_timestamp_seconds", "what" => "answers").set(at.timestamp() as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_is_too_far() {
        let offset = |number, size| Page { number, size }.offset();
        assert_eq!(offset(0, 10), 0);
        assert_eq!(offset(1, 10), 0);
        assert_eq!(offset(3, 10), 20);
        assert_eq!(offset(u64::MAX, 1000), i64::MAX as u64);
    }
}
