use std::time::Duration;

use tidings_domain::{ChannelName, NotificationStatus};
use tidings_notifier::channels::Channels;
use tidings_storage::notifications::next_due;
use tidings_testkit::{Behavior, eventually};

use crate::stage::{AMPLE, EXOME, Stage, on_each_database};

async fn a_kit_is_ordered(stage: &Stage) {
    let user = stage.user(None).await;
    stage.order(&user, "other", ChannelName::Email).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_recovers_gets_it_under_the_same_key() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::RefuseFirst(2, 500));
        let service = stage.run("0s,50ms,50ms");
        a_kit_is_ordered(&stage).await;
        let told = stage.it_becomes(NotificationStatus::Sent).await;
        assert_eq!(told.attempts, 3);
        service.stop().await;
        assert_eq!(stage.email.counts(), [(told.id.to_string(), 3)].into());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_spent_ends_it() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Refuse(503));
        let service = stage.run("0s,20ms");
        a_kit_is_ordered(&stage).await;
        let told = stage.it_becomes(NotificationStatus::Failed).await;
        assert_eq!(told.attempts, 2);
        assert!(told.answer.unwrap().starts_with("503"));
        assert_eq!(told.sent_at, None);
        service.stop().await;
        assert_eq!(
            stage.history(&told.id.to_string()).await,
            ["tidings.notification.requested", "tidings.notification.failed"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_not_sent_again() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Refuse(422));
        let service = stage.run("0s,20ms,20ms");
        a_kit_is_ordered(&stage).await;
        assert_eq!(stage.it_becomes(NotificationStatus::Failed).await.attempts, 1);
        service.stop().await;
        assert_eq!(stage.email.calls().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_may_ask_for_a_longer_pause() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::With(429, "retry-after", "60".to_owned()));
        let service = stage.run("0s,20ms,100s");
        a_kit_is_ordered(&stage).await;
        let due = eventually("the attempt is recorded", async || {
            match next_due(stage.db.read(), ChannelName::Email).await.unwrap() {
                Some(due) if !due.is_zero() => Ok(due),
                other => Err(other),
            }
        })
        .await;
        assert!(
            due > Duration::from_secs(30) && due <= Duration::from_secs(60),
            "{due:?}"
        );
        service.stop().await;
        assert_eq!(stage.email.calls().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_delays_nobody_else() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Hang);
        let service = stage.run("0s,20ms");
        let user = stage.user(Some("+41791234567")).await;
        for _ in 0..100 {
            stage.order(&user, "other", ChannelName::Email).await;
        }
        eventually("as many as may hang", async || match stage.email.calls().len() {
            64 => Ok(()),
            other => Err(other),
        })
        .await;
        let (order, _) = stage.order(&user, EXOME, ChannelName::Sms).await;
        eventually("the SMS is sent", async || {
            let all = stage.notifications().await;
            let told = all.into_iter().find(|told| told.order == Some(order.id));
            match told.as_ref().map(|told| told.status) {
                Some(NotificationStatus::Sent) => Ok(()),
                _ => Err(told),
            }
        })
        .await;
        service.crash().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_not_sent() {
    on_each_database(async |stage| {
        let user = stage.user(None).await;
        stage.notify(&user, "Good morning!", ChannelName::Email).await;
        let then = (stage.clock.now() - chrono::TimeDelta::hours(25)).to_rfc3339();
        let sql = format!("UPDATE notifications SET created_at = '{then}'");
        assert_eq!(stage.database.tamper(&sql).await, 1);
        let service = stage.run("0s,20ms");
        let told = stage.it_becomes(NotificationStatus::Failed).await;
        assert_eq!(told.answer.as_deref(), Some("not sent within 24 hours"));
        assert_eq!(told.attempts, 0);
        service.stop().await;
        assert!(stage.email.calls().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_too_old_at_the_next_attempt_is_not_waited_with() {
    on_each_database(async |stage| {
        stage.email.set(Behavior::Refuse(500));
        let service = stage.run("0s,30h");
        a_kit_is_ordered(&stage).await;
        let told = stage.it_becomes(NotificationStatus::Failed).await;
        assert!(told.answer.unwrap().starts_with("500"));
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_without_a_provider_says_what_to_set() {
    on_each_database(async |stage| {
        let service = stage.run_with(stage.db.clone(), Channels::new(), "0s,20ms", AMPLE);
        let user = stage.user(Some("+41791234567")).await;
        stage.order(&user, EXOME, ChannelName::Sms).await;
        let told = stage.it_becomes(NotificationStatus::Failed).await;
        assert_eq!(
            told.answer.as_deref(),
            Some("no provider is set for sms: set SMS_PROVIDER_URL")
        );
        assert_eq!(told.attempts, 2);
        service.stop().await;
    })
    .await;
}
