//! Whatever is wrong with a request: the contract's error, nothing written, nothing published.

use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::harness::{TestGateway, on_each_database, send};

const NOBODY: &str = "01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11";

/// Bodies, and what their error names.
fn bad_contacts() -> Vec<(Value, &'static str)> {
    let contact = |name: Value, phone: Value| json!({"name": name, "phone": phone});
    let phone = |phone: &str| contact(json!("Ada"), json!(phone));
    vec![
        (json!({}), "name"),
        (json!({"name": "Ada"}), "phone"),
        (json!({"phone": "+41791234567"}), "name"),
        (json!({"Name": "Ada", "Phone": "+41791234567"}), "name"),
        (contact(json!(""), json!("+41791234567")), "name"),
        (contact(json!(" \t\n"), json!("+41791234567")), "name"),
        (contact(json!("a\0b"), json!("+41791234567")), "name"),
        (contact(json!("x".repeat(256)), json!("+41791234567")), "name"),
        (contact(json!(5), json!("+41791234567")), "name"),
        (contact(json!(null), json!("+41791234567")), "name"),
        (contact(json!(["Ada"]), json!("+41791234567")), "name"),
        (contact(json!({"first": "Ada"}), json!("+41791234567")), "name"),
        (contact(json!(true), json!("+41791234567")), "name"),
        (contact(json!("Ada"), json!(41_791_234_567_u64)), "phone"),
        (contact(json!("Ada"), json!(null)), "phone"),
        (phone(""), "phone"),
        (phone("+"), "phone"),
        (phone("+1"), "phone"),
        (phone("+0123"), "phone"),
        (phone("41791234567"), "phone"),
        (phone("0041791234567"), "phone"),
        (phone("+41 79 123 45 67"), "phone"),
        (phone("+4179123456a"), "phone"),
        (phone("+1234567890123456"), "phone"),
        (phone(" +41791234567"), "phone"),
        (phone("+41791234567\n"), "phone"),
        (phone("+４１７９"), "phone"),
    ]
}

fn bad_messages() -> Vec<(Value, &'static str)> {
    let message = |from: Value, to: Value, content: Value| json!({"from": from, "to": to, "content": content});
    let to = |to: Value| message(json!("+12"), to, json!("hello"));
    let from = |from: Value| message(from, json!({"name": "Ada", "phone": "+41791234567"}), json!("hello"));
    let content = |content: Value| message(json!("+12"), json!({"name": "Ada", "phone": "+41791234567"}), content);
    vec![
        (json!({}), "from"),
        (json!({"from": "+12", "content": "hello"}), "to"),
        (
            json!({"from": "+12", "to": {"name": "Ada", "phone": "+41791234567"}}),
            "content",
        ),
        (from(json!("")), "from"),
        (from(json!("Ada")), "from"),
        (from(json!("+0")), "from"),
        (from(json!(12)), "from"),
        (from(json!(null)), "from"),
        (from(json!(NOBODY)), "from"),
        (from(json!(NOBODY.to_uppercase())), "from"),
        (content(json!("")), "content"),
        (content(json!("  ")), "content"),
        (content(json!(7)), "content"),
        (content(json!("a\0b")), "content"),
        (content(json!("x".repeat(65_537))), "content"),
        (to(json!(NOBODY)), "to"),
        (to(json!(null)), "to"),
        (to(json!([])), "to"),
        (to(json!({})), "to"),
        (to(json!({"id": NOBODY})), "to.id"),
        (to(json!({"id": "42"})), "to.id"),
        (to(json!({"id": NOBODY.to_uppercase()})), "to.id"),
        (to(json!({"id": 42})), "to.id"),
        (to(json!({"id": null, "name": "Ada", "phone": "+41791234567"})), "to.id"),
        (to(json!({"name": "Ada"})), "to.phone"),
        (to(json!({"phone": "+41791234567"})), "to.name"),
        (to(json!({"name": 5, "phone": "+41791234567"})), "to.name"),
        (to(json!({"name": "", "phone": "+41791234567"})), "name"),
        (to(json!({"name": "Ada", "phone": "079 123 45 67"})), "phone"),
    ]
}

/// Bytes that are no JSON object.
fn malformed() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "{]",
        "name=Ada",
        "null",
        "5",
        "\"text\"",
        "[]",
        "[{\"name\": \"Ada\", \"phone\": \"+41791234567\"}]",
        "{\"name\": \"Ada\", \"phone\": \"+41791234567\"} trailing",
        "{\"name\": \"Ada\", \"phone\": \"+41791234567\",}",
        "{'name': 'Ada', 'phone': '+41791234567'}",
        "{\"name\": \"\\ud800\", \"phone\": \"+41791234567\"}",
        "{\"name\": NaN, \"phone\": \"+41791234567\"}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    bodies.push(b"{\"name\": \"\xff\xfe\", \"phone\": \"+41791234567\"}".to_vec());
    bodies.push([b"{\"name\":".to_vec(), vec![b'['; 100_000]].concat());
    bodies
}

async fn nothing_happened(gateway: &TestGateway, events: usize) {
    assert_eq!(gateway.events().await.len(), events, "nothing is published");
    assert_eq!(gateway.get("/messages").await.json()["messages"], json!([]));
}

