//! The events themselves, written once and kept for retries, replays and readers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use tidings_domain::EventId;
use tidings_events::{Event, EventRecord, Origin};
use uuid::Uuid;

use crate::entities::event::{ActiveModel, Column, Entity, Model};
use crate::entities::outbox;
use crate::{Error, Result, Tx, bulk};

/// How long events are kept, which is as long as their topics keep them.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl TryFrom<Model> for EventRecord {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            event_type: row.event_type,
            topic: row.topic,
            key: row.key,
            sequence: row.sequence,
            schema: row.data_schema,
            time: row.occurred_at,
            origin: Origin {
                service: row.service,
                correlation_id: row.correlation_id.parse()?,
                traceparent: row.traceparent.parse()?,
                actor: row.actor,
            },
            payload: row.payload.into(),
        })
    }
}

pub(crate) async fn insert(tx: &Tx<'_>, records: &[EventRecord]) -> Result<()> {
    let rows = records.iter().map(|record| ActiveModel {
        id: Set(record.id.as_uuid()),
        event_type: Set(record.event_type.clone()),
        topic: Set(record.topic.clone()),
        key: Set(record.key.clone()),
        sequence: Set(record.sequence),
        data_schema: Set(record.schema.clone()),
        occurred_at: Set(record.time),
        service: Set(record.origin.service.clone()),
        correlation_id: Set(record.origin.correlation_id.to_string()),
        traceparent: Set(record.origin.traceparent.to_string()),
        actor: Set(record.origin.actor.clone()),
        payload: Set(record.payload.to_vec()),
    });
    bulk::insert(tx, rows).await
}

/// Events by id; those that are no longer kept are missing.
pub async fn find_all(conn: &impl ConnectionTrait, ids: &[EventId]) -> Result<HashMap<EventId, EventRecord>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = Entity::find()
        .filter(bulk::is_any(
            conn.get_database_backend(),
            Column::Id,
            ids.iter().map(|id| id.as_uuid()),
        ))
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id.into(), EventRecord::try_from(row)?)))
        .collect()
}

/// The events of one type about the aggregates with these keys.
pub(crate) async fn about<E: Event>(
    conn: &impl ConnectionTrait,
    keys: impl IntoIterator<Item = String>,
) -> Result<Vec<EventId>> {
    let keys: Vec<_> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let events = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Topic.eq(E::TOPIC.name()))
        .filter(Column::Key.is_in(keys))
        .filter(Column::EventType.eq(E::TYPE))
        .order_by_asc(Column::Id);
    let events: Vec<Uuid> = events.into_tuple().all(conn).await?;
    Ok(events.into_iter().map(EventId::from).collect())
}

/// Those of these events that neither wait to be published nor stand in this column.
pub(crate) async fn missing_in<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    events: &[EventId],
    column: E::Column,
) -> Result<Vec<EventId>> {
    let ids = || events.iter().map(|id| id.as_uuid());
    // First those that wait, then those that are planned, which is the way an event takes. Once for all
    // of them: there may be more in the outbox than should be looked through for each.
    let waiting = outbox::Entity::find()
        .select_only()
        .column(outbox::Column::EventId)
        .filter(outbox::Column::EventId.is_in(ids()));
    let mut known: HashSet<Uuid> = waiting.into_tuple::<Uuid>().all(conn).await?.into_iter().collect();
    let planned = E::find().select_only().column(column).filter(column.is_in(ids()));
    known.extend(planned.into_tuple::<Uuid>().all(conn).await?);
    let missing = events.iter().filter(|id| !known.contains(&id.as_uuid()));
    Ok(missing.copied().collect())
}

/// The least id of what was made since then. Ids begin with the milliseconds of their time, so the oldest come
/// first in a key's own index.
pub(crate) fn first_since(time: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(u128::from(millis) << 80)
}

/// Drops events that are kept no longer, the oldest first and `limit` at most; answers how many. One
/// that waits to be published stays, however old it is.
pub async fn expire(tx: &Tx<'_>, now: DateTime<Utc>, limit: u64) -> Result<u64> {
    let waiting = outbox::Entity::find()
        .select_only()
        .column(outbox::Column::EventId)
        .into_query();
    let old = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.lt(first_since(now - KEPT)))
        .filter(Column::Id.not_in_subquery(waiting))
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_query();
    let deleted = Entity::delete_many().filter(Column::Id.in_subquery(old));
    Ok(deleted.exec(tx.conn()).await?.rows_affected)
}
