use reqwest::Method;
use serde_json::json;

use crate::harness::{on_each_database, send};

const HEADER: &str = "X-Correlation-ID";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_request_and_its_events_have_one_correlation() {
    on_each_database(async |gateway| {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let request = gateway
            .request(Method::POST, "/messages")
            .header(HEADER, "order-4711")
            .header("traceparent", &parent);
        let body = json!({"from": "+12", "to": {"name": "Ada", "phone": "+41791234567"}, "content": "hello"});
        let answer = send(request.json(&body)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header(HEADER)),
            (201, Some("order-4711"))
        );
        let events = gateway.events().await;
        assert_eq!(events.len(), 2);
        for event in &events {
            assert_eq!(event.origin.service, "gateway");
            assert_eq!(event.origin.actor.as_deref(), Some("default"));
            assert_eq!(event.origin.correlation_id.as_str(), "order-4711");
            assert_eq!(event.origin.traceparent.trace_id(), TRACE);
            assert_ne!(event.origin.traceparent.to_string(), parent, "a span of its own");
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_correlation_there_is_a_new_one() {
    on_each_database(async |gateway| {
        let longest = "x".repeat(128);
        let too_long = "x".repeat(129);
        for (sent, kept) in [
            ("a", true),
            (&longest, true),
            ("", false),
            ("two words", false),
            (&too_long, false),
        ] {
            let answer = send(gateway.open(Method::GET, "/health").header(HEADER, sent)).await;
            let got = answer.header(HEADER).unwrap();
            assert_eq!(got == sent, kept, "{sent}: {got}");
            assert!(kept || got.len() == 36);
        }
        let contact = gateway.post("/contacts", &json!({"name": "Ada", "phone": "+12"})).await;
        let events = gateway.events().await;
        assert_eq!(contact.header(HEADER), Some(events[0].origin.correlation_id.as_str()));
    })
    .await;
}

#[tokio::test]
async fn every_answer_carries_the_correlation() {
    on_each_database(async |gateway| {
        let large = "x".repeat(2 * 1024 * 1024);
        for (request, status) in [
            (gateway.request(Method::GET, "/contacts"), 200),
            (gateway.request(Method::POST, "/contacts").body("{"), 400),
            (gateway.open(Method::GET, "/contacts"), 401),
            (gateway.request(Method::GET, "/contacts/1"), 404),
            (gateway.open(Method::GET, "/nothing"), 404),
            (gateway.open(Method::PUT, "/contacts"), 405),
            (gateway.open(Method::PUT, "/health"), 405),
            (gateway.request(Method::POST, "/contacts").body(large), 413),
            (
                gateway
                    .request(Method::POST, "/contacts")
                    .header("content-type", "text/plain"),
                415,
            ),
            (gateway.open(Method::GET, "/docs/openapi.yaml"), 200),
            (gateway.open(Method::GET, "/docs/nothing"), 404),
            (gateway.open(Method::GET, "/redoc"), 200),
            (gateway.open(Method::GET, "/metrics"), 200),
        ] {
            let answer = send(request.header(HEADER, "mine")).await;
            assert_eq!((answer.status.as_u16(), answer.header(HEADER)), (status, Some("mine")));
        }
    })
    .await;
}
