use serde_json::{Value, json};

use super::NOTHING;
use crate::harness::{TestGateway, on_each_database};

async fn ask(gateway: &TestGateway, body: &Value) -> String {
    let answer = gateway.post("/notifications", body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let asked = answer.json();
    let id = asked["id"].as_str().unwrap().to_owned();
    assert_eq!(asked, json!({"id": id, "status": "requested"}));
    let url = format!("http://{}/notifications/{id}", gateway.addr);
    assert_eq!(answer.header("location"), Some(&url[..]));
    id
}

#[tokio::test]
async fn a_user_is_told_what_somebody_asks_for() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        gateway.set_phone(&user_id, "+41791234567").await;
        let email = ask(gateway, &json!({"user_id": user_id, "message": "Grüezi 👋"})).await;
        let body = json!({"user_id": user_id.to_string(), "message": "Grüezi 👋", "channel": "sms"});
        let sms = ask(gateway, &body).await;
        let shown = async |id: &str| gateway.get(&format!("/notifications/{id}")).await.json();
        let expected = |id: &str, channel: &str, recipient: &str, created_at: &Value| {
            json!({
                "id": id,
                "user_id": user_id,
                "order_id": null,
                "channel": channel,
                "requested_channel": channel,
                "fallback": null,
                "recipient": recipient,
                "message": "Grüezi 👋",
                "status": "requested",
                "attempts": 0,
                "answer": null,
                "created_at": created_at,
                "sent_at": null,
            })
        };
        let (by_email, by_sms) = (shown(&email).await, shown(&sms).await);
        assert_eq!(
            by_email,
            expected(&email, "email", "skaramazov@example.com", &by_email["created_at"])
        );
        assert_eq!(by_sms, expected(&sms, "sms", "+41791234567", &by_sms["created_at"]));

        // Each with its event, which is what the service that sends them goes by.
        let events = gateway.events().await;
        let requested: Vec<_> = events
            .iter()
            .filter(|event| event.topic == "notifications-events")
            .map(|event| {
                assert_eq!(
                    (&event.event_type[..], event.sequence),
                    ("tidings.notification.requested", 1)
                );
                serde_json::from_slice::<Value>(&event.payload).unwrap()
            })
            .collect();
        assert_eq!(
            requested,
            [by_email, by_sms].map(|notification| json!({"action": "create", "data": notification}))
        );
    })
    .await;
}

#[tokio::test]
async fn who_has_no_phone_is_written_to_and_it_says_so() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let id = ask(
            gateway,
            &json!({"user_id": user_id, "message": "hello", "channel": "sms"}),
        )
        .await;
        let shown = gateway.get(&format!("/notifications/{id}")).await.json();
        assert_eq!(
            (
                &shown["channel"],
                &shown["requested_channel"],
                &shown["recipient"],
                &shown["fallback"]
            ),
            (
                &json!("email"),
                &json!("sms"),
                &json!("skaramazov@example.com"),
                &json!("the user has no phone number")
            )
        );
    })
    .await;
}

#[tokio::test]
async fn nobody_is_told_who_does_not_exist() {
    on_each_database(async |gateway| {
        let gone = gateway.person("Serge").await;
        assert_eq!(gateway.delete(&format!("/api/v1/users/{gone}")).await.status, 204);
        for nobody in [gone, json!(99), json!("99")] {
            let answer = gateway
                .post("/notifications", &json!({"user_id": nobody, "message": "hello"}))
                .await;
            assert_eq!(answer.status, 404);
            assert_eq!(answer.error(), "there is no user with this user_id");
        }
        assert!(gateway.listed("/notifications").await.is_empty());
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn the_newest_are_listed() {
    on_each_database(async |gateway| {
        let (serge, odile) = (gateway.person("Serge").await, gateway.person("Odile").await);
        let tell =
            async |user_id: &Value, text: &str| ask(gateway, &json!({"user_id": user_id, "message": text})).await;
        let first = tell(&serge, "first").await;
        let second = tell(&odile, "second").await;
        let third = tell(&serge, "third").await;
        let ids = async |query: &str| {
            let listed = gateway.listed(&format!("/notifications{query}")).await;
            let ids = listed.iter().map(|shown| shown["id"].as_str().unwrap().to_owned());
            ids.collect::<Vec<_>>()
        };
        let all = [third.clone(), second.clone(), first.clone()];
        assert_eq!(ids("").await, all);
        assert_eq!(ids("/").await, all);
        assert_eq!(ids("?user_id=&order_id=&other=1").await, all);
        assert_eq!(ids(&format!("?user_id={serge}")).await, [third, first]);
        assert_eq!(ids(&format!("?user_id={odile}&order_id=")).await, [second]);
        assert!(ids(&format!("?order_id={NOTHING}")).await.is_empty());
        assert!(ids(&format!("?user_id={serge}&order_id={NOTHING}")).await.is_empty());
        assert!(ids("?user_id=99").await.is_empty());
        for (query, error) in [
            ("?user_id=x", "user_id is not the number of a user"),
            ("?order_id=42", "order_id is not a lower-case UUID"),
            (
                "?user_id=-1&order_id=x",
                "user_id is not the number of a user; order_id is not a lower-case UUID",
            ),
        ] {
            let answer = gateway.get(&format!("/notifications{query}")).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (400, error.to_owned()));
        }

        for number in 0..100 {
            tell(&odile, &number.to_string()).await;
        }
        let listed = gateway.listed("/notifications").await;
        assert_eq!(listed.len(), 100, "and no more");
        assert_eq!(
            (&listed[0]["message"], &listed[99]["message"]),
            (&json!("99"), &json!("0"))
        );
    })
    .await;
}
