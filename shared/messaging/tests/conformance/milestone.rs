//! How far a group has come, as others see it.

use std::time::Duration;

use tidings_messaging::Milestone;
use tokio::time::sleep;

use crate::broker::on_each_broker;
use crate::outbox::MemoryOutbox;
use crate::recorder::{Recorder, RunningConsumer, group};
use crate::{eventually, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn a_milestone_is_passed_when_all_before_it_has_taken_effect() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(3).await, group());
        let set = async || Milestone::set(&broker.connection, &group, [&topic[..]]).await.unwrap();
        assert!(set().await.is_passed().await.unwrap(), "there is nothing");

        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let write = async || {
            for event in 0..30 {
                outbox.write(&topic, &format!("key-{event}"));
            }
            eventually("it is published", || outbox.depth() == 0).await;
        };
        write().await;
        let first = set().await;
        assert!(!first.is_passed().await.unwrap(), "nobody has looked at it");

        let recorder = Recorder::default();
        let passed = async |milestone: &Milestone| {
            while !milestone.is_passed().await.unwrap() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        in_time("passing the first", passed(&first)).await;
        assert_eq!(recorder.effects(), 30);
        consumer.stop().await;
        write().await;
        assert!(first.is_passed().await.unwrap());
        let second = set().await;
        assert!(!second.is_passed().await.unwrap());
        let consumer = RunningConsumer::start(&group, &topic, recorder.clone(), &broker.connection);
        in_time("passing the second", passed(&second)).await;
        assert_eq!(recorder.effects(), 60);
        consumer.stop().await;
        relay.stop().await;
    })
    .await;
}
