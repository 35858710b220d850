use std::collections::BTreeSet;

use tidings_domain::{EventId, Notification, NotificationId, NotificationStatus, NotificationText, Route};
use tidings_storage::notifications::{self as rows, Cause, Notice, NotificationFilter};
use tidings_testkit::databases;

use super::{EMAIL, SMS, because, claim, notice, notify, published, user};
use crate::CLOCK;
use crate::orders::place;
use crate::users::{add, new};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_once_by_each_rule_and_channel() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let (one, other) = (EventId::generate(&CLOCK), EventId::generate(&CLOCK));
        let told = |event, rule, wanted| Notice {
            wanted,
            route: Route::to(&user, wanted),
            cause: because(event, rule),
            ..notice(&user, "hello")
        };
        let first = notify(
            db,
            vec![told(one, "a", EMAIL), told(one, "a", EMAIL), told(other, "a", EMAIL)],
        )
        .await;
        assert_eq!(first.len(), 2, "{}: twice in one call", test.name);
        assert_eq!(
            notify(db, vec![told(one, "a", EMAIL)]).await,
            [],
            "{}: again",
            test.name
        );
        // What is wanted counts, not the way that is taken instead.
        let more = notify(
            db,
            vec![told(other, "a", EMAIL), told(one, "a", SMS), told(one, "b", EMAIL)],
        )
        .await;
        assert_eq!(more.len(), 2, "{}", test.name);
        assert_eq!((more[0].wanted, more[0].route.channel), (SMS, EMAIL), "{}", test.name);

        // Two who tell the same at the same time.
        let both = (EventId::generate(&CLOCK), test.reopen().await);
        let (here, there) = tokio::join!(
            notify(db, vec![told(both.0, "a", EMAIL)]),
            notify(&both.1, vec![told(both.0, "a", EMAIL)])
        );
        assert_eq!(here.len() + there.len(), 1, "{}", test.name);

        let events = published(db).await;
        let told = [first, more, here, there].concat();
        let told: BTreeSet<_> = told.iter().map(|notification| notification.id.to_string()).collect();
        assert_eq!(
            events.iter().map(|event| event.key.clone()).collect::<BTreeSet<_>>(),
            told,
            "{}",
            test.name
        );
        assert_eq!(events.len(), 5, "{}", test.name);
        assert!(
            events
                .iter()
                .all(|event| event.event_type == "tidings.notification.requested" && event.sequence == 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_directly_is_told_each_time() {
    for test in databases().await {
        let (db, user) = (&test.db, user(&test.db).await);
        let asked = [
            notify(db, vec![notice(&user, "hello")]).await,
            notify(db, vec![notice(&user, "hello")]).await,
        ];
        let [first, second] = asked.map(|mut asked| asked.pop().unwrap());
        assert_ne!(first.id, second.id, "{}", test.name);
        let expected = Notification {
            id: first.id,
            user: user.id,
            order: None,
            wanted: EMAIL,
            route: Route::to(&user, EMAIL),
            subject: "About".to_owned(),
            message: NotificationText::parse("hello").unwrap(),
            status: NotificationStatus::Requested,
            attempts: 0,
            answer: None,
            created_at: first.created_at,
            sent_at: None,
            version: 1,
        };
        assert_eq!(first, expected, "{}", test.name);
        assert_eq!(
            rows::find(db.read(), first.id).await.unwrap(),
            Some(first),
            "{}",
            test.name
        );
        let nothing = rows::find(db.read(), NotificationId::generate(&CLOCK)).await.unwrap();
        assert_eq!(nothing, None, "{}", test.name);
        assert_eq!(notify(db, vec![]).await, [], "{}", test.name);

        // For somebody who was deleted before they could be told.
        let nowhere = Notice {
            route: Route::nowhere(EMAIL),
            ..notice(&user, "hello")
        };
        let told = notify(db, vec![nowhere]).await;
        assert_eq!(
            rows::find(db.read(), told[0].id)
                .await
                .unwrap()
                .unwrap()
                .route
                .recipient,
            None,
            "{}",
            test.name
        );
        assert_eq!(claim(db, EMAIL, 10).await.len(), 3, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_are_listed_of_a_user_or_an_order() {
    for test in databases().await {
        let (db, serge) = (&test.db, user(&test.db).await);
        let odile = add(db, new("Odile", "Deray", "odile@example.com")).await.unwrap();
        let (order, event) = place(db, &serge, "Zürich").await;
        let about = Notice {
            cause: Some(Cause {
                event,
                rule: "order-placed",
                order: Some(order.id),
            }),
            ..notice(&serge, "about the order")
        };
        for notice in [
            notice(&serge, "one"),
            about,
            notice(&odile, "two"),
            notice(&serge, "three"),
        ] {
            notify(db, vec![notice]).await;
        }
        let list = async |user, order, limit| {
            let listed = rows::list(db.read(), NotificationFilter { user, order }, limit)
                .await
                .unwrap();
            listed
                .into_iter()
                .map(|notification| notification.message.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            list(None, None, 3).await,
            ["three", "two", "about the order"],
            "{}",
            test.name
        );
        assert_eq!(
            list(Some(serge.id), None, 9).await,
            ["three", "about the order", "one"],
            "{}",
            test.name
        );
        assert_eq!(
            list(None, Some(order.id), 9).await,
            ["about the order"],
            "{}",
            test.name
        );
        assert_eq!(list(Some(odile.id), Some(order.id), 9).await, [""; 0], "{}", test.name);
    }
}
