use bytes::Bytes;
use serde_json::json;
use tidings_domain::{ChannelName, NotificationStatus};
use tidings_notifier::{GROUP, ReplayError, replay};
use tidings_storage::dead_letters;
use tidings_testkit::eventually;

use crate::stage::{EXOME, on_each_database};

const PLACED: &str = "Hi Odile Deray, your order has been successfully placed.";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_told_by_the_channel_it_names() {
    on_each_database(async |stage| {
        let service = stage.run("0s,50ms");
        let user = stage.user(Some("+41791234567")).await;
        let (order, _) = stage.order(&user, EXOME, ChannelName::Sms).await;
        let told = stage.it_becomes(NotificationStatus::Sent).await;
        assert_eq!((told.order, told.user, told.attempts), (Some(order.id), user.id, 1));
        assert_eq!(told.route.fallback, None);
        assert!(told.sent_at.is_some() && told.answer.unwrap().starts_with("200"));

        let [call] = &stage.sms.calls()[..] else {
            panic!("{:?}", stage.sms.calls());
        };
        assert_eq!(call.json(), json!({"recipient": "+41791234567", "message": PLACED}));
        assert_eq!(call.header("authorization"), Some("Bearer a token"));
        assert_eq!(call.id, told.id.to_string());
        assert!(call.header("x-correlation-id").is_some() && call.header("traceparent").is_some());

        stage.order(&user, "targeted-sequencing", ChannelName::Email).await;
        stage.all_become(2, NotificationStatus::Sent).await;
        let [call] = &stage.email.calls()[..] else {
            panic!("{:?}", stage.email.calls());
        };
        assert_eq!(
            call.json(),
            json!({"recipient": user.email.as_str(), "message": PLACED})
        );
        service.stop().await;
        assert_eq!(
            stage.history(&told.id.to_string()).await,
            ["tidings.notification.requested", "tidings.notification.sent"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_phone_is_written_to_and_the_notification_says_so() {
    on_each_database(async |stage| {
        let service = stage.run("0s,50ms");
        let user = stage.user(None).await;
        stage.order(&user, EXOME, ChannelName::Sms).await;
        let told = stage.it_becomes(NotificationStatus::Sent).await;
        assert_eq!(
            (told.wanted, told.route.channel),
            (ChannelName::Sms, ChannelName::Email)
        );
        assert_eq!(told.route.fallback.as_deref(), Some("the user has no phone number"));
        assert_eq!(stage.email.calls().len(), 1);
        service.stop().await;
        assert_eq!(stage.sms.calls().len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_elsewhere_is_sent_as_it_is() {
    on_each_database(async |stage| {
        let service = stage.run("0s,50ms");
        let user = stage.user(Some("+41791234567")).await;
        let words = "Hi {{ user_name }} <b>& \"Grüezi\" 👋";
        let asked = stage.notify(&user, words, ChannelName::Sms).await;
        let told = stage.it_becomes(NotificationStatus::Sent).await;
        assert_eq!((told.id, told.order), (asked.id, None));
        assert_eq!(stage.sms.calls()[0].json()["message"], words);
        // The same words again are another notification.
        stage.notify(&user, words, ChannelName::Sms).await;
        stage.all_become(2, NotificationStatus::Sent).await;
        service.stop().await;
        assert_eq!(stage.sms.counts().into_values().collect::<Vec<_>>(), [1, 1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_deleted_is_not_told() {
    on_each_database(async |stage| {
        let user = stage.user(Some("+41791234567")).await;
        stage.order(&user, EXOME, ChannelName::Sms).await;
        stage.delete(&user).await;
        let service = stage.run("0s,50ms");
        let told = stage.it_becomes(NotificationStatus::Failed).await;
        assert_eq!(told.answer.as_deref(), Some("the user was deleted"));
        assert_eq!((told.attempts, told.route.recipient), (0, None));
        service.stop().await;
        assert!(stage.sms.calls().is_empty() && stage.email.calls().is_empty());
        assert_eq!(
            stage.history(&told.id.to_string()).await,
            ["tidings.notification.requested", "tidings.notification.failed"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_once_however_often_it_is_read() {
    on_each_database(async |stage| {
        let user = stage.user(None).await;
        let (_, event) = stage.order(&user, "other", ChannelName::Email).await;
        let record = stage.record_of(event).await;
        let again = async || replay(&stage.db, &stage.clock, &record).await.unwrap();
        assert_eq!(again().await, 1);
        assert_eq!(again().await, 0);
        let service = stage.run("0s,50ms");
        stage.it_becomes(NotificationStatus::Sent).await;
        // Its own record was read by then, or is handled before this one.
        stage.order(&user, "other", ChannelName::Email).await;
        stage.all_become(2, NotificationStatus::Sent).await;
        service.stop().await;
        assert_eq!(stage.email.counts().into_values().collect::<Vec<_>>(), [1, 1]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_told_is_set_aside_and_the_others_go_on() {
    on_each_database(async |mut stage| {
        let user = stage.user(None).await;
        stage.stop_relay().await;
        stage.order(&user, "other", ChannelName::Email).await;
        let (bad, _) = stage.order(&user, "other", ChannelName::Email).await;
        let payload = json!({"action": "create", "data": {}});
        let sql = format!("UPDATE events SET payload = '{payload}' WHERE key = '{}'", bad.id);
        assert_eq!(stage.database.tamper(&sql).await, 1);
        stage.start_relay();
        let service = stage.run("0s,50ms");
        let letter = eventually("one is set aside", async || {
            let letters = dead_letters::list(stage.db.read(), 10).await.unwrap();
            letters.into_iter().next().ok_or("none")
        })
        .await;
        assert_eq!(letter.consumer, GROUP);
        assert!(letter.reason.contains("user_id"), "{}", letter.reason);
        stage.it_becomes(NotificationStatus::Sent).await;
        service.stop().await;

        let refused = replay(&stage.db, &stage.clock, &letter.record).await.unwrap_err();
        assert!(matches!(refused, ReplayError::Rejected(_)), "{refused}");
        let mut mended = letter.record.clone();
        mended.value = Some(Bytes::from(format!(
            r#"{{"action":"create","data":{{"user_id":{}}}}}"#,
            user.id
        )));
        assert_eq!(replay(&stage.db, &stage.clock, &mended).await.unwrap(), 1);
    })
    .await;
}
