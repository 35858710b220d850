use std::collections::HashSet;
use std::time::Duration;

use tidings_delivery::replay;
use tidings_domain::{EndpointId, MessageStatus};
use tidings_storage::deliveries;
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::receivers::Gate;
use crate::stage::{delivery_id, on_each_database};

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_what_is_due() {
    on_each_database(async |mut stage| {
        let receiver = WebhookReceiver::start(Behavior::RefuseFirst(1, 503)).await;
        stage.default_endpoint(&receiver.url()).await;
        stage.stop_relay().await;
        // Planned and not leased, as by a worker that had no slots.
        for number in 0..150 {
            let (_, event) = stage.send().await;
            let record = stage.record_of(event).await;
            let again = async || replay(&stage.db, &stage.clock, &record).await.unwrap();
            assert_eq!(again().await, 1);
            if number == 0 {
                assert_eq!(again().await, 0, "a record that is replayed twice");
            }
        }
        let other = stage.database.reopen().await;
        let one = stage.run("0s,50ms,100ms");
        let two = stage.run_with(other, "0s,50ms,100ms", Duration::from_secs(10));
        stage.start_relay();
        // And some more, planned by whichever consumes them.
        stage.send_many(50).await;
        stage.deliveries_become("delivered 200").await;
        one.stop().await;
        two.stop().await;
        let counts = receiver.counts();
        assert_eq!(counts.len(), 200);
        assert_eq!(counts.into_values().collect::<HashSet<_>>(), HashSet::from([2]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_is_taken_over_and_the_late_outcome_counts_for_nothing() {
    on_each_database(async |stage| {
        let receiver = Gate::holding(1).await;
        stage.default_endpoint(receiver.url()).await;
        let slow = stage.run("0s,50ms,100ms");
        let (message, event) = stage.send().await;
        receiver.has(1).await;
        // A worker that seems to have died.
        let expired = stage
            .database
            .tamper("UPDATE deliveries SET leased_until = '2001-01-01T00:00:00+00:00'");
        assert_eq!(expired.await, 1);
        let other = stage.database.reopen().await;
        let successor = stage.run_with(other, "0s,50ms,100ms", Duration::from_secs(10));
        let delivered = stage.message_becomes(message.id, MessageStatus::Delivered).await;
        receiver.open(500);
        slow.stop().await;
        successor.stop().await;

        assert_eq!(stage.message(message.id).await, delivered);
        let attempts = stage.attempts(event, &EndpointId::default_endpoint()).await;
        assert_eq!(attempts.len(), 1);
        assert!(attempts[0].result.acknowledged());
        assert_eq!(stage.deliveries().await, "delivered 1");
        // The receiver can tell that both were the same.
        assert_eq!(receiver.counts().into_values().collect::<Vec<_>>(), [2]);
        assert_eq!(stage.history(&message.id.to_string()).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_finishes_what_is_under_way() {
    on_each_database(async |stage| {
        let receiver = Gate::holding(1).await;
        stage.default_endpoint(receiver.url()).await;
        let service = stage.run("0s,50ms");
        let (message, _) = stage.send().await;
        receiver.has(1).await;
        let stopping = tokio::spawn(service.stop());
        receiver.open(200);
        stopping.await.unwrap();
        assert_eq!(stage.message(message.id).await.status, MessageStatus::Delivered);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_sent_at_once_when_the_leases_are_cleared() {
    on_each_database(async |stage| {
        let receiver = Gate::holding(1).await;
        stage.default_endpoint(receiver.url()).await;
        let service = stage.run("0s,50ms");
        let (message, _) = stage.send().await;
        receiver.has(1).await;
        service.crash().await;
        // The attempt's own task goes on until its runtime ends, but nobody hears of it.
        receiver.open(500);
        assert_eq!(tidings_delivery::clear_leases(&stage.db).await.unwrap(), 1);
        let service = stage.run("0s,50ms");
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        service.stop().await;
        let ids: Vec<_> = receiver.counts().into_keys().collect();
        assert_eq!(ids.len(), 1);
        delivery_id(&ids[0]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_due_when_all_is_done() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run("0s,50ms");
        stage.send_many(5).await;
        stage.deliveries_become("delivered 5").await;
        let backlog = eventually("nothing is left", async || {
            let backlog = deliveries::backlog(stage.db.read()).await.unwrap();
            if backlog.pending == 0 {
                Ok(backlog)
            } else {
                Err(backlog)
            }
        })
        .await;
        assert_eq!(backlog.lag_seconds, 0.0);
        assert!(deliveries::next_due(stage.db.read(), &[]).await.unwrap().is_empty());
        service.stop().await;
    })
    .await;
}
