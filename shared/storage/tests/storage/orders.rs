use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_domain::{
    ChannelName, Clock, EventId, NotificationText, Order, OrderId, Route, SequencingType, ShippingInfo, ShippingLine,
    User,
};
use tidings_events::{OrderPlaced, Origin};
use tidings_storage::notifications::{Cause, Notice};
use tidings_storage::{Db, Error, notifications, orders as rows, outbox, users as people};
use tidings_testkit::databases;

use crate::CLOCK;
use crate::users::{add, new, phone, update};

fn order(user: &User, town: &str) -> Order {
    let line = |line: &str| ShippingLine::parse("line", line).unwrap();
    Order {
        id: OrderId::generate(&CLOCK),
        user: user.id,
        sequencing: SequencingType::parse("whole-exome-sequencing").unwrap(),
        shipping: ShippingInfo {
            delivery_name: line("Serge Karamazov"),
            first_line: line(" 12 Gloucester Road "),
            second_line: line(""),
            town: line(town),
            postcode: line("SW7 4TB"),
            country: line("  "),
        },
        channel: ChannelName::Sms,
        created_at: CLOCK.now(),
        version: 1,
    }
}

/// Places an order together with its event, as the application does.
pub async fn place(db: &Db, user: &User, town: &str) -> (Order, EventId) {
    let order = order(user, town);
    let placed = order.clone();
    let event = db
        .write::<_, Error, _>(move |tx| {
            Box::pin(async move {
                people::lock(tx, placed.user).await?.unwrap();
                rows::insert(tx, &placed).await?;
                outbox::enqueue(tx, &OrderPlaced(&placed), &Origin::own("test", &CLOCK), &CLOCK).await
            })
        })
        .await
        .unwrap();
    (order, event)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_kept_as_it_was_placed() {
    for test in databases().await {
        let db = &test.db;
        let serge = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        let odile = add(db, new("Odile", "Deray", "odile@example.com")).await.unwrap();
        let (first, _) = place(db, &serge, "Zürich").await;
        let (second, _) = place(db, &odile, &"é".repeat(255)).await;
        let (third, _) = place(db, &serge, "").await;
        for order in [&first, &second, &third] {
            let found = rows::find(db.read(), order.id).await.unwrap();
            assert_eq!(found.as_ref(), Some(order), "{}", test.name);
        }
        let nothing = rows::find(db.read(), OrderId::generate(&CLOCK)).await.unwrap();
        assert_eq!(nothing, None, "{}", test.name);
        let all = rows::list(db.read()).await.unwrap();
        assert_eq!(all, [first.clone(), second.clone(), third.clone()], "{}", test.name);
        let theirs = rows::of_user(db.read(), serge.id).await.unwrap();
        assert_eq!(theirs, [first, third], "{}", test.name);
        assert_eq!(
            rows::of_user(db.read(), odile.id).await.unwrap(),
            [second],
            "{}",
            test.name
        );

        let nobody = User { id: 99.into(), ..serge };
        let order = order(&nobody, "");
        let refused = db.write(move |tx| Box::pin(async move { rows::insert(tx, &order).await }));
        assert!(refused.await.is_err(), "{}: for nobody", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_with_their_orders() {
    for test in databases().await {
        let db = &test.db;
        assert_eq!(rows::by_user(db.read()).await.unwrap(), [], "{}", test.name);
        let mut users = Vec::new();
        for name in ["Serge", "Odile", "Simon", "Emile"] {
            let email = format!("{name}@example.com");
            users.push(add(db, new(name, "Karamazov", &email)).await.unwrap());
        }
        let (first, _) = place(db, &users[3], "one").await;
        let (second, _) = place(db, &users[0], "two").await;
        let (third, _) = place(db, &users[3], "three").await;
        place(db, &users[2], "of someone who is deleted").await;
        let changed = update(db, &users[0], phone(Some("+41791234567")))
            .await
            .unwrap()
            .unwrap();
        let id = users[2].id;
        let delete = db.write(move |tx| Box::pin(people::delete(tx, id, CLOCK.now())));
        delete.await.unwrap().unwrap();

        let expected = [
            (changed, vec![second]),
            (users[1].clone(), vec![]),
            (users[3].clone(), vec![first, third]),
        ];
        // In one query, however many there are.
        let queries = Arc::new(AtomicUsize::new(0));
        let (mut counted, count) = (db.read().clone(), queries.clone());
        counted.set_metric_callback(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(rows::by_user(&counted).await.unwrap(), expected, "{}", test.name);
        assert_eq!(queries.load(Ordering::Relaxed), 1, "{}", test.name);
        assert_eq!(
            rows::list(db.read()).await.unwrap().len(),
            4,
            "{}: orders stay",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_took_care_of_is_forgotten() {
    for test in databases().await {
        let db = &test.db;
        let user = add(db, new("Serge", "Karamazov", "serge@example.com")).await.unwrap();
        let (first, published) = place(db, &user, "published").await;
        let (told, told_event) = place(db, &user, "told").await;
        let (last, unpublished) = place(db, &user, "unpublished").await;
        let notice = Notice {
            user: user.id,
            wanted: told.channel,
            route: Route::to(&user, told.channel),
            subject: String::new(),
            message: NotificationText::parse("hello").unwrap(),
            cause: Some(Cause {
                event: told_event,
                rule: "order-placed",
                order: Some(told.id),
            }),
            origin: Origin::own("test", &CLOCK),
        };
        let notify = db.write(move |tx| Box::pin(notifications::notify(tx, vec![notice], &CLOCK)));
        assert_eq!(notify.await.unwrap().len(), 1, "{}", test.name);
        // The relay has published all but the last.
        test.tamper("DELETE FROM outbox WHERE id < 3").await;

        let (hour, now) = (Duration::from_secs(3600), Duration::ZERO);
        let look = async |age, until, after, limit| {
            let stretch = rows::look_through(db.read(), age, until, after, limit).await.unwrap();
            (stretch.last, stretch.settled, stretch.forgotten)
        };
        let (last, none) = (Some(last.id), vec![]);
        assert_eq!(
            look(now, hour, None, 100).await,
            (last, None, vec![published]),
            "{}",
            test.name
        );
        assert_eq!(
            look(hour, 2 * hour, None, 100).await,
            (None, None, none.clone()),
            "{}: too young",
            test.name
        );
        assert_eq!(
            look(now, now, None, 100).await,
            (None, None, none.clone()),
            "{}: too old",
            test.name
        );
        assert_eq!(
            look(now, hour, None, 0).await,
            (None, None, none.clone()),
            "{}",
            test.name
        );
        // What waits to be published is not forgotten, and not settled.
        let first = Some(first.id);
        let told = Some(told.id);
        assert_eq!(
            look(now, hour, first, 100).await,
            (last, told, none.clone()),
            "{}",
            test.name
        );
        assert_eq!(
            look(now, hour, None, 1).await,
            (first, None, vec![published]),
            "{}",
            test.name
        );
        assert_eq!(
            look(now, hour, first, 1).await,
            (told, told, none.clone()),
            "{}",
            test.name
        );
        assert_eq!(
            look(now, hour, last, 1).await,
            (None, None, none.clone()),
            "{}: no more",
            test.name
        );

        let attended = rows::unattended(db.read(), &[published, told_event, unpublished]).await;
        assert_eq!(attended.unwrap(), [published], "{}", test.name);
        assert_eq!(rows::unattended(db.read(), &[]).await.unwrap(), [], "{}", test.name);
    }
}
