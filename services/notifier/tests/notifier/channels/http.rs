use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tidings_domain::ChannelName;
use tidings_notifier::channels::{self, Again, Channel, EmailProvider, HttpProvider, Letter, Providers};
use tidings_testkit::{Behavior, ProviderSink};
use tokio::net::TcpListener;

use super::{AMPLE, SHORT, failed, held_to_loopback, letter, providers};

const TOKEN: &str = "s3cret-token";

fn provider(url: &str, token: &str) -> HttpProvider {
    HttpProvider {
        url: url.into(),
        token: token.into(),
    }
}

fn sms(url: &str, token: &str) -> Arc<dyn Channel> {
    let channels = channels::open(Providers {
        sms: Some(provider(url, token)),
        ..providers()
    });
    channels.unwrap()[&ChannelName::Sms].clone()
}

/// A provider that behaves like this, and a letter to hand to it.
async fn sink(behavior: Behavior) -> (ProviderSink, Arc<dyn Channel>, Letter) {
    let sink = ProviderSink::start(TOKEN, behavior).await;
    let channel = sms(&sink.url(), TOKEN);
    (sink, channel, letter("+41791234567"))
}

#[tokio::test]
async fn email_and_sms_are_handed_over_with_the_same_key_each_time() {
    let sink = ProviderSink::start(TOKEN, Behavior::Json(Box::new(|_| json!({"queued": true}).to_string()))).await;
    let url = sink.url();
    let channels = channels::open(Providers {
        email: Some(EmailProvider::Http(provider(&url, TOKEN))),
        sms: Some(provider(&url, TOKEN)),
        ..providers()
    });
    let channels = channels.unwrap();
    for (channel, recipient) in [
        (ChannelName::Email, "odile@example.com"),
        (ChannelName::Sms, "+41791234567"),
    ] {
        let letter = letter(recipient);
        for _ in 0..2 {
            let receipt = channels[&channel].send(&letter, AMPLE).await.unwrap();
            assert_eq!(receipt.answer, "200: {\"queued\":true}");
        }
        assert_eq!(sink.counts()[&letter.id.to_string()], 2);
        let calls = sink.calls();
        let call = calls.last().unwrap();
        assert_eq!(call.path, "/send");
        assert_eq!(call.json(), json!({"recipient": recipient, "message": letter.message}));
        assert_eq!(call.header("content-type"), Some("application/json"));
        assert_eq!(call.header("authorization"), Some("Bearer s3cret-token"));
        assert_eq!(
            call.header("x-correlation-id"),
            Some(letter.origin.correlation_id.as_str())
        );
        let trace = call.header("traceparent").unwrap();
        assert!(
            trace.contains(&letter.origin.traceparent.trace_id().to_string()),
            "{trace}"
        );
        assert_ne!(trace, letter.origin.traceparent.to_string());
    }
}

#[tokio::test]
async fn what_the_provider_answers_decides_whether_to_try_again() {
    let (sink, channel, letter) = sink(Behavior::Acknowledge).await;
    for (status, again) in [
        (301, true),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (408, true),
        (409, true),
        (410, false),
        (422, false),
        (425, true),
        (429, true),
        (500, true),
        (503, true),
    ] {
        sink.set(Behavior::Refuse(status));
        let answer = failed(channel.send(&letter, AMPLE).await, again);
        assert_eq!(answer, format!("{status}: refused"));
    }
    sink.set(Behavior::RefuseFirst(0, 500));
    assert_eq!(channel.send(&letter, AMPLE).await.unwrap().answer, "204");
}

#[tokio::test]
async fn a_provider_that_names_a_time_is_left_alone_until_then() {
    let (sink, channel, letter) = sink(Behavior::With(429, "Retry-After", "7".to_owned())).await;
    let failure = channel.send(&letter, AMPLE).await.unwrap_err();
    assert_eq!(failure.again, Again::Later(Some(Duration::from_secs(7))));
    assert_eq!(failure.answer, "429");
    sink.set(Behavior::With(400, "Retry-After", "7".to_owned()));
    assert_eq!(channel.send(&letter, AMPLE).await.unwrap_err().again, Again::Never);
}

#[tokio::test]
async fn a_provider_that_hangs_or_drips_ends_at_the_deadline() {
    for behavior in [Behavior::Hang, Behavior::Drip] {
        let (_sink, channel, letter) = sink(behavior).await;
        let begun = Instant::now();
        let answer = failed(channel.send(&letter, SHORT).await, true);
        assert!(begun.elapsed() >= SHORT && begun.elapsed() < AMPLE);
        assert_eq!(answer, "no complete answer from 127.0.0.1 within 300ms");
    }
}

#[tokio::test]
async fn a_provider_that_breaks_off_or_is_away_is_tried_again() {
    let (_sink, channel, letter) = sink(Behavior::BreakOff).await;
    let answer = failed(channel.send(&letter, AMPLE).await, true);
    assert!(answer.starts_with("the exchange with 127.0.0.1 broke off"), "{answer}");

    // Bound and dropped again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let channel = sms(&format!("http://127.0.0.1:{port}/?key=hidden"), TOKEN);
    let answer = failed(channel.send(&letter, AMPLE).await, true);
    assert!(answer.contains("refused") && !answer.contains("hidden"), "{answer}");
}

#[tokio::test]
async fn nothing_shows_a_token() {
    let (sink, channel, letter) = sink(Behavior::Json(Box::new(|call| {
        format!("you said {}", call.header("authorization").unwrap())
    })))
    .await;
    let receipt = channel.send(&letter, AMPLE).await.unwrap();
    assert_eq!(receipt.answer, "200: you said Bearer …");

    let wrong = sms(&format!("{}?key=hidden", sink.url()), "wrong-token");
    let answer = failed(wrong.send(&letter, AMPLE).await, false);
    assert_eq!(answer, "401: the token is missing or wrong");
    let shown = format!("{wrong:?} {:?}", provider("http://x/?key=hidden", "hidden"));
    assert!(!shown.contains("wrong-token") && !shown.contains("hidden"), "{shown}");

    let unfit = Providers {
        sms: Some(provider(&sink.url(), "hidden\n")),
        ..providers()
    };
    let refused = channels::open(unfit).unwrap_err().to_string();
    assert_eq!(refused, "SMS_PROVIDER_URL: its token does not fit into a header");
}

#[tokio::test]
async fn no_test_gets_to_a_provider_outside() {
    for host in ["8.8.8.8", "[2001:4860:4860::8888]", "provider.example"] {
        let channels = channels::open(Providers {
            sms: Some(provider(&format!("http://{host}/"), TOKEN)),
            resolver: held_to_loopback(),
            ..providers()
        });
        let channels = channels.unwrap();
        let answer = failed(
            channels[&ChannelName::Sms].send(&letter("+41791234567"), AMPLE).await,
            true,
        );
        assert!(answer.contains("outside the networks that may be reached"), "{answer}");
    }
}

#[test]
fn who_has_no_provider_has_no_channel() {
    assert!(channels::open(providers()).unwrap().is_empty());
}
