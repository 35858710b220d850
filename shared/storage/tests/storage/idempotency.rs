use std::time::Duration;

use tidings_domain::Clock;
use tidings_storage::idempotency::{Lookup, RequestKey, StoredAnswer, begin_all, expire, store_all};
use tidings_storage::{Db, Error, Tx};
use tidings_testkit::databases;
use tokio::sync::oneshot;

use crate::CLOCK;

fn request(key: &str) -> RequestKey {
    RequestKey {
        caller: "default".into(),
        operation: "POST /messages".into(),
        key: key.into(),
    }
}

fn answer() -> StoredAnswer {
    StoredAnswer {
        fingerprint: "f".repeat(64),
        status: 201,
        body: b"{}".to_vec(),
    }
}

async fn begin(tx: &Tx<'_>, request: &RequestKey) -> Result<Lookup, Error> {
    let mut lookups = begin_all(tx, &[request]).await?;
    assert_eq!(lookups.len(), 1);
    Ok(lookups.remove(0))
}

async fn look(db: &Db, request: RequestKey) -> Lookup {
    db.write::<_, Error, _>(move |tx| Box::pin(async move { begin(tx, &request).await }))
        .await
        .unwrap()
}

async fn keep(db: &Db, request: RequestKey) {
    let kept = db.write::<_, Error, _>(move |tx| {
        Box::pin(async move {
            assert_eq!(begin(tx, &request).await?, Lookup::New);
            store_all(tx, vec![(&request, answer())], CLOCK.now()).await
        })
    });
    kept.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_a_day() {
    for test in databases().await {
        keep(&test.db, request("a")).await;
        assert_eq!(
            look(&test.db, request("a")).await,
            Lookup::Answered(answer()),
            "{}",
            test.name
        );
        assert_eq!(look(&test.db, request("b")).await, Lookup::New, "{}", test.name);
        let other = RequestKey {
            operation: "POST /contacts".into(),
            ..request("a")
        };
        assert_eq!(look(&test.db, other).await, Lookup::New, "{}", test.name);

        test.tamper("UPDATE idempotency_keys SET created_at = '2001-01-01T00:00:00+00:00'")
            .await;
        assert_eq!(
            look(&test.db, request("a")).await,
            Lookup::New,
            "{}: too old to count",
            test.name
        );
        keep(&test.db, request("a")).await;
        test.tamper("UPDATE idempotency_keys SET created_at = '2001-01-01T00:00:00+00:00'")
            .await;
        keep(&test.db, request("b")).await;
        keep(&test.db, request("c")).await;
        let drop = async |hours: i64| {
            let now = CLOCK.now() + chrono::TimeDelta::hours(hours);
            let dropping = test.db.write::<_, Error, _>(move |tx| Box::pin(expire(tx, now, 2)));
            dropping.await.unwrap()
        };
        assert_eq!(drop(23).await, 1, "{}: no other is old enough", test.name);
        keep(&test.db, request("a")).await;
        assert_eq!(drop(25).await, 2, "{}: some at a time", test.name);
        assert_eq!(drop(25).await, 1, "{}", test.name);
        assert_eq!(drop(25).await, 0, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_another_process_sees_what_is_in_flight() {
    for test in databases().await.into_iter().filter(|test| test.name == "PostgreSQL") {
        let (begun, is_begun) = oneshot::channel();
        let (finish, may_finish) = oneshot::channel::<()>();
        let db = test.db.clone();
        let first = tokio::spawn(async move {
            db.write::<_, Error, _>(move |tx| {
                Box::pin(async move {
                    assert_eq!(begin(tx, &request("a")).await?, Lookup::New);
                    begun.send(()).unwrap();
                    may_finish.await.unwrap();
                    store_all(tx, vec![(&request("a"), answer())], CLOCK.now()).await
                })
            })
            .await
        });
        tokio::time::timeout(Duration::from_secs(10), is_begun)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(look(&test.db, request("a")).await, Lookup::InFlight);
        finish.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(look(&test.db, request("a")).await, Lookup::Answered(answer()));
    }
}
