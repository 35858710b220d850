//! Notifications: what users are told by email, SMS and the like.
//!
//! **What it guarantees.** [`notify`] is the one way to tell a user something. For one event and rule there
//! is one notification by the channel that was asked for, however often it is called. A notification is
//! worked on under a lease, and what came of an attempt counts only under the lease it was made under
//! ([`settle`]). It is settled once, together with its event.
//!
//! **What it does not.** An attempt that was made but not recorded is made again, under the same id.
//!
//! **What may be changed safely.** The lease's length, as long as it is longer than an attempt may take, and
//! for how long a notification is worth sending.

mod expiry;

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, LockBehavior, LockType, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use tidings_domain::{
    ChannelName, Clock, EventId, Notification, NotificationId, NotificationStatus, NotificationText, OrderId, Route,
    UserId,
};
use tidings_events::{NotificationFailed, NotificationRequested, NotificationSent, Origin};
use uuid::Uuid;

pub use self::expiry::{KEPT, expire};
use crate::entities::notification::{ActiveModel, Column, Entity, Model};
use crate::{Backlog, Error, Result, Tx, backlog, bulk, clock, outbox};

/// How long a worker has a notification to itself. Longer than an attempt may take.
pub const LEASE: Duration = Duration::from_secs(60);
/// What is not sent by then is better not sent at all.
pub const WORTH_SENDING: Duration = Duration::from_secs(24 * 60 * 60);

/// Something that a user is to be told.
#[derive(Debug, Clone)]
pub struct Notice {
    pub user: UserId,
    pub wanted: ChannelName,
    pub route: Route,
    pub subject: String,
    pub message: NotificationText,
    /// `None` if somebody asked for this very notification.
    pub cause: Option<Cause>,
    pub origin: Origin,
}

/// The event that a user is told about, and the rule that says so.
#[derive(Debug, Clone)]
pub struct Cause {
    pub event: EventId,
    pub rule: &'static str,
    pub order: Option<OrderId>,
}

impl TryFrom<Model> for Notification {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            user: row.user_id.into(),
            order: row.order_id.map(OrderId::from),
            wanted: row.wanted.parse()?,
            route: Route {
                channel: row.channel.parse()?,
                recipient: row.recipient,
                fallback: row.fallback,
            },
            subject: row.subject,
            message: NotificationText::parse(row.message)?,
            status: row.status.parse()?,
            attempts: row.attempts,
            answer: row.answer,
            created_at: row.created_at,
            sent_at: row.sent_at,
            version: row.version,
        })
    }
}

/// Has users told something: adds the notifications with their events, and answers them. What there is
/// already for the same event, rule and channel is left alone and missing from the answer.
pub async fn notify(tx: &Tx<'_>, notices: Vec<Notice>, clock: &dyn Clock) -> Result<Vec<Notification>> {
    let (mut rows, mut asked) = (Vec::with_capacity(notices.len()), Vec::with_capacity(notices.len()));
    for notice in notices {
        let (event, rule, order) = match notice.cause {
            Some(cause) => (Some(cause.event), cause.rule, cause.order),
            None => (None, "", None),
        };
        let notification = Notification {
            id: NotificationId::generate(clock),
            user: notice.user,
            order,
            wanted: notice.wanted,
            route: notice.route,
            subject: notice.subject,
            message: notice.message,
            status: NotificationStatus::Requested,
            attempts: 0,
            answer: None,
            created_at: clock.now(),
            sent_at: None,
            version: 1,
        };
        let record = outbox::record(&NotificationRequested(&notification), &notice.origin, clock)?;
        rows.push(row(&notification, event.unwrap_or(record.id), rule));
        asked.push((notification, record));
    }
    let due_now = [(Column::DueAt, clock::now(tx.backend()))];
    let known = OnConflict::columns([Column::EventId, Column::Rule, Column::Wanted])
        .do_nothing()
        .to_owned();
    let added = bulk::insert_with(tx, rows, &due_now, |statement| {
        statement.on_conflict(known.clone()).returning_col(Column::Id);
    });
    let added = added.await?.into_iter().map(|row| Ok(row.try_get::<Uuid>("", "id")?));
    let added: HashSet<Uuid> = added.collect::<Result<_>>()?;
    asked.retain(|(notification, _)| added.contains(&notification.id.as_uuid()));
    let (notifications, records): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    if !records.is_empty() {
        outbox::enqueue_all(tx, records).await?;
    }
    Ok(notifications)
}

