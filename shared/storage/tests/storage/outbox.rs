//! The outbox, and relays that share it.

use std::collections::BTreeSet;

use tidings_domain::Clock;
use tidings_events::{Granted, Outbox, OutboxEntry, ShardLease};
use tidings_storage::outbox::{self as queue, RelayOutbox};
use tidings_storage::{Error, contacts as rows, events};
use tidings_testkit::databases;

use crate::{CLOCK, add, contact};

async fn lease(relay: &RelayOutbox) -> Vec<ShardLease> {
    relay.lease().await.unwrap().leases
}

async fn drain(relay: &RelayOutbox) -> Vec<OutboxEntry> {
    let leases = lease(relay).await;
    relay.pending(&leases, 1000).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_come_out_in_the_order_of_their_versions_and_stay_until_removed() {
    for test in databases().await {
        let db = &test.db;
        let contact = contact(1);
        add(db, contact.clone()).await.unwrap();
        for _ in 0..3 {
            let id = contact.id;
            db.write::<_, Error, _>(move |tx| {
                Box::pin(async move {
                    let updated = rows::update(tx, id, None, None).await?.unwrap();
                    let origin = tidings_events::Origin::own("test", &CLOCK);
                    queue::enqueue(tx, &tidings_events::ContactUpdated(&updated), &origin, &CLOCK).await
                })
            })
            .await
            .unwrap();
        }
        let relay = RelayOutbox::new(db.clone());
        let entries = drain(&relay).await;
        let sequences: Vec<_> = entries.iter().map(|entry| entry.record.sequence).collect();
        assert_eq!(sequences, [1, 2, 3, 4], "{}", test.name);
        assert_eq!(drain(&relay).await.len(), 4, "{}: reading removes nothing", test.name);

        let leases = lease(&relay).await;
        assert_eq!(relay.remove(&leases, &entries[..3]).await.unwrap(), 3);
        assert_eq!(drain(&relay).await.len(), 1);
        assert_eq!(queue::depth(db.read()).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_that_is_next_says_for_how_long_it_has_waited() {
    for test in databases().await {
        let db = &test.db;
        assert_eq!(
            queue::age(db.read()).await.unwrap(),
            0.0,
            "{}: nothing waits",
            test.name
        );
        let (first, second) = (contact(1), contact(2));
        for contact in [&first, &second] {
            add(db, contact.clone()).await.unwrap();
        }
        test.tamper(&format!(
            "UPDATE events SET occurred_at = '2001-01-01 00:00:00+00:00' WHERE key = '{}'",
            first.id
        ))
        .await;
        let years = queue::age(db.read()).await.unwrap();
        assert!(years > 20.0 * 365.0 * 86400.0, "{}: {years}", test.name);
        let relay = RelayOutbox::new(db.clone());
        let (leases, entries) = (lease(&relay).await, drain(&relay).await);
        assert_eq!(entries.len(), 2);
        relay.remove(&leases, &entries[..1]).await.unwrap();
        let seconds = queue::age(db.read()).await.unwrap();
        assert!(seconds < years / 2.0, "{}: {seconds}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_published_again_keeps_its_id() {
    for test in databases().await {
        add(&test.db, contact(1)).await.unwrap();
        let relay = RelayOutbox::new(test.db.clone());
        let [entry] = &drain(&relay).await[..] else {
            panic!("one entry")
        };
        let id = entry.record.id;
        test.db
            .write(move |tx| Box::pin(async move { queue::enqueue_again(tx, &[id]).await }))
            .await
            .unwrap();
        let ids: Vec<_> = drain(&relay).await.into_iter().map(|entry| entry.record.id).collect();
        assert_eq!(ids, [id, id], "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_dropped_when_their_time_is_over_but_not_before_they_are_published() {
    for test in databases().await {
        for number in 0..3 {
            add(&test.db, contact(number)).await.unwrap();
        }
        let relay = RelayOutbox::new(test.db.clone());
        let leases = lease(&relay).await;
        let entries = relay.pending(&leases, 10).await.unwrap();
        relay.remove(&leases, &entries[1..]).await.unwrap();
        let expire = async |days: i64| {
            let now = CLOCK.now() + chrono::TimeDelta::days(days);
            let write = test
                .db
                .write::<_, Error, _>(move |tx| Box::pin(events::expire(tx, now, 10)));
            write.await.unwrap()
        };
        assert_eq!(expire(29).await, 0, "{}", test.name);
        assert_eq!(expire(31).await, 2, "{}", test.name);
        let ids: Vec<_> = entries.iter().map(|entry| entry.record.id).collect();
        let kept = events::find_all(test.db.read(), &ids).await.unwrap();
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), [ids[0]], "{}", test.name);
        assert_eq!(drain(&relay).await.len(), 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_place_in_a_history_is_given_once() {
    for test in databases().await {
        let kept = contact(1);
        add(&test.db, kept.clone()).await.unwrap();
        let again = test
            .db
            .write(move |tx| {
                Box::pin(async move {
                    let origin = tidings_events::Origin::own("test", &CLOCK);
                    queue::enqueue(tx, &tidings_events::ContactUpdated(&kept), &origin, &CLOCK).await
                })
            })
            .await;
        assert!(matches!(again, Err(Error::Conflict(_))), "{}: {again:?}", test.name);
        assert_eq!(queue::depth(test.db.read()).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_share_the_shards_and_take_over_from_each_other() {
    for test in databases().await {
        let (one, two) = (RelayOutbox::new(test.db.clone()), RelayOutbox::new(test.reopen().await));
        assert_eq!(lease(&one).await.len(), 16, "{}: alone it has all", test.name);
        assert_eq!(lease(&two).await.len(), 0, "{}: none is free yet", test.name);
        let Granted { leases: kept, surplus } = one.lease().await.unwrap();
        assert_eq!((kept.len(), surplus.len()), (8, 8), "{}: it is to make room", test.name);
        assert_eq!(lease(&two).await.len(), 0, "{}: which it has not done", test.name);
        one.give_back(&surplus).await.unwrap();
        let taken = lease(&two).await;
        let shards: BTreeSet<_> = kept.iter().chain(&taken).map(|lease| lease.shard).collect();
        assert_eq!((taken.len(), shards.len()), (8, 16), "{}", test.name);

        // One is gone without a word: its leases and its place run out.
        test.tamper("UPDATE relay_leases SET held_until = '2001-01-01T00:00:00+00:00'")
            .await;
        test.tamper("UPDATE relays SET alive_until = '2001-01-01T00:00:00+00:00'")
            .await;
        let all = lease(&two).await;
        assert_eq!(all.len(), 16, "{}", test.name);
        let stolen = all.iter().find(|lease| lease.shard == kept[0].shard).unwrap();
        assert_eq!(stolen.epoch, kept[0].epoch + 1, "{}", test.name);

        two.release().await.unwrap();
        assert_eq!(
            lease(&one).await.len(),
            16,
            "{}: what was given back is free at once",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_alone_need_not_wait_for_the_leases_of_the_dead() {
    for test in databases().await {
        let dead = lease(&RelayOutbox::new(test.db.clone())).await;
        let next = RelayOutbox::new(test.db.clone());
        assert_eq!(lease(&next).await.len(), 0, "{}", test.name);
        test.db
            .write::<_, Error, _>(|tx| Box::pin(queue::clear_leases(tx)))
            .await
            .unwrap();
        let all = lease(&next).await;
        assert_eq!(all.len(), 16, "{}", test.name);
        assert!(
            all.iter().all(|lease| !dead.contains(lease)),
            "{}: under new epochs",
            test.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lost_its_lease_removes_nothing() {
    for test in databases().await {
        add(&test.db, contact(1)).await.unwrap();
        let relay = RelayOutbox::new(test.db.clone());
        let leases = lease(&relay).await;
        let entries = relay.pending(&leases, 10).await.unwrap();
        test.tamper("UPDATE relay_leases SET epoch = epoch + 1").await;
        assert_eq!(relay.remove(&leases, &entries).await.unwrap(), 0, "{}", test.name);
        assert_eq!(queue::depth(test.db.read()).await.unwrap(), 1, "{}", test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_woken_by_writes_and_only_by_those_with_events() {
    for test in databases().await {
        let relay = RelayOutbox::new(test.db.clone());
        relay.lease().await.unwrap();
        let woken = async {
            tokio::time::timeout(std::time::Duration::from_millis(50), relay.written())
                .await
                .is_ok()
        };
        assert!(!woken.await, "{}: a lease is nothing to publish", test.name);
        add(&test.db, contact(1)).await.unwrap();
        tokio::time::timeout(tidings_testkit::PATIENCE, relay.written())
            .await
            .expect(test.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_other_processes_are_woken_too() {
    for test in databases().await.into_iter().filter(|test| test.name == "PostgreSQL") {
        let other = test.reopen().await;
        let cancel = tokio_util::sync::CancellationToken::new();
        let both = [test.db.clone(), other.clone()].map(|db| tokio::spawn(queue::exchange(db, cancel.clone())));
        let relay = RelayOutbox::new(other);
        // Written again and again, because when the other one begins to listen is its own affair.
        let mut number = 0;
        tidings_testkit::eventually("the other process is woken", async || {
            number += 1;
            add(&test.db, contact(number)).await.unwrap();
            tokio::time::timeout(std::time::Duration::from_millis(200), relay.written()).await
        })
        .await;
        cancel.cancel();
        for task in both {
            task.await.unwrap();
        }
    }
}
