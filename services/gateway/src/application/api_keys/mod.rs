//! What can be done with API keys, for the API and for the command line.
//!
//! Guaranteed: a secret is in [`Issued`] only, which is made once and never kept. Nobody gives away more than
//! they have: a key made by another has no scope and no role that the other one lacks. Making and revoking are
//! events, with neither the secret nor its hash in them.

mod ring;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tidings_domain::{ApiKey, ApiKeyId, Clock, KeyName, KeySecret, KeyState, KeyToken, Role, Scope, Scopes};
use tidings_events::{ApiKeyCreated, ApiKeyRevoked, Origin};
use tidings_storage::outbox::enqueue;
use tidings_storage::{Db, Error, Place, Tx, api_keys as rows};

pub(crate) use self::ring::{Holder, Ring};
use super::Application;
use super::idempotency::{Once, Outcome, Refused};

/// A key that is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: KeyName,
    pub role: Role,
    pub scopes: Scopes,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that has just been made.
#[derive(Debug)]
pub struct Issued {
    pub key: ApiKey,
    /// To be shown to whoever asked for it, and to be forgotten then.
    pub token: SecretString,
    hash: rows::SecretHash,
}

/// Why nothing was done with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no API key {0}")]
    Unknown(ApiKeyId),
    #[error("expires_at must lie ahead")]
    AlreadyExpired,
    #[error("API key {id} is {} and cannot be replaced", .state.as_str())]
    Over { id: ApiKeyId, state: KeyState },
    #[error("a key cannot give away the scope {0}, which it does not have")]
    ScopeBeyond(Scope),
    #[error("a key cannot give away the role {0}, which is above its own")]
    RoleBeyond(Role),
    /// It is not as it was when somebody decided.
    #[error("the API key has been changed meanwhile")]
    Changed,
    #[error("no random bytes can be had for a key: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Repeated(#[from] RepeatedRequest),
    #[error(transparent)]
    Storage(#[from] Error),
}

/// A request that was sent before, or is being carried out.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RepeatedRequest(pub(crate) Refused);

impl From<Refused> for KeyError {
    fn from(refused: Refused) -> Self {
        Self::Repeated(RepeatedRequest(refused))
    }
}

impl Issued {
    fn new(new: NewKey, clock: &dyn Clock) -> Result<Self, KeyError> {
        let now = clock.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::AlreadyExpired);
        }
        let token = KeyToken {
            id: ApiKeyId::generate(clock),
            secret: KeySecret::generate(getrandom::fill).map_err(KeyError::Random)?,
        };
        Ok(Self {
            key: ApiKey {
                id: token.id,
                name: new.name,
                role: new.role,
                scopes: new.scopes,
                created_at: now,
                expires_at: new.expires_at,
                revoked_at: None,
                last_used_at: None,
                version: 1,
            },
            token: token.expose(),
            hash: ring::hash(&token.secret),
        })
    }

    async fn write(&self, tx: &Tx<'_>, origin: &Origin, clock: &dyn Clock) -> Result<(), Error> {
        rows::insert(tx, &self.key, self.hash).await?;
        enqueue(tx, &ApiKeyCreated(&self.key), origin, clock).await?;
        Ok(())
    }
}

/// Makes a key.
pub async fn create(db: &Db, clock: &Arc<dyn Clock>, new: NewKey, origin: Origin) -> Result<Issued, KeyError> {
    let issued = Issued::new(new, &**clock)?;
    let clock = clock.clone();
    db.write(move |tx| {
        Box::pin(async move {
            issued.write(tx, &origin, &*clock).await?;
            Ok(issued)
        })
    })
    .await
}

/// A page of all keys, those that open nothing any more included, oldest first.
pub async fn list(db: &Db, place: Place<ApiKeyId>, limit: u64) -> Result<Vec<ApiKey>, KeyError> {
    Ok(rows::list(db.read(), place, limit).await?)
}

