use std::sync::atomic::Ordering;

use crate::broker::on_each_broker;
use crate::eventually;
use crate::outbox::MemoryOutbox;
use crate::recorder::{Held, Recorder, RunningConsumer, group};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_while_a_batch_is_handled_loses_nothing() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(4).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        for event in 0..400 {
            outbox.write(&topic, &format!("key-{}", event % 40));
        }
        eventually("all published", || outbox.depth() == 0).await;

        let all = Recorder::default();
        let first = Held::new(&all);
        let held = RunningConsumer::start(&group, &topic, first.clone(), &broker.connection);
        eventually("a batch under way", || first.started.load(Ordering::SeqCst) > 0).await;

        // The second member gets its share although the first is still busy.
        let second = Recorder::default();
        let other = RunningConsumer::start(&group, &topic, second.clone(), &broker.connection);
        eventually("a share for the second member", || second.effects() > 0).await;
        assert_eq!(all.effects(), 0);

        first.permits.add_permits(1);
        eventually("all events", || {
            let mut keys = all.keys();
            keys.extend(second.keys());
            keys.len() == 40
        })
        .await;
        for event in 0..400 {
            outbox.write(&topic, &format!("key-{}", event % 40));
        }
        let handled = || all.handed_out() + second.handed_out();
        eventually("both at work", || all.effects() > 0 && handled() >= 800).await;

        // The first leaves, the second takes over where it was.
        held.stop().await;
        for event in 0..400 {
            outbox.write(&topic, &format!("key-{}", event % 40));
        }
        eventually("everything at the second member", || second.keys().len() == 40).await;
        eventually("an empty outbox", || outbox.depth() == 0).await;
        other.stop().await;
        relay.stop().await;

        // Nothing is missing: a member that starts now finds nothing that was not committed.
        outbox.write(&topic, "last");
        let relay = outbox.relay(&broker.connection);
        let late = Recorder::default();
        let last = RunningConsumer::start(&group, &topic, late.clone(), &broker.connection);
        eventually("the last event", || late.keys().contains("last")).await;
        assert_eq!(late.effects(), 1);
        last.stop().await;
        relay.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_and_every_event_takes_effect_in_order() {
    on_each_broker(async |broker| {
        let (topic, group) = (broker.topic(3).await, group());
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let together = Recorder::default();
        let start = || RunningConsumer::start(&group, &topic, together.clone(), &broker.connection);
        let write = || (0..300).for_each(|event| outbox.write(&topic, &format!("key-{}", event % 23)));

        let one = start();
        write();
        let two = start();
        write();
        eventually("some events", || together.effects() > 100).await;
        one.stop().await;
        write();
        let three = start();
        write();
        eventually("more events", || together.effects() > 900).await;
        two.stop().await;
        write();
        eventually("all events", || together.effects() == 1_500).await;
        together.assert_in_order();
        three.stop().await;
        relay.stop().await;
    })
    .await;
}
