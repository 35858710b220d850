//! The level that gateways share, where there is a Redis.

use std::time::Duration;

use serde_json::json;
use tidings_gateway::Parts;
use tidings_gateway::guid_cache::Redis;
use tidings_testkit::{RealPart, RealParts, TestDatabase, backends, databases, eventually};

use super::path;
use crate::harness::TestGateway;

const FOR_EVER: Duration = Duration::from_secs(60 * 60);

/// Uses that Redis, and hears of no changes.
fn sharing(url: &str) -> impl Fn(&mut Parts) {
    let redis = Redis::at(&url.into()).unwrap();
    move |parts| {
        parts.guids.life = FOR_EVER;
        parts.guids.redis = Some(redis.clone());
    }
}

/// Changes a user behind everyone's back, so that only the database knows.
async fn rename_unseen(database: &TestDatabase, from: &str, to: &str) {
    let sql = format!("UPDATE guids SET user_name = '{to}' WHERE user_name = '{from}'");
    assert_eq!(database.tamper(&sql).await, 1);
}

/// Reads through gateways that know nothing yet, until what one has read is there for the next.
async fn share_something(first: &TestGateway, url: &str) {
    eventually("something is shared", async || {
        let (path, before) = (path(), uuid());
        first.register(&path, &before).await;
        let read = async || {
            let fresh = first.start_beside_with(sharing(url)).await;
            let user = eventually("it is read", async || fresh.user_of(&path).await.ok_or("nobody")).await;
            fresh.stop().await;
            user
        };
        read().await;
        rename_unseen(&first.database, &before, "unseen").await;
        let user = read().await;
        if user == before { Ok(()) } else { Err(user) }
    })
    .await;
}

fn uuid() -> String {
    tidings_domain::Guid::random().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_has_read_another_need_not_ask_the_database_for() {
    let Some(url) = backends::redis() else { return };
    for database in databases().await {
        let first = TestGateway::start_with(database, sharing(&url)).await;
        share_something(&first, &url).await;
        first.stop().await;
    }
}

/// Nobody hears of anything, and entries live for ever: Redis alone tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_what_was_there_out_of_redis() {
    let Some(url) = backends::redis() else { return };
    for database in databases().await {
        let first = TestGateway::start_with(database, sharing(&url)).await;
        share_something(&first, &url).await;
        let path = path();
        first.register(&path, "Jay").await;
        for (number, user) in [Some("Ada"), None, Some("Eve")].into_iter().enumerate() {
            // Fills it with what is about to be changed.
            let fresh = first.start_beside_with(sharing(&url)).await;
            fresh.user_of(&path).await;
            fresh.stop().await;
            let status = match (number, user) {
                (0, Some(user)) => first.patch(&path, &json!({"user": user})).await.status,
                (_, Some(user)) => first.post(&path, &json!({"user": user})).await.status,
                (_, None) => first.delete(&path).await.status,
            };
            assert!(status.is_success(), "{status}");
            assert_eq!(first.user_of(&path).await.as_deref(), user, "at once");
            eventually("nobody is told what was", async || {
                let fresh = first.start_beside_with(sharing(&url)).await;
                let shown = fresh.user_of(&path).await;
                fresh.stop().await;
                if shown.as_deref() == user { Ok(()) } else { Err(shown) }
            })
            .await;
        }
        first.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_all_goes_on_and_with_it_again_it_is_used() {
    let Some(parts) = RealParts::start(&[RealPart::Redis]).await else {
        return;
    };
    let url = parts.redis().await;
    let first = TestGateway::start_with(TestDatabase::sqlite().await, sharing(&url)).await;
    share_something(&first, &url).await;
    parts.kill(RealPart::Redis).await;
    let path = path();
    first.register(&path, "Jay").await;
    for number in 0..20 {
        let user = format!("number {number}");
        assert_eq!(first.patch(&path, &json!({"user": user})).await.status, 200);
        assert_eq!(first.user_of(&path).await, Some(user.clone()));
        let fresh = first.start_beside_with(sharing(&url)).await;
        assert_eq!(fresh.user_of(&path).await, Some(user));
        fresh.stop().await;
    }
    parts.up(RealPart::Redis).await;
    share_something(&first, &url).await;
    first.stop().await;
}
