use std::collections::BTreeSet;
use std::time::Duration;

use tidings_domain::{Clock, Notification, Route};
use tidings_storage::Error;
use tidings_storage::notifications::{self as rows, Notice, Verdict};
use tidings_testkit::databases;

use super::{EMAIL, SMS, claim, claim_one, notice, notify, published, settle, user};
use crate::CLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_is_claimed_by_one() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let text = Notice {
            wanted: SMS,
            route: Route {
                channel: SMS,
                ..Route::to(&user, SMS)
            },
            ..notice(&user, "a text")
        };
        let mut notices: Vec<_> = (0..50).map(|number| notice(&user, &number.to_string())).collect();
        notices.push(text);
        notify(db, notices).await;
        let mut claims = tokio::task::JoinSet::new();
        for db in [db.clone(), test.reopen().await, db.clone()] {
            claims.spawn(async move {
                let mut claimed = Vec::new();
                loop {
                    match claim(&db, EMAIL, 7).await {
                        more if more.is_empty() => return claimed,
                        more => {
                            assert!(more.len() <= 7, "{}", more.len());
                            claimed.extend(more);
                        }
                    }
                }
            });
        }
        let claimed: Vec<_> = claims.join_all().await.into_iter().flatten().collect();
        let distinct: BTreeSet<_> = claimed.iter().map(|lease| lease.notification.id).collect();
        assert_eq!((claimed.len(), distinct.len()), (50, 50), "{}", test.name);
        assert!(
            claimed
                .iter()
                .all(|lease| lease.notification.route.channel == EMAIL && !lease.expired)
        );
        assert_eq!(claim(db, SMS, 7).await.len(), 1, "{}: each channel its own", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_due_comes_first() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let asked = notify(db, (0..3).map(|number| notice(&user, &number.to_string())).collect()).await;
        let due = |at: &str, which: &Notification| {
            let id = match test.name {
                "PostgreSQL" => format!("'{}'", which.id),
                _ => format!("x'{}'", which.id.as_uuid().simple()),
            };
            format!("UPDATE notifications SET due_at = '{at}' WHERE id = {id}")
        };
        assert_eq!(
            test.tamper(&due("2001-01-02T00:00:00+00:00", &asked[0])).await,
            1,
            "{}",
            test.name
        );
        test.tamper(&due("2001-01-01T00:00:00+00:00", &asked[2])).await;
        for expected in [&asked[2], &asked[0], &asked[1]] {
            let [lease] = &claim(db, EMAIL, 1).await[..] else {
                panic!("{}: one is due", test.name)
            };
            assert_eq!(&lease.notification, expected, "{}", test.name);
        }
        assert_eq!(claim(db, EMAIL, 1).await.len(), 0, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_with_one_notification_the_later_lease_is_heard() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        notify(db, vec![notice(&user, "hello")]).await;
        let slow = claim_one(db).await;
        assert_eq!(claim(db, EMAIL, 1).await.len(), 0, "{}", test.name);
        test.tamper("UPDATE notifications SET leased_until = '2001-01-01T00:00:00+00:00'")
            .await;
        let heir = claim_one(db).await;
        assert_eq!(
            settle(db, &slow, Verdict::Sent(CLOCK.now()), "200").await,
            None,
            "{}: too late",
            test.name
        );
        let late = slow.clone();
        db.write(move |tx| Box::pin(async move { rows::release(tx, &late).await }))
            .await
            .unwrap();
        assert_eq!(
            claim(db, EMAIL, 1).await.len(),
            0,
            "{}: not theirs to give back",
            test.name
        );
        let found = rows::find(db.read(), heir.notification.id).await.unwrap().unwrap();
        assert_eq!(
            (found.attempts, found.answer),
            (0, None),
            "{}: nothing was recorded",
            test.name
        );
        let sent = settle(db, &heir, Verdict::Sent(CLOCK.now()), "200").await.unwrap();
        assert_eq!((sent.attempts, sent.version), (1, 2), "{}", test.name);
        assert_eq!(published(db).await.len(), 2, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_can_be_given_back_and_cleared() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        notify(db, vec![notice(&user, "one"), notice(&user, "two")]).await;
        let leases = claim(db, EMAIL, 2).await;
        assert_eq!(rows::next_due(db.read(), EMAIL).await.unwrap(), None, "{}", test.name);
        let lease = leases[0].clone();
        db.write(move |tx| Box::pin(async move { rows::release(tx, &lease).await }))
            .await
            .unwrap();
        assert_eq!(
            rows::next_due(db.read(), EMAIL).await.unwrap(),
            Some(Duration::ZERO),
            "{}",
            test.name
        );
        assert_eq!(claim(db, EMAIL, 2).await.len(), 1, "{}", test.name);
        let cleared = db
            .write::<_, Error, _>(|tx| Box::pin(rows::clear_leases(tx)))
            .await
            .unwrap();
        assert_eq!(cleared, 2, "{}", test.name);
        assert_eq!(claim(db, EMAIL, 2).await.len(), 2, "{}", test.name);
    }
}
