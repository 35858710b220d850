//! From the topics into the log.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use tidings_audit::{Head, verify};
use tidings_storage::Db;
use tidings_storage::audit::{self, Record};
use tidings_testkit::databases;

use crate::feed::{Feed, contacts, records};

async fn all(db: &Db) -> Vec<Record> {
    audit::list(db.read(), 0, 10_000).await.unwrap()
}

/// The log is sound and has exactly so many records.
async fn holds(db: &Db, count: usize) -> Vec<Record> {
    let report = verify(db, None, |_| {}).await.unwrap();
    let all = all(db).await;
    assert_eq!(all.len(), count);
    assert_eq!(tidings_audit::head(db).await.unwrap(), report.head);
    let ids: HashSet<_> = all.iter().map(|record| &record.event_id).collect();
    assert_eq!(ids.len(), count, "recorded twice");
    all
}

#[tokio::test]
async fn each_event_is_one_record_however_often_it_comes() {
    for database in databases().await {
        let events = contacts(250);
        let feed = Feed::start().await;
        // Duplicates in one batch, as from a relay that lost its lease.
        feed.publish(&events).await;
        feed.publish(&events[..100]).await;
        let service = feed.audit(database.db.clone());
        records(&database.db, 250).await;
        service.stop().await;
        // The same again from the start, as to a group that has lost its offsets.
        let again = Feed::start().await;
        again.publish(&events).await;
        let one_more = contacts(1);
        again.publish(&one_more).await;
        let service = again.audit(database.db.clone());
        records(&database.db, 251).await;
        service.stop().await;

        let all = holds(&database.db, 251).await;
        for event in events.iter().chain(&one_more) {
            let record = all.iter().find(|record| record.event_id == event.id.to_string());
            let record = record.expect("every event is there");
            assert_eq!(record.occurred_at.timestamp_millis(), event.time.timestamp_millis());
            assert_eq!(record.actor.as_deref(), Some("default"));
            assert_eq!(record.action, "tidings.contact.created");
            assert_eq!(record.resource, format!("contacts-events/{}", event.key));
            assert_eq!(record.data_hash, hex::encode(Sha256::digest(&event.payload)));
            assert!(record.recorded_at > record.occurred_at);
        }
        feed.stop().await;
        again.stop().await;
    }
}

/// Both read the same records at the same time, which is worse than any rebalance.
#[tokio::test]
async fn two_instances_at_once_do_not_fork_the_chain() {
    for database in databases().await {
        let events = contacts(1_500);
        // Another process has connections of its own; on SQLite there is only one that writes.
        let other = match database.name {
            "SQLite" => database.db.clone(),
            _ => database.reopen().await,
        };
        let (one, two) = (Feed::start().await, Feed::start().await);
        one.publish(&events).await;
        two.publish(&events[500..]).await;
        let more = contacts(100);
        two.publish(&more).await;
        let services = [one.audit(database.db.clone()), two.audit(other)];
        records(&database.db, 1_600).await;
        for service in services {
            service.stop().await;
        }
        holds(&database.db, 1_600).await;
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test]
async fn members_of_one_group_share_the_work() {
    for database in databases().await {
        let feed = Feed::start().await;
        let first = feed.audit(database.db.clone());
        feed.publish(&contacts(100)).await;
        let second = feed.audit(database.db.clone());
        feed.publish(&contacts(100)).await;
        records(&database.db, 200).await;
        first.stop().await;
        feed.publish(&contacts(100)).await;
        records(&database.db, 300).await;
        second.stop().await;
        holds(&database.db, 300).await;
        feed.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_an_event_is_chained_as_bytes() {
    for database in databases().await {
        let feed = Feed::start().await;
        let service = feed.audit(database.db.clone());
        let mut event = contacts(1).remove(0);
        event.origin.actor = Some("a\0b".to_owned());
        feed.publish(std::slice::from_ref(&event)).await;
        feed.send("webhooks-events", None, None, &[]).await.unwrap();
        let bytes: &[u8] = b"\xff\x00 not an event";
        feed.send("webhooks-events", Some(b"\xfe"), Some(bytes), &[("ce_id", b"\xfd")])
            .await
            .unwrap();
        // And on it goes.
        feed.publish(&contacts(1)).await;
        records(&database.db, 4).await;
        service.stop().await;

        let all = holds(&database.db, 4).await;
        let raw = |place: &str| {
            let found = all.iter().find(|record| record.resource == place).expect(place);
            assert_eq!((found.action.as_str(), &found.actor), ("raw", &None));
            assert_eq!(found.occurred_at, found.recorded_at);
            let digest = found
                .event_id
                .strip_prefix(&format!("raw:{place}:"))
                .expect("its place");
            assert!(digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
            found.data_hash.clone()
        };
        assert_eq!(raw("webhooks-events/0/0"), hex::encode(Sha256::digest(b"")));
        assert_eq!(raw("webhooks-events/0/1"), hex::encode(Sha256::digest(bytes)));
        let payload = hex::encode(Sha256::digest(&event.payload));
        assert!(
            all.iter()
                .any(|record| record.action == "raw" && record.data_hash == payload)
        );
        feed.stop().await;
    }
}

#[tokio::test]
async fn an_empty_log_is_sound() {
    for database in databases().await {
        let head = tidings_audit::head(&database.db).await.unwrap();
        let zeros = "0".repeat(64);
        assert_eq!(
            head,
            Head {
                seq: 0,
                hash: zeros.clone()
            }
        );
        let report = verify(&database.db, Some(&zeros), |_| {}).await.unwrap();
        assert_eq!((report.head, report.anchored), (head.clone(), Some(0)));
        let json = serde_json::to_value(&head).unwrap();
        assert_eq!(json, serde_json::json!({ "seq": 0, "hash": zeros }));
    }
}
