use std::time::Duration;

use tidings_domain::{Clock, Notification, NotificationStatus};
use tidings_events::Origin;
use tidings_storage::Error;
use tidings_storage::notifications::{self as rows, LEASE, Outcome, Verdict, WORTH_SENDING};
use tidings_testkit::databases;

use super::{EMAIL, SMS, claim, claim_one, notice, notify, published, settle, user};
use crate::CLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_attempts_is_recorded_with_its_event() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let asked = notify(db, vec![notice(&user, "hello")]).await.pop().unwrap();
        let lease = claim_one(db).await;
        assert_eq!(lease.notification, asked, "{}", test.name);
        let retried = settle(db, &lease, Verdict::Retry(Duration::from_secs(3600)), "503 \0busy")
            .await
            .unwrap();
        let expected = Notification {
            attempts: 1,
            answer: Some("503 \u{fffd}busy".to_owned()),
            ..asked.clone()
        };
        assert_eq!(retried, expected, "{}", test.name);
        assert_eq!(published(db).await.len(), 1, "{}: not an event", test.name);
        assert_eq!(claim(db, EMAIL, 10).await.len(), 0, "{}: not yet", test.name);
        let next = rows::next_due(db.read(), EMAIL).await.unwrap().unwrap();
        assert!((3500..=3600).contains(&next.as_secs()), "{}: {next:?}", test.name);

        test.tamper("UPDATE notifications SET due_at = '2001-01-01T00:00:00+00:00'")
            .await;
        let lease = claim_one(db).await;
        let at = CLOCK.now();
        let sent = settle(db, &lease, Verdict::Sent(at), "200").await.unwrap();
        let expected = Notification {
            status: NotificationStatus::Sent,
            attempts: 2,
            answer: Some("200".to_owned()),
            sent_at: Some(at),
            version: 2,
            ..asked
        };
        assert_eq!(sent, expected, "{}", test.name);
        assert_eq!(
            rows::find(db.read(), sent.id).await.unwrap().as_ref(),
            Some(&sent),
            "{}",
            test.name
        );
        assert_eq!(
            settle(db, &lease, Verdict::Failed, "").await,
            None,
            "{}: once",
            test.name
        );
        assert_eq!(claim(db, EMAIL, 10).await.len(), 0, "{}", test.name);
        assert_eq!(rows::next_due(db.read(), EMAIL).await.unwrap(), None, "{}", test.name);

        notify(db, vec![notice(&user, "hello")]).await;
        let failed = settle(db, &claim_one(db).await, Verdict::Failed, "400").await.unwrap();
        assert_eq!(
            (failed.status, failed.sent_at),
            (NotificationStatus::Failed, None),
            "{}",
            test.name
        );

        let events: Vec<_> = published(db).await;
        let seen: Vec<_> = events
            .iter()
            .map(|event| (&event.key, &event.event_type[21..], event.sequence))
            .collect();
        let (sent, failed) = (sent.id.to_string(), failed.id.to_string());
        assert_eq!(
            seen,
            [
                (&sent, "requested", 1),
                (&sent, "sent", 2),
                (&failed, "requested", 1),
                (&failed, "failed", 2)
            ],
            "{}",
            test.name
        );
        assert_eq!(events[1].origin.service, "notifier", "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_said_to_be() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        notify(db, vec![notice(&user, "old"), notice(&user, "young")]).await;
        let age = async |message: &str, age: Duration| {
            let at = (CLOCK.now() - age).to_rfc3339();
            let sql = format!("UPDATE notifications SET created_at = '{at}' WHERE message = '{message}'");
            assert_eq!(test.tamper(&sql).await, 1);
        };
        age("old", WORTH_SENDING + Duration::from_secs(5)).await;
        age("young", WORTH_SENDING - Duration::from_secs(3600)).await;
        let claimed = claim(db, EMAIL, 2).await;
        let expired: Vec<_> = claimed
            .iter()
            .map(|lease| (lease.notification.message.as_str(), lease.expired))
            .collect();
        assert_eq!(expired, [("old", true), ("young", false)], "{}", test.name);

        // Nothing was tried.
        let lease = claimed[0].clone();
        let outcome = Outcome {
            attempted: false,
            answer: "not sent within 24 h".to_owned(),
            verdict: Verdict::Failed,
        };
        let settling = db.write::<_, Error, _>(move |tx| {
            Box::pin(async move { rows::settle(tx, &lease, &outcome, &Origin::own("notifier", &CLOCK), &CLOCK).await })
        });
        let failed = settling.await.unwrap().unwrap();
        assert_eq!(
            (failed.status, failed.attempts),
            (NotificationStatus::Failed, 0),
            "{}",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_is_what_is_still_to_be_sent() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let look = async |channel| rows::backlog(db.read(), channel).await.unwrap();
        assert_eq!(
            (look(EMAIL).await.pending, look(EMAIL).await.lag_seconds),
            (0, 0.0),
            "{}",
            test.name
        );
        notify(
            db,
            vec![notice(&user, "one"), notice(&user, "two"), notice(&user, "three")],
        )
        .await;
        let [one, two, _] = &claim(db, EMAIL, 3).await[..] else {
            panic!("{}: all are due", test.name)
        };
        settle(db, one, Verdict::Sent(CLOCK.now()), "200").await.unwrap();
        settle(db, two, Verdict::Retry(LEASE), "503").await.unwrap();
        assert_eq!(
            (look(EMAIL).await.pending, look(SMS).await.pending),
            (2, 0),
            "{}",
            test.name
        );
        test.tamper("UPDATE notifications SET due_at = '2001-01-01T00:00:00+00:00'")
            .await;
        assert!(look(EMAIL).await.lag_seconds > 1e8, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_is_dropped_when_its_time_is_over_and_what_is_to_be_sent_is_not() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let asked = notify(db, (0..4).map(|_| notice(&user, "hello")).collect()).await;
        for (lease, verdict) in claim(db, EMAIL, 10).await.iter().zip([
            Verdict::Sent(CLOCK.now()),
            Verdict::Failed,
            Verdict::Retry(Duration::ZERO),
            Verdict::Sent(CLOCK.now()),
        ]) {
            settle(db, lease, verdict, "").await.unwrap();
        }
        let expire = async |days: i64| {
            let now = CLOCK.now() + chrono::TimeDelta::days(days);
            let expiring = db.write::<_, Error, _>(move |tx| Box::pin(rows::expire(tx, now, 2)));
            expiring.await.unwrap()
        };
        assert_eq!(expire(59).await, 0, "{}", test.name);
        assert_eq!(expire(61).await, 2, "{}: some at a time", test.name);
        assert_eq!(expire(61).await, 1, "{}", test.name);
        assert_eq!(expire(61).await, 0, "{}", test.name);
        let kept = rows::list(db.read(), rows::NotificationFilter::default(), 10)
            .await
            .unwrap();
        let kept: Vec<_> = kept.into_iter().map(|kept| kept.id).collect();
        assert_eq!(kept, [asked[2].id], "{}: it is still to be sent", test.name);
    }
}
