//! Everything that is kept, on each database there is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api_keys;
mod contacts;
mod dead_letters;
mod deliveries;
mod guids;
mod idempotency;
mod notifications;
mod opening;
mod orders;
mod outbox;
mod recovery;
mod users;
mod writing;

use tidings_domain::{
    Clock, Contact, ContactId, ContactName, Content, Message, MessageId, MessageStatus, PhoneNumber, SystemClock,
};
use tidings_events::{ContactCreated, MessageQueued, Origin};
use tidings_storage::{Db, Error, contacts as rows, messages, outbox as queue};

const CLOCK: SystemClock = SystemClock;

fn contact(number: u32) -> Contact {
    Contact {
        id: ContactId::generate(&CLOCK),
        name: ContactName::parse(format!("Contact {number}")).unwrap(),
        phone: PhoneNumber::parse(format!("+4179{number:07}")).unwrap(),
        created_at: CLOCK.now(),
        version: 1,
    }
}

/// Adds a contact together with its event, as the application does.
async fn add(db: &Db, contact: Contact) -> Result<bool, Error> {
    db.write(move |tx| {
        Box::pin(async move {
            let added = !rows::insert_all(tx, &[&contact]).await?.is_empty();
            if added {
                queue::enqueue(tx, &ContactCreated(&contact), &Origin::own("test", &CLOCK), &CLOCK).await?;
            }
            Ok(added)
        })
    })
    .await
}

/// Queues a message to a new contact, together with its event.
async fn queue_message(db: &Db, number: u32) -> (Message, tidings_domain::EventId) {
    let to = contact(number);
    let message = Message {
        id: MessageId::generate(&CLOCK),
        from: "+41440000000".parse().unwrap(),
        to: to.id,
        content: Content::parse("hello").unwrap(),
        status: MessageStatus::Queued,
        created_at: CLOCK.now(),
        delivered_at: None,
        version: 1,
    };
    let written = message.clone();
    let event = db
        .write(move |tx| {
            Box::pin(async move {
                rows::insert_all(tx, &[&to]).await?;
                messages::insert_all(tx, std::slice::from_ref(&written)).await?;
                queue::enqueue(tx, &MessageQueued(&written), &Origin::own("test", &CLOCK), &CLOCK).await
            })
        })
        .await
        .unwrap();
    (message, event)
}
