//! Power failures at the worst moments. After each: nothing that was acknowledged is gone, and what
//! was sent again came under the same key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tidings_storage::dead_letters;
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::stacks;

/// An address on which nothing listens.
fn nowhere() -> String {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_succeed_while_the_broker_is_away_and_are_published_after_a_crash() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[("KAFKA_BROKERS", &nowhere())]);
    while let Some(mut stack) = stacks.next().await {
        let mut ids = Vec::new();
        for number in 0..20 {
            ids.push(stack.send_message(number).await);
        }
        let (status, ready) = stack.get("/health/ready").await;
        assert_eq!(
            (status, &ready["checks"]["broker"]["status"]),
            (503, &json!("unavailable"))
        );
        // Committed, and by the nature of the broker not published.
        stack.kill().await;
        assert_eq!(
            receiver
                .received()
                .iter()
                .filter(|webhook| ids.contains(&id_of(webhook)))
                .count(),
            0
        );

        stack.set("KAFKA_BROKERS", None);
        stack.up().await;
        for id in &ids {
            stack.message_becomes(id, "delivered").await;
        }
        let arrived: Vec<_> = receiver
            .received()
            .iter()
            .map(id_of)
            .filter(|id| ids.contains(id))
            .collect();
        assert_eq!(arrived.len(), 20, "each once");
        stack.finish().await;
    }
}

fn id_of(webhook: &tidings_testkit::Received) -> String {
    webhook.json()["id"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_send_and_record_it_sends_again_under_the_same_key() {
    let receiver = WebhookReceiver::start(Behavior::Hang).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(mut stack) = stacks.next().await {
        let pid = stack.pid().to_string();
        let struck = Arc::new(AtomicBool::new(false));
        let once = struck.clone();
        receiver.set(Behavior::Then(Box::new(move |_| {
            // Arrived, and never recorded.
            if !once.swap(true, Ordering::SeqCst) {
                assert!(
                    std::process::Command::new("kill")
                        .args(["-KILL", &pid])
                        .status()
                        .unwrap()
                        .success()
                );
            }
        })));
        let id = stack.send_message(1).await;
        stack.killed().await;
        receiver.set(Behavior::Acknowledge);
        // On SQLite the process knows to be alone; on PostgreSQL another may hold the lease until it runs out.
        if stack.postgres() {
            stack
                .tamper("UPDATE deliveries SET leased_until = '2001-01-01T00:00:00+00:00'")
                .await;
        }
        stack.up().await;
        stack.message_becomes(&id, "delivered").await;
        let attempts: Vec<_> = receiver
            .received()
            .into_iter()
            .filter(|webhook| id_of(webhook) == id)
            .collect();
        let keys: BTreeSet<_> = attempts.iter().map(|webhook| webhook.id.clone()).collect();
        assert!(attempts.len() >= 2, "sent again");
        assert_eq!(keys.len(), 1, "under one key");
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_under_load_it_loses_nothing_that_it_acknowledged() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(mut stack) = stacks.next().await {
        let mut acknowledged = BTreeSet::new();
        for round in 0..5_u32 {
            for number in 0..15 {
                acknowledged.insert(stack.send_message(round * 1000 + number).await);
            }
            // One more is on its way in when the power goes; it may or may not have been taken.
            let body = json!({
                "from": "+41440000000",
                "to": { "name": "Unlucky", "phone": format!("+4178{round:07}") },
                "content": "in flight",
            });
            let client = stack.client().clone();
            let request = client
                .post(stack.url("/messages"))
                .bearer_auth("there-is-no-key")
                .json(&body);
            let in_flight = tokio::spawn(request.send());
            stack.kill().await;
            drop(in_flight.await);
            if stack.postgres() {
                stack
                    .tamper("UPDATE deliveries SET leased_until = '2001-01-01T00:00:00+00:00'")
                    .await;
                stack
                    .tamper("UPDATE relay_leases SET held_until = '2001-01-01T00:00:00+00:00'")
                    .await;
            }
            stack.up().await;
        }
        for id in &acknowledged {
            stack.message_becomes(id, "delivered").await;
        }
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for webhook in receiver.received() {
            keys.entry(id_of(&webhook)).or_default().insert(webhook.id);
        }
        for id in &acknowledged {
            assert_eq!(
                keys.get(id).map(BTreeSet::len),
                Some(1),
                "message {id} has one key at the receiver"
            );
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(mut stack) = stacks.next().await {
        let id = stack.send_message(1).await;
        let delivered = stack.message_becomes(&id, "delivered").await;
        let contacts = stack.get("/contacts").await;
        stack.settle().await;
        assert!(stack.stop().await.success());
        let before = receiver.received().len();
        stack.up().await;
        assert_eq!(stack.get(&format!("/messages/{id}")).await, (200, delivered));
        assert_eq!(stack.get("/contacts").await, contacts);
        let other = stack.send_message(2).await;
        stack.message_becomes(&other, "delivered").await;
        assert_eq!(receiver.received().len(), before + 1, "nothing is sent a second time");
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_outage_is_a_503_and_sets_nothing_aside() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let before = stack.send_message(1).await;
        stack.message_becomes(&before, "delivered").await;
        let outage = stack.outage().await;
        let body = json!({ "from": "+41440000000", "to": { "name": "A", "phone": "+41790000099" }, "content": "x" });
        let request = stack
            .client()
            .post(stack.url("/messages"))
            .bearer_auth("there-is-no-key")
            .json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        outage.end().await;
        let after = eventually("messages are taken again", async || {
            match stack.post("/messages", &body).await {
                (201, message) => Ok(message["id"].as_str().unwrap().to_owned()),
                other => Err(other),
            }
        })
        .await;
        stack.message_becomes(&after, "delivered").await;
        assert_eq!(dead_letters::count(stack.database().await.read()).await.unwrap(), 0);
        stack.finish().await;
    }
}
