//! What lies on the topics, and what consumers make of it when it comes twice, or makes no sense.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tidings_storage::{audit, dead_letters};
use tidings_testkit::{Behavior, TestStack, WebhookReceiver, eventually};

use crate::stacks;

/// A record as any consumer gets it.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) key: String,
    pub(crate) value: serde_json::Value,
    pub(crate) headers: BTreeMap<String, String>,
}

fn read(message: &BorrowedMessage<'_>) -> Read {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
            .collect()
    });
    Read {
        key: text(message.key().unwrap_or_default()),
        value: serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default(),
        headers: headers.unwrap_or_default(),
    }
}

fn config(stack: &TestStack) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack.broker());
    config
}

/// Reads a topic from its beginning until there is enough of it.
pub(crate) async fn consume(stack: &TestStack, topic: &str, enough: impl Fn(&[Read]) -> bool) -> Vec<Read> {
    let consumer: StreamConsumer = config(stack)
        .set("group.id", format!("reader-{topic}"))
        .set("auto.offset.reset", "earliest")
        // Always from the beginning, also on a broker that has seen such a reader before.
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut records = Vec::new();
    while !enough(&records) {
        let message = tokio::time::timeout(Duration::from_secs(30), consumer.recv()).await;
        let message = message
            .unwrap_or_else(|_| panic!("{topic} has only {records:?}"))
            .unwrap();
        records.push(read(&message));
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_one_event_in_the_order_of_its_resource() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let id = stack.send_message(1).await;
        let message = stack.message_becomes(&id, "delivered").await;
        let events = consume(&stack, "messages-events", |records| records.len() == 2).await;
        let kinds: Vec<_> = events.iter().map(|event| &event.headers["ce_type"][..]).collect();
        assert_eq!(kinds, ["tidings.message.queued", "tidings.message.delivered"]);
        assert!(
            events
                .iter()
                .all(|event| event.key == id && event.headers["ce_subject"] == id)
        );
        let sequences: Vec<_> = events.iter().map(|event| &event.headers["ce_sequence"][..]).collect();
        assert_eq!(sequences, ["1", "2"]);
        assert_eq!(events[0].value["action"], "create");
        assert_eq!(events[1].value["action"], "update");
        assert_eq!(
            events[1].value["data"], message,
            "the event shows the resource as the API does"
        );
        assert_eq!(events[0].headers["ce_source"], "/tidings/gateway");
        assert_eq!(events[1].headers["ce_source"], "/tidings/delivery");

        let contact = consume(&stack, "contacts-events", |records| records.len() == 1)
            .await
            .remove(0);
        assert_eq!(contact.headers["ce_type"], "tidings.contact.created");
        assert_eq!(contact.value["data"]["id"], message["to"]);
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_comes_twice_has_one_effect() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let id = stack.send_message(1).await;
        stack.message_becomes(&id, "delivered").await;
        let before = receiver.received().len();
        // As a relay leaves it that dies between publishing and removal.
        let again =
            "INSERT INTO outbox (event_id, shard) SELECT id, 0 FROM events WHERE event_type = 'tidings.message.queued'";
        assert_eq!(stack.tamper(again).await, 1);
        // Both copies are on the topic.
        let copies = consume(&stack, "messages-events", |records| {
            records
                .iter()
                .filter(|record| record.headers["ce_type"] == "tidings.message.queued")
                .count()
                == 2
        })
        .await;
        let ids: std::collections::BTreeSet<_> = copies.iter().map(|copy| &copy.headers["ce_id"]).collect();
        assert_eq!(
            (copies.len() - ids.len(), ids.len()),
            (1, 2),
            "one id came twice: {copies:?}"
        );

        // A message that follows shows that the copy has been read.
        let next = stack.send_message(2).await;
        stack.message_becomes(&next, "delivered").await;
        let db = stack.database().await;
        eventually("every event is recorded", async || {
            let records = audit::list(db.read(), 0, 100).await.unwrap();
            let of_first = records.iter().filter(|record| record.resource.contains(&id)).count();
            let of_next = records.iter().filter(|record| record.resource.contains(&next)).count();
            if of_next == 2 { Ok(of_first) } else { Err(records) }
        })
        .await;
        assert_eq!(receiver.received().len(), before + 1, "the copy was not sent");
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_makes_no_sense_is_set_aside_alone() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(mut stack) = stacks.next().await {
        let producer: FutureProducer = config(&stack).create().unwrap();
        let foreign = OwnedHeaders::new().insert(Header {
            key: "ce_specversion",
            value: Some("1.0"),
        });
        for partition in 0..3 {
            let record = FutureRecord::to("messages-events")
                .partition(partition)
                .key("stranger")
                .payload("not ours")
                .headers(foreign.clone());
            producer.send(record, Duration::from_secs(10)).await.unwrap();
        }
        for number in 0..10 {
            let id = stack.send_message(number).await;
            stack.message_becomes(&id, "delivered").await;
        }
        let db = stack.database().await;
        let aside = eventually("the strangers are set aside", async || {
            let letters = dead_letters::list(db.read(), 100).await.unwrap();
            if letters.len() == 3 { Ok(letters) } else { Err(letters) }
        })
        .await;
        assert!(
            aside
                .iter()
                .all(|letter| letter.consumer == "delivery" && letter.record.value.as_deref() == Some(b"not ours"))
        );
        let id = aside[0].id.to_string();
        assert!(stack.run(&["dead-letters", "list"]).await.stdout.contains(&id));
        assert!(
            stack
                .run(&["dead-letters", "show", &id])
                .await
                .stdout
                .contains("not ours")
        );
        assert!(
            !stack.run(&["dead-letters", "replay", &id]).await.status.success(),
            "it makes no more sense now"
        );
        stack.settle().await;
        let verified = stack.run(&["audit", "verify"]).await;
        assert!(verified.status.success(), "{verified:?}");
        assert!(stack.stop().await.success());
    }
}
