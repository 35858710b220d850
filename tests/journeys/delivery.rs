//! A message on its way to the receiver, under all the weathers that receivers make.

use std::time::Duration;

use serde_json::json;
use tidings_signing::{ReceivedHeaders, Secret, Verified, verify};
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::stacks;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_signed_delivered_and_settled() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let id = stack.send_message(1).await;
        let message = stack.message_becomes(&id, "delivered").await;
        let received = receiver.received();
        let webhook = received.iter().find(|webhook| webhook.json()["id"] == id).unwrap();
        assert_eq!(
            webhook.json(),
            json!({"id": id, "status": "delivered", "deliveredAt": message["deliveredAt"]})
        );

        let headers = ReceivedHeaders::from_lookup(|name| webhook.header(name));
        let secrets = [Secret::from_text("mySecret").unwrap()];
        let sent_at = webhook.header("webhook-timestamp").unwrap().parse().unwrap();
        let verified = verify(&headers, &webhook.body, &secrets, sent_at).unwrap();
        assert!(matches!(verified, Verified::Standard { id, .. } if id == webhook.id));
        let authorization = ReceivedHeaders {
            authorization: webhook.header("authorization"),
            ..Default::default()
        };
        assert_eq!(
            verify(&authorization, &webhook.body, &secrets, sent_at).unwrap(),
            Verified::BodyOnly
        );
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_at_first_gets_the_same_delivery_again() {
    let receiver = WebhookReceiver::start(Behavior::RefuseFirst(2, 503)).await;
    let mut stacks = stacks(&receiver.url(), &[("TIDINGS_RETRY_SCHEDULE", "0s,50ms,100ms")]);
    while let Some(stack) = stacks.next().await {
        let id = stack.send_message(1).await;
        stack.message_becomes(&id, "delivered").await;
        let of_message = receiver
            .received()
            .into_iter()
            .filter(|webhook| webhook.json()["id"] == id);
        let ids: Vec<_> = of_message.map(|webhook| webhook.id).collect();
        assert_eq!(ids.len(), 3);
        assert!(
            ids.iter().all(|other| *other == ids[0]),
            "one id for all attempts: {ids:?}"
        );
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_acknowledges_fails_and_is_left_alone() {
    let receiver = WebhookReceiver::start(Behavior::Refuse(500)).await;
    let mut stacks = stacks(&receiver.url(), &[("TIDINGS_RETRY_SCHEDULE", "0s,50ms,100ms")]);
    while let Some(stack) = stacks.next().await {
        let id = stack.send_message(1).await;
        let message = stack.message_becomes(&id, "failed").await;
        assert_eq!(message["deliveredAt"], json!(null));
        let attempts = || {
            receiver
                .received()
                .into_iter()
                .filter(|webhook| webhook.json()["id"] == id)
                .count()
        };
        assert_eq!(attempts(), 3);

        // A receiver that comes back is noticed with the next message.
        receiver.set(Behavior::Acknowledge);
        let next = stack.send_message(2).await;
        stack.message_becomes(&next, "delivered").await;
        assert_eq!(attempts(), 3, "what failed is final");
        receiver.set(Behavior::Refuse(500));
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_hang_or_drip_are_given_up_at_the_deadline() {
    let settings = [
        ("TIDINGS_RETRY_SCHEDULE", "0s,50ms"),
        ("TIDINGS_ATTEMPT_TIMEOUT", "300ms"),
    ];
    for behavior in [|| Behavior::Hang, || Behavior::Drip] {
        let receiver = WebhookReceiver::start(behavior()).await;
        let mut stacks = stacks(&receiver.url(), &settings);
        while let Some(stack) = stacks.next().await {
            let id = stack.send_message(1).await;
            stack.message_becomes(&id, "failed").await;
            stack.finish().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_added_gets_the_events_it_asked_for_and_no_more() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let extra = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let types = "tidings.contact.created,tidings.message.delivered";
        let added = stack
            .run(&["endpoints", "add", &extra.url(), "--event-types", types])
            .await;
        assert!(added.status.success(), "{added:?}");
        let secret = added
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("secret  "))
            .unwrap()
            .to_owned();
        let endpoint = added
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("id      "))
            .unwrap()
            .to_owned();
        assert!(stack.run(&["endpoints", "list"]).await.stdout.contains(&endpoint));

        let before = extra.received().len();
        let id = stack.send_message(1).await;
        stack.message_becomes(&id, "delivered").await;
        let kinds = eventually("both events arrive", async || {
            let received = extra.received().split_off(before);
            let mut kinds: Vec<_> = received
                .iter()
                .map(|webhook| webhook.header("ce-type").unwrap().to_owned())
                .collect();
            kinds.sort();
            if kinds.len() >= 2 { Ok(kinds) } else { Err(kinds) }
        })
        .await;
        assert_eq!(kinds, ["tidings.contact.created", "tidings.message.delivered"]);
        let webhook = extra.received().pop().unwrap();
        let headers = ReceivedHeaders::from_lookup(|name| webhook.header(name));
        let sent_at = webhook.header("webhook-timestamp").unwrap().parse().unwrap();
        verify(&headers, &webhook.body, &[Secret::from_text(&secret).unwrap()], sent_at).unwrap();

        assert!(stack.run(&["endpoints", "remove", &endpoint]).await.status.success());
        assert!(
            !stack.run(&["endpoints", "remove", "default"]).await.status.success(),
            "the default one stays"
        );
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receiver_that_hangs_delays_no_other() {
    let healthy = WebhookReceiver::start(Behavior::Acknowledge).await;
    let hanging = WebhookReceiver::start(Behavior::Hang).await;
    let mut stacks = stacks(&healthy.url(), &[("TIDINGS_ATTEMPT_TIMEOUT", "20s")]);
    while let Some(mut stack) = stacks.next().await {
        let tried = hanging.received().len();
        assert!(stack.run(&["endpoints", "add", &hanging.url()]).await.status.success());
        let mut ids = Vec::new();
        for number in 0..100 {
            ids.push(stack.send_message(number).await);
        }
        for id in &ids {
            stack.message_becomes(id, "delivered").await;
        }
        assert!(hanging.received().len() > tried, "it was tried");
        // What hangs is still owed; the stack ends all the same, and in time.
        let asked = std::time::Instant::now();
        stack.stop().await;
        assert!(asked.elapsed() < Duration::from_secs(25));
    }
}
