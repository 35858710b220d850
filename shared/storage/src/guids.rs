//! Registered GUIDs.
//!
//! **What it guarantees.** A GUID that was deleted or has expired stays as a row without its user. Its
//! version is what the next life goes on from, so that for one GUID versions only ever count up, whoever
//! registers it again and when. That another one exists is found out by the insert itself.
//!
//! **What it does not.** A GUID whose time is over stays as it is until somebody [expires](expire_due) it.
//! All functions take it as gone from the second of its expiry on, by the clock of whoever asks: unlike a
//! lease's, this time comes from outside, and nothing goes wrong where two clocks differ about it.
//!
//! **What may be changed safely.** How many expire at a time, and in which order.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use tidings_domain::{Expiry, Guid, GuidChange, GuidRecord, GuidUser};

use crate::entities::guid::{ActiveModel, Column, Entity, Model};
use crate::{Error, Result, Tx, bulk};

impl TryFrom<Model> for GuidRecord {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            user: GuidUser::parse(row.user_name)?,
            expires: Expiry::from_unix(row.expires_at)?,
            created_at: row.created_at,
            version: row.version,
        })
    }
}

/// What is to be found out about a GUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The version of its last change; 0 if it was never registered.
    pub version: i64,
    /// `None` if it was never registered, was deleted or has expired.
    pub record: Option<GuidRecord>,
}

fn existing(now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(Column::DeletedAt.is_null())
        .add(Column::ExpiresAt.gt(now.timestamp()))
}

/// Registers a GUID, whatever the version in it; answers it as it is then. `None` if it is registered, which
/// may be one that has to be [ended](end_expired) first.
pub async fn insert(tx: &Tx<'_>, new: GuidRecord) -> Result<Option<GuidRecord>> {
    let row = ActiveModel {
        id: Set(new.id.as_uuid()),
        user_name: Set(new.user.as_str().to_owned()),
        expires_at: Set(new.expires.as_unix()),
        created_at: Set(new.created_at),
        deleted_at: Set(None),
        version: Set(1),
    };
    let column = |column| Expr::col((Entity, column));
    let again = OnConflict::column(Column::Id)
        .update_columns([Column::UserName, Column::ExpiresAt, Column::CreatedAt])
        .value(Column::DeletedAt, Expr::null())
        .value(Column::Version, column(Column::Version).add(1))
        .action_and_where(column(Column::DeletedAt).is_not_null())
        .to_owned();
    let inserted = bulk::insert_with(tx, [row], &[], |statement| {
        statement.on_conflict(again.clone()).returning_col(Column::Version);
    });
    let version = inserted.await?.first().map(|row| row.try_get("", "version"));
    Ok(version.transpose()?.map(|version| GuidRecord { version, ..new }))
}

/// Changes what is given; answers the GUID as it is then. `None` if there is no such GUID, or if all of it
/// is so already.
pub async fn update(tx: &Tx<'_>, id: Guid, change: &GuidChange, now: DateTime<Utc>) -> Result<Option<GuidRecord>> {
    let mut update = Entity::update_many().col_expr(Column::Version, Expr::col(Column::Version).add(1));
    let mut differs = Condition::any();
    if let Some(user) = &change.user {
        update = update.col_expr(Column::UserName, user.as_str().into());
        differs = differs.add(Column::UserName.ne(user.as_str()));
    }
    if let Some(expires) = change.expires {
        update = update.col_expr(Column::ExpiresAt, expires.as_unix().into());
        differs = differs.add(Column::ExpiresAt.ne(expires.as_unix()));
    }
    if differs.is_empty() {
        return Ok(None);
    }
    let updated = update
        .filter(Column::Id.eq(id.as_uuid()))
        .filter(existing(now))
        .filter(differs)
        .exec_with_returning(tx.conn())
        .await?;
    updated.into_iter().next().map(GuidRecord::try_from).transpose()
}

/// Deletes a GUID; answers what it was, under the version that this made, or `None` if there is none.
pub async fn delete(tx: &Tx<'_>, id: Guid, now: DateTime<Utc>) -> Result<Option<GuidRecord>> {
    let found = Entity::find().filter(Column::Id.eq(id.as_uuid())).filter(existing(now));
    // Locked, so that what is answered is what was wiped out.
    let found = found.lock_exclusive().all(tx.conn()).await?;
    Ok(end(tx, found, now).await?.pop())
}

/// Ends a GUID if it is registered although its time is over; answers what it was, under the version that
/// this made.
pub async fn end_expired(tx: &Tx<'_>, id: Guid, now: DateTime<Utc>) -> Result<Option<GuidRecord>> {
    let found = expired(now).filter(Column::Id.eq(id.as_uuid()));
    let found = found.lock_exclusive().all(tx.conn()).await?;
    Ok(end(tx, found, now).await?.pop())
}

/// Ends those whose time is over, the longest expired first and `limit` at most; answers what they were,
/// under the versions that this made. Those that somebody else is working on are left to them.
pub async fn expire_due(tx: &Tx<'_>, now: DateTime<Utc>, limit: u64) -> Result<Vec<GuidRecord>> {
    let due = expired(now).order_by_asc(Column::ExpiresAt).limit(limit);
    let due = due.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    end(tx, due.all(tx.conn()).await?, now).await
}

fn expired(now: DateTime<Utc>) -> sea_orm::Select<Entity> {
    Entity::find()
        .filter(Column::DeletedAt.is_null())
        .filter(Column::ExpiresAt.lte(now.timestamp()))
}

/// Makes rows that are locked what is left of those that are gone.
async fn end(tx: &Tx<'_>, rows: Vec<Model>, now: DateTime<Utc>) -> Result<Vec<GuidRecord>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids = rows.iter().map(|row| row.id);
    Entity::update_many()
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .col_expr(Column::DeletedAt, Expr::value(now))
        .col_expr(Column::UserName, "".into())
        .filter(bulk::is_any(tx.backend(), Column::Id, ids))
        .exec(tx.conn())
        .await?;
    let ended = rows.into_iter().map(|row| {
        let mut record = GuidRecord::try_from(row)?;
        record.version += 1;
        Ok(record)
    });
    ended.collect()
}

/// The record, and the version that tells whether something that is known is older.
pub async fn find(conn: &impl ConnectionTrait, id: Guid, now: DateTime<Utc>) -> Result<Lookup> {
    let Some(row) = Entity::find_by_id(id.as_uuid()).one(conn).await? else {
        return Ok(Lookup {
            version: 0,
            record: None,
        });
    };
    let (version, deleted) = (row.version, row.deleted_at.is_some());
    let record = match deleted {
        true => None,
        false => Some(GuidRecord::try_from(row)?).filter(|record| !record.expires.has_come(now)),
    };
    Ok(Lookup { version, record })
}

/// When the time of the next one is over, or was over of the one that waits longest.
pub async fn next_expiry(conn: &impl ConnectionTrait) -> Result<Option<Expiry>> {
    let next = Entity::find()
        .select_only()
        .column(Column::ExpiresAt)
        .filter(Column::DeletedAt.is_null())
        .order_by_asc(Column::ExpiresAt)
        .limit(1);
    let next: Option<i64> = next.into_tuple().one(conn).await?;
    Ok(next.map(Expiry::from_unix).transpose()?)
}
