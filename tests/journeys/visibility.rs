//! Seeing it work: health, version, documents, metrics, and one thread through everything.

use std::collections::BTreeSet;

use serde_json::json;
use tidings_testkit::{Behavior, TestStack, WebhookReceiver, eventually};

use crate::{TIDINGS, stacks};

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_it_is() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        assert_eq!(stack.get("/health").await, (200, json!({"status": "ok"})));
        assert_eq!(stack.get("/health/live").await.0, 200);
        // An external Kafka keeps nobody waiting at the start, so the topics may still be on their way.
        let ready = eventually("the stack is ready", async || {
            let (status, ready) = stack.get("/health/ready").await;
            // Numbers are left out by a database that has no time to count.
            match status == 200 && ready["delivery_lag_seconds"].is_number() {
                true => Ok(ready),
                false => Err(ready),
            }
        })
        .await;
        for check in ["database", "broker"] {
            assert_eq!(ready["checks"][check]["status"], "ok", "{ready}");
        }
        assert!(
            ready["checks"]["audit"]["detail"]
                .as_str()
                .unwrap()
                .starts_with("head "),
            "{ready}"
        );
        // The same for those who have nothing to speak HTTP with.
        let told = stack.run(&["health", &stack.url("/health/ready?only=database")]).await;
        assert!(told.status.success(), "{told:?}");
        assert!(told.stdout.contains(r#""status":"ok""#), "{told:?}");
        let told = stack.run(&["health", &stack.url("/health/ready?only=nothing")]).await;
        assert!(!told.status.success() && told.stderr.contains("404"), "{told:?}");
        let (_, version) = stack.get("/version").await;
        assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
        assert!(version["commit"].is_string() && version["built_at"].is_string());
        stack.finish().await;
    }
}

/// What is not there yet fires no alert, and of what comes with its first value no rate is known.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_alerts_ask_for_is_there_before_anything_has_happened() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/observability/alerts.yml");
    let rules = std::fs::read_to_string(rules).unwrap();
    let words = rules.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_'));
    let metrics: BTreeSet<_> = words
        .filter(|word| word.starts_with("tidings_") || word.starts_with("process_"))
        // And of what the dashboard shows.
        .chain([
            "tidings_outbox_depth",
            "tidings_audit_head_seq",
            "tidings_cleared_timestamp_seconds",
        ])
        .collect();
    assert!(metrics.len() > 15, "{metrics:?}");
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let page = eventually("all are there", async || {
            let request = stack.client().get(stack.url("/metrics")).send();
            let page = request.await.unwrap().text().await.unwrap();
            let lines = || page.lines().filter(|line| !line.starts_with('#'));
            let missing = metrics
                .iter()
                .filter(|metric| !lines().any(|line| line.starts_with(**metric)));
            match missing.collect::<Vec<_>>() {
                none if none.is_empty() => Ok(page.clone()),
                missing => Err(format!("{missing:?}")),
            }
        })
        .await;
        for line in [
            "tidings_audit_raw_records_total 0",
            "tidings_deliveries_total{result=\"failed\"} 0",
            "tidings_notifications_total{channel=\"sms\",result=\"retried\"} 0",
            "tidings_consumer_records_total{group=\"audit\",topic=\"users-events\"} 0",
            "tidings_dependency_up{dependency=\"database\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}: {page}");
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_open_and_the_rest_is_not() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let get = async |path: &str| stack.client().get(stack.url(path)).send().await.unwrap();
        for path in ["/docs/openapi.yaml", "/docs/", "/redoc", "/health", "/version"] {
            assert_eq!(get(path).await.status(), 200, "{path}");
        }
        assert_eq!(
            get("/docs/openapi.yaml").await.headers()["access-control-allow-origin"],
            "*"
        );
        for path in ["/messages", "/contacts", "/messages/1", "/contacts/1"] {
            assert_eq!(get(path).await.status(), 401, "{path}");
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_goes_from_the_request_to_the_webhook_and_into_every_log() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[("RUST_LOG", "info,tidings_audit=debug")]);
    while let Some(stack) = stacks.next().await {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let body = json!({ "from": "+41440000000", "to": { "name": "A", "phone": "+41791234567" }, "content": "x" });
        let request = stack
            .client()
            .post(stack.url("/messages"))
            .bearer_auth("there-is-no-key")
            .header("X-Correlation-ID", "order-4711")
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-correlation-id"], "order-4711");
        let message: serde_json::Value = response.json().await.unwrap();
        let id = message["id"].as_str().unwrap();
        stack.message_becomes(id, "delivered").await;
        let received = receiver.received();
        let webhook = received.iter().find(|webhook| webhook.json()["id"] == id).unwrap();
        assert_eq!(webhook.header("x-correlation-id"), Some("order-4711"));
        assert!(
            webhook
                .header("traceparent")
                .unwrap()
                .starts_with(&format!("00-{trace}-"))
        );
        eventually("the logs of gateway, delivery and audit name it", async || {
            let output = stack.output();
            let named = |target: &str| {
                output
                    .lines()
                    .any(|line| line.contains(target) && line.contains("order-4711") && line.contains(trace))
            };
            let all = ["tidings_gateway", "tidings_delivery", "tidings_audit"]
                .into_iter()
                .all(named);
            if all { Ok(()) } else { Err(output) }
        })
        .await;
        // Not on a terminal, so each line is JSON.
        let log = stack.output();
        let lines = log.lines().filter(|line| line.starts_with('{'));
        assert!(lines.clone().count() > 0);
        lines.for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap()));
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_plays_one_message_through() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let stack = TestStack::start(TIDINGS, &receiver.url(), &[]).await;
    let demo = stack.run_bare(&["demo"]).await;
    assert!(demo.status.success(), "{demo:?}");
    for step in [
        "201",
        "tidings.message.queued",
        "verified",
        "tidings.message.delivered",
        ": delivered, acknowledged",
    ] {
        assert!(demo.stdout.contains(step), "no `{step}` in\n{}", demo.stdout);
    }
    // Its stack is gone in a moment, so nobody is invited to it.
    assert!(!demo.stdout.contains("curl"), "{}", demo.stdout);
    stack.finish().await;
}
