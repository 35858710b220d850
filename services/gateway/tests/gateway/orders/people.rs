use reqwest::Method;
use serde_json::{Value, json};

use super::order;
use crate::harness::{on_each_database, send};

#[tokio::test]
async fn everyone_is_listed_with_their_orders() {
    on_each_database(async |gateway| {
        assert!(gateway.listed("/users").await.is_empty());
        let (serge, odile) = (gateway.person("Serge").await, gateway.person("Odile").await);
        let first = gateway.place(&order(&odile, "one")).await;
        let second = gateway.place(&order(&odile, "two")).await;
        gateway.set_phone(&odile, "+41791234567").await;
        let everyone = gateway.listed("/users").await;
        let created_at = |at: usize| everyone[at]["created_at"].clone();
        assert_eq!(
            everyone,
            [
                json!({
                    "id": serge,
                    "email": "skaramazov@example.com",
                    "name": "Serge Karamazov",
                    "phone": null,
                    "created_at": created_at(0),
                    "orders": [],
                }),
                json!({
                    "id": odile,
                    "email": "okaramazov@example.com",
                    "name": "Odile Karamazov",
                    "phone": "+41791234567",
                    "created_at": created_at(1),
                    "orders": [first, second],
                }),
            ]
        );
        assert!(created_at(0).as_str().unwrap().ends_with('Z'));
        let path = format!("/api/v1/users/{serge}");
        assert_eq!(gateway.delete(&path).await.status, 204);
        assert_eq!(gateway.listed("/users").await, everyone[1..]);
    })
    .await;
}

#[tokio::test]
async fn a_phone_is_set_changed_and_removed() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let path = format!("/users/{user_id}");
        let ordered = gateway.place(&order(&user_id, "x")).await;
        for (end, phone) in [
            ("", json!("+41791234567")),
            ("/", json!("+12")),
            ("", json!(null)),
            ("", json!(null)),
        ] {
            let body = json!({"phone": phone, "name": "Somebody Else", "email": 7});
            let answer = gateway.patch(&format!("{path}{end}"), &body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let shown = answer.json();
            assert_eq!((&shown["phone"], &shown["name"]), (&phone, &json!("Serge Karamazov")));
            assert_eq!(shown["orders"], json!([ordered]));
            assert_eq!(gateway.listed("/users").await, [shown]);
        }
        // Each is a change of the user, whom the event shows as the users contract does.
        let events = gateway.events().await;
        let changes: Vec<_> = events
            .iter()
            .filter(|event| event.event_type == "tidings.user.updated")
            .collect();
        assert_eq!(
            changes.iter().map(|event| event.sequence).collect::<Vec<_>>(),
            [2, 3, 4, 5]
        );
        let data = gateway.get(&format!("/api/v1/users/{user_id}")).await.json();
        assert_eq!(data["url"], format!("http://{}/api/v1/users/{user_id}", gateway.addr));
        for change in changes {
            let payload: Value = serde_json::from_slice(&change.payload).unwrap();
            assert_eq!(payload, json!({"action": "update", "data": data}));
        }
    })
    .await;
}

#[tokio::test]
async fn a_phone_is_an_international_number_or_null() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let path = format!("/users/{user_id}");
        let form = "phone must be an E.164 number such as +41791234567";
        for (body, error) in [
            (json!({}), "phone is required"),
            (json!({"Phone": "+41791234567"}), "phone is required"),
            (json!({"phone": 41_791_234_567_u64}), "phone must be a string or null"),
            (json!({"phone": false}), "phone must be a string or null"),
            (json!({"phone": ["+41791234567"]}), "phone must be a string or null"),
            (json!({"phone": ""}), form),
            (json!({"phone": "07451277972"}), form),
            (json!({"phone": "41791234567"}), form),
            (json!({"phone": "+0123"}), form),
            (json!({"phone": "+1"}), form),
            (json!({"phone": "+41 79 123 45 67"}), form),
            (json!({"phone": " +41791234567"}), form),
            (json!({"phone": "+1234567890123456"}), form),
            (json!({"phone": "+41791234567\0"}), form),
        ] {
            let answer = gateway.patch(&path, &body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.error()),
                (400, error.to_owned()),
                "{body}"
            );
        }
        assert_eq!(gateway.events().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_is_nobody_is_not_found_whatever_the_body() {
    on_each_database(async |gateway| {
        let gone = gateway.person("Serge").await;
        assert_eq!(gateway.delete(&format!("/api/v1/users/{gone}")).await.status, 204);
        for id in [
            &gone.to_string(),
            "0",
            "-1",
            "abc",
            "1.0",
            "99999999999999999999",
            "null",
        ] {
            for body in ["", "{", "[]", "{\"phone\": null}"] {
                let request = gateway.request(Method::PATCH, &format!("/users/{id}"));
                let answer = send(request.header("content-type", "text/plain").body(body)).await;
                let error = "there is no such user".to_owned();
                assert_eq!((answer.status.as_u16(), answer.error()), (404, error), "{id}");
            }
        }
    })
    .await;
}

/// Changes by both contracts at the same time: each has its own version, and none undoes the other.
#[tokio::test]
async fn changes_of_one_user_follow_one_another() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let (here, there) = (format!("/users/{user_id}"), format!("/api/v1/users/{user_id}"));
        let changes: Vec<_> = (0..20)
            .map(|number| match number % 2 {
                0 => (&here, json!({"phone": format!("+4179000{number:04}")})),
                _ => (&there, json!({"address": format!("{number}")})),
            })
            .collect();
        let answers = changes.iter().map(|(path, body)| gateway.patch(path, body));
        let answers = futures_util::future::join_all(answers).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let sequences: Vec<_> = gateway.events().await.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=21).collect::<Vec<_>>());
        let shown = &gateway.listed("/users").await[0];
        assert!(shown["phone"].as_str().unwrap().starts_with("+4179000"));
        assert_ne!(gateway.get(&there).await.json()["address"], "");
    })
    .await;
}
