//! Producing and consuming by librdkafka.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, ToBytes};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{DEADLINE, Running, receive};

/// Sends and waits for the acknowledgement; answers partition and offset.
async fn send<P: ToBytes + ?Sized>(producer: &FutureProducer, record: FutureRecord<'_, str, P>) -> (i32, i64) {
    let delivery = producer.send(record, Timeout::Never).await.unwrap();
    (delivery.partition, delivery.offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_headers_and_large_values_arrive_as_they_were_sent() {
    let broker = Running::start().await;
    // Bytes that do not compress.
    let large: Vec<u8> = (0..900_000u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let producer = broker.producer(&[("compression.codec", codec), ("enable.idempotence", "true")]);
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "content-type",
                value: Some("text/plain"),
            })
            .insert(Header {
                key: "empty",
                value: Some(""),
            })
            .insert(Header {
                key: "none",
                value: None::<&str>,
            });
        send(
            &producer,
            FutureRecord::to(codec)
                .key("schlüssel")
                .payload("grüße".as_bytes())
                .headers(headers),
        )
        .await;
        send(&producer, FutureRecord::to(codec).payload(&large)).await;
        send::<[u8]>(&producer, FutureRecord::to(codec).key("tombstone")).await;

        let consumer = broker.consumer(codec, &[]);
        consumer.subscribe(&[codec]).unwrap();
        let records = receive(&consumer, 3).await;
        assert_eq!(
            records.iter().map(Message::offset).collect::<Vec<_>>(),
            [0, 1, 2],
            "{codec}"
        );
        assert_eq!(
            (records[0].key(), records[0].payload()),
            (Some("schlüssel".as_bytes()), Some("grüße".as_bytes()))
        );
        let headers: Vec<_> = records[0].headers().unwrap().iter().map(|h| (h.key, h.value)).collect();
        assert_eq!(
            headers,
            [
                ("content-type", Some(&b"text/plain"[..])),
                ("empty", Some(b"")),
                ("none", None)
            ]
        );
        assert!(records[1].key().is_none() && records[1].payload() == Some(&large));
        assert_eq!(
            (records[2].key(), records[2].payload()),
            (Some(&b"tombstone"[..]), None)
        );
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_keeps_the_order_of_an_idempotent_producer() {
    const RECORDS: usize = 3000;
    let broker = Running::with(|config| config.default_partitions = 4).await;
    // Small batches, many of them in flight.
    let producer = broker.producer(&[
        ("enable.idempotence", "true"),
        ("linger.ms", "0"),
        ("batch.num.messages", "7"),
        ("max.in.flight", "5"),
    ]);
    let mut sent: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut deliveries = Vec::new();
    for i in 0..RECORDS {
        let key = format!("key-{}", i % 16);
        let value = i.to_string();
        deliveries.push(
            producer
                .send_result(FutureRecord::to("t").key(&key).payload(&value))
                .unwrap(),
        );
        sent.entry(key).or_default().push(i);
    }
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    let consumer = broker.consumer("g", &[]);
    consumer.subscribe(&["t"]).unwrap();
    let mut received: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut next = [0; 4];
    for record in receive(&consumer, RECORDS).await {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        received
            .entry(text(record.key()))
            .or_default()
            .push(text(record.payload()).parse().unwrap());
        let next = &mut next[record.partition() as usize];
        assert_eq!(record.offset(), *next, "no offset is left out");
        *next += 1;
    }
    assert_eq!(received, sent);
    assert!(next.iter().all(|n| *n > 0), "{next:?}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_come_into_being_when_they_are_used() {
    let broker = Running::with(|config| config.default_partitions = 3).await;
    let consumer = broker.consumer(
        "g",
        &[
            ("allow.auto.create.topics", "true"),
            ("topic.metadata.refresh.interval.ms", "200"),
        ],
    );
    consumer.subscribe(&["subscribed"]).unwrap();
    let metadata = broker.admin();
    let partitions = |topic: &str| {
        let metadata = metadata.inner().fetch_metadata(Some(topic), DEADLINE).unwrap();
        metadata.topics()[0].partitions().len()
    };
    crate::support::eventually("the subscription made its topic", async || {
        // The consumer asks for it while it is polled.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), consumer.recv()).await;
        partitions("subscribed") == 3
    })
    .await;
    let producer = broker.producer(&[]);
    assert_eq!(
        send(&producer, FutureRecord::to("produced").payload(b"x").partition(2)).await,
        (2, 0)
    );
    assert_eq!(partitions("produced"), 3);
    send(&producer, FutureRecord::to("subscribed").payload(b"y")).await;
    assert_eq!(receive(&consumer, 1).await[0].payload(), Some(&b"y"[..]));
    broker.stop().await;

    let broker = Running::with(|config| config.auto_create_topics = false).await;
    let producer = broker.producer(&[("message.timeout.ms", "1000")]);
    assert!(
        producer
            .send(FutureRecord::<str, str>::to("unknown").payload("x"), Timeout::Never)
            .await
            .is_err()
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_found_by_name_and_by_time() {
    let broker = Running::start().await;
    for codec in ["none", "gzip"] {
        let producer = broker.producer(&[("compression.codec", codec)]);
        for (i, timestamp) in [1_000, 2_000, 3_000].into_iter().enumerate() {
            let record = FutureRecord::to(codec).payload(b"x").timestamp(timestamp);
            assert_eq!(send(&producer, record).await, (0, i as i64));
        }
        let consumer: BaseConsumer = broker.client().create().unwrap();
        assert_eq!(consumer.fetch_watermarks(codec, 0, DEADLINE).unwrap(), (0, 3));
        for (timestamp, offset) in [
            (0, Offset::Offset(0)),
            (1_000, Offset::Offset(0)),
            (1_001, Offset::Offset(1)),
            (3_000, Offset::Offset(2)),
            (3_001, Offset::End),
        ] {
            let mut wanted = TopicPartitionList::new();
            wanted
                .add_partition_offset(codec, 0, Offset::Offset(timestamp))
                .unwrap();
            let found = consumer.offsets_for_times(wanted, DEADLINE).unwrap();
            assert_eq!(found.elements()[0].offset(), offset, "{codec} at {timestamp}");
        }
    }

    let from = |reset: &'static str| {
        let consumer = broker.consumer(reset, &[("auto.offset.reset", reset)]);
        let mut all = TopicPartitionList::new();
        all.add_partition_offset("none", 0, Offset::Stored).unwrap();
        consumer.assign(&all).unwrap();
        consumer
    };
    assert_eq!(receive(&from("earliest"), 1).await[0].offset(), 0);
    let latest = from("latest");
    let producer = broker.producer(&[]);
    // Its first record is whichever was appended after it had asked where the end is.
    let first = tokio::select! {
        first = receive(&latest, 1) => first,
        () = async {
            loop {
                send(&producer, FutureRecord::to("none").payload(b"later")).await;
            }
        } => unreachable!("records are sent until one is received"),
    };
    assert!(first[0].offset() >= 3);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_ride_over_a_restart() {
    let broker = Running::start().await;
    let producer = broker.producer(&[("enable.idempotence", "true")]);
    let consumer = broker.consumer("g", &[]);
    consumer.subscribe(&["t"]).unwrap();
    send(&producer, FutureRecord::to("t").payload(b"before")).await;
    assert_eq!(receive(&consumer, 1).await[0].offset(), 0);
    consumer
        .commit_consumer_state(rdkafka::consumer::CommitMode::Sync)
        .unwrap();

    let broker = broker.restart().await;
    assert_eq!(send(&producer, FutureRecord::to("t").payload(b"after")).await, (0, 1));
    assert_eq!(
        receive(&consumer, 1).await[0].payload(),
        Some(&b"after"[..]),
        "it goes on, and repeats nothing"
    );
    let other = broker.consumer("g", &[]);
    drop(consumer);
    other.subscribe(&["t"]).unwrap();
    assert_eq!(
        receive(&other, 1).await[0].payload(),
        Some(&b"after"[..]),
        "which was not committed"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_refused_at_once() {
    let broker = Running::start().await;
    let producer = broker.producer(&[("transactional.id", "t")]);
    let refused = tokio::task::spawn_blocking(move || producer.init_transactions(DEADLINE))
        .await
        .unwrap();
    let code = refused.unwrap_err().rdkafka_error_code().unwrap();
    assert_eq!(
        code,
        rdkafka::types::RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    );
    broker.stop().await;
}
