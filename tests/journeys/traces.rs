//! One trace, from a request to the webhook that it led to, and to what a user is told because of it.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use tidings_testkit::{Behavior, ProviderSink, TestStack, WebhookReceiver, eventually};

use crate::orders::{order, serge};
use crate::{TIDINGS, stacks};

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

fn message() -> Value {
    let to = json!({"name": "Odile", "phone": "+41791234567"});
    json!({"from": "+41440000000", "to": to, "content": "Hello"})
}

/// Sends a request that is a part of a trace, sampled or not; answers what it made.
async fn post(stack: &TestStack, path: &str, body: &Value, trace: &str, flags: &str) -> Value {
    let request = stack
        .client()
        .post(stack.url(path))
        .header("traceparent", format!("00-{trace}-{CLIENT}-{flags}"))
        .bearer_auth("there-is-no-key")
        .json(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

/// The `traceparent`s of this trace with which somebody was called.
fn told(by: Vec<tidings_testkit::Received>, trace: &str) -> Vec<String> {
    let contexts = by.iter().filter_map(|call| call.header("traceparent"));
    contexts
        .filter(|context| context.contains(trace))
        .map(str::to_owned)
        .collect()
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
        let id = post(&stack, "/messages", &message(), trace, "01").await["id"].clone();
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
        let told = told(receiver.received(), trace);
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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_is_told_is_a_part_and_a_trace_that_nobody_samples_is_passed_on_only() {
    let collector = WebhookReceiver::start(Behavior::Acknowledge).await;
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let email = ProviderSink::start("a-token", Behavior::Acknowledge).await;
    let (endpoint, provider) = (format!("http://{}", collector.addr()), email.url());
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint[..]),
        // Another protocol is not spoken, and what a whole cluster is told must not keep a service from starting.
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=tidings"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        // Of those that begin here. Others have decided for these.
        ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ("EMAIL_PROVIDER_URL", &provider[..]),
        ("EMAIL_PROVIDER_TOKEN", "a-token"),
    ];
    let mut stacks = stacks(&receiver.url(), &settings);
    let mut traces = (1_u128..).map(|number| format!("{number:032x}"));
    while let Some(stack) = stacks.next().await {
        let [unsampled, trace] = [(); 2].map(|()| traces.next().unwrap());
        let id = post(&stack, "/messages", &message(), &unsampled, "00").await["id"].clone();
        stack.message_becomes(id.as_str().unwrap(), "delivered").await;
        let [passed_on] = &told(receiver.received(), &unsampled)[..] else {
            panic!("one webhook");
        };
        assert!(passed_on.ends_with("-00") && !passed_on.contains(CLIENT), "{passed_on}");

        let user = serge(&stack, "serge@example.com", None).await;
        post(&stack, "/orders", &order(&user, "targeted-sequencing"), &trace, "01").await;
        let found = eventually("the whole trace has arrived", async || {
            let found = spans(&collector, &trace);
            let of = |name: &str| found.get(name).map_or(0, Vec::len);
            // That of the order, and of the notification that it was asked for and that it was sent.
            let published = of("publish orders-events") >= 1 && of("publish notifications-events") >= 2;
            match published && of("process orders-events") >= 2 && of("notify by email") >= 1 {
                true => Ok(found),
                false => Err(found.into_iter().map(|(name, of)| (name, of.len())).collect::<Vec<_>>()),
            }
        })
        .await;
        let (request, attempt) = (&found["POST /orders"][0], &found["notify by email"][0]);
        assert_eq!(hex::encode(&request.parent_span_id), CLIENT);
        // What the provider was told is the span that was reported.
        let expected = format!("00-{trace}-{}-01", hex::encode(&attempt.span_id));
        assert_eq!(told(email.calls(), &trace), [expected]);
        let known = |parent: &Vec<u8>| {
            hex::encode(parent) == CLIENT || found.values().flatten().any(|span| span.span_id == *parent)
        };
        for span in found.values().flatten() {
            assert!(known(&span.parent_span_id), "nobody reported the parent of {span:?}");
        }

        assert!(spans(&collector, &unsampled).is_empty(), "nobody wanted to have it");
        let exports = collector.received();
        assert!(
            exports
                .iter()
                .all(|export| export.header("x-tenant") == Some("tidings"))
        );
        let exports = exports
            .into_iter()
            .map(|export| ExportTraceServiceRequest::decode(export.body).unwrap());
        for of in exports.flat_map(|export| export.resource_spans) {
            let attributes = of.resource.unwrap().attributes.into_iter();
            let mut names: Vec<_> = attributes.map(|attribute| attribute.key).collect();
            names.retain(|name| !name.starts_with("telemetry."));
            names.sort();
            assert_eq!(
                names,
                [
                    "deployment.environment.name",
                    "service.instance.id",
                    "service.name",
                    "service.namespace",
                    "service.version"
                ]
            );
            for span in of.scope_spans.into_iter().flat_map(|of| of.spans) {
                let of_clients = hex::encode(&span.trace_id).starts_with("0000");
                assert!(of_clients, "none that began here is sampled: {span:?}");
            }
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_two_lines_in_the_log() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let collector = WebhookReceiver::start(Behavior::Acknowledge).await;
    let addr = collector.addr();
    collector.stop().await;
    let endpoint = format!("http://{addr}");
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint[..]),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut stack = TestStack::start(TIDINGS, &receiver.url(), &settings).await;
    let failed = "tidings_trace_exports_total{result=\"failed\"}";
    let mut number = 0;
    eventually("several exports have failed", async || {
        number += 1;
        let id = stack.send_message(number).await;
        stack.message_becomes(&id, "delivered").await;
        let page = stack.client().get(stack.url("/metrics")).send().await.unwrap();
        let page = page.text().await.unwrap();
        let count = page
            .lines()
            .find_map(|line| line.strip_prefix(failed)?.trim().parse().ok());
        match count {
            Some(3..) => Ok(()),
            count => Err::<(), Option<u32>>(count),
        }
    })
    .await;
    let collector = WebhookReceiver::start_at(addr, Behavior::Acknowledge).await;
    eventually("the collector is told again", async || {
        number += 1;
        stack.send_message(number).await;
        match collector.received().len() {
            0 => Err("nothing came"),
            _ => Ok(()),
        }
    })
    .await;
    stack.settle().await;
    let output = stack.output();
    for line in ["the collector takes no traces", "the collector takes traces again"] {
        assert_eq!(output.matches(line).count(), 1, "{line}: {output}");
    }
    collector.set(Behavior::Hang);
    let stopping = std::time::Instant::now();
    assert!(stack.stop().await.success());
    assert!(
        stopping.elapsed() < Duration::from_secs(20),
        "one that hangs keeps nobody from ending"
    );
}
