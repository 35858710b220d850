//! What gateways share of GUIDs, in Redis.
//!
//! # What is guaranteed
//!
//! - Whatever Redis answers was true at most a life ago. A value's life begins when its reader asked Redis
//!   in vain, which was before it asked the database, and is counted by the clock of Redis alone: that is the
//!   [`Token`] which the reader got then and shows when it puts what it found. A value that comes late, however long
//!   it was on its way, is refused or lives the shorter.
//! - Of two values the older never takes the place of the newer: they are compared by version.
//! - Nobody waits for Redis longer than [`DEADLINE`], and nobody asks it while it does not answer. It may lose
//!   anything at any time, or be cut off from some of the gateways; that costs queries and nothing else.
//!
//! # What is not
//!
//! That a change is in Redis. Whoever changed a GUID leaves a mark with its version, if that works. Until it does,
//! those who have heard of the change know it by its version, and others see it a life later at most.
//!
//! A Redis serves one installation. Another one needs another database of it: GUIDs have the same names.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, Script, ScriptInvocation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tidings_domain::{Expiry, Guid, GuidRecord, GuidUser, Invalid};
use tidings_storage::guids::Lookup;
use tokio::time::{sleep, timeout};

/// For one answer, all in all. A query to the database takes less.
const DEADLINE: Duration = Duration::from_millis(25);
/// For Redis to prove that it is there again.
const PROOF: Duration = Duration::from_secs(2);
/// How long it is left alone between two attempts at that.
const PAUSE: Duration = Duration::from_secs(1);
/// The number changes with the form of values.
const PREFIX: &str = "tidings:guid:1:";

// Values are a version, a space, and one of: a record in JSON, NONE, or MARK.
const NONE: &str = "-";
/// There has been this version, and what it says must be asked of the database.
const MARK: &str = "?";

/// Answers the value, the milliseconds it has left, and the time by the clock of Redis in milliseconds.
const LOOK: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), now}";

/// Puts a value with a version, found by who has that token, for what is left of that life.
const FILL: &str = "
local time = redis.call('TIME')
local left = ARGV[3] + ARGV[4] - time[1] * 1000 - math.floor(time[2] / 1000)
local held = redis.call('GET', KEYS[1])
if left <= 0 or left > tonumber(ARGV[4]) then return 0 end
if held and (tonumber(string.match(held, '^%d+')) or 0) > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', left)
return 1";

