use std::time::Duration;

use bytes::Bytes;

use crate::broker::on_each_broker;
use crate::eventually;
use crate::outbox::{MemoryOutbox, shard};
use crate::recorder::{Recorder, RunningConsumer, group};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_without_its_lease() {
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let (lost, kept) = ("a", "b");
        assert_ne!(shard(lost), shard(kept));
        outbox.take_at_removal(shard(lost));
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        outbox.write(&topic, lost);
        eventually("its publication", || recorder.effects() == 1).await;
        eventually("its loss", || outbox.held_by("somebody else") == 1).await;

        // The relay goes on with the shards it has left.
        outbox.write(&topic, kept);
        eventually("another shard", || outbox.keys() == [lost] && recorder.effects() == 2).await;

        // Once the shard is back, the same event is published again, and removed.
        outbox.give(shard(lost), None);
        eventually("an empty outbox", || outbox.depth() == 0).await;
        eventually("the repetition", || recorder.handed_out() == 3).await;
        assert_eq!(recorder.effects(), 2);
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_waited_for() {
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        for round in 1..=3 {
            let refusals = outbox.refusals();
            outbox.set_away(true);
            for _ in 0..100 {
                outbox.write(&topic, "key");
            }
            eventually("some attempts", || outbox.refusals() >= refusals + 3).await;
            assert_eq!(recorder.effects(), (round - 1) * 100);
            outbox.set_away(false);
            eventually("all events", || recorder.effects() == round * 100).await;
        }
        recorder.assert_in_order();
        eventually("an empty outbox", || outbox.depth() == 0).await;
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_refused_holds_up_its_key_alone() {
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        outbox.write(&topic, "refused");
        outbox.write_payload(&topic, "refused", Bytes::from(vec![b' '; 2 << 20]));
        for _ in 0..1_500 {
            outbox.write(&topic, "refused");
        }
        for event in 0..100 {
            outbox.write(&topic, &format!("key-{}", event % 10));
        }
        let relay = outbox.relay(&broker.connection);
        eventually("the others", || recorder.effects() == 101).await;
        recorder.assert_in_order();
        eventually("their removal", || outbox.depth() == 1_501).await;
        assert!(
            outbox.keys().iter().all(|key| key == "refused"),
            "what follows under its key waits"
        );
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_leaves_nothing_half_done() {
    on_each_broker(async |broker| {
        let topic = broker.topic(2).await;
        let outbox = MemoryOutbox::default();
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        for round in 0..5 {
            let name = if round % 2 == 0 { "even" } else { "odd" };
            let relay = outbox.relay_named(name, &broker.connection);
            for event in 0..2_000 {
                outbox.write(&topic, &format!("key-{}", event % 11));
            }
            eventually("a start", || outbox.depth() < 2_000).await;
            relay.stop().await;
            assert_eq!(outbox.held_by(name), 0, "its leases are given back");
        }
        let relay = outbox.relay(&broker.connection);
        eventually("all events", || recorder.effects() == 10_000).await;
        recorder.assert_in_order();
        assert_eq!(recorder.handed_out(), 10_000, "what was acknowledged was removed");
        relay.stop().await;
        consumer.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_gives_a_shard_back_leaves_nothing_that_it_has_published() {
    on_each_broker(async |broker| {
        let topic = broker.topic(1).await;
        let outbox = MemoryOutbox::default();
        let recorder = Recorder::default();
        let consumer = RunningConsumer::start(&group(), &topic, recorder.clone(), &broker.connection);
        let relay = outbox.relay(&broker.connection);
        eventually("the leases", || outbox.held_by("relay") == 4).await;
        outbox.make_surplus(shard("key-1"));
        let mut written = 0;
        // All the while there is something under way.
        crate::in_time("a shard less", async {
            while outbox.held_by("relay") == 4 {
                outbox.write(&topic, &format!("key-{}", written % 4));
                written += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        eventually("everything else", || {
            outbox.keys().iter().all(|key| shard(key) == shard("key-1"))
        })
        .await;
        // What is still there is not on the topic, and what is not there is.
        eventually("each event in its place", || {
            recorder.effects() + outbox.depth() == written
        })
        .await;
        relay.stop().await;
        assert_eq!(recorder.handed_out(), recorder.effects(), "nothing is published twice");
        consumer.stop().await;
    })
    .await;
}
