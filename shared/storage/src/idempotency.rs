//! Answers kept under the idempotency keys of the requests that they were given to.
//!
//! The answer is stored in the transaction of what the request did, so that a repetition finds either
//! both or nothing. Only successes are kept: a request that was refused changed nothing and may be
//! corrected under the same key.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement};
use sha2::{Digest, Sha256};

use crate::entities::idempotency_key::{ActiveModel, Column, Entity};
use crate::{Result, Tx, clock};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request is known by: who sent it, to what, under which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The API key's id.
    pub caller: String,
    /// Method and path.
    pub operation: String,
    pub key: String,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Hexadecimal SHA-256 of the body that was answered.
    pub fingerprint: String,
    pub status: u16,
    pub body: Vec<u8>,
}

/// What is known of a request before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing: it is to be carried out.
    New,
    Answered(StoredAnswer),
    /// Another transaction is carrying it out right now.
    InFlight,
}

/// Looks a request up and, if it is new, keeps others from carrying it out until this transaction ends.
pub async fn begin(tx: &Tx<'_>, request: &RequestKey) -> Result<Lookup> {
    // SQLite's writers take turns anyway.
    if tx.backend() == DbBackend::Postgres {
        let lock = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT pg_try_advisory_xact_lock($1) AS free",
            [lock_id(request).into()],
        );
        let row = tx.conn().query_one_raw(lock).await?;
        if !row
            .map(|row| row.try_get::<bool>("", "free"))
            .transpose()?
            .unwrap_or(false)
        {
            return Ok(Lookup::InFlight);
        }
    }
    let fresh = Expr::col(Column::CreatedAt).gte(clock::before(tx.backend(), KEPT));
    let row = Entity::find_by_id(id(request)).filter(fresh).one(tx.conn()).await?;
    Ok(row.map_or(Lookup::New, |row| {
        let status = row.status.try_into().unwrap_or_default();
        Lookup::Answered(StoredAnswer {
            fingerprint: row.fingerprint,
            status,
            body: row.body,
        })
    }))
}

/// Keeps the answer to a request that [`begin`] found to be new.
pub async fn store(tx: &Tx<'_>, request: &RequestKey, answer: &StoredAnswer, now: DateTime<Utc>) -> Result<()> {
    // What is there, if anything, is too old to count.
    Entity::delete_by_id(id(request)).exec(tx.conn()).await?;
    let row = ActiveModel {
        caller: Set(request.caller.clone()),
        operation: Set(request.operation.clone()),
        key: Set(request.key.clone()),
        fingerprint: Set(answer.fingerprint.clone()),
        status: Set(i16::try_from(answer.status).unwrap_or(i16::MAX)),
        body: Set(answer.body.clone()),
        created_at: Set(now),
    };
    Entity::insert(row).exec_without_returning(tx.conn()).await?;
    Ok(())
}

/// Drops what is kept no longer; answers how much that was.
pub async fn expire(tx: &Tx<'_>) -> Result<u64> {
    let old = Expr::col(Column::CreatedAt).lt(clock::before(tx.backend(), KEPT));
    Ok(Entity::delete_many().filter(old).exec(tx.conn()).await?.rows_affected)
}

fn id(request: &RequestKey) -> (String, String, String) {
    (request.caller.clone(), request.operation.clone(), request.key.clone())
}

/// Two requests with the same lock only keep each other waiting.
fn lock_id(request: &RequestKey) -> i64 {
    let mut hash = Sha256::new();
    for part in [&request.caller, &request.operation, &request.key] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |id, byte| (id << 8) | i64::from(*byte))
}
