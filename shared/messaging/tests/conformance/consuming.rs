use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidings_events::RawRecord;
use tidings_messaging::{ConsumerConfig, ConsumerError, HandleError};

use crate::broker::on_each_broker;
use crate::metering::{self, counted, shown};
use crate::outbox::MemoryOutbox;
use crate::recorder::{Held, Recorder, RunningConsumer, With, group};
use crate::{eventually, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn order_per_key_is_kept_from_the_outbox_to_the_handler() {
    on_each_broker(async |broker| {
        let topic = broker.topic(3).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        for event in 0..5_000 {
            outbox.write(&topic, &format!("key-{}", event % 37));
            if event % 500 == 0 {
                tokio::task::yield_now().await;
            }
        }
        eventually("all events", || recorder.effects() == 5_000).await;
        recorder.assert_in_order();
        assert_eq!(
            recorder.handed_out(),
            5_000,
            "nothing went wrong, so nothing is repeated"
        );
        eventually("an empty outbox", || outbox.depth() == 0).await;
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_event_arrives_at_once() {
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        outbox.write(&topic, "warm up");
        eventually("the first event", || recorder.effects() == 1).await;
        let mut times = Vec::new();
        for round in 0..51 {
            let start = Instant::now();
            outbox.write(&topic, "key");
            in_time("arrival", async {
                while recorder.effects() < 2 + round {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            times.push(start.elapsed());
        }
        times.sort();
        println!("outbox to handler: median {:?}, slowest {:?}", times[25], times[50]);
        assert!(
            times[25] < Duration::from_millis(100),
            "something waits for a timer: {times:?}"
        );
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_lingers_gathers_what_comes_one_by_one() {
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let (recorder, batches) = (Recorder::default(), Arc::new(AtomicUsize::new(0)));
        let counting = With {
            recorder: recorder.clone(),
            handle: {
                let batches = batches.clone();
                move |recorder: &Recorder, records: &[RawRecord]| {
                    recorder.record(records);
                    batches.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
            },
        };
        let mut config = ConsumerConfig::of_topics(&group(), [&topic]);
        config.linger = Duration::from_secs(2);
        let consumer = RunningConsumer::with(config, counting, &broker.connection);
        for event in 0..20 {
            outbox.write(&topic, &format!("key-{}", event % 3));
            // Each is on the topic before the next is written, so they come one by one.
            eventually("it is published", || outbox.depth() == 0).await;
        }
        eventually("all events", || recorder.effects() == 20).await;
        recorder.assert_in_order();
        assert_eq!(recorder.handed_out(), 20);
        let batches = batches.load(Ordering::SeqCst);
        assert!(batches < 20, "{batches} batches for 20 records");
        relay.stop().await;
        // What it has is handed out at once when it is to stop.
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_retried_comes_again_until_it_works() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(1).await, group());
        metering::start();
        let outbox = MemoryOutbox::default();
        for event in 0..20 {
            outbox.write(&topic, &format!("key-{}", event % 3));
        }
        let relay = outbox.relay(&broker.connection);
        eventually("all published", || outbox.depth() == 0).await;

        let recorder = Recorder::default();
        let failures = AtomicUsize::new(0);
        let handler = With {
            recorder: recorder.clone(),
            handle: move |recorder: &Recorder, records: &[RawRecord]| {
                if failures.fetch_add(1, Ordering::SeqCst) < 4 {
                    return Err(HandleError::retry("the database is away"));
                }
                recorder.record(records);
                Ok(())
            },
        };
        let consumer = RunningConsumer::start(&group, &topic, handler, &broker.connection);
        eventually("all events", || recorder.effects() == 20).await;
        recorder.assert_in_order();
        assert_eq!(counted("tidings_consumer_retries_total", &group), 4);
        assert!(recorder.set_aside().is_empty(), "infrastructure is not poison");
        // Paused partitions go on where they were.
        outbox.write(&topic, "key-0");
        eventually("one more", || recorder.effects() == 21).await;
        assert_eq!(recorder.handed_out(), 21);
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_commit_hands_the_records_out_again() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(1).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        for _ in 0..10 {
            outbox.write(&topic, "key");
        }
        let recorder = Recorder::default();
        let handler = With {
            recorder: recorder.clone(),
            handle: |recorder: &Recorder, records: &[RawRecord]| {
                recorder.record(records);
                panic!("this crash is part of the test");
            },
        };
        let crashed = RunningConsumer::start(&group, &topic, handler, &broker.connection);
        assert!(matches!(crashed.ended().await, Err(ConsumerError::Panicked)));
        let before = recorder.handed_out();
        assert!(before > 0);

        let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        eventually("all again", || recorder.handed_out() == before + 10).await;
        assert_eq!(recorder.effects(), 10);
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_cannot_go_on_ends_the_consumer_and_loses_nothing() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(1).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        outbox.write(&topic, "key");
        let recorder = Recorder::default();
        let handler = With {
            recorder: recorder.clone(),
            handle: |_: &Recorder, _: &[RawRecord]| Err(HandleError::fatal("the schema is of another version")),
        };
        let ended = RunningConsumer::start(&group, &topic, handler, &broker.connection)
            .ended()
            .await;
        assert!(matches!(ended, Err(ConsumerError::Handler(_))), "{ended:?}");
        let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        eventually("the event", || recorder.effects() == 1).await;
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_after_the_last_commit() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(3).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        for round in 1..=3 {
            for event in 0..30 {
                outbox.write(&topic, &format!("key-{event}"));
            }
            let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
            eventually("all events", || recorder.effects() == 30 * round).await;
            consumer.stop().await;
        }
        assert_eq!(recorder.handed_out(), 90, "what was committed does not come again");
        recorder.assert_in_order();
        relay.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_deleted_before_they_were_read_are_counted() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(1).await, group());
        metering::start();
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let publish = async |count| {
            for _ in 0..count {
                outbox.write(&topic, "key");
            }
            eventually("all published", || outbox.depth() == 0).await;
        };
        publish(10).await;
        let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        eventually("the first events", || recorder.effects() == 10).await;
        consumer.stop().await;

        publish(20).await;
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &broker.connection.brokers)
            .create()
            .unwrap();
        let mut until = TopicPartitionList::new();
        until.add_partition_offset(&topic, 0, Offset::Offset(25)).unwrap();
        admin.delete_records(&until, &AdminOptions::new()).await.unwrap();

        let offsets = Arc::new(Mutex::new(Vec::new()));
        let taken = offsets.clone();
        let handler = With {
            recorder: recorder.clone(),
            handle: move |recorder: &Recorder, records: &[RawRecord]| {
                taken.lock().unwrap().extend(records.iter().map(|record| record.offset));
                recorder.record(records);
                Ok(())
            },
        };
        let consumer = RunningConsumer::start(&group, &topic, handler, &broker.connection);
        eventually("what is left", || recorder.effects() == 15).await;
        assert_eq!(*offsets.lock().unwrap(), [25, 26, 27, 28, 29]);
        assert_eq!(counted("tidings_consumer_records_missed_total", &group), 15);
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_group_has_before_it_is_shown() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(2).await, group());
        metering::start();
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        for event in 0..30 {
            outbox.write(&topic, &format!("key-{event}"));
        }
        eventually("all published", || outbox.depth() == 0).await;
        let recorder = Recorder::default();
        let held = Held::new(&recorder);
        let consumer = RunningConsumer::start(&group, &topic, held.clone(), &broker.connection);
        eventually("all of them", || shown("tidings_consumer_lag", &group) == Some(30.0)).await;
        held.permits.add_permits(1);
        eventually("none of them", || shown("tidings_consumer_lag", &group) == Some(0.0)).await;
        assert_eq!(recorder.effects(), 30);
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}
