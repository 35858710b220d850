use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tidings_runtime::health::{self, BuildInfo, CheckDetail, Health};
use tidings_runtime::http_client::install_crypto_provider;
use tidings_runtime::{ops, telemetry};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const BUILD: BuildInfo = BuildInfo {
    version: "1.2.3",
    commit: "abc",
    built_at: "2026-01-02T03:04:05Z",
};

struct Ops {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Ops {
    fn start(health: Health) -> Self {
        let shutdown = CancellationToken::new();
        let listen = "127.0.0.1:0".parse().unwrap();
        let (address, serving) =
            ops::serve(listen, health, telemetry::install_metrics(), BUILD, shutdown.clone()).unwrap();
        Self {
            address,
            shutdown,
            serving: tokio::spawn(serving),
        }
    }

    async fn call(&self, method: Method, path: &str) -> Response {
        install_crypto_provider();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        client
            .request(method, format!("http://{}{path}", self.address))
            .send()
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.call(Method::GET, path).await;
        (answer.status(), answer.json().await.unwrap())
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn every_page_is_there_with_and_without_a_slash_and_for_head() {
    let ops = Ops::start(Health::new());
    metrics::counter!("tidings_test_pages_total").increment(1);
    for path in health::PATHS.into_iter().chain([health::METRICS_PATH]) {
        for path in [path.to_owned(), format!("{path}/")] {
            let answer = ops.call(Method::GET, &path).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert!(!answer.bytes().await.unwrap().is_empty());

            let answer = ops.call(Method::HEAD, &path).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert!(answer.bytes().await.unwrap().is_empty());

            let answer = ops.call(Method::POST, &path).await;
            assert_eq!(answer.status(), 405, "{path}");
            assert_eq!(answer.headers()["allow"], "GET, HEAD");
        }
    }
    assert_eq!(ops.get("/health").await, (StatusCode::OK, json!({"status": "ok"})));
    assert_eq!(ops.get("/health/live").await, (StatusCode::OK, json!({"status": "ok"})));
    assert_eq!(
        ops.get("/version").await,
        (
            StatusCode::OK,
            json!({"version": "1.2.3", "commit": "abc", "built_at": "2026-01-02T03:04:05Z"})
        )
    );
    let page = ops.call(Method::GET, "/metrics").await;
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(page.text().await.unwrap().contains("tidings_test_pages_total 1"));
    ops.stop().await;
}

#[tokio::test]
async fn readiness_follows_its_checks_while_liveness_does_not() {
    let up = Arc::new(AtomicBool::new(true));
    let health = Health::new();
    let database = up.clone();
    health.register("database", move || {
        let up = database.load(Ordering::SeqCst);
        Box::pin(async move {
            if up {
                Ok(CheckDetail::default().number("delivery_lag_seconds", 0.25))
            } else {
                Err("gone".to_owned())
            }
        })
    });
    let ops = Ops::start(health);
    assert_eq!(
        ops.get("/health/ready").await,
        (
            StatusCode::OK,
            json!({"status": "ok", "checks": {"database": {"status": "ok"}}, "delivery_lag_seconds": 0.25})
        )
    );
    up.store(false, Ordering::SeqCst);
    assert_eq!(
        ops.get("/health/ready").await,
        (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "unavailable", "checks": {"database": {"status": "unavailable", "detail": "gone"}}})
        )
    );
    assert_eq!(ops.get("/health/live").await.0, StatusCode::OK);
    ops.stop().await;
}

#[tokio::test]
async fn one_check_can_be_asked_for_alone() {
    let health = Health::new();
    health.register("database", || Box::pin(async { Ok(CheckDetail::default()) }));
    health.register("broker", || Box::pin(async { Err("gone".to_owned()) }));
    let ops = Ops::start(health);
    assert_eq!(ops.get("/health/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        ops.get("/health/ready?only=database").await,
        (
            StatusCode::OK,
            json!({"status": "ok", "checks": {"database": {"status": "ok"}}})
        )
    );
    let (status, broker) = ops.get("/health/ready?only=broker").await;
    assert_eq!(
        (status, &broker["status"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable"))
    );
    let unknown = ops.call(Method::GET, "/health/ready?only=oracle").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    ops.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let ops = Ops::start(Health::new());
    let second = ops::serve(
        ops.address,
        Health::new(),
        telemetry::install_metrics(),
        BUILD,
        CancellationToken::new(),
    );
    let error = second.err().unwrap().to_string();
    assert!(error.contains(&ops.address.to_string()), "{error}");
    ops.stop().await;
}
