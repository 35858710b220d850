//! A broker that goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidings_events::TOPICS;
use tidings_messaging::{Probe, ProbeError, topics};
use tokio_util::sync::CancellationToken;

use crate::broker::on_each_mortal_broker;
use crate::outbox::{MemoryOutbox, shard};
use crate::recorder::{Recorder, RunningConsumer, group};
use crate::{eventually, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_broker_is_away() {
    on_each_mortal_broker(async |broker| {
        let topic = broker.topic(3).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        outbox.write(&topic, "key-0");
        eventually("the first event", || recorder.effects() == 1).await;

        // Writes go on all the time, whatever the broker does.
        let writing = Arc::new(AtomicBool::new(true));
        let writer = tokio::spawn({
            let (outbox, topic, writing) = (outbox.clone(), topic.clone(), writing.clone());
            async move {
                let mut written = 1;
                let mut pace = tokio::time::interval(Duration::from_millis(5));
                while writing.load(Ordering::SeqCst) {
                    for _ in 0..5 {
                        outbox.write(&topic, &format!("key-{}", written % 17));
                        written += 1;
                    }
                    pace.tick().await;
                }
                written
            }
        });
        for _ in 0..3 {
            let before = recorder.effects();
            eventually("events while it is there", || recorder.effects() > before + 100).await;
            broker.stop().await;
            eventually("a backlog", || outbox.depth() > 300).await;
            broker.start().await;
        }
        writing.store(false, Ordering::SeqCst);
        let written = writer.await.unwrap();
        eventually("all events", || recorder.effects() == written).await;
        recorder.assert_in_order();
        eventually("an empty outbox", || outbox.depth() == 0).await;
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_does_not_come_again_after_the_broker_was_away() {
    on_each_mortal_broker(async |broker| {
        let (topic, group) = (broker.topic(3).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        for round in 1..=2 {
            for event in 0..30 {
                outbox.write(&topic, &format!("key-{event}"));
            }
            let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
            eventually("all events", || recorder.effects() == 30 * round).await;
            consumer.stop().await;
            broker.stop().await;
            broker.start().await;
        }
        assert_eq!(recorder.handed_out(), 60);
        recorder.assert_in_order();
        relay.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_lost_while_the_broker_is_away_is_not_published() {
    on_each_mortal_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        outbox.write(&topic, "a");
        eventually("the first event", || outbox.depth() == 0).await;

        broker.stop().await;
        let (lost, kept) = ("a", "b");
        let readings = outbox.readings();
        for _ in 0..10 {
            outbox.write(&topic, lost);
            outbox.write(&topic, kept);
        }
        eventually("them on their way", || outbox.readings() > readings).await;
        outbox.give(shard(lost), Some("somebody else"));
        // The relay learns of that when it renews its leases, although it waits for the broker.
        let renewals = outbox.renewals();
        eventually("a renewal", || outbox.renewals() > renewals).await;
        broker.start().await;
        eventually("the other shard", || outbox.keys().iter().all(|key| key == lost)).await;
        assert_eq!(outbox.depth(), 10);

        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        eventually("what was published", || recorder.effects() == 11).await;
        outbox.give(shard(lost), None);
        eventually("the rest", || recorder.effects() == 21).await;
        recorder.assert_in_order();
        assert_eq!(
            recorder.handed_out(),
            21,
            "nothing of the lost shard was published by this relay before"
        );
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_ends_in_time_although_the_broker_is_away() {
    on_each_mortal_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        outbox.write(&topic, "key");
        eventually("the first event", || recorder.effects() == 1).await;
        broker.stop().await;
        outbox.write(&topic, "key");
        let start = Instant::now();
        tokio::join!(relay.stop(), consumer.stop());
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        assert_eq!(outbox.depth(), 1, "what was not published stays");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_tells_whether_the_broker_is_ready() {
    on_each_mortal_broker(async |broker| {
        let probe = Probe::new(&broker.connection).unwrap();
        let missing = probe.check(TOPICS).await;
        assert!(
            matches!(missing, Err(ProbeError::Missing(name)) if name == TOPICS[0].name()),
            "{missing:?}"
        );
        topics::ensure(&broker.connection, TOPICS).await.unwrap();
        probe.check(TOPICS).await.unwrap();
        broker.stop().await;
        let start = Instant::now();
        assert!(matches!(probe.check(TOPICS).await, Err(ProbeError::Silent(_))));
        assert!(start.elapsed() < Duration::from_secs(5));

        // Topics are waited for just as long.
        let cancel = CancellationToken::new();
        let ensured = tokio::spawn({
            let (connection, cancel) = (broker.connection.clone(), cancel.clone());
            async move { topics::ensure_with_retry(&connection, TOPICS, &cancel).await }
        });
        broker.start().await;
        in_time("the topics", ensured).await.unwrap().unwrap();
        probe.check(TOPICS).await.unwrap();
    })
    .await;
}
