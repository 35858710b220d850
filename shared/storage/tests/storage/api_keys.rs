use chrono::{DateTime, Duration, Utc};
use tidings_domain::{ApiKey, ApiKeyId, Clock, KeyName, Role, Scopes};
use tidings_storage::api_keys::{self as rows, SecretHash};
use tidings_storage::{Db, Place};
use tidings_testkit::databases;

use crate::CLOCK;

fn key(name: &str) -> ApiKey {
    ApiKey {
        id: ApiKeyId::generate(&CLOCK),
        name: KeyName::parse(name).unwrap(),
        role: Role::Staff,
        scopes: Scopes::of_role(Role::Staff),
        created_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        expires_at: Some("2126-01-02T03:04:05.678Z".parse().unwrap()),
        revoked_at: None,
        last_used_at: None,
        version: 1,
    }
}

async fn add(db: &Db, name: &str) -> ApiKey {
    let added = key(name);
    let row = added.clone();
    db.write(move |tx| Box::pin(async move { rows::insert(tx, &row, SecretHash([7; 32])).await }))
        .await
        .unwrap();
    added
}

async fn revoke(db: &Db, id: ApiKeyId, at: DateTime<Utc>) -> Option<ApiKey> {
    db.write(move |tx| Box::pin(rows::revoke(tx, id, at))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_kept_until_it_is_revoked_and_shown_after_that() {
    for test in databases().await {
        let db = &test.db;
        let (till, other) = (add(db, "Till 3").await, add(db, "other").await);
        assert_eq!(
            rows::find(db.read(), till.id).await.unwrap(),
            Some(till.clone()),
            "{}",
            test.name
        );
        let before = rows::revision(db.read()).await.unwrap();
        let now = CLOCK.now();
        let (soon, sooner) = (now + Duration::hours(24), now + Duration::hours(1));

        let ending = revoke(db, till.id, soon).await.unwrap();
        assert_eq!((ending.version, ending.revoked_at.is_some()), (2, true));
        assert!(
            revoke(db, till.id, soon + Duration::hours(1)).await.is_none(),
            "never for longer"
        );
        let revision = rows::revision(db.read()).await.unwrap();
        assert_ne!(revision, before);
        assert_eq!(rows::valid(db.read(), now).await.unwrap().len(), 2);

        assert_eq!(revoke(db, till.id, sooner).await.unwrap().version, 3);
        let valid = rows::valid(db.read(), soon).await.unwrap();
        assert_eq!(valid, [(other.clone(), SecretHash([7; 32]))], "{}", test.name);
        assert!(revoke(db, ApiKeyId::generate(&CLOCK), now).await.is_none());
        assert_eq!(rows::list(db.read(), Place::Start, 10).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_noted_without_a_new_version() {
    for test in databases().await {
        let db = &test.db;
        let till = add(db, "Till 3").await;
        let revision = rows::revision(db.read()).await.unwrap();
        let noon: DateTime<Utc> = "2026-01-02T12:00:00Z".parse().unwrap();
        for at in [noon, noon - Duration::hours(1)] {
            db.write(move |tx| Box::pin(rows::note_use(tx, till.id, at)))
                .await
                .unwrap();
        }
        let found = rows::find(db.read(), till.id).await.unwrap().unwrap();
        assert_eq!((found.last_used_at, found.version), (Some(noon), 1), "{}", test.name);
        assert_eq!(rows::revision(db.read()).await.unwrap(), revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_forth_and_back() {
    for test in databases().await {
        let db = &test.db;
        let mut ids = Vec::new();
        for number in 0..7 {
            ids.push(add(db, &number.to_string()).await.id);
        }
        ids.sort();
        let page = async |place| -> Vec<ApiKeyId> {
            let page = rows::list(db.read(), place, 3).await.unwrap();
            page.iter().map(|key| key.id).collect()
        };
        assert_eq!(page(Place::Start).await, ids[..3], "{}", test.name);
        assert_eq!(page(Place::After(ids[2])).await, ids[3..6]);
        assert_eq!(page(Place::After(ids[5])).await, ids[6..]);
        assert_eq!(page(Place::After(ids[6])).await, []);
        assert_eq!(page(Place::Before(ids[6])).await, ids[3..6]);
        assert_eq!(page(Place::Before(ids[1])).await, ids[..1]);
    }
}
