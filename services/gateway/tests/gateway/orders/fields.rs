//! Whatever is wrong with a body: all of it is told, nothing written, nothing published.

use reqwest::Method;
use serde_json::{Value, json};

use super::order;
use crate::harness::{TestGateway, on_each_database};
use crate::users::with;

const LINES: [&str; 6] = [
    "delivery_name",
    "first_line",
    "second_line",
    "town",
    "postcode",
    "country",
];

/// What is wrong with this, in the contract's words.
async fn wrong(gateway: &TestGateway, path: &str, body: &Value) -> String {
    let answer = gateway.post(path, body).await;
    assert_eq!(answer.status, 400, "{body} {answer:?}");
    answer.error()
}

#[tokio::test]
async fn every_line_of_an_address_is_a_string_that_may_be_empty() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let good = order(&user_id, "x");
        for name in LINES {
            for (value, rule) in [
                (None, "is required"),
                (Some(json!(null)), "must be a string"),
                (Some(json!(5)), "must be a string"),
                (Some(json!(true)), "must be a string"),
                (Some(json!(["x"])), "must be a string"),
                (Some(json!({"x": 1})), "must be a string"),
                (Some(json!("x".repeat(256))), "must have at most 255 characters"),
                (Some(json!(" ".repeat(256))), "must not be empty"),
                (Some(json!("a\0b")), "must not contain NUL characters"),
            ] {
                let mut body = good.clone();
                let lines = body["shipping_info"].as_object_mut().unwrap();
                match value {
                    Some(value) => lines.insert(name.to_owned(), value),
                    None => lines.remove(name),
                };
                assert_eq!(
                    wrong(gateway, "/orders", &body).await,
                    format!("shipping_info.{name} {rule}")
                );
            }
        }
        for (shipping, rule) in [
            (json!(null), "is required"),
            (json!("12 Gloucester Road"), "must be an object"),
            (json!([]), "must be an object"),
        ] {
            let body = with(good.clone(), json!({"shipping_info": shipping}));
            assert_eq!(wrong(gateway, "/orders", &body).await, format!("shipping_info {rule}"));
        }
        assert_eq!(gateway.events().await.len(), 1, "the user's");
    })
    .await;
}

#[tokio::test]
async fn every_other_field_has_its_rule() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let integer = "user_id must be an integer, or a string of its digits";
        let nobody = "user_id is not the number of a user";
        for (path, good) in [
            ("/orders", order(&user_id, "x")),
            ("/notifications", json!({"user_id": user_id, "message": "hello"})),
        ] {
            for (value, error) in [
                (json!(7.0), integer),
                (json!(7.5), integer),
                (json!(true), integer),
                (json!([7]), integer),
                (json!({"id": 7}), integer),
                (json!(1e30), integer),
                (json!(-1), nobody),
                (json!(u64::MAX), nobody),
                (json!(""), nobody),
                (json!(" 7"), nobody),
                (json!("+7"), nobody),
                (json!("7.0"), nobody),
                (json!("seven"), nobody),
                (json!("99999999999999999999"), nobody),
            ] {
                let body = with(good.clone(), json!({"user_id": value}));
                assert_eq!(wrong(gateway, path, &body).await, error, "{value}");
            }
            for (value, error) in [
                (json!("push"), "channel must be one of email, sms"),
                (json!("SMS"), "channel must be one of email, sms"),
                (json!(""), "channel must be one of email, sms"),
                (json!(5), "channel must be a string"),
                (json!(["sms"]), "channel must be a string"),
            ] {
                let body = with(good.clone(), json!({"channel": value}));
                assert_eq!(wrong(gateway, path, &body).await, error, "{value}");
            }
            // No value is not the same as none given.
            for (name, error) in [("user_id", integer), ("channel", "channel must be a string")] {
                let mut body = good.clone();
                body[name] = Value::Null;
                assert_eq!(wrong(gateway, path, &body).await, error);
            }
        }
        let texts = [
            ("/orders", "sequencing_type", order(&user_id, "x"), 100),
            (
                "/notifications",
                "message",
                json!({"user_id": user_id, "message": "x"}),
                10_000,
            ),
        ];
        for (path, name, good, most) in texts {
            for (value, rule) in [
                (json!(""), "must not be empty".to_owned()),
                (json!(" \t"), "must not be empty".to_owned()),
                (json!("a\0b"), "must not contain NUL characters".to_owned()),
                (
                    json!("é".repeat(most + 1)),
                    format!("must have at most {most} characters"),
                ),
                (json!(5), "must be a string".to_owned()),
                (json!(["x"]), "must be a string".to_owned()),
            ] {
                let body = with(good.clone(), json!({name: value}));
                assert_eq!(wrong(gateway, path, &body).await, format!("{name} {rule}"));
            }
            let missing = with(good.clone(), json!({name: null}));
            assert_eq!(wrong(gateway, path, &missing).await, format!("{name} is required"));
            let longest = with(good, json!({name: "é".repeat(most)}));
            assert!(gateway.post(path, &longest).await.status.is_success());
        }
        assert_eq!(gateway.events().await.len(), 3, "the user's and those of the longest");
    })
    .await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    on_each_database(async |gateway| {
        let body = json!({
            "user_id": "x",
            "shipping_info": {"delivery_name": 5, "first_line": "", "town": "a\0b", "country": "Zürich"},
            "channel": "pigeon",
        });
        assert_eq!(
            wrong(gateway, "/orders", &body).await,
            "user_id is not the number of a user; sequencing_type is required; \
             shipping_info.delivery_name must be a string; shipping_info.second_line is required; \
             shipping_info.town must not contain NUL characters; shipping_info.postcode is required; \
             channel must be one of email, sms"
        );
        assert_eq!(
            wrong(gateway, "/notifications", &json!({})).await,
            "user_id is required; message is required"
        );
    })
    .await;
}

#[tokio::test]
async fn only_an_object_is_a_body() {
    on_each_database(async |gateway| {
        let user_id = gateway.person("Serge").await;
        let paths = [
            (Method::POST, "/orders".to_owned()),
            (Method::POST, "/notifications".to_owned()),
            (Method::PATCH, format!("/users/{user_id}")),
        ];
        for (method, path) in paths {
            for (body, error) in [
                ("", "the body is not valid JSON"),
                ("{", "the body is not valid JSON"),
                ("{\"user_id\": 1,}", "the body is not valid JSON"),
                ("[]", "the body must be a JSON object"),
                ("null", "the body must be a JSON object"),
                ("\"text\"", "the body must be a JSON object"),
                (&"[".repeat(100_000), "the body is not valid JSON"),
            ] {
                let answer = gateway.send_raw(method.clone(), &path, body.to_owned()).await;
                assert_eq!(answer.status, 400, "{path} {answer:?}");
                assert!(answer.error().starts_with(error), "{path} {}", answer.error());
            }
            let not_text = gateway.send_raw(method.clone(), &path, vec![b'{', 0xff, b'}']).await;
            assert_eq!(not_text.status, 400);
        }
        assert_eq!(gateway.events().await.len(), 1);
    })
    .await;
}
