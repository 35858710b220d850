//! The catalogue of problems, and what is said where nothing is.

use reqwest::Method;

use super::KEYS;
use crate::harness::{on_each_database, send};

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_has_a_page() {
    on_each_database(async |gateway| {
        let catalogue = send(gateway.open(Method::GET, "/problems")).await.json();
        let catalogue = catalogue.as_array().unwrap();
        assert!(catalogue.len() > 10);
        for kind in catalogue {
            let path = format!("/problems/{}", kind["name"].as_str().unwrap());
            let page = send(gateway.open(Method::GET, &path)).await;
            assert_eq!((page.status.as_u16(), &page.json()), (200, kind));
        }
        send(gateway.open(Method::GET, "/problems/none"))
            .await
            .problem("not-found", 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_the_problem_says_so() {
    on_each_database(async |gateway| {
        for path in ["/api/v2/messages", "/api/v2/", "/api/v2/api-keys/1/2"] {
            let problem = send(gateway.open(Method::GET, path)).await.problem("not-found", 404);
            assert_eq!(problem["instance"], path);
            let kind = problem["type"].as_str().unwrap();
            assert_eq!(kind, format!("http://{}/problems/not-found", gateway.addr));
        }
        let refused = send(gateway.open(Method::PUT, KEYS)).await;
        refused.problem("method-not-allowed", 405);
        assert_eq!(refused.header("allow"), Some("GET, POST"));
    })
    .await;
}
