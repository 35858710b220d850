use reqwest::Method;
use serde_json::{Value, json};

use super::{USERS, user, with};
use crate::harness::on_each_database;

const REQUIRED: &str = "This field is required.";
const BLANK: &str = "This field may not be blank.";
const NULL: &str = "This field may not be null.";
const NO_STRING: &str = "Not a valid string.";
const NO_EMAIL: &str = "Enter a valid email address.";

fn too_long(max: usize) -> String {
    format!("Ensure this field has no more than {max} characters.")
}

/// Bodies, and what is wrong with them.
fn bad() -> Vec<(Value, Value)> {
    let valid = || user("Serge", "Karamazov");
    let mut cases = vec![
        (
            json!({}),
            json!({"first_name": [REQUIRED], "last_name": [REQUIRED], "email": [REQUIRED], "password": [REQUIRED]}),
        ),
        (
            json!({"first_name": " ", "last_name": null, "email": "serge", "password": true, "address": null}),
            json!({"first_name": [BLANK], "last_name": [NULL], "email": [NO_EMAIL], "password": [NO_STRING], "address": [NULL]}),
        ),
        (
            with(valid(), json!({"email": format!("{}@x", "x".repeat(300))})),
            json!({"email": [too_long(254), NO_EMAIL]}),
        ),
    ];
    for (field, max) in [
        ("first_name", 70),
        ("last_name", 70),
        ("email", 254),
        ("password", 128),
        ("address", 300),
    ] {
        if field != "email" {
            let mut body = valid();
            body[field] = json!("é".repeat(max + 1));
            cases.push((body, json!({field: [too_long(max)]})));
            let mut body = valid();
            body[field] = json!("a\0b");
            cases.push((body, json!({field: ["Null characters are not allowed."]})));
        }
        if field != "address" {
            let mut body = valid();
            body[field] = json!(" \t\n");
            cases.push((body, json!({field: [BLANK]})));
        }
        for (value, text) in [
            (Value::Null, NULL),
            (json!(true), NO_STRING),
            (json!(["x"]), NO_STRING),
            (json!({"x": "y"}), NO_STRING),
        ] {
            let mut body = valid();
            body[field] = value;
            cases.push((body, json!({field: [text]})));
        }
    }
    cases
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    on_each_database(async |gateway| {
        let someone = gateway.user(&user("Odile", "Deray")).await;
        let path = gateway.path(&someone);
        for (body, expected) in bad() {
            for answer in [gateway.post(USERS, &body).await, gateway.put(&path, &body).await] {
                assert_eq!(
                    (answer.status.as_u16(), answer.json()),
                    (400, expected.clone()),
                    "{body}"
                );
            }
            // A part may be missing, and must be as it has to be where it is not.
            let answer = gateway.patch(&path, &body).await;
            if body == json!({}) {
                assert_eq!(answer.status, 200);
            } else {
                assert_eq!((answer.status.as_u16(), answer.json()), (400, expected), "{body}");
            }
        }
        assert_eq!(gateway.get(&path).await.json(), someone);
        assert_eq!((gateway.user_count().await, gateway.events().await.len()), (1, 2));
    })
    .await;
}

/// As the example of the contract has it: what the database says belongs to the same answer.
#[tokio::test]
async fn an_email_that_is_taken_is_told_with_the_rest() {
    on_each_database(async |gateway| {
        let odile = gateway.user(&user("Odile", "Deray")).await;
        let body = with(user("Odile", "Deray"), json!({"password": null}));
        let taken = "user with this email already exists.";
        let answer = gateway.post(USERS, &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (400, json!({"email": [taken], "password": [REQUIRED]}))
        );
        // By anyone but the one it belongs to.
        let answer = gateway.put(&gateway.path(&odile), &body).await;
        assert_eq!(answer.json(), json!({"password": [REQUIRED]}));
        let serge = gateway.user(&user("Serge", "Karamazov")).await;
        let answer = gateway.put(&gateway.path(&serge), &body).await;
        assert_eq!(answer.json(), json!({"email": [taken], "password": [REQUIRED]}));
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn texts_are_trimmed_and_numbers_are_texts() {
    on_each_database(async |gateway| {
        let created = gateway
            .user(&json!({
                "first_name": "  Serge ",
                "last_name": 52,
                "email": "\tserge@example.com\n",
                "password": 12_345_678,
                "address": 1.5,
                "unknown": {"is": "ignored"},
            }))
            .await;
        let fields = ["first_name", "last_name", "email", "address"].map(|name| created[name].as_str().unwrap());
        assert_eq!(fields, ["Serge", "52", "serge@example.com", "1.5"]);
        // Digit for digit, however many there are.
        let body = r#"{"address": 123456789012345678901234567890}"#;
        let answer = gateway.send_raw(Method::PATCH, &gateway.path(&created), body).await;
        assert_eq!(answer.json()["address"], "123456789012345678901234567890");
        let longest = with(
            user("Odile", "Deray"),
            json!({"first_name": "é".repeat(70), "password": "é".repeat(128), "address": "é".repeat(300)}),
        );
        gateway.user(&longest).await;
    })
    .await;
}

#[tokio::test]
async fn a_body_is_a_json_object() {
    on_each_database(async |gateway| {
        let path = gateway.path(&gateway.user(&user("Odile", "Deray")).await);
        let targets = [(Method::POST, USERS), (Method::PUT, &path), (Method::PATCH, &path)];
        for (method, path) in &targets {
            let send = async |body: Vec<u8>| gateway.send_raw(method.clone(), path, body).await;
            for malformed in [
                "{",
                "{]",
                "name=Ada",
                "{\"first_name\": \"\\ud800\"}",
                "{} {}",
                " ",
                "{'a': 1}",
            ] {
                let answer = send(malformed.as_bytes().to_vec()).await;
                assert_eq!(answer.status, 400, "{malformed}");
                assert!(answer.detail().starts_with("JSON parse error - "), "{answer:?}");
            }
            assert_eq!(send(b"{\"first_name\": \"\xff\"}".to_vec()).await.status, 400);
            assert_eq!(
                send([b"{\"a\":".to_vec(), vec![b'['; 100_000]].concat()).await.status,
                400
            );
            for (other, kind) in [
                ("[]", "list"),
                ("\"x\"", "str"),
                ("5", "int"),
                ("1.5", "float"),
                ("true", "bool"),
            ] {
                let expected = format!("Invalid data. Expected a dictionary, but got {kind}.");
                let answer = send(other.as_bytes().to_vec()).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.json()),
                    (400, json!({"non_field_errors": [expected]}))
                );
            }
            let answer = send(b"null".to_vec()).await;
            assert_eq!(answer.json(), json!({"non_field_errors": ["No data provided"]}));

            let other = gateway
                .request(method.clone(), path)
                .header("content-type", "text/plain")
                .body("{}");
            let answer = crate::harness::send(other).await;
            assert_eq!(answer.status, 415);
            answer.detail();
            let answer = send(vec![b' '; 1024 * 1024 + 1]).await;
            assert_eq!(answer.status, 413);
            answer.detail();
        }
        // No body at all is an object without fields.
        let nothing = gateway.request(Method::POST, USERS);
        assert_eq!(crate::harness::send(nothing).await.json()["email"], json!([REQUIRED]));
        assert_eq!(gateway.events().await.len(), 1);
    })
    .await;
}
