//! What stands in for the providers of email and SMS.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tidings_testkit::TestDatabase;

use crate::harness::{Answer, EMAIL_TOKEN, SMS_TOKEN, TestGateway, send};

const EMAIL: &str = "/sandbox/email-delivery-service";
const SMS: &str = "/sandbox/sms-delivery-service";

/// It uses no database.
async fn gateway() -> TestGateway {
    TestGateway::start(TestDatabase::sqlite().await).await
}

async fn deliver(gateway: &TestGateway, path: &str, token: &str, key: Option<&str>, body: &Value) -> Answer {
    let mut request = gateway.open(Method::POST, path).bearer_auth(token).json(body);
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    send(request).await
}

fn mail(recipient: &str) -> Value {
    json!({"recipient": recipient, "message": "Hi Odile Deray, your order has been successfully placed."})
}

async fn outbox(gateway: &TestGateway, query: &str) -> Vec<Value> {
    let answer = send(gateway.open(Method::GET, &format!("/sandbox/outbox{query}"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let outbox = answer.json();
    let data = outbox["data"].as_array().unwrap().clone();
    assert_eq!(outbox["count"], data.len());
    data
}

#[tokio::test]
async fn what_is_sent_is_shown_newest_first() {
    let gateway = gateway().await;
    let sent = [
        (EMAIL, EMAIL_TOKEN, Some("key-1"), "odile@example.com"),
        (SMS, SMS_TOKEN, Some("key-1"), "+41791234567"),
        (EMAIL, EMAIL_TOKEN, None, "serge@example.com"),
        (EMAIL, EMAIL_TOKEN, Some("key-1"), "odile@example.com"),
    ];
    for (path, token, key, recipient) in sent {
        let answer = deliver(&gateway, path, token, key, &mail(recipient)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({"status": "accepted"}));
    }
    let mut all = outbox(&gateway, "").await;
    for entry in &mut all {
        let at = entry.as_object_mut().unwrap().remove("received_at").unwrap();
        assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    }
    let entry = |channel: &str, recipient: &str, key: Option<&str>, times: u64| {
        let mut entry = mail(recipient);
        entry["channel"] = channel.into();
        entry["idempotency_key"] = key.into();
        entry["times"] = times.into();
        entry
    };
    assert_eq!(
        all,
        [
            entry("email", "serge@example.com", None, 1),
            entry("sms", "+41791234567", Some("key-1"), 1),
            entry("email", "odile@example.com", Some("key-1"), 2),
        ]
    );
    for (query, count) in [
        ("?channel=email", 2),
        ("?channel=sms", 1),
        ("?recipient=odile@example.com", 1),
        ("?recipient=%2B41791234567", 1),
        ("?recipient=+41791234567", 1),
        ("?recipient=odile@example.com&channel=sms", 0),
    ] {
        assert_eq!(outbox(&gateway, query).await.len(), count, "{query}");
    }
    let bad = send(gateway.open(Method::GET, "/sandbox/outbox?channel=pigeon")).await;
    assert_eq!(bad.status, 400);
    assert!(bad.error().contains("email, sms"));

    let cleared = send(gateway.open(Method::DELETE, "/sandbox/outbox/")).await;
    assert_eq!((cleared.status.as_u16(), cleared.body.len()), (204, 0));
    assert!(outbox(&gateway, "").await.is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn only_the_right_token_sends() {
    let gateway = gateway().await;
    for (path, token) in [
        (EMAIL, SMS_TOKEN),
        (SMS, EMAIL_TOKEN),
        (EMAIL, ""),
        (EMAIL, "the token for emails"),
    ] {
        let answer = deliver(&gateway, path, token, None, &mail("odile@example.com")).await;
        assert_eq!(answer.status, 401, "{path} {token}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.error().contains("the token for"));
    }
    let answer = send(gateway.open(Method::POST, EMAIL).json(&mail("odile@example.com"))).await;
    assert_eq!(answer.status, 401);
    assert!(outbox(&gateway, "").await.is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let gateway = gateway().await;
    for (body, named) in [
        (json!({}), "recipient"),
        (json!([]), "recipient"),
        (json!({"recipient": "odile@example.com"}), "message"),
        (json!({"recipient": "", "message": "Hello"}), "recipient"),
        (json!({"recipient": " ", "message": "Hello"}), "recipient"),
        (json!({"recipient": 41791234567_u64, "message": "Hello"}), "recipient"),
        (json!({"recipient": "odile@example.com", "message": null}), "message"),
    ] {
        let answer = deliver(&gateway, EMAIL, EMAIL_TOKEN, None, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.error().starts_with(named), "{body}");
    }
    let broken = gateway.open(Method::POST, SMS).bearer_auth(SMS_TOKEN).body("{");
    assert_eq!(send(broken).await.status, 400);
    let text = gateway.open(Method::POST, SMS).bearer_auth(SMS_TOKEN);
    let text = text.header("content-type", "text/plain").body("Hello");
    assert_eq!(send(text).await.status, 415);
    let large = deliver(&gateway, SMS, SMS_TOKEN, None, &mail(&"x".repeat(2 << 20))).await;
    assert_eq!(large.status, 413);
    let long_key = deliver(&gateway, SMS, SMS_TOKEN, Some(&"k".repeat(256)), &mail("+41791234567")).await;
    assert_eq!(long_key.status, 400);
    assert!(outbox(&gateway, "").await.is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn it_fails_as_it_is_told() {
    let gateway = gateway().await;
    let none = send(gateway.open(Method::GET, "/sandbox/faults")).await;
    assert_eq!(none.json(), json!({}));

    let told = json!({"channel": "sms", "status": 429, "retry_after": 7, "percentage": 50});
    for answer in [
        send(gateway.open(Method::PUT, "/sandbox/faults").json(&told)).await,
        send(gateway.open(Method::GET, "/sandbox/faults/")).await,
    ] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), told);
    }
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = deliver(&gateway, SMS, SMS_TOKEN, Some("key"), &mail("+41791234567")).await;
        statuses.push(answer.status.as_u16());
        let refused = answer.status == 429;
        assert_eq!(answer.header("retry-after"), refused.then_some("7"));
        if refused {
            assert_eq!(answer.error(), "the sandbox was told to fail");
        }
    }
    assert_eq!(statuses, [200, 429, 200, 429]);
    let email = deliver(&gateway, EMAIL, EMAIL_TOKEN, None, &mail("odile@example.com")).await;
    assert_eq!(email.status, 200);
    // What was refused was not sent.
    assert_eq!(outbox(&gateway, "?channel=sms").await[0]["times"], 2);

    let cleared = send(gateway.open(Method::DELETE, "/sandbox/faults")).await;
    assert_eq!(cleared.status, 204);
    let answer = deliver(&gateway, SMS, SMS_TOKEN, None, &mail("+41791234567")).await;
    assert_eq!(answer.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn who_is_late_has_taken_the_message() {
    let gateway = gateway().await;
    let late = Duration::from_millis(300);
    let told = json!({"delay_ms": 300});
    assert_eq!(
        send(gateway.open(Method::PUT, "/sandbox/faults").json(&told))
            .await
            .status,
        200
    );
    let begun = Instant::now();
    let answer = deliver(&gateway, EMAIL, EMAIL_TOKEN, Some("key"), &mail("odile@example.com")).await;
    assert!(answer.status == 200 && begun.elapsed() >= late);

    let body = mail("odile@example.com");
    let impatient = gateway.open(Method::POST, EMAIL).bearer_auth(EMAIL_TOKEN).json(&body);
    let impatient = impatient.header("Idempotency-Key", "key").timeout(late / 3);
    assert!(impatient.send().await.unwrap_err().is_timeout());
    assert_eq!(outbox(&gateway, "").await[0]["times"], 2);

    let told = json!({"delay_ms": 100, "status": 503});
    assert_eq!(
        send(gateway.open(Method::PUT, "/sandbox/faults").json(&told))
            .await
            .status,
        200
    );
    let begun = Instant::now();
    let answer = deliver(&gateway, EMAIL, EMAIL_TOKEN, Some("key"), &body).await;
    assert!(answer.status == 503 && begun.elapsed() >= Duration::from_millis(100));
    gateway.stop().await;
}

#[tokio::test]
async fn it_is_told_only_what_makes_sense() {
    let gateway = gateway().await;
    for told in [
        json!({}),
        json!([]),
        json!({"channel": "sms"}),
        json!({"percentage": 50}),
        json!({"status": 200}),
        json!({"status": 600}),
        json!({"status": "500"}),
        json!({"status": 500, "percentage": 0}),
        json!({"status": 500, "percentage": 101}),
        json!({"status": 500, "channel": "pigeon"}),
        json!({"status": 500, "retry_after": 86_401}),
        json!({"delay_ms": 60_001}),
        json!({"delay_ms": -1}),
        json!({"delay_ms": 5, "retry_after": 1}),
        json!({"status": 500, "delay": 5}),
    ] {
        let answer = send(gateway.open(Method::PUT, "/sandbox/faults").json(&told)).await;
        assert_eq!(answer.status, 400, "{told}");
        answer.error();
    }
    let still = send(gateway.open(Method::GET, "/sandbox/faults")).await;
    assert_eq!(still.json(), json!({}));
    gateway.stop().await;
}

#[tokio::test]
async fn other_methods_are_refused() {
    let gateway = gateway().await;
    for (path, allow) in [
        (EMAIL, "POST"),
        (SMS, "POST"),
        ("/sandbox/outbox", "GET, DELETE"),
        ("/sandbox/faults", "GET, PUT, DELETE"),
    ] {
        for path in [path.to_owned(), format!("{path}/")] {
            let answer = send(gateway.open(Method::PATCH, &path)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, Some(allow)),
                "{path}"
            );
            answer.error();
        }
    }
    assert_eq!(send(gateway.open(Method::GET, "/sandbox")).await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn without_tokens_there_is_none() {
    let gateway = TestGateway::start_with(TestDatabase::sqlite().await, |parts| parts.sandbox = None).await;
    for path in ["/sandbox/outbox", "/sandbox/faults", EMAIL] {
        let answer = send(gateway.open(Method::GET, path)).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    gateway.stop().await;
}
