use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tidings_domain::{Clock, CorrelationId, EventId, TraceParent};

use crate::data::{Data, timestamp};
use crate::registry::{Action, Event};
use crate::span;

/// An event as it is stored and published.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    pub id: EventId,
    pub event_type: String,
    pub topic: String,
    pub key: String,
    /// Counts the events of one aggregate from 1, without gaps.
    pub sequence: i64,
    pub schema: String,
    pub time: DateTime<Utc>,
    pub origin: Origin,
    /// `{"action": …, "data": …}`, written once and passed on unchanged.
    pub payload: Bytes,
}

/// Where an event comes from, and whose request set it off.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The service that made the change, such as `gateway`.
    pub service: String,
    pub correlation_id: CorrelationId,
    pub traceparent: TraceParent,
    /// The id of the API key that was used, if it was a request's doing.
    pub actor: Option<String>,
}

impl Origin {
    /// For what a service does of its own accord.
    pub fn own(service: &str, clock: &dyn Clock) -> Self {
        Self {
            service: service.to_owned(),
            correlation_id: CorrelationId::generate(clock),
            traceparent: span::begin(),
            actor: None,
        }
    }

    /// For what `service` does because of an event: the same correlation and actor, a span of its own.
    pub fn following(service: &str, cause: &Self) -> Self {
        Self {
            service: service.to_owned(),
            traceparent: cause.traceparent.child(),
            ..cause.clone()
        }
    }
}

#[derive(Serialize)]
struct Payload<'a, D> {
    action: Action,
    data: &'a D,
}

impl EventRecord {
    /// Writes an event down. `time` is when it happened.
    pub fn new<E: Event>(event: &E, origin: &Origin, clock: &dyn Clock) -> Result<Self, serde_json::Error> {
        let payload = serde_json::to_vec(&Payload {
            action: E::ACTION,
            data: &event.data(),
        })?;
        Ok(Self {
            id: EventId::generate(clock),
            event_type: E::TYPE.to_owned(),
            topic: E::TOPIC.name().to_owned(),
            key: event.key(),
            sequence: event.sequence(),
            schema: E::Data::SCHEMA.to_owned(),
            time: clock.now(),
            origin: origin.clone(),
            payload: payload.into(),
        })
    }

    /// The record's headers: CloudEvents attributes in Kafka's binary content mode, and the trace.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", self.id.to_string()),
            ("ce_source", format!("/tidings/{}", self.origin.service)),
            ("ce_type", self.event_type.clone()),
            ("ce_subject", self.key.clone()),
            ("ce_time", timestamp(self.time)),
            ("ce_dataschema", self.schema.clone()),
            ("ce_sequence", self.sequence.to_string()),
            ("content-type", "application/json".to_owned()),
            ("traceparent", self.origin.traceparent.to_string()),
            ("correlation-id", self.origin.correlation_id.to_string()),
        ];
        headers.extend(self.origin.actor.clone().map(|actor| ("actor", actor)));
        headers
    }

    /// Reads a record back from a topic.
    pub fn decode(raw: &RawRecord) -> Result<Self, DecodeError> {
        let header = |name: &'static str| raw.header(name).ok_or(DecodeError::Missing(name));
        if header("ce_specversion")? != "1.0" {
            return Err(DecodeError::Invalid("ce_specversion"));
        }
        let invalid = |name: &'static str| move |_| DecodeError::Invalid(name);
        let service = header("ce_source")?
            .strip_prefix("/tidings/")
            .ok_or(DecodeError::Invalid("ce_source"))?;
        let time = DateTime::parse_from_rfc3339(header("ce_time")?).map_err(|_| DecodeError::Invalid("ce_time"))?;
        let key = raw.key.as_deref().ok_or(DecodeError::Missing("key"))?;
        Ok(Self {
            id: header("ce_id")?.parse().map_err(invalid("ce_id"))?,
            event_type: header("ce_type")?.to_owned(),
            topic: raw.topic.clone(),
            key: str::from_utf8(key).map_err(|_| DecodeError::Invalid("key"))?.to_owned(),
            sequence: header("ce_sequence")?
                .parse()
                .map_err(|_| DecodeError::Invalid("ce_sequence"))?,
            schema: header("ce_dataschema")?.to_owned(),
            time: time.to_utc(),
            origin: Origin {
                service: service.to_owned(),
                correlation_id: header("correlation-id")?.parse().map_err(invalid("correlation-id"))?,
                traceparent: header("traceparent")?.parse().map_err(invalid("traceparent"))?,
                actor: raw.header("actor").map(str::to_owned),
            },
            payload: raw.value.clone().ok_or(DecodeError::Missing("value"))?,
        })
    }
}

/// A record as it lies on a topic, whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// In the order of the record; a value that is null counts as empty.
    pub headers: Vec<(String, Bytes)>,
}

impl RawRecord {
    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .and_then(|(_, value)| str::from_utf8(value).ok())
    }
}

/// Why a record is not one of our events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the record has no {0}")]
    Missing(&'static str),
    #[error("the record's {0} cannot be read")]
    Invalid(&'static str),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(headers: Vec<(String, Vec<u8>)>, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> RawRecord {
        RawRecord {
            topic: "messages-events".into(),
            partition: 0,
            offset: 0,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }

    proptest! {
        #[test]
        fn no_record_panics(
            headers in prop::collection::vec(("(ce_(specversion|id|source|type|time|sequence)|traceparent)", prop::collection::vec(any::<u8>(), 0..40)), 0..12),
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        ) {
            let _ = EventRecord::decode(&raw(headers, key, value));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            EventRecord::decode(&raw(vec![], None, None)),
            Err(DecodeError::Missing("ce_specversion"))
        );
    }
}
