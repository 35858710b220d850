//! What users are told.

mod leases;
mod settling;
mod telling;

use tidings_domain::{ChannelName, EventId, Notification, NotificationText, Route, User};
use tidings_events::{EventRecord, Origin, Outbox};
use tidings_storage::notifications::{self as rows, Cause, Leased, Notice, Outcome, Verdict};
use tidings_storage::outbox::RelayOutbox;
use tidings_storage::{Db, Error};

use crate::CLOCK;
use crate::users::{add, new};

const EMAIL: ChannelName = ChannelName::Email;
const SMS: ChannelName = ChannelName::Sms;

async fn user(db: &Db) -> User {
    add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap()
}

fn notice(user: &User, message: &str) -> Notice {
    Notice {
        user: user.id,
        wanted: EMAIL,
        route: Route::to(user, EMAIL),
        subject: "About".to_owned(),
        message: NotificationText::parse(message).unwrap(),
        cause: None,
        origin: Origin::own("test", &CLOCK),
    }
}

fn because(event: EventId, rule: &'static str) -> Option<Cause> {
    Some(Cause {
        event,
        rule,
        order: None,
    })
}

async fn notify(db: &Db, notices: Vec<Notice>) -> Vec<Notification> {
    db.write(move |tx| Box::pin(rows::notify(tx, notices, &CLOCK)))
        .await
        .unwrap()
}

async fn claim(db: &Db, channel: ChannelName, limit: u64) -> Vec<Leased> {
    db.write(move |tx| Box::pin(rows::claim(tx, channel, limit)))
        .await
        .unwrap()
}

/// The one that is due by email.
async fn claim_one(db: &Db) -> Leased {
    let claimed = claim(db, EMAIL, 10).await;
    assert_eq!(claimed.len(), 1);
    claimed.into_iter().next().unwrap()
}

async fn settle(db: &Db, lease: &Leased, verdict: Verdict, answer: &str) -> Option<Notification> {
    let lease = lease.clone();
    let outcome = Outcome {
        attempted: true,
        answer: answer.to_owned(),
        verdict,
    };
    let settling = db.write::<_, Error, _>(move |tx| {
        Box::pin(async move { rows::settle(tx, &lease, &outcome, &Origin::own("notifier", &CLOCK), &CLOCK).await })
    });
    settling.await.unwrap()
}

/// What waits to be published.
async fn published(db: &Db) -> Vec<EventRecord> {
    let outbox = RelayOutbox::new(db.clone());
    let leases = outbox.lease().await.unwrap().leases;
    let pending = outbox.pending(&leases, 1_000).await.unwrap();
    outbox.release().await.unwrap();
    pending.into_iter().map(|entry| entry.record).collect()
}