fn row(notification: &Notification, event: EventId, rule: &str) -> ActiveModel {
    let route = &notification.route;
    ActiveModel {
        id: Set(notification.id.as_uuid()),
        user_id: Set(notification.user.as_i64()),
        order_id: Set(notification.order.map(OrderId::as_uuid)),
        event_id: Set(event.as_uuid()),
        rule: Set(rule.to_owned()),
        wanted: Set(notification.wanted.as_str().to_owned()),
        channel: Set(route.channel.as_str().to_owned()),
        recipient: Set(route.recipient.clone()),
        fallback: Set(route.fallback.clone()),
        subject: Set(notification.subject.clone()),
        message: Set(notification.message.as_str().to_owned()),
        status: Set(notification.status.as_str().to_owned()),
        attempts: Set(notification.attempts),
        created_at: Set(notification.created_at),
        version: Set(notification.version),
        ..Default::default()
    }
}

pub async fn find(conn: &impl ConnectionTrait, id: NotificationId) -> Result<Option<Notification>> {
    let found = Entity::find_by_id(id.as_uuid()).one(conn).await?;
    found.map(Notification::try_from).transpose()
}

/// Which notifications are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotificationFilter {
    pub user: Option<UserId>,
    pub order: Option<OrderId>,
}

/// The newest `limit` of those that pass the filter, the newest first.
pub async fn list(conn: &impl ConnectionTrait, filter: NotificationFilter, limit: u64) -> Result<Vec<Notification>> {
    let mut newest = Entity::find().order_by_desc(Column::Id).limit(limit);
    if let Some(user) = filter.user {
        newest = newest.filter(Column::UserId.eq(user.as_i64()));
    }
    if let Some(order) = filter.order {
        newest = newest.filter(Column::OrderId.eq(order.as_uuid()));
    }
    newest
        .all(conn)
        .await?
        .into_iter()
        .map(Notification::try_from)
        .collect()
}

/// A notification that the caller has to itself for [`LEASE`].
#[derive(Debug, Clone)]
pub struct Leased {
    pub notification: Notification,
    /// The event that it follows from.
    pub event: EventId,
    /// Whether it is not worth sending any more.
    pub expired: bool,
    pub token: Uuid,
}

/// Leases up to `limit` notifications of a channel that are due and that nobody works on, the longest due first.
pub async fn claim(tx: &Tx<'_>, channel: ChannelName, limit: u64) -> Result<Vec<Leased>> {
    let (backend, token) = (tx.backend(), Uuid::new_v4());
    let due = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(is_waiting(channel))
        .filter(clock::has_come(backend, Expr::col(Column::DueAt)))
        .filter(clock::is_over(backend, Column::LeasedUntil))
        .order_by_asc(Column::DueAt)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    let claimed = Entity::update_many()
        .col_expr(Column::LeaseToken, Expr::value(token))
        .col_expr(Column::LeasedUntil, clock::after(backend, LEASE))
        .filter(Column::Id.in_subquery(due))
        .exec_with_returning(tx.conn())
        .await?;
    let mut leased = Vec::with_capacity(claimed.len());
    for row in claimed {
        // On the database's clock: the lease began now.
        let now = row.leased_until.unwrap_or(row.due_at) - LEASE;
        leased.push(Leased {
            event: row.event_id.into(),
            expired: (now - row.created_at).to_std().is_ok_and(|age| age > WORTH_SENDING),
            notification: row.try_into()?,
            token,
        });
    }
    leased.sort_by_key(|leased| leased.notification.id);
    Ok(leased)
}

fn is_waiting(channel: ChannelName) -> Condition {
    Condition::all()
        .add(is_requested())
        .add(Column::Channel.eq(channel.as_str()))
}

/// Not with the status as a parameter, for which no database would choose the index on what is due.
fn is_requested() -> Expr {
    Expr::col(Column::Status).eq(Expr::Constant(NotificationStatus::Requested.as_str().into()))
}

