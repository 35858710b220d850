use futures_util::future::join_all;
use serde_json::json;
use tidings_testkit::databases;

use super::{LATER, MovedClock, path};
use crate::harness::{TestGateway, on_each_database};

#[tokio::test]
async fn of_many_who_register_one_guid_one_succeeds() {
    on_each_database(async |gateway| {
        let (beside, path) = (gateway.start_beside().await, path());
        let answers = join_all((0..20).map(async |number| {
            let gateway = if number % 2 == 0 { gateway } else { &beside };
            gateway
                .post_patiently(&path, &json!({"user": format!("number {number}")}))
                .await
        }))
        .await;
        let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert_eq!((created.len(), refused.len()), (1, 19));
        for answer in refused {
            assert_eq!(answer.status, 409, "{answer:?}");
        }
        for gateway in [gateway, &beside] {
            assert_eq!(gateway.get(&path).await.json(), created[0].json());
        }
        assert_eq!(gateway.events().await.len(), 1);
        beside.stop().await;
    })
    .await;
}

/// An expired one is ended once and registered once, whoever comes first.
#[tokio::test]
async fn of_many_who_register_an_expired_guid_one_succeeds() {
    for database in databases().await {
        let (clock, path) = (MovedClock::default(), path());
        let parts_clock = clock.clone();
        let gateway = TestGateway::start_with(database, |parts| parts.clock = std::sync::Arc::new(parts_clock)).await;
        let short = json!({"user": "Jay", "expire": clock.seconds(1000)});
        assert_eq!(gateway.post(&path, &short).await.status, 201);
        clock.advance(1001);
        let body = json!({"user": "Ada", "expire": LATER});
        let answers = join_all((0..20).map(|_| gateway.post_patiently(&path, &body))).await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        let refused = answers.iter().filter(|answer| answer.status == 409).count();
        assert_eq!((created, refused), (1, 19));
        let events = gateway.events().await;
        let seen: Vec<_> = events
            .iter()
            .map(|event| (event.sequence, event.event_type.as_str()))
            .collect();
        let expected = [
            (1, "tidings.guid.created"),
            (2, "tidings.guid.expired"),
            (3, "tidings.guid.created"),
        ];
        assert_eq!(seen, expected);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn changes_of_one_guid_follow_one_another() {
    on_each_database(async |gateway| {
        let path = path();
        gateway.register(&path, "Jay").await;
        let answers = join_all((0..20).map(async |number| {
            loop {
                let change = json!({"user": format!("number {number}")});
                let answer = gateway.patch(&path, &change).await;
                // As in `post_patiently`.
                if answer.status != 503 {
                    break answer;
                }
            }
        }))
        .await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let events = gateway.events().await;
        let sequences: Vec<_> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=21).collect::<Vec<_>>());
        let last: serde_json::Value = serde_json::from_slice(&events[20].payload).unwrap();
        assert_eq!(gateway.get(&path).await.json(), last["data"]);
    })
    .await;
}
