//! How often somebody may ask, and what happens when there is more to do than can be done.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tidings_gateway::Limits;
use tidings_runtime::settings::RateLimit;
use tidings_testkit::{TestDatabase, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Answer, KEY, TestGateway, on_each_database, send};

/// So long that nothing comes back while a test runs.
fn limit(requests: u32) -> Option<RateLimit> {
    let per = Duration::from_secs(24 * 60 * 60);
    Some(RateLimit { requests, per })
}

async fn limited(limits: Limits) -> TestGateway {
    TestGateway::start_with(TestDatabase::sqlite().await, |parts| parts.limits = limits).await
}

fn assert_limited(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=24 * 60 * 60).contains(&seconds), "{seconds}");
    assert!(answer.header("ratelimit").unwrap().contains("r=0"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_limit_which_every_contract_tells_in_its_form() {
    let gateway = limited(Limits {
        per_key: limit(4),
        ..Limits::default()
    })
    .await;
    let first = gateway.get("/contacts").await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"key\";q=4;w=86400"));
    assert_eq!(first.header("ratelimit"), Some("\"key\";r=3;t=21600"));
    let other = gateway.issue("admin", &["*"]).await;
    // What is refused counts as well.
    assert_eq!(gateway.get("/contacts/42").await.status, 404);
    assert_eq!(
        gateway
            .get("/api/v1/users")
            .await
            .header("ratelimit")
            .unwrap()
            .split(';')
            .nth(1),
        Some("r=0")
    );

    let messaging = gateway.get("/contacts").await;
    assert_limited(&messaging);
    assert!(messaging.error().contains("too many requests"));
    let users = gateway.get("/api/v1/users").await;
    assert_limited(&users);
    users.detail();
    let orders = gateway.get("/orders").await;
    assert_limited(&orders);
    orders.error();
    let own = gateway.get("/api/v2/api-keys").await;
    assert_limited(&own);
    own.problem("too-many-requests", 429);

    let untouched = send(gateway.with_key(&other.token, Method::GET, "/contacts")).await;
    assert_eq!(untouched.header("ratelimit"), Some("\"key\";r=3;t=21600"));
    assert_eq!(send(gateway.open(Method::GET, "/health")).await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_limit_that_wrong_keys_count_towards() {
    let gateway = limited(Limits {
        per_address: limit(3),
        ..Limits::default()
    })
    .await;
    // The tests' own address is that of a trusted proxy.
    let from = async |address: &str, key: &str| {
        let request = gateway.with_key(key, Method::GET, "/contacts");
        send(request.header("X-Forwarded-For", address)).await
    };
    for _ in 0..3 {
        assert_eq!(from("203.0.113.7", "wrong").await.status, 401);
    }
    assert_limited(&from("203.0.113.7", KEY).await);
    assert_eq!(from("203.0.113.8", KEY).await.status, 200);
    for host in ["1", "2", "3"] {
        assert_eq!(from(&format!("2001:db8::{host}"), KEY).await.status, 200);
    }
    assert_limited(&from("2001:db8::4", KEY).await);
    assert_eq!(from("2001:db8:0:1::1", KEY).await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_done_at_a_time_is_refused_at_once() {
    let gateway = limited(Limits {
        at_a_time: 2,
        ..Limits::default()
    })
    .await;
    // Each takes a place and sends no body, unless whoever asks below has it at that moment.
    let mut slow = Vec::new();
    let refused = eventually("all places are taken", async || {
        let mut connection = TcpStream::connect(gateway.addr).await.unwrap();
        let head =
            format!("POST /contacts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 9\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        slow.push(connection);
        let answer = gateway.get("/contacts").await;
        if answer.status == 503 { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert!(refused.message().contains("more to do"));
    assert!(refused.header("retry-after").is_some());
    drop(slow);
    eventually("there are places again", async || {
        match gateway.get("/contacts").await.status.as_u16() {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    gateway.stop().await;
}

/// Whoever cannot have a connection to the database is told so, and soon.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_hangs_when_the_database_has_no_connection_left() {
    on_each_database(async |gateway| {
        let write = async |number: u32| {
            let (begun, body) = (
                Instant::now(),
                json!({"name": "Ada", "phone": format!("+4179{number:07}")}),
            );
            (gateway.post("/contacts", &body).await, begun.elapsed())
        };
        if gateway.database.name == "PostgreSQL" {
            let held = gateway.hold_writes().await;
            // Each waits with a connection in its hands, or for one.
            let writes = futures_util::future::join_all((0..40).map(write));
            let read = async {
                eventually("no connection is left", async || match gateway.get("/contacts").await {
                    refused if refused.status == 503 && refused.header("retry-after").is_some() => Ok(()),
                    answer => Err(answer.status),
                })
                .await;
                held.release().await;
            };
            let (written, ()) = tokio::join!(writes, read);
            assert!(
                written
                    .iter()
                    .all(|(answer, _)| matches!(answer.status.as_u16(), 201 | 503))
            );
        } else {
            let outage = gateway.database.outage().await;
            for (answer, took) in futures_util::future::join_all((0..60).map(write)).await {
                assert_eq!(answer.status, 503, "{answer:?}");
                assert!(answer.header("retry-after").is_some());
                assert!(took < Duration::from_secs(25), "{took:?}");
            }
            outage.end().await;
        }
        eventually("it works again", async || match write(100).await.0.status.as_u16() {
            201 | 400 => Ok(()),
            other => Err(other),
        })
        .await;
    })
    .await;
}
