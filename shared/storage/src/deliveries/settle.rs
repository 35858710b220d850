//! What came of attempts.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query, Value};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryTrait};
use tidings_domain::{Attempt, AttemptResult};
use uuid::Uuid;

use super::{Leased, PENDING};
use crate::entities::delivery::{Column, Entity};
use crate::entities::delivery_attempt as attempt;
use crate::entities::webhook_endpoint;
use crate::{Result, Tx, bulk, clock};

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

/// What became of an outcome that was to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Recorded {
        /// Since when the endpoint has been failing, this attempt not counted.
        failing_since: Option<DateTime<Utc>>,
    },
    /// The lease it was made under was lost, so nothing of it is recorded.
    Ignored,
}

/// Records attempts and what is to become of their deliveries, in a number of statements that does not
/// depend on how many they are. Answers for each what became of it; of two under one lease the first counts.
pub async fn settle(tx: &Tx<'_>, outcomes: &[Outcome<'_>]) -> Result<Vec<Settled>> {
    let mut settled = vec![Settled::Ignored; outcomes.len()];
    let mut waiting: Vec<_> = outcomes.iter().zip(&mut settled).collect();
    while !waiting.is_empty() {
        // A delivery's second outcome is heard after the first, and counts if that did not.
        let mut seen = HashSet::with_capacity(waiting.len());
        let (first, later) = waiting
            .into_iter()
            .partition(|(outcome, _)| seen.insert(outcome.lease.id));
        settle_distinct(tx, first).await?;
        waiting = later;
    }
    Ok(settled)
}

/// The same for outcomes of deliveries that are different ones.
async fn settle_distinct(tx: &Tx<'_>, outcomes: Vec<(&Outcome<'_>, &mut Settled)>) -> Result<()> {
    let all = || outcomes.iter().map(|(outcome, _)| *outcome);
    let mut recorded = HashMap::with_capacity(outcomes.len());
    for (verdict, status) in [(Verdict::Delivered, "delivered"), (Verdict::Failed, "failed")] {
        let ending: Vec<_> = all().filter(|outcome| *outcome.verdict == verdict).collect();
        if !ending.is_empty() {
            let update = attempted(tx.backend(), &ending)
                .col_expr(Column::Status, status.into())
                .col_expr(Column::SettledAt, clock::now(tx.backend()));
            recorded.extend(those_updated(tx, update).await?);
        }
    }
    let (again, delays): (Vec<_>, Vec<_>) = all()
        .filter_map(|outcome| match outcome.verdict {
            Verdict::Retry(delay) => Some((outcome, clock::span(tx.backend(), delay.as_secs_f64()))),
            _ => None,
        })
        .unzip();
    if !again.is_empty() {
        let delay = bulk::by_id(tx.backend(), Column::Id, ids(&again).zip(delays).collect());
        let update = attempted(tx.backend(), &again).col_expr(Column::DueAt, clock::after_span(tx.backend(), delay));
        recorded.extend(those_updated(tx, update).await?);
    }
    let attempts = all().filter(|outcome| recorded.contains_key(&outcome.lease.id.as_uuid()));
    bulk::insert(tx, attempts.map(row)).await?;
    for (outcome, settled) in outcomes {
        if let Some(&failing_since) = recorded.get(&outcome.lease.id.as_uuid()) {
            *settled = Settled::Recorded { failing_since };
        }
    }
    Ok(())
}

fn ids<'a>(outcomes: &[&'a Outcome<'a>]) -> impl Iterator<Item = Uuid> {
    outcomes.iter().map(|outcome| outcome.lease.id.as_uuid())
}

/// An attempt more, and no lease any longer, for those whose lease is still the one it was made under.
fn attempted(backend: DbBackend, outcomes: &[&Outcome<'_>]) -> sea_orm::UpdateMany<Entity> {
    let of_lease = |value: fn(&Leased) -> Value| {
        let values = ids(outcomes).zip(outcomes.iter().map(|outcome| value(outcome.lease)));
        bulk::by_id(backend, Column::Id, values.collect())
    };
    Entity::update_many()
        .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
        .col_expr(Column::LeaseToken, Expr::value(Option::<Uuid>::None))
        .col_expr(Column::LeasedUntil, Expr::value(Option::<DateTime<Utc>>::None))
        .filter(bulk::is_any(backend, Column::Id, ids(outcomes)))
        .filter(Column::Status.eq(PENDING))
        .filter(Expr::col(Column::LeaseToken).eq(of_lease(|lease| lease.token.into())))
        .filter(Expr::col(Column::Attempts).eq(of_lease(|lease| lease.attempts.into())))
}

/// Carries an update out; answers the deliveries it met, and since when their endpoints have been failing.
async fn those_updated(tx: &Tx<'_>, update: sea_orm::UpdateMany<Entity>) -> Result<Vec<(Uuid, Option<DateTime<Utc>>)>> {
    let failing_since = Query::select()
        .column(webhook_endpoint::Column::FailingSince)
        .from(webhook_endpoint::Entity)
        .and_where(
            Expr::col((webhook_endpoint::Entity, webhook_endpoint::Column::Id))
                .eq(Expr::col((Entity, Column::EndpointId))),
        )
        .take();
    let returned: [Expr; 2] = [
        Expr::col(Column::Id),
        Expr::SubQuery(None, Box::new(failing_since.into())),
    ];
    let mut update = update.into_query();
    update.returning(Query::returning().exprs(returned));
    let rows = tx.conn().query_all(&update).await?;
    let rows = rows
        .into_iter()
        .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)));
    rows.collect()
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
