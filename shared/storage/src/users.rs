//! Users. A deleted one stays as a row that orders refer to, with nothing personal in it; its email is
//! free again.

mod filter;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
    TryInsertResult,
};
use tidings_domain::{EmailAddress, NewUser, PersonName, PhoneNumber, PostalAddress, User, UserChange, UserId};

pub use self::filter::{Sort, SortBy, UserFilter};
use self::filter::{fold, words};
use crate::entities::user::{ActiveModel, Column, Entity, Model};
use crate::{Error, Result, Tx, bulk};

impl TryFrom<Model> for User {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        let corrupt = |what: &str| Error::Corrupt(format!("the {what} of user {}", row.id));
        Ok(Self {
            id: row.id.into(),
            first_name: PersonName::parse(row.first_name).map_err(|_| corrupt("first name"))?,
            last_name: PersonName::parse(row.last_name).map_err(|_| corrupt("last name"))?,
            email: EmailAddress::parse(row.email).map_err(|_| corrupt("email"))?,
            address: PostalAddress::parse(row.address).map_err(|_| corrupt("address"))?,
            phone: match row.phone {
                Some(phone) => Some(PhoneNumber::parse(phone).map_err(|_| corrupt("phone"))?),
                None => None,
            },
            created_at: row.created_at,
            version: row.version,
        })
    }
}

pub(crate) fn existing() -> sea_orm::Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

/// Adds a user; answers it with its id, or `None` if another one has that email.
pub async fn insert(tx: &Tx<'_>, new: NewUser) -> Result<Option<User>> {
    let mut row = ActiveModel {
        created_at: Set(new.created_at),
        deleted_at: Set(None),
        version: Set(1),
        first_name: Set(new.first_name.as_str().to_owned()),
        last_name: Set(new.last_name.as_str().to_owned()),
        email: Set(new.email.as_str().to_owned()),
        address: Set(new.address.as_str().to_owned()),
        password_hash: Set(new.password.expose().to_owned()),
        ..Default::default()
    };
    row.email_folded = Set(fold(new.email.as_str()));
    row.last_name_folded = Set(fold(new.last_name.as_str()));
    row.address_words = Set(words(new.address.as_str()));
    let same_email = OnConflict::column(Column::Email)
        .target_and_where(Column::DeletedAt.is_null())
        .do_nothing()
        .to_owned();
    let inserted = Entity::insert(row)
        .on_conflict(same_email)
        .try_insert()
        .exec(tx.conn())
        .await?;
    Ok(match inserted {
        TryInsertResult::Inserted(inserted) => Some(User {
            id: inserted.last_insert_id.into(),
            first_name: new.first_name,
            last_name: new.last_name,
            email: new.email,
            address: new.address,
            phone: None,
            created_at: new.created_at,
            version: 1,
        }),
        TryInsertResult::Conflicted | TryInsertResult::Empty => None,
    })
}

/// Changes what is given, and counts the version up in any case; answers the user as it is then, or
/// `None` if there is none. An email that another user has is an [`Error::Conflict`].
pub async fn update(tx: &Tx<'_>, id: UserId, change: &UserChange) -> Result<Option<User>> {
    let mut update = Entity::update_many().col_expr(Column::Version, Expr::col(Column::Version).add(1));
    if let Some(name) = &change.first_name {
        update = update.col_expr(Column::FirstName, name.as_str().into());
    }
    if let Some(name) = &change.last_name {
        update = update
            .col_expr(Column::LastName, name.as_str().into())
            .col_expr(Column::LastNameFolded, fold(name.as_str()).into());
    }
    if let Some(email) = &change.email {
        update = update
            .col_expr(Column::Email, email.as_str().into())
            .col_expr(Column::EmailFolded, fold(email.as_str()).into());
    }
    if let Some(address) = &change.address {
        update = update
            .col_expr(Column::Address, address.as_str().into())
            .col_expr(Column::AddressWords, words(address.as_str()).into());
    }
    if let Some(phone) = &change.phone {
        let phone = phone.as_ref().map(PhoneNumber::as_str);
        update = update.col_expr(Column::Phone, Expr::value(phone));
    }
    if let Some(password) = &change.password {
        update = update.col_expr(Column::PasswordHash, password.expose().into());
    }
    let updated = update
        .filter(Column::Id.eq(id.as_i64()))
        .filter(Column::DeletedAt.is_null())
        .exec_with_returning(tx.conn())
        .await?;
    updated.into_iter().next().map(User::try_from).transpose()
}

