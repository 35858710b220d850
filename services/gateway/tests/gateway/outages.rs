use std::sync::Arc;

use reqwest::Method;
use serde_json::json;
use tidings_gateway::Gateway;
use tidings_runtime::health::Health;
use tidings_testkit::{TestDatabase, eventually};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, KEY, client, loopback, on_each_database, parts, send};

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.message().contains("database"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
}

#[tokio::test]
async fn without_the_database_clients_are_told_to_come_back() {
    on_each_database(async |gateway| {
        gateway.db().read().close_by_ref().await.unwrap();
        for path in [
            "/contacts",
            "/messages",
            "/contacts/01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11",
            "/messages/01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11",
        ] {
            assert_unavailable(&gateway.get(path).await);
        }
        assert_eq!(gateway.get("/contacts/42").await.status, 404, "this needs no database");
    })
    .await;
}

#[tokio::test]
async fn until_the_database_is_reached_clients_are_told_to_come_back() {
    let database = TestDatabase::sqlite().await;
    let reached = Arc::new(SetOnce::new());
    let mut parts = parts(database.db.clone(), Health::new());
    parts.db = reached.clone();
    let gateway = Gateway::bind(loopback()).unwrap();
    let address = gateway.addr();
    let cancel = CancellationToken::new();
    let serving = tokio::spawn(gateway.run(parts, cancel.clone()));
    let request = |method, path| {
        client()
            .request(method, format!("http://{address}{path}"))
            .bearer_auth(KEY)
    };
    let create = || request(Method::POST, "/contacts").json(&json!({"name": "Ada", "phone": "+41791234567"}));

    assert_unavailable(&send(request(Method::GET, "/contacts")).await);
    assert_unavailable(&send(create()).await);
    assert_unavailable(&send(create().header("Idempotency-Key", "key")).await);
    let keyless = client().get(format!("http://{address}/contacts"));
    assert_eq!(send(keyless).await.status, 401);
    assert_eq!(send(request(Method::GET, "/health/live")).await.status, 200);

    reached.set(database.db.clone()).unwrap();
    assert_eq!(send(create().header("Idempotency-Key", "key")).await.status, 201);
    cancel.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_write_that_fails_for_want_of_the_database_can_be_sent_again() {
    on_each_database(async |gateway| {
        let message = json!({"from": "+12", "to": {"name": "Ada", "phone": "+41791234567"}, "content": "hello"});
        let send = async || gateway.post_once("/messages", "key", &message).await;
        if gateway.database.name == "PostgreSQL" {
            // Opens the connections that are then cut.
            gateway.get("/contacts").await;
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            gateway.database.tamper(cut).await;
            assert_unavailable(&send().await);
        } else {
            let held = gateway.hold_writes().await;
            assert_unavailable(&send().await);
            held.release().await;
        }
        let done = eventually("the database is back", async || {
            let answer = send().await;
            if answer.status == 201 {
                Ok(answer)
            } else {
                Err(answer.status)
            }
        })
        .await;
        assert_eq!(done.header("idempotency-replayed"), None, "the first one did nothing");
        assert_eq!(
            gateway.event_types().await,
            ["tidings.contact.created", "tidings.message.queued"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_defect_shows_nothing_of_the_inside() {
    on_each_database(async |gateway| {
        gateway.database.tamper("DROP TABLE idempotency_keys").await;
        let answer = gateway
            .post_once("/contacts", "key", &json!({"name": "Ada", "phone": "+41791234567"}))
            .await;
        assert_eq!(answer.status, 500);
        let body = answer.json();
        assert!(
            body["message"].is_string() && body["error"] == body["message"],
            "{body}"
        );
        for inside in ["idempotency", "SQL", "sql", "table"] {
            assert!(!answer.text().contains(inside), "{body}");
        }
        assert!(gateway.events().await.is_empty());
        assert!(answer.header("x-correlation-id").is_some());
    })
    .await;
}
