//! Answers kept under the idempotency keys of the requests that they were given to.
//!
//! The answer is stored in the transaction of what the request did, so that a repetition finds either
//! both or nothing. Only successes are kept: a request that was refused changed nothing and may be
//! corrected under the same key.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Func, LockBehavior, LockType, OnConflict, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use sha2::{Digest, Sha256};

use crate::entities::idempotency_key::{ActiveModel, Column, Entity};
use crate::{Error, Result, Tx, bulk, clock};

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

/// Looks requests up and keeps others from carrying out those that are new until this transaction ends.
/// Answers for each, in their order.
pub async fn begin_all(tx: &Tx<'_>, requests: &[&RequestKey]) -> Result<Vec<Lookup>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let free = lock_all(tx, requests).await?;
    let same = requests.iter().fold(Condition::any(), |any, request| {
        any.add(
            Column::Caller
                .eq(request.caller.as_str())
                .and(Column::Operation.eq(request.operation.as_str()))
                .and(Column::Key.eq(request.key.as_str())),
        )
    });
    let fresh = Expr::col(Column::CreatedAt).gte(clock::before(tx.backend(), KEPT));
    let rows = Entity::find().filter(same).filter(fresh).all(tx.conn()).await?;
    let mut answers: HashMap<_, _> = rows
        .into_iter()
        .map(|row| {
            let request = RequestKey {
                caller: row.caller,
                operation: row.operation,
                key: row.key,
            };
            let answer = StoredAnswer {
                fingerprint: row.fingerprint,
                status: row.status.try_into().unwrap_or_default(),
                body: row.body,
            };
            (request, answer)
        })
        .collect();
    let lookups = requests
        .iter()
        .zip(free)
        .map(|(request, free)| match answers.remove(request) {
            _ if !free => Lookup::InFlight,
            Some(answer) => Lookup::Answered(answer),
            None => Lookup::New,
        });
    Ok(lookups.collect())
}

/// Whether each request is free to be carried out, and if so, nobody else's until the transaction ends.
async fn lock_all(tx: &Tx<'_>, requests: &[&RequestKey]) -> Result<Vec<bool>> {
    // SQLite's writers take turns anyway.
    if tx.backend() != DbBackend::Postgres {
        return Ok(vec![true; requests.len()]);
    }
    let locks = requests
        .iter()
        .map(|request| Func::cust("pg_try_advisory_xact_lock").arg(lock_id(request)));
    let mut query = Query::select();
    for lock in locks {
        query.expr(lock);
    }
    let row = tx.conn().query_one(&query).await?;
    let row = row.ok_or_else(|| Error::Corrupt("a query for locks has no answer".into()))?;
    let free = (0..requests.len()).map(|place| row.try_get_by_index::<bool>(place));
    Ok(free.collect::<Result<_, _>>()?)
}

/// Keeps the answers to requests that [`begin_all`] found to be new.
pub async fn store_all(tx: &Tx<'_>, answers: Vec<(&RequestKey, StoredAnswer)>, now: DateTime<Utc>) -> Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    let rows = answers.into_iter().map(|(request, answer)| ActiveModel {
        caller: Set(request.caller.clone()),
        operation: Set(request.operation.clone()),
        key: Set(request.key.clone()),
        fingerprint: Set(answer.fingerprint),
        status: Set(i16::try_from(answer.status).unwrap_or(i16::MAX)),
        body: Set(answer.body),
        created_at: Set(now),
    });
    // What is there, if anything, is too old to count.
    let too_old = OnConflict::columns([Column::Caller, Column::Operation, Column::Key])
        .update_columns([Column::Fingerprint, Column::Status, Column::Body, Column::CreatedAt])
        .to_owned();
    bulk::insert_with(tx, rows, &[], |statement| {
        statement.on_conflict(too_old.clone());
    })
    .await
    .map(drop)
}

/// Drops answers that are kept no longer, the oldest first and `limit` at most; answers how many. What another
/// process is dropping is left to it.
pub async fn expire(tx: &Tx<'_>, now: DateTime<Utc>, limit: u64) -> Result<u64> {
    let old = Entity::find()
        .select_only()
        .columns([Column::Caller, Column::Operation, Column::Key])
        .filter(Column::CreatedAt.lt(now - KEPT))
        .order_by_asc(Column::CreatedAt)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    let which = [Column::Caller, Column::Operation, Column::Key].map(Expr::col);
    let deleted = Entity::delete_many().filter(Expr::tuple(which).in_subquery(old));
    Ok(deleted.exec(tx.conn()).await?.rows_affected)
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
