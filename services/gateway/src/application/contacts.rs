//! What can be done with contacts.

use tidings_domain::{Clock, Contact, ContactId, ContactName, Invalid, PhoneNumber};
use tidings_events::{ContactCreated, ContactDeleted, ContactUpdated, Origin};
use tidings_storage::outbox::enqueue;
use tidings_storage::{Error, contacts};

use super::idempotency::{Once, Outcome, Refused};
use super::{Application, Page};

/// A contact as someone describes it.
#[derive(Debug, Clone)]
pub(crate) struct NewContact {
    pub(crate) name: String,
    pub(crate) phone: String,
}

/// What is to be different about a contact.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContactChange {
    pub(crate) name: Option<String>,
    pub(crate) phone: Option<String>,
}

/// Why nothing was done with a contact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContactError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("phone belongs to another contact")]
    PhoneTaken,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Storage(#[from] Error),
}

impl NewContact {
    pub(super) fn parse(self, clock: &dyn Clock) -> Result<Contact, Invalid> {
        Ok(Contact {
            id: ContactId::generate(clock),
            name: ContactName::parse(self.name)?,
            phone: PhoneNumber::parse(self.phone)?,
            created_at: clock.now(),
            version: 1,
        })
    }
}

pub(crate) async fn create(
    app: &Application,
    new: NewContact,
    origin: Origin,
    once: Option<Once<Contact>>,
) -> Result<Outcome<Contact>, ContactError> {
    let contact = new.parse(app.clock())?;
    let clock = app.clock.clone();
    app.write_once(once, move |tx| {
        Box::pin(async move {
            if contacts::insert_all(tx, &[&contact]).await?.is_empty() {
                return Err(ContactError::PhoneTaken);
            }
            enqueue(tx, &ContactCreated(&contact), &origin, &*clock).await?;
            Ok(contact)
        })
    })
    .await
}

pub(crate) async fn find(app: &Application, id: ContactId) -> Result<Option<Contact>, Error> {
    app.read(|db| async move { contacts::find(db.read(), id).await }).await
}

/// Oldest first.
pub(crate) async fn list(app: &Application, page: Page) -> Result<Vec<Contact>, Error> {
    app.read(|db| async move { contacts::list(db.read(), page.offset(), page.size).await })
        .await
}

/// Changes a contact; answers it as it is then, or `None` if there is none. A change that changes nothing
/// is no event.
pub(crate) async fn update(
    app: &Application,
    id: ContactId,
    change: ContactChange,
    origin: Origin,
) -> Result<Option<Contact>, ContactError> {
    let name = change.name.map(ContactName::parse).transpose()?;
    let phone = change.phone.map(PhoneNumber::parse).transpose()?;
    let clock = app.clock.clone();
    app.write(move |tx| {
        Box::pin(async move {
            let Some(contact) = contacts::find(tx.conn(), id).await? else {
                return Ok(None);
            };
            let name = name.filter(|name| *name != contact.name);
            let phone = phone.filter(|phone| *phone != contact.phone);
            if name.is_none() && phone.is_none() {
                return Ok(Some(contact));
            }
            let updated = match contacts::update(tx, id, name.as_ref(), phone.as_ref()).await {
                Err(Error::Conflict(_)) => return Err(ContactError::PhoneTaken),
                updated => updated?,
            };
            if let Some(contact) = &updated {
                enqueue(tx, &ContactUpdated(contact), &origin, &*clock).await?;
            }
            Ok(updated)
        })
    })
    .await
}

/// Deletes a contact; answers whether there was one. Its messages stay, and its phone is free again.
pub(crate) async fn delete(app: &Application, id: ContactId, origin: Origin) -> Result<bool, Error> {
    let clock = app.clock.clone();
    app.write(move |tx| {
        Box::pin(async move {
            let Some(contact) = contacts::delete(tx, id, clock.now()).await? else {
                return Ok(false);
            };
            enqueue(tx, &ContactDeleted(&contact), &origin, &*clock).await?;
            Ok(true)
        })
    })
    .await
}
