//! What came of attempts.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tidings_domain::{Attempt, AttemptResult};
use uuid::Uuid;

use super::{Leased, PENDING};
use crate::entities::delivery::{Column, Entity};
use crate::entities::delivery_attempt as attempt;
use crate::{Result, Tx, clock};

/// What is to become of a delivery after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    Failed,
    /// Another attempt after this time.
    Retry(Duration),
}

/// An attempt, the lease it was made under, and what follows from it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    pub lease: &'a Leased,
    pub attempt: &'a Attempt,
    pub verdict: &'a Verdict,
}

/// Records attempts and what is to become of their deliveries, in a number of statements that does not
/// depend on how many they are, retries aside. Answers for each whether it counts: one whose lease is no
/// longer the one it was made under does not, and nothing of it is recorded.
pub async fn settle(tx: &Tx<'_>, outcomes: &[Outcome<'_>]) -> Result<Vec<bool>> {
    // Locked, and always in the same order, so that what is read here still holds when it is written.
    let rows = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Attempts, Column::LeaseToken])
        .filter(Column::Id.is_in(outcomes.iter().map(|outcome| outcome.lease.id.as_uuid())))
        .filter(Column::Status.eq(PENDING))
        .order_by_asc(Column::Id)
        .lock_exclusive()
        .into_tuple::<(Uuid, i32, Option<Uuid>)>();
    let rows = rows.all(tx.conn()).await?;
    let mut standing: HashMap<_, _> = rows
        .into_iter()
        .map(|(id, attempts, token)| (id, (attempts, token)))
        .collect();
    let counts: Vec<_> = outcomes
        .iter()
        .map(|Outcome { lease, .. }| {
            let made_under = (lease.attempts, Some(lease.token));
            // Taken out, so that of two outcomes under one lease the first counts.
            standing.get(&lease.id.as_uuid()) == Some(&made_under) && standing.remove(&lease.id.as_uuid()).is_some()
        })
        .collect();

    let counting = || {
        outcomes
            .iter()
            .zip(&counts)
            .filter(|(_, counts)| **counts)
            .map(|(outcome, _)| outcome)
    };
    for (verdict, status) in [(Verdict::Delivered, "delivered"), (Verdict::Failed, "failed")] {
        let settled: Vec<_> = counting().filter(|outcome| *outcome.verdict == verdict).collect();
        if settled.is_empty() {
            continue;
        }
        let update = ended(settled.iter().map(|outcome| outcome.lease))
            .col_expr(Column::Status, status.into())
            .col_expr(Column::SettledAt, clock::now(tx.backend()));
        update.exec(tx.conn()).await?;
    }
    for outcome in counting() {
        if let Verdict::Retry(delay) = outcome.verdict {
            let due = clock::after(tx.backend(), *delay);
            ended([outcome.lease])
                .col_expr(Column::DueAt, due)
                .exec(tx.conn())
                .await?;
        }
    }
    let attempts: Vec<_> = counting().map(row).collect();
    if !attempts.is_empty() {
        attempt::Entity::insert_many(attempts)
            .exec_without_returning(tx.conn())
            .await?;
    }
    Ok(counts)
}

/// An attempt more, and no lease any longer.
fn ended<'a>(leases: impl IntoIterator<Item = &'a Leased>) -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
        .col_expr(Column::LeaseToken, Expr::value(Option::<Uuid>::None))
        .col_expr(Column::LeasedUntil, Expr::value(Option::<DateTime<Utc>>::None))
        .filter(Column::Id.is_in(leases.into_iter().map(|lease| lease.id.as_uuid())))
}

fn row(outcome: &Outcome<'_>) -> attempt::ActiveModel {
    let Attempt {
        number,
        started_at,
        duration,
        result,
    } = outcome.attempt;
    let (status, body, error) = match result {
        AttemptResult::Answered { status, body, .. } => {
            (i16::try_from(*status).ok(), Some(body.replace('\0', "\u{fffd}")), None)
        }
        AttemptResult::Unanswered { error } => (None, None, Some(error.clone())),
    };
    attempt::ActiveModel {
        delivery_id: Set(outcome.lease.id.as_uuid()),
        number: Set(*number),
        started_at: Set(*started_at),
        duration_ms: Set(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        status: Set(status),
        body: Set(body),
        error: Set(error),
    }
}
