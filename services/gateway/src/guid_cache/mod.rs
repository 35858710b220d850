//! GUIDs that are at hand without asking the database: in this process, and in a Redis that gateways share.
//!
//! # What is guaranteed
//!
//! - What is shown was true at most a life ago (a second), whatever becomes of the broker, of Redis or of
//!   another gateway. An entry's life begins when the read began that it comes from, not when it was put here.
//! - A change that was made through this gateway is visible through it as soon as it is answered, and one
//!   that it has [heard](GuidCache::heard) of from then on.
//! - Nothing is shown in or after the second of its expiry.
//!
//! # How
//!
//! Versions of one GUID only count up. Whoever changes a GUID or hears of a change [raises](Floors) the
//! version below which nothing about it is believed any more, for as long as something older can still live. So it
//! does not matter in which order reads end, changes come in and Redis answers: what is older than what is
//! known is not taken, wherever it comes from. Redis itself takes part in this, but nothing rests on it
//! ([`Redis`] says how it keeps to a life): what it cannot be told, it forgets.
//!
//! # What may be changed safely
//!
//! How much is kept, and for how long it lives, as long as floors outlive entries. That there is no such
//! GUID is kept like any other fact.

mod changes;
mod floors;
mod redis;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tidings_domain::{Guid, GuidRecord};
use tidings_messaging::Connection;
use tidings_storage::guids::Lookup;
use tokio::time::Instant;

pub(crate) use self::changes::follow;
use self::floors::Floors;
pub use self::redis::{Redis, RedisError};
use self::redis::{Shared, Token};

/// How much is kept in this process, in bytes, roughly.
const CAPACITY: u64 = 32 * 1024 * 1024;
/// What an entry takes beside its text.
const OVERHEAD: usize = 256;
/// Locks for floors, so that changes of different GUIDs seldom wait for each other.
const SHARDS: usize = 64;

/// How GUIDs are kept at hand.
#[derive(Debug, Clone)]
pub struct GuidCaching {
    /// How old what is shown may be.
    pub life: Duration,
    /// Where changes are heard of that other gateways make. Without it they show when an entry's life ends.
    pub changes: Option<Connection>,
    /// What gateways share.
    pub redis: Option<Redis>,
}

impl Default for GuidCaching {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(1),
            changes: None,
            redis: None,
        }
    }
}

/// See the [module](self). Clones share it.
#[derive(Clone)]
pub(crate) struct GuidCache(Arc<Inner>);

struct Inner {
    life: Duration,
    local: Cache<Guid, Known>,
    floors: Vec<Mutex<Floors>>,
    hasher: RandomState,
    shared: Option<Arc<Shared>>,
}

/// What is known of a GUID, and for how long.
#[derive(Debug, Clone)]
struct Known {
    version: i64,
    record: Option<Arc<GuidRecord>>,
    until: Instant,
}

impl GuidCache {
    /// Must be called within the runtime on which Redis is to be spoken to.
    pub(crate) fn new(caching: &GuidCaching) -> Self {
        let weigh = |_: &Guid, known: &Known| {
            let text = known.record.as_ref().map_or(0, |record| record.user.as_str().len());
            u32::try_from(OVERHEAD + text).unwrap_or(u32::MAX)
        };
        let local = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(weigh)
            .time_to_live(caching.life)
            .build();
        Self(Arc::new(Inner {
            life: caching.life,
            local,
            floors: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            shared: caching
                .redis
                .as_ref()
                .and_then(|redis| Shared::start(redis, caching.life)),
        }))
    }

    /// What this process knows without asking anyone: nothing, or the record, or that there is none. A record may have
    /// expired.
    pub(crate) fn at_hand(&self, id: Guid) -> Option<Option<Arc<GuidRecord>>> {
        let known = self.0.local.get(&id)?;
        (known.until > Instant::now()).then_some(known.record)
    }

    /// What is not at hand, from Redis or else by `query`.
    pub(crate) async fn look<E>(
        &self,
        id: Guid,
        query: impl Future<Output = Result<Lookup, E>>,
    ) -> Result<Option<Arc<GuidRecord>>, E> {
        let mut begun = None;
        if let Some(shared) = &self.0.shared {
            let asked = Instant::now();
            if let Some((held, token)) = shared.look(id).await {
                if let Some((lookup, left)) = held {
                    let known = Known::new(lookup, asked + left);
                    if self.admit(id, &known) {
                        return Ok(known.record);
                    }
                }
                begun = Some(token);
            }
        }
        let until = Instant::now() + self.0.life;
        let lookup = query.await?;
        self.fill_shared(id, begun, &lookup);
        let known = Known::new(lookup, until);
        // What it found was true when it began, which is all that whoever asked can expect.
        self.admit(id, &known);
        Ok(known.record)
    }

    fn fill_shared(&self, id: Guid, begun: Option<Token>, lookup: &Lookup) {
        if let (Some(shared), Some(begun)) = (self.0.shared.clone(), begun) {
            let lookup = lookup.clone();
            tokio::spawn(async move { shared.fill(id, begun, &lookup).await });
        }
    }

    /// Takes something in, if it lives still and nothing newer is known; answers whether that is so.
    fn admit(&self, id: Guid, known: &Known) -> bool {
        let now = Instant::now();
        // Held until it is in, or a change might be heard of between looking and putting.
        let floors = self.floors(id);
        if known.until <= now || floors.of(id, now) > known.version {
            return false;
        }
        if self.0.local.get(&id).is_none_or(|there| there.version <= known.version) {
            self.0.local.insert(id, known.clone());
        }
        true
    }

    /// Takes note of a change that somebody made. Nothing older is shown from now on.
    pub(crate) fn heard(&self, id: Guid, version: i64) {
        let now = Instant::now();
        let mut floors = self.floors(id);
        floors.raise(id, version, now, self.0.life);
        if self.0.local.get(&id).is_some_and(|there| there.version < version) {
            self.0.local.invalidate(&id);
        }
    }

    /// The same for a change that was made here, which Redis is told of as well. Must be called after the
    /// commit, before it is answered, and within the runtime on which Redis is spoken to.
    pub(crate) fn changed(&self, id: Guid, version: i64) {
        self.heard(id, version);
        if let Some(shared) = self.0.shared.clone() {
            tokio::spawn(async move { shared.mark(id, version).await });
        }
    }

    fn floors(&self, id: Guid) -> MutexGuard<'_, Floors> {
        let shard = usize::try_from(self.0.hasher.hash_one(id) % SHARDS as u64).unwrap_or_default();
        self.0.floors[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(lookup: Lookup, until: Instant) -> Self {
        Self {
            version: lookup.version,
            record: lookup.record.map(Arc::new),
            until,
        }
    }
}

impl fmt::Debug for GuidCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuidCache")
            .field("entries", &self.0.local.entry_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
