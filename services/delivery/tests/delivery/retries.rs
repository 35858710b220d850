use std::time::Duration;

use tidings_domain::{AttemptResult, EndpointId, EndpointState, MessageStatus};
use tidings_testkit::{Behavior, WebhookReceiver, eventually};

use crate::stage::{AMPLE, Stage, on_each_database};

/// Sends one message to a receiver that never acknowledges it; answers the attempts made.
async fn all_in_vain(stage: &Stage, behavior: Behavior, attempt_timeout: Duration) -> Vec<AttemptResult> {
    let receiver = WebhookReceiver::start(behavior).await;
    stage.default_endpoint(&receiver.url()).await;
    let service = stage.run_with(stage.db.clone(), "0s,50ms,100ms", attempt_timeout);
    let (message, event) = stage.send().await;
    stage.message_becomes(message.id, MessageStatus::Failed).await;
    service.stop().await;
    assert_eq!(
        stage.history(&message.id.to_string()).await,
        ["tidings.message.queued", "tidings.message.failed"]
    );
    assert_eq!(stage.deliveries().await, "failed 1");
    // Every attempt under the same id.
    assert_eq!(receiver.counts().into_values().collect::<Vec<_>>(), [3]);
    let attempts = stage.attempts(event, &EndpointId::default_endpoint()).await;
    assert_eq!(
        attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(attempts.is_sorted_by_key(|attempt| attempt.started_at));
    attempts.into_iter().map(|attempt| attempt.result).collect()
}

fn timed_out(result: &AttemptResult) -> bool {
    matches!(result, AttemptResult::Unanswered { error } if error.contains("within 300ms"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_at_first_gets_it_again() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::RefuseFirst(2, 500)).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run("0s,50ms,100ms");
        let (message, event) = stage.send().await;
        let delivered = stage.message_becomes(message.id, MessageStatus::Delivered).await;
        let attempts = stage.attempts(event, &EndpointId::default_endpoint()).await;
        assert_eq!(attempts.len(), 3);
        assert_eq!(delivered.delivered_at, Some(attempts[2].started_at));
        assert!(matches!(&attempts[0].result, AttemptResult::Answered { status: 500, body, .. } if body == "not yet"));
        let pause = attempts[2].started_at - attempts[1].started_at;
        assert!(pause.num_milliseconds() >= 90, "{pause}");
        assert_eq!(receiver.counts().into_values().collect::<Vec<_>>(), [3]);
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_fails_when_the_schedule_is_spent() {
    on_each_database(async |stage| {
        for result in all_in_vain(&stage, Behavior::Refuse(500), AMPLE).await {
            assert!(matches!(result, AttemptResult::Answered { status: 500, body, .. } if body == "refused"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_or_drips_does_not_acknowledge() {
    on_each_database(async |stage| {
        let short = Duration::from_millis(300);
        assert!(all_in_vain(&stage, Behavior::Hang, short).await.iter().all(timed_out));
    })
    .await;
    on_each_database(async |stage| {
        let short = Duration::from_millis(300);
        assert!(all_in_vain(&stage, Behavior::Drip, short).await.iter().all(timed_out));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_refusal() {
    on_each_database(async |stage| {
        let other = WebhookReceiver::start(Behavior::Acknowledge).await;
        let redirect = Behavior::With(307, "location", other.url());
        for result in all_in_vain(&stage, redirect, AMPLE).await {
            assert!(matches!(result, AttemptResult::Answered { status: 307, .. }));
        }
        assert!(other.received().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        let addr = receiver.addr();
        stage.default_endpoint(&receiver.url()).await;
        receiver.stop().await;
        let service = stage.run("0s,50ms,50ms,50ms,200ms,500ms,1s,2s,4s");
        let (message, event) = stage.send().await;
        let first = eventually("an attempt is made", async || {
            let mut attempts = stage.attempts(event, &EndpointId::default_endpoint()).await;
            if attempts.is_empty() {
                Err("none")
            } else {
                Ok(attempts.remove(0))
            }
        })
        .await;
        assert!(matches!(first.result, AttemptResult::Unanswered { .. }));
        let _back = WebhookReceiver::start_at(addr, Behavior::Acknowledge).await;
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        service.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_may_ask_to_be_left_alone_for_as_long_as_the_schedule_knows() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::With(429, "retry-after", "3600".into())).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run("0s,10ms,1s");
        let (message, event) = stage.send().await;
        stage.message_becomes(message.id, MessageStatus::Failed).await;
        service.stop().await;
        let attempts = stage.attempts(event, &EndpointId::default_endpoint()).await;
        // Not the 10 ms of the schedule, and not the hour that was asked for.
        let pause = attempts[1].started_at - attempts[0].started_at;
        assert!(pause.num_milliseconds() >= 1000, "{pause}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled() {
    on_each_database(async |stage| {
        let (default, gone) = (
            WebhookReceiver::start(Behavior::Acknowledge).await,
            WebhookReceiver::start(Behavior::Refuse(410)).await,
        );
        stage.default_endpoint(&default.url()).await;
        let endpoint = stage.endpoint(&gone.url()).await;
        let service = stage.run("0s,50ms,100ms");
        let (message, event) = stage.send().await;
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        stage.deliveries_become("delivered 1, failed 1").await;
        assert_eq!(stage.attempts(event, &endpoint.id).await.len(), 1);
        assert_eq!(
            stage.history(endpoint.id.as_str()).await,
            ["tidings.webhook-endpoint.created", "tidings.webhook-endpoint.disabled"]
        );
        let found = tidings_delivery::endpoints::list(&stage.db).await.unwrap();
        let found = found.into_iter().find(|found| found.id == endpoint.id).unwrap();
        assert_eq!(found.state, EndpointState::Disabled);
        // It is owed nothing more.
        let (next, _) = stage.send().await;
        stage.message_becomes(next.id, MessageStatus::Delivered).await;
        service.stop().await;
        assert_eq!(stage.deliveries().await, "delivered 2, failed 1");
        assert_eq!(gone.received().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_endpoint_is_never_disabled() {
    on_each_database(async |stage| {
        for result in all_in_vain(&stage, Behavior::Refuse(410), AMPLE).await {
            assert!(matches!(result, AttemptResult::Answered { status: 410, .. }));
        }
        let found = tidings_delivery::endpoints::list(&stage.db).await.unwrap();
        assert_eq!(found[0].state, EndpointState::Enabled);
        assert!(found[0].failing_since.is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_has_failed_for_days_is_disabled_and_one_that_works_is_forgiven() {
    on_each_database(async |stage| {
        let (default, failing, recovered) = (
            WebhookReceiver::start(Behavior::Acknowledge).await,
            WebhookReceiver::start(Behavior::Refuse(500)).await,
            WebhookReceiver::start(Behavior::Acknowledge).await,
        );
        stage.default_endpoint(&default.url()).await;
        let failing = stage.endpoint(&failing.url()).await;
        let recovered = stage.endpoint(&recovered.url()).await;
        let since = (stage.clock.now() - chrono::TimeDelta::days(6)).to_rfc3339();
        stage
            .database
            .tamper(&format!("UPDATE webhook_endpoints SET failing_since = '{since}'"))
            .await;
        let service = stage.run("0s,50ms");
        stage.send().await;
        let found = eventually("one is disabled", async || {
            let found = tidings_delivery::endpoints::list(&stage.db).await.unwrap();
            let disabled = |id| {
                found
                    .iter()
                    .any(|it| &it.id == id && it.state == EndpointState::Disabled)
            };
            let forgiven = found
                .iter()
                .any(|it| it.id == recovered.id && it.failing_since.is_none());
            if disabled(&failing.id) && forgiven {
                Ok(found)
            } else {
                Err(found)
            }
        })
        .await;
        let enabled = found.iter().filter(|it| it.state == EndpointState::Enabled);
        assert_eq!(enabled.count(), 2);
        // What it is still owed waits.
        stage.deliveries_become("delivered 2, pending 1").await;
        service.stop().await;
        assert_eq!(
            stage.history(failing.id.as_str()).await,
            ["tidings.webhook-endpoint.created", "tidings.webhook-endpoint.disabled"]
        );
    })
    .await;
}
