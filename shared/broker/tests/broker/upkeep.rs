//! What is removed after a while, and what is not.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::*;
use rdkafka::consumer::{CommitMode, Consumer};

use crate::support::{Running, eventually, receive};
use crate::wire::{ANYONE, batch, batch_of, commit};

const OFTEN: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn retention_drops_old_records_only() {
    let broker = Running::with(|config| config.maintenance_interval = OFTEN).await;
    let mut c = broker.connect().await;
    let size = batch(1, ANYONE).len();
    c.create("kept", 1, &[("retention.ms", "1"), ("cleanup.policy", "compact")])
        .await;
    c.create("default", 1, &[]).await;
    for topic in ["kept", "default"] {
        for i in 0..5 {
            assert_eq!(c.produce(topic, batch(1, ANYONE)).await, (0, i));
        }
    }
    c.create("bytes", 1, &[("retention.bytes", &(2 * size).to_string())])
        .await;
    c.create("age", 1, &[("retention.ms", "1")]).await;
    for topic in ["bytes", "age"] {
        for i in 0..5 {
            assert_eq!(c.produce(topic, batch(1, ANYONE)).await, (0, i));
        }
    }
    eventually("old records are gone", async || {
        c.offset("age", -2).await == 5 && c.offset("bytes", -2).await == 3
    })
    .await;
    for (topic, start) in [("age", 5), ("bytes", 3), ("kept", 0), ("default", 0)] {
        assert_eq!(
            (c.offset(topic, -2).await, c.offset(topic, -1).await),
            (start, 5),
            "{topic}"
        );
    }
    assert_eq!(c.fetch("bytes", 0, 0).await.0, ResponseError::OffsetOutOfRange.code());

    let broker = broker.restart().await;
    let mut c = broker.connect().await;
    assert_eq!(c.offset("age", -2).await, 5);
    assert_eq!(
        c.produce("age", batch(1, ANYONE)).await,
        (0, 5),
        "offsets are not used again"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_shrinks_when_records_go() {
    let broker = Running::with(|config| config.maintenance_interval = OFTEN).await;
    let mut c = broker.connect().await;
    c.create("t", 1, &[("retention.bytes", "-1")]).await;
    c.create("doomed", 1, &[]).await;
    for topic in ["t", "doomed"] {
        for i in 0..16 {
            assert_eq!(c.produce(topic, batch_of(1 << 20)).await, (0, i));
        }
    }
    let size = || std::fs::metadata(broker.dir.path().join("broker.db")).unwrap().len();
    eventually("the records are in the file", async || {
        // What is still in the write-ahead log is moved with later commits.
        c.produce("t", batch(1, ANYONE)).await;
        size() > 24 << 20
    })
    .await;
    let end = c.offset("t", -1).await;
    let delete = delete_records_request::DeleteRecordsPartition::default().with_offset(end - 1);
    let delete = delete_records_request::DeleteRecordsTopic::default()
        .with_name(crate::wire::name("t"))
        .with_partitions(vec![delete]);
    let deleted = c
        .call(2, DeleteRecordsRequest::default().with_topics(vec![delete]))
        .await;
    assert_eq!(deleted.topics[0].partitions[0].low_watermark, end - 1);
    let doomed = DeleteTopicsRequest::default().with_topic_names(vec![crate::wire::name("doomed")]);
    assert_eq!(c.call(5, doomed).await.responses[0].error_code, 0);
    eventually("the file is small again", async || {
        c.produce("t", batch(1, ANYONE)).await;
        size() < 8 << 20
    })
    .await;
    assert_eq!(c.offset("t", -2).await, end - 1);
    assert_eq!(c.fetch("t", end - 1, 0).await.0, 0);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_expire_with_their_group() {
    let broker = Running::with(|config| {
        config.maintenance_interval = OFTEN;
        config.offsets_retention = Some(Duration::ZERO);
    })
    .await;
    let mut c = broker.connect().await;
    c.create("t", 1, &[]).await;
    for i in 0..3 {
        assert_eq!(c.produce("t", batch(1, ANYONE)).await, (0, i));
    }
    let member = broker.consumer("used", &[]);
    member.subscribe(&["t"]).unwrap();
    receive(&member, 3).await;
    member.commit_consumer_state(CommitMode::Sync).unwrap();
    assert_eq!(
        c.call(8, commit("unused", "t", 2)).await.topics[0].partitions[0].error_code,
        0
    );
    eventually("the unused group's are gone", async || {
        c.positions("unused").await.is_empty()
    })
    .await;
    assert_eq!(c.positions("used").await, [("t".to_owned(), 3)], "it has a member");
    drop(member);
    eventually("the other's are gone too", async || {
        c.positions("used").await.is_empty()
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_kept_unless_they_expire() {
    let broker = Running::with(|config| config.maintenance_interval = OFTEN).await;
    let mut c = broker.connect().await;
    c.create("t", 1, &[]).await;
    c.create("age", 1, &[("retention.ms", "1")]).await;
    c.produce("t", batch(1, ANYONE)).await;
    assert_eq!(
        c.call(8, commit("g", "t", 1)).await.topics[0].partitions[0].error_code,
        0
    );
    let broker = broker.restart().await;
    let mut c = broker.connect().await;
    // Two rounds have come and gone when a record has, twice.
    for i in 0..2 {
        assert_eq!(c.produce("age", batch(1, ANYONE)).await, (0, i));
        eventually("maintenance ran", async || c.offset("age", -2).await == i + 1).await;
    }
    assert_eq!(c.positions("g").await, [("t".to_owned(), 1)]);
    broker.stop().await;
}
