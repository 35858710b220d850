use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tidings_testkit::eventually;

use crate::harness::{Answer, on_each_database, send};

const REPLAYED: &str = "idempotency-replayed";

fn contact(number: u32) -> Value {
    json!({"name": "Ada", "phone": format!("+4179{number:07}")})
}

fn message(number: u32) -> Value {
    json!({"from": "+12", "to": contact(number), "content": "hello"})
}

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time() {
    on_each_database(async |gateway| {
        for (path, body, other) in [
            ("/contacts", contact(1), contact(2)),
            ("/messages", message(3), message(4)),
        ] {
            let first = gateway.post_once(path, "key-1", &body).await;
            assert_eq!((first.status.as_u16(), first.header(REPLAYED)), (201, None));
            let events = gateway.events().await.len();
            // A path with a slash at its end is the same path.
            for path in [path.to_owned(), format!("{path}/")] {
                let again = gateway.post_once(&path, "key-1", &body).await;
                assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (201, Some("true")));
                assert_eq!(again.body, first.body);
                assert_eq!(again.header("content-type"), first.header("content-type"));
            }
            let reused = gateway.post_once(path, "key-1", &other).await;
            assert_eq!(reused.status, 422);
            assert!(reused.error().contains("Idempotency-Key"));
            assert_eq!(gateway.events().await.len(), events, "{path}");

            // Keys of different requests have nothing to do with each other.
            let fresh = gateway.post_once(path, "key-2", &other).await;
            assert_eq!((fresh.status.as_u16(), fresh.header(REPLAYED)), (201, None));
            assert_ne!(fresh.body, first.body);
        }
    })
    .await;
}

