//! Deliveries: one event owed to one endpoint.
//!
//! **What it guarantees.** An event has one delivery per endpoint, however often it is read from its
//! topic. A delivery is worked on under a lease; what came of an attempt is recorded only by the holder
//! of the lease under which the attempt was made ([`settle`] compares the token and the number of
//! attempts), so that of two workers one is heard. A worker that dies is replaced when its lease runs
//! out.
//!
//! **What it does not.** An attempt that was made but not recorded is made again: whether the receiver
//! got it cannot be known. It carries the delivery's id both times.
//!
//! **What may be changed safely.** The lease's length, as long as it is longer than an attempt may
//! take; how many are claimed at a time.

mod expiry;
mod settle;

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, OnConflict, Query, SelectStatement, UnionType};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use tidings_domain::{Attempt, AttemptResult, DeliveryId, EndpointId, EventId, MessageId};
use uuid::Uuid;

pub use self::expiry::{KEPT, expire};
pub use self::settle::{Outcome, Settled, Verdict, settle};
use crate::entities::delivery::{self, Column, Entity};
use crate::entities::{delivery_attempt, webhook_endpoint};
use crate::{Backlog, Result, Tx, backlog, bulk, clock};

/// How long a worker has a delivery to itself. Longer than an attempt may take.
pub const LEASE: Duration = Duration::from_secs(60);

const PENDING: &str = "pending";
const CANCELED: &str = "canceled";
/// Rows of one `INSERT` at most: databases limit how many values a statement may carry.
const INSERT_ROWS: usize = 1000;

/// A delivery to be made.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub id: DeliveryId,
    pub endpoint: EndpointId,
    pub event: EventId,
    /// The message that is settled by this delivery.
    pub message: Option<MessageId>,
    /// The lease under which the caller will make the first attempt itself, if it can at once.
    pub lease: Option<Uuid>,
}

/// A delivery that the caller has to itself for [`LEASE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    pub id: DeliveryId,
    pub endpoint: EndpointId,
    pub event: EventId,
    pub message: Option<MessageId>,
    /// Attempts made so far.
    pub attempts: i32,
    pub token: Uuid,
}

/// Adds deliveries; those that exist already are left alone. Answers which were added.
pub async fn insert(tx: &Tx<'_>, new: &[NewDelivery]) -> Result<Vec<DeliveryId>> {
    let mut added = Vec::with_capacity(new.len());
    for new in new.chunks(INSERT_ROWS) {
        let (leased, due): (Vec<_>, Vec<_>) = new.iter().partition(|delivery| delivery.lease.is_some());
        let now = || clock::now(tx.backend());
        let mut computed = vec![(Column::DueAt, now()), (Column::CreatedAt, now())];
        added.extend(insert_rows(tx, due, &computed).await?);
        computed.push((Column::LeasedUntil, clock::after(tx.backend(), LEASE)));
        added.extend(insert_rows(tx, leased, &computed).await?);
    }
    Ok(added)
}

async fn insert_rows(tx: &Tx<'_>, new: Vec<&NewDelivery>, computed: &[(Column, Expr)]) -> Result<Vec<DeliveryId>> {
    let rows = new.into_iter().map(|delivery| delivery::ActiveModel {
        id: Set(delivery.id.as_uuid()),
        endpoint_id: Set(delivery.endpoint.to_string()),
        event_id: Set(delivery.event.as_uuid()),
        message_id: Set(delivery.message.map(MessageId::as_uuid)),
        status: Set(PENDING.to_owned()),
        attempts: Set(0),
        lease_token: Set(delivery.lease),
        ..Default::default()
    });
    let known = OnConflict::columns([Column::EventId, Column::EndpointId])
        .do_nothing()
        .to_owned();
    let added = bulk::insert_with(tx, rows, computed, |statement| {
        statement.on_conflict(known.clone()).returning_col(Column::Id);
    });
    let ids = added
        .await?
        .into_iter()
        .map(|row| Ok(row.try_get::<Uuid>("", "id")?.into()));
    ids.collect()
}

/// Leases deliveries that are due and that nobody works on, for each of these endpoints the longest due
/// first and at most as many as stand beside it. None for an endpoint that is not sent anything.
pub async fn claim(tx: &Tx<'_>, endpoints: &[(EndpointId, u64)], token: Uuid) -> Result<Vec<Leased>> {
    let mut each = endpoints
        .iter()
        .map(|(endpoint, limit)| due_to(tx.backend(), endpoint, *limit));
    let Some(mut due) = each.next() else {
        return Ok(Vec::new());
    };
    due.unions(each.map(|due| (UnionType::All, due)));
    let claimed = Entity::update_many()
        .col_expr(Column::LeaseToken, Expr::value(token))
        .col_expr(Column::LeasedUntil, clock::after(tx.backend(), LEASE))
        .filter(Column::Id.in_subquery(due))
        .exec_with_returning(tx.conn())
        .await?;
    Ok(claimed.into_iter().map(|row| leased(row, token)).collect())
}

