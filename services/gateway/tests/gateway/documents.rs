use reqwest::Method;
use serde_json::Value;

use crate::harness::{on_each_database, send};

fn objects<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|value| objects(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| objects(value, visit)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_open_to_all_and_complete() {
    on_each_database(async |gateway| {
        for path in ["/docs/openapi.yaml", "/docs/openapi.yaml/"] {
            let answer = send(gateway.open(Method::GET, path)).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("application/yaml"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            let document: Value = serde_saphyr::from_str(answer.text()).unwrap();
            assert_eq!(document["openapi"], "3.1.0");
            assert_eq!(document["servers"][0]["url"], "/");
            assert!(document["webhooks"]["messageDelivery"]["post"].is_object());

            let mut references = Vec::new();
            objects(&document, &mut |fields| {
                references.extend(fields.get("$ref").and_then(Value::as_str))
            });
            assert!(references.len() > 50);
            for reference in references {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
        }
    })
    .await;
}

/// Every operation has an example of each body, and the answers that every operation can have.
#[tokio::test]
async fn every_operation_has_its_examples_and_errors() {
    on_each_database(async |gateway| {
        let answer = send(gateway.open(Method::GET, "/docs/openapi.yaml")).await;
        let document: Value = serde_saphyr::from_str(answer.text()).unwrap();
        let resolve = |value: &Value| match value["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).unwrap().clone(),
            None => value.clone(),
        };
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name != "parameters")
            {
                let responses = operation["responses"].as_object().unwrap();
                let mut expected = vec!["401", "405", "500", "503"];
                if path.contains("{id}") {
                    expected.push("404");
                }
                if !operation["requestBody"].is_null() {
                    expected.extend(["400", "408", "413", "415"]);
                    assert!(operation["requestBody"]["content"]["application/json"]["examples"].is_object());
                }
                if method == "post" {
                    expected.extend(["409", "422"]);
                }
                for status in expected {
                    assert!(responses.contains_key(status), "{method} {path} {status}");
                }
                for (status, response) in responses {
                    let response = resolve(response);
                    let body = &response["content"]["application/json"];
                    assert!(
                        status == "204" || (body["schema"].is_object() && body["examples"].is_object()),
                        "{method} {path} {status}"
                    );
                    if status == "503" || status == "409" {
                        assert!(
                            response["headers"]["Retry-After"].is_object(),
                            "{method} {path} {status}"
                        );
                    }
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn swagger_ui_shows_the_document_from_here_alone() {
    on_each_database(async |gateway| {
        for path in ["/docs", "/docs/"] {
            let page = send(gateway.open(Method::GET, path)).await;
            assert_eq!(page.status, 200);
            assert!(page.header("content-type").unwrap().starts_with("text/html"));
            assert!(
                page.header("content-security-policy")
                    .unwrap()
                    .starts_with("default-src 'self'")
            );
            assert!(!page.text().contains("http"), "{}", page.text());
            let base = format!("http://{}{path}", gateway.addr);
            let base: reqwest::Url = base.parse().unwrap();
            let base = match page.text().split_once("<base href=\"") {
                Some((_, rest)) => base.join(rest.split('"').next().unwrap()).unwrap(),
                None => base,
            };
            let links = page
                .text()
                .split(['"'])
                .filter(|part| part.ends_with(".js") || part.ends_with(".css"));
            let links: Vec<_> = links.map(|link| base.join(link).unwrap()).collect();
            assert!(links.len() >= 4, "{links:?}");
            for link in links {
                let asset = send(gateway.open(Method::GET, link.path())).await;
                assert_eq!(asset.status, 200, "{link}");
                assert!(!asset.body.is_empty());
            }
        }
        let setup = send(gateway.open(Method::GET, "/docs/swagger-initializer.js")).await;
        assert!(
            setup.text().contains("\"url\": \"/docs/openapi.yaml\""),
            "{}",
            setup.text()
        );
        assert!(setup.text().contains("\"validatorUrl\": \"none\""));
        let head = send(gateway.open(Method::HEAD, "/docs/")).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        let post = send(gateway.open(Method::POST, "/docs/")).await;
        assert_eq!((post.status.as_u16(), post.header("allow")), (405, Some("GET, HEAD")));
    })
    .await;
}

#[tokio::test]
async fn redoc_shows_the_document_from_here_alone() {
    on_each_database(async |gateway| {
        for path in ["/redoc", "/redoc/"] {
            let page = send(gateway.open(Method::GET, path)).await;
            assert_eq!(page.status, 200);
            assert!(page.header("content-type").unwrap().starts_with("text/html"));
            let policy = page.header("content-security-policy").unwrap();
            assert!(
                policy.starts_with("default-src 'none'") && !policy.contains("http"),
                "{policy}"
            );
            let text = page.text();
            assert!(text.contains("Redoc.init(\"/docs/openapi.yaml\""));
            assert!(text.len() > 500_000, "the script is inside");
            for link in ["<script src", "<link"] {
                let around = text.rsplit_once("<body>").unwrap().0;
                assert!(!around.contains(link), "{link}");
            }
        }
    })
    .await;
}
