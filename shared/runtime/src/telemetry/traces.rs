//! Sends traces to whoever collects them by OpenTelemetry's protocol (OTLP over HTTP, protobuf).
//!
//! Guaranteed: a span has the ids that were passed on in `traceparent`, so that it fits together with those of
//! other systems. Telling of one never waits. Not guaranteed: that every span arrives. They are gathered for up to
//! five seconds, and those that a collector does not take in time, or that a crash cuts off, are dropped. When it begins to
//! take none and when it takes them again is logged, once each.
//!
//! The standard's variables are heeded where they say more than the settings do: `OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_BSP_…`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};
use tidings_domain::{Clock, new_id};
use tidings_events::span::{self, Span, SpanKind};
use tokio::runtime::Handle;

use crate::http_client::{HeaderMap, OutwardClient, Url};

/// How long a collector may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The sending of traces. Ends with [`Traces::finish`].
#[derive(Debug)]
pub struct Traces {
    processor: Arc<BatchSpanProcessor>,
}

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to OTEL_EXPORTER_OTLP_ENDPOINT")]
pub struct TracesError(#[from] ExporterBuildError);

/// Begins to send the spans of this process to a collector, under the name of the service: those of traces that others
/// have sampled, and of as many as `sampled` says that begin here. `endpoint` is the collector's base address without a
/// slash at its end; OTLP's path is added to it. Must be called within a tokio runtime.
pub fn start(
    endpoint: &str,
    sampled: f64,
    service: &str,
    version: &str,
    client: OutwardClient,
    clock: Arc<dyn Clock>,
) -> Result<Traces, TracesError> {
    let exporter = SpanExporter::builder()
        .with_http()
        // Whatever OTEL_EXPORTER_OTLP_PROTOCOL says: there is no other here.
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(DEADLINE)
        .with_http_client(Outward {
            client,
            runtime: Handle::current(),
            clock: clock.clone(),
            failing: Arc::default(),
        })
        .build()?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    processor.set_resource(&resource(service, version, &*clock));
    let processor = Arc::new(processor);
    let scope = InstrumentationScope::builder("tidings")
        .with_version(version.to_owned())
        .build();
    let telling = processor.clone();
    span::sample(sampled);
    span::collect_with(move |span| telling.on_end(data(span, &scope, &*clock)));
    Ok(Traces { processor })
}

impl Traces {
    /// Sends what has been gathered, if the collector takes it in time.
    pub async fn finish(self) {
        let finished = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(DEADLINE)).await;
        if let Ok(Err(error)) = finished {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// What tells this process from others. `OTEL_RESOURCE_ATTRIBUTES` may add to it and say all but the service's name better.
fn resource(service: &str, version: &str, clock: &dyn Clock) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.namespace", "tidings"),
            KeyValue::new("service.version", version.to_owned()),
            KeyValue::new("service.instance.id", new_id(clock).to_string()),
        ])
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ])
        .with_service_name(service.to_owned())
        .build()
}

fn data(span: Span, scope: &InstrumentationScope, clock: &dyn Clock) -> SpanData {
    let flags = match span.context.is_sampled() {
        true => TraceFlags::SAMPLED,
        false => TraceFlags::NOT_SAMPLED,
    };
    let context = SpanContext::new(
        TraceId::from_bytes(span.context.trace_id_bytes()),
        SpanId::from_bytes(span.context.span_id_bytes()),
        flags,
        false,
        TraceState::default(),
    );
    let end = clock.now();
    SpanData {
        span_context: context,
        parent_span_id: span
            .parent
            .map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.span_id_bytes())),
        parent_span_is_remote: span.kind != SpanKind::Internal,
        span_kind: kind(span.kind),
        name: span.name.into(),
        start_time: (end - span.took).into(),
        end_time: end.into(),
        attributes: span
            .attributes
            .into_iter()
            .map(|(name, value)| KeyValue::new(name, value))
            .collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

fn kind(kind: SpanKind) -> opentelemetry::trace::SpanKind {
    use opentelemetry::trace::SpanKind as Theirs;
    match kind {
        SpanKind::Server => Theirs::Server,
        SpanKind::Client => Theirs::Client,
        SpanKind::Producer => Theirs::Producer,
        SpanKind::Consumer => Theirs::Consumer,
        SpanKind::Internal => Theirs::Internal,
    }
}

/// The client for calls to the outside, as the exporter uses it: from a thread of its own.
#[derive(Debug)]
struct Outward {
    client: OutwardClient,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    /// Whether the last one was not taken.
    failing: Arc<AtomicBool>,
}

impl Outward {
    async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url: Url = request.uri().to_string().parse()?;
        let (parts, body) = request.into_parts();
        let headers: HeaderMap = parts.headers;
        let (client, clock) = (self.client.clone(), self.clock.clone());
        let call = self
            .runtime
            .spawn(async move { client.post(&url, headers, body, DEADLINE, &*clock).await });
        let answer = call.await??;
        Ok(Response::builder()
            .status(answer.status)
            .body(Bytes::from(answer.body))?)
    }

    /// Says so when the collector begins to take nothing and when it takes something again, and counts.
    fn note(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let problem = match answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        let result = if problem.is_some() { "failed" } else { "sent" };
        metrics::counter!("tidings_trace_exports_total", "result" => result).increment(1);
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed_before => {
                tracing::warn!(problem, "the collector takes no traces, so they are dropped");
            }
            None if failed_before => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Outward {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.call(request).await;
        self.note(&answer);
        answer
    }
}
