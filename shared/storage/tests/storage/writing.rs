//! What a write promises, alone and among others.

use tidings_storage::{Error, contacts as rows, outbox as queue};
use tidings_testkit::databases;

use crate::{add, contact};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_leaves_nothing() {
    for test in databases().await {
        let lost = contact(1);
        let id = lost.id;
        let result: Result<(), Error> = test
            .db
            .write(move |tx| {
                Box::pin(async move {
                    rows::insert_all(tx, &[&lost]).await?;
                    Err(Error::Corrupt("changed my mind".into()))
                })
            })
            .await;
        assert!(matches!(result, Err(Error::Corrupt(_))), "{}", test.name);
        assert_eq!(rows::find(test.db.read(), id).await.unwrap(), None, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_share_a_flush_fail_alone() {
    for test in databases().await {
        let mut writes = tokio::task::JoinSet::new();
        for number in 0..200 {
            let db = test.db.clone();
            writes.spawn(async move {
                if number % 7 == 0 {
                    let doomed = contact(number);
                    db.write::<(), Error, _>(move |tx| {
                        Box::pin(async move {
                            rows::insert_all(tx, &[&doomed]).await?;
                            // The second of a pair with one id: a constraint of the schema speaks up.
                            let twin = tidings_domain::Contact {
                                phone: contact(number + 100_000).phone,
                                ..doomed
                            };
                            rows::insert_all(tx, &[&twin]).await.map(drop)
                        })
                    })
                    .await
                    .map(|()| false)
                } else {
                    add(&db, contact(number)).await
                }
            });
        }
        let results = writes.join_all().await;
        let failed = results
            .iter()
            .filter(|result| matches!(result, Err(Error::Conflict(_))))
            .count();
        assert_eq!(failed, 29, "{}", test.name);
        assert!(
            results.iter().filter(|result| result.is_ok()).count() == 171,
            "{}",
            test.name
        );
        assert_eq!(
            rows::list(test.db.read(), 0, 1000).await.unwrap().len(),
            171,
            "{}",
            test.name
        );
        assert_eq!(queue::depth(test.db.read()).await.unwrap(), 171, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_panics_is_its_own_misfortune() {
    let test = tidings_testkit::TestDatabase::sqlite().await;
    let result = test
        .db
        .write::<(), Error, _>(|_| Box::pin(async { panic!("a defect") }))
        .await;
    assert!(matches!(result, Err(Error::Refused(_))));
    assert!(add(&test.db, contact(1)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_waits_for_any_more_is_not_carried_out() {
    let test = tidings_testkit::TestDatabase::sqlite().await;
    let (begun, begin) = tokio::sync::oneshot::channel();
    let (go_on, gate) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn({
        let db = test.db.clone();
        async move {
            db.write::<_, Error, _>(move |_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    gate.await.unwrap();
                    Ok(())
                })
            })
            .await
        }
    });
    begin.await.unwrap();
    // Two wait for their turn, and one of them gives up.
    let (lost, kept) = (contact(1), contact(2));
    let mut abandoned = Box::pin(add(&test.db, lost.clone()));
    assert!(futures_util::poll!(&mut abandoned).is_pending());
    let mut waiting = Box::pin(add(&test.db, kept.clone()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(abandoned);
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert!(waiting.await.unwrap());
    assert_eq!(rows::list(test.db.read(), 0, 10).await.unwrap(), [kept]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_survives_the_connection() {
    for test in databases().await {
        let kept = contact(1);
        assert!(add(&test.db, kept.clone()).await.unwrap());
        let other = test.reopen().await;
        assert_eq!(
            rows::find(other.read(), kept.id).await.unwrap(),
            Some(kept),
            "{}",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_begun_and_refuses_the_rest() {
    let test = tidings_testkit::TestDatabase::sqlite().await;
    let kept = contact(1);
    let id = kept.id;
    let writing = add(&test.db, kept);
    let (written, ()) = futures_util::future::join(writing, test.db.clone().close()).await;
    let late = add(&test.db, contact(2)).await;
    assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
    let other = test.reopen().await;
    let found = rows::find(other.read(), id).await.unwrap();
    assert_eq!(found.is_some(), written.is_ok(), "an answer means what it says");
}