#[tokio::test]
async fn the_answer_stays_although_the_world_moves_on() {
    on_each_database(async |gateway| {
        let sender = gateway.contact("Bob", "+41790000009").await;
        let path = format!("/contacts/{}", sender["id"].as_str().unwrap());
        let body = json!({"from": sender["id"], "to": {"id": sender["id"]}, "content": "hello"});
        let first = gateway.post_once("/messages", "k", &body).await;
        assert_eq!(first.status, 201);
        assert_eq!(gateway.delete(&path).await.status, 204);
        assert_eq!(gateway.post_once("/messages", "k", &body).await.body, first.body);
        assert_eq!(gateway.post_once("/messages", "another", &body).await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_can_be_corrected_under_its_key() {
    on_each_database(async |gateway| {
        gateway.contact("Eve", "+41790000001").await;
        for bad in [json!({"name": "Ada"}), contact(1)] {
            let refused = gateway.post_once("/contacts", "key", &bad).await;
            assert_eq!((refused.status.as_u16(), refused.header(REPLAYED)), (400, None));
        }
        assert_eq!(gateway.post_once("/contacts", "key", &contact(2)).await.status, 201);
        assert_eq!(gateway.post_once("/contacts", "key", &contact(1)).await.status, 422);
    })
    .await;
}

#[tokio::test]
async fn a_key_has_a_form() {
    on_each_database(async |gateway| {
        let longest = "k".repeat(255);
        let too_long = "k".repeat(256);
        for bad in ["", " ", "two words", "tab\there", "é", &too_long] {
            let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            let request = gateway
                .request(Method::POST, "/contacts")
                .header("Idempotency-Key", value);
            let answer = send(request.json(&contact(1))).await;
            assert_eq!(answer.status, 400, "{bad:?}");
            assert!(answer.error().contains("Idempotency-Key"));
        }
        let twice = gateway
            .request(Method::POST, "/contacts")
            .header("Idempotency-Key", "a")
            .header("Idempotency-Key", "b");
        assert_eq!(send(twice.json(&contact(1))).await.status, 400);
        assert!(gateway.events().await.is_empty());
        for (number, good) in ["x", "!~", "\"quoted\"", &longest].into_iter().enumerate() {
            let answer = gateway.post_once("/contacts", good, &contact(number as u32)).await;
            assert_eq!(answer.status, 201, "{good}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_under_way_refuses_its_repetition_and_outlives_its_client() {
    on_each_database(async |gateway| {
        let held = gateway.hold_writes().await;
        let body = contact(1);
        // The first of these gets in, waits for the database, and is left by its client.
        let refused = loop {
            let request = gateway.post_once("/contacts", "key", &body);
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(200), request).await {
                break answer;
            }
        };
        assert_eq!(refused.status, 409, "{refused:?}");
        assert!(refused.error().contains("Idempotency-Key"));
        assert!(refused.header("retry-after").is_some());
        held.release().await;

        let replay = eventually("the answer is kept", async || {
            let answer = gateway.post_once("/contacts", "key", &body).await;
            if answer.status == 201 {
                Ok(answer)
            } else {
                Err(answer.status)
            }
        })
        .await;
        assert_eq!(replay.header(REPLAYED), Some("true"));
        assert_eq!(gateway.event_types().await, ["tidings.contact.created"]);
    })
    .await;
}

#[tokio::test]
async fn of_many_at_the_same_time_one_takes_effect() {
    on_each_database(async |gateway| {
        let body = message(1);
        let requests = (0..20).map(|_| gateway.post_once("/messages", "key", &body));
        let answers: Vec<Answer> = futures_util::future::join_all(requests).await;
        let done: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert!(!done.is_empty());
        assert!(done.iter().all(|answer| answer.body == done[0].body));
        assert_eq!(
            done.iter().filter(|answer| answer.header(REPLAYED).is_none()).count(),
            1
        );
        assert!(
            answers
                .iter()
                .all(|answer| answer.status == 201 || answer.status == 409),
            "{answers:?}"
        );
        assert_eq!(
            gateway.event_types().await,
            ["tidings.contact.created", "tidings.message.queued"]
        );
    })
    .await;
}

#[tokio::test]
async fn two_processes_do_not_carry_out_the_same_request() {
    on_each_database(async |gateway| {
        // A database in a file belongs to one process.
        if gateway.database.name == "SQLite" {
            return;
        }
        let other = gateway.start_beside().await;
        let body = message(1);
        let requests = (0..20).map(|number| {
            let gateway = if number % 2 == 0 { gateway } else { &other };
            gateway.post_once("/messages", "key", &body)
        });
        let answers = futures_util::future::join_all(requests).await;
        let fresh = |answer: &&Answer| answer.status == 201 && answer.header(REPLAYED).is_none();
        assert_eq!(answers.iter().filter(fresh).count(), 1, "{answers:?}");
        assert_eq!(gateway.events().await.len(), 2);
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day() {
    on_each_database(async |gateway| {
        let body = message(1);
        let first = gateway.post_once("/messages", "key", &body).await;
        let moved = gateway
            .database
            .tamper("UPDATE idempotency_keys SET created_at = '2026-01-02T03:04:05.678+00:00'")
            .await;
        assert_eq!(moved, 1);
        let second = gateway.post_once("/messages", "key", &body).await;
        assert_eq!((second.status.as_u16(), second.header(REPLAYED)), (201, None));
        assert_ne!(second.body, first.body);
    })
    .await;
}

#[tokio::test]
async fn a_gateway_drops_what_is_kept_no_longer() {
    on_each_database(async |gateway| {
        gateway.post_once("/messages", "old", &message(1)).await;
        let aged = "UPDATE idempotency_keys SET created_at = '2026-01-02T03:04:05.678+00:00'";
        assert_eq!(gateway.database.tamper(aged).await, 1);
        gateway.post_once("/messages", "new", &message(2)).await;
        // It does so when it starts, and every hour.
        let other = gateway.start_beside().await;
        eventually("the old answer is gone", async || {
            match gateway
                .database
                .tamper("UPDATE idempotency_keys SET status = status")
                .await
            {
                1 => Ok(()),
                kept => Err(kept),
            }
        })
        .await;
        other.stop().await;
        let again = gateway.post_once("/messages", "new", &message(2)).await;
        assert_eq!(again.header(REPLAYED), Some("true"));
    })
    .await;
}
