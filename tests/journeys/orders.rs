//! Kits that are ordered, and what the people learn of it whom they are for.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidings_storage::audit;
use tidings_testkit::{Behavior, ProviderSink, TestStack, WebhookReceiver, eventually};

use crate::stacks;
use crate::topic::consume;
use crate::users::curl;

const TOLD: &str = "Hi Serge Karamazov, your order has been successfully placed.";
const PHONE: &str = "+447451277972";

pub fn order(user_id: &Value, sequencing: &str) -> Value {
    json!({
        "user_id": user_id,
        "sequencing_type": sequencing,
        "shipping_info": {
            "delivery_name": "Serge Karamazov",
            "first_line": "12 Gloucester Road",
            "second_line": "",
            "town": "London",
            "postcode": "SW7 4TB",
            "country": "United Kingdom",
        },
    })
}

/// A new user called Serge Karamazov, with that email and perhaps a phone.
pub async fn serge(stack: &TestStack, email: &str, phone: Option<&str>) -> Value {
    let body = json!({"first_name": "Serge", "last_name": "Karamazov", "email": email, "password": "x"});
    let (status, user) = stack.post("/api/v1/users", &body).await;
    assert_eq!(status, 201, "{user}");
    if let Some(phone) = phone {
        let request = stack.client().patch(stack.url(&format!("/users/{}", user["id"])));
        let answer = request.json(&json!({"phone": phone})).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    user["id"].clone()
}

async fn post(stack: &TestStack, path: &str, body: &Value) -> Value {
    let (status, made) = stack.post(path, body).await;
    assert!(matches!(status, 201 | 202), "{made}");
    made
}

/// The one notification that a query finds, once it has this status.
async fn told(stack: &TestStack, query: &str, status: &str) -> Value {
    eventually(&format!("{query} is {status}"), async || {
        let (_, found) = stack.get(&format!("/notifications?{query}")).await;
        match &found["data"].as_array().unwrap()[..] {
            [one] if one["status"] == status => Ok(one.clone()),
            _ => Err(found),
        }
    })
    .await
}

async fn about(stack: &TestStack, order: &Value) -> Value {
    told(stack, &format!("order_id={}", order["id"].as_str().unwrap()), "sent").await
}

/// What the sandbox was sent for somebody.
async fn outbox(stack: &TestStack, recipient: &str) -> Vec<Value> {
    let path = format!("/sandbox/outbox?recipient={}", recipient.replace('+', "%2B"));
    let (_, outbox) = stack.get(&path).await;
    outbox["data"].as_array().unwrap().clone()
}

async fn faults(stack: &TestStack, instructions: Option<Value>) {
    let url = stack.url("/sandbox/faults");
    let request = match &instructions {
        Some(instructions) => stack.client().put(url).json(instructions),
        None => stack.client().delete(url),
    };
    assert!(request.send().await.unwrap().status().is_success());
}

/// Nothing was called that is not on this machine, nor in a private network.
async fn nobody_outside_was_called(stack: &TestStack) {
    let page = stack.client().get(stack.url("/metrics")).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(
        page.contains("tidings_notif"),
        "the page has metrics of the notifier: {page}"
    );
    let outside = page
        .lines()
        .filter(|line| line.starts_with("tidings_outward_beyond_loopback_total") && !line.ends_with(" 0"));
    assert_eq!(outside.collect::<Vec<_>>(), [""; 0]);
}

/// By the commands that the contract's page would have.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_gets_a_kit_is_told() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let user_id = serge(&stack, "serge@example.com", Some(PHONE)).await;
        let (url, body) = (stack.url("/orders"), order(&user_id, "targeted-sequencing"));
        let body = body.to_string();
        let arguments = ["-X", "POST", "-H", "Content-Type: application/json", "-d", &body, &url];
        let (status, headers, by_email) = curl(&arguments).await;
        assert_eq!(status, "http/1.1 201 created");
        let location = format!("location: {url}/{}", by_email["id"].as_str().unwrap());
        assert!(headers.contains(&location), "{headers:?}");
        let by_sms = post(&stack, "/orders", &order(&user_id, "whole-exome-sequencing")).await;
        assert_eq!(
            (&by_email["channel"], &by_sms["channel"]),
            (&json!("email"), &json!("sms"))
        );

        for (order, channel, recipient) in [(&by_email, "email", "serge@example.com"), (&by_sms, "sms", PHONE)] {
            let notification = about(&stack, order).await;
            assert_eq!(
                (
                    &notification["channel"],
                    &notification["recipient"],
                    &notification["message"]
                ),
                (&json!(channel), &json!(recipient), &json!(TOLD))
            );
            assert_eq!(
                (&notification["attempts"], &notification["fallback"]),
                (&json!(1), &Value::Null)
            );
            assert!(notification["sent_at"].is_string());
            let [entry] = &outbox(&stack, recipient).await[..] else {
                panic!("told once")
            };
            assert_eq!((&entry["channel"], &entry["message"]), (&json!(channel), &json!(TOLD)));
            assert_eq!(
                (&entry["idempotency_key"], &entry["times"]),
                (&notification["id"], &json!(1))
            );
        }
        let (_, everyone) = stack.get("/users").await;
        assert_eq!(everyone["data"][0]["orders"], json!([by_email, by_sms]));

        // What was asked for by name, and what cannot go where it was to go.
        let mut named = order(&user_id, "targeted-sequencing");
        named["channel"] = json!("sms");
        let named = post(&stack, "/orders", &named).await;
        assert_eq!(about(&stack, &named).await["channel"], "sms");
        let reachless = serge(&stack, "reachless@example.com", None).await;
        let exome = post(&stack, "/orders", &order(&reachless, "whole-exome-sequencing")).await;
        let notification = about(&stack, &exome).await;
        assert_eq!(
            (&exome["channel"], &notification["requested_channel"]),
            (&json!("sms"), &json!("sms"))
        );
        assert_eq!(
            (&notification["channel"], &notification["fallback"]),
            (&json!("email"), &json!("the user has no phone number"))
        );
        assert_eq!(outbox(&stack, "reachless@example.com").await.len(), 1);

        // What somebody writes goes the same way.
        let words = json!({"user_id": reachless, "message": "Grüezi 👋, your results are here."});
        let asked = post(&stack, "/notifications", &words).await;
        let id = asked["id"].as_str().unwrap();
        eventually("it is sent", async || {
            let (_, notification) = stack.get(&format!("/notifications/{id}")).await;
            if notification["status"] == "sent" {
                Ok(())
            } else {
                Err(notification)
            }
        })
        .await;
        let newest = &outbox(&stack, "reachless@example.com").await[0];
        assert_eq!(
            (&newest["message"], &newest["idempotency_key"]),
            (&words["message"], &asked["id"])
        );
        nobody_outside_was_called(&stack).await;
        stack.finish().await;
    }
}

