use std::time::Duration;

use tidings_domain::{ChannelName, NotificationStatus};
use tidings_notifier::{Error, clear_leases};
use tidings_storage::notifications::{LEASE, backlog};
use tidings_testkit::{Behavior, eventually};

use crate::stage::{AMPLE, Stage, on_each_database};

async fn the_provider_has(stage: &Stage, calls: usize) {
    eventually(&format!("{calls} calls"), async || match stage.email.calls().len() {
        so_many if so_many == calls => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_share_what_is_due() {
    on_each_database(async |stage| {
        let user = stage.user(None).await;
        for _ in 0..100 {
            stage.order(&user, "other", ChannelName::Email).await;
        }
        let other = stage.database.reopen().await;
        let one = stage.run("0s,50ms");
        let two = stage.run_with(other, stage.channels(), "0s,50ms", AMPLE);
        for _ in 0..100 {
            stage.notify(&user, "Hello", ChannelName::Email).await;
        }
        stage.all_become(200, NotificationStatus::Sent).await;
        one.stop().await;
        two.stop().await;
        let counts = stage.email.counts();
        assert_eq!((counts.len(), counts.values().max()), (200, Some(&1)));
        let left = backlog(stage.db.read(), ChannelName::Email).await.unwrap();
        assert_eq!((left.pending, left.lag_seconds), (0, 0.0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_is_taken_over_and_the_late_outcome_counts_for_nothing() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Hang);
        let slow = stage.run_with(stage.db.clone(), stage.channels(), "0s,50ms", Duration::from_secs(3));
        let user = stage.user(None).await;
        stage.notify(&user, "Hello", ChannelName::Email).await;
        the_provider_has(&stage, 1).await;
        // A worker that seems to have died.
        let expired = "UPDATE notifications SET leased_until = '2001-01-01T00:00:00+00:00'";
        assert_eq!(stage.database.tamper(expired).await, 1);
        stage.email.set(Behavior::Acknowledge);
        let other = stage.database.reopen().await;
        let successor = stage.run_with(other, stage.channels(), "0s,50ms", AMPLE);
        let told = stage.it_becomes(NotificationStatus::Sent).await;
        // Ends only when its own attempt has.
        slow.stop().await;
        successor.stop().await;
        assert_eq!(stage.it_becomes(NotificationStatus::Sent).await, told);
        assert_eq!(told.attempts, 1);
        // The provider can tell that both were the same.
        assert_eq!(stage.email.counts(), [(told.id.to_string(), 2)].into());
        assert_eq!(stage.history(&told.id.to_string()).await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_sent_at_once_when_the_leases_are_cleared() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Hang);
        let service = stage.run("0s,50ms");
        let user = stage.user(None).await;
        stage.notify(&user, "Hello", ChannelName::Email).await;
        the_provider_has(&stage, 1).await;
        service.crash().await;
        stage.email.set(Behavior::Acknowledge);
        assert_eq!(clear_leases(&stage.db).await.unwrap(), 1);
        let service = stage.run("0s,50ms");
        let told = stage.it_becomes(NotificationStatus::Sent).await;
        service.stop().await;
        assert_eq!(stage.email.counts(), [(told.id.to_string(), 2)].into());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_finishes_what_is_under_way() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Hang);
        let service = stage.run_with(stage.db.clone(), stage.channels(), "0s,50ms", Duration::from_secs(2));
        let user = stage.user(None).await;
        stage.notify(&user, "Hello", ChannelName::Email).await;
        the_provider_has(&stage, 1).await;
        service.stop().await;
        let told = stage.notifications().await.remove(0);
        assert_eq!((told.status, told.attempts), (NotificationStatus::Requested, 1));
        assert!(told.answer.unwrap().contains("no complete answer"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_must_end_before_its_lease() {
    on_each_database(async |stage| {
        let service = stage.run_with(stage.db.clone(), stage.channels(), "0s", LEASE);
        assert!(matches!(service.ended().await, Err(Error::AttemptTimeout(LEASE))));
    })
    .await;
}
