use std::time::Duration;

use tidings_delivery::{Swept, sweep};
use tidings_domain::MessageStatus;
use tidings_storage::outbox;
use tidings_testkit::{Behavior, PATIENCE, WebhookReceiver, eventually};

use crate::stage::{Stage, on_each_database};

/// Makes all messages older than they are.
async fn age(stage: &Stage) {
    let then = (stage.clock.now() - chrono::TimeDelta::seconds(90)).to_rfc3339();
    let sql = format!("UPDATE messages SET created_at = '{then}'");
    assert!(stage.database.tamper(&sql).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_and_forgotten_is_published_again() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        // Nobody is owed anything yet, so the message is consumed without a delivery.
        let service = stage.run("0s,50ms");
        let (message, event) = stage.send().await;
        let other = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.endpoint(&other.url()).await;
        let (later, _) = stage.send().await;
        eventually("all was consumed", async || match other.received().len() {
            0 => Err("nothing arrived"),
            _ => Ok(()),
        })
        .await;
        drop(later);
        stage.default_endpoint(&receiver.url()).await;
        assert!(
            sweep(&stage.db, &stage.connection, None, PATIENCE)
                .await
                .unwrap()
                .published
                .is_empty(),
            "too young"
        );
        age(&stage).await;
        let swept = sweep(&stage.db, &stage.connection, None, PATIENCE).await.unwrap();
        assert_eq!(
            swept,
            Swept {
                published: vec![event],
                next: None
            }
        );
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        assert!(
            sweep(&stage.db, &stage.connection, None, PATIENCE)
                .await
                .unwrap()
                .published
                .is_empty()
        );
        service.stop().await;
        assert_eq!(receiver.received().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_yet_is_not_forgotten() {
    on_each_database(async |mut stage| {
        stage.stop_relay().await;
        stage.send().await;
        age(&stage).await;
        assert!(
            sweep(&stage.db, &stage.connection, None, PATIENCE)
                .await
                .unwrap()
                .published
                .is_empty()
        );
        assert_eq!(outbox::depth(stage.db.read()).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_and_not_consumed_yet_is_not_forgotten() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let (message, _) = stage.send().await;
        age(&stage).await;
        eventually("it is published", async || match outbox::depth(stage.db.read()).await {
            Ok(0) => Ok(()),
            other => Err(other),
        })
        .await;
        let early = sweep(&stage.db, &stage.connection, None, Duration::from_secs(1));
        assert!(early.await.unwrap().published.is_empty(), "nobody has looked at it");
        let service = stage.run("0s,50ms");
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        service.stop().await;
        assert_eq!(receiver.received().len(), 1);
    })
    .await;
}