/// Puts a mark with a version, for a life, in the place of what is older.
const PLACE_MARK: &str = "
local held = redis.call('GET', KEYS[1])
if held and (tonumber(string.match(held, '^%d+')) or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1";

/// Where a Redis is.
#[derive(Clone)]
pub struct Redis(Client);

/// Why there can be no Redis at a URL. The URL may contain a password, so it is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL cannot be used: {0}")]
pub struct RedisError(String);

impl Redis {
    pub fn at(url: &SecretString) -> Result<Self, RedisError> {
        let client = Client::open(url.expose_secret());
        client
            .map(Self)
            .map_err(|error| RedisError(error.detail().unwrap_or("it is not understood").to_owned()))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis")
    }
}

/// When a read began, by the clock of Redis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token(u64);

pub(super) struct Shared {
    connection: ConnectionManager,
    /// Whether it is asked at all.
    answers: AtomicBool,
    life: Duration,
    look: Script,
    fill: Script,
    mark: Script,
}

impl Shared {
    /// Begins to reach for it. Must be called within the runtime on which it is to be spoken to.
    pub(super) fn start(redis: &Redis, life: Duration) -> Option<Arc<Self>> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PROOF))
            .set_response_timeout(Some(PROOF))
            .set_number_of_retries(0);
        let connection = ConnectionManager::new_lazy_with_config(redis.0.clone(), config)
            .inspect_err(|error| tracing::error!(%error, "redis is not used"))
            .ok()?;
        let shared = Arc::new(Self {
            connection,
            answers: AtomicBool::new(false),
            life,
            look: Script::new(LOOK),
            fill: Script::new(FILL),
            mark: Script::new(PLACE_MARK),
        });
        tokio::spawn(reach(Arc::downgrade(&shared)));
        Some(shared)
    }

    /// What it holds of a GUID and for how long, if anything, and the right to put something there. `None` if it does
    /// not answer.
    pub(super) async fn look(self: &Arc<Self>, id: Guid) -> Option<(Option<(Lookup, Duration)>, Token)> {
        let (value, left, now): (Option<String>, i64, u64) = self.ask(self.look.key(key(id))).await?;
        let left = u64::try_from(left).ok().map(Duration::from_millis);
        let held = value
            .zip(left)
            .and_then(|(value, left)| Some((read(id, &value)?, left)));
        Some((held, Token(now)))
    }

    pub(super) async fn fill(self: &Arc<Self>, id: Guid, begun: Token, found: &Lookup) {
        let Some(value) = write(found) else { return };
        let mut fill = self.fill.key(key(id));
        fill.arg(value)
            .arg(found.version)
            .arg(begun.0)
            .arg(self.life_in_millis());
        let _: Option<i64> = self.ask(fill).await;
    }

    /// Says that there is this version.
    pub(super) async fn mark(self: &Arc<Self>, id: Guid, version: i64) {
        let mut mark = self.mark.key(key(id));
        mark.arg(format!("{version} {MARK}"))
            .arg(version)
            .arg(self.life_in_millis());
        let _: Option<i64> = self.ask(mark).await;
    }

    async fn ask<T: FromRedisValue>(self: &Arc<Self>, question: ScriptInvocation<'_>) -> Option<T> {
        if !self.answers.load(Ordering::Relaxed) {
            return None;
        }
        let mut connection = self.connection.clone();
        match timeout(DEADLINE, question.invoke_async(&mut connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%error, "redis did not do what it was asked"),
            Err(_) => tracing::debug!("redis took too long"),
        }
        // Nobody else is to wait in vain.
        if self.answers.swap(false, Ordering::Relaxed) {
            tokio::spawn(reach(Arc::downgrade(self)));
        }
        None
    }

    fn life_in_millis(&self) -> u64 {
        u64::try_from(self.life.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Tries until Redis answers, and lets it be asked again then.
async fn reach(shared: Weak<Shared>) {
    let mut failures = 0_u64;
    while let Some(shared) = shared.upgrade() {
        let mut connection = shared.connection.clone();
        let ping = redis::cmd("PING");
        let error = match timeout(PROOF, ping.query_async::<()>(&mut connection)).await {
            Ok(Ok(())) => {
                if failures > 0 {
                    tracing::info!(failures, "redis answers again");
                }
                shared.answers.store(true, Ordering::Relaxed);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_owned(),
        };
        drop(shared);
        if failures == 0 {
            tracing::warn!(error, "redis is away, guids are shared without it");
        }
        failures += 1;
        sleep(PAUSE).await;
    }
}

fn key(id: Guid) -> String {
    format!("{PREFIX}{id}")
}

/// A record as it lies in Redis; its id is in the key and its version before it.
#[derive(Serialize, Deserialize)]
struct Stored {
    user: String,
    expires: i64,
    created_at: DateTime<Utc>,
}

fn write(lookup: &Lookup) -> Option<String> {
    let record = match &lookup.record {
        None => NONE.to_owned(),
        Some(record) => serde_json::to_string(&Stored {
            user: record.user.as_str().to_owned(),
            expires: record.expires.as_unix(),
            created_at: record.created_at,
        })
        .ok()?,
    };
    Some(format!("{} {record}", lookup.version))
}

/// `None` for a mark, and for what nobody of ours has written.
fn read(id: Guid, value: &str) -> Option<Lookup> {
    let (version, rest) = value.split_once(' ')?;
    let version = version.parse().ok()?;
    let record = match rest {
        MARK => return None,
        NONE => None,
        record => Some(restore(id, version, serde_json::from_str(record).ok()?).ok()?),
    };
    Some(Lookup { version, record })
}

fn restore(id: Guid, version: i64, stored: Stored) -> Result<GuidRecord, Invalid> {
    Ok(GuidRecord {
        id,
        user: GuidUser::parse(stored.user)?,
        expires: Expiry::from_unix(stored.expires)?,
        created_at: stored.created_at,
        version,
    })
}

#[cfg(test)]
mod tests;
