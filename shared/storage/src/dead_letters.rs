//! Records that a consumer could not handle, kept whole until someone has looked at them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use sha2::{Digest, Sha256};
use tidings_domain::{Clock, new_id};
use tidings_events::RawRecord;
use uuid::Uuid;

use crate::entities::dead_letter::{ActiveModel, Column, Entity, Model};
use crate::{Db, Error, Result, Tx};

/// A record that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub id: Uuid,
    /// The consumer group that could not handle it.
    pub consumer: String,
    pub reason: String,
    pub record: RawRecord,
    pub created_at: DateTime<Utc>,
    pub replayed_at: Option<DateTime<Utc>>,
}

impl TryFrom<Model> for DeadLetter {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        let headers: Vec<(String, String)> =
            serde_json::from_str(&row.headers).map_err(|error| Error::Corrupt(error.to_string()))?;
        let headers = headers.into_iter().map(|(name, value)| match STANDARD.decode(value) {
            Ok(value) => Ok((name, Bytes::from(value))),
            Err(error) => Err(Error::Corrupt(error.to_string())),
        });
        Ok(Self {
            id: row.id,
            consumer: row.consumer,
            reason: row.reason,
            record: RawRecord {
                topic: row.topic,
                partition: row.topic_partition,
                offset: row.topic_offset,
                key: row.key.map(Bytes::from),
                value: row.value.map(Bytes::from),
                headers: headers.collect::<Result<_>>()?,
            },
            created_at: row.created_at,
            replayed_at: row.replayed_at,
        })
    }
}

/// Sets a record aside in a transaction of its own. A second time changes nothing.
pub async fn set_aside(
    db: &Db,
    clock: &Arc<dyn Clock>,
    consumer: &'static str,
    record: &RawRecord,
    reason: &str,
) -> Result<()> {
    let (clock, record, reason) = (clock.clone(), record.clone(), reason.to_owned());
    db.write(move |tx| {
        Box::pin(async move { insert(tx, new_id(&*clock), consumer, &record, &reason, clock.now()).await })
    })
    .await
}

/// Sets a record aside. A second time changes nothing.
pub async fn insert(
    tx: &Tx<'_>,
    id: Uuid,
    consumer: &str,
    record: &RawRecord,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| (name, STANDARD.encode(value)))
        .collect();
    let headers = serde_json::to_string(&headers).map_err(|error| Error::Corrupt(error.to_string()))?;
    let row = ActiveModel {
        id: Set(id),
        consumer: Set(consumer.to_owned()),
        reason: Set(reason.replace('\0', "\u{fffd}")),
        topic: Set(record.topic.clone()),
        topic_partition: Set(record.partition),
        topic_offset: Set(record.offset),
        key: Set(record.key.as_ref().map(|key| key.to_vec())),
        value: Set(record.value.as_ref().map(|value| value.to_vec())),
        digest: Set(digest(record, &headers)),
        headers: Set(headers.replace('\0', "\u{fffd}")),
        created_at: Set(now),
        replayed_at: Set(None),
    };
    let again = OnConflict::columns([
        Column::Consumer,
        Column::Topic,
        Column::TopicPartition,
        Column::TopicOffset,
        Column::Digest,
    ])
    .do_nothing()
    .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(tx.conn())
        .await?;
    Ok(())
}

fn digest(record: &RawRecord, headers: &str) -> String {
    let mut hash = Sha256::new();
    for part in [record.key.as_deref(), record.value.as_deref(), Some(headers.as_bytes())] {
        hash.update([u8::from(part.is_some())]);
        let part = part.unwrap_or_default();
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// Those not replayed yet, oldest first.
pub async fn list(conn: &impl ConnectionTrait, limit: u64) -> Result<Vec<DeadLetter>> {
    let rows = Entity::find()
        .filter(Column::ReplayedAt.is_null())
        .order_by_asc(Column::CreatedAt)
        .limit(limit);
    rows.all(conn).await?.into_iter().map(DeadLetter::try_from).collect()
}

pub async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<DeadLetter>> {
    Entity::find_by_id(id)
        .one(conn)
        .await?
        .map(DeadLetter::try_from)
        .transpose()
}

/// How many have not been replayed.
pub async fn count(conn: &impl ConnectionTrait) -> Result<u64> {
    Ok(Entity::find().filter(Column::ReplayedAt.is_null()).count(conn).await?)
}

/// Notes that a record was handled after all.
pub async fn mark_replayed(tx: &Tx<'_>, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    let update = Entity::update_many()
        .col_expr(Column::ReplayedAt, Expr::value(now))
        .filter(Column::Id.eq(id));
    update.exec(tx.conn()).await?;
    Ok(())
}
