//! The audit log: records chained by their hashes, appended only.
//!
//! What a record says and how it is hashed is the audit service's business. Here: that the chain
//! cannot fork, because whoever appends locks the head first, and that nothing in it can be changed,
//! which the database itself refuses.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entities::{audit_head, audit_record};
use crate::{Error, Result, Tx, bulk};

/// Where the chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The last record's number; 0 before the first.
    pub seq: i64,
    /// The last record's hash; 64 zeros before the first.
    pub hash: String,
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub seq: i64,
    pub event_id: String,
    pub occurred_at: DateTime<Utc>,
    pub recorded_at: DateTime<Utc>,
    pub actor: Option<String>,
    pub action: String,
    pub resource: String,
    pub data_hash: String,
    pub prev_hash: String,
    pub hash: String,
    /// The bytes that `hash` covers, after `prev_hash`.
    pub canonical: Vec<u8>,
}

impl From<audit_record::Model> for Record {
    fn from(row: audit_record::Model) -> Self {
        Self {
            seq: row.seq,
            event_id: row.event_id,
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
            actor: row.actor,
            action: row.action,
            resource: row.resource,
            data_hash: row.data_hash,
            prev_hash: row.prev_hash,
            hash: row.hash,
            canonical: row.record,
        }
    }
}

/// Locks the head until the transaction ends, and answers it.
pub async fn lock_head(tx: &Tx<'_>) -> Result<Head> {
    let row = audit_head::Entity::find_by_id(1_i16)
        .lock_exclusive()
        .one(tx.conn())
        .await?;
    row.map(|row| Head {
        seq: row.seq,
        hash: row.hash,
    })
    .ok_or_else(|| Error::Corrupt("the audit log has no head".into()))
}

/// Which of these events are in the log already.
pub async fn recorded(conn: &impl ConnectionTrait, event_ids: &[String]) -> Result<Vec<String>> {
    let ids = audit_record::Entity::find()
        .select_only()
        .column(audit_record::Column::EventId)
        .filter(bulk::is_any(
            conn.get_database_backend(),
            audit_record::Column::EventId,
            event_ids.iter().map(String::as_str),
        ));
    Ok(ids.into_tuple().all(conn).await?)
}

/// Appends records that follow one another from the head on, which must be locked.
pub async fn append(tx: &Tx<'_>, records: Vec<Record>) -> Result<()> {
    let Some(last) = records.last() else { return Ok(()) };
    let head = audit_head::ActiveModel {
        id: Set(1),
        seq: Set(last.seq),
        hash: Set(last.hash.clone()),
    };
    let rows = records.into_iter().map(|record| audit_record::ActiveModel {
        seq: Set(record.seq),
        event_id: Set(record.event_id),
        occurred_at: Set(record.occurred_at),
        recorded_at: Set(record.recorded_at),
        actor: Set(record.actor),
        action: Set(record.action),
        resource: Set(record.resource),
        data_hash: Set(record.data_hash),
        prev_hash: Set(record.prev_hash),
        hash: Set(record.hash),
        record: Set(record.canonical),
    });
    bulk::insert(tx, rows).await?;
    audit_head::Entity::update(head).exec(tx.conn()).await?;
    Ok(())
}

pub async fn head(conn: &impl ConnectionTrait) -> Result<Head> {
    let row = audit_head::Entity::find_by_id(1_i16).one(conn).await?;
    row.map(|row| Head {
        seq: row.seq,
        hash: row.hash,
    })
    .ok_or_else(|| Error::Corrupt("the audit log has no head".into()))
}

/// Records in the order of the chain, `limit` of them after `seq`.
pub async fn list(conn: &impl ConnectionTrait, after: i64, limit: u64) -> Result<Vec<Record>> {
    let rows = audit_record::Entity::find().filter(audit_record::Column::Seq.gt(after));
    let rows = rows
        .order_by_asc(audit_record::Column::Seq)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Record::from).collect())
}
