use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidings_events::RawRecord;
use tidings_messaging::{ConsumerConfig, ConsumerError, HandleError, Handler};

use crate::broker::on_each_broker;
use crate::eventually;
use crate::metering::{self, counted};
use crate::outbox::MemoryOutbox;
use crate::recorder::{Recorder, RunningConsumer, With, group};

fn rejecting(recorder: &Recorder, records: &[RawRecord]) -> Result<(), HandleError> {
    if records.iter().any(|record| record.value.as_deref() == Some(b"poison")) {
        return Err(HandleError::reject("it is poisoned"));
    }
    recorder.record(records);
    Ok(())
}

/// Cannot set anything aside at first.
struct Reluctant {
    recorder: Recorder,
    attempts: AtomicUsize,
}

impl Handler for Reluctant {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        rejecting(&self.recorder, records)
    }

    async fn set_aside(&self, record: &RawRecord, reason: &str) -> Result<(), HandleError> {
        if self.attempts.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(HandleError::retry("the database is away"));
        }
        self.recorder.record_aside(record, reason);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_set_aside_alone() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(1).await, group());
        metering::start();
        let outbox = MemoryOutbox::default();
        for event in 0..50 {
            let payload: &[u8] = if event % 20 == 7 { b"poison" } else { b"{}" };
            outbox.write_payload(&topic, &format!("key-{event}"), Bytes::from_static(payload));
        }
        let relay = outbox.relay(&broker.connection);
        eventually("all published", || outbox.depth() == 0).await;

        let recorder = Recorder::default();
        let handler = Reluctant {
            recorder: recorder.clone(),
            attempts: AtomicUsize::new(0),
        };
        let consumer = RunningConsumer::start(&group, &topic, handler, &broker.connection);
        eventually("the neighbours", || recorder.effects() == 47).await;
        assert_eq!(
            recorder.set_aside(),
            [7, 27, 47].map(|offset| (offset, "it is poisoned".to_owned()))
        );
        assert_eq!(counted("tidings_consumer_set_aside_total", &group), 3);
        assert_eq!(counted("tidings_consumer_records_total", &group), 47);
        consumer.stop().await;

        // What was set aside is done with.
        outbox.write(&topic, "key");
        let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        eventually("one more", || recorder.effects() == 48).await;
        assert_eq!(recorder.handed_out(), 48);
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_stops_the_consumer_and_leaves_the_topic_alone() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(1).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        for _ in 0..40 {
            outbox.write(&topic, "key");
        }
        let recorder = Recorder::default();
        let broken = With {
            recorder: recorder.clone(),
            handle: |_: &Recorder, _: &[RawRecord]| Err(HandleError::reject("this version knows no events")),
        };
        let config = ConsumerConfig {
            flood: 10,
            ..ConsumerConfig::of_topics(&group, [&topic])
        };
        let ended = RunningConsumer::with(config, broken, &broker.connection).ended().await;
        assert!(matches!(ended, Err(ConsumerError::Flood { .. })), "{ended:?}");
        assert_eq!(recorder.set_aside().len(), 10);

        let repaired = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        eventually("all others", || recorder.effects() == 30).await;
        repaired.stop().await;
        relay.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_aside_ends_the_consumer() {
    struct Stubborn;
    impl Handler for Stubborn {
        async fn handle(&self, _: &[RawRecord]) -> Result<(), HandleError> {
            Err(HandleError::reject("not mine"))
        }
        async fn set_aside(&self, _: &RawRecord, _: &str) -> Result<(), HandleError> {
            Err(HandleError::reject("not mine either"))
        }
    }
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        outbox.write(&topic, "key");
        let ended = RunningConsumer::start(&group(), &topic, Stubborn, &broker.connection)
            .ended()
            .await;
        assert!(matches!(ended, Err(ConsumerError::NotSetAside(_))), "{ended:?}");
        relay.stop().await;
    })
    .await;
}