/// Deletes a user; answers what it was, under the version that this made, or `None` if there is none.
pub async fn delete(tx: &Tx<'_>, id: UserId, now: DateTime<Utc>) -> Result<Option<User>> {
    // Locked, so that what is answered is what was wiped out.
    let found = existing()
        .filter(Column::Id.eq(id.as_i64()))
        .lock_exclusive()
        .one(tx.conn())
        .await?;
    let Some(mut user) = found.map(User::try_from).transpose()? else {
        return Ok(None);
    };
    user.version += 1;
    let mut wipe = Entity::update_many()
        .col_expr(Column::Version, Expr::value(user.version))
        .col_expr(Column::DeletedAt, Expr::value(now))
        .col_expr(Column::Phone, Expr::value(Option::<String>::None));
    for personal in [
        Column::FirstName,
        Column::LastName,
        Column::Email,
        Column::Address,
        Column::PasswordHash,
        Column::EmailFolded,
        Column::LastNameFolded,
        Column::AddressWords,
    ] {
        wipe = wipe.col_expr(personal, "".into());
    }
    wipe.filter(Column::Id.eq(id.as_i64())).exec(tx.conn()).await?;
    Ok(Some(user))
}

pub async fn find(conn: &impl ConnectionTrait, id: UserId) -> Result<Option<User>> {
    existing()
        .filter(Column::Id.eq(id.as_i64()))
        .one(conn)
        .await?
        .map(User::try_from)
        .transpose()
}

/// Users by id; those that do not exist are missing.
pub async fn find_all(
    conn: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = UserId>,
) -> Result<HashMap<UserId, User>> {
    let ids: HashSet<i64> = ids.into_iter().map(UserId::as_i64).collect();
    let found = existing().filter(bulk::is_any(conn.get_database_backend(), Column::Id, ids));
    let found = found.all(conn).await?.into_iter().map(|row| {
        let user = User::try_from(row)?;
        Ok((user.id, user))
    });
    found.collect()
}

/// Finds a user who cannot be changed or deleted until the transaction ends.
pub async fn lock(tx: &Tx<'_>, id: UserId) -> Result<Option<User>> {
    let found = existing().filter(Column::Id.eq(id.as_i64())).lock_shared();
    found.one(tx.conn()).await?.map(User::try_from).transpose()
}

/// Whether a user other than `except` has this email.
pub async fn email_is_taken(conn: &impl ConnectionTrait, email: &EmailAddress, except: Option<UserId>) -> Result<bool> {
    let mut others = existing().filter(Column::Email.eq(email.as_str()));
    if let Some(id) = except {
        others = others.filter(Column::Id.ne(id.as_i64()));
    }
    Ok(others.count(conn).await? > 0)
}

pub async fn count(conn: &impl ConnectionTrait, filter: &UserFilter) -> Result<u64> {
    match filter.apply(existing(), conn.get_database_backend()) {
        Some(users) => Ok(users.count(conn).await?),
        None => Ok(0),
    }
}

/// One page of the users that pass the filter.
pub async fn list(
    conn: &impl ConnectionTrait,
    filter: &UserFilter,
    sort: &[Sort],
    offset: u64,
    limit: u64,
) -> Result<Vec<User>> {
    let Some(users) = filter.apply(existing(), conn.get_database_backend()) else {
        return Ok(Vec::new());
    };
    let page = filter::sorted(users, sort).offset(offset).limit(limit);
    page.all(conn).await?.into_iter().map(User::try_from).collect()
}
