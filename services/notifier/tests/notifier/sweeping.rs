use std::time::Duration;

use tidings_domain::{ChannelName, NotificationStatus};
use tidings_notifier::{clear_away, sweep};
use tidings_storage::outbox;
use tidings_testkit::{PATIENCE, eventually};
use tokio_util::sync::CancellationToken;

use crate::stage::{Stage, on_each_database};

/// Makes all orders older than they are.
async fn age(stage: &Stage) {
    let then = (stage.clock.now() - chrono::TimeDelta::seconds(90)).to_rfc3339();
    let sql = format!("UPDATE orders SET created_at = '{then}'");
    assert!(stage.database.tamper(&sql).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_forgotten_is_published_again_and_looked_at_once() {
    on_each_database(async |stage| {
        let service = stage.run("0s,50ms");
        let user = stage.user(None).await;
        let (order, event) = stage.order(&user, "other", ChannelName::Email).await;
        stage.it_becomes(NotificationStatus::Sent).await;
        let sweep = async |after, patience| sweep(&stage.db, &stage.connection, after, patience).await.unwrap();
        assert_eq!(sweep(None, PATIENCE).await.settled, None, "too young");
        age(&stage).await;
        let swept = sweep(None, PATIENCE).await;
        assert!(swept.published.is_empty(), "it was taken care of");
        assert_eq!(swept.settled, Some(order.id));

        // As if nobody had.
        assert_eq!(stage.database.tamper("DELETE FROM notifications").await, 1);
        assert!(sweep(swept.settled, PATIENCE).await.published.is_empty());
        let swept = sweep(None, PATIENCE).await;
        assert_eq!(
            (swept.published, swept.settled),
            (vec![event], None),
            "it is looked at again"
        );
        stage.it_becomes(NotificationStatus::Sent).await;
        assert_eq!(sweep(None, PATIENCE).await.settled, Some(order.id));
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_published_or_not_consumed_yet_is_not_forgotten() {
    on_each_database(async |mut stage| {
        stage.stop_relay().await;
        let user = stage.user(None).await;
        stage.order(&user, "other", ChannelName::Email).await;
        age(&stage).await;
        let swept = sweep(&stage.db, &stage.connection, None, PATIENCE).await.unwrap();
        assert_eq!((swept.published.len(), swept.settled), (0, None));
        stage.start_relay();
        eventually("it is published", async || match outbox::depth(stage.db.read()).await {
            Ok(0) => Ok(()),
            other => Err(other),
        })
        .await;
        let early = sweep(&stage.db, &stage.connection, None, Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(
            (early.published.len(), early.settled),
            (0, None),
            "nobody has looked at it"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_long_ago_is_cleared_away_and_what_is_to_be_sent_is_not() {
    on_each_database(async |stage| {
        let service = stage.run("0s,50ms");
        let user = stage.user(None).await;
        let (order, _) = stage.order(&user, "other", ChannelName::Email).await;
        stage.it_becomes(NotificationStatus::Sent).await;
        service.stop().await;
        stage.notify(&user, "hello", ChannelName::Email).await;
        let clear = async |days, stop: &CancellationToken| {
            let now = stage.clock.now() + chrono::TimeDelta::days(days);
            clear_away(&stage.db, now, stop).await.unwrap()
        };
        let (stopped, running) = (CancellationToken::new(), CancellationToken::new());
        stopped.cancel();
        assert_eq!(clear(59, &running).await, 0);
        assert_eq!(clear(61, &stopped).await, 0, "whoever stops begins nothing");
        assert_eq!(clear(61, &running).await, 1);
        let left = stage.notifications().await;
        assert_eq!(left.len(), 1);
        assert_ne!(left[0].order, Some(order.id));
    })
    .await;
}
