use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use tidings_testkit::TestDatabase;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::{LATER, path};
use crate::harness::{TestGateway, on_each_database, send};

#[tokio::test]
async fn what_is_no_expiry_is_refused() {
    on_each_database(async |gateway| {
        let existing = path();
        gateway.register(&existing, "Jay").await;
        for bad in [
            json!(""),
            json!("soon"),
            json!("0x65"),
            json!("1e10"),
            json!("4102444800.5"),
            json!(" 4102444800"),
            json!("+4102444800"),
            json!("04102444800"),
            json!("2100-01-01T00:00:00Z"),
            json!("٤١٠٢٤٤٤٨٠٠"),
            json!("-1"),
            json!(-1),
            json!(4_102_444_800.5),
            json!(4_102_444_800.0),
            json!(null),
            json!(true),
            json!([LATER]),
            json!({"seconds": LATER}),
            json!("253402300800"),
            json!(253_402_300_800_i64),
            json!(u64::MAX),
            json!("99999999999999999999999"),
            // In the past.
            json!("0"),
            json!("1427736345"),
            json!(1_427_736_345),
        ] {
            for answer in [
                gateway.post("/guid", &json!({"user": "Jay", "expire": bad})).await,
                gateway.post(&path(), &json!({"user": "Jay", "expire": bad})).await,
                gateway.patch(&existing, &json!({"expire": bad, "user": "Ada"})).await,
            ] {
                assert_eq!(answer.status, 400, "{bad}");
                assert!(answer.error().contains("expire"), "{answer:?}");
            }
        }
        let latest = gateway.guid(&json!({"user": "Jay", "expire": "253402300799"})).await;
        assert_eq!(latest["expire"], "253402300799");
        assert_eq!(gateway.user_of(&existing).await.as_deref(), Some("Jay"));
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn who_is_nobody_is_refused() {
    on_each_database(async |gateway| {
        let existing = path();
        gateway.register(&existing, "Jay").await;
        for bad in [
            json!(""),
            json!(" \t"),
            json!("a\0b"),
            json!("x".repeat(256)),
            json!(null),
            json!(5),
            json!(["Jay"]),
        ] {
            for answer in [
                gateway.post("/guid", &json!({"user": bad})).await,
                gateway.patch(&existing, &json!({"user": bad})).await,
            ] {
                assert_eq!(answer.status, 400, "{bad}");
                assert!(answer.error().contains("user"), "{answer:?}");
            }
        }
        for missing in [json!({}), json!({"expire": LATER}), json!({"User": "Jay"})] {
            let answer = gateway.post("/guid", &missing).await;
            assert_eq!((answer.status.as_u16(), &answer.error()[..]), (400, "user is required"));
        }
        let longest = "é".repeat(255);
        let taken = gateway
            .guid(&json!({"user": longest, "more": {"that": "is ignored"}}))
            .await;
        assert_eq!(taken["user"], *longest);
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_guid_is_refused() {
    on_each_database(async |gateway| {
        for bad in [
            "9094e4c980c74043a4b586b420e69ddf",
            "9094E4C980C74043A4B586B420E69DD",
            "9094E4C980C74043A4B586B420E69DDF0",
            "9094E4C9-80C7-4043-A4B5-86B420E69DDF",
            "%7B9094E4C980C74043A4B586B420E69DDF%7D",
            "9094E4C980C74043A4B586B420E69DDG",
            "%209094E4C980C74043A4B586B420E69DDF",
            "9094E4C980C74043A4B586B420E69DD%00",
            "%D9%A3094E4C980C74043A4B586B420E69DDF",
            "%FF",
            "x",
        ] {
            let path = format!("/guid/{bad}");
            for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
                let answer = send(gateway.request(method.clone(), &path).json(&json!({"user": "Jay"}))).await;
                assert_eq!(answer.status, 400, "{method} {path}");
                assert!(answer.error().contains("32 hexadecimal digits"), "{answer:?}");
            }
        }
        assert!(gateway.events().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
    on_each_database(async |gateway| {
        let existing = path();
        gateway.register(&existing, "Jay").await;
        for bad in [
            "",
            "{",
            "[]",
            "null",
            "\"user\"",
            "{\"user\": \"\u{1}\"}",
            "{\"user\": \"Jay\",}",
            "\u{feff}{}",
        ] {
            for (method, path) in [
                (Method::POST, "/guid"),
                (Method::POST, &path()),
                (Method::PATCH, &existing),
            ] {
                let answer = gateway.send_raw(method, path, bad).await;
                assert_eq!(answer.status, 400, "{bad:?}");
                assert!(answer.error().contains("body"), "{answer:?}");
            }
        }
        let not_text = gateway.send_raw(Method::POST, "/guid", vec![b'{', 0xff, b'}']).await;
        assert_eq!(not_text.status, 400);
        let large = format!("{{\"user\": \"{}\"}}", "x".repeat(1024 * 1024));
        let answer = gateway.send_raw(Method::POST, "/guid", large).await;
        assert_eq!((answer.status.as_u16(), answer.error().contains("1 MiB")), (413, true));
        for kind in ["text/plain", "application/xml", "application/json; charset=latin1"] {
            let request = gateway.request(Method::POST, "/guid").header("content-type", kind);
            let answer = send(request.body("{\"user\": \"Jay\"}")).await;
            assert_eq!(
                (answer.status.as_u16(), answer.error().contains("JSON")),
                (415, true),
                "{kind}"
            );
        }
        let typeless = send(gateway.request(Method::POST, "/guid").body("{\"user\": \"Jay\"}")).await;
        assert_eq!(typeless.status, 201);
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

/// Whatever is sent is registered or refused, in the contract's form.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_sent_breaks_anything() {
    let gateway = TestGateway::start(TestDatabase::sqlite().await).await;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9]{0,14}".prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    let body = (leaf.clone(), leaf, "[0-9A-Fa-f]{31,33}|[0-9A-F]{32}");
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&body, |(user, expire, guid)| {
        let body = json!({"user": user, "expire": expire});
        let answer = block_in_place(|| Handle::current().block_on(gateway.post(&format!("/guid/{guid}"), &body)));
        let valid = guid.len() == 32 && !guid.contains(|c: char| c.is_ascii_lowercase());
        match answer.status.as_u16() {
            201 => {
                let shown = answer.json();
                prop_assert!(valid && shown["guid"] == guid && shown["user"] == user);
                let digits = expire.as_str().map_or_else(|| expire.to_string(), str::to_owned);
                prop_assert_eq!(shown["expire"].as_str(), Some(&digits[..]));
            }
            400 => drop(answer.error()),
            other => prop_assert!(false, "{} {}", other, body),
        }
        Ok(())
    });
    outcome.unwrap();
    gateway.stop().await;
}
