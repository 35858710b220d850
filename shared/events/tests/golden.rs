//! Pins how every event looks on Kafka. After an intended change: `UPDATE_GOLDEN=1 cargo test -p tidings-events`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use bytes::Bytes;
use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Value, json};
use tidings_domain::*;
use tidings_events::*;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap() + chrono::Duration::microseconds(678_901)
    }
}

fn record<E: Event>(event: E) -> EventRecord {
    let origin = Origin {
        service: "gateway".into(),
        correlation_id: "order-4711".parse().unwrap(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            .parse()
            .unwrap(),
        actor: Some("default".into()),
    };
    let record = EventRecord::new(&event, &origin, &FixedClock).unwrap();
    EventRecord {
        id: "019b7c3e-0000-7000-8000-000000000001".parse().unwrap(),
        ..record
    }
}

/// One of each, in the order of the registry.
fn samples() -> Vec<EventRecord> {
    let user = |version| data::LinkedUser {
        user: User {
            id: UserId::from(53),
            first_name: PersonName::parse("Serge").unwrap(),
            last_name: PersonName::parse("Karamazov").unwrap(),
            email: EmailAddress::parse("serge@example.com").unwrap(),
            address: PostalAddress::parse("Paris").unwrap(),
            phone: Some(PhoneNumber::parse("+41791234567").unwrap()),
            created_at: FixedClock.now(),
            version,
        },
        url: "http://127.0.0.1:3000/api/v1/users/53".into(),
    };
    let contact = Contact {
        id: "019b7c3e-0000-7000-8000-00000000000c".parse().unwrap(),
        name: ContactName::parse("Odile Deray").unwrap(),
        phone: PhoneNumber::parse("+41791234567").unwrap(),
        created_at: FixedClock.now(),
        version: 1,
    };
    let message = Message {
        id: "019b7c3e-0000-7000-8000-00000000000d".parse().unwrap(),
        from: "+41440000000".parse().unwrap(),
        to: contact.id,
        content: Content::parse("Grüezi \"Odile\" 👋").unwrap(),
        status: MessageStatus::Queued,
        created_at: FixedClock.now(),
        delivered_at: None,
        version: 1,
    };
    let delivered = Message {
        status: MessageStatus::Delivered,
        delivered_at: Some(FixedClock.now()),
        version: 2,
        ..message.clone()
    };
    let failed = Message {
        status: MessageStatus::Failed,
        version: 2,
        ..message.clone()
    };
    let line = |line: &str| ShippingLine::parse("line", line).unwrap();
    let order = Order {
        id: "019b7c3e-0000-7000-8000-00000000000f".parse().unwrap(),
        user: UserId::from(53),
        sequencing: SequencingType::parse("whole-exome-sequencing").unwrap(),
        shipping: ShippingInfo {
            delivery_name: line("Serge Karamazov"),
            first_line: line("12 Gloucester Road"),
            second_line: line(""),
            town: line("London"),
            postcode: line("SW7 4TB"),
            country: line("United Kingdom"),
        },
        channel: ChannelName::Sms,
        created_at: FixedClock.now(),
        version: 1,
    };
    let requested = Notification {
        id: "019b7c3e-0000-7000-8000-000000000010".parse().unwrap(),
        user: order.user,
        order: Some(order.id),
        wanted: ChannelName::Sms,
        route: Route {
            channel: ChannelName::Sms,
            recipient: Some("+41791234567".into()),
            fallback: None,
        },
        subject: "Your order".into(),
        message: NotificationText::parse("Hi Serge Karamazov, your order has been successfully placed.").unwrap(),
        status: NotificationStatus::Requested,
        attempts: 0,
        answer: None,
        created_at: FixedClock.now(),
        sent_at: None,
        version: 1,
    };
    let sent = Notification {
        status: NotificationStatus::Sent,
        attempts: 1,
        answer: Some("200".into()),
        sent_at: Some(FixedClock.now()),
        version: 2,
        ..requested.clone()
    };
    let refused = Notification {
        order: None,
        route: Route {
            channel: ChannelName::Email,
            recipient: Some("serge@example.com".into()),
            fallback: Some("the user has no phone number".into()),
        },
        status: NotificationStatus::Failed,
        attempts: 3,
        answer: Some("503".into()),
        version: 2,
        ..requested.clone()
    };
    let guid = |version| GuidRecord {
        id: "9094E4C980C74043A4B586B420E69DDF".parse().unwrap(),
        user: GuidUser::parse("Jay Patel").unwrap(),
        expires: "1427736345".parse().unwrap(),
        created_at: FixedClock.now(),
        version,
    };
    let endpoint = WebhookEndpoint {
        id: EndpointId::from("019b7c3e-0000-7000-8000-00000000000e".to_owned()),
        url: "https://receiver.example/webhooks".parse().unwrap(),
        secret: SealedSecret::from_stored("a secret that no event may carry".to_owned()),
        event_types: "tidings.message.queued,tidings.message.failed".parse().unwrap(),
        state: EndpointState::Enabled,
        created_at: FixedClock.now(),
        failing_since: None,
        version: 1,
    };
    let every = WebhookEndpoint {
        event_types: EventTypes::All,
        version: 2,
        ..endpoint.clone()
    };
    let disabled = WebhookEndpoint {
        state: EndpointState::Disabled,
        version: 3,
        ..endpoint.clone()
    };
    let key = ApiKey {
        id: "019b7c3e-0000-7000-8000-00000000000f".parse().unwrap(),
        name: KeyName::parse("Till 3").unwrap(),
        role: Role::Service,
        scopes: [Scope::MessagesWrite, Scope::ContactsRead].into_iter().collect(),
        created_at: FixedClock.now(),
        expires_at: Some(FixedClock.now() + chrono::Duration::days(90)),
        revoked_at: None,
        last_used_at: None,
        version: 1,
    };
    let revoked = ApiKey {
        revoked_at: Some(FixedClock.now()),
        version: 2,
        ..key.clone()
    };
    vec![
        record(UserCreated(&user(1))),
        record(UserUpdated(&user(2))),
        record(UserDeleted(&user(3))),
        record(ContactCreated(&contact)),
        record(ContactUpdated(&Contact {
            version: 2,
            ..contact.clone()
        })),
        record(ContactDeleted(&Contact {
            version: 3,
            ..contact.clone()
        })),
        record(MessageQueued(&message)),
        record(MessageDelivered(&delivered)),
        record(MessageFailed(&failed)),
        record(OrderPlaced(&order)),
        record(NotificationRequested(&requested)),
        record(NotificationSent(&sent)),
        record(NotificationFailed(&refused)),
        record(GuidCreated(&guid(1))),
        record(GuidUpdated(&guid(2))),
        record(GuidDeleted(&guid(3))),
        record(GuidExpired(&guid(3))),
        record(WebhookEndpointCreated(&endpoint)),
        record(WebhookEndpointUpdated(&every)),
        record(WebhookEndpointDisabled(&disabled)),
        record(WebhookEndpointDeleted(&disabled)),
        record(ApiKeyCreated(&key)),
        record(ApiKeyRevoked(&revoked)),
    ]
}

fn golden(record: &EventRecord) -> Value {
    let headers: serde_json::Map<_, _> = record
        .headers()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let value: Value = serde_json::from_slice(&record.payload).unwrap();
    json!({ "topic": record.topic, "key": record.key, "headers": headers, "value": value })
}

#[test]
fn every_type_has_a_golden_file_and_keeps_to_it() {
    let samples = samples();
    let names: Vec<_> = samples.iter().map(|sample| sample.event_type.as_str()).collect();
    let declared: Vec<_> = REGISTRY.iter().map(|declared| declared.name).collect();
    assert_eq!(names, declared, "one sample for each declared type");

    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    for sample in &samples {
        let path = folder.join(format!("{}.json", sample.event_type));
        let actual = golden(sample);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{actual:#}\n")).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            actual,
            serde_json::from_str::<Value>(&text).unwrap(),
            "{}",
            path.display()
        );
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, REGISTRY.len(), "a golden file without a type");
}

#[test]
fn records_read_back_as_they_were_written() {
    for sample in samples() {
        let raw = RawRecord {
            topic: sample.topic.clone(),
            partition: 0,
            offset: 0,
            key: Some(Bytes::from(sample.key.clone())),
            value: Some(sample.payload.clone()),
            headers: sample
                .headers()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
        };
        let read = EventRecord::decode(&raw).unwrap();
        // Headers carry milliseconds.
        assert_eq!(read.time.timestamp_millis(), sample.time.timestamp_millis());
        assert_eq!(
            EventRecord {
                time: sample.time,
                ..read
            },
            sample
        );
    }
}

#[test]
fn no_payload_carries_a_secret() {
    for sample in samples() {
        assert!(
            !String::from_utf8_lossy(&sample.payload).contains("secret that no event"),
            "{}",
            sample.event_type
        );
    }
}

#[test]
fn types_and_topics_follow_the_naming_rules() {
    for declared in REGISTRY {
        let parts: Vec<_> = declared.name.split('.').collect();
        assert!(parts.len() == 3 && parts[0] == "tidings", "{}", declared.name);
        assert!(declared.topic.name().ends_with("-events"));
        assert!(TOPICS.contains(&declared.topic));
        assert_eq!(Topic::from_name(declared.topic.name()), Some(declared.topic));
    }
}
