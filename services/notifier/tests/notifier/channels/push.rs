use serde_json::json;
use tidings_domain::ChannelName;
use tidings_notifier::channels::{self, HttpProvider, Providers};
use tidings_testkit::{Behavior, ProviderSink};

use super::{AMPLE, failed, letter, providers};

#[tokio::test]
async fn a_push_message_is_published_on_the_topic_of_its_user() {
    let sink = ProviderSink::start("tk_s3cret", Behavior::RefuseFirst(1, 507)).await;
    let provider = HttpProvider {
        url: sink.url().into(),
        token: "tk_s3cret".into(),
    };
    let channels = channels::open(Providers {
        push: Some(provider),
        ..providers()
    });
    let push = channels.unwrap()[&ChannelName::Push].clone();
    let letter = letter("user-7");
    let full = failed(push.send(&letter, AMPLE).await, true);
    assert!(full.starts_with("507"), "{full}");
    push.send(&letter, AMPLE).await.unwrap();
    let calls = sink.calls();
    assert_eq!(
        calls[1].json(),
        json!({"topic": "user-7", "title": letter.subject, "message": letter.message})
    );
    assert_eq!(calls[1].header("authorization"), Some("Bearer tk_s3cret"));
    assert_eq!(sink.counts(), [(letter.id.to_string(), 2)].into());
}
