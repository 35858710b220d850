//! Consumer groups by librdkafka.

use std::collections::BTreeSet;

use rdkafka::Message;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::support::{DEADLINE, Running, assigned, receive};

const PARTITIONS: usize = 4;

/// One record per partition and round.
async fn produce(producer: &FutureProducer, rounds: std::ops::Range<usize>) {
    for round in rounds {
        for partition in 0..PARTITIONS {
            let value = format!("{partition}/{round}");
            let record = FutureRecord::<str, str>::to("t")
                .partition(partition as i32)
                .payload(&value);
            producer.send(record, Timeout::Never).await.unwrap();
        }
    }
}

fn values(records: impl IntoIterator<Item = impl Message>) -> BTreeSet<String> {
    records
        .into_iter()
        .map(|r| String::from_utf8(r.payload().unwrap().to_vec()).unwrap())
        .collect()
}

fn expected(rounds: std::ops::Range<usize>) -> BTreeSet<String> {
    rounds
        .flat_map(|round| (0..PARTITIONS).map(move |partition| format!("{partition}/{round}")))
        .collect()
}

/// Polls all of them until each has so many partitions; librdkafka rebalances only while it is polled.
async fn settle(consumers: &[(&StreamConsumer, usize)]) -> BTreeSet<String> {
    let began = std::time::Instant::now();
    let mut seen = BTreeSet::new();
    while consumers.iter().any(|(consumer, count)| assigned(consumer) != *count) {
        assert!(began.elapsed() < DEADLINE, "the group does not settle");
        for (consumer, _) in consumers {
            let poll = tokio::time::timeout(std::time::Duration::from_millis(20), consumer.recv());
            if let Ok(Ok(record)) = poll.await {
                seen.insert(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_two_shares_rebalances_and_resumes() {
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let broker = Running::with(|config| config.default_partitions = PARTITIONS as i32).await;
        let producer = broker.producer(&[]);
        produce(&producer, 0..1).await;
        let member = || {
            let member = broker.consumer("g", &[("partition.assignment.strategy", strategy)]);
            member.subscribe(&["t"]).unwrap();
            member
        };
        let first = member();
        assert_eq!(values(receive(&first, PARTITIONS).await), expected(0..1));
        assert_eq!(assigned(&first), PARTITIONS, "{strategy}: alone with all of it");
        first.commit_consumer_state(CommitMode::Sync).unwrap();

        let second = member();
        assert_eq!(
            settle(&[(&first, 2), (&second, 2)]).await,
            BTreeSet::new(),
            "{strategy}: nothing comes twice"
        );
        produce(&producer, 1..3).await;
        let (a, b) = tokio::join!(receive(&first, 4), receive(&second, 4));
        let (a, b) = (values(a), values(b));
        assert!(a.is_disjoint(&b), "{strategy}");
        assert_eq!(&a | &b, expected(1..3), "{strategy}: each half");
        for consumer in [&first, &second] {
            consumer.commit_consumer_state(CommitMode::Sync).unwrap();
        }

        drop(second);
        assert_eq!(
            settle(&[(&first, PARTITIONS)]).await,
            BTreeSet::new(),
            "{strategy}: the rest inherits"
        );
        produce(&producer, 3..4).await;
        assert_eq!(values(receive(&first, PARTITIONS).await), expected(3..4), "{strategy}");
        first.commit_consumer_state(CommitMode::Sync).unwrap();
        drop(first);

        produce(&producer, 4..5).await;
        assert_eq!(
            values(receive(&member(), PARTITIONS).await),
            expected(4..5),
            "{strategy}: goes on where it was"
        );
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_do_not_know_of_each_other() {
    let broker = Running::with(|config| config.default_partitions = PARTITIONS as i32).await;
    produce(&broker.producer(&[]), 0..2).await;
    let groups = ["one", "two"].map(|group| {
        let consumer = broker.consumer(group, &[]);
        consumer.subscribe(&["t"]).unwrap();
        consumer
    });
    for consumer in &groups {
        assert_eq!(values(receive(consumer, 2 * PARTITIONS).await), expected(0..2));
    }
    broker.stop().await;
}

/// A member whose process dies says nothing. Its connection ends, but that alone proves nothing either.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_member_is_evicted_after_its_session() {
    let broker = Running::with(|config| config.default_partitions = PARTITIONS as i32).await;
    let mut silent = broker.connect().await;
    let id = silent.join_group("g", "").await.unwrap_err();
    silent.join_group("g", &id).await.unwrap();
    let other = broker.consumer("g", &[]);
    other.subscribe(&["t"]).unwrap();
    produce(&broker.producer(&[]), 0..1).await;
    assert_eq!(values(receive(&other, PARTITIONS).await), expected(0..1));
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_returns_to_its_partitions() {
    let broker = Running::with(|config| config.default_partitions = PARTITIONS as i32).await;
    let producer = broker.producer(&[]);
    produce(&producer, 0..1).await;
    let member = |instance: &str| {
        let member = broker.consumer("g", &[("group.instance.id", instance), ("session.timeout.ms", "60000")]);
        member.subscribe(&["t"]).unwrap();
        member
    };
    let (first, second) = (member("first"), member("second"));
    settle(&[(&first, 2), (&second, 2)]).await;
    let partitions = |consumer: &StreamConsumer| {
        let assignment = consumer.assignment().unwrap();
        assignment
            .elements()
            .iter()
            .map(|e| e.partition())
            .collect::<BTreeSet<_>>()
    };
    let before = partitions(&second);
    drop(second);
    let second = member("second");
    settle(&[(&first, 2), (&second, 2)]).await;
    assert_eq!(partitions(&second), before);
    broker.stop().await;
}