#[tokio::test]
async fn a_bad_contact_or_message_is_refused() {
    on_each_database(async |gateway| {
        let cases = [("/contacts", bad_contacts()), ("/messages", bad_messages())];
        for (path, bodies) in cases {
            for (body, named) in bodies {
                let answer = gateway.post(path, &body).await;
                assert_eq!(answer.status, 400, "{path} {body}");
                let error = answer.error();
                assert!(error.starts_with(named), "{path} {body}: {error}");
                assert!(error.len() < 200, "{error}");
            }
        }
        for path in ["/contacts", "/messages"] {
            for body in malformed() {
                let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                let answer = gateway.send_raw(Method::POST, path, body).await;
                assert_eq!(answer.status, 400, "{path} {shown}");
                assert!(answer.error().contains("body"), "{path} {shown}: {answer:?}");
            }
        }
        nothing_happened(gateway, 0).await;
        assert_eq!(gateway.get("/contacts").await.json()["contacts"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_bad_change_is_refused() {
    on_each_database(async |gateway| {
        let contact = gateway.contact("Ada", "+41791234567").await;
        let path = format!("/contacts/{}", contact["id"].as_str().unwrap());
        for (body, named) in [
            (json!({"name": ""}), "name"),
            (json!({"name": null}), "name"),
            (json!({"name": 5}), "name"),
            (json!({"phone": "123"}), "phone"),
            (json!({"phone": null}), "phone"),
            (json!({"name": "Eve", "phone": "+0"}), "phone"),
        ] {
            let answer = gateway.patch(&path, &body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert!(answer.error().starts_with(named), "{body}: {answer:?}");
        }
        for body in malformed() {
            let answer = gateway.send_raw(Method::PATCH, &path, body).await;
            assert_eq!(answer.status, 400);
            answer.error();
        }
        assert_eq!(gateway.get(&path).await.json(), contact);
        nothing_happened(gateway, 1).await;
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_none_is_the_id_of_nothing() {
    on_each_database(async |gateway| {
        for id in [
            NOBODY,
            &NOBODY.to_uppercase(),
            &NOBODY.replace('-', ""),
            "42",
            "null",
            "..%2F",
            "-",
            &"9".repeat(2000),
        ] {
            let path = format!("/contacts/{id}");
            for answer in [
                gateway.get(&path).await,
                gateway.get(&format!("{path}/")).await,
                gateway.patch(&path, &json!({"name": "Eve"})).await,
                gateway.delete(&path).await,
            ] {
                answer.assert_not_found(id, "contact");
            }
            gateway
                .get(&format!("/messages/{id}"))
                .await
                .assert_not_found(id, "message");
        }
        nothing_happened(gateway, 0).await;
    })
    .await;
}

#[tokio::test]
async fn bodies_have_a_limit() {
    on_each_database(async |gateway| {
        let limit = 1024 * 1024;
        let contact = json!({"name": "Ada", "phone": "+41791234567"}).to_string();
        for (path, method) in [
            ("/contacts", Method::POST),
            ("/messages", Method::POST),
            (&format!("/contacts/{NOBODY}"), Method::PATCH),
        ] {
            for size in [limit + 1, 3 * limit] {
                let body = format!("{contact}{}", " ".repeat(size - contact.len()));
                let answer = gateway.send_raw(method.clone(), path, body.clone()).await;
                assert_eq!(answer.status, 413, "{path} {size}");
                answer.error();
                // Without a length announced.
                let chunks = futures_util::stream::iter(
                    body.into_bytes()
                        .chunks(64 * 1024)
                        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
                        .collect::<Vec<_>>(),
                );
                let answer = gateway
                    .send_raw(method.clone(), path, reqwest::Body::wrap_stream(chunks))
                    .await;
                assert_eq!(answer.status, 413, "{path} {size}");
            }
        }
        nothing_happened(gateway, 0).await;
        let body = format!("{contact}{}", " ".repeat(limit - contact.len()));
        assert_eq!(gateway.send_raw(Method::POST, "/contacts", body).await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn bodies_are_json() {
    on_each_database(async |gateway| {
        let contact = |number: usize| json!({"name": "Ada", "phone": format!("+4179000{number:04}")}).to_string();
        for other in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/json; charset=iso-8859-1",
            "nonsense",
        ] {
            for (method, path) in [
                (Method::POST, "/contacts"),
                (Method::POST, "/messages"),
                (Method::PATCH, "/contacts/1"),
            ] {
                let request = gateway.request(method, path).header(CONTENT_TYPE, other);
                let answer = send(request.body(contact(0))).await;
                assert_eq!(answer.status, 415, "{path} {other}");
                answer.error();
            }
        }
        let compressed = gateway
            .request(Method::POST, "/contacts")
            .header(CONTENT_ENCODING, "gzip");
        assert_eq!(send(compressed.body(contact(0))).await.status, 415);
        nothing_happened(gateway, 0).await;

        let unsaid = gateway.request(Method::POST, "/contacts").body(contact(1));
        assert_eq!(send(unsaid).await.status, 201);
        for (number, json) in [
            "application/json",
            "application/json; charset=utf-8",
            "APPLICATION/JSON;charset=\"UTF-8\"",
            "application/vnd.example+json",
        ]
        .into_iter()
        .enumerate()
        {
            let request = gateway.request(Method::POST, "/contacts").header(CONTENT_TYPE, json);
            assert_eq!(send(request.body(contact(number + 2))).await.status, 201, "{json}");
        }
    })
    .await;
}
