//! When notifications that were settled are cleared away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use tidings_domain::NotificationStatus;

use crate::entities::notification::{Column, Entity};
use crate::{Result, Tx, deliveries, events};

/// How long notifications are kept after they were asked for. As long as deliveries and for the same reason: an
/// event that is read again must find that its user was told.
pub const KEPT: Duration = deliveries::KEPT;

/// Drops notifications that were settled and are kept no longer, the oldest first and `limit` at most; answers how
/// many. What another process is dropping is left to it.
pub async fn expire(tx: &Tx<'_>, now: DateTime<Utc>, limit: u64) -> Result<u64> {
    let old = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.lt(events::first_since(now - KEPT)))
        .filter(Expr::col(Column::Status).ne(NotificationStatus::Requested.as_str()))
        .order_by_asc(Column::Id)
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    let deleted = Entity::delete_many().filter(Column::Id.in_subquery(old));
    Ok(deleted.exec(tx.conn()).await?.rows_affected)
}
