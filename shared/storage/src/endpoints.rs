//! Webhook endpoints.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tidings_domain::{EndpointId, EndpointState, SealedSecret, WebhookEndpoint};

use crate::entities::webhook_endpoint::{ActiveModel, Column, Entity, Model};
use crate::{Error, Result, Tx};

impl TryFrom<Model> for WebhookEndpoint {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            url: row.url.parse()?,
            secret: SealedSecret::from_stored(row.secret),
            event_types: row.event_types.parse()?,
            state: row.state.parse()?,
            created_at: row.created_at,
            failing_since: row.failing_since,
            version: row.version,
        })
    }
}

fn row(endpoint: &WebhookEndpoint) -> ActiveModel {
    ActiveModel {
        id: Set(endpoint.id.to_string()),
        url: Set(endpoint.url.to_string()),
        secret: Set(endpoint.secret.as_stored().to_owned()),
        event_types: Set(endpoint.event_types.to_string()),
        state: Set(endpoint.state.as_str().to_owned()),
        created_at: Set(endpoint.created_at),
        failing_since: Set(endpoint.failing_since),
        deleted_at: Set(None),
        version: Set(endpoint.version),
    }
}

pub async fn insert(tx: &Tx<'_>, endpoint: &WebhookEndpoint) -> Result<()> {
    Entity::insert(row(endpoint)).exec_without_returning(tx.conn()).await?;
    Ok(())
}

/// Writes the endpoint as given, with the next version; answers it, or `None` if there is none.
pub async fn replace(tx: &Tx<'_>, endpoint: &WebhookEndpoint) -> Result<Option<WebhookEndpoint>> {
    let update = Entity::update_many()
        .set(ActiveModel {
            version: sea_orm::ActiveValue::NotSet,
            ..row(endpoint)
        })
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .filter(Column::Id.eq(endpoint.id.as_str()))
        .filter(Column::DeletedAt.is_null());
    one(update, tx).await
}

/// The secrets of all endpoints, deleted ones included.
pub async fn secrets(conn: &impl ConnectionTrait) -> Result<Vec<(EndpointId, SealedSecret)>> {
    let rows = Entity::find().order_by_asc(Column::Id).all(conn).await?;
    let secret = |row: Model| (row.id.into(), SealedSecret::from_stored(row.secret));
    Ok(rows.into_iter().map(secret).collect())
}

/// Writes the same secret in another form, if it is still in the old one; answers whether it was. Not a
/// change that anyone is told of, so the version stays.
pub async fn reseal(tx: &Tx<'_>, id: &EndpointId, old: &SealedSecret, new: &SealedSecret) -> Result<bool> {
    let update = Entity::update_many()
        .col_expr(Column::Secret, new.as_stored().into())
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::Secret.eq(old.as_stored()));
    Ok(update.exec(tx.conn()).await?.rows_affected > 0)
}

/// Stops sending anything to an endpoint; `None` if that was so before, or if it is the default one.
pub async fn disable(tx: &Tx<'_>, id: &EndpointId) -> Result<Option<WebhookEndpoint>> {
    if id.is_default() {
        return Ok(None);
    }
    let update = Entity::update_many()
        .col_expr(Column::State, EndpointState::Disabled.as_str().into())
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::State.eq(EndpointState::Enabled.as_str()))
        .filter(Column::DeletedAt.is_null());
    one(update, tx).await
}

/// Deletes an endpoint; answers what it was, or `None` if there is none. Its deliveries stay readable.
pub async fn delete(tx: &Tx<'_>, id: &EndpointId, now: DateTime<Utc>) -> Result<Option<WebhookEndpoint>> {
    let update = Entity::update_many()
        .col_expr(Column::DeletedAt, Expr::value(now))
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::DeletedAt.is_null());
    one(update, tx).await
}

/// Notes that an endpoint fails, from this time on unless it did already. Not a change that anyone is
/// told of, so the version stays.
pub async fn note_failing(tx: &Tx<'_>, id: &EndpointId, since: DateTime<Utc>) -> Result<()> {
    let update = Entity::update_many()
        .col_expr(Column::FailingSince, Expr::value(since))
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::FailingSince.is_null());
    update.exec(tx.conn()).await?;
    Ok(())
}

/// Notes that an endpoint works.
pub async fn note_working(tx: &Tx<'_>, id: &EndpointId) -> Result<()> {
    let update = Entity::update_many()
        .col_expr(Column::FailingSince, Expr::value(Option::<DateTime<Utc>>::None))
        .filter(Column::Id.eq(id.as_str()))
        .filter(Column::FailingSince.is_not_null());
    update.exec(tx.conn()).await?;
    Ok(())
}

pub async fn find(conn: &impl ConnectionTrait, id: &EndpointId) -> Result<Option<WebhookEndpoint>> {
    let row = Entity::find_by_id(id.as_str())
        .filter(Column::DeletedAt.is_null())
        .one(conn)
        .await?;
    row.map(WebhookEndpoint::try_from).transpose()
}

/// All endpoints, disabled ones included, oldest first.
pub async fn list(conn: &impl ConnectionTrait) -> Result<Vec<WebhookEndpoint>> {
    let rows = Entity::find()
        .filter(Column::DeletedAt.is_null())
        .order_by_asc(Column::CreatedAt);
    rows.order_by_asc(Column::Id)
        .all(conn)
        .await?
        .into_iter()
        .map(WebhookEndpoint::try_from)
        .collect()
}

/// Something that is different after every change that anyone is told of, and cheaper than [`list`].
pub async fn revision(conn: &impl ConnectionTrait) -> Result<(i64, i64)> {
    let versions = Expr::col(Column::Version).sum().cast_as("bigint");
    let row = Entity::find()
        .select_only()
        .expr(Expr::col(Column::Id).count())
        .expr(Func::coalesce([versions, Expr::value(0_i64)]));
    Ok(row.into_tuple().one(conn).await?.unwrap_or_default())
}

async fn one(update: sea_orm::UpdateMany<Entity>, tx: &Tx<'_>) -> Result<Option<WebhookEndpoint>> {
    update
        .exec_with_returning(tx.conn())
        .await?
        .into_iter()
        .next()
        .map(WebhookEndpoint::try_from)
        .transpose()
}
