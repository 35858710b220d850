//! Messages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Value};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tidings_domain::{Content, EventId, Message, MessageId, MessageStatus};
use tidings_events::MessageQueued;
use uuid::Uuid;

use crate::entities::delivery;
use crate::entities::message::{ActiveModel, Column, Entity, Model};
use crate::{Error, Result, Tx, bulk, clock, events};

impl TryFrom<Model> for Message {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            from: row.sender.parse()?,
            to: row.contact_id.into(),
            content: Content::parse(row.content)?,
            status: row.status.parse()?,
            created_at: row.created_at,
            delivered_at: row.delivered_at,
            version: row.version,
        })
    }
}

pub async fn insert_all(tx: &Tx<'_>, messages: &[Message]) -> Result<()> {
    let rows = messages.iter().map(|message| ActiveModel {
        id: Set(message.id.as_uuid()),
        sender: Set(message.from.to_string()),
        contact_id: Set(message.to.as_uuid()),
        content: Set(message.content.as_str().to_owned()),
        status: Set(message.status.as_str().to_owned()),
        created_at: Set(message.created_at),
        delivered_at: Set(message.delivered_at),
        failure_reason: Set(None),
        version: Set(message.version),
    });
    bulk::insert(tx, rows).await
}

pub async fn find(conn: &impl ConnectionTrait, id: MessageId) -> Result<Option<Message>> {
    Entity::find_by_id(id.as_uuid())
        .one(conn)
        .await?
        .map(Message::try_from)
        .transpose()
}

/// One page, oldest first.
pub async fn list(conn: &impl ConnectionTrait, offset: u64, limit: u64) -> Result<Vec<Message>> {
    let page = Entity::find().order_by_asc(Column::Id).offset(offset).limit(limit);
    page.all(conn).await?.into_iter().map(Message::try_from).collect()
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    Delivered { at: DateTime<Utc> },
    Failed { reason: String },
}

/// Settles those messages that are still queued, in two statements at most; answers them as they are
/// then. One that was settled before stays as it is and is missing from the answer.
pub async fn settle(tx: &Tx<'_>, settlements: &[(MessageId, Settlement)]) -> Result<Vec<Message>> {
    let (mut delivered, mut failed) = (Vec::new(), Vec::new());
    for (id, settlement) in settlements {
        match settlement {
            Settlement::Delivered { at } => delivered.push((id.as_uuid(), (*at).into())),
            Settlement::Failed { reason } => failed.push((id.as_uuid(), reason.as_str().into())),
        }
    }
    let mut settled = settle_as(tx, MessageStatus::Delivered, Column::DeliveredAt, delivered).await?;
    settled.extend(settle_as(tx, MessageStatus::Failed, Column::FailureReason, failed).await?);
    Ok(settled)
}

/// Gives queued messages a status, and each its own value in `column`.
async fn settle_as(
    tx: &Tx<'_>,
    status: MessageStatus,
    column: Column,
    values: Vec<(Uuid, Value)>,
) -> Result<Vec<Message>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = values.iter().map(|(id, _)| *id).collect();
    let update = Entity::update_many()
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .col_expr(Column::Status, status.as_str().into())
        .col_expr(column, bulk::by_id(tx.backend(), Column::Id, values))
        .filter(bulk::is_any(tx.backend(), Column::Id, ids))
        .filter(Column::Status.eq(MessageStatus::Queued.as_str()));
    let rows = update.exec_with_returning(tx.conn()).await?;
    rows.into_iter().map(Message::try_from).collect()
}

/// Looks through the messages that have been queued for longer than `age`, in the order of their ids,
/// `limit` of them after `after`. Answers the last one looked at, and the events of those that nobody
/// took care of: published, and yet without a delivery. There should be none.
pub async fn forgotten(
    conn: &impl ConnectionTrait,
    age: Duration,
    after: Option<MessageId>,
    limit: u64,
) -> Result<(Option<MessageId>, Vec<EventId>)> {
    let mut queued = Entity::find()
        .select_only()
        .column(Column::Id)
        // Not as a parameter, for which no database would choose the index on what is queued.
        .filter(Expr::col(Column::Status).eq(Expr::Constant(MessageStatus::Queued.as_str().into())))
        .filter(Expr::col(Column::CreatedAt).lt(clock::before(conn.get_database_backend(), age)));
    if let Some(after) = after {
        queued = queued.filter(Column::Id.gt(after.as_uuid()));
    }
    let queued = queued
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple::<Uuid>()
        .all(conn)
        .await?;
    let Some(last) = queued.last().copied() else {
        return Ok((None, Vec::new()));
    };

    let keys = queued.iter().map(Uuid::to_string);
    let events = events::about::<MessageQueued<'_>>(conn, keys).await?;
    Ok((Some(last.into()), unattended(conn, &events).await?))
}

/// Those of these events that neither wait to be published nor have a delivery.
pub async fn unattended(conn: &impl ConnectionTrait, events: &[EventId]) -> Result<Vec<EventId>> {
    events::missing_in::<delivery::Entity>(conn, events, delivery::Column::EventId).await
}
