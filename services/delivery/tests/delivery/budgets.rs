use std::time::Duration;

use tidings_domain::MessageStatus;
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::receivers::Gate;
use crate::stage::on_each_database;

/// What an endpoint other than the default one may have under way.
const BUDGET: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_endpoint_delays_nobody_else() {
    on_each_database(async |stage| {
        let (default, healthy) = (
            WebhookReceiver::start(Behavior::Acknowledge).await,
            WebhookReceiver::start(Behavior::Acknowledge).await,
        );
        let hanging = Gate::holding(usize::MAX).await;
        stage.default_endpoint(&default.url()).await;
        stage.endpoint(hanging.url()).await;
        stage.endpoint(&healthy.url()).await;
        let service = stage.run_with(stage.db.clone(), "0s,50ms", Duration::from_secs(50));
        let sent = stage.send_many(150).await;
        eventually("the healthy endpoints get all of it", async || {
            match (default.received().len(), healthy.received().len()) {
                (150, 150) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        for id in sent {
            stage.message_becomes(id, MessageStatus::Delivered).await;
        }
        assert_eq!(hanging.arrived(), BUDGET);
        service.crash().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_was_no_slot_for_is_sent_when_there_is_one() {
    on_each_database(async |stage| {
        let default = WebhookReceiver::start(Behavior::Acknowledge).await;
        let slow = Gate::holding(BUDGET).await;
        stage.default_endpoint(&default.url()).await;
        stage.endpoint(slow.url()).await;
        let service = stage.run("0s,50ms");
        stage.send_many(200).await;
        stage
            .deliveries_become(&format!("delivered 200, pending {}", 200))
            .await;
        slow.has(BUDGET).await;
        assert_eq!(slow.arrived(), BUDGET);
        slow.open(204);
        stage.deliveries_become("delivered 400").await;
        service.stop().await;
        let counts = slow.counts();
        assert_eq!((counts.len(), counts.values().max()), (200, Some(&1)));
    })
    .await;
}