/// The ids of what is due to an endpoint and free.
fn due_to(backend: DbBackend, endpoint: &EndpointId, limit: u64) -> SelectStatement {
    let is_sent_anything = enabled()
        .and_where(webhook_endpoint::Column::Id.eq(endpoint.as_str()))
        .take();
    let due = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::EndpointId.eq(endpoint.as_str()))
        .filter(Expr::exists(is_sent_anything))
        .filter(is_pending())
        .filter(clock::has_come(backend, Expr::col(Column::DueAt)))
        .filter(clock::is_over(backend, Column::LeasedUntil))
        .order_by_asc(Column::DueAt)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    // Only a query within a query may have an order, a limit and locks of its own where several are put together.
    Query::select().column(Column::Id).from_subquery(due, "due").take()
}

/// Not with the status as a parameter, for which no database would choose the index on what is pending.
fn is_pending() -> Expr {
    Expr::col((Entity, Column::Status)).eq(Expr::Constant(PENDING.into()))
}

/// The endpoints that are sent anything.
fn enabled() -> SelectStatement {
    webhook_endpoint::Entity::find()
        .select_only()
        .column(webhook_endpoint::Column::Id)
        .filter(webhook_endpoint::Column::State.eq("enabled"))
        .filter(webhook_endpoint::Column::DeletedAt.is_null())
        .into_query()
}

fn leased(row: delivery::Model, token: Uuid) -> Leased {
    Leased {
        id: row.id.into(),
        endpoint: row.endpoint_id.into(),
        event: row.event_id.into(),
        message: row.message_id.map(MessageId::from),
        attempts: row.attempts,
        token,
    }
}

/// In how long the next delivery that nobody works on is due, zero if one is due already: for each
/// endpoint that is owed any, but for those that are disabled or named.
///
/// Looks up each endpoint's first, so what is owed to one, however much, does not stand before another's.
pub async fn next_due(conn: &impl ConnectionTrait, except: &[EndpointId]) -> Result<Vec<(EndpointId, Duration)>> {
    let backend = conn.get_database_backend();
    let due_at = Expr::col((Entity, Column::DueAt));
    let first = Entity::find()
        .select_only()
        .expr(clock::seconds_since(backend, due_at.clone()))
        .filter(
            Expr::col((Entity, Column::EndpointId))
                .eq(Expr::col((webhook_endpoint::Entity, webhook_endpoint::Column::Id))),
        )
        .filter(is_pending())
        .filter(clock::is_over(backend, Column::LeasedUntil))
        .order_by_asc(due_at)
        .limit(1)
        .into_query();
    let mut endpoints = enabled();
    endpoints.expr(Expr::SubQuery(None, Box::new(first.into())));
    if !except.is_empty() {
        let named = except.iter().map(EndpointId::as_str);
        endpoints.and_where(webhook_endpoint::Column::Id.is_not_in(named));
    }
    let rows = conn.query_all(&endpoints).await?;
    let mut next = Vec::with_capacity(rows.len());
    for row in rows {
        let since: Option<f64> = row.try_get_by_index(1)?;
        if let Some(since) = since {
            let endpoint: String = row.try_get_by_index(0)?;
            next.push((endpoint.into(), Duration::try_from_secs_f64(-since).unwrap_or_default()));
        }
    }
    Ok(next)
}

/// Gives leases back without an attempt having been made; the deliveries stay due.
pub async fn release(tx: &Tx<'_>, leases: &[Leased]) -> Result<()> {
    let mut of_token: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for lease in leases {
        of_token.entry(lease.token).or_default().push(lease.id.as_uuid());
    }
    for (token, ids) in of_token {
        let update = Entity::update_many()
            .col_expr(Column::LeaseToken, Expr::value(Option::<Uuid>::None))
            .col_expr(
                Column::LeasedUntil,
                Expr::value(Option::<chrono::DateTime<chrono::Utc>>::None),
            )
            .filter(bulk::is_any(tx.backend(), Column::Id, ids))
            .filter(Column::LeaseToken.eq(token));
        update.exec(tx.conn()).await?;
    }
    Ok(())
}

