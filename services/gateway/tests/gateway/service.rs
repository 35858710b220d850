//! The open pages, the listener, and how it stops.

use std::net::TcpListener;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidings_gateway::Gateway;
use tidings_runtime::health::{CheckDetail, Health};
use tidings_testkit::{TestDatabase, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::harness::{KEY, TestGateway, client, loopback, on_each_database, parts, send};

#[tokio::test]
async fn health_version_and_metrics_are_open() {
    on_each_database(async |gateway| {
        for path in ["/health", "/health/", "/health/live"] {
            let answer = send(gateway.open(Method::GET, path)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()),
                (200, json!({"status": "ok"})),
                "{path}"
            );
        }
        let version = send(gateway.open(Method::GET, "/version")).await;
        assert_eq!(
            version.json(),
            json!({"version": "1.2.3", "commit": "abc", "built_at": "2026-01-02T03:04:05Z"})
        );
        gateway
            .health
            .register("database", || Box::pin(async { Ok(CheckDetail::default()) }));
        assert_eq!(send(gateway.open(Method::GET, "/health/ready")).await.status, 200);
        gateway
            .health
            .register("broker", || Box::pin(async { Err("away".to_owned()) }));
        assert_eq!(send(gateway.open(Method::GET, "/health/ready")).await.status, 503);
        assert_eq!(send(gateway.open(Method::POST, "/health")).await.status, 405);
    })
    .await;
}

#[tokio::test]
async fn metrics_know_routes_and_not_paths() {
    on_each_database(async |gateway| {
        gateway.get("/contacts/01912d3c-0000-7c3e-9a52-3f0d7d1c9b11").await;
        gateway.get("/messages/").await;
        send(gateway.open(Method::GET, "/no/such/path")).await;
        send(gateway.open(Method::from_bytes(b"INVENTED").unwrap(), "/contacts")).await;
        let metrics = send(gateway.open(Method::GET, "/metrics")).await;
        let text = metrics.text();
        for line in [
            "tidings_http_requests_total{method=\"GET\",route=\"/contacts/{id}\",status=\"404\"}",
            "tidings_http_requests_total{method=\"GET\",route=\"/messages\",status=\"200\"}",
            "tidings_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"}",
            "tidings_http_requests_total{method=\"other\",route=\"/contacts\",status=\"405\"}",
            "tidings_http_request_duration_seconds_bucket{route=\"/messages\",le=\"0.1\"}",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        for raw in ["01912d3c-0000", "no/such", "INVENTED"] {
            assert!(!text.contains(raw), "{raw}");
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_can_be_kept_elsewhere() {
    let database = TestDatabase::sqlite().await;
    let mut parts = parts(database.db.clone(), Health::new());
    parts.metrics = None;
    let gateway = Gateway::bind(loopback()).unwrap();
    let address = gateway.addr();
    let cancel = CancellationToken::new();
    let serving = tokio::spawn(gateway.run(parts, cancel.clone()));
    let answer = send(client().get(format!("http://{address}/metrics"))).await;
    assert_eq!(answer.status, 404);
    cancel.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told_in_one_line() {
    let other = TcpListener::bind(loopback()).unwrap();
    let taken = other.local_addr().unwrap();
    let error = Gateway::bind(taken).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{taken} is already in use: stop what listens there or set TIDINGS_LISTEN")
    );
    // Reserved for documentation, so no machine has it.
    let foreign = "192.0.2.1:3000".parse().unwrap();
    let error = Gateway::bind(foreign).unwrap_err().to_string();
    assert!(
        error.contains("cannot listen on 192.0.2.1:3000") && error.contains("TIDINGS_LISTEN"),
        "{error}"
    );
    assert!(!error.contains('\n'));
}

#[tokio::test]
async fn requests_under_way_are_answered_before_it_stops() {
    let gateway = TestGateway::start(TestDatabase::sqlite().await).await;
    gateway.contact("Eve", "+12").await;
    let held = gateway.hold_writes().await;
    let request = gateway.request(Method::POST, "/contacts");
    let request = request.json(&json!({"name": "Ada", "phone": "+41791234567"}));
    let answered = tokio::spawn(send(request));
    // The metrics do not show requests under way, but the idle connection below is taken after this one.
    let mut idle = TcpStream::connect(gateway.addr).await.unwrap();
    idle.write_all(format!("GET /contacts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut start = [0; 12];
    idle.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");

    let addr = gateway.addr;
    let stopping = tokio::spawn(gateway.stop());
    eventually("the port is closed", async || match TcpStream::connect(addr).await {
        Ok(_) => Err("still accepting"),
        Err(_) => Ok(()),
    })
    .await;
    held.release().await;
    assert_eq!(answered.await.unwrap().status, 201);
    tokio::time::timeout(Duration::from_secs(10), stopping)
        .await
        .unwrap()
        .unwrap();
    drop(idle);
}

#[tokio::test]
async fn heads_that_are_too_large_or_too_slow_are_cut_off() {
    let gateway = TestGateway::start(TestDatabase::sqlite().await).await;
    let many = (0..200).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
    let large = format!("X-Large: {}\r\n", "x".repeat(200_000));
    for headers in [many, large] {
        let mut connection = TcpStream::connect(gateway.addr).await.unwrap();
        let request = format!("GET /health HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        // The gateway may close before it has read everything.
        let _ = connection.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer).await;
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    let mut slow = TcpStream::connect(gateway.addr).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost:").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), slow.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    gateway.stop().await;
}
