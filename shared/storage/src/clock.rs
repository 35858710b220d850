//! The database's clock, in both dialects.
//!
//! Times of leases and due times are written and compared by expressions of the database only. SQLite
//! keeps times as text; the format here sorts together with the one that sqlx writes.

use std::time::Duration;

use sea_orm::sea_query::{Condition, Expr, ExprTrait, Value};
use sea_orm::{ColumnTrait, DbBackend};

/// The present.
pub(crate) fn now(backend: DbBackend) -> Expr {
    match backend {
        DbBackend::Postgres => Expr::cust("clock_timestamp()"),
        _ => Expr::cust("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"),
    }
}

/// The present and that much more.
pub(crate) fn after(backend: DbBackend, delay: Duration) -> Expr {
    after_span(backend, Expr::value(span(backend, delay.as_secs_f64())))
}

/// The present less that much.
pub(crate) fn before(backend: DbBackend, age: Duration) -> Expr {
    after_span(backend, Expr::value(span(backend, -age.as_secs_f64())))
}

/// The present and a [`span`] more.
pub(crate) fn after_span(backend: DbBackend, span: Expr) -> Expr {
    match backend {
        DbBackend::Postgres => Expr::cust_with_exprs("clock_timestamp() + $1 * interval '1 second'", [span]),
        _ => Expr::cust_with_exprs("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', ?)", [span]),
    }
}

/// A span of time, as the database adds it.
pub(crate) fn span(backend: DbBackend, seconds: f64) -> Value {
    match backend {
        DbBackend::Postgres => seconds.into(),
        _ => format!("{seconds:+.3} seconds").into(),
    }
}

/// Seconds since the time in a column, as a floating-point number.
pub(crate) fn seconds_since(backend: DbBackend, column: Expr) -> Expr {
    match backend {
        DbBackend::Postgres => Expr::cust_with_exprs("extract(epoch from clock_timestamp() - $1)::float8", [column]),
        _ => Expr::cust_with_exprs("(julianday('now') - julianday(?)) * 86400.0", [column]),
    }
}

/// Whether the time in a column is not in the future.
pub(crate) fn has_come(backend: DbBackend, column: Expr) -> Expr {
    let now = match backend {
        // The same for the whole statement, unlike `clock_timestamp()`, so that an index on the column is of use.
        DbBackend::Postgres => Expr::cust("statement_timestamp()"),
        _ => now(backend),
    };
    column.lte(now)
}

/// Whether the time in a column is over, or there is none.
pub(crate) fn is_over<C: ColumnTrait>(backend: DbBackend, column: C) -> Condition {
    Condition::any()
        .add(column.is_null())
        .add(Expr::col(column).lt(now(backend)))
}
