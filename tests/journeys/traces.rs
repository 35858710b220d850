//! One trace, from a request to the webhook that it led to.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::stacks;

const CLIENT: &str = "00f067aa0ba902b7";

/// What has arrived of a trace, by name.
fn spans(collector: &WebhookReceiver, trace: &str) -> HashMap<String, Vec<Span>> {
    let mut spans: HashMap<_, Vec<_>> = HashMap::new();
    for export in collector.received() {
        assert_eq!(export.path, "/v1/traces");
        let export = ExportTraceServiceRequest::decode(export.body).unwrap();
        for span in export.resource_spans.into_iter().flat_map(|of| of.scope_spans) {
            for span in span.spans {
                if hex::encode(&span.trace_id) == trace {
                    spans.entry(span.name.clone()).or_default().push(span);
                }
            }
        }
    }
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_everything_that_follows_from_it_are_one_trace() {
    let collector = WebhookReceiver::start(Behavior::Acknowledge).await;
    let receiver = WebhookReceiver::start(Behavior::RefuseFirst(1, 503)).await;
    let endpoint = format!("http://{}/", collector.addr());
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint[..]),
        // The standard's own variable: how long spans are gathered, in milliseconds.
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut stacks = stacks(&receiver.url(), &settings);
    let mut traces = (1_u128..).map(|number| format!("{number:032x}"));
    while let Some(stack) = stacks.next().await {
        let trace = &traces.next().unwrap()[..];
        let to = json!({"name": "Odile", "phone": "+41791234567"});
        let request = stack
            .client()
            .post(stack.url("/messages"))
            .header("traceparent", format!("00-{trace}-{CLIENT}-01"))
            .bearer_auth("there-is-no-key")
            .json(&json!({"from": "+41440000000", "to": to, "content": "Hello"}));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let id = answer.json::<serde_json::Value>().await.unwrap()["id"].clone();
        stack.message_becomes(id.as_str().unwrap(), "delivered").await;

        let found = eventually("the whole trace has arrived", async || {
            let found = spans(&collector, trace);
            let of = |name: &str| found.get(name).map_or(0, Vec::len);
            // Queued and delivered are published, and handled by the delivery service and the audit log.
            let whole = of("publish messages-events") >= 2 && of("process messages-events") >= 4;
            match whole && of("POST webhook") >= 2 {
                true => Ok(found),
                false => Err(found.into_iter().map(|(name, of)| (name, of.len())).collect::<Vec<_>>()),
            }
        })
        .await;
        let [request] = &found["POST /messages"][..] else {
            panic!("{:?}", found["POST /messages"]);
        };
        assert_eq!(hex::encode(&request.parent_span_id), CLIENT);
        assert!(request.start_time_unix_nano < request.end_time_unix_nano);
        let attempts = &found["POST webhook"];
        let told = receiver.received().into_iter();
        let told = told.filter_map(|webhook| webhook.header("traceparent").map(str::to_owned));
        let told: Vec<_> = told.filter(|context| context.contains(trace)).collect();
        assert_eq!(told.len(), 2);
        for (attempt, told) in attempts.iter().zip(told) {
            assert_eq!(attempt.parent_span_id, request.span_id);
            // What the receiver was told is the span that was reported.
            assert_eq!(told, format!("00-{trace}-{}-01", hex::encode(&attempt.span_id)));
        }
        let published = &found["publish messages-events"];
        assert_eq!(published[0].parent_span_id, request.span_id);
        // The message was delivered because of the second attempt.
        assert_eq!(published[1].parent_span_id, attempts[1].span_id);
        let known = |parent: &Vec<u8>| {
            hex::encode(parent) == CLIENT || found.values().flatten().any(|span| span.span_id == *parent)
        };
        for span in found.values().flatten() {
            assert!(known(&span.parent_span_id), "nobody reported the parent of {span:?}");
        }
        stack.finish().await;
    }
}
