//! One attempt: what is sent, and what came back.

use std::fmt::Write;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tidings_domain::{AttemptResult, DeliveryId, MessageId, MessageStatus, TraceParent};
use tidings_events::EventRecord;
use tidings_events::data::timestamp;
use tidings_runtime::http_client::{CallError, HeaderMap, HeaderName, HeaderValue};
use tidings_signing::{SignError, sign};

use crate::directory::Endpoint;

/// A request, signed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing can be sent. The text is kept with the attempt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsendable {
    #[error("the endpoint's secret cannot be used: {0}")]
    Secret(#[from] crate::directory::BadSecret),
    #[error("the webhook cannot be signed: {0}")]
    Signature(#[from] SignError),
    #[error("the webhook's body cannot be written: {0}")]
    Body(#[from] serde_json::Error),
}

/// What the messaging contract sends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledgement {
    id: MessageId,
    status: &'static str,
    delivered_at: String,
}

impl Request {
    /// The request of one attempt, made at `at`; `context` is the attempt as a part of its trace.
    ///
    /// A delivery that decides about a message says that the message is delivered with this attempt; if
    /// the receiver acknowledges it, that is so. Any other delivery is the event itself, as a CloudEvent in
    /// HTTP's binary content mode.
    pub(crate) fn new(
        endpoint: &Endpoint,
        delivery: DeliveryId,
        message: Option<MessageId>,
        event: &EventRecord,
        context: TraceParent,
        at: DateTime<Utc>,
    ) -> Result<Self, Unsendable> {
        let secrets = endpoint.secrets.as_ref().map_err(Clone::clone)?;
        let mut headers = HeaderMap::new();
        let body = match message {
            Some(id) => Bytes::from(serde_json::to_vec(&Acknowledgement {
                id,
                status: MessageStatus::Delivered.as_str(),
                delivered_at: timestamp(at),
            })?),
            None => {
                cloud_event(event, &mut headers);
                event.payload.clone()
            }
        };
        put(&mut headers, "content-type", "application/json");
        put(&mut headers, "x-correlation-id", event.origin.correlation_id.as_str());
        put(&mut headers, "traceparent", &context.to_string());
        let signature = sign(secrets, &delivery.to_string(), at.timestamp(), &body)?;
        for (name, value) in signature.iter() {
            put(&mut headers, name, value);
        }
        Ok(Self { headers, body })
    }
}

/// `ce_id` on a topic is `ce-id` over HTTP.
fn cloud_event(event: &EventRecord, headers: &mut HeaderMap) {
    for (name, value) in event.headers() {
        if let Some(attribute) = name.strip_prefix("ce_") {
            put(headers, &format!("ce-{attribute}"), &percent_encoded(&value));
        }
    }
}

/// As CloudEvents has it for HTTP headers: spaces, quotes, per cent signs and all that is not visible ASCII
/// stand there as bytes of UTF-8.
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// None of the values that come here can be unfit for a header, and one that were would be left out.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

pub(crate) fn result(answer: Result<tidings_runtime::http_client::Answer, CallError>) -> AttemptResult {
    match answer {
        Ok(answer) => AttemptResult::Answered {
            status: answer.status,
            body: answer.body,
            retry_after: answer.retry_after,
        },
        Err(error) => unanswered(&error),
    }
}

pub(crate) fn unanswered(error: &dyn std::error::Error) -> AttemptResult {
    AttemptResult::Unanswered {
        error: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfit_for_a_header_is_encoded() {
        assert_eq!(percent_encoded("tidings.message.queued"), "tidings.message.queued");
        assert_eq!(
            percent_encoded("Euro € \"100 %\"\n"),
            "Euro%20%E2%82%AC%20%22100%20%25%22%0A"
        );
    }
}
