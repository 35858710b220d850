//! Repeated requests, and a database that is away.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tidings_testkit::eventually;

use super::{NOTHING, order};
use crate::harness::{Answer, TestGateway, on_each_database, send};
use crate::users::with;

const REPLAYED: &str = "idempotency-replayed";

/// Both POSTs, with the status of their success.
fn posts(user_id: &Value) -> [(&'static str, u16, Value); 2] {
    [
        ("/orders", 201, order(user_id, "x")),
        ("/notifications", 202, json!({"user_id": user_id, "message": "hello"})),
    ]
}

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        for (path, status, body) in posts(&user_id) {
            let first = gateway.post_once(path, "key", &body).await;
            assert_eq!((first.status.as_u16(), first.header(REPLAYED)), (status, None));
            for end in ["", "/"] {
                let again = gateway.post_once(&format!("{path}{end}"), "key", &body).await;
                assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (status, Some("true")));
                assert_eq!(again.body, first.body);
                assert_eq!(again.header("location"), first.header("location"));
            }
            let reused = gateway
                .post_once(path, "key", &with(body.clone(), json!({"channel": "sms"})))
                .await;
            assert_eq!(reused.status, 422);
            assert!(reused.error().contains("Idempotency-Key"));
            // Those without a key of the API do not get the answers of those who have one.
            let anonymous = gateway.open(Method::POST, path).header("Idempotency-Key", "key");
            let anonymous = send(anonymous.json(&body)).await;
            assert_eq!((anonymous.status.as_u16(), anonymous.header(REPLAYED)), (status, None));
            let bad = gateway.post_once(path, "a b", &body).await;
            assert_eq!(bad.status, 400);
            assert!(bad.error().contains("Idempotency-Key"));
            // What was refused may be corrected under the same key.
            let nobody = gateway
                .post_once(path, "other", &with(body.clone(), json!({"user_id": 99})))
                .await;
            assert_eq!(nobody.status, 404);
            assert_eq!(gateway.post_once(path, "other", &body).await.status, status);
            assert_eq!(gateway.listed(path).await.len(), 3);
        }
        assert_eq!(gateway.events().await.len(), 7);
    })
    .await;
}

#[tokio::test]
async fn of_many_at_the_same_time_one_takes_effect() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        for (path, status, body) in posts(&user_id) {
            let answers = join_all((0..20).map(|_| gateway.post_once(path, "key", &body))).await;
            let done: Vec<_> = answers.iter().filter(|answer| answer.status == status).collect();
            let fresh = done.iter().filter(|answer| answer.header(REPLAYED).is_none());
            assert_eq!(fresh.count(), 1);
            assert!(done.iter().all(|answer| answer.body == done[0].body));
            let refused = answers.iter().filter(|answer| answer.status == 409);
            assert_eq!(refused.count() + done.len(), 20, "{answers:?}");
            assert_eq!(gateway.listed(path).await.len(), 1);
        }
        assert_eq!(gateway.events().await.len(), 3);
    })
    .await;
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.error().contains("database"));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn without_the_database_clients_are_told_to_come_back() {
    on_each_database(async |gateway| {
        gateway.db().read().close_by_ref().await.unwrap();
        for path in ["/users", "/orders", "/notifications", "/notifications?user_id=1"] {
            assert_unavailable(&gateway.get(path).await);
        }
        for path in ["orders", "notifications"] {
            assert_unavailable(&gateway.get(&format!("/{path}/{NOTHING}")).await);
            assert_eq!(
                gateway.get(&format!("/{path}/42")).await.status,
                404,
                "this needs no database"
            );
        }
        assert_unavailable(&gateway.patch("/users/1", &json!({"phone": null})).await);
        assert_eq!(gateway.post("/orders", &json!({})).await.status, 400, "nor does this");
    })
    .await;
}

async fn until_done(gateway: &TestGateway, path: &str, body: &Value) -> Answer {
    eventually("the database is back", async || {
        let answer = gateway.post_once(path, "key", body).await;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(answer.status)
        }
    })
    .await
}

#[tokio::test]
async fn what_fails_for_want_of_the_database_can_be_sent_again() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let outage = gateway.database.outage().await;
        let posts = posts(&user_id);
        let failed = posts.iter().map(|(path, _, body)| gateway.post_once(path, "key", body));
        for answer in join_all(failed).await {
            assert_unavailable(&answer);
        }
        outage.end().await;
        for (path, _, body) in &posts {
            let done = until_done(gateway, path, body).await;
            assert_eq!(done.header(REPLAYED), None, "the first one did nothing");
            assert_eq!(gateway.listed(path).await.len(), 1);
        }
        let types = gateway.event_types().await;
        assert_eq!(
            types,
            [
                "tidings.user.created",
                "tidings.order.placed",
                "tidings.notification.requested"
            ]
        );
    })
    .await;
}
