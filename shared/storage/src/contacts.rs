//! Contacts. A deleted one stays as a row that messages refer to; its phone is free again.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tidings_domain::{Contact, ContactId, ContactName, PhoneNumber};
use uuid::Uuid;

use crate::entities::contact::{ActiveModel, Column, Entity, Model};
use crate::{Error, Result, Tx, bulk};

impl TryFrom<Model> for Contact {
    type Error = Error;
    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            name: ContactName::parse(row.name)?,
            phone: PhoneNumber::parse(row.phone)?,
            created_at: row.created_at,
            version: row.version,
        })
    }
}

fn existing_rows() -> sea_orm::Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

/// Adds contacts, but for those whose phone an existing one has; answers which were added.
pub async fn insert_all(tx: &Tx<'_>, contacts: &[&Contact]) -> Result<Vec<ContactId>> {
    let rows = contacts.iter().map(|contact| ActiveModel {
        id: Set(contact.id.as_uuid()),
        name: Set(contact.name.as_str().to_owned()),
        phone: Set(contact.phone.as_str().to_owned()),
        created_at: Set(contact.created_at),
        deleted_at: Set(None),
        version: Set(contact.version),
    });
    let same_phone = OnConflict::column(Column::Phone)
        .target_and_where(Column::DeletedAt.is_null())
        .do_nothing()
        .to_owned();
    let added = bulk::insert_with(tx, rows, &[], |statement| {
        statement.on_conflict(same_phone.clone()).returning_col(Column::Id);
    });
    let added = added
        .await?
        .into_iter()
        .map(|row| Ok(row.try_get::<Uuid>("", "id")?.into()));
    added.collect()
}

/// Changes what is given; answers the contact as it is then, or `None` if there is none.
/// A phone that another contact has is an [`Error::Conflict`].
pub async fn update(
    tx: &Tx<'_>,
    id: ContactId,
    name: Option<&ContactName>,
    phone: Option<&PhoneNumber>,
) -> Result<Option<Contact>> {
    let mut update = Entity::update_many().col_expr(Column::Version, Expr::col(Column::Version).add(1));
    if let Some(name) = name {
        update = update.col_expr(Column::Name, name.as_str().into());
    }
    if let Some(phone) = phone {
        update = update.col_expr(Column::Phone, phone.as_str().into());
    }
    one(
        update
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::DeletedAt.is_null()),
        tx,
    )
    .await
}

/// Deletes a contact; answers what it was, or `None` if there is none.
pub async fn delete(tx: &Tx<'_>, id: ContactId, now: DateTime<Utc>) -> Result<Option<Contact>> {
    let update = Entity::update_many()
        .col_expr(Column::Version, Expr::col(Column::Version).add(1))
        .col_expr(Column::DeletedAt, Expr::value(now))
        .filter(Column::Id.eq(id.as_uuid()))
        .filter(Column::DeletedAt.is_null());
    one(update, tx).await
}

async fn one(update: sea_orm::UpdateMany<Entity>, tx: &Tx<'_>) -> Result<Option<Contact>> {
    update
        .exec_with_returning(tx.conn())
        .await?
        .into_iter()
        .next()
        .map(Contact::try_from)
        .transpose()
}

pub async fn find(conn: &impl ConnectionTrait, id: ContactId) -> Result<Option<Contact>> {
    existing_rows()
        .filter(Column::Id.eq(id.as_uuid()))
        .one(conn)
        .await?
        .map(Contact::try_from)
        .transpose()
}

/// The contacts that have these phones.
pub async fn find_by_phones(conn: &impl ConnectionTrait, phones: &[&PhoneNumber]) -> Result<Vec<Contact>> {
    if phones.is_empty() {
        return Ok(Vec::new());
    }
    let found = existing_rows().filter(bulk::is_any(
        conn.get_database_backend(),
        Column::Phone,
        phones.iter().map(|phone| phone.as_str()),
    ));
    found.all(conn).await?.into_iter().map(Contact::try_from).collect()
}

/// Those of the contacts that exist.
pub async fn existing(conn: &impl ConnectionTrait, ids: BTreeSet<ContactId>) -> Result<HashSet<ContactId>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let existing = existing_rows().select_only().column(Column::Id).filter(bulk::is_any(
        conn.get_database_backend(),
        Column::Id,
        ids.into_iter().map(ContactId::as_uuid),
    ));
    let ids: Vec<Uuid> = existing.into_tuple().all(conn).await?;
    Ok(ids.into_iter().map(ContactId::from).collect())
}

/// Contacts by id, deleted ones included.
pub async fn find_all(conn: &impl ConnectionTrait, ids: impl IntoIterator<Item = ContactId>) -> Result<Vec<Contact>> {
    let ids: Vec<_> = ids.into_iter().map(ContactId::as_uuid).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    Entity::find()
        .filter(Column::Id.is_in(ids))
        .all(conn)
        .await?
        .into_iter()
        .map(Contact::try_from)
        .collect()
}

/// One page, oldest first.
pub async fn list(conn: &impl ConnectionTrait, offset: u64, limit: u64) -> Result<Vec<Contact>> {
    let page = existing_rows().order_by_asc(Column::Id).offset(offset).limit(limit);
    page.all(conn).await?.into_iter().map(Contact::try_from).collect()
}
