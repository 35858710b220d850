//! The events themselves, written once and kept for retries, replays and readers.

use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use tidings_domain::EventId;
use tidings_events::{EventRecord, Origin};

use crate::entities::event::{ActiveModel, Column, Entity, Model};
use crate::{Error, Result, Tx};

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
    if !records.is_empty() {
        Entity::insert_many(rows).exec_without_returning(tx.conn()).await?;
    }
    Ok(())
}

/// Events by id; those that are no longer kept are missing.
pub async fn find_all(conn: &impl ConnectionTrait, ids: &[EventId]) -> Result<HashMap<EventId, EventRecord>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = Entity::find()
        .filter(Column::Id.is_in(ids.iter().map(|id| id.as_uuid())))
        .all(conn)
        .await?;
    rows.into_iter()
        .map(|row| Ok((row.id.into(), EventRecord::try_from(row)?)))
        .collect()
}
