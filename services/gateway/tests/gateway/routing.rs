//! Which requests are answered at all: paths, methods, keys.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{KEY, on_each_database, send};

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND"];
const NOBODY: &str = "01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11";

/// Path and methods of every operation, as the served document has them.
async fn documented(gateway: &crate::harness::TestGateway) -> Vec<(String, BTreeSet<String>)> {
    let document = send(gateway.open(Method::GET, "/docs/openapi.yaml")).await;
    let document: Value = serde_saphyr::from_str(document.text()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            (
                path.replace("{id}", NOBODY),
                methods.map(|method| method.to_uppercase()).collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn every_operation_needs_the_key_and_other_methods_are_refused() {
    on_each_database(async |gateway| {
        let documented = documented(gateway).await;
        assert_eq!(documented.len(), 4);
        for (path, methods) in documented {
            for path in [path.clone(), format!("{path}/")] {
                for method in METHODS {
                    let name = method;
                    let method = Method::from_bytes(method.as_bytes()).unwrap();
                    let without_key = send(gateway.open(method.clone(), &path)).await;
                    let with_key = send(gateway.request(method.clone(), &path)).await;
                    if methods.contains(name) {
                        assert_eq!(without_key.status, 401, "{name} {path}");
                        assert!(without_key.message().contains("key"));
                        assert_eq!(without_key.header("www-authenticate"), Some("Bearer"));
                        assert!(!matches!(with_key.status.as_u16(), 401 | 405), "{name} {path}");
                        continue;
                    }
                    for answer in [without_key, with_key] {
                        assert_eq!(answer.status, 405, "{name} {path}");
                        let allow: BTreeSet<_> =
                            answer.header("allow").unwrap().split(", ").map(str::to_owned).collect();
                        assert_eq!(allow, methods, "{name} {path}");
                        if method != Method::HEAD {
                            answer.error();
                        }
                    }
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_right_key_opens() {
    on_each_database(async |gateway| {
        for bad in [
            String::new(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            KEY.to_owned(),
            format!("Basic {KEY}"),
            format!("Bearer {KEY}x"),
            format!("Bearer {}", &KEY[1..]),
            format!("Bearer {}", KEY.to_uppercase()),
        ] {
            let answer = send(gateway.open(Method::GET, "/contacts").header(AUTHORIZATION, &bad)).await;
            assert_eq!(answer.status, 401, "{bad}");
            assert!(!answer.message().contains(KEY));
        }
        for good in [
            format!("Bearer {KEY}"),
            format!("bearer {KEY}"),
            format!("BEARER  {KEY}"),
        ] {
            let answer = send(gateway.open(Method::GET, "/contacts").header(AUTHORIZATION, &good)).await;
            assert_eq!(answer.status, 200, "{good}");
        }
    })
    .await;
}

/// Whoever has no key cannot make the gateway read.
#[tokio::test]
async fn the_key_is_looked_at_before_the_body() {
    on_each_database(async |gateway| {
        let mut connection = TcpStream::connect(gateway.addr).await.unwrap();
        let head = "POST /messages HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5000000\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(30), connection.read_exact(&mut answer));
        read.await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    })
    .await;
}

#[tokio::test]
async fn where_nothing_is_everyone_is_told_so() {
    on_each_database(async |gateway| {
        for path in [
            "/",
            "/contact",
            "/Contacts",
            "/contacts//",
            "/contacts/1/2",
            "//contacts",
            "/messages/1/attempts",
            "/docs/nothing.js",
            "/docs/../etc/passwd",
            "/redoc/x",
            "/health/other",
        ] {
            for method in [Method::GET, Method::POST] {
                if path.starts_with("/docs/") && method == Method::POST {
                    continue;
                }
                let answer = send(gateway.open(method, path)).await;
                assert_eq!(answer.status, 404, "{path}");
                answer.error();
            }
        }
    })
    .await;
}
