//! What lies on Kafka.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tidings_events::TOPICS;

use super::database::Event;

/// How long the broker may take to hand out the next record.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record and where it lies.
#[derive(Debug, Clone)]
pub struct Record {
    /// `ce_id`.
    pub event_id: String,
    pub event: Event,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event_id, partition, offset) = (&self.event_id, self.partition, self.offset);
        let Event {
            kind, topic, sequence, ..
        } = &self.event;
        write!(f, "{topic}/{partition} @ {offset}: {sequence} {kind} {event_id}")
    }
}

/// All records of all topics. Those of one partition are in their order.
pub async fn read_all(brokers: &str) -> Vec<Record> {
    let brokers = brokers.to_owned();
    tokio::task::spawn_blocking(move || read(&brokers)).await.unwrap()
}

fn read(brokers: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "ledger")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let (mut all, mut missing) = (TopicPartitionList::new(), HashMap::new());
    for topic in TOPICS {
        let metadata = consumer.fetch_metadata(Some(topic.name()), PATIENCE).unwrap();
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = consumer
                .fetch_watermarks(topic.name(), partition.id(), PATIENCE)
                .unwrap();
            assert_eq!(low, 0, "nothing is old enough to be deleted");
            if high > 0 {
                all.add_partition_offset(topic.name(), partition.id(), Offset::Beginning)
                    .unwrap();
                missing.insert((topic.name().to_owned(), partition.id()), high);
            }
        }
    }
    consumer.assign(&all).unwrap();
    let (mut records, mut deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "Kafka does not hand out {missing:?}");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.unwrap();
        deadline = Instant::now() + PATIENCE;
        let place = (message.topic().to_owned(), message.partition());
        if missing.get(&place).is_some_and(|high| message.offset() + 1 >= *high) {
            missing.remove(&place);
        }
        records.push(record(&message));
    }
    records
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let header = |name: &str| {
        let headers = message.headers().expect("a record has headers");
        let header = headers.iter().find(|header| header.key == name);
        let value = header.and_then(|header| header.value).unwrap_or_default();
        String::from_utf8(value.to_vec()).unwrap()
    };
    Record {
        event_id: header("ce_id"),
        event: Event {
            kind: header("ce_type"),
            topic: message.topic().to_owned(),
            key: String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap(),
            sequence: header("ce_sequence").parse().unwrap(),
            payload: message.payload().unwrap_or_default().to_vec(),
        },
        partition: message.partition(),
        offset: message.offset(),
    }
}
