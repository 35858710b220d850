//! Orders of kits.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tidings_domain::{EventId, Order, OrderId, SequencingType, ShippingInfo, ShippingLine, User, UserId};
use tidings_events::OrderPlaced;
use uuid::Uuid;

use crate::entities::order::{ActiveModel, Column, Entity, Model};
use crate::entities::{notification, user};
use crate::{Error, Result, Tx, clock, events, users};

impl TryFrom<Model> for Order {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            user: row.user_id.into(),
            sequencing: SequencingType::parse(row.sequencing_type)?,
            shipping: ShippingInfo {
                delivery_name: ShippingLine::parse("delivery_name", row.delivery_name)?,
                first_line: ShippingLine::parse("first_line", row.first_line)?,
                second_line: ShippingLine::parse("second_line", row.second_line)?,
                town: ShippingLine::parse("town", row.town)?,
                postcode: ShippingLine::parse("postcode", row.postcode)?,
                country: ShippingLine::parse("country", row.country)?,
            },
            channel: row.channel.parse()?,
            created_at: row.created_at,
            version: row.version,
        })
    }
}

/// Adds an order. Its user must have been locked in this transaction by [`users::lock`], so that nobody can
/// order for someone who is being deleted.
pub async fn insert(tx: &Tx<'_>, order: &Order) -> Result<()> {
    let line = |line: &ShippingLine| Set(line.as_str().to_owned());
    let row = ActiveModel {
        id: Set(order.id.as_uuid()),
        user_id: Set(order.user.as_i64()),
        sequencing_type: Set(order.sequencing.as_str().to_owned()),
        channel: Set(order.channel.as_str().to_owned()),
        delivery_name: line(&order.shipping.delivery_name),
        first_line: line(&order.shipping.first_line),
        second_line: line(&order.shipping.second_line),
        town: line(&order.shipping.town),
        postcode: line(&order.shipping.postcode),
        country: line(&order.shipping.country),
        created_at: Set(order.created_at),
        version: Set(order.version),
    };
    Entity::insert(row).exec_without_returning(tx.conn()).await?;
    Ok(())
}

pub async fn find(conn: &impl ConnectionTrait, id: OrderId) -> Result<Option<Order>> {
    let found = Entity::find_by_id(id.as_uuid()).one(conn).await?;
    found.map(Order::try_from).transpose()
}

/// All orders, oldest first.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<Order>> {
    let all = Entity::find().order_by_asc(Column::Id);
    all.all(conn).await?.into_iter().map(Order::try_from).collect()
}

/// All users in the order of their ids, each with their orders, oldest first. One query, however many they are.
pub async fn by_user(conn: &impl ConnectionTrait) -> Result<Vec<(User, Vec<Order>)>> {
    let all = users::existing()
        .find_with_related(Entity)
        .order_by_asc(user::Column::Id)
        .order_by_asc(Column::Id);
    let all = all.all(conn).await?.into_iter().map(|(user, orders)| {
        let orders = orders.into_iter().map(Order::try_from).collect::<Result<_>>()?;
        Ok((user.try_into()?, orders))
    });
    all.collect()
}

/// One user's orders, oldest first.
pub async fn of_user(conn: &impl ConnectionTrait, user: UserId) -> Result<Vec<Order>> {
    let theirs = Entity::find()
        .filter(Column::UserId.eq(user.as_i64()))
        .order_by_asc(Column::Id);
    theirs.all(conn).await?.into_iter().map(Order::try_from).collect()
}

/// A stretch of orders that were looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The last one looked at, if there was any.
    pub last: Option<OrderId>,
    /// The last one up to which all have a notification.
    pub settled: Option<OrderId>,
    /// The events of those that nobody took care of: published, and yet without a notification. There should
    /// be none.
    pub forgotten: Vec<EventId>,
}

/// Looks through the orders that were placed longer than `age` ago but not longer than `until`, in the order of
/// their ids, `limit` of them after `after`.
pub async fn look_through(
    conn: &impl ConnectionTrait,
    age: Duration,
    until: Duration,
    after: Option<OrderId>,
    limit: u64,
) -> Result<Stretch> {
    let backend = conn.get_database_backend();
    let mut placed = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Expr::col(Column::CreatedAt).lt(clock::before(backend, age)))
        .filter(Expr::col(Column::CreatedAt).gt(clock::before(backend, until)));
    if let Some(after) = after {
        placed = placed.filter(Column::Id.gt(after.as_uuid()));
    }
    let placed: Vec<Uuid> = placed
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(conn)
        .await?;
    let told = notification::Entity::find()
        .select_only()
        .column(notification::Column::OrderId)
        .filter(notification::Column::OrderId.is_in(placed.iter().copied()));
    let told: HashSet<Uuid> = told.into_tuple::<Uuid>().all(conn).await?.into_iter().collect();
    let settled = placed.iter().take_while(|order| told.contains(order)).last();
    let open = placed.iter().filter(|order| !told.contains(order));
    let events = events::about::<OrderPlaced<'_>>(conn, open.map(Uuid::to_string)).await?;
    Ok(Stretch {
        last: placed.last().copied().map(OrderId::from),
        settled: settled.copied().map(OrderId::from),
        forgotten: unattended(conn, &events).await?,
    })
}

/// Those of these events that neither wait to be published nor have a notification.
pub async fn unattended(conn: &impl ConnectionTrait, events: &[EventId]) -> Result<Vec<EventId>> {
    events::missing_in::<notification::Entity>(conn, events, notification::Column::EventId).await
}
