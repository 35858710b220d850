use std::collections::BTreeSet;
use std::time::Duration;

use tidings_domain::{
    Attempt, AttemptResult, Clock, DeliveryId, EndpointId, EndpointState, EventId, EventTypes, MessageId,
    MessageStatus, SealedSecret, WebhookEndpoint,
};
use tidings_storage::deliveries::{self as rows, Leased, NewDelivery, Settled, Verdict};
use tidings_storage::{Db, Error, endpoints, messages};
use tidings_testkit::databases;
use uuid::Uuid;

use crate::{CLOCK, queue_message};

async fn endpoint(db: &Db) -> EndpointId {
    let endpoint = WebhookEndpoint {
        id: EndpointId::generate(&CLOCK),
        url: "http://localhost:1/".parse().unwrap(),
        secret: SealedSecret::from_stored("secret".to_owned()),
        event_types: EventTypes::All,
        state: EndpointState::Enabled,
        created_at: CLOCK.now(),
        failing_since: None,
        version: 1,
    };
    let id = endpoint.id.clone();
    db.write(move |tx| Box::pin(async move { endpoints::insert(tx, &endpoint).await }))
        .await
        .unwrap();
    id
}

fn owed(endpoint: &EndpointId, lease: Option<Uuid>) -> NewDelivery {
    NewDelivery {
        id: DeliveryId::generate(&CLOCK),
        endpoint: endpoint.clone(),
        event: EventId::generate(&CLOCK),
        message: None,
        lease,
    }
}

async fn plan(db: &Db, new: Vec<NewDelivery>) -> Vec<DeliveryId> {
    db.write::<_, Error, _>(move |tx| Box::pin(async move { rows::insert(tx, &new).await }))
        .await
        .unwrap()
}

/// Claims what is due to every endpoint, `limit` for each.
async fn claim(db: &Db, limit: u64, except: Vec<EndpointId>) -> Vec<Leased> {
    let next = rows::next_due(db.read(), &except).await.unwrap();
    let due = next.into_iter().filter(|(_, after)| after.is_zero());
    let mut claimed = Vec::new();
    for (endpoint, _) in due {
        let token = Uuid::new_v4();
        let write = db.write::<_, Error, _>(move |tx| {
            Box::pin(async move { rows::claim(tx, &[(endpoint, limit)], token).await })
        });
        claimed.extend(write.await.unwrap());
    }
    claimed
}

