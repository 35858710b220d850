//! When deliveries that have ended are cleared away.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::PENDING;
use crate::entities::delivery::{Column, Entity};
use crate::entities::delivery_attempt as attempt;
use crate::{Result, Tx, bulk, events};

/// How long deliveries that have ended are kept, with their attempts. Longer than any record stays on its topic:
/// one that is read again must find that it was seen to.
pub const KEPT: Duration = Duration::from_secs(2 * events::KEPT.as_secs());

/// Drops deliveries that have ended and are kept no longer, with their attempts, the oldest first and `limit` at
/// most; answers how many.
pub async fn expire(tx: &Tx<'_>, now: DateTime<Utc>, limit: u64) -> Result<u64> {
    let old = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.lt(events::first_since(now - KEPT)))
        .filter(Expr::col(Column::Status).ne(PENDING))
        .order_by_asc(Column::Id)
        .limit(limit);
    let old: Vec<Uuid> = old.into_tuple().all(tx.conn()).await?;
    if old.is_empty() {
        return Ok(0);
    }
    let ids = || old.iter().copied();
    let attempts = attempt::Entity::delete_many();
    let attempts = attempts.filter(bulk::is_any(tx.backend(), attempt::Column::DeliveryId, ids()));
    attempts.exec(tx.conn()).await?;
    let deliveries = Entity::delete_many().filter(bulk::is_any(tx.backend(), Column::Id, ids()));
    Ok(deliveries.exec(tx.conn()).await?.rows_affected)
}
