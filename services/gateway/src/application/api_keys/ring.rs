//! Which keys are valid.
//!
//! Guaranteed: a key that was issued or revoked by this process counts, or does not, from the moment when that
//! was committed; by another process, within [`FRESH`], or within [`STALE`] while the database does not answer.
//! A key that is new to this process is looked for before it is refused. A secret is compared in constant
//! time. Nobody can make the gateway read keys more often than every [`PAUSE`], whatever they send: a malformed
//! key or a wrong secret causes no query at all, and all keys with unknown ids share one look.
//!
//! May be changed safely: the three durations, and how the keys are kept, as long as what was read before
//! somebody asked for a new look does not pass for one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidings_domain::{ApiKey, ApiKeyId, KeySecret, KeyState, KeyToken, Role, Scopes};
use tidings_storage::api_keys::{self as rows, SecretHash};
use tidings_storage::{Db, Error};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::uses::Uses;
use crate::application::Application;

/// How long what was read counts without another look.
const FRESH: Duration = Duration::from_secs(1);
/// How long it counts if another look fails.
const STALE: Duration = Duration::from_secs(5);
/// Between two looks at least.
const PAUSE: Duration = Duration::from_millis(100);

/// By what the key from the settings is known.
const CONFIGURED: &str = "default";

/// Whose key was shown, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The key's id.
    pub(crate) id: Arc<str>,
    pub(crate) role: Role,
    pub(crate) scopes: Arc<Scopes>,
}

/// The keys that this process knows. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Ring(Arc<Inner>);

struct Inner {
    configured: (SecretHash, Holder),
    known: RwLock<Option<Known>>,
    /// Held by whoever is looking.
    looking: Mutex<()>,
    /// Counted up by each change that this process makes.
    changes: AtomicU64,
    uses: Uses,
}

#[derive(Clone)]
struct Known {
    keys: Arc<HashMap<ApiKeyId, Entry>>,
    revision: (i64, i64),
    /// When the look began.
    at: Instant,
    /// The count of changes then.
    changes: u64,
}

struct Entry {
    key: ApiKey,
    hash: SecretHash,
    holder: Holder,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

/// What is kept of a secret.
pub(super) fn hash(secret: &KeySecret) -> SecretHash {
    SecretHash(Sha256::digest(secret.expose()).into())
}

fn same(one: SecretHash, other: SecretHash) -> bool {
    one.0.ct_eq(&other.0).into()
}

impl Ring {
    /// With the key from the settings, which may be any text. Of it, too, only the hash is kept; since both
    /// sides are hashed, comparing tells nothing about how long it is.
    pub(crate) fn new(configured: &SecretString) -> Self {
        let holder = Holder {
            id: CONFIGURED.into(),
            role: Role::Admin,
            scopes: Arc::new(Scopes::of_role(Role::Admin)),
        };
        Self(Arc::new(Inner {
            configured: (SecretHash(Sha256::digest(configured.expose_secret()).into()), holder),
            known: RwLock::default(),
            looking: Mutex::default(),
            changes: AtomicU64::new(0),
            uses: Uses::default(),
        }))
    }

    /// Makes the next to ask look again. To be called after a commit that changed keys.
    pub(super) fn changed(&self) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.0.uses
    }

    fn known(&self) -> Option<Known> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| known.changes == self.0.changes.load(Ordering::SeqCst))
    }

    /// The keys as they are, or as they were at `since` or later.
    async fn since(&self, app: &Application, since: Instant) -> Result<Known, Error> {
        let recent = || self.known().filter(|known| known.at >= since);
        if let Some(known) = recent() {
            return Ok(known);
        }
        let _looking = self.0.looking.lock().await;
        // While this one waited for it, another may have looked for both.
        if let Some(known) = recent() {
            return Ok(known);
        }
        let before = self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(before) = &before {
            sleep_until(before.at + PAUSE).await;
        }
        let (at, changes) = (Instant::now(), self.0.changes.load(Ordering::SeqCst));
        let now = app.clock().now();
        metrics::counter!("tidings_api_key_reads_total").increment(1);
        let (revision, keys) = app.read(move |db| look(db, before, now)).await?;
        let known = Known {
            keys,
            revision,
            at,
            changes,
        };
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }
}

/// What is there now, read anew only if it is not what was there before.
async fn look(
    db: Db,
    before: Option<Known>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<((i64, i64), Arc<HashMap<ApiKeyId, Entry>>), Error> {
    // Before the keys: one that changes in between is read again the next time.
    let revision = rows::revision(db.read()).await?;
    if let Some(before) = before
        && before.revision == revision
    {
        return Ok((revision, before.keys));
    }
    let entry = |(key, hash): (ApiKey, SecretHash)| {
        let holder = Holder {
            id: key.id.to_string().into(),
            role: key.role,
            scopes: Arc::new(key.scopes.clone()),
        };
        (key.id, Entry { key, hash, holder })
    };
    let keys = rows::valid(db.read(), now).await?;
    Ok((revision, Arc::new(keys.into_iter().map(entry).collect())))
}

impl Application {
    /// Whose key this is; `None` if it opens nothing.
    ///
    /// # Errors
    /// If that would have to be looked up, and the database does not answer.
    pub(crate) async fn holder(&self, token: &[u8]) -> Result<Option<Holder>, Error> {
        let (configured, holder) = &self.keys.0.configured;
        if same(SecretHash(Sha256::digest(token).into()), *configured) {
            return Ok(Some(holder.clone()));
        }
        let Some(token) = str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse::<KeyToken>().ok())
        else {
            return Ok(None);
        };
        let shown = hash(&token.secret);
        let asked = Instant::now();
        let within = |age: Duration| asked.checked_sub(age).unwrap_or(asked);
        let mut known = match self.keys.since(self, within(FRESH)).await {
            Ok(known) => known,
            Err(error) => {
                let stale = self.keys.known().filter(|known| known.at >= within(STALE));
                stale.ok_or(error)?
            }
        };
        if !known.keys.contains_key(&token.id) {
            known = self.keys.since(self, asked).await?;
        }
        let now = self.clock().now();
        let entry = known.keys.get(&token.id).filter(|entry| same(entry.hash, shown));
        Ok(entry
            .filter(|entry| entry.key.state(now) == KeyState::Active)
            .map(|entry| {
                self.keys.uses().note(token.id, now);
                entry.holder.clone()
            }))
    }
}
