use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tidings_testkit::eventually;

use super::pair::on_each_pair;
use super::path;
use crate::harness::{TestGateway, on_each_database};

/// So long that an entry's end explains nothing.
const FOR_EVER: Duration = Duration::from_secs(60 * 60);

async fn rename(gateway: &TestGateway, path: &str, user: &str) {
    let answer = gateway.patch(path, &json!({"user": user})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until a gateway shows somebody, or nobody.
async fn shows(gateway: &TestGateway, path: &str, user: Option<&str>) {
    eventually("it is shown", async || {
        let shown = gateway.user_of(path).await;
        if shown.as_deref() == user { Ok(()) } else { Err(shown) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_through_one_gateway_is_seen_through_the_other() {
    on_each_pair(FOR_EVER, async |pair| {
        let (one, other, path) = (&pair.one, &pair.other, path());
        assert_eq!(other.user_of(&path).await, None, "which is known from now on");
        one.register(&path, "0").await;
        let mut taken = Vec::new();
        for number in 1..=50 {
            let user = number.to_string();
            rename(one, &path, &user).await;
            let answered = Instant::now();
            assert_eq!(one.user_of(&path).await, Some(user.clone()), "at once");
            shows(other, &path, Some(&user)).await;
            taken.push(answered.elapsed());
        }
        taken.sort();
        println!("seen through the other after {:?}, at worst {:?}", taken[25], taken[49]);

        assert_eq!(one.delete(&path).await.status, 204);
        assert_eq!(one.user_of(&path).await, None, "at once");
        shows(other, &path, None).await;
        one.register(&path, "again").await;
        assert_eq!(one.user_of(&path).await.as_deref(), Some("again"), "at once");
        shows(other, &path, Some("again")).await;
        // The other way round.
        rename(other, &path, "and back").await;
        shows(one, &path, Some("and back")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_a_change_is_seen_when_an_entry_has_lived() {
    on_each_pair(Duration::from_secs(1), async |pair| {
        let path = path();
        pair.one.register(&path, "before").await;
        shows(&pair.other, &path, Some("before")).await;
        pair.stop_broker().await;
        for number in 0..3 {
            let user = number.to_string();
            rename(&pair.one, &path, &user).await;
            assert_eq!(pair.one.user_of(&path).await, Some(user.clone()), "at once");
            shows(&pair.other, &path, Some(&user)).await;
        }
    })
    .await;
}

/// Reads that are under way while something changes must not bring back what was.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_changed_a_guid_reads_what_they_wrote() {
    on_each_database(async |gateway| {
        let gateway = gateway.start_beside_with(|parts| parts.guids.life = FOR_EVER).await;
        let paths: Vec<_> = (0..4).map(|_| path()).collect();
        for path in &paths {
            gateway.register(path, "at first").await;
        }
        let done = AtomicBool::new(false);
        let reading = join_all((0..8).map(async |number: usize| {
            while !done.load(Ordering::SeqCst) {
                gateway.user_of(&paths[number % 4]).await;
            }
        }));
        let writing = async {
            join_all(paths.iter().map(async |path| {
                for number in 0..40 {
                    let user = format!("number {number}");
                    rename(&gateway, path, &user).await;
                    assert_eq!(gateway.user_of(path).await, Some(user), "{path}");
                }
                assert_eq!(gateway.delete(path).await.status, 204);
                assert_eq!(gateway.user_of(path).await, None, "{path}");
                gateway.register(path, "again").await;
                assert_eq!(gateway.user_of(path).await.as_deref(), Some("again"));
            }))
            .await;
            done.store(true, Ordering::SeqCst);
        };
        tokio::join!(reading, writing);
        gateway.stop().await;
    })
    .await;
}

/// A cache that is never asked anything new would hide it if reads did not come out of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_lately_is_not_asked_of_the_database() {
    on_each_database(async |gateway| {
        let gateway = gateway.start_beside_with(|parts| parts.guids.life = FOR_EVER).await;
        let (path, nobody) = (path(), path());
        gateway.register(&path, "Jay").await;
        assert_eq!(gateway.user_of(&path).await.as_deref(), Some("Jay"));
        assert_eq!(gateway.user_of(&nobody).await, None);
        gateway.db().read().close_by_ref().await.unwrap();
        assert_eq!(gateway.user_of(&path).await.as_deref(), Some("Jay"));
        assert_eq!(gateway.user_of(&nobody).await, None);
        assert_eq!(gateway.get(&super::path()).await.status, 503);
        gateway.stop().await;
    })
    .await;
}
