//! The resource: making, listing and revoking over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use super::KEYS;
use crate::harness::{on_each_database, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_never_kept() {
    on_each_database(async |gateway| {
        let body = json!({"name": "Till 3", "scopes": ["messages:write", "contacts:read"], "expires_at": "2126-01-02T03:04:05Z"});
        let answer = gateway.post(KEYS, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let made = answer.json();
        let (id, token) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        assert!(token.starts_with(&format!("tdg_{id}_")), "{token}");
        assert_eq!(answer.header("location").unwrap(), format!("http://{}{KEYS}/{id}", gateway.addr));

        let shown = gateway.get(&format!("{KEYS}/{id}")).await;
        assert_eq!(shown.header("etag"), Some("\"1\""));
        let mut expected = made.clone();
        expected.as_object_mut().unwrap().remove("key");
        assert_eq!(shown.json(), expected);
        assert_eq!(
            (&expected["role"], &expected["state"], &expected["prefix"]),
            (&json!("service"), &json!("active"), &json!(format!("tdg_{id}")))
        );
        assert_eq!(expected["scopes"], json!(["contacts:read", "messages:write"]));
        assert_eq!(expected["expires_at"], "2126-01-02T03:04:05.000Z");
        assert_eq!(expected["_links"]["self"]["href"], format!("{KEYS}/{id}"));

        let events = gateway.events().await;
        assert_eq!(events.len(), 1);
        let payload = str::from_utf8(&events[0].payload).unwrap();
        assert_eq!((&events[0].event_type[..], &events[0].key[..]), ("tidings.api-key.created", id));
        assert_eq!(events[0].origin.actor.as_deref(), Some("default"));
        let secret = &token[token.len() - 64..];
        assert!(!payload.contains(secret), "{payload}");
        if gateway.database.name == "PostgreSQL" {
            assert!(!gateway.database.contents().await.contains(secret));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_makes_one_key_and_does_not_show_it_again() {
    on_each_database(async |gateway| {
        let body = json!({"name": "Till 3", "scopes": ["*"]});
        let first = gateway.post_once(KEYS, "once", &body).await;
        let second = gateway.post_once(KEYS, "once", &body).await;
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_eq!(second.header("location"), first.header("location"));
        let mut first = first.json();
        assert!(first.as_object_mut().unwrap().remove("key").is_some());
        assert_eq!(second.json(), first);
        assert_eq!(gateway.events().await.len(), 1);
        let other = json!({"name": "another", "scopes": ["*"]});
        gateway
            .post_once(KEYS, "once", &other)
            .await
            .problem("idempotency-key-reused", 422);
        let unfit = gateway.request(Method::POST, KEYS).header("Idempotency-Key", "a b");
        send(unfit.json(&other)).await.problem("invalid-idempotency-key", 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_with_a_key_is_told_at_once() {
    on_each_database(async |gateway| {
        let faults = async |body: Value| {
            let problem = gateway.post(KEYS, &body).await.problem("validation-failed", 400);
            let faults = problem["errors"].as_array().unwrap().clone();
            faults
                .iter()
                .map(|fault| {
                    format!(
                        "{} {}",
                        fault["pointer"].as_str().unwrap(),
                        fault["code"].as_str().unwrap()
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(faults(json!({})).await, ["/name required", "/scopes required"]);
        let bad = json!({"name": " ", "role": "root", "scopes": "all", "expires_at": 5});
        assert_eq!(
            faults(bad).await,
            [
                "/name invalid",
                "/role invalid",
                "/scopes not-a-list",
                "/expires_at not-a-string"
            ]
        );
        for scopes in [
            json!([]),
            json!(["messages"]),
            json!(["api-keys:write"]),
            json!(["planets:write"]),
        ] {
            assert_eq!(
                faults(json!({"name": "x", "scopes": scopes})).await,
                ["/scopes invalid"]
            );
        }
        let past = json!({"name": "x", "scopes": ["*"], "expires_at": "2020-01-02T03:04:05Z"});
        assert_eq!(faults(past).await, ["/expires_at in-the-past"]);
        for body in ["", "[]", "{", "\"x\"", "{\"name\": 1e999}"] {
            gateway
                .send_raw(Method::POST, KEYS, body)
                .await
                .problem("malformed-body", 400);
        }
        let text = gateway.request(Method::POST, KEYS).header("content-type", "text/plain");
        send(text.body("{}")).await.problem("unsupported-media-type", 415);
        gateway
            .send_raw(Method::POST, KEYS, vec![b' '; 1_048_577])
            .await
            .problem("body-too-large", 413);
        assert!(gateway.events().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_by_cursors() {
    on_each_database(async |gateway| {
        for _ in 0..5 {
            gateway.issue("service", &["*"]).await;
        }
        let page = async |query: String| {
            let answer = gateway.get(&format!("{KEYS}/?{query}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let page = answer.json();
            let ids: Vec<_> = page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| key["id"].to_string())
                .collect();
            let links: Vec<_> = answer
                .headers
                .get_all("link")
                .iter()
                .map(|link| link.to_str().unwrap().to_owned())
                .collect();
            (ids, page, links)
        };
        let cursor = |page: &Value, name: &str| page[name].as_str().unwrap().to_owned();
        let (all, whole, links) = page(String::new()).await;
        assert_eq!(
            (all.len(), &whole["next_cursor"], &whole["prev_cursor"]),
            (5, &json!(null), &json!(null))
        );
        assert!(links.is_empty() && !whole.to_string().contains("\"key\""));

        let (first, one, links) = page("limit=2".to_owned()).await;
        assert_eq!((&first[..], &one["prev_cursor"]), (&all[..2], &json!(null)));
        let next = cursor(&one, "next_cursor");
        assert_eq!(
            links,
            [format!(
                "<http://{}{KEYS}/?limit=2&cursor={next}>; rel=\"next\"",
                gateway.addr
            )]
        );
        let (second, two, links) = page(format!("limit=2&cursor={next}")).await;
        assert_eq!((&second[..], links.len()), (&all[2..4], 2));
        let (third, three, _) = page(format!("limit=2&cursor={}", cursor(&two, "next_cursor"))).await;
        assert_eq!((&third[..], &three["next_cursor"]), (&all[4..], &json!(null)));
        let (back, again, _) = page(format!("limit=2&cursor={}", cursor(&three, "prev_cursor"))).await;
        assert_eq!(back, all[2..4]);
        assert_eq!(again["next_cursor"], two["next_cursor"]);
        let (start, _, _) = page(format!("limit=2&cursor={}", cursor(&again, "prev_cursor"))).await;
        assert_eq!(start, all[..2]);
        for bad in ["limit=0", "limit=201", "cursor=nonsense"] {
            let problem = gateway
                .get(&format!("{KEYS}?{bad}"))
                .await
                .problem("validation-failed", 400);
            assert!(
                problem["errors"][0]["pointer"].as_str().unwrap().starts_with('?'),
                "{problem}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_once_and_stays_to_be_seen() {
    on_each_database(async |gateway| {
        let key = gateway.issue("service", &["*"]).await;
        let path = format!("{KEYS}/{}", key.id);
        let conditional = |tag: &'static str| gateway.request(Method::DELETE, &path).header("If-Match", tag);
        for stale in ["\"2\"", "\"x\"", "1", "W/\"1\""] {
            send(conditional(stale)).await.problem("precondition-failed", 412);
        }
        let revoked = send(conditional("\"1\"")).await;
        assert_eq!((revoked.status.as_u16(), revoked.body.len()), (204, 0));
        assert_eq!(gateway.delete(&path).await.status, 204, "again, without effect");
        let shown = gateway.get(&path).await.json();
        assert_eq!(shown["state"], "revoked");
        assert!(shown["revoked_at"].is_string() && shown["_links"]["revoke"].is_null());
        assert_eq!(
            gateway.event_types().await,
            ["tidings.api-key.created", "tidings.api-key.revoked"]
        );
        for nobody in [
            "01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11",
            "x",
            "01912D3C-7A10-7C3E-9A52-3F0D7D1C9B11",
        ] {
            for method in [Method::GET, Method::DELETE] {
                let request = gateway.request(method, &format!("{KEYS}/{nobody}"));
                send(request).await.problem("not-found", 404);
            }
        }
    })
    .await;
}
