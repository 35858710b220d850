//! Many rows in one statement.
//!
//! On PostgreSQL such a statement has one array per column instead of one parameter per value. Its text
//! then says nothing of how many rows there are, so that it is parsed and planned once and not for every
//! number of them. SQLite has no arrays, and prepares a statement without being asked over a network.

use std::collections::BTreeMap;

use sea_orm::sea_query::extension::postgres::PgFunc;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Func, InsertStatement, Query, Value};
use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, Iterable, QueryResult};
use uuid::Uuid;

use crate::{Result, Tx};

type ColumnOf<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Column;

/// Inserts rows, in their order as long as none of them has nulls.
pub(crate) async fn insert<A: ActiveModelTrait>(tx: &Tx<'_>, rows: impl IntoIterator<Item = A>) -> Result<()> {
    insert_with(tx, rows, &[], |_| {}).await.map(drop)
}

/// Inserts rows and answers what `refine` makes the statement return. What is `computed` is the same
/// expression in each of them.
pub(crate) async fn insert_with<A: ActiveModelTrait>(
    tx: &Tx<'_>,
    rows: impl IntoIterator<Item = A>,
    computed: &[(ColumnOf<A>, Expr)],
    refine: impl Fn(&mut InsertStatement),
) -> Result<Vec<QueryResult>> {
    let mut returned = Vec::new();
    for (which, rows) in alike(rows) {
        let columns = ColumnOf::<A>::iter().zip(which).filter(|(_, there)| *there);
        let columns = columns.map(|(column, _)| column);
        let mut statement = Query::insert();
        statement
            .into_table(A::Entity::default())
            .columns(columns.chain(computed.iter().map(|(column, _)| *column)));
        let computed = computed.iter().map(|(_, expression)| expression.clone());
        match tx.backend() {
            DbBackend::Postgres => {
                let mut select = Query::select();
                select.exprs(transposed(rows).into_iter().map(unnest)).exprs(computed);
                // Fails only if there were not as many columns as expressions.
                let _ = statement.select_from(select);
            }
            _ => {
                for row in rows {
                    statement.values_panic(row.into_iter().map(Expr::value).chain(computed.clone()));
                }
            }
        }
        refine(&mut statement);
        returned.extend(tx.conn().query_all(&statement).await?);
    }
    Ok(returned)
}

/// Whether a column has one of these values.
pub(crate) fn is_any<C: ColumnTrait>(
    backend: DbBackend,
    column: C,
    values: impl IntoIterator<Item = impl Into<Value>>,
) -> Expr {
    let values: Vec<Value> = values.into_iter().map(Into::into).collect();
    match backend {
        DbBackend::Postgres if !values.is_empty() => {
            Expr::col(column.as_column_ref()).eq(PgFunc::any(Expr::value(array(values))))
        }
        _ => Expr::col(column.as_column_ref()).is_in(values),
    }
}

/// The value that belongs to a row, by the row's id. It must be in `values`.
pub(crate) fn by_id<C: ColumnTrait>(backend: DbBackend, id: C, values: Vec<(Uuid, Value)>) -> Expr {
    let id = Expr::col(id.as_column_ref());
    match backend {
        DbBackend::Postgres => {
            let (ids, values): (Vec<Value>, _) = values.into_iter().map(|(id, value)| (id.into(), value)).unzip();
            let [values, ids] = [values, ids].map(|values| Expr::value(array(values)));
            Expr::cust_with_exprs(
                "(SELECT v FROM UNNEST($1, $2) AS t(v, i) WHERE i = $3)",
                [values, ids, id],
            )
        }
        _ => {
            let cases = values.into_iter().fold(CaseStatement::new(), |cases, (of, value)| {
                cases.case(id.clone().eq(of), Expr::value(value))
            });
            cases.into()
        }
    }
}

type Row = Vec<Value>;

/// Rows by which of their columns have a value; the others are null by themselves.
fn alike<A: ActiveModelTrait>(rows: impl IntoIterator<Item = A>) -> BTreeMap<Vec<bool>, Vec<Row>> {
    let mut alike: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for row in rows {
        let values: Vec<_> = ColumnOf::<A>::iter()
            .map(|column| row.get(column).into_value().filter(Value::is_some))
            .collect();
        let which = values.iter().map(Option::is_some).collect();
        alike
            .entry(which)
            .or_default()
            .push(values.into_iter().flatten().collect());
    }
    alike
}

/// The values of each column, of which there is at least one.
fn transposed(rows: Vec<Row>) -> Vec<Vec<Value>> {
    let mut columns: Vec<Vec<Value>> = Vec::new();
    for row in rows {
        columns.resize_with(row.len(), Vec::new);
        columns
            .iter_mut()
            .zip(row)
            .for_each(|(column, value)| column.push(value));
    }
    columns
}

fn unnest(values: Vec<Value>) -> Expr {
    Func::cust("UNNEST").arg(Expr::value(array(values))).into()
}

fn array(values: Vec<Value>) -> Value {
    let kind = values
        .first()
        .map_or(sea_orm::sea_query::ArrayType::String, Value::array_type);
    Value::Array(kind, Some(Box::new(values)))
}
