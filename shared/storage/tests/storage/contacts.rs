use tidings_domain::{Clock, ContactName};
use tidings_storage::{Error, contacts as rows, messages};
use tidings_testkit::databases;

use crate::{CLOCK, add, contact, queue_message};

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_belongs_to_one_contact_at_a_time() {
    for test in databases().await {
        let db = &test.db;
        let first = contact(1);
        assert!(add(db, first.clone()).await.unwrap());
        assert!(!add(db, contact(1)).await.unwrap(), "{}: the phone is taken", test.name);

        let id = first.id;
        let gone = db
            .write(move |tx| Box::pin(rows::delete(tx, id, CLOCK.now())))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(gone.version, 2);
        assert_eq!(rows::find(db.read(), id).await.unwrap(), None);
        assert_eq!(
            db.write(move |tx| Box::pin(rows::delete(tx, id, CLOCK.now())))
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            rows::find_all(db.read(), [id]).await.unwrap().len(),
            1,
            "{}: still readable",
            test.name
        );

        let second = contact(1);
        assert!(
            add(db, second.clone()).await.unwrap(),
            "{}: the phone is free again",
            test.name
        );
        assert_eq!(
            rows::find_by_phones(db.read(), &[&second.phone]).await.unwrap(),
            [second]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_who_want_a_phone_gets_it() {
    for test in databases().await {
        let mut creates = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let db = test.db.clone();
            creates.spawn(async move { add(&db, contact(1)).await.unwrap() });
        }
        let won = creates.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_counts_the_version_up_and_keeps_to_the_rules() {
    for test in databases().await {
        let db = &test.db;
        let (one, two) = (contact(1), contact(2));
        add(db, one.clone()).await.unwrap();
        add(db, two.clone()).await.unwrap();
        let name = ContactName::parse("Renamed").unwrap();
        let (id, new_name) = (one.id, name.clone());
        let renamed = db
            .write(move |tx| Box::pin(async move { rows::update(tx, id, Some(&new_name), None).await }))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (renamed.name, renamed.version, &renamed.phone),
            (name, 2, &one.phone),
            "{}",
            test.name
        );
        let taken = two.phone;
        let clash = db
            .write(move |tx| Box::pin(async move { rows::update(tx, id, None, Some(&taken)).await }))
            .await;
        assert!(matches!(clash, Err(Error::Conflict(_))), "{}: {clash:?}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_from_the_oldest_on() {
    for test in databases().await {
        let mut all = Vec::new();
        for number in 0..5 {
            let (message, _) = queue_message(&test.db, number).await;
            all.push(message);
        }
        let page = messages::list(test.db.read(), 2, 2).await.unwrap();
        assert_eq!(page, all[2..4], "{}", test.name);
        assert!(messages::list(test.db.read(), 100, 2).await.unwrap().is_empty());
        assert_eq!(
            messages::find(test.db.read(), all[0].id).await.unwrap().as_ref(),
            Some(&all[0])
        );
    }
}