/// Cancels what is owed to endpoints that were deleted, `limit` at most; answers how much that was. Passes over
/// what somebody else is writing to at this moment: the next call will find it.
pub async fn cancel_orphans(tx: &Tx<'_>, limit: u64) -> Result<u64> {
    let deleted = webhook_endpoint::Entity::find()
        .select_only()
        .column(webhook_endpoint::Column::Id)
        .filter(webhook_endpoint::Column::DeletedAt.is_not_null())
        .into_query();
    // Waiting for a row here while holding an endpoint's would be half of a deadlock: an outcome is
    // written to its delivery first, and then to the endpoint.
    let orphans = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(is_pending())
        .filter(Column::EndpointId.in_subquery(deleted))
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    let update = Entity::update_many()
        .col_expr(Column::Status, CANCELED.into())
        .col_expr(Column::SettledAt, clock::now(tx.backend()))
        .filter(Column::Id.in_subquery(orphans));
    Ok(update.exec(tx.conn()).await?.rows_affected)
}

/// Ends all leases. Only for a process that knows to be the only one, at its start: whoever held them is gone.
pub async fn clear_leases(tx: &Tx<'_>) -> Result<u64> {
    let update = Entity::update_many()
        .col_expr(Column::LeaseToken, Expr::value(Option::<Uuid>::None))
        .col_expr(
            Column::LeasedUntil,
            Expr::value(Option::<chrono::DateTime<chrono::Utc>>::None),
        )
        .filter(is_pending())
        .filter(Column::LeaseToken.is_not_null());
    Ok(update.exec(tx.conn()).await?.rows_affected)
}

/// Looks at what is pending for endpoints that are enabled.
pub async fn backlog(conn: &impl ConnectionTrait) -> Result<Backlog> {
    let pending = Entity::find()
        .inner_join_endpoints()
        .filter(is_pending())
        .filter(webhook_endpoint::Column::State.eq("enabled"))
        // What those were owed that are deleted is canceled soon, and late for nobody.
        .filter(webhook_endpoint::Column::DeletedAt.is_null());
    backlog::measure(conn, pending, Expr::col((Entity, Column::DueAt))).await
}

trait JoinEndpoints {
    fn inner_join_endpoints(self) -> Self;
}

impl JoinEndpoints for sea_orm::Select<Entity> {
    fn inner_join_endpoints(mut self) -> Self {
        let same = Expr::col((Entity, Column::EndpointId))
            .eq(Expr::col((webhook_endpoint::Entity, webhook_endpoint::Column::Id)));
        QuerySelect::query(&mut self).inner_join(webhook_endpoint::Entity, same);
        self
    }
}

/// How many deliveries there are in each status.
pub async fn counts(conn: &impl ConnectionTrait) -> Result<Vec<(String, i64)>> {
    let counts = Entity::find()
        .select_only()
        .column(Column::Status)
        .expr(Expr::col(Column::Id).count())
        .group_by(Column::Status)
        .order_by_asc(Column::Status);
    Ok(counts.into_tuple().all(conn).await?)
}

/// Every attempt to deliver one event, by endpoint and number.
pub async fn attempts(conn: &impl ConnectionTrait, event: EventId) -> Result<Vec<(EndpointId, Attempt)>> {
    let deliveries = Entity::find()
        .filter(Column::EventId.eq(event.as_uuid()))
        .order_by_asc(Column::EndpointId);
    let mut attempts = Vec::new();
    for delivery in deliveries.all(conn).await? {
        let rows = delivery_attempt::Entity::find()
            .filter(delivery_attempt::Column::DeliveryId.eq(delivery.id))
            .order_by_asc(delivery_attempt::Column::Number);
        let rows = rows.all(conn).await?;
        attempts.extend(
            rows.into_iter()
                .map(|row| (delivery.endpoint_id.clone().into(), Attempt::from(row))),
        );
    }
    Ok(attempts)
}

impl From<delivery_attempt::Model> for Attempt {
    fn from(row: delivery_attempt::Model) -> Self {
        let result = match row.status {
            Some(status) => AttemptResult::Answered {
                status: u16::try_from(status).unwrap_or_default(),
                body: row.body.unwrap_or_default(),
                retry_after: None,
            },
            None => AttemptResult::Unanswered {
                error: row.error.unwrap_or_default(),
            },
        };
        let duration = Duration::from_millis(u64::try_from(row.duration_ms).unwrap_or_default());
        Self {
            number: row.number,
            started_at: row.started_at,
            duration,
            result,
        }
    }
}
