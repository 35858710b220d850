//! What can be done with messages.

use std::collections::BTreeSet;

use tidings_domain::{Clock, Contact, ContactId, Content, Invalid, Message, MessageId, MessageStatus, Sender};
use tidings_events::{MessageQueued, Origin};
use tidings_storage::outbox::enqueue;
use tidings_storage::{Error, Tx, contacts, messages};

use super::contacts::NewContact;
use super::idempotency::{Once, Outcome, Refused};
use super::{Application, Page};

/// A message as someone asks for it.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub(crate) from: String,
    pub(crate) content: String,
    pub(crate) to: Recipient,
}

/// Whom a message is for.
#[derive(Debug, Clone)]
pub(crate) enum Recipient {
    /// A contact by its id.
    Known(String),
    /// The contact with that phone, or a new one. An existing contact keeps its name.
    Described(NewContact),
}

/// Why a message was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("from is not the id of an existing contact")]
    UnknownSender,
    #[error("to.id is not the id of an existing contact")]
    UnknownRecipient,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Messages together with the contacts that they are for, deleted ones included.
#[derive(Debug)]
pub(crate) struct MessagePage {
    pub(crate) messages: Vec<Message>,
    pub(crate) recipients: Vec<Contact>,
}

/// Accepts a message. If its recipient is new, there are two events: first that of the contact.
pub(crate) async fn create(
    app: &Application,
    new: NewMessage,
    origin: Origin,
    once: Option<Once<Message>>,
) -> Result<Outcome<Message>, MessageError> {
    let from: Sender = new.from.parse()?;
    let content = Content::parse(new.content)?;
    let to = match new.to {
        Recipient::Known(id) => ParsedRecipient::Known(id.parse().map_err(|_| MessageError::UnknownRecipient)?),
        Recipient::Described(contact) => ParsedRecipient::Described(contact.parse(app.clock())?),
    };
    let clock = app.clock.clone();
    app.write_once(once, move |tx| {
        Box::pin(async move {
            if let Sender::Contact(id) = from
                && contacts::find(tx.conn(), id).await?.is_none()
            {
                return Err(MessageError::UnknownSender);
            }
            let message = Message {
                id: MessageId::generate(&*clock),
                from,
                to: to.resolve(tx, &origin, &*clock).await?,
                content,
                status: MessageStatus::Queued,
                created_at: clock.now(),
                delivered_at: None,
                version: 1,
            };
            messages::insert(tx, &message).await?;
            enqueue(tx, &MessageQueued(&message), &origin, &*clock).await?;
            Ok(message)
        })
    })
    .await
}

enum ParsedRecipient {
    Known(ContactId),
    Described(Contact),
}

impl ParsedRecipient {
    async fn resolve(self, tx: &Tx<'_>, origin: &Origin, clock: &dyn Clock) -> Result<ContactId, MessageError> {
        let contact = match self {
            Self::Known(id) => {
                let contact = contacts::find(tx.conn(), id).await?;
                return contact.map(|contact| contact.id).ok_or(MessageError::UnknownRecipient);
            }
            Self::Described(contact) => contact,
        };
        // More than one round only if, in between, somebody deletes the contact that was in the way.
        loop {
            if super::contacts::insert(tx, &contact, origin, clock).await? {
                return Ok(contact.id);
            }
            if let Some(existing) = contacts::find_by_phone(tx.conn(), &contact.phone).await? {
                return Ok(existing.id);
            }
        }
    }
}

pub(crate) async fn find(app: &Application, id: MessageId) -> Result<Option<Message>, Error> {
    app.read(|db| async move { messages::find(db.read(), id).await }).await
}

/// Oldest first.
pub(crate) async fn list(app: &Application, page: Page) -> Result<MessagePage, Error> {
    app.read(|db| async move {
        let messages = messages::list(db.read(), page.offset(), page.size).await?;
        let ids: BTreeSet<_> = messages.iter().map(|message| message.to).collect();
        let recipients = contacts::find_all(db.read(), ids).await?;
        Ok(MessagePage { messages, recipients })
    })
    .await
}
