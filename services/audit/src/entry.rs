//! What the log says of a record that lies on a topic.

use chrono::{DateTime, Datelike, Utc};
use sha2::{Digest, Sha256};
use tidings_events::{EventRecord, RawRecord};
use tidings_storage::audit::{Head, Record};

use crate::chain;

/// The action of what is not one of our events.
const RAW: &str = "raw";

/// All of a record but its place in the chain.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) event_id: String,
    /// `None` for bytes, which do not say.
    occurred_at: Option<DateTime<Utc>>,
    actor: Option<String>,
    action: String,
    resource: String,
    data_hash: String,
}

impl Entry {
    /// An event by what it says; anything else by where it lies and what its bytes are.
    pub(crate) fn of(raw: &RawRecord) -> Self {
        let event = EventRecord::decode(raw).map_err(|error| error.to_string());
        event.and_then(Self::of_event).unwrap_or_else(|reason| {
            let RawRecord {
                topic,
                partition,
                offset,
                ..
            } = raw;
            tracing::debug!(topic, partition, offset, reason, "not an event");
            Self::of_bytes(raw)
        })
    }

    fn of_event(event: EventRecord) -> Result<Self, String> {
        let occurred_at = DateTime::from_timestamp_micros(event.time.timestamp_micros())
            .filter(|time| (1..=9999).contains(&time.year()))
            .ok_or("the event's time cannot be kept")?;
        let (actor, action, key) = (event.origin.actor, event.event_type, event.key);
        // PostgreSQL has no text with a NUL in it.
        if [actor.as_deref(), Some(&action), Some(&key)]
            .into_iter()
            .flatten()
            .any(|text| text.contains('\0'))
        {
            return Err("the event has a NUL in its text".to_owned());
        }
        tracing::debug!(
            event_id = %event.id,
            action,
            key,
            correlation_id = %event.origin.correlation_id,
            trace_id = event.origin.traceparent.trace_id(),
            "event read"
        );
        Ok(Self {
            event_id: event.id.to_string(),
            occurred_at: Some(occurred_at),
            actor,
            action,
            resource: format!("{}/{key}", event.topic),
            data_hash: chain::sha256(&event.payload),
        })
    }

    fn of_bytes(raw: &RawRecord) -> Self {
        let place = format!("{}/{}/{}", raw.topic, raw.partition, raw.offset);
        Self {
            // A topic that is made anew uses its offsets again, for other bytes.
            event_id: format!("{RAW}:{place}:{}", &digest(raw)[..16]),
            occurred_at: None,
            actor: None,
            action: RAW.to_owned(),
            resource: place,
            data_hash: chain::sha256(raw.value.as_deref().unwrap_or_default()),
        }
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.occurred_at.is_none()
    }

    /// The record that follows the head.
    pub(crate) fn chained(self, head: &Head, now: DateTime<Utc>) -> Result<Record, serde_json::Error> {
        let mut record = Record {
            seq: head.seq + 1,
            event_id: self.event_id,
            occurred_at: self.occurred_at.unwrap_or(now),
            recorded_at: now,
            actor: self.actor,
            action: self.action,
            resource: self.resource,
            data_hash: self.data_hash,
            prev_hash: head.hash.clone(),
            hash: String::new(),
            canonical: Vec::new(),
        };
        record.canonical = chain::canonical(&record)?;
        record.hash = chain::link(&record.prev_hash, &record.canonical);
        Ok(record)
    }
}

/// Of all that was produced: key, value and headers, none of which can be taken for another.
fn digest(raw: &RawRecord) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: Option<&[u8]>| {
        hash.update([u8::from(bytes.is_some())]);
        let bytes = bytes.unwrap_or_default();
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(raw.key.as_deref());
    part(raw.value.as_deref());
    for (name, value) in &raw.headers {
        part(Some(name.as_bytes()));
        part(Some(value));
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn event(changed: &[(&str, &str)]) -> RawRecord {
        let mut headers: Vec<(String, Bytes)> = [
            ("ce_specversion", "1.0"),
            ("ce_id", "019b7c3e-0000-7000-8000-000000000001"),
            ("ce_source", "/tidings/gateway"),
            ("ce_type", "tidings.contact.created"),
            ("ce_time", "2026-01-02T03:04:05.678Z"),
            ("ce_dataschema", "urn:tidings:schema:contact:1"),
            ("ce_sequence", "1"),
            ("correlation-id", "c"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("actor", "default"),
        ]
        .map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes())))
        .into();
        for (name, value) in changed {
            headers.retain(|(known, _)| known != name);
            headers.push(((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        }
        RawRecord {
            topic: "contacts-events".into(),
            partition: 2,
            offset: 7,
            key: Some("c-1".into()),
            value: Some("{}".into()),
            headers,
        }
    }

    #[test]
    fn an_event_is_recorded_by_what_it_says() {
        let entry = Entry::of(&event(&[]));
        assert_eq!(entry.event_id, "019b7c3e-0000-7000-8000-000000000001");
        assert_eq!(entry.actor.as_deref(), Some("default"));
        assert_eq!(entry.action, "tidings.contact.created");
        assert_eq!(entry.resource, "contacts-events/c-1");
        assert_eq!(entry.data_hash, chain::sha256(b"{}"));
    }

    #[test]
    fn what_no_database_could_keep_is_recorded_as_bytes() {
        for changed in [
            ("actor", "a\0b"),
            ("ce_type", "\0"),
            ("ce_time", "0000-01-01T00:00:00+23:00"),
            ("ce_time", "9999-12-31T23:59:59-01:00"),
            ("ce_id", "another"),
        ] {
            let entry = Entry::of(&event(&[changed]));
            assert!(entry.is_raw(), "{changed:?}");
            assert_eq!(
                (entry.action.as_str(), entry.resource.as_str()),
                (RAW, "contacts-events/2/7")
            );
            assert!(
                entry.event_id.starts_with("raw:contacts-events/2/7:"),
                "{}",
                entry.event_id
            );
        }
    }

    #[test]
    fn times_are_cut_to_what_both_databases_keep() {
        for (given, kept) in [
            ("2026-01-02T03:04:05.678901999Z", "2026-01-02T03:04:05.678901Z"),
            ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z"),
        ] {
            let entry = Entry::of(&event(&[("ce_time", given)]));
            assert_eq!(entry.occurred_at, Some(kept.parse().unwrap()), "{given}");
        }
    }

    proptest! {
        #[test]
        fn other_bytes_at_the_same_place_are_another_record(a in ".{0,8}", b in ".{0,8}") {
            let id = |value: &str| Entry::of_bytes(&RawRecord { value: Some(value.to_owned().into()), ..event(&[]) }).event_id;
            prop_assert_eq!(id(&a) == id(&b), a == b);
        }
    }
}
