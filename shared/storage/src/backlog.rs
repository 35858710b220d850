use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QuerySelect, Select};

use crate::{Result, clock};

/// What is still to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    pub pending: i64,
    /// For how long the one that is due the longest has been due, in seconds; 0 if none is due.
    pub lag_seconds: f64,
}

#[derive(FromQueryResult)]
struct Row {
    pending: i64,
    oldest: Option<f64>,
}

/// Measures what these rows come to, by the column that says when each is due.
pub(crate) async fn measure<E: EntityTrait>(
    conn: &impl ConnectionTrait,
    pending: Select<E>,
    due_at: Expr,
) -> Result<Backlog> {
    let oldest = clock::seconds_since(conn.get_database_backend(), due_at.clone().min());
    let row = pending
        .select_only()
        // Of a column that indexes on what is due have, so that no row need be read.
        .expr_as(due_at.count(), "pending")
        .expr_as(oldest, "oldest")
        .into_model::<Row>()
        .one(conn)
        .await?;
    let (pending, oldest) = row.map_or((0, None), |row| (row.pending, row.oldest));
    Ok(Backlog {
        pending,
        lag_seconds: oldest.unwrap_or_default().max(0.0),
    })
}
