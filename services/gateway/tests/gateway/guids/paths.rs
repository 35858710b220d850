use reqwest::Method;
use serde_json::json;
use tidings_testkit::{TestDatabase, databases};

use super::path;
use crate::harness::{TestGateway, on_each_database, send};

#[tokio::test]
async fn every_path_has_a_slash_at_its_end_if_wanted() {
    on_each_database(async |gateway| {
        let any = gateway.post("/guid/", &json!({"user": "Jay"})).await;
        assert_eq!(any.status, 201);
        let (path, body) = (format!("{}/", path()), json!({"user": "Jay"}));
        assert_eq!(gateway.post(&path, &body).await.status, 201);
        assert_eq!(gateway.get(&path).await.json()["user"], "Jay");
        assert_eq!(gateway.patch(&path, &body).await.status, 200);
        assert_eq!(gateway.delete(path.trim_end_matches('/')).await.status, 204);
        assert_eq!(gateway.delete(&path).await.status, 404);
        for nothing in ["/guid//x", "/guid/a/b", "/guids", "/GUID"] {
            assert_eq!(gateway.post(nothing, &body).await.status, 404, "{nothing}");
        }
    })
    .await;
}

#[tokio::test]
async fn other_methods_are_refused_by_what_is_allowed() {
    let gateway = TestGateway::start(TestDatabase::sqlite().await).await;
    for (path, allow, refused) in [
        ("/guid", "POST", &["GET", "PUT", "PATCH", "DELETE", "INVENTED"][..]),
        ("/guid/", "POST", &["GET", "DELETE"]),
        (&path(), "GET, POST, PATCH, DELETE", &["PUT", "OPTIONS", "INVENTED"]),
        ("/guid/x", "GET, POST, PATCH, DELETE", &["PUT"]),
    ] {
        for name in refused {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let answer = send(gateway.request(method, path)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, Some(allow)),
                "{name} {path}"
            );
            assert!(answer.error().contains(allow));
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_open_contract_needs_no_key_and_a_closed_one_does() {
    for database in databases().await {
        let open = TestGateway::start(database).await;
        let anonymous = send(open.open(Method::POST, "/guid").json(&json!({"user": "Jay"}))).await;
        assert_eq!(anonymous.status, 201);
        open.guid(&json!({"user": "Ada"})).await;
        let actors = open.events().await.into_iter().map(|event| event.origin.actor);
        assert_eq!(actors.collect::<Vec<_>>(), [None, Some("default".to_owned())]);
        open.stop().await;
    }
    let closed = TestGateway::start_with(TestDatabase::sqlite().await, |parts| parts.open_contracts = false).await;
    let existing = path();
    closed.register(&existing, "Jay").await;
    for (method, path) in [
        (Method::POST, "/guid"),
        (Method::POST, &path()),
        (Method::GET, &existing),
        (Method::PATCH, &existing),
        (Method::DELETE, &existing),
        (Method::GET, "/guid/x"),
    ] {
        for request in [
            closed.open(method.clone(), path),
            closed.open(method.clone(), path).bearer_auth("wrong"),
        ] {
            let answer = send(request.body("{")).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.error().contains("key"));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(closed.user_of(&existing).await.as_deref(), Some("Jay"));
    closed.stop().await;
}

#[tokio::test]
async fn without_the_database_clients_are_told_to_come_back() {
    on_each_database(async |gateway| {
        gateway.db().read().close_by_ref().await.unwrap();
        let body = json!({"user": "Jay"});
        let mut answers = vec![gateway.get(&path()).await];
        // On SQLite writes have a connection of their own.
        if gateway.database.name == "PostgreSQL" {
            answers.push(gateway.post("/guid", &body).await);
            answers.push(gateway.patch(&path(), &body).await);
            answers.push(gateway.delete(&path()).await);
        }
        for answer in answers {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.error().contains("database"));
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        }
        assert_eq!(gateway.get("/guid/x").await.status, 400, "this needs no database");
    })
    .await;
}
