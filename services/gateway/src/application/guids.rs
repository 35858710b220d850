//! What can be done with GUIDs.
//!
//! Reads go through the [cache](crate::guid_cache). Whoever changes a GUID tells it so after the commit, in the
//! task that committed, so that this happens even if the client has gone.

mod expiry;

use std::sync::Arc;

use tidings_domain as domain;
use tidings_domain::{Clock, Expiry, Guid, GuidRecord, GuidUser, Invalid};
use tidings_events::{GuidCreated, GuidDeleted, GuidExpired, GuidUpdated, Origin};
use tidings_messaging::Connection;
use tidings_storage::outbox::enqueue;
use tidings_storage::{Error, Tx, guids};
use tokio_util::sync::CancellationToken;

pub(super) use self::expiry::Alarm;
pub(crate) use self::expiry::expire;
use super::Application;
use super::idempotency::{Once, Outcome, Refused};
use crate::guid_cache;

/// A GUID as someone wants to register it.
#[derive(Debug, Clone)]
pub(crate) struct NewGuid {
    /// `None`: any will do.
    pub(crate) id: Option<Guid>,
    pub(crate) user: String,
    pub(crate) expires: Option<String>,
}

/// What is to be different about a GUID.
#[derive(Debug, Clone, Default)]
pub(crate) struct GuidChange {
    pub(crate) user: Option<String>,
    pub(crate) expires: Option<String>,
}

/// Why nothing was done with a GUID.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuidError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("the expiry lies in the past")]
    Past,
    #[error("the GUID exists")]
    Exists,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Storage(#[from] Error),
}

fn expiry(text: &str, clock: &dyn Clock) -> Result<Expiry, GuidError> {
    let expires: Expiry = text.parse()?;
    if expires.has_come(clock.now()) {
        return Err(GuidError::Past);
    }
    Ok(expires)
}

impl NewGuid {
    fn parse(self, clock: &dyn Clock) -> Result<GuidRecord, GuidError> {
        Ok(GuidRecord {
            id: self.id.unwrap_or_else(Guid::random),
            user: GuidUser::parse(self.user)?,
            expires: match self.expires {
                Some(text) => expiry(&text, clock)?,
                None => Expiry::by_default(clock.now()),
            },
            created_at: clock.now(),
            version: 1,
        })
    }
}

impl GuidChange {
    fn parse(self, clock: &dyn Clock) -> Result<domain::GuidChange, GuidError> {
        Ok(domain::GuidChange {
            user: self.user.map(GuidUser::parse).transpose()?,
            expires: self.expires.map(|text| expiry(&text, clock)).transpose()?,
        })
    }
}

pub(crate) async fn create(
    app: &Application,
    new: NewGuid,
    origin: Origin,
    once: Option<Once<GuidRecord>>,
) -> Result<Outcome<GuidRecord>, GuidError> {
    let record = new.parse(app.clock())?;
    let (changing, clock) = (app.clone(), app.clock.clone());
    app.carry_out(async move {
        let registering = changing.write_once(once, move |tx| Box::pin(register(tx, record, origin, clock)));
        let outcome = registering.await?;
        if let Outcome::Done(record) = &outcome {
            changing.guid_changed(record);
        }
        Ok(outcome)
    })
    .await
}

/// Registers a GUID, after it has ended the life before if nobody else has.
async fn register(
    tx: &Tx<'_>,
    new: GuidRecord,
    origin: Origin,
    clock: Arc<dyn Clock>,
) -> Result<GuidRecord, GuidError> {
    let mut registered = guids::insert(tx, new.clone()).await?;
    if registered.is_none() {
        let expired = guids::end_expired(tx, new.id, clock.now()).await?;
        let expired = expired.ok_or(GuidError::Exists)?;
        // Nobody's doing, though somebody's request brought it to light.
        let nobodys = Origin {
            actor: None,
            ..origin.clone()
        };
        enqueue(tx, &GuidExpired(&expired), &nobodys, &*clock).await?;
        registered = guids::insert(tx, new).await?;
    }
    let record = registered.ok_or(GuidError::Exists)?;
    enqueue(tx, &GuidCreated(&record), &origin, &*clock).await?;
    Ok(record)
}

pub(crate) async fn find(app: &Application, id: Guid) -> Result<Option<Arc<GuidRecord>>, Error> {
    let record = match app.guids.at_hand(id) {
        Some(record) => record,
        None => {
            let (cache, query) = (app.guids.clone(), query(app.clone(), id));
            app.carry_out(async move { cache.look(id, query).await }).await?
        }
    };
    Ok(record.filter(|record| !record.expires.has_come(app.clock.now())))
}

async fn query(app: Application, id: Guid) -> Result<guids::Lookup, Error> {
    let now = app.clock.now();
    app.read(|db| async move { guids::find(db.read(), id, now).await })
        .await
}

/// Changes a GUID; answers it as it is then, or `None` if there is none. A change that changes nothing is no
/// event.
pub(crate) async fn update(
    app: &Application,
    id: Guid,
    change: GuidChange,
    origin: Origin,
) -> Result<Option<GuidRecord>, GuidError> {
    let change = change.parse(app.clock())?;
    let (changing, clock) = (app.clone(), app.clock.clone());
    app.carry_out(async move {
        let (record, changed) = changing
            .write::<_, GuidError, _>(move |tx| {
                Box::pin(async move {
                    let now = clock.now();
                    if let Some(record) = guids::update(tx, id, &change, now).await? {
                        enqueue(tx, &GuidUpdated(&record), &origin, &*clock).await?;
                        return Ok((Some(record), true));
                    }
                    Ok((guids::find(tx.conn(), id, now).await?.record, false))
                })
            })
            .await?;
        if let (Some(record), true) = (&record, changed) {
            changing.guid_changed(record);
        }
        Ok(record)
    })
    .await
}

/// Deletes a GUID; answers whether there was one.
pub(crate) async fn delete(app: &Application, id: Guid, origin: Origin) -> Result<bool, Error> {
    let (changing, clock) = (app.clone(), app.clock.clone());
    app.carry_out(async move {
        let deleted = changing
            .write::<_, Error, _>(move |tx| {
                Box::pin(async move {
                    let deleted = guids::delete(tx, id, clock.now()).await?;
                    if let Some(record) = &deleted {
                        enqueue(tx, &GuidDeleted(record), &origin, &*clock).await?;
                    }
                    Ok(deleted)
                })
            })
            .await?;
        if let Some(record) = &deleted {
            changing.guids.changed(record.id, record.version);
        }
        Ok(deleted.is_some())
    })
    .await
}

/// Hears of what other gateways change, until cancelled.
pub(crate) async fn follow(app: Application, connection: Connection, cancel: CancellationToken) {
    let alarm = app.guid_alarm.clone();
    guid_cache::follow(connection, app.guids.clone(), cancel, move |change| {
        if let Some(expires) = change.expires {
            alarm.expires(expires);
        }
    })
    .await;
}

impl Application {
    /// Must be called after the commit and before it is answered.
    fn guid_changed(&self, record: &GuidRecord) {
        self.guids.changed(record.id, record.version);
        self.guid_alarm.expires(record.expires);
    }
}
