//! What keys open, and for how long.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tidings_testkit::{TestDatabase, eventually};

use super::KEYS;
use crate::harness::{TestGateway, on_each_database, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_its_scopes_say_and_every_contract_says_no_in_its_form() {
    on_each_database(async |gateway| {
        let key = gateway.issue("service", &["contacts:read"]).await;
        let ask = async |method, path| send(gateway.with_key(&key.token, method, path)).await;
        assert_eq!(ask(Method::GET, "/contacts").await.status, 200);
        for (method, path) in [
            (Method::POST, "/contacts"),
            (Method::GET, "/messages"),
            (Method::DELETE, "/contacts/x"),
        ] {
            let refused = ask(method, path).await;
            assert_eq!(refused.status, 403, "{path}");
            assert!(refused.error().contains("scope"), "{refused:?}");
        }
        ask(Method::GET, KEYS).await.problem("forbidden", 403);
        assert_eq!(ask(Method::GET, "/api/v1/users").await.status, 200, "open to everyone");
        send(gateway.open(Method::GET, KEYS)).await.problem("unauthorized", 401);

        let writer = gateway.issue("service", &["messages:write"]).await;
        let message = json!({"from": "+12", "to": {"name": "Ada", "phone": "+41791234567"}, "content": "hello"});
        let sent = send(
            gateway
                .with_key(&writer.token, Method::POST, "/messages")
                .json(&message),
        )
        .await;
        assert_eq!(sent.status, 201, "{sent:?}");
        let last = gateway.events().await.pop().unwrap();
        assert_eq!(last.origin.actor, Some(writer.id));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_contracts_ask_for_the_scope() {
    let closed = TestGateway::start_with(TestDatabase::sqlite().await, |parts| parts.open_contracts = false).await;
    let key = closed.issue("service", &["users:read"]).await;
    let ask = async |method| send(closed.with_key(&key.token, method, "/api/v1/users")).await;
    assert_eq!(ask(Method::GET).await.status, 200);
    let refused = ask(Method::POST).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.detail(), "this API key does not have the scope users:write");
    closed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gives_away_more_than_they_have() {
    on_each_database(async |gateway| {
        let limited = gateway.issue("admin", &["api-keys:write", "messages:write"]).await;
        let make = async |role: &str, scopes: &[&str]| {
            let body = json!({"name": "x", "role": role, "scopes": scopes});
            send(gateway.with_key(&limited.token, Method::POST, KEYS).json(&body)).await
        };
        assert_eq!(make("staff", &["messages:write"]).await.status, 201);
        assert_eq!(make("admin", &["api-keys:write"]).await.status, 201);
        let problem = make("service", &["contacts:read"]).await.problem("forbidden", 403);
        assert!(
            problem["detail"].as_str().unwrap().contains("contacts:read"),
            "{problem}"
        );
        make("admin", &["*"]).await.problem("forbidden", 403);
        let listing = send(gateway.with_key(&limited.token, Method::GET, KEYS)).await;
        listing.problem("forbidden", 403);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_from_the_moment_it_is_made_until_it_is_revoked() {
    on_each_database(async |gateway| {
        for _ in 0..3 {
            let key = gateway.issue("service", &["*"]).await;
            assert_eq!(gateway.admits(&key.token).await, 200);
            let mut wrong = key.token.clone();
            wrong.replace_range(key.token.len() - 1.., if key.token.ends_with('0') { "1" } else { "0" });
            assert_eq!(gateway.admits(&wrong).await, 401);
            assert_eq!(gateway.delete(&format!("{KEYS}/{}", key.id)).await.status, 204);
            assert_eq!(gateway.admits(&key.token).await, 401, "at once");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_know_a_new_key_at_once_and_a_revoked_one_soon() {
    on_each_database(async |gateway| {
        let other = gateway.start_beside().await;
        let known = other.issue("service", &["*"]).await;
        assert_eq!(gateway.admits(&known.token).await, 200, "the keys are read now");
        let key = other.issue("service", &["*"]).await;
        assert_eq!(
            gateway.admits(&key.token).await,
            200,
            "and again for one that was not among them"
        );
        assert_eq!(other.delete(&format!("{KEYS}/{}", key.id)).await.status, 204);
        let revoked = Instant::now();
        eventually("the key opens nothing", async || {
            match gateway.admits(&key.token).await {
                401 => Ok(()),
                other => Err(other),
            }
        })
        .await;
        assert!(revoked.elapsed() < Duration::from_secs(4), "{:?}", revoked.elapsed());
        assert_eq!(gateway.admits(&known.token).await, 200);
        other.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_opens_nothing() {
    on_each_database(async |gateway| {
        let key = gateway
            .issue_with(json!({"name": "x", "scopes": ["*"], "expires_at": "2126-01-02T03:04:05Z"}))
            .await;
        assert_eq!(gateway.admits(&key.token).await, 200);
        let moved = "UPDATE api_keys SET expires_at = '2026-01-02T03:04:05.678+00:00', version = version + 1";
        assert_eq!(gateway.database.tamper(moved).await, 1);
        eventually("the key opens nothing", async || {
            match gateway.admits(&key.token).await {
                401 => Ok(()),
                other => Err(other),
            }
        })
        .await;
        assert_eq!(
            gateway.get(&format!("{KEYS}/{}", key.id)).await.json()["state"],
            "expired"
        );
    })
    .await;
}

/// How often the gateways of this process have read the keys.
async fn reads(gateway: &TestGateway) -> u64 {
    let metrics = send(gateway.open(Method::GET, "/metrics")).await;
    let line = metrics
        .text()
        .lines()
        .find(|line| line.starts_with("tidings_api_key_reads_total "));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// A wrong key must not be a way to keep the database busy.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_wrong_keys_cost_a_handful_of_queries() {
    on_each_database(async |gateway| {
        let key = gateway.issue("service", &["*"]).await;
        assert_eq!(gateway.admits(&key.token).await, 200);
        let (secret, before) = ("0a".repeat(32), reads(gateway).await);
        let unknown = |number: u32| format!("tdg_01912d3c-7a10-7c3e-9a52-{number:012x}_{secret}");
        let mut wrong: Vec<_> = (0..1000).map(unknown).collect();
        for number in 0..100 {
            wrong.push(format!("nonsense-{number}"));
            wrong.push(format!("tdg_{number}_{secret}"));
            wrong.push(format!("tdg_{}_{secret}", key.id));
        }
        for group in wrong.chunks(100) {
            let answers = futures_util::future::join_all(group.iter().map(|token| gateway.admits(token))).await;
            assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
        }
        // Ten times a second at most. Other tests of this process, which count here as well, do no more either.
        let cost = reads(gateway).await - before;
        assert!(cost < 500, "{cost} reads");
        assert_eq!(gateway.admits(&key.token).await, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_is_written_down_lazily() {
    on_each_database(async |gateway| {
        let other = gateway.start_beside().await;
        let key = gateway.issue("service", &["*"]).await;
        assert_eq!(other.admits(&key.token).await, 200);
        let last_use = async || gateway.get(&format!("{KEYS}/{}", key.id)).await.json()["last_used_at"].clone();
        assert_eq!(last_use().await, json!(null));
        // One that ends writes what it has not written yet.
        other.stop().await;
        assert!(last_use().await.is_string());
        assert_eq!(gateway.event_types().await, ["tidings.api-key.created"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nobody_is_refused_for_good() {
    on_each_database(async |gateway| {
        let key = gateway.issue("service", &["*"]).await;
        gateway.db().read().close_by_ref().await.unwrap();
        let answer = send(gateway.with_key(&key.token, Method::GET, "/contacts")).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        send(gateway.with_key(&key.token, Method::GET, KEYS))
            .await
            .problem("unavailable", 503);
        assert_eq!(gateway.admits("nonsense").await, 401);
    })
    .await;
}
