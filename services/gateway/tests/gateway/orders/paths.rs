use reqwest::Method;
use serde_json::{Value, json};
use tidings_testkit::{TestDatabase, databases};

use super::{NOTHING, order};
use crate::harness::{TestGateway, on_each_database, send};
use crate::users::user;

/// Every path of the contract with its methods.
fn paths(user_id: &Value) -> Vec<(String, Vec<Method>)> {
    vec![
        ("/users".to_owned(), vec![Method::GET]),
        (format!("/users/{user_id}"), vec![Method::PATCH]),
        ("/orders".to_owned(), vec![Method::GET, Method::POST]),
        (format!("/orders/{NOTHING}"), vec![Method::GET]),
        ("/notifications".to_owned(), vec![Method::GET, Method::POST]),
        (format!("/notifications/{NOTHING}"), vec![Method::GET]),
    ]
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_there_are() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        for (path, methods) in paths(&user_id) {
            let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            for path in [path.clone(), format!("{path}/")] {
                for name in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "INVENTED"] {
                    let method = Method::from_bytes(name.as_bytes()).unwrap();
                    let known = methods.contains(&method);
                    let answer = send(gateway.request(method, &path).body("{")).await;
                    if known {
                        assert!(!matches!(answer.status.as_u16(), 401 | 405), "{name} {path}");
                        continue;
                    }
                    assert_eq!(answer.status, 405, "{name} {path}");
                    assert_eq!(answer.header("allow"), Some(&allow[..]), "{name} {path}");
                    assert!(answer.error().contains(&allow), "{name} {path}");
                }
            }
        }
        for nothing in [
            "/users/1/orders",
            "/orders/1/2",
            "/orders//",
            "/order",
            "/notifications/1/attempts",
        ] {
            let answer = gateway.get(nothing).await;
            assert_eq!(answer.status, 404, "{nothing}");
            answer.error();
        }
    })
    .await;
}

#[tokio::test]
async fn open_contracts_need_no_key_and_closed_ones_do() {
    for database in databases().await {
        let open = TestGateway::start(database).await;
        let user_id = open.person("Serge").await;
        let body = order(&user_id, "x");
        let anonymous = send(open.open(Method::POST, "/orders").json(&body)).await;
        assert_eq!(anonymous.status, 201);
        let wrong = send(open.open(Method::GET, "/users").bearer_auth("wrong")).await;
        assert_eq!(wrong.status, 200);
        open.place(&body).await;
        let actors: Vec<_> = open
            .events()
            .await
            .into_iter()
            .map(|event| event.origin.actor)
            .collect();
        let key = Some("default".to_owned());
        assert_eq!(actors, [key.clone(), None, key]);
        open.stop().await;
    }
    let closed = TestGateway::start_with(TestDatabase::sqlite().await, |parts| parts.open_contracts = false).await;
    let user_id = closed.user(&user("Serge", "Karamazov")).await["id"].clone();
    for (path, methods) in paths(&user_id) {
        for method in methods {
            for request in [
                closed.open(method.clone(), &path),
                closed.open(method.clone(), &path).bearer_auth("wrong"),
            ] {
                let answer = send(request.header("content-type", "text/plain").body("{")).await;
                assert_eq!(answer.status, 401, "{method} {path}");
                assert!(answer.error().contains("key"));
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
        }
    }
    // An unknown method is told as such to anyone.
    assert_eq!(send(closed.open(Method::DELETE, "/orders")).await.status, 405);
    closed.place(&order(&user_id, "x")).await;
    closed.stop().await;
}

#[tokio::test]
async fn bodies_are_json_of_a_size() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let body = order(&user_id, "x");
        for (method, path) in [
            (Method::POST, "/orders".to_owned()),
            (Method::POST, "/notifications".to_owned()),
            (Method::PATCH, format!("/users/{user_id}")),
        ] {
            let typed = |content_type: &str| {
                gateway
                    .request(method.clone(), &path)
                    .header("content-type", content_type)
            };
            for other in [
                "text/plain",
                "application/x-www-form-urlencoded",
                "application/json; charset=latin1",
            ] {
                let answer = send(typed(other).body(body.to_string())).await;
                assert_eq!(answer.status, 415, "{path} {other}");
                assert!(answer.error().contains("JSON"));
            }
            let compressed = typed("application/json").header("content-encoding", "gzip");
            assert_eq!(send(compressed.body("x")).await.status, 415);
            let large = typed("application/json").body(format!("{{\"x\": \"{}\"}}", "x".repeat(1024 * 1024)));
            let large = send(large).await;
            assert_eq!(large.status, 413, "{path}");
            assert!(large.error().contains("1 MiB"));
        }
        // None counts as JSON.
        let untyped = gateway.request(Method::POST, "/orders").body(body.to_string());
        assert_eq!(send(untyped).await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn links_begin_with_the_public_url_or_with_what_was_called() {
    let public = TestGateway::start_with(TestDatabase::sqlite().await, |parts| {
        parts.public_url = Some("https://api.example.com/tidings".to_owned());
    })
    .await;
    let user_id = public.person("Serge").await;
    for (path, body) in [
        ("/orders", order(&user_id, "x")),
        ("/notifications", json!({"user_id": user_id, "message": "hello"})),
    ] {
        let answer = public.post(path, &body).await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let url = format!("https://api.example.com/tidings{path}/{id}");
        assert_eq!(answer.header("location"), Some(&url[..]));
    }
    public.set_phone(&user_id, "+12").await;
    let changed = public.events().await.pop().unwrap();
    let url = format!("https://api.example.com/tidings/api/v1/users/{user_id}");
    assert!(String::from_utf8_lossy(&changed.payload).contains(&url));
    public.stop().await;
}
