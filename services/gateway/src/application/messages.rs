//! What can be done with messages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::{
    Clock, Contact, ContactId, Content, Invalid, Message, MessageId, MessageStatus, PhoneNumber, Sender,
};
use tidings_events::{ContactCreated, MessageQueued, Origin};
use tidings_storage::{Error, Tx, contacts, messages, outbox};

use super::contacts::NewContact;
use super::idempotency::{self, Once, Outcome, Refused};
use super::intake::Request;
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
    let draft = Draft {
        from: new.from.parse()?,
        content: Content::parse(new.content)?,
        to: match new.to {
            Recipient::Known(id) => DraftRecipient::Known(id.parse().map_err(|_| MessageError::UnknownRecipient)?),
            Recipient::Described(contact) => DraftRecipient::Described(contact.parse(app.clock())?),
        },
    };
    app.accept(Request { draft, origin, once }).await
}

/// What a message is to be, as far as that can be told without the database.
#[derive(Debug)]
pub(super) struct Draft {
    from: Sender,
    content: Content,
    to: DraftRecipient,
}

#[derive(Debug)]
enum DraftRecipient {
    Known(ContactId),
    /// The contact to add if none has that phone.
    Described(Contact),
}

type Answer = Result<Outcome<Message>, MessageError>;

/// Accepts messages together; answers for each what became of it, in their order. One that is refused
/// leaves no trace.
pub(super) async fn accept(tx: &Tx<'_>, requests: &[Arc<Request>], clock: &dyn Clock) -> Result<Vec<Answer>, Error> {
    let before = idempotency::begin_all(tx, requests.iter().map(|request| request.once.as_ref())).await?;
    let contacts = existing_contacts(tx, requests).await?;
    // What is known against a request, or how it was answered before.
    let settled: Vec<Option<Answer>> = requests
        .iter()
        .zip(before)
        .map(|(request, before)| match before {
            Err(refused) => Some(Err(refused.into())),
            Ok(Some(answer)) => Some(Ok(Outcome::Replayed(answer))),
            Ok(None) => request.draft.refused(&contacts).map(Err),
        })
        .collect();
    let accepted: Vec<_> = requests
        .iter()
        .zip(&settled)
        .filter(|(_, settled)| settled.is_none())
        .map(|(request, _)| &**request)
        .collect();
    let accepted = write(tx, &accepted, clock).await?;
    let mut accepted = accepted.into_iter().map(|message| Ok(Outcome::Done(message)));
    Ok(settled
        .into_iter()
        .filter_map(|settled| settled.or_else(|| accepted.next()))
        .collect())
}

/// Those of the contacts that are referred to by their ids.
async fn existing_contacts(tx: &Tx<'_>, requests: &[Arc<Request>]) -> Result<HashSet<ContactId>, Error> {
    let mut ids = BTreeSet::new();
    for Request { draft, .. } in requests.iter().map(AsRef::as_ref) {
        if let Sender::Contact(id) = draft.from {
            ids.insert(id);
        }
        if let DraftRecipient::Known(id) = draft.to {
            ids.insert(id);
        }
    }
    contacts::existing(tx.conn(), ids).await
}

impl Draft {
    fn refused(&self, contacts: &HashSet<ContactId>) -> Option<MessageError> {
        match (&self.from, &self.to) {
            (Sender::Contact(id), _) if !contacts.contains(id) => Some(MessageError::UnknownSender),
            (_, DraftRecipient::Known(id)) if !contacts.contains(id) => Some(MessageError::UnknownRecipient),
            _ => None,
        }
    }
}

/// Writes messages down that nothing speaks against, with all that belongs to them.
async fn write(tx: &Tx<'_>, requests: &[&Request], clock: &dyn Clock) -> Result<Vec<Message>, Error> {
    let (of_phone, mut records) = recipients(tx, requests, clock).await?;
    let mut accepted = Vec::with_capacity(requests.len());
    for Request { draft, origin, .. } in requests {
        let to = match &draft.to {
            DraftRecipient::Known(id) => *id,
            DraftRecipient::Described(contact) => of_phone
                .get(&contact.phone)
                .copied()
                .ok_or_else(|| Error::Corrupt(format!("no contact has the phone {}", contact.phone)))?,
        };
        let message = Message {
            id: MessageId::generate(clock),
            from: draft.from.clone(),
            to,
            content: draft.content.clone(),
            status: MessageStatus::Queued,
            created_at: clock.now(),
            delivered_at: None,
            version: 1,
        };
        records.push(outbox::record(&MessageQueued(&message), origin, clock)?);
        accepted.push(message);
    }
    messages::insert_all(tx, &accepted).await?;
    outbox::enqueue_all(tx, records).await?;
    let answers = requests.iter().zip(&accepted).filter_map(|(request, message)| {
        let once = request.once.as_ref()?;
        Some(once.answer_to_keep(message))
    });
    tidings_storage::idempotency::store_all(tx, answers.collect::<Result<_, _>>()?, clock.now()).await?;
    Ok(accepted)
}

/// The contacts of the phones that messages are for, and the events of those that had to be added.
async fn recipients(
    tx: &Tx<'_>,
    requests: &[&Request],
    clock: &dyn Clock,
) -> Result<(HashMap<PhoneNumber, ContactId>, Vec<tidings_events::EventRecord>), Error> {
    // Of several with one phone the first counts. In the order of their phones, as everyone adds them: two
    // transactions that wait for each other's would be a deadlock.
    let mut described = BTreeMap::new();
    for Request { draft, origin, .. } in requests {
        if let DraftRecipient::Described(contact) = &draft.to {
            described.entry(&contact.phone).or_insert((contact, origin));
        }
    }
    let mut of_phone = HashMap::with_capacity(described.len());
    let mut records = Vec::new();
    loop {
        // Nearly all of them are there. And what was in the way of an insertion is there, too, unless somebody
        // has deleted it in between; then it goes round again.
        let phones: Vec<_> = described.keys().copied().collect();
        for contact in contacts::find_by_phones(tx.conn(), &phones).await? {
            described.remove(&contact.phone);
            of_phone.insert(contact.phone, contact.id);
        }
        if described.is_empty() {
            return Ok((of_phone, records));
        }
        let new: Vec<_> = described.values().map(|(contact, _)| *contact).collect();
        let added: HashSet<_> = contacts::insert_all(tx, &new).await?.into_iter().collect();
        for (contact, origin) in described.values().filter(|(contact, _)| added.contains(&contact.id)) {
            of_phone.insert(contact.phone.clone(), contact.id);
            records.push(outbox::record(&ContactCreated(contact), origin, clock)?);
        }
        described.retain(|_, (contact, _)| !added.contains(&contact.id));
        if described.is_empty() {
            return Ok((of_phone, records));
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