/// Exactly what the providers' pages ask for.
#[tokio::test(flavor = "multi_thread")]
async fn providers_get_what_they_ask_for() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let (email, sms) = ("7lPIazekwQu7Raz7FqBQmsLvlH29IDwG", "o8deGqg2vTGYXtvIsA05zOW8ywAPBQuB");
    let (emails, texts) = (
        ProviderSink::start(email, Behavior::Acknowledge).await,
        ProviderSink::start(sms, Behavior::RefuseFirst(1, 503)).await,
    );
    let (email_url, sms_url) = (emails.url(), texts.url());
    let settings = [
        ("EMAIL_PROVIDER_URL", &email_url[..]),
        ("EMAIL_PROVIDER_TOKEN", email),
        ("SMS_PROVIDER_URL", &sms_url),
        ("SMS_PROVIDER_TOKEN", sms),
    ];
    let mut stacks = stacks(&receiver.url(), &settings);
    while let Some(stack) = stacks.next().await {
        let (emails_before, texts_before) = (emails.calls().len(), texts.calls().len());
        let user_id = serge(&stack, "serge@example.com", Some(PHONE)).await;
        for (sequencing, attempts) in [("targeted-sequencing", 1), ("whole-exome-sequencing", 2)] {
            let order = post(&stack, "/orders", &order(&user_id, sequencing)).await;
            let notification = about(&stack, &order).await;
            assert_eq!(notification["attempts"], attempts);
            let (sink, before, recipient, token) = match attempts {
                1 => (&emails, emails_before, "serge@example.com", email),
                _ => (&texts, texts_before, PHONE, sms),
            };
            let calls = sink.calls();
            assert_eq!(calls.len() - before, attempts);
            for call in &calls[before..] {
                assert_eq!(call.json(), json!({"recipient": recipient, "message": TOLD}));
                assert_eq!(call.header("authorization"), Some(&format!("Bearer {token}")[..]));
                assert_eq!(call.header("content-type"), Some("application/json"));
                assert_eq!(call.header("idempotency-key"), notification["id"].as_str());
            }
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_tried_again() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    // Long enough for a busy machine to come round to healing it.
    let mut stacks = stacks(
        &receiver.url(),
        &[("TIDINGS_RETRY_SCHEDULE", "0s,1s,1s,1s,1s,1s,1s,5s,20s")],
    );
    while let Some(stack) = stacks.next().await {
        let user_id = serge(&stack, "serge@example.com", Some(PHONE)).await;
        faults(&stack, Some(json!({"channel": "sms", "status": 503}))).await;
        let failing = post(&stack, "/orders", &order(&user_id, "whole-exome-sequencing")).await;
        let path = format!("/notifications?order_id={}", failing["id"].as_str().unwrap());
        eventually("it was tried", async || {
            let (_, found) = stack.get(&path).await;
            let one = &found["data"][0];
            match one["attempts"].as_i64() {
                Some(1..) if one["status"] == "requested" && one["answer"].is_string() => Ok(()),
                _ => Err(found),
            }
        })
        .await;
        // The other channel does not wait for it.
        let other = post(&stack, "/orders", &order(&user_id, "targeted-sequencing")).await;
        about(&stack, &other).await;
        assert_eq!(outbox(&stack, PHONE).await, [Value::Null; 0]);
        faults(&stack, None).await;
        let notification = about(&stack, &failing).await;
        assert!(notification["attempts"].as_i64() > Some(1));
        assert_eq!(outbox(&stack, PHONE).await[0]["times"], 1);

        // What a provider refuses for good is not sent again.
        faults(&stack, Some(json!({"status": 422}))).await;
        let refused = post(&stack, "/orders", &order(&user_id, "whole-exome-sequencing")).await;
        let query = format!("order_id={}", refused["id"].as_str().unwrap());
        let notification = told(&stack, &query, "failed").await;
        assert_eq!(
            (&notification["attempts"], &notification["sent_at"]),
            (&json!(1), &Value::Null)
        );
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_notifications_are_on_kafka_and_in_the_audit_log() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let user_id = serge(&stack, "serge@example.com", Some(PHONE)).await;
        let first = post(&stack, "/orders", &order(&user_id, "targeted-sequencing")).await;
        let second = post(&stack, "/orders", &order(&user_id, "whole-exome-sequencing")).await;
        let notifications = [about(&stack, &first).await, about(&stack, &second).await];

        let orders = consume(&stack, "orders-events", |records| records.len() == 2).await;
        for order in [&first, &second] {
            let of_it: Vec<_> = orders.iter().filter(|event| order["id"] == event.key[..]).collect();
            let [event] = &of_it[..] else {
                panic!("one event for each order: {orders:?}")
            };
            assert_eq!(event.value, json!({"action": "create", "data": order}));
            assert_eq!(event.headers["ce_type"], "tidings.order.placed");
            assert_eq!(
                (&event.headers["ce_sequence"][..], &event.headers["actor"][..]),
                ("1", "default")
            );
        }
        let told = consume(&stack, "notifications-events", |records| records.len() == 4).await;
        for (order, notification) in [&first, &second].into_iter().zip(&notifications) {
            let id = notification["id"].as_str().unwrap();
            let of_it: Vec<_> = told.iter().filter(|event| event.key == id).collect();
            let seen: Vec<_> = of_it
                .iter()
                .map(|event| {
                    let header = |name: &str| event.headers[name].clone();
                    (
                        header("ce_type"),
                        header("ce_sequence"),
                        header("ce_source"),
                        event.value["action"].clone(),
                    )
                })
                .collect();
            let event = |kind: &str, sequence: &str, action: &str| {
                let kind = format!("tidings.notification.{kind}");
                (kind, sequence.to_owned(), "/tidings/notifier".to_owned(), json!(action))
            };
            assert_eq!(seen, [event("requested", "1", "create"), event("sent", "2", "update")]);
            assert_eq!(&of_it[1].value["data"], notification, "as the API shows it");
            // One thread through all of it.
            let placed = orders.iter().find(|event| order["id"] == event.key[..]).unwrap();
            for event in of_it {
                assert_eq!(event.headers["correlation-id"], placed.headers["correlation-id"]);
            }
        }

        let db = stack.database().await;
        eventually("all of it is recorded", async || {
            let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
            for record in audit::list(db.read(), 0, 100).await.unwrap() {
                *recorded.entry(record.action).or_default() += 1;
            }
            let count = |action: &str| recorded.get(action).copied().unwrap_or_default();
            let counts = ["order.placed", "notification.requested", "notification.sent"]
                .map(|action| count(&format!("tidings.{action}")));
            if counts == [2, 2, 2] { Ok(()) } else { Err(recorded) }
        })
        .await;
        stack.finish().await;
    }
}
