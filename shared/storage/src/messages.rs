//! Messages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tidings_domain::{Content, EventId, Message, MessageId, MessageStatus};
use tidings_events::{Event, MessageQueued, Topic};
use uuid::Uuid;

use crate::entities::message::{ActiveModel, Column, Entity, Model};
use crate::entities::{delivery, event, outbox};
use crate::{Error, Result, Tx, clock};

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

pub async fn insert(tx: &Tx<'_>, message: &Message) -> Result<()> {
    let row = ActiveModel {
        id: Set(message.id.as_uuid()),
        sender: Set(message.from.to_string()),
        contact_id: Set(message.to.as_uuid()),
        content: Set(message.content.as_str().to_owned()),
        status: Set(message.status.as_str().to_owned()),
        created_at: Set(message.created_at),
        delivered_at: Set(message.delivered_at),
        failure_reason: Set(None),
        version: Set(message.version),
    };
    Entity::insert(row).exec_without_returning(tx.conn()).await?;
    Ok(())
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

/// Settles a message that is still queued; answers it as it is then, or `None` if it was settled before.
pub async fn settle(tx: &Tx<'_>, id: MessageId, settlement: &Settlement) -> Result<Option<Message>> {
    let update = Entity::update_many().col_expr(Column::Version, Expr::col(Column::Version).add(1));
    let update = match settlement {
        Settlement::Delivered { at } => update
            .col_expr(Column::Status, MessageStatus::Delivered.as_str().into())
            .col_expr(Column::DeliveredAt, Expr::value(*at)),
        Settlement::Failed { reason } => update
            .col_expr(Column::Status, MessageStatus::Failed.as_str().into())
            .col_expr(Column::FailureReason, reason.as_str().into()),
    };
    let update = update
        .filter(Column::Id.eq(id.as_uuid()))
        .filter(Column::Status.eq(MessageStatus::Queued.as_str()));
    update
        .exec_with_returning(tx.conn())
        .await?
        .into_iter()
        .next()
        .map(Message::try_from)
        .transpose()
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
        .filter(Column::Status.eq(MessageStatus::Queued.as_str()))
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

    let same_event = |column: Expr| column.eq(Expr::col((event::Entity, event::Column::Id)));
    let planned = Query::select()
        .expr(Expr::val(1))
        .from(delivery::Entity)
        .and_where(same_event(Expr::col((delivery::Entity, delivery::Column::EventId))))
        .take();
    let unpublished = Query::select()
        .expr(Expr::val(1))
        .from(outbox::Entity)
        .and_where(same_event(Expr::col((outbox::Entity, outbox::Column::EventId))))
        .take();
    let forgotten = event::Entity::find()
        .select_only()
        .column(event::Column::Id)
        .filter(event::Column::Topic.eq(Topic::Messages.name()))
        .filter(event::Column::Key.is_in(queued.iter().map(Uuid::to_string)))
        .filter(event::Column::EventType.eq(MessageQueued::TYPE))
        .filter(Expr::not_exists(planned))
        .filter(Expr::not_exists(unpublished));
    let ids = forgotten.into_tuple::<Uuid>().all(conn).await?;
    Ok((Some(last.into()), ids.into_iter().map(EventId::from).collect()))
}
