//! Keys to the API. One that is revoked stays as a row that events refer to.

use std::fmt;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use tidings_domain::{ApiKey, ApiKeyId, KeyName, Scopes};

use crate::entities::api_key::{ActiveModel, Column, Entity, Model};
use crate::{Error, Place, Result, Tx};

/// SHA-256 of a key's secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(hidden)")
    }
}

impl TryFrom<Model> for ApiKey {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            name: KeyName::parse(row.name)?,
            role: row.role.parse()?,
            scopes: Scopes::known_of(&row.scopes),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
            version: row.version,
        })
    }
}

pub async fn insert(tx: &Tx<'_>, key: &ApiKey, hash: SecretHash) -> Result<()> {
    let row = ActiveModel {
        id: Set(key.id.as_uuid()),
        name: Set(key.name.as_str().to_owned()),
        role: Set(key.role.as_str().to_owned()),
        scopes: Set(key.scopes.to_string()),
        secret_hash: Set(hash.0.to_vec()),
        created_at: Set(key.created_at),
        expires_at: Set(key.expires_at),
        revoked_at: Set(key.revoked_at),
        last_used_at: Set(key.last_used_at),
        version: Set(key.version),
    };
    Entity::insert(row).exec_without_returning(tx.conn()).await?;
    Ok(())
}

/// Ends a key from a time on; answers it as it is then, or `None` if there is none that is valid for longer.
pub async fn revoke(tx: &Tx<'_>, id: ApiKeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>> {
    let longer = Condition::any()
        .add(Column::RevokedAt.is_null())
        .add(Column::RevokedAt.gt(at));
    let update = Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(at))
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .filter(Column::Id.eq(id.as_uuid()))
        .filter(longer);
    let updated = update.exec_with_returning(tx.conn()).await?;
    updated.into_iter().next().map(ApiKey::try_from).transpose()
}

/// Notes when a key was last used. Not a change that anyone is told of, so the version stays.
pub async fn note_use(tx: &Tx<'_>, id: ApiKeyId, at: DateTime<Utc>) -> Result<()> {
    let earlier = Condition::any()
        .add(Column::LastUsedAt.is_null())
        .add(Column::LastUsedAt.lt(at));
    let update = Entity::update_many()
        .col_expr(Column::LastUsedAt, Expr::value(at))
        .filter(Column::Id.eq(id.as_uuid()))
        .filter(earlier);
    update.exec(tx.conn()).await?;
    Ok(())
}

pub async fn find(conn: &impl ConnectionTrait, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let row = Entity::find_by_id(id.as_uuid()).one(conn).await?;
    row.map(ApiKey::try_from).transpose()
}

/// A page of all keys, those that open nothing any more included, by id.
pub async fn list(conn: &impl ConnectionTrait, place: Place<ApiKeyId>, limit: u64) -> Result<Vec<ApiKey>> {
    let keys = Entity::find().limit(limit);
    let rows = match place {
        Place::Start => keys.order_by_asc(Column::Id).all(conn).await?,
        Place::After(id) => {
            let after = keys.filter(Column::Id.gt(id.as_uuid()));
            after.order_by_asc(Column::Id).all(conn).await?
        }
        Place::Before(id) => {
            let before = keys.filter(Column::Id.lt(id.as_uuid()));
            let mut rows = before.order_by_desc(Column::Id).all(conn).await?;
            rows.reverse();
            rows
        }
    };
    rows.into_iter().map(ApiKey::try_from).collect()
}

/// All keys that are not revoked by that time, with their hashes.
pub async fn valid(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<Vec<(ApiKey, SecretHash)>> {
    let valid = Condition::any()
        .add(Column::RevokedAt.is_null())
        .add(Column::RevokedAt.gt(now));
    let rows = Entity::find().filter(valid).all(conn).await?;
    let key = |row: Model| {
        let hash = row.secret_hash.as_slice().try_into();
        let hash = hash.map_err(|_| Error::Corrupt(format!("the hash of API key {}", row.id)))?;
        Ok((ApiKey::try_from(row)?, SecretHash(hash)))
    };
    rows.into_iter().map(key).collect()
}

/// Something that is different after every change of what opens what, and cheaper than [`valid`].
pub async fn revision(conn: &impl ConnectionTrait) -> Result<(i64, i64)> {
    let versions = Expr::col(Column::Version).sum().cast_as("bigint");
    let row = Entity::find()
        .select_only()
        .expr(Expr::col(Column::Id).count())
        .expr(Func::coalesce([versions, Expr::value(0_i64)]));
    Ok(row.into_tuple().one(conn).await?.unwrap_or_default())
}
