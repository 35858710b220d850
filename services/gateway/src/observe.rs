//! What every request gets, whatever becomes of it: a correlation id, a span of its trace, a line in the
//! log and a place in the metrics.
//!
//! A client's `X-Correlation-ID` is kept if it is one to 128 visible ASCII characters; otherwise, as
//! without it, a new one is made. Every answer carries it. A `traceparent` is continued.

use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use tidings_domain::{CorrelationId, TraceParent};
use tidings_events::Origin;
use tidings_events::span::{self, Span, SpanKind};
use tracing::Instrument;

use crate::application::Application;

const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACEPARENT: &str = "traceparent";

/// What ties what a request sets off to the request; among its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) correlation_id: CorrelationId,
    /// The request's own span.
    pub(crate) traceparent: TraceParent,
    /// The client's, if it has one.
    parent: Option<TraceParent>,
}

impl Trace {
    /// Of the request, which [`observe`] has given one.
    pub(crate) fn find(request: &HttpRequest) -> Option<Self> {
        request.extensions().get().cloned()
    }

    /// The origin of the events that the request sets off; `actor` is the id of the key that it carries.
    pub(crate) fn origin(&self, actor: Option<&str>) -> Origin {
        Origin {
            service: "gateway".to_owned(),
            correlation_id: self.correlation_id.clone(),
            traceparent: self.traceparent,
            actor: actor.map(str::to_owned),
        }
    }

    /// The request as a part of its trace.
    fn span(&self, method: &Method, route: &str, status: StatusCode, took: Duration) -> Span {
        let method = method_label(method);
        Span {
            name: format!("{method} {route}"),
            kind: SpanKind::Server,
            context: self.traceparent,
            parent: self.parent,
            took,
            attributes: vec![
                ("http.request.method", method.to_owned()),
                ("http.route", route.to_owned()),
                ("http.response.status_code", status.as_str().to_owned()),
                ("tidings.correlation_id", self.correlation_id.to_string()),
            ],
            error: status.is_server_error().then(|| status.to_string()),
        }
    }

    fn of(request: &ServiceRequest, application: &Application) -> Self {
        let parent = read::<TraceParent>(request.headers(), TRACEPARENT);
        Self {
            correlation_id: read(request.headers(), CORRELATION_ID.as_str())
                .unwrap_or_else(|| CorrelationId::generate(application.clock())),
            traceparent: parent.map_or_else(span::begin, TraceParent::child),
            parent,
        }
    }
}

fn read<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The outermost middleware.
pub(crate) async fn observe(
    application: web::Data<Application>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let start = Instant::now();
    let trace = Trace::of(&request, &application);
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        %method,
        path = request.path(),
        correlation_id = %trace.correlation_id,
        trace_id = %trace.traceparent.trace_id(),
    );
    request.extensions_mut().insert(trace.clone());

    let in_flight = InFlight::one_more();
    let mut result = next.call(request).instrument(span.clone()).await;
    let (status, route) = match &result {
        // The pattern rather than the path: paths contain ids, and metrics must not grow with them.
        Ok(answer) => (
            answer.status(),
            answer
                .request()
                .match_pattern()
                .unwrap_or_else(|| "unmatched".to_owned()),
        ),
        Err(error) => (error.as_response_error().status_code(), "unmatched".to_owned()),
    };
    match &mut result {
        Ok(answer) => stamp(answer.headers_mut(), &trace),
        Err(_) => {
            result = result.map_err(|error| {
                let mut answer = error.error_response();
                stamp(answer.headers_mut(), &trace);
                InternalError::from_response(error, answer).into()
            });
        }
    }
    drop(in_flight);
    let elapsed = start.elapsed();
    span.in_scope(|| log(&method, status, elapsed.as_micros() as f64 / 1000.0));
    span::tell(|| trace.span(&method, &route, status, elapsed));
    metrics::counter!(
        "tidings_http_requests_total",
        "method" => method_label(&method),
        "route" => route.clone(),
        "status" => status.as_str().to_owned(),
    )
    .increment(1);
    metrics::histogram!("tidings_http_request_duration_seconds", "route" => route).record(elapsed);
    result
}

/// One of the requests under way, for as long as it exists: a client may hang up.
struct InFlight(metrics::Gauge);

impl InFlight {
    fn one_more() -> Self {
        let requests = metrics::gauge!("tidings_http_requests_in_flight");
        requests.increment(1);
        Self(requests)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

fn stamp(headers: &mut HeaderMap, trace: &Trace) {
    if let Ok(id) = HeaderValue::from_str(trace.correlation_id.as_str()) {
        headers.insert(CORRELATION_ID, id);
    }
}

/// Changes are worth a line each; reads, health checks above all, only to whoever looks for them.
fn log(method: &Method, status: StatusCode, milliseconds: f64) {
    let status = status.as_u16();
    if status >= 500 {
        tracing::warn!(status, milliseconds, "answered");
    } else if method.is_safe() {
        tracing::debug!(status, milliseconds, "answered");
    } else {
        tracing::info!(status, milliseconds, "answered");
    }
}

/// Clients may invent methods, and must not invent metrics by that.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PATCH,
        Method::DELETE,
        Method::PUT,
        Method::HEAD,
        Method::OPTIONS,
    ];
    const NAMES: [&str; 7] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    KNOWN
        .iter()
        .position(|known| known == method)
        .map_or("other", |place| NAMES[place])
}
