//! Ends GUIDs whose time is over.
//!
//! Guaranteed: each is ended once, with its event in the same transaction, however many gateways look for
//! them; some at a time, so that nobody else waits long.
//!
//! Not guaranteed: when. The next one's time is slept through, and what this gateway has heard of wakes it
//! earlier; what it has not, and what failed, is found at most a minute late. That shows only in the event:
//! an expired GUID counts as gone whether or not it was ended.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tidings_domain::Expiry;
use tidings_events::{GuidExpired, Origin};
use tidings_storage::outbox::{enqueue_all, record};
use tidings_storage::{Error, guids};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::application::Application;

/// How many are ended in one transaction. On SQLite everyone else's writes wait meanwhile.
const BATCH: u64 = 200;
/// How long the next look is put off at most.
const LATEST: Duration = Duration::from_secs(60);
/// How long after a look that found nothing although something was due: another gateway is at it.
const SOON: Duration = Duration::from_secs(1);
/// Nobody is woken for what is due when they wake anyway.
const NEVER: i64 = i64::MAX;

/// Wakes whoever ends GUIDs for one that is due before they expect it.
#[derive(Debug)]
pub(in crate::application) struct Alarm {
    /// When they will look, in Unix time.
    planned: AtomicI64,
    sooner: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self {
            planned: AtomicI64::new(NEVER),
            sooner: Notify::new(),
        }
    }
}

impl Alarm {
    /// There is a GUID that expires then.
    pub(super) fn expires(&self, expires: Expiry) {
        if expires.as_unix() < self.planned.load(Ordering::SeqCst) {
            self.sooner.notify_one();
        }
    }
}

/// Ends GUIDs whose time is over, until cancelled.
pub(crate) async fn expire(app: Application, cancel: CancellationToken) {
    if cancel.run_until_cancelled(app.db.wait()).await.is_none() {
        return;
    }
    let mut outage = false;
    loop {
        let looked = cancel.run_until_cancelled(look(&app)).await;
        let pause = match looked {
            None => return,
            Some(Ok(pause)) => {
                outage = false;
                pause
            }
            Some(Err(error)) => {
                if !std::mem::replace(&mut outage, true) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "expired guids could not be ended");
                }
                LATEST
            }
        };
        let waiting = timeout(pause, app.guid_alarm.sooner.notified());
        if cancel.run_until_cancelled(waiting).await.is_none() {
            return;
        }
    }
}

/// Ends what is due, and answers how long there is nothing to do then.
async fn look(app: &Application) -> Result<Duration, Error> {
    loop {
        // Whatever is registered from now on wakes this, until it is known what there is.
        app.guid_alarm.planned.store(NEVER, Ordering::SeqCst);
        let next = app
            .read(|db| async move { guids::next_expiry(db.read()).await })
            .await?;
        let Some(next) = next else { return Ok(LATEST) };
        let now = app.clock.now();
        if !next.has_come(now) {
            app.guid_alarm.planned.store(next.as_unix(), Ordering::SeqCst);
            let millis = next.as_unix() * 1000 - now.timestamp_millis();
            return Ok(Duration::from_millis(u64::try_from(millis).unwrap_or_default()).min(LATEST));
        }
        if end_some(app).await? == 0 {
            return Ok(SOON);
        }
    }
}

async fn end_some(app: &Application) -> Result<u64, Error> {
    let (clock, origin) = (app.clock.clone(), Origin::own("gateway", app.clock()));
    let ended = app.write::<_, Error, _>(move |tx| {
        Box::pin(async move {
            let ended = guids::expire_due(tx, clock.now(), BATCH).await?;
            let events = ended.iter().map(|one| record(&GuidExpired(one), &origin, &*clock));
            enqueue_all(tx, events.collect::<Result<_, _>>()?).await?;
            Ok(ended)
        })
    });
    let ended = ended.await?;
    for record in &ended {
        app.guids.changed(record.id, record.version);
    }
    if !ended.is_empty() {
        tracing::info!(guids = ended.len(), "ended guids whose time is over");
    }
    Ok(ended.len() as u64)
}