async fn settle(db: &Db, lease: &Leased, verdict: Verdict) -> bool {
    let lease = lease.clone();
    let attempt = Attempt {
        number: lease.attempts + 1,
        started_at: CLOCK.now(),
        duration: Duration::from_millis(12),
        result: AttemptResult::Answered {
            status: 500,
            body: "no\0".into(),
            retry_after: None,
        },
    };
    let settled = db.write::<_, Error, _>(move |tx| {
        Box::pin(async move {
            let outcome = rows::Outcome {
                lease: &lease,
                attempt: &attempt,
                verdict: &verdict,
            };
            rows::settle(tx, &[outcome]).await
        })
    });
    matches!(settled.await.unwrap()[..], [Settled::Recorded { .. }])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_owed_to_an_endpoint_once() {
    for test in databases().await {
        let to = endpoint(&test.db).await;
        let first = owed(&to, None);
        let again = NewDelivery {
            id: DeliveryId::generate(&CLOCK),
            ..first.clone()
        };
        assert_eq!(
            plan(&test.db, vec![first.clone(), owed(&to, None)]).await.len(),
            2,
            "{}",
            test.name
        );
        assert_eq!(plan(&test.db, vec![again]).await, [], "{}", test.name);
        let other = NewDelivery {
            endpoint: endpoint(&test.db).await,
            id: DeliveryId::generate(&CLOCK),
            ..first
        };
        assert_eq!(plan(&test.db, vec![other]).await.len(), 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_is_claimed_by_one() {
    for test in databases().await {
        let to = endpoint(&test.db).await;
        plan(&test.db, (0..50).map(|_| owed(&to, None)).collect()).await;
        plan(&test.db, vec![owed(&to, Some(Uuid::new_v4()))]).await;
        let other = test.reopen().await;
        let mut claims = tokio::task::JoinSet::new();
        for db in [test.db.clone(), other, test.db.clone()] {
            claims.spawn(async move {
                let mut claimed = Vec::new();
                loop {
                    match claim(&db, 7, vec![]).await {
                        more if more.is_empty() => return claimed,
                        more => claimed.extend(more),
                    }
                }
            });
        }
        let claimed: Vec<_> = claims
            .join_all()
            .await
            .into_iter()
            .flatten()
            .map(|lease| lease.id)
            .collect();
        let distinct: BTreeSet<_> = claimed.iter().collect();
        assert_eq!(
            (claimed.len(), distinct.len()),
            (50, 50),
            "{}: and none that was leased at once",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_leaves_out_what_is_not_due_disabled_or_excluded() {
    for test in databases().await {
        let db = &test.db;
        let (one, two, off) = (endpoint(db).await, endpoint(db).await, endpoint(db).await);
        plan(db, vec![owed(&one, None), owed(&two, None), owed(&off, None)]).await;
        let id = off.clone();
        let disabled = db
            .write(move |tx| Box::pin(async move { endpoints::disable(tx, &id).await }))
            .await
            .unwrap();
        assert_eq!(disabled.unwrap().version, 2);
        assert_eq!(rows::backlog(db.read()).await.unwrap().pending, 2, "{}", test.name);

        let [lease] = &claim(db, 10, vec![two.clone()]).await[..] else {
            panic!("{}: one is left", test.name)
        };
        assert_eq!(lease.endpoint, one);
        assert!(settle(db, lease, Verdict::Retry(Duration::from_secs(3600))).await);
        let [lease] = &claim(db, 10, vec![]).await[..] else {
            panic!("{}: one is due", test.name)
        };
        assert_eq!(lease.endpoint, two);
        let next = rows::next_due(db.read(), &[]).await.unwrap();
        assert!(
            matches!(&next[..], [(endpoint, after)] if *endpoint == one && after.as_secs() > 3500),
            "{}: {next:?}",
            test.name
        );

        let id = two.clone();
        db.write(move |tx| Box::pin(async move { endpoints::delete(tx, &id, CLOCK.now()).await }))
            .await
            .unwrap();
        let canceled = db
            .write::<_, Error, _>(|tx| Box::pin(rows::cancel_orphans(tx, 10)))
            .await
            .unwrap();
        assert_eq!(canceled, 1, "{}", test.name);
        assert!(
            !settle(db, lease, Verdict::Delivered).await,
            "{}: nothing is owed any more",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_with_one_delivery_the_later_lease_is_heard() {
    for test in databases().await {
        let db = &test.db;
        let to = endpoint(db).await;
        let delivery = owed(&to, None);
        plan(db, vec![delivery.clone()]).await;
        let [slow] = &claim(db, 1, vec![]).await[..] else {
            panic!("claimed")
        };
        assert_eq!(claim(db, 1, vec![]).await, []);
        test.tamper("UPDATE deliveries SET leased_until = '2001-01-01T00:00:00+00:00'")
            .await;
        let [heir] = &claim(db, 1, vec![]).await[..] else {
            panic!("{}: taken over", test.name)
        };
        assert!(!settle(db, slow, Verdict::Delivered).await, "{}: too late", test.name);
        assert!(settle(db, heir, Verdict::Retry(Duration::ZERO)).await, "{}", test.name);
        assert!(!settle(db, heir, Verdict::Failed).await, "{}: once", test.name);
        let [again] = &claim(db, 1, vec![]).await[..] else {
            panic!("{}: due again", test.name)
        };
        assert_eq!(again.attempts, 1);
        assert!(settle(db, again, Verdict::Failed).await);
        let attempts = rows::attempts(db.read(), delivery.event).await.unwrap();
        let numbers: Vec<_> = attempts.iter().map(|(_, attempt)| attempt.number).collect();
        assert_eq!(numbers, [1, 2], "{}", test.name);
        assert_eq!(
            rows::counts(db.read()).await.unwrap(),
            [("failed".to_owned(), 1)],
            "{}",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_can_be_given_back_and_cleared() {
    for test in databases().await {
        let db = &test.db;
        let to = endpoint(db).await;
        plan(db, vec![owed(&to, None), owed(&to, None)]).await;
        let leases = claim(db, 2, vec![]).await;
        let lease = leases[0].clone();
        db.write(move |tx| Box::pin(async move { rows::release(tx, &[lease]).await }))
            .await
            .unwrap();
        assert_eq!(claim(db, 2, vec![]).await.len(), 1, "{}", test.name);
        let cleared = db
            .write::<_, Error, _>(|tx| Box::pin(rows::clear_leases(tx)))
            .await
            .unwrap();
        assert_eq!(cleared, 2, "{}", test.name);
        assert_eq!(claim(db, 2, vec![]).await.len(), 2, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_that_are_settled_together_count_each_for_itself() {
    for test in databases().await {
        let db = &test.db;
        let to = endpoint(db).await;
        plan(db, (0..5).map(|_| owed(&to, None)).collect()).await;
        let leases = claim(db, 5, vec![]).await;
        let late = Leased {
            token: Uuid::new_v4(),
            ..leases[3].clone()
        };
        let retry = Verdict::Retry(Duration::from_secs(3600));
        let verdicts = [
            Verdict::Delivered,
            Verdict::Failed,
            retry,
            Verdict::Delivered,
            Verdict::Delivered,
        ];
        let settled = db.write::<_, Error, _>(move |tx| {
            Box::pin(async move {
                let attempt = Attempt {
                    number: 1,
                    started_at: CLOCK.now(),
                    duration: Duration::ZERO,
                    result: AttemptResult::Unanswered { error: "reset".into() },
                };
                let under = [&leases[0], &leases[1], &leases[2], &late, &leases[4], &leases[4]];
                let outcomes: Vec<_> = under
                    .into_iter()
                    .zip(verdicts.iter().chain(&verdicts[..1]))
                    .map(|(lease, verdict)| rows::Outcome {
                        lease,
                        attempt: &attempt,
                        verdict,
                    })
                    .collect();
                rows::settle(tx, &outcomes).await
            })
        });
        let settled = settled.await.unwrap();
        let recorded: Vec<_> = settled.iter().map(|settled| *settled != Settled::Ignored).collect();
        assert_eq!(recorded, [true, true, true, false, true, false], "{}", test.name);
        let counts = rows::counts(db.read()).await.unwrap();
        let expected = [("delivered", 2), ("failed", 1), ("pending", 2)].map(|(status, n)| (status.to_owned(), n));
        assert_eq!(counts, expected, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_settled_once_each_with_its_own_end() {
    for test in databases().await {
        let ((one, _), (two, _), (three, _)) = (
            queue_message(&test.db, 1).await,
            queue_message(&test.db, 2).await,
            queue_message(&test.db, 3).await,
        );
        let settle = async |settlements: Vec<(MessageId, messages::Settlement)>| {
            test.db
                .write(move |tx| Box::pin(async move { messages::settle(tx, &settlements).await }))
                .await
                .unwrap()
        };
        let delivered = |at| messages::Settlement::Delivered { at };
        let failed = || messages::Settlement::Failed {
            reason: "refused".into(),
        };
        let first = CLOCK.now();
        let second = first + chrono::TimeDelta::milliseconds(5);
        let settled = settle(vec![
            (one.id, delivered(first)),
            (three.id, failed()),
            (two.id, delivered(second)),
        ])
        .await;
        let ends: std::collections::BTreeMap<_, _> = settled
            .iter()
            .map(|message| (message.id, (message.status, message.delivered_at, message.version)))
            .collect();
        assert_eq!(
            ends[&one.id],
            (MessageStatus::Delivered, Some(first), 2),
            "{}",
            test.name
        );
        assert_eq!(
            ends[&two.id],
            (MessageStatus::Delivered, Some(second), 2),
            "{}",
            test.name
        );
        assert_eq!(ends[&three.id], (MessageStatus::Failed, None, 2), "{}", test.name);
        assert_eq!(
            settle(vec![(one.id, failed()), (three.id, delivered(first))]).await,
            [],
            "{}",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_nobody_took_care_of_is_forgotten() {
    for test in databases().await {
        let db = &test.db;
        let (_, published) = queue_message(db, 1).await;
        let (_, planned) = queue_message(db, 2).await;
        let (_, unpublished) = queue_message(db, 3).await;
        let to = endpoint(db).await;
        plan(
            db,
            vec![NewDelivery {
                event: planned,
                ..owed(&to, None)
            }],
        )
        .await;
        // The relay has published all but the last.
        test.tamper("DELETE FROM outbox WHERE id < 3").await;
        let look = async |age| messages::forgotten(db.read(), age, None, 100).await.unwrap().1;
        assert_eq!(look(Duration::ZERO).await, [published], "{}", test.name);
        assert_eq!(look(Duration::from_secs(60)).await, [], "{}: too young", test.name);
        assert_ne!(published, unpublished);

        let (last, _) = messages::forgotten(db.read(), Duration::ZERO, None, 2).await.unwrap();
        let (end, rest) = messages::forgotten(db.read(), Duration::ZERO, last, 2).await.unwrap();
        assert!(end.is_some() && rest.is_empty(), "{}: the next page", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_dropped_when_its_time_is_over_and_what_is_owed_is_not() {
    for test in databases().await {
        let db = &test.db;
        let to = endpoint(db).await;
        let new: Vec<_> = (0..4).map(|_| owed(&to, None)).collect();
        let events: Vec<_> = new.iter().map(|delivery| delivery.event).collect();
        plan(db, new).await;
        for (lease, verdict) in claim(db, 10, vec![]).await.iter().zip([
            Verdict::Delivered,
            Verdict::Failed,
            Verdict::Delivered,
            Verdict::Retry(Duration::ZERO),
        ]) {
            assert!(settle(db, lease, verdict).await);
        }
        let expire = async |days: i64| {
            let now = CLOCK.now() + chrono::TimeDelta::days(days);
            let write = db.write::<_, Error, _>(move |tx| Box::pin(rows::expire(tx, now, 2)));
            write.await.unwrap()
        };
        assert_eq!(expire(59).await, 0, "{}", test.name);
        assert_eq!(expire(61).await, 2, "{}", test.name);
        assert_eq!(expire(61).await, 1, "{}", test.name);
        assert_eq!(expire(61).await, 0, "{}", test.name);
        let mut attempts = 0;
        for event in events {
            attempts += rows::attempts(db.read(), event).await.unwrap().len();
        }
        assert_eq!(attempts, 1, "{}", test.name);
        assert_eq!(
            rows::counts(db.read()).await.unwrap(),
            [("pending".to_owned(), 1)],
            "{}",
            test.name
        );
    }
}
