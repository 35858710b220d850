use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use futures_util::future::join_all;
use tidings_domain::{Clock, Expiry, Guid, GuidChange, GuidRecord, GuidUser};
use tidings_storage::guids::{self as rows, Lookup};
use tidings_storage::{Db, Result};
use tidings_testkit::databases;

use crate::CLOCK;

fn new(user: &str, expires: DateTime<Utc>) -> GuidRecord {
    GuidRecord {
        id: Guid::random(),
        user: GuidUser::parse(user).unwrap(),
        expires: Expiry::from_unix(expires.timestamp()).unwrap(),
        created_at: CLOCK.now(),
        version: 1,
    }
}

async fn add(db: &Db, new: GuidRecord) -> Option<GuidRecord> {
    let added: Result<_> = db.write(move |tx| Box::pin(rows::insert(tx, new))).await;
    added.unwrap()
}

async fn update(db: &Db, id: Guid, change: GuidChange, now: DateTime<Utc>) -> Option<GuidRecord> {
    let updated: Result<_> = db
        .write(move |tx| Box::pin(async move { rows::update(tx, id, &change, now).await }))
        .await;
    updated.unwrap()
}

async fn delete(db: &Db, id: Guid, now: DateTime<Utc>) -> Option<GuidRecord> {
    let deleted: Result<_> = db.write(move |tx| Box::pin(rows::delete(tx, id, now))).await;
    deleted.unwrap()
}

async fn expire(db: &Db, now: DateTime<Utc>, limit: u64) -> Vec<GuidRecord> {
    let expired: Result<_> = db.write(move |tx| Box::pin(rows::expire_due(tx, now, limit))).await;
    expired.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_go_on_from_one_life_to_the_next() {
    for test in databases().await {
        let (db, now) = (&test.db, CLOCK.now());
        let first = new("Jay", now + Duration::hours(1));
        let id = first.id;
        let find = async |at| rows::find(db.read(), id, at).await.unwrap();
        let none = |version| Lookup { version, record: None };
        assert_eq!(find(now).await, none(0), "{}", test.name);
        assert_eq!(add(db, first.clone()).await, Some(first.clone()));
        assert_eq!(add(db, first.clone()).await, None, "it is registered");

        let deleted = delete(db, id, now).await.unwrap();
        assert_eq!((deleted.version, deleted.user.as_str()), (2, "Jay"), "as it was");
        assert_eq!(delete(db, id, now).await, None);
        assert_eq!(find(now).await, none(2), "{}", test.name);

        let second = GuidRecord {
            user: GuidUser::parse("Ada").unwrap(),
            ..first.clone()
        };
        let second = add(db, second).await.unwrap();
        assert_eq!((second.version, second.user.as_str()), (3, "Ada"));
        assert_eq!(find(now).await.record, Some(second), "{}", test.name);

        let later = now + Duration::hours(2);
        assert_eq!(find(later).await, none(3), "expired, though nobody has noticed");
        assert_eq!(add(db, first.clone()).await, None, "it has to be ended first");
        assert_eq!(delete(db, id, later).await, None);
        let ended: Result<_> = db.write(move |tx| Box::pin(rows::end_expired(tx, id, now))).await;
        assert_eq!(ended.unwrap(), None, "its time is not over yet");
        let ended: Result<_> = db.write(move |tx| Box::pin(rows::end_expired(tx, id, later))).await;
        let ended = ended.unwrap().unwrap();
        assert_eq!((ended.version, ended.user.as_str()), (4, "Ada"), "{}", test.name);
        assert_eq!(add(db, first).await.unwrap().version, 5, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_changes_nothing_is_none() {
    for test in databases().await {
        let (db, now) = (&test.db, CLOCK.now());
        let record = add(db, new("Jay", now + Duration::hours(1))).await.unwrap();
        let change = |user: Option<&str>, expires: Option<Expiry>| GuidChange {
            user: user.map(|user| GuidUser::parse(user).unwrap()),
            expires,
        };
        for nothing in [change(None, None), change(Some("Jay"), Some(record.expires))] {
            assert_eq!(update(db, record.id, nothing, now).await, None, "{}", test.name);
        }
        let later = Expiry::from_unix(record.expires.as_unix() + 1).unwrap();
        let changed = update(db, record.id, change(Some("Jay"), Some(later)), now)
            .await
            .unwrap();
        assert_eq!((changed.version, changed.expires), (2, later), "{}", test.name);
        let changed = update(db, record.id, change(Some("Ada"), None), now).await.unwrap();
        assert_eq!(
            (changed.version, changed.expires, changed.user.as_str()),
            (3, later, "Ada")
        );
        let gone = update(db, record.id, change(Some("Eve"), None), now + Duration::hours(2)).await;
        assert_eq!(gone, None, "{}: expired", test.name);
        assert_eq!(update(db, Guid::random(), change(Some("Eve"), None), now).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_the_same_time_one_registers_a_guid() {
    for test in databases().await {
        let (other, now) = (test.reopen().await, CLOCK.now());
        let record = new("Jay", now + Duration::hours(1));
        let all = (0..20).map(|number| add(if number % 2 == 0 { &test.db } else { &other }, record.clone()));
        let added = join_all(all).await;
        assert_eq!(added.into_iter().flatten().count(), 1, "{}", test.name);
    }
}

/// Sweepers share the work: everything expires once, whoever does it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_expires_once_and_some_at_a_time() {
    for test in databases().await {
        let (db, other, now) = (&test.db, test.reopen().await, CLOCK.now());
        assert_eq!(rows::next_expiry(db.read()).await.unwrap(), None);
        let mut expected = BTreeSet::new();
        for number in 0..50 {
            let due = number % 2 == 0;
            let expires = now + Duration::seconds(if due { -number } else { number });
            let record = add(db, new(&format!("number {number}"), expires)).await.unwrap();
            expected.extend(due.then_some(record.id));
        }
        let oldest = rows::next_expiry(db.read()).await.unwrap().unwrap();
        assert_eq!(
            oldest.as_unix(),
            (now - Duration::seconds(48)).timestamp(),
            "{}",
            test.name
        );

        let mut expired = Vec::new();
        loop {
            let (one, two) = (expire(db, now, 10), expire(&other, now, 10));
            let (one, two) = tokio::join!(one, two);
            assert!(one.len() <= 10 && two.len() <= 10);
            if one.is_empty() && two.is_empty() {
                break;
            }
            expired.extend([one, two].concat());
        }
        assert!(
            expired
                .iter()
                .all(|record| record.version == 2 && record.user.as_str() != "")
        );
        let ids: BTreeSet<_> = expired.iter().map(|record| record.id).collect();
        assert_eq!((expired.len(), ids), (25, expected), "{}", test.name);
        let next = rows::next_expiry(db.read()).await.unwrap().unwrap();
        assert_eq!(
            next.as_unix(),
            (now + Duration::seconds(1)).timestamp(),
            "{}",
            test.name
        );
    }
}
