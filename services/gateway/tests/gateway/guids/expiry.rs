use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tidings_testkit::{TestDatabase, databases, eventually};

use super::{LATER, MovedClock, path};
use crate::harness::TestGateway;

async fn start(database: TestDatabase, clock: &MovedClock) -> TestGateway {
    let clock = Arc::new(clock.clone());
    TestGateway::start_with(database, |parts| parts.clock = clock).await
}

#[tokio::test]
async fn an_expired_guid_is_gone_at_once_and_may_be_registered_again() {
    for database in databases().await {
        let clock = MovedClock::default();
        let gateway = start(database, &clock).await;
        let path = path();
        let short = json!({"user": "Jay", "expire": clock.seconds(1000)});
        assert_eq!(gateway.post(&path, &short).await.status, 201);
        assert_eq!(
            gateway.user_of(&path).await.as_deref(),
            Some("Jay"),
            "at hand from now on"
        );
        clock.advance(1000);
        assert_eq!(gateway.user_of(&path).await, None, "not even from the cache");
        assert_eq!(gateway.patch(&path, &json!({"expire": LATER})).await.status, 404);
        assert_eq!(gateway.delete(&path).await.status, 404);
        gateway.register(&path, "Ada").await;
        assert_eq!(gateway.user_of(&path).await.as_deref(), Some("Ada"));
        let events = gateway.events().await;
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.sequence, event.event_type.as_str(), event.origin.actor.as_deref()))
            .collect();
        let expected = [
            (1, "tidings.guid.created", Some("default")),
            (2, "tidings.guid.expired", None),
            (3, "tidings.guid.created", Some("default")),
        ];
        assert_eq!(seen, expected);
        gateway.stop().await;
    }
}

/// In real time: whoever sweeps has been asleep until a second before.
#[tokio::test]
async fn what_expires_is_told_when_it_does() {
    for database in databases().await {
        let clock = MovedClock::default();
        let gateway = start(database, &clock).await;
        gateway.register(&path(), "later").await;
        let expire = clock.seconds(2);
        gateway.guid(&json!({"user": "soon", "expire": expire})).await;
        let expired = eventually("its time is over", async || {
            let events = gateway.events().await;
            let expired = events
                .into_iter()
                .find(|event| event.event_type == "tidings.guid.expired");
            expired.ok_or("no event")
        })
        .await;
        assert!(expired.time.timestamp() >= expire, "not before");
        assert!(String::from_utf8_lossy(&expired.payload).contains("\"user\":\"soon\""));
        assert_eq!(expired.sequence, 2);
        gateway.stop().await;
    }
}

/// More than one transaction's worth, and two who do it.
#[tokio::test]
async fn each_expires_once_however_many_look_for_them() {
    for database in databases().await {
        let clock = MovedClock::default();
        let first = start(database, &clock).await;
        for number in 0..450 {
            let expire = clock.seconds(1000 + number % 7);
            first
                .guid(&json!({"user": format!("number {number}"), "expire": expire}))
                .await;
        }
        first.register(&path(), "later").await;
        clock.advance(2000);
        // Those who start look at once.
        let others = [0, 1].map(|_| {
            let clock = Arc::new(clock.clone());
            first.start_beside_with(|parts| parts.clock = clock)
        });
        let others = futures_util::future::join_all(others).await;
        let sequences = eventually("all have expired", async || {
            let mut sequences = BTreeMap::new();
            for event in first.events().await {
                if event.event_type == "tidings.guid.expired" {
                    let before = sequences.insert(event.key, event.sequence);
                    assert_eq!(before, None, "once");
                }
            }
            if sequences.len() == 450 {
                Ok(sequences)
            } else {
                Err(sequences.len())
            }
        })
        .await;
        assert!(sequences.values().all(|sequence| *sequence == 2));
        for gateway in others {
            gateway.stop().await;
        }
        first.stop().await;
    }
}
