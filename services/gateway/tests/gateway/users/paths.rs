use reqwest::Method;
use reqwest::header::HOST;
use serde_json::json;
use tidings_testkit::{TestDatabase, databases};

use super::{COLLECTION, ITEM, USERS, user, with};
use crate::harness::{TestGateway, on_each_database, send};

#[tokio::test]
async fn every_path_has_a_slash_or_json_at_its_end_if_wanted() {
    on_each_database(async |gateway| {
        for (number, end) in ["", "/", ".json", ".json/"].into_iter().enumerate() {
            let body = with(
                user("Serge", "Karamazov"),
                json!({"email": format!("{number}@example.com")}),
            );
            let created = gateway.post(&format!("{USERS}{end}"), &body).await;
            assert_eq!(created.status, 201, "{end}");
            let path = format!("{}{end}", gateway.path(&created.json()));
            let list = gateway.get(&format!("{USERS}{end}")).await;
            assert_eq!((list.status.as_u16(), &list.json()["count"]), (200, &json!(number + 1)));
            assert_eq!(gateway.get(&path).await.json(), created.json());
            assert_eq!(gateway.patch(&path, &json!({})).await.status, 200);
            assert_eq!(gateway.put(&path, &body).await.status, 200);
        }
        let first = gateway.get(USERS).await.json()["results"][0].clone();
        for end in ["", "/", ".json", ".json/"] {
            let deleted = gateway.delete(&format!("{}{end}", gateway.path(&first))).await;
            assert_eq!(deleted.status, if end.is_empty() { 204 } else { 404 });
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_nobody_is_not_found_whatever_the_body() {
    on_each_database(async |gateway| {
        for id in [
            "1",
            "0",
            "-1",
            "+1",
            "abc",
            "1.0",
            "1e3",
            "99999999999999999999",
            "null",
            "1.xml",
            ".json",
        ] {
            let path = format!("{USERS}/{id}");
            for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
                for body in ["", "{", "[]"] {
                    let request = gateway
                        .request(method.clone(), &path)
                        .header("content-type", "text/plain");
                    let answer = send(request.body(body)).await;
                    assert_eq!(
                        (answer.status.as_u16(), answer.detail()),
                        (404, "Not found.".to_owned()),
                        "{id}"
                    );
                    assert_eq!(answer.header("allow"), Some(ITEM));
                }
            }
        }
        for nothing in ["/1/2", "/1/2/", ".xml", "/1//"] {
            let answer = gateway.get(&format!("{USERS}{nothing}")).await;
            assert_eq!(answer.status, 404, "{nothing}");
        }
    })
    .await;
}

#[tokio::test]
async fn other_methods_are_refused_by_name() {
    on_each_database(async |gateway| {
        let item = format!("{USERS}/1");
        for (path, methods, allow) in [
            (USERS, &["PUT", "PATCH", "DELETE", "TRACE", "INVENTED"][..], COLLECTION),
            (&item, &["POST", "TRACE", "INVENTED"], ITEM),
        ] {
            for name in methods {
                let method = Method::from_bytes(name.as_bytes()).unwrap();
                let answer = send(gateway.request(method, path)).await;
                assert_eq!(answer.status, 405, "{name} {path}");
                assert_eq!(answer.detail(), format!("Method \"{name}\" not allowed."));
                assert_eq!(
                    (answer.header("allow"), answer.header("vary")),
                    (Some(allow), Some("Accept"))
                );
            }
            let options = send(gateway.request(Method::OPTIONS, path)).await;
            assert_eq!((options.status.as_u16(), options.header("allow")), (200, Some(allow)));
        }
        let created = gateway.user(&user("Serge", "Karamazov")).await;
        for path in [USERS.to_owned(), gateway.path(&created)] {
            let (get, head) = (
                gateway.get(&path).await,
                send(gateway.request(Method::HEAD, &path)).await,
            );
            assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
            assert_eq!(head.header("content-length"), Some(&get.body.len().to_string()[..]));
            assert_eq!(head.header("allow"), get.header("allow"));
        }
        assert_eq!(
            send(gateway.request(Method::HEAD, &format!("{USERS}/99"))).await.status,
            404
        );
    })
    .await;
}

#[tokio::test]
async fn open_contracts_need_no_key_and_closed_ones_do() {
    for database in databases().await {
        let open = TestGateway::start(database).await;
        let anonymous = send(open.open(Method::POST, USERS).json(&user("Serge", "Karamazov"))).await;
        assert_eq!(anonymous.status, 201);
        open.user(&user("Odile", "Deray")).await;
        let wrong = open.open(Method::GET, USERS).bearer_auth("wrong");
        assert_eq!(send(wrong).await.status, 200);
        let actors: Vec<_> = open
            .events()
            .await
            .into_iter()
            .map(|event| event.origin.actor)
            .collect();
        assert_eq!(actors, [None, Some("default".to_owned())]);
        open.stop().await;
    }
    let closed = TestGateway::start_with(TestDatabase::sqlite().await, |parts| parts.open_contracts = false).await;
    let created = closed.user(&user("Serge", "Karamazov")).await;
    for (method, path) in [
        (Method::GET, USERS.to_owned()),
        (Method::POST, USERS.to_owned()),
        (Method::OPTIONS, USERS.to_owned()),
        (Method::GET, closed.path(&created)),
        (Method::DELETE, closed.path(&created)),
        (Method::GET, format!("{USERS}/abc")),
    ] {
        for request in [
            closed.open(method.clone(), &path),
            closed.open(method.clone(), &path).bearer_auth("wrong"),
        ] {
            let answer = send(request.body("{")).await;
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.detail().contains("key"));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(answer.header("allow").is_some());
        }
    }
    assert_eq!(closed.user_count().await, 1);
    closed.stop().await;
}

#[tokio::test]
async fn links_begin_with_the_public_url_or_with_what_was_called() {
    let gateway = TestGateway::start(TestDatabase::sqlite().await).await;
    let created = gateway.user(&user("Serge", "Karamazov")).await;
    let path = gateway.path(&created);
    let called = async |host: &str| {
        let request = gateway.request(Method::GET, &path).header(HOST, host);
        let request = request
            .header("X-Forwarded-Host", "elsewhere")
            .header("Forwarded", "host=elsewhere");
        send(request).await.json()["url"].as_str().unwrap().to_owned()
    };
    assert_eq!(called("api.example.com").await, format!("http://api.example.com{path}"));
    assert_eq!(called("user@host").await, format!("http://{}{path}", gateway.addr));
    gateway.stop().await;

    let public = TestGateway::start_with(TestDatabase::sqlite().await, |parts| {
        parts.public_url = Some("https://api.example.com/tidings".to_owned());
    })
    .await;
    let answer = public.post(USERS, &user("Serge", "Karamazov")).await;
    let url = format!("https://api.example.com/tidings{USERS}/1");
    assert_eq!(
        (answer.json()["url"].as_str(), answer.header("location")),
        (Some(&url[..]), Some(&url[..]))
    );
    public.user(&user("Odile", "Deray")).await;
    let page = public.get(&format!("{USERS}?page_size=1")).await.json();
    assert_eq!(
        page["next"],
        format!("https://api.example.com/tidings{USERS}?page=2&page_size=1")
    );
    assert_eq!(page["results"][0]["url"], url);
    let event = &public.events().await[0];
    assert!(String::from_utf8_lossy(&event.payload).contains(&url));
    public.stop().await;
}