/// In how long the next notification of a channel is due that nobody works on; zero if one is due already.
pub async fn next_due(conn: &impl ConnectionTrait, channel: ChannelName) -> Result<Option<Duration>> {
    let backend = conn.get_database_backend();
    let since = Entity::find()
        .select_only()
        .expr(clock::seconds_since(backend, Expr::col(Column::DueAt)))
        .filter(is_waiting(channel))
        .filter(clock::is_over(backend, Column::LeasedUntil))
        .order_by_asc(Column::DueAt)
        .limit(1)
        .into_tuple::<f64>()
        .one(conn)
        .await?;
    Ok(since.map(|since| Duration::try_from_secs_f64(-since).unwrap_or_default()))
}

/// Gives a lease back without an attempt having been made; the notification stays due.
pub async fn release(tx: &Tx<'_>, lease: &Leased) -> Result<()> {
    let update = unlease(lease).filter(Column::LeaseToken.eq(lease.token));
    update.exec(tx.conn()).await?;
    Ok(())
}

fn unlease(lease: &Leased) -> sea_orm::UpdateMany<Entity> {
    without_lease().filter(Column::Id.eq(lease.notification.id.as_uuid()))
}

fn without_lease() -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::LeaseToken, Expr::value(Option::<Uuid>::None))
        .col_expr(Column::LeasedUntil, Expr::value(Option::<DateTime<Utc>>::None))
}

/// Ends all leases. Only for a process that knows to be the only one, at its start: whoever held them is gone.
pub async fn clear_leases(tx: &Tx<'_>) -> Result<u64> {
    let update = without_lease()
        .filter(is_requested())
        .filter(Column::LeaseToken.is_not_null());
    Ok(update.exec(tx.conn()).await?.rows_affected)
}

/// What came of an attempt, or of seeing that none is worth making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether an attempt was made.
    pub attempted: bool,
    /// What the provider said, or why it could not be asked.
    pub answer: String,
    pub verdict: Verdict,
}

/// What is to become of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// By the attempt that was made then.
    Sent(DateTime<Utc>),
    Failed,
    /// Another attempt after this time.
    Retry(Duration),
}

/// Records what came of an attempt, with its event if that was the last. Answers the notification as it is
/// then, or `None` if the lease was lost meanwhile, and nothing is recorded.
pub async fn settle(
    tx: &Tx<'_>,
    lease: &Leased,
    outcome: &Outcome,
    origin: &Origin,
    clock: &dyn Clock,
) -> Result<Option<Notification>> {
    let backend = tx.backend();
    let attempts = Expr::col(Column::Attempts).add(i32::from(outcome.attempted));
    let mut update = unlease(lease)
        .col_expr(Column::Attempts, attempts)
        .col_expr(Column::Answer, outcome.answer.replace('\0', "\u{fffd}").into())
        .filter(Column::Status.eq(NotificationStatus::Requested.as_str()))
        .filter(Column::LeaseToken.eq(lease.token));
    let ended = |status: NotificationStatus| {
        move |update: sea_orm::UpdateMany<Entity>| {
            update
                .col_expr(Column::Status, status.as_str().into())
                .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        }
    };
    update = match &outcome.verdict {
        Verdict::Sent(at) => ended(NotificationStatus::Sent)(update).col_expr(Column::SentAt, Expr::value(*at)),
        Verdict::Failed => ended(NotificationStatus::Failed)(update),
        Verdict::Retry(delay) => update.col_expr(Column::DueAt, clock::after(backend, *delay)),
    };
    let Some(row) = update.exec_with_returning(tx.conn()).await?.into_iter().next() else {
        return Ok(None);
    };
    let notification = Notification::try_from(row)?;
    match notification.status {
        NotificationStatus::Requested => {}
        NotificationStatus::Sent => {
            outbox::enqueue(tx, &NotificationSent(&notification), origin, clock).await?;
        }
        NotificationStatus::Failed => {
            outbox::enqueue(tx, &NotificationFailed(&notification), origin, clock).await?;
        }
    }
    Ok(Some(notification))
}

/// Looks at what is still to be sent by a channel.
pub async fn backlog(conn: &impl ConnectionTrait, channel: ChannelName) -> Result<Backlog> {
    let pending = Entity::find().filter(is_waiting(channel));
    backlog::measure(conn, pending, Expr::col(Column::DueAt)).await
}
