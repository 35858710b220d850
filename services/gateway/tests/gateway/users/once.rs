use reqwest::Method;
use serde_json::json;
use tidings_testkit::eventually;

use super::{USERS, user, with};
use crate::harness::{on_each_database, send};

const REPLAYED: &str = "idempotency-replayed";

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time() {
    on_each_database(async |gateway| {
        let body = user("Serge", "Karamazov");
        let first = gateway.post_once(USERS, "key", &body).await;
        assert_eq!((first.status.as_u16(), first.header(REPLAYED)), (201, None));
        for end in ["", "/", ".json"] {
            let again = gateway.post_once(&format!("{USERS}{end}"), "key", &body).await;
            assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (201, Some("true")));
            assert_eq!(again.body, first.body);
            assert_eq!(again.header("location"), first.header("location"));
            assert_eq!(again.header("allow"), first.header("allow"));
        }
        let reused = gateway.post_once(USERS, "key", &user("Odile", "Deray")).await;
        assert_eq!(reused.status, 422);
        assert!(reused.detail().contains("Idempotency-Key"));
        // Those without a key of the API do not get the answers of those who have one.
        let anonymous = gateway.open(Method::POST, USERS).header("Idempotency-Key", "key");
        let anonymous = send(anonymous.json(&body)).await;
        assert_eq!(
            anonymous.json(),
            json!({"email": ["user with this email already exists."]})
        );
        let bad = gateway.post_once(USERS, "a b", &body).await;
        assert_eq!(bad.status, 400);
        assert!(bad.detail().contains("Idempotency-Key"));
        // What was refused may be corrected under the same key.
        let missing = gateway
            .post_once(USERS, "other", &with(user("Odile", "Deray"), json!({"email": null})))
            .await;
        assert_eq!(missing.status, 400);
        assert_eq!(
            gateway.post_once(USERS, "other", &user("Odile", "Deray")).await.status,
            201
        );
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn without_the_database_clients_are_told_to_come_back() {
    on_each_database(async |gateway| {
        let created = gateway.user(&user("Serge", "Karamazov")).await;
        let path = gateway.path(&created);
        gateway.db().read().close_by_ref().await.unwrap();
        for answer in [
            gateway.get(USERS).await,
            gateway.get(&path).await,
            gateway.put(&path, &user("Serge", "Karamazov")).await,
            gateway.patch(&path, &json!({})).await,
            // Incomplete as long as nobody knows whether the email is free.
            gateway
                .post(USERS, &with(user("Odile", "Deray"), json!({"password": null})))
                .await,
        ] {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.detail().contains("database"));
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
            assert!(answer.header("allow").is_some());
        }
        assert_eq!(
            gateway.get(&format!("{USERS}/abc")).await.status,
            404,
            "this needs no database"
        );
    })
    .await;
}

#[tokio::test]
async fn a_sign_up_that_fails_for_want_of_the_database_can_be_sent_again() {
    on_each_database(async |gateway| {
        let body = user("Serge", "Karamazov");
        let outage = gateway.database.outage().await;
        let answer = gateway.post_once(USERS, "key", &body).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        answer.detail();
        outage.end().await;
        let done = eventually("the database is back", async || {
            let answer = gateway.post_once(USERS, "key", &body).await;
            if answer.status == 201 {
                Ok(answer)
            } else {
                Err(answer.status)
            }
        })
        .await;
        assert_eq!(done.header(REPLAYED), None, "the first one did nothing");
        assert_eq!(gateway.event_types().await, ["tidings.user.created"]);
    })
    .await;
}
