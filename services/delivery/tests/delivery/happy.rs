use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tidings_domain::{EndpointId, MessageStatus};
use tidings_events::data::timestamp;
use tidings_signing::{ReceivedHeaders, Secret, Verified, verify};
use tidings_testkit::{Behavior, Received, WebhookReceiver, eventually};

use crate::stage::{SECRET, on_each_database};

/// Verifies both signatures on their own, and once more by the library of Standard Webhooks.
fn verify_all(received: &Received, secret: &str, for_library: &str) {
    let secrets = [Secret::from_text(secret).unwrap()];
    let now = received.header("webhook-timestamp").unwrap().parse().unwrap();
    let all = ReceivedHeaders::from_lookup(|name| received.header(name));
    let verified = verify(&all, &received.body, &secrets, now).unwrap();
    assert_eq!(
        verified,
        Verified::Standard {
            id: &received.id,
            timestamp: now
        }
    );
    let plain = ReceivedHeaders {
        authorization: received.header("authorization"),
        ..ReceivedHeaders::default()
    };
    assert_eq!(verify(&plain, &received.body, &secrets, now), Ok(Verified::BodyOnly));

    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, received.header(name).unwrap().parse().unwrap());
    }
    Webhook::new(for_library)
        .unwrap()
        .verify(&received.body, &headers)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_delivered_when_the_receiver_acknowledges_it() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run("0s,50ms");
        let (message, event) = stage.send().await;
        let delivered = stage.message_becomes(message.id, MessageStatus::Delivered).await;

        let [received] = &receiver.received()[..] else {
            panic!("{:?}", receiver.received())
        };
        let at = delivered.delivered_at.unwrap();
        assert_eq!(
            received.json(),
            json!({"id": message.id, "status": "delivered", "deliveredAt": timestamp(at)})
        );
        verify_all(received, SECRET, "whsec_bXlTZWNyZXQ=");

        let cause = stage.event(event).await;
        let origin = &cause.origin;
        assert_eq!(received.header("content-type"), Some("application/json"));
        assert_eq!(
            received.header("x-correlation-id"),
            Some(origin.correlation_id.as_str())
        );
        let parent: tidings_domain::TraceParent = received.header("traceparent").unwrap().parse().unwrap();
        assert_eq!(parent.trace_id(), origin.traceparent.trace_id());
        assert_ne!(parent, origin.traceparent);
        assert_eq!(received.header("ce-id"), None);

        let attempts = stage.attempts(event, &EndpointId::default_endpoint()).await;
        assert_eq!(attempts.len(), 1);
        assert!(attempts[0].result.acknowledged());
        assert_eq!(attempts[0].started_at, at);
        assert_eq!(
            stage.history(&message.id.to_string()).await,
            ["tidings.message.queued", "tidings.message.delivered"]
        );
        service.stop().await;
        assert_eq!(stage.deliveries().await, "delivered 1");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_endpoints_get_the_events_they_asked_for_as_cloudevents() {
    on_each_database(async |stage| {
        let (default, other) = (
            WebhookReceiver::start(Behavior::Acknowledge).await,
            WebhookReceiver::start(Behavior::Acknowledge).await,
        );
        stage.default_endpoint(&default.url()).await;
        let (_, secret) = stage
            .add(&other.url(), None, "tidings.message.delivered")
            .await
            .unwrap();
        let service = stage.run("0s,50ms");
        let (message, queued) = stage.send().await;
        let received = eventually("the event arrives", async || other.received().pop().ok_or("nothing")).await;

        let header = |name| received.header(name).unwrap();
        assert_eq!(header("ce-type"), "tidings.message.delivered");
        assert_eq!(header("ce-source"), "/tidings/delivery");
        assert_eq!(header("ce-subject"), message.id.to_string());
        assert_eq!(header("ce-specversion"), "1.0");
        assert_eq!(header("ce-sequence"), "2");
        assert_eq!(header("ce-dataschema"), "urn:tidings:schema:message:1");
        let event = stage.event(header("ce-id").parse().unwrap()).await;
        assert_eq!(header("ce-time"), timestamp(event.time));
        assert_eq!(received.body, event.payload);
        assert_eq!(received.json()["data"]["status"], Value::from("delivered"));
        // One request set all of it off.
        assert_eq!(
            event.origin.correlation_id,
            stage.event(queued).await.origin.correlation_id
        );
        assert_eq!(header("x-correlation-id"), event.origin.correlation_id.as_str());
        let secret = secrecy::ExposeSecret::expose_secret(&secret);
        verify_all(&received, secret, secret);

        stage.deliveries_become("delivered 2").await;
        service.stop().await;
        assert_eq!((default.received().len(), other.received().len()), (1, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_comes_again_is_delivered_once() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run("0s,50ms");
        let (message, event) = stage.send().await;
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        // The relay publishes it again, and then one more message for whose arrival can be waited.
        stage
            .db
            .write::<_, tidings_storage::Error, _>(move |tx| {
                Box::pin(async move { tidings_storage::outbox::enqueue_again(tx, &[event]).await })
            })
            .await
            .unwrap();
        eventually("all is published", async || {
            match tidings_storage::outbox::depth(stage.db.read()).await {
                Ok(0) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        for _ in 0..10 {
            let (next, _) = stage.send().await;
            stage.message_becomes(next.id, MessageStatus::Delivered).await;
        }
        service.stop().await;
        let counts = receiver.counts();
        assert_eq!((counts.len(), counts.values().max()), (11, Some(&1)));
        assert_eq!(stage.history(&message.id.to_string()).await.len(), 2);
    })
    .await;
}