/// Ends a key now. One that has ended already stays as it is.
pub async fn revoke(db: &Db, clock: &Arc<dyn Clock>, id: ApiKeyId, origin: Origin) -> Result<ApiKey, KeyError> {
    let clock = clock.clone();
    db.write(move |tx| Box::pin(async move { end(tx, id, None, &origin, &*clock).await }))
        .await
}

/// Makes a key that is good for the same, and ends the old one when `overlap` is over. What is left of the old
/// one's time is the new one's.
pub async fn rotate(
    db: &Db,
    clock: &Arc<dyn Clock>,
    id: ApiKeyId,
    overlap: Duration,
    origin: Origin,
) -> Result<Issued, KeyError> {
    let clock = clock.clone();
    db.write(move |tx| {
        Box::pin(async move {
            let now = clock.now();
            let old = rows::find(tx.conn(), id).await?.ok_or(KeyError::Unknown(id))?;
            let state = old.state(now);
            if state != KeyState::Active {
                return Err(KeyError::Over { id, state });
            }
            let new = NewKey {
                name: old.name,
                role: old.role,
                scopes: old.scopes,
                expires_at: old.expires_at,
            };
            let issued = Issued::new(new, &*clock)?;
            issued.write(tx, &origin, &*clock).await?;
            let until = chrono::Duration::from_std(overlap)
                .ok()
                .and_then(|overlap| now.checked_add_signed(overlap));
            if let Some(revoked) = rows::revoke(tx, id, until.unwrap_or(now)).await? {
                enqueue(tx, &ApiKeyRevoked(&revoked), &origin, &*clock).await?;
            }
            Ok(issued)
        })
    })
    .await
}

/// Ends a key now, if it is of that version; answers it as it is then.
async fn end(
    tx: &Tx<'_>,
    id: ApiKeyId,
    version: Option<i64>,
    origin: &Origin,
    clock: &dyn Clock,
) -> Result<ApiKey, KeyError> {
    let found = rows::find(tx.conn(), id).await?.ok_or(KeyError::Unknown(id))?;
    if version.is_some_and(|version| version != found.version) {
        return Err(KeyError::Changed);
    }
    match rows::revoke(tx, id, clock.now()).await? {
        Some(revoked) => {
            enqueue(tx, &ApiKeyRevoked(&revoked), origin, clock).await?;
            Ok(revoked)
        }
        None => Ok(found),
    }
}

/// Makes a key on behalf of someone who shows another.
pub(crate) async fn issue(
    app: &Application,
    by: &Holder,
    new: NewKey,
    origin: Origin,
    once: Option<Once<Issued>>,
) -> Result<Outcome<Issued>, KeyError> {
    if new.role > by.role {
        return Err(KeyError::RoleBeyond(new.role));
    }
    if let Some(scope) = by.scopes.lacks(&new.scopes) {
        return Err(KeyError::ScopeBeyond(scope));
    }
    let issued = Issued::new(new, app.clock())?;
    let clock = app.clock.clone();
    let outcome = app
        .write_once(once, move |tx| {
            Box::pin(async move {
                issued.write(tx, &origin, &*clock).await?;
                Ok::<_, KeyError>(issued)
            })
        })
        .await;
    app.keys.changed();
    outcome
}

pub(crate) async fn find(app: &Application, id: ApiKeyId) -> Result<Option<ApiKey>, Error> {
    app.read(|db| async move { rows::find(db.read(), id).await }).await
}

pub(crate) async fn page(app: &Application, place: Place<ApiKeyId>, limit: u64) -> Result<Vec<ApiKey>, Error> {
    app.read(move |db| async move { rows::list(db.read(), place, limit).await })
        .await
}

/// Ends a key now, in this process at once.
pub(crate) async fn withdraw(
    app: &Application,
    id: ApiKeyId,
    version: Option<i64>,
    origin: Origin,
) -> Result<ApiKey, KeyError> {
    let clock = app.clock.clone();
    let ended = app
        .write(move |tx| Box::pin(async move { end(tx, id, version, &origin, &*clock).await }))
        .await;
    // Also after a failure: a commit that was not answered may have been carried out.
    app.keys.changed();
    ended
}
